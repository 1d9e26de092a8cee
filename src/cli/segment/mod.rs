//! `scopewatch segment`: where are the nuclei in these files?

mod answer;
mod file;
mod stack;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::{Args, ValueEnum};
use rayon::prelude::*;

use crate::stages::channels::ChannelChoice;

use super::file_error::{FileError, guarded};
use super::{Exit, Failure, say};
use file::{FileResult, Order, Outcome, PlaneResult, segment_file};

/// Finds nuclei: a label image, a table of objects and an overlay for each plane of the nuclear channel
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  scopewatch segment plate1/*.tif --out nuclei\n  \
                        scopewatch segment field.nd2 --channel DAPI --out nuclei --json\n  \
                        scopewatch segment plate1/*.tif --out nuclei --table parquet --geojson\n  \
                        scopewatch segment stack.nd2 --z max --out nuclei")]
pub(super) struct SegmentArgs {
    /// Image files
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Folder for NAME.labels.tif, NAME.objects.csv and NAME.overlay.png of each file
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// The nuclear channel, by its name or its number from 0 [default: chosen by channel names and colours]
    #[arg(long, value_name = "CHANNEL")]
    channel: Option<String>,
    /// Which focus steps of a stack within a file are segmented, for each time, position and channel
    #[arg(long, value_enum, default_value_t = ZChoice::Each)]
    z: ZChoice,
    /// How the table of objects is written
    #[arg(long, value_enum, default_value_t = Table::Csv)]
    table: Table,
    /// Also write the outlines of the objects, with their measures, as NAME.objects.geojson for QuPath: one file per position
    #[arg(long)]
    geojson: bool,
    /// Answer as one JSON object per file
    #[arg(long)]
    json: bool,
}

/// Which focus steps of a stack are segmented.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum ZChoice {
    /// Each one, by itself
    Each,
    /// Their maximum projection: NAME.t0p0zmaxc0.*
    Max,
    /// The one that is best in focus
    Focus,
}

/// How the table of objects is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Table {
    /// NAME.objects.csv
    Csv,
    /// The same as NAME.objects.parquet beside it
    Parquet,
}

pub(super) fn main(args: &SegmentArgs) -> Result<Exit, Failure> {
    std::fs::create_dir_all(&args.out)
        .with_context(|| format!("cannot make the folder {}", args.out.display()))?;
    let stems = stems(&args.files);
    let channel = ChannelChoice::parse(args.channel.as_deref().unwrap_or_default());
    let order = Order { channel, z: args.z, table: args.table, geojson: args.geojson };
    let results: Vec<_> = args
        .files
        .par_iter()
        .zip(&stems)
        .map(|(file, stem)| guarded(|| segment_file(file, &args.out.join(stem), &order)))
        .collect();
    let mut exit = Exit::Done;
    for (file, result) in args.files.iter().zip(results) {
        exit = exit_after(exit, &result);
        if args.json {
            say(&format!("{}\n", answer::to_json(file, &result)))?;
        } else {
            answer::tell(file, &result)?;
        }
    }
    Ok(exit)
}

/// What cannot be written weighs more than what cannot be read.
fn exit_after(before: Exit, result: &Result<FileResult, FileError>) -> Exit {
    let of_plane = |plane: &PlaneResult| match &plane.outcome {
        Outcome::Failed(error) => Some(error.exit()),
        _ => None,
    };
    let exits: Vec<Exit> = match result {
        Ok(file) => file.planes.iter().filter_map(of_plane).collect(),
        Err(error) => vec![error.exit()],
    };
    let worse = |a: Exit, b: Exit| if a == Exit::Failed || b == Exit::Done { a } else { b };
    exits.into_iter().fold(before, worse)
}

/// The names of the outputs: each file's stem, with its folder's name in front where two inputs share it.
fn stems(files: &[PathBuf]) -> Vec<PathBuf> {
    let stem = |file: &PathBuf| file.file_stem().unwrap_or_default().to_owned();
    let mut n_of_stem = BTreeMap::new();
    files.iter().for_each(|file| *n_of_stem.entry(stem(file)).or_insert(0) += 1);
    let mut taken = BTreeMap::new();
    files
        .iter()
        .map(|file| {
            let mut name = stem(file);
            if n_of_stem[&name] > 1
                && let Some(parent) = file.parent().and_then(Path::file_name)
            {
                let mut with_parent = parent.to_owned();
                with_parent.push("_");
                with_parent.push(&name);
                name = with_parent;
            }
            let n_before = taken.entry(name.clone()).or_insert(0_u32);
            *n_before += 1;
            if *n_before > 1 {
                name.push(format!("_{n_before}"));
            }
            PathBuf::from(name)
        })
        .collect()
}

/// A path with a dot and an end of its name more.
fn with_suffix(stem: &Path, suffix: &str) -> PathBuf {
    let mut path = stem.as_os_str().to_owned();
    path.push(".");
    path.push(suffix);
    path.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_stems_keep_their_parents_name_in_front() {
        let stems = |files: &[&str]| stems(&files.iter().map(PathBuf::from).collect::<Vec<_>>());
        let paths = |names: &[&str]| names.iter().map(PathBuf::from).collect::<Vec<_>>();
        assert_eq!(stems(&["a/x.tif", "b/x.tif", "b/y.ome.tif"]), paths(&["a_x", "b_x", "y.ome"]));
        assert_eq!(stems(&["a/x.tif", "a/x.png"]), paths(&["a_x", "a_x_2"]));
    }
}

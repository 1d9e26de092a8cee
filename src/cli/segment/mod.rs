//! `scopewatch segment`: where are the nuclei in these files?

mod answer;

use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::{Args, ValueEnum};
use rayon::prelude::*;

use crate::analysis::identity::{self, IdentityPatterns};
use crate::analysis::segmentation::overlay::{self, OverlaySettings};
use crate::analysis::segmentation::{self, PlaneQuality, Segmentation, SegmentationSettings, table};
use crate::formats::{self, Limits, Metadata, Plane};
use crate::paths::RelativePath;
use crate::reports::{write_atomically, write_parquet_atomically};
use crate::stages::channels::{self, ChannelChoice};
use crate::stages::{figures, segmenter};
use crate::units::PlaneIndex;

use super::file_error::{FileError, guarded};
use super::{Exit, Failure, say};

/// Finds nuclei: a label image, a table of objects and an overlay for each plane of the nuclear channel
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  scopewatch segment plate1/*.tif --out nuclei\n  \
                        scopewatch segment field.nd2 --channel DAPI --out nuclei --json\n  \
                        scopewatch segment plate1/*.tif --out nuclei --table parquet")]
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
    /// How the table of objects is written
    #[arg(long, value_enum, default_value_t = Table::Csv)]
    table: Table,
    /// Answer as one JSON object per file
    #[arg(long)]
    json: bool,
}

/// How the table of objects is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Table {
    /// NAME.objects.csv
    Csv,
    /// The same as NAME.objects.parquet beside it
    Parquet,
}

/// What became of one plane.
struct PlaneResult {
    index: PlaneIndex,
    outcome: Outcome,
}

enum Outcome {
    /// Segmented, and written.
    Segmented(Segmented),
    /// No plane of the nuclear channel.
    PassedOver(String),
    /// The other planes of the file may be well.
    Failed(FileError),
}

/// What to do with every file.
struct Order {
    choice: ChannelChoice,
    table: Table,
}

/// What was found on a plane, and where it was written.
struct Segmented {
    quality: PlaneQuality,
    /// How the names of its files begin.
    stem: PathBuf,
    has_parquet: bool,
}

pub(super) fn main(args: &SegmentArgs) -> Result<Exit, Failure> {
    std::fs::create_dir_all(&args.out)
        .with_context(|| format!("cannot make the folder {}", args.out.display()))?;
    let stems = stems(&args.files);
    let choice = ChannelChoice::parse(args.channel.as_deref().unwrap_or_default());
    let order = Order { choice, table: args.table };
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
fn exit_after(before: Exit, result: &Result<Vec<PlaneResult>, FileError>) -> Exit {
    let of_plane = |plane: &PlaneResult| match &plane.outcome {
        Outcome::Failed(error) => Some(error.exit()),
        _ => None,
    };
    let exits: Vec<Exit> = match result {
        Ok(planes) => planes.iter().filter_map(of_plane).collect(),
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

fn segment_file(file: &Path, out: &Path, order: &Order) -> Result<Vec<PlaneResult>, FileError> {
    let patterns = IdentityPatterns::default();
    let mut container = formats::open(Box::new(File::open(file)?), &Limits::default())?;
    let metadata = container.metadata().clone();
    let identity = identity::identify(&file.to_string_lossy(), &patterns);
    let entries = container.planes().to_vec();
    let mut results = Vec::new();
    for (position, entry) in entries.iter().enumerate().filter(|(_, entry)| !entry.missing) {
        let refusal =
            channels::refusal(&order.choice, (&identity, &metadata), entry.index, entry.n_samples as usize);
        if let Some(reason) = refusal {
            results.push(PlaneResult { index: entry.index, outcome: Outcome::PassedOver(reason) });
            continue;
        }
        let mut stem = out.as_os_str().to_owned();
        if entries.len() > 1 {
            stem.push(format!(".{}", entry.index));
        }
        let name = RelativePath::new(file).to_report();
        let columns = figures::table_identity(name, &identity, &metadata, entry.index);
        let stem = PathBuf::from(stem);
        let read = container.read_plane(position).map_err(FileError::from);
        let target = Target { columns, stem, table: order.table };
        let outcome = match read.and_then(|plane| segment_plane(&plane, &metadata, target)) {
            Ok(segmented) => Outcome::Segmented(segmented),
            Err(error) if entries.len() > 1 => Outcome::Failed(error),
            Err(error) => return Err(error),
        };
        results.push(PlaneResult { index: entry.index, outcome });
    }
    Ok(results)
}

/// Where the results of a plane go, and as what.
struct Target {
    /// The identity columns of its table.
    columns: Vec<(&'static str, String)>,
    /// How the names of its files begin.
    stem: PathBuf,
    table: Table,
}

fn segment_plane(plane: &Plane, metadata: &Metadata, target: Target) -> Result<Segmented, FileError> {
    let Target { columns, stem, table } = target;
    let pixel_size_um = metadata.pixel_size_um;
    let Segmentation { labels, objects, quality } =
        segmentation::segment(plane, pixel_size_um, &SegmentationSettings::default())?;
    let columns: Vec<_> = columns.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let overlay = overlay::to_png(plane, &labels, &OverlaySettings::default())?;
    write(&with_suffix(&stem, "overlay.png"), &overlay)?;
    let csv = table::to_csv(&objects, &columns, pixel_size_um);
    write(&with_suffix(&stem, "objects.csv"), csv.as_bytes())?;
    let has_parquet = table == Table::Parquet;
    if has_parquet {
        write_parquet_atomically(csv.as_bytes(), &with_suffix(&stem, "objects.parquet"))
            .map_err(|error| FileError::output(&error))?;
    }
    let encoded = segmenter::encode_labels(labels, pixel_size_um)?;
    write(&with_suffix(&stem, "labels.tif"), &encoded)?;
    Ok(Segmented { quality, stem, has_parquet })
}

fn write(path: &Path, bytes: &[u8]) -> Result<(), FileError> {
    write_atomically(path, bytes).map_err(|error| FileError::output(&error))
}

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

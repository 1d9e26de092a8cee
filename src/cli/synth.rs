//! `scopewatch synth`: a synthetic acquisition with its truth.

use std::fs::{self, File};
use std::io::{BufWriter, ErrorKind, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context, Result, anyhow, bail};
use clap::{Args, ValueEnum};
use indicatif::{ProgressBar, ProgressStyle};
use rayon::iter::{IntoParallelIterator, ParallelIterator};
use serde_json::{Map, Value, json};

use crate::analysis::synthesis::truth::{Relation, Truth};
use crate::analysis::synthesis::{
    Acquisition, AcquisitionSettings, FormatChoice, NameChoice, Studio, Written,
};

use crate::platform::filesystem::free_bytes;

use super::{Exit, Failure, say};

/// Makes a synthetic acquisition: nuclei at 10x and 40x in ND2, TIFF and OME-TIFF, and what is true of them
#[derive(Debug, Args)]
#[command(
    after_help = "DIR/truth.json says what is true: every plane with its digest and its place on the plate, how each \
                        40x field lies in its 10x overview, and which planes are copies, repeats or faults. Planes \
                        that it does not relate are no duplicates. The same seed and settings give the same bytes on \
                        every machine.\n\n\
                        Examples:\n  scopewatch synth --out acquisition\n  \
                        scopewatch synth --out big --wells 60 --fields 9 --size 2048 --format nd2 --plain"
)]
pub(super) struct SynthArgs {
    /// Folder to fill: a new or empty one, or one that this command made before
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Another seed gives another acquisition
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    /// Wells with cells, 1 to 308
    #[arg(long, value_name = "N", default_value_t = 3)]
    wells: u32,
    /// Fields per well, 1 to 100, each at 10x and at 40x
    #[arg(long, value_name = "N", default_value_t = 2)]
    fields: u32,
    /// Rows and columns of a frame in pixels, 128 to 8192 (0.65 um each at 10x, 0.1625 um at 40x)
    #[arg(long, value_name = "PX", default_value_t = 1024)]
    size: usize,
    /// Time points, 1 to 10000, ten minutes apart
    #[arg(long, value_name = "N", default_value_t = 1)]
    times: u32,
    /// Focus steps, 1 to 1000, 2 um apart
    #[arg(long, value_name = "N", default_value_t = 1)]
    z: u32,
    /// Channels, 1 to 4: nuclei (DAPI), cytoplasm (GFP), some nuclei (mCherry), granules (Cy5)
    #[arg(long, value_name = "N", default_value_t = 2)]
    channels: u32,
    /// Containers; mixed takes turns from well to well
    #[arg(long, value_enum, default_value_t)]
    format: Format,
    /// Names of files; mixed is NIS-Elements JOBS for ND2 and generic for TIFF
    #[arg(long, value_enum, default_value_t)]
    names: Names,
    /// The 40x light path mirrors its image
    #[arg(long)]
    mirror: bool,
    /// Plain fields only: no copies, repeats, empty wells or faults
    #[arg(long)]
    plain: bool,
    /// List the centre of every nucleus of every plane in truth.json
    #[arg(long)]
    nuclei: bool,
    /// End with a summary as one JSON object on stdout
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Clone, Copy, Default, ValueEnum)]
enum Format {
    #[default]
    Mixed,
    Tiff,
    OmeTiff,
    Nd2,
}

#[derive(Debug, Clone, Copy, Default, ValueEnum)]
enum Names {
    #[default]
    Mixed,
    Nis,
    Generic,
}

impl SynthArgs {
    fn settings(&self) -> AcquisitionSettings {
        AcquisitionSettings {
            seed: self.seed,
            n_wells: self.wells,
            n_fields: self.fields,
            side_px: self.size,
            n_times: self.times,
            n_z: self.z,
            n_channels: self.channels,
            format: match self.format {
                Format::Mixed => FormatChoice::Mixed,
                Format::Tiff => FormatChoice::Tiff,
                Format::OmeTiff => FormatChoice::OmeTiff,
                Format::Nd2 => FormatChoice::Nd2,
            },
            names: match self.names {
                Names::Mixed => NameChoice::Mixed,
                Names::Nis => NameChoice::Nis,
                Names::Generic => NameChoice::Generic,
            },
            is_detail_mirrored: self.mirror,
            is_plain: self.plain,
            lists_nuclei: self.nuclei,
        }
    }
}

pub(super) fn main(args: &SynthArgs) -> Result<Exit, Failure> {
    let plan = Acquisition::plan(args.settings()).map_err(Failure::usage)?;
    clear(&args.out)?;
    let started = Instant::now();
    let truth = fill(&args.out, plan, &|| false)?.expect("nobody interrupts it");
    let planted = Relation::ALL.map(|relation| {
        let pairs = truth.relations.iter().filter(|pair| pair.relation == relation);
        (relation.name().to_owned(), Value::from(pairs.count()))
    });
    let n_planes: usize = truth.files.iter().map(|file| file.planes.len()).sum();
    let summary = json!({
        "out": args.out.display().to_string(),
        "truth": args.out.join(Truth::FILE_NAME).display().to_string(),
        "files": truth.files.len(),
        "planes": n_planes,
        "registrations": truth.registrations.len(),
        "relations": Map::from_iter(planted),
        "wall_s": started.elapsed().as_secs_f64(),
    });
    if args.json {
        say(&format!("{summary}\n"))?;
    } else {
        say(&format!(
            "{} files with {n_planes} planes in {}; what is true of them is in {}\n",
            truth.files.len(),
            args.out.display(),
            args.out.join(Truth::FILE_NAME).display()
        ))?;
    }
    Ok(Exit::Done)
}

/// Empties a folder that an earlier acquisition was made in: its files are those that its truth lists.
///
/// # Errors
/// When the folder holds anything else.
fn clear(folder: &Path) -> Result<(), Failure> {
    let mut entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(error) if error.kind() == ErrorKind::NotADirectory => {
            return Err(Failure::usage(anyhow!("expected a folder, {} is none", folder.display())));
        }
        Err(error) => return Err(anyhow::Error::new(error).context(folder.display().to_string()).into()),
    };
    if entries.next().is_none() {
        return Ok(());
    }
    let truth_file = folder.join(Truth::FILE_NAME);
    let truth = fs::read(&truth_file).ok().and_then(|bytes| serde_json::from_slice::<Truth>(&bytes).ok());
    let Some(truth) = truth.filter(|truth| truth.made_by == Truth::MADE_BY) else {
        return Err(Failure::usage(anyhow!(
            "{} is not empty and was not made by this command: expected a new or empty folder",
            folder.display()
        )));
    };
    for file in truth.files {
        let path = below(folder, &file.file).map_err(Failure::usage)?;
        remove(&path)?;
        // the folders that it leaves empty, up to the acquisition's own
        for parent in path.ancestors().skip(1).take_while(|parent| *parent != folder) {
            if fs::remove_dir(parent).is_err() {
                break;
            }
        }
    }
    remove(&truth_file)?;
    if let Some(left) = fs::read_dir(folder)?.next() {
        let left = left?.path();
        return Err(Failure::usage(anyhow!(
            "expected only files of the earlier acquisition, found {}",
            left.display()
        )));
    }
    Ok(())
}

/// A path of the truth below its folder, never outside of it.
pub(super) fn below(folder: &Path, file: &str) -> Result<PathBuf> {
    let parts: Vec<_> = file.split('/').collect();
    if parts.iter().any(|part| matches!(*part, "" | "." | "..") || part.contains(['\\', ':'])) {
        bail!("expected paths below the folder in {}, found {file:?}", Truth::FILE_NAME);
    }
    Ok(parts.into_iter().fold(folder.to_owned(), |path, part| path.join(part)))
}

fn remove(path: &Path) -> Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            Err(error).with_context(|| path.display().to_string())
        }
        _ => Ok(()),
    }
}

/// Writes an acquisition into an empty folder, files side by side, with a progress bar where stderr is a terminal.
/// Nothing is true of one that was interrupted.
///
/// # Errors
/// When there is no room for it, or it cannot be written.
pub(super) fn fill(
    folder: &Path,
    plan: Acquisition,
    is_interrupted: &(dyn Fn() -> bool + Sync),
) -> Result<Option<Truth>> {
    fs::create_dir_all(folder).with_context(|| folder.display().to_string())?;
    check_room(folder, plan.n_bytes())?;
    let studio = Studio::new(plan);
    let plan = studio.plan();
    let n_planes: usize = (0..plan.n_files()).map(|file| plan.n_planes(file)).sum();
    let bar = bar(n_planes as u64);
    // an interrupted acquisition is known as one, too
    write_truth(folder, &studio.outline())?;
    let write = |file: usize| {
        let path = below(folder, plan.path(file))?;
        (!is_interrupted()).then(|| write_file(&studio, file, &path, &bar)).transpose()
    };
    let written = (0..plan.n_files()).into_par_iter().map(write).collect::<Result<Vec<_>>>();
    bar.finish_and_clear();
    let Some(written) = written?.into_iter().collect() else { return Ok(None) };
    let truth = studio.truth(written);
    write_truth(folder, &truth)?;
    Ok(Some(truth))
}

/// Whether the samples of an acquisition fit on the disk.
fn check_room(folder: &Path, n_bytes: u64) -> Result<()> {
    let free = free_bytes(folder).with_context(|| folder.display().to_string())?;
    if let Some(free) = free.filter(|free| *free < n_bytes) {
        let mb = |bytes: u64| bytes >> 20;
        bail!("{}: expected {} MB of room, {} MB are free", folder.display(), mb(n_bytes), mb(free));
    }
    Ok(())
}

fn bar(n_planes: u64) -> ProgressBar {
    if !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let style = ProgressStyle::with_template("{bar:32} {pos}/{len} planes drawn  {eta} left");
    ProgressBar::new(n_planes).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}

fn write_file(studio: &Studio, file: usize, path: &Path, bar: &ProgressBar) -> Result<Written> {
    let name = || path.display().to_string();
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent).with_context(|| parent.display().to_string())?;
    }
    let mut out = BufWriter::new(File::create_new(path).with_context(name)?);
    let written = studio.write(file, &mut out, || bar.inc(1)).with_context(name)?;
    out.flush().with_context(name)?;
    Ok(written)
}

fn write_truth(folder: &Path, truth: &Truth) -> Result<()> {
    let path = folder.join(Truth::FILE_NAME);
    let name = || path.display().to_string();
    let mut out = BufWriter::new(File::create(&path).with_context(name)?);
    serde_json::to_writer_pretty(&mut out, truth).with_context(name)?;
    out.write_all(b"\n").with_context(name)?;
    out.flush().with_context(name)
}

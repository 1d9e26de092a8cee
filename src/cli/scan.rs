//! `scopewatch scan`: the same pipeline once over finished folders.

use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, anyhow};
use clap::{Args, ValueEnum};
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::{Value, json};
use tokio::sync::oneshot;

use crate::actor::Outcome;
use crate::platform::process;
use crate::service::{Finished, Service, Status, Task, Watchtower, obey_signals};
use crate::settings::{Folders, Override, Settings, resolve_folders};
use crate::store::{Counts, LedgerReader};

use super::{ConfigArgs, Exit, Failure, logging, set};

/// Goes once over finished folders or files, with a progress bar; a second run takes up only what is new
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  scopewatch scan /data/plate1 --out /data/plate1-scopewatch")]
pub(super) struct ScanArgs {
    /// Folders and files to scan
    #[arg(required = true, value_name = "PATH")]
    paths: Vec<PathBuf>,
    /// Output folder for reports, objects and the ledger
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    #[command(flatten)]
    config: ConfigArgs,
    /// Threads that compute [default: all cores]
    #[arg(long, value_name = "N")]
    workers: Option<usize>,
    /// Memory for pixels, scratch and caches, in MB of 2^20 bytes
    #[arg(long, value_name = "N")]
    memory_mb: Option<u64>,
    /// Do only a part of the work
    #[arg(long, value_name = "STEP")]
    only: Option<Only>,
    /// End with a summary as one JSON object on stdout
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Only {
    /// Digests, features and groups; no segmentation
    Hash,
}

pub(super) fn main(args: ScanArgs) -> Result<Exit, Failure> {
    let (roots, only) = roots_of(&args.paths).map_err(Failure::usage)?;
    let overrides: Vec<Override> = [
        set("output.dir", "--out", Some(args.out.display())),
        set("resources.workers", "--workers", args.workers),
        set("resources.memory_mb", "--memory-mb", args.memory_mb),
    ]
    .into_iter()
    .flatten()
    .collect();
    let settings: Settings = args.config.load(&overrides).map_err(Failure::usage)?;
    let folders: Folders = resolve_folders(&roots, &settings.output.dir).map_err(Failure::usage)?;
    let bar = std::io::stderr().is_terminal();
    logging::start(&settings.log, &folders.output, bar).context("cannot open the log file")?;
    let output = folders.output.clone();
    let hash_only = args.only == Some(Only::Hash);
    let service = Service::open(Task { settings, folders, only, once: true, hash_only })?;
    let watchtower = service.watchtower();
    let runtime = super::run::runtime()?;
    let finished = runtime.block_on(work(service, watchtower.clone(), bar));
    let status = watchtower.status();
    drop(watchtower);
    runtime.shutdown_timeout(Duration::from_secs(2));
    let finished = finished?;
    let counts = LedgerReader::open(&output.join("state"))?.counts()?;
    let summary = summary(&status, &counts, finished);
    if args.json {
        println!("{summary}");
    } else {
        print!("{}", to_text(&summary, &output));
    }
    match finished.outcome {
        Outcome::Finished if status.progress.files_rejected + status.progress.planes_rejected == 0 => {
            Ok(Exit::Done)
        }
        Outcome::Finished => Ok(Exit::Unreadable),
        Outcome::DrainTimedOut | Outcome::Aborted => Ok(Exit::Failed),
    }
}

/// Folders are roots; a file's folder is its root, and only the files named in it are taken.
fn roots_of(paths: &[PathBuf]) -> anyhow::Result<(Vec<PathBuf>, Vec<Vec<PathBuf>>)> {
    let mut roots: Vec<(PathBuf, Vec<PathBuf>)> = Vec::new();
    for path in paths {
        let found = std::fs::canonicalize(path).with_context(|| path.display().to_string())?;
        if found.is_dir() {
            roots.push((found, Vec::new()));
            continue;
        }
        let (Some(folder), Some(name)) = (found.parent(), found.file_name()) else {
            return Err(anyhow!("{}: expected a file or a folder", path.display()));
        };
        match roots.iter_mut().find(|(root, only)| root == folder && !only.is_empty()) {
            Some((_, only)) => only.push(name.into()),
            None => roots.push((folder.to_owned(), vec![name.into()])),
        }
    }
    Ok(roots.into_iter().unzip())
}

async fn work(
    service: Service,
    watchtower: Watchtower,
    bar: bool,
) -> Result<Finished, crate::service::ServiceError> {
    let (end_signals, signals_end) = oneshot::channel();
    let signals = tokio::spawn(obey_signals(service.shutdown(), signals_end));
    let total = watchtower.count_new_files();
    let progress = tokio::spawn(show_progress(watchtower, total, bar));
    let finished = service.run().await;
    progress.abort();
    drop(end_signals);
    // the task only waits; its end says nothing
    let _ = signals.await;
    finished
}

/// Draws the bar on a terminal; elsewhere logs a line every ten seconds.
async fn show_progress(watchtower: Watchtower, total: oneshot::Receiver<u64>, bar: bool) {
    let drawn = if bar { ProgressBar::new_spinner() } else { ProgressBar::hidden() };
    let total = async move { total.await.ok() };
    tokio::pin!(total);
    let mut n_files = None;
    let mut logged = tokio::time::Instant::now();
    loop {
        tokio::select! {
            found = &mut total, if n_files.is_none() => {
                let found = found.unwrap_or(0);
                n_files = Some(found);
                drawn.set_length(found);
                let style = "{bar:32} {pos}/{len} files  {per_sec}  {eta} left  {msg}";
                drawn.set_style(ProgressStyle::with_template(style).unwrap_or_else(|_| ProgressStyle::default_bar()));
            }
            () = tokio::time::sleep(Duration::from_millis(200)) => (),
        }
        let done = watchtower.progress().snapshot();
        let files = done.files_done + done.files_unchanged + done.files_rejected;
        drawn.set_position(files);
        drawn.set_message(format!("{} planes", done.planes_done));
        if !bar && logged.elapsed() >= Duration::from_secs(10) {
            logged = tokio::time::Instant::now();
            tracing::info!(
                files,
                of = n_files,
                planes = done.planes_done,
                rejected = done.files_rejected,
                "scanning"
            );
        }
    }
}

fn summary(status: &Status, counts: &Counts, finished: Finished) -> Value {
    let done = status.progress;
    let wall_s = finished.wall.as_secs_f64();
    let end = process::resident_memory();
    let mb = |bytes: u64| (bytes as f64 / (1 << 20) as f64 * 10.0).round() / 10.0;
    let decoded: u64 =
        status.stages.iter().filter(|stage| stage.name == "decoder").map(|stage| stage.n_bytes).sum();
    json!({
        "files": done.files_done + done.files_rejected + done.files_unchanged,
        "files_known": status.roots.iter().map(|root| root.files.saturating_sub(root.found_by_walk)).sum::<u64>(),
        "planes": done.planes_done,
        "rejected": done.files_rejected,
        "planes_rejected": done.planes_rejected,
        "groups": counts.groups,
        "pairs": counts.pairs,
        "wall_s": wall_s,
        "planes_per_s": done.planes_done as f64 / wall_s,
        "decoded_mb_per_s": mb(decoded) / wall_s,
        "peak_rss_mb": mb(end.peak_bytes),
        "end_rss_mb": mb(end.now_bytes),
        "budget_mb": mb(status.memory.budget),
        "budget_peak_mb": mb(status.memory.used_max),
        "workers": status.n_workers,
        "unreadable": status.roots.iter().flat_map(|root| root.refusals.clone()).collect::<Vec<_>>(),
        "stages": status.stages,
    })
}

fn to_text(summary: &Value, output: &Path) -> String {
    let number = |key: &str| summary[key].as_f64().unwrap_or(0.0);
    let mut text = format!(
        "{} files, {} planes in {:.1} s ({:.1} planes/s, {} workers); {} files were known already\n",
        summary["files"],
        summary["planes"],
        number("wall_s"),
        number("planes_per_s"),
        summary["workers"],
        summary["files_known"],
    );
    text += &format!("{} files and {} planes rejected", summary["rejected"], summary["planes_rejected"]);
    text += &format!("; {} groups of duplicates, {} pairs\n", summary["groups"], summary["pairs"]);
    for place in summary["unreadable"].as_array().into_iter().flatten() {
        text += &format!("could not be listed: {}\n", place.as_str().unwrap_or_default());
    }
    text += &format!(
        "memory: {:.0} MB at the peak, {:.0} MB at the end\n",
        number("peak_rss_mb"),
        number("end_rss_mb")
    );
    text += &format!("reports: {}\n", output.join("reports").display());
    text
}

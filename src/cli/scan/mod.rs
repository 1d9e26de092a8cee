//! `scopewatch scan`: the same pipeline once over finished folders.

mod progress;
mod summary;

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};
use indicatif::ProgressBar;
use tokio::sync::oneshot;

use crate::service::{Finished, Service, ServiceError, Task, Watchtower, obey_signals};
use crate::settings::resolve_scanned;
use crate::store::LedgerReader;

use super::{ConfigArgs, Exit, Failure, logging, say, set};

/// Reads finished folders or files once, with a progress bar; a second run takes up only what is new
#[derive(Debug, Args)]
#[command(
    after_help = "Exits with 3 as long as the output folder knows of a file or plane that is rejected, whichever \
                        scan found it.\n\nExamples:\n  scopewatch scan /data/plate1 --out /data/plate1-scopewatch\n  \
                        scopewatch scan well_B02.nd2 well_B03.nd2 --out checked"
)]
pub(super) struct ScanArgs {
    /// Folders, with everything below them, and files; a file named here is taken whatever its name
    #[arg(required = true, value_name = "PATH")]
    paths: Vec<PathBuf>,
    /// Output folder for reports, objects, logs and the ledger; outside the scanned folders
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
    /// Do only a part of the work: `hash` finds duplicates and segments nothing
    #[arg(long, value_name = "STEP", hide_possible_values = true)]
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
    let overrides = [
        set("resources.workers", "--workers", args.workers),
        set("resources.memory_mb", "--memory-mb", args.memory_mb),
    ];
    let overrides = overrides.into_iter().flatten().collect();
    let settings = args.config.load(Some(&args.out), overrides).map_err(Failure::usage)?;
    let (folders, only) = resolve_scanned(&args.paths, &settings.output.dir).map_err(Failure::usage)?;
    let bar = progress::bar();
    logging::start(&settings.log, &folders.output, bar.as_ref())?;
    let output = folders.output.clone();
    let lines = summary::ReportLines::from_here(&output);
    let hash_only = args.only == Some(Only::Hash);
    let service = Service::open(Task { settings, folders, only, once: true, hash_only })?;
    let (watchtower, shutdown) = (service.watchtower(), service.shutdown());
    let runtime = super::run::runtime()?;
    let finished = runtime.block_on(work(service, watchtower.clone(), bar));
    let status = watchtower.status();
    drop(watchtower);
    runtime.shutdown_timeout(Duration::from_secs(2));
    let finished = finished?;
    let interrupted = shutdown.drain.is_cancelled();
    let counts = LedgerReader::open(&output.join("state"))?.counts()?;
    let summary = summary::summary(&status, &counts, finished, interrupted);
    if args.json {
        say(&format!("{summary}\n"))?;
    } else {
        let rejected = lines.rejected(&status.run_id).unwrap_or_else(|error| vec![error.to_string()]);
        say(&summary::to_text(&summary, &rejected, &output))?;
    }
    if interrupted {
        eprintln!("interrupted: the same command goes on where this one stopped");
    }
    Ok(summary::exit(&summary, finished.outcome))
}

async fn work(
    service: Service,
    watchtower: Watchtower,
    bar: Option<ProgressBar>,
) -> Result<Finished, ServiceError> {
    let (end_signals, signals_end) = oneshot::channel();
    let signals = tokio::spawn(obey_signals(watchtower.clone(), signals_end));
    let total = watchtower.count_new_files();
    let progress = tokio::spawn(progress::show(watchtower, total, bar.clone()));
    let finished = service.run(|| ()).await;
    progress.abort();
    if let Some(bar) = bar {
        bar.finish_and_clear();
    }
    drop(end_signals);
    // the task only waits; its end says nothing
    let _ = signals.await;
    finished
}

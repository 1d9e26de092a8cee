//! One process at work on one output folder: opens what the pipeline shares, keeps it running, ends it in order.

mod heartbeat;
mod memory;
mod orders;
mod plan;
mod signals;
#[cfg(test)]
mod tests;
mod vitals;
mod watchtower;

use std::collections::BTreeSet;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use crate::actor::{
    ByteBudget, CpuPool, IoPool, Outcome, Shutdown, Supervision, SupervisorError, SupervisorSettings,
    supervise,
};
use crate::machine;
use crate::messages::InWork;
use crate::paths::Root;
use crate::pipeline::{self, Plan, Resources, View};
use crate::platform::process;
use crate::reports::{CurrentTables, ObjectTables, ReportNotice, ReportOptions, ReportWriter, next_refresh};
use crate::settings::{Folders, Settings};
use crate::stages::bookkeeping::{Bookkeeping, Progress};
use crate::stages::pause::PauseSwitch;
use crate::stages::reading::{Probes, ReadGate};
use crate::stages::space::SpaceGate;
use crate::stages::verifier::VerifierTally;
use crate::stages::watcher::Hints;
use crate::store::{Ledger, LedgerError, LedgerNotice, LedgerOptions, LedgerReader};
use crate::tuning::{self, Shares, Sharing};

/// The part of the memory that the feature cache of the verifier may take: one of so many.
const FEATURE_CACHE_PART: u64 = 8;

pub use heartbeat::beat;
pub use memory::trim_memory;
pub use orders::{OrderError, Which, pause_for, retry};
pub use signals::{drain_on_signal, notify, obey_signals};
pub use watchtower::{IncompleteFile, Status, Watchtower, incomplete_files};

/// Why the service could not start, or ended badly.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the messages say it")]
pub enum ServiceError {
    #[error("{}: {source}", path.display())]
    Folder { path: PathBuf, source: std::io::Error },
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    #[error("cannot start the computing threads: {0}")]
    Threads(String),
    #[error("the tables cannot be written: {0}")]
    Tables(String),
    #[error("the pipeline {0}")]
    Pipeline(#[from] SupervisorError),
    #[error("{0}")]
    Fatal(String),
}

/// What the process is asked to do.
#[derive(Debug, Clone)]
pub struct Task {
    /// Checked settings.
    pub settings: Settings,
    /// Where to look and where to write.
    pub folders: Folders,
    /// Under each root, only these files and folders; everything where the list is empty.
    pub only: Vec<Vec<PathBuf>>,
    /// Go over what lies there once, instead of watching.
    pub once: bool,
    /// Compute hashes alone.
    pub hash_only: bool,
}

/// Everything that one run of the service shares.
pub struct Service {
    task: Task,
    plan: Plan,
    resources: Resources,
    supervision: Supervision,
    progress: Arc<Progress>,
    view: Arc<Mutex<View>>,
    ledger: Ledger,
    reports: ReportWriter,
    started: Instant,
    run_id: String,
}

/// What a finished run leaves to say.
#[derive(Debug, Clone, Copy)]
pub struct Finished {
    /// How it ended.
    pub outcome: Outcome,
    /// From opening to the last line.
    pub wall: Duration,
}

impl Service {
    /// Opens the ledger and the reports, starts the threads; nothing is read yet.
    ///
    /// # Errors
    /// When another process works in the output folder, or something cannot be opened.
    pub fn open(task: Task) -> Result<Self, ServiceError> {
        let started = Instant::now();
        let output = &task.folders.output;
        for folder in ["", "reports", "objects"] {
            let path = output.join(folder);
            std::fs::create_dir_all(&path).map_err(|source| ServiceError::Folder { path, source })?;
        }
        let run_id = run_id();
        let host = task.settings.identity.host.clone().unwrap_or_else(process::host_name);
        let supervision = Supervision::default();
        let progress = Arc::new(Progress::default());
        let (ledger, reports) = open_ledger(output, (&host, &run_id), &supervision.shutdown, &progress)?;
        let roots = register_roots(&ledger, output, &task.folders.roots)?;

        let sharing = if task.once { Sharing::Alone } else { Sharing::WithAcquisition };
        let chosen = &task.settings.resources;
        let Shares { n_workers, memory_bytes } =
            tuning::shares(&machine::facts(), sharing, chosen.workers, chosen.memory_bytes);
        let threads = NonZeroUsize::new(n_workers).unwrap_or(NonZeroUsize::MIN);
        let cpu = CpuPool::new(threads).map_err(|error| ServiceError::Threads(error.to_string()))?;
        let io =
            IoPool::new(NonZeroUsize::new(task.settings.resources.io_workers).unwrap_or(NonZeroUsize::MIN));
        let state_dir = output.join("state");
        let tables = ObjectTables::new(&state_dir, output.join("objects"), plan::extras(&task.settings));
        let attempts_max = if task.once { 1 } else { task.settings.pipeline.attempts_max };
        let reader = LedgerReader::open(&state_dir)?;
        // whoever scans finished folders wants it now
        let pause = PauseSwitch::new(if task.once { None } else { reader.pause()? });
        let books = Bookkeeping::new(
            (ledger.handle(), reader),
            io.clone(),
            tables.clone(),
            attempts_max,
            progress.clone(),
        );
        let space =
            SpaceGate::new(output.clone(), task.settings.output.free_space_min_bytes, ledger.handle());
        let plan = plan::plan(&task, &roots);
        info!(n_workers, memory_mb = memory_bytes >> 20, roots = roots.len(), output = %output.display(), "opened");
        let resources = Resources {
            ledger: ledger.handle(),
            state_dir,
            books,
            tables,
            cpu,
            io,
            budget: ByteBudget::new(memory_bytes - memory_bytes / FEATURE_CACHE_PART),
            feature_cache_bytes: memory_bytes / FEATURE_CACHE_PART,
            verification: VerifierTally::default(),
            space,
            pause,
            reading: ReadGate::new(plan::reading(&task), Probes::default()),
            in_work: InWork::default(),
            hints: Arc::new(Hints::default()),
            picture_bytes: count_pictures(output.join("objects")),
            statistics: supervision.statistics.clone(),
        };
        let view = Arc::default();
        Ok(Self { task, plan, resources, supervision, progress, view, ledger, reports, started, run_id })
    }

    /// A view of the service that stays valid while it runs.
    pub fn watchtower(&self) -> Watchtower {
        Watchtower {
            resources: self.resources.clone(),
            supervision: self.supervision.clone(),
            progress: self.progress.clone(),
            view: self.view.clone(),
            watched: self.plan.watcher.clone(),
            timeouts: self.task.settings.pipeline,
            started: self.started,
            run_id: self.run_id.clone(),
        }
    }

    /// The way to end the service from outside.
    pub fn shutdown(&self) -> Shutdown {
        self.supervision.shutdown.clone()
    }

    /// Runs until everything is done (`once`) or the service is told to end; then writes the last lines and tables.
    /// `on_ready` is called once the line stands.
    ///
    /// # Errors
    /// When the pipeline failed more often than it may be restarted, or the last lines cannot be written.
    pub async fn run(self, on_ready: impl FnOnce() + Send + 'static) -> Result<Finished, ServiceError> {
        let settings = &self.task.settings;
        let supervisor = SupervisorSettings {
            hang_timeout: settings.pipeline.hang_timeout,
            backoff_first: settings.pipeline.restart_backoff,
            backoff_max: Duration::from_secs(60),
            restart_limit: settings.pipeline.restart_limit,
            restart_window: settings.pipeline.restart_window,
            drain_timeout: settings.pipeline.drain_timeout,
        };
        let output = &self.task.folders.output;
        let mut tables = CurrentTables::new(output.join("reports/current"));
        if settings.registration.pictures {
            tables = tables.with_pictures(output.join("pictures"));
        }
        let ended = CancellationToken::new();
        let refresher = tokio::spawn(keep_current(
            (tables.clone(), self.resources.state_dir.clone()),
            settings.output.current_interval,
            self.progress.clone(),
            ended.clone(),
        ));
        let on_ready = Arc::new(Mutex::new(Some(on_ready)));
        let outcome = supervise(&supervisor, &self.supervision, |generation| {
            let (view, on_ready) = (self.view.clone(), on_ready.clone());
            let show = move |shown| {
                *view.lock().unwrap_or_else(PoisonError::into_inner) = shown;
                if let Some(on_ready) = on_ready.lock().unwrap_or_else(PoisonError::into_inner).take() {
                    on_ready();
                }
            };
            pipeline::run_generation(self.plan.clone(), self.resources.clone(), generation, show)
        })
        .await;
        // what was given up goes back without blame
        self.resources.ledger.release_all("handed back at the end".into(), Box::new(|_| ()));
        ended.cancel();
        // its last tables are written before ours
        let _ = refresher.await;
        let Self { resources, reports, ledger, started, .. } = self;
        let state_dir = resources.state_dir.clone();
        drop(resources);
        let last = tokio::task::spawn_blocking(move || end(reports, &tables, &state_dir, ledger)).await;
        // a failed pipeline is the cause of whatever fails after it
        let outcome = outcome?;
        last.map_err(|error| ServiceError::Fatal(error.to_string()))??;
        Ok(Finished { outcome, wall: started.elapsed() })
    }
}

/// Counts the pictures of earlier runs beside the start: there may be very many.
fn count_pictures(folder: PathBuf) -> Arc<AtomicU64> {
    let count = Arc::new(AtomicU64::new(0));
    let counter = count.clone();
    std::thread::spawn(move || counter.fetch_add(plan::picture_bytes(&folder), Ordering::Relaxed));
    count
}

fn open_ledger(
    output: &Path,
    (host, run_id): (&str, &str),
    shutdown: &Shutdown,
    progress: &Arc<Progress>,
) -> Result<(Ledger, ReportWriter), ServiceError> {
    let mut options = LedgerOptions::new(host, run_id);
    let (abort, progress) = (shutdown.abort.clone(), progress.clone());
    options.on_notice = Box::new(move |notice| match notice {
        LedgerNotice::Paused(reason) => {
            progress.ledger_waits.store(true, Ordering::Relaxed);
            warn!(reason, "the ledger cannot be written, waiting");
        }
        LedgerNotice::Resumed => {
            progress.ledger_waits.store(false, Ordering::Relaxed);
            info!("the ledger can be written again");
        }
        LedgerNotice::Fatal(reason) => {
            error!(reason, "the ledger has failed");
            abort.cancel();
        }
    });
    let state_dir = output.join("state");
    let ledger = Ledger::open(&state_dir, options)?;
    let abort = shutdown.abort.clone();
    let mut options = ReportOptions::new(output.join("reports"));
    options.on_notice = Box::new(move |notice| match notice {
        ReportNotice::Paused(reason) => warn!(reason, "the reports cannot be written, waiting"),
        ReportNotice::Resumed => info!("the reports can be written again"),
        ReportNotice::Fatal(reason) => {
            error!(reason, "the reports have failed");
            abort.cancel();
        }
    });
    let reports = ReportWriter::start(options, LedgerReader::open(&state_dir)?, ledger.handle())?;
    Ok((ledger, reports))
}

/// Gives each root its name, its last component made unique, and its number in the ledger.
///
/// A root is known by its name, so that it may be mounted elsewhere. A folder that has the name of a known root, while
/// that root still exists somewhere else, is another one and gets another name.
fn register_roots(ledger: &Ledger, output: &Path, paths: &[PathBuf]) -> Result<Vec<Arc<Root>>, ServiceError> {
    let known = LedgerReader::open(&output.join("state"))?.roots()?;
    let name_of = |path: &PathBuf| known.iter().find(|root| root.path == *path).map(|root| root.name.clone());
    // roots that stand where they stood keep their names, whatever stands beside them
    let mut taken: BTreeSet<_> = paths.iter().filter_map(name_of).collect();
    let mut named = Vec::new();
    for path in paths {
        let base =
            path.file_name().map_or_else(|| "root".to_owned(), |name| name.to_string_lossy().into_owned());
        let is_other = |name: &str| {
            let same_name = known.iter().find(|root| root.name == name);
            same_name.is_some_and(|root| root.path != *path && root.path.is_dir())
        };
        let name = name_of(path).unwrap_or_else(|| {
            let mut candidates =
                std::iter::once(base.clone()).chain((2..).map(|number| format!("{base}-{number}")));
            candidates
                .find(|name| !taken.contains(name) && !is_other(name))
                .expect("there is always another number")
        });
        taken.insert(name.clone());
        named.push((name, path.clone()));
    }
    let ids = crate::store::wait(|reply| ledger.handle().register_roots(named.clone(), reply))?;
    let roots = named.into_iter().zip(ids).map(|((name, path), id)| Arc::new(Root { id, name, path }));
    Ok(roots.collect())
}

/// Renews the tables while there is work, at a bounded share of the time, until the end.
async fn keep_current(
    (tables, state_dir): (CurrentTables, PathBuf),
    interval: Duration,
    progress: Arc<Progress>,
    ended: CancellationToken,
) {
    let mut pause = interval;
    let mut shown = None;
    while ended.run_until_cancelled(tokio::time::sleep(pause)).await.is_some() {
        let done = progress.snapshot();
        if shown.as_ref() == Some(&done) {
            continue;
        }
        let (tables, state_dir) = (tables.clone(), state_dir.clone());
        let started = Instant::now();
        let refreshed = tokio::task::spawn_blocking(move || refresh(&tables, &state_dir)).await;
        match refreshed {
            Ok(Ok(())) => shown = Some(done),
            Ok(Err(error)) => warn!(error, "the tables could not be renewed"),
            Err(error) => warn!(%error, "the tables could not be renewed"),
        }
        pause = next_refresh(interval, started.elapsed());
    }
}

fn refresh(tables: &CurrentTables, state_dir: &Path) -> Result<(), String> {
    let reader = LedgerReader::open(state_dir).map_err(|error| error.to_string())?;
    tables.refresh(&reader).map_err(|error| error.to_string())
}

/// The last lines, the last tables, the ledger: in this order.
fn end(
    reports: ReportWriter,
    tables: &CurrentTables,
    state_dir: &Path,
    ledger: Ledger,
) -> Result<(), ServiceError> {
    reports.close();
    let refreshed = refresh(tables, state_dir);
    ledger.close();
    refreshed.map_err(ServiceError::Tables)
}

/// A name for this run: when it started, and its process.
fn run_id() -> String {
    let now = humantime::format_rfc3339_seconds(std::time::SystemTime::now());
    format!("{now}-{}", std::process::id())
}

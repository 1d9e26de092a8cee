//! The service as others see it: for `status` and for progress bars.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use serde::Serialize;
use tokio::sync::oneshot;

use crate::actor::{ByteBudgetSnapshot, StageSnapshot, Supervision, SupervisorStatus};
use crate::pipeline::{Resources, View};
use crate::platform::process::{self, ResidentMemory};
use crate::settings::PipelineSettings;
use crate::stages::bookkeeping::{Progress, ProgressSnapshot};
use crate::stages::reading::ReadGateSnapshot;
use crate::stages::settler::WaitingFile;
use crate::stages::verifier::VerifierSnapshot;
use crate::stages::watcher::{self, RootStatus};
use crate::store::{Counts, FileLocation, FileState, LedgerError, LedgerReader, Pause};

/// The service as others see it: for `status` and for progress bars. Cheap to clone.
#[derive(Clone)]
pub struct Watchtower {
    pub(super) resources: Resources,
    pub(super) supervision: Supervision,
    pub(super) progress: Arc<Progress>,
    pub(super) view: Arc<Mutex<View>>,
    pub(super) watched: watcher::Settings,
    pub(super) timeouts: PipelineSettings,
    pub(super) started: Instant,
    pub(super) run_id: String,
}

/// How the service stands.
#[derive(Debug, Clone, Serialize)]
pub struct Status {
    /// Process number.
    pub pid: u32,
    /// Version of scopewatch.
    pub version: &'static str,
    /// Name of this run in report lines.
    pub run_id: String,
    /// Time since the start in seconds.
    pub uptime_s: f64,
    /// Running, draining and so on.
    pub supervisor: SupervisorStatus,
    /// The pause that an operator has ordered; null while there is none.
    pub pause: Option<Pause>,
    /// For how long the output disk has been too full, in seconds; null while it is not.
    pub disk_full_s: Option<f64>,
    /// How fast planes may be read now, and why.
    pub reading: ReadGateSnapshot,
    /// The roots.
    pub roots: Vec<RootStatus>,
    /// Files that wait to be whole.
    pub n_waiting: usize,
    /// The first of them.
    pub waiting: Vec<WaitingFile>,
    /// Files that stay incomplete, the longest first; at most 20.
    pub incomplete: Vec<IncompleteFile>,
    /// Files of which anything is in work, beside those that wait.
    pub n_in_work: usize,
    /// What this run has done so far.
    pub progress: ProgressSnapshot,
    /// What the ledger holds; null where it cannot be read.
    pub ledger: Option<Counts>,
    /// Why the ledger cannot be read.
    pub ledger_error: Option<String>,
    /// The stages, in flow order.
    pub stages: Vec<StageSnapshot>,
    /// What verifying look-alikes took.
    pub verification: VerifierSnapshot,
    /// Memory that pixels, scratch and caches hold.
    pub memory: ByteBudgetSnapshot,
    /// Resident memory of the process in bytes, now and at its peak.
    pub resident_bytes: [u64; 2],
    /// Threads that compute.
    pub n_workers: usize,
}

/// A file that was given up waiting for; it is taken up once it changes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct IncompleteFile {
    /// The root's name in reports.
    pub root: String,
    /// The file below its root, as reports name it.
    pub file: String,
    /// What is missing.
    pub reason: String,
}

/// Incomplete files that a status names.
const INCOMPLETE_MAX: usize = 20;
/// Files that are looked through for them.
const UNFINISHED_MAX: usize = 10_000;

/// The files that stay incomplete, the longest first; at most 20.
///
/// # Errors
/// When the ledger cannot be read.
pub fn incomplete_files(reader: &LedgerReader) -> Result<Vec<IncompleteFile>, LedgerError> {
    let roots = reader.roots()?;
    let mut files = reader.unfinished_files(UNFINISHED_MAX)?;
    files.retain(|file| file.state == FileState::Incomplete);
    files.truncate(INCOMPLETE_MAX);
    let name = |file: FileLocation| {
        let root = roots.iter().find(|root| root.id == file.root_id);
        let root = root.map(|root| root.name.clone()).unwrap_or_default();
        let histories = reader.explain(&format!("{root}/{}", file.path.to_report()))?;
        let own = histories.into_iter().find(|history| history.location.file_id == file.file_id);
        let last = own.and_then(|mut history| history.events.pop());
        let reason = last.map(|event| event.reason).unwrap_or_default();
        Ok(IncompleteFile { root, file: file.path.to_report(), reason })
    };
    files.into_iter().map(name).collect()
}

impl Watchtower {
    /// How the service stands now. Reads the ledger: call it off the runtime's workers.
    pub fn status(&self) -> Status {
        let view = self.view();
        let (n_waiting, waiting) = view.waiting.snapshot(20);
        let ResidentMemory { now_bytes, peak_bytes } = process::resident_memory();
        let read = LedgerReader::open(&self.resources.state_dir)
            .and_then(|reader| Ok((incomplete_files(&reader)?, reader.counts()?)));
        let (incomplete, ledger, ledger_error) = match read {
            Ok((incomplete, counts)) => (incomplete, Some(counts), None),
            Err(error) => (Vec::new(), None, Some(error.to_string())),
        };
        Status {
            pid: std::process::id(),
            version: env!("CARGO_PKG_VERSION"),
            run_id: self.run_id.clone(),
            uptime_s: self.started.elapsed().as_secs_f64(),
            supervisor: (*self.supervision.status.current()).clone(),
            pause: self.resources.pause.current(),
            disk_full_s: self.resources.space.paused_for().map(|paused| paused.as_secs_f64()),
            reading: self.resources.reading.snapshot(),
            roots: view.watch.snapshot(),
            n_waiting,
            waiting,
            incomplete,
            n_in_work: self.n_in_work(n_waiting),
            progress: self.progress.snapshot(),
            ledger,
            ledger_error,
            stages: self.resources.statistics.snapshot(),
            verification: self.resources.verification.snapshot(),
            memory: self.resources.budget.snapshot(),
            resident_bytes: [now_bytes, peak_bytes],
            n_workers: self.resources.cpu.snapshot().n_threads,
        }
    }

    /// Files in work: those that wait are held, too, but count as waiting.
    pub(super) fn n_in_work(&self, n_waiting: usize) -> usize {
        self.resources.in_work.len().saturating_sub(n_waiting)
    }

    /// Whether no file waits and none is in work.
    pub fn is_idle(&self) -> bool {
        self.resources.in_work.is_empty()
    }

    pub(super) fn view(&self) -> View {
        self.view.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// What this run has done so far.
    pub fn progress(&self) -> &Arc<Progress> {
        &self.progress
    }

    /// What every stage has done so far.
    pub fn stages(&self) -> Vec<StageSnapshot> {
        self.resources.statistics.snapshot()
    }

    /// Counts the files that a walk will hand out, beside the work, so that a progress bar knows its length.
    pub fn count_new_files(&self) -> oneshot::Receiver<u64> {
        let (sender, receiver) = oneshot::channel();
        let (settings, state_dir) = (self.watched.clone(), self.resources.state_dir.clone());
        tokio::task::spawn_blocking(move || {
            if let Ok(count) =
                LedgerReader::open(&state_dir).and_then(|reader| watcher::count_new_files(&settings, reader))
            {
                // whoever asked may be done already
                let _ = sender.send(count);
            }
        });
        receiver
    }

    /// Where readers of the ledger find it.
    pub fn state_dir(&self) -> &Path {
        &self.resources.state_dir
    }
}

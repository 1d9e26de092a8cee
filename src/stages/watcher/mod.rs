//! Finds files: a periodic walk of every root, compared with the ledger, is the truth; change events of the system
//! only say where to look sooner. A root that is not there is *offline*; nothing is ever taken for deleted.

mod hints;
mod walk;

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde::Serialize;
use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::actor::{MailboxSender, StageError};
use crate::messages::{InWork, SeenFile};
use crate::paths::{RelativePath, Root};
use crate::platform::filesystem::{self, ChangeEvents};
use crate::store::{Alert, LedgerHandle, LedgerReader};

pub use hints::Hints;
use hints::{Due, EventSource};
pub use walk::{FileFilter, WalkReport};

/// The name in counters, logs and rejections.
pub const NAME: &str = "watcher";

/// What to watch, and how.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The roots, none inside another.
    pub roots: Vec<WatchedRoot>,
    /// Which files are taken up.
    pub filter: FileFilter,
    /// From the end of one whole walk to the start of the next.
    pub scan_interval: Duration,
    /// Walk once and end, instead of watching.
    pub once: bool,
}

/// A root, and what of it is watched.
#[derive(Debug, Clone)]
pub struct WatchedRoot {
    /// The root.
    pub root: Arc<Root>,
    /// Paths below it; everything where there is none. A file named here is taken whatever the filter says.
    pub only: Vec<PathBuf>,
}

/// How one root stands.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct RootStatus {
    /// The root's name in reports.
    pub name: String,
    /// Where it is.
    pub path: PathBuf,
    /// `online` or `offline`.
    pub state: &'static str,
    /// `events` or `polled`, with the reason for polling.
    pub noticing: String,
    /// Files found by the last whole walk.
    pub files: u64,
    /// Folders found by the last whole walk.
    pub folders: u64,
    /// How long the last whole walk took.
    pub walk_s: f64,
    /// Whole walks so far.
    pub walks: u64,
    /// New files that an event led to.
    pub found_by_event: u64,
    /// New files that only the periodic walk found.
    pub found_by_walk: u64,
    /// Folders and files that could not be listed at the last whole walk, with the reason; the first few.
    pub refusals: Vec<String>,
}

/// How all roots stand; shared with whoever shows it.
#[derive(Debug, Clone, Default)]
pub struct WatchStatus(Arc<Mutex<Vec<RootStatus>>>);

impl WatchStatus {
    /// The state of each root, in the order of the settings.
    pub fn snapshot(&self) -> Vec<RootStatus> {
        self.lock().clone()
    }

    fn lock(&self) -> MutexGuard<'_, Vec<RootStatus>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The first doer of the line; it has no mailbox, the folders are its input.
pub struct Watcher {
    settings: Settings,
    reader: Arc<Mutex<LedgerReader>>,
    ledger: LedgerHandle,
    in_work: InWork,
    hints: Arc<Hints>,
    status: WatchStatus,
    sources: Vec<Source>,
}

/// Counts the files that a walk of everything would hand out now.
///
/// # Errors
/// When the ledger cannot be read.
pub fn count_new_files(settings: &Settings, reader: &LedgerReader) -> Result<u64, crate::store::LedgerError> {
    let mut report = WalkReport::default();
    for WatchedRoot { root, only } in &settings.roots {
        let everything = [PathBuf::new()];
        let paths = if only.is_empty() { &everything[..] } else { &only[..] };
        for path in paths {
            let visit = &mut |_| ControlFlow::Continue(());
            report.add(walk::walk_named(root, path, &settings.filter, reader, visit)?);
        }
    }
    Ok(report.new_files)
}

/// [`walk::walk_named`] or [`walk::walk_hinted`].
type WalkFunction<R> = fn(
    &Root,
    &Path,
    &FileFilter,
    &LedgerReader,
    &mut dyn FnMut(RelativePath) -> ControlFlow<()>,
) -> Result<R, crate::store::LedgerError>;

/// What is held for one root between walks.
#[derive(Default)]
struct Source {
    events: Option<EventSource>,
    /// Device and inode of the root when its events were subscribed to: another one means a remount.
    identity: Option<(u64, u64)>,
}

impl Watcher {
    /// Puts a watcher together; nothing is touched yet.
    pub fn new(
        settings: Settings,
        reader: LedgerReader,
        ledger: LedgerHandle,
        in_work: InWork,
        hints: Arc<Hints>,
    ) -> (Self, WatchStatus) {
        let status = WatchStatus::default();
        *status.lock() = settings
            .roots
            .iter()
            .map(|WatchedRoot { root, .. }| RootStatus {
                name: root.name.clone(),
                path: root.path.clone(),
                ..Default::default()
            })
            .collect();
        let sources = settings.roots.iter().map(|_| Source::default()).collect();
        let reader = Arc::new(Mutex::new(reader));
        (Self { settings, reader, ledger, in_work, hints, status: status.clone(), sources }, status)
    }

    /// Hands out new files until `stop`; with `once`, until every root has been walked.
    ///
    /// # Errors
    /// Fatal when the ledger cannot be read.
    pub async fn run(
        mut self,
        out: MailboxSender<SeenFile>,
        stop: CancellationToken,
    ) -> Result<(), StageError> {
        let mut ticks = tokio::time::interval(self.settings.scan_interval);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let hints = self.hints.clone();
            let due = tokio::select! {
                biased;
                () = stop.cancelled() => return Ok(()),
                _ = ticks.tick() => Due::Everything,
                due = hints.next() => due,
            };
            match due {
                Due::Everything => {
                    self.walk_everything(&out, &stop).await?;
                    ticks.reset();
                }
                Due::Paths(paths) => self.walk_hinted(paths, &out, &stop).await?,
            }
            if self.settings.once {
                return Ok(());
            }
        }
    }

    async fn walk_everything(
        &mut self,
        out: &MailboxSender<SeenFile>,
        stop: &CancellationToken,
    ) -> Result<(), StageError> {
        for index in 0..self.settings.roots.len() {
            if !self.check_root(index).await {
                continue;
            }
            let WatchedRoot { root, only } = self.settings.roots[index].clone();
            let started = Instant::now();
            let mut report = WalkReport::default();
            let everything = vec![PathBuf::new()];
            for path in if only.is_empty() { everything } else { only } {
                report.add(self.on_thread((root.clone(), path), out, stop, walk::walk_named).await?);
            }
            let mut roots = self.status.lock();
            let status = &mut roots[index];
            status.walks += 1;
            status.walk_s = started.elapsed().as_secs_f64();
            (status.files, status.folders) = (report.files, report.folders);
            status.found_by_walk += report.new_files;
            status.refusals =
                report.refusals.iter().map(|(path, why)| format!("{}: {why}", path.display())).collect();
        }
        Ok(())
    }

    async fn walk_hinted(
        &mut self,
        paths: Vec<PathBuf>,
        out: &MailboxSender<SeenFile>,
        stop: &CancellationToken,
    ) -> Result<(), StageError> {
        for path in paths {
            let roots = self.settings.roots.iter().enumerate();
            let found = roots
                .filter_map(|(index, watched)| Some((index, path.strip_prefix(&watched.root.path).ok()?)))
                .next();
            let Some((index, below)) = found else { continue };
            let root = self.settings.roots[index].root.clone();
            let Some(report) = self.on_thread((root, below.to_owned()), out, stop, walk::walk_hinted).await?
            else {
                continue;
            };
            self.status.lock()[index].found_by_event += report.new_files;
            if report.folders > 0 {
                self.hints.look_again(&path);
            }
        }
        Ok(())
    }

    /// Walks on a blocking thread; a full mailbox makes the walk wait.
    async fn on_thread<R: Send + 'static>(
        &self,
        (root, path): (Arc<Root>, PathBuf),
        out: &MailboxSender<SeenFile>,
        stop: &CancellationToken,
        walk: WalkFunction<R>,
    ) -> Result<R, StageError> {
        let (filter, reader) = (self.settings.filter.clone(), self.reader.clone());
        let (in_work, out, stop) = (self.in_work.clone(), out.clone(), stop.clone());
        let runtime = tokio::runtime::Handle::current();
        let walked = tokio::task::spawn_blocking(move || {
            let reader = reader.lock().unwrap_or_else(PoisonError::into_inner);
            walk(&root, &path, &filter, &reader, &mut |path| {
                let Some(ticket) = in_work.ticket(&root, path) else { return ControlFlow::Continue(()) };
                if stop.is_cancelled() || runtime.block_on(out.send(SeenFile { ticket })).is_err() {
                    return ControlFlow::Break(());
                }
                ControlFlow::Continue(())
            })
        });
        walked.await.map_err(StageError::fatal)?.map_err(StageError::fatal)
    }

    /// Whether the root is there; subscribes to its events when it has come, or come back as another file system.
    async fn check_root(&mut self, index: usize) -> bool {
        let root = self.settings.roots[index].root.clone();
        let identity = tokio::task::spawn_blocking({
            let path = root.path.clone();
            move || path.is_dir().then(|| filesystem::stat_path(&path).ok()).flatten()
        });
        let identity = identity.await.ok().flatten().map(|stat| (stat.device, stat.inode));
        let source = &mut self.sources[index];
        if identity.is_none() {
            source.events = None;
            source.identity = None;
            self.go_offline(index, &root);
            return false;
        }
        if source.identity != identity {
            source.events = None;
            source.identity = identity;
            let noticing = self.subscribe(index, &root.path).await;
            info!(root = %root.path.display(), noticing, "the root is online");
            let mut roots = self.status.lock();
            (roots[index].state, roots[index].noticing) = ("online", noticing);
        }
        true
    }

    fn go_offline(&self, index: usize, root: &Root) {
        let was = std::mem::replace(&mut self.status.lock()[index].state, "offline");
        if was != "offline" {
            warn!(root = %root.path.display(), "the root is not there; it is offline, nothing in it is taken for deleted");
            let text = format!("the watched folder {} is not there", root.path.display());
            let mut alert = Alert { kind: "root_offline".into(), text, ..Alert::default() };
            alert.fields.insert("root".into(), root.name.clone().into());
            self.ledger.emit_alert(alert, Box::new(|_| ()));
        }
    }

    /// Subscribes to events where they can be expected; says how changes will be noticed.
    async fn subscribe(&mut self, index: usize, path: &Path) -> String {
        if self.settings.once {
            return "walked once".to_owned();
        }
        let (path, hints) = (path.to_owned(), self.hints.clone());
        let subscribed = tokio::task::spawn_blocking(move || match filesystem::change_events(&path) {
            Ok(ChangeEvents::Local) => EventSource::new(&path, hints),
            Ok(ChangeEvents::PollOnly(kind)) => Err(format!("{kind} file system")),
            Err(error) => Err(error.to_string()),
        });
        match subscribed.await.unwrap_or_else(|error| Err(error.to_string())) {
            Ok(events) => {
                self.sources[index].events = Some(events);
                "events".to_owned()
            }
            Err(reason) => format!("polled ({reason})"),
        }
    }
}

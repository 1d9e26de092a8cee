//! Finds files: a periodic walk of every root, compared with the ledger, is the truth; change events of the system
//! only say where to look sooner. A root that is not there is *offline*; nothing is ever taken for deleted.

mod hints;
mod rescan;
mod source;
mod status;
mod walk;

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use dashmap::DashSet;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::actor::{MailboxSender, StageCounters, StageError, TrySendError};
use crate::messages::{InWork, SeenFile};
use crate::paths::{RelativePath, Root};
use crate::store::{Alert, LedgerError, LedgerHandle, LedgerReader};

use hints::Due;
pub use hints::Hints;
pub use rescan::{Rescans, RootFound};
use source::{Source, Standing};
pub use status::{RootStatus, WatchStatus};
pub use walk::{FileFilter, Refusal, WalkReport};
use walk::{Ground, Met, Visit};

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
    /// Roots (by number) on network and FUSE file systems; the watcher keeps it true as roots come and go.
    pub network_roots: Arc<DashSet<i64>>,
    /// Whole walks that somebody asks for.
    pub rescans: Rescans,
}

/// A root, and what of it is watched.
#[derive(Debug, Clone)]
pub struct WatchedRoot {
    /// The root.
    pub root: Arc<Root>,
    /// Paths below it; everything where there is none. A file named here is taken whatever the filter says.
    pub only: Vec<PathBuf>,
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
    silence_max: Duration,
}

/// Where a watcher puts what it finds, what it counts with, and when it ends.
struct Desk {
    out: MailboxSender<SeenFile>,
    counters: Arc<StageCounters>,
    stop: CancellationToken,
}

/// A walk that says nothing for this long hangs in a call: its root is taken for offline.
const SILENCE_MAX: Duration = Duration::from_secs(30);
/// What a walk may have met that is not looked at yet.
const MET_MAX: usize = 64;
/// The shortest pause between two walks of everything that hints ask for, …
const PAUSE_MIN: Duration = Duration::from_secs(1);
/// … and how many times the duration of the last walk it takes.
const PAUSE_PER_WALK: u32 = 10;

/// Walks of a scan: a file that changes under every reading is left for the next one.
const WALKS_ONCE_MAX: usize = 3;
/// How often a scan looks whether everything it handed out is done.
const IN_WORK_LOOK: Duration = Duration::from_millis(20);

/// [`Ground::walk_named`] or [`Ground::walk_hinted`].
type WalkFunction = fn(&Ground, &Path, Visit<'_>) -> Result<WalkReport, LedgerError>;

/// Counts the files that a walk of everything would hand out now.
///
/// # Errors
/// When the ledger cannot be read.
pub fn count_new_files(settings: &Settings, reader: LedgerReader) -> Result<u64, LedgerError> {
    let reader = Arc::new(Mutex::new(reader));
    let mut report = WalkReport::default();
    for WatchedRoot { root, only } in &settings.roots {
        let (root, filter) = (root.clone(), settings.filter.clone());
        let ground = Ground { root, filter, reader: reader.clone() };
        let everything = [PathBuf::new()];
        for path in if only.is_empty() { &everything[..] } else { &only[..] } {
            report.add(ground.walk_named(path, &mut |_| ControlFlow::Continue(()))?);
        }
    }
    Ok(report.new_files)
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
        let roots = settings.roots.iter().map(|WatchedRoot { root, .. }| RootStatus {
            name: root.name.clone(),
            path: root.path.clone(),
            ..Default::default()
        });
        let status = WatchStatus::new(roots);
        let sources = settings.roots.iter().map(|_| Source::default()).collect();
        let reader = Arc::new(Mutex::new(reader));
        let shown = status.clone();
        let silence_max = SILENCE_MAX;
        (Self { settings, reader, ledger, in_work, hints, status, sources, silence_max }, shown)
    }

    /// Hands out new files until `stop`; with `once`, until every root has been walked.
    ///
    /// # Errors
    /// Fatal when the ledger cannot be read.
    pub async fn run(
        mut self,
        out: MailboxSender<SeenFile>,
        stop: CancellationToken,
        counters: Arc<StageCounters>,
    ) -> Result<(), StageError> {
        let desk = Desk { out, counters, stop };
        if self.settings.once {
            return self.walk_once(&desk).await;
        }
        let mut walk_at = Instant::now();
        // however many hints ask for everything, most of the time is left to other work
        let mut hinted_walk_from = walk_at;
        loop {
            let (hints, rescans) = (self.hints.clone(), self.settings.rescans.clone());
            let due = tokio::select! {
                biased;
                () = desk.stop.cancelled() => return Ok(()),
                rescan = rescans.next() => {
                    self.rescan(rescan, &desk).await?;
                    continue;
                }
                () = sleep_until(walk_at) => None,
                due = hints.next() => Some(due),
            };
            match due {
                None => {
                    let started = Instant::now();
                    self.walk_everything(&desk).await?;
                    let ended = Instant::now();
                    walk_at = ended + self.settings.scan_interval;
                    hinted_walk_from = ended + PAUSE_MIN.max((ended - started) * PAUSE_PER_WALK);
                }
                Some(Due::Everything) => walk_at = walk_at.min(hinted_walk_from),
                Some(Due::Paths(paths)) => self.walk_hinted(paths, &desk).await?,
            }
        }
    }

    /// Walks every root; how many files that handed out.
    async fn walk_everything(&mut self, desk: &Desk) -> Result<u64, StageError> {
        let mut n_handed_out = 0;
        for index in 0..self.settings.roots.len() {
            n_handed_out += self.walk_root(index, desk).await?.map_or(0, |report| report.new_files);
        }
        Ok(n_handed_out)
    }

    /// Walks one root; `None` where it is offline or the walk was broken off.
    async fn walk_root(&mut self, index: usize, desk: &Desk) -> Result<Option<WalkReport>, StageError> {
        if !self.check_root(index).await {
            return Ok(None);
        }
        let only = self.settings.roots[index].only.clone();
        let started = Instant::now();
        let mut whole = WalkReport::default();
        for path in if only.is_empty() { vec![PathBuf::new()] } else { only } {
            match self.walk(index, path, desk, Ground::walk_named).await? {
                Some(report) => whole.add(report),
                None => return Ok(None),
            }
        }
        self.tell_refusals(index, &whole.refusals).await;
        let mut roots = self.status.lock();
        let status = &mut roots[index];
        status.walks += 1;
        status.walk_s = started.elapsed().as_secs_f64();
        (status.files, status.folders) = (whole.files, whole.folders);
        status.found_by_walk += whole.new_files;
        Ok(Some(whole))
    }

    /// Walks until a walk hands nothing out: files that changed while they were read are taken up again.
    async fn walk_once(&mut self, desk: &Desk) -> Result<(), StageError> {
        for _ in 0..WALKS_ONCE_MAX {
            if self.walk_everything(desk).await? == 0 {
                break;
            }
            while !self.in_work.is_empty() && !desk.stop.is_cancelled() {
                tokio::time::sleep(IN_WORK_LOOK).await;
            }
        }
        Ok(())
    }

    async fn walk_hinted(&mut self, paths: Vec<PathBuf>, desk: &Desk) -> Result<(), StageError> {
        for path in paths {
            let mut roots = self.settings.roots.iter().enumerate();
            let found =
                roots.find_map(|(index, watched)| Some((index, path.strip_prefix(&watched.root.path).ok()?)));
            let Some((index, below)) = found else { continue };
            if self.sources[index].is_stuck() {
                continue;
            }
            let Some(report) = self.walk(index, below.to_owned(), desk, Ground::walk_hinted).await? else {
                continue;
            };
            self.status.lock()[index].found_by_event += report.new_files;
            if report.folders > 0 {
                self.hints.look_again(&path);
            }
        }
        Ok(())
    }

    /// Walks on a thread of its own and hands out what it finds; new in the report are the files that were handed
    /// out. `None` when the walk was told to stop, or hangs and is left behind.
    async fn walk(
        &mut self,
        index: usize,
        path: PathBuf,
        desk: &Desk,
        walk: WalkFunction,
    ) -> Result<Option<WalkReport>, StageError> {
        let root = self.settings.roots[index].root.clone();
        let (filter, reader) = (self.settings.filter.clone(), self.reader.clone());
        let ground = Ground { root: root.clone(), filter, reader };
        let (say, mut heard) = mpsc::channel(MET_MAX);
        let walking = tokio::task::spawn_blocking(move || {
            // once nobody listens any more, the walk ends with the next thing that it meets
            walk(&ground, &path, &mut |met| match say.blocking_send(met) {
                Ok(()) => ControlFlow::Continue(()),
                Err(_) => ControlFlow::Break(()),
            })
        });
        let _work = desk.counters.begin_work();
        let mut n_handed_out = 0;
        loop {
            let met = tokio::select! {
                biased;
                () = desk.stop.cancelled() => return Ok(None),
                met = timeout(self.silence_max, heard.recv()) => met,
            };
            desk.counters.progress();
            match met {
                Ok(Some(Met::Beat)) => {}
                Ok(Some(Met::New(path))) => {
                    let Some(ticket) = self.in_work.ticket(&root, path) else { continue };
                    if !desk.hand_out(SeenFile { ticket }).await {
                        return Ok(None);
                    }
                    n_handed_out += 1;
                }
                Ok(None) => break,
                Err(_) => {
                    self.sources[index].leave_behind(walking.abort_handle());
                    self.go_offline(index, SILENT).await;
                    return Ok(None);
                }
            }
        }
        let report = walking.await.map_err(StageError::fatal)?.map_err(StageError::fatal)?;
        Ok(Some(WalkReport { new_files: n_handed_out, ..report }))
    }

    /// Whether the root is there and answers.
    async fn check_root(&mut self, index: usize) -> bool {
        let root = self.settings.roots[index].root.clone();
        let hints = (!self.settings.once).then_some(&self.hints);
        let source = &mut self.sources[index];
        match source.check(&root.path, hints, source::ask).await {
            Standing::Absent => self.go_offline(index, ABSENT).await,
            Standing::Silent => self.go_offline(index, SILENT).await,
            Standing::Online(None) => return true,
            Standing::Online(Some(noticing)) => {
                if source.is_network() {
                    self.settings.network_roots.insert(root.id);
                } else {
                    self.settings.network_roots.remove(&root.id);
                }
                info!(root = %root.path.display(), noticing, "the root is online");
                let mut roots = self.status.lock();
                (roots[index].state, roots[index].noticing) = ("online", noticing);
                return true;
            }
        }
        false
    }

    async fn go_offline(&self, index: usize, (state, why): (&'static str, &str)) {
        let was = std::mem::replace(&mut self.status.lock()[index].state, state);
        if was != state {
            let Root { name, path, .. } = &*self.settings.roots[index].root;
            warn!(root = %path.display(), why, "the root is offline, nothing in it is taken for deleted");
            let text = format!("the watched folder {} {why}", path.display());
            let mut alert = Alert { kind: "root_offline".into(), text, ..Alert::default() };
            alert.fields.insert("root".into(), name.clone().into());
            self.alert(alert).await;
        }
    }

    /// Shows what the last walk could not look at: in the log when that has changed, as an alert once for each path.
    async fn tell_refusals(&mut self, index: usize, refusals: &[Refusal]) {
        let root = self.settings.roots[index].root.clone();
        let texts: Vec<_> = refusals
            .iter()
            .map(|refused| format!("{}: {}", refused.path.display(), refused.reason))
            .collect();
        let shown = std::mem::replace(&mut self.status.lock()[index].refusals, texts.clone());
        if let Some(first) = texts.first().filter(|_| shown != texts) {
            warn!(root = %root.path.display(), n = texts.len(), first, "not everything can be looked at");
        }
        for Refusal { path, is_folder, reason } in refusals {
            if !self.sources[index].is_news(path) {
                continue;
            }
            let kind = if *is_folder { "unreadable_folder" } else { "unreadable_file" };
            let text = format!("{} cannot be looked at: {reason}", root.path.join(path).display());
            let mut alert = Alert { kind: kind.into(), text, ..Alert::default() };
            alert.fields.insert("root".into(), root.name.clone().into());
            let below = RelativePath::new(path.as_path()).to_report();
            alert.fields.insert(if *is_folder { "folder" } else { "file" }.into(), below.into());
            self.alert(alert).await;
        }
    }

    /// Writes an alert down; waits for its commit where the process may end right after the walk.
    async fn alert(&self, alert: Alert) {
        let (say, committed) = oneshot::channel();
        let reply = move |_| {
            // nobody waits while the roots are watched
            let _ = say.send(());
        };
        self.ledger.emit_alert(alert, Box::new(reply));
        if self.settings.once {
            // a ledger that has failed ends the pipeline by itself
            let _ = committed.await;
        }
    }
}

/// States of a root that cannot be walked, and why.
const ABSENT: (&str, &str) = ("offline", "is not there");
const SILENT: (&str, &str) = ("offline (does not answer)", "does not answer");

impl Desk {
    /// Hands a file out; waits, and counts the wait, while the mailbox is full. False when the work is to end.
    async fn hand_out(&self, seen: SeenFile) -> bool {
        let sent = match self.out.try_send(seen) {
            Ok(()) => true,
            Err(TrySendError::Closed(_)) => false,
            Err(TrySendError::Full(seen)) => {
                let _wait = self.counters.begin_waiting_output();
                tokio::select! {
                    biased;
                    () = self.stop.cancelled() => false,
                    sent = self.out.send(seen) => sent.is_ok(),
                }
            }
        };
        self.counters.add_out(sent.into());
        sent
    }
}

#[cfg(test)]
mod tests;

//! Decides when a file is really written: at rest over the quiet period by open and fstat, without a writer, whole by
//! its format; then claims it in the ledger and opens it for the decoder.

mod candidate;
mod gates;

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use dashmap::DashSet;
use serde::Serialize;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use crate::actor::{IoPool, Stage, StageError, StageOutbox};
use crate::analysis::hashing::PixelDigest;
use crate::analysis::identity::{self, IdentityPatterns, PlateIdentity};
use crate::formats::{Container, Limits};
use crate::messages::{FileContext, SeenFile, SettledFile, Ticket};
use crate::paths::FileStat;
use crate::stages::bookkeeping::Bookkeeping;
use crate::stages::figures;
use crate::stages::pause::PauseSwitch;
use crate::store::{Alert, Claimed, ClaimedPlane, FileClaim, FileState, PlaneState};

use candidate::{Candidate, Note, Verdict};
pub use candidate::{Look, Patience};

/// How files are waited for.
#[derive(Debug, Clone)]
pub struct Settings {
    /// For roots on local disks.
    pub patience: Patience,
    /// For roots on network and FUSE file systems.
    pub patience_network: Patience,
    /// Roots (by number) on network and FUSE file systems, as they were last found.
    pub network_roots: Arc<DashSet<i64>>,
    /// Everything lies there already: an unfinished file is rejected at once instead of being waited for.
    pub once: bool,
    /// What a file may claim.
    pub limits: Limits,
    /// How names give plate, well and so on.
    pub patterns: IdentityPatterns,
}

/// The candidates beyond which the watcher has to wait.
const CANDIDATES_MAX: usize = 20_000;
/// How often the settler looks whose time has come.
const TICK: Duration = Duration::from_millis(20);

/// Waits for files to be whole.
pub struct Settler {
    settings: Arc<Settings>,
    books: Bookkeeping,
    io: IoPool,
    pause: PauseSwitch,
    stop: CancellationToken,
    waiting: Waiting,
}

/// The candidates, shared with the jobs that look at them.
#[derive(Debug, Clone, Default)]
pub struct Waiting(Arc<Mutex<Queue>>);

#[derive(Debug, Default)]
struct Queue {
    candidates: HashMap<u64, (Ticket, Candidate)>,
    due: BTreeSet<(Instant, u64)>,
    last_number: u64,
}

/// A file that waits, for `status`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct WaitingFile {
    /// The file below its root, as reports name it.
    pub file: String,
    /// `growing`, `being_written` and so on.
    pub state: &'static str,
}

impl Waiting {
    /// How many files wait, and the first few of them by name.
    pub fn snapshot(&self, n_max: usize) -> (usize, Vec<WaitingFile>) {
        let queue = self.lock();
        let mut files: Vec<_> = queue
            .candidates
            .values()
            .map(|(ticket, file)| WaitingFile { file: ticket.path.to_report(), state: file.state().name() })
            .collect();
        files.sort_by(|a, b| a.file.cmp(&b.file));
        files.truncate(n_max);
        (queue.candidates.len(), files)
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn add(&self, ticket: Ticket, now: Instant) {
        let mut queue = self.lock();
        queue.last_number += 1;
        let number = queue.last_number;
        queue.candidates.insert(number, (ticket, Candidate::new(now)));
        queue.due.insert((now, number));
    }

    fn next_due(&self, now: Instant) -> Option<u64> {
        let mut queue = self.lock();
        let first = *queue.due.first()?;
        (first.0 <= now).then(|| {
            queue.due.remove(&first);
            first.1
        })
    }

    /// Looks at one candidate off the runtime's workers, and judges what the look showed. Whatever comes of it, a
    /// panic of the look included, a candidate that is not to be looked at again is no candidate any more.
    async fn look<T: Send + 'static>(
        &self,
        number: u64,
        patience: Patience,
        io: &IoPool,
        look: impl FnOnce(Option<FileStat>) -> Look<T> + Send + 'static,
    ) -> Result<Option<Verdict<T>>, StageError> {
        let mut under_look = UnderLook { waiting: self, number, stays: false };
        let at_rest = {
            let queue = self.lock();
            queue.candidates.get(&number).and_then(|(_, file)| file.at_rest(Instant::now(), patience))
        };
        let look = io.run(move |_| look(at_rest)).await?;
        let mut queue = self.lock();
        let Some((_, file)) = queue.candidates.get_mut(&number) else { return Ok(None) };
        let verdict = file.judge(look, Instant::now(), patience);
        if let Verdict::Wait(next, _) = &verdict {
            queue.due.insert((*next, number));
            under_look.stays = true;
        }
        drop(queue);
        Ok(Some(verdict))
    }

    fn is_full(&self) -> bool {
        self.lock().candidates.len() >= CANDIDATES_MAX
    }

    fn is_empty(&self) -> bool {
        self.lock().candidates.is_empty()
    }
}

/// A candidate whose look is under way: it has no due time, so it goes unless the look gives it one.
struct UnderLook<'a> {
    waiting: &'a Waiting,
    number: u64,
    stays: bool,
}

impl Drop for UnderLook<'_> {
    fn drop(&mut self) {
        if !self.stays {
            self.waiting.lock().candidates.remove(&self.number);
        }
    }
}

impl Settler {
    /// Puts a settler together, and the view of what it waits for; after `stop` nothing is waited for any more.
    pub fn new(
        settings: Settings,
        books: Bookkeeping,
        io: IoPool,
        pause: PauseSwitch,
        stop: CancellationToken,
    ) -> (Self, Waiting) {
        let waiting = Waiting::default();
        (Self { settings: Arc::new(settings), books, io, pause, stop, waiting: waiting.clone() }, waiting)
    }

    /// Starts a look at every candidate whose time has come; during a pause they wait, and are looked at after it.
    async fn look_at_due(&mut self, out: &mut StageOutbox<Self>) -> Result<(), StageError> {
        if self.pause.current().is_some() {
            return Ok(());
        }
        while let Some(number) = self.waiting.next_due(Instant::now()) {
            let Some(ticket) = self.waiting.lock().candidates.get(&number).map(|(ticket, _)| ticket.clone())
            else {
                continue;
            };
            let job = LookJob {
                settings: self.settings.clone(),
                books: self.books.clone(),
                io: self.io.clone(),
                waiting: self.waiting.clone(),
                ticket: ticket.clone(),
                number,
            };
            out.send_when(ticket, job.run()).await?;
        }
        Ok(())
    }
}

impl Stage for Settler {
    const NAME: &'static str = "settler";
    type Input = SeenFile;
    type Output = SettledFile;

    async fn process(&mut self, seen: SeenFile, out: &mut StageOutbox<Self>) -> Result<(), StageError> {
        if self.waiting.is_full() {
            // one guard for the whole wait: a guard in each round would pass for progress of looks that hang
            let _wait = out.counters().protect();
            while self.waiting.is_full() && !self.stop.is_cancelled() {
                self.look_at_due(out).await?;
                tokio::time::sleep(TICK).await;
            }
        }
        self.waiting.add(seen.ticket, Instant::now());
        Ok(())
    }

    fn tick_period(&self) -> Option<Duration> {
        Some(TICK)
    }

    async fn tick(&mut self, out: &mut StageOutbox<Self>) -> Result<(), StageError> {
        self.look_at_due(out).await
    }

    /// While everything lies there already, every candidate is seen through; otherwise those that still wait will be
    /// found again at the next start.
    async fn finish(&mut self, out: &mut StageOutbox<Self>) -> Result<(), StageError> {
        let _wait = out.counters().protect();
        while self.settings.once && !self.waiting.is_empty() && !self.stop.is_cancelled() {
            self.look_at_due(out).await?;
            tokio::time::sleep(TICK).await;
        }
        self.waiting.lock().candidates.clear();
        Ok(())
    }
}

/// One look at one candidate, and what follows from it.
struct LookJob {
    settings: Arc<Settings>,
    books: Bookkeeping,
    io: IoPool,
    waiting: Waiting,
    ticket: Ticket,
    number: u64,
}

impl LookJob {
    async fn run(self) -> Result<Option<SettledFile>, StageError> {
        let network = self.settings.network_roots.contains(&self.ticket.root.id);
        let patience = if network { self.settings.patience_network } else { self.settings.patience };
        let (path, limits, once) = (self.ticket.absolute_path(), self.settings.limits, self.settings.once);
        let look = move |at_rest| gates::look(&path, at_rest, once, &limits);
        match self.waiting.look(self.number, patience, &self.io, look).await? {
            Some(verdict) => self.follow(verdict).await,
            None => Ok(None),
        }
    }

    async fn follow(
        self,
        verdict: Verdict<(FileStat, Box<dyn Container>)>,
    ) -> Result<Option<SettledFile>, StageError> {
        match verdict {
            Verdict::Wait(_, None) => Ok(None),
            Verdict::Wait(_, Some(Note { stat, state, reason })) => {
                debug!(file = %self.ticket, state = state.name(), reason, "not settled yet");
                self.books.note_file(&self.ticket.with_stat(stat), state, reason, None);
                Ok(None)
            }
            Verdict::Forget(stat) => {
                debug!(file = %self.ticket, "vanished before it was taken up");
                if let Some(stat) = stat {
                    let reason = "vanished before it was taken up".to_owned();
                    self.books.note_file(&self.ticket.with_stat(stat), FileState::Vanished, reason, None);
                }
                Ok(None)
            }
            Verdict::GiveUp(stat, reason) if !self.settings.once => {
                warn!(file = %self.ticket, reason, "the file stays incomplete");
                let text = format!("{} stays incomplete: {reason}", self.ticket.path.to_report());
                let alert = Alert { kind: "incomplete".into(), text, ..Alert::default() };
                let ticket = self.ticket.with_stat(stat);
                self.books.note_file(&ticket, FileState::Incomplete, reason, Some(alert));
                Ok(None)
            }
            Verdict::GiveUp(stat, reason) => self.reject(Some(stat), "incomplete", reason).await,
            Verdict::Reject(stat, kind, reason) => self.reject(stat, kind, reason).await,
            Verdict::Take((stat, container)) => self.claim(stat, container).await,
        }
    }

    async fn reject(
        &self,
        stat: Option<FileStat>,
        kind: &'static str,
        reason: String,
    ) -> Result<Option<SettledFile>, StageError> {
        warn!(file = %self.ticket, reason, "rejected");
        let ticket = stat.map_or_else(|| self.ticket.clone(), |stat| self.ticket.with_stat(stat));
        self.books.reject_file(&ticket, kind, reason).await?;
        Ok(None)
    }

    async fn claim(
        &self,
        stat: FileStat,
        container: Box<dyn Container>,
    ) -> Result<Option<SettledFile>, StageError> {
        let metadata = container.metadata().clone();
        let identity = identity::identify(&self.ticket.path.to_report(), &self.settings.patterns);
        let request = FileClaim {
            root_id: self.ticket.root.id,
            path: (*self.ticket.path).clone(),
            stat,
            format: metadata.format.name().to_owned(),
            metadata: figures::of_container(&metadata),
            identity: figures::file_identity(&identity),
            quality_rank: metadata.quality_rank(),
            is_complete: true,
            only_grew: false,
            planes: claimed_planes(container.as_ref(), &identity),
        };
        let claimed = self.books.claim_file(request).await?;
        let ticket = self.ticket.with_stat(stat).claimed(claimed.ticket);
        let file = FileContext {
            claim: claimed.ticket,
            version: claimed.version,
            stat,
            metadata,
            identity,
            container_complete: true,
        };
        let todo = todo(&claimed);
        Ok(Some(SettledFile { ticket, file, todo, interruptions: claimed.interruptions, container }))
    }
}

fn claimed_planes(container: &dyn Container, identity: &PlateIdentity) -> Vec<ClaimedPlane> {
    let metadata = container.metadata();
    let planes = container.planes().iter();
    planes
        .map(|plane| ClaimedPlane {
            index: plane.index,
            is_missing: plane.missing,
            identity: figures::plane_identity(identity, metadata, plane.index),
        })
        .collect()
}

/// The planes that are still to be done, as positions in the claim's list.
fn todo(claimed: &Claimed) -> Vec<(usize, Option<PixelDigest>)> {
    let planes = claimed.planes.iter().enumerate();
    let open = planes.filter(|(_, plane)| plane.state == PlaneState::Todo);
    open.map(|(position, plane)| (position, plane.previous_digest.map(PixelDigest))).collect()
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroUsize;

    use super::*;
    use crate::messages::InWork;
    use crate::paths::{RelativePath, Root};

    const PATIENCE: Patience =
        Patience { quiet_period: Duration::from_secs(2), incomplete_after: Duration::from_secs(60) };

    #[tokio::test]
    async fn a_candidate_whose_look_panics_waits_no_longer() {
        let in_work = InWork::default();
        let root = Arc::new(Root { id: 1, name: "plate".into(), path: "/data/plate".into() });
        let (waiting, io) = (Waiting::default(), IoPool::new(NonZeroUsize::MIN));
        waiting.add(in_work.ticket(&root, RelativePath::new("a.tif")).unwrap(), Instant::now());
        let number = waiting.next_due(Instant::now()).unwrap();
        let stat = FileStat { device: 1, inode: 2, size_bytes: 3, mtime_ns: 4, ctime_ns: 5 };

        let verdict = waiting.look::<()>(number, PATIENCE, &io, move |_| Look::Stat(stat)).await;
        assert!(matches!(verdict, Ok(Some(Verdict::Wait(..)))));
        assert!(waiting.next_due(Instant::now() + PATIENCE.quiet_period).is_some(), "it is looked at again");

        let verdict = waiting.look::<()>(number, PATIENCE, &io, |_| panic!("planned")).await;
        assert!(matches!(verdict, Err(StageError::Panicked(_))));
        assert!(waiting.is_empty() && in_work.is_empty(), "it may be found again");
    }
}

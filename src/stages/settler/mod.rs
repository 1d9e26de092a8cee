//! Decides when a file is really written: at rest over the quiet period by open and fstat, without a writer, whole by
//! its format; then claims it in the ledger and opens it for the decoder. Planes of a file that grows are handed on as
//! they are found written, while the file stays under observation.

mod candidate;
mod gates;
mod growth;
mod probes;
pub(crate) mod siblings;
mod take;

use std::collections::{BTreeSet, HashMap};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use dashmap::DashSet;
use serde::Serialize;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::actor::{IoPool, Stage, StageError, StageOutbox};
use crate::analysis::identity::IdentityPatterns;
use crate::formats::{Limits, PixelSizes};
use crate::messages::{SeenFile, SettledFile, Ticket};
use crate::paths::FileStat;
use crate::stages::bookkeeping::Bookkeeping;
use crate::stages::pause::PauseSwitch;
use crate::stages::reading::ReadGate;

use candidate::Candidate;
pub use candidate::{Look, Patience};
pub use growth::GrowingSettings;
use growth::Growth;
use take::LookJob;

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
    /// Pixel sizes under objectives, for files that were never calibrated.
    pub pixel_sizes: PixelSizes,
    /// What is known of files that grow.
    pub growing: GrowingSettings,
    /// Bytes of whole files leave the page cache once they were read.
    pub drops_cache: bool,
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
    reading: ReadGate,
    stop: CancellationToken,
    waiting: Waiting,
}

/// The candidates, shared with the jobs that look at them.
#[derive(Clone, Default)]
pub struct Waiting(Arc<Mutex<Queue>>);

#[derive(Default)]
struct Queue {
    candidates: HashMap<u64, Observed>,
    due: BTreeSet<(Instant, u64)>,
    last_number: u64,
}

/// A candidate, and what is known of its growth between two looks.
struct Observed {
    ticket: Ticket,
    file: Candidate,
    growth: Option<Growth>,
}

/// A file that waits, for `status`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct WaitingFile {
    /// The file below its root, as reports name it.
    pub file: String,
    /// `growing`, `being_written` and so on.
    pub state: &'static str,
    /// Why; empty where the state says it all.
    pub reason: String,
    /// Planes that were taken up while it grows; null where it is taken up as a whole.
    pub n_planes: Option<u64>,
}

impl fmt::Debug for Waiting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Waiting({} files)", self.lock().candidates.len())
    }
}

impl Waiting {
    /// How many files wait, and the first few of them: those that grow or stall, then by name.
    pub fn snapshot(&self, n_max: usize) -> (usize, Vec<WaitingFile>) {
        let queue = self.lock();
        let show = |Observed { ticket, file, .. }: &Observed| {
            let (reason, n_planes) = file.standing();
            let (file, state) = (ticket.path.to_report(), file.state().name());
            WaitingFile { file, state, reason: reason.to_owned(), n_planes }
        };
        let mut files: Vec<_> = queue.candidates.values().map(show).collect();
        let is_quiet = |file: &WaitingFile| !matches!(file.state, "growing" | "stalled");
        files.sort_by(|a, b| (is_quiet(a), &a.file).cmp(&(is_quiet(b), &b.file)));
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
        queue.candidates.insert(number, Observed { ticket, file: Candidate::new(now), growth: None });
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

    /// Takes a candidate for a look; whatever comes of it, a panic of the look included, a candidate that is not put
    /// back is no candidate any more.
    fn begin_look(&self, number: u64, patience: Patience) -> Option<UnderLook> {
        let mut queue = self.lock();
        let observed = queue.candidates.get_mut(&number)?;
        Some(UnderLook {
            waiting: self.clone(),
            number,
            stays: false,
            at_rest: observed.file.at_rest(Instant::now(), patience),
            last_seen: observed.file.last_seen(),
            growth: observed.growth.take(),
        })
    }

    fn is_full(&self) -> bool {
        self.lock().candidates.len() >= CANDIDATES_MAX
    }

    fn is_empty(&self) -> bool {
        self.lock().candidates.is_empty()
    }
}

/// A candidate whose look is under way: it has no due time, so it goes unless the look gives it one.
struct UnderLook {
    waiting: Waiting,
    number: u64,
    stays: bool,
    at_rest: Option<FileStat>,
    last_seen: (Option<FileStat>, bool),
    growth: Option<Growth>,
}

impl UnderLook {
    /// Judges what a look showed; `None` when nobody waits for the candidate any more.
    fn with_candidate<T>(&self, judge: impl FnOnce(&mut Candidate) -> T) -> Option<T> {
        let mut queue = self.waiting.lock();
        queue.candidates.get_mut(&self.number).map(|observed| judge(&mut observed.file))
    }

    /// Has the candidate looked at again.
    fn put_back(mut self, next: Instant, growth: Option<Growth>) {
        self.stays = true;
        let mut queue = self.waiting.lock();
        if let Some(observed) = queue.candidates.get_mut(&self.number) {
            observed.growth = growth;
            queue.due.insert((next, self.number));
        }
    }
}

impl Drop for UnderLook {
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
        (pause, reading): (PauseSwitch, ReadGate),
        stop: CancellationToken,
    ) -> (Self, Waiting) {
        let (settings, waiting) = (Arc::new(settings), Waiting::default());
        (Self { settings, books, io, pause, reading, stop, waiting: waiting.clone() }, waiting)
    }

    /// Starts a look at every candidate whose time has come; during a pause they wait, and are looked at after it.
    async fn look_at_due(&mut self, out: &mut StageOutbox<Self>) -> Result<(), StageError> {
        if self.pause.current().is_some() {
            return Ok(());
        }
        while let Some(number) = self.waiting.next_due(Instant::now()) {
            let ticket = self.waiting.lock().candidates.get(&number).map(|observed| observed.ticket.clone());
            let Some(ticket) = ticket else { continue };
            let network = self.settings.network_roots.contains(&ticket.root.id);
            let patience = if network { self.settings.patience_network } else { self.settings.patience };
            // from here on it is no candidate any more unless the look puts it back, whatever becomes of the job
            let Some(under_look) = self.waiting.begin_look(number, patience) else { continue };
            let job = LookJob {
                settings: self.settings.clone(),
                books: self.books.clone(),
                io: self.io.clone(),
                reading: self.reading.clone(),
                ticket: ticket.clone(),
                patience,
            };
            out.send_when(ticket, job.run(under_look)).await?;
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

#[cfg(test)]
mod tests {
    use std::num::NonZeroUsize;

    use super::candidate::Verdict;
    use super::*;
    use crate::messages::InWork;
    use crate::paths::{RelativePath, Root};

    const PATIENCE: Patience = Patience {
        quiet_period: Duration::from_secs(2),
        incomplete_after: Duration::from_secs(60),
        stalled_after_min: Duration::ZERO,
    };

    #[tokio::test]
    async fn a_candidate_whose_look_panics_waits_no_longer() {
        let in_work = InWork::default();
        let root = Arc::new(Root { id: 1, name: "plate".into(), path: "/data/plate".into() });
        let (waiting, io) = (Waiting::default(), IoPool::new(NonZeroUsize::MIN));
        waiting.add(in_work.ticket(&root, RelativePath::new("a.tif")).unwrap(), Instant::now());
        let number = waiting.next_due(Instant::now()).unwrap();
        let stat = FileStat { device: 1, inode: 2, size_bytes: 3, mtime_ns: 4, ctime_ns: 5 };

        let under_look = waiting.begin_look(number, PATIENCE).unwrap();
        let verdict =
            under_look.with_candidate(|file| file.judge::<()>(Look::Stat(stat), Instant::now(), PATIENCE));
        let Some(Verdict::Wait(next, _)) = verdict else { panic!() };
        under_look.put_back(next, None);
        assert!(waiting.next_due(Instant::now() + PATIENCE.quiet_period).is_some(), "it is looked at again");

        let look = async {
            let _under_look = waiting.begin_look(number, PATIENCE).unwrap();
            io.run(move |_| panic!("planned")).await
        };
        let look: Result<(), _> = look.await;
        assert!(matches!(look.map_err(StageError::from), Err(StageError::Panicked(_))));
        assert!(waiting.is_empty() && in_work.is_empty(), "it may be found again");
    }
}

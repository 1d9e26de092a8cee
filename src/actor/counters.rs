//! What one stage counts during one generation, and the clock that says what it spends its life on.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::task::Id;
use tokio::time::Instant;

use super::lock;
use super::mailbox::QueueGauge;
use super::permits::Permits;
use super::statistics::StageSnapshot;

/// The counters of one stage in one generation; every method may be called from any thread.
#[derive(Debug)]
pub struct StageCounters {
    name: &'static str,
    queue: Option<Arc<QueueGauge>>,
    permits: Option<Permits>,
    n_in: AtomicU64,
    n_out: AtomicU64,
    n_rejected: AtomicU64,
    n_panicked: AtomicU64,
    n_bytes: AtomicU64,
    n_in_flight: AtomicUsize,
    work_ns: AtomicU64,
    is_hung: AtomicBool,
    clock: Mutex<Clock>,
}

impl StageCounters {
    pub(super) fn new(
        name: &'static str,
        queue: Option<Arc<QueueGauge>>,
        permits: Option<Permits>,
    ) -> Arc<Self> {
        Arc::new(Self {
            name,
            queue,
            permits,
            n_in: AtomicU64::new(0),
            n_out: AtomicU64::new(0),
            n_rejected: AtomicU64::new(0),
            n_panicked: AtomicU64::new(0),
            n_bytes: AtomicU64::new(0),
            n_in_flight: AtomicUsize::new(0),
            work_ns: AtomicU64::new(0),
            is_hung: AtomicBool::new(false),
            clock: Mutex::new(Clock::new(Instant::now())),
        })
    }

    /// Counters of a stage that stands alone.
    #[cfg(test)]
    pub(crate) fn alone(name: &'static str) -> Arc<Self> {
        Self::new(name, None, None)
    }

    /// Returns the name of the stage.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// Counts items taken in; a [`super::Stage`] has it done for it.
    pub fn add_in(&self, n: u64) {
        self.n_in.fetch_add(n, Ordering::Relaxed);
    }

    /// Counts items handed on; a [`super::Stage`] has it done for it.
    pub fn add_out(&self, n: u64) {
        self.n_out.fetch_add(n, Ordering::Relaxed);
    }

    /// Counts bytes read, decoded or written: what the stage calls its bytes.
    pub fn add_bytes(&self, n: u64) {
        self.n_bytes.fetch_add(n, Ordering::Relaxed);
    }

    /// Shows that long work goes on, so that it is not taken for a hang.
    pub fn progress(&self) {
        self.clock(|_| {});
    }

    /// Counts as one piece of work under way until the guard is dropped; calls to a [`super::Stage`] and jobs of its
    /// outbox have it done for them.
    pub fn begin_work(self: &Arc<Self>) -> WorkGuard {
        self.clock(|clock| clock.n_running += 1);
        WorkGuard { counters: Arc::clone(self), since: Instant::now(), is_summed: false }
    }

    /// Like [`Self::begin_work`] for a call that comes by itself: it is no progress of what is under way already, and
    /// so hides no hang.
    pub(super) fn begin_tick(self: &Arc<Self>) -> TickGuard {
        let now = Instant::now();
        let mut clock = lock(&self.clock);
        clock.turn(now);
        if clock.n_running == 0 {
            clock.progress_at = now;
        }
        clock.n_running += 1;
        drop(clock);
        TickGuard(Arc::clone(self))
    }

    /// Marks that one piece of work waits legitimately (for memory, for disk space), so that it is not taken for a
    /// hang until the guard is dropped. The piece of work is the tokio task of the caller; guards may nest.
    pub fn protect(self: &Arc<Self>) -> ProtectGuard {
        let task = tokio::task::try_id();
        self.clock(|clock| *clock.protected.entry(task).or_insert(0) += 1);
        ProtectGuard { counters: Arc::clone(self), task }
    }

    /// Counts as waiting for room in the next mailbox, which is no hang, until the guard is dropped; a
    /// [`super::Stage`] has it done for it.
    pub fn begin_waiting_output(self: &Arc<Self>) -> OutputWaitGuard {
        self.clock(|clock| clock.n_waiting_output += 1);
        OutputWaitGuard(Arc::clone(self))
    }

    /// Returns everything counted until now.
    pub fn snapshot(&self) -> StageSnapshot {
        let times = {
            let mut clock = lock(&self.clock);
            clock.turn(Instant::now());
            clock.times
        };
        StageSnapshot {
            name: self.name.to_owned(),
            n_generations: 1,
            n_in: self.n_in.load(Ordering::Relaxed),
            n_out: self.n_out.load(Ordering::Relaxed),
            n_rejected: self.n_rejected.load(Ordering::Relaxed),
            n_panicked: self.n_panicked.load(Ordering::Relaxed),
            n_bytes: self.n_bytes.load(Ordering::Relaxed),
            n_in_flight: self.n_in_flight.load(Ordering::Relaxed),
            n_permits: self.permits.as_ref().map_or(1, Permits::limit),
            queue: self.queue.as_ref().map(|queue| queue.snapshot()).unwrap_or_default(),
            life_s: times.life.as_secs_f64(),
            busy_s: times.busy.as_secs_f64(),
            waiting_input_s: times.waiting_input.as_secs_f64(),
            waiting_output_s: times.waiting_output.as_secs_f64(),
            protected_s: times.protected.as_secs_f64(),
            work_s: Duration::from_nanos(self.work_ns.load(Ordering::Relaxed)).as_secs_f64(),
        }
    }

    /// Starts the life of the stage.
    pub(super) fn begin_life(self: &Arc<Self>) -> LifeGuard {
        self.clock(|clock| clock.is_alive = true);
        LifeGuard(Arc::clone(self))
    }

    /// Like [`Self::begin_work`] for a job, whose time is summed.
    pub(super) fn begin_job(self: &Arc<Self>) -> WorkGuard {
        let mut work = self.begin_work();
        work.is_summed = true;
        work
    }

    /// Counts one more thing inside the stage until the guard is dropped.
    pub(super) fn begin_flight(self: &Arc<Self>) -> FlightGuard {
        self.n_in_flight.fetch_add(1, Ordering::Relaxed);
        FlightGuard(Arc::clone(self))
    }

    pub(super) fn add_rejected(&self, panicked: bool) {
        self.n_rejected.fetch_add(1, Ordering::Relaxed);
        self.n_panicked.fetch_add(u64::from(panicked), Ordering::Relaxed);
    }

    /// Returns for how long work has been under way without progress; `None` when it waits legitimately.
    pub(super) fn standstill(&self) -> Option<Duration> {
        let clock = lock(&self.clock);
        let is_working = clock.n_running > clock.protected.len() && clock.n_waiting_output == 0;
        (clock.is_alive && is_working).then(|| clock.progress_at.elapsed())
    }

    /// Notes that the stage was found to hang, so that what it has in hand then is known.
    pub(super) fn set_hung(&self) {
        self.is_hung.store(true, Ordering::Relaxed);
    }

    pub(super) fn is_hung(&self) -> bool {
        self.is_hung.load(Ordering::Relaxed)
    }

    /// Lets the clock catch up, then changes what it counts; every change is progress.
    fn clock(&self, change: impl FnOnce(&mut Clock)) {
        let now = Instant::now();
        let mut clock = lock(&self.clock);
        clock.turn(now);
        clock.progress_at = now;
        change(&mut clock);
    }
}

/// One piece of work under way; see [`StageCounters::begin_work`].
#[derive(Debug)]
pub struct WorkGuard {
    counters: Arc<StageCounters>,
    since: Instant,
    is_summed: bool,
}

impl Drop for WorkGuard {
    fn drop(&mut self) {
        self.counters.clock(|clock| clock.n_running -= 1);
        if self.is_summed {
            let work_ns = u64::try_from(self.since.elapsed().as_nanos()).unwrap_or(u64::MAX);
            self.counters.work_ns.fetch_add(work_ns, Ordering::Relaxed);
        }
    }
}

/// One call that time started; see [`StageCounters::begin_tick`].
#[derive(Debug)]
pub(super) struct TickGuard(Arc<StageCounters>);

impl Drop for TickGuard {
    fn drop(&mut self) {
        let mut clock = lock(&self.0.clock);
        clock.turn(Instant::now());
        clock.n_running -= 1;
    }
}

/// One legitimate wait; see [`StageCounters::protect`].
#[derive(Debug)]
pub struct ProtectGuard {
    counters: Arc<StageCounters>,
    task: Option<Id>,
}

impl Drop for ProtectGuard {
    fn drop(&mut self) {
        self.counters.clock(|clock| {
            if let Entry::Occupied(mut n_guards) = clock.protected.entry(self.task) {
                *n_guards.get_mut() -= 1;
                if *n_guards.get() == 0 {
                    n_guards.remove();
                }
            }
        });
    }
}

/// One wait for room in the next mailbox; see [`StageCounters::begin_waiting_output`].
#[derive(Debug)]
pub struct OutputWaitGuard(Arc<StageCounters>);

impl Drop for OutputWaitGuard {
    fn drop(&mut self) {
        self.0.clock(|clock| clock.n_waiting_output -= 1);
    }
}

#[derive(Debug)]
pub(super) struct FlightGuard(Arc<StageCounters>);

impl Drop for FlightGuard {
    fn drop(&mut self) {
        self.0.n_in_flight.fetch_sub(1, Ordering::Relaxed);
    }
}

#[derive(Debug)]
pub(super) struct LifeGuard(Arc<StageCounters>);

impl Drop for LifeGuard {
    fn drop(&mut self) {
        self.0.clock(|clock| clock.is_alive = false);
    }
}

/// Adds up where the time of a stage goes. Each moment of its life belongs to exactly one of three states, so the
/// three sum to the whole.
#[derive(Debug)]
struct Clock {
    is_alive: bool,
    n_running: usize,
    /// The tasks that wait legitimately, with the number of guards that each holds.
    protected: HashMap<Option<Id>, usize>,
    n_waiting_output: usize,
    progress_at: Instant,
    turned_at: Instant,
    times: Times,
}

#[derive(Debug, Clone, Copy, Default)]
struct Times {
    life: Duration,
    busy: Duration,
    waiting_input: Duration,
    waiting_output: Duration,
    protected: Duration,
}

impl Clock {
    fn new(now: Instant) -> Self {
        Self {
            is_alive: false,
            n_running: 0,
            protected: HashMap::new(),
            n_waiting_output: 0,
            progress_at: now,
            turned_at: now,
            times: Times::default(),
        }
    }

    /// Books the time since the last turn on the state that held.
    fn turn(&mut self, now: Instant) {
        let elapsed = now.saturating_duration_since(self.turned_at);
        self.turned_at = self.turned_at.max(now);
        if !self.is_alive {
            return;
        }
        self.times.life += elapsed;
        let state = if self.n_waiting_output > 0 {
            &mut self.times.waiting_output
        } else if self.n_running > 0 {
            &mut self.times.busy
        } else {
            &mut self.times.waiting_input
        };
        *state += elapsed;
        if !self.protected.is_empty() {
            self.times.protected += elapsed;
        }
    }
}

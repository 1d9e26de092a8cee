//! Where heavy computing runs: a rayon pool of its own, so that no tokio worker ever computes.

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use rayon::{ThreadPool, ThreadPoolBuilder};
use serde::{Deserialize, Serialize};
use tokio::sync::oneshot;

use super::job::{CancelFlag, CancelOnDrop, JobError, panic_message, run_caught};

/// A thread that takes up a second job while the first waits for its shares needs room for both.
const STACK_BYTES: usize = 8 << 20;

/// The pool could not start its threads.
#[derive(Debug, thiserror::Error)]
#[error("cannot start {n_threads} threads for computing: {reason}")]
pub struct CpuPoolError {
    n_threads: usize,
    reason: String,
}

/// A fixed number of threads that compute; clones share them. Inside a job, rayon's iterators use the same threads.
#[derive(Debug, Clone)]
pub struct CpuPool {
    pool: Arc<ThreadPool>,
    counters: Arc<Counters>,
}

#[derive(Debug, Default)]
struct Counters {
    n_queued: AtomicUsize,
    n_running: AtomicUsize,
    n_done: AtomicU64,
    n_panicked: AtomicU64,
    n_skipped: AtomicU64,
    busy_ns: AtomicU64,
}

/// What the pool has done and is doing.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct CpuPoolSnapshot {
    /// Threads in the pool.
    pub n_threads: usize,
    /// Jobs that wait for a thread now.
    pub n_queued: usize,
    /// Jobs that run now.
    pub n_running: usize,
    /// Jobs that have ended, panics among them.
    pub n_done: u64,
    /// Jobs that have panicked.
    pub n_panicked: u64,
    /// Jobs that nobody waited for any more when a thread came to them.
    pub n_skipped: u64,
    /// Running time of the jobs that have ended, in seconds; the shares of one job on other threads not counted.
    pub busy_s: f64,
}

impl CpuPool {
    /// Starts the threads.
    ///
    /// # Errors
    /// When the system refuses them.
    pub fn new(n_threads: NonZeroUsize) -> Result<Self, CpuPoolError> {
        let n_threads = n_threads.get();
        let pool = ThreadPoolBuilder::new()
            .num_threads(n_threads)
            .thread_name(|index| format!("cpu-{index}"))
            .stack_size(STACK_BYTES)
            // every job catches its own panic; this is for what is left, as the drop of a result
            .panic_handler(|payload| tracing::error!(message = panic_message(&*payload), "cpu pool"))
            .build()
            .map_err(|error| CpuPoolError { n_threads, reason: error.to_string() })?;
        Ok(Self { pool: Arc::new(pool), counters: Arc::default() })
    }

    /// Runs a job on the pool, in the order of the calls, and waits for its result.
    ///
    /// When this future is dropped, a job that has not begun never does, and one that runs goes on to its end; its
    /// flag tells it that its result is not wanted. So move a [`super::BytePermit`] into the job together with the
    /// memory that it stands for.
    ///
    /// # Errors
    /// [`JobError::Panicked`] with the message of its panic.
    pub async fn run<R, J>(&self, job: J) -> Result<R, JobError>
    where
        J: FnOnce(&CancelFlag) -> R + Send + 'static,
        R: Send + 'static,
    {
        let (sender, receiver) = oneshot::channel();
        let flag = CancelFlag::default();
        let _cancel = CancelOnDrop(flag.clone());
        let counters = Arc::clone(&self.counters);
        counters.n_queued.fetch_add(1, Ordering::Relaxed);
        self.pool.spawn_fifo(move || {
            counters.n_queued.fetch_sub(1, Ordering::Relaxed);
            if flag.is_cancelled() {
                counters.n_skipped.fetch_add(1, Ordering::Relaxed);
                return;
            }
            let result = counters.time(|| job(&flag));
            // nobody may wait any more, then the result ends here
            let _ = sender.send(result);
        });
        receiver.await.unwrap_or(Err(JobError::Stopped))
    }

    /// Returns the number of threads.
    pub fn n_threads(&self) -> usize {
        self.pool.current_num_threads()
    }

    /// Returns what the pool has done and is doing.
    pub fn snapshot(&self) -> CpuPoolSnapshot {
        CpuPoolSnapshot {
            n_threads: self.n_threads(),
            n_queued: self.counters.n_queued.load(Ordering::Relaxed),
            n_running: self.counters.n_running.load(Ordering::Relaxed),
            n_done: self.counters.n_done.load(Ordering::Relaxed),
            n_panicked: self.counters.n_panicked.load(Ordering::Relaxed),
            n_skipped: self.counters.n_skipped.load(Ordering::Relaxed),
            busy_s: Duration::from_nanos(self.counters.busy_ns.load(Ordering::Relaxed)).as_secs_f64(),
        }
    }
}

impl Counters {
    fn time<R>(&self, job: impl FnOnce() -> R) -> Result<R, JobError> {
        self.n_running.fetch_add(1, Ordering::Relaxed);
        let begun_at = Instant::now();
        let result = run_caught(job);
        let busy_ns = u64::try_from(begun_at.elapsed().as_nanos()).unwrap_or(u64::MAX);
        self.busy_ns.fetch_add(busy_ns, Ordering::Relaxed);
        self.n_running.fetch_sub(1, Ordering::Relaxed);
        self.n_done.fetch_add(1, Ordering::Relaxed);
        self.n_panicked.fetch_add(u64::from(result.is_err()), Ordering::Relaxed);
        result
    }
}

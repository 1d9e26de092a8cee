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

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;

    use rayon::prelude::*;

    use super::super::memory::ByteBudget;

    fn pool(n_threads: usize) -> CpuPool {
        CpuPool::new(NonZeroUsize::new(n_threads).unwrap()).unwrap()
    }

    #[tokio::test]
    async fn jobs_run_on_threads_of_the_pool() {
        let pool = pool(2);
        let name = pool.run(|_| std::thread::current().name().map(str::to_owned)).await.unwrap();
        assert!(name.unwrap().starts_with("cpu-"));
        let (sum, n_threads) = pool
            .run(|_| ((0..1000).into_par_iter().sum::<u64>(), rayon::current_num_threads()))
            .await
            .unwrap();
        assert_eq!((sum, n_threads), (499_500, 2));
        let snapshot = pool.snapshot();
        assert_eq!(
            (snapshot.n_threads, snapshot.n_done, snapshot.n_running, snapshot.n_queued),
            (2, 2, 0, 0)
        );
    }

    #[tokio::test]
    async fn a_panic_is_the_error_of_its_job_alone() {
        let pool = pool(1);
        let n = 7;
        let error = pool.run(move |_| assert_eq!(n, 8, "planned")).await.unwrap_err();
        assert!(matches!(&error, JobError::Panicked(message) if message.contains("planned")), "{error}");
        let deep = pool.run(|_| (0..100).into_par_iter().for_each(|n| assert!(n != 50, "share {n}"))).await;
        assert_eq!(deep, Err(JobError::Panicked("share 50".to_owned())));
        assert_eq!(pool.run(|_| 5).await, Ok(5));
        assert_eq!((pool.snapshot().n_panicked, pool.snapshot().n_done), (2, 3));
    }

    /// The future is dropped while its job runs and another waits: the first learns it and keeps its memory until it
    /// ends, the second never begins.
    #[tokio::test]
    async fn memory_stays_charged_until_an_abandoned_job_ends() {
        let pool = pool(1);
        let budget = ByteBudget::new(1 << 20);
        let [running, waiting] = [1 << 19; 2].map(|bytes| budget.try_acquire(bytes).unwrap().unwrap());
        let (begun, has_begun) = tokio::sync::oneshot::channel();
        let (go_on, may_go_on) = mpsc::channel::<()>();
        let (say, heard) = mpsc::channel();
        let job = tokio::spawn({
            let pool = pool.clone();
            async move {
                let job = move |flag: &CancelFlag| {
                    let _memory = running;
                    begun.send(flag.is_cancelled()).unwrap();
                    may_go_on.recv().unwrap();
                    say.send(flag.is_cancelled()).unwrap();
                };
                pool.run(job).await
            }
        });
        assert_eq!(has_begun.await, Ok(false));
        let second = tokio::spawn({
            let pool = pool.clone();
            async move { pool.run(move |_| drop(waiting)).await }
        });
        tokio::task::yield_now().await;
        assert_eq!((pool.snapshot().n_running, pool.snapshot().n_queued), (1, 1));
        for abandoned in [job, second] {
            abandoned.abort();
            assert!(abandoned.await.unwrap_err().is_cancelled());
        }
        assert_eq!(budget.snapshot().used, 1 << 20, "both are still there");
        go_on.send(()).unwrap();
        assert_eq!(heard.recv(), Ok(true));
        // behind both in the queue
        pool.run(|_| ()).await.unwrap();
        assert_eq!(budget.snapshot().used, 0);
        assert_eq!((pool.snapshot().n_skipped, pool.snapshot().n_done), (1, 2));
    }
}

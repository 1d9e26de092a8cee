//! Where reads and writes block: tokio's blocking threads, but no more at once than a disk or a share likes.

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use serde::{Deserialize, Serialize};
use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;

use super::job::{CancelFlag, CancelOnDrop, JobError, panic_message};

/// A fixed number of jobs that may block at once; clones share it.
///
/// A job that the system never lets go (a dead network share) keeps its place; at exit, tokio's
/// `Runtime::shutdown_timeout` leaves it behind.
#[derive(Debug, Clone)]
pub struct IoPool {
    places: Arc<Semaphore>,
    n_places: usize,
    counters: Arc<Counters>,
}

#[derive(Debug, Default)]
struct Counters {
    n_queued: AtomicUsize,
    n_done: AtomicU64,
    n_panicked: AtomicU64,
}

/// What the pool has done and is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct IoPoolSnapshot {
    /// How many jobs may run at once.
    pub n_places: usize,
    /// How many run now.
    pub n_running: usize,
    /// How many wait for a place now.
    pub n_queued: usize,
    /// How many have ended, panics among them.
    pub n_done: u64,
    /// How many have panicked.
    pub n_panicked: u64,
}

impl IoPool {
    /// Makes a pool for `n_places` jobs at once.
    pub fn new(n_places: NonZeroUsize) -> Self {
        let n_places = n_places.get().min(Semaphore::MAX_PERMITS);
        Self { places: Arc::new(Semaphore::new(n_places)), n_places, counters: Arc::default() }
    }

    /// Runs a job that may block, in the order of the calls, and waits for its result.
    ///
    /// When this future is dropped, a job that has no place yet never begins, and one that runs goes on to its end
    /// and keeps its place until then. The flag tells it so. Memory permits belong into the job, as with
    /// [`super::CpuPool::run`].
    ///
    /// # Errors
    /// [`JobError::Panicked`] with the message of its panic; [`JobError::Stopped`] when the runtime ends.
    pub async fn run<R, J>(&self, job: J) -> Result<R, JobError>
    where
        J: FnOnce(&CancelFlag) -> R + Send + 'static,
        R: Send + 'static,
    {
        let queued = CountGuard::new(&self.counters.n_queued);
        let place = Arc::clone(&self.places).acquire_owned().await.map_err(|_| JobError::Stopped)?;
        drop(queued);
        let flag = CancelFlag::default();
        let _cancel = CancelOnDrop(flag.clone());
        let counters = Arc::clone(&self.counters);
        let task = spawn_blocking(move || {
            // given back and counted also when the job panics
            let _place = place;
            let _done = DoneGuard(counters);
            job(&flag)
        });
        task.await.map_err(|error| match error.try_into_panic() {
            Ok(payload) => JobError::Panicked(panic_message(payload.as_ref())),
            Err(_) => JobError::Stopped,
        })
    }

    /// Returns what the pool has done and is doing.
    pub fn snapshot(&self) -> IoPoolSnapshot {
        IoPoolSnapshot {
            n_places: self.n_places,
            n_running: self.n_places - self.places.available_permits().min(self.n_places),
            n_queued: self.counters.n_queued.load(Ordering::Relaxed),
            n_done: self.counters.n_done.load(Ordering::Relaxed),
            n_panicked: self.counters.n_panicked.load(Ordering::Relaxed),
        }
    }
}

struct CountGuard<'a>(&'a AtomicUsize);

impl<'a> CountGuard<'a> {
    fn new(count: &'a AtomicUsize) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Self(count)
    }
}

impl Drop for CountGuard<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

struct DoneGuard(Arc<Counters>);

impl Drop for DoneGuard {
    fn drop(&mut self) {
        self.0.n_done.fetch_add(1, Ordering::Relaxed);
        self.0.n_panicked.fetch_add(u64::from(std::thread::panicking()), Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;

    fn pool(n_places: usize) -> IoPool {
        IoPool::new(NonZeroUsize::new(n_places).unwrap())
    }

    #[tokio::test]
    async fn no_more_jobs_run_at_once_than_there_are_places() {
        let pool = pool(3);
        let (now, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let jobs = (0..60).map(|n| {
            let (pool, now, most) = (pool.clone(), Arc::clone(&now), Arc::clone(&most));
            tokio::spawn(async move {
                let job = move |_: &CancelFlag| {
                    most.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                    std::thread::yield_now();
                    now.fetch_sub(1, Ordering::SeqCst);
                    n
                };
                pool.run(job).await
            })
        });
        for (n, job) in jobs.collect::<Vec<_>>().into_iter().enumerate() {
            assert_eq!(job.await.unwrap(), Ok(n));
        }
        assert!((1..=3).contains(&most.load(Ordering::SeqCst)));
        let expected = IoPoolSnapshot { n_places: 3, n_done: 60, ..IoPoolSnapshot::default() };
        assert_eq!(pool.snapshot(), expected);
    }

    #[tokio::test]
    async fn a_panic_gives_its_place_back() {
        let pool = pool(1);
        let result: Result<(), _> = pool.run(|_| panic!("planned {}", 1)).await;
        assert_eq!(result, Err(JobError::Panicked("planned 1".to_owned())));
        assert_eq!(pool.run(|_| 2).await, Ok(2));
        assert_eq!((pool.snapshot().n_panicked, pool.snapshot().n_done), (1, 2));
    }

    #[tokio::test]
    async fn an_abandoned_job_keeps_its_place_and_learns_of_it() {
        let pool = pool(1);
        let (begun, has_begun) = tokio::sync::oneshot::channel();
        let (go_on, may_go_on) = mpsc::channel::<()>();
        let (say, heard) = mpsc::channel();
        let job = tokio::spawn({
            let pool = pool.clone();
            async move {
                let job = move |flag: &CancelFlag| {
                    begun.send(()).unwrap();
                    may_go_on.recv().unwrap();
                    say.send(flag.is_cancelled()).unwrap();
                };
                pool.run(job).await
            }
        });
        has_begun.await.unwrap();
        job.abort();
        assert!(job.await.unwrap_err().is_cancelled());
        assert_eq!(pool.snapshot().n_running, 1);
        go_on.send(()).unwrap();
        assert_eq!(heard.recv(), Ok(true));
        assert_eq!(pool.run(|_| 3).await, Ok(3));
    }
}

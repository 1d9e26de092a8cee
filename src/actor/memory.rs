//! Memory as a setting: one semaphore in bytes over all pixels in flight, the scratch of the kernels and the caches.
//!
//! Bytes are counted in units of 1 KiB, each permit rounded up, the budget rounded down. Permits are given in the
//! order of the calls: a large one is not overtaken by small ones.
//!
//! To stay clear of deadlock, a holder must not wait for more. Acquire at the head of the line, in sequence, all that
//! an item will ever need (pixels and the largest scratch of any later stage); split the permit where the item
//! divides, shrink it as parts are freed. What can be done without (a cache) takes [`ByteBudget::try_acquire`].

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

use super::stage::Traceable;

/// Bytes in one permit of the semaphore.
const UNIT: u64 = 1024;

/// A need that exceeds the whole budget, so that waiting would never end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("needs {needed} bytes of memory, the whole budget is {budget}")]
pub struct OverBudget {
    /// The bytes asked for.
    pub needed: u64,
    /// The bytes that there are at all.
    pub budget: u64,
}

/// A budget of bytes; clones share it.
#[derive(Debug, Clone)]
pub struct ByteBudget(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    units: Arc<Semaphore>,
    n_units: u32,
    used: AtomicU64,
    used_max: AtomicU64,
    n_waits: AtomicU64,
    n_waiting: AtomicU64,
    wait_ns: AtomicU64,
}

/// What of a budget is used, in bytes (multiples of 1024).
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct ByteBudgetSnapshot {
    /// The whole budget.
    pub budget: u64,
    /// What is held by permits now.
    pub used: u64,
    /// The most that was ever held.
    pub used_max: u64,
    /// How many wait for bytes now.
    pub n_waiting: u64,
    /// How often somebody had to wait.
    pub n_waits: u64,
    /// How long they have waited, in seconds; a wait counts when it ends.
    pub wait_s: f64,
}

impl ByteBudget {
    /// Makes a budget of `bytes`, rounded down to 1 KiB and at most 4 TiB.
    pub fn new(bytes: u64) -> Self {
        let n_units = u32::try_from(bytes / UNIT).unwrap_or(u32::MAX);
        let n_permits = usize::try_from(n_units).unwrap_or(usize::MAX).min(Semaphore::MAX_PERMITS);
        Self(Arc::new(Inner {
            units: Arc::new(Semaphore::new(n_permits)),
            n_units,
            used: AtomicU64::new(0),
            used_max: AtomicU64::new(0),
            n_waits: AtomicU64::new(0),
            n_waiting: AtomicU64::new(0),
            wait_ns: AtomicU64::new(0),
        }))
    }

    /// Waits for `bytes`, behind all who asked before.
    ///
    /// # Errors
    /// [`OverBudget`] at once when there will never be that much.
    pub async fn acquire(&self, bytes: u64) -> Result<BytePermit, OverBudget> {
        if let Some(permit) = self.try_acquire(bytes)? {
            return Ok(permit);
        }
        let n_units = self.n_units_for(bytes)?;
        let wait = WaitGuard::new(&self.0);
        let units = Arc::clone(&self.0.units)
            .acquire_many_owned(n_units)
            .await
            .expect("this semaphore is never closed");
        drop(wait);
        Ok(BytePermit::new(Arc::clone(&self.0), units))
    }

    /// Takes `bytes` if they are free now and nobody waits; `None` otherwise.
    ///
    /// # Errors
    /// [`OverBudget`] when there will never be that much.
    pub fn try_acquire(&self, bytes: u64) -> Result<Option<BytePermit>, OverBudget> {
        let n_units = self.n_units_for(bytes)?;
        let units = Arc::clone(&self.0.units).try_acquire_many_owned(n_units).ok();
        Ok(units.map(|units| BytePermit::new(Arc::clone(&self.0), units)))
    }

    /// Returns the whole budget in bytes.
    pub fn budget(&self) -> u64 {
        u64::from(self.0.n_units) * UNIT
    }

    /// Returns what is used, and what has been waited for.
    pub fn snapshot(&self) -> ByteBudgetSnapshot {
        ByteBudgetSnapshot {
            budget: self.budget(),
            used: self.0.used.load(Ordering::Relaxed),
            used_max: self.0.used_max.load(Ordering::Relaxed),
            n_waiting: self.0.n_waiting.load(Ordering::Relaxed),
            n_waits: self.0.n_waits.load(Ordering::Relaxed),
            wait_s: Duration::from_nanos(self.0.wait_ns.load(Ordering::Relaxed)).as_secs_f64(),
        }
    }

    fn n_units_for(&self, bytes: u64) -> Result<u32, OverBudget> {
        u32::try_from(bytes.div_ceil(UNIT))
            .ok()
            .filter(|n_units| *n_units <= self.0.n_units)
            .ok_or(OverBudget { needed: bytes, budget: self.budget() })
    }
}

/// Bytes that are held; dropping it gives them back.
#[derive(Debug)]
pub struct BytePermit {
    inner: Arc<Inner>,
    units: OwnedSemaphorePermit,
}

impl BytePermit {
    fn new(inner: Arc<Inner>, units: OwnedSemaphorePermit) -> Self {
        let bytes = units.num_permits() as u64 * UNIT;
        let used = inner.used.fetch_add(bytes, Ordering::Relaxed) + bytes;
        inner.used_max.fetch_max(used, Ordering::Relaxed);
        Self { inner, units }
    }

    /// Returns how many bytes are held: what was asked for, rounded up to 1 KiB.
    pub fn bytes(&self) -> u64 {
        self.units.num_permits() as u64 * UNIT
    }

    /// Splits off `bytes` (rounded up to 1 KiB) as a permit of their own; `None`, and nothing changes, when less is
    /// held.
    pub fn split(&mut self, bytes: u64) -> Option<Self> {
        let n_units = usize::try_from(bytes.div_ceil(UNIT)).ok()?;
        let units = self.units.split(n_units)?;
        Some(Self { inner: Arc::clone(&self.inner), units })
    }

    /// Gives back all but `bytes` (rounded up to 1 KiB); does nothing when less is held.
    pub fn shrink_to(&mut self, bytes: u64) {
        let excess = self.bytes().saturating_sub(bytes) / UNIT * UNIT;
        drop(self.split(excess));
    }

    /// Takes in another permit of the same budget.
    ///
    /// # Panics
    /// When the permits belong to different budgets.
    pub fn merge(&mut self, mut other: Self) {
        assert!(Arc::ptr_eq(&self.inner, &other.inner), "merged permits belong to one budget");
        if let Some(units) = other.units.split(other.units.num_permits()) {
            self.units.merge(units);
        }
    }
}

impl Drop for BytePermit {
    fn drop(&mut self) {
        // before the semaphore gets the units back, so that `used` never exceeds the budget
        self.inner.used.fetch_sub(self.bytes(), Ordering::Relaxed);
    }
}

/// A value that travels with the permit for the memory it occupies.
#[derive(Debug)]
pub struct Charged<T> {
    /// The value.
    pub value: T,
    /// Gives the memory back when it is dropped.
    pub permit: BytePermit,
}

impl<T> Charged<T> {
    /// Puts a value and its permit together.
    pub fn new(value: T, permit: BytePermit) -> Self {
        Self { value, permit }
    }
}

impl<T: Traceable> Traceable for Charged<T> {
    type Ticket = T::Ticket;

    fn ticket(&self) -> T::Ticket {
        self.value.ticket()
    }
}

/// Counts a wait, also one that is given up.
struct WaitGuard<'a> {
    inner: &'a Inner,
    since: Instant,
}

impl<'a> WaitGuard<'a> {
    fn new(inner: &'a Inner) -> Self {
        inner.n_waits.fetch_add(1, Ordering::Relaxed);
        inner.n_waiting.fetch_add(1, Ordering::Relaxed);
        Self { inner, since: Instant::now() }
    }
}

impl Drop for WaitGuard<'_> {
    fn drop(&mut self) {
        self.inner.n_waiting.fetch_sub(1, Ordering::Relaxed);
        let wait_ns = u64::try_from(self.since.elapsed().as_nanos()).unwrap_or(u64::MAX);
        self.inner.wait_ns.fetch_add(wait_ns, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KIB: u64 = 1024;

    fn used(budget: &ByteBudget) -> (u64, u64) {
        (budget.snapshot().used, budget.snapshot().used_max)
    }

    #[tokio::test(start_paused = true)]
    async fn more_than_the_budget_is_refused_at_once() {
        let budget = ByteBudget::new(10 * KIB + 1023);
        assert_eq!(budget.budget(), 10 * KIB, "rounded down");
        let _held = budget.acquire(10 * KIB).await.unwrap();
        let expected = OverBudget { needed: 10 * KIB + 1, budget: 10 * KIB };
        assert_eq!(budget.acquire(10 * KIB + 1).await.unwrap_err(), expected);
        assert_eq!(budget.try_acquire(u64::MAX).unwrap_err().needed, u64::MAX);
        assert_eq!(expected.to_string(), "needs 10241 bytes of memory, the whole budget is 10240");
        assert!(budget.try_acquire(1).unwrap().is_none());
        assert_eq!(budget.try_acquire(0).unwrap().map(|permit| permit.bytes()), Some(0));
        assert!(ByteBudget::new(u64::MAX).budget() >= 1 << 40);
    }

    /// A large request is not overtaken by later small ones, nor by those who only try.
    #[tokio::test(start_paused = true)]
    async fn requests_are_served_in_order() {
        let budget = ByteBudget::new(10 * KIB);
        let mut first = budget.acquire(10 * KIB).await.unwrap();
        let order = Arc::new(std::sync::Mutex::new(Vec::new()));
        let mut waiting = Vec::new();
        for (name, bytes) in [("large", 8 * KIB), ("small", KIB), ("smaller", 1)] {
            let (budget, order) = (budget.clone(), Arc::clone(&order));
            waiting.push(tokio::spawn(async move {
                let permit = budget.acquire(bytes).await.unwrap();
                order.lock().unwrap().push(name);
                permit
            }));
            tokio::task::yield_now().await;
        }
        assert_eq!(budget.snapshot().n_waiting, 3);
        first.shrink_to(5 * KIB);
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert!(order.lock().unwrap().is_empty(), "five are free, but the large one needs eight");
        assert!(budget.try_acquire(1).unwrap().is_none());
        drop(first);
        let mut permits = Vec::new();
        for task in waiting {
            permits.push(task.await.unwrap());
        }
        assert_eq!(*order.lock().unwrap(), ["large", "small", "smaller"]);
        assert_eq!(used(&budget), (10 * KIB, 10 * KIB));
        let snapshot = budget.snapshot();
        assert_eq!((snapshot.n_waits, snapshot.n_waiting, snapshot.wait_s.round()), (3, 0, 3.0));
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_gives_up_waiting_leaves_nothing_behind() {
        let budget = ByteBudget::new(10 * KIB);
        let held = budget.acquire(6 * KIB).await.unwrap();
        for _ in 0..100 {
            let wait = tokio::time::timeout(Duration::from_millis(1), budget.acquire(5 * KIB));
            assert!(wait.await.is_err());
        }
        assert_eq!(used(&budget), (6 * KIB, 6 * KIB));
        assert!(budget.try_acquire(4 * KIB).unwrap().is_some(), "what they waited with is free again");
        drop(held);
        assert!(budget.try_acquire(10 * KIB).unwrap().is_some());
        assert_eq!((budget.snapshot().n_waiting, used(&budget).0), (0, 0));
    }

    #[tokio::test]
    async fn permits_split_shrink_and_merge_without_loss() {
        let budget = ByteBudget::new(100 * KIB);
        let mut permit = budget.acquire(50 * KIB + 1).await.unwrap();
        assert_eq!(permit.bytes(), 51 * KIB, "rounded up");
        let part = permit.split(20 * KIB).unwrap();
        assert_eq!((part.bytes(), permit.bytes(), used(&budget).0), (20 * KIB, 31 * KIB, 51 * KIB));
        assert!(permit.split(32 * KIB).is_none());
        permit.shrink_to(40 * KIB);
        assert_eq!(permit.bytes(), 31 * KIB, "does not grow");
        permit.shrink_to(10 * KIB + 1);
        assert_eq!((permit.bytes(), used(&budget).0), (11 * KIB, 31 * KIB));
        permit.merge(part);
        assert_eq!((permit.bytes(), used(&budget).0), (31 * KIB, 31 * KIB));
        let charged = Charged::new("pixels", permit);
        assert_eq!(charged.value, "pixels");
        drop(charged);
        assert_eq!(used(&budget), (0, 51 * KIB));
        assert!(budget.try_acquire(100 * KIB).unwrap().is_some());
    }

    /// Many tasks on several threads, each dropped at any moment: nothing leaks, the budget is never exceeded.
    #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
    async fn nothing_leaks_under_load() {
        let budget = ByteBudget::new(64 * KIB);
        let tasks = (0..200_u64).map(|n| {
            let budget = budget.clone();
            tokio::spawn(async move {
                let mut permit = budget.acquire(n % 60 * KIB).await.unwrap();
                tokio::task::yield_now().await;
                let part = permit.split(n % 7 * KIB);
                permit.shrink_to(n % 11 * KIB);
                tokio::task::yield_now().await;
                drop((part, permit));
            })
        });
        for (n, task) in tasks.collect::<Vec<_>>().into_iter().enumerate() {
            if n % 3 == 0 {
                task.abort();
            }
            let _ = task.await;
        }
        assert_eq!(used(&budget).0, 0);
        assert!(used(&budget).1 <= 64 * KIB);
        assert!(budget.try_acquire(64 * KIB).unwrap().is_some());
    }
}

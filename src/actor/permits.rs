//! A count of permits that can be changed while permits are out.

use std::sync::{Arc, Mutex};

use tokio::sync::Semaphore;

use super::lock;

/// A fair (first come, first served) set of permits whose number can be raised and lowered at any time.
///
/// Raising takes effect at once; lowering takes effect as permits come back. Clones share the set.
#[derive(Debug, Clone)]
pub struct Permits(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    free: Semaphore,
    count: Mutex<Count>,
}

#[derive(Debug)]
struct Count {
    /// How many there shall be.
    limit: usize,
    /// How many of those that are out shall not come back.
    debt: usize,
    /// How many are out.
    n_out: usize,
}

impl Permits {
    /// Makes a set of `n` permits; 0 is taken as 1, since a stage without permits would stand still for ever.
    pub fn new(n: usize) -> Self {
        let limit = n.max(1);
        let count = Mutex::new(Count { limit, debt: 0, n_out: 0 });
        Self(Arc::new(Inner { free: Semaphore::new(limit), count }))
    }

    /// Sets how many there shall be; 0 is taken as 1.
    pub fn set_limit(&self, n: usize) {
        let mut count = lock(&self.0.count);
        let limit = n.max(1);
        if limit >= count.limit {
            let raise = limit - count.limit;
            let paid = raise.min(count.debt);
            count.debt -= paid;
            self.0.free.add_permits(raise - paid);
        } else {
            let lower = count.limit - limit;
            count.debt += lower - self.0.free.forget_permits(lower);
        }
        count.limit = limit;
    }

    /// Returns how many there shall be.
    pub fn limit(&self) -> usize {
        lock(&self.0.count).limit
    }

    /// Returns how many are out; above the limit for a while after it was lowered.
    pub fn n_out(&self) -> usize {
        lock(&self.0.count).n_out
    }

    /// Waits for a permit; dropping it gives it back.
    pub(super) async fn acquire(&self) -> Permit {
        let permit = self.0.free.acquire().await.expect("this semaphore is never closed");
        let mut count = lock(&self.0.count);
        permit.forget();
        count.n_out += 1;
        drop(count);
        Permit(Arc::clone(&self.0))
    }
}

/// One permit that is out.
#[derive(Debug)]
pub(super) struct Permit(Arc<Inner>);

impl Drop for Permit {
    fn drop(&mut self) {
        let mut count = lock(&self.0.count);
        count.n_out -= 1;
        if count.debt > 0 {
            count.debt -= 1;
        } else {
            self.0.free.add_permits(1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Takes what can be had without waiting.
    async fn take_all(permits: &Permits) -> Vec<Permit> {
        let mut taken = Vec::new();
        while let Ok(permit) = tokio::time::timeout(std::time::Duration::ZERO, permits.acquire()).await {
            taken.push(permit);
        }
        taken
    }

    #[tokio::test(start_paused = true)]
    async fn lowering_waits_for_those_that_are_out() {
        let permits = Permits::new(5);
        let mut out = take_all(&permits).await;
        assert_eq!((out.len(), permits.n_out()), (5, 5));
        permits.set_limit(2);
        assert_eq!((permits.limit(), permits.n_out()), (2, 5));
        out.truncate(2);
        assert!(take_all(&permits).await.is_empty(), "three were to go, three have gone");
        out.truncate(1);
        assert_eq!(take_all(&permits).await.len(), 1);
        permits.set_limit(4);
        assert_eq!(take_all(&permits).await.len(), 3, "one is still out");
    }

    #[tokio::test(start_paused = true)]
    async fn any_sequence_of_limits_ends_with_the_last() {
        for seed in 0..50_usize {
            let permits = Permits::new(3);
            let mut out = Vec::new();
            for step in 0..40_usize {
                match (seed * 31 + step * 17) % 5 {
                    0 | 1 => permits.set_limit((seed + step * 7) % 9),
                    2 => out.truncate(out.len() / 2),
                    _ => out.append(&mut take_all(&permits).await),
                }
                assert_eq!(permits.n_out(), out.len());
            }
            out.clear();
            assert_eq!(take_all(&permits).await.len(), permits.limit(), "seed {seed}");
        }
    }
}

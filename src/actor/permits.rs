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

//! Bounded mailboxes: a full one makes the sender wait, and the wait is counted.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;
use tokio::time::Instant;

/// The other end of the mailbox has gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the mailbox is closed")]
pub struct Closed;

/// Why a value could not be put into a mailbox at once; the value comes back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TrySendError<T> {
    /// The mailbox is full.
    #[error("the mailbox is full")]
    Full(T),
    /// The receiver has gone.
    #[error("the mailbox is closed")]
    Closed(T),
}

/// Makes a mailbox for at most `capacity` values; 0 is taken as 1.
pub fn mailbox<T>(capacity: usize) -> (MailboxSender<T>, Mailbox<T>) {
    let capacity = capacity.max(1);
    let (sender, receiver) = mpsc::channel(capacity);
    let gauge = Arc::new(QueueGauge { capacity, ..QueueGauge::default() });
    (MailboxSender { sender, gauge: Arc::clone(&gauge) }, Mailbox { receiver, gauge })
}

/// The end of a mailbox that puts in; the mailbox ends when all clones are dropped.
#[derive(Debug)]
pub struct MailboxSender<T> {
    sender: mpsc::Sender<T>,
    gauge: Arc<QueueGauge>,
}

impl<T> Clone for MailboxSender<T> {
    fn clone(&self) -> Self {
        Self { sender: self.sender.clone(), gauge: Arc::clone(&self.gauge) }
    }
}

impl<T> MailboxSender<T> {
    /// Puts a value in; waits while the mailbox is full.
    ///
    /// # Errors
    /// [`Closed`] when the receiver has gone; the value is lost.
    pub async fn send(&self, value: T) -> Result<(), Closed> {
        match self.try_send(value) {
            Ok(()) => Ok(()),
            Err(TrySendError::Closed(_)) => Err(Closed),
            Err(TrySendError::Full(value)) => {
                let wait = WaitGuard { gauge: &self.gauge, since: Instant::now() };
                let place = self.sender.reserve().await.map_err(|_| Closed)?;
                drop(wait);
                self.gauge.enter();
                place.send(value);
                Ok(())
            }
        }
    }

    /// Puts a value in if there is room at once.
    ///
    /// # Errors
    /// The value comes back when the mailbox is full or closed.
    pub fn try_send(&self, value: T) -> Result<(), TrySendError<T>> {
        match self.sender.try_reserve() {
            Ok(place) => {
                self.gauge.enter();
                place.send(value);
                Ok(())
            }
            Err(mpsc::error::TrySendError::Full(())) => Err(TrySendError::Full(value)),
            Err(mpsc::error::TrySendError::Closed(())) => Err(TrySendError::Closed(value)),
        }
    }

    /// Says whether the receiver has gone.
    pub fn is_closed(&self) -> bool {
        self.sender.is_closed()
    }

    /// Returns how full the mailbox is and how long senders have waited.
    pub fn snapshot(&self) -> QueueSnapshot {
        self.gauge.snapshot()
    }
}

/// The end of a mailbox that takes out.
#[derive(Debug)]
pub struct Mailbox<T> {
    receiver: mpsc::Receiver<T>,
    gauge: Arc<QueueGauge>,
}

impl<T> Mailbox<T> {
    /// Takes the next value; `None` when all senders have gone and nothing is left. Loses nothing when dropped
    /// while waiting.
    pub async fn recv(&mut self) -> Option<T> {
        let value = self.receiver.recv().await?;
        self.gauge.leave();
        Some(value)
    }

    /// Takes the next value if there is one now.
    pub fn try_recv(&mut self) -> Option<T> {
        let value = self.receiver.try_recv().ok()?;
        self.gauge.leave();
        Some(value)
    }

    /// Returns how full the mailbox is and how long senders have waited.
    pub fn snapshot(&self) -> QueueSnapshot {
        self.gauge.snapshot()
    }

    pub(super) fn gauge(&self) -> Arc<QueueGauge> {
        Arc::clone(&self.gauge)
    }
}

impl<T> Drop for Mailbox<T> {
    fn drop(&mut self) {
        self.gauge.length.store(0, Ordering::Relaxed);
    }
}

/// How full a mailbox is, and what it has cost those who send to it.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct QueueSnapshot {
    /// How many values it holds at most.
    pub capacity: usize,
    /// How many it holds now.
    pub length: usize,
    /// The most it has held.
    pub length_max: usize,
    /// How often a sender found it full and had to wait.
    pub n_waits: u64,
    /// How long senders have waited, in seconds; a wait counts when it ends.
    pub wait_s: f64,
}

#[derive(Debug, Default)]
pub(super) struct QueueGauge {
    capacity: usize,
    length: AtomicUsize,
    length_max: AtomicUsize,
    n_waits: AtomicU64,
    wait_ns: AtomicU64,
}

impl QueueGauge {
    /// Counts a value that is about to be put in, so that the length never falls below zero.
    fn enter(&self) {
        let length = self.length.fetch_add(1, Ordering::Relaxed) + 1;
        // a value taken out a moment ago may not be counted off yet
        self.length_max.fetch_max(length.min(self.capacity), Ordering::Relaxed);
    }

    fn leave(&self) {
        self.length.fetch_sub(1, Ordering::Relaxed);
    }

    pub(super) fn snapshot(&self) -> QueueSnapshot {
        QueueSnapshot {
            capacity: self.capacity,
            length: self.length.load(Ordering::Relaxed).min(self.capacity),
            length_max: self.length_max.load(Ordering::Relaxed),
            n_waits: self.n_waits.load(Ordering::Relaxed),
            wait_s: Duration::from_nanos(self.wait_ns.load(Ordering::Relaxed)).as_secs_f64(),
        }
    }
}

/// Counts a wait, also one that is given up.
struct WaitGuard<'a> {
    gauge: &'a QueueGauge,
    since: Instant,
}

impl Drop for WaitGuard<'_> {
    fn drop(&mut self) {
        self.gauge.n_waits.fetch_add(1, Ordering::Relaxed);
        let wait_ns = u64::try_from(self.since.elapsed().as_nanos()).unwrap_or(u64::MAX);
        self.gauge.wait_ns.fetch_add(wait_ns, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_full_mailbox_makes_the_sender_wait_and_counts_it() {
        let (sender, mut receiver) = mailbox(2);
        sender.send(1).await.unwrap();
        sender.send(2).await.unwrap();
        assert_eq!(sender.try_send(3), Err(TrySendError::Full(3)));
        assert_eq!(sender.snapshot().n_waits, 0, "nobody has waited yet");
        let give_up = tokio::time::timeout(Duration::from_secs(2), sender.send(3)).await;
        assert!(give_up.is_err());
        let waiting = tokio::spawn(async move { sender.send(4).await });
        tokio::time::sleep(Duration::from_secs(3)).await;
        assert_eq!((receiver.recv().await, receiver.recv().await), (Some(1), Some(2)));
        assert_eq!(waiting.await.unwrap(), Ok(()));
        assert_eq!((receiver.recv().await, receiver.recv().await), (Some(4), None));
        let expected = QueueSnapshot { capacity: 2, length: 0, length_max: 2, n_waits: 2, wait_s: 5.0 };
        let found = receiver.snapshot();
        assert_eq!(QueueSnapshot { wait_s: found.wait_s.round(), ..found }, expected);
    }

    #[tokio::test(start_paused = true)]
    async fn a_closed_mailbox_refuses() {
        let (sender, receiver) = mailbox(1);
        sender.send("in vain").await.unwrap();
        drop(receiver);
        assert!(sender.is_closed());
        assert_eq!(sender.send("no").await, Err(Closed));
        assert_eq!(sender.try_send("no"), Err(TrySendError::Closed("no")));
        assert_eq!(sender.snapshot().length, 0);
    }
}

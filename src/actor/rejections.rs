//! The way of the items that could not be done.
//!
//! This mailbox alone has no bound: whoever writes rejections down may himself be a stage that rejects, or wait for
//! one, and with a bound such a circle could stand still for ever. Instead the *source* of a line waits until the
//! [`Backlog`] is small; so it holds at most that many rejections and those of what is inside the line, each a
//! ticket and a reason.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::{Notify, mpsc};

use super::mailbox::Closed;

/// An item that could not be done, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rejection<K> {
    /// Who the item is.
    pub ticket: K,
    /// The stage that gave it up.
    pub stage: &'static str,
    /// Why: lower case, without a full stop.
    pub reason: String,
    /// Whether a panic, thus a fault of ours, was the cause.
    pub panicked: bool,
}

/// Makes the mailbox for rejections.
pub fn rejections<K>() -> (RejectionSender<K>, Rejections<K>) {
    let (sender, receiver) = mpsc::unbounded_channel();
    let backlog = Backlog::default();
    (RejectionSender { sender, backlog: backlog.clone() }, Rejections { receiver, backlog })
}

/// The end that stages send rejections to.
#[derive(Debug)]
pub struct RejectionSender<K> {
    sender: mpsc::UnboundedSender<Rejection<K>>,
    backlog: Backlog,
}

impl<K> Clone for RejectionSender<K> {
    fn clone(&self) -> Self {
        Self { sender: self.sender.clone(), backlog: self.backlog.clone() }
    }
}

impl<K> RejectionSender<K> {
    /// Sends a rejection; never waits.
    ///
    /// # Errors
    /// [`Closed`] when nobody takes rejections any more.
    pub fn send(&self, rejection: Rejection<K>) -> Result<(), Closed> {
        self.backlog.0.length.fetch_add(1, Ordering::Relaxed);
        self.sender.send(rejection).map_err(|_| {
            self.backlog.shorten();
            Closed
        })
    }

    /// Returns the count of rejections that wait, for the source of the line.
    pub fn backlog(&self) -> Backlog {
        self.backlog.clone()
    }
}

/// The end that takes rejections, in order for each stage.
#[derive(Debug)]
pub struct Rejections<K> {
    receiver: mpsc::UnboundedReceiver<Rejection<K>>,
    backlog: Backlog,
}

impl<K> Rejections<K> {
    /// Takes the next one; `None` when all senders have gone and nothing is left. Loses nothing when dropped while
    /// waiting.
    pub async fn recv(&mut self) -> Option<Rejection<K>> {
        let rejection = self.receiver.recv().await?;
        self.backlog.shorten();
        Some(rejection)
    }

    /// Returns the count of rejections that wait.
    pub fn backlog(&self) -> Backlog {
        self.backlog.clone()
    }
}

impl<K> Drop for Rejections<K> {
    fn drop(&mut self) {
        // nobody will take them, so nobody may wait for that
        self.backlog.0.length.store(0, Ordering::Relaxed);
        self.backlog.0.shorter.notify_waiters();
    }
}

/// How many rejections wait to be taken.
#[derive(Debug, Clone, Default)]
pub struct Backlog(Arc<BacklogInner>);

#[derive(Debug, Default)]
struct BacklogInner {
    length: AtomicUsize,
    shorter: Notify,
}

impl Backlog {
    /// Returns how many wait now.
    pub fn len(&self) -> usize {
        self.0.length.load(Ordering::Relaxed)
    }

    /// Says whether none waits.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Waits until fewer than `limit` (at least 1) wait; only for the source of a line, see the module's words.
    pub async fn wait_below(&self, limit: usize) {
        loop {
            let shorter = self.0.shorter.notified();
            if self.len() < limit.max(1) {
                return;
            }
            shorter.await;
        }
    }

    fn shorten(&self) {
        // saturating: the receiver's end may have set it to zero meanwhile
        let _ = self.0.length.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |n| n.checked_sub(1));
        self.0.shorter.notify_waiters();
    }
}

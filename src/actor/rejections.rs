//! The way of the items that could not be done.
//!
//! This mailbox alone has no bound: whoever writes rejections down may himself be a stage that rejects, or wait for
//! one, and with a bound such a circle could stand still for ever. Instead the *source* of a line waits until the
//! [`Backlog`] is small; so it holds at most that many rejections and those of what is inside the line, each a
//! ticket and a reason.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use tokio::sync::{Notify, mpsc};
use tokio::time::Instant;

use super::counters::StageCounters;
use super::lock;
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
    let suspect = Suspect(Arc::default());
    let rejections = Rejections { receiver, backlog: backlog.clone(), suspect: suspect.clone() };
    (RejectionSender { sender, backlog, suspect }, rejections)
}

/// Of a line that was taken down because it hung: the item that stages which stood still have had in hand for longest.
/// Its rejection counts as one of a panic, a fault of ours: whether the item is to blame shows when it is tried again.
#[derive(Debug)]
pub struct Suspect<K>(Arc<Mutex<Option<Suspicion<K>>>>);

type Suspicion<K> = (Since, Rejection<K>);

/// Whether an item is in a call, which may only wait for jobs, and since when; the least is suspected.
type Since = (bool, Instant);

impl<K> Clone for Suspect<K> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<K> Suspect<K> {
    /// Takes the rejection, where there is one.
    pub fn take(&self) -> Option<Rejection<K>> {
        lock(&self.0).take().map(|(_, rejection)| rejection)
    }
}

/// An item in the hands of a stage. When the line is taken down before it is let go, and the stage hangs, it is
/// suspected.
pub(super) struct InHand<'a, K: Into<L>, L> {
    counters: &'a StageCounters,
    rejections: &'a RejectionSender<L>,
    ticket: Option<K>,
    since: Since,
}

impl<'a, K: Into<L>, L> InHand<'a, K, L> {
    pub(super) fn new(
        ticket: K,
        since: Since,
        counters: &'a StageCounters,
        rejections: &'a RejectionSender<L>,
    ) -> Self {
        Self { counters, rejections, ticket: Some(ticket), since }
    }

    /// The stage is done with it, well or not.
    pub(super) fn let_go(mut self) {
        self.ticket = None;
    }
}

impl<K: Into<L>, L> Drop for InHand<'_, K, L> {
    fn drop(&mut self) {
        let Some(ticket) = self.ticket.take().filter(|_| self.counters.is_hung()) else { return };
        let mut suspect = lock(&self.rejections.suspect.0);
        if suspect.as_ref().is_none_or(|(since, _)| self.since < *since) {
            let reason = "it made no progress within pipeline.hang_timeout_s".to_owned();
            let (ticket, stage) = (ticket.into(), self.counters.name());
            *suspect = Some((self.since, Rejection { ticket, stage, reason, panicked: true }));
        }
    }
}

/// The end that stages send rejections to.
#[derive(Debug)]
pub struct RejectionSender<K> {
    sender: mpsc::UnboundedSender<Rejection<K>>,
    backlog: Backlog,
    suspect: Suspect<K>,
}

impl<K> Clone for RejectionSender<K> {
    fn clone(&self) -> Self {
        let Self { sender, backlog, suspect } = self;
        Self { sender: sender.clone(), backlog: backlog.clone(), suspect: suspect.clone() }
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
    suspect: Suspect<K>,
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

    /// Returns what will be known after a hang; ask when the line has been taken down.
    pub fn suspect(&self) -> Suspect<K> {
        self.suspect.clone()
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

//! Side branches: lookers-on get a view of what passes, and cannot hold the line up unless they are meant to.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use super::lock;
use super::mailbox::{Mailbox, MailboxSender, TrySendError, mailbox};

/// What happens when the mailbox of a branch is full.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BranchPolicy {
    /// The branch misses this value, which is counted; the line goes on.
    DropNewest,
    /// The line waits for the branch.
    Wait,
}

/// A point of the line where branches can be added at any time; clones are the same point.
///
/// A branch whose [`Mailbox`] is dropped is forgotten. Values are cloned for each branch: let them be small, or an
/// `Arc`.
#[derive(Debug)]
pub struct Tee<B>(Arc<Inner<B>>);

#[derive(Debug)]
struct Inner<B> {
    name: &'static str,
    branches: Mutex<Vec<Branch<B>>>,
    n_dropped: AtomicU64,
}

#[derive(Debug)]
struct Branch<B> {
    sender: MailboxSender<B>,
    policy: BranchPolicy,
}

impl<B> Clone for Tee<B> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<B> Tee<B> {
    /// Makes a point without branches; the name must be unique in the assembly.
    pub fn new(name: &'static str) -> Self {
        Self(Arc::new(Inner { name, branches: Mutex::default(), n_dropped: AtomicU64::new(0) }))
    }

    /// Returns its name.
    pub fn name(&self) -> &'static str {
        self.0.name
    }

    /// Adds a branch with a mailbox of its own. It ends when the tee is dropped, not when a line ends.
    pub fn branch(&self, policy: BranchPolicy, capacity: usize) -> Mailbox<B> {
        let (sender, receiver) = mailbox(capacity);
        lock(&self.0.branches).push(Branch { sender, policy });
        receiver
    }

    /// Says whether there is any branch, so that a view need not be made for nobody.
    pub fn is_wanted(&self) -> bool {
        !lock(&self.0.branches).is_empty()
    }

    /// Returns how many values branches have missed.
    pub fn n_dropped(&self) -> u64 {
        self.0.n_dropped.load(Ordering::Relaxed)
    }
}

impl<B: Clone> Tee<B> {
    /// Offers a value to every branch; waits only for full branches with [`BranchPolicy::Wait`].
    pub async fn offer(&self, value: B) {
        for sender in self.offer_now(value.clone()) {
            // a branch that closes while we wait is forgotten the next time
            let _ = sender.send(value.clone()).await;
        }
    }

    /// Offers to all, forgets the closed, and returns those to wait for.
    fn offer_now(&self, value: B) -> Vec<MailboxSender<B>> {
        let mut to_wait_for = Vec::new();
        lock(&self.0.branches).retain(|branch| match branch.sender.try_send(value.clone()) {
            Ok(()) => true,
            Err(TrySendError::Closed(_)) => false,
            Err(TrySendError::Full(_)) => {
                match branch.policy {
                    BranchPolicy::Wait => to_wait_for.push(branch.sender.clone()),
                    BranchPolicy::DropNewest => {
                        self.0.n_dropped.fetch_add(1, Ordering::Relaxed);
                    }
                }
                true
            }
        });
        to_wait_for
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[tokio::test(start_paused = true)]
    async fn a_full_branch_drops_or_makes_wait_as_it_says() {
        let tee = Tee::new("tee");
        assert!(!tee.is_wanted());
        tee.offer(0).await;
        let mut dropping = tee.branch(BranchPolicy::DropNewest, 2);
        let mut waiting = tee.branch(BranchPolicy::Wait, 2);
        for n in 1..=2 {
            tee.offer(n).await;
        }
        let wait = tokio::time::timeout(Duration::from_secs(60), tee.offer(3)).await;
        assert!(wait.is_err(), "the second branch is full");
        assert_eq!(tee.n_dropped(), 1);
        assert_eq!(waiting.recv().await, Some(1));
        tee.offer(4).await;
        assert_eq!((waiting.recv().await, waiting.recv().await), (Some(2), Some(4)));
        assert_eq!((dropping.try_recv(), dropping.try_recv(), dropping.try_recv()), (Some(1), Some(2), None));
        assert_eq!(tee.n_dropped(), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn a_branch_that_closes_is_forgotten_also_while_the_line_waits_for_it() {
        let tee = Tee::new("tee");
        let (gone, mut kept) = (tee.branch(BranchPolicy::Wait, 1), tee.branch(BranchPolicy::Wait, 9));
        tee.offer(1).await;
        let offer = tokio::spawn({
            let tee = tee.clone();
            async move { tee.offer(2).await }
        });
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert!(!offer.is_finished());
        drop(gone);
        offer.await.unwrap();
        tee.offer(3).await;
        assert_eq!(lock(&tee.0.branches).len(), 1);
        drop(tee);
        for expected in [Some(1), Some(2), Some(3), None] {
            assert_eq!(kept.recv().await, expected);
        }
    }
}

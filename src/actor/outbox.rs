//! Where a stage puts its results: they leave in the order of the calls, whenever their jobs end.
//!
//! Each call takes a *place* in a queue of slots; a forwarder task takes the slots in order, waits for the job of
//! each, and passes its result on. At most N jobs run (the permits), and at most 2 N places are taken, so that one
//! slow job lets the others run ahead, but not without bound.

use std::fmt::Debug;
use std::future::Future;
use std::sync::Arc;

use tokio::sync::mpsc;
use tokio::task::JoinError;
use tokio::time::Instant;
use tokio_util::task::{AbortOnDropHandle, TaskTracker};

use super::counters::{FlightGuard, StageCounters};
use super::job::panic_message;
use super::mailbox::{Closed, MailboxSender, TrySendError};
use super::permits::{Permit, Permits};
use super::rejections::{InHand, Rejection, RejectionSender};
use super::runner::StageFailure;
use super::stage::StageError;

/// How many places there are for each permit.
const PLACES_PER_PERMIT: usize = 2;

/// The outbox of a stage whose results are `O` and whose items are known by their ticket `K`.
#[derive(Debug)]
pub struct Outbox<O, K> {
    slots: mpsc::UnboundedSender<Slot<O, K>>,
    gates: Gates,
    counters: Arc<StageCounters>,
    tracker: TaskTracker,
}

impl<O: Send + 'static, K: Clone + Debug + Send + Sync + 'static> Outbox<O, K> {
    /// Sends a value behind everything sent before; waits while all places are taken.
    ///
    /// # Errors
    /// Fatal, when the stage is being taken down: pass it on with `?`.
    pub async fn send(&mut self, value: O) -> Result<(), StageError> {
        self.put(Content::Value(value)).await
    }

    /// Rejects an item in its turn: for a part of what came in (one plane of a file), while the rest goes on.
    ///
    /// # Errors
    /// As [`Self::send`].
    pub async fn reject(&mut self, ticket: K, reason: impl Into<String> + Send) -> Result<(), StageError> {
        self.put(Content::Rejected { ticket, reason: reason.into(), panicked: false }).await
    }

    /// Runs a job beside the others, and sends its result in the turn of this call; waits for one of the stage's
    /// permits before the job starts.
    ///
    /// `Ok(None)` sends nothing. An `Item` error or a panic rejects `ticket` and the others go on; `Fatal` ends the
    /// stage. The job is dropped at its next `.await` when the generation is taken down.
    ///
    /// # Errors
    /// As [`Self::send`]; those of the job do not come back here.
    pub async fn send_when<F>(&mut self, ticket: K, job: F) -> Result<(), StageError>
    where
        F: Future<Output = Result<Option<O>, StageError>> + Send + 'static,
    {
        let place = self.place().await;
        let permit = {
            let _wait = self.counters.protect();
            self.gates.permits.acquire().await
        };
        let counters = Arc::clone(&self.counters);
        #[cfg(test)]
        let job = super::planted::around((counters.name(), super::planted::Place::Job), ticket.clone(), job);
        let (work, since) = (counters.begin_job(), Instant::now());
        let task = self.tracker.spawn(async move {
            let result = job.await;
            drop((permit, work));
            result
        });
        self.push(place, Content::Job { ticket, since, task: AbortOnDropHandle::new(task) })
    }

    /// Returns the counters of the stage, to add bytes, show progress or protect a wait.
    pub fn counters(&self) -> &Arc<StageCounters> {
        &self.counters
    }

    /// Says whether the forwarder has gone, which then says why.
    pub(super) fn is_closed(&self) -> bool {
        self.slots.is_closed()
    }

    pub(super) async fn put(&mut self, content: Content<O, K>) -> Result<(), StageError> {
        let place = self.place().await;
        self.push(place, content)
    }

    async fn place(&self) -> Place {
        let _wait = self.counters.protect();
        let permit = self.gates.places.acquire().await;
        Place { _permit: permit, _flight: self.counters.begin_flight() }
    }

    fn push(&self, place: Place, content: Content<O, K>) -> Result<(), StageError> {
        self.slots.send(Slot { content, place }).map_err(|_| StageError::fatal(Closed))
    }
}

/// The two bounds of an outbox.
#[derive(Debug, Clone)]
pub(super) struct Gates {
    pub(super) permits: Permits,
    places: Permits,
}

impl Gates {
    pub(super) fn new(n_permits: usize) -> Self {
        let permits = Permits::new(n_permits);
        let places = Permits::new(permits.limit().saturating_mul(PLACES_PER_PERMIT));
        Self { permits, places }
    }

    pub(super) fn set_permits(&self, n_permits: usize) {
        self.permits.set_limit(n_permits);
        self.places.set_limit(n_permits.saturating_mul(PLACES_PER_PERMIT));
    }
}

/// What waits for its turn.
#[derive(Debug)]
struct Slot<O, K> {
    content: Content<O, K>,
    place: Place,
}

#[derive(Debug)]
pub(super) enum Content<O, K> {
    Value(O),
    Job { ticket: K, since: Instant, task: AbortOnDropHandle<Result<Option<O>, StageError>> },
    Rejected { ticket: K, reason: String, panicked: bool },
}

#[derive(Debug)]
struct Place {
    _permit: Permit,
    _flight: FlightGuard,
}

/// Takes the slots of one outbox in order and passes on what they hold.
pub(super) struct Forwarder<O, K, L> {
    slots: mpsc::UnboundedReceiver<Slot<O, K>>,
    /// The next mailbox; `None` at the end of the line.
    output: Option<MailboxSender<O>>,
    rejections: RejectionSender<L>,
    counters: Arc<StageCounters>,
}

/// Makes an outbox and its forwarder.
pub(super) fn outbox<O, K, L>(
    gates: Gates,
    counters: &Arc<StageCounters>,
    tracker: &TaskTracker,
    output: Option<MailboxSender<O>>,
    rejections: RejectionSender<L>,
) -> (Outbox<O, K>, Forwarder<O, K, L>) {
    let (sender, slots) = mpsc::unbounded_channel();
    let outbox = Outbox { slots: sender, gates, counters: Arc::clone(counters), tracker: tracker.clone() };
    (outbox, Forwarder { slots, output, rejections, counters: Arc::clone(counters) })
}

impl<O, K: Clone + Into<L>, L> Forwarder<O, K, L> {
    /// Forwards until the outbox is dropped and nothing is left.
    pub(super) async fn run(mut self) -> Result<(), StageFailure> {
        while let Some(Slot { content, place }) = self.slots.recv().await {
            match content {
                Content::Value(value) => self.pass_on(value).await?,
                Content::Job { ticket, since, task } => {
                    let in_hand =
                        InHand::new(ticket.clone(), (false, since), &self.counters, &self.rejections);
                    let ended = task.await;
                    in_hand.let_go();
                    self.end_job(ticket, ended).await?;
                }
                Content::Rejected { ticket, reason, panicked } => self.reject(ticket, reason, panicked)?,
            }
            drop(place);
            self.counters.progress();
        }
        Ok(())
    }

    async fn end_job(
        &self,
        ticket: K,
        ended: Result<Result<Option<O>, StageError>, JoinError>,
    ) -> Result<(), StageFailure> {
        match ended {
            Ok(Ok(Some(value))) => self.pass_on(value).await,
            Ok(Ok(None)) => Ok(()),
            Ok(Err(StageError::Item(reason))) => self.reject(ticket, reason, false),
            Ok(Err(StageError::Panicked(message))) => self.reject(ticket, message, true),
            Ok(Err(StageError::Fatal(error))) => Err(StageFailure::Fatal(error.to_string())),
            Err(error) => match error.try_into_panic() {
                Ok(payload) => self.reject(ticket, panic_message(payload.as_ref()), true),
                Err(_) => Err(StageFailure::Stopped),
            },
        }
    }

    async fn pass_on(&self, value: O) -> Result<(), StageFailure> {
        let Some(output) = &self.output else {
            self.counters.add_out(1);
            return Ok(());
        };
        match output.try_send(value) {
            Ok(()) => {}
            Err(TrySendError::Closed(_)) => return Err(StageFailure::OutputClosed),
            Err(TrySendError::Full(value)) => {
                let _wait = self.counters.begin_waiting_output();
                output.send(value).await.map_err(|Closed| StageFailure::OutputClosed)?;
            }
        }
        self.counters.add_out(1);
        Ok(())
    }

    fn reject(&self, ticket: K, reason: String, panicked: bool) -> Result<(), StageFailure> {
        self.counters.add_rejected(panicked);
        let rejection = Rejection { ticket: ticket.into(), stage: self.counters.name(), reason, panicked };
        self.rejections.send(rejection).map_err(|Closed| StageFailure::RejectionsClosed)
    }
}

//! What a stage is: one doer with an input, an output, and nothing known of its neighbours.

use std::error::Error;
use std::fmt::{Debug, Display};
use std::future::Future;
use std::time::Duration;

use super::job::JobError;
use super::outbox::Outbox;

/// An item that can say who it is, so that its failure can be reported with its name.
pub trait Traceable {
    /// The identity that is kept while the item is in work: small, cheap to clone, without the pixels.
    type Ticket: Clone + Send + Sync + Debug + 'static;

    /// Returns the identity of this item.
    fn ticket(&self) -> Self::Ticket;
}

/// The ticket of what a stage takes in.
pub type TicketOf<S> = <<S as Stage>::Input as Traceable>::Ticket;

/// The outbox that a stage sends to.
pub type StageOutbox<S> = Outbox<<S as Stage>::Output, TicketOf<S>>;

/// Why a stage could not do its work.
#[derive(Debug, thiserror::Error)]
pub enum StageError {
    /// This item cannot be done; it becomes a rejection with this reason, and the work goes on.
    #[error("{0}")]
    Item(String),
    /// The work on this item panicked in a pool; it becomes a rejection that is marked as a fault of ours.
    #[error("panicked: {0}")]
    Panicked(String),
    /// The stage cannot go on; the supervisor decides what happens to the whole generation.
    #[error("{0}")]
    Fatal(Box<dyn Error + Send + Sync>),
}

impl StageError {
    /// Makes the rejection of one item; the reason is lower case, without a full stop, and says what was expected.
    pub fn item(reason: impl Display) -> Self {
        Self::Item(reason.to_string())
    }

    /// Makes the end of a stage from an error, or from a text.
    pub fn fatal(error: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::Fatal(error.into())
    }
}

impl From<JobError> for StageError {
    /// A panic in a pool rejects the item; a pool that has stopped is fatal.
    fn from(error: JobError) -> Self {
        match error {
            JobError::Panicked(message) => Self::Panicked(message),
            JobError::Stopped => Self::fatal(error),
        }
    }
}

/// One step of the line.
///
/// One call runs at a time (`&mut self`); what is heavy goes into a job for [`Outbox::send_when`], of which N run at
/// once. Implementations write `async fn`. A panic in `process` rejects that item and the next one is taken: what
/// `self` holds must be fit for use at every `.await` and every call that may panic.
pub trait Stage: Send + 'static {
    /// The name in counters, logs and rejections; unique within an assembly.
    const NAME: &'static str;
    /// What comes in.
    type Input: Traceable + Send + 'static;
    /// What goes out; `()` for the last stage of a line.
    type Output: Send + 'static;

    /// Handles one item: prepares it in sequence, sends results in order.
    ///
    /// # Errors
    /// `Item` and `Panicked` reject this item (what it has sent already goes on nevertheless); `Fatal` ends the
    /// stage. Errors of the outbox are passed on with `?`.
    fn process(
        &mut self,
        item: Self::Input,
        out: &mut StageOutbox<Self>,
    ) -> impl Future<Output = Result<(), StageError>> + Send
    where
        Self: Sized;

    /// Says how often [`Stage::tick`] wants to be called; asked once, at the start; `None` (the default) is never.
    fn tick_period(&self) -> Option<Duration> {
        None
    }

    /// Called once in each tick period, between two items, for work that time starts and not an item.
    ///
    /// # Errors
    /// Any error is fatal, since there is no item to reject: reject items through [`Outbox::reject`].
    fn tick(&mut self, out: &mut StageOutbox<Self>) -> impl Future<Output = Result<(), StageError>> + Send
    where
        Self: Sized,
    {
        let _ = out;
        async { Ok(()) }
    }

    /// Called once when the input has ended, all items have been processed and nothing was fatal; may still send.
    ///
    /// # Errors
    /// Any error is fatal, as for [`Stage::tick`].
    fn finish(&mut self, out: &mut StageOutbox<Self>) -> impl Future<Output = Result<(), StageError>> + Send
    where
        Self: Sized,
    {
        let _ = out;
        async { Ok(()) }
    }
}

//! Actors: stages joined by bounded mailboxes, and what keeps them running. Knows no image type.
//!
//! A [`Stage`] takes one item at a time from its [`Mailbox`], hands heavy work to its [`Outbox`], and the outbox
//! passes the results on in the order of the calls. An [`Assembly`] joins stages to a line, [`supervise`] runs one
//! generation of the line after the other. Around them: the [`ByteBudget`], the [`CpuPool`] and the [`IoPool`],
//! [`Tee`] for side branches, [`EventBus`] and [`State`] for those who look on.
//!
//! Time comes from tokio, so that tests can stop the clock.

mod assembly;
mod counters;
mod cpu_pool;
mod events;
mod io_pool;
mod job;
mod mailbox;
mod memory;
mod outbox;
mod permits;
#[cfg(test)]
pub(crate) mod planted;
mod rejections;
mod runner;
mod stage;
mod state;
mod statistics;
mod supervisor;
mod tee;

pub use assembly::{Assembly, AssemblyError, StageHandle};
pub use counters::{OutputWaitGuard, ProtectGuard, StageCounters, WorkGuard};
pub use cpu_pool::{CpuPool, CpuPoolError, CpuPoolSnapshot};
pub use events::{Event, EventBus, Received, Subscriber};
pub use io_pool::{IoPool, IoPoolSnapshot};
pub use job::{CancelFlag, JobError};
pub use mailbox::{Closed, Mailbox, MailboxSender, QueueSnapshot, TrySendError, mailbox};
pub use memory::{ByteBudget, ByteBudgetSnapshot, BytePermit, Charged, OverBudget};
pub use outbox::Outbox;
pub use permits::Permits;
pub use rejections::{Backlog, Rejection, RejectionSender, Rejections, Suspect, rejections};
pub use stage::{Stage, StageError, StageOutbox, TicketOf, Traceable};
pub use state::{State, StateReader};
pub use statistics::{StageSnapshot, Stall, Statistics};
pub use supervisor::{
    Generation, Outcome, Phase, Shutdown, Supervision, SupervisorError, SupervisorSettings, SupervisorStatus,
    supervise,
};
pub use tee::{BranchPolicy, Tee};

use std::sync::{Mutex, MutexGuard, PoisonError};

/// Locks a mutex whose data stay valid between any two statements, so that a panic elsewhere cannot spoil them.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;

//! What the CPU pool and the I/O pool share: how a job ends badly, and how it learns that nobody waits for it.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Why a job gave no result.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum JobError {
    /// The job panicked, with this message.
    #[error("panicked: {0}")]
    Panicked(String),
    /// The pool or the runtime was shut down before the job ran.
    #[error("the pool has stopped")]
    Stopped,
}

/// Tells a running job that its result is no longer wanted; set when the future that waits for it is dropped.
#[derive(Debug, Clone, Default)]
pub struct CancelFlag(Arc<AtomicBool>);

impl CancelFlag {
    /// Says whether the job may stop early; its result will be thrown away.
    pub fn is_cancelled(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    /// Sets the flag; it stays set.
    pub fn cancel(&self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Sets the flag when dropped.
pub(super) struct CancelOnDrop(pub(super) CancelFlag);

impl Drop for CancelOnDrop {
    fn drop(&mut self) {
        self.0.cancel();
    }
}

/// Runs a job and turns its panic into an error.
pub(super) fn run_caught<R>(job: impl FnOnce() -> R) -> Result<R, JobError> {
    catch_unwind(AssertUnwindSafe(job)).map_err(|payload| JobError::Panicked(panic_message(payload.as_ref())))
}

/// Extracts the text of a panic.
pub(super) fn panic_message(payload: &(dyn Any + Send)) -> String {
    payload
        .downcast_ref::<&'static str>()
        .map(|text| (*text).to_owned())
        .or_else(|| payload.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "panic without a message".to_owned())
}

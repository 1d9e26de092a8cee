//! How the roots stand, for whoever shows it.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::Serialize;

/// How one root stands.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct RootStatus {
    /// The root's name in reports.
    pub name: String,
    /// Where it is.
    pub path: PathBuf,
    /// `online`, `offline` or `offline (does not answer)`.
    pub state: &'static str,
    /// `events` or `polled`, with the reason for polling.
    pub noticing: String,
    /// Files found by the last whole walk.
    pub files: u64,
    /// Folders found by the last whole walk.
    pub folders: u64,
    /// How long the last whole walk took.
    pub walk_s: f64,
    /// Whole walks so far.
    pub walks: u64,
    /// Files that were taken up because an event led to them.
    pub found_by_event: u64,
    /// Files that were taken up because a whole walk found them.
    pub found_by_walk: u64,
    /// Folders and files that could not be listed at the last whole walk, with the reason; the first few.
    pub refusals: Vec<String>,
}

/// How all roots stand; shared with whoever shows it.
#[derive(Debug, Clone, Default)]
pub struct WatchStatus(Arc<Mutex<Vec<RootStatus>>>);

impl WatchStatus {
    pub(super) fn new(roots: impl Iterator<Item = RootStatus>) -> Self {
        Self(Arc::new(Mutex::new(roots.collect())))
    }

    /// The state of each root, in the order of the settings.
    pub fn snapshot(&self) -> Vec<RootStatus> {
        self.lock().clone()
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Vec<RootStatus>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

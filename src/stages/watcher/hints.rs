//! Change events of the operating system, kept only as hints: which files and folders to look at soon.
//!
//! The handler never blocks and never holds more than [`PATHS_MAX`] names: past that, and whenever the system says
//! that it lost events, the hint collapses to "look at everything".

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use notify::event::{AccessKind, AccessMode, EventKind, ModifyKind, RemoveKind};
use notify::{RecursiveMode, Watcher as _};
use tokio::sync::Notify;
use tokio::time::Instant;

/// Paths named by hints before they collapse to a whole walk.
const PATHS_MAX: usize = 512;
/// A path that was just named is looked at after this long, so that a burst of events costs one look.
const AGGREGATION: Duration = Duration::from_millis(100);
/// Files that appear in a new folder before its watch is set up give no event: it is looked at again this often.
const SECOND_LOOKS: [Duration; 2] = [Duration::from_secs(1), Duration::from_secs(4)];

/// What should be looked at now.
#[derive(Debug, PartialEq, Eq)]
pub enum Due {
    /// These files, and these folders with what is below them.
    Paths(Vec<PathBuf>),
    /// Everything: events were lost.
    Everything,
}

/// The paths to look at, and when; shared between the event handler and the watcher.
#[derive(Debug, Default)]
pub struct Hints {
    inner: Mutex<Inner>,
    wake: Notify,
}

#[derive(Debug, Default)]
struct Inner {
    due: BTreeMap<PathBuf, Instant>,
    /// Second looks that folders have had since their last hint.
    looks: BTreeMap<PathBuf, usize>,
    everything: bool,
    events: u64,
    overflows: u64,
}

impl Hints {
    /// Waits until something is due, and takes it.
    pub async fn next(&self) -> Due {
        loop {
            let woken = self.wake.notified();
            let earliest = {
                let mut inner = self.lock();
                if std::mem::take(&mut inner.everything) {
                    inner.due.clear();
                    inner.looks.clear();
                    return Due::Everything;
                }
                let now = Instant::now();
                let paths: Vec<_> =
                    inner.due.iter().filter(|(_, at)| **at <= now).map(|(path, _)| path.clone()).collect();
                if !paths.is_empty() {
                    paths.iter().for_each(|path| {
                        inner.due.remove(path);
                    });
                    return Due::Paths(without_nested(paths));
                }
                inner.due.values().min().copied()
            };
            match earliest {
                Some(at) => tokio::select! { () = woken => (), () = tokio::time::sleep_until(at) => () },
                None => woken.await,
            }
        }
    }

    /// Events handled and overflows seen so far.
    pub fn counts(&self) -> (u64, u64) {
        let inner = self.lock();
        (inner.events, inner.overflows)
    }

    /// Asks for a look at one file or folder after `delay`.
    pub fn path(&self, path: PathBuf, delay: Duration) {
        let mut inner = self.lock();
        if inner.due.len() >= PATHS_MAX {
            inner.everything = true;
        } else {
            let at = Instant::now() + delay;
            inner.due.entry(path).and_modify(|due| *due = at.min(*due)).or_insert(at);
        }
        drop(inner);
        self.wake.notify_one();
    }

    /// Asks for the next of the second looks at a folder that a hint led to: once the last has passed, it is
    /// forgotten.
    pub fn look_again(&self, folder: &Path) {
        let mut inner = self.lock();
        let done = inner.looks.entry(folder.to_owned()).or_insert(0);
        let delay = SECOND_LOOKS.get(*done).copied();
        *done += 1;
        if delay.is_none() {
            inner.looks.remove(folder);
        }
        drop(inner);
        if let Some(delay) = delay {
            self.path(folder.to_owned(), delay);
        }
    }

    /// Asks for a look at everything.
    pub fn everything(&self) {
        self.lock().everything = true;
        self.wake.notify_one();
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn handle(&self, event: notify::Result<notify::Event>) {
        let Ok(event) = event else {
            self.lock().overflows += 1;
            return self.everything();
        };
        if event.need_rescan() {
            self.lock().overflows += 1;
            return self.everything();
        }
        self.lock().events += 1;
        let new_content = match event.kind {
            EventKind::Access(kind) => kind == AccessKind::Close(AccessMode::Write),
            EventKind::Modify(ModifyKind::Metadata(_)) => false,
            EventKind::Remove(RemoveKind::Other) => return self.everything(),
            EventKind::Remove(_) => false,
            _ => true,
        };
        if new_content {
            event.paths.into_iter().for_each(|path| self.path(path, AGGREGATION));
        }
    }
}

/// Leaves out what lies below another path of the list.
fn without_nested(mut paths: Vec<PathBuf>) -> Vec<PathBuf> {
    paths.sort();
    paths.dedup_by(|later, earlier| later.starts_with(&*earlier));
    paths
}

/// The system's event source for one root; dropping it ends the watch.
pub(super) struct EventSource(#[allow(dead_code, reason = "held for its drop")] notify::RecommendedWatcher);

impl EventSource {
    /// Subscribes to changes under `root`; may walk the whole tree, so call it off the runtime's workers.
    ///
    /// # Errors
    /// The system's reason, such as an exhausted number of watches; the root is then polled only.
    pub(super) fn new(root: &Path, hints: Arc<Hints>) -> Result<Self, String> {
        let watcher = notify::recommended_watcher(move |event| hints.handle(event));
        let mut watcher = watcher.map_err(|error| error.to_string())?;
        watcher.watch(root, RecursiveMode::Recursive).map_err(|error| error.to_string())?;
        Ok(Self(watcher))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_burst_of_hints_is_one_look_and_nested_folders_are_inside_it() {
        let hints = Hints::default();
        for folder in ["/r/b", "/r/a/x", "/r/a", "/r/b"] {
            hints.path(folder.into(), AGGREGATION);
        }
        assert_eq!(hints.next().await, Due::Paths(vec!["/r/a".into(), "/r/b".into()]));
    }

    #[tokio::test(start_paused = true)]
    async fn too_many_hints_and_lost_events_mean_everything() {
        let hints = Hints::default();
        for number in 0..=PATHS_MAX {
            hints.path(format!("/r/{number}").into(), AGGREGATION);
        }
        assert_eq!(hints.next().await, Due::Everything);
        let lost = notify::Event::new(EventKind::Other).set_flag(notify::event::Flag::Rescan);
        hints.handle(Ok(lost));
        assert_eq!(hints.next().await, Due::Everything);
        hints.handle(Err(notify::Error::generic("queue is gone")));
        assert_eq!(hints.next().await, Due::Everything);
        assert_eq!(hints.counts(), (0, 2));
    }

    #[tokio::test(start_paused = true)]
    async fn a_folder_that_was_named_is_looked_at_again_and_then_forgotten() {
        let hints = Hints::default();
        let folder = Path::new("/r/new");
        for delay in SECOND_LOOKS {
            let start = Instant::now();
            hints.look_again(folder);
            assert_eq!(hints.next().await, Due::Paths(vec![folder.to_owned()]));
            assert_eq!(start.elapsed(), delay);
        }
        hints.look_again(folder);
        assert!(tokio::time::timeout(Duration::from_secs(60), hints.next()).await.is_err());
    }
}

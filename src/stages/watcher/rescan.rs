//! Whole walks that somebody asks for and waits for.

use std::collections::VecDeque;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use serde::Serialize;
use tokio::sync::{Notify, oneshot};

use super::{Desk, Watcher};
use crate::actor::StageError;

/// What a walk of one root has found.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RootFound {
    /// The root's name in reports.
    pub root: String,
    /// Where it is.
    pub path: String,
    /// `online`, or why it could not be walked.
    pub state: &'static str,
    /// Files that the filter takes; null where the root could not be walked.
    pub files: Option<u64>,
    /// Of these, handed out to be taken up: new, changed, or not finished.
    pub taken_up: Option<u64>,
    /// Folders walked.
    pub folders: Option<u64>,
    /// How long the walk took, in seconds.
    pub walk_s: Option<f64>,
    /// What could not be looked at, with the reason; the first few.
    pub refusals: Vec<String>,
}

/// The walks that were asked for, over all generations; clones are the same queue.
#[derive(Debug, Clone, Default)]
pub struct Rescans(Arc<Queue>);

#[derive(Debug, Default)]
struct Queue {
    waiting: Mutex<VecDeque<Rescan>>,
    wake: Notify,
}

/// One walk that was asked for.
#[derive(Debug)]
pub(super) struct Rescan {
    /// The name or the place of a root; all roots where there is none.
    root: Option<String>,
    reply: oneshot::Sender<Vec<RootFound>>,
}

impl Rescans {
    /// Asks for a walk of the root of this name or at this place, or of all roots. The answer is dropped when the
    /// watcher ends before it has walked.
    pub fn ask(&self, root: Option<String>) -> oneshot::Receiver<Vec<RootFound>> {
        let (reply, answer) = oneshot::channel();
        self.0.waiting.lock().unwrap_or_else(PoisonError::into_inner).push_back(Rescan { root, reply });
        self.0.wake.notify_one();
        answer
    }

    /// Waits for the next walk that is asked for.
    pub(super) async fn next(&self) -> Rescan {
        loop {
            let woken = self.0.wake.notified();
            let first = self.0.waiting.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
            match first {
                Some(rescan) => return rescan,
                None => woken.await,
            }
        }
    }
}

impl Watcher {
    /// Walks what was asked for, and answers.
    pub(super) async fn rescan(&mut self, rescan: Rescan, desk: &Desk) -> Result<(), StageError> {
        let mut found = Vec::new();
        for index in 0..self.settings.roots.len() {
            let root = self.settings.roots[index].root.clone();
            let is_asked = |text: &str| root.name == text || root.path == Path::new(text);
            if !rescan.root.as_deref().is_none_or(is_asked) {
                continue;
            }
            let report = self.walk_root(index, desk).await?;
            let status = self.status.lock()[index].clone();
            found.push(RootFound {
                root: root.name.clone(),
                path: root.path.display().to_string(),
                state: status.state,
                files: report.as_ref().map(|report| report.files),
                taken_up: report.as_ref().map(|report| report.new_files),
                folders: report.as_ref().map(|report| report.folders),
                walk_s: report.as_ref().map(|_| status.walk_s),
                refusals: report.map(|_| status.refusals).unwrap_or_default(),
            });
        }
        // whoever asked may have gone
        let _ = rescan.reply.send(found);
        Ok(())
    }
}

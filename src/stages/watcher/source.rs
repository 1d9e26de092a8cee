//! One root between walks: whether it is there, whether it answers, and how its changes are noticed.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::task::{AbortHandle, JoinHandle, spawn_blocking};
use tokio::time::timeout;

use super::hints::{EventSource, Hints};
use crate::platform::filesystem::{self, ChangeEvents};

/// A root that does not answer for this long is taken for offline.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);
/// Refused paths that are remembered, each of which gave one alert.
const TOLD_MAX: usize = 1000;

/// What is held for one root between walks.
pub(super) struct Source {
    answer_timeout: Duration,
    events: Option<EventSource>,
    /// A subscription that takes long (it goes through the whole tree), or for ever.
    subscribing: Option<JoinHandle<Result<EventSource, String>>>,
    /// Device and inode of the root when its events were subscribed to: another one means a remount.
    identity: Option<(u64, u64)>,
    is_network: bool,
    /// The thread that waits for a system call on this root, and may do so for ever.
    stuck: Option<AbortHandle>,
    told: BTreeSet<PathBuf>,
}

/// How a root was found.
#[derive(Debug, PartialEq)]
pub(super) enum Standing {
    /// It is there; how its changes are noticed, where that has changed.
    Online(Option<String>),
    /// There is no such folder.
    Absent,
    /// The system does not come back from asking for it.
    Silent,
}

/// What the system says of a root that is there.
pub(super) struct Answer {
    identity: (u64, u64),
    events: Result<ChangeEvents, String>,
}

impl Default for Source {
    fn default() -> Self {
        Self {
            answer_timeout: ANSWER_TIMEOUT,
            events: None,
            subscribing: None,
            identity: None,
            is_network: false,
            stuck: None,
            told: BTreeSet::new(),
        }
    }
}

impl Source {
    /// Whether a call on this root has not come back.
    pub(super) fn is_stuck(&self) -> bool {
        self.stuck.as_ref().is_some_and(|task| !task.is_finished())
    }

    /// Leaves a call behind that does not come back: until it does, nothing else is tried.
    pub(super) fn leave_behind(&mut self, task: AbortHandle) {
        self.forget();
        self.stuck = Some(task);
    }

    /// Whether it lies on a network or FUSE file system, as it was last found.
    pub(super) fn is_network(&self) -> bool {
        self.is_network
    }

    /// Whether a refusal is to be told now: once for each path.
    pub(super) fn is_news(&mut self, refused: &Path) -> bool {
        self.told.len() < TOLD_MAX && self.told.insert(refused.to_owned())
    }

    /// Asks whether the root is there, and subscribes to its events when it has come, or come back as another file
    /// system. `hints` are where its events go; without them it is walked only.
    pub(super) async fn check(
        &mut self,
        path: &Path,
        hints: Option<&Arc<Hints>>,
        ask: impl FnOnce(&Path) -> Option<Answer> + Send + 'static,
    ) -> Standing {
        if self.is_stuck() {
            return Standing::Silent;
        }
        let mut asking = spawn_blocking({
            let path = path.to_owned();
            move || ask(&path)
        });
        let Ok(answer) = timeout(self.answer_timeout, &mut asking).await else {
            self.leave_behind(asking.abort_handle());
            return Standing::Silent;
        };
        let Some(Answer { identity, events }) = answer.ok().flatten() else {
            self.forget();
            return Standing::Absent;
        };
        if self.identity != Some(identity) {
            self.forget();
            self.identity = Some(identity);
            self.is_network = matches!(events, Ok(ChangeEvents::PollOnly(_)));
            return Standing::Online(Some(self.notice(path, events, hints).await));
        }
        let late = self.subscribing.take_if(|task| task.is_finished());
        let (Some(late), Some(hints)) = (late, hints) else { return Standing::Online(None) };
        let noticing = self.subscribed(late.await.unwrap_or_else(|error| Err(error.to_string())));
        // what came while the subscription was on its way gave no event
        hints.path(path.to_owned(), Duration::ZERO);
        Standing::Online(Some(noticing))
    }

    /// Subscribes to events where they can be expected; says how changes will be noticed.
    async fn notice(
        &mut self,
        path: &Path,
        events: Result<ChangeEvents, String>,
        hints: Option<&Arc<Hints>>,
    ) -> String {
        let Some(hints) = hints.cloned() else { return "walked once".to_owned() };
        match events {
            Ok(ChangeEvents::Local) => {}
            Ok(ChangeEvents::PollOnly(kind)) => return format!("polled ({kind} file system)"),
            Err(reason) => return format!("polled ({reason})"),
        }
        let path = path.to_owned();
        let mut subscribing = spawn_blocking(move || EventSource::new(&path, hints));
        match timeout(self.answer_timeout, &mut subscribing).await {
            Ok(subscribed) => self.subscribed(subscribed.unwrap_or_else(|error| Err(error.to_string()))),
            Err(_) => {
                self.subscribing = Some(subscribing);
                "polled (subscribing to events still)".to_owned()
            }
        }
    }

    fn subscribed(&mut self, subscribed: Result<EventSource, String>) -> String {
        match subscribed {
            Ok(events) => {
                self.events = Some(events);
                "events".to_owned()
            }
            Err(reason) => format!("polled ({reason})"),
        }
    }

    fn forget(&mut self) {
        (self.events, self.subscribing, self.identity, self.stuck) = (None, None, None, None);
    }
}

/// Asks the system for a root; `None` where there is no such folder. May never come back.
pub(super) fn ask(path: &Path) -> Option<Answer> {
    let stat = path.is_dir().then(|| filesystem::stat_path(path).ok()).flatten()?;
    let events = filesystem::change_events(path).map_err(|error| error.to_string());
    Some(Answer { identity: (stat.device, stat.inode), events })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;

    #[tokio::test]
    async fn a_root_that_does_not_answer_is_silent_until_it_does() {
        let mut source = Source { answer_timeout: Duration::from_millis(20), ..Source::default() };
        let (answer, waits) = mpsc::channel::<()>();
        let dead = move |_: &Path| {
            waits.recv().unwrap();
            None
        };
        let path = Path::new("/dead");
        assert_eq!(source.check(path, None, dead).await, Standing::Silent);
        let not_asked = |_: &Path| panic!("asked again although the first call has not come back");
        assert_eq!(source.check(path, None, not_asked).await, Standing::Silent);
        answer.send(()).unwrap();
        while source.is_stuck() {
            tokio::task::yield_now().await;
        }
        source.answer_timeout = ANSWER_TIMEOUT;
        let there = |identity, events| move |_: &Path| Some(Answer { identity, events });
        let standing = source.check(path, None, there((1, 2), Ok(ChangeEvents::PollOnly("nfs")))).await;
        assert_eq!(standing, Standing::Online(Some("walked once".into())));
        assert!(source.is_network());
        let standing = source.check(path, None, there((1, 2), Ok(ChangeEvents::Local))).await;
        assert_eq!(standing, Standing::Online(None));
        let standing = source.check(path, None, there((1, 3), Ok(ChangeEvents::Local))).await;
        assert!(matches!(standing, Standing::Online(Some(_))) && !source.is_network(), "mounted anew");
        assert_eq!(source.check(path, None, |_| None).await, Standing::Absent);
    }

    #[test]
    fn each_refused_path_is_told_once() {
        let mut source = Source::default();
        assert!(source.is_news(Path::new("a")) && source.is_news(Path::new("b")));
        assert!(!source.is_news(Path::new("a")));
    }
}

//! Keeps a line running: one generation after the other, each watched for hangs, until the work is done.

use std::collections::VecDeque;
use std::fmt::Display;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, sleep_until, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use super::job::panic_message;
use super::state::State;
use super::statistics::Statistics;

/// How often in one `hang_timeout` the stages are looked at.
const LOOKS_PER_TIMEOUT: u32 = 4;

/// How long a generation that is taken down may need to let go of everything.
const ABORT_GRACE: Duration = Duration::from_secs(5);

/// When to restart, and when to give up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SupervisorSettings {
    /// The heartbeat: a stage with work under way must show progress in this time. It is looked at four times as
    /// often, so a hang is noticed within 1.25 heartbeats.
    pub hang_timeout: Duration,
    /// The pause before the first restart; it doubles with each failure within the window.
    pub backoff_first: Duration,
    /// The longest pause.
    pub backoff_max: Duration,
    /// How many restarts there may be within the window.
    pub restart_limit: u32,
    /// The time after which a failure is forgotten.
    pub restart_window: Duration,
    /// How long a drain may take before what is inside is given up.
    pub drain_timeout: Duration,
}

/// The two ways to end; clones are the same switch.
#[derive(Debug, Clone, Default)]
pub struct Shutdown {
    /// Take nothing in any more, finish what is inside.
    pub drain: CancellationToken,
    /// Stop at once.
    pub abort: CancellationToken,
}

/// What one generation gets to know.
#[derive(Debug, Clone)]
pub struct Generation {
    /// Counts up from 1.
    pub number: u32,
    /// When cancelled: the source ends, and with it, in order, every stage.
    pub drain: CancellationToken,
    /// When cancelled: everything stops; for [`super::Assembly::run`].
    pub abort: CancellationToken,
}

/// How a supervised line ended well.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Everything taken in was finished.
    Finished,
    /// The drain took longer than its limit; what was inside is given up.
    DrainTimedOut,
    /// It was told to stop at once.
    Aborted,
}

/// Why a supervised line ended badly.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SupervisorError {
    /// It failed too often.
    #[error("gave up after {n_restarts} restarts within {window:?}: {last}")]
    RestartLimit {
        /// Restarts within the window.
        n_restarts: u32,
        /// The window.
        window: Duration,
        /// The last failure.
        last: String,
    },
    /// It failed during the drain, when there is no restart.
    #[error("failed while draining: {0}")]
    WhileDraining(String),
}

/// What a supervised line is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// A generation runs.
    Running,
    /// The last generation failed, the next has not begun.
    BackingOff,
    /// A generation finishes what is inside.
    Draining,
    /// There will be no more.
    Ended,
}

/// What is known of a supervised line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SupervisorStatus {
    /// What it is doing.
    pub phase: Phase,
    /// The number of the generation, from 1; 0 before the first.
    pub generation: u32,
    /// How many failures there have been at all.
    pub n_failures: u32,
    /// The last failure.
    pub last_failure: Option<String>,
}

impl Default for SupervisorStatus {
    fn default() -> Self {
        Self { phase: Phase::Running, generation: 0, n_failures: 0, last_failure: None }
    }
}

/// A supervised line, seen from outside.
#[derive(Debug, Clone)]
pub struct Supervision {
    /// The counters of the stages, over all generations.
    pub statistics: Statistics,
    /// What the supervisor is doing.
    pub status: Arc<State<SupervisorStatus>>,
    /// The way to end it.
    pub shutdown: Shutdown,
}

impl Default for Supervision {
    fn default() -> Self {
        Self {
            statistics: Statistics::default(),
            status: Arc::new(State::new(SupervisorStatus::default())),
            shutdown: Shutdown::default(),
        }
    }
}

/// Runs generation after generation until one ends without a failure, the limit of restarts is passed, or
/// `supervision.shutdown` is used.
///
/// `run` builds and runs one generation; its members add their counters to `supervision.statistics`. It is over when
/// its future is; a generation that hangs is told so by its abort token, and dropped when it does not listen.
///
/// # Errors
/// When restarting does not help: the process should exit with an error, so that the system starts it afresh.
pub async fn supervise<R, F, E>(
    settings: &SupervisorSettings,
    supervision: &Supervision,
    mut run: R,
) -> Result<Outcome, SupervisorError>
where
    R: FnMut(Generation) -> F,
    F: Future<Output = Result<(), E>> + Send + 'static,
    E: Display + Send + 'static,
{
    let Supervision { status, shutdown, .. } = supervision;
    let mut failures = Failures { settings, recent: VecDeque::new() };
    let mut number = 0;
    let result = loop {
        number += 1;
        status.update(|status| (status.phase, status.generation) = (Phase::Running, number));
        let generation =
            Generation { number, drain: shutdown.drain.child_token(), abort: shutdown.abort.child_token() };
        let task = AbortOnDropHandle::new(tokio::spawn(run(generation.clone())));
        let failure = match (Watch { settings, supervision, generation, task }).run().await {
            Ok(outcome) => break Ok(outcome),
            Err(failure) => failure,
        };
        tracing::warn!(generation = number, failure, "a generation of the pipeline has failed");
        status.update(|status| {
            (status.phase, status.n_failures) = (Phase::BackingOff, status.n_failures + 1);
            status.last_failure = Some(failure.clone());
        });
        if shutdown.drain.is_cancelled() {
            break Err(SupervisorError::WhileDraining(failure));
        }
        let pause = match failures.pause_after(failure) {
            Ok(pause) => pause,
            Err(error) => break Err(error),
        };
        tokio::select! {
            biased;
            () = shutdown.abort.cancelled() => break Ok(Outcome::Aborted),
            () = shutdown.drain.cancelled() => break Ok(Outcome::Finished),
            () = sleep(pause) => {}
        }
    };
    status.update(|status| status.phase = Phase::Ended);
    result
}

/// The watch over one generation.
struct Watch<'a, E> {
    settings: &'a SupervisorSettings,
    supervision: &'a Supervision,
    generation: Generation,
    task: AbortOnDropHandle<Result<(), E>>,
}

impl<E: Display> Watch<'_, E> {
    /// Waits for the end of the generation; an error is the failure, in words.
    async fn run(mut self) -> Result<Outcome, String> {
        let Shutdown { drain, abort } = &self.supervision.shutdown;
        let hang_timeout = self.settings.hang_timeout;
        let mut looks = interval((hang_timeout / LOOKS_PER_TIMEOUT).max(Duration::from_millis(1)));
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut deadline = None;
        loop {
            tokio::select! {
                biased;
                ended = &mut self.task => {
                    return match ended {
                        Ok(Ok(())) => Ok(Outcome::Finished),
                        Ok(Err(_)) if abort.is_cancelled() => Ok(Outcome::Aborted),
                        Ok(Err(error)) => Err(format!("{error:#}")),
                        Err(error) => Err(match error.try_into_panic() {
                            Ok(payload) => format!("panicked: {}", panic_message(payload.as_ref())),
                            Err(_) => "was stopped".to_owned(),
                        }),
                    };
                }
                () = abort.cancelled() => {
                    self.take_down().await;
                    return Ok(Outcome::Aborted);
                }
                () = drain.cancelled(), if deadline.is_none() => {
                    deadline = Some(Instant::now() + self.settings.drain_timeout);
                    self.supervision.status.update(|status| status.phase = Phase::Draining);
                }
                () = sleep_until(deadline.unwrap_or_else(Instant::now)), if deadline.is_some() => {
                    self.take_down().await;
                    return Ok(Outcome::DrainTimedOut);
                }
                _ = looks.tick() => {
                    if let Some(stall) = self.supervision.statistics.stall(hang_timeout) {
                        self.supervision.statistics.note_hung(hang_timeout);
                        self.take_down().await;
                        return Err(format!("{} has made no progress for {:?}", stall.stage, stall.duration));
                    }
                }
            }
        }
    }

    /// Tells the generation to stop, and waits a little for it to let go; what still runs is dropped with `self`.
    async fn take_down(&mut self) {
        self.generation.abort.cancel();
        if timeout(ABORT_GRACE, &mut self.task).await.is_err() {
            tracing::warn!(
                generation = self.generation.number,
                "a generation does not stop, and is left behind"
            );
        }
    }
}

/// The failures that are not forgotten yet.
struct Failures<'a> {
    settings: &'a SupervisorSettings,
    recent: VecDeque<Instant>,
}

impl Failures<'_> {
    /// Says how long to pause after a failure that has just happened, or that it was one too many.
    fn pause_after(&mut self, failure: String) -> Result<Duration, SupervisorError> {
        let now = Instant::now();
        let SupervisorSettings { restart_limit, restart_window, .. } = *self.settings;
        self.recent.retain(|failed_at| now.duration_since(*failed_at) < restart_window);
        self.recent.push_back(now);
        let n_recent = u32::try_from(self.recent.len()).unwrap_or(u32::MAX);
        if n_recent > restart_limit {
            let n_restarts = n_recent - 1;
            return Err(SupervisorError::RestartLimit { n_restarts, window: restart_window, last: failure });
        }
        let factor = 2_u32.saturating_pow(n_recent - 1);
        Ok(self.settings.backoff_first.saturating_mul(factor).min(self.settings.backoff_max))
    }
}

//! Whether the service is well, judged from outside: the watchdog is fed only while it is.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::time::Instant;

use crate::actor::{Phase, Supervision};
use crate::stages::bookkeeping::Progress;
use crate::store::LedgerHandle;

/// A generation that has run for this long has come right: earlier failures count no more. Above the longest pause
/// between two restarts.
const CALM: Duration = Duration::from_secs(120);
/// For how long the pipeline may fail again and again.
const FAILING_MAX: Duration = Duration::from_secs(600);
/// For how long the ledger may leave a question unanswered.
const LEDGER_PATIENCE: Duration = Duration::from_secs(60);

/// Why the service is not well.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum Trouble {
    #[error("{stage} has made no progress for {duration:?}")]
    Hangs { stage: &'static str, duration: Duration },
    #[error("the ledger has not answered for {0:?}")]
    LedgerSilent(Duration),
    #[error("the pipeline has failed again and again for {0:?}")]
    KeepsFailing(Duration),
    #[error("the pipeline has ended")]
    Ended,
}

/// Looks at the service from time to time.
pub(super) struct Vitals {
    supervision: Supervision,
    progress: Arc<Progress>,
    ledger: LedgerHandle,
    hang_timeout: Duration,
    failures: Failures,
    /// When the ledger was asked, and whether it has answered.
    question: Option<(Instant, Arc<AtomicBool>)>,
}

/// The failures of generations, as far as they count.
#[derive(Debug, Default)]
struct Failures {
    n_seen: u32,
    /// The first and the last time at which new ones were seen, since the pipeline last was calm.
    seen: Option<(Instant, Instant)>,
}

impl Vitals {
    pub(super) fn new(
        supervision: Supervision,
        progress: Arc<Progress>,
        ledger: LedgerHandle,
        hang_timeout: Duration,
    ) -> Self {
        Self { supervision, progress, ledger, hang_timeout, failures: Failures::default(), question: None }
    }

    /// Judges how the service stands now; to be called every few seconds or minutes.
    ///
    /// A stage with work under way has shown progress within the time after which it counts as hung, or waits
    /// legitimately; the ledger answers, or waits for space on its disk, which a restart would not bring; and the
    /// supervisor is not restarting for ever.
    pub(super) fn check(&mut self) -> Result<(), Trouble> {
        let status = self.supervision.status.current();
        if status.phase == Phase::Ended {
            return Err(Trouble::Ended);
        }
        let failing = self.failures.observe(status.n_failures, Instant::now());
        let ledger = self.ask_ledger();
        if let Some(stall) = self.supervision.statistics.stall(self.hang_timeout) {
            return Err(Trouble::Hangs { stage: stall.stage, duration: stall.duration });
        }
        match ledger {
            Some(silence) if silence >= LEDGER_PATIENCE => return Err(Trouble::LedgerSilent(silence)),
            _ => (),
        }
        match failing {
            Some(failing) if failing >= FAILING_MAX => Err(Trouble::KeepsFailing(failing)),
            _ => Ok(()),
        }
    }

    /// Asks the ledger unless a question is open; for how long that one has been.
    fn ask_ledger(&mut self) -> Option<Duration> {
        let now = Instant::now();
        let open = self.question.take_if(|(_, answered)| !answered.load(Ordering::Acquire));
        if let Some((asked, answered)) = open {
            let waits = self.progress.ledger_waits.load(Ordering::Relaxed);
            // the time in which it waits for space does not count
            self.question = Some((if waits { now } else { asked }, answered));
            return Some(if waits { Duration::ZERO } else { now - asked });
        }
        let answered = Arc::new(AtomicBool::new(false));
        self.question = Some((now, answered.clone()));
        // an error is an answer, too: whoever ends the writer ends the process
        self.ledger.catch_up(Box::new(move |_| answered.store(true, Ordering::Release)));
        None
    }
}

impl Failures {
    /// For how long generations have failed without one that came right.
    fn observe(&mut self, n_failures: u32, now: Instant) -> Option<Duration> {
        if n_failures > self.n_seen {
            self.n_seen = n_failures;
            self.seen = Some((self.seen.map_or(now, |(first, _)| first), now));
        } else if self.seen.is_some_and(|(_, last)| now - last >= CALM) {
            self.seen = None;
        }
        self.seen.map(|(first, last)| last - first)
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;
    use std::sync::mpsc;

    use super::*;
    use crate::actor::{Assembly, StageCounters, State, SupervisorStatus, rejections};
    use crate::store::test_support::Scratch;
    use crate::store::wait;

    const HANG: Duration = Duration::from_secs(300);

    /// A supervised line of one member that works when it is told.
    struct World {
        scratch: Scratch,
        supervision: Supervision,
        progress: Arc<Progress>,
        counters: Arc<StageCounters>,
        _line: Assembly<()>,
    }

    impl World {
        async fn new() -> Self {
            let supervision = Supervision::default();
            let (rejected, _) = rejections::<()>();
            let (mut line, mut counters) = (Assembly::new(&supervision.statistics, rejected), None);
            line.task("segmenter", |own| {
                counters = Some(own);
                pending::<Result<(), String>>()
            });
            // its life begins when it is first polled
            tokio::task::yield_now().await;
            let (scratch, progress) = (Scratch::new(), Arc::default());
            Self { scratch, supervision, progress, counters: counters.unwrap(), _line: line }
        }

        fn vitals(&self) -> Vitals {
            Vitals::new(self.supervision.clone(), self.progress.clone(), self.scratch.handle(), HANG)
        }

        /// Looks, and gives the ledger, whose thread knows no stopped clock, the time to answer.
        fn check(&self, vitals: &mut Vitals) -> Result<(), Trouble> {
            let checked = vitals.check();
            wait(|reply| self.scratch.handle().catch_up(reply)).unwrap();
            checked
        }

        fn status(&self, change: impl FnOnce(&mut SupervisorStatus)) {
            let status: &State<_> = &self.supervision.status;
            status.update(change);
        }
    }

    async fn advance(seconds: u64) {
        tokio::time::advance(Duration::from_secs(seconds)).await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_stage_that_hangs_stops_the_feeding_and_one_that_is_idle_or_works_does_not() {
        let world = World::new().await;
        let mut vitals = world.vitals();
        assert_eq!(world.check(&mut vitals), Ok(()));
        advance(1000).await;
        assert_eq!(world.check(&mut vitals), Ok(()), "it is idle");
        let work = world.counters.begin_work();
        advance(299).await;
        assert_eq!(world.check(&mut vitals), Ok(()));
        world.counters.progress();
        advance(299).await;
        assert_eq!(world.check(&mut vitals), Ok(()), "it goes on");
        advance(1).await;
        let duration = Duration::from_secs(300);
        assert_eq!(world.check(&mut vitals), Err(Trouble::Hangs { stage: "segmenter", duration }));
        drop(work);
        assert_eq!(world.check(&mut vitals), Ok(()));
        world.status(|status| status.phase = Phase::Ended);
        assert_eq!(world.check(&mut vitals), Err(Trouble::Ended));
    }

    #[tokio::test(start_paused = true)]
    async fn a_pipeline_that_fails_again_and_again_stops_the_feeding_until_it_is_calm() {
        let world = World::new().await;
        let mut vitals = world.vitals();
        for n_failures in 1..=10 {
            world.status(|status| status.n_failures = n_failures);
            assert_eq!(world.check(&mut vitals), Ok(()), "after {n_failures} failures");
            advance(60).await;
        }
        world.status(|status| status.n_failures = 11);
        assert_eq!(world.check(&mut vitals), Err(Trouble::KeepsFailing(Duration::from_secs(600))));
        advance(119).await;
        assert!(world.check(&mut vitals).is_err());
        advance(1).await;
        assert_eq!(world.check(&mut vitals), Ok(()));
    }

    #[tokio::test(start_paused = true)]
    async fn a_ledger_that_is_silent_stops_the_feeding_unless_it_waits_for_space() {
        let world = World::new().await;
        let (release, held) = mpsc::channel::<()>();
        // the writer answers on its own thread: this one holds it
        world.scratch.handle().catch_up(Box::new(move |_| held.recv().unwrap_or_default()));
        let mut vitals = world.vitals();
        assert_eq!(vitals.check(), Ok(()));
        advance(59).await;
        assert_eq!(vitals.check(), Ok(()));
        advance(1).await;
        assert_eq!(vitals.check(), Err(Trouble::LedgerSilent(Duration::from_secs(60))));
        world.progress.ledger_waits.store(true, Ordering::Relaxed);
        assert_eq!(vitals.check(), Ok(()));
        world.progress.ledger_waits.store(false, Ordering::Relaxed);
        advance(60).await;
        assert!(vitals.check().is_err());
        release.send(()).unwrap();
        let (say, said) = mpsc::channel();
        world.scratch.handle().catch_up(Box::new(move |answer| say.send(answer.is_ok()).unwrap()));
        assert_eq!(said.recv(), Ok(true));
        assert_eq!(vitals.check(), Ok(()));
    }
}

//! The gate that an operator shuts: nothing new is taken up, what is in work is finished.

use std::sync::Arc;
use std::time::SystemTime;

use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use crate::actor::StageCounters;
use crate::store::Pause;

/// Shuts and opens the way for new files and planes; clones are the same switch.
#[derive(Debug, Clone)]
pub struct PauseSwitch(watch::Sender<Option<Timed>>);

/// A pause with its end on the clock of this process.
#[derive(Debug, Clone, Copy)]
struct Timed {
    pause: Pause,
    ends_at: Option<Instant>,
}

impl PauseSwitch {
    /// A switch that stands as it did when the process before ended.
    pub fn new(pause: Option<Pause>) -> Self {
        let switch = Self(watch::Sender::new(None));
        switch.set(pause);
        switch
    }

    /// Pauses, or goes on.
    pub fn set(&self, pause: Option<Pause>) {
        let timed = pause.map(|pause| {
            let rest = pause.until.map(|until| until.duration_since(SystemTime::now()).unwrap_or_default());
            Timed { pause, ends_at: rest.and_then(|rest| Instant::now().checked_add(rest)) }
        });
        self.0.send_replace(timed);
    }

    /// The pause that holds now.
    pub fn current(&self) -> Option<Pause> {
        self.timed().map(|timed| timed.pause)
    }

    /// Waits until the pause ends, or until `stop`.
    pub async fn pass(&self, counters: &Arc<StageCounters>, stop: &CancellationToken) {
        let mut changes = self.0.subscribe();
        while let Some(Timed { ends_at, .. }) = self.timed() {
            let _wait = counters.protect();
            tokio::select! {
                () = stop.cancelled() => return,
                // the switch lives as long as `self`
                _ = changes.changed() => (),
                () = sleep_until(ends_at.unwrap_or_else(Instant::now)), if ends_at.is_some() => (),
            }
        }
    }

    fn timed(&self) -> Option<Timed> {
        self.0.borrow().filter(|timed| timed.ends_at.is_none_or(|ends_at| Instant::now() < ends_at))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::actor::{Assembly, Statistics, rejections};

    /// The counters of a stage that does nothing.
    fn counters() -> Arc<StageCounters> {
        let (rejected, _) = rejections::<()>();
        let (mut line, mut counters) = (Assembly::new(&Statistics::default(), rejected), None);
        line.task("idle", |own| {
            counters = Some(own);
            async { Ok::<_, String>(()) }
        });
        counters.unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_waits_goes_on_when_told_when_the_time_is_over_and_at_the_end() {
        let (counters, stop) = (counters(), CancellationToken::new());
        let now = SystemTime::now();
        let switch = PauseSwitch::new(None);
        switch.pass(&counters, &stop).await;
        let begun = Instant::now();

        switch.set(Some(Pause { since: now, until: Some(now + Duration::from_secs(600)) }));
        assert_eq!(switch.current().map(|pause| pause.since), Some(now));
        switch.pass(&counters, &stop).await;
        let waited = begun.elapsed();
        assert!((Duration::from_secs(590)..Duration::from_secs(601)).contains(&waited), "{waited:?}");
        assert_eq!(switch.current(), None, "it has ended by itself");

        switch.set(Some(Pause { since: now, until: None }));
        let resumer = switch.clone();
        let resume = async {
            tokio::time::sleep(Duration::from_secs(5)).await;
            resumer.set(None);
        };
        tokio::join!(switch.pass(&counters, &stop), resume);

        switch.set(Some(Pause { since: now, until: None }));
        stop.cancel();
        switch.pass(&counters, &stop).await;
        assert!(switch.current().is_some(), "a stop ends the wait, not the pause");
    }
}

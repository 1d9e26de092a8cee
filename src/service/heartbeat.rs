//! What the service manager hears: a line of text on how the service stands, and a sign of life while it is well.

use std::time::Duration;

use tokio::time::{Instant, MissedTickBehavior, interval};
use tracing::{info, warn};

use super::Watchtower;
use super::signals::notify;
use super::vitals::{Trouble, Vitals};
use crate::actor::Phase;
use crate::store::Pause;

/// How often the text is made; it is sent when it has changed.
const STATUS_INTERVAL: Duration = Duration::from_secs(2);

/// What the text says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Brief {
    phase: Phase,
    pause: Option<Pause>,
    is_disk_full: bool,
    n_offline: usize,
    n_roots: usize,
    files_done: u64,
    planes_done: u64,
    n_waiting: usize,
    n_in_work: usize,
    files_rejected: u64,
    planes_rejected: u64,
}

/// Tells the service manager until it is dropped: `STATUS=` when something has changed, and `WATCHDOG=1` three times
/// in the time that the manager allows, as long as the service is well. Where nobody listens, only the log hears that a
/// pause has ended.
pub async fn beat(watchtower: Watchtower) {
    let mut vitals = Vitals::new(
        watchtower.supervision.clone(),
        watchtower.progress.clone(),
        watchtower.resources.ledger.clone(),
        watchtower.timeouts.hang_timeout,
    );
    let feeding = notify::watchdog_period().map(|period| period / 3);
    let mut ticks = interval(feeding.map_or(STATUS_INTERVAL, |feeding| feeding.min(STATUS_INTERVAL)));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let (mut told, mut told_at) = (None::<Brief>, Instant::now());
    let (mut fed_at, mut trouble) = (None::<Instant>, None);
    loop {
        let now = ticks.tick().await;
        if told.is_none() || now - told_at >= STATUS_INTERVAL {
            let brief = watchtower.brief();
            if told != Some(brief) {
                notify::status(&brief.to_string());
            }
            if told.is_some_and(|told| told.pause.is_some()) && brief.pause.is_none() {
                info!("the pause has ended");
            }
            (told, told_at) = (Some(brief), now);
        }
        if feeding.is_some_and(|feeding| fed_at.is_none_or(|fed_at| now - fed_at >= feeding)) {
            fed_at = Some(now);
            let found = vitals.check();
            if found.is_ok() {
                notify::watchdog();
            }
            tell_trouble(&mut trouble, found.err());
        }
    }
}

/// Says once that the watchdog is not fed, and once that it is again.
fn tell_trouble(told: &mut Option<Trouble>, found: Option<Trouble>) {
    match (&told, &found) {
        (None, Some(trouble)) if *trouble != Trouble::Ended => {
            warn!(%trouble, "not well: the watchdog gets no sign of life");
        }
        (Some(_), None) => info!("well again: the watchdog gets its signs of life"),
        _ => (),
    }
    *told = found;
}

impl Watchtower {
    fn brief(&self) -> Brief {
        let view = self.view();
        let (n_waiting, _) = view.waiting.snapshot(0);
        let roots = view.watch.snapshot();
        let done = self.progress.snapshot();
        Brief {
            phase: self.supervision.status.current().phase,
            pause: self.resources.pause.current(),
            is_disk_full: self.resources.space.paused_for().is_some(),
            n_offline: roots.iter().filter(|root| root.state.starts_with("offline")).count(),
            n_roots: roots.len(),
            files_done: done.files_done,
            planes_done: done.planes_done,
            n_waiting,
            n_in_work: self.n_in_work(n_waiting),
            files_rejected: done.files_rejected,
            planes_rejected: done.planes_rejected,
        }
    }
}

impl std::fmt::Display for Brief {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.phase {
            Phase::Running => (),
            Phase::BackingOff => f.write_str("RESTARTING after a failure; ")?,
            Phase::Draining => f.write_str("ending; ")?,
            Phase::Ended => f.write_str("ended; ")?,
        }
        match self.pause {
            Some(Pause { until: Some(until), .. }) => {
                write!(f, "PAUSED until {}; ", humantime::format_rfc3339_seconds(until))?;
            }
            Some(_) => f.write_str("PAUSED; ")?,
            None => (),
        }
        if self.is_disk_full {
            f.write_str("WAITING for room on the output disk; ")?;
        }
        if self.n_offline > 0 {
            write!(f, "{} of {} roots OFFLINE; ", self.n_offline, self.n_roots)?;
        }
        let Self { files_done, planes_done, n_waiting, n_in_work, files_rejected, planes_rejected, .. } =
            self;
        write!(
            f,
            "files: {n_waiting} waiting, {n_in_work} in work, {files_done} done, {files_rejected} rejected; \
             planes: {planes_done} done, {planes_rejected} rejected (since the start)"
        )
    }
}

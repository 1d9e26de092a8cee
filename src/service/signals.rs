//! Signals to this process, and words to the service manager.

use std::time::Duration;

use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::Watchtower;

/// What the last lines and tables may take after the drain.
const LAST_LINES: Duration = Duration::from_secs(60);

/// Waits for SIGTERM or SIGINT until the service has ended: the first drains, the second ends the process at once.
pub async fn obey_signals(watchtower: Watchtower, ended: oneshot::Receiver<()>) {
    let patience = watchtower.timeouts.drain_timeout + LAST_LINES;
    let wait = drain_on_signal(watchtower.supervision.shutdown.drain.clone(), patience);
    tokio::select! { () = wait => (), _ = ended => () }
}

/// Waits for SIGTERM or SIGINT: the first drains, which takes at most `patience`, the second ends the process at once
/// with 130.
pub async fn drain_on_signal(drain: CancellationToken, patience: Duration) {
    next_signal().await;
    info!("told to end: finishing what is in work; a second signal ends at once");
    notify::stopping(patience);
    drain.cancel();
    next_signal().await;
    warn!("told to end at once");
    std::process::exit(130);
}

#[cfg(unix)]
async fn next_signal() {
    use tokio::signal::unix::{SignalKind, signal};
    let (Ok(mut terminate), Ok(mut interrupt)) =
        (signal(SignalKind::terminate()), signal(SignalKind::interrupt()))
    else {
        return std::future::pending().await;
    };
    tokio::select! { _ = terminate.recv() => (), _ = interrupt.recv() => () }
}

#[cfg(not(unix))]
async fn next_signal() {
    if tokio::signal::ctrl_c().await.is_err() {
        std::future::pending().await
    }
}

/// What the service manager is told. Nothing happens where there is none.
pub mod notify {
    use std::time::Duration;

    #[cfg(target_os = "linux")]
    use sd_notify::NotifyState;

    /// The service is up.
    pub fn ready() {
        #[cfg(target_os = "linux")]
        tell(&[NotifyState::Ready]);
    }

    /// The service is about to end, which takes at most `patience`.
    pub fn stopping(patience: Duration) {
        #[cfg(target_os = "linux")]
        {
            let patience_us = u32::try_from(patience.as_micros()).unwrap_or(u32::MAX);
            tell(&[NotifyState::Stopping, NotifyState::ExtendTimeoutUsec(patience_us)]);
        }
        #[cfg(not(target_os = "linux"))]
        let _ = patience;
    }

    /// How the service stands, in one line.
    pub fn status(text: &str) {
        #[cfg(target_os = "linux")]
        tell(&[NotifyState::Status(text)]);
        #[cfg(not(target_os = "linux"))]
        let _ = text;
    }

    /// The service is well.
    pub fn watchdog() {
        #[cfg(target_os = "linux")]
        tell(&[NotifyState::Watchdog]);
    }

    /// In which time the manager wants a sign of life; `None` where it wants none.
    pub fn watchdog_period() -> Option<Duration> {
        #[cfg(target_os = "linux")]
        return sd_notify::watchdog_enabled().filter(|period| !period.is_zero());
        #[cfg(not(target_os = "linux"))]
        None
    }

    #[cfg(target_os = "linux")]
    fn tell(states: &[NotifyState<'_>]) {
        if let Err(error) = sd_notify::notify(states) {
            tracing::debug!(%error, "the service manager cannot be told");
        }
    }
}

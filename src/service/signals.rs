//! Signals to this process, and words to the service manager.

use tokio::sync::oneshot;
use tracing::{info, warn};

use crate::actor::Shutdown;

/// Waits for SIGTERM or SIGINT: the first drains, the second ends the process at once.
pub async fn obey_signals(shutdown: Shutdown, ended: oneshot::Receiver<()>) {
    let wait = async {
        next_signal().await;
        info!("told to end: finishing what is in work; a second signal ends at once");
        notify::stopping();
        shutdown.drain.cancel();
        next_signal().await;
        warn!("told to end at once");
        std::process::exit(130);
    };
    tokio::select! { () = wait => (), _ = ended => () }
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
    #[cfg(target_os = "linux")]
    use sd_notify::NotifyState;

    /// The service is up.
    pub fn ready() {
        #[cfg(target_os = "linux")]
        tell(&[NotifyState::Ready]);
    }

    /// The service is about to end.
    pub fn stopping() {
        #[cfg(target_os = "linux")]
        tell(&[NotifyState::Stopping]);
    }

    #[cfg(target_os = "linux")]
    fn tell(states: &[NotifyState<'_>]) {
        if let Err(error) = sd_notify::notify(states) {
            tracing::debug!(%error, "the service manager cannot be told");
        }
    }
}

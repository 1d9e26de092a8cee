//! The gate that holds the line while the output disk is nearly full.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::actor::StageCounters;
use crate::platform::filesystem;
use crate::store::{Alert, LedgerHandle};

/// How often free space is asked for while there is enough, and while there is not.
const INTERVAL: Duration = Duration::from_secs(1);

/// Answers how many bytes are free; `None` where the system does not say.
pub type FreeSpace = Arc<dyn Fn() -> Option<u64> + Send + Sync>;

/// Lets work pass while the output disk has room.
#[derive(Clone)]
pub struct SpaceGate {
    free_min_bytes: u64,
    free_space: FreeSpace,
    state: Arc<Mutex<State>>,
    ledger: LedgerHandle,
}

#[derive(Default)]
struct State {
    asked: Option<Instant>,
    paused_since: Option<Instant>,
}

impl SpaceGate {
    /// A gate that keeps `free_min_bytes` free on the disk of `output_dir`.
    pub fn new(output_dir: PathBuf, free_min_bytes: u64, ledger: LedgerHandle) -> Self {
        let free_space = move || filesystem::free_bytes(&output_dir).ok().flatten();
        Self::with_probe(Arc::new(free_space), free_min_bytes, ledger)
    }

    /// A gate that asks `free_space`.
    pub fn with_probe(free_space: FreeSpace, free_min_bytes: u64, ledger: LedgerHandle) -> Self {
        Self { free_min_bytes, free_space, state: Arc::default(), ledger }
    }

    /// For how long the gate has been shut, for `status`.
    pub fn paused_for(&self) -> Option<Duration> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).paused_since.map(|since| since.elapsed())
    }

    /// Waits until there is room, or until `stop`; says so once, and again when it goes on.
    pub async fn pass(&self, counters: &Arc<StageCounters>, stop: &CancellationToken) {
        while !self.is_open() {
            let _wait = counters.protect();
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(INTERVAL) => (),
            }
        }
    }

    /// Waits after a write found the disk or the quota full, whatever the figures say.
    pub async fn wait_for_room(&self, counters: &Arc<StageCounters>) {
        let _wait = counters.protect();
        warn!("a result could not be written for want of space, trying again");
        tokio::time::sleep(INTERVAL).await;
    }

    fn is_open(&self) -> bool {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let fresh = state.asked.is_some_and(|asked| asked.elapsed() < INTERVAL);
        if fresh && state.paused_since.is_none() {
            return true;
        }
        state.asked = Some(Instant::now());
        let free = (self.free_space)();
        let open = free.is_none_or(|free| free >= self.free_min_bytes);
        match (open, state.paused_since) {
            (false, None) => {
                state.paused_since = Some(Instant::now());
                self.announce(free.unwrap_or(0));
            }
            (true, Some(since)) => {
                state.paused_since = None;
                info!(
                    paused_s = since.elapsed().as_secs(),
                    "there is room on the output disk again, going on"
                );
            }
            _ => (),
        }
        open
    }

    fn announce(&self, free_bytes: u64) {
        let (free_mb, free_min_mb) = (free_bytes >> 20, self.free_min_bytes >> 20);
        warn!(free_mb, free_min_mb, "the output disk is nearly full, pausing until there is room");
        let text = format!(
            "paused: {free_mb} MB are free on the output disk, output.free_space_min_mb asks for {free_min_mb} MB"
        );
        self.ledger
            .emit_alert(Alert { kind: "disk_full".into(), text, ..Alert::default() }, Box::new(|_| ()));
    }
}

//! Memory that small pieces leave behind as they come and go for days.

use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval};

use crate::platform::process;

/// How often pages without a piece in them are given back.
const TRIM_INTERVAL: Duration = Duration::from_secs(30);

/// Gives pages back to the system that hold nothing any more, every now and then until it is dropped.
pub async fn trim_memory() {
    let mut ticks = interval(TRIM_INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        // takes milliseconds; a panic there would cost memory, nothing else
        let _ = tokio::task::spawn_blocking(process::return_freed_pages).await;
    }
}

//! Reads the facts about this machine that [`crate::tuning`] decides by.

use crate::platform::process;
use crate::tuning::MachineFacts;

/// Asks the operating system; what it does not say stays unknown.
pub fn facts() -> MachineFacts {
    MachineFacts {
        // affinity and control-group quota are both in this number
        n_cores: process::usable_cores(),
        cpu_quota_millicores: None,
        memory_bytes: process::memory_limit_bytes(),
    }
}

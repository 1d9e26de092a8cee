//! What tries to break the promises: the built program in a sandbox, files dropped by all the ways that instruments use,
//! faults at random moments, and a reference model that says what must be there afterwards.
//!
//! Each test is short here, and long where `scripts/torture.sh` sets `SCOPEWATCH_TORTURE_SECONDS`. A failure prints the
//! seed that replays the same drops and faults; what the scheduler does between them is not replayed.

#[cfg(target_os = "linux")]
mod calls;
#[cfg(target_os = "linux")]
mod clocks;
mod faults;
mod instruments;
mod load;
#[cfg(target_os = "linux")]
mod power;
#[cfg(target_os = "linux")]
mod shim;
#[cfg(target_os = "linux")]
mod system;
mod tail;
mod world;

use std::time::{Duration, Instant};

/// How long a trial goes on, and where its randomness comes from.
pub(super) struct Trial {
    name: &'static str,
    seed: u64,
    seconds: Option<f64>,
    rounds_max: Option<u64>,
    first_round: u64,
    started: Instant,
}

impl Trial {
    /// The trial that was asked for, or the short form. Says its seed, which is shown when the test fails.
    pub(super) fn new(name: &'static str) -> Self {
        let asked = |key: &str| std::env::var(format!("SCOPEWATCH_TORTURE_{key}")).ok()?.parse::<f64>().ok();
        let seed = asked("SEED").map_or(1, |seed| seed as u64);
        println!("torture {name}: replay with scripts/torture.sh --seed {seed} {name}");
        let rounds_max = asked("ROUNDS").map(|rounds| rounds as u64);
        let first_round = asked("FROM").map_or(0, |round| round as u64);
        Self { name, seed, seconds: asked("SECONDS"), rounds_max, first_round, started: Instant::now() }
    }

    /// Where the randomness comes from.
    pub(super) fn seed(&self) -> u64 {
        self.seed
    }

    /// Whether the long form was asked for.
    pub(super) fn is_long(&self) -> bool {
        self.seconds.is_some()
    }

    /// Rounds to go: `n_short` in the short form, until the time has gone in the long one.
    pub(super) fn rounds(&self, n_short: u64) -> impl Iterator<Item = u64> {
        let rounds_max = self.rounds_max.unwrap_or(u64::MAX);
        (0..).take_while(move |round| match self.seconds {
            None => *round < n_short,
            Some(seconds) => *round < rounds_max && self.started.elapsed().as_secs_f64() < seconds,
        })
    }

    /// The round to begin with, where rounds differ by their number: a long trial can be done in parts.
    pub(super) fn first_round(&self) -> u64 {
        self.first_round
    }

    /// One of two figures, by the form.
    pub(super) fn short_or_long<T>(&self, short: T, long: T) -> T {
        if self.is_long() { long } else { short }
    }

    /// Says what was tried without a failure: a line of the table in `docs/reliability.md`.
    pub(super) fn passed(&self, figures: &str) {
        let (name, seed, seconds) = (self.name, self.seed, self.started.elapsed().as_secs());
        println!("torture {name}: seed {seed}, {seconds} s, {figures}, 0 failures");
    }
}

/// A moment of waiting, which is part of what is tried.
pub(super) fn pause_ms(ms: u64) {
    std::thread::sleep(Duration::from_millis(ms));
}

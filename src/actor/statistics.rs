//! The counters of all stages, kept over the generations of a line.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::counters::StageCounters;
use super::lock;
use super::mailbox::QueueSnapshot;

/// What one stage has done and what it has spent its time on, over all generations until now.
///
/// `busy_s + waiting_input_s + waiting_output_s` is `life_s`. The state is decided in this order: waiting for output
/// while the next mailbox is full; busy while a call or a job is under way; else waiting for input.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct StageSnapshot {
    /// The name of the stage.
    pub name: String,
    /// How often the stage has been started.
    pub n_generations: u32,
    /// Items taken in.
    pub n_in: u64,
    /// Outputs handed on.
    pub n_out: u64,
    /// Items rejected, panics among them.
    pub n_rejected: u64,
    /// Items rejected because of a panic.
    pub n_panicked: u64,
    /// Bytes, as far as the stage counts them.
    pub n_bytes: u64,
    /// Calls and jobs under way, and results that wait for their turn, now.
    pub n_in_flight: usize,
    /// How many jobs may run at once, now.
    pub n_permits: usize,
    /// The mailbox of the stage.
    pub queue: QueueSnapshot,
    /// Time since the stage was started, in seconds, summed over generations.
    pub life_s: f64,
    /// Time with work under way, in seconds.
    pub busy_s: f64,
    /// Time without anything to do, in seconds.
    pub waiting_input_s: f64,
    /// Time in which the next mailbox was full, in seconds.
    pub waiting_output_s: f64,
    /// Time with at least one protected wait, in seconds; part of the three above.
    pub protected_s: f64,
    /// Running time of all jobs, in seconds; above `busy_s` where jobs run side by side.
    pub work_s: f64,
}

impl StageSnapshot {
    /// Adds a later generation: sums the totals, takes over what holds now.
    fn followed_by(mut self, later: &Self) -> Self {
        let past = self.queue;
        self.name.clone_from(&later.name);
        self.n_generations += later.n_generations;
        self.n_in += later.n_in;
        self.n_out += later.n_out;
        self.n_rejected += later.n_rejected;
        self.n_panicked += later.n_panicked;
        self.n_bytes += later.n_bytes;
        self.n_in_flight = later.n_in_flight;
        self.n_permits = later.n_permits;
        self.queue = QueueSnapshot {
            length_max: past.length_max.max(later.queue.length_max),
            n_waits: past.n_waits + later.queue.n_waits,
            wait_s: past.wait_s + later.queue.wait_s,
            ..later.queue
        };
        self.life_s += later.life_s;
        self.busy_s += later.busy_s;
        self.waiting_input_s += later.waiting_input_s;
        self.waiting_output_s += later.waiting_output_s;
        self.protected_s += later.protected_s;
        self.work_s += later.work_s;
        self
    }
}

/// A stage whose work stands still.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stall {
    /// The name of the stage.
    pub stage: &'static str,
    /// For how long it has shown no progress.
    pub duration: Duration,
}

/// The counters of all stages, in the order in which they were first added; clones share them.
#[derive(Debug, Clone, Default)]
pub struct Statistics(Arc<Mutex<Vec<Record>>>);

#[derive(Debug)]
struct Record {
    past: StageSnapshot,
    current: Arc<StageCounters>,
}

impl Statistics {
    /// Returns the totals of every stage, in the order of the line.
    pub fn snapshot(&self) -> Vec<StageSnapshot> {
        lock(&self.0)
            .iter()
            .map(|record| record.past.clone().followed_by(&record.current.snapshot()))
            .collect()
    }

    /// Returns the stage that has stood still longest, when that is at least `limit`.
    pub fn stall(&self, limit: Duration) -> Option<Stall> {
        let records = lock(&self.0);
        let standstills = records.iter().filter_map(|record| {
            let duration = record.current.standstill()?;
            Some(Stall { stage: record.current.name(), duration })
        });
        standstills.filter(|stall| stall.duration >= limit).max_by_key(|stall| stall.duration)
    }

    /// Notes of every stage that has stood still for `limit` that it hangs.
    pub(super) fn note_hung(&self, limit: Duration) {
        for Record { current, .. } in lock(&self.0).iter() {
            if current.standstill().is_some_and(|duration| duration >= limit) {
                current.set_hung();
            }
        }
    }

    /// Adds the counters of a new generation of a stage; those of the generation before become its past.
    pub(super) fn add(&self, counters: Arc<StageCounters>) {
        let mut records = lock(&self.0);
        match records.iter_mut().find(|record| record.current.name() == counters.name()) {
            Some(record) => {
                record.past = std::mem::take(&mut record.past).followed_by(&record.current.snapshot());
                record.current = counters;
            }
            None => records.push(Record { past: StageSnapshot::default(), current: counters }),
        }
    }
}

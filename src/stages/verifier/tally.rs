//! What finding and verifying look-alikes took: how often each step was done, how long, and what the cache saved.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use crate::analysis::verification::VerificationStage;

/// Counts over all generations of a line; clones share it.
#[derive(Debug, Clone, Default)]
pub struct VerifierTally(Arc<Counts>);

#[derive(Debug, Default)]
struct Counts {
    search: Deeds,
    prepare: Deeds,
    stages: [Deeds; VerificationStage::ALL.len()],
    n_pairs: AtomicU64,
    n_hits: AtomicU64,
    n_misses: AtomicU64,
    n_evictions: AtomicU64,
    n_read: AtomicU64,
    read_bytes: AtomicU64,
}

/// How often something was done, and for how long altogether.
#[derive(Debug, Default)]
struct Deeds {
    n: AtomicU64,
    total_ns: AtomicU64,
}

/// What verifying took until now.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct VerifierSnapshot {
    /// Pairs of planes that were compared.
    pub n_pairs: u64,
    /// Searches of the index for the look-alikes of one plane.
    pub search: DeedsSnapshot,
    /// Planes made ready for comparisons.
    pub prepare: DeedsSnapshot,
    /// The five stages in their order, each with the pairs that reached it.
    pub stages: Vec<VerifierStageSnapshot>,
    /// The planes that were kept ready.
    pub cache: CacheSnapshot,
    /// Planes read again from their files, because they were not kept ready.
    pub n_planes_read_again: u64,
    /// Their samples in bytes.
    pub bytes_read_again: u64,
}

/// How often something was done.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct DeedsSnapshot {
    /// Times.
    pub n: u64,
    /// Mean time of one in microseconds, waits of its thread included; 0 where there is none.
    pub mean_us: f64,
}

/// One stage of the verification.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct VerifierStageSnapshot {
    /// Its name.
    pub stage: String,
    /// Pairs that reached it, and how long it took.
    #[serde(flatten)]
    pub deeds: DeedsSnapshot,
}

/// Requests for planes that may be ready.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct CacheSnapshot {
    /// Requests answered.
    pub n_hits: u64,
    /// Requests not answered.
    pub n_misses: u64,
    /// Planes that made way for others.
    pub n_evictions: u64,
}

impl VerifierTally {
    /// What was counted until now.
    pub fn snapshot(&self) -> VerifierSnapshot {
        let of = |count: &AtomicU64| count.load(Ordering::Relaxed);
        let counts = &*self.0;
        let stages = VerificationStage::ALL.iter().zip(&counts.stages);
        let stages = stages
            .map(|(stage, deeds)| VerifierStageSnapshot {
                stage: stage.name().to_owned(),
                deeds: deeds.snapshot(),
            })
            .collect();
        VerifierSnapshot {
            n_pairs: of(&counts.n_pairs),
            search: counts.search.snapshot(),
            prepare: counts.prepare.snapshot(),
            stages,
            cache: CacheSnapshot {
                n_hits: of(&counts.n_hits),
                n_misses: of(&counts.n_misses),
                n_evictions: of(&counts.n_evictions),
            },
            n_planes_read_again: of(&counts.n_read),
            bytes_read_again: of(&counts.read_bytes),
        }
    }

    /// Searches, and counts it.
    pub(super) fn search<T>(&self, deed: impl FnOnce() -> T) -> T {
        self.0.search.time(deed)
    }

    /// Makes a plane ready, and counts it.
    pub(super) fn prepare<T>(&self, deed: impl FnOnce() -> T) -> T {
        self.0.prepare.time(deed)
    }

    /// Compares a pair: `deed` is given what it calls at the end of each stage.
    pub(super) fn compare<T>(&self, deed: impl FnOnce(&mut dyn FnMut(VerificationStage)) -> T) -> T {
        self.0.n_pairs.fetch_add(1, Ordering::Relaxed);
        let mut begun = Instant::now();
        deed(&mut |stage| {
            let now = Instant::now();
            self.0.stages[stage as usize].add(now - std::mem::replace(&mut begun, now));
        })
    }

    pub(super) fn add_request(&self, is_hit: bool) {
        let count = if is_hit { &self.0.n_hits } else { &self.0.n_misses };
        count.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn add_eviction(&self) {
        self.0.n_evictions.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn add_read(&self, size_bytes: usize) {
        self.0.n_read.fetch_add(1, Ordering::Relaxed);
        self.0.read_bytes.fetch_add(size_bytes as u64, Ordering::Relaxed);
    }
}

impl Deeds {
    fn time<T>(&self, deed: impl FnOnce() -> T) -> T {
        let begun = Instant::now();
        let result = deed();
        self.add(begun.elapsed());
        result
    }

    fn add(&self, time: Duration) {
        self.n.fetch_add(1, Ordering::Relaxed);
        self.total_ns.fetch_add(u64::try_from(time.as_nanos()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    fn snapshot(&self) -> DeedsSnapshot {
        let (n, total) = (self.n.load(Ordering::Relaxed), self.total_ns.load(Ordering::Relaxed));
        let mean_us = if n == 0 { 0.0 } else { total as f64 / n as f64 / 1e3 };
        DeedsSnapshot { n, mean_us: (mean_us * 10.0).round() / 10.0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_count_in_every_stage_that_they_reached() {
        let tally = VerifierTally::default();
        assert_eq!(tally.snapshot().stages.iter().map(|stage| stage.deeds.n).sum::<u64>(), 0);
        tally.compare(|done| done(VerificationStage::Code));
        tally.compare(|done| VerificationStage::ALL[..4].iter().for_each(|&stage| done(stage)));
        tally.add_request(true);
        tally.add_read(12);
        let snapshot = tally.snapshot();
        assert_eq!(snapshot.n_pairs, 2);
        assert_eq!(snapshot.stages.iter().map(|stage| stage.deeds.n).collect::<Vec<_>>(), [2, 1, 1, 1, 0]);
        assert_eq!(snapshot.stages[1].stage, "grey_map");
        assert_eq!(
            (snapshot.cache.n_hits, snapshot.n_planes_read_again, snapshot.bytes_read_again),
            (1, 1, 12)
        );
    }
}

//! Which planes share fingerprints with a given one: parts of one frame, found without comparing every pair.

use std::collections::BTreeMap;

use crate::analysis::hashing::Fingerprints;

/// Fingerprints that two planes share when one is worth a look: one alone may be chance.
const N_SHARED_MIN: u32 = 2;
/// Marks that wait to be sorted in.
const N_RECENT_MAX: usize = 4096;

/// The fingerprints of all planes, sorted, with a short list of recent ones.
#[derive(Debug, Clone, Default)]
pub struct PartIndex {
    sorted: Vec<(u32, u32)>,
    recent: Vec<(u32, u32)>,
}

impl PartIndex {
    /// Adds the marks of a plane; each `id` once.
    pub fn insert(&mut self, id: u32, fingerprints: &Fingerprints) {
        self.recent.extend(fingerprints.marks().map(|mark| (mark, id)));
        if self.recent.len() >= N_RECENT_MAX {
            self.sorted.append(&mut self.recent);
            // two sorted runs and a short one: the stable sort merges
            self.sorted.sort();
        }
    }

    /// The planes that share at least two marks with this one, by id.
    pub fn sharing(&self, fingerprints: &Fingerprints) -> Vec<u32> {
        let mut n_shared: BTreeMap<u32, u32> = BTreeMap::new();
        for mark in fingerprints.marks() {
            let first = self.sorted.partition_point(|&(other, _)| other < mark);
            let equal = self.sorted[first..].iter().take_while(|(other, _)| *other == mark);
            for (_, id) in equal.chain(self.recent.iter().filter(|(other, _)| *other == mark)) {
                *n_shared.entry(*id).or_default() += 1;
            }
        }
        n_shared.into_iter().filter(|&(_, n)| n >= N_SHARED_MIN).map(|(id, _)| id).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::analysis::hashing::plane_features;
    use crate::analysis::synthesis::Random;
    use crate::formats::{Plane, Samples};

    fn noise(seed: u64) -> Fingerprints {
        let mut random = Random::new(seed);
        let samples = (0..64 * 64).map(|_| random.bits() as u16).collect();
        let plane = Plane { height: 64, width: 64, n_samples: 1, samples: Samples::Uint16(samples) };
        plane_features(&plane).fingerprints
    }

    #[test]
    fn a_plane_is_found_among_recent_and_sorted_ones_and_noise_finds_nothing() {
        let mut index = PartIndex::default();
        let n_planes = (2 * N_RECENT_MAX / 16) as u32 + 5;
        (0..n_planes).for_each(|id| index.insert(id, &noise(id.into())));
        assert!(!index.sorted.is_empty() && !index.recent.is_empty());
        for id in [0, 100, n_planes - 1] {
            assert_eq!(index.sharing(&noise(id.into())), [id]);
        }
        assert!(index.sharing(&noise(1_000_000)).is_empty());
        assert!(index.sharing(&Fingerprints::default()).is_empty());
    }
}

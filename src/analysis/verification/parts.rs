//! Which planes share fingerprints with a given one: parts of one frame, found without comparing every pair.

use std::collections::BTreeMap;

use crate::analysis::hashing::Fingerprints;

/// Fingerprints that two planes share when one is worth a look: one alone may be chance.
const N_SHARED_MIN: u32 = 2;
/// Marks that wait to be sorted.
const N_RECENT_MAX: usize = 512;
/// Marks of a run that is not merged with another any more: 32 MiB, so that merging never needs much more memory than
/// the index has.
const N_RUN_MAX: usize = 1 << 22;
/// Marks between two entries of a run's table, on average.
const N_PER_START: usize = 16;
/// Stands for a plane that was taken out.
const GONE: u32 = u32::MAX;

/// The fingerprints of all planes in sorted runs, each more than twice as long as the next, and a short list of recent ones.
/// Takes about 133 bytes a plane, and at most as much again for those that were taken out.
#[derive(Debug, Clone, Default)]
pub struct PartIndex {
    runs: Vec<Run>,
    recent: Vec<Entry>,
}

/// A mark, spread, and its plane.
type Entry = (u32, u32);

/// Sorted entries, and where to begin to look.
#[derive(Debug, Clone)]
struct Run {
    entries: Vec<Entry>,
    /// The first entry of each part of the range of marks.
    starts: Vec<u32>,
    /// Entries of planes that were taken out.
    n_gone: usize,
}

/// Kept marks are the smallest of their planes: multiplied by the golden ratio they lie evenly (Knuth, The Art of
/// Computer Programming 3, 6.4), and equal ones stay equal.
fn spread(mark: u32) -> u32 {
    mark.wrapping_mul(0x9E37_79B1)
}

impl PartIndex {
    /// Adds the marks of a plane; each `id` once, until it is taken out, and never the largest number.
    pub fn insert(&mut self, id: u32, fingerprints: &Fingerprints) {
        self.recent.extend(fingerprints.marks().map(|mark| (spread(mark), id)));
        if self.recent.len() < N_RECENT_MAX {
            return;
        }
        self.recent.sort_unstable();
        let newest = std::mem::take(&mut self.recent);
        self.recent.reserve(N_RECENT_MAX);
        self.push(newest);
    }

    /// Takes a plane out; `fingerprints` are those that it was added with.
    pub fn remove(&mut self, id: u32, fingerprints: &Fingerprints) {
        self.recent.retain(|(_, other)| *other != id);
        for mark in fingerprints.marks().map(spread) {
            self.runs.iter_mut().for_each(|run| run.erase(mark, id));
        }
        while let Some(place) = self.runs.iter().position(|run| run.n_gone > run.entries.len() / 2) {
            let mut run = self.runs.remove(place);
            run.entries.retain(is_there);
            run.entries.shrink_to_fit();
            self.push(run.entries);
        }
    }

    /// Adds a run, and merges with it those that are not much longer.
    fn push(&mut self, mut newest: Vec<Entry>) {
        while let Some(run) = self.runs.pop_if(|run| {
            run.entries.len() / 2 <= newest.len() && run.entries.len() + newest.len() <= N_RUN_MAX
        }) {
            newest = merged(&run, &newest);
        }
        if !newest.is_empty() {
            self.runs.push(Run::new(newest));
        }
    }

    /// The planes that share at least two marks with this one, by id.
    pub fn sharing(&self, fingerprints: &Fingerprints) -> Vec<u32> {
        let marks: Vec<u32> = fingerprints.marks().map(spread).collect();
        let mut n_shared: BTreeMap<u32, u32> = BTreeMap::new();
        let sorted = self.runs.iter().flat_map(|run| marks.iter().flat_map(|&mark| run.of(mark)));
        let recent = self.recent.iter().filter(|(other, _)| marks.contains(other));
        sorted
            .filter(|entry| is_there(entry))
            .chain(recent)
            .for_each(|&(_, id)| *n_shared.entry(id).or_default() += 1);
        n_shared.into_iter().filter(|&(_, n)| n >= N_SHARED_MIN).map(|(id, _)| id).collect()
    }
}

impl Run {
    fn new(entries: Vec<Entry>) -> Self {
        let n_starts = (entries.len() / N_PER_START).max(1).next_power_of_two();
        let mut starts = Vec::with_capacity(n_starts);
        for (place, &(mark, _)) in (0_u32..).zip(&entries) {
            let part = part_of(mark, n_starts);
            // of the parts before, too, that hold nothing
            while starts.len() <= part {
                starts.push(place);
            }
        }
        starts.resize(n_starts, entries.len() as u32);
        Self { entries, starts, n_gone: 0 }
    }

    /// The entries of a mark, also of planes that were taken out.
    fn of(&self, mark: u32) -> impl Iterator<Item = &Entry> {
        let start = self.starts[part_of(mark, self.starts.len())] as usize;
        let from = self.entries[start..].iter().skip_while(move |(other, _)| *other < mark);
        from.take_while(move |(other, _)| *other == mark)
    }

    fn erase(&mut self, mark: u32, id: u32) {
        let start = self.starts[part_of(mark, self.starts.len())] as usize;
        let from = self.entries[start..].iter_mut().skip_while(|(other, _)| *other < mark);
        let mut same = from.take_while(|(other, _)| *other == mark);
        if let Some(entry) = same.find(|(_, other)| *other == id) {
            entry.1 = GONE;
            self.n_gone += 1;
        }
    }
}

/// Which of `n_parts` parts of the range of marks one lies in, when all are equally wide.
fn part_of(mark: u32, n_parts: usize) -> usize {
    ((u64::from(mark) * n_parts as u64) >> 32) as usize
}

fn is_there((_, id): &Entry) -> bool {
    *id != GONE
}

/// What is still there of a run, and a sorted list, as one.
fn merged(run: &Run, newest: &[Entry]) -> Vec<Entry> {
    let mut merged = Vec::with_capacity(run.entries.len() - run.n_gone + newest.len());
    let there = run.entries.iter().filter(|entry| is_there(entry));
    let (mut a, mut b) = (there.peekable(), newest.iter().peekable());
    while let (Some(first), Some(second)) = (a.peek(), b.peek()) {
        merged.extend(if first <= second { a.next() } else { b.next() });
    }
    merged.extend(a.chain(b));
    merged
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::analysis::hashing::{PlaneFeatures, plane_features};
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
        let mut n_planes = 0;
        while index.runs.len() < 2 || index.recent.is_empty() {
            index.insert(n_planes, &noise(n_planes.into()));
            n_planes += 1;
        }
        for id in [0, n_planes / 2, n_planes - 1] {
            assert_eq!(index.sharing(&noise(id.into())), [id]);
        }
        assert!(index.sharing(&noise(1_000_000)).is_empty());
        assert!(index.sharing(&Fingerprints::default()).is_empty());
    }

    /// Planes whose marks lie as far apart as can be, and are so few that planes share some by chance.
    fn drawn(n: usize) -> Vec<Fingerprints> {
        let plane = Plane { height: 64, width: 64, n_samples: 1, samples: Samples::Uint16(vec![1; 64 * 64]) };
        let flat = plane_features(&plane).to_bytes();
        let mut random = Random::new(3);
        let mut drawn = || {
            let marks = (0..random.bits() % 17).map(|_| (random.bits() % 3000) as u32 * 1_431_655);
            let mut marks: Vec<u32> = marks.collect::<std::collections::BTreeSet<_>>().into_iter().collect();
            marks.resize(16, u32::MAX);
            let mut bytes = flat.clone();
            let end = bytes.len() - 4 * marks.len();
            bytes.truncate(end);
            marks.iter().for_each(|mark| bytes.extend(mark.to_le_bytes()));
            PlaneFeatures::from_bytes(&bytes).unwrap().fingerprints
        };
        (0..n).map(|_| drawn()).collect()
    }

    #[test]
    fn what_was_taken_out_is_not_found_and_its_memory_is_used_again() {
        let planes = drawn(20_000);
        let mut index = PartIndex::default();
        let mut random = Random::new(4);
        let mut there: Vec<u32> = Vec::new();
        let n_kept = 300;
        for (id, plane) in (0..).zip(&planes) {
            index.insert(id, plane);
            there.push(id);
            if there.len() > n_kept {
                // now the eldest, now any
                let place = if id % 2 == 0 { 0 } else { (random.bits() % n_kept as u64) as usize };
                let gone = there.remove(place);
                index.remove(gone, &planes[gone as usize]);
            }
        }
        let mut fresh = PartIndex::default();
        there.iter().for_each(|id| fresh.insert(*id, &planes[*id as usize]));
        let mut n_found = 0;
        for plane in planes.iter().step_by(10) {
            let found = index.sharing(plane);
            assert_eq!(found, fresh.sharing(plane));
            n_found += found.len();
        }
        assert!(n_found > 50, "{n_found}");
        let n_marks: usize = there.iter().map(|id| planes[*id as usize].marks().count()).sum();
        let n_sorted: usize = index.runs.iter().map(|run| run.entries.len()).sum();
        assert!(n_sorted <= 2 * n_marks, "{n_sorted} {n_marks}");
    }

    #[test]
    fn finds_what_counting_shared_marks_finds() {
        let planes = drawn(2000);
        let mut index = PartIndex::default();
        (0..).zip(&planes).for_each(|(id, plane)| index.insert(id, plane));
        assert!(index.runs.len() > 1 && !index.recent.is_empty());
        let mut n_found = 0;
        for plane in planes.iter().step_by(10) {
            let marks: Vec<u32> = plane.marks().collect();
            let shares =
                |other: &Fingerprints| other.marks().filter(|mark| marks.contains(mark)).count() >= 2;
            let expected: Vec<u32> =
                (0..).zip(&planes).filter(|(_, other)| shares(other)).map(|(id, _)| id).collect();
            assert_eq!(index.sharing(plane), expected);
            n_found += expected.len();
        }
        assert!(n_found > 200, "{n_found}");
    }
}

//! Which planes have a code near a given one: exact, in any orientation and polarity.

use super::nearest::least_distances;
use super::placement::inverse_orientation;
use crate::analysis::hashing::Code256;

/// Codes that are compared at once.
const BLOCK: usize = 1024;

/// A code near the one that was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Candidate {
    /// Differing bits, the least over orientations and polarities.
    pub distance: u32,
    /// The plane.
    pub id: i64,
    /// How the candidate is turned to look like the plane asked for, a place in
    /// [`crate::analysis::hashing::ORIENTATION_NAMES`]; the first of equals.
    pub orientation: u8,
    /// Whether dark and bright are exchanged.
    pub is_inverted: bool,
}

/// The codes of all planes, searched by brute force: exact, and bound by memory only.
#[derive(Debug, Clone, Default)]
pub struct CandidateIndex {
    ids: Vec<i64>,
    codes: Vec<Code256>,
}

impl CandidateIndex {
    /// An index without codes.
    pub fn new() -> Self {
        Self::default()
    }

    /// How many codes there are.
    pub fn len(&self) -> usize {
        self.ids.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.ids.is_empty()
    }

    /// Adds a code, in place of an earlier one of the same `id`. Blank planes do not belong here.
    pub fn insert(&mut self, id: i64, code: Code256) {
        match self.ids.binary_search(&id) {
            Ok(place) => self.codes[place] = code,
            Err(place) => {
                self.ids.insert(place, id);
                self.codes.insert(place, code);
            }
        }
    }

    /// Takes a code out; says whether it was there.
    pub fn remove(&mut self, id: i64) -> bool {
        let found = self.ids.binary_search(&id);
        if let Ok(place) = found {
            self.ids.remove(place);
            self.codes.remove(place);
        }
        found.is_ok()
    }

    /// All planes whose code, turned in one of the eight ways and perhaps inverted, differs from `code` in at most
    /// `distance_max` bits; nearest first, equals by id.
    pub fn within(&self, code: &Code256, distance_max: u32) -> Vec<Candidate> {
        let queries = inverse_orientations(code);
        let mut distances = [0; BLOCK];
        let mut found = Vec::new();
        for (ids, codes) in self.ids.chunks(BLOCK).zip(self.codes.chunks(BLOCK)) {
            least_distances(codes, &queries, &mut distances);
            for ((&id, stored), &distance) in ids.iter().zip(codes).zip(&distances) {
                if u32::from(distance) <= distance_max {
                    let (distance, orientation, is_inverted) = nearest_orientation(stored, code);
                    found.push(Candidate { distance, id, orientation, is_inverted });
                }
            }
        }
        found.sort_unstable();
        found
    }
}

/// Turning one code is like turning the other back.
fn inverse_orientations(code: &Code256) -> [Code256; 8] {
    let turned = code.orientations();
    std::array::from_fn(|orientation| turned[usize::from(inverse_orientation(orientation as u8))])
}

/// The least distance between `from`, turned and perhaps inverted, and `to`: distance, orientation, inverted.
pub(super) fn nearest_orientation(from: &Code256, to: &Code256) -> (u32, u8, bool) {
    let mut nearest = (u32::MAX, 0, false);
    for (orientation, turned) in (0_u8..).zip(from.orientations()) {
        let distance = turned.hamming(to);
        for (distance, is_inverted) in [(distance, false), (256 - distance, true)] {
            if distance < nearest.0 {
                nearest = (distance, orientation, is_inverted);
            }
        }
    }
    nearest
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::analysis::synthesis::Random;

    fn codes(n: usize, seed: u64) -> Vec<Code256> {
        let mut random = Random::new(seed);
        (0..n).map(|_| Code256(std::array::from_fn(|_| random.bits()))).collect()
    }

    /// The code with this many of its bits turned.
    fn near(code: &Code256, n_bits: usize, random: &mut Random) -> Code256 {
        let mut near = *code;
        while (near.hamming(code) as usize) < n_bits {
            let bit = (random.bits() % 256) as usize;
            near.0[bit / 64] |= 1 << (bit % 64);
            near.0[bit / 64] ^= (code.0[bit / 64] >> (bit % 64) & 1) << (bit % 64);
        }
        near
    }

    #[test]
    fn finds_what_a_plain_search_finds_in_any_orientation_and_polarity() {
        let mut random = Random::new(1);
        let mut index = CandidateIndex::new();
        let query = codes(1, 9)[0];
        let mut planted = Vec::new();
        for (id, code) in (0_i64..).zip(codes(3000, 2)) {
            let orientation = (id / 16 % 8) as u8;
            let code = if id % 16 == 0 {
                let code = near(&query, (id / 32) as usize, &mut random);
                let back = usize::from(inverse_orientation(orientation));
                let turned = code.orientations()[back];
                planted.push((id, (id / 32) as u32, orientation, id % 3 == 0));
                if id % 3 == 0 { turned.complement() } else { turned }
            } else {
                code
            };
            index.insert(id, code);
        }
        let found = index.within(&query, 40);
        let expected: Vec<_> = planted.into_iter().filter(|planted| planted.1 <= 40).collect();
        assert_eq!(found.len(), expected.len());
        assert!(found.is_sorted());
        for (id, distance, orientation, is_inverted) in expected {
            assert!(found.contains(&Candidate { distance, id, orientation, is_inverted }), "{id}");
        }
    }

    #[test]
    fn codes_come_and_go() {
        let codes = codes(3, 4);
        let mut index = CandidateIndex::new();
        index.insert(7, codes[0]);
        index.insert(3, codes[1]);
        index.insert(7, codes[2]);
        assert_eq!((index.len(), index.within(&codes[0], 10).len()), (2, 0));
        assert_eq!(index.within(&codes[2], 0)[0].id, 7);
        assert!(index.remove(7) && !index.remove(7));
        assert!(index.within(&codes[2], 10).is_empty() && !index.is_empty());
    }
}

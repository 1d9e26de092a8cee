//! Which planes have a code near a given one: exact, in any orientation and polarity.

use super::placement::inverse_orientation;
use crate::analysis::hashing::Code256;

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
        let mut found = Vec::new();
        let turned_back = turned_back(code);
        for (&id, stored) in self.ids.iter().zip(&self.codes) {
            let nearest = nearest_of(stored, &turned_back);
            if nearest.0 <= distance_max {
                found.push(Candidate {
                    distance: nearest.0,
                    id,
                    orientation: nearest.1,
                    is_inverted: nearest.2,
                });
            }
        }
        found.sort_unstable();
        found
    }
}

/// The least distance between `from`, turned and perhaps inverted, and `to`: distance, orientation, inverted.
pub(super) fn nearest_orientation(from: &Code256, to: &Code256) -> (u32, u8, bool) {
    nearest_of(from, &turned_back(to))
}

/// The code turned the other way round by each orientation: what a code that is turned is compared with, this is at the
/// same distance of the code itself.
fn turned_back(code: &Code256) -> [Code256; 8] {
    let turned = code.orientations();
    std::array::from_fn(|orientation| turned[usize::from(inverse_orientation(orientation as u8))])
}

fn nearest_of(from: &Code256, turned_back: &[Code256; 8]) -> (u32, u8, bool) {
    let mut nearest = (u32::MAX, 0, false);
    for (orientation, to) in (0_u8..).zip(turned_back) {
        let distance = from.hamming(to);
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

    #[test]
    fn turning_one_code_back_is_turning_the_other() {
        let mut random = Random::new(5);
        for _ in 0..200 {
            let [from, to] = [0, 1].map(|_| Code256(std::array::from_fn(|_| random.bits())));
            let turned = from.orientations().map(|turned| turned.hamming(&to));
            let back = turned_back(&to).map(|to| from.hamming(&to));
            assert_eq!(turned, back);
        }
    }
}

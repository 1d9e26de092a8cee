//! Which planes have a code near a given one: exact, in any orientation and polarity.

use super::nearest::{Bound, Lanes, N_LANES, near, near_portable};
use super::placement::inverse_orientation;
use crate::analysis::hashing::Code256;

/// Codes of a segment: 2 MiB. Nothing is moved when the index grows.
const SEGMENT_CODES: usize = 1 << 16;

/// A code near the one that was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Candidate {
    /// Differing bits, the least over orientations and polarities.
    pub distance: u32,
    /// The plane.
    pub id: u32,
    /// How the candidate is turned to look like the plane asked for, a place in
    /// [`crate::analysis::hashing::ORIENTATION_NAMES`]; the first of equals.
    pub orientation: u8,
    /// Whether dark and bright are exchanged.
    pub is_inverted: bool,
}

/// The codes of all planes, searched from the first to the last at about the speed of memory. Takes 36 bytes a code.
#[derive(Debug, Clone, Default)]
pub struct CandidateIndex {
    segments: Vec<Segment>,
    is_portable: bool,
}

/// Codes as [`Lanes`], and beside them what is looked at last.
#[derive(Debug, Clone)]
struct Segment {
    ids: Vec<u32>,
    lanes: Vec<Lanes>,
    /// The fourth word of each code.
    rests: Vec<u64>,
}

impl CandidateIndex {
    /// An index without codes, searched with the best instructions that the processor has.
    pub fn new() -> Self {
        Self::default()
    }

    /// An index without codes, searched with the instructions that every processor of its kind has: gives the same,
    /// for tests and measurements.
    pub fn new_portable() -> Self {
        Self { is_portable: true, ..Self::default() }
    }

    /// How many codes there are.
    pub fn len(&self) -> usize {
        self.segments.iter().map(|segment| segment.ids.len()).sum()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.segments.is_empty()
    }

    /// Adds a code; each `id` once, until it is taken out. Blank planes do not belong here.
    pub fn insert(&mut self, id: u32, code: Code256) {
        match self.segments.last_mut() {
            Some(segment) if segment.ids.len() < SEGMENT_CODES => segment.insert(id, code),
            _ => {
                let mut segment = Segment::new();
                segment.insert(id, code);
                self.segments.push(segment);
            }
        }
    }

    /// Takes the code of `id` out, and puts the last one in its place. Whether it was there.
    pub fn remove(&mut self, id: u32) -> bool {
        let find = |segment: &Segment| segment.ids.iter().position(|other| *other == id);
        let mut numbered = self.segments.iter().enumerate();
        let Some((number, place)) = numbered.find_map(|(number, segment)| Some((number, find(segment)?)))
        else {
            return false;
        };
        let last = self.segments.last_mut().expect("one holds the code");
        let (moved, code) = last.pop();
        if last.ids.is_empty() {
            self.segments.pop();
        }
        if moved != id {
            self.segments[number].set(place, moved, code);
        }
        true
    }

    /// All planes whose code, turned in one of the eight ways and perhaps inverted, differs from `code` in at most
    /// `distance_max` bits; nearest first, equals by id.
    pub fn within(&self, code: &Code256, distance_max: u32) -> Vec<Candidate> {
        let queries = inverse_orientations(code).map(|turned| turned.by_parity());
        let bound = Bound::new(code, distance_max);
        let (mut places, mut found) = (Vec::new(), Vec::new());
        for segment in &self.segments {
            places.clear();
            let search = if self.is_portable { near_portable } else { near };
            search(&segment.lanes, &bound, &mut places);
            for &place in &places {
                // the last lanes may hold nothing, or what was taken out
                let Some(&id) = segment.ids.get(place as usize) else { break };
                let (distance, orientation, is_inverted) = nearest(&segment.words(place as usize), &queries);
                if distance <= distance_max {
                    found.push(Candidate { distance, id, orientation, is_inverted });
                }
            }
        }
        found.sort_unstable();
        found
    }
}

impl Segment {
    fn new() -> Self {
        Self {
            ids: Vec::with_capacity(SEGMENT_CODES),
            lanes: Vec::with_capacity(SEGMENT_CODES / N_LANES),
            rests: Vec::with_capacity(SEGMENT_CODES),
        }
    }

    fn insert(&mut self, id: u32, code: Code256) {
        let place = self.ids.len();
        if place.is_multiple_of(N_LANES) {
            self.lanes.push(Lanes::EMPTY);
        }
        self.rests.push(0);
        self.ids.push(id);
        self.set(place, id, code.by_parity());
    }

    fn set(&mut self, place: usize, id: u32, [words @ .., rest]: [u64; 4]) {
        self.lanes[place / N_LANES].set(place % N_LANES, words);
        self.rests[place] = rest;
        self.ids[place] = id;
    }

    /// Takes the last code out: whose it is, and its bits sorted by parity.
    fn pop(&mut self) -> (u32, [u64; 4]) {
        let place = self.ids.len() - 1;
        let last = (self.ids[place], self.words(place));
        self.ids.truncate(place);
        self.rests.truncate(place);
        self.lanes.truncate(place.div_ceil(N_LANES));
        last
    }

    /// A code, its bits sorted by parity.
    fn words(&self, place: usize) -> [u64; 4] {
        let [a, b, c] = self.lanes[place / N_LANES].get(place % N_LANES);
        [a, b, c, self.rests[place]]
    }
}

/// Turning one code is like turning the other back.
fn inverse_orientations(code: &Code256) -> [Code256; 8] {
    let turned = code.orientations();
    std::array::from_fn(|orientation| turned[usize::from(inverse_orientation(orientation as u8))])
}

/// The least distance between `from`, turned and perhaps inverted, and `to`: distance, orientation, inverted.
pub(super) fn nearest_orientation(from: &Code256, to: &Code256) -> (u32, u8, bool) {
    nearest(&to.0, &from.orientations().map(|turned| turned.0))
}

/// The least distance to one of the queries, upright or inverted: distance, place of the query, inverted; the first of
/// equals.
fn nearest(words: &[u64; 4], queries: &[[u64; 4]; 8]) -> (u32, u8, bool) {
    let mut nearest = (u32::MAX, 0, false);
    for (place, query) in (0_u8..).zip(queries) {
        let distance = words.iter().zip(query).map(|(a, b)| (a ^ b).count_ones()).sum();
        for (distance, is_inverted) in [(distance, false), (256 - distance, true)] {
            if distance < nearest.0 {
                nearest = (distance, place, is_inverted);
            }
        }
    }
    nearest
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::analysis::synthesis::Random;

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

    /// Codes at all distances from `query` among others, turned in all ways, half of them inverted.
    fn planted(query: &Code256, n: u32, random: &mut Random) -> Vec<Code256> {
        let plant = |place: u32| {
            let code = near(query, (place % 129) as usize, random);
            let turned = code.orientations()[(random.bits() % 8) as usize];
            if random.uniform() < 0.5 { turned } else { turned.complement() }
        };
        (0..n).map(plant).collect()
    }

    /// By the definition: the least distance over the turned and inverted codes.
    fn plainly_within(codes: &[(u32, Code256)], query: &Code256, distance_max: u32) -> Vec<Candidate> {
        let mut found = Vec::new();
        for (id, code) in codes {
            let turned = (0_u8..).zip(code.orientations());
            let ways = turned.flat_map(|(orientation, turned)| {
                [(turned, false), (turned.complement(), true)].map(|(code, is_inverted)| Candidate {
                    distance: code.hamming(query),
                    id: *id,
                    orientation,
                    is_inverted,
                })
            });
            let nearest = ways.min().expect("eight orientations");
            found.extend((nearest.distance <= distance_max).then_some(nearest));
        }
        found.sort();
        found
    }

    fn check(codes: &[(u32, Code256)], query: &Code256, distance_max: u32) -> Vec<Candidate> {
        let expected = plainly_within(codes, query, distance_max);
        for mut index in [CandidateIndex::new(), CandidateIndex::new_portable()] {
            assert!(index.is_empty());
            // some that do not stay
            let n_guests = codes.len().min(100) as u32;
            let guest = |number: u32| u32::MAX - 7 * number;
            (0..n_guests / 2).for_each(|number| index.insert(guest(number), *query));
            codes.iter().for_each(|(id, code)| index.insert(*id, *code));
            (n_guests / 2..n_guests).for_each(|number| index.insert(guest(number), *query));
            (0..n_guests).for_each(|number| assert!(index.remove(guest(number))));
            assert!(!index.remove(guest(0)), "it is gone");
            assert_eq!(index.len(), codes.len());
            assert_eq!(index.within(query, distance_max), expected);
            codes.iter().rev().take(1000).for_each(|(id, _)| assert!(index.remove(*id)));
            assert_eq!(index.len(), codes.len().saturating_sub(1000));
            assert!(codes.len() > 1000 || index.is_empty());
        }
        expected
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

        #[test]
        fn finds_what_a_plain_search_finds_in_any_orientation_and_polarity(
            seed in 0_u64..u64::MAX,
            n in 0_u32..600,
            distance_max in 0_u32..=256,
        ) {
            let mut random = Random::new(seed);
            let query = Code256(std::array::from_fn(|_| random.bits()));
            let codes = planted(&query, n, &mut random);
            // ids in no order
            let codes: Vec<_> = (0..).map(|id: u32| id.wrapping_mul(0x9E37_79B1)).zip(codes).collect();
            let found = check(&codes, &query, distance_max);
            prop_assert!(distance_max < 128 || found.len() == codes.len());
        }
    }

    #[test]
    fn finds_nothing_in_nothing_and_all_of_several_segments() {
        let mut random = Random::new(2);
        let query = Code256(std::array::from_fn(|_| random.bits()));
        assert!(check(&[], &query, 256).is_empty());
        let mut codes: Vec<_> = (0..2 * SEGMENT_CODES as u32 + 7)
            .map(|id| (id, Code256(std::array::from_fn(|_| random.bits()))))
            .collect();
        for (place, code) in [0, SEGMENT_CODES - 1, SEGMENT_CODES, 2 * SEGMENT_CODES + 6]
            .into_iter()
            .zip(planted(&query, 4, &mut random))
        {
            codes[place].1 = code;
        }
        assert_eq!(check(&codes, &query, 64).len(), 4);
    }
}

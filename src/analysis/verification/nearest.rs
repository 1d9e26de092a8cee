//! Which of many codes may be near a given one in some orientation and polarity: a bound for which six words of 64 bits are
//! counted a code, instead of 32, at about the speed of memory.
//!
//! A mirrored image has the code with the bits of odd frequencies inverted. So the bits are sorted by the parities of
//! their two frequencies into four words of 64 bits: mirroring and inverting do nothing but invert whole words. With
//! n bits differing in a word, or 64 - n after inversion, the distance of the whole differs from 128 by a sum of
//! +-(n - 32), and all orientations of a code are bounded by two sums of |n - 32|: one for the code, one for the
//! transposed code. The fourth word can change a sum by no more than 32: it is not even read for the codes that three
//! words rule out, which at a distance of 64 are nearly all.

use crate::analysis::hashing::Code256;

/// Codes that are looked at together: one vector of bytes, or a few.
pub(super) const N_LANES: usize = 64;
/// Words that are looked at first.
const N_WORDS: usize = 3;
const N_BYTES: usize = 8;
/// Half the bits of a word: the number that inversion does not change.
const HALF: u8 = 32;

/// The first three words of 64 codes: all their first bytes, all their second bytes, and so on, as vectors of any
/// width like it.
#[derive(Debug, Clone)]
pub(super) struct Lanes([[[u8; N_LANES]; N_BYTES]; N_WORDS]);

impl Lanes {
    pub(super) const EMPTY: Self = Self([[[0; N_LANES]; N_BYTES]; N_WORDS]);

    pub(super) fn set(&mut self, lane: usize, words: [u64; 3]) {
        for (bytes, word) in self.0.iter_mut().zip(words) {
            for (byte, value) in bytes.iter_mut().zip(word.to_le_bytes()) {
                byte[lane] = value;
            }
        }
    }

    pub(super) fn get(&self, lane: usize) -> [u64; 3] {
        self.0.map(|bytes| u64::from_le_bytes(bytes.map(|byte| byte[lane])))
    }
}

/// What the lanes are compared with.
#[derive(Debug, Clone)]
pub(super) struct Bound {
    /// The first words of the code and of the transposed code.
    words: [[[u8; N_BYTES]; N_WORDS]; 2],
    /// The least sum that a code within the distance can have.
    least: u8,
}

impl Bound {
    /// For codes that differ from `code` in at most `distance_max` bits, in any orientation and polarity.
    pub(super) fn new(code: &Code256, distance_max: u32) -> Self {
        let [identity, .., transpose, _] = code.orientations();
        let words = [identity, transpose].map(|code| {
            let [words @ .., _] = code.by_parity();
            words.map(u64::to_le_bytes)
        });
        // 128 - distance is at most the sum of three words, and 32 for the fourth
        Self { words, least: 96_u32.saturating_sub(distance_max) as u8 }
    }
}

/// Writes down the places of all codes that may be near, counted from the first lane; with the best instructions that
/// this processor has.
// vpopcntb (BITALG) and vpopcntq (VPOPCNTDQ) were no faster here than the tables of half bytes that AVX-512BW suffices
// for
#[multiversion::multiversion(targets(
    "x86_64+avx512f+avx512bw+avx512vl+avx2+popcnt",
    "x86_64+avx2+popcnt",
    "x86_64+ssse3+sse4.1+popcnt",
))]
pub(super) fn near(groups: &[Lanes], bound: &Bound, places: &mut Vec<u32>) {
    near_portable(groups, bound, places);
}

/// The same with what every processor of this kind has.
#[inline(always)]
pub(super) fn near_portable(groups: &[Lanes], bound: &Bound, places: &mut Vec<u32>) {
    for (first, group) in (0_u32..).step_by(N_LANES).zip(groups) {
        let sums = largest_sums(group, &bound.words);
        if sums.iter().fold(0, |most, &sum| most.max(sum)) >= bound.least {
            let near = (first..).zip(sums).filter(|&(_, sum)| sum >= bound.least);
            places.extend(near.map(|(place, _)| place));
        }
    }
}

/// The sums of |n - 32| over the words: the larger of code and transposed code, for every lane.
#[inline(always)]
fn largest_sums(group: &Lanes, queries: &[[[u8; N_BYTES]; N_WORDS]; 2]) -> [u8; N_LANES] {
    let mut largest = [0; N_LANES];
    for query in queries {
        let mut sums = [0_u8; N_LANES];
        for (word, asked) in group.0.iter().zip(query) {
            let mut n_differing = [0; N_LANES];
            for (bytes, asked) in word.iter().zip(asked) {
                for (n, stored) in n_differing.iter_mut().zip(bytes) {
                    *n += (stored ^ asked).count_ones() as u8;
                }
            }
            sums.iter_mut().zip(n_differing).for_each(|(sum, n)| *sum += n.abs_diff(HALF));
        }
        largest.iter_mut().zip(sums).for_each(|(most, sum)| *most = sum.max(*most));
    }
    largest
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::analysis::synthesis::Random;

    fn random_codes(n: usize, seed: u64) -> Vec<Code256> {
        let mut random = Random::new(seed);
        (0..n).map(|_| Code256(std::array::from_fn(|_| random.bits()))).collect()
    }

    fn lanes(codes: &[Code256]) -> Vec<Lanes> {
        let mut groups = vec![Lanes::EMPTY; codes.len().div_ceil(N_LANES)];
        for (place, code) in codes.iter().enumerate() {
            let [words @ .., _] = code.by_parity();
            groups[place / N_LANES].set(place % N_LANES, words);
        }
        groups
    }

    #[test]
    fn lanes_keep_words() {
        let codes = random_codes(N_LANES, 1);
        let group = &lanes(&codes)[0];
        for (lane, code) in codes.iter().enumerate() {
            assert_eq!(group.get(lane), code.by_parity()[..3]);
        }
    }

    #[test]
    fn both_ways_give_what_the_definition_gives() {
        let codes = random_codes(5 * N_LANES, 2);
        let query = random_codes(1, 3)[0];
        let groups = lanes(&codes);
        let sum = |code: &Code256, query: &Code256| -> u32 {
            let words = code.by_parity().into_iter().zip(query.by_parity());
            words.take(3).map(|(a, b)| (a ^ b).count_ones().abs_diff(32)).sum()
        };
        let [identity, .., transpose, _] = query.orientations();
        for distance_max in [0, 64, 80, 84, 88, 96, 128] {
            let least = 96_u32.saturating_sub(distance_max);
            let is_near = |code: &Code256| sum(code, &identity).max(sum(code, &transpose)) >= least;
            let expected: Vec<u32> =
                (0..).zip(&codes).filter(|(_, code)| is_near(code)).map(|(place, _)| place).collect();
            assert!(distance_max < 88 || !expected.is_empty());
            let bound = Bound::new(&query, distance_max);
            for way in [near, near_portable] {
                let mut places = Vec::new();
                way(&groups, &bound, &mut places);
                assert_eq!(places, expected, "distance {distance_max}");
            }
        }
    }
}

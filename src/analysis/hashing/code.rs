//! The 256-bit perceptual code, its orientations and its distance.

use std::f64::consts::PI;
use std::fmt;
use std::sync::LazyLock;

use serde::{Deserialize, Serialize};

use super::thumbnail::SIDE;

/// Frequencies 1 to 16 along each side.
const N_FREQUENCIES: usize = 16;
/// Bits of odd frequencies along a row (the lowest bit is frequency 1).
const ODD_COLUMNS: u64 = 0x5555_5555_5555_5555;
/// Bits of odd frequencies along a column: every other run of sixteen.
const ODD_ROWS: u64 = 0x0000_FFFF_0000_FFFF;

/// What [`Code256::orientations`] lists: how the image was turned (counter-clockwise) or mirrored.
pub const ORIENTATION_NAMES: [&str; 8] =
    ["identity", "rot90", "rot180", "rot270", "flip_rows", "flip_columns", "transpose", "anti_transpose"];

/// A perceptual code of 256 bits; near codes mean images that look alike.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default, Serialize, Deserialize)]
pub struct Code256(pub [u64; 4]);

/// The cosines of each block along a side: one for each frequency.
static WAVES: LazyLock<[[f64; N_FREQUENCIES]; SIDE]> = LazyLock::new(|| {
    std::array::from_fn(|x| {
        std::array::from_fn(|frequency| {
            (PI * (frequency + 1) as f64 * (2 * x + 1) as f64 / (2 * SIDE) as f64).cos()
        })
    })
});

impl Code256 {
    /// The code of 64 by 64 block means: the signs of the 256 lowest coefficients of the cosine transform that vary
    /// along both sides, so that brightness, contrast and illumination that adds up from rows and columns drop out.
    /// The brightest 0.2 % and the darkest 0.5 % of the blocks are drawn in first.
    ///
    /// # References
    /// After PDQ (Facebook, "The TMK+PDQF video-hashing algorithm and the PDQ image-hashing algorithm", 2019), with signs in
    /// place of the comparison with the median, so that turning the image only moves and turns bits.
    pub(super) fn of_blocks(values: &[f32]) -> Self {
        let mut sorted = values.to_vec();
        let mut quantile = |p: f64| {
            let place = ((sorted.len() - 1) as f64 * p).round() as usize;
            f64::from(*sorted.select_nth_unstable_by(place, f32::total_cmp).1)
        };
        let (low, high) = (quantile(0.005), quantile(0.998));
        let waves = &*WAVES;
        let mut along_rows = [[0.0_f64; SIDE]; N_FREQUENCIES];
        for (y, row) in values.chunks_exact(SIDE).enumerate() {
            // all frequencies side by side
            let mut sums = [0.0; N_FREQUENCIES];
            for (&value, waves) in row.iter().zip(waves) {
                let value = f64::from(value).max(low).min(high);
                for (sum, wave) in sums.iter_mut().zip(waves) {
                    *sum += value * wave;
                }
            }
            for (along_rows, sum) in along_rows.iter_mut().zip(sums) {
                along_rows[y] = sum;
            }
        }
        let mut code = Self::default();
        for (column_frequency, sums) in along_rows.iter().enumerate() {
            let mut coefficients = [0.0; N_FREQUENCIES];
            for (sum, waves) in sums.iter().zip(waves) {
                for (coefficient, wave) in coefficients.iter_mut().zip(waves) {
                    *coefficient += sum * wave;
                }
            }
            for (row_frequency, coefficient) in coefficients.into_iter().enumerate() {
                let bit = row_frequency * N_FREQUENCIES + column_frequency;
                code.0[bit / 64] |= u64::from(coefficient > 0.0) << (bit % 64);
            }
        }
        code
    }

    /// The codes of the image turned and mirrored in the eight ways of [`ORIENTATION_NAMES`].
    pub fn orientations(&self) -> [Self; 8] {
        let transposed = self.transposed();
        [
            *self,
            transposed.flipped(ODD_ROWS),
            self.flipped(ODD_ROWS ^ ODD_COLUMNS),
            transposed.flipped(ODD_COLUMNS),
            self.flipped(ODD_ROWS),
            self.flipped(ODD_COLUMNS),
            transposed,
            transposed.flipped(ODD_ROWS ^ ODD_COLUMNS),
        ]
    }

    /// Mirroring turns the sign of the odd frequencies.
    fn flipped(&self, odd: u64) -> Self {
        Self(self.0.map(|word| word ^ odd))
    }

    /// The bits in four words of 64 by the parity of their two frequencies, so that mirroring the image inverts whole
    /// words: both odd, even along a row, even along a column, both even.
    pub(in crate::analysis) fn by_parity(&self) -> [u64; 4] {
        let mut words = [0; 4];
        for (place, &rows) in self.0.iter().enumerate() {
            for (parity, word) in words.iter_mut().enumerate() {
                // four rows of sixteen bits; of each, every other bit moves into the lower half
                let mut bits = (rows >> (parity % 2)) & ODD_COLUMNS;
                bits = (bits | bits >> 1) & 0x3333_3333_3333_3333;
                bits = (bits | bits >> 2) & 0x0F0F_0F0F_0F0F_0F0F;
                bits = (bits | bits >> 4) & 0x00FF_00FF_00FF_00FF;
                let row = 16 * (parity / 2);
                *word |= (bits >> row & 0xFF | bits >> (row + 24) & 0xFF00) << (16 * place);
            }
        }
        words
    }

    fn transposed(&self) -> Self {
        let mut turned = Self::default();
        for bit in 0..256 {
            let from = bit % 16 * 16 + bit / 16;
            turned.0[bit / 64] |= (self.0[from / 64] >> (from % 64) & 1) << (bit % 64);
        }
        turned
    }

    /// How many of the 256 bits differ.
    pub fn hamming(&self, other: &Self) -> u32 {
        self.0.iter().zip(&other.0).map(|(a, b)| (a ^ b).count_ones()).sum()
    }

    /// The code of the image with dark and bright exchanged.
    #[must_use]
    pub fn complement(&self) -> Self {
        Self(self.0.map(|word| !word))
    }

    /// The 32 bytes of the code, first bit in the lowest place of the first byte.
    pub fn to_bytes(self) -> [u8; 32] {
        let mut bytes = [0; 32];
        for (place, word) in bytes.chunks_exact_mut(8).zip(self.0) {
            place.copy_from_slice(&word.to_le_bytes());
        }
        bytes
    }

    /// The inverse of [`Self::to_bytes`].
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        let mut words = [0; 4];
        for (word, place) in words.iter_mut().zip(bytes.chunks_exact(8)) {
            *word = u64::from_le_bytes(place.try_into().expect("chunks of eight"));
        }
        Self(words)
    }
}

impl fmt::Debug for Code256 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d] = self.0;
        write!(f, "Code256({a:016x}{b:016x}{c:016x}{d:016x})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::analysis::synthesis::Random;

    #[test]
    fn distance_counts_differing_bits() {
        let a = Code256([0b1011, 0, 0, 1 << 63]);
        let b = Code256([0b0001, 0, 1, 0]);
        assert_eq!((a.hamming(&b), b.hamming(&a), a.hamming(&a)), (4, 4, 0));
        assert_eq!(a.hamming(&a.complement()), 256);
    }

    #[test]
    fn mirroring_inverts_whole_words_by_parity() {
        let mut random = Random::new(1);
        let code = Code256(std::array::from_fn(|_| random.bits()));
        let inverted = |flags: [bool; 4]| {
            let words = code.by_parity().into_iter().zip(flags);
            words.map(|(word, is_inverted)| if is_inverted { !word } else { word }).collect::<Vec<_>>()
        };
        let turned = code.orientations();
        assert_eq!(turned[4].by_parity(), *inverted([true, true, false, false]), "odd along a column");
        assert_eq!(turned[5].by_parity(), *inverted([true, false, true, false]), "odd along a row");
        assert_eq!(turned[2].by_parity(), *inverted([false, true, true, false]));
        // a permutation of the bits
        let places: std::collections::BTreeSet<_> = (0..256)
            .map(|bit| {
                let mut one = Code256::default();
                one.0[bit / 64] = 1 << (bit % 64);
                let words = one.by_parity();
                assert_eq!(words.map(u64::count_ones).iter().sum::<u32>(), 1);
                words
            })
            .collect();
        assert_eq!(places.len(), 256);
    }

    #[test]
    fn bytes_round_trip() {
        let code = Code256([1, u64::MAX, 0x0123_4567_89AB_CDEF, 1 << 63]);
        assert_eq!(Code256::from_bytes(code.to_bytes()), code);
        assert_eq!(code.to_bytes()[..9], [1, 0, 0, 0, 0, 0, 0, 0, 255]);
    }
}

//! The 256-bit perceptual code and its distance.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A perceptual code of 256 bits; near codes mean images that look alike.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default, Serialize, Deserialize)]
pub struct Code256(pub [u64; 4]);

impl Code256 {
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

    #[test]
    fn distance_counts_differing_bits() {
        let a = Code256([0b1011, 0, 0, 1 << 63]);
        let b = Code256([0b0001, 0, 1, 0]);
        assert_eq!((a.hamming(&b), b.hamming(&a), a.hamming(&a)), (4, 4, 0));
        assert_eq!(a.hamming(&a.complement()), 256);
    }

    #[test]
    fn bytes_round_trip() {
        let code = Code256([1, u64::MAX, 0x0123_4567_89AB_CDEF, 1 << 63]);
        assert_eq!(Code256::from_bytes(code.to_bytes()), code);
        assert_eq!(code.to_bytes()[..9], [1, 0, 0, 0, 0, 0, 0, 0, 255]);
    }
}

//! The exact digest of decoded samples, the same whatever container or compression they came in.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::formats::Plane;

/// BLAKE3 digest of a plane's shape, sample type and samples; written as 64 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct PixelDigest(pub [u8; 32]);

/// Digests a plane: a header (height, width, samples per pixel, sample type), then the samples, little-endian,
/// row-major, interleaved.
pub fn pixel_digest(plane: &Plane) -> PixelDigest {
    let mut hasher = blake3::Hasher::new();
    hasher.update(b"scopewatch plane 1\0");
    for length in [plane.height, plane.width, plane.n_samples] {
        hasher.update(&(length as u64).to_le_bytes());
    }
    hasher.update(plane.samples.sample_type().name().as_bytes());
    hasher.update(b"\0");
    plane.for_each_little_endian_bytes(|bytes| {
        hasher.update(bytes);
    });
    PixelDigest(hasher.finalize().into())
}

impl fmt::Display for PixelDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for PixelDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PixelDigest({self})")
    }
}

/// A text that is not 64 hexadecimal digits.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("expected a digest of 64 hexadecimal digits, found {0:?}")]
pub struct ParseDigestError(String);

impl FromStr for PixelDigest {
    type Err = ParseDigestError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let error = || ParseDigestError(text.to_owned());
        if text.len() != 64 {
            return Err(error());
        }
        let mut bytes = [0_u8; 32];
        for (byte, digits) in bytes.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
            let digit = |letter: u8| char::from(letter).to_digit(16).ok_or_else(error);
            *byte = (digit(digits[0])? * 16 + digit(digits[1])?) as u8;
        }
        Ok(Self(bytes))
    }
}

impl TryFrom<String> for PixelDigest {
    type Error = ParseDigestError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<PixelDigest> for String {
    fn from(digest: PixelDigest) -> Self {
        digest.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::formats::Samples;

    fn plane(height: usize, width: usize, n_samples: usize, samples: Samples) -> Plane {
        Plane { height, width, n_samples, samples }
    }

    #[test]
    fn shape_type_and_every_sample_count() {
        let base = pixel_digest(&plane(2, 3, 1, Samples::Uint8(vec![1, 2, 3, 4, 5, 6])));
        assert_eq!(base, pixel_digest(&plane(2, 3, 1, Samples::Uint8(vec![1, 2, 3, 4, 5, 6]))));
        for other in [
            plane(3, 2, 1, Samples::Uint8(vec![1, 2, 3, 4, 5, 6])),
            plane(1, 2, 3, Samples::Uint8(vec![1, 2, 3, 4, 5, 6])),
            plane(2, 3, 1, Samples::Int8(vec![1, 2, 3, 4, 5, 6])),
            plane(2, 3, 1, Samples::Uint16(vec![1, 2, 3, 4, 5, 6])),
            plane(2, 3, 1, Samples::Uint8(vec![1, 2, 3, 4, 5, 7])),
        ] {
            assert_ne!(base, pixel_digest(&other), "{other:?}");
        }
    }

    #[test]
    fn the_digest_never_changes_between_versions() {
        let digest = pixel_digest(&plane(1, 2, 1, Samples::Uint16(vec![0x0102, 0xFF00])));
        assert_eq!(digest.to_string(), "a9e737e30249123f6f66b638bae0a5b5e7a0c9a2b6dd7a676daaee7071ced400");
    }

    #[test]
    fn hexadecimal_round_trips_and_other_text_is_refused() {
        let digest = PixelDigest(std::array::from_fn(|i| (i * 9) as u8));
        assert_eq!(digest.to_string().parse(), Ok(digest));
        assert_eq!(digest.to_string().to_uppercase().parse(), Ok(digest));
        for bad in
            ["", "00", &"0".repeat(63), &"g".repeat(64), &"é".repeat(32), &format!("+{}", "0".repeat(63))]
        {
            assert!(bad.parse::<PixelDigest>().is_err(), "{bad:?}");
        }
    }
}

//! The small words that every layer shares: where a plane stands in its container, and what its samples are.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Names one plane of a container by its zero-based loop indices; written `t0p0z0c0`.
///
/// Orders by time, then position, then z, then channel: the order in which planes are listed everywhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default, Serialize, Deserialize)]
pub struct PlaneIndex {
    /// Time point.
    pub t: u32,
    /// Stage position.
    pub p: u32,
    /// Focus step.
    pub z: u32,
    /// Channel.
    pub c: u32,
}

impl fmt::Display for PlaneIndex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "t{}p{}z{}c{}", self.t, self.p, self.z, self.c)
    }
}

/// A text that is not of the form `t0p0z0c0`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("expected a plane such as t0p0z0c0, found {0:?}")]
pub struct ParsePlaneIndexError(String);

impl FromStr for PlaneIndex {
    type Err = ParsePlaneIndexError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let error = || ParsePlaneIndexError(text.to_owned());
        let mut rest = text;
        let mut index = [0_u32; 4];
        for (letter, value) in ['t', 'p', 'z', 'c'].into_iter().zip(&mut index) {
            rest = rest.strip_prefix(letter).ok_or_else(error)?;
            let n_digits = rest.bytes().take_while(u8::is_ascii_digit).count();
            let (digits, tail) = rest.split_at(n_digits);
            *value = digits.parse().map_err(|_| error())?;
            rest = tail;
        }
        let [t, p, z, c] = index;
        if rest.is_empty() { Ok(Self { t, p, z, c }) } else { Err(error()) }
    }
}

/// The type of one sample as the file stores it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[allow(missing_docs, reason = "each name is its own explanation")]
pub enum SampleType {
    Uint8,
    Uint16,
    Uint32,
    Uint64,
    Int8,
    Int16,
    Int32,
    Int64,
    Float16,
    Float32,
    Float64,
}

impl SampleType {
    /// Bytes of one sample: 1, 2, 4 or 8.
    pub const fn size_bytes(self) -> usize {
        match self {
            Self::Uint8 | Self::Int8 => 1,
            Self::Uint16 | Self::Int16 | Self::Float16 => 2,
            Self::Uint32 | Self::Int32 | Self::Float32 => 4,
            Self::Uint64 | Self::Int64 | Self::Float64 => 8,
        }
    }

    /// The name numpy gives the type, such as `uint16`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Uint8 => "uint8",
            Self::Uint16 => "uint16",
            Self::Uint32 => "uint32",
            Self::Uint64 => "uint64",
            Self::Int8 => "int8",
            Self::Int16 => "int16",
            Self::Int32 => "int32",
            Self::Int64 => "int64",
            Self::Float16 => "float16",
            Self::Float32 => "float32",
            Self::Float64 => "float64",
        }
    }
}

impl fmt::Display for SampleType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plane_index_round_trips_and_refuses_other_text() {
        let index = PlaneIndex { t: 12, p: 0, z: 3, c: 1 };
        assert_eq!(index.to_string(), "t12p0z3c1");
        assert_eq!("t12p0z3c1".parse(), Ok(index));
        for bad in ["", "t1", "t1p1z1", "t1p1z1c", "t1p1z1c1 ", "p1t1z1c1", "t-1p0z0c0", "t99999999999p0z0c0"]
        {
            assert!(bad.parse::<PlaneIndex>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn planes_order_by_time_position_z_channel() {
        let plane = |t, p, z, c| PlaneIndex { t, p, z, c };
        let mut planes = [plane(1, 0, 0, 0), plane(0, 1, 0, 0), plane(0, 0, 1, 0), plane(0, 0, 0, 1)];
        planes.sort();
        assert_eq!(planes.map(|p| p.to_string()), ["t0p0z0c1", "t0p0z1c0", "t0p1z0c0", "t1p0z0c0"]);
    }
}

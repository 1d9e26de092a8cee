//! Decoded pixels: rows by columns by interleaved samples, in the sample type of the file.

use half::f16;

use crate::units::SampleType;

/// The samples of one plane, row-major, interleaved (`Y, X, S`), without row padding, in native byte order.
#[derive(Debug, Clone, PartialEq)]
#[allow(missing_docs, reason = "each name is its own explanation")]
pub enum Samples {
    Uint8(Vec<u8>),
    Uint16(Vec<u16>),
    Uint32(Vec<u32>),
    Uint64(Vec<u64>),
    Int8(Vec<i8>),
    Int16(Vec<i16>),
    Int32(Vec<i32>),
    Int64(Vec<i64>),
    Float16(Vec<f16>),
    Float32(Vec<f32>),
    Float64(Vec<f64>),
}

/// Calls the same expression on whichever vector is inside.
macro_rules! each {
    ($samples:expr, $values:ident => $body:expr) => {
        match $samples {
            Samples::Uint8($values) => $body,
            Samples::Uint16($values) => $body,
            Samples::Uint32($values) => $body,
            Samples::Uint64($values) => $body,
            Samples::Int8($values) => $body,
            Samples::Int16($values) => $body,
            Samples::Int32($values) => $body,
            Samples::Int64($values) => $body,
            Samples::Float16($values) => $body,
            Samples::Float32($values) => $body,
            Samples::Float64($values) => $body,
        }
    };
}

impl Samples {
    /// Zeros: `n` samples of the given type.
    pub fn zeros(sample_type: SampleType, n: usize) -> Self {
        match sample_type {
            SampleType::Uint8 => Self::Uint8(vec![0; n]),
            SampleType::Uint16 => Self::Uint16(vec![0; n]),
            SampleType::Uint32 => Self::Uint32(vec![0; n]),
            SampleType::Uint64 => Self::Uint64(vec![0; n]),
            SampleType::Int8 => Self::Int8(vec![0; n]),
            SampleType::Int16 => Self::Int16(vec![0; n]),
            SampleType::Int32 => Self::Int32(vec![0; n]),
            SampleType::Int64 => Self::Int64(vec![0; n]),
            SampleType::Float16 => Self::Float16(vec![f16::ZERO; n]),
            SampleType::Float32 => Self::Float32(vec![0.0; n]),
            SampleType::Float64 => Self::Float64(vec![0.0; n]),
        }
    }

    /// The type of the samples.
    pub const fn sample_type(&self) -> SampleType {
        match self {
            Self::Uint8(_) => SampleType::Uint8,
            Self::Uint16(_) => SampleType::Uint16,
            Self::Uint32(_) => SampleType::Uint32,
            Self::Uint64(_) => SampleType::Uint64,
            Self::Int8(_) => SampleType::Int8,
            Self::Int16(_) => SampleType::Int16,
            Self::Int32(_) => SampleType::Int32,
            Self::Int64(_) => SampleType::Int64,
            Self::Float16(_) => SampleType::Float16,
            Self::Float32(_) => SampleType::Float32,
            Self::Float64(_) => SampleType::Float64,
        }
    }

    /// Makes room for `n` samples of the given type, in the same memory where the type stays. The values are left over from
    /// before or zero.
    pub fn reshape(&mut self, sample_type: SampleType, n: usize) {
        let capacity = each!(self, values => values.capacity());
        if self.sample_type() == sample_type && capacity >= n {
            each!(self, values => values.resize(n, Default::default()));
        } else {
            // zeros fresh from the system cost nothing until they are touched; growing would copy
            *self = Self::zeros(sample_type, n);
        }
    }

    /// How many samples there are.
    pub fn len(&self) -> usize {
        each!(self, values => values.len())
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The samples as bytes in native order.
    pub fn as_bytes(&self) -> &[u8] {
        each!(self, values => bytemuck::cast_slice(values))
    }

    /// The samples as writable bytes in native order: a decoder reads the file's bytes into place, then calls
    /// [`Self::swap_bytes`] if the file's order is the other one.
    pub fn as_bytes_mut(&mut self) -> &mut [u8] {
        each!(self, values => bytemuck::cast_slice_mut(values))
    }

    /// Turns every sample's bytes around.
    pub fn swap_bytes(&mut self) {
        let size = self.sample_type().size_bytes();
        if size > 1 {
            for sample in self.as_bytes_mut().chunks_exact_mut(size) {
                sample.reverse();
            }
        }
    }
}

/// One decoded plane.
#[derive(Debug, Clone, PartialEq)]
pub struct Plane {
    /// Rows (Y).
    pub height: usize,
    /// Columns (X).
    pub width: usize,
    /// Interleaved samples per pixel (S): 1, or 3 and 4 for colour.
    pub n_samples: usize,
    /// `height * width * n_samples` values.
    pub samples: Samples,
}

impl Plane {
    /// A plane without pixels, to be read into.
    pub const fn empty() -> Self {
        Self { height: 0, width: 0, n_samples: 0, samples: Samples::Uint8(Vec::new()) }
    }

    /// Takes on a shape, keeping the memory where the type of the samples stays.
    pub fn reshape(&mut self, [height, width, n_samples]: [usize; 3], sample_type: SampleType) {
        (self.height, self.width, self.n_samples) = (height, width, n_samples);
        self.samples.reshape(sample_type, height * width * n_samples);
    }

    /// Bytes that the samples occupy.
    pub fn size_bytes(&self) -> usize {
        self.samples.len() * self.samples.sample_type().size_bytes()
    }

    /// Feeds the samples, little-endian and row-major, to `update` in slices: what every pixel digest is made of.
    pub fn for_each_little_endian_bytes(&self, mut update: impl FnMut(&[u8])) {
        if cfg!(target_endian = "little") {
            update(self.samples.as_bytes());
        } else {
            let mut turned = self.samples.clone();
            turned.swap_bytes();
            update(turned.as_bytes());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_little_endian_whatever_the_host() {
        let plane =
            Plane { height: 1, width: 2, n_samples: 1, samples: Samples::Uint16(vec![0x0102, 0xFF00]) };
        let mut bytes = Vec::new();
        plane.for_each_little_endian_bytes(|slice| bytes.extend_from_slice(slice));
        assert_eq!(bytes, [0x02, 0x01, 0x00, 0xFF]);
        assert_eq!(plane.size_bytes(), 4);
    }

    #[test]
    fn zeros_have_the_type_asked_for() {
        use SampleType::*;
        for sample_type in
            [Uint8, Uint16, Uint32, Uint64, Int8, Int16, Int32, Int64, Float16, Float32, Float64]
        {
            let samples = Samples::zeros(sample_type, 3);
            assert_eq!((samples.sample_type(), samples.len()), (sample_type, 3));
            assert_eq!(samples.as_bytes(), vec![0; 3 * sample_type.size_bytes()]);
        }
    }
}

//! Maps samples of any type to 16-bit levels, so that every later step counts in integers.
//!
//! Level 0 is the least finite sample and level 65 535 the greatest, so the result does not depend on the sample
//! type nor on an offset. Types of more than 16 bits are clipped where lone outliers would take all the levels.

use rayon::prelude::*;

use crate::formats::plane::Plane;

/// The greatest level.
pub(super) const LEVEL_MAX: f32 = 65_535.0;

/// A sample as a real number.
pub(super) trait Sample: Copy + Send + Sync {
    /// Whether every value of the type is a whole number of at most 16 bits.
    const IS_NARROW: bool;
    /// The greatest value of the type, where a camera saturates; infinite for real numbers.
    const SATURATION: f64;
    /// The value.
    fn value(self) -> f64;
    /// The value of a narrow type; means nothing for others.
    fn narrow(self) -> i32;
}

macro_rules! sample {
    ($($type:ty, $narrow:expr, $saturation:expr, $value:expr, $integer:expr;)*) => {
        $(impl Sample for $type {
            const IS_NARROW: bool = $narrow;
            const SATURATION: f64 = $saturation;
            #[inline]
            fn value(self) -> f64 {
                $value(self)
            }
            #[inline]
            fn narrow(self) -> i32 {
                $integer(self)
            }
        })*
    };
}

sample! {
    u8, true, u8::MAX as f64, f64::from, i32::from;
    i8, true, i8::MAX as f64, f64::from, i32::from;
    u16, true, u16::MAX as f64, f64::from, i32::from;
    i16, true, i16::MAX as f64, f64::from, i32::from;
    u32, false, u32::MAX as f64, f64::from, |_| 0;
    i32, false, i32::MAX as f64, f64::from, |_| 0;
    u64, false, u64::MAX as f64, |value| value as f64, |_| 0;
    i64, false, i64::MAX as f64, |value| value as f64, |_| 0;
    half::f16, false, f64::INFINITY, half::f16::to_f64, |_| 0;
    f32, false, f64::INFINITY, f64::from, |_| 0;
    f64, false, f64::INFINITY, |value| value, |_| 0;
}

/// Calls the same generic code on the samples, whatever their type.
macro_rules! with_samples {
    ($plane:expr, $values:ident => $body:expr) => {
        match &$plane.samples {
            $crate::formats::plane::Samples::Uint8($values) => $body,
            $crate::formats::plane::Samples::Uint16($values) => $body,
            $crate::formats::plane::Samples::Uint32($values) => $body,
            $crate::formats::plane::Samples::Uint64($values) => $body,
            $crate::formats::plane::Samples::Int8($values) => $body,
            $crate::formats::plane::Samples::Int16($values) => $body,
            $crate::formats::plane::Samples::Int32($values) => $body,
            $crate::formats::plane::Samples::Int64($values) => $body,
            $crate::formats::plane::Samples::Float16($values) => $body,
            $crate::formats::plane::Samples::Float32($values) => $body,
            $crate::formats::plane::Samples::Float64($values) => $body,
        }
    };
}
pub(super) use with_samples;

/// The map between samples and levels: `sample = low + step * level`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Levels {
    /// The sample at level 0.
    pub(super) low: f64,
    /// Samples per level; above 0.
    pub(super) step: f64,
    /// The quantisation of the file in levels: 1 / step for whole numbers, 0 for real ones.
    pub(super) quantum: f64,
    /// Part of the samples at the upper end of the type, or at the greatest value where at least 16 share it.
    pub(super) saturated_fraction: f64,
    /// The level of what is not a finite number: about the median.
    fill: f32,
    /// Whether every sample is a finite number.
    pub(super) all_finite: bool,
}

impl Levels {
    /// Finds the range of a plane in one pass (three for wide types).
    pub(super) fn of(plane: &Plane) -> Self {
        with_samples!(plane, values => Self::of_values(values))
    }

    fn of_values<T: Sample>(values: &[T]) -> Self {
        let Range { mut low, mut high, n_finite } = Range::of(values);
        let is_top = |sample: &&T| {
            if T::IS_NARROW { f64::from(sample.narrow()) == high } else { sample.value() == high }
        };
        let n_top: usize = values.par_chunks(CHUNK).map(|chunk| chunk.iter().filter(is_top).count()).sum();
        if n_finite == 0 {
            (low, high) = (0.0, 0.0);
        }
        let is_saturated = high >= T::SATURATION || (n_top >= N_SHARED_MAXIMUM && high > low);
        let mut middle = low;
        if !T::IS_NARROW && high > low {
            [low, middle, high] = without_outliers(values, low, high);
        }
        let step = if high > low { (high - low) / f64::from(LEVEL_MAX) } else { 1.0 };
        Self {
            low,
            step,
            quantum: if T::SATURATION.is_finite() { 1.0 / step } else { 0.0 },
            saturated_fraction: if is_saturated { n_top as f64 / values.len().max(1) as f64 } else { 0.0 },
            fill: (((middle - low) / step) as f32).clamp(0.0, LEVEL_MAX),
            all_finite: n_finite == values.len(),
        }
    }

    /// The levels of a row of samples, not rounded.
    pub(super) fn of_row<T: Sample>(&self, row: &[T], out: &mut [f32]) {
        if T::IS_NARROW {
            // whole numbers of 16 bits are exact
            let (low, per_sample) = (self.low as i32, (1.0 / self.step) as f32);
            for (level, sample) in out.iter_mut().zip(row) {
                *level = ((sample.narrow() - low) as f32 * per_sample).min(LEVEL_MAX);
            }
        } else {
            out.iter_mut().zip(row).for_each(|(level, sample)| *level = self.level(sample.value()));
        }
    }

    /// The level of a sample, not rounded; what is not a finite number is background.
    #[inline]
    pub(super) fn level(&self, value: f64) -> f32 {
        let level = ((value - self.low) * (1.0 / self.step)) as f32;
        if value.is_finite() { level.clamp(0.0, LEVEL_MAX) } else { self.fill }
    }

    /// The sample value of a level.
    pub(super) fn sample(&self, level: f64) -> f64 {
        self.low + self.step * level
    }
}

/// Samples that one thread looks through in one go.
const CHUNK: usize = 1 << 16;

/// Least and greatest finite sample, and how many samples are finite.
#[derive(Clone, Copy)]
struct Range {
    low: f64,
    high: f64,
    n_finite: usize,
}

impl Range {
    const EMPTY: Self = Self { low: f64::INFINITY, high: f64::NEG_INFINITY, n_finite: 0 };

    fn of<T: Sample>(values: &[T]) -> Self {
        let of_chunk = if T::IS_NARROW { Self::of_narrow::<T> } else { Self::of_wide::<T> };
        let join = |a: Self, b: Self| Self {
            low: a.low.min(b.low),
            high: a.high.max(b.high),
            n_finite: a.n_finite + b.n_finite,
        };
        values.par_chunks(CHUNK).map(of_chunk).reduce(|| Self::EMPTY, join)
    }

    fn of_narrow<T: Sample>(values: &[T]) -> Self {
        let (mut low, mut high) = (i32::MAX, i32::MIN);
        for value in values.iter().map(|sample| sample.narrow()) {
            low = low.min(value);
            high = high.max(value);
        }
        Self { low: low.into(), high: high.into(), n_finite: values.len() }
    }

    fn of_wide<T: Sample>(values: &[T]) -> Self {
        let mut range = Self::EMPTY;
        for value in values.iter().map(|sample| sample.value()).filter(|value| value.is_finite()) {
            range.low = range.low.min(value);
            range.high = range.high.max(value);
            range.n_finite += 1;
        }
        range
    }
}

/// So many samples at the greatest value are no coincidence of noise.
const N_SHARED_MAXIMUM: usize = 16;

/// Clips the range to 16 times the spread of the middle 98 % beyond it, from a coarse histogram of the values' bits:
/// far above any nucleus, and still hundreds of levels per standard deviation of the noise. Returns the least value,
/// the median and the greatest value.
fn without_outliers<T: Sample>(values: &[T], low: f64, high: f64) -> [f64; 3] {
    let mut counts = vec![0_u32; 1 << 16];
    let mut n = 0_u64;
    for value in values.iter().map(|sample| sample.value()).filter(|value| value.is_finite()) {
        counts[ordered_bits(value)] += 1;
        n += 1;
    }
    let quantile = |part: f64| {
        let rank = (part * n as f64) as u64;
        let mut below = 0_u64;
        let bin = counts.iter().position(|&count| {
            below += u64::from(count);
            below > rank
        });
        f64::from(value_of_bits(bin.unwrap_or(counts.len() - 1)))
    };
    let (bottom, top) = (quantile(0.01), quantile(0.99));
    let reach = 16.0 * (top - bottom);
    if reach > 0.0 && reach.is_finite() {
        [low.max(bottom - reach), quantile(0.5), high.min(top + reach)]
    } else {
        [low, quantile(0.5).clamp(low, high), high]
    }
}

/// The upper 16 bits of a number as `f32`, in an order that is the numbers' own.
fn ordered_bits(value: f64) -> usize {
    let bits = (value as f32).to_bits();
    let ordered = if bits >> 31 == 0 { bits | 0x8000_0000 } else { !bits };
    (ordered >> 16) as usize
}

/// The middle of the numbers that share [`ordered_bits`].
fn value_of_bits(bin: usize) -> f32 {
    let ordered = ((bin as u32) << 16) | 0x8000;
    let value = f32::from_bits(if ordered >> 31 == 1 { ordered & 0x7FFF_FFFF } else { !ordered });
    value.clamp(f32::MIN, f32::MAX)
}

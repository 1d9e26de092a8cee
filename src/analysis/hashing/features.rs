//! The small features of a plane: a few hundred bytes that stand for its pixels in every later comparison.

use serde::{Deserialize, Serialize};

use super::blank::signal_to_noise;
use super::code::Code256;
use super::fingerprints::{self, Fingerprints, N_FINGERPRINTS};
use super::haar::{N_SCALES, details};
use super::histogram::Histogram;
use super::rows::{Rows, Sample};
use super::thumbnail::{SIDE, block_means};
use crate::formats::{Plane, Samples};
use crate::units::SampleType::{Float16, Float32, Float64};

/// Version of the method and of the byte form; features of another version are computed anew.
pub const FEATURES_VERSION: u16 = 2;
/// Smallest signal-to-noise ratio of a plane that shows something.
pub const SNR_MIN: f32 = 1.8;
/// Points of the quantile curve.
pub const N_QUANTILES: usize = 33;
/// Pixels on either side that are drawn in before anything is averaged: hot pixels and dead ones.
const CLIPPED_PER_PIXEL: u64 = 10_000;
/// Standard deviation of rounding to whole numbers: 1 / sqrt(12).
const ROUNDING_NOISE: f32 = 0.288_675_13;
const N_FLOATS: usize = 6 + 3 * N_SCALES + N_QUANTILES;
const N_BYTES: usize = 3 + 4 * N_FLOATS + 32 + 4 * N_FINGERPRINTS;

/// Whether a plane shows anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Signal {
    /// Every pixel has the same value.
    Constant,
    /// Noise and smooth illumination only.
    NoSignal,
    /// There is structure above the noise.
    Structured,
}

/// What is kept of a plane's pixels. Grey values are those of the samples; colour counts as the mean of its first
/// three samples; what is not a number counts as 0. All numbers are finite.
#[derive(Debug, Clone, PartialEq)]
pub struct PlaneFeatures {
    /// Whether the plane shows anything.
    pub signal: Signal,
    /// Deviation of block means from a smooth surface over that of noise alone: 1 for noise, at most 10^6.
    pub snr: f32,
    /// Standard deviation of the noise of a pixel, in grey levels.
    pub noise: f32,
    /// Mean grey value.
    pub mean: f32,
    /// Smallest grey value.
    pub min: f32,
    /// Largest grey value.
    pub max: f32,
    /// Fraction of the pixels that have the largest value: far above 1 / pixels where the camera was saturated.
    pub at_max_fraction: f32,
    /// The perceptual code.
    pub code: Code256,
    /// log2 of the energy of horizontal, vertical and diagonal details of 2, 4 and 8 pixels; -64 for none.
    pub energies: [[f32; 3]; N_SCALES],
    /// Grey values at the fractions `(1 - cos(pi k / 32)) / 2`, k from 0 to 32: dense at both ends, as small bright
    /// objects on a wide background need.
    pub quantiles: [f32; N_QUANTILES],
    /// Marks of single places, which a crop of the plane shares.
    pub fingerprints: Fingerprints,
}

/// Computes the features of a decoded plane in four passes (histogram, block means, strips of details, fingerprints).
pub fn plane_features(plane: &Plane) -> PlaneFeatures {
    match &plane.samples {
        Samples::Uint8(samples) => of_samples(samples, plane),
        Samples::Uint16(samples) => of_samples(samples, plane),
        Samples::Uint32(samples) => of_samples(samples, plane),
        Samples::Uint64(samples) => of_samples(samples, plane),
        Samples::Int8(samples) => of_samples(samples, plane),
        Samples::Int16(samples) => of_samples(samples, plane),
        Samples::Int32(samples) => of_samples(samples, plane),
        Samples::Int64(samples) => of_samples(samples, plane),
        Samples::Float16(samples) => of_samples(samples, plane),
        Samples::Float32(samples) => of_samples(samples, plane),
        Samples::Float64(samples) => of_samples(samples, plane),
    }
}

/// Upper bound of the bytes that [`plane_features`] allocates beside the plane.
pub fn scratch_bytes(height: usize, width: usize) -> usize {
    // two tables of counts and one of their sums; block means and what is made of them; rows; a strip; its details
    let histogram = (4 + 4 + 8) << 16;
    let blocks = (4 + 4 + 8 + 8) * SIDE * SIDE;
    let rows = 2 * 4 * width;
    let strip = 4 * (8 + 1) * width;
    let details = height.saturating_mul(width).min((1 << 19) + 8 * width);
    histogram + blocks + rows + strip + details + fingerprints::scratch_bytes(width)
}

fn of_samples<T: Sample>(samples: &[T], plane: &Plane) -> PlaneFeatures {
    let rows = Rows::new(samples, plane.height, plane.width, plane.n_samples);
    let histogram = Histogram::of(&rows);
    let n_clipped = histogram.n_pixels / CLIPPED_PER_PIXEL;
    let range = (histogram.of_rank(n_clipped), histogram.of_rank(histogram.n_pixels - 1 - n_clipped));
    let blocks = block_means(&rows, range);
    let details = details(&rows, range);
    let snr = if histogram.min == histogram.max {
        0.0
    } else {
        // a picture without any noise has at least that of rounding
        let is_float = matches!(plane.samples.sample_type(), Float16 | Float32 | Float64);
        let rounding =
            if is_float { range.0.abs().max(range.1.abs()) * f32::EPSILON } else { ROUNDING_NOISE };
        let noise = if details.noise > 0.0 { details.noise } else { rounding.max(f32::MIN_POSITIVE) };
        signal_to_noise(&blocks, (rows.height, rows.width), noise)
    };
    let signal = match snr {
        _ if histogram.min == histogram.max => Signal::Constant,
        snr if snr < SNR_MIN => Signal::NoSignal,
        _ => Signal::Structured,
    };
    let fraction =
        |k: usize| (1.0 - (std::f64::consts::PI * k as f64 / (N_QUANTILES - 1) as f64).cos()) / 2.0;
    PlaneFeatures {
        signal,
        snr,
        noise: details.noise,
        mean: histogram.mean,
        min: histogram.min,
        max: histogram.max,
        at_max_fraction: (histogram.n_at_max as f64 / histogram.n_pixels as f64) as f32,
        code: Code256::of_blocks(&blocks),
        energies: details.energies,
        quantiles: std::array::from_fn(|k| histogram.quantile(fraction(k))),
        fingerprints: Fingerprints::of(&rows),
    }
}

/// Bytes that are not features of this version.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FeatureBytesError {
    /// Made by another version of the method.
    #[error("expected features of version {FEATURES_VERSION}, found version {0}")]
    Version(u16),
    /// Too short, too long, or of impossible content.
    #[error("expected {N_BYTES} bytes of features, found {0} bytes or a value that cannot be")]
    Malformed(usize),
}

impl PlaneFeatures {
    /// Whether the plane shows nothing, and so is never grouped by its looks.
    pub fn is_blank(&self) -> bool {
        self.signal != Signal::Structured
    }

    /// The features as 291 bytes: version, signal, numbers, code, fingerprints; little-endian.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(N_BYTES);
        bytes.extend(FEATURES_VERSION.to_le_bytes());
        bytes.push(self.signal as u8);
        let figures = [self.snr, self.noise, self.mean, self.min, self.max, self.at_max_fraction];
        let numbers = figures.iter().chain(self.energies.as_flattened()).chain(&self.quantiles);
        numbers.for_each(|number| bytes.extend(number.to_le_bytes()));
        bytes.extend(self.code.to_bytes());
        bytes.extend(self.fingerprints.0.map(u32::to_le_bytes).as_flattened());
        bytes
    }

    /// The inverse of [`Self::to_bytes`].
    ///
    /// # Errors
    /// For another version, another length, or numbers that are not finite.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, FeatureBytesError> {
        let malformed = FeatureBytesError::Malformed(bytes.len());
        let Some((version, rest)) = bytes.split_first_chunk() else { return Err(malformed) };
        let version = u16::from_le_bytes(*version);
        if version != FEATURES_VERSION {
            return Err(FeatureBytesError::Version(version));
        }
        if bytes.len() != N_BYTES {
            return Err(malformed);
        }
        let signal = match rest[0] {
            0 => Signal::Constant,
            1 => Signal::NoSignal,
            2 => Signal::Structured,
            _ => return Err(malformed),
        };
        let (numbers, rest) = rest[1..].split_at(4 * N_FLOATS);
        let (code, marks) = rest.split_at(32);
        let number = |place: usize| f32::from_le_bytes(std::array::from_fn(|byte| numbers[4 * place + byte]));
        if !(0..N_FLOATS).all(|place| number(place).is_finite()) {
            return Err(malformed);
        }
        Ok(Self {
            signal,
            snr: number(0),
            noise: number(1),
            mean: number(2),
            min: number(3),
            max: number(4),
            at_max_fraction: number(5),
            energies: std::array::from_fn(|scale| std::array::from_fn(|band| number(6 + 3 * scale + band))),
            quantiles: std::array::from_fn(|k| number(6 + 3 * N_SCALES + k)),
            code: Code256::from_bytes(std::array::from_fn(|byte| code[byte])),
            fingerprints: Fingerprints(std::array::from_fn(|mark| {
                u32::from_le_bytes(std::array::from_fn(|byte| marks[4 * mark + byte]))
            })),
        })
    }
}

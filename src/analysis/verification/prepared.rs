//! A plane made ready for comparisons: what does not depend on the other plane is computed once.

use std::borrow::Cow;
use std::cmp::Ordering;

use super::compression::Quantisation;
use super::grey_image::Image;
use super::shift::pyramid;
use crate::analysis::hashing::PlaneFeatures;
use crate::formats::{Plane, Samples};
use crate::units::SampleType::{Float16, Float32, Float64};

/// The smallest level of a pyramid has sides of at least this many pixels.
const SIDE_LEAST: usize = 8;

/// A plane as the verification needs it.
#[derive(Debug, Clone)]
pub struct Prepared {
    pub(super) features: PlaneFeatures,
    /// The whole image, then each half as large as the one before.
    levels: Vec<Image>,
    /// The step of the grey values: that of integers, divided among the colours of a mean.
    pub(super) step: f64,
    /// How a JPEG rounded it; `None` where it did not, as far as can be seen.
    pub(super) quantisation: Option<Quantisation>,
    sample_bytes: usize,
}

impl Prepared {
    /// Reads grey values and halves them again and again; takes a third more than four bytes a pixel.
    pub fn new(plane: &Plane, features: PlaneFeatures) -> Self {
        let image = Image::of_plane(plane);
        let shortest = image.height.min(image.width).max(1);
        let n_levels = (shortest / SIDE_LEAST).max(1).ilog2() as usize + 1;
        let sample_type = plane.samples.sample_type();
        let step = match sample_type {
            Float16 | Float32 | Float64 => 0.0,
            _ if plane.n_samples >= 3 => 1.0 / 3.0,
            _ => 1.0,
        };
        let is_byte = matches!(plane.samples, Samples::Uint8(_)) && plane.n_samples == 1;
        let quantisation = if is_byte { Quantisation::of(&image) } else { None };
        let levels = pyramid(image, n_levels);
        Self { features, levels, step, quantisation, sample_bytes: sample_type.size_bytes() }
    }

    /// Bytes that it holds.
    pub fn size_bytes(&self) -> usize {
        size_of::<Self>() + self.levels.iter().map(|level| 4 * level.values.len()).sum::<usize>()
    }

    pub(super) fn image(&self) -> &Image {
        &self.levels[0]
    }

    /// Rows and columns.
    pub fn shape(&self) -> (usize, usize) {
        self.image().shape()
    }

    /// The first `n` levels.
    pub(super) fn levels(&self, n: usize) -> Cow<'_, [Image]> {
        match self.levels.get(..n) {
            Some(levels) => Cow::Borrowed(levels),
            None => Cow::Owned(pyramid(self.image().clone(), n)),
        }
    }

    /// The smallest level whose sides have at least so many pixels, or the whole.
    pub(super) fn reduced(&self, side: usize) -> &Image {
        let is_large = |level: &&Image| level.height.min(level.width) >= side;
        self.levels.iter().rev().find(is_large).unwrap_or(self.image())
    }

    /// Which plane is looked for in which: the smaller in the larger, of equal sizes the coarser samples in the finer,
    /// then by features and grey values, so that the order of the arguments does not matter.
    pub(super) fn canonical_order(&self, other: &Self) -> Ordering {
        let size = |plane: &Self| (plane.image().values.len(), plane.sample_bytes);
        let values = |plane: &Self| plane.image().values.iter().map(|value| value.to_bits()).collect();
        size(other)
            .cmp(&size(self))
            .then_with(|| self.shape().cmp(&other.shape()))
            .then_with(|| self.features.to_bytes().cmp(&other.features.to_bytes()))
            .then_with(|| {
                let (own, theirs): (Vec<u32>, Vec<u32>) = (values(self), values(other));
                own.cmp(&theirs)
            })
    }
}

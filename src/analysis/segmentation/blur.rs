//! Gaussian blur, separable, of a whole plane (into 16-bit levels) and of small patches.

use rayon::prelude::*;

use super::levels::{Levels, Sample, with_samples};
use super::patch::let_go;
use crate::formats::plane::Plane;

/// A symmetric kernel: `half[0]` is the middle, `half[k]` stands `k` pixels to both sides. Sums to 1.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Kernel {
    half: Vec<f32>,
}

impl Kernel {
    /// A sampled Gaussian, cut at `3 sigma` (at least 1 pixel); `sigma <= 0` is the identity.
    pub(super) fn gaussian(sigma: f64) -> Self {
        if sigma <= 0.0 {
            return Self { half: vec![1.0] };
        }
        let radius = (3.0 * sigma).ceil().max(1.0) as usize;
        let weights: Vec<f64> = (0..=radius).map(|k| (-0.5 * (k as f64 / sigma).powi(2)).exp()).collect();
        let sum = 2.0 * weights.iter().sum::<f64>() - weights[0];
        Self { half: weights.iter().map(|weight| (weight / sum) as f32).collect() }
    }

    /// How many pixels it reaches to each side.
    pub(super) fn radius(&self) -> usize {
        self.half.len() - 1
    }

    /// Filters `padded` (a row with `radius` pixels more at both ends) into `out`.
    fn filter_row(&self, padded: &[f32], out: &mut [f32]) {
        let (radius, n) = (self.radius(), out.len());
        for (out, value) in out.iter_mut().zip(&padded[radius..radius + n]) {
            *out = self.half[0] * value;
        }
        for (k, &weight) in self.half.iter().enumerate().skip(1) {
            let left = &padded[radius - k..radius - k + n];
            let right = &padded[radius + k..radius + k + n];
            for ((out, a), b) in out.iter_mut().zip(left).zip(right) {
                *out += weight * (a + b);
            }
        }
    }
}

/// What the blur leaves of the standard deviation of white noise, 0 to 1.
pub(super) fn noise_gain(sigma: f64) -> f64 {
    let half = Kernel::gaussian(sigma).half;
    let squares = |weight: &f32| f64::from(*weight).powi(2);
    2.0 * half.iter().map(squares).sum::<f64>() - squares(&half[0])
}

/// The blurred plane in levels, rounded to whole ones; the edge pixels are repeated outside.
pub(super) fn blur_plane(plane: &Plane, levels: &Levels, sigma: f64) -> Vec<u16> {
    with_samples!(plane, values => blur_samples(values, plane.width, levels, &Kernel::gaussian(sigma)))
}

/// Rows that one thread blurs.
const BAND_ROWS: usize = 128;

fn blur_samples<T: Sample>(values: &[T], width: usize, levels: &Levels, kernel: &Kernel) -> Vec<u16> {
    if values.is_empty() {
        return Vec::new();
    }
    let mut out = vec![0; values.len()];
    let bands = out.par_chunks_mut(BAND_ROWS * width).enumerate();
    bands.for_each_init(
        || BandBlur::new(width, kernel),
        |blur, (band, out)| blur.blur(values, levels, band * BAND_ROWS, out),
    );
    out
}

/// Blurs some rows of a plane, with buffers that are used again.
struct BandBlur<'a> {
    kernel: &'a Kernel,
    width: usize,
    /// The last rows, filtered along the row.
    ring: Vec<f32>,
    padded: Vec<f32>,
    sum: Vec<f32>,
}

impl<'a> BandBlur<'a> {
    fn new(width: usize, kernel: &'a Kernel) -> Self {
        let radius = kernel.radius();
        let (ring, padded) = (vec![0.0; (2 * radius + 1) * width], vec![0.0; width + 2 * radius]);
        Self { kernel, width, ring, padded, sum: vec![0.0; width] }
    }

    /// Blurs the rows from `first` on into `out`.
    fn blur<T: Sample>(&mut self, values: &[T], levels: &Levels, first: usize, out: &mut [u16]) {
        let (height, radius) = (values.len() / self.width, self.kernel.radius());
        let mut n_filtered = first.saturating_sub(radius);
        for (y, out) in (first..).zip(out.chunks_exact_mut(self.width)) {
            while n_filtered <= (y + radius).min(height - 1) {
                self.filter(&values[n_filtered * self.width..][..self.width], levels, n_filtered);
                n_filtered += 1;
            }
            self.add_up(y, height);
            for (out, &level) in out.iter_mut().zip(&self.sum) {
                // to i32 first: the only conversion that processors do on several numbers at once
                *out = (level + 0.5) as i32 as u16;
            }
        }
    }

    /// Filters one row into its place in the ring.
    fn filter<T: Sample>(&mut self, row: &[T], levels: &Levels, y: usize) {
        let (radius, width) = (self.kernel.radius(), self.width);
        levels.of_row(row, &mut self.padded[radius..radius + width]);
        let (first, last) = (self.padded[radius], self.padded[radius + width - 1]);
        self.padded[..radius].fill(first);
        self.padded[radius + width..].fill(last);
        let slot = y % (2 * radius + 1);
        self.kernel.filter_row(&self.padded, &mut self.ring[slot * width..(slot + 1) * width]);
    }

    /// Filters along the columns.
    fn add_up(&mut self, y: usize, height: usize) {
        let n_ring = 2 * self.kernel.radius() + 1;
        let row_at = |row: usize| &self.ring[(row % n_ring) * self.width..][..self.width];
        for (sum, value) in self.sum.iter_mut().zip(row_at(y)) {
            *sum = self.kernel.half[0] * value;
        }
        for (k, &weight) in self.kernel.half.iter().enumerate().skip(1) {
            let (above, below) = (row_at(y.saturating_sub(k)), row_at((y + k).min(height - 1)));
            for ((sum, a), b) in self.sum.iter_mut().zip(above).zip(below) {
                *sum += weight * (a + b);
            }
        }
    }
}

/// Pixels of a patch that are filtered together along the columns.
const BLOCK_PX: usize = 1024;

/// Blurs patches that are zero outside, with buffers that are used again.
#[derive(Debug, Default)]
pub(super) struct PatchBlur {
    padded: Vec<f32>,
    rows: Vec<f32>,
}

impl PatchBlur {
    /// Blurs `patch` (`width` pixels a row) in place.
    pub(super) fn blur(&mut self, patch: &mut [f32], width: usize, kernel: &Kernel) {
        let radius = kernel.radius();
        if radius == 0 || patch.is_empty() {
            return;
        }
        let height = patch.len() / width;
        self.padded.clear();
        self.padded.resize(width + 2 * radius, 0.0);
        self.rows.clear();
        self.rows.resize((height + 2 * radius) * width, 0.0);
        let filtered = self.rows[radius * width..].chunks_exact_mut(width);
        for (row, filtered) in patch.chunks_exact(width).zip(filtered) {
            self.padded[radius..radius + width].copy_from_slice(row);
            kernel.filter_row(&self.padded, filtered);
        }
        // as many pixels at once as the nearest cache holds
        for (block, out) in patch.chunks_mut(BLOCK_PX).enumerate() {
            let (n, from) = (out.len(), radius * width + block * BLOCK_PX);
            for (out, value) in out.iter_mut().zip(&self.rows[from..]) {
                *out = kernel.half[0] * value;
            }
            for (k, &weight) in kernel.half.iter().enumerate().skip(1) {
                let above = &self.rows[from - k * width..][..n];
                let below = &self.rows[from + k * width..][..n];
                for ((out, a), b) in out.iter_mut().zip(above).zip(below) {
                    *out += weight * (a + b);
                }
            }
        }
        let_go(&mut self.rows);
    }
}

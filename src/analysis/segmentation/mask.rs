//! The mask of what could be an object: brighter than a floor and brighter than its surroundings.

use rayon::prelude::*;

use super::components::{Run, append_runs};

/// What a pixel must exceed.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct MaskRule {
    /// The level that every object pixel exceeds.
    pub(super) floor: u16,
    /// Side of the square over which the local mean is taken, in pixels; odd, [`WINDOW_MAX`] at most. It is cut at the
    /// image's edge.
    pub(super) window: usize,
}

/// The levels of a window of this side are added up in 32 bits.
pub(super) const WINDOW_MAX: usize = 255;

/// Rows that one thread goes through; each begins by adding up half a window.
const BAND_ROWS: usize = 256;

/// The runs of pixels that exceed the floor and the mean of the window around them, in raster order.
///
/// Sums run along the columns and then along the row: the cost does not depend on the window.
pub(super) fn mask_runs(levels: &[u16], width: usize, rule: MaskRule) -> Vec<Run> {
    let n_bands = (levels.len() / width.max(1)).div_ceil(BAND_ROWS);
    let bands = (0..n_bands).into_par_iter();
    let bands: Vec<Vec<Run>> = bands.map(|band| Band::new(levels, width, rule).runs(band)).collect();
    bands.concat()
}

/// Goes down some rows of the plane.
struct Band<'a> {
    levels: &'a [u16],
    height: usize,
    width: usize,
    floor: u16,
    reach: usize,
    /// The window's sum in each column.
    columns: Vec<u32>,
    /// Sums of `columns` before each column, modulo 2^32: differences are those of a window.
    before: Vec<u32>,
    mask: Vec<u8>,
}

impl<'a> Band<'a> {
    fn new(levels: &'a [u16], width: usize, rule: MaskRule) -> Self {
        debug_assert!(rule.window <= WINDOW_MAX, "sums of 32 bits");
        let (columns, before, mask) = (vec![0; width], vec![0; width + 1], vec![0; width]);
        let (height, reach) = (levels.len() / width, rule.window / 2);
        Self { levels, height, width, floor: rule.floor, reach, columns, before, mask }
    }

    fn row(&self, y: usize) -> &'a [u16] {
        &self.levels[y * self.width..][..self.width]
    }

    fn runs(mut self, band: usize) -> Vec<Run> {
        let (first, end) = (band * BAND_ROWS, ((band + 1) * BAND_ROWS).min(self.height));
        for y in first.saturating_sub(self.reach)..(first + self.reach).min(self.height) {
            self.add_row(y);
        }
        let mut runs = Vec::new();
        for y in first..end {
            if y + self.reach < self.height {
                self.add_row(y + self.reach);
            }
            if y > first && y > self.reach {
                let left = self.row(y - self.reach - 1);
                self.columns.iter_mut().zip(left).for_each(|(column, &level)| *column -= u32::from(level));
            }
            if self.row(y).iter().copied().max().is_some_and(|level| level > self.floor) {
                self.mark(y);
                append_runs(&mut runs, &self.mask, y);
            }
        }
        runs
    }

    fn add_row(&mut self, y: usize) {
        let row = self.row(y);
        self.columns.iter_mut().zip(row).for_each(|(column, &level)| *column += u32::from(level));
    }

    /// Marks the pixels of a row that exceed floor and mean.
    fn mark(&mut self, y: usize) {
        let mut sum = 0_u32;
        for (before, &column) in self.before[1..].iter_mut().zip(&self.columns) {
            sum = sum.wrapping_add(column);
            *before = sum;
        }
        let (width, reach, floor) = (self.width, self.reach, self.floor);
        let n_rows = ((y + reach).min(self.height - 1) - y.saturating_sub(reach) + 1) as u32;
        let row = self.row(y);
        let mut mark_cut = |x: usize| {
            let (left, right) = (x.saturating_sub(reach), (x + reach + 1).min(width));
            let sum = self.before[right].wrapping_sub(self.before[left]);
            let is_above = u32::from(row[x]) * (n_rows * (right - left) as u32) > sum;
            self.mask[x] = u8::from(row[x] > floor && is_above);
        };
        let (first, last) = (reach.min(width), width.saturating_sub(reach).max(reach.min(width)));
        (0..first).chain(last..width).for_each(&mut mark_cut);
        // away from the edges the window has one size
        let n = n_rows * (2 * reach + 1) as u32;
        let inner = first..last;
        let sums = self.before.get(2 * reach + 1..).unwrap_or_default().iter().zip(&self.before);
        let pixels = self.mask[inner.clone()].iter_mut().zip(&row[inner]).zip(sums);
        for ((mask, &level), (right, left)) in pixels {
            let is_above = u32::from(level) * n > right.wrapping_sub(*left);
            *mask = u8::from(level > floor) & u8::from(is_above);
        }
    }
}

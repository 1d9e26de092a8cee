//! Exact Euclidean distance to the edge of a patch, squared, in integers.

use std::ops::Range;

use super::components::find_from;
use super::patch::{Patch, let_go};

/// Farther than any edge that matters: distances above it are cut to it.
const FAR: u16 = 30_000;

/// Finds squared distances, with buffers that are used again.
#[derive(Debug, Default)]
pub(super) struct DistanceTransform {
    vertical: Vec<u16>,
    depths: Vec<i64>,
    envelope: Vec<(i64, i64)>,
    padded: Vec<i16>,
    nearest: Vec<i16>,
}

/// Up to this distance along the columns every neighbour along the row is tried: the loops are simple enough to run on
/// many pixels at once. Farther, the envelope is faster.
const NEAR_MAX: u16 = 48;

/// Pixels that are done together while they are near: they and their neighbours stay in the nearest cache.
const BLOCK_PX: usize = 4096;

impl DistanceTransform {
    /// Writes the squared distance of each pixel of the patch to the nearest pixel that does not belong to it, 0
    /// outside. What lies beyond the plane's edge is unknown, hence no edge.
    ///
    /// # References
    /// A. Meijster, J. Roerdink, W. Hesselink, A general algorithm for computing distance transforms in linear
    /// time (2000): columns first, then the lower envelope of parabolas along each row.
    pub(super) fn squared(&mut self, patch: &Patch, out: &mut Vec<u32>) {
        out.clear();
        out.resize(patch.mask.len(), 0);
        self.measure_columns(patch);
        let stride = patch.stride;
        let n_together = (BLOCK_PX / stride).max(1);
        for first in (1..patch.rows - 1).step_by(n_together) {
            let rows = first..(first + n_together).min(patch.rows - 1);
            let farthest =
                self.vertical[rows.start * stride..rows.end * stride].iter().copied().max().unwrap_or(0);
            let is_closed = !patch.outside[1] && !patch.outside[3];
            if is_closed && farthest <= NEAR_MAX {
                self.try_neighbours(rows.start * stride..rows.end * stride, usize::from(farthest), out);
            } else {
                rows.for_each(|row| self.lay_envelopes(row, patch, out));
            }
        }
        let_go(&mut self.vertical);
    }

    /// Distance to the edge along the column.
    fn measure_columns(&mut self, patch: &Patch) {
        let stride = patch.stride;
        self.vertical.clear();
        self.vertical.resize(patch.mask.len(), 0);
        let edge = |is_outside: bool| if is_outside { FAR } else { 0 };
        self.vertical[..stride].fill(edge(patch.outside[0]));
        for row in 1..patch.rows - 1 {
            let (above, here) = self.vertical.split_at_mut(row * stride);
            let mask = &patch.mask[row * stride..][..stride];
            for ((here, above), &mask) in here.iter_mut().zip(&above[(row - 1) * stride..]).zip(mask) {
                *here = (above + 1).min(FAR) * u16::from(mask);
            }
        }
        let last = (patch.rows - 1) * stride;
        self.vertical[last..].fill(edge(patch.outside[2]));
        for row in (1..patch.rows - 1).rev() {
            let (here, below) = self.vertical.split_at_mut((row + 1) * stride);
            for (here, below) in here[row * stride..].iter_mut().zip(&below[..stride]) {
                *here = (*here).min(below + 1);
            }
        }
    }

    /// The least over all pixels of the row that can be nearer than `farthest`, the greatest distance along the columns;
    /// `rows` are whole rows. What is beyond a row's ends needs no look: the margin is nearer, and an edge.
    fn try_neighbours(&mut self, rows: Range<usize>, farthest: usize, out: &mut [u32]) {
        let n = rows.len();
        self.padded.clear();
        self.padded.resize(farthest, 0);
        let squares = self.vertical[rows.clone()].iter().map(|&distance| distance as i16 * distance as i16);
        self.padded.extend(squares);
        self.padded.resize(n + 2 * farthest, 0);
        self.nearest.clear();
        self.nearest.extend_from_slice(&self.padded[farthest..farthest + n]);
        let mut greatest = i16::MAX;
        for distance in 1..=farthest {
            let squared = (distance * distance) as i16;
            if squared >= greatest {
                break;
            }
            let (left, right) =
                (&self.padded[farthest - distance..][..n], &self.padded[farthest + distance..][..n]);
            greatest = 0;
            for ((nearest, left), right) in self.nearest.iter_mut().zip(left).zip(right) {
                *nearest = (*nearest).min((*left).min(*right) + squared);
                greatest = greatest.max(*nearest);
            }
        }
        for (out, &nearest) in out[rows].iter_mut().zip(&self.nearest) {
            *out = u32::from(nearest as u16);
        }
    }

    /// The runs of one row, one after the other.
    fn lay_envelopes(&mut self, row: usize, patch: &Patch, out: &mut [u32]) {
        let stride = patch.stride;
        let mask = &patch.mask[row * stride..][..stride];
        let mut start = find_from(mask, 1, 1);
        while start < stride {
            let end = find_from(mask, start, 0);
            let open_left = start == 1 && patch.outside[1];
            let open_right = end == stride - 1 && patch.outside[3];
            self.lay_envelope(row * stride + start..row * stride + end, [open_left, open_right], out);
            start = find_from(mask, end, 1);
        }
    }

    /// Lower envelope of the parabolas of one run.
    fn lay_envelope(&mut self, run: Range<usize>, open: [bool; 2], out: &mut [u32]) {
        let n = run.len() as i64;
        let (first, last) = (-i64::from(!open[0]), n - i64::from(open[1]));
        // place x of the run, from -1 to n, is depths[x + 1]
        self.depths.clear();
        self.depths.push(0);
        self.depths.extend(self.vertical[run.clone()].iter().map(|&distance| i64::from(distance).pow(2)));
        self.depths.push(0);
        let depth = |x: i64| self.depths[(x + 1) as usize];
        // (place of the parabola, first place where it is the lowest)
        self.envelope.clear();
        self.envelope.push((first, first));
        for x in first + 1..=last {
            let height = depth(x);
            while let Some(&(other, from)) = self.envelope.last() {
                if (from - other).pow(2) + depth(other) > (from - x).pow(2) + height {
                    self.envelope.pop();
                    continue;
                }
                let crossing =
                    (x * x - other * other + height - depth(other)).div_euclid(2 * (x - other)) + 1;
                if crossing <= last {
                    self.envelope.push((x, crossing));
                }
                break;
            }
            if self.envelope.is_empty() {
                self.envelope.push((x, first));
            }
        }
        let mut end = n;
        for &(place, from) in self.envelope.iter().rev() {
            let (from, lowest) = (from.max(0), depth(place));
            for x in from..end {
                let squared = (x - place).pow(2) + lowest;
                out[run.start + x as usize] = squared.min(i64::from(FAR).pow(2)) as u32;
            }
            end = end.min(from);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::analysis::segmentation::components::{Run, append_runs};

    /// The definition: over all pixels of the plane that do not belong.
    fn brute_force(mask: &[u8], width: usize) -> Vec<u32> {
        let squared = |a: usize, b: usize| {
            (a / width).abs_diff(b / width).pow(2) as u32 + (a % width).abs_diff(b % width).pow(2) as u32
        };
        let nearest = |pixel: usize| {
            (0..mask.len()).filter(|&other| mask[other] == 0).map(|other| squared(pixel, other)).min()
        };
        (0..mask.len()).map(|pixel| nearest(pixel).unwrap_or(0)).collect()
    }

    proptest! {
        #[test]
        fn distances_are_exact(width in 1_usize..24, rows in prop::collection::vec(any::<u32>(), 1..20)) {
            // dense masks (three quarters) make large distances; one pixel at least is outside
            let mut mask: Vec<u8> = rows
                .iter()
                .flat_map(|bits| (0..width).map(move |x| u8::from((bits | bits.rotate_left(7)) >> x & 1 == 1)))
                .collect();
            mask[0] = 0;
            let mut runs: Vec<Run> = Vec::new();
            for (row, mask) in mask.chunks_exact(width).enumerate() {
                append_runs(&mut runs, mask, row);
            }
            prop_assume!(!runs.is_empty());
            let mut patch = Patch::default();
            patch.draw(&runs, rows.len(), width);
            let mut squared = Vec::new();
            DistanceTransform::default().squared(&patch, &mut squared);
            let expected = brute_force(&mask, width);
            for (index, row) in patch.plane_rows(width) {
                prop_assert_eq!(&squared[index..index + row.len()], &expected[row]);
            }
        }
    }

    #[test]
    fn a_patch_without_an_edge_is_far_from_it() {
        let runs = [Run { row: 0, start: 0, end: 3 }, Run { row: 1, start: 0, end: 3 }];
        let mut patch = Patch::default();
        patch.draw(&runs, 2, 3);
        let mut squared = Vec::new();
        DistanceTransform::default().squared(&patch, &mut squared);
        assert!(
            patch.plane_rows(3).all(|(index, _)| squared[index..index + 3] == [u32::from(FAR).pow(2); 3])
        );
    }
}

//! Splits a surface into the catchment basins of its peaks: h-maxima, markers and watershed at once.

use super::components::root;
use super::patch::{Span, let_go};

/// Heights lie below this.
pub(super) const HEIGHT_END: u32 = 1 << 30;

/// Splits surfaces, with buffers that are used again.
#[derive(Debug, Default)]
pub(super) struct Watershed {
    /// Where each pixel climbs to; a peak climbs to itself.
    parents: Vec<u32>,
    passes: Vec<Pass>,
}

/// Where two basins touch. Sorted from high to low.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Pass {
    /// `u32::MAX` less the height of the pass.
    fall: u32,
    peaks: [u32; 2],
}

/// What is split.
#[derive(Debug, Clone, Copy)]
pub(super) struct Surface<'a> {
    pub(super) heights: &'a [u32],
    pub(super) stride: usize,
    /// Where it is above 0.
    pub(super) spans: &'a [Span],
}

impl Watershed {
    /// Labels each pixel above 0 of `surface` with its basin, `1..=n` in raster order of the first pixel, and
    /// returns `n`. The surface has heights below [`HEIGHT_END`] and a margin of zeros.
    ///
    /// Each pixel climbs to its highest neighbour of eight, of equal ones to the first in raster order, up to a peak. Then
    /// the passes between peaks are taken from high to low: the lower of the two peaks is swallowed by the other one if it
    /// rises less than `depth` (at least 1) above the pass. What is left are the maxima of dynamics `depth` and their
    /// catchment basins.
    ///
    /// # References
    /// F. Meyer, Topographic distance and watershed lines, Signal Processing 38 (1994): basins by steepest ascent;
    /// M. Grimaud, A new measure of contrast: the dynamics, SPIE 1769 (1992).
    pub(super) fn split(&mut self, surface: Surface<'_>, depth: u32, labels: &mut Vec<u32>) -> u32 {
        self.climb(surface.heights, surface.stride);
        labels.clear();
        labels.resize(surface.heights.len(), 0);
        let n = if self.find_peaks(surface.spans) == 1 {
            surface.spans.iter().for_each(|span| labels[span.range()].fill(1));
            1
        } else {
            self.find_passes(surface);
            self.merge(surface.heights, depth.max(1));
            self.number(surface.spans, labels)
        };
        let_go(&mut self.parents);
        let_go(&mut self.passes);
        n
    }

    /// One step up from every pixel. Plain enough that several pixels are done at once.
    fn climb(&mut self, surface: &[u32], stride: usize) {
        self.parents.clear();
        self.parents.resize(surface.len(), 0);
        let wide = stride as i32;
        // margins climb, too, and nobody asks where to
        let from = stride + 1;
        let n = surface.len() - 2 * from;
        let [above, here, below] = [0, stride, 2 * stride].map(|start| &surface[start..][..n + 2]);
        // neighbours that come before the pixel win against it when they are equal
        let earlier =
            [(&above[..n], -wide - 1), (&above[1..=n], -wide), (&above[2..], 1 - wide), (&here[..n], -1)];
        let later =
            [(&here[2..], 1), (&below[..n], wide - 1), (&below[1..=n], wide), (&below[2..], wide + 1)];
        let here = &here[1..=n];
        for (x, parent) in self.parents[from..from + n].iter_mut().enumerate() {
            let (mut best, mut step) = ((here[x] as i32) << 1, 0);
            for (heights, to) in earlier {
                let key = (heights[x] as i32) << 1 | 1;
                (best, step) = if key > best { (key, to) } else { (best, step) };
            }
            best &= !1;
            for (heights, to) in later {
                let key = (heights[x] as i32) << 1;
                (best, step) = if key > best { (key, to) } else { (best, step) };
            }
            *parent = ((from + x) as i32 + step) as u32;
        }
    }

    /// Follows every pixel to its peak; returns how many peaks there are.
    fn find_peaks(&mut self, spans: &[Span]) -> usize {
        let mut n = 0;
        for pixel in spans.iter().flat_map(|span| span.range()) {
            let mut peak = pixel as u32;
            while self.parents[peak as usize] != peak {
                peak = self.parents[peak as usize];
            }
            n += usize::from(peak == pixel as u32);
            let mut below = pixel as u32;
            while below != peak {
                below = std::mem::replace(&mut self.parents[below as usize], peak);
            }
        }
        n
    }

    /// Collects where pixels of two peaks touch.
    fn find_passes(&mut self, Surface { heights, stride, spans }: Surface<'_>) {
        self.passes.clear();
        for pixel in spans.iter().flat_map(|span| span.range()) {
            let peak = self.parents[pixel];
            for other in [pixel - stride - 1, pixel - stride, pixel - stride + 1, pixel - 1] {
                if self.parents[other] != peak && heights[other] > 0 {
                    let fall = u32::MAX - heights[pixel].min(heights[other]);
                    let peaks = [peak.min(self.parents[other]), peak.max(self.parents[other])];
                    self.passes.push(Pass { fall, peaks });
                }
            }
        }
        self.passes.sort_unstable();
    }

    fn merge(&mut self, surface: &[u32], depth: u32) {
        let rank = |peak: u32| (surface[peak as usize], std::cmp::Reverse(peak));
        for Pass { fall, peaks } in &self.passes {
            let [a, b] = peaks.map(|peak| root(&mut self.parents, peak));
            let (low, high) = if rank(a) < rank(b) { (a, b) } else { (b, a) };
            if low != high && surface[low as usize] - (u32::MAX - fall) < depth {
                self.parents[low as usize] = high;
            }
        }
    }

    fn number(&mut self, spans: &[Span], labels: &mut [u32]) -> u32 {
        let mut n = 0;
        let (mut last, mut label) = (u32::MAX, 0);
        for pixel in spans.iter().flat_map(|span| span.range()) {
            // pixels of one peak lie together
            let peak = self.parents[pixel];
            if peak != last {
                let basin = root(&mut self.parents, peak) as usize;
                if labels[basin] == 0 {
                    n += 1;
                    labels[basin] = n;
                }
                (last, label) = (peak, labels[basin]);
            }
            labels[pixel] = label;
        }
        n
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn split_surface(heights: &[u32], stride: usize, depth: u32) -> (u32, Vec<u32>) {
        let pixels = (0..heights.len()).filter(|&pixel| heights[pixel] > 0);
        let spans: Vec<Span> = pixels.map(|pixel| Span { start: pixel, end: pixel + 1 }).collect();
        let mut labels = Vec::new();
        let n = Watershed::default().split(Surface { heights, stride, spans: &spans }, depth, &mut labels);
        (n, labels)
    }

    fn split(row: &[u32], depth: u32) -> (u32, Vec<u32>) {
        let stride = row.len() + 2;
        let mut surface = vec![0; 3 * stride];
        surface[stride + 1..][..row.len()].copy_from_slice(row);
        let (n, labels) = split_surface(&surface, stride, depth);
        (n, labels[stride + 1..][..row.len()].to_vec())
    }

    #[test]
    fn peaks_are_split_by_the_depth_of_the_pass_between_them() {
        let row = [1, 5, 9, 6, 4, 7, 3, 8, 2];
        assert_eq!(split(&row, 1), (3, vec![1, 1, 1, 1, 2, 2, 3, 3, 3]));
        assert_eq!(split(&row, 4), (2, vec![1, 1, 1, 1, 1, 1, 2, 2, 2]));
        assert_eq!(split(&row, 5), split(&row, 4));
        assert_eq!(split(&row, 6), (1, vec![1; 9]));
    }

    #[test]
    fn a_plateau_is_one_basin_and_gaps_separate() {
        assert_eq!(split(&[3, 3, 3, 0, 3, 3], 0), (2, vec![1, 1, 1, 0, 2, 2]));
        assert_eq!(split(&[0, 0], 1), (0, vec![0, 0]));
        assert_eq!(split(&[HEIGHT_END - 1, 1, HEIGHT_END - 1], HEIGHT_END).0, 1);
    }

    #[test]
    fn a_plateau_in_the_form_of_a_cup_is_one_basin() {
        // its two upper ends come first, and neither has an equal neighbour before it
        let rows = [[0, 0, 0, 0, 0], [0, 3, 1, 3, 0], [0, 3, 3, 3, 0], [0, 0, 0, 0, 0]];
        assert_eq!(split_surface(&rows.concat(), 5, 1).0, 1);
    }
}

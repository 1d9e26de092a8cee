//! Flooding from the peaks down: h-maxima, markers and watershed in one sorted pass.

use super::components::root;
use super::patch::let_go;

/// Splits a surface into the basins of its peaks, with buffers that are used again.
#[derive(Debug, Default)]
pub(super) struct Flooding {
    order: Vec<u32>,
    counts: Vec<u32>,
    parents: Vec<u32>,
}

impl Flooding {
    /// Labels each pixel above 0 of `surface` with its basin, `1..=n` in raster order of the first pixel, and
    /// returns `n`. The surface has `stride` pixels a row and a margin of zeros.
    ///
    /// Pixels come from high to low, equal ones in raster order; each joins its highest neighbour's basin. Where two
    /// basins meet, the one whose peak is lower is swallowed if that peak rises less than `depth` (at least 1)
    /// above the pass: what is left are the maxima of dynamics `depth` and their catchment basins.
    ///
    /// # References
    /// M. Grimaud, A new measure of contrast: the dynamics, SPIE 1769 (1992); L. Najman, M. Couprie, Building the
    /// component tree in quasi-linear time, IEEE Trans. Image Process. 15 (2006).
    pub(super) fn flood(&mut self, surface: &[u16], stride: usize, depth: u16, labels: &mut Vec<u32>) -> u32 {
        self.sort(surface);
        self.parents.clear();
        self.parents.resize(surface.len(), 0);
        let depth = depth.max(1);
        for position in 0..self.order.len() {
            self.add(self.order[position] as usize, surface, stride, depth);
        }
        let_go(&mut self.order);
        let n = self.number(surface, labels);
        let_go(&mut self.parents);
        n
    }

    /// Counting sort, high to low.
    fn sort(&mut self, surface: &[u16]) {
        let top = usize::from(surface.iter().copied().max().unwrap_or(0));
        self.counts.clear();
        self.counts.resize(top + 1, 0);
        for &height in surface {
            self.counts[usize::from(height)] += 1;
        }
        let mut n = 0;
        for count in self.counts[1..].iter_mut().rev() {
            n += std::mem::replace(count, n);
        }
        self.order.clear();
        self.order.resize(n as usize, 0);
        for (index, &height) in surface.iter().enumerate() {
            if height > 0 {
                let place = &mut self.counts[usize::from(height)];
                self.order[*place as usize] = index as u32;
                *place += 1;
            }
        }
    }

    fn add(&mut self, pixel: usize, surface: &[u16], stride: usize, depth: u16) {
        let neighbours = [
            pixel - stride - 1,
            pixel - stride,
            pixel - stride + 1,
            pixel - 1,
            pixel + 1,
            pixel + stride - 1,
            pixel + stride,
            pixel + stride + 1,
        ];
        let mut uphill: Option<(u16, usize)> = None;
        let mut highest: Option<u32> = None;
        let mut is_pass = false;
        for neighbour in neighbours {
            let parent = self.parents[neighbour];
            // the margin's first pixel is 0, which no pixel has as parent: 0 means not yet reached
            if parent == 0 {
                continue;
            }
            if uphill.is_none_or(|(height, _)| surface[neighbour] > height) {
                uphill = Some((surface[neighbour], neighbour));
            }
            if highest == Some(parent) {
                continue;
            }
            let basin = root(&mut self.parents, parent);
            highest = Some(match highest {
                Some(other) if other != basin => {
                    is_pass = true;
                    self.meet(other, basin, surface, surface[pixel].saturating_add(depth - 1))
                }
                _ => basin,
            });
        }
        self.parents[pixel] = match (highest, uphill) {
            (Some(basin), _) if !is_pass => basin,
            (_, Some((_, neighbour))) => root(&mut self.parents, neighbour as u32),
            _ => pixel as u32,
        };
    }

    /// Two basins meet: the lower one is swallowed if its peak is at most `limit`. Returns the higher one.
    fn meet(&mut self, a: u32, b: u32, surface: &[u16], limit: u16) -> u32 {
        let rank = |basin: u32| (surface[basin as usize], std::cmp::Reverse(basin));
        let (low, high) = if rank(a) < rank(b) { (a, b) } else { (b, a) };
        if surface[low as usize] <= limit {
            self.parents[low as usize] = high;
        }
        high
    }

    fn number(&mut self, surface: &[u16], labels: &mut Vec<u32>) -> u32 {
        labels.clear();
        labels.resize(surface.len(), 0);
        let mut n = 0;
        for index in 0..surface.len() {
            if surface[index] > 0 {
                let basin = root(&mut self.parents, index as u32) as usize;
                if labels[basin] == 0 {
                    n += 1;
                    labels[basin] = n;
                }
                labels[index] = labels[basin];
            }
        }
        n
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flooded(row: &[u16], depth: u16) -> (u32, Vec<u32>) {
        let stride = row.len() + 2;
        let mut surface = vec![0; 3 * stride];
        surface[stride + 1..][..row.len()].copy_from_slice(row);
        let mut labels = Vec::new();
        let n = Flooding::default().flood(&surface, stride, depth, &mut labels);
        (n, labels[stride + 1..][..row.len()].to_vec())
    }

    #[test]
    fn peaks_are_split_by_the_depth_of_the_pass_between_them() {
        let row = [1, 5, 9, 6, 4, 7, 3, 8, 2];
        assert_eq!(flooded(&row, 1), (3, vec![1, 1, 1, 1, 2, 2, 3, 3, 3]));
        assert_eq!(flooded(&row, 4), (2, vec![1, 1, 1, 1, 1, 1, 2, 2, 2]));
        assert_eq!(flooded(&row, 5), flooded(&row, 4));
        assert_eq!(flooded(&row, 6), (1, vec![1; 9]));
    }

    #[test]
    fn a_plateau_is_one_basin_and_gaps_separate() {
        assert_eq!(flooded(&[3, 3, 3, 0, 3, 3], 0), (2, vec![1, 1, 1, 0, 2, 2]));
        assert_eq!(flooded(&[0, 0], 1), (0, vec![0, 0]));
        assert_eq!(flooded(&[u16::MAX, 1, u16::MAX], u16::MAX).0, 1);
    }
}

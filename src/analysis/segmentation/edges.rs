//! How far a component stands above what surrounds it.

use super::chain::LevelImage;
use super::components::Run;
use super::patch::Patch;

/// So many pixels of a line's inside are averaged at most.
const INNER_MAX: usize = 25;

/// Measures steps at the edges of components, with buffers that are used again.
#[derive(Debug, Default)]
pub(super) struct Edges {
    steps: Vec<i32>,
    /// Sums of the levels above each pixel of the patch, along the column.
    sums: Vec<u32>,
    /// Where the line of the component that is open in each column began.
    begun: Vec<u32>,
}

/// A component's brightness, in levels.
#[derive(Debug, Clone, Copy)]
pub(super) struct Contrast {
    /// Mean level.
    pub(super) mean: f64,
    /// Median of the steps over all lines along rows and columns: the mean level of the pixels next to an end of the line (up
    /// to 25) less the level two pixels and a quarter of that length beyond it; `None` where all such pixels lie outside
    /// the plane or in the component.
    pub(super) step: Option<f64>,
}

impl Edges {
    /// Measures the component that `patch` was drawn from.
    pub(super) fn measure(&mut self, patch: &Patch, runs: &[Run], image: LevelImage<'_>) -> Contrast {
        self.steps.clear();
        let total = self.measure_rows(patch, runs, image);
        self.measure_columns(patch, image);
        let middle = self.steps.len() / 2;
        let has_steps = !self.steps.is_empty();
        let step = has_steps.then(|| f64::from(*self.steps.select_nth_unstable(middle).1));
        Contrast { mean: total as f64 / patch.area as f64, step }
    }

    /// Appends the steps along the rows; returns the sum of all levels.
    fn measure_rows(&mut self, patch: &Patch, runs: &[Run], image: LevelImage<'_>) -> u64 {
        let mut total = 0_u64;
        for run in runs {
            let (row, start, end) = (run.row as usize, run.start as usize, run.end as usize);
            let levels = &image.levels[row * image.width..][..image.width];
            let sum =
                |from: usize, to: usize| levels[from..to].iter().map(|&level| u32::from(level)).sum::<u32>();
            let (n, reach) = inner_and_reach(end - start);
            let outer = |place: usize| (!patch.holds(row, place)).then(|| levels[place]);
            let before = start.checked_sub(reach).and_then(outer);
            let after = Some(end - 1 + reach).filter(|&place| place < image.width).and_then(outer);
            self.push(sum(start, start + n), n, before);
            self.push(sum(end - n, end), n, after);
            total += levels[start..end].iter().map(|&level| u64::from(level)).sum::<u64>();
        }
        total
    }

    /// Appends the steps along the columns.
    fn measure_columns(&mut self, patch: &Patch, image: LevelImage<'_>) {
        let stride = patch.stride;
        self.add_up(patch, image);
        self.begun.clear();
        self.begun.resize(stride, 0);
        for row in 1..patch.rows {
            let mut x = 0;
            loop {
                let (above, here) = patch.mask[(row - 1) * stride..].split_at(stride);
                x = find_change(above, &here[..stride], x);
                if x == stride {
                    break;
                }
                if here[x] == 1 {
                    self.begun[x] = row as u32;
                } else {
                    self.measure_line(x, self.begun[x] as usize..row, patch, image);
                }
                x += 1;
            }
        }
    }

    /// Sums of the levels along the columns of the patch.
    fn add_up(&mut self, patch: &Patch, image: LevelImage<'_>) {
        let stride = patch.stride;
        self.sums.clear();
        self.sums.resize(stride * patch.rows, 0);
        for (index, row) in patch.plane_rows(image.width) {
            let (above, below) = self.sums.split_at_mut(index - 1 + stride);
            let levels = &image.levels[row];
            let below = below[1..].iter_mut().zip(&above[index..]).zip(levels);
            below.for_each(|((below, above), &level)| *below = above.wrapping_add(u32::from(level)));
        }
    }

    /// One line of a column, rows of the patch.
    fn measure_line(&mut self, x: usize, line: std::ops::Range<usize>, patch: &Patch, image: LevelImage<'_>) {
        let (n, reach) = inner_and_reach(line.len());
        let column = patch.left + x - 1;
        // rows of the patch have a margin of one
        let (start, end) = (patch.top + line.start - 1, patch.top + line.end - 1);
        let sum = |from: usize, to: usize| {
            self.sums[to * patch.stride + x].wrapping_sub(self.sums[from * patch.stride + x])
        };
        let outer =
            |row: usize| (!patch.holds(row, column)).then(|| image.levels[row * image.width + column]);
        let before = start.checked_sub(reach).and_then(outer);
        let after = Some(end - 1 + reach).filter(|&row| row < image.height).and_then(outer);
        let inner = [sum(line.start, line.start + n), sum(line.end - n, line.end)];
        self.push(inner[0], n, before);
        self.push(inner[1], n, after);
    }

    fn push(&mut self, sum: u32, n: usize, outer: Option<u16>) {
        if let Some(outer) = outer {
            self.steps.push((sum / n as u32) as i32 - i32::from(outer));
        }
    }
}

/// How many pixels of a line are averaged, and how far beyond its last pixel one looks.
fn inner_and_reach(length: usize) -> (usize, usize) {
    let n = length.min(INNER_MAX);
    (n, 2 + n / 4)
}

/// Where two rows of zeros and ones differ first from `x` on; their length where they do not.
fn find_change(above: &[u8], here: &[u8], mut x: usize) -> usize {
    while let (Some(a), Some(b)) = (above[x..].first_chunk::<8>(), here[x..].first_chunk::<8>()) {
        let differs = u64::from_le_bytes(*a) ^ u64::from_le_bytes(*b);
        if differs != 0 {
            return x + differs.trailing_zeros() as usize / 8;
        }
        x += 8;
    }
    (x..here.len()).find(|&x| above[x] != here[x]).unwrap_or(here.len())
}

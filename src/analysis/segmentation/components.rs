//! Connected components of runs, by union-find.

use rayon::prelude::*;

/// Pixels side by side in one row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Run {
    /// Row.
    pub(super) row: u32,
    /// First column.
    pub(super) start: u32,
    /// Column after the last.
    pub(super) end: u32,
}

/// Appends the runs of the ones of one row of zeros and ones.
pub(super) fn append_runs(runs: &mut Vec<Run>, mask: &[u8], row: usize) {
    let mut x = 0;
    loop {
        let start = find_from(mask, x, 1);
        if start == mask.len() {
            return;
        }
        x = find_from(mask, start, 0);
        runs.push(Run { row: row as u32, start: start as u32, end: x as u32 });
    }
}

/// Where the first pixel of a value (0 or 1) stands from `x` on; the row's length where there is none.
pub(super) fn find_from(mask: &[u8], mut x: usize, value: u8) -> usize {
    const ONES: u64 = u64::MAX / 255;
    // eight pixels at once: a byte that differs from `value` is not zero
    while let Some(eight) = mask[x..].first_chunk::<8>() {
        let differs = u64::from_le_bytes(*eight) ^ (ONES * u64::from(1 - value));
        if differs != 0 {
            return x + differs.trailing_zeros() as usize / 8;
        }
        x += 8;
    }
    mask[x..].iter().position(|&pixel| pixel == value).map_or(mask.len(), |n| x + n)
}

/// Runs sorted by component: components in raster order of their first pixel, runs in raster order within.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Components {
    runs: Vec<Run>,
    /// Where each component's runs start, and the end of the last.
    starts: Vec<u32>,
}

impl Components {
    /// Joins runs (given in raster order) that touch by a pixel's side.
    ///
    /// # References
    /// L. He, Y. Chao, K. Suzuki, A run-based two-scan labeling algorithm, IEEE Trans. Image Process. 17 (2008).
    pub(super) fn of(runs: Vec<Run>) -> Self {
        let mut parents: Vec<u32> = (0..runs.len() as u32).collect();
        let mut above = 0;
        for (index, run) in runs.iter().enumerate() {
            while runs[above].row + 1 < run.row || (runs[above].row < run.row && runs[above].end <= run.start)
            {
                above += 1;
            }
            let mut other = above;
            while other < index && runs[other].row < run.row && runs[other].start < run.end {
                unite(&mut parents, index as u32, other as u32);
                other += 1;
            }
        }
        Self::sorted(runs, &mut parents)
    }

    fn sorted(runs: Vec<Run>, parents: &mut [u32]) -> Self {
        // a root is the least index of its component, so ids come in raster order
        let mut n_components = 0;
        for index in 0..parents.len() {
            let parent = parents[index] as usize;
            if parent == index {
                parents[index] = n_components;
                n_components += 1;
            } else {
                parents[index] = parents[parent];
            }
        }
        let mut starts = vec![0_u32; n_components as usize + 1];
        for &id in parents.iter() {
            starts[id as usize + 1] += 1;
        }
        for id in 1..starts.len() {
            starts[id] += starts[id - 1];
        }
        let mut next = starts.clone();
        let mut sorted = runs.clone();
        for (run, &id) in runs.iter().zip(parents.iter()) {
            sorted[next[id as usize] as usize] = *run;
            next[id as usize] += 1;
        }
        Self { runs: sorted, starts }
    }

    /// The runs of each component.
    pub(super) fn par_iter(&self) -> impl IndexedParallelIterator<Item = &[Run]> {
        self.starts.par_windows(2).map(|ends| &self.runs[ends[0] as usize..ends[1] as usize])
    }

    /// The runs of each component.
    #[cfg(test)]
    pub(super) fn iter(&self) -> impl Iterator<Item = &[Run]> {
        self.starts.windows(2).map(|pair| &self.runs[pair[0] as usize..pair[1] as usize])
    }
}

/// Joins two trees under the smaller root.
pub(super) fn unite(parents: &mut [u32], a: u32, b: u32) {
    let (a, b) = (root(parents, a), root(parents, b));
    parents[a.max(b) as usize] = a.min(b);
}

/// The root of a tree; halves the path on the way.
pub(super) fn root(parents: &mut [u32], mut node: u32) -> u32 {
    while parents[node as usize] != node {
        let above = parents[parents[node as usize] as usize];
        parents[node as usize] = above;
        node = above;
    }
    node
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Components by repeated minimum over side neighbours.
    fn brute_force(mask: &[u8], width: usize) -> Vec<usize> {
        let mut ids: Vec<usize> = (0..mask.len()).collect();
        for _ in 0..mask.len() {
            for pixel in 0..mask.len() {
                for other in [pixel.wrapping_sub(width), pixel + width, pixel + 1, pixel.wrapping_sub(1)] {
                    let is_beside = other < mask.len()
                        && (other % width == pixel % width || other / width == pixel / width);
                    if is_beside && mask[pixel] & mask[other] == 1 {
                        ids[pixel] = ids[pixel].min(ids[other]);
                    }
                }
            }
        }
        ids
    }

    proptest! {
        #[test]
        fn components_are_those_of_the_definition(width in 1_usize..14, rows in prop::collection::vec(any::<u16>(), 1..14)) {
            let mask: Vec<u8> =
                rows.iter().flat_map(|bits| (0..width).map(move |x| (bits >> x & 1) as u8)).collect();
            let mut runs = Vec::new();
            for (row, mask) in mask.chunks_exact(width).enumerate() {
                append_runs(&mut runs, mask, row);
            }
            let expected = brute_force(&mask, width);
            let mut firsts = Vec::new();
            let mut n_pixels = 0;
            for component in Components::of(runs).iter() {
                let pixels: Vec<usize> = component
                    .iter()
                    .flat_map(|run| (run.start..run.end).map(|x| run.row as usize * width + x as usize))
                    .collect();
                prop_assert!(pixels.is_sorted());
                prop_assert!(pixels.iter().all(|&pixel| expected[pixel] == pixels[0]));
                firsts.push(pixels[0]);
                n_pixels += pixels.len();
            }
            prop_assert!(firsts.is_sorted());
            prop_assert_eq!(n_pixels, mask.iter().filter(|&&pixel| pixel == 1).count());
            firsts.dedup();
            let mut all: Vec<usize> = (0..mask.len()).filter(|&pixel| mask[pixel] == 1).map(|pixel| expected[pixel]).collect();
            all.sort_unstable();
            all.dedup();
            prop_assert_eq!(firsts, all);
        }
    }
}

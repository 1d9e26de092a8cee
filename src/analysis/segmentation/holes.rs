//! Fills the holes of a component, run by run.

use super::components::{Run, root, unite};
use super::patch::Patch;

/// Finds holes, with buffers that are used again.
#[derive(Debug, Default)]
pub(super) struct Holes {
    /// Gaps between two runs of a row, in plane coordinates; gap `i` is node `i + 1`.
    gaps: Vec<Run>,
    /// Gaps that touch from row to row have one root; node 0 is the outside.
    parents: Vec<u32>,
    areas: Vec<usize>,
    above: Vec<Gap>,
    here: Vec<Gap>,
}

/// What is not the component between two columns of a row, and its node.
#[derive(Debug, Clone, Copy)]
struct Gap {
    start: u32,
    end: u32,
    node: u32,
}

impl Holes {
    /// Fills the holes (background that no path of side neighbours joins to the outside) of at most `area_max`
    /// pixels. What touches the plane's edge is open. `runs` are those that `patch` was drawn from.
    pub(super) fn fill(&mut self, patch: &mut Patch, runs: &[Run], area_max: usize) {
        if runs.len() == patch.rows - 2 {
            // one run in every row: what is beside it is outside
            return;
        }
        self.link(runs);
        self.areas.clear();
        self.areas.resize(self.parents.len(), 0);
        for (node, gap) in (1_u32..).zip(&self.gaps) {
            self.areas[root(&mut self.parents, node) as usize] += (gap.end - gap.start) as usize;
        }
        for (node, gap) in (1_u32..).zip(&self.gaps) {
            let root = root(&mut self.parents, node);
            if root != 0 && self.areas[root as usize] <= area_max {
                let start = patch.index_of(gap.row as usize, gap.start as usize);
                let n = (gap.end - gap.start) as usize;
                patch.mask[start..start + n].fill(1);
                patch.area += n;
            }
        }
    }

    /// Joins the gaps of neighbouring rows.
    fn link(&mut self, runs: &[Run]) {
        self.gaps.clear();
        self.parents.clear();
        self.parents.push(0);
        self.above.clear();
        self.above.push(Gap { start: 0, end: u32::MAX, node: 0 });
        for row in runs.chunk_by(|a, b| a.row == b.row) {
            self.here.clear();
            self.here.push(Gap { start: 0, end: row[0].start, node: 0 });
            for pair in row.windows(2) {
                let node = self.parents.len() as u32;
                let (start, end) = (pair[0].end, pair[1].start);
                self.parents.push(node);
                self.gaps.push(Run { row: pair[0].row, start, end });
                self.here.push(Gap { start, end, node });
            }
            self.here.push(Gap { start: row[row.len() - 1].end, end: u32::MAX, node: 0 });
            self.join_rows();
            std::mem::swap(&mut self.above, &mut self.here);
        }
        for gap in &self.above {
            unite(&mut self.parents, gap.node, 0);
        }
    }

    fn join_rows(&mut self) {
        let (mut a, mut b) = (0, 0);
        while let (Some(above), Some(here)) = (self.above.get(a), self.here.get(b)) {
            if above.start < here.end && here.start < above.end {
                unite(&mut self.parents, above.node, here.node);
            }
            if above.end <= here.end {
                a += 1;
            } else {
                b += 1;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::analysis::segmentation::components::{Components, append_runs};

    /// What is left of the background when everything that joins to the outside was taken away, by repetition.
    fn holes(mask: &[u8], stride: usize) -> Vec<Vec<usize>> {
        let mut ids: Vec<usize> = (0..mask.len()).collect();
        let is_margin = |pixel: usize| {
            pixel < stride
                || pixel + stride >= mask.len()
                || pixel.is_multiple_of(stride)
                || pixel % stride == stride - 1
        };
        for _ in 0..mask.len() {
            for pixel in (0..mask.len()).filter(|&pixel| mask[pixel] == 0) {
                if is_margin(pixel) {
                    ids[pixel] = 0;
                    continue;
                }
                for other in [pixel - stride, pixel - 1, pixel + 1, pixel + stride] {
                    if mask[other] == 0 {
                        ids[pixel] = ids[pixel].min(ids[other]);
                    }
                }
            }
        }
        let inside = (0..mask.len()).filter(|&pixel| mask[pixel] == 0 && ids[pixel] != 0);
        let mut by_id = std::collections::BTreeMap::<usize, Vec<usize>>::new();
        inside.for_each(|pixel| by_id.entry(ids[pixel]).or_default().push(pixel));
        by_id.into_values().collect()
    }

    proptest! {
        #[test]
        fn holes_are_those_of_the_definition(width in 1_usize..12, rows in prop::collection::vec(any::<u32>(), 1..12), area_max in 0_usize..9) {
            let mut runs = Vec::new();
            for (row, bits) in rows.iter().enumerate() {
                let mask: Vec<u8> = (0..width).map(|x| u8::from((bits | bits.rotate_left(9)) >> x & 1 == 1)).collect();
                append_runs(&mut runs, &mask, row);
            }
            prop_assume!(!runs.is_empty());
            for runs in Components::of(runs).iter() {
                let mut patch = Patch::default();
                patch.draw(runs, rows.len(), width);
                let (mut expected, mut area) = (patch.mask.clone(), patch.area);
                for hole in holes(&patch.mask, patch.stride).into_iter().filter(|hole| hole.len() <= area_max) {
                    area += hole.len();
                    hole.into_iter().for_each(|pixel| expected[pixel] = 1);
                }
                Holes::default().fill(&mut patch, runs, area_max);
                prop_assert_eq!((patch.mask, patch.area), (expected, area));
            }
        }
    }
}

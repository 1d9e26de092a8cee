//! The length of an object's outline.

use super::components::Run;

/// Measures perimeters, with buffers that are used again.
#[derive(Debug, Default)]
pub(super) struct Perimeter {
    /// 1 where a pixel belongs to the object, in its box with a margin of two pixels.
    mask: Vec<u8>,
    /// 1 where a pixel of it has a side neighbour that does not belong.
    border: Vec<u8>,
}

/// How much a border pixel counts by its code: in the lowest part of the word straight steps, then diagonal ones, then
/// corners.
const WEIGHTS: [u64; 64] = weights();
const PART_BITS: u32 = 21;

const fn weights() -> [u64; 64] {
    const STRAIGHT: [usize; 6] = [5, 7, 15, 17, 25, 27];
    const DIAGONAL: [usize; 2] = [21, 33];
    const CORNER: [usize; 2] = [13, 23];
    let mut weights = [0; 64];
    let mut i = 0;
    while i < STRAIGHT.len() {
        weights[STRAIGHT[i]] = 1;
        i += 1;
    }
    i = 0;
    while i < 2 {
        weights[DIAGONAL[i]] = 1 << PART_BITS;
        weights[CORNER[i]] = 1 << (2 * PART_BITS);
        i += 1;
    }
    weights
}

impl Perimeter {
    /// Length of the outline: each border pixel counts by how its border neighbours lie.
    ///
    /// # References
    /// K. Benkrid, D. Crookes, Design and FPGA implementation of a perimeter estimator (2000), as scikit-image
    /// weighs it: 1 for a straight step, sqrt 2 for a diagonal one, their mean for a corner.
    pub(super) fn measure(&mut self, runs: &[Run], [top, left, bottom, right]: [usize; 4]) -> f64 {
        let stride = right - left + 4;
        self.mask.clear();
        self.mask.resize((bottom - top + 4) * stride, 0);
        for run in runs {
            let row = (run.row as usize - top + 2) * stride;
            let [start, end] = [run.start, run.end].map(|column| row + column as usize - left + 2);
            self.mask[start..end].fill(1);
        }
        self.find_border(stride);
        let (mut n_straight, mut n_diagonal, mut n_corner) = (0, 0, 0);
        for row in 2..bottom - top + 2 {
            let sum = self.weigh_row(row, stride);
            let part = |rank: u32| sum >> (rank * PART_BITS) & ((1 << PART_BITS) - 1);
            n_straight += part(0);
            n_diagonal += part(1);
            n_corner += part(2);
        }
        let root = std::f64::consts::SQRT_2;
        n_straight as f64 + n_diagonal as f64 * root + n_corner as f64 * (1.0 + root) / 2.0
    }

    fn find_border(&mut self, stride: usize) {
        self.border.clear();
        self.border.resize(self.mask.len(), 0);
        let n = self.mask.len() - 2 * stride - 2;
        let from = |start: usize| &self.mask[start..start + n];
        let [above, before, here, after, below] =
            [1, stride, stride + 1, stride + 2, 2 * stride + 1].map(from);
        let sides = above.iter().zip(before).zip(after).zip(below);
        let border = self.border[stride + 1..].iter_mut().zip(here).zip(sides);
        for ((border, here), (((above, before), after), below)) in border {
            *border = here & !(above & before & after & below);
        }
    }

    /// The weights of a row's border pixels, added up.
    fn weigh_row(&self, row: usize, stride: usize) -> u64 {
        let n = stride - 2;
        let three = |row: usize| {
            let row = &self.border[row * stride..][..stride];
            [&row[..n], &row[1..n + 1], &row[2..]]
        };
        let [above, here, below] = [three(row - 1), three(row), three(row + 1)];
        (0..n)
            .map(|x| {
                let sides = above[1][x] + here[0][x] + here[2][x] + below[1][x];
                let diagonals = above[0][x] + above[2][x] + below[0][x] + below[2][x];
                let code = here[1][x] * (1 + 2 * sides + 10 * diagonals);
                WEIGHTS[usize::from(code) & 63]
            })
            .sum()
    }
}

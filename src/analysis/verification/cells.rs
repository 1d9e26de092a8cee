//! Two aligned images as cells of four by four pixels: means, and products of the finest diagonal details.

use super::grey_image::Image;
use super::structure::overlap;

/// Side of a cell in pixels.
pub(super) const CELL: usize = 4;

/// The cells of the common part of two images, row by row.
#[derive(Debug, Clone, Default)]
pub(super) struct Cells {
    pub(super) height: usize,
    pub(super) width: usize,
    pub(super) means_a: Vec<f32>,
    pub(super) means_b: Vec<f32>,
    pub(super) details: Vec<Details>,
}

/// Sums over the four diagonal Haar details of a cell.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Details {
    pub(super) ab: f32,
    pub(super) aa: f32,
    pub(super) bb: f32,
}

impl Cells {
    /// Cuts the overlap into cells; `shift` rows and columns of A come before the first of B.
    pub(super) fn of(a: &Image, b: &Image, shift: (i64, i64)) -> Self {
        let (rows, columns) = (overlap(a.height, b.height, shift.0), overlap(a.width, b.width, shift.1));
        let n_cells = |(first, end): (i64, i64)| (end - first).max(0) as usize / CELL;
        let (height, width) = (n_cells(rows), n_cells(columns));
        let mut cells = Self { height, width, ..Self::default() };
        let (mut line_a, mut line_b) = (vec![[0.0; 5]; width], vec![[0.0; 5]; width]);
        for row in 0..height {
            let top_b = rows.0 as usize + row * CELL;
            let top_a = (top_b as i64 + shift.0) as usize;
            summarise(a, (top_a, (columns.0 + shift.1) as usize), &mut line_a);
            summarise(b, (top_b, columns.0 as usize), &mut line_b);
            for (a, b) in line_a.iter().zip(&line_b) {
                cells.means_a.push(a[4]);
                cells.means_b.push(b[4]);
                let dot = |p: &[f32; 5], q: &[f32; 5]| p[..4].iter().zip(&q[..4]).map(|(p, q)| p * q).sum();
                cells.details.push(Details { ab: dot(a, b), aa: dot(a, a), bb: dot(b, b) });
            }
        }
        cells
    }

    /// Cells of twice the side, with the mean of the sums over details.
    pub(super) fn coarser(&self) -> Self {
        let (height, width) = (self.height / 2, self.width / 2);
        let mut coarser = Self { height, width, ..Self::default() };
        for y in 0..height {
            for x in 0..width {
                let quad = self.quad(y, x);
                let mean = |values: &[f32]| quad.iter().map(|&place| values[place]).sum::<f32>() / 4.0;
                let sum = |value: fn(&Details) -> f32| {
                    quad.iter().map(|&place| value(&self.details[place])).sum::<f32>() / 4.0
                };
                coarser.means_a.push(mean(&self.means_a));
                coarser.means_b.push(mean(&self.means_b));
                coarser.details.push(Details { ab: sum(|d| d.ab), aa: sum(|d| d.aa), bb: sum(|d| d.bb) });
            }
        }
        coarser
    }

    /// The four cells of a coarser one.
    pub(super) fn quad(&self, y: usize, x: usize) -> [usize; 4] {
        let first = 2 * y * self.width + 2 * x;
        [first, first + 1, first + self.width, first + self.width + 1]
    }

    pub(super) fn len(&self) -> usize {
        self.details.len()
    }

    /// The means of one image as an image.
    pub(super) fn image(&self, values: Vec<f32>) -> Image {
        Image { height: self.height, width: self.width, values }
    }
}

/// Four diagonal details and the mean of each cell of a line.
fn summarise(image: &Image, (top, left): (usize, usize), line: &mut [[f32; 5]]) {
    let n = line.len() * CELL;
    let rows: [&[f32]; CELL] = std::array::from_fn(|y| &image.row(top + y)[left..left + n]);
    for (place, cell) in line.iter_mut().enumerate() {
        let pixel = |y: usize, x: usize| rows[y][place * CELL + x];
        let mut sum = 0.0;
        for (quarter, out) in cell[..4].iter_mut().enumerate() {
            let (y, x) = (quarter / 2 * 2, quarter % 2 * 2);
            let [p, q, r, s] = [pixel(y, x), pixel(y, x + 1), pixel(y + 1, x), pixel(y + 1, x + 1)];
            *out = (p - q - r + s) * 0.5;
            sum += p + q + r + s;
        }
        cell[4] = sum / (CELL * CELL) as f32;
    }
}

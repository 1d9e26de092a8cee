//! Planes as finite grey values: read, turned, reduced.

use super::placement::{Shape, turned_shape};
use crate::analysis::hashing::rows::{Rows, Sample};
use crate::formats::{Plane, Samples};

/// Side of the squares that are turned at once, so that neither side leaves the cache.
const TILE: usize = 32;

/// Grey values, row by row.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Image {
    pub(super) height: usize,
    pub(super) width: usize,
    pub(super) values: Vec<f32>,
}

impl Image {
    /// Reads the grey values of a plane; colour counts as its mean, what is not a number as 0.
    pub(super) fn of_plane(plane: &Plane) -> Self {
        match &plane.samples {
            Samples::Uint8(samples) => read(samples, plane),
            Samples::Uint16(samples) => read(samples, plane),
            Samples::Uint32(samples) => read(samples, plane),
            Samples::Uint64(samples) => read(samples, plane),
            Samples::Int8(samples) => read(samples, plane),
            Samples::Int16(samples) => read(samples, plane),
            Samples::Int32(samples) => read(samples, plane),
            Samples::Int64(samples) => read(samples, plane),
            Samples::Float16(samples) => read(samples, plane),
            Samples::Float32(samples) => read(samples, plane),
            Samples::Float64(samples) => read(samples, plane),
        }
    }

    pub(super) fn shape(&self) -> Shape {
        (self.height, self.width)
    }

    pub(super) fn row(&self, y: usize) -> &[f32] {
        &self.values[y * self.width..(y + 1) * self.width]
    }

    /// The image turned as [`crate::analysis::hashing::ORIENTATION_NAMES`] says.
    pub(super) fn turned(self, orientation: u8) -> Self {
        if orientation == 0 {
            return self;
        }
        let (height, width) = turned_shape(self.shape(), orientation);
        let (last_row, last_column) = ((self.height.max(1) - 1) as isize, (self.width.max(1) - 1) as isize);
        let stride = self.width as isize;
        // where the first value comes from, and how far apart the values of a column and of a row lie
        let (first, down, right) = match orientation {
            1 => (last_column, -1, stride),
            2 => (last_row * stride + last_column, -stride, -1),
            3 => (last_row * stride, 1, -stride),
            4 => (last_row * stride, -stride, 1),
            5 => (last_column, stride, -1),
            6 => (0, 1, stride),
            _ => (last_row * stride + last_column, -1, -stride),
        };
        let mut values = vec![0.0; self.values.len()];
        for top in (0..height).step_by(TILE) {
            for left in (0..width).step_by(TILE) {
                for y in top..height.min(top + TILE) {
                    for x in left..width.min(left + TILE) {
                        let from = first + y as isize * down + x as isize * right;
                        values[y * width + x] = self.values[from as usize];
                    }
                }
            }
        }
        Self { height, width, values }
    }

    /// Means of two by two pixels; an odd last row or column is left out.
    pub(super) fn halved(&self) -> Self {
        let (height, width) = (self.height / 2, self.width / 2);
        let mut values = Vec::with_capacity(height * width);
        for y in 0..height {
            let (upper, lower) = (self.row(2 * y), self.row(2 * y + 1));
            let pairs = upper.chunks_exact(2).zip(lower.chunks_exact(2));
            values.extend(pairs.map(|(u, l)| (u[0] + u[1] + l[0] + l[1]) * 0.25));
        }
        Self { height, width, values }
    }

    /// The image on another grid: each pixel is the mean over the area that it covers here. Pixel (0, 0) starts at
    /// `first` pixels from the corner and each is `pitch` pixels long, given for rows and columns; what lies outside
    /// counts as the edge.
    pub(super) fn resampled(&self, shape: Shape, first: (f64, f64), pitch: (f64, f64)) -> Self {
        let (height, width) = shape;
        let columns: Vec<Span> =
            (0..width).map(|x| Span::new(first.1 + x as f64 * pitch.1, pitch.1, self.width)).collect();
        let mut values = vec![0.0_f32; height * width];
        let mut sums = vec![0.0_f32; self.width];
        for (y, out) in values.chunks_exact_mut(width.max(1)).enumerate() {
            let rows = Span::new(first.0 + y as f64 * pitch.0, pitch.0, self.height);
            sums.fill(0.0);
            for source in rows.first..=rows.last {
                let weight = rows.weight(source);
                for (sum, value) in sums.iter_mut().zip(self.row(source)) {
                    *sum += weight * value;
                }
            }
            for (value, span) in out.iter_mut().zip(&columns) {
                *value = (span.first..=span.last).map(|source| span.weight(source) * sums[source]).sum();
            }
        }
        Self { height, width, values }
    }
}

/// The pixels under one pixel of another grid, along one side.
struct Span {
    first: usize,
    last: usize,
    weight_first: f32,
    weight_last: f32,
    weight_middle: f32,
}

impl Span {
    fn new(start: f64, length: f64, n: usize) -> Self {
        let last_pixel = n.max(1) as f64 - 1.0;
        // a pixel is at least one pixel long: finer grids repeat by linear weights
        let (start, length) = if length < 1.0 { (start + length / 2.0 - 0.5, 1.0) } else { (start, length) };
        let end = start + length;
        let (low, high) = (start.floor(), (end - 1e-9).floor());
        let mut weight_first = ((low + 1.0).min(end) - start) / length;
        let mut weight_last = if high > low { (end - high) / length } else { 0.0 };
        let (mut first, mut last) = (low.clamp(0.0, last_pixel), high.clamp(0.0, last_pixel));
        if first >= last {
            // one pixel bears all
            first = first.min(last);
            last = first;
            (weight_first, weight_last) = (1.0, 0.0);
        } else if low < 0.0 || high > last_pixel {
            let inside = (last + 1.0).min(end) - first.max(start);
            weight_first = ((first + 1.0) - first.max(start)) / inside;
            weight_last = ((last + 1.0).min(end) - last) / inside;
            return Self {
                first: first as usize,
                last: last as usize,
                weight_first: weight_first as f32,
                weight_last: weight_last as f32,
                weight_middle: (1.0 / inside) as f32,
            };
        }
        Self {
            first: first as usize,
            last: last as usize,
            weight_first: weight_first as f32,
            weight_last: weight_last as f32,
            weight_middle: (1.0 / length) as f32,
        }
    }

    fn weight(&self, source: usize) -> f32 {
        match source {
            _ if source == self.first => self.weight_first,
            _ if source == self.last => self.weight_last,
            _ => self.weight_middle,
        }
    }
}

fn read<T: Sample>(samples: &[T], plane: &Plane) -> Image {
    let rows = Rows::new(samples, plane.height, plane.width, plane.n_samples);
    let mut values = vec![0.0; rows.height * rows.width];
    for (y, row) in values.chunks_exact_mut(rows.width.max(1)).enumerate() {
        rows.read(y, (f32::MIN, f32::MAX), row);
    }
    Image { height: rows.height, width: rows.width, values }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::analysis::verification::placement::{inverse_orientation, turn_point};

    fn ramp(height: usize, width: usize) -> Image {
        Image { height, width, values: (0..height * width).map(|place| place as f32).collect() }
    }

    #[test]
    fn turning_moves_every_pixel_where_its_point_goes_and_back() {
        let image = ramp(37, 70);
        for orientation in 0..8 {
            let turned = image.clone().turned(orientation);
            for (y, x) in [(0, 0), (36, 0), (5, 69), (20, 31)] {
                let (row, column) = turn_point((y as f64 + 0.5, x as f64 + 0.5), (37, 70), orientation);
                assert_eq!(turned.row(row as usize)[column as usize], image.row(y)[x], "{orientation}");
            }
            assert_eq!(turned.turned(inverse_orientation(orientation)), image);
        }
    }

    #[test]
    fn resampling_takes_the_mean_over_the_area() {
        let image = ramp(6, 8);
        let halved = image.halved();
        assert_eq!(halved.values[..2], [4.5, 6.5]);
        assert_eq!(image.resampled((3, 4), (0.0, 0.0), (2.0, 2.0)), halved);
        // one and a half pixels of a row of 0, 1, 2
        let row = ramp(1, 3).resampled((1, 2), (0.0, 0.0), (1.0, 1.5));
        assert!(
            (row.values[0] - 1.0 / 3.0).abs() < 1e-6 && (row.values[1] - 5.0 / 3.0).abs() < 1e-6,
            "{row:?}"
        );
        // beyond the edge counts as the edge
        assert_eq!(ramp(1, 3).resampled((1, 2), (0.0, 5.0), (1.0, 2.0)).values, [2.0, 2.0]);
    }
}

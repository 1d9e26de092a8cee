//! Where one plane lies in another: turned, scaled, shifted.

use serde::Serialize;

use crate::analysis::hashing::ORIENTATION_NAMES;

/// Where plane B lies in plane A.
///
/// A is turned first (see [`ORIENTATION_NAMES`]); then the point of B at `(row, column)` pixels from its outer corner
/// lies in the turned A at `(scale * row + shift_row_px, scale * column + shift_column_px)` pixels from its corner.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Placement {
    /// How A is turned, a place in [`ORIENTATION_NAMES`].
    pub orientation: u8,
    /// Pixels of A per pixel of B; 1 unless one of them was resized.
    pub scale: f64,
    /// Rows of the turned A above B.
    pub shift_row_px: f64,
    /// Columns of the turned A left of B.
    pub shift_column_px: f64,
}

/// Height and width.
pub(super) type Shape = (usize, usize);

impl Placement {
    /// The name of the orientation, such as `rot90`.
    pub fn orientation_name(&self) -> &'static str {
        ORIENTATION_NAMES[usize::from(self.orientation) % 8]
    }

    /// Where A lies in B, given the shapes of both.
    pub fn inverse(&self, shape_a: Shape, shape_b: Shape) -> Self {
        let orientation = inverse_orientation(self.orientation);
        // the first corner of A, seen in the turned A, in B, in the turned B
        let (row, column) = turn_point((0.0, 0.0), shape_a, self.orientation);
        let in_b = ((row - self.shift_row_px) / self.scale, (column - self.shift_column_px) / self.scale);
        let (shift_row_px, shift_column_px) = turn_point(in_b, shape_b, orientation);
        Self { orientation, scale: 1.0 / self.scale, shift_row_px, shift_column_px }
    }
}

/// The orientation that undoes this one.
pub(super) const fn inverse_orientation(orientation: u8) -> u8 {
    match orientation {
        1 => 3,
        3 => 1,
        other => other,
    }
}

/// The shape of a plane that was turned.
pub(super) const fn turned_shape((height, width): Shape, orientation: u8) -> Shape {
    if matches!(orientation, 1 | 3 | 6 | 7) { (width, height) } else { (height, width) }
}

/// Where a point, in pixels from the outer corner, goes when a plane of `shape` is turned.
pub(super) fn turn_point((row, column): (f64, f64), (height, width): Shape, orientation: u8) -> (f64, f64) {
    let (height, width) = (height as f64, width as f64);
    match orientation {
        1 => (width - column, row),
        2 => (height - row, width - column),
        3 => (column, height - row),
        4 => (height - row, column),
        5 => (row, width - column),
        6 => (column, row),
        7 => (width - column, height - row),
        _ => (row, column),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_inverse_of_the_inverse_is_the_placement() {
        for orientation in 0..8 {
            let there = Placement { orientation, scale: 2.0, shift_row_px: 12.0, shift_column_px: -3.5 };
            let (a, b) = ((300, 200), turned_shape((110, 90), orientation));
            let back = there.inverse(a, b).inverse(b, a);
            assert_eq!((back.orientation, back.scale), (orientation, 2.0));
            assert!((back.shift_row_px - 12.0).abs() < 1e-9 && (back.shift_column_px + 3.5).abs() < 1e-9);
        }
    }

    #[test]
    fn a_crop_begins_before_the_first_corner_of_its_whole() {
        let there = Placement { orientation: 0, scale: 1.0, shift_row_px: 5.0, shift_column_px: 7.0 };
        let back = there.inverse((100, 100), (50, 50));
        assert_eq!((back.shift_row_px, back.shift_column_px), (-5.0, -7.0));
    }
}

//! The points of one image, made ready for matching: to be used again for many partners.

use super::descriptors::{Descriptor, SixPoints, describe};
use super::kd_tree::KdTree;
use super::places::Places;
use super::triangulation::{Triangulation, curve_order};

/// Most points of a field, a million: what is made of them takes about 300 bytes each.
pub const N_POINTS_MAX: usize = 1_000_000;
/// Largest magnitude of a coordinate in px: far beyond any camera or stitched plate.
pub const COORDINATE_MAX_PX: f64 = 1e9;

/// The points of one image, in order and searchable, with the descriptions of their surroundings.
#[derive(Debug, Clone)]
pub struct Field {
    /// Different points along a curve, so that neighbours are mostly near one another in memory: the order they came in
    /// leaves no trace.
    pub(super) points: Vec<[f64; 2]>,
    /// Of each point, its position among those given; of equal points the first.
    pub(super) positions: Vec<usize>,
    pub(super) places: Places,
    /// Points that have a description, and the description.
    pub(super) six_points: Vec<SixPoints>,
    pub(super) descriptors: Vec<Descriptor>,
    pub(super) descriptor_tree: KdTree,
    /// Side of the square that a point has for itself where points are, in px; 0 where nothing is spanned.
    pub(super) spacing: f64,
    /// Corners of the bounding box.
    pub(super) low: [f64; 2],
    pub(super) high: [f64; 2],
}

/// Points that no field is made of.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum FieldError {
    /// More points than a field may have.
    #[error("expected at most {N_POINTS_MAX} points, found {found}")]
    TooManyPoints {
        /// Points found.
        found: usize,
    },
    /// A coordinate that is not a number or lies beyond all images.
    #[error("expected coordinates up to {COORDINATE_MAX_PX:e} px, found others in point {index}")]
    Coordinate {
        /// Position of the point.
        index: usize,
    },
}

impl Field {
    /// Makes points ready: orders, triangulates and describes them, in O(n log n).
    ///
    /// # Errors
    /// Too many points, or a coordinate that is not a number or beyond [`COORDINATE_MAX_PX`].
    pub fn new(given: &[[f64; 2]]) -> Result<Self, FieldError> {
        if given.len() > N_POINTS_MAX {
            return Err(FieldError::TooManyPoints { found: given.len() });
        }
        let is_sound = |point: &[f64; 2]| point.iter().all(|value| value.abs() <= COORDINATE_MAX_PX);
        if let Some(index) = given.iter().position(|point| !is_sound(point)) {
            return Err(FieldError::Coordinate { index });
        }
        let (points, positions) = in_order(given);
        let triangulation = Triangulation::new(&points);
        let mut six_points = Vec::with_capacity(2 * points.len());
        let mut descriptors = Vec::with_capacity(2 * points.len());
        for (six, descriptor) in triangulation.clusters().filter_map(|cluster| describe(&points, &cluster)) {
            six_points.push(six);
            descriptors.push(descriptor);
        }
        let spacing = spacing(&points, &six_points);
        let extreme = |start: f64, choose: fn(f64, f64) -> f64| {
            [0, 1].map(|axis| points.iter().map(|point| point[axis]).fold(start, choose))
        };
        Ok(Self {
            places: Places::new(&points, spacing),
            descriptor_tree: KdTree::new(&descriptors),
            spacing,
            low: extreme(f64::INFINITY, f64::min),
            high: extreme(f64::NEG_INFINITY, f64::max),
            points,
            positions,
            six_points,
            descriptors,
        })
    }

    /// How many different points there are.
    pub fn len(&self) -> usize {
        self.points.len()
    }

    /// Whether there is no point.
    pub fn is_empty(&self) -> bool {
        self.points.is_empty()
    }

    /// The middle of the bounding box.
    pub(super) fn middle(&self) -> [f64; 2] {
        [0, 1].map(|axis| self.low[axis].midpoint(self.high[axis]))
    }

    /// Whether a place lies in the bounding box, or no more than `margin` px outside.
    pub(super) fn covers(&self, place: [f64; 2], margin: f64) -> bool {
        (0..2).all(|axis| place[axis] >= self.low[axis] - margin && place[axis] <= self.high[axis] + margin)
    }
}

/// The different points along the curve, and where they were.
fn in_order(given: &[[f64; 2]]) -> (Vec<[f64; 2]>, Vec<usize>) {
    // minus zero is zero
    let given: Vec<_> = given.iter().map(|point| point.map(|value| value + 0.0)).collect();
    let order = curve_order(&given);
    let (mut points, mut positions) = (Vec::with_capacity(order.len()), Vec::with_capacity(order.len()));
    for index in order {
        let point = given[index as usize];
        if points.last() != Some(&point) {
            points.push(point);
            positions.push(index as usize);
        }
    }
    (points, positions)
}

/// From the median area of the triangles, of which there are two for each point. Empty parts of the image and single
/// points far away do not matter.
fn spacing(points: &[[f64; 2]], six_points: &[SixPoints]) -> f64 {
    let at = |index: u32| points[index as usize];
    let area = |six: &SixPoints| {
        let [[ax, ay], [bx, by], [cx, cy]] = [at(six[0]), at(six[1]), at(six[2])];
        ((bx - ax) * (cy - ay) - (by - ay) * (cx - ax)) / 2.0
    };
    let mut areas: Vec<f64> = six_points.iter().map(area).collect();
    let middle = areas.len() / 2;
    if areas.is_empty() {
        return 0.0;
    }
    let (_, median, _) = areas.select_nth_unstable_by(middle, f64::total_cmp);
    (2.0 * median.max(0.0)).sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn points_are_in_one_order_and_equal_ones_count_once() {
        let given = [[2.0, 1.0], [0.0, 5.0], [2.0, 1.0], [-0.0, 5.0], [2.0, 0.0]];
        let field = Field::new(&given).unwrap();
        let mut positions = field.positions.clone();
        positions.sort_unstable();
        assert_eq!(positions, [0, 1, 4]);
        assert!(
            field.points.iter().zip(&field.positions).all(|(point, &position)| *point == given[position])
        );
        let reversed: Vec<_> = given.iter().rev().copied().collect();
        assert_eq!(Field::new(&reversed).unwrap().points, field.points);
        assert_eq!((field.low, field.high, field.spacing), ([0.0, 0.0], [2.0, 5.0], 0.0));
    }

    #[test]
    fn the_spacing_is_that_of_the_crowd() {
        let mut points: Vec<_> =
            (0..400).map(|n| [f64::from(n % 20) * 3.0, f64::from(n / 20) * 3.0]).collect();
        points.push([9000.0, 4000.0]);
        assert!((Field::new(&points).unwrap().spacing - 3.0).abs() < 1e-9);
    }

    #[test]
    fn what_is_no_place_is_refused() {
        for bad in [f64::NAN, f64::INFINITY, -2e9] {
            let found = Field::new(&[[0.0, 0.0], [1.0, bad]]).unwrap_err();
            assert_eq!(found, FieldError::Coordinate { index: 1 });
        }
        assert_eq!(
            FieldError::Coordinate { index: 1 }.to_string(),
            "expected coordinates up to 1e9 px, found others in point 1"
        );
        assert!(Field::new(&[]).unwrap().is_empty());
    }
}

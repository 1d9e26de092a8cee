//! Least squares transforms, directly: many of them are needed while pairs are looked for.

use crate::geometry::Affine;

/// A pair of places that are to come together, `(moving, reference)`.
pub(super) type PlacePair = ([f64; 2], [f64; 2]);

/// Sums over pairs about their centroids.
struct Moments {
    moving: [f64; 2],
    reference: [f64; 2],
    /// `sum m m^T` of the moving places: xx, xy, yy.
    square: [f64; 3],
    /// `sum r m^T`.
    product: [[f64; 2]; 2],
}

impl Moments {
    fn of(pairs: &[PlacePair]) -> Self {
        let n = pairs.len() as f64;
        let mean = |of: fn(&PlacePair) -> [f64; 2]| {
            let sum = pairs.iter().map(of).fold([0.0; 2], |[x, y], [px, py]| [x + px, y + py]);
            sum.map(|value| value / n)
        };
        let [moving, reference] = [mean(|pair| pair.0), mean(|pair| pair.1)];
        let mut moments = Self { moving, reference, square: [0.0; 3], product: [[0.0; 2]; 2] };
        for ([x, y], [u, v]) in pairs {
            let [x, y, u, v] = [x - moving[0], y - moving[1], u - reference[0], v - reference[1]];
            for (sum, value) in moments.square.iter_mut().zip([x * x, x * y, y * y]) {
                *sum += value;
            }
            for (sum, value) in
                moments.product.as_flattened_mut().iter_mut().zip([u * x, u * y, v * x, v * y])
            {
                *sum += value;
            }
        }
        moments
    }

    /// The map with this linear part that takes one centroid to the other; `None` where it is no map.
    fn map(&self, linear: [[f64; 2]; 2]) -> Option<Affine> {
        let [x, y] = Affine::from_parts(linear, [0.0; 2]).apply(self.moving);
        let map = Affine::from_parts(linear, [self.reference[0] - x, self.reference[1] - y]);
        (map.is_finite() && map.determinant() != 0.0).then_some(map)
    }
}

/// The similarity without a mirror; `None` where the places do not determine one.
///
/// # References
/// Umeyama 1991, equations 40 to 42; in the plane the rotation follows from two sums.
pub(super) fn similarity(pairs: &[PlacePair]) -> Option<Affine> {
    let moments = Moments::of(pairs);
    let square = moments.square[0] + moments.square[2];
    let [[ux, uy], [vx, vy]] = moments.product;
    let [cos, sin] = [(ux + vy) / square, (vx - uy) / square];
    moments.map([[cos, -sin], [sin, cos]])
}

/// The affine map; `None` where the places do not determine one.
pub(super) fn affine(pairs: &[PlacePair]) -> Option<Affine> {
    let moments = Moments::of(pairs);
    let [xx, xy, yy] = moments.square;
    let determinant = xx * yy - xy * xy;
    let linear = moments
        .product
        .map(|[by_x, by_y]| [(by_x * yy - by_y * xy) / determinant, (by_y * xx - by_x * xy) / determinant]);
    // places on a line, to half of the digits
    let spans_area = determinant > 1e-8 * xx * yy;
    spans_area.then(|| moments.map(linear)).flatten()
}

/// Whether given pairs `(moving[i], reference[i])` are rather mirror images than not: the sign that the closed form
/// of a similarity needs.
///
/// # References
/// Umeyama 1991, equation 43.
pub fn mirrored_pairs(moving: &[[f64; 2]], reference: &[[f64; 2]]) -> bool {
    let pairs: Vec<PlacePair> = moving.iter().copied().zip(reference.iter().copied()).collect();
    let [[ux, uy], [vx, vy]] = Moments::of(&pairs).product;
    ux * vy - uy * vx < 0.0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs(map: &Affine) -> Vec<PlacePair> {
        [[0.0, 1.0], [7.0, 2.0], [3.0, 9.0], [1e3, -4.0]].map(|place| (place, map.apply(place))).to_vec()
    }

    fn close(found: Option<Affine>, expected: &Affine) {
        let found = found.unwrap();
        for (f, e) in found.rows.as_flattened().iter().zip(expected.rows.as_flattened()) {
            assert!((f - e).abs() < 1e-10 * (1.0 + e.abs()), "{found:?} is not {expected:?}");
        }
    }

    #[test]
    fn maps_without_noise_are_found_again() {
        let turned = Affine::similarity(0.25, 2.5, false, [100.0, -20.0]);
        close(similarity(&pairs(&turned)), &turned);
        close(affine(&pairs(&turned)), &turned);
        let sheared = Affine { rows: [[0.2, -0.7, 311.0], [1.4, 0.1, -20.5]] };
        close(affine(&pairs(&sheared)), &sheared);
    }

    #[test]
    fn a_mirror_shows_in_the_pairs() {
        for mirrored in [false, true] {
            let map = Affine::similarity(0.25, 2.5, mirrored, [100.0, -20.0]);
            let (from, to): (Vec<_>, Vec<_>) = pairs(&map).into_iter().unzip();
            assert_eq!(mirrored_pairs(&from, &to), mirrored);
        }
        assert!(!mirrored_pairs(&[], &[]));
    }

    #[test]
    fn what_is_not_determined_is_no_map() {
        let one = ([3.0, 4.0], [1.0, 2.0]);
        let line = [([0.0, 0.0], [0.0, 1.0]), ([1.0, 2.0], [1.0, 1.0]), ([2.0, 4.0], [2.0, 1.0])];
        for none in
            [similarity(&[]), similarity(&[one]), similarity(&[one; 5]), affine(&[one]), affine(&line)]
        {
            assert_eq!(none, None);
        }
        // all moving places on one: a map without area
        assert_eq!(similarity(&[([1.0, 2.0], [3.0, 3.0]), ([4.0, 4.0], [3.0, 3.0])]), None);
    }
}

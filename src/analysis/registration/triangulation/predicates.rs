//! The two questions a Delaunay triangulation asks, answered without rounding: on which side of a line, and inside
//! or outside of a circle. Coordinates are whole numbers below 2^29, so that every product fits 128 bits.

/// A corner on the grid, as whole numbers from 0 to [`GRID_MAX`].
pub(super) type GridPoint = [i32; 2];

/// The largest coordinate. The in-circle determinant is a sum of three products of two numbers below 2^59: below
/// 2^120, where 2^127 would overflow.
pub(super) const GRID_MAX: i32 = (1 << 29) - 1;

/// Twice the signed area of a, b, c: positive where they turn from x towards y. It needs 60 bits: exact.
pub(super) fn orientation(a: GridPoint, b: GridPoint, c: GridPoint) -> i64 {
    let [abx, aby] = difference(b, a);
    let [acx, acy] = difference(c, a);
    abx * acy - aby * acx
}

/// Is `p` strictly inside the circle through a, b, c (which turn from x towards y)? In floating point where the
/// outcome is beyond doubt, in 128-bit integers where it is not.
pub(super) fn in_circle(a: GridPoint, b: GridPoint, c: GridPoint, p: GridPoint) -> bool {
    let rough = in_circle_f64(a, b, c, p);
    match rough {
        Some(inside) => inside,
        None => in_circle_exact(a, b, c, p) > 0,
    }
}

/// The determinant's sign in floating point, where its rounding error cannot change it. Differences are exact; a
/// term passes through at most eight roundings, so that the error stays below 16 units of the last place of the sum
/// of the terms' magnitudes (Higham 2002, section 3.1). Those are `|a|^2 (|bx cy| + |by cx|)` and so on, where
/// `|bx cy| + |by cx| <= (|b|^2 + |c|^2) / 2`.
fn in_circle_f64(a: GridPoint, b: GridPoint, c: GridPoint, p: GridPoint) -> Option<bool> {
    // below 2^29 in magnitude, as coordinates are not negative
    let [a, b, c] = [a, b, c].map(|corner| [corner[0] - p[0], corner[1] - p[1]].map(f64::from));
    let [aa, bb, cc] = [a, b, c].map(|[x, y]| x * x + y * y);
    let minor = |[ux, uy]: [f64; 2], [vx, vy]: [f64; 2]| ux * vy - uy * vx;
    let determinant = aa * minor(b, c) + bb * minor(c, a) + cc * minor(a, b);
    let magnitude = aa * bb + bb * cc + cc * aa;
    (determinant.abs() > 16.0 * f64::EPSILON * magnitude).then_some(determinant > 0.0)
}

fn in_circle_exact(a: GridPoint, b: GridPoint, c: GridPoint, p: GridPoint) -> i128 {
    let [a, b, c] = [a, b, c].map(|corner| difference(corner, p));
    let square = |[x, y]: [i64; 2]| i128::from(x * x + y * y);
    let minor = |[ux, uy]: [i64; 2], [vx, vy]: [i64; 2]| i128::from(ux * vy - uy * vx);
    square(a) * minor(b, c) + square(b) * minor(c, a) + square(c) * minor(a, b)
}

fn difference(to: GridPoint, from: GridPoint) -> [i64; 2] {
    [i64::from(to[0]) - i64::from(from[0]), i64::from(to[1]) - i64::from(from[1])]
}

#[cfg(test)]
mod tests {
    use super::*;

    const CORNERS: [GridPoint; 4] = [[0, 0], [GRID_MAX, 0], [GRID_MAX, GRID_MAX], [0, GRID_MAX]];

    #[test]
    fn points_on_the_circle_are_not_inside_and_their_neighbours_are() {
        let [a, b, c, d] = CORNERS;
        assert!(!in_circle(a, b, c, d));
        assert!(in_circle(a, b, c, [d[0] + 1, d[1]]));
        assert!(in_circle(a, b, c, [d[0], d[1] - 1]));
        // one step off the grid's corner is a difference of one in 2^58: floating point alone cannot tell
        assert_eq!(in_circle_f64(a, b, c, d), None);
    }

    #[test]
    fn a_turn_of_one_part_in_two_to_the_58_is_seen() {
        let [a, _, c, _] = CORNERS;
        assert_eq!(orientation(a, c, [GRID_MAX / 2, GRID_MAX / 2]), 0);
        assert!(orientation(a, c, [GRID_MAX / 2, GRID_MAX / 2 + 1]) > 0);
        assert!(orientation(a, c, [GRID_MAX / 2 + 1, GRID_MAX / 2]) < 0);
    }

    #[test]
    fn both_ways_agree() {
        let mut state = 1_u64;
        let mut next = || {
            state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            ((state >> 33) as i32) & GRID_MAX
        };
        for _ in 0..2000 {
            let [a, b, c, p] = [(); 4].map(|()| [next(), next()]);
            let (b, c) = if orientation(a, b, c) < 0 { (c, b) } else { (b, c) };
            assert_eq!(in_circle_f64(a, b, c, p), Some(in_circle_exact(a, b, c, p) > 0));
        }
    }
}

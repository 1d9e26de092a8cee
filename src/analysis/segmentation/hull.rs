//! How many pixels lie in the convex hull of an object, as scikit-image counts them.

/// A point in half pixels: `[row, column]`.
type Point = [i64; 2];

/// Number of pixels whose centre lies in or on the convex hull of the middles of the object pixels' four sides.
///
/// `spans` are the first and last column of the object in each row of its box (first above last: an empty row).
/// Counts in integers: no tolerance is needed.
///
/// # References
/// scikit-image `convex_hull_image` with `offset_coordinates` and `include_borders`; hull by A. Andrew's monotone
/// chain (1979).
pub(super) fn hull_area(spans: &[[i64; 2]]) -> u64 {
    let left = chain(spans.iter().map(|span| span[0]), -1, spans);
    let right = chain(spans.iter().map(|span| span[1]), 1, spans);
    (0..spans.len() as i64)
        .map(|row| {
            let (from, to) = (limit(&left, 2 * row, -1), limit(&right, 2 * row, 1));
            (to - from + 1).max(0) as u64
        })
        .sum()
}

/// The hull's side towards `sign` (-1 left, 1 right), from top to bottom.
fn chain(columns: impl Iterator<Item = i64>, sign: i64, spans: &[[i64; 2]]) -> Vec<Point> {
    let mut points: Vec<Point> = Vec::new();
    for (row, (column, span)) in (0_i64..).zip(columns.zip(spans)) {
        if span[0] > span[1] {
            continue;
        }
        for point in [[2 * row - 1, 2 * column], [2 * row, 2 * column + sign], [2 * row + 1, 2 * column]] {
            push_convex(&mut points, point, sign);
        }
    }
    points
}

/// Adds a point that lies no higher than the last; what no longer bulges outwards goes.
fn push_convex(points: &mut Vec<Point>, point: Point, sign: i64) {
    // the lower side of one pixel and the upper side of the next share a row: the outer one counts
    if let Some(&last) = points.last()
        && last[0] == point[0]
    {
        if sign * (point[1] - last[1]) <= 0 {
            return;
        }
        points.pop();
    }
    while let [.., a, b] = points[..] {
        if sign * cross(a, b, point) > 0 {
            break;
        }
        points.pop();
    }
    points.push(point);
}

/// Positive where `a, b, c` turn so that `b` lies on the right (greater column) of the line from `a` to `c`.
fn cross(a: Point, b: Point, c: Point) -> i64 {
    (b[1] - a[1]) * (c[0] - a[0]) - (c[1] - a[1]) * (b[0] - a[0])
}

/// The outermost pixel column whose centre (row `y` in half pixels) is on the inner side of the chain.
fn limit(chain: &[Point], y: i64, sign: i64) -> i64 {
    let after = chain.partition_point(|point| point[0] < y).clamp(1, chain.len().max(2) - 1);
    let (a, b) = (chain[after - 1], chain[after]);
    let dy = b[0] - a[0];
    // column in half pixels times dy
    let column = a[1] * dy + (b[1] - a[1]) * (y - a[0]);
    if sign > 0 { column.div_euclid(2 * dy) } else { -(-column).div_euclid(2 * dy) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn areas_are_those_of_scikit_image() {
        // expected values from convex_hull_image of scikit-image 0.26
        let cases: [(&[[i64; 2]], u64); 6] = [
            (&[[0, 0]], 1),
            (&[[0, 4]], 5),
            (&[[0, 0], [1, 1], [2, 2]], 3),
            (&[[0, 0], [0, 0], [0, 3]], 8),
            (&[[2, 2], [0, 4], [2, 2]], 11),
            (&[[0, 0], [3, 5], [0, 7], [6, 6]], 22),
        ];
        for (spans, expected) in cases {
            assert_eq!(hull_area(spans), expected, "{spans:?}");
        }
    }
}

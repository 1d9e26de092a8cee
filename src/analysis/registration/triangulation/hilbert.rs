//! An order in which neighbours in the plane follow one another.

use std::cmp::Ordering;

use super::predicates::GridPoint;

/// Steps of the curve per side: 2^16, from the upper bits of a coordinate.
const LEVELS: u32 = 16;

/// All points in the order of a Hilbert curve, those of one of its cells in the order that `compare` gives their indices.
pub(super) fn order(grid: &[GridPoint], compare: impl Fn(u32, u32) -> Ordering) -> Vec<u32> {
    let mut keyed: Vec<u64> =
        grid.iter().zip(0_u64..).map(|(&point, index)| u64::from(key(point)) << 32 | index).collect();
    keyed.sort_unstable();
    let keys = |entry: &u64| entry >> 32;
    for of_cell in keyed.chunk_by_mut(|left, right| keys(left) == keys(right)).filter(|cell| cell.len() > 1) {
        of_cell.sort_unstable_by(|left, right| compare(*left as u32, *right as u32));
    }
    keyed.into_iter().map(|entry| entry as u32).collect()
}

/// How far along the curve a point lies: the quadrant at each level, turned as the curve turns (Hilbert 1891).
fn key([x, y]: GridPoint) -> u32 {
    let shift = 29 - LEVELS;
    let [mut x, mut y] = [x as u32 >> shift, y as u32 >> shift];
    let mut key = 0;
    for level in (0..LEVELS).rev() {
        let [right, upper] = [(x >> level) & 1, (y >> level) & 1];
        key = (key << 2) | ((3 * right) ^ upper);
        if upper == 0 {
            if right == 1 {
                [x, y] = [!x, !y];
            }
            [x, y] = [y, x];
        }
    }
    key
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_curve_steps_from_cell_to_cell() {
        let side = 1 << 4;
        let step = 1 << (29 - 4);
        let grid: Vec<GridPoint> = (0..side * side).map(|n| [n % side * step, n / side * step]).collect();
        let order = order(&grid, |left, right| left.cmp(&right));
        assert_eq!(order.len(), grid.len());
        for pair in order.windows(2) {
            let [a, b] = [pair[0], pair[1]].map(|index| grid[index as usize]);
            assert_eq!((a[0] - b[0]).abs() + (a[1] - b[1]).abs(), step, "{a:?} {b:?}");
        }
    }
}

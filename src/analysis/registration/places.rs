//! Neighbours in the plane: points by the cell of a grid as wide as their spacing, the cells by a hash, so that neither
//! a point far away nor an empty part of the image costs anything.

/// What takes one column of cells from the one before it. Odd, so that columns do not fall together.
const COLUMN_STRIDE: u32 = 0x9E37_79B1;

/// Finite points in the plane, arranged so that those near a place are found by looking at few.
#[derive(Debug, Clone)]
pub(super) struct Places {
    cells_per_unit: f64,
    /// One less than the number of buckets, a power of two.
    mask: u32,
    /// Where each bucket begins; one more at the end.
    starts: Vec<u32>,
    /// Bucket after bucket, in each in the order of the points.
    entries: Vec<Entry>,
}

#[derive(Debug, Clone, Copy)]
struct Entry {
    point: [f64; 2],
    index: u32,
}

/// A point found: squared distance, then its position. Compared in this order, so that ties have one outcome.
pub(super) type Neighbour = (f64, u32);

/// The cells that a circle touches: first and last column, first and last row.
type Cells = [[i64; 2]; 2];

impl Places {
    /// Arranges points in O(n). `spacing` is the side of a cell: about that of the square that a point has for itself;
    /// any positive number gives the same answers.
    pub(super) fn new(points: &[[f64; 2]], spacing: f64) -> Self {
        let n_buckets = points.len().next_power_of_two().max(1);
        let cells_per_unit = if spacing > 0.0 { 1.0 / spacing } else { 1.0 };
        let mask = n_buckets as u32 - 1;
        let mut places = Self { cells_per_unit, mask, starts: vec![0; n_buckets + 1], entries: vec![] };
        let buckets: Vec<u32> = points.iter().map(|&point| places.bucket(places.cell(point))).collect();
        for &bucket in &buckets {
            places.starts[bucket as usize + 1] += 1;
        }
        for bucket in 0..n_buckets {
            places.starts[bucket + 1] += places.starts[bucket];
        }
        places.entries = vec![Entry { point: [0.0; 2], index: 0 }; points.len()];
        let mut next = places.starts.clone();
        for ((&point, bucket), index) in points.iter().zip(buckets).zip(0..) {
            let place = &mut next[bucket as usize];
            places.entries[*place as usize] = Entry { point, index };
            *place += 1;
        }
        places
    }

    /// The nearest point within a radius.
    pub(super) fn nearest_one(&self, query: [f64; 2], radius: f64) -> Option<Neighbour> {
        self.nearest_one_counted(query, radius).0
    }

    /// The nearest point within a radius, and how many were compared with it.
    pub(super) fn nearest_one_counted(&self, query: [f64; 2], radius: f64) -> (Option<Neighbour>, usize) {
        let mut nearest = (radius * radius, u32::MAX);
        let mut n_compared = 0;
        let mut look_at = |entries: &[Entry]| {
            n_compared += entries.len();
            for entry in entries {
                let square = squared_distance(entry.point, query);
                if square < nearest.0 || square == nearest.0 && entry.index < nearest.1 {
                    nearest = (square, entry.index);
                }
            }
        };
        match self.cells_around(query, radius) {
            // to meet a point twice does no harm
            Some([columns, rows]) => {
                for column in columns[0]..=columns[1] {
                    let [first, last] = rows.map(|row| self.bucket([column, row]));
                    if first <= last {
                        look_at(self.entries_of(first, last));
                    } else {
                        look_at(self.entries_of(first, self.mask));
                        look_at(self.entries_of(0, last));
                    }
                }
            }
            None => look_at(&self.entries),
        }
        ((nearest.1 != u32::MAX).then_some(nearest), n_compared)
    }

    /// Appends all points within a radius, in no particular order.
    pub(super) fn within(&self, query: [f64; 2], radius: f64, found: &mut Vec<Neighbour>) {
        let bound = radius * radius;
        let neighbour = |entry: &Entry| {
            let square = squared_distance(entry.point, query);
            (square <= bound).then_some((square, entry.index))
        };
        let Some([columns, rows]) = self.cells_around(query, radius) else {
            found.extend(self.entries.iter().filter_map(neighbour));
            return;
        };
        for column in columns[0]..=columns[1] {
            for row in rows[0]..=rows[1] {
                // cells that share a bucket with this one have their own turn
                let is_of_cell = |entry: &&Entry| self.cell(entry.point) == [column, row];
                let bucket = self.bucket([column, row]);
                let entries = self.entries_of(bucket, bucket).iter();
                found.extend(entries.filter(is_of_cell).filter_map(neighbour));
            }
        }
    }

    /// The `n` nearest points, nearest first; fewer where there are no more.
    pub(super) fn nearest(&self, query: [f64; 2], n: usize) -> Vec<Neighbour> {
        let mut found = vec![];
        let mut radius = (n as f64).sqrt() / self.cells_per_unit;
        while found.len() < n.min(self.entries.len()) {
            found.clear();
            self.within(query, radius, &mut found);
            radius *= 2.0;
        }
        found.sort_by(|left, right| left.0.total_cmp(&right.0).then(left.1.cmp(&right.1)));
        found.truncate(n);
        found
    }

    fn cell(&self, point: [f64; 2]) -> [i64; 2] {
        point.map(|value| floor(value * self.cells_per_unit))
    }

    fn bucket(&self, [column, row]: [i64; 2]) -> u32 {
        (column as u32).wrapping_mul(COLUMN_STRIDE).wrapping_add(row as u32) & self.mask
    }

    /// Those of the buckets from the first to the last, which is one of them.
    fn entries_of(&self, first: u32, last: u32) -> &[Entry] {
        let [start, end] = [first as usize, last as usize + 1].map(|bucket| self.starts[bucket] as usize);
        &self.entries[start..end]
    }

    /// `None` where to look at each point is less work.
    fn cells_around(&self, query: [f64; 2], radius: f64) -> Option<Cells> {
        let side = 2.0 * radius * self.cells_per_unit + 1.0;
        let is_worth_it = side * side <= self.entries.len() as f64;
        let ends = |axis: usize| {
            [query[axis] - radius, query[axis] + radius].map(|value| floor(value * self.cells_per_unit))
        };
        is_worth_it.then(|| [ends(0), ends(1)])
    }
}

/// The whole number below; not `f64::floor`, which older processors do not know.
fn floor(value: f64) -> i64 {
    let truncated = value as i64;
    truncated.saturating_sub(i64::from(value < truncated as f64))
}

fn squared_distance(left: [f64; 2], right: [f64; 2]) -> f64 {
    let [x, y] = [left[0] - right[0], left[1] - right[1]];
    x * x + y * y
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::analysis::synthesis::Random;

    /// Against looking at every point; whole numbers, so that many distances are equal.
    fn check(n: usize, n_values: f64, spacing: f64) {
        let mut random = Random::new(3);
        let mut points: Vec<[f64; 2]> =
            (0..n).map(|_| [0; 2].map(|_| (random.uniform() * n_values).floor() - 3.0)).collect();
        points.extend([[1e9, -1e9], [-1e9, 3.0]]);
        let places = Places::new(&points, spacing);
        for query in points.iter().step_by(7).map(|point| point.map(|value| value + 0.25)) {
            let square = |index: u32| squared_distance(points[index as usize], query);
            let mut all: Vec<_> = (0..points.len() as u32).map(|index| (square(index), index)).collect();
            all.sort_by(|left, right| left.partial_cmp(right).unwrap());
            for radius in [0.5, 3.0, 40.0, f64::INFINITY] {
                let expected: Vec<_> =
                    all.iter().copied().filter(|(square, _)| *square <= radius * radius).collect();
                assert_eq!(places.nearest_one(query, radius), expected.first().copied());
                let mut within = vec![];
                places.within(query, radius, &mut within);
                within.sort_by(|left, right| left.partial_cmp(right).unwrap());
                assert_eq!(within, expected);
            }
            assert_eq!(places.nearest(query, 5), all[..5.min(all.len())]);
        }
    }

    #[test]
    fn the_nearest_are_found_and_ties_go_to_the_first() {
        for n in [0, 1, 9, 500] {
            for spacing in [0.0, 0.3, 1.0, 7.0] {
                check(n, 9.0, spacing);
                check(n, 1000.0, spacing);
            }
        }
        assert_eq!(Places::new(&[], 1.0).nearest_one([0.0; 2], f64::INFINITY), None);
        assert_eq!(Places::new(&[], 1.0).nearest([0.0; 2], 3), []);
    }

    #[test]
    fn as_far_as_the_radius_is_within() {
        let places = Places::new(&[[3.0, 4.0]], 1.0);
        assert_eq!(places.nearest_one([0.0; 2], 5.0), Some((25.0, 0)));
        assert_eq!(places.nearest_one([0.0; 2], 4.999), None);
    }
}

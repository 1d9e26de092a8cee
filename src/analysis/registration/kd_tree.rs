//! Nearest neighbours in few dimensions: a balanced tree of half spaces (Bentley 1975; the distance to a far half
//! kept up to date per axis as in Arya and Mount 1993).

/// Points per leaf: below this, comparing is quicker than descending.
const LEAF_LEN: usize = 8;

/// Finite points in `D` dimensions, arranged so that the points near a place are found by looking at few.
///
/// The points of a stretch are split at its middle one along the axis in which they spread most: smaller ones stand
/// before it, larger ones after it.
#[derive(Debug, Clone)]
pub(super) struct KdTree<const D: usize> {
    points: Vec<[f64; D]>,
    /// The position among the points that the tree was made of.
    indices: Vec<u32>,
    /// At the middle of a split stretch: the axis.
    axes: Vec<u8>,
}

/// A point found: squared distance, then its position. Compared in this order, so that ties have one outcome.
pub(super) type Neighbour = (f64, u32);

impl<const D: usize> KdTree<D> {
    /// Arranges points in O(n log n).
    pub(super) fn new(points: &[[f64; D]]) -> Self {
        let mut entries: Vec<_> = points.iter().copied().zip(0_u32..).collect();
        let mut axes = vec![0; points.len()];
        arrange(&mut entries, &mut axes);
        let (points, indices) = entries.into_iter().unzip();
        Self { points, indices, axes }
    }

    /// The `K` nearest points within a radius, nearest first; fewer where there are no more.
    pub(super) fn nearest<const K: usize>(&self, query: [f64; D], radius: f64) -> [Option<Neighbour>; K] {
        let mut found: [Option<Neighbour>; K] = [None; K];
        self.search(query, radius * radius, &mut |neighbour| {
            let mut candidate = Some(neighbour);
            for place in &mut found {
                let is_nearer = candidate.is_some_and(|new| place.is_none_or(|old| new < old));
                if is_nearer {
                    std::mem::swap(place, &mut candidate);
                }
            }
            found[K - 1].map_or(f64::INFINITY, |(square, _)| square)
        });
        found
    }

    /// The nearest point within a radius.
    pub(super) fn nearest_one(&self, query: [f64; D], radius: f64) -> Option<Neighbour> {
        let [nearest] = self.nearest(query, radius);
        nearest
    }

    /// Appends the positions of all points within a radius, in the tree's order.
    pub(super) fn within(&self, query: [f64; D], radius: f64, found: &mut Vec<u32>) {
        self.search(query, radius * radius, &mut |(_, index)| {
            found.push(index);
            f64::INFINITY
        });
    }

    /// Shows every point that may matter; `visit` returns the squared distance beyond which none does any more.
    fn search(&self, query: [f64; D], bound: f64, visit: &mut impl FnMut(Neighbour) -> f64) {
        let mut search = Search { tree: self, query, bound, visit };
        search.descend((0, self.points.len()), 0.0, [0.0; D]);
    }
}

struct Search<'a, const D: usize, V> {
    tree: &'a KdTree<D>,
    query: [f64; D],
    bound: f64,
    visit: &'a mut V,
}

impl<const D: usize, V: FnMut(Neighbour) -> f64> Search<'_, D, V> {
    /// Looks through a stretch whose points are at least the root of `least` away: the sum of squares of `offsets`,
    /// the distance along each axis.
    fn descend(&mut self, (start, end): (usize, usize), least: f64, offsets: [f64; D]) {
        if end - start <= LEAF_LEN {
            for position in start..end {
                self.look_at(position);
            }
            return;
        }
        let middle = start.midpoint(end);
        self.look_at(middle);
        let axis = usize::from(self.tree.axes[middle]);
        let offset = self.query[axis] - self.tree.points[middle][axis];
        let (near, far) = ((start, middle), (middle + 1, end));
        let (near, far) = if offset < 0.0 { (near, far) } else { (far, near) };
        self.descend(near, least, offsets);
        let least = least - offsets[axis] * offsets[axis] + offset * offset;
        if least <= self.bound {
            let mut offsets = offsets;
            offsets[axis] = offset;
            self.descend(far, least, offsets);
        }
    }

    fn look_at(&mut self, position: usize) {
        let square = squared_distance(&self.tree.points[position], &self.query);
        if square <= self.bound {
            self.bound = self.bound.min((self.visit)((square, self.tree.indices[position])));
        }
    }
}

fn squared_distance<const D: usize>(left: &[f64; D], right: &[f64; D]) -> f64 {
    let mut sum = 0.0;
    for axis in 0..D {
        let difference = left[axis] - right[axis];
        sum += difference * difference;
    }
    sum
}

fn arrange<const D: usize>(entries: &mut [([f64; D], u32)], axes: &mut [u8]) {
    if entries.len() <= LEAF_LEN {
        return;
    }
    let axis = widest_axis(entries);
    let middle = entries.len() / 2;
    let key = |entry: &([f64; D], u32)| (entry.0[axis], entry.1);
    entries.select_nth_unstable_by(middle, |left, right| {
        let (left, right) = (key(left), key(right));
        left.0.total_cmp(&right.0).then(left.1.cmp(&right.1))
    });
    axes[middle] = axis as u8;
    let (before, after) = entries.split_at_mut(middle);
    let (axes_before, axes_after) = axes.split_at_mut(middle);
    arrange(before, axes_before);
    arrange(&mut after[1..], &mut axes_after[1..]);
}

/// The axis along which points spread most; the first of equal ones.
fn widest_axis<const D: usize>(entries: &[([f64; D], u32)]) -> usize {
    let mut low = [f64::INFINITY; D];
    let mut high = [f64::NEG_INFINITY; D];
    for (point, _) in entries {
        for axis in 0..D {
            low[axis] = low[axis].min(point[axis]);
            high[axis] = high[axis].max(point[axis]);
        }
    }
    let spread = |axis: usize| high[axis] - low[axis];
    (1..D).fold(0, |widest, axis| if spread(axis) > spread(widest) { axis } else { widest })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::analysis::synthesis::Random;

    fn points<const D: usize>(n: usize, n_values: f64) -> Vec<[f64; D]> {
        let mut random = Random::new(3);
        (0..n).map(|_| [(); D].map(|()| (random.uniform() * n_values).floor())).collect()
    }

    /// Against looking at every point; whole numbers, so that many distances are equal.
    fn check<const D: usize>(n: usize, n_values: f64) {
        let points = points::<D>(n, n_values);
        let tree = KdTree::new(&points);
        for query in points.iter().step_by(7).map(|point| point.map(|value| value + 0.25)) {
            let square = |index: u32| squared_distance(&points[index as usize], &query);
            let mut all: Vec<_> = (0..n as u32).map(|index| (square(index), index)).collect();
            all.sort_by(|left, right| left.partial_cmp(right).unwrap());
            for radius in [0.5, 3.0, f64::INFINITY] {
                let close = all.iter().copied().filter(|(square, _)| *square <= radius * radius);
                let expected: Vec<_> = close.clone().take(3).collect();
                let found: Vec<_> = tree.nearest::<3>(query, radius).into_iter().flatten().collect();
                assert_eq!(found, expected);
                let mut within = vec![];
                tree.within(query, radius, &mut within);
                within.sort_unstable();
                let mut expected: Vec<_> = close.map(|(_, index)| index).collect();
                expected.sort_unstable();
                assert_eq!(within, expected);
            }
        }
    }

    #[test]
    fn the_nearest_are_found_and_ties_go_to_the_first() {
        for n in [0, 1, 8, 9, 17, 500] {
            check::<2>(n, 9.0);
            check::<2>(n, 1000.0);
            check::<8>(n, 4.0);
        }
    }
}

//! Nearest neighbours in a few dimensions: a balanced tree of half spaces over leaves that are compared as a whole
//! (Bentley 1975; the distance to a far half kept up to date per axis as in Arya and Mount 1993).

use super::descriptors::{Descriptor, N_NUMBERS};

/// Points per leaf, which are compared all at once.
const LEAF_LEN: usize = 16;

/// One number of each point of a leaf, after the other: so that processors compare several points at a time.
type Leaf = [[f32; LEAF_LEN]; N_NUMBERS];

/// Descriptions, arranged so that those that resemble one are found by looking at few.
///
/// The leaves of a stretch are split before its middle one along the axis in which their points spread most: smaller
/// ones stand before it, larger ones from it on.
#[derive(Debug, Clone)]
pub(super) struct KdTree {
    leaves: Vec<Leaf>,
    /// The position among the points that the tree was made of, leaf after leaf.
    indices: Vec<u32>,
    /// At the middle leaf of a split stretch: the axis, and where on it.
    splits: Vec<(u8, f32)>,
}

/// A point found: squared distance, then its position. Compared in this order, so that ties have one outcome.
pub(super) type Neighbour = (f32, u32);

impl KdTree {
    /// Arranges points in O(n log n).
    pub(super) fn new(points: &[Descriptor]) -> Self {
        let mut indices: Vec<u32> = (0..points.len() as u32).collect();
        let n_leaves = points.len().div_ceil(LEAF_LEN);
        let mut builder =
            Builder { points, splits: vec![(0, 0.0); n_leaves], keys: Vec::with_capacity(points.len()) };
        builder.arrange(&mut indices, 0);
        let leaf = |members: &[u32]| {
            // what is not there is nowhere near
            let mut leaf = [[f32::INFINITY; LEAF_LEN]; N_NUMBERS];
            for (place, &index) in members.iter().enumerate() {
                for (axis, value) in points[index as usize].iter().enumerate() {
                    leaf[axis][place] = *value;
                }
            }
            leaf
        };
        Self { leaves: indices.chunks(LEAF_LEN).map(leaf).collect(), splits: builder.splits, indices }
    }

    /// The `K` nearest points within a radius, nearest first; fewer where there are no more.
    pub(super) fn nearest<const K: usize>(&self, query: &Descriptor, radius: f32) -> [Option<Neighbour>; K] {
        let mut search = Search { tree: self, query, found: [(radius * radius, u32::MAX); K] };
        search.descend((0, self.leaves.len()), 0.0, [0.0; N_NUMBERS]);
        search.found.map(|neighbour| (neighbour.1 != u32::MAX).then_some(neighbour))
    }
}

struct Search<'a, const K: usize> {
    tree: &'a KdTree,
    query: &'a Descriptor,
    /// The nearest so far, nearest first.
    found: [Neighbour; K],
}

impl<const K: usize> Search<'_, K> {
    /// Looks through leaves whose points are at least the root of `least` away: the sum of squares of `offsets`, the
    /// distance along each axis.
    fn descend(&mut self, (start, end): (usize, usize), least: f32, offsets: Descriptor) {
        if end - start <= 1 {
            if start < end {
                self.look_at(start);
            }
            return;
        }
        let middle = start.midpoint(end);
        let (axis, split) = self.tree.splits[middle];
        let axis = usize::from(axis);
        let offset = self.query[axis] - split;
        let (near, far) = ((start, middle), (middle, end));
        let (near, far) = if offset < 0.0 { (near, far) } else { (far, near) };
        self.descend(near, least, offsets);
        let least = least - offsets[axis] * offsets[axis] + offset * offset;
        // the sum is rounded otherwise than distances are
        if least * (1.0 - 16.0 * f32::EPSILON) <= self.found[K - 1].0 {
            let mut offsets = offsets;
            offsets[axis] = offset;
            self.descend(far, least, offsets);
        }
    }

    fn look_at(&mut self, leaf: usize) {
        let mut squares = [0.0; LEAF_LEN];
        for (values, query) in self.tree.leaves[leaf].iter().zip(self.query) {
            for (square, value) in squares.iter_mut().zip(values) {
                let difference = value - query;
                *square += difference * difference;
            }
        }
        let farthest = self.found[K - 1].0;
        if squares.iter().all(|square| *square > farthest) {
            return;
        }
        let members = self.tree.indices[leaf * LEAF_LEN..].iter();
        for (&square, &index) in squares.iter().zip(members) {
            if square <= self.found[K - 1].0 {
                self.insert((square, index));
            }
        }
    }

    fn insert(&mut self, mut candidate: Neighbour) {
        for place in &mut self.found {
            if candidate < *place {
                std::mem::swap(place, &mut candidate);
            }
        }
    }
}

struct Builder<'a> {
    points: &'a [Descriptor],
    splits: Vec<(u8, f32)>,
    /// Where points stand on an axis, above their indices.
    keys: Vec<u64>,
}

impl Builder<'_> {
    /// Arranges the points of the leaves from `first` on.
    fn arrange(&mut self, indices: &mut [u32], first: usize) {
        let n_leaves = indices.len().div_ceil(LEAF_LEN);
        if n_leaves <= 1 {
            return;
        }
        let middle = first.midpoint(first + n_leaves);
        let n_before = (middle - first) * LEAF_LEN;
        let axis = self.widest_axis(indices);
        self.keys.clear();
        let key =
            |&index: &u32| u64::from(ordered(self.points[index as usize][axis])) << 32 | u64::from(index);
        self.keys.extend(indices.iter().map(key));
        let (_, split, _) = self.keys.select_nth_unstable(n_before);
        self.splits[middle] = (axis as u8, self.points[*split as u32 as usize][axis]);
        for (index, key) in indices.iter_mut().zip(&self.keys) {
            *index = *key as u32;
        }
        let (before, after) = indices.split_at_mut(n_before);
        self.arrange(before, first);
        self.arrange(after, middle);
    }

    /// The axis along which points spread most; the first of equal ones.
    fn widest_axis(&self, indices: &[u32]) -> usize {
        let mut low = [f32::INFINITY; N_NUMBERS];
        let mut high = [f32::NEG_INFINITY; N_NUMBERS];
        for &index in indices {
            let point = &self.points[index as usize];
            for axis in 0..N_NUMBERS {
                low[axis] = if point[axis] < low[axis] { point[axis] } else { low[axis] };
                high[axis] = if point[axis] > high[axis] { point[axis] } else { high[axis] };
            }
        }
        let spread = |axis: usize| high[axis] - low[axis];
        (1..N_NUMBERS).fold(0, |widest, axis| if spread(axis) > spread(widest) { axis } else { widest })
    }
}

/// Whole numbers in the order of finite numbers; minus zero comes before zero.
fn ordered(value: f32) -> u32 {
    let bits = value.to_bits();
    if bits >> 31 == 0 { bits | 1 << 31 } else { !bits }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::analysis::synthesis::Random;

    /// Against looking at every point; whole numbers, so that many distances are equal.
    fn check(n: usize, n_values: f64) {
        let mut random = Random::new(3);
        let points: Vec<Descriptor> = (0..n)
            .map(|_| [0; N_NUMBERS].map(|_| (random.uniform() * n_values).floor() as f32 - 1.0))
            .collect();
        let tree = KdTree::new(&points);
        for query in points.iter().step_by(7).map(|point| point.map(|value| value + 0.25)) {
            let square = |point: &Descriptor| -> f32 {
                (0..N_NUMBERS).map(|axis| (point[axis] - query[axis]).powi(2)).sum()
            };
            let mut all: Vec<_> = points.iter().map(square).zip(0_u32..).collect();
            all.sort_by(|left, right| left.partial_cmp(right).unwrap());
            for radius in [1.5, f32::INFINITY] {
                let close = all.iter().copied().filter(|(square, _)| *square <= radius * radius);
                let found: Vec<_> = tree.nearest::<3>(&query, radius).into_iter().flatten().collect();
                assert_eq!(found, close.take(3).collect::<Vec<_>>());
            }
        }
        if n == 0 {
            assert_eq!(tree.nearest::<3>(&[0.0; N_NUMBERS], f32::INFINITY), [None; 3]);
        }
    }

    #[test]
    fn the_nearest_are_found_and_ties_go_to_the_first() {
        for n in [0, 1, 2, 16, 17, 33, 500] {
            check(n, 4.0);
            check(n, 1000.0);
        }
    }

    #[test]
    fn numbers_keep_their_order() {
        let values = [-3.0, -1e-30, -0.0, 0.0, 1e-30, 0.5, 4.0];
        assert!(values.windows(2).all(|pair| ordered(pair[0]) < ordered(pair[1])));
    }
}

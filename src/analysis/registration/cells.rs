//! Which nuclei of two magnifications are one cell: the pairs of single registrations, kept small, and brought together
//! over fields that overlap.

use std::collections::HashMap;

use crate::analysis::varint;

/// Positions of points in both fields that are the same nucleus, `(moving, reference)`.
pub type PointPair = (u32, u32);

/// Writes pairs down, ascending by the moving field: how many there are, then of each the step of the moving position
/// and the step of the reference position, two to three bytes a pair.
pub fn pairs_to_bytes(pairs: &[(usize, usize)]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(3 * pairs.len() + 2);
    varint::put(&mut bytes, pairs.len() as u64);
    let mut before = [0_i64; 2];
    for &(moving, reference) in pairs {
        let next = [moving as i64, reference as i64];
        (0..2).for_each(|side| varint::put(&mut bytes, varint::zigzag(next[side] - before[side])));
        before = next;
    }
    bytes
}

/// Takes back what [`pairs_to_bytes`] gave; `None` for anything else.
pub fn pairs_from_bytes(mut bytes: &[u8]) -> Option<Vec<PointPair>> {
    let n_pairs = usize::try_from(varint::take(&mut bytes)?).ok().filter(|n| *n <= bytes.len() / 2)?;
    let mut pairs = Vec::with_capacity(n_pairs);
    let mut at = [0_i64; 2];
    for _ in 0..n_pairs {
        for position in &mut at {
            *position = position.checked_add(varint::unzigzag(varint::take(&mut bytes)?))?;
        }
        pairs.push((u32::try_from(at[0]).ok()?, u32::try_from(at[1]).ok()?));
    }
    bytes.is_empty().then_some(pairs)
}

/// A nucleus on a plane: the number of the plane, the number of the nucleus on it.
pub type Cell = (u32, u32);

/// A nucleus of a fine field and one of an overview that a registration takes for the same.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct CellPair {
    /// In the fine field.
    pub fine: Cell,
    /// In the overview.
    pub coarse: Cell,
    /// How far apart they are, in px of the overview.
    pub distance_px: f64,
}

/// The positions of the pairs that stand for a cell each, ascending: one for each cell, whatever number of fields and
/// overviews show it.
///
/// Two nuclei are one cell when a pair says so, or when both are one cell with a third; two nuclei of one plane never are.
/// The nearest pairs are heard first, of equal ones the first by planes and numbers; a pair that would make one cell of two
/// nuclei of a plane is not heard. The nearest pair of a cell stands for it. The same for any order of the pairs.
pub fn one_pair_per_cell(pairs: &[CellPair]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..pairs.len()).collect();
    order.sort_unstable_by(|&a, &b| {
        let (a, b) = (&pairs[a], &pairs[b]);
        a.distance_px.total_cmp(&b.distance_px).then((a.fine, a.coarse).cmp(&(b.fine, b.coarse)))
    });
    let mut known = Cells::default();
    for (rank, &position) in order.iter().enumerate() {
        let CellPair { fine, coarse, .. } = pairs[position];
        let sides = [known.number_of(fine), known.number_of(coarse)];
        known.join(sides, rank);
    }
    let ranks = known.groups.into_iter().filter_map(|group| group.rank);
    let mut standing: Vec<usize> = ranks.map(|rank| order[rank]).collect();
    standing.sort_unstable();
    standing
}

/// Nuclei, and which of them are one cell.
#[derive(Default)]
struct Cells {
    numbers: HashMap<Cell, usize>,
    /// Of each nucleus the group, or where that was joined to another one, the next on the way there.
    groups: Vec<Group>,
}

/// Nuclei that are one cell.
struct Group {
    /// Itself, unless it was joined to another one.
    next: usize,
    /// One to a plane.
    members: Vec<Cell>,
    /// Of the pairs heard that made it the nearest, by its rank.
    rank: Option<usize>,
}

impl Cells {
    fn number_of(&mut self, cell: Cell) -> usize {
        let next = self.groups.len();
        let number = *self.numbers.entry(cell).or_insert(next);
        if number == next {
            self.groups.push(Group { next, members: vec![cell], rank: None });
        }
        let mut number = number;
        while self.groups[number].next != number {
            number = self.groups[number].next;
        }
        number
    }

    /// Makes one group of two, unless they hold different nuclei of one plane.
    fn join(&mut self, [one, other]: [usize; 2], rank: usize) {
        let shares_plane = |cell: &Cell| self.groups[other].members.iter().any(|member| member.0 == cell.0);
        if one == other || self.groups[one].members.iter().any(shares_plane) {
            return;
        }
        // the smaller one joins the larger one, so that ways stay short
        let is_smaller = self.groups[one].members.len() < self.groups[other].members.len();
        let [kept, gone] = if is_smaller { [other, one] } else { [one, other] };
        let members = std::mem::take(&mut self.groups[gone].members);
        let ranks = [self.groups[gone].rank.take(), self.groups[kept].rank, Some(rank)];
        self.groups[gone].next = kept;
        self.groups[kept].members.extend(members);
        self.groups[kept].rank = ranks.into_iter().flatten().min();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::analysis::synthesis::Random;

    #[test]
    fn pairs_come_back_from_their_bytes_and_nothing_else_does() {
        let pairs = [(0, 700), (3, 12), (4, 13), (4000, 65_535)];
        let bytes = pairs_to_bytes(&pairs);
        assert_eq!(bytes.len(), 14);
        let expected: Vec<PointPair> = pairs.iter().map(|&(m, r)| (m as u32, r as u32)).collect();
        assert_eq!(pairs_from_bytes(&bytes), Some(expected));
        assert_eq!(pairs_from_bytes(&pairs_to_bytes(&[])), Some(vec![]));
        for bad in [&bytes[..bytes.len() - 1], &[&bytes[..], &[0]].concat(), &[], &[1, 1, 0], &[200, 1, 0, 0]]
        {
            assert_eq!(pairs_from_bytes(bad), None, "{bad:?}");
        }
    }

    fn pair(fine: Cell, coarse: Cell, distance_px: f64) -> CellPair {
        CellPair { fine, coarse, distance_px }
    }

    fn check(pairs: &[CellPair], expected: &[usize]) {
        assert_eq!(one_pair_per_cell(pairs), expected, "{pairs:?}");
        // in any order the same pairs stand
        let reversed: Vec<_> = pairs.iter().rev().copied().collect();
        let mut found: Vec<_> =
            one_pair_per_cell(&reversed).into_iter().map(|position| pairs.len() - 1 - position).collect();
        found.sort_unstable();
        assert_eq!(found, expected, "reversed: {pairs:?}");
    }

    /// Fine fields are planes 1 and 2, overviews 11 and 12.
    #[test]
    fn every_cell_counts_once() {
        // one field in one overview: all pairs
        check(&[pair((1, 1), (11, 1), 0.3), pair((1, 2), (11, 2), 0.1)], &[0, 1]);
        // a cell of a fine field in two overviews takes the nearer one
        check(&[pair((1, 1), (11, 1), 0.3), pair((1, 1), (12, 7), 0.1)], &[1]);
        // a cell of the overview in two fine fields
        check(&[pair((1, 1), (11, 1), 0.1), pair((2, 5), (11, 1), 0.3)], &[0]);
        // both: the same cell under four numbers, the link between them the farthest of all
        check(&[pair((1, 1), (11, 1), 0.1), pair((2, 5), (12, 7), 0.2), pair((1, 1), (12, 7), 0.4)], &[0]);
        // equally near: the first by planes and numbers
        check(&[pair((1, 2), (12, 7), 0.1), pair((1, 2), (11, 1), 0.1)], &[1]);
        check(&[], &[]);
    }

    #[test]
    fn two_nuclei_of_one_plane_are_never_one_cell() {
        // overview 12 misses the cell next to its number 7, and field 1 takes 7 for it
        let pairs = [
            pair((1, 1), (11, 1), 0.1),
            pair((1, 2), (11, 2), 0.1),
            pair((2, 5), (12, 7), 0.2),
            pair((2, 5), (11, 1), 0.2),
            pair((1, 2), (12, 7), 0.9),
        ];
        check(&pairs, &[0, 1]);
    }

    #[test]
    fn in_overlaps_of_drawn_fields_every_cell_has_one_row() {
        let mut random = Random::new(5);
        let (mut pairs, mut truth) = (vec![], vec![]);
        for cell in 0..2000_u32 {
            // which of four fine fields and three overviews show it, each under a number of its own
            let planes: Vec<u32> = (0..7).filter(|_| random.uniform() < 0.5).collect();
            let (fine, coarse): (Vec<u32>, Vec<u32>) = planes.into_iter().partition(|plane| *plane < 4);
            for &fine in &fine {
                for &coarse in &coarse {
                    let number = |plane: u32| cell.wrapping_mul(plane + 3) % 2003;
                    pairs.push(pair((fine, number(fine)), (coarse, number(coarse)), random.uniform()));
                    truth.push(cell);
                }
            }
        }
        let mut found: Vec<u32> =
            one_pair_per_cell(&pairs).into_iter().map(|position| truth[position]).collect();
        found.sort_unstable();
        truth.dedup();
        assert_eq!(found, truth);
    }
}

//! The table of merged cells: one row for each nucleus that two magnifications show, in the form of optical pooled
//! screening (`tile, cell_0, i_0, j_0, site, cell_1, i_1, j_1, distance`).

use std::collections::{BTreeSet, HashMap};
use std::io::{self, Write};

use super::csv::CsvWriter;
use crate::analysis::registration::{CellPair, one_pair_per_cell};
use crate::geometry::Affine;
use crate::store::{AcceptedPair, AcceptedSide, LedgerError, LedgerReader};

/// The columns, in order: where both nuclei are told apart over wells and files; then number, row and column of the one in
/// the overview (0) and of the one in the fine field (1), and how far apart they are in px of the overview.
const COLUMNS: [&str; 15] = [
    "plate",
    "well",
    "reference_file",
    "reference_plane",
    "moving_file",
    "moving_plane",
    "tile",
    "cell_0",
    "i_0",
    "j_0",
    "site",
    "cell_1",
    "i_1",
    "j_1",
    "distance",
];

/// Writes the table, group by group of fields that share an overview; `file_name` is how a file is called in it.
///
/// A cell that several fields or overviews show has one row: see [`one_pair_per_cell`].
pub(super) fn write<W: Write, E: From<LedgerError> + From<io::Error>>(
    reader: &LedgerReader,
    csv: &mut CsvWriter<W>,
    file_name: impl Fn(&AcceptedSide) -> String,
) -> Result<(), E> {
    csv.names(COLUMNS)?;
    for group in groups(reader.accepted_pairs()?) {
        let planes = Planes::of(reader, &group)?;
        let mut pairs = vec![];
        for pair in &group {
            let Some(sides) = planes.numbers_of(pair) else { continue };
            let (nuclei, result) = reader.accepted_nuclei(pair)?;
            let transform = result.get("reference_from_moving").cloned().unwrap_or_default();
            // a line without its transform is not one that was accepted
            let Ok(transform) = serde_json::from_value::<Affine>(transform) else { continue };
            let [moving, reference] = sides.map(|number| &planes.sides[number as usize].centroids.points);
            for (m, r) in nuclei {
                let (Some(from), Some(to)) = (moving.get(m as usize), reference.get(r as usize)) else {
                    continue;
                };
                let ([x, y], [u, v]) = (transform.apply(from.map(f64::from)), to.map(f64::from));
                let distance_px = (x - u).hypot(y - v);
                pairs.push(CellPair { fine: (sides[0], m), coarse: (sides[1], r), distance_px });
            }
        }
        for position in one_pair_per_cell(&pairs) {
            planes.write_row(csv, &pairs[position], &file_name)?;
        }
    }
    Ok(())
}

/// Pairs by fields that are linked by a common plane at one cycle and time point; the groups in the order of the first pair
/// of each, and the pairs of each in the order given.
fn groups(pairs: Vec<AcceptedPair>) -> Vec<Vec<AcceptedPair>> {
    let mut group_of: HashMap<(i64, (Option<String>, i64)), usize> = HashMap::new();
    // of each group the positions of its pairs
    let mut groups: Vec<Vec<usize>> = vec![];
    let keys = |pair: &AcceptedPair| [pair.moving, pair.reference].map(|plane| (plane, pair.shot.clone()));
    for (position, pair) in pairs.iter().enumerate() {
        let keys_of_pair = keys(pair);
        let mut own: Vec<usize> = keys_of_pair.iter().filter_map(|key| group_of.get(key).copied()).collect();
        own.sort_unstable();
        own.dedup();
        let target = own.first().copied().unwrap_or_else(|| {
            groups.push(vec![]);
            groups.len() - 1
        });
        for gone in own.into_iter().skip(1) {
            let moved = std::mem::take(&mut groups[gone]);
            group_of
                .extend(moved.iter().flat_map(|&position| keys(&pairs[position])).map(|key| (key, target)));
            groups[target].extend(moved);
        }
        group_of.extend(keys_of_pair.map(|key| (key, target)));
        groups[target].push(position);
    }
    groups.retain(|group| !group.is_empty());
    // those of joined groups stand behind one another
    groups.iter_mut().for_each(|group| group.sort_unstable());
    let in_order = |group: Vec<usize>| group.into_iter().map(|position| pairs[position].clone()).collect();
    groups.into_iter().map(in_order).collect()
}

/// The planes of a group, by numbers of their own: in the order of their files.
struct Planes {
    numbers: HashMap<i64, u32>,
    sides: Vec<AcceptedSide>,
}

impl Planes {
    /// Those whose nuclei are known.
    fn of(reader: &LedgerReader, group: &[AcceptedPair]) -> Result<Self, LedgerError> {
        let ids: BTreeSet<i64> = group.iter().flat_map(|pair| [pair.moving, pair.reference]).collect();
        let mut sides = vec![];
        for id in ids {
            sides.extend(reader.accepted_side(id)?.map(|side| (id, side)));
        }
        sides.sort_by(|(_, a), (_, b)| (&a.root, &a.path, a.index).cmp(&(&b.root, &b.path, b.index)));
        let (ids, sides): (Vec<i64>, Vec<AcceptedSide>) = sides.into_iter().unzip();
        Ok(Self { numbers: ids.into_iter().zip(0..).collect(), sides })
    }

    /// The numbers of both planes of a pair; none where the nuclei of one are not known.
    fn numbers_of(&self, pair: &AcceptedPair) -> Option<[u32; 2]> {
        Some([*self.numbers.get(&pair.moving)?, *self.numbers.get(&pair.reference)?])
    }

    fn write_row<W: Write>(
        &self,
        csv: &mut CsvWriter<W>,
        pair: &CellPair,
        file_name: impl Fn(&AcceptedSide) -> String,
    ) -> io::Result<()> {
        let [fine, coarse] =
            [pair.fine, pair.coarse].map(|cell| (&self.sides[cell.0 as usize], cell.1 as usize));
        let known =
            |of: fn(&AcceptedSide) -> &Option<String>| of(fine.0).as_deref().or(of(coarse.0).as_deref());
        csv.text_if_any(known(|side| &side.identity.plate))?;
        csv.text_if_any(known(|side| &side.identity.well))?;
        for (side, _) in [coarse, fine] {
            csv.text(&file_name(side))?;
            csv.text(&side.index.to_string())?;
        }
        for (side, position) in [coarse, fine] {
            let [x, y] = side.centroids.points[position];
            let label = side.centroids.labels.get(position);
            csv.text_if_any(side.identity.site.as_deref())?;
            csv.text_if_any(label.map(u32::to_string).as_deref())?;
            csv.number(y)?;
            csv.number(x)?;
        }
        csv.number(format_args!("{:.4}", pair.distance_px))?;
        csv.end_row()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair((moving, reference): (i64, i64)) -> AcceptedPair {
        AcceptedPair { moving, reference, shot: (None, 0), digests: [[0; 32]; 2] }
    }

    #[test]
    fn groups_that_a_later_pair_joins_keep_the_order_of_files() {
        let pairs = [(1, 10), (2, 11), (3, 12), (4, 10), (5, 11), (5, 10), (6, 12)];
        let found = groups(pairs.map(pair).to_vec());
        let first = [(1, 10), (2, 11), (4, 10), (5, 11), (5, 10)];
        assert_eq!(found, [first.map(pair).to_vec(), [(3, 12), (6, 12)].map(pair).to_vec()]);
        // another cycle stays apart
        let other = AcceptedPair { shot: (Some("2".to_owned()), 0), ..pair((1, 11)) };
        assert_eq!(groups(vec![pair((1, 10)), pair((2, 11)), other]).len(), 3);
    }
}

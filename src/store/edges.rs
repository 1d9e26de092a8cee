//! Look-alikes: what pairs of pixel digests are to each other, and which of it counts.
//!
//! An edge is the primary record: its evidence depends on the pixels alone. It counts while both digests have live planes,
//! no two of these are expected to look alike (see [`super::series`]) and no operator says otherwise, so what counts does
//! not depend on the order of arrival.

use std::collections::BTreeSet;

use rusqlite::{Row, params};
use serde_json::{Value, json};

use super::groups::{Member, group_name};
use super::outbox::{self, Content};
use super::rows::Columns;
use super::session::Session;
use super::{stars, stuck, verdicts};
use crate::analysis::verification::{Placement, Relation};
use crate::store::{Edge, LedgerError, OperatorVerdict, PairEvidence, PixelDigest, Stream};

/// Relations that make groups of mapped copies.
const GROUPING: [Relation; 2] = [Relation::SameExposureMapped, Relation::SameExposureLossy];

/// Relations that are worth a word and never a group, the weightier first.
pub(super) const FLAGS: [Relation; 3] = [Relation::PartialOverlap, Relation::Reacquired, Relation::Uncertain];

/// The relation of two classes that are in one group by the word of an operator alone.
const DECLARED: &str = "declared_same";
/// The reason of what is so by the word of an operator.
const OPERATOR: &str = "operator";

/// Nothing was measured.
const NO_EVIDENCE: PairEvidence =
    PairEvidence { confidence: 0.0, s: None, r: None, q: None, placement: None };

/// The columns that [`EdgeRow::take`] takes.
pub(super) const EDGE_COLUMNS: &str = "edge.a, edge.b, relation, confidence, s, r, q, b_in_a, a_in_b, edge.reason, edge.version, is_counted, is_told";

/// An edge as kept.
pub(super) struct EdgeRow {
    pub(super) a: PixelDigest,
    pub(super) b: PixelDigest,
    pub(super) relation: Relation,
    pub(super) reason: String,
    version: u32,
    is_counted: bool,
    is_told: bool,
    figures: PairEvidence,
    a_in_b: Option<Placement>,
}

/// The two ends of an edge, in order.
pub(super) type Ends = [PixelDigest; 2];

/// Writes edges down; a verdict that is none (distinct, changed) takes an earlier one back. The same once more changes
/// nothing. One whose planes are not there yet counts once they are.
pub(super) fn save(session: &Session<'_>, edges: &[Edge]) -> Result<(), LedgerError> {
    let mut touched = BTreeSet::new();
    for edge in edges {
        if edge.a >= edge.b {
            return Err(LedgerError::Misuse("an edge leads from the smaller digest to the larger".into()));
        }
        let n_changed = if stored(edge.relation.name()).is_some() {
            insert(session, edge)?
        } else {
            forget(session, edge)?
        };
        if n_changed > 0 {
            touched.insert([edge.a, edge.b]);
        }
    }
    let Some([digest, _]) = touched.first().copied() else { return Ok(()) };
    stuck::look_at_edges(session, edges, &touched)?;
    class_changed(session, &digest, touched, false)
}

/// Counts the edges of a digest anew after a plane of it came, went or changed its place or its rank, and the groups with
/// them. `touched` are the edges that were written; `is_best_new` when another plane may represent the class now, or
/// the same one with another rank.
pub(super) fn class_changed(
    session: &Session<'_>,
    digest: &PixelDigest,
    touched: BTreeSet<Ends>,
    is_best_new: bool,
) -> Result<(), LedgerError> {
    let mut edges = of_digest(session, digest)?;
    // what holds by the word of an operator alone changes no edge when a class comes or goes
    let is_declared = !verdicts::partners(session, digest, OperatorVerdict::Same)?.is_empty();
    if edges.is_empty() && touched.is_empty() && !is_declared {
        return Ok(());
    }
    // one digest is named of all whose edges were written
    for [a, b] in touched.iter().filter(|ends| !ends.contains(digest)) {
        edges.extend(between(session, a, b)?);
    }
    edges.sort_unstable_by_key(|edge| (edge.a, edge.b));
    edges.dedup_by_key(|edge| (edge.a, edge.b));
    let may_stay = touched.is_empty() && !is_best_new && !is_declared;
    let mut seeds: BTreeSet<PixelDigest> = touched.into_iter().flatten().collect();
    seeds.insert(*digest);
    let mut changed = Vec::new();
    for mut edge in edges {
        let is_counted = counts(session, &edge)?;
        if is_counted == edge.is_counted {
            continue;
        }
        session.execute(
            "UPDATE edge SET is_counted = ?3 WHERE a = ?1 AND b = ?2",
            params![edge.a, edge.b, is_counted],
        )?;
        seeds.extend([edge.a, edge.b]);
        edge.is_counted = is_counted;
        changed.push(edge);
    }
    if may_stay && changed.is_empty() {
        return Ok(());
    }
    stars::rebuild(session, seeds)?;
    changed.iter().filter(|edge| FLAGS.contains(&edge.relation)).try_for_each(|edge| tell_flag(session, edge))
}

/// Tells that a flag came or went, unless the representatives of both groups have one, or there is one group only.
fn tell_flag(session: &Session<'_>, edge: &EdgeRow) -> Result<(), LedgerError> {
    if edge.is_told {
        emit_flag(session, edge, "unflagged")?;
    } else if edge.is_counted && !is_covered(session, edge)? {
        emit_flag(session, edge, "flagged")?;
    } else {
        return Ok(());
    }
    session.execute(
        "UPDATE edge SET is_told = ?3 WHERE a = ?1 AND b = ?2",
        params![edge.a, edge.b, !edge.is_told],
    )?;
    Ok(())
}

fn is_covered(session: &Session<'_>, edge: &EdgeRow) -> Result<bool, LedgerError> {
    let (group_a, group_b) = (stars::of_class(session, &edge.a)?, stars::of_class(session, &edge.b)?);
    if group_a == group_b || (group_a, group_b) == (edge.a, edge.b) {
        return Ok(group_a == group_b);
    }
    let between = between(session, &group_a, &group_b)?;
    Ok(between.is_some_and(|edge| edge.is_counted && FLAGS.contains(&edge.relation)))
}

/// The edges that make groups, from one digest: the other ends.
pub(super) fn mapped_neighbours(
    session: &Session<'_>,
    digest: &PixelDigest,
) -> Result<Vec<PixelDigest>, LedgerError> {
    let edges = of_digest(session, digest)?.into_iter();
    let grouping = edges.filter(|edge| edge.is_counted && GROUPING.contains(&edge.relation));
    Ok(grouping.map(|edge| if edge.a == *digest { edge.b } else { edge.a }).collect())
}

/// What a digest is to others, as far as it counts.
pub(super) fn counted(
    session: &Session<'_>,
    digest: &PixelDigest,
) -> Result<Vec<(&'static str, PixelDigest)>, LedgerError> {
    let edges = of_digest(session, digest)?.into_iter().filter(|edge| edge.is_counted);
    Ok(edges.map(|edge| (edge.relation.name(), if edge.a == *digest { edge.b } else { edge.a })).collect())
}

/// The edge between two digests.
pub(super) fn between(
    session: &Session<'_>,
    one: &PixelDigest,
    other: &PixelDigest,
) -> Result<Option<EdgeRow>, LedgerError> {
    let sql = format!("SELECT {EDGE_COLUMNS} FROM edge WHERE a = ?1 AND b = ?2");
    session.row_if_any(&sql, params![one.min(other), one.max(other)], EdgeRow::read)?.transpose()
}

/// What makes a class a member of the group of another one.
pub(super) struct Bond {
    pub(super) relation: &'static str,
    pub(super) reason: Option<&'static str>,
    /// The representative first.
    pub(super) evidence: PairEvidence,
}

/// What a class is to the representative of its group; none for that itself.
pub(super) fn bond(
    session: &Session<'_>,
    star: &PixelDigest,
    member: &PixelDigest,
) -> Result<Option<Bond>, LedgerError> {
    if star == member {
        return Ok(None);
    }
    let edge = between(session, star, member)?;
    let is_declared = verdicts::of_pair(session, star, member)? == Some(OperatorVerdict::Same);
    let evidence = edge.as_ref().map_or(NO_EVIDENCE, |edge| edge.evidence(star));
    Ok(Some(match edge {
        Some(edge) if GROUPING.contains(&edge.relation) => {
            let is_by_word = is_declared || !edge.is_counted;
            Bond { relation: edge.relation.name(), reason: is_by_word.then_some(OPERATOR), evidence }
        }
        // the word of the operator is as sure as can be
        _ => Bond {
            relation: DECLARED,
            reason: Some(OPERATOR),
            evidence: PairEvidence { confidence: 1.0, ..evidence },
        },
    }))
}

/// A class of equal pixels in a line of `duplicates.jsonl`; its file is null where the class has lost its last plane.
pub(super) fn class_report(session: &Session<'_>, digest: &PixelDigest) -> Result<Value, LedgerError> {
    let mut report = Member::of_class(session, digest)?
        .map_or(json!({ "root": null, "file": null, "plane": null }), |member| member.report());
    report["class"] = group_name(digest).into();
    Ok(report)
}

fn of_digest(session: &Session<'_>, digest: &PixelDigest) -> Result<Vec<EdgeRow>, LedgerError> {
    let sql = format!(
        "SELECT {EDGE_COLUMNS} FROM edge WHERE a = ?1 UNION ALL SELECT {EDGE_COLUMNS} FROM edge WHERE b = ?1 \
         ORDER BY 1, 2"
    );
    session.rows(&sql, [digest], EdgeRow::read)?.into_iter().collect()
}

fn insert(session: &Session<'_>, edge: &Edge) -> Result<usize, LedgerError> {
    let known = between(session, &edge.a, &edge.b)?;
    // a pair that could not be read stays what it was, and so does one that was verified alike
    if known.as_ref().is_some_and(|known| [0, known.version].contains(&edge.version)) {
        return Ok(0);
    }
    take_back(session, known)?;
    session.execute(
        "INSERT OR REPLACE INTO edge (a, b, relation, confidence, s, r, q, b_in_a, a_in_b, reason, version) \
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)",
        params![
            edge.a,
            edge.b,
            edge.relation.name(),
            edge.confidence,
            edge.s,
            edge.r,
            edge.q,
            edge.b_in_a.map(placement_text),
            edge.a_in_b.map(placement_text),
            edge.reason,
            edge.version,
        ],
    )
}

fn forget(session: &Session<'_>, edge: &Edge) -> Result<usize, LedgerError> {
    take_back(session, between(session, &edge.a, &edge.b)?)?;
    session.execute("DELETE FROM edge WHERE a = ?1 AND b = ?2", params![edge.a, edge.b])
}

/// Tells that a flag is none any more, or another one, where it was told.
fn take_back(session: &Session<'_>, known: Option<EdgeRow>) -> Result<(), LedgerError> {
    match known {
        Some(told) if told.is_told => emit_flag(session, &told, "unflagged"),
        _ => Ok(()),
    }
}

/// Whether both digests have live planes, none of which is an expected repeat of one of the other, and no operator has
/// said that they are no duplicates, nor of a flag what they are.
fn counts(session: &Session<'_>, edge: &EdgeRow) -> Result<bool, LedgerError> {
    session.row(
        "SELECT EXISTS (SELECT 1 FROM plane WHERE digest = ?1 AND is_live = 1) \
         AND EXISTS (SELECT 1 FROM plane WHERE digest = ?2 AND is_live = 1) \
         AND NOT EXISTS (SELECT 1 FROM plane x JOIN plane y ON x.file_id = y.file_id OR x.field = y.field \
         AND (x.lane, x.series_t, x.series_z) != (y.lane, y.series_t, y.series_z) \
         WHERE x.digest = ?1 AND x.is_live = 1 AND y.digest = ?2 AND y.is_live = 1) \
         AND NOT EXISTS (SELECT 1 FROM verdict WHERE a = ?1 AND b = ?2 AND (says = 'not-duplicate' OR ?3))",
        params![edge.a, edge.b, FLAGS.contains(&edge.relation)],
        |row| row.get(0),
    )
}

fn emit_flag(session: &Session<'_>, edge: &EdgeRow, event: &str) -> Result<(), LedgerError> {
    let PairEvidence { confidence, s, r, q, .. } = edge.figures;
    let content = Content::default()
        .with("event", event)
        .with("relation", edge.relation.name())
        .with("first", class_report(session, &edge.a)?)
        .with("second", class_report(session, &edge.b)?)
        .with("confidence", confidence)
        .with("s", s)
        .with("r", r)
        .with("q", q)
        .with("reason", edge.reason.as_str());
    outbox::emit(session, Stream::Duplicates, &content)
}

/// The relation of that name, where it is one that edges are kept of.
pub(super) fn stored(name: &str) -> Option<Relation> {
    GROUPING.into_iter().chain(FLAGS).find(|relation| relation.name() == name)
}

impl EdgeRow {
    fn read(row: &Row<'_>) -> rusqlite::Result<Result<Self, LedgerError>> {
        Self::take(&mut Columns::new(row))
    }

    /// Takes [`EDGE_COLUMNS`].
    pub(super) fn take(column: &mut Columns<'_, '_>) -> rusqlite::Result<Result<Self, LedgerError>> {
        let (a, b) = (column.next()?, column.next()?);
        let name: String = column.next()?;
        let Some(relation) = stored(&name) else {
            return Ok(Err(LedgerError::Damaged(format!("unknown relation {name:?}"))));
        };
        let figures = PairEvidence {
            confidence: column.next()?,
            s: column.next()?,
            r: column.next()?,
            q: column.next()?,
            placement: column.next::<Option<String>>()?.as_deref().and_then(placement),
        };
        let a_in_b = column.next::<Option<String>>()?.as_deref().and_then(placement);
        let (reason, version) = (column.next()?, column.next()?);
        let (is_counted, is_told) = (column.next()?, column.next()?);
        Ok(Ok(Self { a, b, relation, reason, version, is_counted, is_told, figures, a_in_b }))
    }

    /// The evidence with the place of the other plane in the one of digest `seen_from`.
    pub(super) fn evidence(&self, seen_from: &PixelDigest) -> PairEvidence {
        let placement = if *seen_from == self.a { self.figures.placement } else { self.a_in_b };
        PairEvidence { placement, ..self.figures }
    }
}

fn placement_text(placement: Placement) -> String {
    let Placement { orientation, scale, shift_row_px, shift_column_px } = placement;
    format!("{orientation} {scale} {shift_row_px} {shift_column_px}")
}

fn placement(text: &str) -> Option<Placement> {
    let mut words = text.split(' ');
    let orientation = words.next()?.parse().ok()?;
    let mut number = || words.next()?.parse().ok();
    Some(Placement { orientation, scale: number()?, shift_row_px: number()?, shift_column_px: number()? })
}

#[cfg(test)]
mod tests;

//! Groups and pairs of duplicates as the tables show them: the same whatever came first.

use std::cmp::Ordering;

use rusqlite::Row;

use super::edges::{self, EDGE_COLUMNS, EdgeRow};
use super::groups::{EXACT, Member, exact_relation, group_name};
use super::reader::LedgerReader;
use super::rows::Columns;
use super::session::Session;
use super::stars::MAPPED;
use crate::analysis::verification::{Placement, Relation};
use crate::paths::RelativePath;
use crate::store::{LedgerError, PairEvidence, PixelDigest};
use crate::units::PlaneIndex;

/// A plane by name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct PlaneName {
    /// Name of its root.
    pub root: String,
    /// Its file.
    pub path: RelativePath,
    /// The plane.
    pub index: PlaneIndex,
}

/// A group of duplicates.
#[derive(Debug, Clone, PartialEq)]
pub struct GroupListing {
    /// Its name in reports.
    pub name: String,
    /// `exact` for planes of equal pixels, `mapped` for copies of one exposure.
    pub kind: &'static str,
    /// The representative has no relation. By root, path and plane. In a mapped group each member stands for all of equal
    /// pixels.
    pub members: Vec<GroupMember>,
}

/// A member of a group.
#[derive(Debug, Clone, PartialEq)]
pub struct GroupMember {
    /// The plane.
    pub plane: PlaneName,
    /// In a mapped group the name of the class of equal pixels that it stands for.
    pub class: Option<String>,
    /// What it is to the representative; none for the representative itself.
    pub relation: Option<&'static str>,
    /// The kind of a copy: `copy`, or `vendor_layout` for one file in several folders of a series; `operator` where the pair
    /// is one by an operator's verdict.
    pub reason: Option<String>,
    /// The figures of the pair, the representative first.
    pub evidence: PairEvidence,
}

/// A row of `duplicate_pairs.csv`.
#[derive(Debug, Clone, PartialEq)]
pub struct PairListing {
    /// The representative, or the first plane.
    pub a: PlaneName,
    /// The other plane.
    pub b: PlaneName,
    /// What `b` is to `a`.
    pub relation: &'static str,
    /// More about the relation.
    pub reason: Option<String>,
    /// The figures.
    pub evidence: PairEvidence,
}

/// Equal samples: the scene and its noise are the same, nothing differs, nothing is moved.
const EXACT_EVIDENCE: PairEvidence = PairEvidence {
    confidence: 1.0,
    s: Some(1.0),
    r: Some(1.0),
    q: Some(0.0),
    placement: Some(Placement { orientation: 0, scale: 1.0, shift_row_px: 0.0, shift_column_px: 0.0 }),
};

/// The flags that count, with the groups of both ends; those of one group are none, nor those between representatives that an
/// operator says are no duplicates.
const FLAGS_FROM: &str = "FROM (SELECT edge.*, coalesce(x.star, a) AS group_a, coalesce(y.star, b) AS group_b \
    FROM edge LEFT JOIN star_member x ON x.digest = a LEFT JOIN star_member y ON y.digest = b \
    WHERE is_counted = 1 AND relation IN ('partial_overlap', 'reacquired', 'uncertain')) AS edge \
    WHERE group_a != group_b AND NOT EXISTS (SELECT 1 FROM verdict WHERE says = 'not-duplicate' \
    AND verdict.a = min(group_a, group_b) AND verdict.b = max(group_a, group_b))";

/// The stuck frames that no row of an exact group tells.
const STUCK_FROM: &str = "FROM stuck WHERE NOT EXISTS (SELECT 1 FROM dup_member JOIN dup_group ON id = group_id \
    WHERE plane_id IN (first, second) AND representative IN (first, second) AND plane_id != representative)";

/// A member of an exact group as read, before its representative is known.
struct RawMember {
    key: Vec<u8>,
    is_representative: bool,
    is_stuck: bool,
    byte_class: i64,
    series: Option<(i64, i64)>,
    plane: PlaneName,
}

impl LedgerReader {
    /// Every group: the exact ones by name, then the mapped ones.
    pub fn each_group<E: From<LedgerError>>(
        &self,
        mut visit: impl FnMut(GroupListing) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut group: Vec<RawMember> = Vec::new();
        self.each(
            "SELECT key, representative = plane.id, \
             EXISTS (SELECT 1 FROM stuck WHERE first = representative AND second = plane.id \
             UNION ALL SELECT 1 FROM stuck WHERE first = plane.id AND second = representative), \
             byte_class, field, lane, root.name, folder, file.name, t, p, z, c \
             FROM dup_group JOIN dup_member ON group_id = dup_group.id JOIN plane ON plane.id = plane_id \
             JOIN file ON file.id = file_id JOIN root ON root.id = root_id \
             ORDER BY kind, key, root.name, folder, file.name, t, p, z, c",
            RawMember::read,
            |raw: RawMember| {
                if group.last().is_some_and(|last| last.key != raw.key) {
                    visit(exact_group(std::mem::take(&mut group))?)?;
                }
                group.push(raw);
                Ok::<_, E>(())
            },
        )?;
        if !group.is_empty() {
            visit(exact_group(group)?)?;
        }
        self.each(
            "SELECT DISTINCT star FROM star_member ORDER BY star",
            |row| row.get(0),
            |star| visit(mapped_group(&self.session(), star)?),
        )
    }

    /// Every pair: members of groups with their representatives, flags between the representatives of two groups, then
    /// the stuck frames that are not among these.
    pub fn each_pair<E: From<LedgerError>>(
        &self,
        mut visit: impl FnMut(PairListing) -> Result<(), E>,
    ) -> Result<(), E> {
        self.each_group(|group| {
            let Some(first) = group.members.iter().find(|member| member.relation.is_none()) else {
                return Ok(());
            };
            for member in &group.members {
                let Some(relation) = member.relation else { continue };
                visit(PairListing {
                    a: first.plane.clone(),
                    b: member.plane.clone(),
                    relation,
                    reason: member.reason.clone(),
                    evidence: member.evidence,
                })?;
            }
            Ok::<_, E>(())
        })?;
        self.each_flag(&mut visit)?;
        self.each_stuck_pair(&mut visit)
    }

    /// How many rows [`Self::each_pair`] gives, and how many groups there are.
    pub(super) fn n_groups_and_pairs(&self) -> Result<(u64, u64), LedgerError> {
        let count = |sql: &str| self.connection.query_row(sql, [], |row| row.get::<_, i64>(0));
        let n_exact = count("SELECT count(*) FROM dup_group")?;
        let n_in_exact = count("SELECT coalesce(sum(n_members), 0) FROM dup_group")?;
        let n_mapped = count("SELECT count(DISTINCT star) FROM star_member")?;
        let n_in_mapped = count("SELECT count(*) FROM star_member")?;
        let n_flags = count(&format!(
            "SELECT count(*) FROM (SELECT DISTINCT min(group_a, group_b), max(group_a, group_b) {FLAGS_FROM})"
        ))?;
        let n_stuck = count(&format!("SELECT count(*) {STUCK_FROM}"))?;
        let n_groups = n_exact + n_mapped;
        Ok((n_groups as u64, (n_in_exact + n_in_mapped - n_groups + n_flags + n_stuck) as u64))
    }

    /// One flag for each pair of groups: the weightiest, of those that of the representatives, then the surest.
    fn each_flag<E: From<LedgerError>>(
        &self,
        visit: &mut impl FnMut(PairListing) -> Result<(), E>,
    ) -> Result<(), E> {
        let sql = format!(
            "SELECT {EDGE_COLUMNS}, group_a, group_b {FLAGS_FROM} ORDER BY min(group_a, group_b), \
             max(group_a, group_b), CASE relation WHEN 'partial_overlap' THEN 0 WHEN 'reacquired' THEN 1 ELSE 2 END, \
             a = group_a AND b = group_b DESC, confidence DESC, a, b"
        );
        let read = |row: &Row<'_>| {
            let mut column = Columns::new(row);
            Ok((EdgeRow::take(&mut column)?, column.next()?, column.next()?))
        };
        let mut told: Option<[PixelDigest; 2]> = None;
        self.each(&sql, read, |(edge, group_a, group_b): (_, PixelDigest, PixelDigest)| {
            let edge: EdgeRow = edge.map_err(E::from)?;
            let groups = [group_a.min(group_b), group_a.max(group_b)];
            if told.replace(groups) != Some(groups) {
                visit(flag(&self.session(), &edge, [group_a, group_b])?)?;
            }
            Ok(())
        })
    }

    fn each_stuck_pair<E: From<LedgerError>>(
        &self,
        visit: &mut impl FnMut(PairListing) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut pairs = Vec::new();
        let session = self.session();
        self.each(
            &format!("SELECT first, second {STUCK_FROM}"),
            |row| Ok((row.get(0)?, row.get(1)?)),
            |(first, second)| {
                pairs.push(stuck_pair(&session, first, second)?);
                Ok::<_, E>(())
            },
        )?;
        pairs.sort_by(|one, other| (&one.a, &one.b).cmp(&(&other.a, &other.b)));
        pairs.into_iter().try_for_each(visit)
    }

    /// Reading as the operations do.
    pub(super) fn session(&self) -> Session<'_> {
        Session::new(&self.connection, "", "")
    }
}

impl PlaneName {
    pub(super) fn of(member: &Member) -> Self {
        Self { root: member.root.clone(), path: member.path.clone(), index: member.index }
    }
}

impl RawMember {
    fn read(row: &Row<'_>) -> rusqlite::Result<Self> {
        let mut column = Columns::new(row);
        Ok(Self {
            key: column.next()?,
            is_representative: column.next()?,
            is_stuck: column.next()?,
            byte_class: column.next()?,
            series: column.next::<Option<i64>>()?.zip(column.next()?),
            plane: PlaneName { root: column.next()?, path: column.path()?, index: column.index()? },
        })
    }
}

/// A group of equal pixels with the relations of its members to the representative.
fn exact_group(group: Vec<RawMember>) -> Result<GroupListing, LedgerError> {
    let representative = group
        .iter()
        .find(|raw| raw.is_representative)
        .ok_or_else(|| LedgerError::Damaged("a group without its representative".into()))?;
    let relate = |raw: &RawMember| {
        let relation = match exact_relation(
            (representative.byte_class, representative.plane.index),
            (raw.byte_class, raw.plane.index),
        ) {
            _ if raw.is_stuck => Relation::StuckFrame.name(),
            relation => relation,
        };
        let is_layout = raw.series.is_some()
            && raw.series == representative.series
            && raw.plane.path.split().0 != representative.plane.path.split().0;
        let reason = if is_layout { "vendor_layout" } else { "copy" };
        GroupMember {
            plane: raw.plane.clone(),
            class: None,
            relation: (!raw.is_representative).then_some(relation),
            reason: (!raw.is_representative && relation == Relation::IdenticalFile.name())
                .then(|| reason.to_owned()),
            evidence: EXACT_EVIDENCE,
        }
    };
    Ok(GroupListing {
        name: group_name(&representative.key),
        kind: EXACT,
        members: group.iter().map(relate).collect(),
    })
}

/// A star with the relations of its members to the representative.
fn mapped_group(session: &Session<'_>, star: PixelDigest) -> Result<GroupListing, LedgerError> {
    let digests: Vec<PixelDigest> =
        session.rows("SELECT digest FROM star_member WHERE star = ?1", [star], |row| row.get(0))?;
    let mut members = Vec::with_capacity(digests.len());
    for digest in digests {
        let bond = edges::bond(session, &star, &digest)?;
        members.push(GroupMember {
            plane: class_name(session, &digest)?,
            class: Some(group_name(&digest)),
            relation: bond.as_ref().map(|bond| bond.relation),
            reason: bond.as_ref().and_then(|bond| bond.reason).map(str::to_owned),
            evidence: bond.map_or(EXACT_EVIDENCE, |bond| bond.evidence),
        });
    }
    members.sort_by(|one, other| one.plane.cmp(&other.plane));
    Ok(GroupListing { name: group_name(&star), kind: MAPPED, members })
}

/// The row of a flag, the better representative first.
fn flag(
    session: &Session<'_>,
    edge: &EdgeRow,
    [group_a, group_b]: [PixelDigest; 2],
) -> Result<PairListing, LedgerError> {
    let (a, b) = (class(session, &group_a)?, class(session, &group_b)?);
    let is_direct = (edge.a, edge.b) == (group_a, group_b);
    let (first, second, seen_from) = match a.rank().cmp(&b.rank()) {
        Ordering::Greater => (&b, &a, edge.b),
        _ => (&a, &b, edge.a),
    };
    let mut evidence = edge.evidence(&seen_from);
    // the place is that of the compared planes, which may lie otherwise than their representatives
    evidence.placement = evidence.placement.filter(|_| is_direct);
    Ok(PairListing {
        a: PlaneName::of(first),
        b: PlaneName::of(second),
        relation: edge.relation.name(),
        reason: Some(edge.reason.clone()),
        evidence,
    })
}

fn stuck_pair(session: &Session<'_>, first: i64, second: i64) -> Result<PairListing, LedgerError> {
    let digest = |plane_id: i64| -> Result<PixelDigest, LedgerError> {
        session.row("SELECT digest FROM plane WHERE id = ?1", [plane_id], |row| row.get(0))
    };
    let (digest_a, digest_b) = (digest(first)?, digest(second)?);
    let edge = if digest_a == digest_b { None } else { edges::between(session, &digest_a, &digest_b)? };
    Ok(PairListing {
        a: PlaneName::of(&Member::load(session, first)?),
        b: PlaneName::of(&Member::load(session, second)?),
        relation: Relation::StuckFrame.name(),
        reason: None,
        evidence: edge.map_or(EXACT_EVIDENCE, |edge| edge.evidence(&digest_a)),
    })
}

fn class(session: &Session<'_>, digest: &PixelDigest) -> Result<Member, LedgerError> {
    Member::of_class(session, digest)?
        .ok_or_else(|| LedgerError::Damaged(format!("no plane has the pixels {}", group_name(digest))))
}

fn class_name(session: &Session<'_>, digest: &PixelDigest) -> Result<PlaneName, LedgerError> {
    class(session, digest).map(|member| PlaneName::of(&member))
}

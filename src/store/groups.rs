//! Exact groups: which planes have the same samples, who represents them, and the events that say so.
//!
//! A member is handled in time that does not grow with its group, unless a representative has to be replaced.

use std::cmp::Reverse;
use std::collections::BTreeSet;

use rusqlite::{Row, params};
use serde_json::{Value, json};

use super::outbox::{self, Content};
use super::registrations;
use super::rows::{Columns, PlaneRow};
use super::session::Session;
use super::{edges, stuck};
use crate::paths::RelativePath;
use crate::store::{LedgerError, PixelDigest, Stream};
use crate::units::PlaneIndex;

/// The kind of the groups made here.
pub(super) const EXACT: &str = "exact";

/// A plane as a group sees it.
pub(super) struct Member {
    pub(super) plane_id: i64,
    pub(super) root: String,
    pub(super) path: RelativePath,
    pub(super) index: PlaneIndex,
    byte_class: i64,
    quality_rank: i64,
    mtime_ns: i64,
}

struct Group {
    id: i64,
    key: Vec<u8>,
    representative: i64,
    n_members: i64,
}

const MEMBER_SELECT: &str = "SELECT plane.id, root.name, folder, file.name, t, p, z, c, \
    byte_class, quality_rank, mtime_ns \
    FROM plane JOIN file ON file.id = plane.file_id JOIN root ON root.id = file.root_id ";

/// The relation of two members of one exact group.
pub(crate) fn exact_relation(representative: (i64, PlaneIndex), member: (i64, PlaneIndex)) -> &'static str {
    if representative == member { "identical_file" } else { "identical_pixels" }
}

/// Adds a plane, whose results are saved, to the group of its digest.
pub(super) fn join(session: &Session<'_>, plane_id: i64, digest: &PixelDigest) -> Result<(), LedgerError> {
    let member = Member::load(session, plane_id)?;
    let group = session.row_if_any(
        "SELECT id, key, representative, n_members FROM dup_group WHERE kind = ?1 AND key = ?2",
        params![EXACT, digest],
        Group::read,
    )?;
    match group {
        Some(group) => add(session, group, &member),
        None => {
            let other: Option<i64> = session.row_if_any(
                "SELECT id FROM plane WHERE digest = ?1 AND is_live = 1 AND id != ?2",
                params![digest, plane_id],
                |row| row.get(0),
            )?;
            other.map_or(Ok(()), |other| create(session, digest, (Member::load(session, other)?, member)))
        }
    }
}

/// Takes a plane out of its groups; a group of one is dissolved.
pub(super) fn leave(session: &Session<'_>, plane_id: i64) -> Result<(), LedgerError> {
    let mut was_best = false;
    for mut group in groups_of(session, "plane_id = ?1", plane_id)? {
        was_best |= group.representative == plane_id;
        let member = Member::load(session, plane_id)?;
        group.n_members -= 1;
        let is_dissolved = group.n_members < 2;
        session
            .execute("DELETE FROM dup_member WHERE group_id = ?1 AND plane_id = ?2", [group.id, plane_id])?;
        let mut content = group
            .event("retracted")
            .with("member", member.report())
            .with("n_members", if is_dissolved { 0 } else { group.n_members })
            .with("dissolved", is_dissolved);
        if is_dissolved {
            // whoever follows the events learns who stands for these pixels from now on
            let last = "SELECT plane_id FROM dup_member WHERE group_id = ?1";
            let last: Option<i64> = session.row_if_any(last, [group.id], |row| row.get(0))?;
            let last = last.map(|last| Member::load(session, last)).transpose()?;
            content = content.with("remaining", last.as_ref().map(Member::report));
        }
        outbox::emit(session, Stream::Duplicates, &content)?;
        if is_dissolved {
            session.execute("DELETE FROM dup_group WHERE id = ?1", [group.id])?;
        } else {
            if group.representative == plane_id {
                elect(session, &mut group, Some(&member))?;
            }
            group.save(session)?;
        }
    }
    session.execute("UPDATE plane SET is_live = 0 WHERE id = ?1", [plane_id])?;
    stuck::forget(session, plane_id)?;
    let digest: Option<PixelDigest> =
        session.row("SELECT digest FROM plane WHERE id = ?1", [plane_id], |row| row.get(0))?;
    // the last of its class takes what counts with it
    digest.map_or(Ok(()), |digest| edges::class_changed(session, &digest, BTreeSet::new(), was_best))
}

/// Takes a plane out of its groups and forgets what was found of it.
pub(super) fn retire(session: &Session<'_>, plane: &mut PlaneRow) -> Result<(), LedgerError> {
    if plane.is_live {
        leave(session, plane.id)?;
    }
    (plane.digest, plane.stage, plane.reason, plane.is_live) = (None, None, None, false);
    session.execute(
        "UPDATE plane SET digest = NULL, blank = NULL, stage = NULL, reason = NULL, is_live = 0, nuclei = NULL, \
         figures = '{}' WHERE id = ?1",
        [plane.id],
    )?;
    session.execute("DELETE FROM feature WHERE plane_id = ?1", [plane.id])?;
    registrations::forget(session, plane.id)
}

/// Chooses the representatives anew wherever a plane of the file is a member: its rank has changed, and is saved.
pub(super) fn rerank(session: &Session<'_>, file_id: i64) -> Result<(), LedgerError> {
    for mut group in groups_of(session, "plane_id IN (SELECT id FROM plane WHERE file_id = ?1)", file_id)? {
        elect(session, &mut group, None)?;
        group.save(session)?;
    }
    let digests: Vec<PixelDigest> = session.rows(
        "SELECT DISTINCT digest FROM plane WHERE file_id = ?1 AND is_live = 1 \
         AND EXISTS (SELECT 1 FROM star_member WHERE star_member.digest = plane.digest) ORDER BY digest",
        [file_id],
        |row| row.get(0),
    )?;
    digests.iter().try_for_each(|digest| edges::class_changed(session, digest, BTreeSet::new(), true))
}

fn create(
    session: &Session<'_>,
    digest: &PixelDigest,
    (first, second): (Member, Member),
) -> Result<(), LedgerError> {
    let (representative, other) =
        if first.rank() < second.rank() { (first, second) } else { (second, first) };
    session.execute(
        "INSERT INTO dup_group (kind, key, representative, n_members) VALUES (?1, ?2, ?3, 2)",
        params![EXACT, digest, representative.plane_id],
    )?;
    let group = Group {
        id: session.last_id(),
        key: digest.to_vec(),
        representative: representative.plane_id,
        n_members: 2,
    };
    group.insert(session, representative.plane_id)?;
    group.insert(session, other.plane_id)?;
    let content = group
        .event("created")
        .with("relation", representative.relation(&other))
        .with("representative", representative.report())
        .with("members", json!([representative.report(), other.report()]))
        .with("n_members", 2);
    outbox::emit(session, Stream::Duplicates, &content)
}

fn add(session: &Session<'_>, mut group: Group, member: &Member) -> Result<(), LedgerError> {
    let representative = Member::load(session, group.representative)?;
    group.insert(session, member.plane_id)?;
    group.n_members += 1;
    let content = group
        .event("member_added")
        .with("relation", representative.relation(member))
        .with("representative", representative.report())
        .with("member", member.report())
        .with("n_members", group.n_members);
    outbox::emit(session, Stream::Duplicates, &content)?;
    if member.rank() < representative.rank() {
        group.replace_representative(session, Some(&representative), member)?;
    }
    group.save(session)
}

/// Makes the best member the representative; `previous` where the one that was has left.
fn elect(session: &Session<'_>, group: &mut Group, previous: Option<&Member>) -> Result<(), LedgerError> {
    let sql = [MEMBER_SELECT, "JOIN dup_member ON plane_id = plane.id WHERE group_id = ?1"].concat();
    let members = session.rows(&sql, [group.id], Member::read)?;
    let best = members.iter().min_by(|a, b| a.rank().cmp(&b.rank()));
    let best = best.ok_or_else(|| LedgerError::Damaged(format!("group {} has no members", group.id)))?;
    if best.plane_id == group.representative {
        return Ok(());
    }
    let standing = members.iter().find(|member| member.plane_id == group.representative);
    group.replace_representative(session, previous.or(standing), best)
}

fn groups_of(session: &Session<'_>, condition: &str, key: i64) -> Result<Vec<Group>, LedgerError> {
    // from the members, never from all groups of the kind
    let sql = format!(
        "SELECT DISTINCT id, key, representative, n_members \
         FROM dup_member CROSS JOIN dup_group ON id = group_id WHERE kind = 'exact' AND {condition}"
    );
    session.rows(&sql, [key], Group::read)
}

impl Group {
    fn read(row: &Row<'_>) -> rusqlite::Result<Self> {
        Ok(Self { id: row.get(0)?, key: row.get(1)?, representative: row.get(2)?, n_members: row.get(3)? })
    }

    fn insert(&self, session: &Session<'_>, plane_id: i64) -> Result<(), LedgerError> {
        session
            .execute("INSERT INTO dup_member (group_id, plane_id) VALUES (?1, ?2)", [self.id, plane_id])?;
        Ok(())
    }

    fn save(&self, session: &Session<'_>) -> Result<(), LedgerError> {
        session.execute(
            "UPDATE dup_group SET representative = ?2, n_members = ?3 WHERE id = ?1",
            [self.id, self.representative, self.n_members],
        )?;
        Ok(())
    }

    fn event(&self, name: &str) -> Content {
        Content::default().with("event", name).with("group", group_name(&self.key)).with("kind", EXACT)
    }

    fn replace_representative(
        &mut self,
        session: &Session<'_>,
        previous: Option<&Member>,
        next: &Member,
    ) -> Result<(), LedgerError> {
        self.representative = next.plane_id;
        let content = self
            .event("representative_changed")
            .with("representative", next.report())
            .with("previous", previous.map(Member::report))
            .with("n_members", self.n_members);
        outbox::emit(session, Stream::Duplicates, &content)
    }
}

/// The name of a group in reports: the first 16 hexadecimal digits of its digest.
pub(crate) fn group_name(key: &[u8]) -> String {
    key.iter().take(8).map(|byte| format!("{byte:02x}")).collect()
}

impl Member {
    /// The best plane of all with these pixels, which represents them.
    pub(super) fn of_class(session: &Session<'_>, digest: &PixelDigest) -> Result<Option<Self>, LedgerError> {
        let sql = [
            MEMBER_SELECT,
            "WHERE plane.id = coalesce((SELECT representative FROM dup_group WHERE kind = ?2 AND key = ?1), \
             (SELECT id FROM plane WHERE digest = ?1 AND is_live = 1))",
        ];
        session.row_if_any(&sql.concat(), params![digest, EXACT], Self::read)
    }

    pub(super) fn load(session: &Session<'_>, plane_id: i64) -> Result<Self, LedgerError> {
        session.row(&[MEMBER_SELECT, "WHERE plane.id = ?1"].concat(), [plane_id], Self::read)
    }

    fn read(row: &Row<'_>) -> rusqlite::Result<Self> {
        let mut column = Columns::new(row);
        Ok(Self {
            plane_id: column.next()?,
            root: column.next()?,
            path: column.path()?,
            index: column.index()?,
            byte_class: column.next()?,
            quality_rank: column.next()?,
            mtime_ns: column.next()?,
        })
    }

    /// The least is the best representative.
    pub(super) fn rank(&self) -> impl Ord + '_ {
        (Reverse(self.quality_rank), self.mtime_ns, &self.root, &self.path, self.index)
    }

    pub(super) fn relation(&self, other: &Self) -> &'static str {
        exact_relation((self.byte_class, self.index), (other.byte_class, other.index))
    }

    pub(super) fn report(&self) -> Value {
        json!({ "root": self.root, "file": self.path.to_report(), "plane": self.index.to_string() })
    }
}

//! What an operator says of two planes that look alike: kept by their pixels, so that it holds for every copy of them,
//! under any name, for ever.
//!
//! Verdicts never contradict one another: what is `same` by several of them is one block, and one that would say that
//! two planes of a block are no duplicates is refused.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use rusqlite::{Row, params};
use serde::{Deserialize, Serialize};

use super::groups::{Member, group_name};
use super::reader::LedgerReader;
use super::rows::Columns;
use super::session::Session;
use super::{edges, stuck};
use crate::store::{LedgerError, PixelDigest, PlaneName, PlaneState};
use crate::units::PlaneIndex;

/// What an operator says of two planes that look alike.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OperatorVerdict {
    /// They never stand in one group and are not flagged.
    NotDuplicate,
    /// They are one exposure, whatever was measured.
    Same,
}

/// A verdict as `explain` shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlaneVerdict {
    /// The plane.
    pub index: PlaneIndex,
    /// What the operator said.
    pub says: OperatorVerdict,
    /// When (RFC 3339, UTC).
    pub time: String,
    /// The best plane with the other pixels; none where no plane has them now.
    pub other: Option<PlaneName>,
    /// The first 16 hexadecimal digits of the other digest.
    pub other_class: String,
}

/// A plane that an operator may name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamedPlane {
    /// Which one.
    pub index: PlaneIndex,
    /// Where it stands.
    pub state: PlaneState,
    /// Its pixels, once they were read.
    pub digest: Option<PixelDigest>,
    /// Why it shows nothing, where it does.
    pub blank: Option<String>,
}

impl OperatorVerdict {
    /// The word on the command line and in reports.
    pub const fn name(self) -> &'static str {
        match self {
            Self::NotDuplicate => "not-duplicate",
            Self::Same => "same",
        }
    }

    fn from_name(name: &str) -> Result<Self, LedgerError> {
        match name {
            "not-duplicate" => Ok(Self::NotDuplicate),
            "same" => Ok(Self::Same),
            _ => Err(LedgerError::Damaged(format!("unknown verdict {name:?}"))),
        }
    }
}

/// Writes a verdict down, or takes it back, and makes the groups anew; answers the verdict before.
pub(super) fn judge(
    session: &Session<'_>,
    [one, other]: [PixelDigest; 2],
    says: Option<OperatorVerdict>,
) -> Result<Option<OperatorVerdict>, LedgerError> {
    let (a, b) = (one.min(other), one.max(other));
    if a == b {
        return Err(LedgerError::Misuse("equal pixels are a fact, which no verdict changes".into()));
    }
    let before = of_pair(session, &a, &b)?;
    if before == says {
        return Ok(before);
    }
    session.execute("DELETE FROM verdict WHERE a = ?1 AND b = ?2", params![a, b])?;
    if let Some(says) = says {
        refuse_contradiction(session, (&a, &b), says)?;
        session.execute(
            "INSERT INTO verdict (a, b, says, time) VALUES (?1, ?2, ?3, ?4)",
            params![a, b, says.name(), session.now],
        )?;
    }
    if says == Some(OperatorVerdict::NotDuplicate) {
        stuck::forget_pair(session, &a, &b)?;
    } else if before == Some(OperatorVerdict::NotDuplicate) {
        stuck::look_at_pixels(session, &a)?;
    }
    edges::class_changed(session, &a, BTreeSet::from([[a, b]]), false)?;
    Ok(before)
}

/// The verdict on a pair, in either direction.
pub(super) fn of_pair(
    session: &Session<'_>,
    one: &PixelDigest,
    other: &PixelDigest,
) -> Result<Option<OperatorVerdict>, LedgerError> {
    let sql = "SELECT says FROM verdict WHERE a = ?1 AND b = ?2";
    let name: Option<String> =
        session.row_if_any(sql, params![one.min(other), one.max(other)], |row| row.get(0))?;
    name.as_deref().map(OperatorVerdict::from_name).transpose()
}

/// The pixels of which an operator has said this in a pair with `digest`.
pub(super) fn partners(
    session: &Session<'_>,
    digest: &PixelDigest,
    says: OperatorVerdict,
) -> Result<Vec<PixelDigest>, LedgerError> {
    session.rows(
        "SELECT b FROM verdict WHERE a = ?1 AND says = ?2 UNION ALL \
         SELECT a FROM verdict WHERE b = ?1 AND says = ?2 ORDER BY 1",
        params![digest, says.name()],
        |row| row.get(0),
    )
}

fn refuse_contradiction(
    session: &Session<'_>,
    (a, b): (&PixelDigest, &PixelDigest),
    says: OperatorVerdict,
) -> Result<(), LedgerError> {
    let same_as_a = block(session, a)?;
    let refuse = |names: Vec<String>, text: &str| {
        Err(LedgerError::Misuse(format!(
            "earlier verdicts say otherwise: {} {text}; take one of them back first (`forget`)",
            names.join(", ")
        )))
    };
    if says == OperatorVerdict::NotDuplicate {
        if same_as_a.contains_key(b) {
            let way = way(&same_as_a, b);
            let names = way.iter().map(|digest| name(session, digest)).collect::<Result<_, _>>()?;
            return refuse(names, "are the same");
        }
        return Ok(());
    }
    let same_as_b = block(session, b)?;
    for one in same_as_a.keys() {
        for other in partners(session, one, OperatorVerdict::NotDuplicate)? {
            if same_as_b.contains_key(&other) {
                return refuse(vec![name(session, one)?, name(session, &other)?], "are no duplicates");
            }
        }
    }
    Ok(())
}

/// Everything that is the same as a digest by verdicts, each with the one that led to it.
fn block(
    session: &Session<'_>,
    digest: &PixelDigest,
) -> Result<BTreeMap<PixelDigest, PixelDigest>, LedgerError> {
    let mut found = BTreeMap::from([(*digest, *digest)]);
    let mut open = VecDeque::from([*digest]);
    while let Some(digest) = open.pop_front() {
        for other in partners(session, &digest, OperatorVerdict::Same)? {
            found.entry(other).or_insert_with(|| {
                open.push_back(other);
                digest
            });
        }
    }
    Ok(found)
}

/// The shortest way to a digest of a block, from where the block was begun.
fn way(block: &BTreeMap<PixelDigest, PixelDigest>, to: &PixelDigest) -> Vec<PixelDigest> {
    let mut way = vec![*to];
    let mut at = *to;
    while block[&at] != at {
        at = block[&at];
        way.push(at);
    }
    way.reverse();
    way
}

/// A plane with these pixels for a message.
fn name(session: &Session<'_>, digest: &PixelDigest) -> Result<String, LedgerError> {
    let member = Member::of_class(session, digest)?;
    Ok(member.map_or_else(
        || format!("the pixels {}", group_name(digest)),
        |member| format!("{}/{}:{}", member.root, member.path.to_report(), member.index),
    ))
}

impl LedgerReader {
    /// The planes of a file, in order.
    pub fn planes_of(&self, file_id: i64) -> Result<Vec<NamedPlane>, LedgerError> {
        let sql = "SELECT t, p, z, c, state, digest, blank FROM plane WHERE file_id = ?1 ORDER BY t, p, z, c";
        let read = |row: &Row<'_>| {
            let mut column = Columns::new(row);
            Ok((column.index()?, column.next::<String>()?, column.next()?, column.next()?))
        };
        let rows = self.session().rows(sql, [file_id], read)?;
        let plane = |(index, state, digest, blank): (_, String, _, _)| {
            Ok(NamedPlane { index, state: PlaneState::from_name(&state)?, digest, blank })
        };
        rows.into_iter().map(plane).collect()
    }

    /// The verdicts on the pixels of a file.
    pub(super) fn verdicts_of(&self, file_id: i64) -> Result<Vec<PlaneVerdict>, LedgerError> {
        let session = self.session();
        let rows = session.rows(
            "SELECT t, p, z, c, says, time, b FROM plane JOIN verdict ON a = digest WHERE file_id = ?1 UNION ALL \
             SELECT t, p, z, c, says, time, a FROM plane JOIN verdict ON b = digest WHERE file_id = ?1 \
             ORDER BY 1, 2, 3, 4, 7",
            [file_id],
            |row| {
                let mut column = Columns::new(row);
                Ok((column.index()?, column.next::<String>()?, column.next()?, column.next()?))
            },
        )?;
        let verdict = |(index, says, time, other): (_, String, _, PixelDigest)| {
            Ok(PlaneVerdict {
                index,
                says: OperatorVerdict::from_name(&says)?,
                time,
                other: Member::of_class(&session, &other)?.as_ref().map(PlaneName::of),
                other_class: group_name(&other),
            })
        };
        rows.into_iter().map(verdict).collect()
    }
}

#[cfg(test)]
pub(in crate::store) mod tests;

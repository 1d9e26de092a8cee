//! Why a file stands where it stands: every change of state with its reason, and the troubles of its planes.

use std::path::MAIN_SEPARATOR;

use rusqlite::Row;

use super::groups::Member;
use super::reader::LedgerReader;
use super::rows::Columns;
use super::{edges, stuck};
use crate::analysis::verification::Relation;
use crate::paths::RelativePath;
use crate::store::{
    FileHistory, FileLocation, HistoryEvent, LedgerError, PixelDigest, PlaneHistory, PlaneName,
    PlaneRelation, PlaneState,
};

impl LedgerReader {
    /// What happened to the files that a text names: a path below a root, as written in reports or as it is, with or
    /// without the root's name or place in front. Empty where the ledger knows none.
    pub fn explain(&self, path: &str) -> Result<Vec<FileHistory>, LedgerError> {
        let mut histories: Vec<FileHistory> = Vec::new();
        let mut statement =
            self.connection.prepare_cached("SELECT id, name, path FROM root ORDER BY name")?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            let (root_id, name, place): (i64, String, Vec<u8>) = (row.get(0)?, row.get(1)?, row.get(2)?);
            for candidate in candidates(path, &name, &place) {
                if let Some(location) = self.find_file(root_id, &candidate)? {
                    let is_new = histories.iter().all(|known| known.location != location);
                    if is_new {
                        histories.push(self.history(location, name.clone())?);
                    }
                }
            }
        }
        Ok(histories)
    }

    fn history(&self, location: FileLocation, root: String) -> Result<FileHistory, LedgerError> {
        let file_id = location.file_id;
        let version =
            self.connection
                .query_row("SELECT version FROM file WHERE id = ?1", [file_id], |row| row.get(0))?;
        let events = self
            .events("SELECT time, state, reason FROM file_event WHERE file_id = ?1 ORDER BY id", file_id)?;
        let mut statement = self.connection.prepare_cached(
            "SELECT id, t, p, z, c, state FROM plane \
             WHERE file_id = ?1 AND (state != 'done' OR attempts > 0) ORDER BY t, p, z, c",
        )?;
        let mut rows = statement.query([file_id])?;
        let mut planes = Vec::new();
        while let Some(row) = rows.next()? {
            let mut column = Columns::new(row);
            let plane_id: i64 = column.next()?;
            planes.push(PlaneHistory {
                index: column.index()?,
                state: PlaneState::from_name(&column.next::<String>()?)?,
                attempts: self.events(
                    "SELECT time, stage, reason FROM plane_attempt WHERE plane_id = ?1 ORDER BY id",
                    plane_id,
                )?,
            });
        }
        let relations = self.relations(file_id)?;
        let verdicts = self.verdicts_of(file_id)?;
        Ok(FileHistory { location, root, version, events, planes, relations, verdicts })
    }

    /// What the planes of a file are to others, as far as it counts, for the first planes that have any relation.
    fn relations(&self, file_id: i64) -> Result<Vec<PlaneRelation>, LedgerError> {
        let session = self.session();
        let planes: Vec<(i64, PixelDigest)> = session.rows(
            "SELECT id, digest FROM plane WHERE file_id = ?1 AND is_live = 1 \
             AND (EXISTS (SELECT 1 FROM dup_member WHERE plane_id = plane.id) \
             OR EXISTS (SELECT 1 FROM edge WHERE a = digest) OR EXISTS (SELECT 1 FROM edge WHERE b = digest)) \
             ORDER BY t, p, z, c LIMIT ?2",
            [file_id, RELATED_PLANES_MAX],
            |row| Ok((row.get(0)?, row.get(1)?)),
        )?;
        let mut relations = Vec::new();
        for (plane_id, digest) in planes {
            let own = Member::load(&session, plane_id)?;
            let best = Member::of_class(&session, &digest)?.filter(|best| best.plane_id != plane_id);
            let exact = best.map(|best| (best.relation(&own), best));
            let mut found = Vec::from_iter(exact);
            for (relation, other) in edges::counted(&session, &digest)? {
                found.extend(Member::of_class(&session, &other)?.map(|other| (relation, other)));
            }
            for other in stuck::partners(&session, plane_id)? {
                found.push((Relation::StuckFrame.name(), Member::load(&session, other)?));
            }
            relations.extend(found.into_iter().map(|(relation, other)| PlaneRelation {
                index: own.index,
                relation,
                other: PlaneName::of(&other),
            }));
        }
        Ok(relations)
    }

    fn events(&self, sql: &str, key: i64) -> Result<Vec<HistoryEvent>, LedgerError> {
        let read =
            |row: &Row<'_>| Ok(HistoryEvent { time: row.get(0)?, what: row.get(1)?, reason: row.get(2)? });
        let mut statement = self.connection.prepare_cached(sql)?;
        let rows = statement.query_map([key], read)?;
        Ok(rows.collect::<Result<_, _>>()?)
    }
}

/// Planes of one file whose relations are told.
const RELATED_PLANES_MAX: i64 = 100;

/// The paths below a root that a text may mean.
fn candidates(text: &str, root: &str, place: &[u8]) -> Vec<RelativePath> {
    let below = |text: &[u8], front: &[u8]| {
        let rest = text.strip_prefix(front)?;
        let rest = rest.strip_prefix(b"/").or_else(|| rest.strip_prefix(&[MAIN_SEPARATOR as u8]))?;
        Some(rest.to_vec())
    };
    [text.as_bytes().to_vec(), decoded(text)]
        .iter()
        .flat_map(|text| [Some(text.clone()), below(text, root.as_bytes()), below(text, place)])
        .flatten()
        .map(RelativePath::from_bytes)
        .collect()
}

/// Turns `%XX` back into bytes, as [`RelativePath::to_report`] wrote them.
fn decoded(text: &str) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, tail)) = rest.split_first() {
        let code = (first == b'%')
            .then(|| std::str::from_utf8(tail.get(..2)?).ok())
            .flatten()
            .and_then(|digits| u8::from_str_radix(digits, 16).ok());
        bytes.push(code.unwrap_or(first));
        rest = if code.is_some() { &tail[2..] } else { tail };
    }
    bytes
}

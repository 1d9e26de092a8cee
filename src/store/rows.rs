//! The rows of files and planes as the operations work on them.

use rusqlite::types::FromSql;
use rusqlite::{Row, params};

use super::session::Session;
use crate::paths::{FileStat, RelativePath};
use crate::store::{FileState, FileTicket, Identity, LedgerError, PixelDigest, Place, PlaneState, View};
use crate::units::PlaneIndex;

/// Takes the columns of a row one after the other.
pub(super) struct Columns<'r, 's> {
    row: &'r Row<'s>,
    at: usize,
}

impl<'r, 's> Columns<'r, 's> {
    pub(super) fn new(row: &'r Row<'s>) -> Self {
        Self { row, at: 0 }
    }

    pub(super) fn next<T: FromSql>(&mut self) -> rusqlite::Result<T> {
        self.at += 1;
        self.row.get(self.at - 1)
    }

    pub(super) fn stat(&mut self) -> rusqlite::Result<FileStat> {
        Ok(FileStat {
            device: self.next::<i64>()? as u64,
            inode: self.next::<i64>()? as u64,
            size_bytes: self.next::<i64>()? as u64,
            mtime_ns: self.next()?,
            ctime_ns: self.next()?,
        })
    }

    pub(super) fn index(&mut self) -> rusqlite::Result<PlaneIndex> {
        Ok(PlaneIndex { t: self.next()?, p: self.next()?, z: self.next()?, c: self.next()? })
    }

    /// File, index, field, lane, time, focus step and whether there are several of these.
    pub(super) fn place(&mut self) -> rusqlite::Result<Place> {
        Ok(Place {
            file_id: self.next()?,
            index: self.index()?,
            field: self.next()?,
            lane: self.next()?,
            t: self.next()?,
            z: self.next()?,
            is_stacked: self.next()?,
        })
    }

    /// Plate, run, cycle, well, site, channel, time point and focus step of a plane.
    pub(super) fn identity(&mut self) -> rusqlite::Result<Identity> {
        Ok(Identity {
            plate: self.next()?,
            run: self.next()?,
            cycle: self.next()?,
            well: self.next()?,
            site: self.next()?,
            channel: self.next()?,
            t: self.next()?,
            z: self.next()?,
        })
    }

    /// Height, width, size of a pixel, magnification and stage position of a plane that can be registered.
    pub(super) fn view(&mut self) -> rusqlite::Result<View> {
        Ok(View {
            height: self.next()?,
            width: self.next()?,
            pixel_size_um: self.next()?,
            magnification: self.next()?,
            stage_um: self.next::<Option<f64>>()?.zip(self.next()?).map(|(x, y)| [x, y]),
        })
    }

    /// Folder and name, joined.
    pub(super) fn path(&mut self) -> rusqlite::Result<RelativePath> {
        let mut path: Vec<u8> = self.next()?;
        let name: Vec<u8> = self.next()?;
        if !path.is_empty() {
            path.push(std::path::MAIN_SEPARATOR as u8);
        }
        path.extend(name);
        Ok(RelativePath::from_bytes(path))
    }
}

/// The columns that [`Columns::stat`] takes.
pub(super) const STAT_COLUMNS: &str = "device, inode, size_bytes, mtime_ns, ctime_ns";

/// A file, without its metadata.
#[derive(Debug)]
pub(super) struct FileRow {
    pub(super) id: i64,
    pub(super) root: String,
    pub(super) path: RelativePath,
    pub(super) state: FileState,
    pub(super) reason: String,
    pub(super) stat: FileStat,
    pub(super) is_stale: bool,
    pub(super) version: i64,
    pub(super) reported_version: i64,
    pub(super) reported_outcome: String,
    pub(super) claim: i64,
    pub(super) claim_run: String,
    pub(super) interruptions: u32,
    pub(super) is_complete: bool,
    pub(super) is_confirmed: bool,
    pub(super) quality_rank: i64,
    pub(super) n_planes: i64,
    pub(super) n_todo: i64,
    pub(super) n_rejected: i64,
    pub(super) n_missing: i64,
    /// Since the last claim, pixels of the file have been worked on.
    pub(super) is_begun: bool,
    /// The object table holds the rows of planes done in claims up to this one.
    pub(super) tabled_claim: i64,
}

const FILE_SELECT: &str = "SELECT file.id, root.name, folder, file.name, state, reason, \
    device, inode, size_bytes, mtime_ns, ctime_ns, is_stale, version, reported_version, reported_outcome, \
    claim, claim_run, interruptions, is_complete, is_confirmed, quality_rank, \
    n_planes, n_todo, n_rejected, n_missing, is_begun, tabled_claim FROM file JOIN root ON root.id = root_id ";

impl FileRow {
    pub(super) fn find(
        session: &Session<'_>,
        root_id: i64,
        path: &RelativePath,
    ) -> Result<Option<Self>, LedgerError> {
        let (folder, name) = path.split();
        let sql = joined(FILE_SELECT, "WHERE root_id = ?1 AND folder = ?2 AND file.name = ?3");
        let key = params![root_id, folder.as_encoded_bytes(), name.as_encoded_bytes()];
        session.row_if_any(&sql, key, Self::read)?.transpose()
    }

    /// The file of a ticket, as long as no later claim or reopening has made it stale.
    pub(super) fn of_ticket(session: &Session<'_>, ticket: FileTicket) -> Result<Self, LedgerError> {
        let file = Self::of_id(session, ticket.file_id)?;
        if file.claim != ticket.claim {
            return Err(LedgerError::StaleTicket { file_id: ticket.file_id });
        }
        Ok(file)
    }

    pub(super) fn of_id(session: &Session<'_>, file_id: i64) -> Result<Self, LedgerError> {
        let sql = joined(FILE_SELECT, "WHERE file.id = ?1");
        session
            .row_if_any(&sql, [file_id], Self::read)?
            .ok_or_else(|| LedgerError::Misuse(format!("the ledger knows no file {file_id}")))?
    }

    /// Finds the file or makes it known, in state `waiting` with nothing done.
    pub(super) fn find_or_insert(
        session: &Session<'_>,
        root_id: i64,
        path: &RelativePath,
        stat: FileStat,
    ) -> Result<Self, LedgerError> {
        if let Some(file) = Self::find(session, root_id, path)? {
            return Ok(file);
        }
        let (folder, name) = path.split();
        session.execute(
            "INSERT INTO file (root_id, folder, name, state, reason, since, \
             device, inode, size_bytes, mtime_ns, ctime_ns) VALUES (?1, ?2, ?3, ?4, '', ?5, ?6, ?7, ?8, ?9, ?10)",
            params![
                root_id,
                folder.as_encoded_bytes(),
                name.as_encoded_bytes(),
                FileState::Waiting.name(),
                session.now,
                stat.device as i64,
                stat.inode as i64,
                stat.size_bytes as i64,
                stat.mtime_ns,
                stat.ctime_ns,
            ],
        )?;
        Self::of_id(session, session.last_id())
    }

    fn read(row: &Row<'_>) -> rusqlite::Result<Result<Self, LedgerError>> {
        let mut column = Columns::new(row);
        let (id, root, path) = (column.next()?, column.next()?, column.path()?);
        let state: String = column.next()?;
        let state = match FileState::from_name(&state) {
            Ok(state) => state,
            Err(error) => return Ok(Err(error)),
        };
        Ok(Ok(Self {
            id,
            root,
            path,
            state,
            reason: column.next()?,
            stat: column.stat()?,
            is_stale: column.next()?,
            version: column.next()?,
            reported_version: column.next()?,
            reported_outcome: column.next()?,
            claim: column.next()?,
            claim_run: column.next()?,
            interruptions: column.next()?,
            is_complete: column.next()?,
            is_confirmed: column.next()?,
            quality_rank: column.next()?,
            n_planes: column.next()?,
            n_todo: column.next()?,
            n_rejected: column.next()?,
            n_missing: column.next()?,
            is_begun: column.next()?,
            tabled_claim: column.next()?,
        }))
    }

    /// Writes everything back but the state, which [`Self::set_state`] writes.
    pub(super) fn save(&self, session: &Session<'_>) -> Result<(), LedgerError> {
        session.execute(
            "UPDATE file SET device = ?2, inode = ?3, size_bytes = ?4, mtime_ns = ?5, ctime_ns = ?6, \
             is_stale = ?7, version = ?8, reported_version = ?9, reported_outcome = ?10, claim = ?11, \
             claim_run = ?12, interruptions = ?13, is_complete = ?14, is_confirmed = ?15, \
             quality_rank = ?16, n_planes = ?17, n_todo = ?18, n_rejected = ?19, n_missing = ?20, \
             is_begun = ?21, tabled_claim = ?22 WHERE id = ?1",
            params![
                self.id,
                self.stat.device as i64,
                self.stat.inode as i64,
                self.stat.size_bytes as i64,
                self.stat.mtime_ns,
                self.stat.ctime_ns,
                self.is_stale,
                self.version,
                self.reported_version,
                self.reported_outcome,
                self.claim,
                self.claim_run,
                self.interruptions,
                self.is_complete,
                self.is_confirmed,
                self.quality_rank,
                self.n_planes,
                self.n_todo,
                self.n_rejected,
                self.n_missing,
                self.is_begun,
                self.tabled_claim,
            ],
        )?;
        Ok(())
    }

    /// Writes a change of state with its reason, for `explain`.
    pub(super) fn set_state(
        &mut self,
        session: &Session<'_>,
        state: FileState,
        reason: &str,
    ) -> Result<(), LedgerError> {
        reason.clone_into(&mut self.reason);
        self.state = state;
        session.execute(
            "UPDATE file SET state = ?2, reason = ?3, since = ?4 WHERE id = ?1",
            params![self.id, state.name(), reason, session.now],
        )?;
        session.execute(
            "INSERT INTO file_event (file_id, time, state, reason) VALUES (?1, ?2, ?3, ?4)",
            params![self.id, session.now, state.name(), reason],
        )?;
        Ok(())
    }

    /// Another run of the program ended while it worked on pixels of this file.
    pub(super) fn was_cut_off(&self, session: &Session<'_>) -> bool {
        let is_open = matches!(self.state, FileState::Working | FileState::Growing | FileState::Stalled);
        is_open && self.is_begun && self.claim_run != session.run_id
    }

    /// Every plane has its end, none will come, and the file was unchanged after the last was read.
    pub(super) fn is_ready(&self) -> bool {
        self.state == FileState::Working && self.is_complete && self.is_confirmed && self.n_todo == 0
    }

    /// Moves the version on where something that was reported under it is about to be different.
    /// `reported_version` is that of the plane concerned.
    pub(super) fn move_version_on(&mut self, reported_version: i64) {
        if self.version == self.reported_version || self.version == reported_version {
            self.version += 1;
        }
    }
}

/// A plane with what was last found of it.
#[derive(Debug)]
pub(super) struct PlaneRow {
    pub(super) id: i64,
    pub(super) index: PlaneIndex,
    pub(super) state: PlaneState,
    pub(super) attempts: u32,
    pub(super) reported_version: i64,
    pub(super) digest: Option<PixelDigest>,
    pub(super) stage: Option<String>,
    pub(super) reason: Option<String>,
    pub(super) is_live: bool,
    pub(super) identity: Identity,
    /// What it was listed as being read from.
    pub(super) place: Option<i64>,
}

const PLANE_SELECT: &str = "SELECT id, t, p, z, c, state, attempts, reported_version, digest, stage, reason, \
    is_live, plate, run, cycle, well, site, channel, t_known, z_known, place FROM plane ";

impl PlaneRow {
    pub(super) fn find(session: &Session<'_>, file_id: i64, index: PlaneIndex) -> Result<Self, LedgerError> {
        Self::find_if_any(session, file_id, index)?
            .ok_or_else(|| LedgerError::Misuse(format!("file {file_id} was claimed without plane {index}")))
    }

    pub(super) fn find_if_any(
        session: &Session<'_>,
        file_id: i64,
        index: PlaneIndex,
    ) -> Result<Option<Self>, LedgerError> {
        let sql = joined(PLANE_SELECT, "WHERE file_id = ?1 AND t = ?2 AND p = ?3 AND z = ?4 AND c = ?5");
        let key = params![file_id, index.t, index.p, index.z, index.c];
        session.row_if_any(&sql, key, Self::read)?.transpose()
    }

    /// Where the plane stands in its series.
    pub(super) fn place_in(&self, file: &FileRow) -> Place {
        Place::new((file.id, &file.root), &file.path, self.index, &self.identity)
    }

    /// Every plane of a file, in order.
    pub(super) fn all(session: &Session<'_>, file_id: i64) -> Result<Vec<Self>, LedgerError> {
        let sql = joined(PLANE_SELECT, "WHERE file_id = ?1 ORDER BY t, p, z, c");
        session.rows(&sql, [file_id], Self::read)?.into_iter().collect()
    }

    fn read(row: &Row<'_>) -> rusqlite::Result<Result<Self, LedgerError>> {
        let mut column = Columns::new(row);
        let (id, index) = (column.next()?, column.index()?);
        let state: String = column.next()?;
        let state = match PlaneState::from_name(&state) {
            Ok(state) => state,
            Err(error) => return Ok(Err(error)),
        };
        Ok(Ok(Self {
            id,
            index,
            state,
            attempts: column.next()?,
            reported_version: column.next()?,
            digest: column.next()?,
            stage: column.next()?,
            reason: column.next()?,
            is_live: column.next()?,
            identity: column.identity()?,
            place: column.next()?,
        }))
    }

    pub(super) fn insert(
        session: &Session<'_>,
        file_id: i64,
        index: PlaneIndex,
        (identity, place): (&Identity, Option<i64>),
    ) -> Result<(), LedgerError> {
        session.execute(
            "INSERT INTO plane (file_id, t, p, z, c, state, plate, run, cycle, well, site, channel, t_known, z_known, \
             place) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15)",
            params![
                file_id,
                index.t,
                index.p,
                index.z,
                index.c,
                PlaneState::Todo.name(),
                identity.plate,
                identity.run,
                identity.cycle,
                identity.well,
                identity.site,
                identity.channel,
                identity.t,
                identity.z,
                place,
            ],
        )?;
        Ok(())
    }

    /// Writes state, attempts, identity and place back.
    pub(super) fn save(&self, session: &Session<'_>) -> Result<(), LedgerError> {
        let identity = &self.identity;
        session.execute(
            "UPDATE plane SET state = ?2, attempts = ?3, plate = ?4, run = ?5, cycle = ?6, well = ?7, site = ?8, \
             channel = ?9, t_known = ?10, z_known = ?11, place = ?12 WHERE id = ?1",
            params![
                self.id,
                self.state.name(),
                self.attempts,
                identity.plate,
                identity.run,
                identity.cycle,
                identity.well,
                identity.site,
                identity.channel,
                identity.t,
                identity.z,
                self.place,
            ],
        )?;
        Ok(())
    }
}

/// A statement and its condition in one text.
fn joined(select: &str, condition: &str) -> String {
    [select, condition].concat()
}

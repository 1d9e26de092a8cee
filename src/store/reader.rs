//! Reading the ledger beside the writer, through a connection that cannot write.

use std::ffi::{OsStr, OsString};
use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, OpenFlags, OptionalExtension, Row, params};

use super::planes::PLANE_FEATURES;
use super::registrations;
use super::rows::{Columns, STAT_COLUMNS};
use super::schema::{DATABASE_FILE, SCHEMA, keep_plans};
use crate::analysis::segmentation::Centroids;
use crate::paths::{RelativePath, Root};
use crate::store::{
    Counts, FileLocation, FileState, KnownFile, KnownPlane, LedgerError, PixelDigest, PixelsOf,
    PlaneFeatures, PlaneState, RegistrablePlane, SegmentedPlane, Stream,
};
use crate::units::PlaneIndex;

/// A read-only view of the ledger. One per thread; statements are short.
pub struct LedgerReader {
    pub(super) connection: Connection,
}

impl LedgerReader {
    /// Opens the ledger of a state folder; it must exist.
    ///
    /// # Errors
    /// When there is none, or it has a schema that this build does not know.
    pub fn open(state_dir: &Path) -> Result<Self, LedgerError> {
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(state_dir.join(DATABASE_FILE), flags)?;
        connection.busy_timeout(Duration::from_secs(5))?;
        keep_plans(&connection)?;
        connection.set_prepared_statement_cache_capacity(32);
        let found: i64 = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
        match found {
            SCHEMA => Ok(Self { connection }),
            _ if found > SCHEMA => Err(LedgerError::NewerSchema { found, known: SCHEMA }),
            _ => Err(LedgerError::Misuse(format!("the ledger has schema {found}, older than {SCHEMA}"))),
        }
    }

    /// The files known in one folder (`folder` below the root, empty for the root itself), by name.
    pub fn folder(&self, root_id: i64, folder: &OsStr) -> Result<Vec<KnownFile>, LedgerError> {
        let sql = format!(
            "SELECT id, name, state, {STAT_COLUMNS} FROM file WHERE root_id = ?1 AND folder = ?2 ORDER BY name"
        );
        let mut statement = self.connection.prepare_cached(&sql)?;
        let mut rows = statement.query(params![root_id, folder.as_encoded_bytes()])?;
        let mut files = Vec::new();
        while let Some(row) = rows.next()? {
            let mut column = Columns::new(row);
            files.push(KnownFile {
                file_id: column.next()?,
                name: OsString::from(RelativePath::from_bytes(column.next()?).as_path()),
                state: FileState::from_name(&column.next::<String>()?)?,
                stat: column.stat()?,
            });
        }
        Ok(files)
    }

    /// Every plane that others can be copies of, one by one.
    pub fn known_planes(&self, mut visit: impl FnMut(KnownPlane)) -> Result<(), LedgerError> {
        // by the index of digests, the rows would be fetched from all over the file
        let mut statement = self.connection.prepare_cached(
            "SELECT digest, file_id, t, p, z, c, field, lane, series_t, series_z, is_stacked, byte_class, \
             feature.version, data FROM plane NOT INDEXED JOIN file ON file.id = file_id \
             LEFT JOIN feature ON plane_id = plane.id AND kind = ?1 \
             WHERE is_live = 1 AND digest IS NOT NULL",
        )?;
        let mut rows = statement.query([PLANE_FEATURES])?;
        while let Some(row) = rows.next()? {
            let mut column = Columns::new(row);
            let digest = column.next()?;
            let place = column.place()?;
            let byte_class = column.next()?;
            let version: Option<u32> = column.next()?;
            let features =
                version.zip(column.next()?).map(|(version, bytes)| PlaneFeatures { version, bytes });
            visit(KnownPlane { digest, place, byte_class, features });
        }
        Ok(())
    }

    /// The digests of every pair that this version of the method has verified and found to be something.
    pub fn verified_pairs(
        &self,
        version: u32,
        mut visit: impl FnMut(PixelDigest, PixelDigest),
    ) -> Result<(), LedgerError> {
        let mut statement = self.connection.prepare_cached("SELECT a, b FROM edge WHERE version = ?1")?;
        let mut rows = statement.query([version])?;
        while let Some(row) = rows.next()? {
            visit(row.get(0)?, row.get(1)?);
        }
        Ok(())
    }

    /// The digests with which this version of the method has verified a digest and found it to be something.
    pub fn verified_with(&self, version: u32, digest: &PixelDigest) -> Result<Vec<PixelDigest>, LedgerError> {
        let mut statement = self.connection.prepare_cached(
            "SELECT b FROM edge WHERE a = ?1 AND version = ?2 UNION ALL SELECT a FROM edge WHERE b = ?1 AND version = ?2",
        )?;
        let others = statement.query_map(params![digest, version], |row| row.get(0))?;
        Ok(others.collect::<Result<_, _>>()?)
    }

    /// Where a file is.
    pub fn file_location(&self, file_id: i64) -> Result<Option<FileLocation>, LedgerError> {
        self.location("WHERE id = ?1", [file_id])
    }

    /// The file at a path, if it is known.
    pub fn find_file(&self, root_id: i64, path: &RelativePath) -> Result<Option<FileLocation>, LedgerError> {
        let (folder, name) = path.split();
        self.location(
            "WHERE root_id = ?1 AND folder = ?2 AND name = ?3",
            params![root_id, folder.as_encoded_bytes(), name.as_encoded_bytes()],
        )
    }

    fn location(
        &self,
        condition: &str,
        key: impl rusqlite::Params,
    ) -> Result<Option<FileLocation>, LedgerError> {
        let sql = format!("{LOCATION_SELECT} {condition}");
        self.connection.prepare_cached(&sql)?.query_row(key, read_location).optional()?.transpose()
    }

    /// Files that are neither done nor rejected, the longest in their state first.
    pub fn unfinished_files(&self, limit: usize) -> Result<Vec<FileLocation>, LedgerError> {
        let sql =
            format!("{LOCATION_SELECT} WHERE state NOT IN ('done', 'rejected') ORDER BY since, id LIMIT ?1");
        let mut statement = self.connection.prepare_cached(&sql)?;
        let rows = statement.query_map([limit as i64], read_location)?;
        rows.collect::<Result<Result<Vec<_>, _>, _>>()?
    }

    /// Files that were given up, as a whole or in part, or stay incomplete: all that can be tried again.
    pub fn failed_files(&self) -> Result<Vec<FileLocation>, LedgerError> {
        let sql = format!(
            "{LOCATION_SELECT} WHERE state IN ('rejected', 'incomplete') OR n_rejected > 0 ORDER BY id"
        );
        let mut statement = self.connection.prepare_cached(&sql)?;
        let rows = statement.query_map([], read_location)?;
        rows.collect::<Result<Result<Vec<_>, _>, _>>()?
    }

    /// How much the ledger holds.
    pub fn counts(&self) -> Result<Counts, LedgerError> {
        let mut counts = Counts::default();
        let mut statement = self.connection.prepare_cached(
            "SELECT state, count(*), sum(n_planes), sum(n_todo), sum(n_rejected), sum(n_missing) \
             FROM file GROUP BY state",
        )?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            let mut column = Columns::new(row);
            let state = FileState::from_name(&column.next::<String>()?)?;
            counts.files.insert(state, column.next::<i64>()? as u64);
            let n_planes: i64 = column.next()?;
            let (n_todo, n_rejected, n_missing) = (column.next()?, column.next()?, column.next::<i64>()?);
            for (state, n) in [
                (PlaneState::Todo, n_todo),
                (PlaneState::Done, n_planes - n_todo - n_rejected - n_missing),
                (PlaneState::Rejected, n_rejected),
                (PlaneState::Missing, n_missing),
            ] {
                *counts.planes.entry(state).or_default() += n as u64;
            }
        }
        let count = |sql: &str| self.connection.query_row(sql, [], |row| row.get::<_, i64>(0));
        (counts.groups, counts.pairs) = self.n_groups_and_pairs()?;
        counts.registrations = count("SELECT count(*) FROM registration WHERE is_accepted = 1")? as u64;
        counts.registrations_refused =
            count("SELECT count(*) FROM registration WHERE is_accepted = 0")? as u64;
        counts.lines_pending = count("SELECT count(*) FROM outbox")? as u64;
        counts.oldest_pending = self.connection.query_row(
            "SELECT min(since) FROM file WHERE state NOT IN ('done', 'rejected')",
            [],
            |row| row.get(0),
        )?;
        Ok(counts)
    }

    /// Every root that was ever registered, with the place where it was last.
    pub fn roots(&self) -> Result<Vec<Root>, LedgerError> {
        let mut statement = self.connection.prepare_cached("SELECT id, name, path FROM root ORDER BY id")?;
        let rows = statement.query_map([], |row| {
            let path = RelativePath::from_bytes(row.get(2)?).as_path().to_owned();
            Ok(Root { id: row.get(0)?, name: row.get(1)?, path })
        })?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// The planes of a file in which nuclei were looked for, in order, each with the claim whose part holds its rows;
    /// none once the rows stand in the object table, as far as the ledger knows.
    pub fn segmented_planes(&self, file_id: i64) -> Result<Vec<SegmentedPlane>, LedgerError> {
        let mut statement = self.connection.prepare_cached(
            "SELECT t, p, z, c, nullif(plane.claim, min(plane.claim, tabled_claim)), nuclei \
             FROM plane JOIN file ON file.id = file_id \
             WHERE file_id = ?1 AND plane.state = 'done' AND nuclei IS NOT NULL ORDER BY t, p, z, c",
        )?;
        let rows = statement.query_map([file_id], |row| {
            let mut column = Columns::new(row);
            let (index, claim) = (column.index()?, column.next()?);
            Ok(SegmentedPlane { index, claim, nuclei: column.next::<i64>()?.cast_unsigned() })
        })?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// The features of a plane, while its results stand.
    pub fn features_of(&self, file_id: i64, index: PlaneIndex) -> Result<Option<PlaneFeatures>, LedgerError> {
        let mut statement = self.connection.prepare_cached(
            "SELECT version, data FROM plane JOIN feature ON plane_id = plane.id AND kind = ?6 \
             WHERE file_id = ?1 AND t = ?2 AND p = ?3 AND z = ?4 AND c = ?5",
        )?;
        let key = params![file_id, index.t, index.p, index.z, index.c, PLANE_FEATURES];
        let read = |row: &Row<'_>| Ok(PlaneFeatures { version: row.get(0)?, bytes: row.get(1)? });
        Ok(statement.query_row(key, read).optional()?)
    }

    /// Every plane that can be registered, one by one.
    pub fn registrable_planes(&self, mut visit: impl FnMut(RegistrablePlane)) -> Result<(), LedgerError> {
        let mut statement = self.connection.prepare_cached(
            "SELECT root_id, file_id, t, p, z, c, digest, plane.plate, plane.run, plane.cycle, plane.well, \
             plane.site, channel, t_known, z_known, height, width, pixel_size_um, magnification, x_um, y_um \
             FROM registrable JOIN plane ON plane.id = plane_id JOIN file ON file.id = file_id \
             WHERE digest IS NOT NULL",
        )?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            let mut column = Columns::new(row);
            visit(RegistrablePlane {
                root_id: column.next()?,
                key: PixelsOf { file_id: column.next()?, index: column.index()?, digest: column.next()? },
                identity: column.identity()?,
                view: column.view()?,
            });
        }
        Ok(())
    }

    /// The centroids of a plane, while it holds these pixels; none, too, where a newer version of the method kept them.
    pub fn centroids_of(&self, pixels: &PixelsOf) -> Result<Option<Centroids>, LedgerError> {
        let PixelsOf { file_id, index, digest } = pixels;
        let mut statement = self.connection.prepare_cached(
            "SELECT version, data FROM plane JOIN feature ON plane_id = plane.id AND kind = ?7 AND version <= ?8 \
             WHERE file_id = ?1 AND t = ?2 AND p = ?3 AND z = ?4 AND c = ?5 AND digest = ?6",
        )?;
        let key = params![
            file_id,
            index.t,
            index.p,
            index.z,
            index.c,
            digest,
            registrations::CENTROIDS,
            Centroids::VERSION
        ];
        let kept = statement.query_row(key, |row| Ok((row.get(0)?, row.get(1)?))).optional()?;
        let centroids = kept.map(|(version, bytes): (u32, Vec<u8>)| Centroids::from_bytes(version, &bytes));
        match centroids {
            Some(None) => {
                Err(LedgerError::Damaged(format!("the centroids of plane {index} of file {file_id}")))
            }
            found => Ok(found.flatten()),
        }
    }

    /// `ok`, or what SQLite found wrong.
    pub fn integrity_check(&self) -> Result<String, LedgerError> {
        Ok(self.connection.query_row("PRAGMA integrity_check", [], |row| row.get(0))?)
    }

    /// How far each report file has got: the last line known to be in it, and its length with that line.
    pub(crate) fn cursors(&self) -> Result<Vec<(Stream, i64, u64)>, LedgerError> {
        let cursor = |stream: Stream| {
            self.connection.query_row(
                "SELECT written_seq, written_bytes FROM cursor WHERE stream = ?1",
                [stream.name()],
                |row| Ok((stream, row.get(0)?, row.get::<_, i64>(1)? as u64)),
            )
        };
        Ok(Stream::ALL.into_iter().map(cursor).collect::<Result<_, _>>()?)
    }

    /// Up to `n_max` committed lines after `seq`, in order.
    pub(crate) fn lines_after(
        &self,
        stream: Stream,
        seq: i64,
        n_max: usize,
    ) -> Result<Vec<(i64, String)>, LedgerError> {
        let mut statement = self.connection.prepare_cached(
            "SELECT seq, line FROM outbox WHERE stream = ?1 AND seq > ?2 ORDER BY seq LIMIT ?3",
        )?;
        let rows = statement
            .query_map(params![stream.name(), seq, n_max as i64], |row| Ok((row.get(0)?, row.get(1)?)))?;
        Ok(rows.collect::<Result<_, _>>()?)
    }
}

const LOCATION_SELECT: &str = "SELECT id, root_id, folder, name, state, \
    device, inode, size_bytes, mtime_ns, ctime_ns FROM file";

fn read_location(row: &Row<'_>) -> rusqlite::Result<Result<FileLocation, LedgerError>> {
    let mut column = Columns::new(row);
    let (file_id, root_id, path) = (column.next()?, column.next()?, column.path()?);
    let state: String = column.next()?;
    let stat = column.stat()?;
    Ok(FileState::from_name(&state).map(|state| FileLocation { file_id, root_id, path, stat, state }))
}

//! The ledger row by row, for the tables that users read. Every listing has an order that does not depend on the order
//! in which files came.

use rusqlite::Row;
use serde_json::{Map, Value};

use super::reader::LedgerReader;
use super::rows::Columns;
use crate::paths::RelativePath;
use crate::store::{Identity, LedgerError, PixelDigest, View};
use crate::units::PlaneIndex;

/// A row of `files.csv`.
#[derive(Debug, Clone, PartialEq)]
#[allow(missing_docs, reason = "the columns are explained where they are filled: records.rs and schema.sql")]
pub struct FileListing {
    pub root: String,
    pub path: RelativePath,
    pub state: String,
    pub reason: String,
    pub version: i64,
    pub format: Option<String>,
    pub identity: Identity,
    pub size_bytes: u64,
    pub n_planes: i64,
    pub n_todo: i64,
    pub n_rejected: i64,
    pub n_missing: i64,
    pub nuclei: Option<i64>,
}

/// A row of `planes.csv`: a plane with results, or one that was given up.
#[derive(Debug, Clone, PartialEq)]
#[allow(missing_docs, reason = "the columns are explained where they are filled: records.rs and schema.sql")]
pub struct PlaneListing {
    pub root: String,
    pub path: RelativePath,
    pub index: PlaneIndex,
    pub state: String,
    pub version: i64,
    pub digest: Option<PixelDigest>,
    pub blank: Option<String>,
    pub reason: Option<String>,
    pub identity: Identity,
    pub figures: Map<String, Value>,
}

/// A row of `registrations.csv`.
#[derive(Debug, Clone, PartialEq)]
pub struct RegistrationListing {
    /// Root, file and plane of the finer field.
    pub moving: (String, RelativePath, PlaneIndex),
    /// Root, file and plane of its overview.
    pub reference: (String, RelativePath, PlaneIndex),
    /// What is known of the finer field.
    pub moving_identity: Identity,
    /// What is known of its overview.
    pub reference_identity: Identity,
    /// Where and how both were taken.
    pub views: (View, View),
    /// Whether the one lies on the other.
    pub is_accepted: bool,
    /// The keys of the line.
    pub result: Map<String, Value>,
}

impl LedgerReader {
    /// Runs several listings over one state of the ledger.
    pub fn in_snapshot<T, E: From<LedgerError>>(
        &self,
        read: impl FnOnce(&Self) -> Result<T, E>,
    ) -> Result<T, E> {
        self.connection.execute_batch("BEGIN").map_err(LedgerError::from)?;
        let result = read(self);
        // nothing was written that could be lost
        let _ = self.connection.execute_batch("ROLLBACK");
        result
    }

    /// The names of the roots that hold files, in order.
    pub fn root_names(&self) -> Result<Vec<String>, LedgerError> {
        let mut statement = self.connection.prepare_cached(
            "SELECT name FROM root WHERE EXISTS (SELECT 1 FROM file WHERE root_id = root.id) ORDER BY name",
        )?;
        let rows = statement.query_map([], |row| row.get(0))?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// Every file, by root and path.
    pub fn each_file<E: From<LedgerError>>(
        &self,
        visit: impl FnMut(FileListing) -> Result<(), E>,
    ) -> Result<(), E> {
        self.each(
            "SELECT root.name, folder, file.name, state, reason, version, format, plate, run, cycle, well, site, \
             size_bytes, n_planes, n_todo, n_rejected, n_missing, \
             (SELECT sum(nuclei) FROM plane WHERE file_id = file.id AND plane.state = 'done') \
             FROM root CROSS JOIN file ON root_id = root.id ORDER BY root.name, folder, file.name",
            |row| {
                let mut column = Columns::new(row);
                Ok(FileListing {
                    root: column.next()?,
                    path: column.path()?,
                    state: column.next()?,
                    reason: column.next()?,
                    version: column.next()?,
                    format: column.next()?,
                    identity: Identity {
                        plate: column.next()?,
                        run: column.next()?,
                        cycle: column.next()?,
                        well: column.next()?,
                        site: column.next()?,
                        ..Identity::default()
                    },
                    size_bytes: column.next::<i64>()? as u64,
                    n_planes: column.next()?,
                    n_todo: column.next()?,
                    n_rejected: column.next()?,
                    n_missing: column.next()?,
                    nuclei: column.next()?,
                })
            },
            visit,
        )
    }

    /// The names of all figures that planes have, in order.
    pub fn figure_names(&self) -> Result<Vec<String>, LedgerError> {
        let mut statement = self.connection.prepare_cached(
            "SELECT DISTINCT figure.key FROM plane, json_each(figures) AS figure ORDER BY 1",
        )?;
        let rows = statement.query_map([], |row| row.get(0))?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// Every plane that has results or was given up, by root, path and plane.
    pub fn each_plane<E: From<LedgerError>>(
        &self,
        visit: impl FnMut(PlaneListing) -> Result<(), E>,
    ) -> Result<(), E> {
        self.each(
            "SELECT root.name, folder, file.name, t, p, z, c, plane.state, plane.reported_version, digest, blank, \
             plane.reason, plane.plate, plane.run, plane.cycle, plane.well, plane.site, channel, t_known, z_known, \
             figures FROM root CROSS JOIN file ON root_id = root.id CROSS JOIN plane ON file_id = file.id \
             WHERE plane.state != 'todo' OR digest IS NOT NULL \
             ORDER BY root.name, folder, file.name, t, p, z, c",
            read_plane,
            visit,
        )
    }

    /// Every pair that was tried and whose planes still hold these pixels, by root, path and plane of the finer field,
    /// then of its overview.
    pub fn each_registration<E: From<LedgerError>>(
        &self,
        visit: impl FnMut(RegistrationListing) -> Result<(), E>,
    ) -> Result<(), E> {
        self.each(
            "SELECT r1.name, f1.folder, f1.name, p1.t, p1.p, p1.z, p1.c, \
             r2.name, f2.folder, f2.name, p2.t, p2.p, p2.z, p2.c, \
             p1.plate, p1.run, p1.cycle, p1.well, p1.site, p1.channel, p1.t_known, p1.z_known, \
             p2.plate, p2.run, p2.cycle, p2.well, p2.site, p2.channel, p2.t_known, p2.z_known, \
             v1.height, v1.width, v1.pixel_size_um, v1.magnification, v1.x_um, v1.y_um, \
             v2.height, v2.width, v2.pixel_size_um, v2.magnification, v2.x_um, v2.y_um, \
             is_accepted, result FROM registration \
             JOIN plane p1 ON p1.id = moving AND p1.digest = moving_digest \
             JOIN plane p2 ON p2.id = reference AND p2.digest = reference_digest \
             JOIN registrable v1 ON v1.plane_id = moving JOIN registrable v2 ON v2.plane_id = reference \
             JOIN file f1 ON f1.id = p1.file_id JOIN root r1 ON r1.id = f1.root_id \
             JOIN file f2 ON f2.id = p2.file_id JOIN root r2 ON r2.id = f2.root_id \
             ORDER BY r1.name, f1.folder, f1.name, p1.t, p1.p, p1.z, p1.c, \
             r2.name, f2.folder, f2.name, p2.t, p2.p, p2.z, p2.c",
            |row| {
                let mut column = Columns::new(row);
                Ok(RegistrationListing {
                    moving: (column.next()?, column.path()?, column.index()?),
                    reference: (column.next()?, column.path()?, column.index()?),
                    moving_identity: column.identity()?,
                    reference_identity: column.identity()?,
                    views: (column.view()?, column.view()?),
                    is_accepted: column.next()?,
                    // the writer put JSON there
                    result: serde_json::from_str(&column.next::<String>()?).unwrap_or_default(),
                })
            },
            visit,
        )
    }

    pub(super) fn each<T, E: From<LedgerError>>(
        &self,
        sql: &str,
        mut read: impl FnMut(&Row<'_>) -> rusqlite::Result<T>,
        mut visit: impl FnMut(T) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut statement = self.connection.prepare_cached(sql).map_err(LedgerError::from)?;
        let mut rows = statement.query([]).map_err(LedgerError::from)?;
        while let Some(row) = rows.next().map_err(LedgerError::from)? {
            visit(read(row).map_err(LedgerError::from)?)?;
        }
        Ok(())
    }
}

fn read_plane(row: &Row<'_>) -> rusqlite::Result<PlaneListing> {
    let mut column = Columns::new(row);
    Ok(PlaneListing {
        root: column.next()?,
        path: column.path()?,
        index: column.index()?,
        state: column.next()?,
        version: column.next()?,
        digest: column.next()?,
        blank: column.next()?,
        reason: column.next()?,
        identity: column.identity()?,
        // the writer put JSON there
        figures: serde_json::from_str(&column.next::<String>()?).unwrap_or_default(),
    })
}

//! What the ledger knows of fields that lie on their overviews, pair by pair: for tables and pictures made of them.

use rusqlite::{OptionalExtension, params};
use serde_json::{Map, Value};

use super::registrations;
use super::rows::Columns;
use crate::analysis::registration::{PointPair, pairs_from_bytes};
use crate::analysis::segmentation::Centroids;
use crate::paths::RelativePath;
use crate::store::{Identity, LedgerError, LedgerReader, PixelDigest};
use crate::units::PlaneIndex;

/// A fine field that lies on its overview, by the numbers of the planes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AcceptedPair {
    /// The finer field.
    pub moving: i64,
    /// Its overview.
    pub reference: i64,
    /// Cycle and time point of the finer field.
    pub shot: (Option<String>, i64),
    /// Digests of the samples of both.
    pub digests: [PixelDigest; 2],
}

/// One side of such a pair.
#[derive(Debug, Clone, PartialEq)]
pub struct AcceptedSide {
    /// Its root.
    pub root: String,
    /// Its file.
    pub path: RelativePath,
    /// Which plane.
    pub index: PlaneIndex,
    /// What is known of it.
    pub identity: Identity,
    /// Micrometres per pixel.
    pub pixel_size_um: Option<f64>,
    /// Digest of its samples.
    pub digest: PixelDigest,
    /// Its nuclei.
    pub centroids: Centroids,
}

impl LedgerReader {
    /// The pairs whose planes still hold the pixels that were registered and of which it is known which nuclei are the
    /// same, by root, path and plane of the finer field, then of its overview.
    pub fn accepted_pairs(&self) -> Result<Vec<AcceptedPair>, LedgerError> {
        let mut pairs = vec![];
        self.each(
            "SELECT moving, reference, p1.cycle, coalesce(p1.t_known, p1.t), moving_digest, reference_digest \
             FROM registration \
             JOIN plane p1 ON p1.id = moving AND p1.digest = moving_digest \
             JOIN plane p2 ON p2.id = reference AND p2.digest = reference_digest \
             JOIN file f1 ON f1.id = p1.file_id JOIN root r1 ON r1.id = f1.root_id \
             JOIN file f2 ON f2.id = p2.file_id JOIN root r2 ON r2.id = f2.root_id \
             WHERE is_accepted = 1 AND pairs IS NOT NULL \
             ORDER BY r1.name, f1.folder, f1.name, p1.t, p1.p, p1.z, p1.c, \
             r2.name, f2.folder, f2.name, p2.t, p2.p, p2.z, p2.c",
            |row| {
                let mut column = Columns::new(row);
                Ok(AcceptedPair {
                    moving: column.next()?,
                    reference: column.next()?,
                    shot: (column.next()?, column.next()?),
                    digests: [column.next()?, column.next()?],
                })
            },
            |pair| {
                pairs.push(pair);
                Ok::<_, LedgerError>(())
            },
        )?;
        Ok(pairs)
    }

    /// One side of a pair; none where its nuclei are not known.
    pub fn accepted_side(&self, plane_id: i64) -> Result<Option<AcceptedSide>, LedgerError> {
        let mut statement = self.connection.prepare_cached(
            "SELECT root.name, folder, file.name, t, p, z, c, plane.plate, plane.run, plane.cycle, plane.well, \
             plane.site, channel, t_known, z_known, pixel_size_um, digest, feature.version, data \
             FROM plane JOIN file ON file.id = plane.file_id JOIN root ON root.id = file.root_id \
             JOIN registrable ON registrable.plane_id = plane.id \
             JOIN feature ON feature.plane_id = plane.id AND kind = ?2 WHERE plane.id = ?1",
        )?;
        let read = |row: &rusqlite::Row<'_>| {
            let mut column = Columns::new(row);
            let side = AcceptedSide {
                root: column.next()?,
                path: column.path()?,
                index: column.index()?,
                identity: column.identity()?,
                pixel_size_um: column.next()?,
                digest: column.next()?,
                centroids: Centroids::default(),
            };
            Ok((side, column.next()?, column.next()?))
        };
        let found: Option<(AcceptedSide, u32, Vec<u8>)> =
            statement.query_row(params![plane_id, registrations::CENTROIDS], read).optional()?;
        let Some((side, version, bytes)) = found else { return Ok(None) };
        let centroids = Centroids::from_bytes(version, &bytes);
        Ok(centroids.map(|centroids| AcceptedSide { centroids, ..side }))
    }

    /// Which nuclei of the two planes of a pair are the same, by their positions among the centroids, and the keys of its
    /// line.
    pub fn accepted_nuclei(
        &self,
        pair: &AcceptedPair,
    ) -> Result<(Vec<PointPair>, Map<String, Value>), LedgerError> {
        let mut statement = self
            .connection
            .prepare_cached("SELECT pairs, result FROM registration WHERE moving = ?1 AND reference = ?2")?;
        let read = |row: &rusqlite::Row<'_>| Ok((row.get(0)?, row.get(1)?));
        let (bytes, result): (Vec<u8>, String) = statement.query_row([pair.moving, pair.reference], read)?;
        let damaged = || {
            let AcceptedPair { moving, reference, .. } = pair;
            LedgerError::Damaged(format!("the registration of plane {moving} on plane {reference}"))
        };
        let pairs = pairs_from_bytes(&bytes).ok_or_else(damaged)?;
        Ok((pairs, serde_json::from_str(&result).map_err(|_| damaged())?))
    }
}

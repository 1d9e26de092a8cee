//! Wells: which are to be looked at, what their fields and registrations are, and what their transforms tell.
//!
//! Whatever changes a plane that can be registered leaves a mark in its transaction. Wells with marks are looked at when
//! there is time, from what the ledger holds then; the marks go when that is written down. So what stands in the end
//! follows from the fields alone, whatever came first and whatever was cut off in between.

use rusqlite::params;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::registrations;
use super::rows::Columns;
use super::session::Session;
use crate::analysis::registration::well::{Landing, WellTransform};
use crate::geometry::Affine;
use crate::store::{Identity, LedgerError, LedgerReader, PixelsOf, View};

/// Fields that were taken in one go as far as anything tells: of one well, in one run.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Lot {
    /// Name of the root that the files stand under.
    pub root: String,
    /// Plate or slide.
    pub plate: Option<String>,
    /// Run of the instrument.
    pub run: Option<String>,
    /// Staining or imaging cycle.
    pub cycle: Option<String>,
    /// Well.
    pub well: Option<String>,
}

/// Which fields a transform is of: fine fields of one lot in overviews of one, often the same.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct WellKey {
    /// The fine fields.
    pub moving: Lot,
    /// Their overviews.
    pub reference: Lot,
}

/// The wells that are to be looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DueWells {
    /// Number of the last mark.
    pub last: i64,
    /// The lots that marked planes are of.
    pub lots: Vec<Lot>,
}

/// What came of a pair whose planes still hold these pixels.
#[derive(Debug, Clone, PartialEq)]
pub struct KnownRegistration {
    /// The overview.
    pub reference: PixelsOf,
    /// Whether the field lies in it.
    pub is_accepted: bool,
    /// The keys of the line.
    pub result: Map<String, Value>,
}

/// What the transform of a well made of the fields that lie in no overview by themselves.
#[derive(Debug, Clone, PartialEq)]
pub struct WellSettled {
    /// The well.
    pub key: WellKey,
    /// Its transform; none where the fields found tell none.
    pub transform: Option<WellTransform>,
    /// Pairs found by it, and those that it does not find any more.
    pub found: Vec<FoundByWell>,
}

/// A pair that was looked for where the transform of its well puts it.
#[derive(Debug, Clone, PartialEq)]
pub struct FoundByWell {
    /// The fine field.
    pub moving: PixelsOf,
    /// Its overview.
    pub reference: PixelsOf,
    /// What was found; none where the field is not there.
    pub found: Option<Found>,
}

/// A field that was found where its well puts it.
#[derive(Debug, Clone, PartialEq)]
pub struct Found {
    /// The keys of the line.
    pub result: Map<String, Value>,
    /// Which points of both fields are the same nucleus, as in [`Registration`](crate::store::Registration).
    pub pairs: Option<Vec<u8>>,
}

impl Lot {
    /// The lot of a plane.
    pub fn new(root: &str, identity: &Identity) -> Self {
        let Identity { plate, run, cycle, well, .. } = identity.clone();
        Self { root: root.to_owned(), plate, run, cycle, well }
    }
}

impl WellKey {
    fn text(&self) -> String {
        serde_json::to_string(self).expect("names are JSON")
    }
}

/// Whether a registration was found by the transform of a well.
pub fn is_found_by_well(result: &Map<String, Value>) -> bool {
    result.get("found_by").is_some_and(|by| by == FOUND_BY_WELL)
}

/// What a pair with a transform says of its well; none where the sizes of pixels are not known. `stage_um` is where the
/// stage stood for the field and for its overview.
pub fn landing_of(
    (moving, reference): (&View, &View),
    stage_um: ([f64; 2], [f64; 2]),
    result: &Map<String, Value>,
) -> Option<Landing> {
    let transform: Affine = serde_json::from_value(result.get("reference_from_moving")?.clone()).ok()?;
    let pixel_sizes_um = moving.pixel_size_um.zip(reference.pixel_size_um)?;
    Some(Landing::new(&transform, (moving.centre_px(), reference.centre_px()), pixel_sizes_um, stage_um))
}

/// The word for it in reports.
pub const FOUND_BY_WELL: &str = "well";

/// Marks the well of a plane, as the plane stands now: the mark outlives the plane.
pub(super) fn mark(session: &Session<'_>, plane_id: i64) -> Result<(), LedgerError> {
    session.execute(
        "INSERT INTO well_due (lot) SELECT json_object('root', root.name, 'plate', plane.plate, 'run', plane.run, \
         'cycle', plane.cycle, 'well', plane.well) \
         FROM plane JOIN file ON file.id = file_id JOIN root ON root.id = root_id WHERE plane.id = ?1",
        [plane_id],
    )?;
    Ok(())
}

/// Writes down what a well came to, with a line for each pair that changes.
pub(super) fn settle(session: &Session<'_>, settled: &WellSettled) -> Result<(), LedgerError> {
    let key = settled.key.text();
    match &settled.transform {
        Some(transform) => {
            let text = serde_json::to_string(transform).expect("finite numbers are JSON");
            session.execute(
                "INSERT OR REPLACE INTO well (key, transform) VALUES (?1, ?2)",
                params![key, text],
            )?;
        }
        None => drop(session.execute("DELETE FROM well WHERE key = ?1", [key])?),
    }
    settled.found.iter().try_for_each(|found| registrations::record_by_well(session, found))
}

/// Takes the marks up to one away.
pub(super) fn unmark(session: &Session<'_>, last: i64) -> Result<(), LedgerError> {
    session.execute("DELETE FROM well_due WHERE id <= ?1", [last])?;
    Ok(())
}

impl LedgerReader {
    /// The wells that are to be looked at; none where nothing has changed.
    pub fn due_wells(&self) -> Result<Option<DueWells>, LedgerError> {
        let last: Option<i64> =
            self.connection.query_row("SELECT max(id) FROM well_due", [], |row| row.get(0))?;
        let Some(last) = last else { return Ok(None) };
        let mut lots = Vec::new();
        self.each(
            "SELECT DISTINCT lot FROM well_due ORDER BY lot",
            |row| row.get::<_, String>(0),
            |text| {
                lots.push(parsed("the marked well", &text)?);
                Ok::<_, LedgerError>(())
            },
        )?;
        Ok(Some(DueWells { last, lots }))
    }

    /// What came of every pair of a fine field with overviews, while all hold these pixels.
    pub fn registrations_of(&self, moving: &PixelsOf) -> Result<Vec<KnownRegistration>, LedgerError> {
        let PixelsOf { file_id, index, digest } = moving;
        let mut statement = self.connection.prepare_cached(
            "SELECT p2.file_id, p2.t, p2.p, p2.z, p2.c, p2.digest, is_accepted, result FROM plane p1 \
             JOIN registration ON moving = p1.id AND moving_digest = p1.digest \
             JOIN plane p2 ON p2.id = reference AND p2.digest = reference_digest \
             WHERE p1.file_id = ?1 AND p1.t = ?2 AND p1.p = ?3 AND p1.z = ?4 AND p1.c = ?5 AND p1.digest = ?6 \
             ORDER BY reference",
        )?;
        let key = params![file_id, index.t, index.p, index.z, index.c, digest];
        let rows = statement.query_map(key, |row| {
            let mut column = Columns::new(row);
            let (file_id, index, digest) = (column.next()?, column.index()?, column.next()?);
            Ok((PixelsOf { file_id, index, digest }, column.next()?, column.next::<String>()?))
        })?;
        let known = rows.map(|row| {
            let (reference, is_accepted, text) = row?;
            Ok(KnownRegistration { reference, is_accepted, result: parsed("the registration", &text)? })
        });
        known.collect()
    }

    /// Every well that has a transform, by root, plate, run, cycle and well of the fine fields, then of the overviews.
    pub fn wells(&self) -> Result<Vec<(WellKey, WellTransform)>, LedgerError> {
        let mut statement = self.connection.prepare_cached("SELECT key, transform FROM well")?;
        let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
        let mut wells: Vec<(WellKey, _)> = Vec::new();
        for row in rows {
            let (key, transform): (String, String) = row?;
            wells.push((parsed("the well", &key)?, parsed("the transform of a well", &transform)?));
        }
        wells.sort_by(|left, right| left.0.cmp(&right.0));
        Ok(wells)
    }
}

/// What the writer put down as JSON.
pub(super) fn parsed<T: DeserializeOwned>(what: &str, text: &str) -> Result<T, LedgerError> {
    serde_json::from_str(text).map_err(|error| LedgerError::Damaged(format!("{what} {text}: {error}")))
}

#[cfg(test)]
mod tests;

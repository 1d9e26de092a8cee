//! What the registrar leaves: planes that wait for partners, and what came of every pair that was tried.
//!
//! A pair is tried by whichever of its planes comes second, and written down with that plane. The first may not be
//! written down yet; if the process ends before it is, it comes again, is tried with the second again, and the
//! result is known already. So each pair of pixels has one row and one line.

use rusqlite::{Row, params};
use serde_json::{Map, Value, json};

use super::outbox::{self, Content};
use super::rows::Columns;
use super::session::Session;
use super::wells::{self, Found, FoundByWell, is_found_by_well};
use crate::analysis::segmentation::Centroids;
use crate::paths::RelativePath;
use crate::store::{
    Identity, LedgerError, PixelDigest, PixelsOf, PlaneDone, PlaneState, Registrable, Registration, Side,
    Stream,
};
use crate::units::PlaneIndex;

/// The kind under which centroids are kept.
pub(super) const CENTROIDS: &str = "centroids";

/// Writes down that a plane, whose results are being replaced, can or cannot be registered; what was found with
/// other pixels of it is withdrawn.
pub(super) fn replace(session: &Session<'_>, plane_id: i64, done: &PlaneDone) -> Result<(), LedgerError> {
    withdraw(session, plane_id, Some(&done.digest))?;
    let had_one = session.execute("DELETE FROM registrable WHERE plane_id = ?1", [plane_id])? > 0;
    if had_one || done.registrable.is_some() {
        wells::mark(session, plane_id)?;
    }
    let Some(Registrable { view, centroids }) = &done.registrable else { return Ok(()) };
    let [x_um, y_um] = view.stage_um.map_or([None; 2], |position| position.map(Some));
    session.execute(
        "INSERT INTO registrable (plane_id, height, width, pixel_size_um, magnification, x_um, y_um) \
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
        params![plane_id, view.height, view.width, view.pixel_size_um, view.magnification, x_um, y_um],
    )?;
    session.execute(
        "INSERT OR REPLACE INTO feature (plane_id, kind, version, data) VALUES (?1, ?2, ?3, ?4)",
        params![plane_id, CENTROIDS, Centroids::VERSION, centroids.to_bytes()],
    )?;
    done.registrations.iter().try_for_each(|found| record(session, (plane_id, &done.digest), found))
}

/// Takes back what was found with a plane, and takes it out of those that wait for partners.
pub(super) fn forget(session: &Session<'_>, plane_id: i64) -> Result<(), LedgerError> {
    withdraw(session, plane_id, None)?;
    if session.execute("DELETE FROM registrable WHERE plane_id = ?1", [plane_id])? > 0 {
        wells::mark(session, plane_id)?;
    }
    Ok(())
}

/// Takes back what was found with a plane, with a line for each pair; all of it, or all but that with pixels of one
/// digest.
pub(super) fn withdraw(
    session: &Session<'_>,
    plane_id: i64,
    keep: Option<&PixelDigest>,
) -> Result<(), LedgerError> {
    let pairs: Vec<(i64, i64)> = session.rows(
        "SELECT moving, reference FROM registration WHERE moving = ?1 AND moving_digest IS NOT ?2 \
         UNION SELECT moving, reference FROM registration WHERE reference = ?1 AND reference_digest IS NOT ?2",
        params![plane_id, keep],
        |row| Ok((row.get(0)?, row.get(1)?)),
    )?;
    pairs.into_iter().try_for_each(|pair| withdraw_pair(session, pair))
}

fn withdraw_pair(session: &Session<'_>, (moving, reference): (i64, i64)) -> Result<(), LedgerError> {
    session.execute("DELETE FROM registration WHERE moving = ?1 AND reference = ?2", [moving, reference])?;
    let content =
        pair_content("withdrawn", &Member::load(session, moving)?, &Member::load(session, reference)?);
    outbox::emit(session, Stream::Registrations, &content)
}

/// Writes down one pair, unless it is known, or the partner has changed meanwhile: then the partner comes again.
fn record(
    session: &Session<'_>,
    (plane_id, digest): (i64, &PixelDigest),
    found: &Registration,
) -> Result<(), LedgerError> {
    let Some(partner_id) = standing(session, &found.partner)? else { return Ok(()) };
    let own = (plane_id, digest);
    let partner = (partner_id, &found.partner.digest);
    let (moving, reference) = match found.side {
        Side::Moving => (own, partner),
        Side::Reference => (partner, own),
    };
    // one that only the transform of its well found stands behind a try by its points
    let known: Option<bool> = session.row_if_any(
        "SELECT moving_digest = ?3 AND reference_digest = ?4 \
         AND (result ->> '$.found_by' IS NOT 'well' OR result -> '$.direct' IS NOT NULL) \
         FROM registration WHERE moving = ?1 AND reference = ?2",
        params![moving.0, reference.0, moving.1, reference.1],
        |row| row.get(0),
    )?;
    match known {
        Some(true) => return Ok(()),
        Some(false) => withdraw_pair(session, (moving.0, reference.0))?,
        None => {}
    }
    put(session, [moving, reference], (found.is_accepted, &found.result), found.pairs.as_deref())
}

/// Writes down a pair that the transform of its well found, in place of its refusal, which is kept in it; or puts the
/// refusal back. What was found by the points of the pair alone stands, and so does what says the same.
pub(super) fn record_by_well(session: &Session<'_>, found: &FoundByWell) -> Result<(), LedgerError> {
    let ids = (standing(session, &found.moving)?, standing(session, &found.reference)?);
    let (Some(moving), Some(reference)) = ids else { return Ok(()) };
    let sides = [(moving, &found.moving.digest), (reference, &found.reference.digest)];
    let known: Option<(bool, bool, String)> = session.row_if_any(
        "SELECT moving_digest = ?3 AND reference_digest = ?4, is_accepted, result FROM registration \
         WHERE moving = ?1 AND reference = ?2",
        params![moving, reference, found.moving.digest, found.reference.digest],
        |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)),
    )?;
    let known = match known {
        // of other pixels: a plane is about to be replaced, and its well is looked at again
        Some((false, ..)) => return Ok(()),
        Some((true, is_accepted, text)) => {
            Some((is_accepted, wells::parsed::<Map<_, _>>("the registration", &text)?))
        }
        None => None,
    };
    let is_by_well = known.as_ref().is_some_and(|(_, result)| is_found_by_well(result));
    if !is_by_well && (known.as_ref().is_some_and(|(is_accepted, _)| *is_accepted) || found.found.is_none()) {
        return Ok(());
    }
    let direct = match &known {
        Some((_, result)) if is_by_well => result.get("direct").cloned(),
        Some((_, result)) => Some(Value::Object(result.clone())),
        None => None,
    };
    if is_by_well
        && let (Some((_, before)), Some(Found { result, .. })) = (&known, &found.found)
        && says_the_same(before, result)
    {
        return Ok(());
    }
    if known.is_some() {
        withdraw_pair(session, (moving, reference))?;
    }
    match (&found.found, direct) {
        (Some(Found { result, pairs }), direct) => {
            let mut result = result.clone();
            result.extend(direct.map(|direct| ("direct".to_owned(), direct)));
            put(session, sides, (true, &result), pairs.as_deref())
        }
        (None, Some(Value::Object(direct))) => put(session, sides, (false, &direct), None),
        (None, _) => Ok(()),
    }
}

/// Whether two results are the same but for what the optimizers took.
fn says_the_same(before: &Map<String, Value>, result: &Map<String, Value>) -> bool {
    // numbers as they come back from the ledger
    let text = serde_json::to_string(result).expect("a map of JSON values is JSON");
    let result = serde_json::from_str::<Map<_, _>>(&text).unwrap_or_default();
    let keys = |map: &Map<String, Value>| -> Map<String, Value> {
        let is_said = |(key, _): &(&String, &Value)| !["optimizers", "direct"].contains(&key.as_str());
        map.iter().filter(is_said).map(|(key, value)| (key.clone(), value.clone())).collect()
    };
    keys(before) == keys(&result)
}

/// Writes down a pair of planes `(number, digest)`, moving and reference, with its line.
fn put(
    session: &Session<'_>,
    [moving, reference]: [(i64, &PixelDigest); 2],
    (is_accepted, result): (bool, &Map<String, Value>),
    pairs: Option<&[u8]>,
) -> Result<(), LedgerError> {
    let text = serde_json::to_string(result).expect("a map of JSON values is JSON");
    session.execute(
        "INSERT INTO registration (moving, reference, moving_digest, reference_digest, is_accepted, result, pairs) \
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
        params![moving.0, reference.0, moving.1, reference.1, is_accepted, text, pairs],
    )?;
    let event = if is_accepted { "registered" } else { "refused" };
    let content =
        pair_content(event, &Member::load(session, moving.0)?, &Member::load(session, reference.0)?)
            .with("accepted", is_accepted)
            .with_all(result);
    outbox::emit(session, Stream::Registrations, &content)
}

/// The number of a plane that holds these pixels, or is about to be written down with them.
fn standing(session: &Session<'_>, pixels: &PixelsOf) -> Result<Option<i64>, LedgerError> {
    let PixelsOf { file_id, index, digest } = pixels;
    session.row_if_any(
        "SELECT id FROM plane WHERE file_id = ?1 AND t = ?2 AND p = ?3 AND z = ?4 AND c = ?5 \
         AND (state = ?6 OR (state = ?7 AND digest = ?8))",
        params![
            file_id,
            index.t,
            index.p,
            index.z,
            index.c,
            PlaneState::Todo.name(),
            PlaneState::Done.name(),
            digest
        ],
        |row| row.get(0),
    )
}

/// One side of a pair, as lines name it.
struct Member {
    root: String,
    path: RelativePath,
    index: PlaneIndex,
    identity: Identity,
}

impl Member {
    fn load(session: &Session<'_>, plane_id: i64) -> Result<Self, LedgerError> {
        session.row(
            "SELECT root.name, folder, file.name, t, p, z, c, plane.plate, plane.run, plane.cycle, plane.well, \
             plane.site, channel, t_known, z_known \
             FROM plane JOIN file ON file.id = plane.file_id JOIN root ON root.id = file.root_id WHERE plane.id = ?1",
            [plane_id],
            Self::read,
        )
    }

    fn read(row: &Row<'_>) -> rusqlite::Result<Self> {
        let mut column = Columns::new(row);
        Ok(Self {
            root: column.next()?,
            path: column.path()?,
            index: column.index()?,
            identity: column.identity()?,
        })
    }

    fn report(&self) -> Value {
        let Identity { plate, run, cycle, well, site, channel, t, z } = &self.identity;
        json!({
            "root": self.root,
            "file": self.path.to_report(),
            "plane": self.index.to_string(),
            "plate": plate,
            "run": run,
            "cycle": cycle,
            "well": well,
            "site": site,
            "t": t.unwrap_or(i64::from(self.index.t)),
            "z": z.unwrap_or(i64::from(self.index.z)),
            "channel": channel,
        })
    }
}

fn pair_content(event: &str, moving: &Member, reference: &Member) -> Content {
    Content::default()
        .with("event", event)
        .with("moving", moving.report())
        .with("reference", reference.report())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::analysis::registration::pairs_to_bytes;
    use crate::store::test_support::{Scratch, plane};
    use crate::store::{FileTicket, View, wait};

    const KEYS: [&str; 2] = ["event", "seq"];

    fn pixels(file_id: i64, digest: u8) -> PixelsOf {
        PixelsOf { file_id, index: plane(0), digest: [digest; 32] }
    }

    fn finish(scratch: &Scratch, ticket: FileTicket, digest: u8, tried: &[(Side, PixelsOf)]) {
        let registration = |(side, partner): &(Side, PixelsOf)| Registration {
            side: *side,
            partner: *partner,
            is_accepted: true,
            result: Map::new(),
            pairs: Some(pairs_to_bytes(&[(0, 0)])),
        };
        let view = View { height: 2, width: 3, stage_um: Some([1.0, -2.0]), ..View::default() };
        let centroids = Arc::new(Centroids { points: vec![[1.5, 0.25]], labels: vec![4] });
        let done = PlaneDone {
            registrable: Some(Registrable { view, centroids }),
            registrations: tried.iter().map(registration).collect(),
            ..scratch.done(ticket, 0, digest)
        };
        wait(|reply| scratch.handle().finish_plane(done, reply)).unwrap();
    }

    fn counts(scratch: &Scratch) -> (u64, usize) {
        let mut n_listed = 0;
        let count = |_| {
            n_listed += 1;
            Ok::<_, LedgerError>(())
        };
        scratch.reader().each_registration(count).unwrap();
        (scratch.reader().counts().unwrap().registrations, n_listed)
    }

    #[test]
    fn a_pair_whose_first_plane_is_lost_before_its_commit_has_one_line() {
        let scratch = Scratch::new();
        let [first, second] = ["a.tif", "b.tif"].map(|path| scratch.claim(path, 1, 1).ticket);
        finish(&scratch, second, 2, &[(Side::Reference, pixels(first.file_id, 1))]);
        assert_eq!(counts(&scratch), (1, 0), "not shown before both are done");
        // the first comes again, and is tried with the second again
        finish(&scratch, first, 1, &[(Side::Moving, pixels(second.file_id, 2))]);
        assert_eq!(scratch.brief(Stream::Registrations, &KEYS), ["registered 1"]);
        assert_eq!(counts(&scratch), (1, 1));
    }

    #[test]
    fn other_pixels_withdraw_what_was_found_and_a_result_of_old_pixels_is_not_taken() {
        let scratch = Scratch::new();
        let [first, second] = ["a.tif", "b.tif"].map(|path| scratch.claim(path, 1, 1).ticket);
        let (moving, reference) = (pixels(first.file_id, 1), pixels(second.file_id, 2));
        finish(&scratch, first, 1, &[]);
        finish(&scratch, second, 2, &[(Side::Reference, moving)]);
        let first = scratch.claim("a.tif", 2, 1).ticket;
        assert_eq!(counts(&scratch), (1, 1), "it stands until the plane is read again");
        finish(&scratch, first, 3, &[(Side::Moving, reference)]);
        let second = scratch.claim("b.tif", 2, 1).ticket;
        finish(&scratch, second, 4, &[(Side::Reference, moving)]);
        assert_eq!(
            scratch.brief(Stream::Registrations, &KEYS),
            ["registered 1", "withdrawn 2", "registered 3", "withdrawn 4"]
        );
        assert_eq!(counts(&scratch), (0, 0));
    }

    #[test]
    fn what_can_be_registered_comes_back_as_it_was_kept() {
        let mut scratch = Scratch::new();
        let ticket = scratch.claim("a.tif", 1, 1).ticket;
        finish(&scratch, ticket, 1, &[]);
        scratch.open();
        let mut planes = Vec::new();
        scratch.reader().registrable_planes(|plane| planes.push(plane)).unwrap();
        assert_eq!((planes.len(), planes[0].key), (1, pixels(ticket.file_id, 1)));
        assert_eq!(planes[0].view.stage_um, Some([1.0, -2.0]));
        assert_eq!((planes[0].view.width, planes[0].view.pixel_size_um), (3, None));
        let centroids = |digest| scratch.reader().centroids_of(&pixels(ticket.file_id, digest)).unwrap();
        let kept = centroids(1).unwrap();
        assert_eq!((kept.points, kept.labels), (vec![[1.5, 0.25]], vec![4]));
        assert_eq!(centroids(2), None, "other pixels");
        // a plane that is given up waits for nobody
        let ticket = scratch.claim("a.tif", 2, 1).ticket;
        scratch.fail_plane(ticket, 0, 1);
        scratch.reader().registrable_planes(|plane| panic!("{plane:?}")).unwrap();
    }
}

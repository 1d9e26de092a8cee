//! Taking up a file: which of its planes are to be read, and under which version.

use std::collections::BTreeMap;

use rusqlite::params;

use super::rows::{Columns, FileRow, PlaneRow};
use super::session::Session;
use super::{groups, growth, planes as plane_rows, registrations, wells};
use crate::store::{
    Claimed, ClaimedPlane, FileClaim, FileExtension, FileState, FileTicket, Identity, LedgerError,
    PlaneClaim, PlaneState,
};
use crate::units::PlaneIndex;

pub(super) fn claim(session: &Session<'_>, request: &FileClaim) -> Result<Claimed, LedgerError> {
    let mut file = FileRow::find_or_insert(session, request.root_id, &request.path, request.stat)?;
    let is_first = file.claim == 0;
    let is_same = !is_first && !file.is_stale && file.stat == request.stat;
    let keeps_results = is_same || request.only_grew;
    let reason = reason(session, &file, (is_first, keeps_results));
    let was_growing = !is_first && !file.is_complete;
    file.interruptions =
        if keeps_results { file.interruptions + u32::from(file.was_cut_off(session)) } else { 0 };
    file.is_begun = false;
    if !is_same {
        set_byte_class(session, file.id)?;
    }
    let is_rank_new =
        !is_first && (file.stat.mtime_ns, file.quality_rank) != (request.stat.mtime_ns, request.quality_rank);
    file.stat = request.stat;
    file.is_stale = false;
    file.claim += 1;
    session.run_id.clone_into(&mut file.claim_run);
    file.is_complete = request.is_complete;
    file.is_confirmed = false;
    file.quality_rank = request.quality_rank;
    save_description(session, file.id, request)?;
    let (mut planes, n_misplaced) = claim_planes(session, &mut file, request, keeps_results)?;
    if request.is_complete && was_growing {
        reread_one(session, &mut file, &mut planes)?;
    }
    file.save(session)?;
    if is_rank_new {
        groups::rerank(session, file.id)?;
    }
    if !keeps_results {
        growth::forget(session, file.id)?;
    }
    if !request.probes.is_empty() {
        growth::save(session, file.id, (request.stat, &request.probes), request.is_complete)?;
    }
    if request.is_complete {
        file.set_state(session, FileState::Working, reason)?;
    } else {
        file.set_state(session, FileState::Growing, "its planes are taken up while it grows")?;
    }
    Ok(Claimed {
        ticket: FileTicket { file_id: file.id, claim: file.claim },
        version: file.version,
        interruptions: file.interruptions,
        planes,
        n_misplaced,
    })
}

/// Why the file is taken up, for `explain`.
fn reason(session: &Session<'_>, file: &FileRow, (is_first, keeps_results): (bool, bool)) -> &'static str {
    let was_working = file.state == FileState::Working;
    if is_first {
        "taken up"
    } else if keeps_results && !file.is_complete {
        "taken up as a whole: it only grew since its planes were read"
    } else if !keeps_results {
        "taken up again: the file changed"
    } else if file.was_cut_off(session) {
        "taken up again: the process ended while planes of the file were in work"
    } else if was_working && file.claim_run != session.run_id {
        "taken up again: the process ended before a plane of the file was in work"
    } else {
        "taken up again"
    }
}

/// Gives a file whose bytes are new a class of its own.
fn set_byte_class(session: &Session<'_>, file_id: i64) -> Result<(), LedgerError> {
    let class: i64 =
        session.row("SELECT coalesce(max(byte_class), 0) + 1 FROM file", [], |row| row.get(0))?;
    session.execute("UPDATE file SET byte_class = ?2 WHERE id = ?1", [file_id, class])?;
    Ok(())
}

fn save_description(session: &Session<'_>, file_id: i64, request: &FileClaim) -> Result<(), LedgerError> {
    let Identity { plate, run, cycle, well, site, .. } = &request.identity;
    let metadata = serde_json::Value::Object(request.metadata.clone()).to_string();
    session.execute(
        "UPDATE file SET format = ?2, metadata = ?3, plate = ?4, run = ?5, cycle = ?6, well = ?7, site = ?8 \
         WHERE id = ?1",
        params![file_id, request.format, metadata, plate, run, cycle, well, site],
    )?;
    Ok(())
}

/// Brings the planes of the ledger in line with those of the claim, and counts them; and how many that were done are
/// read from elsewhere now. A plane that a growing container does not name may still come.
fn claim_planes(
    session: &Session<'_>,
    file: &mut FileRow,
    request: &FileClaim,
    keeps_results: bool,
) -> Result<(Vec<PlaneClaim>, u64), LedgerError> {
    let mut known: BTreeMap<_, _> =
        PlaneRow::all(session, file.id)?.into_iter().map(|plane| (plane.index, plane)).collect();
    let mut planes = Vec::with_capacity(request.planes.len());
    let is_single = known.len() == 1 && request.planes.len() == 1;
    let (mut n_misplaced, mut moved) = (0, Vec::new());
    for claimed in &request.planes {
        if claimed.is_missing {
            planes.push(claim_of(claimed.index, PlaneState::Missing));
            continue;
        }
        let identity = claimed.identity.completed_by(&request.identity);
        planes.push(match known.remove(&claimed.index) {
            Some(plane) => {
                let is_misplaced = keeps_results && is_elsewhere(&plane, claimed.place);
                n_misplaced += u64::from(is_misplaced && plane.state == PlaneState::Done);
                let place = place_of(claimed);
                let stays = keeps_results && !is_misplaced;
                let mut claim = claim_known(session, plane, (identity, place), (stays, &mut moved))?;
                if !is_single || has_twin(session, file.id, claim.previous_digest)? {
                    claim.previous_digest = None;
                }
                claim
            }
            None => {
                PlaneRow::insert(session, file.id, claimed.index, (&identity, place_of(claimed)))?;
                claim_of(claimed.index, PlaneState::Todo)
            }
        });
    }
    plane_rows::change_places(session, file, &moved)?;
    let count = |state| planes.iter().filter(|plane: &&PlaneClaim| plane.state == state).count() as i64;
    file.n_planes = planes.len() as i64;
    file.n_todo = count(PlaneState::Todo);
    file.n_rejected = count(PlaneState::Rejected);
    // backwards, since a file's first plane is the likeliest representative, which is then replaced once
    for plane in known.into_values().rev() {
        if request.is_complete {
            drop_plane(session, file, &plane)?;
            continue;
        }
        let (identity, place) = (plane.identity.clone(), plane.place);
        let left = claim_known(session, plane, (identity, place), (keeps_results, &mut Vec::new()))?;
        file.n_planes += 1;
        file.n_todo += i64::from(left.state == PlaneState::Todo);
        file.n_rejected += i64::from(left.state == PlaneState::Rejected);
    }
    let n_missing = count(PlaneState::Missing);
    if file.n_missing != n_missing {
        // no line of their own will move the version on
        file.move_version_on(0);
        file.n_missing = n_missing;
    }
    Ok((planes, n_misplaced))
}

/// Lists more planes of a growing file under its claim. Costs as much as the planes that are new.
pub(super) fn extend(session: &Session<'_>, more: &FileExtension) -> Result<Vec<PlaneClaim>, LedgerError> {
    let mut file = FileRow::of_ticket(session, more.ticket)?;
    if file.is_complete {
        return Err(LedgerError::Misuse(format!("{} grows no more", file.path.to_report())));
    }
    let (mut planes, mut moved) = (Vec::with_capacity(more.planes.len()), Vec::new());
    for claimed in &more.planes {
        let identity = claimed.identity.completed_by(&more.identity);
        let place = place_of(claimed);
        planes.push(match PlaneRow::find_if_any(session, file.id, claimed.index)? {
            Some(plane) => {
                let was = plane.state;
                let stays = !is_elsewhere(&plane, claimed.place);
                let claim = claim_known(session, plane, (identity, place), (stays, &mut moved))?;
                let is_open_again = claim.state == PlaneState::Todo && was != PlaneState::Todo;
                file.n_todo += i64::from(is_open_again);
                file.n_rejected -= i64::from(is_open_again && was == PlaneState::Rejected);
                PlaneClaim { previous_digest: None, ..claim }
            }
            None => {
                PlaneRow::insert(session, file.id, claimed.index, (&identity, place))?;
                file.n_planes += 1;
                file.n_todo += 1;
                claim_of(claimed.index, PlaneState::Todo)
            }
        });
    }
    plane_rows::change_places(session, &file, &moved)?;
    file.stat = more.stat;
    file.save(session)?;
    growth::save(session, file.id, (more.stat, &more.probes), false)?;
    Ok(planes)
}

/// Of a container that only grew and is complete now, one plane that was read while it did is read again: so it is compared with others as a whole,
/// and its pixels are seen to stand.
fn reread_one(
    session: &Session<'_>,
    file: &mut FileRow,
    planes: &mut [PlaneClaim],
) -> Result<(), LedgerError> {
    let last = session.row_if_any(
        "SELECT t, p, z, c FROM plane WHERE file_id = ?1 AND state = 'done' \
         AND claim > (SELECT tabled_claim FROM file WHERE id = ?1) ORDER BY is_live DESC, t DESC, p DESC, z DESC, c DESC LIMIT 1",
        [file.id],
        |row| Columns::new(row).index(),
    )?;
    let claim = last.and_then(|index| planes.iter_mut().find(|claim| claim.index == index));
    let Some(claim) = claim else { return Ok(()) };
    let mut plane = PlaneRow::find(session, file.id, claim.index)?;
    plane.state = PlaneState::Todo;
    plane.save(session)?;
    claim.state = PlaneState::Todo;
    file.n_todo += 1;
    Ok(())
}

/// Whether another file holds the same pixels: then its bytes are to be compared with those of this one anew, since a touch
/// may have changed them, and the plane takes the whole way.
fn has_twin(session: &Session<'_>, file_id: i64, digest: Option<[u8; 32]>) -> Result<bool, LedgerError> {
    let Some(digest) = digest else { return Ok(false) };
    session.row(
        "SELECT EXISTS (SELECT 1 FROM plane WHERE digest = ?1 AND is_live = 1 AND file_id <> ?2)",
        rusqlite::params![digest, file_id],
        |row| row.get(0),
    )
}

fn place_of(claimed: &ClaimedPlane) -> Option<i64> {
    claimed.place.map(u64::cast_signed)
}

/// Whether a plane that was listed before is now read from other bytes, or in another way.
fn is_elsewhere(plane: &PlaneRow, place: Option<u64>) -> bool {
    plane.place.is_some_and(|known| place.map(u64::cast_signed) != Some(known))
}

fn claim_of(index: PlaneIndex, state: PlaneState) -> PlaneClaim {
    PlaneClaim { index, state, attempts: 0, previous_digest: None }
}

/// Brings a plane that was listed before in line with its claim. One whose results stand is added to `moved` when its
/// identity is another now.
fn claim_known(
    session: &Session<'_>,
    mut plane: PlaneRow,
    (identity, place): (Identity, Option<i64>),
    (keeps_results, moved): (bool, &mut Vec<PlaneRow>),
) -> Result<PlaneClaim, LedgerError> {
    let (state, attempts) = if keeps_results { (plane.state, plane.attempts) } else { (PlaneState::Todo, 0) };
    // where an earlier claim came to no end, others may have seen pixels that were there for a moment, and are to see these
    let was_done = plane.state == PlaneState::Done;
    let is_moved = state == PlaneState::Done && identity != plane.identity;
    if (state, attempts, &identity, place) != (plane.state, plane.attempts, &plane.identity, plane.place) {
        let is_of_another_well = well_of(&identity) != well_of(&plane.identity);
        if is_of_another_well {
            wells::mark(session, plane.id)?;
        }
        (plane.state, plane.attempts, plane.identity, plane.place) = (state, attempts, identity, place);
        plane.save(session)?;
        if is_of_another_well {
            wells::mark(session, plane.id)?;
        }
    }
    let previous_digest = plane.digest.filter(|_| state == PlaneState::Todo && was_done);
    let claim = PlaneClaim { index: plane.index, state, attempts, previous_digest };
    if is_moved {
        moved.push(plane);
    }
    Ok(claim)
}

/// What tells one well from another.
fn well_of(identity: &Identity) -> [&Option<String>; 4] {
    [&identity.plate, &identity.run, &identity.cycle, &identity.well]
}

/// Forgets a plane that its container no longer names, or holds no samples for.
pub(super) fn drop_plane(
    session: &Session<'_>,
    file: &mut FileRow,
    plane: &PlaneRow,
) -> Result<(), LedgerError> {
    if plane.reported_version > 0 {
        file.move_version_on(plane.reported_version);
    }
    if plane.is_live {
        groups::leave(session, plane.id)?;
    }
    registrations::forget(session, plane.id)?;
    session.execute("DELETE FROM plane WHERE id = ?1", [plane.id])?;
    Ok(())
}

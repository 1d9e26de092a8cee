//! Taking up a file: which of its planes are to be read, and under which version.

use std::collections::BTreeMap;

use rusqlite::params;

use super::groups;
use super::registrations;
use super::rows::{FileRow, PlaneRow};
use super::session::Session;
use crate::store::{
    Claimed, FileClaim, FileState, FileTicket, Identity, LedgerError, PlaneClaim, PlaneState,
};
use crate::units::PlaneIndex;

pub(super) fn claim(session: &Session<'_>, request: &FileClaim) -> Result<Claimed, LedgerError> {
    let mut file = FileRow::find_or_insert(session, request.root_id, &request.path, request.stat)?;
    let is_first = file.claim == 0;
    let is_same = !is_first && !file.is_stale && file.stat == request.stat;
    let keeps_results = is_same || request.only_grew;
    let reason = reason(session, &file, (is_first, keeps_results));
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
    let planes = claim_planes(session, &mut file, request, keeps_results)?;
    file.save(session)?;
    if is_rank_new {
        groups::rerank(session, file.id)?;
    }
    file.set_state(session, FileState::Working, reason)?;
    Ok(Claimed {
        ticket: FileTicket { file_id: file.id, claim: file.claim },
        version: file.version,
        interruptions: file.interruptions,
        planes,
    })
}

/// Why the file is taken up, for `explain`.
fn reason(session: &Session<'_>, file: &FileRow, (is_first, keeps_results): (bool, bool)) -> &'static str {
    let was_working = file.state == FileState::Working;
    if is_first {
        "taken up"
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

/// Brings the planes of the ledger in line with those of the claim, and counts them.
fn claim_planes(
    session: &Session<'_>,
    file: &mut FileRow,
    request: &FileClaim,
    keeps_results: bool,
) -> Result<Vec<PlaneClaim>, LedgerError> {
    let mut known: BTreeMap<_, _> =
        PlaneRow::all(session, file.id)?.into_iter().map(|plane| (plane.index, plane)).collect();
    let mut planes = Vec::with_capacity(request.planes.len());
    let is_single = known.len() == 1 && request.planes.len() == 1;
    for claimed in &request.planes {
        if claimed.is_missing {
            planes.push(claim_of(claimed.index, PlaneState::Missing));
            continue;
        }
        let identity = claimed.identity.completed_by(&request.identity);
        planes.push(match known.remove(&claimed.index) {
            Some(plane) => {
                let mut claim = claim_known(session, plane, identity, keeps_results)?;
                claim.previous_digest = claim.previous_digest.filter(|_| is_single);
                claim
            }
            None => {
                PlaneRow::insert(session, file.id, claimed.index, &identity)?;
                claim_of(claimed.index, PlaneState::Todo)
            }
        });
    }
    // backwards, since a file's first plane is the likeliest representative, which is then replaced once
    for plane in known.values().rev() {
        drop_plane(session, file, plane)?;
    }
    let count = |state| planes.iter().filter(|plane: &&PlaneClaim| plane.state == state).count() as i64;
    file.n_planes = planes.len() as i64;
    file.n_todo = count(PlaneState::Todo);
    file.n_rejected = count(PlaneState::Rejected);
    let n_missing = count(PlaneState::Missing);
    if file.n_missing != n_missing {
        // no line of their own will move the version on
        file.move_version_on(0);
        file.n_missing = n_missing;
    }
    Ok(planes)
}

fn claim_of(index: PlaneIndex, state: PlaneState) -> PlaneClaim {
    PlaneClaim { index, state, attempts: 0, previous_digest: None }
}

fn claim_known(
    session: &Session<'_>,
    mut plane: PlaneRow,
    identity: Identity,
    keeps_results: bool,
) -> Result<PlaneClaim, LedgerError> {
    let (state, attempts) = if keeps_results { (plane.state, plane.attempts) } else { (PlaneState::Todo, 0) };
    if (state, attempts, &identity) != (plane.state, plane.attempts, &plane.identity) {
        (plane.state, plane.attempts, plane.identity) = (state, attempts, identity);
        plane.save(session)?;
    }
    let previous_digest = plane.digest.filter(|_| state == PlaneState::Todo && !plane.is_reread);
    Ok(PlaneClaim { index: plane.index, state, attempts, previous_digest })
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

//! Taking up a file: which of its planes are to be read, and under which version.

use std::collections::BTreeMap;

use rusqlite::params;

use super::groups;
use super::rows::{FileRow, PlaneRow};
use super::session::Session;
use crate::store::{
    Claimed, ClaimedPlane, FileClaim, FileState, FileTicket, Identity, LedgerError, PlaneClaim, PlaneState,
};

pub(super) fn claim(session: &Session<'_>, request: &FileClaim) -> Result<Claimed, LedgerError> {
    let mut file = FileRow::find_or_insert(session, request.root_id, &request.path, request.stat)?;
    let is_first = file.claim == 0;
    let is_same = !is_first && !file.is_stale && file.stat == request.stat;
    let keeps_results = is_same || request.only_grew;
    let was_cut_off = file.state == FileState::Working;
    file.interruptions = if keeps_results { file.interruptions + u32::from(was_cut_off) } else { 0 };
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
    let reason = match (was_cut_off, is_first, keeps_results) {
        (true, _, _) => format!("taken up again after the work was cut off ({} times)", file.interruptions),
        (_, true, _) => "taken up".to_owned(),
        (_, _, true) => "taken up again".to_owned(),
        (_, _, false) => "taken up again: the file changed".to_owned(),
    };
    file.set_state(session, FileState::Working, &reason)?;
    Ok(Claimed {
        ticket: FileTicket { file_id: file.id, claim: file.claim },
        version: file.version,
        interruptions: file.interruptions,
        planes,
    })
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
    for claimed in &request.planes {
        let identity = merged(&claimed.identity, &request.identity);
        planes.push(match known.remove(&claimed.index) {
            Some(plane) => claim_known(session, file, plane, (claimed, identity), keeps_results)?,
            None => claim_new(session, file, claimed, &identity)?,
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
    file.n_missing = count(PlaneState::Missing);
    Ok(planes)
}

fn claim_new(
    session: &Session<'_>,
    file: &mut FileRow,
    claimed: &ClaimedPlane,
    identity: &Identity,
) -> Result<PlaneClaim, LedgerError> {
    let state = if claimed.is_missing { PlaneState::Missing } else { PlaneState::Todo };
    if claimed.is_missing {
        // no line of its own will move the version on
        file.move_version_on(0);
    }
    PlaneRow::insert(session, file.id, (claimed.index, state), identity)?;
    Ok(PlaneClaim { index: claimed.index, state, attempts: 0, previous_digest: None })
}

fn claim_known(
    session: &Session<'_>,
    file: &mut FileRow,
    mut plane: PlaneRow,
    (claimed, identity): (&ClaimedPlane, Identity),
    keeps_results: bool,
) -> Result<PlaneClaim, LedgerError> {
    let state = match (claimed.is_missing, plane.state) {
        (true, _) => PlaneState::Missing,
        (false, PlaneState::Missing) => PlaneState::Todo,
        (false, state) if keeps_results => state,
        (false, _) => PlaneState::Todo,
    };
    let attempts = if keeps_results { plane.attempts } else { 0 };
    if state == PlaneState::Missing && plane.state != PlaneState::Missing {
        file.move_version_on(plane.reported_version);
        groups::retire(session, &mut plane)?;
    }
    if (state, attempts, &identity) != (plane.state, plane.attempts, &plane.identity) {
        (plane.state, plane.attempts, plane.identity) = (state, attempts, identity);
        plane.save(session)?;
    }
    let previous_digest = if state == PlaneState::Todo { plane.digest } else { None };
    Ok(PlaneClaim { index: plane.index, state, attempts, previous_digest })
}

/// Forgets a plane that its container no longer names.
pub(super) fn drop_plane(
    session: &Session<'_>,
    file: &mut FileRow,
    plane: &PlaneRow,
) -> Result<(), LedgerError> {
    if plane.reported_version > 0 || plane.state == PlaneState::Missing {
        file.move_version_on(plane.reported_version);
    }
    if plane.is_live {
        groups::leave(session, plane.id)?;
    }
    session.execute("DELETE FROM plane WHERE id = ?1", [plane.id])?;
    Ok(())
}

/// What is known of a plane: its own identity, else its file's.
fn merged(own: &Identity, file: &Identity) -> Identity {
    let text = |own: &Option<String>, file: &Option<String>| own.clone().or_else(|| file.clone());
    Identity {
        plate: text(&own.plate, &file.plate),
        run: text(&own.run, &file.run),
        cycle: text(&own.cycle, &file.cycle),
        well: text(&own.well, &file.well),
        site: text(&own.site, &file.site),
        channel: text(&own.channel, &file.channel),
        t: own.t.or(file.t),
        z: own.z.or(file.z),
    }
}

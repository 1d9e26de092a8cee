//! The life of a plane: done with its results, or failed and in the end rejected.

use std::collections::BTreeSet;

use rusqlite::params;

use super::outbox::{self, Content};
use super::registrations;
use super::rows::{FileRow, PlaneRow};
use super::session::Session;
use super::{edges, groups, stuck};
use crate::store::{
    ExactMatch, FileState, FileTicket, LedgerError, Place, PlaneDone, PlaneFailed, PlaneFailure,
    PlaneFeatures, PlaneFinished, PlaneState, Stream,
};
use crate::units::PlaneIndex;

/// The kind under which the features of a plane are kept.
pub(super) const PLANE_FEATURES: &str = "plane";

pub(super) fn finish(session: &Session<'_>, done: &PlaneDone) -> Result<PlaneFinished, LedgerError> {
    let mut file = FileRow::of_ticket(session, done.ticket)?;
    let mut plane = PlaneRow::find(session, file.id, done.index)?;
    match plane.state {
        PlaneState::Todo => {}
        PlaneState::Done | PlaneState::Rejected => {
            return Ok(PlaneFinished { file_ready: file.is_ready(), is_unchanged: true });
        }
        PlaneState::Missing => return Err(missing(&file, done.index)),
    }
    for found in done.matches.iter().filter(|found| found.same_bytes) {
        join_byte_classes(session, file.id, found)?;
    }
    file.n_todo -= 1;
    file.interruptions = 0;
    let is_unchanged = plane.digest == Some(done.digest);
    plane.state = PlaneState::Done;
    plane.save(session)?;
    if !is_unchanged {
        file.move_version_on(plane.reported_version);
        plane.reported_version = file.version;
        emit_done(session, &file, &plane, done)?;
    }
    // a plane that was recognised by its digest brings no results: the old ones stand
    if !is_unchanged || done.features.is_some() {
        replace_results(session, &plane, done, is_unchanged)?;
        find_look_alikes(session, (plane.id, plane.place_in(&file)), done)?;
    }
    file.save(session)?;
    Ok(PlaneFinished { file_ready: file.is_ready(), is_unchanged })
}

/// Writes down what was found of a plane. With another digest it changes its groups.
fn replace_results(
    session: &Session<'_>,
    plane: &PlaneRow,
    done: &PlaneDone,
    is_unchanged: bool,
) -> Result<(), LedgerError> {
    let is_live = done.blank.is_none();
    let stays = is_unchanged && is_live == plane.is_live;
    if plane.is_live && !stays {
        groups::leave(session, plane.id)?;
    }
    save_results(session, plane, done)?;
    save_features(session, plane.id, done.features.as_ref())?;
    registrations::replace(session, plane.id, done)?;
    if is_live && !stays {
        groups::join(session, plane.id, &done.digest)?;
    }
    Ok(())
}

/// Writes down where the plane stands in its series; what its pixels are to others counts from now on.
fn find_look_alikes(
    session: &Session<'_>,
    (plane_id, place): (i64, Place),
    done: &PlaneDone,
) -> Result<(), LedgerError> {
    save_place(session, plane_id, &place)?;
    let best = groups::Member::of_class(session, &done.digest)?;
    let is_best = best.is_some_and(|best| best.plane_id == plane_id);
    edges::class_changed(session, &done.digest, BTreeSet::new(), is_best)?;
    if done.blank.is_some() { Ok(()) } else { stuck::look(session, plane_id, &place) }
}

/// Writes down where planes stand whose container says otherwise now, and what follows from it for what is known of
/// them. All their identities are saved.
pub(super) fn change_places(
    session: &Session<'_>,
    file: &FileRow,
    planes: &[PlaneRow],
) -> Result<(), LedgerError> {
    let live = || planes.iter().filter(|plane| plane.is_live);
    live().try_for_each(|plane| save_place(session, plane.id, &plane.place_in(file)))?;
    for plane in live() {
        stuck::look(session, plane.id, &plane.place_in(file))?;
        if let Some(digest) = &plane.digest {
            edges::class_changed(session, digest, BTreeSet::new(), false)?;
        }
    }
    Ok(())
}

fn save_place(session: &Session<'_>, plane_id: i64, place: &Place) -> Result<(), LedgerError> {
    session.execute(
        "UPDATE plane SET field = ?2, lane = ?3, series_t = ?4, series_z = ?5, is_stacked = ?6 WHERE id = ?1",
        params![plane_id, place.field, place.lane, place.t, place.z, place.is_stacked],
    )?;
    Ok(())
}

pub(super) fn fail(session: &Session<'_>, failure: &PlaneFailure) -> Result<PlaneFailed, LedgerError> {
    let mut file = FileRow::of_ticket(session, failure.ticket)?;
    let mut plane = PlaneRow::find(session, file.id, failure.index)?;
    match plane.state {
        PlaneState::Todo => {}
        PlaneState::Done => return Ok(PlaneFailed { is_dead: false, file_ready: file.is_ready() }),
        PlaneState::Rejected => return Ok(PlaneFailed { is_dead: true, file_ready: file.is_ready() }),
        PlaneState::Missing => return Err(missing(&file, failure.index)),
    }
    plane.attempts += 1;
    session.execute(
        "INSERT INTO plane_attempt (plane_id, time, stage, reason) VALUES (?1, ?2, ?3, ?4)",
        params![plane.id, session.now, failure.stage, failure.reason],
    )?;
    let is_dead = plane.attempts >= failure.attempts_max;
    if is_dead {
        reject(session, &mut file, &mut plane, failure)?;
    }
    plane.save(session)?;
    file.save(session)?;
    Ok(PlaneFailed { is_dead, file_ready: file.is_ready() })
}

/// Rejects a plane; one that was rejected before for the same reason gets no second line.
fn reject(
    session: &Session<'_>,
    file: &mut FileRow,
    plane: &mut PlaneRow,
    failure: &PlaneFailure,
) -> Result<(), LedgerError> {
    file.n_todo -= 1;
    file.n_rejected += 1;
    file.interruptions = 0;
    let is_unchanged = plane.reported_version > 0
        && plane.digest.is_none()
        && plane.stage.as_ref() == Some(&failure.stage)
        && plane.reason.as_ref() == Some(&failure.reason);
    plane.state = PlaneState::Rejected;
    if is_unchanged {
        return Ok(());
    }
    groups::retire(session, plane)?;
    file.move_version_on(plane.reported_version);
    session.execute(
        "UPDATE plane SET stage = ?2, reason = ?3, reported_version = ?4 WHERE id = ?1",
        params![plane.id, failure.stage, failure.reason, file.version],
    )?;
    let content = plane_content(file, plane, "rejected")
        .with("stage", failure.stage.as_str())
        .with("reason", failure.reason.as_str())
        .with("attempts", plane.attempts);
    outbox::emit(session, Stream::Planes, &content)
}

pub(super) fn reread(
    session: &Session<'_>,
    ticket: FileTicket,
    planes: &[PlaneIndex],
) -> Result<(), LedgerError> {
    let mut file = FileRow::of_ticket(session, ticket)?;
    for index in planes {
        let mut plane = PlaneRow::find(session, file.id, *index)?;
        if plane.state == PlaneState::Done {
            plane.state = PlaneState::Todo;
            plane.save(session)?;
            file.n_todo += 1;
        }
    }
    file.save(session)?;
    if file.state == FileState::Working {
        file.set_state(session, FileState::Waiting, "parts of its object table are lost, to be done again")?;
    }
    Ok(())
}

fn missing(file: &FileRow, index: PlaneIndex) -> LedgerError {
    LedgerError::Misuse(format!("plane {index} of {} is missing in the file", file.path.to_report()))
}

/// Two files are equal byte by byte, so their classes are one. A file that the ledger no longer knows is no harm.
fn join_byte_classes(session: &Session<'_>, file_id: i64, found: &ExactMatch) -> Result<(), LedgerError> {
    session.execute(
        "UPDATE file SET byte_class = (SELECT byte_class FROM file WHERE id = ?2) \
         WHERE byte_class = (SELECT byte_class FROM file WHERE id = ?1) \
         AND byte_class != (SELECT byte_class FROM file WHERE id = ?2)",
        [file_id, found.other_file_id],
    )?;
    Ok(())
}

fn save_results(session: &Session<'_>, plane: &PlaneRow, done: &PlaneDone) -> Result<(), LedgerError> {
    session.execute(
        "UPDATE plane SET reported_version = ?2, digest = ?3, blank = ?4, stage = NULL, \
         reason = NULL, is_live = ?5, nuclei = ?6, figures = ?7, claim = ?8 WHERE id = ?1",
        params![
            plane.id,
            plane.reported_version,
            done.digest,
            done.blank,
            done.blank.is_none(),
            done.figures.get("nuclei").and_then(serde_json::Value::as_i64),
            serde_json::to_string(&done.figures).expect("a map of JSON values is JSON"),
            done.ticket.claim,
        ],
    )?;
    session.execute("DELETE FROM feature WHERE plane_id = ?1", [plane.id])?;
    Ok(())
}

fn save_features(
    session: &Session<'_>,
    plane_id: i64,
    features: Option<&PlaneFeatures>,
) -> Result<(), LedgerError> {
    if let Some(PlaneFeatures { version, bytes }) = features {
        session.execute(
            "INSERT OR REPLACE INTO feature (plane_id, kind, version, data) VALUES (?1, ?2, ?3, ?4)",
            params![plane_id, PLANE_FEATURES, version, bytes],
        )?;
    }
    Ok(())
}

fn emit_done(
    session: &Session<'_>,
    file: &FileRow,
    plane: &PlaneRow,
    done: &PlaneDone,
) -> Result<(), LedgerError> {
    let digest: String = done.digest.iter().map(|byte| format!("{byte:02x}")).collect();
    let content = plane_content(file, plane, "done")
        .with("digest", digest)
        .with("blank", done.blank.clone())
        .with_all(&done.figures);
    outbox::emit(session, Stream::Planes, &content)
}

/// The keys that every line of `planes.jsonl` has.
fn plane_content(file: &FileRow, plane: &PlaneRow, outcome: &str) -> Content {
    Content::default()
        .with("file", file.path.to_report())
        .with("root", file.root.as_str())
        .with("version", file.version)
        .with("plane", plane.index.to_string())
        .with("container_complete", file.is_complete)
        .with("outcome", outcome)
        .with_identity(&plane.identity)
        .with_plane(plane.index, &plane.identity)
}

//! The life of a file: noted, confirmed, finished, given back, rejected.

use std::path::PathBuf;

use rusqlite::params;
use serde_json::{Map, Value};

use super::outbox::{self, Content};
use super::rows::{FileRow, PlaneRow};
use super::session::Session;
use super::{claim, groups, growth};
use crate::paths::FileStat;
use crate::store::{
    Confirmed, FileFinished, FileNote, FileRejection, FileState, FileTicket, Identity, LedgerError, Stream,
};

pub(super) fn register_roots(
    session: &Session<'_>,
    roots: &[(String, PathBuf)],
) -> Result<Vec<i64>, LedgerError> {
    let register = |(name, path): &(String, PathBuf)| {
        session.row(
            "INSERT INTO root (name, path) VALUES (?1, ?2) \
             ON CONFLICT (name) DO UPDATE SET path = excluded.path RETURNING id",
            params![name, path.as_os_str().as_encoded_bytes()],
            |row| row.get(0),
        )
    };
    roots.iter().map(register).collect()
}

pub(super) fn note(session: &Session<'_>, note: &FileNote) -> Result<(), LedgerError> {
    if note.state >= FileState::Working {
        return Err(LedgerError::Misuse(format!("a file cannot be noted as {}", note.state)));
    }
    let known = FileRow::find(session, note.root_id, &note.path)?;
    let is_new = known.is_none();
    let mut file = match known {
        Some(file) => file,
        None => FileRow::find_or_insert(session, note.root_id, &note.path, note.stat)?,
    };
    if file.state == FileState::Working && file.claim_run == session.run_id {
        return Ok(());
    }
    file.interruptions += u32::from(file.was_cut_off(session));
    file.is_begun &= file.claim_run == session.run_id;
    let is_rank_new = file.stat.mtime_ns != note.stat.mtime_ns;
    if file.stat != note.stat {
        file.is_stale |= file.claim > 0;
        file.stat = note.stat;
    }
    file.save(session)?;
    if is_rank_new {
        groups::rerank(session, file.id)?;
    }
    if !is_new && file.state == note.state && file.reason == note.reason {
        return Ok(());
    }
    file.set_state(session, note.state, &note.reason)?;
    note.alert
        .as_ref()
        .map_or(Ok(()), |alert| outbox::emit(session, Stream::Alerts, &outbox::file_alert(&file, alert)))
}

pub(super) fn confirm(
    session: &Session<'_>,
    ticket: FileTicket,
    stat: FileStat,
) -> Result<Confirmed, LedgerError> {
    let mut file = FileRow::of_ticket(session, ticket)?;
    let is_unchanged = file.stat == stat && !file.is_stale;
    if is_unchanged && !file.is_confirmed {
        file.is_confirmed = true;
        file.save(session)?;
    }
    Ok(Confirmed { is_unchanged, file_ready: file.is_ready() })
}

pub(super) fn finish(
    session: &Session<'_>,
    ticket: FileTicket,
    fields: &Map<String, Value>,
) -> Result<FileFinished, LedgerError> {
    let mut file = FileRow::of_ticket(session, ticket)?;
    if file.state.is_settled() {
        return Ok(FileFinished { version: file.version, is_unchanged: true, state: file.state });
    }
    if file.state != FileState::Working {
        // handed back in the meantime: the next claim finishes it
        return Err(LedgerError::StaleTicket { file_id: file.id });
    }
    if !file.is_ready() {
        let FileRow { n_todo, is_complete, is_confirmed, .. } = file;
        return Err(LedgerError::Misuse(format!(
            "{} cannot be finished: {n_todo} planes to do, complete {is_complete}, confirmed {is_confirmed}",
            file.path.to_report()
        )));
    }
    let rejection = rejection_of_all_planes(session, &file)?;
    let state = if rejection.is_some() { FileState::Rejected } else { FileState::Done };
    let outcome = rejection.as_ref().map_or("done".to_owned(), |reason| format!("rejected: {reason}"));
    let is_unchanged = !report_once(&mut file, outcome);
    if !is_unchanged {
        emit_finished(session, &file, rejection.as_deref(), fields)?;
    }
    file.interruptions = 0;
    file.tabled_claim = file.claim;
    file.save(session)?;
    growth::finish(session, &file)?;
    file.set_state(session, state, rejection.as_deref().unwrap_or("every plane has its result"))?;
    Ok(FileFinished { version: file.version, is_unchanged, state })
}

/// Whether a line is due: it is not when the last one, of this version, said the same.
fn report_once(file: &mut FileRow, outcome: String) -> bool {
    if file.reported_version == file.version {
        if file.reported_outcome == outcome {
            return false;
        }
        file.version += 1;
    }
    file.reported_version = file.version;
    file.reported_outcome = outcome;
    true
}

/// The reason of the first rejected plane, when no plane was done.
fn rejection_of_all_planes(session: &Session<'_>, file: &FileRow) -> Result<Option<String>, LedgerError> {
    if file.n_rejected == 0 || file.n_rejected + file.n_missing < file.n_planes {
        return Ok(None);
    }
    let reason: Option<String> = session.row(
        "SELECT reason FROM plane WHERE file_id = ?1 AND state = 'rejected' ORDER BY t, p, z, c LIMIT 1",
        [file.id],
        |row| row.get(0),
    )?;
    Ok(Some(reason.unwrap_or_default()))
}

fn emit_finished(
    session: &Session<'_>,
    file: &FileRow,
    rejection: Option<&str>,
    fields: &Map<String, Value>,
) -> Result<(), LedgerError> {
    let (format, metadata, identity) = session.row(
        "SELECT format, metadata, plate, run, cycle, well, site FROM file WHERE id = ?1",
        [file.id],
        |row| {
            let identity = Identity {
                plate: row.get(2)?,
                run: row.get(3)?,
                cycle: row.get(4)?,
                well: row.get(5)?,
                site: row.get(6)?,
                ..Identity::default()
            };
            Ok((row.get::<_, Option<String>>(0)?, row.get::<_, String>(1)?, identity))
        },
    )?;
    let nuclei: Option<i64> = session.row(
        "SELECT sum(nuclei) FROM plane WHERE file_id = ?1 AND state = 'done'",
        [file.id],
        |row| row.get(0),
    )?;
    let metadata: Map<String, Value> = serde_json::from_str(&metadata)
        .map_err(|error| LedgerError::Damaged(format!("metadata of file {}: {error}", file.id)))?;
    let content = file_content(file, rejection.map_or("done", |_| "rejected"))
        .with("planes", file.n_planes)
        .with("planes_rejected", file.n_rejected)
        .with("planes_missing", file.n_missing)
        .with("nuclei", nuclei)
        .with("format", format)
        .with_identity(&identity)
        .with_reason(rejection)
        .with_all(&metadata)
        .with_all(fields);
    outbox::emit(session, Stream::Files, &content)
}

fn file_content(file: &FileRow, outcome: &str) -> Content {
    Content::default()
        .with("file", file.path.to_report())
        .with("root", file.root.as_str())
        .with("version", file.version)
        .with("outcome", outcome)
        .with("size_bytes", file.stat.size_bytes)
}

impl Content {
    fn with_reason(self, reason: Option<&str>) -> Self {
        match reason {
            Some(reason) => self.with("reason", reason),
            None => self,
        }
    }
}

pub(super) fn begin(session: &Session<'_>, ticket: FileTicket) -> Result<(), LedgerError> {
    let n_files = session.execute(
        "UPDATE file SET is_begun = 1 WHERE id = ?1 AND claim = ?2",
        [ticket.file_id, ticket.claim],
    )?;
    if n_files == 0 { Err(LedgerError::StaleTicket { file_id: ticket.file_id }) } else { Ok(()) }
}

pub(super) fn reopen(session: &Session<'_>, ticket: FileTicket, reason: &str) -> Result<(), LedgerError> {
    let mut file = FileRow::of_ticket(session, ticket)?;
    if file.state.is_settled() {
        return Err(LedgerError::StaleTicket { file_id: file.id });
    }
    file.is_stale = true;
    // results of the old content, still on their way, come too late from here on
    file.claim += 1;
    file.save(session)?;
    if file.state == FileState::Working {
        file.set_state(session, FileState::Changed, reason)?;
    }
    Ok(())
}

/// The ticket stays good, so that planes which are in work at that moment can still be finished.
pub(super) fn release(session: &Session<'_>, ticket: FileTicket, reason: &str) -> Result<(), LedgerError> {
    let mut file = FileRow::of_ticket(session, ticket)?;
    if file.state == FileState::Working {
        file.set_state(session, FileState::Waiting, reason)?;
    } else if !file.is_complete {
        file.is_begun = false;
        file.save(session)?;
    }
    Ok(())
}

/// Blames nothing of what this run had in work: it ended in order, although it could not hand it back, since the ledger
/// could not be written.
pub(super) fn forgive(connection: &rusqlite::Connection, run_id: &str) -> Result<(), LedgerError> {
    connection.execute(
        "UPDATE file SET is_begun = 0 WHERE state IN ('working', 'growing', 'stalled') \
         AND state NOT IN ('done', 'rejected') AND is_begun = 1 AND claim_run = ?1",
        [run_id],
    )?;
    Ok(())
}

pub(super) fn release_all(session: &Session<'_>, reason: &str) -> Result<u64, LedgerError> {
    let files: Vec<i64> = session.rows(
        // the second condition is that of the index
        "SELECT id FROM file WHERE state = 'working' AND state NOT IN ('done', 'rejected') AND claim_run = ?1",
        [session.run_id],
        |row| row.get(0),
    )?;
    for file_id in &files {
        FileRow::of_id(session, *file_id)?.set_state(session, FileState::Waiting, reason)?;
    }
    // files that grow stay what they are: nothing of them was cut off
    session.execute(
        "UPDATE file SET is_begun = 0 WHERE state IN ('growing', 'stalled') \
         AND state NOT IN ('done', 'rejected') AND claim_run = ?1",
        [session.run_id],
    )?;
    Ok(files.len() as u64)
}

pub(super) fn reject(session: &Session<'_>, rejection: &FileRejection) -> Result<(), LedgerError> {
    let FileRejection { root_id, path, stat, kind, reason } = rejection;
    let mut file = FileRow::find_or_insert(session, *root_id, path, *stat)?;
    for plane in PlaneRow::all(session, file.id)?.iter().rev() {
        claim::drop_plane(session, &mut file, plane)?;
    }
    file.stat = *stat;
    file.is_stale = false;
    file.claim += 1;
    file.interruptions = 0;
    (file.n_planes, file.n_todo, file.n_rejected, file.n_missing) = (0, 0, 0, 0);
    if report_once(&mut file, format!("rejected: {kind}: {reason}")) {
        let content = file_content(&file, "rejected")
            .with("planes", 0)
            .with("planes_rejected", 0)
            .with("planes_missing", 0)
            .with("nuclei", Value::Null)
            .with("kind", kind.as_str())
            .with("reason", reason.as_str());
        outbox::emit(session, Stream::Files, &content)?;
    }
    file.save(session)?;
    growth::forget(session, file.id)?;
    file.set_state(session, FileState::Rejected, &format!("{kind}: {reason}"))
}

pub(super) fn retry(session: &Session<'_>, file_id: i64) -> Result<(), LedgerError> {
    let mut file = FileRow::of_id(session, file_id)?;
    if file.n_rejected == 0 && !matches!(file.state, FileState::Rejected | FileState::Incomplete) {
        return Err(LedgerError::Misuse(format!(
            "nothing of {} is to be tried again, it is {}",
            file.path.to_report(),
            file.state
        )));
    }
    session.execute(
        "UPDATE plane SET state = 'todo', attempts = 0 WHERE file_id = ?1 AND state = 'rejected'",
        [file_id],
    )?;
    file.n_todo += file.n_rejected;
    file.n_rejected = 0;
    if matches!(file.state, FileState::Working | FileState::Growing | FileState::Stalled) {
        return file.save(session);
    }
    file.claim += 1;
    file.save(session)?;
    file.set_state(session, FileState::Waiting, "to be tried again, as asked")
}

//! What is kept of a growing file beside its planes: the bytes by which it is known again, and where it stands.

use rusqlite::{OptionalExtension, params};

use super::outbox;
use super::reader::LedgerReader;
use super::rows::FileRow;
use super::session::Session;
use crate::paths::{FileStat, RelativePath};
use crate::store::{FileState, GrowthNote, GrowthRecord, LedgerError, Probe, Stream};

pub(super) fn save(
    session: &Session<'_>,
    file_id: i64,
    (stat, probes): (FileStat, &[Probe]),
) -> Result<(), LedgerError> {
    let probes = serde_json::to_string(probes).expect("numbers are JSON");
    session.execute(
        "INSERT OR REPLACE INTO growth (file_id, device, inode, probes) VALUES (?1, ?2, ?3, ?4)",
        params![file_id, stat.device.cast_signed(), stat.inode.cast_signed(), probes],
    )?;
    Ok(())
}

/// A file that is finished or given up is known by its planes alone.
pub(super) fn forget(session: &Session<'_>, file_id: i64) -> Result<(), LedgerError> {
    session.execute("DELETE FROM growth WHERE file_id = ?1", [file_id])?;
    Ok(())
}

pub(super) fn note(session: &Session<'_>, note: &GrowthNote) -> Result<(), LedgerError> {
    if !matches!(note.state, FileState::Growing | FileState::Stalled) {
        return Err(LedgerError::Misuse(format!("a growing file cannot be noted as {}", note.state)));
    }
    let mut file = FileRow::of_ticket(session, note.ticket)?;
    if file.is_complete || (file.state == note.state && file.reason == note.reason) {
        return Ok(());
    }
    file.set_state(session, note.state, &note.reason)?;
    match &note.alert {
        Some(alert) => outbox::emit(session, Stream::Alerts, &outbox::file_alert(&file, alert)),
        None => Ok(()),
    }
}

impl LedgerReader {
    /// By what a file is known again that was taken up while it grew; `None` for any other.
    pub fn growth_of(&self, root_id: i64, path: &RelativePath) -> Result<Option<GrowthRecord>, LedgerError> {
        let (folder, name) = path.split();
        let mut statement = self.connection.prepare_cached(
            "SELECT growth.device, growth.inode, probes FROM file JOIN growth ON file_id = file.id \
             WHERE root_id = ?1 AND folder = ?2 AND name = ?3",
        )?;
        let key = params![root_id, folder.as_encoded_bytes(), name.as_encoded_bytes()];
        let row: Option<(i64, i64, String)> =
            statement.query_row(key, |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?))).optional()?;
        let Some((device, inode, probes)) = row else { return Ok(None) };
        let probes = serde_json::from_str(&probes)
            .map_err(|error| LedgerError::Damaged(format!("probes of {}: {error}", path.to_report())))?;
        Ok(Some(GrowthRecord { device: device.cast_unsigned(), inode: inode.cast_unsigned(), probes }))
    }
}

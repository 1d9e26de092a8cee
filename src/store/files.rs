//! The life of a file.
use super::session::Session;
use crate::paths::FileStat;
use crate::store::*;
pub(super) fn register_roots(
    _session: &Session<'_>,
    _roots: &[(String, std::path::PathBuf)],
) -> Result<Vec<i64>, LedgerError> {
    unimplemented!()
}
pub(super) fn note(_session: &Session<'_>, _note: &FileNote) -> Result<(), LedgerError> {
    unimplemented!()
}
pub(super) fn confirm(
    _session: &Session<'_>,
    _ticket: FileTicket,
    _stat: FileStat,
) -> Result<Confirmed, LedgerError> {
    unimplemented!()
}
pub(super) fn finish(
    _session: &Session<'_>,
    _ticket: FileTicket,
    _fields: &serde_json::Map<String, serde_json::Value>,
) -> Result<FileFinished, LedgerError> {
    unimplemented!()
}
pub(super) fn reopen(_session: &Session<'_>, _ticket: FileTicket, _reason: &str) -> Result<(), LedgerError> {
    unimplemented!()
}
pub(super) fn release(_session: &Session<'_>, _ticket: FileTicket, _reason: &str) -> Result<(), LedgerError> {
    unimplemented!()
}
pub(super) fn reject(_session: &Session<'_>, _rejection: &FileRejection) -> Result<(), LedgerError> {
    unimplemented!()
}
pub(super) fn retry(_session: &Session<'_>, _file_id: i64) -> Result<(), LedgerError> {
    unimplemented!()
}

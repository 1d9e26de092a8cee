//! The life of a plane.
use super::session::Session;
use crate::store::*;
use crate::units::PlaneIndex;
pub(super) fn finish(_session: &Session<'_>, _done: &PlaneDone) -> Result<PlaneFinished, LedgerError> {
    unimplemented!()
}
pub(super) fn fail(_session: &Session<'_>, _failure: &PlaneFailure) -> Result<PlaneFailed, LedgerError> {
    unimplemented!()
}
pub(super) fn reread(
    _session: &Session<'_>,
    _ticket: FileTicket,
    _planes: &[PlaneIndex],
) -> Result<(), LedgerError> {
    unimplemented!()
}

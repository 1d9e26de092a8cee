//! Taking up a file: which of its planes are to be read, and under which version.
use super::session::Session;
use crate::store::*;
pub(super) fn claim(_session: &Session<'_>, _request: &FileClaim) -> Result<Claimed, LedgerError> {
    unimplemented!()
}

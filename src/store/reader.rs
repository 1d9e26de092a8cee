//! Reading the ledger beside the writer, through a connection that cannot write.

use std::ffi::OsStr;
use std::path::Path;

use rusqlite::Connection;

use crate::store::*;

/// A read-only view of the ledger. One per thread; statements are short.
pub struct LedgerReader {
    connection: Connection,
}

impl LedgerReader {
    /// Opens the ledger of a state folder; it must exist.
    ///
    /// # Errors
    /// When there is none, or it has a schema that this build does not know.
    pub fn open(state_dir: &Path) -> Result<Self, LedgerError> {
        let _ = (state_dir, |reader: &Self| reader.connection.is_autocommit());
        unimplemented!()
    }

    /// The files known in one folder (`folder` below the root, empty for the root itself), by name.
    pub fn folder(&self, _root_id: i64, _folder: &OsStr) -> Result<Vec<KnownFile>, LedgerError> {
        unimplemented!()
    }

    /// Every plane that can be an exact duplicate of another, one by one.
    pub fn exact_index(&self, _visit: impl FnMut(ExactPlane)) -> Result<(), LedgerError> {
        unimplemented!()
    }

    /// Where a file is.
    pub fn file_location(&self, _file_id: i64) -> Result<Option<FileLocation>, LedgerError> {
        unimplemented!()
    }

    /// The file at a path, if it is known.
    pub fn find_file(
        &self,
        _root_id: i64,
        _path: &crate::paths::RelativePath,
    ) -> Result<Option<FileLocation>, LedgerError> {
        unimplemented!()
    }

    /// Files that are neither done nor rejected, the longest waiting first.
    pub fn unfinished_files(&self, _limit: usize) -> Result<Vec<FileLocation>, LedgerError> {
        unimplemented!()
    }

    /// What happened to the files that a text names: a path as in reports, with or without the root's name or place.
    pub fn explain(&self, _path: &str) -> Result<Vec<FileHistory>, LedgerError> {
        unimplemented!()
    }

    /// How much the ledger holds.
    pub fn counts(&self) -> Result<Counts, LedgerError> {
        unimplemented!()
    }

    /// `ok`, or what SQLite found wrong.
    pub fn integrity_check(&self) -> Result<String, LedgerError> {
        unimplemented!()
    }
}

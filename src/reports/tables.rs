//! The tables of `reports/current/`: the state as it stands, written anew and put in place at once.

use std::path::PathBuf;
use std::time::Duration;

use crate::store::{LedgerError, LedgerReader};

/// Writes the tables into one folder.
#[derive(Debug, Clone)]
pub struct CurrentTables {
    folder: PathBuf,
}

/// Why a table could not be written.
#[derive(Debug, thiserror::Error)]
pub enum TableError {
    /// The ledger could not be read.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// A file could not be written.
    #[error("{}: {source}", path.display())]
    Io {
        /// Which file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
}

impl CurrentTables {
    /// Takes `reports/current`.
    pub fn new(folder: impl Into<PathBuf>) -> Self {
        Self { folder: folder.into() }
    }

    /// Writes every table from one state of the ledger.
    pub fn refresh(&self, _reader: &LedgerReader) -> Result<(), TableError> {
        let _ = &self.folder;
        unimplemented!()
    }
}

/// Pause from the end of one refresh to the start of the next: the interval that was set, and never so short that
/// refreshing takes more than 5 % of the time.
pub fn next_refresh(interval: Duration, last_took: Duration) -> Duration {
    interval.max(last_took * 20)
}

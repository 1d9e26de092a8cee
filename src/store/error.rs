//! What can go wrong with the ledger, sorted by who has to act.

use std::path::PathBuf;
use std::sync::Arc;

/// A failed operation of the ledger.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum LedgerError {
    /// Another instance works in the same output folder.
    #[error("the output folder is in use by process {pid} (lock file {})", path.display())]
    Held {
        /// The process that holds the lock, as it wrote it down; `unknown` when it has not yet.
        pid: String,
        /// The lock file.
        path: PathBuf,
    },
    /// The ledger was written by a newer scopewatch.
    #[error("the ledger has schema {found}, this scopewatch knows up to {known}: install the newer version")]
    NewerSchema {
        /// Schema of the file.
        found: i64,
        /// Newest schema that this build knows.
        known: i64,
    },
    /// A file or folder of the ledger cannot be used.
    #[error("{}: {source}", path.display())]
    Io {
        /// What was touched.
        path: PathBuf,
        /// What the system said.
        source: Arc<std::io::Error>,
    },
    /// SQLite refused a statement.
    #[error("ledger: {0}")]
    Sql(Arc<rusqlite::Error>),
    /// The ticket is older than the file's latest claim: somebody else works on the file now.
    #[error("file {file_id} was claimed again after this ticket")]
    StaleTicket {
        /// The file.
        file_id: i64,
    },
    /// The operation does not fit the state of the file or plane: a bug of the caller.
    #[error("{0}")]
    Misuse(String),
    /// The ledger holds something that cannot be: it was changed from outside.
    #[error("ledger is damaged: {0}")]
    Damaged(String),
    /// The writer met an error it cannot wait out; nothing more will be written by this process.
    #[error("the ledger writer has ended: {0}")]
    Fatal(Arc<str>),
    /// The ledger was closed before the operation was done.
    #[error("the ledger is closed")]
    Closed,
}

/// What the writer does after an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Severity {
    /// Only this operation fails.
    Operation,
    /// Wait and try again: no space left, or another program holds the database.
    Wait,
    /// End: the process has to be restarted.
    Fatal,
}

/// `SQLITE_IOERR_SHMSIZE`: the shared-memory index could not be extended, for want of space.
const IOERR_SHMSIZE: i32 = 10 | (19 << 8);

impl LedgerError {
    /// Whether the ledger as a whole has failed, and not this operation alone.
    pub fn is_fatal(&self) -> bool {
        !matches!(self, Self::StaleTicket { .. } | Self::Misuse(_))
    }

    /// Names the path in an I/O error.
    pub(crate) fn io(path: impl Into<PathBuf>) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io { path, source: Arc::new(source) }
    }

    pub(super) fn severity(&self) -> Severity {
        use rusqlite::ErrorCode as Code;
        match self {
            Self::Sql(error) => match error.sqlite_error() {
                Some(code) if code.extended_code == IOERR_SHMSIZE => Severity::Wait,
                Some(code) => match code.code {
                    Code::DiskFull | Code::DatabaseBusy => Severity::Wait,
                    Code::SystemIoFailure
                    | Code::DatabaseCorrupt
                    | Code::ReadOnly
                    | Code::CannotOpen
                    | Code::NotADatabase
                    | Code::OutOfMemory
                    | Code::FileLockingProtocolFailed => Severity::Fatal,
                    _ => Severity::Operation,
                },
                None => Severity::Operation,
            },
            Self::Fatal(_) | Self::Io { .. } => Severity::Fatal,
            _ => Severity::Operation,
        }
    }
}

impl From<rusqlite::Error> for LedgerError {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sql(Arc::new(error))
    }
}

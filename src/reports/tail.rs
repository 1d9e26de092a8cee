//! The `*.jsonl` files: outbox lines appended in order, exactly once over any end of the process.

use std::path::Path;

use crate::store::{LedgerError, LedgerHandle, LedgerReader, Reply};

/// What the report writer tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ReportNotice {
    /// No space left; tried again all the time.
    Paused(String),
    /// Writing goes on.
    Resumed,
    /// The writer has ended; the process should end too.
    Fatal(String),
}

/// The thread that moves lines from the outbox to their files.
pub struct ReportWriter {}

impl ReportWriter {
    /// Continues the files in `reports_dir` (created where it is missing), and writes on as lines are committed.
    pub fn start(
        _reports_dir: &Path,
        _reader: LedgerReader,
        _ledger: LedgerHandle,
        _on_notice: Box<dyn Fn(ReportNotice) + Send>,
    ) -> Result<Self, LedgerError> {
        unimplemented!()
    }

    /// Answers when every line that is committed now is in its file.
    pub fn flush(&self, _reply: Reply<()>) {
        unimplemented!()
    }

    /// Writes every committed line, waits until the ledger knows, and ends the thread. To be called before the ledger is closed.
    pub fn close(self) {
        unimplemented!()
    }
}

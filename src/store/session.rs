//! What an operation works with: the open transaction, and the names and the time that stand in report lines.

use std::cell::Cell;
use std::time::SystemTime;

use rusqlite::{CachedStatement, Connection, OptionalExtension, Params, Row};

use crate::store::LedgerError;

/// The writer's transaction as operations see it.
pub(super) struct Session<'c> {
    connection: &'c Connection,
    /// Name of this machine.
    pub(super) host: &'c str,
    /// Name of this run of the program.
    pub(super) run_id: &'c str,
    /// When the transaction began.
    pub(super) now: String,
    /// Report lines written in this transaction.
    pub(super) n_lines: Cell<u64>,
}

impl<'c> Session<'c> {
    pub(super) fn new(connection: &'c Connection, host: &'c str, run_id: &'c str) -> Self {
        let now = humantime::format_rfc3339_millis(SystemTime::now()).to_string();
        Self { connection, host, run_id, now, n_lines: Cell::new(0) }
    }

    pub(super) fn prepare(&self, sql: &str) -> Result<CachedStatement<'_>, LedgerError> {
        Ok(self.connection.prepare_cached(sql)?)
    }

    /// Runs a statement that gives no rows; answers how many it changed.
    pub(super) fn execute(&self, sql: &str, parameters: impl Params) -> Result<usize, LedgerError> {
        Ok(self.prepare(sql)?.execute(parameters)?)
    }

    /// The first row, which must be there.
    pub(super) fn row<T>(
        &self,
        sql: &str,
        parameters: impl Params,
        read: impl FnOnce(&Row<'_>) -> rusqlite::Result<T>,
    ) -> Result<T, LedgerError> {
        Ok(self.prepare(sql)?.query_row(parameters, read)?)
    }

    /// The first row, if any.
    pub(super) fn row_if_any<T>(
        &self,
        sql: &str,
        parameters: impl Params,
        read: impl FnOnce(&Row<'_>) -> rusqlite::Result<T>,
    ) -> Result<Option<T>, LedgerError> {
        Ok(self.prepare(sql)?.query_row(parameters, read).optional()?)
    }

    /// All rows.
    pub(super) fn rows<T>(
        &self,
        sql: &str,
        parameters: impl Params,
        read: impl FnMut(&Row<'_>) -> rusqlite::Result<T>,
    ) -> Result<Vec<T>, LedgerError> {
        let mut statement = self.prepare(sql)?;
        let rows = statement.query_map(parameters, read)?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// The number of the row inserted last.
    pub(super) fn last_id(&self) -> i64 {
        self.connection.last_insert_rowid()
    }
}

//! What users read: lines appended exactly once, tables replaced atomically, object tables.

mod objects;
mod tables;
mod tail;

pub use objects::{ObjectTables, PartError};
pub use tables::{CurrentTables, TableError, next_refresh};
pub use tail::{ReportNotice, ReportWriter};

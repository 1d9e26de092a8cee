//! What users read: lines appended exactly once, tables replaced atomically, object tables.

mod csv;
mod fits;
mod merged;
mod objects;
mod outlines;
mod parquet;
mod picture;
mod pictures;
mod registrations;
mod replace;
mod tables;
mod tail;
mod wells;
mod writer;

pub use fits::{fit_fields, why};
pub use objects::{Extras, ObjectTables, Part, PartError, write_atomically, write_parquet_atomically};
pub use parquet::write_typed_parquet;
pub use picture::{PairPicture, escaped};
pub use tables::{CurrentTables, TableError, next_refresh};
pub use writer::{ReportNotice, ReportOptions, ReportWriter};

#[cfg(test)]
mod tests;

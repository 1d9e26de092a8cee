//! Why one file of several could not be done; the others are.

use std::panic::{AssertUnwindSafe, catch_unwind};

use serde_json::{Value, json};

use crate::analysis::segmentation::SegmentationError;
use crate::formats::FormatError;
use crate::reports::PartError;

use super::Exit;

/// Why one file could not be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct FileError {
    /// A kind of [`FormatError`]; `output` where a result cannot be written, `internal` for a fault of this program.
    pub(super) kind: &'static str,
    /// What was expected and what was found.
    pub(super) message: String,
}

impl FileError {
    /// A result that cannot be written; the error names it.
    pub(super) fn output(error: &PartError) -> Self {
        Self { kind: "output", message: format!("cannot write {error}") }
    }

    /// How the command ends for it, once the other files are done.
    pub(super) fn exit(&self) -> Exit {
        if self.kind == "output" { Exit::Failed } else { Exit::Unreadable }
    }

    /// As it stands in JSON answers.
    pub(super) fn to_json(&self) -> Value {
        json!({ "kind": self.kind, "message": self.message })
    }
}

impl From<FormatError> for FileError {
    fn from(error: FormatError) -> Self {
        Self { kind: error.kind.name(), message: error.to_string() }
    }
}

impl From<std::io::Error> for FileError {
    fn from(error: std::io::Error) -> Self {
        FormatError::from(error).into()
    }
}

impl From<SegmentationError> for FileError {
    fn from(error: SegmentationError) -> Self {
        Self { kind: "unsupported", message: error.to_string() }
    }
}

/// Does one file; a panic in it is an error of that file alone.
pub(super) fn guarded<T>(work: impl FnOnce() -> Result<T, FileError>) -> Result<T, FileError> {
    // what the work shares with other files, it only reads
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().map(String::as_str);
        let text = text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("no message");
        Err(FileError { kind: "internal", message: format!("internal fault, please report it: {text}") })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_is_an_error_of_its_file() {
        let results: Vec<_> =
            (0..3).map(|n| guarded(|| if n == 1 { panic!("file {n} is cursed") } else { Ok(n) })).collect();
        assert_eq!((&results[0], &results[2]), (&Ok(0), &Ok(2)));
        let error = results[1].as_ref().unwrap_err();
        assert_eq!(error.kind, "internal");
        assert!(error.message.contains("file 1 is cursed"), "{error:?}");
    }
}

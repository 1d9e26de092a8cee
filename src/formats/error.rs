//! Why a file or a plane could not be read: one of five kinds, with the place and what was expected there.

use std::fmt;

use serde::Serialize;

/// The five kinds of failure. A caller decides by the kind: wait for `Incomplete`, retry `Io`, report the rest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum FormatErrorKind {
    /// The bytes contradict the format.
    Malformed,
    /// Valid, but not something that is read here.
    Unsupported,
    /// A size that the file claims exceeds a configured limit.
    OverLimit,
    /// The file ends before it is whole; it may still be growing.
    Incomplete,
    /// The operating system refused.
    Io,
}

impl FormatErrorKind {
    /// The name used in reports: `malformed`, `unsupported`, `over_limit`, `incomplete` or `io`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Malformed => "malformed",
            Self::Unsupported => "unsupported",
            Self::OverLimit => "over_limit",
            Self::Incomplete => "incomplete",
            Self::Io => "io",
        }
    }
}

/// A failure to read, with the byte offset where it was noticed if there is one.
///
/// The message is lower case, without a full stop, and says what was expected; the file is named by the caller.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FormatError {
    /// What sort of failure it is.
    pub kind: FormatErrorKind,
    /// What was expected and what was found.
    pub message: String,
    /// Bytes from the start of the file.
    pub offset: Option<u64>,
}

impl FormatError {
    /// The bytes contradict the format.
    pub fn malformed(message: impl Into<String>) -> Self {
        Self::new(FormatErrorKind::Malformed, message)
    }

    /// Valid, but not read here.
    pub fn unsupported(message: impl Into<String>) -> Self {
        Self::new(FormatErrorKind::Unsupported, message)
    }

    /// A claimed size exceeds the limit named in the message.
    pub fn over_limit(message: impl Into<String>) -> Self {
        Self::new(FormatErrorKind::OverLimit, message)
    }

    /// The file is not whole yet.
    pub fn incomplete(message: impl Into<String>) -> Self {
        Self::new(FormatErrorKind::Incomplete, message)
    }

    /// Adds the byte offset, unless one is known already.
    #[must_use]
    pub fn at(mut self, offset: u64) -> Self {
        self.offset.get_or_insert(offset);
        self
    }

    fn new(kind: FormatErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), offset: None }
    }
}

impl fmt::Display for FormatError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.kind.name().replace('_', " "), self.message)?;
        match self.offset {
            Some(offset) => write!(f, " (at byte {offset})"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for FormatError {}

impl From<std::io::Error> for FormatError {
    /// An end of file that came too early means `Incomplete`; everything else is `Io`.
    fn from(error: std::io::Error) -> Self {
        if error.kind() == std::io::ErrorKind::UnexpectedEof {
            Self::incomplete("the file ends before the data that it announces")
        } else {
            Self::new(FormatErrorKind::Io, error.to_string())
        }
    }
}

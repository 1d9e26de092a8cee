//! What can be wrong with the settings; each message names the key and where its value came from.

use std::path::PathBuf;

use crate::analysis::identity::PatternError;

/// A configuration that is not used.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// A key that no setting has.
    #[error("unknown key `{key}` in {origin}; the nearest known one is `{nearest}`")]
    UnknownKey {
        /// Section and key as typed.
        key: String,
        /// The file, environment variable or flag.
        origin: String,
        /// The known key that is spelt most alike.
        nearest: String,
    },
    /// A value outside its range, or not a whole number.
    #[error("`{key}` in {origin} is {value}, expected a whole number from {min} to {max}")]
    OutOfRange {
        /// Section and key.
        key: &'static str,
        /// The file, environment variable or flag.
        origin: String,
        /// The value as typed.
        value: String,
        /// Smallest value.
        min: u64,
        /// Largest value.
        max: u64,
    },
    /// A glob that cannot be compiled.
    #[error("`{key}`: {source}")]
    Glob {
        /// Section and key.
        key: &'static str,
        /// Says the glob and what is wrong with it.
        source: globset::Error,
    },
    /// A pattern of `identity.patterns` that cannot be compiled.
    #[error("`identity.patterns`: {0}")]
    Pattern(#[from] PatternError),
    /// A text that cannot be used as it stands.
    #[error("`{key}` is {value:?}, expected {expected}")]
    Text {
        /// Section and key.
        key: &'static str,
        /// The value as typed.
        value: String,
        /// What would do.
        expected: &'static str,
    },
    /// The file cannot be read, is not TOML, or holds a value of the wrong type.
    #[error("{0}")]
    Config(#[from] config::ConfigError),
    /// The output folder would be watched.
    #[error("the output folder {} lies inside the watched folder {}; choose one outside", output.display(), root.display())]
    OutputInsideRoot {
        /// The output folder.
        output: PathBuf,
        /// The watched folder.
        root: PathBuf,
    },
    /// Something that cannot be scanned, such as a device.
    #[error("{}: expected a file or a folder", .0.display())]
    NoFileOrFolder(PathBuf),
    /// What scopewatch writes would be watched.
    #[error("the watched folder {} is one that scopewatch writes into; choose another", root.display())]
    RootInsideOutput {
        /// The watched folder.
        root: PathBuf,
    },
    /// Files would be reported twice.
    #[error("the watched folder {} lies inside the watched folder {}; remove one of them", inner.display(), outer.display())]
    RootInsideRoot {
        /// The folder inside.
        inner: PathBuf,
        /// The folder around it.
        outer: PathBuf,
    },
    /// A root must be a folder.
    #[error("{} is not a folder, expected a folder to watch", .0.display())]
    RootIsFile(PathBuf),
    /// The output folder must be a folder.
    #[error("{} is not a folder, expected the output folder", .0.display())]
    OutputIsFile(PathBuf),
    /// The operating system refused to look at a path.
    #[error("cannot look at {}: {source}", path.display())]
    Io {
        /// The path.
        path: PathBuf,
        /// What the operating system said.
        source: std::io::Error,
    },
}

//! The gates in front of the decoder, for one file at one moment.

use std::fs::File;
use std::io::ErrorKind;
use std::path::Path;

use crate::formats::{self, Container, FormatErrorKind, Limits};
use crate::paths::FileStat;
use crate::platform::filesystem;
use crate::platform::lease::{self, Writer};

use super::Look;

/// What passes all gates: the stat figures at opening, and the opened container.
pub(super) type Whole = (FileStat, Box<dyn Container>);

/// Looks at a file by open and fstat. When it still has the figures `at_rest` (or `once`), the other gates follow: no
/// writer, whole by its format.
pub(super) fn look(path: &Path, at_rest: Option<FileStat>, once: bool, limits: &Limits) -> Look<Whole> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Look::Vanished,
        Err(error) if lease::refused_by_share_mode(&error) => return Look::BeingWritten(None),
        Err(error) => return refused(path, format!("cannot be opened: {error}")),
    };
    let stat = match filesystem::stat_open(&file) {
        Ok(stat) => stat,
        Err(error) => return refused(path, format!("cannot be asked for its size: {error}")),
    };
    if !once && at_rest != Some(stat) {
        return Look::Stat(stat);
    }
    if lease::writer_of(&file) == Writer::Present {
        let held = || Look::Unfinished(stat, "another process has it open for writing".to_owned());
        return if once { held() } else { Look::BeingWritten(Some(stat)) };
    }
    match formats::open(Box::new(file), limits) {
        Ok(container) => Look::Whole((stat, container)),
        Err(error) if error.kind == FormatErrorKind::Incomplete => Look::Unfinished(stat, error.to_string()),
        Err(error) => Look::Refused(stat, error.kind.name(), error.to_string()),
    }
}

/// An unreadable file is known by what its folder says of it, so that a change of its permissions brings it back.
fn refused(path: &Path, reason: String) -> Look<Whole> {
    match filesystem::stat_path(path) {
        Ok(stat) => Look::Refused(stat, FormatErrorKind::Io.name(), reason),
        Err(_) => Look::Vanished,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn look_at(path: &Path) -> Look<Whole> {
        look(path, filesystem::stat_path(path).ok(), false, &Limits::default())
    }

    #[test]
    fn each_gate_has_its_answer() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("plane.tif");
        assert!(matches!(look_at(&path), Look::Vanished));
        std::fs::write(&path, b"").unwrap();
        assert!(matches!(look(&path, None, false, &Limits::default()), Look::Stat(_)), "not at rest yet");
        assert!(matches!(look_at(&path), Look::Unfinished(_, _)), "empty: may still be written");
        std::fs::write(&path, b"hello, not an image").unwrap();
        let Look::Refused(_, kind, reason) = look_at(&path) else { panic!() };
        assert_eq!(kind, "unsupported");
        assert!(reason.contains("first bytes"), "{reason}");
        assert!(matches!(look(folder.path(), None, true, &Limits::default()), Look::Refused(..)), "a folder");
    }

    #[test]
    fn an_open_writer_holds_the_gate() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("plane.tif");
        let writer = File::create(&path).unwrap();
        if lease::writer_of(&File::open(&path).unwrap()) == Writer::Unknown {
            return; // a file system without leases
        }
        assert!(matches!(look_at(&path), Look::BeingWritten(Some(_))));
        drop(writer);
        assert!(matches!(look_at(&path), Look::Unfinished(_, _)));
    }
}

//! The gates in front of the decoder, for one file at one moment.

use std::fs::File;
use std::io::{Error, ErrorKind};
use std::path::Path;

use crate::formats::{self, Container, FormatError, FormatErrorKind, Limits, Source};
use crate::paths::FileStat;
use crate::platform::filesystem;
use crate::platform::lease::{self, Writer};
use crate::platform::reading::Unkept;

use super::Look;

/// What passes all gates: the stat figures at opening, and the opened container.
pub(super) type Whole = (FileStat, Box<dyn Container>);

/// Why a file waits that another process is writing into.
const HELD: &str = "another process has it open for writing";

/// Looks at a file by open and fstat. When it still has the figures `at_rest` (or `once`), the other gates follow: no
/// writer, whole by its format. A file that has the figures with which it was last found `unfinished` still is. What is
/// read of a whole one leaves the page cache where `drops_cache` says so.
pub(super) fn look(
    path: &Path,
    (at_rest, unfinished): (Option<FileStat>, Option<&(FileStat, String)>),
    (once, drops_cache): (bool, bool),
    limits: &Limits,
) -> Look<Whole> {
    let (file, stat) = match filesystem::open_regular(path) {
        Ok(opened) => opened,
        Err(error) => return not_opened(path, &error, once),
    };
    if !once && at_rest != Some(stat) {
        return Look::Stat(stat);
    }
    if lease::writer_of(&file) == Writer::Present {
        let held = || Look::Unfinished(stat, HELD.to_owned());
        return if once { held() } else { Look::BeingWritten(Some(stat)) };
    }
    if let Some((_, reason)) = unfinished.filter(|(known, _)| *known == stat) {
        return Look::Unfinished(stat, reason.clone());
    }
    match source(file, drops_cache).and_then(|source| formats::open(source, limits)) {
        Ok(container) => Look::Whole((stat, container)),
        Err(error) if error.kind == FormatErrorKind::Incomplete => Look::Unfinished(stat, error.to_string()),
        Err(error) if error.kind == FormatErrorKind::Io => Look::Unreadable(Some(stat), error.to_string()),
        Err(error) => Look::Refused(stat, error.kind.name(), error.to_string()),
    }
}

fn source(file: File, drops_cache: bool) -> Result<Box<dyn Source>, FormatError> {
    Ok(if drops_cache { Box::new(Unkept::new(file)?) } else { Box::new(file) })
}

/// What a failed open says of the file. An unreadable file is known by what its folder says of it, so that a change
/// of its permissions brings it back.
fn not_opened(path: &Path, error: &Error, once: bool) -> Look<Whole> {
    if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) {
        return Look::Vanished;
    }
    let is_held = lease::refused_by_share_mode(error) || error.kind() == ErrorKind::WouldBlock;
    if is_held && !once {
        return Look::BeingWritten(None);
    }
    let reason = format!("cannot be opened: {error}");
    match filesystem::stat_path(path) {
        Ok(stat) if is_held => Look::Unfinished(stat, HELD.to_owned()),
        Ok(stat) if is_refused_for_good(error) => Look::Refused(stat, FormatErrorKind::Io.name(), reason),
        Err(gone) if gone.kind() == ErrorKind::NotFound => Look::Vanished,
        stat => Look::Unreadable(stat.ok(), reason),
    }
}

/// Whether opening again would fail alike until somebody changes the file. Everything else (too many open files, a
/// share that does not answer, a medium that fails) may pass.
fn is_refused_for_good(error: &Error) -> bool {
    #[cfg(unix)]
    if error.raw_os_error() == Some(libc::ELOOP) {
        return true;
    }
    matches!(error.kind(), ErrorKind::PermissionDenied | ErrorKind::IsADirectory | ErrorKind::InvalidInput)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn look_at(path: &Path) -> Look<Whole> {
        look(path, (filesystem::stat_path(path).ok(), None), (false, true), &Limits::default())
    }

    #[test]
    fn each_gate_has_its_answer() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("plane.tif");
        assert!(matches!(look_at(&path), Look::Vanished));
        std::fs::write(&path, b"").unwrap();
        assert!(
            matches!(look(&path, (None, None), (false, true), &Limits::default()), Look::Stat(_)),
            "not at rest yet"
        );
        assert!(matches!(look_at(&path), Look::Unfinished(_, _)), "empty: may still be written");
        std::fs::write(&path, b"hello, not an image").unwrap();
        let Look::Refused(_, kind, reason) = look_at(&path) else { panic!() };
        assert_eq!(kind, "unsupported");
        assert!(reason.contains("first bytes"), "{reason}");
        assert!(
            matches!(look(folder.path(), (None, None), (true, false), &Limits::default()), Look::Refused(..)),
            "a folder"
        );
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

    #[cfg(unix)]
    #[test]
    fn errors_of_open_are_told_apart() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("plane.tif");
        std::fs::write(&path, b"x").unwrap();
        let failed = |code, once| not_opened(&path, &Error::from_raw_os_error(code), once);
        for code in [libc::EACCES, libc::EPERM, libc::ELOOP, libc::EISDIR] {
            assert!(matches!(failed(code, false), Look::Refused(_, "io", _)), "{code}");
        }
        let passing = [libc::EMFILE, libc::ENFILE, libc::ESTALE, libc::EIO, libc::ETIMEDOUT, libc::ENOMEM];
        for code in passing.into_iter().chain([libc::EINTR]) {
            assert!(matches!(failed(code, false), Look::Unreadable(Some(_), _)), "{code}");
        }
        for code in [libc::ETXTBSY, libc::EBUSY, libc::EWOULDBLOCK] {
            assert!(matches!(failed(code, false), Look::BeingWritten(None)), "{code}");
            assert!(matches!(failed(code, true), Look::Unfinished(_, _)), "{code}: nothing is waited for");
        }
        assert!(matches!(failed(libc::ENOENT, false), Look::Vanished));
    }

    #[cfg(unix)]
    #[test]
    fn a_pipe_is_refused_and_not_waited_for() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("pipe.tif");
        assert!(std::process::Command::new("mkfifo").arg(&path).status().unwrap().success());
        let Look::Refused(_, "io", reason) = look(&path, (None, None), (true, false), &Limits::default())
        else {
            panic!()
        };
        assert!(reason.contains("regular file"), "{reason}");
    }
}

//! A log file that gives way to a new one when it is full: `NAME` is being written, `NAME.1` came before it, and so on.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// Bytes of a log file after which the next one begins.
pub(super) const BYTES_MAX: u64 = 10_000_000;
/// Files kept, with the one being written.
const FILES_MAX: u32 = 5;

/// The log file; each write is one message and is never split between files.
pub(super) struct RotatingFile {
    path: PathBuf,
    file: File,
    n_bytes: u64,
    n_bytes_max: u64,
}

impl RotatingFile {
    /// Goes on with the file at `path`, or begins it.
    ///
    /// # Errors
    /// When it cannot be opened.
    pub(super) fn open(path: PathBuf, n_bytes_max: u64) -> io::Result<Self> {
        let file = append(&path)?;
        let n_bytes = file.metadata()?.len();
        Ok(Self { path, file, n_bytes, n_bytes_max })
    }

    fn rotate(&mut self) -> io::Result<()> {
        for number in (1..FILES_MAX).rev() {
            let older = numbered(&self.path, number);
            let newer = if number == 1 { self.path.clone() } else { numbered(&self.path, number - 1) };
            match std::fs::rename(newer, older) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => (),
            }
        }
        self.file = append(&self.path)?;
        Ok(())
    }
}

impl Write for RotatingFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.n_bytes > 0 && self.n_bytes + bytes.len() as u64 > self.n_bytes_max {
            // a log that cannot be rotated goes on in the file it has, and tries again when it has grown as much again
            let _ = self.rotate();
            self.n_bytes = 0;
        }
        self.file.write_all(bytes)?;
        self.n_bytes += bytes.len() as u64;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

fn append(path: &Path) -> io::Result<File> {
    OpenOptions::new().create(true).append(true).open(path)
}

fn numbered(path: &Path, number: u32) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{number}"));
    name.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn full_files_give_way_and_the_oldest_goes() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("scopewatch.log");
        let text = |number| std::fs::read_to_string(numbered(&path, number)).unwrap();
        std::fs::write(&path, "earlier\n").unwrap();
        let mut log = RotatingFile::open(path.clone(), 20).unwrap();
        for n in 0..10 {
            log.write_all(format!("message {n}\n").as_bytes()).unwrap();
        }
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "message 9\n");
        assert_eq!([text(1), text(4)], ["message 7\nmessage 8\n", "message 1\nmessage 2\n"]);
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), FILES_MAX as usize);
        // a message beyond the limit stands whole in a file of its own
        log.write_all(&[b'x'; 50]).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().len(), 50);
        assert_eq!(text(1), "message 9\n");
    }

    #[test]
    fn a_log_that_cannot_be_rotated_goes_on() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("scopewatch.log");
        // a folder cannot be replaced by a file
        std::fs::write(numbered(&path, 3), "older").unwrap();
        std::fs::create_dir(numbered(&path, 4)).unwrap();
        let mut log = RotatingFile::open(path.clone(), 4).unwrap();
        log.write_all(b"one\n").unwrap();
        log.write_all(b"two\n").unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "one\ntwo\n");
    }
}

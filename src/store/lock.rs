//! One process per output folder: a lock file that the system frees when the process ends, however it ends.

use std::fs::{self, File, TryLockError};
use std::io::{Read, Seek, Write};
use std::path::Path;

use crate::store::LedgerError;

/// Name of the lock file in the state folder.
pub const LOCK_FILE: &str = "scopewatch.lock";

/// The lock of this process.
pub(super) struct InstanceLock {
    file: File,
    ended_run: Option<String>,
}

/// What stands before the name of a run that ended in order; the next holder overwrites it with its process number.
const ENDED: &str = "ended ";

impl InstanceLock {
    /// Creates the state folder with mode 0750 where it is missing, and takes its lock.
    pub(super) fn take(state_dir: &Path) -> Result<Self, LedgerError> {
        create_private(state_dir).map_err(LedgerError::io(state_dir))?;
        let path = state_dir.join(LOCK_FILE);
        let mut file = File::options()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)
            .map_err(LedgerError::io(&path))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut pid = String::new();
                // the holder may be about to write it
                let _ = file.read_to_string(&mut pid);
                let pid = Some(pid.trim()).filter(|pid| !pid.is_empty() && !pid.starts_with(ENDED));
                return Err(LedgerError::Held { pid: pid.unwrap_or("unknown").into(), path });
            }
            Err(TryLockError::Error(error)) => return Err(LedgerError::io(path)(error)),
        }
        let mut before = String::new();
        // a medium that does not give it out will tell when the ledger is opened
        let _ = file.read_to_string(&mut before);
        let ended_run = before.trim().strip_prefix(ENDED).map(str::to_owned);
        Ok(Self { file, ended_run })
    }

    /// Says who holds the lock, in place of how the run before ended.
    pub(super) fn note_begin(&mut self) {
        // the lock holds without the number too: with no space left, the ledger itself will tell
        let _ = self.write(&std::process::id().to_string());
    }

    /// The run before this one, if it ended in order.
    pub(super) fn ended_run(&self) -> Option<&str> {
        self.ended_run.as_deref()
    }

    /// Notes that this run ends in order, also where the ledger itself can be written no more.
    pub(super) fn note_end(&mut self, run_id: &str) {
        // where this fails, too, the end counts as a sudden one
        let _ = self.write(&format!("{ENDED}{run_id}"));
    }

    fn write(&mut self, text: &str) -> std::io::Result<()> {
        self.file.set_len(0)?;
        self.file.rewind()?;
        writeln!(self.file, "{text}")
    }
}

fn create_private(folder: &Path) -> std::io::Result<()> {
    if let Ok(metadata) = fs::metadata(folder)
        && metadata.is_dir()
    {
        return refuse_open_to_all(&metadata);
    }
    if let Some(parent) = folder.parent() {
        fs::create_dir_all(parent)?;
    }
    let mut builder = fs::DirBuilder::new();
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o750);
    match builder.create(folder) {
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => Ok(()),
        result => result,
    }
}

/// A ledger that anybody may replace tells nothing.
#[cfg(unix)]
fn refuse_open_to_all(metadata: &fs::Metadata) -> std::io::Result<()> {
    use std::os::unix::fs::MetadataExt;
    const WRITTEN_BY_ALL: u32 = 0o002;
    let mode = metadata.mode() & 0o7777;
    if mode & WRITTEN_BY_ALL == 0 {
        return Ok(());
    }
    let reason = format!("everybody may write into this folder (mode {mode:o}), expected at most 0775");
    Err(std::io::Error::new(std::io::ErrorKind::PermissionDenied, reason))
}

#[cfg(not(unix))]
fn refuse_open_to_all(_metadata: &fs::Metadata) -> std::io::Result<()> {
    Ok(())
}

#[cfg(all(test, unix))]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_state_folder_that_anybody_may_write_into_is_refused_by_name() {
        let folder = tempfile::tempdir().unwrap();
        let state = folder.path().join("state");
        drop(InstanceLock::take(&state).unwrap());
        assert_eq!(fs::metadata(&state).unwrap().permissions().mode() & 0o777, 0o750);
        fs::set_permissions(&state, fs::Permissions::from_mode(0o777)).unwrap();
        let Err(error) = InstanceLock::take(&state) else { panic!("taken") };
        let text = error.to_string();
        assert!(text.contains("state") && text.contains("mode 777"), "{text}");
        fs::set_permissions(&state, fs::Permissions::from_mode(0o770)).unwrap();
        assert!(InstanceLock::take(&state).is_ok(), "a group may");
    }
}

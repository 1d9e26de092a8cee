//! One process per output folder: a lock file that the system frees when the process ends, however it ends.

use std::fs::{self, File, TryLockError};
use std::io::{Read, Seek, Write};
use std::path::Path;

use crate::store::LedgerError;

/// Name of the lock file in the state folder.
pub const LOCK_FILE: &str = "scopewatch.lock";

/// The lock of this process.
pub(super) struct InstanceLock {
    _file: File,
}

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
                let pid = pid.trim();
                return Err(LedgerError::Held {
                    pid: if pid.is_empty() { "unknown".into() } else { pid.into() },
                    path,
                });
            }
            Err(TryLockError::Error(error)) => return Err(LedgerError::io(path)(error)),
        }
        let mut write_pid = || {
            file.set_len(0)?;
            file.rewind()?;
            writeln!(file, "{}", std::process::id())
        };
        // the lock holds without the number too: with no space left, the ledger itself will tell
        let _ = write_pid();
        Ok(Self { _file: file })
    }
}

fn create_private(folder: &Path) -> std::io::Result<()> {
    if folder.is_dir() {
        return Ok(());
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

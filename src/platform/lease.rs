//! Whether another process still has a file open for writing.
//!
//! Linux answers through a read lease (`fcntl(2)`, `F_SETLEASE`): it is granted only while nobody has the file open
//! for writing or mapped writable, and it is given back at once. The kernel grants it to the owner of the file or to
//! a process with `CAP_LEASE`, on local file systems; everywhere else the answer is [`Writer::Unknown`], and the quiet
//! period and the format's own completeness decide. A writer that opens the file within the microseconds
//! between the two calls waits for them.

use std::fs::File;

/// What is known of writers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Writer {
    /// Nobody has the file open for writing.
    None,
    /// Somebody has.
    Present,
    /// The system does not say (not the owner, a network file system, not Linux).
    Unknown,
}

/// Asks whether another process has `file` open for writing. `file` itself must be open for reading only.
#[cfg(target_os = "linux")]
#[allow(unsafe_code)]
pub fn writer_of(file: &File) -> Writer {
    use std::os::fd::AsRawFd;
    let descriptor = file.as_raw_fd();
    // SAFETY: the descriptor is open as long as `file` is borrowed; F_SETLEASE takes an int and touches no memory.
    let granted = unsafe { libc::fcntl(descriptor, libc::F_SETLEASE, libc::F_RDLCK) };
    if granted == 0 {
        // SAFETY: as above; gives back the lease that was just granted.
        unsafe { libc::fcntl(descriptor, libc::F_SETLEASE, libc::F_UNLCK) };
        return Writer::None;
    }
    match std::io::Error::last_os_error().raw_os_error() {
        Some(libc::EAGAIN) => Writer::Present,
        _ => Writer::Unknown,
    }
}

/// Asks whether another process has `file` open for writing; not known on this system.
#[cfg(not(target_os = "linux"))]
pub fn writer_of(_file: &File) -> Writer {
    Writer::Unknown
}

/// Keeps a broken lease from ending the process: the kernel tells the holder by `SIGIO`, whose default is to kill.
/// Call once at start.
#[cfg(target_os = "linux")]
#[allow(unsafe_code)]
pub fn ignore_lease_breaks() {
    // SAFETY: SIG_IGN is a valid disposition for SIGIO, and no handler of ours is replaced.
    unsafe { libc::signal(libc::SIGIO, libc::SIG_IGN) };
}

/// Nothing to do on this system.
#[cfg(not(target_os = "linux"))]
pub fn ignore_lease_breaks() {}

/// Whether an open was refused because another process holds the file with a share mode that excludes readers:
/// then it is being written, not unreadable.
pub fn refused_by_share_mode(error: &std::io::Error) -> bool {
    // Windows: ERROR_SHARING_VIOLATION 32, ERROR_LOCK_VIOLATION 33; the Linux SMB client answers ETXTBSY or EBUSY
    if cfg!(windows) {
        matches!(error.raw_os_error(), Some(32 | 33))
    } else {
        matches!(error.kind(), std::io::ErrorKind::ExecutableFileBusy | std::io::ErrorKind::ResourceBusy)
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn a_writer_is_seen_and_its_leaving_too() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("plane.tif");
        let writer = File::create(&path).unwrap();
        let reader = File::open(&path).unwrap();
        let while_open = writer_of(&reader);
        drop(writer);
        let after = writer_of(&reader);
        // file systems without leases answer Unknown to both
        assert!(matches!(
            (while_open, after),
            (Writer::Present, Writer::None) | (Writer::Unknown, Writer::Unknown)
        ));
    }
}

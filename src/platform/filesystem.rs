//! Which kind of file system a folder lies on, how much space is free there, and a file's stat figures.

use std::fs::{File, Metadata};
use std::io;
use std::path::Path;

use crate::paths::FileStat;

/// Whether the kernel reports changes of files under a folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChangeEvents {
    /// A local file system: events come, although never all of them.
    Local,
    /// A network or FUSE file system, named: other machines' writes give no events, so it is polled only.
    PollOnly(&'static str),
}

/// Opens a regular file for reading, with its stat figures; waits neither for the other end of a pipe nor for another's
/// lease.
///
/// # Errors
/// When the operating system refuses, and `InvalidInput` for what is no regular file.
pub fn open_regular(path: &Path) -> io::Result<(File, FileStat)> {
    let mut options = File::options();
    options.read(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::custom_flags(&mut options, libc::O_NONBLOCK);
    let file = options.open(path)?;
    let metadata = file.metadata()?;
    if !metadata.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "is not a regular file"));
    }
    Ok((file, stat_of(&metadata)))
}

/// The stat figures of an open file.
///
/// Listings of SMB folders show stale sizes, so a file is opened and asked itself.
///
/// # Errors
/// When the operating system refuses.
pub fn stat_open(file: &File) -> io::Result<FileStat> {
    file.metadata().map(|metadata| stat_of(&metadata))
}

/// The stat figures of what lies at a path now, links followed.
///
/// # Errors
/// When nothing lies there, or the operating system refuses.
pub fn stat_path(path: &Path) -> io::Result<FileStat> {
    std::fs::metadata(path).map(|metadata| stat_of(&metadata))
}

/// The stat figures in what the standard library gave.
#[cfg(unix)]
pub fn stat_of(metadata: &Metadata) -> FileStat {
    use std::os::unix::fs::MetadataExt;
    let nanoseconds = |s: i64, ns: i64| s.saturating_mul(1_000_000_000).saturating_add(ns);
    FileStat {
        device: metadata.dev(),
        inode: metadata.ino(),
        size_bytes: metadata.len(),
        mtime_ns: nanoseconds(metadata.mtime(), metadata.mtime_nsec()),
        ctime_ns: nanoseconds(metadata.ctime(), metadata.ctime_nsec()),
    }
}

/// The stat figures in what the standard library gave; the change time is the creation time here.
#[cfg(not(unix))]
pub fn stat_of(metadata: &Metadata) -> FileStat {
    use std::time::UNIX_EPOCH;
    let since_1970 = |time: io::Result<std::time::SystemTime>| {
        let elapsed = time.ok().and_then(|time| time.duration_since(UNIX_EPOCH).ok()).unwrap_or_default();
        i64::try_from(elapsed.as_nanos()).unwrap_or(i64::MAX)
    };
    FileStat {
        device: 0,
        inode: 0,
        size_bytes: metadata.len(),
        mtime_ns: since_1970(metadata.modified()),
        ctime_ns: since_1970(metadata.created()),
    }
}

/// Says whether change events can be expected under `path`.
///
/// # Errors
/// When the folder cannot be asked.
#[cfg(target_os = "linux")]
pub fn change_events(path: &Path) -> io::Result<ChangeEvents> {
    // magic numbers of statfs(2)
    Ok(match statfs(path)?.f_type as u64 & 0xFFFF_FFFF {
        0xFF53_4D42 => ChangeEvents::PollOnly("cifs"),
        0xFE53_4D42 => ChangeEvents::PollOnly("smb2"),
        0x517B => ChangeEvents::PollOnly("smb"),
        0x6969 => ChangeEvents::PollOnly("nfs"),
        0x6573_5546 => ChangeEvents::PollOnly("fuse"),
        0x0102_1997 => ChangeEvents::PollOnly("9p"),
        0x5346_414F => ChangeEvents::PollOnly("afs"),
        0x00C3_6400 => ChangeEvents::PollOnly("ceph"),
        0x0BD0_0BD0 => ChangeEvents::PollOnly("lustre"),
        0x4750_4653 => ChangeEvents::PollOnly("gpfs"),
        0x1983_0326 => ChangeEvents::PollOnly("beegfs"),
        0xBACB_ACBC => ChangeEvents::PollOnly("vmhgfs"),
        0x786F_4256 => ChangeEvents::PollOnly("vboxsf"),
        _ => ChangeEvents::Local,
    })
}

/// Says whether change events can be expected under `path`; not known here, so the folder is polled.
///
/// # Errors
/// When the folder does not exist.
#[cfg(not(target_os = "linux"))]
pub fn change_events(path: &Path) -> io::Result<ChangeEvents> {
    std::fs::metadata(path).map(|_| ChangeEvents::PollOnly("unknown"))
}

/// Bytes that an unprivileged process may still write under `path`; `None` where the system does not say.
///
/// # Errors
/// When the folder cannot be asked.
#[cfg(target_os = "linux")]
pub fn free_bytes(path: &Path) -> io::Result<Option<u64>> {
    let figures = statfs(path)?;
    let block_bytes = u64::try_from(figures.f_bsize).unwrap_or(0);
    Ok(Some(block_bytes.saturating_mul(figures.f_bavail)))
}

/// Bytes that may still be written under `path`: not known here.
///
/// # Errors
/// Never.
#[cfg(not(target_os = "linux"))]
pub fn free_bytes(_path: &Path) -> io::Result<Option<u64>> {
    Ok(None)
}

#[cfg(target_os = "linux")]
#[allow(unsafe_code)]
pub(super) fn statfs(path: &Path) -> io::Result<libc::statfs> {
    use std::os::unix::ffi::OsStrExt;
    let path = std::ffi::CString::new(path.as_os_str().as_bytes())?;
    let mut figures = std::mem::MaybeUninit::<libc::statfs>::zeroed();
    // SAFETY: `path` ends in NUL and `figures` is large enough; all-zero bytes are a valid `statfs`.
    unsafe {
        if libc::statfs(path.as_ptr(), figures.as_mut_ptr()) != 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(figures.assume_init())
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn proc_is_local_and_a_missing_folder_is_an_error() {
        assert_eq!(change_events(Path::new("/proc")).unwrap(), ChangeEvents::Local);
        assert!(change_events(Path::new("/no/such/folder")).is_err());
    }

    #[test]
    fn what_is_no_regular_file_is_not_opened_and_not_waited_for() {
        let folder = tempfile::tempdir().unwrap();
        let [pipe, plain] = ["pipe", "plain"].map(|name| folder.path().join(name));
        assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
        for path in [pipe.as_path(), folder.path()] {
            assert_eq!(open_regular(path).unwrap_err().kind(), io::ErrorKind::InvalidInput);
        }
        std::fs::write(&plain, b"12345").unwrap();
        assert_eq!(open_regular(&plain).unwrap().1, stat_path(&plain).unwrap());
    }

    #[test]
    fn free_space_agrees_with_a_file_that_fits() {
        let folder = tempfile::tempdir().unwrap();
        assert!(free_bytes(folder.path()).unwrap().unwrap() > 0);
    }

    #[test]
    fn an_open_file_and_its_path_have_the_same_stat() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), b"12345").unwrap();
        let open = stat_open(file.as_file()).unwrap();
        assert_eq!(open, stat_path(file.path()).unwrap());
        assert_eq!(open.size_bytes, 5);
    }
}

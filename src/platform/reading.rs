//! What reading does to others: the page cache that it fills, the bytes that it takes from the disk, and how long
//! processes of this machine wait for their disks.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::ops::Range;
use std::time::Duration;

/// A file whose bytes leave the page cache once they were read through this, so that a backlog pushes nobody else's data
/// out. Bytes that others have written and the disk does not hold yet stay where they are.
#[derive(Debug)]
pub struct Unkept {
    file: File,
    position: u64,
    /// What was read and is still in the cache.
    read: Range<u64>,
}

/// Bytes in one piece after which they are given up before the piece ends.
const PIECE_BYTES_MAX: u64 = 16 << 20;

impl Unkept {
    /// Reads `file` from where it stands.
    ///
    /// # Errors
    /// When the file does not say where that is.
    pub fn new(mut file: File) -> io::Result<Self> {
        let position = file.stream_position()?;
        Ok(Self { file, position, read: position..position })
    }

    /// Gives up what was read so far.
    fn give_up(&mut self) {
        if !self.read.is_empty() {
            drop_cached(&self.file, &self.read);
        }
        self.read = self.position..self.position;
    }
}

impl Read for Unkept {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.file.read(buffer)?;
        if self.read.end != self.position {
            self.give_up();
        }
        self.position += n as u64;
        self.read.end = self.position;
        if self.read.end - self.read.start >= PIECE_BYTES_MAX {
            self.give_up();
        }
        Ok(n)
    }
}

impl Seek for Unkept {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.position = self.file.seek(to)?;
        Ok(self.position)
    }
}

impl Drop for Unkept {
    fn drop(&mut self) {
        self.give_up();
    }
}

/// Tells the system that these bytes are not needed again. Whole pages only: those at both ends may be needed by their
/// neighbours.
#[cfg(target_os = "linux")]
#[allow(unsafe_code)]
fn drop_cached(file: &File, range: &Range<u64>) {
    use std::os::fd::AsRawFd;
    let (Ok(start), Ok(length)) = (i64::try_from(range.start), i64::try_from(range.end - range.start)) else {
        return;
    };
    // SAFETY: the descriptor is open as long as `file` is borrowed, and no memory is touched. Advice may be refused.
    unsafe { libc::posix_fadvise(file.as_raw_fd(), start, length, libc::POSIX_FADV_DONTNEED) };
}

/// Nothing can be said on this system.
#[cfg(not(target_os = "linux"))]
fn drop_cached(_file: &File, _range: &Range<u64>) {}

/// Bytes that this process has had brought from disks and shares so far, its threads together; what lay in the page cache
/// does not count. `None` where the system does not say.
pub fn disk_bytes_read() -> Option<u64> {
    read_bytes(&std::fs::read_to_string("/proc/self/io").ok()?)
}

fn read_bytes(text: &str) -> Option<u64> {
    text.lines().find_map(|line| line.strip_prefix("read_bytes: ")?.trim().parse().ok())
}

/// For how long, since the machine started, at least one of its tasks waited for a disk (pressure stall information, the
/// line `some` of `/proc/pressure/io`). `None` where the system does not say.
pub fn io_stall_time() -> Option<Duration> {
    stall_time(&std::fs::read_to_string("/proc/pressure/io").ok()?)
}

fn stall_time(text: &str) -> Option<Duration> {
    let some = text.lines().find_map(|line| line.strip_prefix("some "))?;
    let total = some.split_whitespace().find_map(|word| word.strip_prefix("total="))?;
    total.parse().ok().map(Duration::from_micros)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    #[test]
    fn an_unkept_file_reads_as_any_other() {
        let mut file = tempfile::tempfile().unwrap();
        let bytes: Vec<u8> = (0..100_000_u32).map(|value| (value / 3) as u8).collect();
        file.write_all(&bytes).unwrap();
        file.seek(SeekFrom::Start(5)).unwrap();
        let mut unkept = Unkept::new(file).unwrap();
        let mut part = [0; 4];
        unkept.read_exact(&mut part).unwrap();
        assert_eq!(part, bytes[5..9]);
        assert_eq!(unkept.seek(SeekFrom::End(-2)).unwrap(), 99_998);
        let mut rest = Vec::new();
        unkept.read_to_end(&mut rest).unwrap();
        assert_eq!(rest, bytes[99_998..]);
        unkept.rewind().unwrap();
        rest.clear();
        unkept.read_to_end(&mut rest).unwrap();
        assert_eq!(rest, bytes);
    }

    #[test]
    fn pressure_is_read_from_the_line_of_some() {
        let text = "some avg10=0.11 avg60=0.25 avg300=0.18 total=1350528\nfull avg10=0.00 avg60=0.13 avg300=0.11 total=876907\n";
        assert_eq!(stall_time(text), Some(Duration::from_micros(1_350_528)));
        assert_eq!(stall_time("full avg10=0.00 total=1\n"), None);
    }

    /// Pages of the file that lie in the page cache.
    #[cfg(target_os = "linux")]
    #[allow(unsafe_code)]
    fn n_cached_pages(file: &File, n_bytes: usize) -> usize {
        use std::os::fd::AsRawFd;
        let mut pages = vec![0_u8; n_bytes.div_ceil(4096)];
        // SAFETY: the mapping is private, only asked after, and removed again; `pages` has a byte for each of its pages
        unsafe {
            let map = libc::mmap(
                std::ptr::null_mut(),
                n_bytes,
                libc::PROT_READ,
                libc::MAP_SHARED,
                file.as_raw_fd(),
                0,
            );
            assert_ne!(map, libc::MAP_FAILED);
            assert_eq!(libc::mincore(map, n_bytes, pages.as_mut_ptr()), 0);
            libc::munmap(map, n_bytes);
        }
        pages.iter().filter(|page| *page & 1 == 1).count()
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn only_what_was_read_leaves_the_page_cache() {
        const PAGES: usize = 4096;
        const TMPFS: u64 = 0x0102_1994;
        let folder = tempfile::tempdir().unwrap();
        if crate::platform::filesystem::statfs(folder.path()).unwrap().f_type as u64 == TMPFS {
            return; // its pages lie nowhere else
        }
        let path = folder.path().join("planes.bin");
        std::fs::write(&path, vec![7_u8; PAGES * 4096]).unwrap();
        let file = File::open(&path).unwrap();
        file.sync_all().unwrap();
        assert_eq!(n_cached_pages(&file, PAGES * 4096), PAGES);
        let mut unkept = Unkept::new(File::open(&path).unwrap()).unwrap();
        unkept.seek(SeekFrom::Start(1024 * 4096)).unwrap();
        unkept.read_exact(&mut vec![0; 1024 * 4096]).unwrap();
        assert_eq!(n_cached_pages(&file, PAGES * 4096), PAGES, "not yet");
        unkept.rewind().unwrap();
        unkept.read_exact(&mut [0; 4096]).unwrap();
        let n_cached = n_cached_pages(&file, PAGES * 4096);
        // large folios at both ends stay whole
        assert!((PAGES - 1024..=PAGES - 512).contains(&n_cached), "{n_cached}");
        drop(unkept);
        assert!(n_cached_pages(&file, PAGES * 4096) >= PAGES - 1024 - 1);
    }

    #[test]
    fn what_came_from_disks_is_read_from_its_line() {
        let text = "rchar: 4292\nwchar: 0\nread_bytes: 8192\nwrite_bytes: 7\ncancelled_write_bytes: 0\n";
        assert_eq!(read_bytes(text), Some(8192));
        assert_eq!(read_bytes("rchar: 4292\n"), None);
    }
}

//! This process: its memory, its cores, its host; and the few settings of the C library that serve a daemon.

use std::path::Path;
use std::time::Duration;

/// Memory figures of this process in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ResidentMemory {
    /// Resident now.
    pub now_bytes: u64,
    /// The most that was ever resident.
    pub peak_bytes: u64,
}

/// Reads the resident memory; zeros where the system does not say.
pub fn resident_memory() -> ResidentMemory {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let field = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        let kib: Option<u64> = line.and_then(|line| line.split_whitespace().next()?.parse().ok());
        kib.unwrap_or(0) * 1024
    };
    ResidentMemory { now_bytes: field("VmRSS:"), peak_bytes: field("VmHWM:") }
}

/// Processor time of this process so far, user and system, all its threads together; `None` where the system does not say.
#[cfg(unix)]
#[allow(unsafe_code)]
pub fn cpu_time() -> Option<Duration> {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the call only writes the structure that it is given
    let failed = unsafe { libc::clock_gettime(libc::CLOCK_PROCESS_CPUTIME_ID, &raw mut time) } != 0;
    (!failed).then(|| Duration::new(time.tv_sec as u64, time.tv_nsec as u32))
}

/// The system is not asked.
#[cfg(not(unix))]
pub fn cpu_time() -> Option<Duration> {
    None
}

/// The name of this host, or `localhost`.
pub fn host_name() -> String {
    let from_kernel = std::fs::read_to_string("/proc/sys/kernel/hostname").ok();
    let from_environment = || std::env::var("HOSTNAME").or_else(|_| std::env::var("COMPUTERNAME")).ok();
    let name = from_kernel.or_else(from_environment).unwrap_or_default();
    let name = name.trim();
    if name.is_empty() { "localhost".to_owned() } else { name.to_owned() }
}

/// Memory this process may use in bytes: the machine's, or its control group's limit where that is lower.
/// `None` where the system does not say.
pub fn memory_limit_bytes() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/meminfo").ok()?;
    let kib: u64 =
        text.lines().find_map(|l| l.strip_prefix("MemTotal:")?.split_whitespace().next()?.parse().ok())?;
    let group = control_group_value("memory.max").and_then(|value| value.parse().ok());
    Some(group.map_or(kib * 1024, |limit: u64| limit.min(kib * 1024)))
}

/// Cores this process may use, by affinity and control-group quota; at least 1.
pub fn usable_cores() -> usize {
    // honours affinity and cgroup quotas on Linux
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
}

/// Lets this process open as many files as the system allows it, and says how many that are; `None` where that is not
/// known.
#[cfg(unix)]
#[allow(unsafe_code)]
pub fn raise_file_limit() -> Option<u64> {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: both calls only read or write the structure that they are given
    unsafe {
        if libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) != 0 {
            return None;
        }
        let raised = libc::rlimit { rlim_cur: limit.rlim_max, ..limit };
        if libc::setrlimit(libc::RLIMIT_NOFILE, &raw const raised) == 0 {
            limit = raised;
        }
    }
    Some(limit.rlim_cur)
}

/// Not known on this system.
#[cfg(not(unix))]
pub fn raise_file_limit() -> Option<u64> {
    None
}

fn control_group_value(name: &str) -> Option<String> {
    let own = std::fs::read_to_string("/proc/self/cgroup").ok()?;
    let group = own.lines().find_map(|line| line.strip_prefix("0::"))?.trim_start_matches('/').to_owned();
    let value = std::fs::read_to_string(Path::new("/sys/fs/cgroup").join(group).join(name)).ok()?;
    Some(value.trim().to_owned())
}

/// Makes the allocator hand large buffers back to the system as soon as they are freed, so that resident memory
/// follows the memory budget. Call first of all; does nothing where the C library has no such setting.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
#[allow(unsafe_code)]
pub fn return_freed_memory() {
    const LARGE_BYTES: libc::c_int = 4 << 20;
    // SAFETY: mallopt only sets parameters of the allocator; a fixed threshold also stops its automatic growth,
    // after which planes would be carved from arenas that never shrink.
    unsafe {
        libc::mallopt(libc::M_MMAP_THRESHOLD, LARGE_BYTES);
        libc::mallopt(libc::M_TRIM_THRESHOLD, LARGE_BYTES);
        libc::mallopt(libc::M_ARENA_MAX, 2);
    }
}

/// Does nothing on this system.
#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
pub fn return_freed_memory() {}

/// Gives the pages of the heap back to the system in which every piece was freed, also those in its midst, which
/// [`return_freed_memory`] does not reach. Takes milliseconds; does nothing where the C library cannot.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
#[allow(unsafe_code)]
pub fn return_freed_pages() {
    // SAFETY: the allocator takes its own locks; no piece that is in use is touched
    unsafe {
        libc::malloc_trim(0);
    }
}

/// Does nothing on this system.
#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
pub fn return_freed_pages() {}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn figures_of_this_process_are_plausible() {
        let memory = resident_memory();
        assert!(memory.now_bytes > 1 << 20 && memory.peak_bytes >= memory.now_bytes);
        assert!(usable_cores() >= 1);
        assert!(memory_limit_bytes().unwrap() > memory.now_bytes);
        assert!(!host_name().is_empty());
        assert!(raise_file_limit().unwrap() >= 64);
    }

    #[cfg(target_env = "gnu")]
    #[test]
    fn pages_in_the_midst_of_the_heap_are_given_back() {
        const N_BYTES: usize = 1 << 28;
        let mut pieces: Vec<Box<[u8; 1024]>> = (0..N_BYTES / 1024).map(|_| Box::new([1; 1024])).collect();
        // one in 4,000 stays, so that the heap keeps its extent
        let mut number = 0;
        pieces.retain(|_| {
            number += 1;
            number % 4000 == 0
        });
        let before = resident_memory().now_bytes;
        return_freed_pages();
        let after = resident_memory().now_bytes;
        // others work beside
        assert!(after + (N_BYTES as u64) / 2 < before, "{before} {after} {}", pieces.len());
    }
}

//! From facts about the machine to numbers of threads and bytes of memory; measures nothing itself.

/// Smallest memory budget chosen by rule, 256 MiB, where the machine has twice as much.
const MEMORY_MIN_BYTES: u64 = 256 << 20;
/// Largest memory budget chosen by rule, 2 GiB.
const MEMORY_MAX_BYTES: u64 = 2048 << 20;
/// Memory budget of a machine that does not tell its memory, 512 MiB.
const MEMORY_UNKNOWN_BYTES: u64 = 512 << 20;

/// What the machine offers this process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MachineFacts {
    /// Cores that this process may run on (affinity), at least 1.
    pub n_cores: usize,
    /// Thousandths of a core that its control group grants, where limited.
    pub cpu_quota_millicores: Option<u64>,
    /// Bytes of memory of the machine, or of its control group where that is less; `None` where unknown.
    pub memory_bytes: Option<u64>,
}

/// Who else needs the machine while a command runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Sharing {
    /// The acquisition runs beside it (`run`): one core stays free.
    WithAcquisition,
    /// Nobody (`scan`, `bench`): all cores are taken.
    Alone,
}

/// What a command may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shares {
    /// Threads that compute, at least 1.
    pub n_workers: usize,
    /// Bytes for pixels in flight, scratch and caches together.
    pub memory_bytes: u64,
}

/// Chooses the shares by the machine, except where the user has chosen.
///
/// Workers: the cores of affinity and quota, whichever is less (a started core of a quota does not count), minus the one
/// left free. Memory: a quarter, 256 MiB to 2 GiB, but never more than half.
pub fn shares(
    facts: &MachineFacts,
    sharing: Sharing,
    n_workers_chosen: Option<usize>,
    memory_bytes_chosen: Option<u64>,
) -> Shares {
    let n_workers = n_workers_chosen.unwrap_or_else(|| match sharing {
        Sharing::WithAcquisition => n_cores_usable(facts) - 1,
        Sharing::Alone => n_cores_usable(facts),
    });
    let memory_bytes = memory_bytes_chosen.unwrap_or_else(|| match facts.memory_bytes {
        Some(bytes) => (bytes / 4).clamp(MEMORY_MIN_BYTES, MEMORY_MAX_BYTES).min(bytes / 2),
        None => MEMORY_UNKNOWN_BYTES,
    });
    Shares { n_workers: n_workers.max(1), memory_bytes }
}

/// Cores that this process can keep busy, at least 1.
pub fn n_cores_usable(facts: &MachineFacts) -> usize {
    let by_quota = facts.cpu_quota_millicores.and_then(|quota| usize::try_from(quota / 1000).ok());
    facts.n_cores.min(by_quota.unwrap_or(usize::MAX)).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    const GIB: u64 = 1 << 30;

    fn check(n_cores: usize, cpu_quota_millicores: Option<u64>, expected_run: usize, expected_scan: usize) {
        let facts = MachineFacts { n_cores, cpu_quota_millicores, memory_bytes: None };
        let n_workers = |sharing| shares(&facts, sharing, None, None).n_workers;
        let found = (n_workers(Sharing::WithAcquisition), n_workers(Sharing::Alone));
        assert_eq!(found, (expected_run, expected_scan), "{facts:?}");
    }

    #[test]
    fn a_core_stays_free_for_the_acquisition() {
        check(1, None, 1, 1);
        check(2, None, 1, 2);
        check(16, None, 15, 16);
        check(0, None, 1, 1);
    }

    #[test]
    fn a_quota_counts_whole_cores() {
        check(16, Some(2000), 1, 2);
        check(16, Some(3900), 2, 3);
        check(16, Some(500), 1, 1);
        check(4, Some(64_000), 3, 4);
        check(4, Some(u64::MAX), 3, 4);
    }

    #[test]
    fn memory_is_a_quarter_within_bounds() {
        for (machine, expected) in [
            (Some(64 * GIB), 2 * GIB),
            (Some(8 * GIB), 2 * GIB),
            (Some(4 * GIB), GIB),
            (Some(GIB), GIB / 4),
            (Some(GIB / 2), GIB / 4),
            (Some(GIB / 4), GIB / 8),
            (None, GIB / 2),
        ] {
            let facts = MachineFacts { n_cores: 4, cpu_quota_millicores: None, memory_bytes: machine };
            assert_eq!(shares(&facts, Sharing::Alone, None, None).memory_bytes, expected, "{machine:?}");
        }
    }

    #[test]
    fn the_user_may_choose_more_than_the_rule() {
        let facts = MachineFacts { n_cores: 2, cpu_quota_millicores: None, memory_bytes: Some(GIB) };
        let chosen = shares(&facts, Sharing::WithAcquisition, Some(7), Some(3 * GIB));
        assert_eq!(chosen, Shares { n_workers: 7, memory_bytes: 3 * GIB });
    }
}

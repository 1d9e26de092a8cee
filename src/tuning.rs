//! From facts about the machine to numbers of threads and bytes of memory; measures nothing itself.

/// What the machine offers this process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MachineFacts {
    /// Cores this process may run on (affinity), at least 1.
    pub n_cores: usize,
    /// Thousandths of a core that its control group grants, where limited.
    pub cpu_quota_millicores: Option<u64>,
    /// Bytes of memory of the machine, or of its control group where that is less; `None` where unknown.
    pub memory_bytes: Option<u64>,
}

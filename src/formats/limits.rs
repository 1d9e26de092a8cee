//! What a file may claim before it is refused. Every size is checked against these before anything is allocated.

/// Bounds on what one file can make the reader allocate or walk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Decoded bytes of one plane, default 1 GiB.
    pub plane_bytes_max: u64,
    /// Bytes of one metadata block (a CLX chunk, an XML text, a tag's value), default 64 MiB.
    pub metadata_bytes_max: u64,
    /// Planes, TIFF directories or ND2 chunks in one file, default 500 000.
    pub planes_max: u64,
    /// Nesting of metadata, default 64.
    pub depth_max: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self { plane_bytes_max: 1 << 30, metadata_bytes_max: 64 << 20, planes_max: 500_000, depth_max: 64 }
    }
}

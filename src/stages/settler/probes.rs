//! Bytes by which a file is known again that only grew.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};

use crate::formats::ByteRange;
use crate::store::Probe;

/// Longest run of bytes that a probe reads.
const PROBE_BYTES_MAX: u64 = 1 << 16;

/// Digests ranges of a file.
pub(super) fn take(file: &mut File, ranges: &[ByteRange]) -> io::Result<Vec<Probe>> {
    let probe = |range: &ByteRange| {
        let ByteRange { offset, length } = *range;
        Ok(Probe { offset, length, digest: digest(file, offset, length)? })
    };
    ranges.iter().map(probe).collect()
}

/// Whether all of them are as they were; a file that ends before them is another one.
///
/// # Errors
/// When they cannot be read.
pub(super) fn hold(file: &mut File, probes: &[Probe]) -> io::Result<bool> {
    for probe in probes {
        match digest(file, probe.offset, probe.length) {
            Ok(now) if now == probe.digest => {}
            Err(error) if error.kind() != io::ErrorKind::UnexpectedEof => return Err(error),
            _ => return Ok(false),
        }
    }
    Ok(!probes.is_empty())
}

fn digest(file: &mut File, offset: u64, length: u64) -> io::Result<[u8; 32]> {
    if length > PROBE_BYTES_MAX {
        return Err(io::ErrorKind::InvalidData.into());
    }
    let mut bytes = vec![0; length as usize];
    file.seek(SeekFrom::Start(offset))?;
    file.read_exact(&mut bytes)?;
    Ok(*blake3::hash(&bytes).as_bytes())
}

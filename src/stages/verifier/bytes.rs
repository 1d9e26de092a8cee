//! Whether containers are equal byte for byte; the last answers are remembered.

use std::collections::VecDeque;
use std::io::{self, Read};
use std::path::Path;

use crate::platform::filesystem::open_regular;
use crate::store::FileTicket;

/// The last comparisons of containers, so that those of many planes are compared once.
#[derive(Default)]
pub(super) struct Compared(VecDeque<((FileTicket, i64), bool)>);

/// Comparisons that are remembered.
const COMPARED_MAX: usize = 256;

impl Compared {
    pub(super) fn get(&self, pair: (FileTicket, i64)) -> Option<bool> {
        self.0.iter().find(|(known, _)| *known == pair).map(|(_, same)| *same)
    }

    pub(super) fn put(&mut self, pair: (FileTicket, i64), same: bool) {
        if self.0.len() == COMPARED_MAX {
            self.0.pop_front();
        }
        self.0.push_back((pair, same));
    }
}

/// Compares two files, sizes first, block by block as long as `go_on` says so.
pub(super) fn equal_files(a: &Path, b: &Path, go_on: impl Fn() -> bool) -> io::Result<bool> {
    const BLOCK_BYTES: usize = 256 * 1024;
    let ((mut a, stat_a), (mut b, stat_b)) = (open_regular(a)?, open_regular(b)?);
    if stat_a.size_bytes != stat_b.size_bytes {
        return Ok(false);
    }
    let mut blocks = [vec![0; BLOCK_BYTES], vec![0; BLOCK_BYTES]];
    loop {
        if !go_on() {
            return Err(io::ErrorKind::Interrupted.into());
        }
        let [block_a, block_b] = &mut blocks;
        let n = a.read(block_a)?;
        if n == 0 {
            return Ok(b.read(block_b)? == 0);
        }
        match b.read_exact(&mut block_b[..n]) {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(false),
            other => other?,
        }
        if block_a[..n] != block_b[..n] {
            return Ok(false);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_equal_only_byte_for_byte() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, bytes: &[u8]| {
            let path = folder.path().join(name);
            std::fs::write(&path, bytes).unwrap();
            path
        };
        let long: Vec<u8> = (0..700_000_u32).map(|value| value as u8).collect();
        let mut last_byte = long.clone();
        *last_byte.last_mut().unwrap() ^= 1;
        let a = write("a", &long);
        let cases: [(&str, &[u8], bool); 4] = [
            ("same", &long, true),
            ("last", &last_byte, false),
            ("shorter", &long[1..], false),
            ("empty", &[], false),
        ];
        for (name, bytes, expected) in cases {
            assert_eq!(equal_files(&a, &write(name, bytes), || true).unwrap(), expected, "{name}");
        }
        assert!(equal_files(&a, &folder.path().join("gone"), || true).is_err());
        assert!(equal_files(&a, &a, || false).is_err(), "given up");
    }

    #[test]
    fn old_comparisons_make_room_for_new_ones() {
        let mut compared = Compared::default();
        let pair = |id| (FileTicket { file_id: id, claim: 1 }, id + 1);
        (0..=COMPARED_MAX as i64).for_each(|id| compared.put(pair(id), id % 2 == 0));
        assert_eq!(compared.get(pair(0)), None);
        assert_eq!(compared.get(pair(2)), Some(true));
        assert_eq!(compared.0.len(), COMPARED_MAX);
    }
}

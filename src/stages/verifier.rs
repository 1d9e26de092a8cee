//! Finds the planes that hold the same pixels as one before, and tells whether their containers are equal byte for
//! byte: the containers are compared only when the pixels are.

use std::collections::{HashMap, VecDeque};
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use crate::actor::{CancelFlag, IoPool, Stage, StageCounters, StageError, StageOutbox};
use crate::messages::{HashedImage, VerifiedImage};
use crate::store::{ExactMatch, FileTicket, LedgerReader};
use crate::units::PlaneIndex;

/// A plane that stands for all with the same pixels in byte-identical containers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Exemplar {
    file_id: i64,
    index: PlaneIndex,
}

/// The first half of a pixel digest: 128 bits tell planes apart as surely and take half the memory.
type DigestKey = [u8; 16];

/// Finds exact copies.
pub struct Verifier {
    reader: Arc<Mutex<LedgerReader>>,
    io: IoPool,
    /// The first plane with each digest.
    first: HashMap<DigestKey, Exemplar>,
    /// Planes with the same digest in other containers, one for each class of byte-identical ones.
    others: HashMap<DigestKey, Vec<Exemplar>>,
    /// Where each root lies now.
    roots: HashMap<i64, PathBuf>,
    compared: Compared,
}

/// The last comparisons of containers, so that those of many planes are compared once.
#[derive(Default)]
struct Compared(VecDeque<((FileTicket, i64), bool)>);

/// Comparisons that are remembered.
const COMPARED_MAX: usize = 256;

impl Verifier {
    /// Loads the digests of all planes that the ledger holds.
    ///
    /// # Errors
    /// When the ledger cannot be read.
    pub fn load(
        reader: LedgerReader,
        io: IoPool,
        roots: HashMap<i64, PathBuf>,
    ) -> Result<Self, crate::store::LedgerError> {
        let (mut first, mut others) = (HashMap::new(), HashMap::<_, Vec<_>>::new());
        reader.exact_index(|plane| {
            let exemplar = Exemplar { file_id: plane.file_id, index: plane.index };
            let key = key_of(&plane.digest);
            if *first.entry(key).or_insert(exemplar) != exemplar {
                others.entry(key).or_default().push(exemplar);
            }
        })?;
        let reader = Arc::new(Mutex::new(reader));
        Ok(Self { reader, io, first, others, roots, compared: Compared::default() })
    }

    fn exemplars(&self, key: &DigestKey) -> Vec<Exemplar> {
        let first = self.first.get(key).copied();
        first.into_iter().chain(self.others.get(key).into_iter().flatten().copied()).collect()
    }

    /// Whether the containers of two planes are equal byte for byte; not, when one of them has gone.
    async fn same_bytes(
        &mut self,
        image: &HashedImage,
        other: Exemplar,
        counters: &Arc<StageCounters>,
    ) -> Result<bool, StageError> {
        if image.file.claim.file_id == other.file_id {
            // two planes of one container: equal pixels, not a copied file
            return Ok(false);
        }
        let pair = (image.file.claim, other.file_id);
        if let Some(known) = self.compared.get(pair) {
            return Ok(known);
        }
        let (reader, roots, own) = (self.reader.clone(), self.roots.clone(), image.ticket.absolute_path());
        let counters = counters.clone();
        let compare = move |cancelled: &CancelFlag| {
            let reader = reader.lock().unwrap_or_else(PoisonError::into_inner);
            let location = reader.file_location(other.file_id)?;
            drop(reader);
            let Some(location) = location else { return Ok(false) };
            let Some(root) = roots.get(&location.root_id) else { return Ok(false) };
            let go_on = || {
                // large containers take minutes: each block is progress
                counters.progress();
                !cancelled.is_cancelled()
            };
            let other = root.join(location.path.as_path());
            Ok::<_, crate::store::LedgerError>(equal_files(&own, &other, go_on).unwrap_or(false))
        };
        let same = self.io.run(compare).await?.map_err(StageError::fatal)?;
        self.compared.put(pair, same);
        Ok(same)
    }
}

impl Stage for Verifier {
    const NAME: &'static str = "verifier";
    type Input = HashedImage;
    type Output = VerifiedImage;

    async fn process(&mut self, image: HashedImage, out: &mut StageOutbox<Self>) -> Result<(), StageError> {
        let mut matches = Vec::new();
        if !image.features.is_blank() {
            let key = key_of(&image.digest.0);
            let own = Exemplar { file_id: image.file.claim.file_id, index: image.index };
            let exemplars = self.exemplars(&key);
            for other in exemplars.iter().copied().filter(|other| *other != own) {
                let same_bytes = self.same_bytes(&image, other, out.counters()).await?;
                matches.push(ExactMatch {
                    other_file_id: other.file_id,
                    other_index: other.index,
                    same_bytes,
                });
            }
            if exemplars.is_empty() {
                self.first.insert(key, own);
            } else if !exemplars.contains(&own) && !matches.iter().any(|found| found.same_bytes) {
                self.others.entry(key).or_default().push(own);
            }
        }
        out.send(VerifiedImage { image, matches }).await
    }
}

impl Compared {
    fn get(&self, pair: (FileTicket, i64)) -> Option<bool> {
        self.0.iter().find(|(known, _)| *known == pair).map(|(_, same)| *same)
    }

    fn put(&mut self, pair: (FileTicket, i64), same: bool) {
        if self.0.len() == COMPARED_MAX {
            self.0.pop_front();
        }
        self.0.push_back((pair, same));
    }
}

fn key_of(digest: &[u8; 32]) -> DigestKey {
    let (head, _) = digest.split_first_chunk().expect("a digest has 32 bytes");
    *head
}

/// Compares two files, sizes first, block by block as long as `go_on` says so.
fn equal_files(a: &Path, b: &Path, go_on: impl Fn() -> bool) -> io::Result<bool> {
    const BLOCK_BYTES: usize = 256 * 1024;
    let (mut a, mut b) = (File::open(a)?, File::open(b)?);
    if a.metadata()?.len() != b.metadata()?.len() {
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

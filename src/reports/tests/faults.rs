//! A disk that loses what was not synced.
//!
//! Short here; `SCOPEWATCH_FAULT_SEEDS=2000` tries 2000 lists of writes, kills and power losses.

use std::collections::HashMap;
use std::fs::File;
use std::os::unix::fs::MetadataExt;

use super::*;
use crate::analysis::synthesis::Random;

fn seeds() -> Option<u64> {
    std::env::var("SCOPEWATCH_FAULT_SEEDS").ok()?.parse().ok()
}

/// How long each file, by its inode, is for certain.
type Durable = Arc<Mutex<HashMap<u64, u64>>>;

/// A disk that remembers what was synced, and fails after some bytes.
fn forgetful(durable: &Durable, n_bytes: u64) -> Disk {
    let durable = durable.clone();
    let sync = move |file: &File| {
        let metadata = file.metadata()?;
        durable.lock().unwrap().insert(metadata.ino(), metadata.len());
        Ok(())
    };
    Disk { sync: Box::new(sync), ..broken_after(n_bytes, io::ErrorKind::Other) }
}

/// Takes away what was not synced: some blocks of it stay, some are zeros, and the end is missing.
fn lose_power(scratch: &Scratch, durable: &Durable, random: &mut Random) {
    const BLOCK_BYTES: usize = 64;
    for entry in fs::read_dir(scratch.reports_dir()).unwrap() {
        let path = entry.unwrap().path();
        let (inode, mut bytes) = (fs::metadata(&path).unwrap().ino(), fs::read(&path).unwrap());
        let sure = durable.lock().unwrap().get(&inode).map_or(0, |length| *length as usize).min(bytes.len());
        let kept = sure + random.bits() as usize % (bytes.len() - sure + 1);
        bytes.truncate(kept);
        for block in bytes[sure..].chunks_mut(BLOCK_BYTES) {
            if random.bits().is_multiple_of(2) {
                block.fill(0);
            }
        }
        // the same inode: the file was never away
        let mut file = File::options().write(true).truncate(true).open(&path).unwrap();
        file.write_all(&bytes).unwrap();
        durable.lock().unwrap().insert(inode, kept as u64);
    }
}

#[test]
fn a_power_loss_neither_loses_nor_repeats_a_line() {
    for seed in 0..seeds().unwrap_or(40) {
        let mut random = Random::new(seed);
        let (scratch, durable) = (Scratch::new(), Durable::default());
        let mut n_lines = 0;
        for _ in 0..8 {
            for _ in 0..random.bits() % 4 {
                n_lines += 1;
                scratch.alert(&"x".repeat(random.bits() as usize % 200));
            }
            let is_told = random.bits().is_multiple_of(2);
            scratch.pump(forgetful(&durable, random.bits() % 1500), is_told);
            if random.bits().is_multiple_of(2) {
                lose_power(&scratch, &durable, &mut random);
            }
        }
        scratch.pump(sound(), true);
        let n_found = whole_lines(&scratch.text(Stream::Alerts)).len();
        assert_eq!(n_found, n_lines, "SCOPEWATCH_FAULT_SEEDS: seed {seed}");
    }
}

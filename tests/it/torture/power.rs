//! Power losses of the whole program: every change of its output folder is recorded, then the folder is made as it may stand
//! after a cut at any moment, and the program goes on from there.
//!
//! What was synced stands. Of what was not, any part may stand: each write for itself, the front of a write, none. Names
//! come and go in their order, up to any moment since a folder was last synced; a file whose name is lost is lost.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use scopewatch::analysis::synthesis::Random;
use scopewatch::store::LedgerReader;

use super::Trial;
use super::instruments::LASTING;
use super::shim::{Change, Shim, What, read_changes};
use super::world::{STREAMS, World};
use crate::support::output;

/// A disk may write this many bytes and not the next ones.
const SECTOR_BYTES: usize = 512;
/// So many changes after a start are soon.
const SOON: usize = 60;

#[test]
fn power_cuts() {
    let trial = Trial::new("power_cuts");
    let (mut n_cuts, mut n_recordings, mut n_torn) = (0, 0, 0);
    let n_cuts_each = trial.short_or_long(6, 50);
    for round in trial.rounds(1) {
        let seed = trial.seed() + round;
        let mut world = World::seeded(seed);
        let (changes, starts) = recorded(&mut world);
        n_recordings += 1;
        let mut random = Random::new(seed);
        for _ in 0..n_cuts_each {
            // a third of them soon after a start, which meets what a kill has left
            let (from, n) = match random.bits() % 9 {
                start @ 0..3 => (starts[start as usize], SOON.min(changes.len() - starts[start as usize])),
                _ => (0, changes.len()),
            };
            let at = from + 1 + random.bits() as usize % n;
            let disk = Disk::after_a_cut(&changes, at, &mut random);
            n_torn += u64::from(disk.is_torn);
            go_on(&world, &disk, &format!("seed {seed}, cut {at}"));
            n_cuts += 1;
        }
    }
    trial.passed(&format!(
        "{n_cuts} power cuts in {n_recordings} recorded runs, {n_torn} of them lost something"
    ));
}

/// What the program did to its output folder in three runs, and with which change each began: one that is killed, one that ends
/// in order, one that scans.
fn recorded(world: &mut World) -> (Vec<Change>, Vec<usize>) {
    let shim = Shim::build(world.sandbox.path());
    let trace = world.sandbox.path().join("trace");
    let out = world.sandbox.out();
    let mut starts = Vec::new();
    for run in 0..3 {
        starts.push(if run == 0 { 0 } else { read_changes(&trace).len() });
        (0..3 + world.below(3)).for_each(|_| world.drop_one(LASTING));
        if run == 2 {
            let mut scan = world.scan_command();
            shim.record(&mut scan, &out, &trace);
            assert!(output(&mut scan).status.success());
        } else {
            let mut command = world.command();
            shim.record(&mut command, &out, &trace);
            let daemon = crate::support::Daemon::start(&mut command, world.sandbox.path());
            if run == 0 {
                super::pause_ms(200 + world.below(600));
                daemon.kill();
            } else {
                world.wait_until_idle();
                assert_eq!(daemon.stop(), Some(0));
            }
        }
    }
    (read_changes(&trace), starts)
}

/// Files as they stand after a cut, and what of the report files was surely there.
struct Disk {
    files: BTreeMap<PathBuf, Vec<u8>>,
    sure: BTreeMap<PathBuf, Vec<u8>>,
    is_torn: bool,
}

/// What of a change surely stands after a cut.
#[derive(Clone, Copy)]
struct Stays {
    name: bool,
    content: bool,
}

impl Disk {
    /// What may stand after the first `at` changes.
    fn after_a_cut(changes: &[Change], at: usize, random: &mut Random) -> Self {
        let done = &changes[..at];
        let mut synced_at = BTreeMap::new();
        let mut names_until = 0;
        for (n, change) in done.iter().enumerate() {
            match change.what {
                What::Sync => drop(synced_at.insert(&change.path, n)),
                What::SyncNames => names_until = n,
                _ => {}
            }
        }
        names_until += random.bits() as usize % (at - names_until + 1);
        let mut disk = Self { files: BTreeMap::new(), sure: BTreeMap::new(), is_torn: false };
        for (n, change) in done.iter().enumerate() {
            let stays = Stays {
                name: n < names_until,
                content: synced_at.get(&change.path).is_some_and(|sync| *sync > n),
            };
            disk.apply(change, stays, random);
        }
        disk
    }

    fn apply(&mut self, change: &Change, stays: Stays, random: &mut Random) {
        let path = &change.path;
        match &change.what {
            What::Sync => {
                let bytes = self.files.get(path).cloned().unwrap_or_default();
                self.sure.insert(path.clone(), bytes);
            }
            What::SyncNames => {}
            What::Create => self.create(path, stays),
            What::Truncate { length } => {
                self.create(path, stays);
                if stays.content || random.bits().is_multiple_of(2) {
                    self.change(path, |file| file.resize(*length as usize, 0));
                }
            }
            What::Write { place, bytes } => {
                let kept = if stays.content { bytes.len() } else { torn(bytes.len(), random) };
                self.is_torn |= kept < bytes.len();
                let (start, end) = (*place as usize, *place as usize + kept);
                self.change(path, |file| {
                    file.resize(file.len().max(end), 0);
                    file[start..end].copy_from_slice(&bytes[..kept]);
                });
            }
            What::Remove if stays.name => drop(self.files.remove(path)),
            What::Rename { to } if stays.name => {
                if let Some(bytes) = self.files.remove(path) {
                    self.files.insert(to.clone(), bytes);
                }
            }
            What::Remove | What::Rename { .. } => self.is_torn = true,
        }
    }

    fn create(&mut self, path: &Path, stays: Stays) {
        if stays.name {
            self.files.entry(path.to_owned()).or_default();
        }
    }

    /// Changes a file, unless its name is lost.
    fn change(&mut self, path: &Path, change: impl FnOnce(&mut Vec<u8>)) {
        match self.files.get_mut(path) {
            Some(file) => change(file),
            None => self.is_torn = true,
        }
    }

    /// Puts it in the place of a folder.
    fn write(&self, out: &Path) {
        fs::remove_dir_all(out).unwrap();
        fs::create_dir(out).unwrap();
        for (path, bytes) in &self.files {
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, bytes).unwrap();
        }
    }
}

/// How much of a write that was not synced stands: all, none, or its first sectors.
fn torn(n_bytes: usize, random: &mut Random) -> usize {
    match random.bits() % 4 {
        0 => random.bits() as usize % (n_bytes / SECTOR_BYTES + 1) * SECTOR_BYTES,
        1 => 0,
        _ => n_bytes,
    }
}

/// Lets the program go on from what stands; everything must be reported once, and what surely stood must stand still.
fn go_on(world: &World, disk: &Disk, replay: &str) {
    let out = world.sandbox.out();
    disk.write(&out);
    let ended = output(&mut world.scan_command());
    assert!(ended.status.success(), "{replay}: {}", String::from_utf8_lossy(&ended.stderr));
    for stream in STREAMS {
        let path = out.join(format!("reports/{stream}.jsonl"));
        let text = fs::read(&path).unwrap();
        let sure = disk.sure.get(&path).map_or(&[][..], Vec::as_slice);
        assert!(text.starts_with(sure), "{replay}: {stream}: lines that were synced are gone");
        let lines = world.lines_said_once(stream, replay);
        let files: BTreeSet<_> = lines.iter().map(|line| line["file"].as_str().unwrap()).collect();
        let missing: Vec<_> = world.names().filter(|name| !files.contains(name)).collect();
        assert!(missing.is_empty(), "{replay}: {stream}: nothing is said of {missing:?}");
    }
    let reader = LedgerReader::open(&out.join("state")).unwrap();
    assert_eq!(reader.integrity_check().unwrap(), "ok", "{replay}");
    world.check_against_a_clean_run();
}

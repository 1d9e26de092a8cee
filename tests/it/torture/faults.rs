//! Ends and halts of the process, at random moments while files are dropped.

use std::fs;
use std::time::{Duration, Instant};

use super::instruments::{FLEETING, Instrument, LASTING};
use super::world::World;
use super::{Trial, pause_ms};

fn all_instruments() -> Vec<Instrument> {
    [LASTING, FLEETING].concat()
}

/// Drops files for a while, about one each 150 ms.
fn drop_for(world: &mut World, instruments: &[Instrument], ms: u64) {
    let deadline = Instant::now() + Duration::from_millis(ms);
    while Instant::now() < deadline {
        if world.below(3) == 0 {
            world.drop_one(instruments);
        }
        let left = deadline.saturating_duration_since(Instant::now()).as_millis() as u64;
        let ms = world.below(100).min(left);
        pause_ms(ms);
    }
}

#[test]
fn kills() {
    let trial = Trial::new("kills");
    let mut world = World::new(&trial);
    let instruments = all_instruments();
    let (mut n_kills, mut n_productive) = (0, 0);
    for _ in trial.rounds(6) {
        (0..2).for_each(|_| world.drop_one(&instruments));
        let before = world.reported_bytes();
        let daemon = world.start();
        let ms = 5 + world.below(trial.short_or_long(400, 1495));
        drop_for(&mut world, &instruments, ms);
        daemon.kill();
        n_kills += 1;
        n_productive += u64::from(world.reported_bytes() > before);
    }
    let n_files = world.n_expected();
    let daemon = world.start();
    let n_lines = world.end(daemon);
    if trial.is_long() {
        assert!(n_productive * 10 >= n_kills * 6, "lines were written in {n_productive} of {n_kills} cycles");
    }
    trial.passed(&format!(
        "{n_kills} kills ({n_productive} with new lines), {n_files} files, {n_lines} lines"
    ));
}

#[test]
fn terms() {
    let trial = Trial::new("terms");
    let mut world = World::new(&trial);
    let instruments = all_instruments();
    let (mut n_terms, mut slowest) = (0, Duration::ZERO);
    for _ in trial.rounds(4) {
        (0..4).for_each(|_| world.drop_one(&instruments));
        let daemon = world.start();
        let ms = world.below(trial.short_or_long(200, 600));
        drop_for(&mut world, &instruments, ms);
        let told = Instant::now();
        assert_eq!(daemon.stop(), Some(0));
        slowest = slowest.max(told.elapsed());
        n_terms += 1;
    }
    let daemon = world.start();
    let n_lines = world.end(daemon);
    trial.passed(&format!("{n_terms} SIGTERMs, the slowest end after {slowest:.1?}, {n_lines} lines"));
}

#[test]
fn halts() {
    let trial = Trial::new("halts");
    let mut world = World::new(&trial);
    let instruments = all_instruments();
    let daemon = world.start();
    let mut n_halts = 0;
    for _ in trial.rounds(3) {
        drop_for(&mut world, &instruments, 200);
        daemon.signal("STOP");
        drop_for(&mut world, &instruments, trial.short_or_long(150, 30_000));
        daemon.signal("CONT");
        n_halts += 1;
    }
    let n_lines = world.end(daemon);
    trial.passed(&format!("{n_halts} SIGSTOPs of {} ms, {n_lines} lines", trial.short_or_long(150, 30_000)));
}

#[test]
fn vanishing_root() {
    let trial = Trial::new("vanishing_root");
    let mut world = World::new(&trial);
    let daemon = world.start();
    let away = world.sandbox.path().join("away");
    let mut n_times = 0;
    for _ in trial.rounds(3) {
        drop_for(&mut world, LASTING, 300);
        world.wait_until_idle();
        let before = world.status()["ledger"]["files"].clone();
        fs::rename(world.inbox(), &away).unwrap();
        crate::support::wait_until("the root is offline", || {
            world.status()["roots"][0]["state"] == "offline"
        });
        assert_eq!(world.status()["ledger"]["files"], before, "a root that is away deletes nothing");
        fs::rename(&away, world.inbox()).unwrap();
        crate::support::wait_until("the root is online", || world.status()["roots"][0]["state"] == "online");
        n_times += 1;
    }
    let n_lines = world.end(daemon);
    trial.passed(&format!("{n_times} times away and back, 0 false deletions, {n_lines} lines"));
}

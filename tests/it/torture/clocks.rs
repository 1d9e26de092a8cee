//! A clock that jumps, by hours and by decades, forward and back, while the service runs and between its starts.

use std::fs::{File, FileTimes};
use std::time::{Duration, SystemTime};

use super::instruments::{Instrument, LASTING};
use super::shim::{Clock, Shim};
use super::world::World;
use super::{Trial, pause_ms};
use crate::support::Daemon;

const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(86_400);
/// How far the clock is off, and whether it is behind: an hour of daylight saving, a day, decades.
const JUMPS: [(Duration, bool); 8] = [
    (HOUR, false),
    (HOUR, true),
    (DAY, false),
    (Duration::ZERO, false),
    (DAY, true),
    (DAY.saturating_mul(365 * 56), true),
    (DAY.saturating_mul(365 * 74), false),
    (Duration::from_millis(700), true),
];

#[test]
fn clock_jumps() {
    let trial = Trial::new("clock_jumps");
    let mut world = World::new(&trial);
    let (shim, mut clock) = (Shim::build(world.sandbox.path()), Clock::new(world.sandbox.path()));
    let start = |world: &World, clock: &Clock| {
        let mut command = world.command();
        shim.set_clock(&mut command, clock);
        Daemon::start(&mut command, world.sandbox.path())
    };
    let mut daemon = start(&world, &clock);
    let (mut n_jumps, mut n_restarts) = (0, 0);
    for round in trial.rounds(JUMPS.len() as u64) {
        let (by, is_behind) = JUMPS[(round + trial.seed()) as usize % JUMPS.len()];
        write_dated(&mut world, by, is_behind);
        clock.set(by, is_behind);
        n_jumps += 1;
        write_dated(&mut world, by, is_behind);
        world.drop_one(TOUCHING_NO_TIMES);
        pause_ms(world.below(400));
        if round % 4 == 3 {
            match world.below(2) {
                0 => daemon.kill(),
                _ => assert_eq!(daemon.stop(), Some(0)),
            }
            daemon = start(&world, &clock);
            n_restarts += 1;
        }
    }
    let n_lines = world.end(daemon);
    trial.passed(&format!("{n_jumps} jumps of the clock, {n_restarts} restarts among them, {n_lines} lines"));
}

/// Ways of writing that leave the times to the system: the first three.
const TOUCHING_NO_TIMES: &[Instrument] = LASTING.split_at(3).0;

/// Writes a file with the time that a system with this clock would give it.
fn write_dated(world: &mut World, by: Duration, is_behind: bool) {
    let (name, image) = (world.new_name("dated"), world.any_image());
    world.write(&name, image);
    let now = SystemTime::now();
    let time = if is_behind { now - by } else { now + by };
    let file = File::options().write(true).open(world.inbox().join(&name)).unwrap();
    file.set_times(FileTimes::new().set_modified(time)).unwrap();
}

//! Faults of the system below: a full disk, a file system that goes and comes back, calls that fail. Where this process
//! may not mount or trace, a trial says that it was skipped.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use super::instruments::LASTING;
use super::world::World;
use super::{Trial, pause_ms};
use crate::support::wait_until;

/// A mount that is taken away when dropped.
struct Mount(PathBuf);

impl Mount {
    /// Mounts, or says why not.
    fn new(arguments: &[&str], at: &Path) -> Option<Self> {
        fs::create_dir_all(at).unwrap();
        let mounted = Command::new("mount").args(arguments).arg(at).stderr(Stdio::null()).status();
        let is_there = mounted.is_ok_and(|status| status.success());
        if !is_there {
            println!("torture: SKIPPED, this process may not mount {}", at.display());
        }
        is_there.then(|| Self(at.to_owned()))
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        // lazily: whoever still looks into it keeps it for so long
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

#[test]
fn full_disk() {
    let trial = Trial::new("full_disk");
    let mut world = World::new(&trial);
    let Some(_disk) = Mount::new(&["-t", "tmpfs", "-o", "size=24m", "tmpfs"], &world.sandbox.out()) else {
        return;
    };
    let filler = world.sandbox.out().join("filler");
    let mut n_full = 0;
    let mut daemon = world.start();
    for round in trial.rounds(3) {
        (0..3).for_each(|_| world.drop_one(LASTING));
        pause_ms(world.below(300));
        fill(&filler, world.below(40_000));
        (0..3).for_each(|_| world.drop_one(LASTING));
        pause_ms(300 + world.below(700));
        if round % 3 == 2 {
            daemon.kill();
            fs::remove_file(&filler).unwrap();
            daemon = world.start();
        } else {
            fs::remove_file(&filler).unwrap();
        }
        n_full += 1;
        world.wait_until_idle();
    }
    let n_lines = world.end(daemon);
    trial.passed(&format!("{n_full} times full, {n_lines} lines"));
}

/// Writes until nothing more goes, then leaves `n_left_bytes` or less.
fn fill(path: &Path, n_left_bytes: u64) {
    use std::io::Write;
    let mut file = fs::File::create(path).unwrap();
    while file.write_all(&[1; 4096]).is_ok() {}
    let length = file.metadata().unwrap().len();
    file.set_len(length.saturating_sub(n_left_bytes)).unwrap();
}

#[test]
fn remounts() {
    let trial = Trial::new("remounts");
    let mut world = World::new(&trial);
    let disk = world.sandbox.path().join("disk");
    let Some(_disk) = Mount::new(&["-t", "tmpfs", "-o", "size=256m", "tmpfs"], &disk) else { return };
    let inbox = world.inbox();
    let bind = || Mount::new(&["--bind", disk.to_str().unwrap()], &inbox).unwrap();
    let mut bound = Some(bind());
    let daemon = world.start();
    let mut n_remounts = 0;
    for _ in trial.rounds(2) {
        (0..4).for_each(|_| world.drop_one(ON_ONE_DISK));
        world.wait_until_idle();
        let before = world.status()["ledger"]["files"].clone();
        drop(bound.take());
        pause_ms(500 + world.below(500));
        let after = world.status();
        assert_eq!(after["ledger"]["files"], before, "a disk that is away deletes nothing");
        bound = Some(bind());
        n_remounts += 1;
    }
    let n_lines = world.end(daemon);
    trial.passed(&format!("{n_remounts} unmounts and remounts, 0 false deletions, {n_lines} lines"));
}

/// A mount in which nothing tells of what happens behind it, as on a network share: found by walking alone.
#[test]
fn without_events() {
    let trial = Trial::new("without_events");
    let mut world = World::new(&trial);
    let seen = world.sandbox.path().join("seen/in");
    let from = world.inbox();
    let Some(_mount) = Mount::new(&["-t", "fuse.bindfs", from.to_str().unwrap()], &seen) else { return };
    world.watch_as(seen);
    let daemon = world.start();
    let mut n_drops = 0;
    for _ in trial.rounds(8) {
        world.drop_one(LASTING);
        pause_ms(world.below(200));
        n_drops += 1;
    }
    let n_lines = world.end(daemon);
    trial.passed(&format!("{n_drops} drops behind a mount without events, {n_lines} lines"));
}

/// Ways of writing that need no second folder on the same disk: the first three.
const ON_ONE_DISK: &[super::instruments::Instrument] = {
    let (first, _) = LASTING.split_at(3);
    first
};

/// Calls that are made to fail, with the errors they fail with.
const CALLS: [(&str, &[&str]); 2] =
    [("fsync,fdatasync", &["EIO", "ENOSPC"]), ("write,pwrite64", &["EIO", "ENOSPC"])];

/// Whether calls can be made to fail here.
fn may_trace() -> bool {
    let is_there = Command::new("strace").arg("-V").stdout(Stdio::null()).status().is_ok();
    if !is_there {
        println!("torture: SKIPPED, there is no strace");
    }
    is_there
}

/// Each of the first calls fails, once or from then on: the first in eight rounds, the second in the next eight, and so on.
#[test]
fn io_errors() {
    let trial = Trial::new("io_errors");
    if !may_trace() {
        return;
    }
    let mut world = World::new(&trial);
    let (mut n_faults, mut n_ended) = (0, 0);
    // the folders and the tables are there
    assert_eq!(world.start().stop(), Some(0));
    for round in trial.rounds(2) {
        let round = trial.first_round() + round;
        let (calls, errors) = CALLS[(round % 2) as usize];
        let error = errors[(round / 2 % 2) as usize];
        let for_ever = if (round / 4).is_multiple_of(2) { "" } else { "+" };
        let number = 1 + round / 8 % 100;
        (0..2).for_each(|_| world.drop_one(LASTING));
        n_ended += u64::from(one_io_error(&world, calls, &format!("error={error}:when={number}{for_ever}")));
        // complete after a restart; without it, many ends in a row would be blamed on the files that lay there
        let daemon = world.start();
        world.wait_until_idle();
        assert_eq!(daemon.stop(), Some(0));
        n_faults += 1;
    }
    let daemon = world.start();
    let n_lines = world.end(daemon);
    trial.passed(&format!(
        "{n_faults} planted errors, after {n_ended} of them the process ended, {n_lines} lines"
    ));
}

/// A disk that fails at every start, more often than a file may be in work when the process ends: the files that lie there
/// are not to blame.
#[test]
fn failing_disk() {
    let trial = Trial::new("failing_disk");
    if !may_trace() {
        return;
    }
    let mut world = World::new(&trial);
    assert_eq!(world.start().stop(), Some(0));
    world.drop_one(LASTING);
    let (mut n_faults, mut n_ended) = (0, 0);
    for _ in trial.rounds(12) {
        // the third sync is the first after planes were begun
        let number = trial.short_or_long(3, 2 + world.below(4));
        n_ended += u64::from(one_io_error(&world, CALLS[0].0, &format!("error=EIO:when={number}+")));
        n_faults += 1;
        if n_faults % 16 == 0 {
            world.drop_one(LASTING);
        }
    }
    let daemon = world.start();
    let n_lines = world.end(daemon);
    trial.passed(&format!(
        "{n_faults} starts on a failing disk, {n_ended} of them ended early, {n_lines} lines"
    ));
}

/// Waits until the process has ended, has reported something and come to rest, or does nothing for a moment.
pub(super) fn end_or_rest(process: &mut Child, reported_bytes: impl Fn() -> u64) -> Option<ExitStatus> {
    let (begun, mut last) = (Instant::now(), (0, Instant::now()));
    loop {
        pause_ms(20);
        if let Some(status) = process.try_wait().unwrap() {
            return Some(status);
        }
        let n = reported_bytes();
        last = if n > last.0 { (n, Instant::now()) } else { last };
        let is_at_rest = last.0 > 0 && last.1.elapsed() > Duration::from_millis(300);
        if is_at_rest || begun.elapsed() > Duration::from_millis(1500) {
            return None;
        }
    }
}

/// Runs the service for a moment with failing calls on its output folder; whether it ended by itself. It must end, or
/// wait, or have met no fault: then it ends in order when it is told, or is killed while it waits.
fn one_io_error(world: &World, calls: &str, fault: &str) -> bool {
    let out = world.sandbox.out();
    let files =
        ["state/scopewatch.db", "state/scopewatch.db-wal", "reports/files.jsonl", "reports/planes.jsonl"];
    let plain = world.command();
    let mut command = Command::new("strace");
    command.args(["-f", "--seccomp-bpf", "-qq", "-o", "/dev/null", "-e", &format!("trace={calls}")]);
    command.args(["-e", &format!("inject={calls}:{fault}")]);
    for file in files {
        command.arg("-P").arg(out.join(file));
    }
    command.arg(plain.get_program()).args(plain.get_args());
    command.envs(plain.get_envs().filter_map(|(key, value)| Some((key, value?))));
    let log = world.sandbox.path().join("strace.log");
    command.stdout(Stdio::null()).stderr(fs::File::create(&log).unwrap());
    let before = world.reported_bytes();
    let mut traced = command.spawn().unwrap();
    let ended = end_or_rest(&mut traced, || world.reported_bytes().saturating_sub(before));
    if let Some(status) = ended {
        let said = fs::read_to_string(&log).unwrap();
        assert!(status.code().is_some_and(|code| code != 0 && code != 101), "{status}: {said}");
        assert!(!said.contains("panicked"), "{said}");
        return true;
    }
    let mut service = String::new();
    wait_until("it says who it is", || {
        service = fs::read_to_string(out.join("state/scopewatch.lock")).unwrap_or_default().trim().to_owned();
        service.parse::<u32>().is_ok()
    });
    let signal = |name: &str| Command::new("kill").args(["-s", name, &service]).status().unwrap();
    signal("TERM");
    let mut n_waits = 0;
    wait_until("it ends", || {
        n_waits += 1;
        if n_waits == 150 {
            signal("KILL");
        }
        traced.try_wait().unwrap().is_some()
    });
    false
}

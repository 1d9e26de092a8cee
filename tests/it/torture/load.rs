//! Many files at once: bursts in new folders that overflow the queue of events, and many slow writers.

use std::fs::{self, File, FileTimes};
use std::io::Write;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use super::instruments::{LASTING, replaced};
use super::world::World;
use super::{Trial, pause_ms};
use crate::support::{Daemon, wait_until};

/// More events than the kernel keeps for one reader (16384, `fs.inotify.max_queued_events`).
const FLOOD_EVENTS: usize = 20_000;

#[test]
fn burst() {
    let trial = Trial::new("burst");
    let world = World::new(&trial);
    let n_files: usize = trial.short_or_long(120, 50_000);
    let bytes = crate::support::tiff(&crate::support::field(1));
    let mut command = world.command();
    // what is tried is the finding: small work per file
    command.env("SCOPEWATCH__SEGMENTATION__ENABLED", "false");
    let daemon = Daemon::start(&mut command, world.sandbox.path());
    let started = Instant::now();
    for n in 0..n_files {
        let (outer, inner) = (n / 500, n % 500 / 20);
        let folder = format!("burst{outer}/{inner}/deep");
        if n % 1000 >= 500 {
            // every other burst is a folder that is moved in
            let outside = world.outside().join(&folder);
            fs::create_dir_all(&outside).unwrap();
            fs::write(outside.join(format!("{n}.tif")), &bytes).unwrap();
        } else {
            world.sandbox.drop_file(&format!("{folder}/{n}.tif"), &bytes);
        }
        if n + 1 == n_files || (n + 1).is_multiple_of(1000) {
            move_in(&world);
        }
    }
    if trial.is_long() {
        overflow(&world, &daemon);
    }
    let written = started.elapsed();
    let root = || world.status()["roots"][0].clone();
    let n_found = || ["found_by_event", "found_by_walk"].map(|key| root()[key].as_u64().unwrap_or(0));
    let mut found = None;
    let path = world.sandbox.out().join("reports/files.jsonl");
    let n_lines = || fs::read(&path).map_or(0, |text| text.iter().filter(|byte| **byte == b'\n').count());
    let mut last = (0, Instant::now());
    while n_lines() < n_files {
        let n = n_lines();
        last = if n > last.0 { (n, Instant::now()) } else { last };
        assert!(last.1.elapsed() < crate::support::PATIENCE, "{n} of {n_files} files are reported");
        if found.is_none() && n_found().iter().sum::<u64>() >= n_files as u64 {
            found = Some(started.elapsed());
        }
        pause_ms(100);
    }
    let done = started.elapsed();
    let found = found.unwrap_or(done);
    world.wait_until_idle();
    let root = root();
    assert_eq!(daemon.stop(), Some(0));
    let reported = world.sandbox.reported();
    assert_eq!(reported.len(), n_files);
    assert!(reported.iter().all(|((_, outcome), n)| outcome == "done" && *n == 1));
    trial.passed(&format!(
        "{n_files} files written in {written:.1?}, all found after {found:.1?}, all reported after {done:.1?}; \
         root: {root}"
    ));
}

/// Moves folders that were filled elsewhere into the watched one.
fn move_in(world: &World) {
    for entry in fs::read_dir(world.outside()).unwrap() {
        let entry = entry.unwrap();
        fs::rename(entry.path(), world.inbox().join(entry.file_name())).unwrap();
    }
}

/// Gives the stopped service more events than the kernel keeps, from a file that it passes over.
fn overflow(world: &World, daemon: &Daemon) {
    daemon.signal("STOP");
    let folder = world.inbox().join("flood");
    fs::create_dir_all(&folder).unwrap();
    for n in 0..FLOOD_EVENTS {
        fs::write(world.inbox().join(format!("flood{n}.tmp")), b"").unwrap();
    }
    daemon.signal("CONT");
    for n in 0..FLOOD_EVENTS {
        fs::remove_file(world.inbox().join(format!("flood{n}.tmp"))).unwrap();
    }
}

/// How a slow writer goes about it.
fn write_slowly(path: &std::path::Path, bytes: &[u8], n: usize, ms: u64) {
    let mut file = File::create(path).unwrap();
    let begun = file.metadata().unwrap().modified().unwrap();
    if n % 3 == 1 {
        file.set_len(bytes.len() as u64).unwrap();
    }
    for piece in bytes.chunks(bytes.len().div_ceil(6)) {
        file.write_all(piece).unwrap();
        if n % 3 == 2 {
            file.set_times(FileTimes::new().set_modified(begun)).unwrap();
        }
        pause_ms(ms);
    }
}

#[test]
fn slow_writers() {
    let trial = Trial::new("slow_writers");
    let mut world = World::new(&trial);
    let n_writers = trial.short_or_long(24, 500);
    let ms = trial.short_or_long(80, 1000);
    let names: Vec<_> = (0..n_writers).map(|n| format!("slow/{n}.tif")).collect();
    fs::create_dir(world.inbox().join("slow")).unwrap();
    let daemon = world.start();
    let images: Vec<_> = names.iter().map(|_| world.new_image()).collect();
    let n_early = AtomicU64::new(0);
    std::thread::scope(|scope| {
        for (n, (name, image)) in names.iter().zip(&images).enumerate() {
            let (path, bytes, n_early, out) =
                (world.inbox().join(name), world.bytes(*image), &n_early, world.sandbox.out());
            scope.spawn(move || {
                write_slowly(&path, &bytes, n, ms);
                let text = fs::read_to_string(out.join("reports/files.jsonl")).unwrap_or_default();
                // seen while its writer has only just left
                let is_early = text.contains(&format!("\"slow/{n}.tif\""));
                n_early.fetch_add(u64::from(is_early), Ordering::Relaxed);
            });
        }
    });
    assert_eq!(n_early.load(Ordering::Relaxed), 0, "reported while they were being written");
    names.iter().zip(images).for_each(|(name, image)| world.expect(name, image));
    let n_lines = world.end(daemon);
    assert_eq!(n_lines, n_writers, "one line each: none was taken up before it was whole");
    trial.passed(&format!("{n_writers} slow writers of {} ms, 0 taken up early", 6 * ms));
}

#[test]
fn soak() {
    let trial = Trial::new("soak");
    let mut world = World::new(&trial);
    let daemon = world.start();
    let table = std::env::var("SCOPEWATCH_TORTURE_TABLE").ok();
    let mut rows = vec!["seconds,files,rss_mb,descriptors,wal_bytes".to_owned()];
    let started = Instant::now();
    let mut next = Duration::ZERO;
    // the service knows every plane, and takes memory for each; so their number stays the same after a while
    let n_files_max = trial.short_or_long(40, 2000);
    for _ in trial.rounds(20) {
        for _ in 0..5 {
            let is_full = world.n_expected() >= n_files_max;
            world.drop_one(if is_full { &[replaced] } else { LASTING });
        }
        let status = world.status();
        wait_until("the backlog is short", || world.status()["n_waiting"].as_u64().unwrap_or(0) < 200);
        if started.elapsed() >= next {
            next = started.elapsed() + Duration::from_secs(trial.short_or_long(1, 10));
            rows.push(figures(&world, &daemon, &status, started.elapsed()));
        }
    }
    if let Some(table) = table {
        fs::write(table, rows.join("\n") + "\n").unwrap();
    }
    // the ledger's log is cut back, the descriptors are given back
    let last: Vec<u64> =
        rows.last().unwrap().split(',').map(|cell| cell.parse::<f64>().unwrap() as u64).collect();
    assert!(last[3] < 200 && last[4] < 64 << 20, "{rows:?}");
    let (n_rows, last) = (rows.len() - 1, rows.last().unwrap().clone());
    let n_lines = world.end(daemon);
    trial.passed(&format!("{n_lines} lines, {n_rows} samples, the last {last}"));
}

/// One row of the table of a soak.
fn figures(world: &World, daemon: &Daemon, status: &serde_json::Value, elapsed: Duration) -> String {
    let n_descriptors = fs::read_dir(format!("/proc/{}/fd", daemon.pid())).map_or(0, Iterator::count);
    let wal = world.sandbox.out().join("state/scopewatch.db-wal");
    let wal_bytes = fs::metadata(wal).map_or(0, |metadata| metadata.len());
    let rss_mb = status["resident_bytes"][0].as_f64().unwrap_or(0.0) / f64::from(1 << 20);
    let n_done = status["ledger"]["files"]["done"].as_u64().unwrap_or(0);
    format!("{:.0},{n_done},{rss_mb:.1},{n_descriptors},{wal_bytes}", elapsed.as_secs_f64())
}

//! Calls that fail: each of the first hundred writes and syncs under the output folder, by the layer of our own.

use std::fs::File;
use std::path::Path;
use std::process::Stdio;

use super::Trial;
use super::instruments::at_once;
use super::shim::Shim;
use super::system::end_or_rest;
use super::world::World;
use crate::support::{output, wait_until};

/// Calls that are tried, from the first.
const N_CALLS: u64 = 100;
/// Each call fails in these ways.
const WAYS: [&str; 8] = [
    "write EIO once",
    "sync EIO once",
    "write ENOSPC once",
    "sync ENOSPC once",
    "write EIO ever",
    "sync EIO ever",
    "write ENOSPC ever",
    "sync ENOSPC ever",
];

#[test]
fn failing_calls() {
    let trial = Trial::new("failing_calls");
    let (mut n_faults, mut n_met, mut n_ended, mut n_lines) = (0_u64, 0_u64, 0_u64, 0);
    // so many that a run makes as many calls of each kind
    let n_files = trial.short_or_long(8, 32);
    for round in trial.rounds(1) {
        let number = 1 + (trial.first_round() + round) % N_CALLS;
        let mut world = World::seeded(trial.seed() + number);
        let shim = Shim::build(world.sandbox.path());
        // the first one meets the making of the folder, which is each one's turn
        let ways = WAYS.iter().cycle().skip(number as usize % WAYS.len()).take(WAYS.len());
        for (n, way) in ways.enumerate() {
            // in the short form, other calls for each of them
            let number = trial.short_or_long(1 + 4 * n as u64, number);
            (0..n_files).for_each(|_| at_once(&mut world));
            let (is_met, has_ended) = one_fault(&world, &shim, way, number);
            n_faults += 1;
            n_met += u64::from(is_met);
            n_ended += u64::from(has_ended);
            // complete after a restart
            let scan = output(&mut world.scan_command());
            assert!(scan.status.success(), "call {number}, {way}: {scan:#?}");
        }
        let daemon = world.start();
        n_lines += world.end(daemon);
    }
    assert!(n_met * 4 >= n_faults * 3, "only {n_met} of {n_faults} faults were met");
    trial.passed(&format!(
        "{n_faults} planted errors, {n_met} met, {n_ended} ended the process, {n_lines} lines"
    ));
}

/// Runs the service with one fault; whether the fault was met, and whether the service ended by itself. It must end with an
/// error, or wait, or go on.
fn one_fault(world: &World, shim: &Shim, way: &str, number: u64) -> (bool, bool) {
    let met = world.sandbox.path().join(format!("met {number} {way}"));
    let log = world.sandbox.path().join("fault.log");
    let [calls, error, how] = *way.split(' ').collect::<Vec<_>>() else { panic!("{way}") };
    let mut command = world.command();
    command.env("SCOPEWATCH__PIPELINE__DRAIN_TIMEOUT_S", "1");
    shim.fail(&mut command, &world.sandbox.out(), &format!("{calls}:{number}:{error}:{how}"), &met);
    let before = world.reported_bytes();
    let mut service = command.stdout(Stdio::null()).stderr(File::create(&log).unwrap()).spawn().unwrap();
    let ended = end_or_rest(&mut service, || world.reported_bytes().saturating_sub(before));
    let said = |log: &Path| String::from_utf8_lossy(&std::fs::read(log).unwrap()).into_owned();
    if let Some(status) = ended {
        let said = said(&log);
        let code = status.code();
        assert!(code.is_some_and(|code| code != 0 && code != 101), "call {number}, {way}: {status}: {said}");
        assert!(!said.contains("panicked"), "call {number}, {way}: {said}");
        return (met.exists(), true);
    }
    // one that waits for space ends, too, when its time to finish is over
    let pid = service.id().to_string();
    let signal = |name: &str| output(std::process::Command::new("kill").args(["-s", name, &pid]));
    signal("TERM");
    wait_until(&format!("it ends after call {number}, {way}: {}", said(&log)), || {
        service.try_wait().unwrap().is_some()
    });
    assert!(!said(&log).contains("panicked"), "call {number}, {way}: {}", said(&log));
    (met.exists(), false)
}

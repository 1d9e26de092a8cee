//! It may end at any moment: nothing is lost, nothing comes twice.

use std::time::Duration;

use scopewatch::analysis::synthesis::Random;

use crate::support::{Daemon, Sandbox, field, output, tiff};

#[test]
fn kills_at_random_moments_lose_and_repeat_nothing() {
    const N_FILES: usize = 60;
    let sandbox = Sandbox::new();
    let mut random = Random::new(2024);
    let mut daemon = sandbox.start();
    for n in 0..N_FILES {
        sandbox.drop_file(&format!("plate{}/{n}.tif", n % 3), &tiff(&field(n as u64)));
        if n % 6 == 5 {
            std::thread::sleep(Duration::from_millis(random.bits() % 250));
            daemon.kill();
            daemon = sandbox.start();
        }
    }
    sandbox.wait_for_files(N_FILES);
    assert_eq!(daemon.stop(), Some(0));
    let reported = sandbox.reported();
    assert_eq!(reported.len(), N_FILES);
    assert!(reported.iter().all(|((_, outcome), n)| outcome == "done" && *n == 1), "{reported:?}");
    assert_eq!(sandbox.lines("planes").len(), N_FILES);
    for stream in ["files", "planes"] {
        let seqs: Vec<_> = sandbox.lines(stream).iter().map(|line| line["seq"].as_u64().unwrap()).collect();
        assert_eq!(seqs, (1..=N_FILES as u64).collect::<Vec<_>>(), "{stream}");
    }
}

#[test]
fn a_second_instance_is_refused_with_the_holders_process() {
    let sandbox = Sandbox::new();
    let daemon = sandbox.start();
    let refused = output(&mut sandbox.run_command());
    let message = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert_eq!(refused.status.code(), Some(1), "{message}");
    assert!(message.contains(&daemon.pid().to_string()), "{message}");
    assert_eq!(daemon.stop(), Some(0));
    assert_eq!(sandbox.start().stop(), Some(0), "the lock went with its holder");
}

#[test]
fn a_file_changed_while_nobody_watched_is_taken_up_again() {
    let sandbox = Sandbox::new();
    sandbox.drop_file("x.tif", &tiff(&field(1)));
    let daemon = sandbox.start();
    sandbox.wait_for_files(1);
    daemon.kill();
    sandbox.drop_file("x.tif", &tiff(&field(2)));
    sandbox.drop_file("y.tif", &tiff(&field(3)));
    let daemon = sandbox.start();
    sandbox.wait_for_files(3);
    assert_eq!(daemon.stop(), Some(0));
    let files = sandbox.lines("files");
    let versions: Vec<_> =
        files.iter().filter(|f| f["file"] == "x.tif").map(|f| f["version"].clone()).collect();
    assert_eq!(versions, [1, 2]);
}

#[test]
fn a_vanished_root_is_offline_and_comes_back() {
    let sandbox = Sandbox::new();
    sandbox.drop_file("x.tif", &tiff(&field(1)));
    let daemon: Daemon = sandbox.start();
    sandbox.wait_for_files(1);
    let away = sandbox.path().join("away");
    std::fs::rename(sandbox.inbox(), &away).unwrap();
    crate::support::wait_until("the root is offline", || {
        sandbox.lines("alerts").iter().any(|alert| alert["kind"] == "root_offline")
    });
    std::fs::rename(&away, sandbox.inbox()).unwrap();
    sandbox.drop_file("y.tif", &tiff(&field(2)));
    sandbox.wait_for_files(2);
    assert_eq!(daemon.stop(), Some(0));
    let reported = sandbox.reported();
    assert!(reported.values().all(|n| *n == 1) && reported.len() == 2, "{reported:?}");
}

//! How it ends: drained on the first signal, at once on the second.

use crate::support::{Daemon, Sandbox, field, output, scopewatch, tiff, wait_until};

#[test]
fn a_signal_drains_what_is_in_work_and_the_rest_comes_after_the_next_start() {
    for signal in ["TERM", "INT"] {
        let sandbox = Sandbox::new();
        (0..40).for_each(|n| drop(sandbox.drop_file(&format!("{n}.tif"), &tiff(&field(n)))));
        let mut daemon = sandbox.start();
        sandbox.wait_for_files(1);
        daemon.signal(signal);
        assert_eq!(daemon.wait(), Some(0), "{}", daemon.log());
        let n_before = sandbox.lines("files").len();
        assert_eq!(sandbox.lines("planes").len(), n_before);
        let daemon = sandbox.start();
        sandbox.wait_for_files(40);
        assert_eq!(daemon.stop(), Some(0));
        assert_eq!(sandbox.reported().len(), 40);
        assert_eq!(sandbox.lines("files").len(), 40);
    }
}

#[test]
fn a_second_signal_ends_at_once() {
    let sandbox = Sandbox::new();
    (0..200).for_each(|n| drop(sandbox.drop_file(&format!("{n}.tif"), &tiff(&field(n % 7)))));
    let mut daemon = sandbox.start();
    daemon.signal("TERM");
    daemon.signal("TERM");
    // drained already, or ended by the second signal: never hanging
    assert!(matches!(daemon.wait(), Some(0 | 130)));
}

#[test]
fn status_answers_while_it_runs_and_after() {
    let sandbox = Sandbox::new();
    sandbox.drop_file("x.tif", &tiff(&field(1)));
    let daemon = sandbox.start();
    sandbox.wait_for_files(1);
    let status = || {
        let ended = output(scopewatch().arg("status").arg("--json").arg("--out").arg(sandbox.out()));
        assert!(ended.status.success());
        serde_json::from_slice::<serde_json::Value>(&ended.stdout).unwrap()
    };
    wait_until("the file is counted", || status()["ledger"]["files"]["done"] == 1);
    let running = status();
    assert_eq!(running["running"], true);
    assert_eq!(running["pid"], daemon.pid());
    assert_eq!(running["roots"][0]["state"], "online");
    let names: Vec<_> =
        running["stages"].as_array().unwrap().iter().map(|stage| stage["name"].clone()).collect();
    for name in ["watcher", "settler", "decoder", "segmenter", "hasher", "verifier", "registrar", "reporter"]
    {
        assert!(names.contains(&name.into()), "{names:?}");
    }
    let text = output(scopewatch().arg("status").arg("--out").arg(sandbox.out())).stdout;
    assert!(String::from_utf8_lossy(&text).contains("running: process"));
    assert_eq!(daemon.stop(), Some(0));
    let after = status();
    assert_eq!((&after["running"], &after["ledger"]["files"]["done"]), (&false.into(), &1.into()));
}

#[test]
fn an_interrupted_scan_says_so_and_goes_on_the_next_time() {
    let sandbox = Sandbox::new();
    let n_files = 300;
    (0..n_files).for_each(|n| drop(sandbox.drop_file(&format!("{n}.tif"), &tiff(&field(n)))));
    let mut command = scopewatch();
    command.arg("scan").arg(sandbox.inbox()).arg("--out").arg(sandbox.out()).arg("--json");
    command.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped());
    let scan = command.spawn().unwrap();
    sandbox.wait_for_files(1);
    let pid = scan.id().to_string();
    assert!(std::process::Command::new("kill").args(["-s", "INT", &pid]).status().unwrap().success());
    let ended = scan.wait_with_output().unwrap();
    assert_eq!(ended.status.code(), Some(1));
    let summary: serde_json::Value = serde_json::from_slice(&ended.stdout).unwrap();
    assert_eq!(summary["interrupted"], true);
    assert!(String::from_utf8_lossy(&ended.stderr).contains("interrupted: the same command goes on"));
    let (summary, code) = sandbox.scan(&[]);
    assert_eq!((code, &summary["interrupted"]), (0, &false.into()));
    assert_eq!(sandbox.lines("files").len() as u64, n_files);
}

#[test]
fn a_socket_that_cannot_be_made_does_not_stop_the_daemon() {
    let sandbox = Sandbox::new();
    sandbox.drop_file("x.tif", &tiff(&field(1)));
    let out = sandbox.path().join("o".repeat(120));
    let mut command = scopewatch();
    command.arg("run").arg("--watch").arg(sandbox.inbox()).arg("--out").arg(&out);
    let daemon = Daemon::start(command.args(["--quiet-period-ms", "100"]), sandbox.path());
    assert!(daemon.log().contains("the socket cannot be made"), "{}", daemon.log());
    assert_eq!(daemon.stop(), Some(0));
}

//! What an operator orders: pause, resume, rescan, retry; with a running service, and without.

use std::fs;

use serde_json::Value;

use crate::support::{Daemon, Sandbox, field, output, scopewatch, tiff, wait_until};

/// Gives an order in JSON; the exit code and the answer.
fn order(sandbox: &Sandbox, arguments: &[&str]) -> (Option<i32>, Value) {
    let ended = output(scopewatch().args(arguments).arg("--json").arg("--out").arg(sandbox.out()));
    (ended.status.code(), serde_json::from_slice(&ended.stdout).expect("one object, whatever happens"))
}

fn status(sandbox: &Sandbox) -> Value {
    order(sandbox, &["status"]).1
}

#[test]
fn a_pause_takes_up_nothing_outlives_the_process_and_ends_when_told() {
    let sandbox = Sandbox::new();
    let daemon = sandbox.start();
    let (code, answer) = order(&sandbox, &["pause"]);
    assert_eq!((code, &answer["running"], &answer["pause"]["until"]), (Some(0), &true.into(), &Value::Null));
    sandbox.drop_file("x.tif", &tiff(&field(1)));
    wait_until("the file waits", || status(&sandbox)["n_waiting"] == 1);
    let walks = |status: &Value| status["roots"][0]["walks"].as_u64().unwrap();
    let before = walks(&status(&sandbox));
    wait_until("watching goes on", || walks(&status(&sandbox)) > before + 3);
    assert!(sandbox.lines("files").is_empty());
    assert!(status(&sandbox)["pause"]["since"].is_string());
    let text = output(scopewatch().args(["status", "--out"]).arg(sandbox.out())).stdout;
    assert!(String::from_utf8_lossy(&text).contains("PAUSED until `scopewatch resume`"));

    assert_eq!(daemon.stop(), Some(0));
    let stopped = status(&sandbox);
    assert_eq!((&stopped["running"], stopped["pause"]["since"].is_string()), (&false.into(), true));
    let daemon = sandbox.start();
    wait_until("the file waits again", || status(&sandbox)["n_waiting"] == 1);
    let before = walks(&status(&sandbox));
    wait_until("watching goes on", || walks(&status(&sandbox)) > before + 3);
    assert!(sandbox.lines("files").is_empty());

    let (code, answer) = order(&sandbox, &["resume"]);
    assert!(code == Some(0) && answer["ended"]["since"].is_string(), "{answer}");
    sandbox.wait_for_files(1);
    assert_eq!(order(&sandbox, &["resume"]).1["ended"], Value::Null);
    assert_eq!(daemon.stop(), Some(0));
}

#[test]
fn a_pause_ends_by_itself_and_can_be_ordered_before_the_start() {
    let sandbox = Sandbox::new();
    sandbox.drop_file("x.tif", &tiff(&field(1)));
    let (code, answer) = order(&sandbox, &["pause"]);
    assert_eq!(code, Some(1), "there is no ledger yet: {answer}");
    assert!(!sandbox.out().exists(), "nothing is made in a folder that was mistyped");
    assert_eq!(order(&sandbox, &["pause", "--for", "0s"]).0, Some(2));
    assert_eq!(order(&sandbox, &["pause", "--for", "soon"]).0, Some(2));

    sandbox.scan(&[]);
    sandbox.drop_file("y.tif", &tiff(&field(2)));
    let (code, answer) = order(&sandbox, &["pause", "--for", "1h"]);
    assert_eq!((code, &answer["running"]), (Some(0), &false.into()), "{answer}");
    let daemon = sandbox.start();
    assert!(status(&sandbox)["pause"]["until"].is_string());
    wait_until("the file waits", || status(&sandbox)["n_waiting"] == 1);
    assert_eq!(sandbox.lines("files").len(), 1);
    assert_eq!(order(&sandbox, &["pause", "--for", "1s"]).0, Some(0));
    sandbox.wait_for_files(2);
    assert_eq!(status(&sandbox)["pause"], Value::Null);
    assert_eq!(daemon.stop(), Some(0));

    // without a service, the order is taken back the same way; a scan obeys no pause
    assert_eq!(order(&sandbox, &["pause"]).0, Some(0));
    sandbox.drop_file("z.tif", &tiff(&field(3)));
    sandbox.scan(&[]);
    assert_eq!(sandbox.lines("files").len(), 3);
    assert!(order(&sandbox, &["resume"]).1["ended"]["since"].is_string());
    assert_eq!(status(&sandbox)["pause"], Value::Null);
}

#[test]
fn a_rescan_walks_now_and_says_what_it_found() {
    let sandbox = Sandbox::new();
    let second = sandbox.path().join("second");
    fs::create_dir(&second).unwrap();
    let mut command = scopewatch();
    command.arg("run").arg("--watch").arg(sandbox.inbox()).arg("--watch").arg(&second);
    command.arg("--out").arg(sandbox.out()).args([
        "--quiet-period-ms",
        "100",
        "--scan-interval-ms",
        "3600000",
    ]);
    let daemon = Daemon::start(&mut command, sandbox.path());
    sandbox.drop_file("plate/x.tif", &tiff(&field(1)));
    sandbox.wait_for_files(1);
    wait_until("it is done with it", || status(&sandbox)["n_in_work"] == 0);
    let (code, answer) = order(&sandbox, &["rescan"]);
    assert_eq!(code, Some(0), "{answer}");
    let [first, other] = [&answer["roots"][0], &answer["roots"][1]];
    assert_eq!((&first["root"], &first["files"], &first["folders"]), (&"in".into(), &1.into(), &2.into()));
    assert_eq!((&first["taken_up"], &first["state"]), (&0.into(), &"online".into()));
    assert_eq!((&other["root"], &other["files"]), (&"second".into(), &0.into()));

    fs::remove_dir(&second).unwrap();
    for name in ["second", second.to_str().unwrap()] {
        let (code, answer) = order(&sandbox, &["rescan", name]);
        assert_eq!(code, Some(0), "{answer}");
        let roots = answer["roots"].as_array().unwrap();
        assert_eq!(
            (roots.len(), &roots[0]["state"], &roots[0]["files"]),
            (1, &"offline".into(), &Value::Null)
        );
    }
    let (code, answer) = order(&sandbox, &["rescan", "third"]);
    assert!(
        code == Some(1)
            && answer["error"]["message"].as_str().is_some_and(|error| error.contains("in, second")),
        "{answer}"
    );
    assert_eq!(daemon.stop(), Some(0));
    let (code, answer) = order(&sandbox, &["rescan"]);
    let error = answer["error"]["message"].as_str();
    assert!(code == Some(1) && error.is_some_and(|error| error.contains("no service runs")), "{answer}");
}

/// A TIFF whose plane names a compression that nobody knows.
fn unknown_compression() -> Vec<u8> {
    let mut bytes = tiff(&field(1));
    let first = u32::from_le_bytes(bytes[4..8].try_into().unwrap()) as usize;
    let entry =
        (0..).map(|n| first + 2 + 12 * n).find(|at| bytes[*at..at + 2] == 259_u16.to_le_bytes()).unwrap();
    bytes[entry + 8..entry + 10].copy_from_slice(&59_999_u16.to_le_bytes());
    bytes
}

#[test]
fn what_was_given_up_is_tried_again() {
    let sandbox = Sandbox::new();
    sandbox.drop_file("plate/bad.tif", &unknown_compression());
    sandbox.drop_file("text.tif", b"hello, no image");
    sandbox.drop_file("good.tif", &tiff(&field(2)));
    let daemon = sandbox.start();
    sandbox.wait_for_files(3);
    wait_until("it is done with them", || status(&sandbox)["n_in_work"] == 0);
    let n_looks = |file: &str| {
        let told = order(&sandbox, &["explain", file]).1;
        told["events"].as_array().unwrap().iter().filter(|event| event["what"] == "rejected").count()
    };
    assert_eq!(n_looks("plate/bad.tif"), 1);
    let (code, answer) = order(&sandbox, &["retry", "plate/bad.tif"]);
    assert_eq!(
        (code, &answer["retried"], &answer["running"]),
        (Some(0), &1.into(), &true.into()),
        "{answer}"
    );
    wait_until("it is rejected again", || n_looks("plate/bad.tif") == 2);
    let (code, answer) = order(&sandbox, &["retry", "--all"]);
    assert_eq!((code, &answer["retried"]), (Some(0), &2.into()), "{answer}");
    wait_until("both are rejected again", || n_looks("plate/bad.tif") == 3 && n_looks("text.tif") == 2);
    assert_eq!(sandbox.lines("files").len(), 3, "the same outcome of the same version is no news");

    let (code, answer) = order(&sandbox, &["retry", "good.tif"]);
    assert!(
        code == Some(1)
            && answer["error"]["message"].as_str().is_some_and(|error| error.contains("it is done")),
        "{answer}"
    );
    let (code, answer) = order(&sandbox, &["retry", "plate/bat.tif"]);
    let error = answer["error"]["message"].as_str().unwrap();
    assert!(
        code == Some(1) && error.contains("plate/bat.tif") && error.contains("in/plate/bad.tif"),
        "{error}"
    );
    assert_eq!(daemon.stop(), Some(0));

    // without a service, the command is the writer; the next start takes it up
    let (code, answer) = order(&sandbox, &["retry", "in/plate/bad.tif"]);
    assert_eq!(
        (code, &answer["retried"], &answer["running"]),
        (Some(0), &1.into(), &false.into()),
        "{answer}"
    );
    assert_eq!(order(&sandbox, &["explain", "plate/bad.tif"]).1["state"], "waiting");
    let daemon = sandbox.start();
    wait_until("it is rejected again", || n_looks("plate/bad.tif") == 4);
    assert_eq!(daemon.stop(), Some(0));
    assert_eq!(output(scopewatch().args(["retry", "--out"]).arg(sandbox.out())).status.code(), Some(2));
}

#[test]
fn a_second_daemon_and_an_order_beside_a_scan_name_the_holder() {
    let sandbox = Sandbox::new();
    let daemon = sandbox.start();
    let second = output(&mut sandbox.run_command());
    assert_eq!(second.status.code(), Some(1));
    let error = String::from_utf8_lossy(&second.stderr).into_owned();
    let holder = format!("the output folder is in use by process {}", daemon.pid());
    assert!(error.contains(&holder) && error.contains("scopewatch.lock"), "{error}");
    // as beside a scan: nobody answers, and the lock is held
    fs::remove_file(sandbox.out().join("state/control.sock")).unwrap();
    let (code, answer) = order(&sandbox, &["pause"]);
    assert!(
        code == Some(1) && answer["error"]["message"].as_str().is_some_and(|error| error.contains(&holder)),
        "{answer}"
    );
    assert_eq!(daemon.stop(), Some(0));
}

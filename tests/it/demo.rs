//! The demo, from its command to its last line.

use std::fs;
use std::process::Stdio;

use serde_json::Value;

use crate::support::{output, scopewatch, wait_until};

#[test]
fn the_demo_finds_what_it_planted() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("demo");
    let ended = output(scopewatch().arg("demo").arg("--out").arg(&out).args(["--size", "768", "--json"]));
    let text = String::from_utf8(ended.stdout).unwrap();
    let last = text.lines().last().unwrap_or_else(|| panic!("{}", String::from_utf8_lossy(&ended.stderr)));
    let score: Value = serde_json::from_str(last).unwrap();
    assert_eq!(score["planted"], score["found"], "{text}");
    assert_eq!((&score["missed"], &score["invented"]), (&0.into(), &0.into()), "{text}");
    assert_eq!(ended.status.code(), Some(0));
    assert!(fs::exists(score["report"].as_str().unwrap()).unwrap());
}

#[test]
fn a_folder_of_somebody_else_is_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("mine.tif"), b"mine").unwrap();
    let ended = output(scopewatch().arg("demo").arg("--out").arg(folder.path()));
    assert_eq!(ended.status.code(), Some(2));
    let stderr = String::from_utf8(ended.stderr).unwrap();
    assert!(stderr.contains("not the folder of an earlier demo"), "{stderr}");
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
}

#[cfg(unix)]
#[test]
fn a_demo_that_is_told_to_end_while_it_draws_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("demo");
    let mut command = scopewatch();
    command.arg("demo").arg("--out").arg(&out).args(["--size", "1024", "--json"]);
    let demo = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    wait_until("drawing has begun", || out.join("acquired/truth.json").exists());
    let pid = demo.id().to_string();
    assert!(std::process::Command::new("kill").args(["-s", "TERM", &pid]).status().unwrap().success());
    let ended = demo.wait_with_output().unwrap();
    assert_eq!(ended.status.code(), Some(1));
    assert_eq!(String::from_utf8(ended.stdout).unwrap(), "{\"interrupted\":true}\n");
}

#[cfg(unix)]
#[test]
fn an_interrupted_demo_ends_in_order() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("demo");
    let mut command = scopewatch();
    command.arg("demo").arg("--out").arg(&out).args(["--size", "768"]);
    let mut demo = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    wait_until("the daemon reports", || {
        fs::metadata(out.join("out/reports/files.jsonl")).is_ok_and(|found| found.len() > 0)
    });
    let pid = demo.id().to_string();
    assert!(std::process::Command::new("kill").args(["-s", "INT", &pid]).status().unwrap().success());
    assert_eq!(demo.wait().unwrap().code(), Some(1));
    let log = fs::read_to_string(out.join("out/logs/scopewatch.log")).unwrap();
    assert!(!log.contains("ERROR"), "{log}");
    for line in fs::read_to_string(out.join("out/reports/files.jsonl")).unwrap().lines() {
        serde_json::from_str::<Value>(line).expect("whole lines only");
    }
}

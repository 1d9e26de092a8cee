//! Bad input: a clear reason for the one file, and nothing else is lost.

use std::fs;
use std::io::Write;
use std::process::Command;

use scopewatch::formats::Samples;

use crate::support::{Sandbox, field, output, scopewatch, tiff, wait_until};

/// The files beside the bad one, which must be done whatever happens.
fn drop_good(sandbox: &Sandbox) {
    sandbox.drop_file("a good one.tif", &tiff(&field(1)));
    sandbox.drop_file("z/another.tif", &tiff(&field(2)));
}

fn assert_good_are_done(sandbox: &Sandbox) {
    let reported = sandbox.reported();
    for name in ["a good one.tif", "z/another.tif"] {
        assert_eq!(reported.get(&(name.to_owned(), "done".to_owned())), Some(&1), "{reported:?}");
    }
}

/// Scans a folder with one bad file; the reason of its rejection.
fn reason_of(name: &str, bytes: &[u8]) -> String {
    let sandbox = Sandbox::new();
    drop_good(&sandbox);
    sandbox.drop_file(name, bytes);
    let (summary, code) = sandbox.scan(&[]);
    assert_eq!((&summary["rejected"], code), (&1.into(), 3), "{summary}");
    assert_good_are_done(&sandbox);
    sandbox.rejection(name)
}

#[test]
fn unreadable_contents_are_rejected_with_their_reason() {
    let whole = tiff(&field(3));
    let mut looping = whole.clone();
    // the first directory stands where bytes 4..8 say; let it follow itself
    let at = u32::from_le_bytes(looping[4..8].try_into().unwrap()) as usize;
    let n_entries = u16::from_le_bytes(looping[at..at + 2].try_into().unwrap()) as usize;
    let next = at + 2 + 12 * n_entries;
    looping[next..next + 4].copy_from_slice(&(at as u32).to_le_bytes());
    let cases: [(&str, &[u8], &str); 7] = [
        ("empty.tif", b"", "incomplete"),
        ("text.tif", b"this is no image at all", "unsupported"),
        ("half.tif", &whole[..whole.len() / 2], "incomplete"),
        ("zeros.nd2", &[0; 8192], "incomplete"),
        ("garbage.tif", &[b"II*\0\x08\0\0\0".as_slice(), &[0xFF; 4096]].concat(), ""),
        ("loop.tif", &looping, ""),
        ("legacy.nd2", b"\0\0\0\x0CjP  \r\n\x87\n\0\0\0\0", "unsupported"),
    ];
    for (name, bytes, expected) in cases {
        let reason = reason_of(name, bytes);
        assert!(reason.contains(expected) && reason.len() > 15, "{name}: {reason}");
        assert!(!reason.contains("panic"), "{name}: {reason}");
    }
}

#[test]
fn a_file_that_claims_more_than_the_limits_is_refused_before_memory_is_taken() {
    let sandbox = Sandbox::new();
    drop_good(&sandbox);
    let mut bytes = tiff(&field(3));
    // width and length tags (256, 257) as 32-bit numbers: 2^31 pixels a side
    for position in 0..bytes.len() - 12 {
        let entry = &bytes[position..position + 4];
        if matches!(entry, [0 | 1, 1, 4, 0] | [0 | 1, 1, 3, 0]) && position > 8 {
            bytes[position + 2] = 4;
            bytes[position + 8..position + 12].copy_from_slice(&0x7FFF_FFFF_u32.to_le_bytes());
        }
    }
    sandbox.drop_file("huge.tif", &bytes);
    let (summary, _) = sandbox.scan(&[]);
    assert_eq!(summary["rejected"], 1, "{summary}");
    assert!(summary["peak_rss_mb"].as_f64().unwrap() < 300.0);
    assert_good_are_done(&sandbox);
}

#[test]
fn a_plane_larger_than_the_memory_budget_is_rejected_with_the_settings_name() {
    let sandbox = Sandbox::new();
    drop_good(&sandbox);
    let small = field(3);
    let samples = Samples::Uint16(vec![7; 3000 * 3000]);
    let plane = scopewatch::formats::Plane { height: 3000, width: 3000, samples, ..small };
    sandbox.drop_file("large.tif", &tiff(&plane));
    let (summary, code) = sandbox.scan(&["--memory-mb", "16"]);
    assert_eq!((&summary["planes_rejected"], code), (&1.into(), 3), "{summary}");
    let (again, code) = sandbox.scan(&["--memory-mb", "16"]);
    assert_eq!((&again["planes_rejected"], code), (&1.into(), 3), "what was rejected before counts: {again}");
    assert_good_are_done(&sandbox);
    let planes = sandbox.lines("planes");
    let rejected = planes.iter().find(|plane| plane["outcome"] == "rejected").unwrap();
    assert!(rejected["reason"].as_str().unwrap().contains("resources.memory_mb"), "{rejected}");
}

#[test]
fn growing_for_ever_is_waited_for_and_holds_nobody_up() {
    let sandbox = Sandbox::new();
    let daemon = sandbox.start();
    let bytes = tiff(&field(3));
    let path = sandbox.drop_file("growing.tif", &bytes[..bytes.len() / 2]);
    drop_good(&sandbox);
    let mut n_grown = 0;
    let file = fs::File::options().append(true).open(&path).unwrap();
    wait_until("the good files are reported", || {
        (&file).write_all(&[0; 64]).unwrap();
        n_grown += 1;
        sandbox.lines("files").len() == 2 && n_grown > 20
    });
    let status = output(scopewatch().arg("status").arg("--json").arg("--out").arg(sandbox.out()));
    let status: serde_json::Value = serde_json::from_slice(&status.stdout).unwrap();
    assert_eq!(status["n_waiting"], 1, "{status}");
    let explain = || output(scopewatch().args(["explain", "growing.tif", "--out"]).arg(sandbox.out()));
    wait_until("the ledger says that it grows", || {
        (&file).write_all(&[0; 64]).unwrap();
        String::from_utf8_lossy(&explain().stdout).contains("size or times still change")
    });
    drop(file);
    assert_eq!(daemon.stop(), Some(0));
    assert_good_are_done(&sandbox);
    assert_eq!(sandbox.lines("files").len(), 2);
}

#[test]
fn an_unfinished_file_becomes_an_alert_and_is_taken_up_once_it_is_whole() {
    let sandbox = Sandbox::new();
    let bytes = tiff(&field(3));
    sandbox.drop_file("half.tif", &bytes[..bytes.len() / 2]);
    let mut command = sandbox.run_command();
    command.env("SCOPEWATCH__WATCH__INCOMPLETE_AFTER_S", "1");
    let daemon = crate::support::Daemon::start(&mut command, sandbox.path());
    wait_until("the alert is written", || {
        sandbox.lines("alerts").iter().any(|alert| alert["kind"] == "incomplete")
    });
    assert!(sandbox.lines("files").is_empty(), "an incomplete file has no line");
    let status = |flags: &[&str]| {
        let answer = output(scopewatch().arg("status").args(flags).arg("--out").arg(sandbox.out()));
        String::from_utf8(answer.stdout).unwrap()
    };
    let listed: serde_json::Value = serde_json::from_str(&status(&["--json"])).unwrap();
    let incomplete = &listed["incomplete"][0];
    assert_eq!((&incomplete["root"], &incomplete["file"]), (&"in".into(), &"half.tif".into()), "{listed}");
    let reason = incomplete["reason"].as_str().unwrap();
    assert!(reason.contains("incomplete"), "{reason}");
    assert!(status(&[]).contains(&format!("in/half.tif: {reason}")));
    sandbox.drop_file("half.tif", &bytes);
    sandbox.wait_for_files(1);
    assert_eq!(daemon.stop(), Some(0));
    assert_eq!(sandbox.lines("alerts").len(), 1);
    assert_eq!(sandbox.lines("files")[0]["outcome"], "done");
}

#[test]
fn files_that_vanish_leave_no_line() {
    let sandbox = Sandbox::new();
    let daemon = sandbox.start();
    for n in 0..10 {
        let path = sandbox.drop_file(&format!("{n}.tif"), &tiff(&field(n)));
        fs::remove_file(path).unwrap();
    }
    drop_good(&sandbox);
    sandbox.wait_for_files(2);
    assert_eq!(daemon.stop(), Some(0));
    assert_good_are_done(&sandbox);
    assert_eq!(sandbox.lines("files").len(), 2);
}

#[cfg(unix)]
#[test]
fn links_are_not_followed_and_loops_do_no_harm() {
    use std::os::unix::fs::symlink;
    let sandbox = Sandbox::new();
    drop_good(&sandbox);
    let outside = sandbox.path().join("outside");
    fs::create_dir(&outside).unwrap();
    fs::write(outside.join("secret.tif"), tiff(&field(5))).unwrap();
    symlink(sandbox.inbox(), sandbox.inbox().join("loop")).unwrap();
    symlink(&outside, sandbox.inbox().join("way out")).unwrap();
    symlink(outside.join("secret.tif"), sandbox.inbox().join("link.tif")).unwrap();
    let (summary, code) = sandbox.scan(&[]);
    assert_eq!((&summary["files"], code), (&2.into(), 0), "{summary}");
    assert_good_are_done(&sandbox);
}

#[cfg(target_os = "linux")]
#[test]
fn names_that_are_not_utf8_are_reported_and_round_trip() {
    use std::os::unix::ffi::OsStrExt;
    let sandbox = Sandbox::new();
    let name = std::ffi::OsStr::from_bytes(b"well\xFF_%41.tif");
    fs::write(sandbox.inbox().join(name), tiff(&field(1))).unwrap();
    let (summary, _) = sandbox.scan(&[]);
    assert_eq!(summary["files"], 1);
    assert_eq!(sandbox.lines("files")[0]["file"], "well%FF_%2541.tif");
    let (again, _) = sandbox.scan(&[]);
    assert_eq!(again["files"], 0, "the same file is known again");
}

/// Runs a scan as a user who may not read everything; `None` where that cannot be arranged.
#[cfg(target_os = "linux")]
fn scan_unprivileged(sandbox: &Sandbox) -> Option<std::process::ExitStatus> {
    let is_root = Command::new("id").arg("-u").output().is_ok_and(|id| id.stdout == b"0\n");
    let mut command = if is_root {
        fs::create_dir_all(sandbox.out()).unwrap();
        for folder in [sandbox.path(), &sandbox.out()] {
            assert!(Command::new("chmod").arg("0777").arg(folder).status().ok()?.success());
        }
        let mut command = Command::new("setpriv");
        command
            .args(["--reuid=65534", "--regid=65534", "--clear-groups"])
            .arg(env!("CARGO_BIN_EXE_scopewatch"));
        // the program itself may lie where nobody else may look
        let may_start = Command::new("setpriv")
            .args(["--reuid=65534", "--regid=65534", "--clear-groups"])
            .arg(env!("CARGO_BIN_EXE_scopewatch"))
            .arg("--version")
            .output();
        if !may_start.is_ok_and(|output| output.status.success()) {
            return None;
        }
        command
    } else {
        scopewatch()
    };
    command.arg("scan").arg(sandbox.inbox()).arg("--out").arg(sandbox.out()).status().ok()
}

#[cfg(target_os = "linux")]
#[test]
fn files_refused_by_their_permissions_are_rejected_and_come_back() {
    use std::os::unix::fs::PermissionsExt;
    let sandbox = Sandbox::new();
    drop_good(&sandbox);
    let closed = sandbox.drop_file("closed.tif", &tiff(&field(3)));
    fs::set_permissions(&closed, fs::Permissions::from_mode(0o000)).unwrap();
    let Some(status) = scan_unprivileged(&sandbox) else {
        eprintln!("not checked: cannot become another user here");
        return;
    };
    assert_eq!(status.code(), Some(3));
    assert_good_are_done(&sandbox);
    assert!(sandbox.rejection("closed.tif").to_lowercase().contains("permission"));
    fs::set_permissions(&closed, fs::Permissions::from_mode(0o644)).unwrap();
    assert_eq!(scan_unprivileged(&sandbox).unwrap().code(), Some(0));
    assert_eq!(sandbox.reported().get(&("closed.tif".to_owned(), "done".to_owned())), Some(&1));
}

#[cfg(target_os = "linux")]
#[test]
fn pipes_and_devices_are_refused_and_not_waited_for() {
    let sandbox = Sandbox::new();
    drop_good(&sandbox);
    let pipe = sandbox.inbox().join("pipe.tif");
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let (summary, code) = sandbox.scan(&[]);
    assert_eq!((&summary["files"], code), (&2.into(), 0), "{summary}");
    let mut command = scopewatch();
    command.arg("scan").arg(&pipe).arg("--out").arg(sandbox.out()).arg("--json");
    let ended = output(&mut command);
    let said = String::from_utf8_lossy(&ended.stderr).into_owned();
    assert_eq!(ended.status.code(), Some(2), "{said}");
    assert!(said.contains("expected a file or a folder") && said.contains("pipe.tif"), "{said}");
    assert_good_are_done(&sandbox);
}

#[cfg(target_os = "linux")]
#[test]
fn a_folder_that_cannot_be_listed_is_told_once() {
    use std::os::unix::fs::PermissionsExt;
    let sandbox = Sandbox::new();
    drop_good(&sandbox);
    let closed = sandbox.drop_file("closed/x.tif", &tiff(&field(3)));
    let closed = closed.parent().unwrap();
    fs::set_permissions(closed, fs::Permissions::from_mode(0o000)).unwrap();
    let scanned = scan_unprivileged(&sandbox).map(|_| scan_unprivileged(&sandbox));
    fs::set_permissions(closed, fs::Permissions::from_mode(0o755)).unwrap();
    if scanned.is_none() {
        eprintln!("not checked: cannot become another user here");
        return;
    }
    assert_good_are_done(&sandbox);
    let alerts = sandbox.lines("alerts");
    let told: Vec<_> = alerts.iter().filter(|alert| alert["kind"] == "unreadable_folder").collect();
    assert_eq!(told.len(), 2, "once in each of the two scans: {alerts:?}");
    assert_eq!((&told[0]["folder"], &told[0]["root"]), (&"closed".into(), &"in".into()));
}

#[test]
fn folders_that_cannot_be_used_together_are_refused_at_start() {
    let sandbox = Sandbox::new();
    let file = sandbox.drop_file("x.tif", &tiff(&field(1)));
    let inside = sandbox.inbox().join("results");
    let refused = |watch: &std::path::Path, out: &std::path::Path| {
        let ended = output(scopewatch().arg("run").arg("--watch").arg(watch).arg("--out").arg(out));
        assert_eq!(ended.status.code(), Some(2));
        String::from_utf8_lossy(&ended.stderr).into_owned()
    };
    let message = refused(&sandbox.inbox(), &inside);
    assert!(message.contains("results") && message.contains("in"), "{message}");
    assert!(!inside.exists(), "nothing was written into the watched folder");
    let message = refused(&file, &sandbox.out());
    assert!(message.contains("x.tif"), "{message}");
}

#[test]
fn outputs_pause_while_the_disk_is_nearly_full() {
    let sandbox = Sandbox::new();
    drop_good(&sandbox);
    let mut command = sandbox.run_command();
    // no disk has that much room
    command.env("SCOPEWATCH__OUTPUT__FREE_SPACE_MIN_MB", "1000000000");
    let daemon = crate::support::Daemon::start(&mut command, sandbox.path());
    wait_until("the pause is said", || {
        sandbox.lines("alerts").iter().any(|alert| alert["kind"] == "disk_full")
    });
    let status = output(scopewatch().arg("status").arg("--json").arg("--out").arg(sandbox.out()));
    let status: serde_json::Value = serde_json::from_slice(&status.stdout).unwrap();
    assert!(status["disk_full_s"].is_number(), "{status}");
    assert!(sandbox.lines("files").is_empty());
    assert_eq!(daemon.stop(), Some(0));
    let text = sandbox.lines("alerts")[0]["text"].as_str().unwrap().to_owned();
    assert!(text.contains("output.free_space_min_mb"), "{text}");
    // with room again, the work goes on
    let daemon = sandbox.start();
    sandbox.wait_for_files(2);
    assert_eq!(daemon.stop(), Some(0));
    assert_good_are_done(&sandbox);
}

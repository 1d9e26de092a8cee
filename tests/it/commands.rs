//! The commands for single files.

use std::fs;

use scopewatch::formats::Samples;
use scopewatch::formats::nd2::{Nd2Loop, Nd2Spec, Nd2Writer};
use scopewatch::formats::tiff::{WriteOptions, encode};
use scopewatch::units::SampleType;
use sha2::{Digest, Sha256};

use crate::support::{Daemon, Sandbox, field, output, scopewatch, tiff, wait_until};

#[test]
fn inspect_says_what_a_file_holds_and_goes_on_after_a_bad_one() {
    let sandbox = Sandbox::new();
    let plane = field(1);
    let good = sandbox.drop_file("good.tif", &tiff(&plane));
    let bad = sandbox.drop_file("bad.tif", b"II*\0");
    let ended = output(scopewatch().arg("inspect").arg(&bad).arg(&good).args(["--json", "--digests"]));
    assert_eq!(ended.status.code(), Some(3));
    let text = String::from_utf8(ended.stdout).unwrap();
    let lines: Vec<serde_json::Value> =
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines[0]["file"], bad.to_str().unwrap());
    assert_eq!(lines[0]["error"]["kind"], "incomplete");
    assert_eq!(lines[1]["format"], "tiff");
    assert_eq!(
        lines[1]["dims"],
        serde_json::json!({ "T": 1, "P": 1, "Z": 1, "C": 1, "Y": 96, "X": 128, "S": 1 })
    );
    assert_eq!(lines[1]["dtype"], "uint16");
    let Samples::Uint16(samples) = &plane.samples else { panic!() };
    let bytes: Vec<u8> = samples.iter().flat_map(|sample| sample.to_le_bytes()).collect();
    let digest: String = Sha256::digest(&bytes).iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(lines[1]["planes"], serde_json::json!([{ "t": 0, "p": 0, "z": 0, "c": 0, "sha256": digest }]));
    let text = output(scopewatch().arg("inspect").arg(&good)).stdout;
    assert!(String::from_utf8_lossy(&text).contains("Y 96 X 128"));
}

#[test]
fn inspect_names_a_file_that_is_not_there() {
    let ended = output(scopewatch().args(["inspect", "/no/such/file.tif"]));
    assert_eq!(ended.status.code(), Some(3));
    assert!(String::from_utf8_lossy(&ended.stderr).contains("/no/such/file.tif"));
}

#[test]
fn inspect_writes_one_plane_and_never_over_a_file() {
    let sandbox = Sandbox::new();
    let plane = field(1);
    let file = sandbox.drop_file("good.tif", &tiff(&plane));
    let target = sandbox.path().join("plane.tif");
    let export = |index: &str| {
        let ended =
            output(scopewatch().arg("inspect").arg(&file).args(["--plane", index, "--export"]).arg(&target));
        (ended.status.code(), String::from_utf8_lossy(&ended.stderr).into_owned())
    };
    assert_eq!(export("t1p0z0c0").0, Some(3), "no such plane");
    assert!(!target.exists());
    assert_eq!(export("t0p0z0c0").0, Some(0));
    let digests = |path| {
        let answer = output(scopewatch().arg("inspect").arg(path).args(["--json", "--digests"])).stdout;
        serde_json::from_slice::<serde_json::Value>(&answer).unwrap()["planes"].clone()
    };
    assert_eq!(digests(&target), digests(&file));
    let (code, message) = export("t0p0z0c0");
    assert_eq!(code, Some(1));
    assert!(message.contains("plane.tif"), "{message}");
}

#[test]
fn inspect_recovers_the_frames_of_an_nd2_without_its_end() {
    let sandbox = Sandbox::new();
    let spec = Nd2Spec {
        loops: vec![Nd2Loop::Time { n: 4, period_ms: 500.0 }],
        ..Nd2Spec::new(96, 128, SampleType::Uint16)
    };
    let mut writer = Nd2Writer::new(Vec::new(), spec).unwrap();
    let mut end_of_third = 0;
    for frame in 0..4 {
        writer.write_frame(&[field(frame)]).unwrap();
        if frame == 2 {
            end_of_third = writer.n_bytes_written() as usize;
        }
    }
    let bytes = writer.finish().unwrap();
    let cut = sandbox.drop_file("run_Seq1.nd2", &bytes[..end_of_third]);
    let recover = |flags: &[&str]| {
        let ended = output(scopewatch().arg("inspect").arg(&cut).args(["--json", "--recover"]).args(flags));
        (ended.status.code(), serde_json::from_slice::<serde_json::Value>(&ended.stdout).unwrap())
    };
    let (code, answer) = recover(&[]);
    assert_eq!((code, &answer["error"]["kind"]), (Some(3), &"incomplete".into()), "{answer}");
    // a finished file of the run lies beside it
    sandbox.drop_file("run_Seq0.nd2", &bytes);
    let (code, answer) = recover(&["--digests", "--planes"]);
    assert_eq!(
        (code, &answer["complete"], &answer["dims"]["T"]),
        (Some(0), &false.into(), &3.into()),
        "{answer}"
    );
    assert!(answer["damage"][0].as_str().unwrap().contains("chunk map"), "{answer}");
    let whole = output(
        scopewatch().arg("inspect").arg(sandbox.inbox().join("run_Seq0.nd2")).args(["--json", "--digests"]),
    );
    let whole: serde_json::Value = serde_json::from_slice(&whole.stdout).unwrap();
    for frame in 0..3 {
        assert_eq!(answer["planes"][frame]["sha256"], whole["planes"][frame]["sha256"]);
        assert_eq!(answer["planes"][frame]["time_ms"], 500.0 * frame as f64);
    }
    // one of another run that is named does not help
    let other = sandbox.drop_file("other.nd2", b"no image at all");
    let (code, answer) = recover(&["--sibling", other.to_str().unwrap()]);
    assert_eq!(code, Some(3));
    assert!(answer["error"]["message"].as_str().unwrap().contains("other.nd2"), "{answer}");
}

#[test]
fn segment_writes_labels_table_and_overlay() {
    let sandbox = Sandbox::new();
    let file = sandbox.drop_file("nuclei.tif", &tiff(&field(1)));
    let out = sandbox.path().join("segmented");
    let ended = output(scopewatch().arg("segment").arg(&file).arg("--out").arg(&out).arg("--json"));
    assert_eq!(ended.status.code(), Some(0), "{}", String::from_utf8_lossy(&ended.stderr));
    let answer: serde_json::Value = serde_json::from_slice(&ended.stdout).unwrap();
    let n_nuclei = answer["planes"][0]["nuclei"].as_u64().unwrap();
    assert!((4..=7).contains(&n_nuclei), "{answer}");
    let table = fs::read_to_string(out.join("nuclei.objects.csv")).unwrap();
    assert_eq!(table.lines().count() as u64, 1 + n_nuclei);
    assert!(fs::read(out.join("nuclei.overlay.png")).unwrap().starts_with(b"\x89PNG"));
    let labels = output(scopewatch().arg("inspect").arg(out.join("nuclei.labels.tif")).arg("--json"));
    let labels: serde_json::Value = serde_json::from_slice(&labels.stdout).unwrap();
    assert_eq!((&labels["dtype"], &labels["dims"]["X"]), (&"uint16".into(), &128.into()));
}

#[test]
fn explain_tells_the_story_of_a_file() {
    let sandbox = Sandbox::new();
    sandbox.drop_file("plate/x.tif", &tiff(&field(1)));
    sandbox.drop_file("bad.tif", b"hello, no image");
    sandbox.scan(&[]);
    let explain = |file: &str| output(scopewatch().arg("explain").arg(file).arg("--out").arg(sandbox.out()));
    let told = explain("plate/x.tif");
    let text = String::from_utf8_lossy(&told.stdout).into_owned();
    assert!(told.status.success() && text.contains("working") && text.contains("done"), "{text}");
    let told = explain(sandbox.inbox().join("bad.tif").to_str().unwrap());
    assert!(String::from_utf8_lossy(&told.stdout).contains("rejected"));
    let unknown = explain("nowhere.tif");
    assert_eq!(unknown.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&unknown.stderr).contains("nowhere.tif"));
}

#[test]
fn every_command_shows_an_example() {
    let help = String::from_utf8(output(scopewatch().arg("--help")).stdout).unwrap();
    let listed = help.split_once("Commands:\n").unwrap().1.lines().take_while(|line| !line.is_empty());
    // what goes on over several lines is indented more
    let entries = listed.filter_map(|line| line.strip_prefix("  ").filter(|line| !line.starts_with(' ')));
    let commands: Vec<_> = entries.filter_map(|line| line.split_whitespace().next()).collect();
    assert!(commands.contains(&"run") && commands.contains(&"compare"), "{help}");
    for command in commands.into_iter().filter(|command| *command != "help") {
        let help = output(scopewatch().args([command, "--help"]));
        let text = String::from_utf8_lossy(&help.stdout).into_owned();
        assert!(help.status.success() && text.contains("Example"), "{command}: {text}");
        assert!(text.contains(&format!("scopewatch {command}")), "{command}: {text}");
    }
}

#[test]
fn a_failure_is_one_object_for_programs() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("nothing");
    for (arguments, kind, code) in [
        (&["status", "--json", "--out"][..], "failed", 1),
        (&["explain", "x.tif", "--json", "--out"], "failed", 1),
        (&["rescan", "--json", "--out"], "failed", 1),
        (&["check-config", "--json", "--config"], "usage", 2),
        (&["status", "--json", "--wrong"], "usage", 2),
        (&["register", "--reference", "r.csv", "--json", "--moving"], "unreadable", 3),
    ] {
        let ended = output(scopewatch().args(arguments).arg(&out));
        let answer: serde_json::Value = serde_json::from_slice(&ended.stdout).unwrap();
        assert_eq!((&answer["error"]["kind"], ended.status.code()), (&kind.into(), Some(code)), "{answer}");
        assert!(answer["error"]["message"].as_str().is_some_and(|message| !message.is_empty()), "{answer}");
        let stderr = String::from_utf8_lossy(&ended.stderr);
        assert!(stderr.starts_with("error: "), "{stderr}");
    }
    assert!(!out.exists());
}

#[test]
fn a_wrong_path_or_flag_is_usage() {
    let scan = output(scopewatch().args(["scan", "/no/such/folder", "--out", "/tmp/never"]));
    assert_eq!(scan.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&scan.stderr).contains("/no/such/folder"));
    assert_eq!(output(scopewatch().args(["run", "--wach", "x"])).status.code(), Some(2));
    assert_eq!(output(&mut scopewatch()).status.code(), Some(2));
}

#[test]
fn scan_takes_files_and_folders_in_any_mixture() {
    let sandbox = Sandbox::new();
    for (n, name) in ["x.tif", "sub/y.tif", "sub/other.tif"].iter().enumerate() {
        sandbox.drop_file(name, &tiff(&field(n as u64)));
    }
    let scan = |paths: &[&str], out: &str| {
        let mut command = scopewatch();
        command.current_dir(sandbox.inbox()).arg("scan").args(paths).args(["--out", out, "--json"]);
        let ended = output(&mut command);
        assert_eq!(ended.status.code(), Some(0), "{}", String::from_utf8_lossy(&ended.stderr));
        let text = fs::read_to_string(sandbox.inbox().join(out).join("reports/files.jsonl")).unwrap();
        let mut files: Vec<String> = text
            .lines()
            .map(|line| {
                serde_json::from_str::<serde_json::Value>(line).unwrap()["file"].as_str().unwrap().into()
            })
            .collect();
        files.sort();
        files
    };
    assert_eq!(scan(&["x.tif"], "out"), ["x.tif"]);
    assert_eq!(scan(&["x.tif", "sub/y.tif"], "../out2"), ["sub/y.tif", "x.tif"]);
    assert_eq!(scan(&["sub", "sub/y.tif", "sub"], "../out3"), ["other.tif", "y.tif"]);
    let refused = output(scopewatch().current_dir(sandbox.inbox()).args(["scan", "sub", "--out", "sub/out"]));
    assert_eq!(refused.status.code(), Some(2));
    assert!(!sandbox.inbox().join("sub/out").exists());
}

#[test]
fn scan_lists_what_it_rejects_with_the_reason() {
    let sandbox = Sandbox::new();
    sandbox.drop_file("bad.tif", b"hello, no image");
    let ended = output(scopewatch().arg("scan").arg(sandbox.inbox()).arg("--out").arg(sandbox.out()));
    assert_eq!(ended.status.code(), Some(3));
    let text = String::from_utf8_lossy(&ended.stdout).into_owned();
    let line = text.lines().find(|line| line.contains("in/bad.tif: ")).unwrap_or_else(|| panic!("{text}"));
    assert!(line.ends_with(&sandbox.rejection("bad.tif")), "{line}");
}

#[cfg(target_os = "linux")]
#[test]
fn paths_need_not_be_utf_8() {
    use std::os::unix::ffi::OsStrExt;
    let sandbox = Sandbox::new();
    let folder = sandbox.path().join(std::ffi::OsStr::from_bytes(b"plate\xFF"));
    let out = sandbox.path().join(std::ffi::OsStr::from_bytes(b"out\xFE"));
    fs::create_dir(&folder).unwrap();
    let file = folder.join(std::ffi::OsStr::from_bytes(b"x\xFD.tif"));
    fs::write(&file, tiff(&field(1))).unwrap();
    let ended = output(scopewatch().arg("scan").arg(&folder).arg("--out").arg(&out).arg("--json"));
    assert_eq!(ended.status.code(), Some(0), "{}", String::from_utf8_lossy(&ended.stderr));
    assert!(out.join("state").is_dir());
    for name in [file.as_path(), file.strip_prefix(&folder).unwrap(), std::path::Path::new("x%FD.tif")] {
        let told = output(scopewatch().arg("explain").arg(name).arg("--out").arg(&out));
        assert!(String::from_utf8_lossy(&told.stdout).contains("x%FD.tif: done"), "{told:?}");
    }
    let status = output(scopewatch().args(["status", "--json", "--out"]).arg(&out));
    let status: serde_json::Value = serde_json::from_slice(&status.stdout).unwrap();
    assert_eq!(status["ledger"]["files"]["done"], 1);
    let out = sandbox.path().join(std::ffi::OsStr::from_bytes(b"out2\xFE"));
    let mut run = scopewatch();
    run.arg("run").arg("--watch").arg(&folder).arg("--out").arg(&out).args(["--quiet-period-ms", "100"]);
    let daemon = Daemon::start(&mut run, sandbox.path());
    wait_until("the file is reported", || {
        fs::read_to_string(out.join("reports/files.jsonl")).is_ok_and(|text| text.contains("x%FD.tif"))
    });
    assert_eq!(daemon.stop(), Some(0));
}

/// Two planes, the second of which lies beyond the end of the file.
fn half_a_stack(sandbox: &Sandbox) -> std::path::PathBuf {
    let mut bytes = encode(&[field(1), field(2)], &WriteOptions::default()).unwrap();
    let page = |bytes: &[u8]| {
        let first = u32::from_le_bytes(bytes[4..8].try_into().unwrap()) as usize;
        let n_entries = usize::from(u16::from_le_bytes(bytes[first..first + 2].try_into().unwrap()));
        let next = first + 2 + 12 * n_entries;
        u32::from_le_bytes(bytes[next..next + 4].try_into().unwrap()) as usize
    };
    let second = page(&bytes);
    let n_entries = usize::from(u16::from_le_bytes(bytes[second..second + 2].try_into().unwrap()));
    for entry in 0..n_entries {
        let at = second + 2 + 12 * entry;
        if u16::from_le_bytes(bytes[at..at + 2].try_into().unwrap()) == 259 {
            // compression: a method that nobody has
            bytes[at + 8..at + 10].copy_from_slice(&59_999_u16.to_le_bytes());
        }
    }
    sandbox.drop_file("half.tif", &bytes)
}

#[test]
fn an_unreadable_plane_leaves_the_others_and_ends_with_3() {
    let sandbox = Sandbox::new();
    let file = half_a_stack(&sandbox);
    let out = sandbox.path().join("segmented");
    let segment =
        |flags: &[&str]| output(scopewatch().arg("segment").arg(&file).arg("--out").arg(&out).args(flags));
    let ended = segment(&["--json"]);
    assert_eq!(ended.status.code(), Some(3), "{ended:?}");
    let answer: serde_json::Value = serde_json::from_slice(&ended.stdout).unwrap();
    assert!(answer["planes"][0]["nuclei"].as_u64().unwrap() > 0, "{answer}");
    assert_eq!(answer["planes"][1]["error"]["kind"], "unsupported", "{answer}");
    let ended = segment(&[]);
    let (text, errors) = (String::from_utf8_lossy(&ended.stdout), String::from_utf8_lossy(&ended.stderr));
    assert_eq!(text.lines().count(), 1, "{text}");
    assert!(errors.contains("half.tif") && errors.contains("59999"), "{errors}");
    let bad = sandbox.drop_file("bad.tif", b"hello, no image");
    let ended = output(scopewatch().arg("segment").arg(&bad).arg("--out").arg(&out).arg("--json"));
    let answer: serde_json::Value = serde_json::from_slice(&ended.stdout).unwrap();
    assert!(answer["error"]["kind"].is_string() && answer["error"]["message"].is_string(), "{answer}");
}

#[test]
fn inspect_answers_for_the_file_when_none_of_its_planes_can_be_read() {
    let sandbox = Sandbox::new();
    let inspect = |file: &std::path::Path| {
        let ended = output(scopewatch().arg("inspect").arg(file).args(["--json", "--digests"]));
        assert_eq!(ended.status.code(), Some(3));
        serde_json::from_slice::<serde_json::Value>(&ended.stdout).unwrap()
    };
    let some = inspect(&half_a_stack(&sandbox));
    assert!(
        some["planes"][0]["sha256"].is_string() && some["planes"][1]["error"]["kind"].is_string(),
        "{some}"
    );
    let mut bytes = tiff(&field(1));
    let first = u32::from_le_bytes(bytes[4..8].try_into().unwrap()) as usize;
    let entry =
        (0..).map(|n| first + 2 + 12 * n).find(|at| bytes[*at..at + 2] == 259_u16.to_le_bytes()).unwrap();
    bytes[entry + 8..entry + 10].copy_from_slice(&59_999_u16.to_le_bytes());
    let none = inspect(&sandbox.drop_file("none.tif", &bytes));
    assert!(none.get("planes").is_none(), "{none}");
    assert_eq!(none["error"]["kind"], "unsupported", "{none}");
}

#[test]
fn a_reader_that_has_seen_enough_is_no_failure() {
    let sandbox = Sandbox::new();
    sandbox.drop_file("x.tif", &tiff(&field(1)));
    let (inbox, out) = (sandbox.inbox(), sandbox.out());
    let (inbox, out) = (inbox.to_str().unwrap(), out.to_str().unwrap());
    for arguments in [
        &["check-config", "--print-default"][..],
        &["scan", inbox, "--out", out],
        &["status", "--out", out],
        &["explain", "x.tif", "--out", out],
        &["inspect", &format!("{inbox}/x.tif")],
    ] {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let ended = output(scopewatch().args(arguments).stdout(writer));
        let errors = String::from_utf8_lossy(&ended.stderr);
        assert!(ended.status.success() && !errors.contains("panicked"), "{arguments:?}: {errors}");
    }
}

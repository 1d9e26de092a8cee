//! The commands for single files.

use std::fs;

use scopewatch::formats::Samples;
use sha2::{Digest, Sha256};

use crate::support::{Sandbox, field, output, scopewatch, tiff};

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
    for command in ["run", "scan", "inspect", "segment", "status", "explain", "check-config"] {
        let help = output(scopewatch().args([command, "--help"]));
        let text = String::from_utf8_lossy(&help.stdout).into_owned();
        assert!(help.status.success() && text.contains("Example"), "{command}: {text}");
        assert!(text.contains(&format!("scopewatch {command}")), "{command}: {text}");
    }
}

#[test]
fn a_wrong_path_or_flag_is_usage() {
    let scan = output(scopewatch().args(["scan", "/no/such/folder", "--out", "/tmp/never"]));
    assert_eq!(scan.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&scan.stderr).contains("/no/such/folder"));
    assert_eq!(output(scopewatch().args(["run", "--wach", "x"])).status.code(), Some(2));
    assert_eq!(output(&mut scopewatch()).status.code(), Some(2));
}

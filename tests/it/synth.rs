//! Synthetic acquisitions: the command, and what independent readers make of its files.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::support::{Sandbox, output, python_with, scopewatch};

fn synth(out: &Path, flags: &[&str]) -> (Option<i32>, Value, String) {
    let ended = output(scopewatch().arg("synth").arg("--out").arg(out).arg("--json").args(flags));
    let summary = serde_json::from_slice(&ended.stdout).unwrap_or_default();
    (ended.status.code(), summary, String::from_utf8(ended.stderr).unwrap())
}

fn truth(out: &Path) -> Value {
    serde_json::from_slice(&fs::read(out.join("truth.json")).unwrap()).unwrap()
}

/// Every file below a folder with its bytes.
fn files(folder: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                found.push((path.clone(), fs::read(path).unwrap()));
            }
        }
    }
    found.sort();
    found
}

const SMALL: [&str; 6] = ["--size", "128", "--wells", "2", "--fields", "1"];

#[test]
fn an_acquisition_is_made_replaced_and_the_same_for_the_same_seed() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("acquisition");
    let (code, summary, stderr) = synth(&out, &SMALL);
    assert_eq!(code, Some(0), "{stderr}");
    let truth = truth(&out);
    assert_eq!(summary["files"], truth["files"].as_array().unwrap().len());
    assert_eq!(summary["relations"]["stuck_frame"], 1);
    assert_eq!(summary["registrations"], 2);
    let first = files(&out);
    assert_eq!(first.len() as u64, summary["files"].as_u64().unwrap() + 1, "nothing but files and truth");

    assert_eq!(synth(&out, &SMALL).0, Some(0), "its own folder is replaced");
    assert!(first == files(&out));
    let (code, summary, _) =
        synth(&out, &["--seed", "2", "--size", "128", "--wells", "1", "--fields", "1", "--plain"]);
    assert_eq!((code, &summary["files"]), (Some(0), &2.into()));
    assert_eq!(files(&out).len(), 3, "files of the earlier acquisition are gone");
}

#[test]
fn folders_of_others_and_settings_out_of_range_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("mine.txt"), b"mine").unwrap();
    let (code, _, stderr) = synth(folder.path(), &SMALL);
    assert_eq!(code, Some(2));
    assert!(stderr.contains("was not made by this command"), "{stderr}");
    assert_eq!(files(folder.path()).len(), 1);

    let out = folder.path().join("acquisition");
    let (code, _, stderr) = synth(&out, &["--size", "20"]);
    assert_eq!(code, Some(2));
    assert!(stderr.contains("a side in pixels from 128 to 8192, found 20"), "{stderr}");
    assert!(!out.exists());

    assert_eq!(synth(&out, &SMALL).0, Some(0));
    fs::write(out.join("plate1/mine.txt"), b"mine").unwrap();
    let (code, _, stderr) = synth(&out, &SMALL);
    assert_eq!(code, Some(2), "{stderr}");
    assert_eq!(fs::read(out.join("plate1/mine.txt")).unwrap(), b"mine");
}

#[test]
fn what_is_planted_in_single_plane_files_is_found_by_a_scan() {
    let sandbox = Sandbox::new();
    let flags = ["--format", "tiff", "--size", "512", "--wells", "1", "--fields", "1", "--times", "6"];
    let (code, _, stderr) = synth(&sandbox.inbox(), &flags);
    assert_eq!(code, Some(0), "{stderr}");
    sandbox.scan(&[]);
    let mut found: Vec<[String; 3]> = sandbox
        .table("duplicate_pairs.csv")
        .lines()
        .skip(1)
        .map(|row| {
            let cells: Vec<&str> = row.split(',').collect();
            named([cells[0], cells[2]], cells[4])
        })
        .collect();
    let truth = truth(&sandbox.inbox());
    let mut planted: Vec<[String; 3]> = truth["relations"]
        .as_array()
        .unwrap()
        .iter()
        .map(|relation| {
            let text = |key: &str| relation[key].as_str().unwrap();
            named([text("file_a"), text("file_b")], text("relation"))
        })
        .collect();
    found.sort();
    planted.sort();
    assert_eq!(found, planted);
}

/// A pair of files in the order of their names, with their relation.
fn named(mut files: [&str; 2], relation: &str) -> [String; 3] {
    files.sort_unstable();
    [files[0], files[1], relation].map(str::to_owned)
}

#[test]
fn other_readers_see_the_same_in_every_file() {
    let Some(python) = python_with("nd2, tifffile, numpy") else {
        eprintln!("skipped: no Python with the packages nd2 and tifffile (name one in SCOPEWATCH_PYTHON)");
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/check_readers.py");
    let many =
        ["--size", "130", "--wells", "1", "--fields", "1", "--times", "2", "--z", "3", "--channels", "3"];
    for (name, flags) in [
        ("mixed", &SMALL[..]),
        ("nd2", &[&many[..], &["--format", "nd2", "--names", "generic"]].concat()),
        ("ome", &[&many[..], &["--format", "ome-tiff", "--mirror"]].concat()),
        ("tiff", &[&many[..], &["--format", "tiff", "--names", "nis"]].concat()),
    ] {
        let out = folder.path().join(name);
        let (code, _, stderr) = synth(&out, flags);
        assert_eq!(code, Some(0), "{stderr}");
        let program = env!("CARGO_BIN_EXE_scopewatch");
        let checked = output(Command::new(&python).arg(&script).arg(&out).args(["--scopewatch", program]));
        let said = String::from_utf8_lossy(&checked.stdout);
        assert!(checked.status.success(), "{name}: {said}{}", String::from_utf8_lossy(&checked.stderr));
        assert!(said.contains(" 0 differ"), "{said}");
    }
}

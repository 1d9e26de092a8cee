//! What an operator says of two planes: with a running service and without, over restarts, copies and new names.

use std::collections::BTreeSet;
use std::fs;

use scopewatch::formats::{Plane, Samples};
use serde_json::Value;

use crate::look_alikes::{exposure, mapped};
use crate::support::{Sandbox, output, scopewatch, tiff, wait_until};

/// Gives an order in JSON; the exit code and the answer.
fn order(sandbox: &Sandbox, arguments: &[&str]) -> (Option<i32>, Value) {
    let ended = output(scopewatch().args(arguments).arg("--json").arg("--out").arg(sandbox.out()));
    (ended.status.code(), serde_json::from_slice(&ended.stdout).expect("one object, whatever happens"))
}

fn refusal(sandbox: &Sandbox, arguments: &[&str]) -> String {
    let (code, answer) = order(sandbox, arguments);
    assert_eq!(code, Some(1), "{answer}");
    answer["error"]["message"].as_str().unwrap().to_owned()
}

/// The rows of pairs as `file_a file_b relation reason`.
fn pairs(sandbox: &Sandbox) -> BTreeSet<String> {
    let table = sandbox.table("duplicate_pairs.csv");
    let row = |row: &str| {
        let cells: Vec<_> = row.split(',').collect();
        [cells[0], cells[2], cells[4], cells[cells.len() - 1]].join(" ")
    };
    table.lines().skip(1).map(row).collect()
}

fn set<const N: usize>(rows: [&str; N]) -> BTreeSet<String> {
    rows.map(str::to_owned).into()
}

fn events(sandbox: &Sandbox) -> Vec<String> {
    sandbox.lines("duplicates").iter().map(|line| line["event"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn a_verdict_changes_the_groups_at_once_and_holds_for_copies_restarts_and_new_names() {
    let sandbox = Sandbox::new();
    let first = exposure(1, 1);
    sandbox.drop_file("a.tif", &tiff(&first));
    sandbox.drop_file("b.tif", &tiff(&mapped(&first)));
    sandbox.drop_file("c.tif", &tiff(&exposure(1, 99)));
    sandbox.scan(&[]);
    let grouped = "a.tif b.tif same_exposure_mapped ";
    assert!(pairs(&sandbox).iter().any(|row| row == grouped), "{:?}", pairs(&sandbox));
    assert_eq!(pairs(&sandbox).len(), 2);

    // without a service the command is the writer: of the lines and the tables, too
    let (code, answer) = order(&sandbox, &["verdict", "a.tif", "b.tif", "not-duplicate"]);
    assert_eq!(
        (code, &answer["running"], &answer["before"]),
        (Some(0), &false.into(), &Value::Null),
        "{answer}"
    );
    assert_eq!((&answer["a"], &answer["b"]), (&"in/a.tif:t0p0z0c0".into(), &"in/b.tif:t0p0z0c0".into()));
    assert!(!pairs(&sandbox).iter().any(|row| row.starts_with("a.tif b.tif")), "{:?}", pairs(&sandbox));
    assert!(events(&sandbox).contains(&"retracted".to_owned()));
    let told = order(&sandbox, &["explain", "b.tif"]).1;
    assert_eq!(told["verdicts"][0]["verdict"], "not-duplicate");
    assert_eq!(told["verdicts"][0]["other_file"], "a.tif");

    // a second exposure that the operator knows to be the first; told to the service
    let daemon = sandbox.start();
    let (code, answer) = order(&sandbox, &["verdict", "in/c.tif:t0p0z0c0", "a.tif", "same"]);
    assert_eq!((code, &answer["running"]), (Some(0), &true.into()), "{answer}");
    let declared = "a.tif c.tif declared_same operator";
    wait_until("the tables follow", || pairs(&sandbox).contains(declared));
    // new names and copies
    fs::rename(sandbox.inbox().join("b.tif"), sandbox.inbox().join("renamed.tif")).unwrap();
    sandbox.drop_file("d.tif", &fs::read(sandbox.inbox().join("c.tif")).unwrap());
    sandbox.wait_for_files(5);
    assert_eq!(daemon.stop(), Some(0));
    // the bytes of a file that is gone cannot be compared
    let expected = set([declared, "b.tif renamed.tif identical_pixels ", "c.tif d.tif identical_file copy"]);
    let mut found = pairs(&sandbox);
    found.retain(|row| !row.contains("reacquired"));
    assert_eq!(found, expected);
    let told = order(&sandbox, &["explain", "renamed.tif"]).1;
    assert_eq!(told["verdicts"][0]["verdict"], "not-duplicate", "it holds for the pixels");

    let (_, answer) = order(&sandbox, &["verdict", "renamed.tif", "a.tif", "forget"]);
    assert_eq!((&answer["verdict"], &answer["before"]), (&Value::Null, &"not-duplicate".into()));
    assert!(pairs(&sandbox).contains(grouped), "{:?}", pairs(&sandbox));
    let text = output(scopewatch().args(["explain", "c.tif", "--out"]).arg(sandbox.out())).stdout;
    let text = String::from_utf8(text).unwrap();
    assert!(text.contains("verdict on plane t0p0z0c0: the same as in/a.tif t0p0z0c0"), "{text}");
}

#[test]
fn what_cannot_be_judged_is_said() {
    let sandbox = Sandbox::new();
    let planes = [exposure(1, 1), exposure(2, 2)];
    let black = Plane { samples: Samples::Uint16(vec![0; 256 * 256]), ..planes[0].clone() };
    let pages = scopewatch::formats::tiff::encode(&planes, &Default::default()).unwrap();
    sandbox.drop_file("a.tif", &tiff(&exposure(3, 3)));
    sandbox.drop_file("copy.tif", &tiff(&exposure(3, 3)));
    sandbox.drop_file("pages.tif", &pages);
    sandbox.drop_file("black.tif", &tiff(&black));
    sandbox.drop_file("bad.tif", b"no image");
    sandbox.scan(&[]);
    let about = |file: &str| refusal(&sandbox, &["verdict", "a.tif", file, "same"]);
    assert!(about("b.tif").contains("b.tif: the ledger knows no such file"));
    let several = about("pages.tif");
    assert!(several.contains("in/pages.tif has 2 planes: name one, such as in/pages.tif:t"), "{several}");
    let wrong = about("pages.tif:t9p9z9c9");
    assert!(wrong.contains("in/pages.tif has no plane t9p9z9c9"), "{wrong}");
    let blank = about("black.tif");
    assert!(blank.contains("in/black.tif:t0p0z0c0 is blank"), "{blank}");
    let rejected = about("bad.tif");
    assert!(rejected.contains("in/bad.tif has no planes that are known"), "{rejected}");
    for word in ["same", "not-duplicate", "forget"] {
        let equal = refusal(&sandbox, &["verdict", "a.tif", "copy.tif", word]);
        assert!(equal.contains("hold the same pixels: that is a fact"), "{equal}");
    }
    let wrong = output(scopewatch().args(["verdict", "a.tif", "b.tif", "maybe", "--out"]).arg(sandbox.out()));
    assert_eq!(wrong.status.code(), Some(2));
}

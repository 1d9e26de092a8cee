//! The shape of what is written.

use std::fs;

use crate::support::{Sandbox, field, tiff};

#[test]
fn every_line_is_numbered_dated_and_named() {
    let sandbox = Sandbox::new();
    (0..3).for_each(|n| drop(sandbox.drop_file(&format!("{n}.tif"), &tiff(&field(n)))));
    sandbox.drop_file("copy.tif", &tiff(&field(0)));
    sandbox.drop_file("bad.tif", b"no image here");
    sandbox.scan(&[]);
    for stream in ["files", "planes", "duplicates"] {
        let lines = sandbox.lines(stream);
        assert!(!lines.is_empty(), "{stream}");
        for (n, line) in lines.iter().enumerate() {
            assert_eq!(line["seq"], n as u64 + 1, "{stream}");
            for key in ["schema", "time", "run_id", "host"] {
                assert!(!line[key].is_null(), "{stream} has no {key}: {line}");
            }
        }
    }
    for stream in ["registrations", "alerts"] {
        assert!(sandbox.lines(stream).is_empty());
    }
}

#[test]
fn tables_escape_what_a_spreadsheet_would_run() {
    let sandbox = Sandbox::new();
    sandbox.drop_file("=cmd, x.tif", &tiff(&field(0)));
    sandbox.scan(&[]);
    let table = sandbox.table("files.csv");
    assert!(table.contains("\"'=cmd, x.tif\""), "{table}");
    let names: Vec<_> = fs::read_dir(sandbox.out().join("reports/current"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    for name in
        ["duplicate_groups.json", "duplicate_pairs.csv", "files.csv", "planes.csv", "registrations.csv"]
    {
        assert!(names.contains(&name.to_owned()), "{names:?}");
    }
    assert_eq!(names.len(), 5, "no temporary file is left: {names:?}");
}

//! The shape of what is written.

use std::fs;

use scopewatch::formats::{Plane, Samples};
use serde_json::json;

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
    for name in [
        "duplicate_groups.json",
        "duplicate_pairs.csv",
        "files.csv",
        "merged_cells.csv",
        "planes.csv",
        "registrations.csv",
        "wells.csv",
    ] {
        assert!(names.contains(&name.to_owned()), "{names:?}");
    }
    assert_eq!(names.len(), 7, "no temporary file is left: {names:?}");
}

#[test]
fn a_plane_tells_whether_it_can_be_trusted() {
    let sandbox = Sandbox::new();
    sandbox.drop_file("a.tif", &tiff(&field(1)));
    let black = Plane { samples: Samples::Uint16(vec![100; 96 * 128]), ..field(1) };
    sandbox.drop_file("b.tif", &tiff(&black));
    sandbox.scan(&[]);
    let lines = sandbox.lines("planes");
    let line = |file: &str| lines.iter().find(|line| line["file"] == file).unwrap();
    let measures = ["diameter_median_px", "threshold", "background", "foreground_fraction", "focus"];
    for key in measures {
        assert!(line("a.tif")[key].as_f64().unwrap() > 0.0, "{key}: {}", line("a.tif"));
    }
    for key in ["saturated_fraction", "debris"] {
        assert_eq!(line("a.tif")[key].as_f64(), Some(0.0), "{key}: {}", line("a.tif"));
    }
    assert!((4..=7).contains(&line("a.tif")["nuclei"].as_u64().unwrap()));
    assert_eq!(line("a.tif")["flags"], json!([]));
    assert_eq!((&line("b.tif")["nuclei"], &line("b.tif")["threshold"]), (&json!(0), &json!(null)));
    let flags = line("b.tif")["flags"].as_array().unwrap();
    assert!(flags.contains(&json!("no_objects")) && flags.contains(&json!("below_noise")), "{flags:?}");
    let table = sandbox.table("planes.csv");
    let header: Vec<_> = table.lines().next().unwrap().split(',').collect();
    let others = ["nuclei", "debris", "diameter_median_um", "saturated_fraction", "flags"];
    assert!(measures.iter().chain(&others).all(|name| header.contains(name)), "{header:?}");
}

//! What the fields of a well tell of one another: those that do not tell by themselves are found, whatever came first.

use std::collections::BTreeMap;

use scopewatch::analysis::synthesis::{FieldSettings, Nucleus, Random, expose, place_nuclei};
use scopewatch::formats::Position;
use scopewatch::formats::nd2::{Nd2Spec, Nd2Writer};
use scopewatch::geometry::Affine;
use scopewatch::units::SampleType;
use serde_json::Value;

use crate::support::{Sandbox, wait_until};

/// Micrometres per pixel of the fine camera, in which the well is drawn; those of the overview are four times as large.
const FINE_UM: f64 = 0.1625;
/// Sides of the images in pixels; the overview shows all that is drawn.
const FINE_PX: usize = 512;
const COARSE_PX: usize = 512;
const WELL_PX: usize = 4 * COARSE_PX;
/// Where the stage stood over the middle for the overview, and how much farther for the fine fields: the plate was taken
/// out and put back.
const STAGE_UM: [f64; 2] = [-41_000.0, 17_500.0];
const OFFSET_UM: [f64; 2] = [100.0, -12.0];
const ROTATION_DEG: f64 = 2.0;
/// Nuclei of the field that has few.
const N_FEW: usize = 6;

/// A fine field: its name, where its middle lies from that of the well in um, and how far off its stage was.
type Fine = (&'static str, [f64; 2], [f64; 2]);

const FIELDS: [Fine; 8] = [
    ("a.nd2", [-110.0, -110.0], [0.8, -0.3]),
    ("b.nd2", [-110.0, 0.0], [-0.5, 0.6]),
    ("c.nd2", [0.0, -110.0], [0.2, 0.9]),
    ("d.nd2", [0.0, 0.0], [-0.7, -0.8]),
    ("e.nd2", [-110.0, 110.0], [0.4, 0.1]),
    ("few.nd2", [0.0, 110.0], [-0.2, 0.5]),
    // the stage puts it outside of what the overview shows
    ("outside.nd2", [123.0, 0.0], [0.3, -0.6]),
    // its stage was somewhere else
    ("lost.nd2", [-55.0, -55.0], [45.0, 0.0]),
];

/// Nuclei of 8 um: as dense as in a culture, but for the field of few.
fn well(seed: u64) -> Vec<Nucleus> {
    let settings = FieldSettings {
        height: WELL_PX,
        width: WELL_PX,
        n_nuclei: 600,
        diameter_px: 8.0 / FINE_UM,
        ..FieldSettings::default()
    };
    let mut nuclei = place_nuclei(&settings, &mut Random::new(seed));
    let [x, y] = place(FIELDS[5].1);
    let reach = FINE_PX as f64 / 2.0 + 20.0;
    let mut n_kept = 0;
    nuclei.retain(|nucleus| {
        let from_middle = (nucleus.x - x).abs().max((nucleus.y - y).abs());
        // a few in the middle, none at the border
        let is_kept = from_middle > reach || from_middle < 0.8 * reach && n_kept < N_FEW;
        n_kept += usize::from(is_kept && from_middle < reach);
        is_kept
    });
    nuclei
}

/// The pixel of the well at an offset from its middle in um.
fn place(offset_um: [f64; 2]) -> [f64; 2] {
    offset_um.map(|offset| (WELL_PX as f64 - 1.0) / 2.0 + offset / FINE_UM)
}

fn overview_from_well() -> Affine {
    Affine::similarity(0.25, 0.0, false, [-0.375; 2])
}

fn fine_from_well(offset_um: [f64; 2]) -> Affine {
    let turned = Affine::similarity(1.0, ROTATION_DEG.to_radians(), false, [0.0; 2]);
    let middle = turned.apply(place(offset_um));
    Affine::from_parts(turned.linear(), middle.map(|value| (FINE_PX as f64 - 1.0) / 2.0 - value))
}

/// An ND2 of what a camera sees of a well.
fn nd2(
    nuclei: &[Nucleus],
    image_from_well: &Affine,
    side: usize,
    stage_um: [f64; 2],
    noise_seed: u64,
) -> Vec<u8> {
    let scale = image_from_well.decompose().scale;
    let turn = image_from_well.decompose().rotation_rad;
    let seen = |nucleus: &Nucleus| {
        let [x, y] = image_from_well.apply([nucleus.x, nucleus.y]);
        let radii = nucleus.radii.map(|radius| radius * scale);
        Nucleus { x, y, radii, angle: nucleus.angle + turn, ..*nucleus }
    };
    let settings = FieldSettings { height: side, width: side, vignetting: 0.1, ..FieldSettings::default() };
    let plane = expose(&settings, &nuclei.iter().map(seen).collect::<Vec<_>>(), noise_seed);
    let [x_um, y_um] = stage_um.map(Some);
    let spec = Nd2Spec {
        pixel_size_um: Some(FINE_UM / scale),
        stage: Position { x_um, y_um, ..Position::default() },
        ..Nd2Spec::new(side as u32, side as u32, SampleType::Uint16)
    };
    let mut writer = Nd2Writer::new(Vec::new(), spec).unwrap();
    writer.write_frame(&[plane]).unwrap();
    writer.finish().unwrap()
}

fn fine(nuclei: &[Nucleus], (_, offset_um, error_um): Fine, noise_seed: u64) -> Vec<u8> {
    let stage_um = [0, 1].map(|axis| STAGE_UM[axis] + OFFSET_UM[axis] + offset_um[axis] + error_um[axis]);
    nd2(nuclei, &fine_from_well(offset_um), FINE_PX, stage_um, noise_seed)
}

/// The overview, the fine fields, and one of another well where the stage says that it is one of this.
fn files() -> Vec<(&'static str, Vec<u8>)> {
    let nuclei = well(1);
    let mut files = vec![("overview.nd2", nd2(&nuclei, &overview_from_well(), COARSE_PX, STAGE_UM, 1))];
    let fields =
        FIELDS.iter().zip(2..).map(|(field, noise_seed)| (field.0, fine(&nuclei, *field, noise_seed)));
    files.extend(fields);
    files.push(("stranger.nd2", fine(&well(2), ("", [-60.0, 40.0], [0.0; 2]), 20)));
    files
}

/// The last line about a fine file.
fn last_line(sandbox: &Sandbox, file: &str) -> Option<Value> {
    sandbox.lines("registrations").into_iter().rfind(|line| line["moving"]["file"] == file)
}

type Row = BTreeMap<String, String>;

/// A table's rows by the names of the columns.
fn rows(sandbox: &Sandbox, table: &str) -> Vec<Row> {
    let text = sandbox.table(table);
    let mut lines = text.lines();
    let names: Vec<_> = lines.next().unwrap().split(',').map(str::to_owned).collect();
    let row = |line: &str| {
        // commas between quotes part nothing
        let mut is_quoted = false;
        let is_end = |c: char| {
            is_quoted ^= c == '"';
            c == ',' && !is_quoted
        };
        names.iter().cloned().zip(line.split(is_end).map(str::to_owned)).collect()
    };
    lines.map(row).collect()
}

fn number(row: &Row, column: &str) -> f64 {
    row[column].parse().unwrap_or_else(|_| panic!("{column}: {row:?}"))
}

/// How far a transform to the overview is off at most, in pixels of the overview.
fn error_px(line: &Value, offset_um: [f64; 2]) -> f64 {
    let found: Affine = serde_json::from_value(line["reference_from_moving"].clone()).unwrap();
    let truth = overview_from_well().after(&fine_from_well(offset_um).inverse().unwrap());
    let last = FINE_PX as f64 - 1.0;
    let error = |corner: [f64; 2]| {
        let ([x, y], [true_x, true_y]) = (found.apply(corner), truth.apply(corner));
        (x - true_x).hypot(y - true_y)
    };
    [[0.0, 0.0], [last, 0.0], [0.0, last], [last, last]].into_iter().map(error).fold(0.0, f64::max)
}

#[test]
fn the_others_tell_where_a_field_lies_that_does_not_tell_itself() {
    let sandbox = Sandbox::new();
    files().iter().for_each(|(name, bytes)| drop(sandbox.drop_file(name, bytes)));
    let (summary, code) = sandbox.scan(&[]);
    assert_eq!(code, 0);
    assert_eq!((&summary["registrations"], &summary["registrations_refused"]), (&8.into(), &1.into()));
    for (name, offset_um, _) in FIELDS {
        let line = last_line(&sandbox, name).unwrap_or_else(|| panic!("{name} has no line"));
        assert_eq!(line["event"], "registered", "{line}");
        let by_well = ["few.nd2", "outside.nd2"].contains(&name);
        assert_eq!(line["found_by"], if by_well { "well" } else { "descriptors" }, "{name}");
        assert_eq!(line["paired_by"], if name == "outside.nd2" { "offset" } else { "stage" });
        assert!(error_px(&line, offset_um) < 1.0, "{name}: {} px", error_px(&line, offset_um));
        assert!(line["log10_chance"].as_f64().unwrap() <= -6.0);
    }
    let few = last_line(&sandbox, "few.nd2").unwrap();
    assert!(few["direct"]["reason"].is_string(), "{few}");
    assert!(last_line(&sandbox, "outside.nd2").unwrap()["direct"].is_null());
    assert_eq!(last_line(&sandbox, "stranger.nd2").unwrap()["event"], "refused");

    let wells = rows(&sandbox, "wells.csv");
    assert_eq!(wells.len(), 1, "{wells:?}");
    assert_eq!((number(&wells[0], "n_fields"), number(&wells[0], "n_outliers")), (6.0, 1.0));
    for (axis, column) in ["offset_x_um", "offset_y_um"].iter().enumerate() {
        assert!((number(&wells[0], column) - OFFSET_UM[axis]).abs() < 2.0, "{wells:?}");
    }
    assert!((number(&wells[0], "image_rotation_deg") + ROTATION_DEG).abs() < 0.3, "{wells:?}");
    assert!(number(&wells[0], "rms_um") < 3.0 && wells[0]["plate_rotation_deg"].is_empty(), "{wells:?}");
    for row in rows(&sandbox, "registrations.csv") {
        let is_lost = row["moving_file"] == "lost.nd2";
        if row["moving_file"] == "stranger.nd2" {
            assert_eq!((row["well_deviation_um"].as_str(), row["well_outlier"].as_str()), ("", ""));
            continue;
        }
        assert_eq!(row["well_outlier"], is_lost.to_string(), "{row:?}");
        assert_eq!(number(&row, "well_deviation_um") > 8.0, is_lost, "{row:?}");
    }

    let n_lines = sandbox.lines("registrations").len();
    assert_eq!(n_lines, 8 + 1 + 2, "the few are refused, withdrawn and found");
    sandbox.scan(&[]);
    assert_eq!(sandbox.lines("registrations").len(), n_lines, "nothing new");
}

#[test]
fn neither_order_nor_workers_nor_a_kill_change_what_stands() {
    let files = files();
    let n = files.len();
    let mut states = Vec::new();
    let orders: [(Vec<usize>, usize, &str); 3] = [
        ((0..n).collect(), 10, "1"),
        ((0..n).rev().collect(), 4, "2"),
        ((0..n).map(|i| (7 * i + 3) % n).collect(), 6, "5"),
    ];
    for (order, n_first, workers) in orders {
        let sandbox = Sandbox::new();
        for (position, index) in order.iter().enumerate() {
            sandbox.drop_file(files[*index].0, &files[*index].1);
            if position + 1 == n_first {
                sandbox.scan(&["--workers", workers]);
            }
        }
        sandbox.scan(&["--workers", workers]);
        states.push([sandbox.table("registrations.csv"), sandbox.table("wells.csv")]);
    }
    // a service that is killed while it works on them
    let sandbox = Sandbox::new();
    let mut daemon = sandbox.start();
    for (position, index) in [6, 3, 9, 1, 8, 0, 4, 2, 7, 5].into_iter().enumerate() {
        sandbox.drop_file(files[index].0, &files[index].1);
        if position % 3 == 2 {
            sandbox.wait_for_files(position);
            daemon.kill();
            daemon = sandbox.start();
        }
    }
    sandbox.wait_for_files(n);
    let is_found = |file: &str| last_line(&sandbox, file).is_some_and(|line| line["event"] == "registered");
    wait_until("the well is gone over", || FIELDS.iter().all(|(name, ..)| is_found(name)));
    assert_eq!(daemon.stop(), Some(0));
    // what the service had no time for
    sandbox.scan(&[]);
    states.push([sandbox.table("registrations.csv"), sandbox.table("wells.csv")]);
    let seqs: Vec<_> =
        sandbox.lines("registrations").iter().map(|line| line["seq"].as_u64().unwrap()).collect();
    assert_eq!(seqs, (1..=seqs.len() as u64).collect::<Vec<_>>());
    assert_eq!(states[0][0].lines().count(), 10, "{}", states[0][0]);
    for state in &states {
        assert_eq!(*state, states[0]);
    }
}

#[test]
fn without_the_fields_that_told_it_nothing_stands() {
    let sandbox = Sandbox::new();
    let files = files();
    files.iter().for_each(|(name, bytes)| drop(sandbox.drop_file(name, bytes)));
    sandbox.scan(&[]);
    let before = [sandbox.table("registrations.csv"), sandbox.table("wells.csv")];
    let other = well(3);
    for field in &FIELDS[..4] {
        sandbox.drop_file(field.0, &fine(&other, *field, 30));
    }
    let (summary, _) = sandbox.scan(&[]);
    // what is left: two that tell by themselves
    assert_eq!((&summary["registrations"], &summary["registrations_refused"]), (&2.into(), &6.into()));
    assert_eq!(rows(&sandbox, "wells.csv").len(), 0);
    let told: Vec<_> = sandbox
        .lines("registrations")
        .into_iter()
        .filter(|line| line["moving"]["file"] == "few.nd2")
        .collect();
    let events: Vec<_> = told.iter().map(|line| line["event"].as_str().unwrap()).collect();
    assert_eq!(events, ["refused", "withdrawn", "registered", "withdrawn", "refused"]);
    assert_eq!(told[4]["reason"], told[0]["reason"]);
    assert_eq!(last_line(&sandbox, "outside.nd2").unwrap()["event"], "withdrawn");
    // as they were
    for (name, bytes) in &files[1..5] {
        sandbox.drop_file(name, bytes);
    }
    sandbox.scan(&[]);
    assert_eq!([sandbox.table("registrations.csv"), sandbox.table("wells.csv")], before);
}

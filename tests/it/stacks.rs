//! Stacks of focus steps: each slice, the maximum projection, the slice in focus.

use std::fs;

use scopewatch::formats::nd2::{Nd2Loop, Nd2Spec, Nd2Writer};
use scopewatch::formats::{Plane, Samples};
use scopewatch::units::SampleType;
use serde_json::Value;

use crate::support::{Sandbox, field, output, scopewatch, tiff};

fn values(plane: &Plane) -> &[u16] {
    let Samples::Uint16(values) = &plane.samples else { panic!("another type") };
    values
}

/// The plane with every pixel made from its place: `(row, column)`.
fn drawn(like: &Plane, value: impl Fn(usize, usize) -> u16) -> Plane {
    let samples = (0..like.height * like.width).map(|index| value(index / like.width, index % like.width));
    Plane { samples: Samples::Uint16(samples.collect()), ..*like }
}

/// An ND2 of two time points with these slices.
fn nd2(slices: &[Plane]) -> Vec<u8> {
    let spec = Nd2Spec {
        loops: vec![
            Nd2Loop::Time { n: 2, period_ms: 1000.0 },
            Nd2Loop::ZStack { n: slices.len() as u32, step_um: 1.0 },
        ],
        ..Nd2Spec::new(slices[0].height as u32, slices[0].width as u32, SampleType::Uint16)
    };
    let mut writer = Nd2Writer::new(Vec::new(), spec).unwrap();
    for slice in slices.iter().chain(slices) {
        writer.write_frame(std::slice::from_ref(slice)).unwrap();
    }
    writer.finish().unwrap()
}

/// The answer for a stack, and the label images of the pictures that were segmented, by name.
fn segment(sandbox: &Sandbox, slices: &[Plane], z: &str) -> (Value, Vec<(String, Vec<u8>)>) {
    let file = sandbox.drop_file("stack.nd2", &nd2(slices));
    let out = sandbox.path().join(format!("segmented-{z}"));
    let mut command = scopewatch();
    command.arg("segment").arg(&file).arg("--out").arg(&out).args(["--z", z, "--json", "--geojson"]);
    let ended = output(&mut command);
    assert!(ended.status.success(), "{}", String::from_utf8_lossy(&ended.stderr));
    let answer: Value = serde_json::from_slice(&ended.stdout).unwrap();
    let labels = answer["planes"].as_array().unwrap().iter().map(|plane| {
        let name = plane["plane"].as_str().unwrap().to_owned();
        let labels = out.join(format!("stack.{name}.labels.tif"));
        assert_eq!(plane["labels"], labels.to_str().unwrap());
        (name, fs::read(labels).unwrap())
    });
    let labels = labels.collect();
    (answer, labels)
}

/// The label image of a single plane.
fn labels_of(sandbox: &Sandbox, plane: &Plane) -> Vec<u8> {
    let file = sandbox.drop_file("single.tif", &tiff(plane));
    let out = sandbox.path().join("single");
    assert!(output(scopewatch().arg("segment").arg(&file).arg("--out").arg(&out)).status.success());
    fs::read(out.join("single.labels.tif")).unwrap()
}

#[test]
fn the_maximum_projection_of_a_stack_is_segmented() {
    let sandbox = Sandbox::new();
    let whole = field(1);
    let part = |from: usize, to: usize| {
        drawn(&whole, |y, x| if (from..to).contains(&x) { values(&whole)[y * whole.width + x] } else { 0 })
    };
    let slices = [part(0, 50), part(40, 90), part(90, whole.width)];
    let (answer, labels) = segment(&sandbox, &slices, "max");
    let expected = labels_of(&sandbox, &whole);
    let names = ["t0p0zmaxc0", "t1p0zmaxc0"].map(str::to_owned);
    assert_eq!(labels, names.map(|name| (name, expected.clone())));
    assert_eq!(answer["planes"][0]["slices"], 3);
    let table = fs::read_to_string(answer["planes"][1]["objects"].as_str().unwrap()).unwrap();
    assert!(table.lines().nth(1).unwrap().contains(",1,,"), "time 1, no focus step: {table}");
    let single = sandbox.path().join("segmented-max/stack.p0.objects.geojson");
    assert!(fs::read_to_string(single).unwrap().contains("\"plane\":{\"c\":0,\"z\":0,\"t\":1}"));
}

#[test]
fn the_slice_in_focus_is_segmented() {
    let sandbox = Sandbox::new();
    let sharp = field(1);
    let blurred = |reach: usize| {
        let (height, width) = (sharp.height, sharp.width);
        drawn(&sharp, |y, x| {
            let rows = y.saturating_sub(reach)..(y + reach + 1).min(height);
            let columns = x.saturating_sub(reach)..(x + reach + 1).min(width);
            let n = rows.len() * columns.len();
            let sum: usize = rows
                .map(|row| columns.clone().map(|x| values(&sharp)[row * width + x] as usize).sum::<usize>())
                .sum();
            (sum / n) as u16
        })
    };
    let slices = [blurred(4), blurred(2), sharp.clone(), blurred(1)];
    let (answer, labels) = segment(&sandbox, &slices, "focus");
    let expected = labels_of(&sandbox, &sharp);
    let names = ["t0p0z2c0", "t1p0z2c0"].map(str::to_owned);
    assert_eq!(labels, names.map(|name| (name, expected.clone())));
    assert_eq!(answer["planes"][0]["slices"], 4);
    let (each, _) = segment(&sandbox, &slices, "each");
    assert_eq!(each["planes"].as_array().unwrap().len(), 8);
    assert_eq!(each["planes"][3]["slices"], 1);
}

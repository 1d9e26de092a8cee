//! Outlines for QuPath, as the command and the pipeline write them.

use std::fs;
use std::path::Path;

use scopewatch::formats::nd2::{Nd2Loop, Nd2Spec, Nd2Writer};
use scopewatch::formats::{self, Channel, Limits, Position, Samples};
use scopewatch::units::SampleType;
use serde_json::{Value, json};

use crate::support::{Sandbox, field, output, scopewatch};

/// An ND2 of `n` time points at two positions, in two channels of which the second shows nuclei.
fn nd2(n: u32) -> Vec<u8> {
    let channel = |name: &str| (Channel { name: name.into(), ..Channel::default() }, 1);
    let spec = Nd2Spec {
        channels: vec![channel("GFP"), channel("DAPI")],
        loops: vec![
            Nd2Loop::Time { n, period_ms: 1000.0 },
            Nd2Loop::Positions { points: vec![Position::default(); 2], relative: false },
        ],
        pixel_size_um: Some(0.5),
        ..Nd2Spec::new(96, 128, SampleType::Uint16)
    };
    let mut writer = Nd2Writer::new(Vec::new(), spec).unwrap();
    for frame in 0..2 * u64::from(n) {
        writer.write_frame(&[field(100 + frame), field(frame)]).unwrap();
    }
    writer.finish().unwrap()
}

fn labels(path: &Path) -> Vec<u16> {
    let file = Box::new(fs::File::open(path).unwrap());
    let plane = formats::open(file, &Limits::default()).unwrap().read_plane(0).unwrap();
    let Samples::Uint16(labels) = plane.samples else { panic!("another type") };
    labels
}

fn features(path: &Path) -> Vec<Value> {
    let collection: Value = serde_json::from_slice(&fs::read(path).unwrap()).unwrap();
    assert_eq!(collection["type"], "FeatureCollection");
    collection["features"].as_array().unwrap().clone()
}

/// The label image that the features of a plane draw: a pixel is inside where its centre is, by the even-odd rule.
fn drawn<'f>(features: impl Iterator<Item = &'f Value>, width: usize, n_pixels: usize) -> Vec<u16> {
    let mut labels = vec![0; n_pixels];
    for feature in features {
        let label = feature["properties"]["measurements"]["label"].as_u64().unwrap() as u16;
        let geometry = &feature["geometry"];
        let polygons = match geometry["type"].as_str().unwrap() {
            "Polygon" => vec![&geometry["coordinates"]],
            _ => geometry["coordinates"].as_array().unwrap().iter().collect(),
        };
        let rings: Vec<Vec<[f64; 2]>> = polygons
            .into_iter()
            .flat_map(|polygon| polygon.as_array().unwrap())
            .map(|ring| serde_json::from_value(ring.clone()).unwrap())
            .collect();
        assert!(rings.iter().all(|ring| ring.first() == ring.last() && ring.len() >= 5));
        for (index, drawn) in labels.iter_mut().enumerate() {
            let (x, y) = ((index % width) as f64 + 0.5, (index / width) as f64 + 0.5);
            let sides = rings.iter().flat_map(|ring| ring.windows(2));
            let crossed = sides.filter(|side| side[0][0] < x && (side[0][1] > y) != (side[1][1] > y));
            if crossed.count() % 2 == 1 {
                assert_eq!(*drawn, 0);
                *drawn = label;
            }
        }
    }
    labels
}

#[test]
fn segment_writes_one_collection_per_position_that_draws_the_labels() {
    let sandbox = Sandbox::new();
    let file = sandbox.drop_file("run.nd2", &nd2(2));
    let out = sandbox.path().join("segmented");
    let segment = || {
        let mut command = scopewatch();
        command.arg("segment").arg(&file).arg("--out").arg(&out).args(["--geojson", "--json"]);
        let ended = output(&mut command);
        assert!(ended.status.success(), "{}", String::from_utf8_lossy(&ended.stderr));
        serde_json::from_slice::<Value>(&ended.stdout).unwrap()
    };
    let answer = segment();
    let paths = [0, 1].map(|position| out.join(format!("run.p{position}.objects.geojson")));
    assert_eq!(answer["geojson"], json!(paths));
    for (position, path) in paths.iter().enumerate() {
        let features = features(path);
        for t in 0..2 {
            let of_plane = features.iter().filter(|feature| feature["geometry"]["plane"]["t"] == t);
            let expected = labels(&out.join(format!("run.t{t}p{position}z0c1.labels.tif")));
            assert!(expected.iter().any(|label| *label > 0));
            assert_eq!(drawn(of_plane.clone(), 128, expected.len()), expected);
            assert!(
                of_plane
                    .clone()
                    .all(|feature| feature["geometry"]["plane"] == json!({ "c": 1, "z": 0, "t": t }))
            );
        }
    }
    let before = paths.clone().map(|path| fs::read(path).unwrap());
    segment();
    assert_eq!(paths.map(|path| fs::read(path).unwrap()), before, "the same identifiers every time");
}

#[test]
fn a_scan_adds_the_outlines_of_planes_that_come_later() {
    let sandbox = Sandbox::new();
    let scan = |geojson: &str| {
        let mut command = scopewatch();
        command.arg("scan").arg(sandbox.inbox()).arg("--out").arg(sandbox.out());
        assert!(output(command.env("SCOPEWATCH__SEGMENTATION__GEOJSON", geojson)).status.success());
    };
    let path = |position: u32| sandbox.out().join(format!("objects/in/run.nd2.p{position}.objects.geojson"));
    let n_rows = || {
        let table = fs::read_to_string(sandbox.out().join("objects/in/run.nd2.objects.csv")).unwrap();
        table.lines().count() - 1
    };
    let ids = |position: u32| -> Vec<String> {
        let features = features(&path(position));
        features.iter().map(|feature| feature["id"].as_str().unwrap().to_owned()).collect()
    };
    sandbox.drop_file("run.nd2", &nd2(1));
    scan("true");
    let first = [ids(0), ids(1)];
    assert!(first.iter().all(|ids| !ids.is_empty()));
    assert_eq!(first.concat().len(), n_rows());
    sandbox.drop_file("run.nd2", &nd2(3));
    scan("true");
    let second = [ids(0), ids(1)];
    assert!(first.iter().zip(&second).all(|(first, second)| second.starts_with(first)));
    assert_eq!(second.concat().len(), n_rows());
    for (t, feature) in [(0, 0), (2, second[1].len() - 1)] {
        assert_eq!(features(&path(1))[feature]["geometry"]["plane"], json!({ "c": 1, "z": 0, "t": t }));
    }
    assert_eq!(fs::read_dir(sandbox.out().join("state/objects")).unwrap().count(), 0, "no part is left");
    sandbox.drop_file("run.nd2", &nd2(4));
    scan("false");
    assert!(!path(0).exists() && !path(1).exists(), "old ones beside a new table would mislead");
}

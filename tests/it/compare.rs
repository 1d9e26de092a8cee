//! `scopewatch compare`: relation, evidence of every stage, and the picture.

use std::path::Path;

use scopewatch::formats::{Plane, Samples};
use scopewatch::units::SampleType;
use serde_json::Value;

use crate::look_alikes::{deflated, exposure, mapped, part, turned};
use crate::support::{output, scopewatch, tiff};

/// The stages in their order; what is equal needs none of them.
const STAGES: [&str; 5] = ["code", "grey_map", "texture", "structure", "refinement"];

fn files(folder: &Path) {
    let first = exposure(1, 1);
    let dark = Plane { samples: Samples::Uint16(vec![100; 256 * 256]), ..first.clone() };
    for (name, bytes) in [
        ("first.tif", tiff(&first)),
        ("copy.tif", tiff(&first)),
        ("saved again.tif", deflated(&first)),
        ("turned.tif", tiff(&turned(&mapped(&first)))),
        ("part.tif", tiff(&part(&first))),
        ("again.tif", tiff(&exposure(1, 99))),
        ("other.tif", tiff(&exposure(4, 4))),
        ("dark.tif", tiff(&dark)),
        ("series.nd2", crate::look_alikes::series(&[exposure(6, 60), exposure(6, 61)])),
    ] {
        std::fs::write(folder.join(name), bytes).unwrap();
    }
}

fn compare(folder: &Path, arguments: &[&str]) -> (Option<i32>, String) {
    let ended = output(scopewatch().arg("compare").args(arguments).current_dir(folder));
    (ended.status.code(), String::from_utf8(ended.stdout).unwrap())
}

#[test]
fn the_evidence_of_every_stage_is_told_up_to_where_it_stopped() {
    let folder = tempfile::tempdir().unwrap();
    files(folder.path());
    for (other, relation, stops) in [
        ("copy.tif", "identical_file", &["bytes"][..]),
        ("saved again.tif", "identical_pixels", &["pixels"]),
        ("dark.tif", "blank", &["code"]),
        ("other.tif", "distinct", &["structure", "refinement"]),
        ("turned.tif", "same_exposure_mapped", &["refinement"]),
        ("part.tif", "partial_overlap", &["refinement"]),
        ("again.tif", "reacquired", &["refinement"]),
    ] {
        let (code, text) = compare(folder.path(), &["first.tif", other, "--json"]);
        assert_eq!((code, text.lines().count()), (Some(0), 1), "{text}");
        let answer: Value = serde_json::from_str(&text).unwrap();
        assert_eq!((&answer["relation"], &answer["file_b"]), (&relation.into(), &other.into()), "{answer}");
        let confidence = answer["confidence"].as_f64().unwrap();
        assert!((0.0..=1.0).contains(&confidence) && answer["reason"].is_string(), "{answer}");
        let stop = answer["stopped_at"].as_str().unwrap();
        assert!(stops.contains(&stop), "{answer}");
        let n_run = STAGES.iter().position(|stage| *stage == stop).map_or(0, |place| place + 1);
        let evidence = answer["evidence"].as_object().unwrap();
        assert_eq!(evidence.len(), STAGES.len());
        for (place, stage) in STAGES.iter().enumerate() {
            assert_eq!(evidence[*stage].is_object(), place < n_run, "{stage} of {answer}");
        }
        assert!(answer.get("picture").is_none());
    }
    let answer = compare(folder.path(), &["first.tif", "turned.tif", "--json"]).1;
    let answer: Value = serde_json::from_str(&answer).unwrap();
    let figure = |stage: &str, name: &str| answer["evidence"][stage][name].as_f64().unwrap();
    assert!(figure("refinement", "s") > 0.99 && figure("refinement", "q") < 0.1, "{answer}");
    assert!(figure("refinement", "r") > 0.9 && figure("grey_map", "r_squared") > 0.9, "{answer}");
    assert_eq!(answer["evidence"]["code"]["orientation"], answer["orientation"]);
}

#[test]
fn a_picture_is_drawn_on_request_of_one_pair_and_never_over_a_file() {
    let folder = tempfile::tempdir().unwrap();
    files(folder.path());
    for (other, common, size) in [
        ("copy.tif", Some([256, 256]), (4 * 256 + 3 * 8, 256)),
        ("turned.tif", Some([256, 256]), (4 * 256 + 3 * 8, 256)),
        ("part.tif", Some([190, 200]), (4 * 200 + 3 * 8, 190)),
        ("again.tif", Some([256, 256]), (4 * 256 + 3 * 8, 256)),
        ("other.tif", None, (2 * 256 + 8, 256)),
        ("dark.tif", None, (2 * 256 + 8, 256)),
    ] {
        let arguments = ["first.tif", other, "--picture", "pair.png", "--json"];
        let (code, text) = compare(folder.path(), &arguments);
        let answer: Value = serde_json::from_str(&text).unwrap();
        let picture = &answer["picture"];
        assert_eq!((code, &picture["file"]), (Some(0), &"pair.png".into()), "{answer}");
        let told = ["common_height_px", "common_width_px"].map(|key| picture[key].as_u64());
        assert_eq!(told, common.map_or([None; 2], |common| common.map(Some)), "{other}");
        let n_panels = if common.is_some() { 4 } else { 2 };
        assert_eq!(picture["panels"].as_array().map(Vec::len), Some(n_panels));
        let png = std::fs::read(folder.path().join("pair.png")).unwrap();
        let png = scopewatch::formats::open(Box::new(std::io::Cursor::new(png)), &Default::default())
            .unwrap()
            .read_plane(0)
            .unwrap();
        assert_eq!((png.width, png.height, png.samples.sample_type()), (size.0, size.1, SampleType::Uint8));
    }
    let text = compare(folder.path(), &["first.tif", "other.tif", "--picture", "pair.png"]).1;
    assert!(text.contains("pair.png: A and B as they are"), "{text}");
    let before = std::fs::read(folder.path().join("first.tif")).unwrap();
    for refused in [
        &["first.tif", "copy.tif", "--picture", "./first.tif"][..],
        &["series.nd2", "series.nd2", "--picture", "series.png"],
    ] {
        assert_eq!(compare(folder.path(), refused).0, Some(2), "{refused:?}");
    }
    assert_eq!(std::fs::read(folder.path().join("first.tif")).unwrap(), before);
    let one = ["series.nd2", "series.nd2", "--plane-a", "t0p0z0c0", "--plane-b", "t1p0z0c0"];
    assert_eq!(compare(folder.path(), &[&one[..], &["--picture", "series.png"]].concat()).0, Some(0));
    let nowhere = ["first.tif", "copy.tif", "--picture", "no/folder/pair.png", "--json"];
    let (code, text) = compare(folder.path(), &nowhere);
    assert!(code == Some(1) && text.contains("\"kind\":\"output\""), "{code:?} {text}");
}

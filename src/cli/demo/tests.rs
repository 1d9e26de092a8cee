use std::io::Cursor;

use super::found::{Found, cells};
use super::score::{Kind, Score, score};
use super::{Exit, make_room};
use crate::analysis::synthesis::truth::{Condition, Truth};
use crate::analysis::synthesis::{Acquisition, AcquisitionSettings, Studio};

fn truth() -> Truth {
    let settings =
        AcquisitionSettings { side_px: 128, n_wells: 2, n_fields: 1, ..AcquisitionSettings::default() };
    let studio = Studio::new(Acquisition::plan(settings).unwrap());
    let written = (0..studio.plan().n_files())
        .map(|file| studio.write(file, &mut Cursor::new(Vec::new()), || ()).unwrap());
    let mut truth = studio.truth(written.collect());
    // fields as small as these share a few nuclei only
    truth.registrations.iter_mut().for_each(|registration| registration.is_expected = true);
    truth
}

/// Reports that say exactly what is true.
fn perfect(truth: &Truth) -> Found {
    let plane = |file: &str, plane: crate::units::PlaneIndex| (file.to_owned(), plane.to_string());
    let planes = truth.files.iter().flat_map(|file| file.planes.iter().map(move |own| (file, own)));
    let is_growing = |file: &str| truth.growing.as_ref().is_some_and(|growing| growing.file == file);
    let relations = truth.relations.iter().map(|own| {
        // the order of the two is the representative's business
        (plane(&own.file_b, own.plane_b), plane(&own.file_a, own.plane_a), own.relation.name().to_owned())
    });
    let registrations = truth.registrations.iter().map(|own| {
        let moving = plane(&own.moving_file, own.moving_plane);
        (moving, plane(&own.reference_file, own.reference_plane), own.reference_from_moving)
    });
    let rejected = truth.files.iter().filter(|file| file.condition == Condition::Rejected);
    Found {
        pairs: relations.collect(),
        blank: planes
            .clone()
            .filter(|(_, own)| own.is_blank)
            .map(|(file, own)| plane(&file.file, own.plane))
            .collect(),
        rejected: rejected.map(|file| file.file.clone()).collect(),
        planes: planes.map(|(file, own)| (plane(&file.file, own.plane), !is_growing(&file.file))).collect(),
        registrations: registrations.collect(),
    }
}

fn kind<'s>(score: &'s Score, name: &str) -> &'s Kind {
    score.kinds.iter().find(|kind| kind.name == name).unwrap()
}

#[test]
fn true_reports_are_perfect() {
    let truth = truth();
    let score = score(&truth, &perfect(&truth));
    assert!(score.is_perfect(), "{score}");
    for kind in &score.kinds {
        assert!(kind.n_planted > 0, "{} is planted", kind.name);
        assert_eq!(kind.n_planted, kind.n_found, "{}", kind.name);
    }
    let json = score.to_json(std::path::Path::new("reports"));
    assert_eq!(json["planted"], json["found"]);
    assert_eq!((&json["missed"], &json["invented"]), (&0.into(), &0.into()));
}

#[test]
fn what_is_missed_and_what_is_invented_is_counted_and_named() {
    let truth = truth();
    let mut found = perfect(&truth);
    let (_, _, relation) = &mut found.pairs[0];
    let was = std::mem::replace(relation, "uncertain".to_owned());
    found.rejected.clear();
    let twice = found.planes[0].clone();
    found.planes.push(twice);
    found.registrations[0].2.rows[0][2] += 2.0;
    let score = score(&truth, &found);
    assert_eq!((kind(&score, &was).missed.len(), kind(&score, "uncertain").invented.len()), (1, 1));
    assert_eq!(kind(&score, "rejected").missed.len(), 2);
    assert_eq!(kind(&score, "planes").invented.len(), 1);
    let registered = kind(&score, "registered_40x");
    assert_eq!((registered.missed.len(), registered.invented.len()), (1, 1));
    assert!(registered.invented[0].ends_with("2.00 px off"), "{registered:?}");
    let text = score.to_string();
    assert!(text.contains("invented: uncertain ") && text.contains("missed: rejected "), "{text}");
    assert!(!score.is_perfect());
}

#[test]
fn a_registration_that_is_not_expected_is_neither_missed_nor_invented() {
    let mut truth = truth();
    let mut found = perfect(&truth);
    truth.registrations[0].is_expected = false;
    assert!(score(&truth, &found).is_perfect());
    found.registrations.remove(0);
    assert!(score(&truth, &found).is_perfect());
}

#[test]
fn planes_reported_only_at_the_end_are_missed_while_growing() {
    let truth = truth();
    let mut found = perfect(&truth);
    found.planes.iter_mut().for_each(|(_, is_complete)| *is_complete = true);
    let score = score(&truth, &found);
    let growing = kind(&score, "reported_while_growing");
    assert_eq!((growing.n_found, growing.missed.len()), (0, growing.n_planted));
    assert_eq!(kind(&score, "planes").n_found, kind(&score, "planes").n_planted);
}

#[test]
fn cells_are_read_as_they_are_written() {
    let text = "a,b\n\"x,y\",\"say \"\"z\"\"\"\n'=1,\nlast,\"two\nlines\"";
    assert_eq!(cells(text), [["a", "b"], ["x,y", "say \"z\""], ["=1", ""], ["last", "two\nlines"]]);
    assert!(cells("").is_empty());
}

#[test]
fn only_the_folder_of_a_demo_is_replaced() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("demo");
    make_room(&out).unwrap();
    std::fs::write(out.join("watched/old.tif"), b"old").unwrap();
    std::fs::write(out.join("mine.txt"), b"mine").unwrap();
    make_room(&out).unwrap();
    assert!(!out.join("watched/old.tif").exists());
    assert!(out.join("mine.txt").exists(), "what a demo did not make stays");
    let other = folder.path().join("other");
    std::fs::create_dir(&other).unwrap();
    std::fs::write(other.join("mine.txt"), b"mine").unwrap();
    assert!(make_room(&other).unwrap_err().error.to_string().contains("not the folder of an earlier demo"));
    assert_eq!(std::fs::read(other.join("mine.txt")).unwrap(), b"mine");
    let file = make_room(&other.join("mine.txt")).unwrap_err();
    assert!(file.exit == Exit::Usage && file.error.to_string().contains("expected a folder"), "{file:?}");
}

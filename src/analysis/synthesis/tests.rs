use std::collections::{BTreeMap, BTreeSet};
use std::io::Cursor;

use super::truth::{Condition, Relation, Truth};
use super::{Acquisition, AcquisitionSettings, FormatChoice, Studio};
use crate::analysis::identity::{IdentityPatterns, identify};
use crate::formats::{Limits, open};

fn small() -> AcquisitionSettings {
    AcquisitionSettings { side_px: 192, n_wells: 3, n_fields: 1, ..AcquisitionSettings::default() }
}

fn make(settings: AcquisitionSettings) -> (Truth, Vec<Vec<u8>>) {
    let studio = Studio::new(Acquisition::plan(settings).unwrap());
    let mut written = Vec::new();
    let mut files = Vec::new();
    for file in 0..studio.plan().n_files() {
        let mut out = Cursor::new(Vec::new());
        written.push(studio.write(file, &mut out, || ()).unwrap());
        files.push(out.into_inner());
    }
    (studio.truth(written), files)
}

#[test]
fn files_hold_what_the_truth_says() {
    for (format, n_times, n_z) in [
        (FormatChoice::Mixed, 1, 1),
        (FormatChoice::Tiff, 2, 2),
        (FormatChoice::OmeTiff, 2, 2),
        (FormatChoice::Nd2, 2, 2),
    ] {
        let (truth, files) = make(AcquisitionSettings { format, n_times, n_z, ..small() });
        let names: BTreeSet<_> = truth.files.iter().map(|file| file.file.as_str()).collect();
        assert_eq!(names.len(), files.len(), "every file has its own name");
        for (file, bytes) in truth.files.iter().zip(&files) {
            let opened = open(Box::new(Cursor::new(bytes.clone())), &Limits::default());
            if file.condition == Condition::Rejected {
                let is_readable = opened.is_ok_and(|mut container| container.read_plane(0).is_ok());
                assert!(!is_readable, "{}", file.file);
                continue;
            }
            let container = opened.unwrap_or_else(|error| panic!("{}: {error}", file.file));
            let metadata = container.metadata();
            assert_eq!((metadata.format, metadata.dims), (file.format, file.dims), "{}", file.file);
            let error = metadata.pixel_size_um.unwrap() / file.pixel_size_um.unwrap() - 1.0;
            assert!(error.abs() < 1e-6, "{}", file.file);
            let planes: Vec<_> = container.planes().iter().map(|entry| entry.index).collect();
            assert_eq!(planes, file.planes.iter().map(|plane| plane.plane).collect::<Vec<_>>());
            let stage_um =
                metadata.positions.first().map(|position| [position.x_um, position.y_um].map(Option::unwrap));
            assert_eq!(stage_um, file.stage_um, "{}", file.file);
        }
    }
}

#[test]
fn equal_samples_are_exactly_those_that_were_planted() {
    let (truth, files) = make(small());
    let mut by_digest = BTreeMap::<_, Vec<_>>::new();
    for file in &truth.files {
        for plane in &file.planes {
            by_digest.entry(&plane.sha256).or_default().push((&file.file, plane.plane));
        }
    }
    let equal: BTreeSet<_> =
        by_digest.values().filter(|planes| planes.len() > 1).map(|planes| (planes[0], planes[1])).collect();
    let of = |relation: &[Relation]| -> BTreeSet<_> {
        let chosen = truth.relations.iter().filter(|pair| relation.contains(&pair.relation));
        chosen.map(|pair| ((&pair.file_a, pair.plane_a), (&pair.file_b, pair.plane_b))).collect()
    };
    assert_eq!(equal, of(&[Relation::IdenticalFile, Relation::IdenticalPixels, Relation::StuckFrame]));
    for relation in Relation::ALL {
        assert!(!of(&[relation]).is_empty(), "{relation:?}");
    }
    let bytes = |name: &String| &files[truth.files.iter().position(|file| file.file == *name).unwrap()];
    for pair in &truth.relations {
        let is_same = pair.file_a != pair.file_b && bytes(&pair.file_a) == bytes(&pair.file_b);
        assert_eq!(is_same, pair.relation == Relation::IdenticalFile, "{pair:?}");
    }
}

#[test]
fn the_same_seed_gives_the_same_bytes_and_another_one_others() {
    let first = make(small());
    assert!(first == make(small()));
    let (other, _) = make(AcquisitionSettings { seed: 2, ..small() });
    let digests = |truth: &Truth| -> BTreeSet<_> {
        truth.files.iter().flat_map(|file| &file.planes).map(|plane| plane.sha256.clone()).collect()
    };
    assert!(digests(&first.0).is_disjoint(&digests(&other)));
}

/// Guards against arithmetic that differs between machines, compilers or thread counts.
#[test]
fn the_first_plane_is_what_it_always_was() {
    let (truth, _) = make(AcquisitionSettings { is_plain: true, ..small() });
    assert_eq!(truth.files[0].file, "plate1/10x/WellB02_Point0001_ChannelDAPI,GFP_Seq0000.nd2");
    assert_eq!(
        truth.files[0].planes[0].sha256,
        "4fa7e1c98b0bcad95141e566c8eceed6049c0b15962129fcc70ee2ae618a737e"
    );
}

#[test]
fn registrations_carry_nuclei_onto_themselves() {
    for is_detail_mirrored in [false, true] {
        let settings =
            AcquisitionSettings { is_detail_mirrored, lists_nuclei: true, side_px: 512, ..small() };
        let plan = Acquisition::plan(AcquisitionSettings { is_plain: true, ..settings }).unwrap();
        let studio = Studio::new(plan);
        let written = (0..studio.plan().n_files())
            .map(|file| studio.write(file, &mut Cursor::new(Vec::new()), || ()).unwrap());
        let truth = studio.truth(written.collect());
        assert_eq!(truth.registrations.len(), 3);
        for registration in &truth.registrations {
            let nuclei = |name: &str| &truth.file(name).unwrap().planes[0].nuclei;
            let (moving, reference) =
                (nuclei(&registration.moving_file), nuclei(&registration.reference_file));
            let carried = moving.iter().map(|place| registration.reference_from_moving.apply(*place));
            let n_found = carried
                .filter(|[x, y]| reference.iter().any(|[u, v]| (x - u).abs() < 1e-6 && (y - v).abs() < 1e-6))
                .count();
            assert_eq!(n_found, registration.n_nuclei_in_both);
            assert!(n_found >= 5, "{registration:?}");
            assert_eq!(registration.is_expected, n_found >= 16, "{registration:?}");
            assert_eq!(registration.mirrored, is_detail_mirrored);
            let scale = registration.reference_from_moving.decompose().scale;
            assert!((scale - 0.25).abs() < 1e-12);
        }
    }
}

#[test]
fn names_say_well_and_field() {
    let plan = Acquisition::plan(small()).unwrap();
    let patterns = IdentityPatterns::default();
    for file in 0..plan.n_files() {
        let path = plan.path(file);
        if path.ends_with(".ome.tif") || path.starts_with("exports/") {
            continue;
        }
        let identity = identify(path, &patterns);
        assert_eq!(identity.well.as_deref(), Some(plan.files[file].well.as_str()), "{path}");
        assert!(identity.site.is_some(), "{path}");
    }
}

#[test]
fn settings_outside_their_range_are_refused() {
    let refused = |settings: AcquisitionSettings| settings.check().unwrap_err().to_string();
    assert_eq!(
        refused(AcquisitionSettings { n_wells: 0, ..small() }),
        "expected wells from 1 to 308, found 0"
    );
    assert!(refused(AcquisitionSettings { side_px: 100_000, ..small() }).contains("a side in pixels"));
    assert!(refused(AcquisitionSettings { n_channels: 5, ..small() }).contains("channels from 1 to 4"));
    // each in its range, but too much together
    let format = FormatChoice::Nd2;
    let many =
        AcquisitionSettings { n_wells: 308, n_fields: 100, n_times: 10_000, n_z: 1000, format, ..small() };
    assert!(refused(many).contains("planes in all from 1 to 1000000"));
    let long =
        AcquisitionSettings { n_wells: 1, n_times: 1000, side_px: 2048, ..AcquisitionSettings::default() };
    assert!(refused(long.clone()).contains("bytes in a file from 1 to 4227858432"));
    assert_eq!(AcquisitionSettings { format, ..long }.check(), Ok(()));
}

#[test]
fn the_growing_file_can_be_cut_after_each_frame() {
    let (truth, files) = make(small());
    let growing = truth.growing.as_ref().unwrap();
    let place = truth.files.iter().position(|file| file.file == growing.file).unwrap();
    assert_eq!(growing.n_bytes_after_frame.len(), truth.files[place].dims.t as usize);
    assert!(growing.n_bytes_after_frame.is_sorted());
    for end in &growing.n_bytes_after_frame {
        let cut = files[place][..*end as usize].to_vec();
        assert!(open(Box::new(Cursor::new(cut)), &Limits::default()).is_err(), "not complete at {end}");
    }
    assert!(truth.file(&growing.sibling).is_some());
}

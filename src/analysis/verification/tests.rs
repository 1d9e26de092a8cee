use half::f16;
use image::ExtendedColorType;
use image::codecs::jpeg::{JpegDecoder, JpegEncoder};

use super::placement::Shape;
use super::*;
use crate::analysis::hashing::{ORIENTATION_NAMES, plane_features};
use crate::analysis::synthesis::{FieldSettings, Nucleus, Random, expose, place_nuclei};
use crate::formats::Samples;

const SEEDS: [u64; 3] = [1, 2, 3];

fn settings() -> FieldSettings {
    FieldSettings { height: 321, width: 384, n_nuclei: 45, ..FieldSettings::default() }
}

fn nuclei(seed: u64) -> Vec<Nucleus> {
    place_nuclei(&settings(), &mut Random::new(seed))
}

fn field(seed: u64) -> Plane {
    expose(&settings(), &nuclei(seed), seed)
}

fn values(plane: &Plane) -> Vec<f64> {
    match &plane.samples {
        Samples::Uint16(samples) => samples.iter().map(|&sample| f64::from(sample)).collect(),
        other => panic!("expected uint16, found {:?}", other.sample_type()),
    }
}

fn mapped(plane: &Plane, map: impl Fn(f64) -> f64) -> Plane {
    let samples = values(plane).into_iter().map(|v| map(v).round().clamp(0.0, 65535.0) as u16).collect();
    Plane { samples: Samples::Uint16(samples), ..*plane }
}

/// Stretched to 8 bits.
fn bytes(plane: &Plane) -> Plane {
    let values = values(plane);
    let mut sorted = values.clone();
    sorted.sort_unstable_by(f64::total_cmp);
    let (low, high) = (sorted[sorted.len() / 200], sorted[sorted.len() - sorted.len() / 200]);
    let stretched = values.iter().map(|v| ((v - low) * 255.0 / (high - low)).round().clamp(0.0, 255.0) as u8);
    Plane { samples: Samples::Uint8(stretched.collect()), ..*plane }
}

fn jpeg(plane: &Plane, quality: u8) -> Plane {
    let plane = bytes(plane);
    let mut file = Vec::new();
    let (width, height) = (plane.width as u32, plane.height as u32);
    JpegEncoder::new_with_quality(&mut file, quality)
        .encode(plane.samples.as_bytes(), width, height, ExtendedColorType::L8)
        .unwrap();
    let mut samples = vec![0; plane.width * plane.height];
    image::ImageDecoder::read_image(JpegDecoder::new(std::io::Cursor::new(file)).unwrap(), &mut samples)
        .unwrap();
    Plane { samples: Samples::Uint8(samples), ..plane }
}

/// A plane whose pixel (y, x) is that of `plane` at `from(y, x)`.
fn drawn(plane: &Plane, (height, width): Shape, from: impl Fn(usize, usize) -> (usize, usize)) -> Plane {
    let Samples::Uint16(samples) = &plane.samples else { panic!("expected uint16") };
    let at = |(y, x): (usize, usize)| samples[y * plane.width + x];
    let drawn = (0..height * width).map(|place| at(from(place / width, place % width))).collect();
    Plane { height, width, n_samples: 1, samples: Samples::Uint16(drawn) }
}

fn turned(plane: &Plane, orientation: &str) -> Plane {
    let (h, w) = (plane.height, plane.width);
    match orientation {
        "identity" => plane.clone(),
        "rot90" => drawn(plane, (w, h), |y, x| (x, w - 1 - y)),
        "rot180" => drawn(plane, (h, w), |y, x| (h - 1 - y, w - 1 - x)),
        "rot270" => drawn(plane, (w, h), |y, x| (h - 1 - x, y)),
        "flip_rows" => drawn(plane, (h, w), |y, x| (h - 1 - y, x)),
        "flip_columns" => drawn(plane, (h, w), |y, x| (y, w - 1 - x)),
        "transpose" => drawn(plane, (w, h), |y, x| (x, y)),
        "anti_transpose" => drawn(plane, (w, h), |y, x| (h - 1 - x, w - 1 - y)),
        other => panic!("{other}"),
    }
}

fn crop(plane: &Plane, (top, left): Shape, shape: Shape) -> Plane {
    drawn(plane, shape, |y, x| (top + y, left + x))
}

/// Means of two by two pixels, rounded.
fn binned(plane: &Plane) -> Plane {
    let (height, width) = (plane.height / 2, plane.width / 2);
    let values = values(plane);
    let mean = |place: usize| {
        let top = place / width * 2 * plane.width + place % width * 2;
        let sum = values[top] + values[top + 1] + values[top + plane.width] + values[top + plane.width + 1];
        (sum / 4.0).round() as u16
    };
    Plane { height, width, n_samples: 1, samples: Samples::Uint16((0..height * width).map(mean).collect()) }
}

fn verdict(a: &Plane, b: &Plane) -> Verdict {
    verify(a, b, (&plane_features(a), &plane_features(b)), &VerificationSettings::default())
}

#[track_caller]
fn check(a: &Plane, b: &Plane, expected: Relation) -> Verdict {
    let verdict = verdict(a, b);
    assert_eq!(verdict.relation, expected, "{verdict:?}");
    verdict
}

type GreyMap = Box<dyn Fn(f64) -> f64>;

#[test]
fn grey_maps_of_one_exposure_are_seen_through() {
    for seed in SEEDS {
        let plane = field(seed);
        let high = values(&plane).into_iter().fold(0.0, f64::max);
        let maps: [(&str, GreyMap); 5] = [
            ("gain", Box::new(|v| v * 0.5)),
            ("offset", Box::new(|v| v * 0.8 + 1310.0)),
            ("gamma 0.5", Box::new(move |v| (v / high).sqrt() * 65535.0)),
            ("gamma 2", Box::new(move |v| (v / high).powi(2) * 65535.0)),
            ("coarse", Box::new(|v| (v / 64.0).floor())),
        ];
        for (name, map) in maps {
            let found = check(&plane, &mapped(&plane, map), Relation::SameExposureMapped);
            assert!(found.confidence > 0.9, "{name}: {found:?}");
        }
        let found = check(&plane, &mapped(&plane, |v| 65535.0 - v), Relation::SameExposureMapped);
        assert!(found.is_inverted);
        check(&plane, &bytes(&plane), Relation::SameExposureMapped);
    }
}

#[test]
fn turned_and_mirrored_copies_are_found_with_their_orientation() {
    for (seed, orientation) in (1..).zip(ORIENTATION_NAMES).skip(1) {
        let plane = field(seed);
        let found = check(&plane, &turned(&plane, orientation), Relation::SameExposureMapped);
        let place = found.placement.unwrap();
        assert_eq!((place.orientation_name(), place.scale), (orientation, 1.0));
        assert_eq!((place.shift_row_px, place.shift_column_px), (0.0, 0.0));
    }
}

#[test]
fn lossy_copies_are_found() {
    for seed in SEEDS {
        let plane = field(seed);
        check(&plane, &jpeg(&plane, 90), Relation::SameExposureLossy);
        check(&plane, &jpeg(&plane, 75), Relation::SameExposureLossy);
        let found = check(&plane, &binned(&plane), Relation::SameExposureLossy);
        assert!((found.placement.unwrap().scale - 2.0).abs() < 0.01, "{found:?}");
        check(&plane, &binned(&turned(&plane, "rot90")), Relation::SameExposureLossy);
    }
}

#[test]
fn crops_are_found_at_their_place() {
    for seed in SEEDS {
        let plane = field(seed);
        for (corner, shape) in [((11, 29), (290, 340)), ((60, 101), (230, 251))] {
            let found = check(&plane, &crop(&plane, corner, shape), Relation::PartialOverlap);
            let place = found.placement.unwrap();
            let shift = (place.shift_row_px, place.shift_column_px);
            assert_eq!(shift, (corner.0 as f64, corner.1 as f64), "{found:?}");
        }
    }
}

#[test]
fn tiles_of_one_mosaic_are_no_copies_of_one_another() {
    for seed in SEEDS {
        let plane = field(seed);
        let (left, right) = (crop(&plane, (0, 0), (290, 340)), crop(&plane, (0, 60), (290, 340)));
        let found = check(&left, &right, Relation::Uncertain);
        assert!(found.reason.contains("tiles of a mosaic"), "{found:?}");
    }
}

#[test]
fn another_exposure_is_never_a_duplicate() {
    for seed in SEEDS {
        let (plane, nuclei) = (field(seed), nuclei(seed));
        check(&plane, &expose(&settings(), &nuclei, seed + 100), Relation::Reacquired);
        let moved: Vec<_> = nuclei.iter().map(|n| Nucleus { x: n.x + 3.0, y: n.y - 2.0, ..*n }).collect();
        let found = verdict(&plane, &expose(&settings(), &moved, seed + 100));
        assert!(!found.relation.is_duplicate() && found.relation != Relation::Distinct, "{found:?}");
        let again = jpeg(&expose(&settings(), &nuclei, seed + 100), 75);
        assert!(!verdict(&plane, &again).relation.is_duplicate());
        let half = binned(&expose(&settings(), &nuclei, seed + 100));
        assert!(!verdict(&plane, &half).relation.is_duplicate());
    }
}

#[test]
fn a_turned_likeness_with_other_noise_is_nothing() {
    for (seed, orientation) in (1..).zip(ORIENTATION_NAMES).skip(1) {
        let again = expose(&settings(), &nuclei(seed), seed + 100);
        let found = check(&field(seed), &turned(&again, orientation), Relation::Distinct);
        assert!(found.reason.starts_with("alike when turned"), "{found:?}");
    }
}

#[test]
fn other_scenes_are_no_duplicates() {
    for seed in SEEDS {
        let (plane, nuclei) = (field(seed), nuclei(seed));
        check(&plane, &field(seed + 50), Relation::Distinct);
        // every nucleus wandered its own way
        let mut random = Random::new(seed);
        let wander =
            |n: &Nucleus| Nucleus { x: n.x + 9.0 * random.normal(), y: n.y + 9.0 * random.normal(), ..*n };
        let later: Vec<_> = nuclei.iter().map(wander).collect();
        let found = verdict(&plane, &expose(&settings(), &later, seed + 7));
        assert!(!found.relation.is_duplicate(), "{found:?}");
        // a neighbouring tile with a fifth in common
        let next: Vec<_> = nuclei.iter().map(|n| Nucleus { x: n.x - 307.0, ..*n }).collect();
        assert!(!verdict(&plane, &expose(&settings(), &next, seed + 8)).relation.is_duplicate());
    }
}

#[test]
fn planes_that_show_nothing_are_blank() {
    let plane = field(1);
    let empty = |seed| expose(&settings(), &[], seed);
    check(&empty(1), &empty(2), Relation::Blank);
    check(&plane, &empty(1), Relation::Blank);
    check(&mapped(&plane, |_| 7.0), &plane, Relation::Blank);
    let none = Plane { height: 0, width: 0, n_samples: 1, samples: Samples::Uint16(Vec::new()) };
    check(&none, &plane, Relation::Blank);
}

#[test]
fn exchanging_the_planes_mirrors_the_verdict() {
    let plane = field(4);
    let others = [
        turned(&plane, "rot90"),
        crop(&turned(&plane, "rot270"), (20, 31), (300, 280)),
        binned(&turned(&plane, "anti_transpose")),
        jpeg(&plane, 80),
        expose(&settings(), &nuclei(4), 99),
        field(5),
    ];
    for other in others {
        let (there, back) = (verdict(&plane, &other), verdict(&other, &plane));
        let shapes = [&plane, &other].map(|plane| (plane.height, plane.width));
        assert_eq!(there.clone().mirrored(shapes[0], shapes[1]), back);
        assert_eq!(there, verdict(&plane, &other));
        assert_eq!(there.relation, back.relation);
        assert!((there.confidence - back.confidence).abs() < 1e-6);
    }
    let crop = crop(&turned(&plane, "rot270"), (20, 31), (300, 280));
    let found = verdict(&crop, &plane).placement.unwrap();
    // the crop, turned back, begins 31 rows above and so on: its first corner lies outside by what was cut off
    assert_eq!(found.orientation_name(), "rot90");
    assert_eq!((found.shift_row_px, found.shift_column_px), (-10.0, -20.0));
}

#[test]
fn any_samples_and_sizes_are_taken_without_claims() {
    let mut random = Random::new(5);
    for (height, width) in [(1, 1), (1, 900), (2, 3), (7, 300), (16, 16), (33, 20), (63, 64), (70, 65)] {
        for n_samples in 1..=4 {
            let n = height * width * n_samples;
            let mut noise = || (0..n).map(|_| 300.0 * random.uniform()).collect::<Vec<f64>>();
            let planes = [
                Samples::Uint8(noise().iter().map(|&v| v as u8).collect()),
                Samples::Int32(noise().iter().map(|&v| v as i32 - 90).collect()),
                Samples::Uint64(noise().iter().map(|&v| u64::MAX - v as u64).collect()),
                Samples::Float16(noise().iter().map(|&v| f16::from_f64(v)).collect()),
                Samples::Float64(
                    noise().iter().map(|&v| if v < 30.0 { f64::NAN } else { v * 1e300 }).collect(),
                ),
            ]
            .map(|samples| Plane { height, width, n_samples, samples });
            for a in &planes {
                for b in &planes {
                    if a.samples.sample_type() != b.samples.sample_type() {
                        let found = verdict(a, b);
                        assert!(!found.relation.is_duplicate(), "{height} x {width}: {found:?}");
                        assert!(found.confidence.is_finite() && serde_json::to_string(&found).is_ok());
                    }
                }
            }
        }
    }
}

#[test]
fn colour_and_floating_point_copies_are_found() {
    let plane = field(6);
    let values = values(&plane);
    let float =
        Plane { samples: Samples::Float32(values.iter().map(|&v| (v / 4000.0) as f32).collect()), ..plane };
    check(&plane, &float, Relation::SameExposureMapped);
    let Samples::Uint8(grey) = bytes(&plane).samples else { panic!("expected uint8") };
    let colour = grey.iter().flat_map(|&v| [v, v / 2, 0]).collect();
    let colour = Plane { n_samples: 3, samples: Samples::Uint8(colour), ..plane };
    assert!(verdict(&plane, &colour).relation.is_duplicate());
}

#[test]
fn without_the_search_for_parts_far_codes_stop_at_once() {
    let (a, b) = (field(7), field(8));
    let settings = VerificationSettings { search_parts: false, ..VerificationSettings::default() };
    let found = verify(&a, &b, (&plane_features(&a), &plane_features(&b)), &settings);
    assert_eq!((found.relation, found.stopped_at), (Relation::Distinct, VerificationStage::Code));
    assert_eq!(found.evidence.grey_map, None);
}

#[test]
fn a_jpeg_is_told_from_that_of_another_exposure_by_its_rounding() {
    for seed in SEEDS {
        let (plane, again) = (field(seed), expose(&settings(), &nuclei(seed), 99));
        for quality in [50, 75, 90] {
            let found = check(&plane, &jpeg(&plane, quality), Relation::SameExposureLossy);
            let jpeg_of = found.evidence.refinement.unwrap().compression.unwrap();
            // neighbouring qualities differ in a few steps of their tables only
            assert!(jpeg_of.quality.abs_diff(quality) <= 1, "{jpeg_of:?}");
            assert!(jpeg_of.n_expected > 100.0, "{jpeg_of:?}");
            // two JPEGs have lost what would tell
            for (one, other) in [(&plane, &again), (&again, &plane)] {
                let jpeg_of_other = jpeg(other, quality);
                assert!(!verdict(one, &jpeg_of_other).relation.is_duplicate(), "quality {quality}");
                assert!(!verdict(&jpeg(one, quality), &jpeg_of_other).relation.is_duplicate());
            }
        }
    }
}

/// The panels of a picture, each as rows of grey values.
fn panels(picture: &Picture, widths: &[usize]) -> Vec<Vec<Vec<u8>>> {
    let grey = image::load_from_memory(&picture.png).unwrap().into_luma8();
    let (width, values) = (grey.width() as usize, grey.into_raw());
    assert_eq!(width, widths.iter().sum::<usize>() + 8 * (widths.len() - 1));
    let firsts = widths.iter().scan(0, |first, width| Some(std::mem::replace(first, *first + width + 8)));
    let panel = |(first, panel_width): (usize, &usize)| {
        values.chunks(width).map(|row| row[first..first + panel_width].to_vec()).collect()
    };
    firsts.zip(widths).map(panel).collect()
}

fn draw(a: &Plane, b: &Plane) -> (Verdict, Picture) {
    let [a, b] = [a, b].map(|plane| Prepared::new(plane, plane_features(plane)));
    let verdict = verify_prepared(&a, &b, &VerificationSettings::default());
    let placement = verdict.placement.as_ref().map(|placement| (placement, verdict.is_inverted));
    let picture = Picture::draw(&a, &b, placement).unwrap();
    (verdict, picture)
}

fn mean(panel: &[Vec<u8>]) -> f64 {
    let values = panel.iter().flatten().map(|&value| f64::from(value));
    values.clone().sum::<f64>() / values.count() as f64
}

/// Part of the pixels farther from the middle than this.
fn beyond(panel: &[Vec<u8>], distance: u8) -> f64 {
    let n = panel.iter().flatten().filter(|value| value.abs_diff(128) > distance).count();
    n as f64 / panel.iter().map(Vec::len).sum::<usize>() as f64
}

#[test]
fn a_picture_shows_both_planes_in_one_place_and_what_differs() {
    let plane = field(1);
    // as bright in the middle of the range, so that both are stretched alike
    let copy = turned(&mapped(&plane, |v| 3.0 * v + 50.0), "rot90");
    let (height, width) = (copy.height, copy.width);
    let (_, picture) = draw(&plane, &copy);
    assert_eq!(picture.common, Some((height, width)));
    let shown = panels(&picture, &[width; 4]);
    assert_eq!(shown[0], shown[1]);
    assert_eq!(beyond(&shown[2], 20), 0.0, "a copy does not differ");
    let same = mean(&shown[3]);
    assert!(same > 245.0, "its noise is the same: {same}");

    let again = expose(&settings(), &nuclei(1), 99);
    let (verdict, picture) = draw(&plane, &again);
    assert_eq!(verdict.relation, Relation::Reacquired);
    let shown = panels(&picture, &[plane.width; 4]);
    let differing = beyond(&shown[2], 32);
    assert!((0.1..0.6).contains(&differing), "beyond one deviation of noise: {differing}");
    // what the verdict says of the whole; edges of nuclei leave something that is no noise
    let r = verdict.evidence.refinement.and_then(|figures| figures.r).unwrap();
    let (other, mut grey) = (mean(&shown[3]), shown[3].concat());
    grey.sort_unstable();
    let median = (f32::from(grey[grey.len() / 2]) - 128.0) / 127.0;
    assert!((median - r).abs() < 0.1 && f64::from(r) < 0.2, "other noise: {median} for {r}");
    assert!(same - other > 90.0, "{same} {other}");
}

#[test]
fn a_picture_of_a_part_or_of_a_reduced_frame_shows_what_is_common_either_way() {
    let plane = field(2);
    let part = drawn(&plane, (210, 200), |y, x| (y + 31, x + 57));
    let reduced = drawn(&plane, (160, 192), |y, x| (2 * y, 2 * x));
    for (other, shape) in [(&part, (210, 200)), (&reduced, (160, 192))] {
        for (a, b) in [(&plane, other), (other, &plane)] {
            let (_, picture) = draw(a, b);
            assert_eq!(picture.common, Some(shape));
            let shown = panels(&picture, &[shape.1; 4]);
            assert_eq!(shown[0].len(), shape.0);
            assert!(mean(&shown[0]) > 0.0);
        }
    }
    let (_, picture) = draw(&plane, &part);
    let shown = panels(&picture, &[200; 4]);
    assert_eq!(shown[0], shown[1]);
}

#[test]
fn without_a_place_a_picture_shows_both_frames() {
    let (one, other) = (field(1), drawn(&field(3), (200, 150), |y, x| (y, x)));
    let [a, b] = [&one, &other].map(|plane| Prepared::new(plane, plane_features(plane)));
    let nowhere = Placement { orientation: 0, scale: 1.0, shift_row_px: 1e6, shift_column_px: 0.0 };
    for placement in [None, Some((&nowhere, false))] {
        let picture = Picture::draw(&a, &b, placement).unwrap();
        assert_eq!(picture.common, None);
        let shown = panels(&picture, &[one.width, other.width]);
        assert!(shown[1][..200].iter().flatten().any(|&value| value < 128));
        assert!(shown[1][200..].iter().flatten().all(|&value| value == 255), "white below the shorter one");
    }
    let nothing = Plane { height: 0, width: 0, n_samples: 1, samples: Samples::Uint16(Vec::new()) };
    let nothing = Prepared::new(&nothing, plane_features(&one));
    assert!(Picture::draw(&nothing, &nothing, None).is_err());
}

//! Copies, mapped copies, second exposures and stuck frames: the same tables whatever came first.

use std::collections::{BTreeMap, BTreeSet};

use scopewatch::analysis::synthesis::{FieldSettings, Random, expose, place_nuclei};
use scopewatch::formats::nd2::{Nd2Loop, Nd2Spec, Nd2Writer};
use scopewatch::formats::tiff::{WriteCompression, WriteOptions, encode};
use scopewatch::formats::{Channel, Plane, Samples};
use scopewatch::units::SampleType;

use crate::support::{Sandbox, tiff};

/// A field that is large enough for its noise to be measured; `noise_seed` makes another exposure of it.
pub(crate) fn exposure(seed: u64, noise_seed: u64) -> Plane {
    let settings = FieldSettings {
        height: 256,
        width: 256,
        n_nuclei: 25,
        diameter_px: 22.0,
        ..FieldSettings::default()
    };
    expose(&settings, &place_nuclei(&settings, &mut Random::new(seed)), noise_seed)
}

fn samples(plane: &Plane) -> &[u16] {
    let Samples::Uint16(samples) = &plane.samples else { panic!("fields have 16 bits") };
    samples
}

/// The same exposure with another contrast.
pub(crate) fn mapped(plane: &Plane) -> Plane {
    let samples = samples(plane).iter().map(|value| value * 2 + 100).collect();
    Plane { samples: Samples::Uint16(samples), ..plane.clone() }
}

/// The same exposure turned by a quarter.
pub(crate) fn turned(plane: &Plane) -> Plane {
    let (height, width) = (plane.height, plane.width);
    let at = |y: usize, x: usize| samples(plane)[(height - 1 - x) * width + y];
    let samples = (0..width).flat_map(|y| (0..height).map(move |x| (y, x))).map(|(y, x)| at(y, x)).collect();
    Plane { height: width, width: height, samples: Samples::Uint16(samples), ..plane.clone() }
}

/// A part of the frame.
pub(crate) fn part(plane: &Plane) -> Plane {
    let (height, width) = (190, 200);
    let row = |y: usize| samples(plane)[(31 + y) * plane.width + 17..][..width].iter().copied();
    let samples = (0..height).flat_map(row).collect();
    Plane { height, width, samples: Samples::Uint16(samples), ..plane.clone() }
}

pub(crate) fn deflated(plane: &Plane) -> Vec<u8> {
    let options = WriteOptions { compression: WriteCompression::Deflate, ..WriteOptions::default() };
    encode(std::slice::from_ref(plane), &options).unwrap()
}

/// A time series of one channel.
pub(crate) fn series(planes: &[Plane]) -> Vec<u8> {
    let spec = Nd2Spec {
        channels: vec![(Channel { name: "DAPI".into(), ..Channel::default() }, 1)],
        loops: vec![Nd2Loop::Time { n: planes.len() as u32, period_ms: 1000.0 }],
        ..Nd2Spec::new(256, 256, SampleType::Uint16)
    };
    let mut writer = Nd2Writer::new(Vec::new(), spec).unwrap();
    planes.iter().for_each(|plane| writer.write_frame(std::slice::from_ref(plane)).unwrap());
    writer.finish().unwrap()
}

/// Everything that is planted, by name.
fn acquisition() -> Vec<(&'static str, Vec<u8>)> {
    let (first, second) = (exposure(1, 1), exposure(2, 2));
    let frames: Vec<_> = (0..4).map(|time| exposure(3, 30 + time)).collect();
    let stuck = [&frames[0], &frames[1], &frames[1], &mapped(&frames[1]), &frames[3]].map(Clone::clone);
    vec![
        ("a/first.tif", tiff(&first)),
        ("a/second.tif", tiff(&second)),
        ("b/copy.tif", tiff(&first)),
        ("b/saved_again.tif", deflated(&first)),
        ("c/contrast.tif", tiff(&mapped(&first))),
        ("c/turned.tif", tiff(&turned(&first))),
        ("c/contrast_of_second.tif", tiff(&mapped(&second))),
        ("c/part_of_second.tif", tiff(&part(&second))),
        ("d/again.tif", tiff(&exposure(1, 99))),
        ("d/other.tif", tiff(&exposure(4, 4))),
        ("run.nd2", series(&stuck)),
        // expected repeats: silent
        ("plate/B02_s1_w1.tif", tiff(&exposure(5, 50))),
        ("plate/B02_s1_w2.tif", tiff(&exposure(5, 51))),
        ("series.nd2", series(&[exposure(6, 60), exposure(6, 61), exposure(6, 62)])),
    ]
}

/// Every table of the state as it stands, by name.
fn tables(sandbox: &Sandbox) -> BTreeMap<String, String> {
    let files = std::fs::read_dir(sandbox.out().join("reports/current")).unwrap();
    let names = files.map(|file| file.unwrap().file_name().into_string().unwrap());
    names.map(|name| (name.clone(), sandbox.table(&name))).collect()
}

/// Drops the files one after the other in an order drawn from `seed`, and gives the tables.
fn arrive(files: &[(&str, Vec<u8>)], seed: u64, workers: &str) -> BTreeMap<String, String> {
    let mut order: Vec<usize> = (0..files.len()).collect();
    let mut random = Random::new(seed);
    for at in (1..order.len()).rev() {
        order.swap(at, (random.uniform() * (at + 1) as f64) as usize);
    }
    let sandbox = Sandbox::new();
    let mut command = sandbox.run_command();
    command.args(["--workers", workers]);
    let daemon = crate::support::Daemon::start(&mut command, sandbox.path());
    for (n, at) in order.into_iter().enumerate() {
        let (name, bytes) = &files[at];
        set_age(&sandbox.drop_file(name, bytes));
        if n % 4 == 3 {
            sandbox.wait_for_files(n + 1);
        }
    }
    sandbox.wait_for_files(files.len());
    assert_eq!(daemon.stop(), Some(0));
    tables(&sandbox)
}

/// The same time for every file, so that age says nothing.
fn set_age(path: &std::path::Path) {
    let file = std::fs::File::options().write(true).open(path).unwrap();
    file.set_modified(std::time::UNIX_EPOCH + std::time::Duration::from_secs(1_700_000_000)).unwrap();
}

/// The rows as `file_a plane_a file_b plane_b relation`.
fn rows(pairs: &str) -> BTreeSet<String> {
    pairs.lines().skip(1).map(|row| row.split(',').take(5).collect::<Vec<_>>().join(" ")).collect()
}

#[test]
fn look_alikes_are_told_apart_and_tables_do_not_depend_on_order_or_workers() {
    let files = acquisition();
    let sandbox = Sandbox::new();
    files.iter().for_each(|(name, bytes)| set_age(&sandbox.drop_file(name, bytes)));
    let (summary, code) = sandbox.scan(&["--workers", "2"]);
    assert_eq!(code, 0);
    let expected = tables(&sandbox);
    let pairs = &expected["duplicate_pairs.csv"];
    let found = rows(pairs);
    let planted = [
        "a/first.tif t0p0z0c0 b/copy.tif t0p0z0c0 identical_file",
        "a/first.tif t0p0z0c0 b/saved_again.tif t0p0z0c0 identical_pixels",
        "a/first.tif t0p0z0c0 c/contrast.tif t0p0z0c0 same_exposure_mapped",
        "a/first.tif t0p0z0c0 c/turned.tif t0p0z0c0 same_exposure_mapped",
        "a/first.tif t0p0z0c0 d/again.tif t0p0z0c0 reacquired",
        "a/second.tif t0p0z0c0 c/contrast_of_second.tif t0p0z0c0 same_exposure_mapped",
        "a/second.tif t0p0z0c0 c/part_of_second.tif t0p0z0c0 partial_overlap",
        "run.nd2 t1p0z0c0 run.nd2 t2p0z0c0 stuck_frame",
        "run.nd2 t2p0z0c0 run.nd2 t3p0z0c0 stuck_frame",
    ];
    assert_eq!(found, BTreeSet::from(planted.map(str::to_owned)), "{pairs}");
    assert_eq!(summary["pairs"].as_u64().unwrap() as usize, planted.len());
    assert_eq!(summary["groups"], 4);
    let mut alerts: BTreeMap<String, usize> = BTreeMap::new();
    for alert in sandbox.lines("alerts") {
        *alerts.entry(format!("{} {}", alert["kind"], alert["plane"])).or_default() += 1;
    }
    let stuck = ["\"stuck_frame\" \"t2p0z0c0\"", "\"stuck_frame\" \"t3p0z0c0\""];
    assert_eq!(alerts, stuck.map(|alert| (alert.to_owned(), 1)).into());

    let mut explain = crate::support::scopewatch();
    explain.args(["explain", "c/turned.tif", "--out"]).arg(sandbox.out());
    let told = String::from_utf8(crate::support::output(&mut explain).stdout).unwrap();
    assert!(told.contains("plane t0p0z0c0: same_exposure_mapped of in/a/first.tif t0p0z0c0\n"), "{told}");

    for (seed, workers) in [(1, "1"), (2, "2"), (3, "5")] {
        let arrived = arrive(&files, seed, workers);
        assert_eq!(arrived, expected, "order {seed}, {workers} workers");
    }
}

/// One field exposed more often than a plane is compared with look-alikes, with copies of some of the exposures.
fn crowd() -> Vec<(String, Vec<u8>)> {
    const N_EXPOSURES: u64 = 72;
    let settings =
        FieldSettings { height: 64, width: 64, n_nuclei: 5, diameter_px: 13.0, ..FieldSettings::default() };
    let nuclei = place_nuclei(&settings, &mut Random::new(8));
    let mut files = Vec::new();
    for noise_seed in 0..N_EXPOSURES {
        let plane = expose(&settings, &nuclei, noise_seed);
        files.push((format!("crowd/exposure {noise_seed}.tif"), tiff(&plane)));
        match noise_seed % 18 {
            3 => files.push((format!("copies/copy of {noise_seed}.tif"), tiff(&plane))),
            7 => files.push((format!("copies/contrast of {noise_seed}.tif"), tiff(&mapped(&plane)))),
            11 => files.push((format!("copies/saved again {noise_seed}.tif"), deflated(&plane))),
            _ => {}
        }
    }
    files
}

/// Scans what lies there in three portions, in an order drawn from `seed`: each scan goes on where the last one ended.
fn scan_in_portions(files: &[(String, Vec<u8>)], seed: u64, workers: &str) -> [String; 2] {
    let mut order: Vec<usize> = (0..files.len()).collect();
    let mut random = Random::new(seed);
    for at in (1..order.len()).rev() {
        order.swap(at, (random.uniform() * (at + 1) as f64) as usize);
    }
    let sandbox = Sandbox::new();
    for portion in order.chunks(files.len().div_ceil(3)) {
        for at in portion {
            let (name, bytes) = &files[*at];
            set_age(&sandbox.drop_file(name, bytes));
        }
        assert_eq!(sandbox.scan(&["--workers", workers]).1, 0);
    }
    ["duplicate_pairs.csv", "duplicate_groups.json"].map(|name| sandbox.table(name))
}

#[test]
fn more_look_alikes_than_are_compared_give_the_same_pairs_for_any_order_and_number_of_workers() {
    let mut files = crowd();
    files.extend(acquisition().into_iter().map(|(name, bytes)| (name.to_owned(), bytes)));
    let expected = scan_in_portions(&files, 0, "1");
    let mut n_rows: BTreeMap<&str, usize> = BTreeMap::new();
    for row in expected[0].lines().skip(1) {
        *n_rows.entry(row.split(',').nth(4).unwrap()).or_default() += 1;
    }
    // 72 exposures and 4 with another contrast are 2850 pairs; not all of them are compared, and every copy is found
    assert!((1500..2846).contains(&n_rows["reacquired"]), "{n_rows:?}");
    assert_eq!([n_rows["identical_file"], n_rows["identical_pixels"]], [4 + 1, 4 + 1], "{n_rows:?}");
    assert!(n_rows["same_exposure_mapped"] >= 3, "{n_rows:?}");
    for (seed, workers) in [(1, "2"), (2, "5"), (3, "1")] {
        assert_eq!(scan_in_portions(&files, seed, workers), expected, "order {seed}, {workers} workers");
    }
}

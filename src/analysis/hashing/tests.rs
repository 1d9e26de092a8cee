use half::f16;

use super::features::N_QUANTILES;
use super::*;
use crate::formats::{Plane, Samples};

/// A small generator of even and of normal numbers (xorshift64*, Box and Muller).
struct Random(u64);

impl Random {
    fn even(&mut self) -> f64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 11) as f64 / (1_u64 << 53) as f64
    }

    fn normal(&mut self) -> f64 {
        (-2.0 * self.even().max(1e-300).ln()).sqrt() * (std::f64::consts::TAU * self.even()).cos()
    }
}

/// A picture in double precision, before noise and rounding.
#[derive(Clone)]
struct Scene {
    height: usize,
    width: usize,
    values: Vec<f64>,
}

impl Scene {
    fn of(height: usize, width: usize, value: impl Fn(f64, f64) -> f64) -> Self {
        let values = (0..height * width).map(|i| value((i / width) as f64, (i % width) as f64)).collect();
        Self { height, width, values }
    }

    /// Round nuclei with soft edges on a background of 200 grey levels.
    fn nuclei(height: usize, width: usize, n: usize, seed: u64) -> Self {
        let mut random = Random(seed * 2 + 1);
        let mut scene = Self::of(height, width, |_, _| 200.0);
        for _ in 0..n {
            let (y, x) = (random.even() * height as f64, random.even() * width as f64);
            let (radius, brightness) = (5.0 + 4.0 * random.even(), 400.0 + 1200.0 * random.even());
            for row in (y as usize).saturating_sub(12)..(y as usize + 13).min(height) {
                for column in (x as usize).saturating_sub(12)..(x as usize + 13).min(width) {
                    let distance = (row as f64 - y).hypot(column as f64 - x);
                    scene.values[row * width + column] += brightness / (1.0 + (distance - radius).exp());
                }
            }
        }
        scene
    }

    fn map(mut self, change: impl Fn(f64) -> f64) -> Self {
        self.values.iter_mut().for_each(|value| *value = change(*value));
        self
    }

    /// The brightness falls off with the fourth power of the cosine, to 60 % in the corners.
    fn vignetted(mut self) -> Self {
        let (cy, cx) = (self.height as f64 * 0.47, self.width as f64 * 0.53);
        for (i, value) in self.values.iter_mut().enumerate() {
            let (y, x) = ((i / self.width) as f64 - cy, (i % self.width) as f64 - cx);
            let tangent_square = (y * y + x * x) / (cy * cy + cx * cx) * 0.29;
            *value *= (1.0 + tangent_square).powi(-2);
        }
        self
    }

    /// The photons that arrive: variance equal to the value, and 3 grey levels of read noise.
    fn exposed(&self, seed: u64) -> Plane {
        let mut random = Random(seed * 2 + 1);
        let noisy = |value: &f64| {
            (value + random.normal() * (value.max(0.0) + 9.0).sqrt()).round().clamp(0.0, 65535.0) as u16
        };
        self.plane(Samples::Uint16(self.values.iter().map(noisy).collect()))
    }

    fn plane(&self, samples: Samples) -> Plane {
        Plane { height: self.height, width: self.width, n_samples: 1, samples }
    }
}

fn u16_samples(plane: &Plane) -> &[u16] {
    match &plane.samples {
        Samples::Uint16(samples) => samples,
        other => panic!("expected uint16, found {other:?}"),
    }
}

fn mapped(plane: &Plane, change: impl Fn(u16) -> u16) -> Plane {
    let samples = u16_samples(plane).iter().map(|&sample| change(sample)).collect();
    Plane { samples: Samples::Uint16(samples), ..*plane }
}

/// Turns by 90 degrees, counter-clockwise.
fn rot90(plane: &Plane) -> Plane {
    let (samples, width) = (u16_samples(plane), plane.width);
    let turned = (0..width).flat_map(|i| (0..plane.height).map(move |j| samples[j * width + width - 1 - i]));
    let samples = Samples::Uint16(turned.collect());
    Plane { height: plane.width, width: plane.height, n_samples: 1, samples }
}

fn flip_rows(plane: &Plane) -> Plane {
    let rows = u16_samples(plane).chunks(plane.width).rev();
    Plane { samples: Samples::Uint16(rows.flatten().copied().collect()), ..*plane }
}

fn distance(a: &Plane, b: &Plane) -> u32 {
    plane_features(a).code.hamming(&plane_features(b).code)
}

#[test]
fn gain_offset_and_gamma_hardly_move_the_code() {
    let plane = Scene::nuclei(512, 640, 120, 1).exposed(1);
    assert!(distance(&plane, &mapped(&plane, |v| v / 2)) <= 4);
    assert!(distance(&plane, &mapped(&plane, |v| v * 4 + 1000)) <= 2);
    let gamma = |v: u16| ((f64::from(v) / 2500.0).powf(0.5) * 2500.0) as u16;
    let moved = distance(&plane, &mapped(&plane, gamma));
    assert!(moved <= 40, "{moved}");
    let inverted = plane_features(&mapped(&plane, |v| 4000 - v)).code;
    let moved = plane_features(&plane).code.complement().hamming(&inverted);
    assert!(moved <= 16, "{moved}");
}

#[test]
fn another_exposure_stays_near_and_another_scene_far() {
    let scenes: Vec<Scene> = (0..8).map(|seed| Scene::nuclei(512, 512, 100, seed)).collect();
    let codes: Vec<_> = scenes.iter().map(|scene| plane_features(&scene.exposed(1)).code).collect();
    for (scene, code) in scenes.iter().zip(&codes) {
        let again = plane_features(&scene.exposed(2)).code.hamming(code);
        assert!(again <= 16, "{again}");
        let dim = plane_features(&scene.clone().map(|v| v / 8.0).exposed(3)).code.hamming(code);
        assert!(dim <= 32, "{dim}");
    }
    for (i, a) in codes.iter().enumerate() {
        for b in &codes[i + 1..] {
            let nearest = b.orientations().iter().map(|b| a.hamming(b)).min().unwrap();
            assert!(nearest > 80, "{nearest}");
        }
    }
}

#[test]
fn orientations_are_those_of_the_turned_image() {
    for (height, width) in [(512, 512), (512, 768), (500, 333)] {
        let plane = Scene::nuclei(height, width, 100, 3).vignetted().exposed(4);
        let orientations = plane_features(&plane).code.orientations();
        let quarter = rot90(&plane);
        let half = rot90(&quarter);
        let three_quarters = rot90(&half);
        let flipped = flip_rows(&plane);
        let flipped_columns = rot90(&rot90(&flipped));
        let transposed = flip_rows(&quarter);
        let anti_transposed = rot90(&rot90(&transposed));
        let turned = [
            &plane,
            &quarter,
            &half,
            &three_quarters,
            &flipped,
            &flipped_columns,
            &transposed,
            &anti_transposed,
        ];
        for (index, image) in turned.into_iter().enumerate() {
            let code = plane_features(image).code;
            let name = ORIENTATION_NAMES[index];
            let moved = orientations[index].hamming(&code);
            assert!(moved <= 12, "{name}: {moved} at {height}x{width}");
            for (other, orientation) in orientations.iter().enumerate().filter(|(other, _)| *other != index) {
                assert!(orientation.hamming(&code) > 60, "{name} looks like {}", ORIENTATION_NAMES[other]);
            }
        }
    }
}

#[test]
fn orientations_form_the_group_of_the_square() {
    let code = Code256([0x0123_4567_89AB_CDEF, 0xFEDC_BA98_7654_3210, 0xDEAD_BEEF_0BAD_F00D, 42]);
    let quarter = |code: Code256| code.orientations()[1];
    assert_eq!(quarter(quarter(code)), code.orientations()[2]);
    assert_eq!(quarter(quarter(quarter(code))), code.orientations()[3]);
    assert_eq!(quarter(quarter(quarter(quarter(code)))), code);
    for (mirror, name) in ORIENTATION_NAMES.iter().enumerate().skip(4) {
        assert_eq!(code.orientations()[mirror].orientations()[mirror], code, "{name}");
    }
}

#[test]
fn a_resized_image_keeps_its_code() {
    let plane = Scene::nuclei(1024, 1024, 200, 5).exposed(5);
    let samples = u16_samples(&plane);
    let binned = (0..512 * 512).map(|i| {
        let corner = i / 512 * 2048 + i % 512 * 2;
        let sum: u32 = [0, 1, 1024, 1025].iter().map(|step| u32::from(samples[corner + step])).sum();
        (sum / 4) as u16
    });
    let binned = Plane { height: 512, width: 512, n_samples: 1, samples: Samples::Uint16(binned.collect()) };
    let moved = distance(&plane, &binned);
    assert!(moved <= 4, "{moved}");
}

#[test]
fn noise_and_illumination_alone_are_no_signal() {
    for (height, width) in [(512, 512), (2048, 1024), (300, 700)] {
        for seed in 0..4 {
            for scene in [
                Scene::of(height, width, |_, _| 0.0),
                Scene::of(height, width, |_, _| 100.0),
                Scene::of(height, width, |_, _| 5000.0).vignetted(),
                Scene::of(height, width, |_, _| 40_000.0).vignetted(),
                Scene::of(height, width, |y, x| 300.0 + y * 0.3 + x * 0.2),
            ] {
                let mut plane = scene.exposed(seed);
                // hot pixels, as every camera has
                if let Samples::Uint16(samples) = &mut plane.samples {
                    let n = samples.len();
                    for i in 0..n / 20_000 {
                        let place = (i * 7919 + 13) % n;
                        samples[place] = samples[place].saturating_add(4000);
                    }
                }
                let features = plane_features(&plane);
                assert_eq!(features.signal, Signal::NoSignal, "{} at {height}x{width}", features.snr);
                assert!(features.is_blank());
            }
        }
    }
}

#[test]
fn a_few_nuclei_are_a_signal() {
    for n in [6, 20, 300] {
        for seed in 0..4 {
            let scene = Scene::nuclei(1024, 1024, n, seed).vignetted();
            let features = plane_features(&scene.exposed(seed));
            assert_eq!(features.signal, Signal::Structured, "{n} nuclei: {}", features.snr);
            let dim = plane_features(&scene.map(|v| 100.0 + v / 20.0).exposed(seed));
            assert_eq!(dim.signal, Signal::Structured, "{n} dim nuclei: {}", dim.snr);
        }
    }
}

#[test]
fn structure_is_seen_without_noise_and_in_small_images() {
    let disk = |y: f64, x: f64| if (y - 25.0).hypot(x - 30.0) < 9.0 { 1.0 } else { 0.0 };
    let mask = Scene::of(56, 48, disk);
    let samples = mask.values.iter().map(|&v| v as u8).collect();
    assert_eq!(plane_features(&mask.plane(Samples::Uint8(samples))).signal, Signal::Structured);
    let noisy = mask.map(|v| 400.0 + 60.0 * v).exposed(1);
    assert_eq!(plane_features(&noisy).signal, Signal::Structured);
    let photons = Scene::of(512, 512, |_, _| 0.05);
    let mut random = Random(3);
    let samples = photons.values.iter().map(|&p| u8::from(random.even() < p)).collect();
    let photons = plane_features(&photons.plane(Samples::Uint8(samples)));
    assert_eq!(photons.signal, Signal::NoSignal, "{}", photons.snr);
    assert!((f64::from(photons.noise) / 0.0475_f64.sqrt() - 1.0).abs() < 0.02, "{}", photons.noise);
}

#[test]
fn constant_planes_are_told_from_nearly_constant_ones() {
    let constant = Scene::of(100, 100, |_, _| 0.0).plane(Samples::Uint16(vec![7; 10_000]));
    assert_eq!(plane_features(&constant).signal, Signal::Constant);
    let mut nearly = vec![7; 10_000];
    nearly[5] = 8;
    let nearly = Plane { samples: Samples::Uint16(nearly), ..constant };
    assert_eq!(plane_features(&nearly).signal, Signal::NoSignal);
}

#[test]
fn noise_is_measured_in_grey_levels() {
    for (level, expected) in [(0.0_f64, 3.0_f64), (991.0, 31.6), (9991.0, 100.0)] {
        // an offset, so that no sample is cut off at 0
        let scene = Scene::of(512, 512, |_, _| level);
        let plane = scene.exposed(9);
        let noise = f64::from(plane_features(&plane).noise);
        if level > 0.0 {
            assert!((noise / expected - 1.0).abs() < 0.03, "{noise} instead of {expected}");
        }
    }
    let with_nuclei = plane_features(&Scene::nuclei(1024, 1024, 100, 1).map(|v| v + 700.0).exposed(1)).noise;
    assert!((f64::from(with_nuclei) / 909.0_f64.sqrt() - 1.0).abs() < 0.1, "{with_nuclei}");
}

#[test]
fn figures_are_those_of_the_samples() {
    let samples: Vec<u16> = (0..=1000).map(|v| v.min(990)).collect();
    let plane = Plane { height: 13, width: 77, n_samples: 1, samples: Samples::Uint16(samples) };
    let features = plane_features(&plane);
    assert_eq!((features.min, features.max), (0.0, 990.0));
    assert!((features.at_max_fraction - 11.0 / 1001.0).abs() < 1e-7);
    assert!((features.mean - (990.0 * 991.0 / 2.0 + 990.0 * 10.0) / 1001.0).abs() < 1e-2);
    assert_eq!(features.quantiles[0], 0.0);
    assert_eq!(features.quantiles[16], 500.0);
    assert_eq!(features.quantiles[N_QUANTILES - 1], 990.0);
    assert!(features.quantiles.is_sorted());
}

#[test]
fn every_sample_type_gives_the_same_features() {
    let scene = Scene::nuclei(256, 256, 40, 2).map(|v| v / 20.0);
    let plane = scene.exposed(2);
    let samples = u16_samples(&plane);
    assert!(*samples.iter().max().unwrap() < 128);
    macro_rules! types {
        ($($kind:ident, $type:ty;)*) => {
            [$(scene.plane(Samples::$kind(samples.iter().map(|&v| v as $type).collect()))),*]
        };
    }
    let mut planes = Vec::from(types! {
        Uint8, u8; Uint32, u32; Uint64, u64; Int8, i8; Int16, i16; Int32, i32; Int64, i64; Float32, f32; Float64, f64;
    });
    planes.push(scene.plane(Samples::Float16(samples.iter().map(|&v| f16::from_f32(v.into())).collect())));
    let doubled = |n| samples.iter().flat_map(|&v| std::iter::repeat_n(v, n)).collect();
    planes.push(Plane { n_samples: 3, ..scene.plane(Samples::Uint16(doubled(3))) });
    planes.push(Plane { n_samples: 4, ..scene.plane(Samples::Uint16(doubled(4))) });
    planes.push(Plane { n_samples: 2, ..scene.plane(Samples::Uint16(doubled(2))) });
    let expected = plane_features(&plane);
    for plane in planes {
        let found = plane_features(&plane);
        let context = format!("{} x {}", plane.samples.sample_type(), plane.n_samples);
        assert_eq!(
            (found.min, found.max, found.signal),
            (expected.min, expected.max, expected.signal),
            "{context}"
        );
        assert_eq!(found.at_max_fraction, expected.at_max_fraction, "{context}");
        assert!(found.code.hamming(&expected.code) <= 1, "{context}");
        assert!((found.noise / expected.noise - 1.0).abs() < 1e-3, "{context}");
        assert!((found.mean / expected.mean - 1.0).abs() < 1e-3, "{context}");
        for (a, b) in found.quantiles.iter().zip(&expected.quantiles) {
            assert!((a - b).abs() < 0.01, "{context}: {a} {b}");
        }
    }
}

#[test]
fn wide_values_keep_their_resolution_beside_a_wild_one() {
    let mut random = Random(5);
    let mut samples: Vec<f32> = (0..100_000).map(|_| 1000.0 + random.even() as f32).collect();
    samples[77] = 3e38;
    samples[78] = f32::NEG_INFINITY;
    let plane = Plane { height: 250, width: 400, n_samples: 1, samples: Samples::Float32(samples) };
    let features = plane_features(&plane);
    assert!((features.quantiles[16] - 1000.5).abs() < 0.01, "{}", features.quantiles[16]);
}

#[test]
fn what_is_not_a_number_is_zero() {
    let scene = Scene::nuclei(256, 256, 40, 2);
    let mut samples: Vec<f64> = scene.values.clone();
    samples[100..20_000].fill(f64::NAN);
    samples[0] = f64::INFINITY;
    let mut zeroed = samples.clone();
    zeroed.iter_mut().filter(|v| !v.is_finite()).for_each(|v| *v = 0.0);
    let with = plane_features(&scene.plane(Samples::Float64(samples)));
    assert_eq!(with, plane_features(&scene.plane(Samples::Float64(zeroed))));
    assert_eq!(with.min, 0.0);
    let nothing = plane_features(&scene.plane(Samples::Float64(vec![f64::NAN; 256 * 256])));
    assert_eq!(nothing.signal, Signal::Constant);
}

#[test]
fn tiny_and_empty_planes_have_features_too() {
    for (height, width) in [(0, 0), (1, 1), (1, 100), (100, 1), (7, 5), (2, 2), (63, 65), (8, 3)] {
        let n = height * width;
        let plane =
            Plane { height, width, n_samples: 1, samples: Samples::Uint8((0..n).map(|v| v as u8).collect()) };
        let features = plane_features(&plane);
        assert_eq!(features.signal == Signal::Constant, n <= 1, "{height}x{width}");
        let bytes = features.to_bytes();
        assert_eq!(PlaneFeatures::from_bytes(&bytes).as_ref(), Ok(&features), "{height}x{width}");
    }
}

#[test]
fn bytes_round_trip_and_damaged_ones_are_refused() {
    let features = plane_features(&Scene::nuclei(128, 128, 20, 1).exposed(1));
    let bytes = features.to_bytes();
    assert_eq!(bytes.len(), 291);
    assert_eq!(PlaneFeatures::from_bytes(&bytes), Ok(features));
    for length in 0..bytes.len() {
        assert!(PlaneFeatures::from_bytes(&bytes[..length]).is_err(), "{length}");
    }
    assert!(PlaneFeatures::from_bytes(&[&bytes[..], &[0]].concat()).is_err());
    let changed = |place: usize, byte: u8| {
        let mut bytes = bytes.clone();
        bytes[place] = byte;
        PlaneFeatures::from_bytes(&bytes)
    };
    assert_eq!(changed(0, 3), Err(FeatureBytesError::Version(3)));
    assert!(changed(2, 3).is_err());
    let mut infinite = bytes.clone();
    infinite[3..7].copy_from_slice(&f32::NAN.to_le_bytes());
    assert!(PlaneFeatures::from_bytes(&infinite).is_err());
}

//! What must not matter: how the camera was turned, the level of the background, the type of the samples.

use std::collections::HashMap;
use std::f64::consts::TAU;

use proptest::prelude::*;
use proptest::test_runner::RngSeed;

use crate::analysis::segmentation::{LabelImage, SegmentationSettings, segment};
use crate::analysis::synthesis::{FieldSettings, Nucleus, Random, place_nuclei};
use crate::formats::plane::{Plane, Samples};

/// Part of the objects that come back, at an overlap (intersection over union) of at least ...
const FOUND_MIN: f64 = 0.999;
const OVERLAP_MIN: f64 = 0.99;

/// At least so many objects on each plane.
const N_OBJECTS_MIN: u32 = 700;

/// A scene of about 1,000 nuclei, some of them touching, with photon and read noise; no sample near the ends of its type.
#[derive(Debug, Clone)]
struct Scene {
    height: usize,
    width: usize,
    values: Vec<u16>,
}

/// Grey values: of the background, of the nuclei's mean height above it, of one photon.
#[derive(Debug, Clone, Copy)]
struct Light {
    background: f64,
    signal: f64,
    photon: f64,
}

const BRIGHT: Light = Light { background: 400.0, signal: 900.0, photon: 1.5 };
/// Fits into 8 bits.
const DIM: Light = Light { background: 40.0, signal: 60.0, photon: 0.3 };

/// Photon noise and read noise of a pixel.
fn noise_sd_of(light: Light, expected: f64) -> f64 {
    (light.photon * expected + (0.03 * light.background).powi(2)).sqrt()
}

impl Scene {
    fn draw(seed: u64, diameter_px: f64, light: Light) -> Self {
        let height = (58.0 * diameter_px) as usize;
        let width = height + height / 9;
        let Light { background, signal, .. } = light;
        let settings =
            FieldSettings { height, width, n_nuclei: 1100, diameter_px, signal, ..FieldSettings::default() };
        let mut random = Random::new(seed);
        let mut expected = vec![background; height * width];
        for nucleus in place_nuclei(&settings, &mut random) {
            add(&mut expected, width, &nucleus, random.between(0.0, TAU));
        }
        let noisy =
            |expected: &f64| (expected + noise_sd_of(light, *expected) * random.noise()).round() as u16;
        Self { height, width, values: expected.iter().map(noisy).collect() }
    }

    fn plane(&self) -> Plane {
        self.plane_of(Samples::Uint16(self.values.clone()))
    }

    fn plane_of(&self, samples: Samples) -> Plane {
        Plane { height: self.height, width: self.width, n_samples: 1, samples }
    }

    /// The values as numbers of another type.
    fn values_as<T>(&self, convert: impl Fn(u16) -> T) -> Vec<T> {
        self.values.iter().map(|&value| convert(value)).collect()
    }
}

/// Adds a nucleus: an ellipse with a soft edge, and chromatin in waves along its axes.
fn add(image: &mut [f64], width: usize, nucleus: &Nucleus, phase: f64) {
    let (sin, cos) = nucleus.angle.sin_cos();
    let [long, short] = nucleus.radii;
    let near = |centre: f64, extent: usize| {
        let reach = long + 5.0;
        (centre - reach).max(0.0) as usize..((centre + reach) as usize + 1).min(extent)
    };
    for row in near(nucleus.y, image.len() / width) {
        for column in near(nucleus.x, width) {
            let (y, x) = (row as f64 - nucleus.y, column as f64 - nucleus.x);
            let (along, across) = (x * cos + y * sin, y * cos - x * sin);
            let depth_px = (1.0 - (along / long).hypot(across / short)) * short;
            let chromatin = 1.0 + 0.12 * (2.2 * along / short + phase).sin() * (2.9 * across / short).cos();
            image[row * width + column] += nucleus.signal * chromatin / (1.0 + (-1.5 * depth_px).exp());
        }
    }
}

fn labels_of(plane: &Plane) -> LabelImage {
    segment(plane, None, &SegmentationSettings::default()).expect("a grey plane").labels
}

/// How an image is laid anew: mirrored by the diagonal first, then along the rows and the columns.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Turn {
    transposes: bool,
    flips_rows: bool,
    flips_columns: bool,
}

/// All but the one that changes nothing: both mirrors, the three rotations, both transpositions.
fn turns() -> impl Iterator<Item = Turn> {
    (1..8).map(|bits| Turn {
        transposes: bits & 1 != 0,
        flips_rows: bits & 2 != 0,
        flips_columns: bits & 4 != 0,
    })
}

impl Turn {
    /// Lays the values of a `height * width` image; returns the new height, width and values.
    fn apply<T: Copy>(self, height: usize, width: usize, values: &[T]) -> (usize, usize, Vec<T>) {
        let (rows, columns) = if self.transposes { (width, height) } else { (height, width) };
        let at = |index: usize| {
            let (mut row, mut column) = (index / columns, index % columns);
            if self.flips_rows {
                row = rows - 1 - row;
            }
            if self.flips_columns {
                column = columns - 1 - column;
            }
            if self.transposes { values[column * width + row] } else { values[row * width + column] }
        };
        (rows, columns, (0..values.len()).map(at).collect())
    }

    fn scene(self, scene: &Scene) -> Scene {
        let (height, width, values) = self.apply(scene.height, scene.width, &scene.values);
        Scene { height, width, values }
    }

    fn labels(self, labels: &LabelImage) -> LabelImage {
        let (height, width, turned) = self.apply(labels.height, labels.width, &labels.labels);
        LabelImage { height, width, n_objects: labels.n_objects, labels: turned }
    }
}

/// How many objects two label images share, nearly pixel by pixel; they must have equally many.
fn n_same(found: &LabelImage, expected: &LabelImage) -> Result<u32, TestCaseError> {
    prop_assert!(expected.n_objects >= N_OBJECTS_MIN, "only {} objects", expected.n_objects);
    prop_assert_eq!(found.n_objects, expected.n_objects);
    let mut areas = [0; 2].map(|_| vec![0_u32; expected.n_objects as usize + 1]);
    let mut shared: HashMap<[u32; 2], u32> = HashMap::new();
    for (&a, &b) in expected.labels.iter().zip(&found.labels) {
        areas[0][a as usize] += 1;
        areas[1][b as usize] += 1;
        if a != 0 && b != 0 {
            *shared.entry([a, b]).or_default() += 1;
        }
    }
    // above one half there is at most one partner
    let overlaps = |&(&[a, b], &n): &(&[u32; 2], &u32)| {
        let union = areas[0][a as usize] + areas[1][b as usize] - n;
        f64::from(n) >= OVERLAP_MIN * f64::from(union)
    };
    Ok(shared.iter().filter(overlaps).count() as u32)
}

/// Checks that the objects of several planes are those expected of each, but for one in a thousand over all.
fn check(pairs: impl IntoIterator<Item = (LabelImage, LabelImage)>) -> Result<(), TestCaseError> {
    let (mut same, mut all) = (0, 0);
    for (found, expected) in pairs {
        same += n_same(&found, &expected)?;
        all += expected.n_objects;
    }
    prop_assert!(f64::from(same) >= FOUND_MIN * f64::from(all), "{same} of {all} objects are the same");
    Ok(())
}

#[test]
fn turns_are_all_different_and_take_labels_as_they_take_values() {
    let values: Vec<u16> = (0..6).collect();
    let mut seen: Vec<_> = turns().map(|turn| turn.apply(2, 3, &values)).collect();
    assert_eq!(seen[0], (3, 2, vec![0, 3, 1, 4, 2, 5]));
    assert_eq!(seen[1], (2, 3, vec![3, 4, 5, 0, 1, 2]));
    assert_eq!(seen[2], (3, 2, vec![2, 5, 1, 4, 0, 3]));
    seen.push((2, 3, values));
    for (index, one) in seen.iter().enumerate() {
        assert!(!seen[..index].contains(one));
    }
}

#[test]
fn many_small_nuclei_are_no_noise_however_the_plane_is_turned() {
    for diameter in [9.5, 20.0] {
        let scene = Scene::draw(1, diameter, BRIGHT);
        let noise_of = |scene: &Scene| {
            segment(&scene.plane(), None, &SegmentationSettings::default())
                .expect("a grey plane")
                .quality
                .noise_sd
        };
        let noise_sd = noise_of(&scene);
        let drawn = noise_sd_of(BRIGHT, BRIGHT.background);
        assert!((0.9 * drawn..2.0 * drawn).contains(&noise_sd), "{noise_sd} at {diameter} pixels");
        for turn in turns() {
            assert_eq!(noise_of(&turn.scene(&scene)), noise_sd, "{turn:?}");
        }
    }
}

#[test]
fn any_number_of_threads_finds_the_same() {
    let scene = Scene::draw(2, 14.0, BRIGHT);
    let segmented = |n_threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(n_threads).build().unwrap();
        pool.install(|| segment(&scene.plane(), None, &SegmentationSettings::default()))
            .expect("a grey plane")
    };
    let alone = segmented(1);
    assert!(alone.labels.n_objects >= N_OBJECTS_MIN);
    for n_threads in [2, 3, 8] {
        assert_eq!(segmented(n_threads), alone, "labels, table and figures with {n_threads} threads");
    }
}

/// The same scenes in every run: rounding may turn one object in some ten thousand, which is no reason to stop a build. A
/// smaller scene would say no more than the one that failed.
fn few_scenes() -> ProptestConfig {
    ProptestConfig {
        max_shrink_iters: 0,
        failure_persistence: None,
        rng_seed: RngSeed::Fixed(1),
        ..ProptestConfig::with_cases(4)
    }
}

proptest! {
    #![proptest_config(few_scenes())]

    #[test]
    fn a_shifted_level_changes_nothing(seed in any::<u32>(), diameter in 9.0..20.0_f64, offset in 1_u16..20_000) {
        let scene = Scene::draw(seed.into(), diameter, BRIGHT);
        let expected = labels_of(&scene.plane());
        let shifted = [
            Samples::Uint16(scene.values_as(|value| value + offset)),
            Samples::Int16(scene.values_as(|value| (i32::from(value) - i32::from(offset)) as i16)),
            Samples::Float32(scene.values_as(|value| f32::from(value) + f32::from(offset))),
        ];
        check(shifted.map(|samples| (labels_of(&scene.plane_of(samples)), expected.clone())))?;
    }

    #[test]
    fn a_wider_type_changes_nothing(seed in any::<u32>(), diameter in 9.0..20.0_f64) {
        let wide = Scene::draw(seed.into(), diameter, BRIGHT);
        let narrow = Scene::draw(seed.into(), diameter, DIM);
        prop_assert!(narrow.values.iter().all(|value| (1..255).contains(value)));
        let bytes = Samples::Uint8(narrow.values_as(|value| value as u8));
        for (scene, samples) in [(wide.clone(), Samples::Uint16(wide.values)), (narrow.clone(), bytes)] {
            let expected = labels_of(&scene.plane_of(samples));
            let wider = [
                Samples::Uint16(scene.values.clone()),
                Samples::Uint32(scene.values_as(u32::from)),
                Samples::Float32(scene.values_as(f32::from)),
                Samples::Float64(scene.values_as(f64::from)),
            ];
            check(wider.map(|samples| (labels_of(&scene.plane_of(samples)), expected.clone())))?;
        }
    }

    #[test]
    fn a_mirrored_or_rotated_plane_has_the_same_objects(seed in any::<u32>(), diameter in 9.0..20.0_f64) {
        let scene = Scene::draw(seed.into(), diameter, BRIGHT);
        let expected = labels_of(&scene.plane());
        check(turns().map(|turn| (labels_of(&turn.scene(&scene).plane()), turn.labels(&expected))))?;
    }
}

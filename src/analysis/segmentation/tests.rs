//! The whole chain on drawn planes whose answer is known.

use proptest::prelude::*;

use super::*;
use crate::formats::plane::Samples;

mod regions;
mod symmetry;

/// A plane being drawn: levels as real numbers.
#[derive(Clone)]
struct Canvas {
    height: usize,
    width: usize,
    values: Vec<f64>,
}

impl Canvas {
    fn new(height: usize, width: usize, background: f64) -> Self {
        Self { height, width, values: vec![background; height * width] }
    }

    /// Adds a disc with an edge two pixels wide.
    fn disc(mut self, row: f64, column: f64, radius: f64, brightness: f64) -> Self {
        for (index, value) in self.values.iter_mut().enumerate() {
            let (y, x) = ((index / self.width) as f64 - row, (index % self.width) as f64 - column);
            *value = value.max(0.0) + brightness * ((radius - y.hypot(x)) / 2.0 + 0.5).clamp(0.0, 1.0);
        }
        self
    }

    fn map(mut self, change: impl Fn(usize, usize, f64) -> f64) -> Self {
        for (index, value) in self.values.iter_mut().enumerate() {
            *value = change(index / self.width, index % self.width, *value);
        }
        self
    }

    /// Adds noise of about normal distribution: the sum of twelve uniform numbers.
    fn noise(mut self, sd: f64, seed: u64) -> Self {
        let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
        for value in &mut self.values {
            let mut sum = -6.0;
            for _ in 0..12 {
                state ^= state << 13;
                state ^= state >> 7;
                state ^= state << 17;
                sum += (state >> 11) as f64 / (1_u64 << 53) as f64;
            }
            *value += sd * sum;
        }
        self
    }

    fn plane(&self) -> Plane {
        let samples = self.values.iter().map(|&value| value.clamp(0.0, 65_535.0).round() as u16).collect();
        self.plane_of(Samples::Uint16(samples))
    }

    fn plane_of(&self, samples: Samples) -> Plane {
        Plane { height: self.height, width: self.width, n_samples: 1, samples }
    }

    fn turned(&self) -> Self {
        let (height, width) = (self.width, self.height);
        let value =
            |index: usize| self.values[(index % width) * self.width + (self.width - 1 - index / width)];
        Self { height, width, values: (0..height * width).map(value).collect() }
    }
}

fn found(canvas: &Canvas) -> Segmentation {
    segment(&canvas.plane(), None, &SegmentationSettings::default()).expect("a grey plane")
}

/// The centroids, rounded, sorted.
fn centres(segmentation: &Segmentation) -> Vec<[i64; 2]> {
    let mut centres: Vec<_> =
        segmentation.objects.iter().map(|object| object.centroid.map(|place| place.round() as i64)).collect();
    centres.sort_unstable();
    centres
}

fn nuclei() -> Canvas {
    Canvas::new(160, 200, 100.0)
        .disc(30.0, 40.0, 10.0, 400.0)
        .disc(30.0, 120.0, 12.0, 300.0)
        .disc(100.0, 60.0, 9.0, 500.0)
        .disc(120.0, 150.0, 14.0, 250.0)
}

#[test]
fn isolated_discs_are_found_where_they_are() {
    let result = found(&nuclei().noise(8.0, 1));
    assert_eq!(centres(&result), [[30, 40], [30, 120], [100, 60], [120, 150]]);
    // in raster order of the first pixel
    for (object, radius) in result.objects.iter().zip([12.0, 10.0, 9.0, 14.0]) {
        assert!((object.equivalent_diameter_area - 2.0 * radius).abs() < 1.5, "{object:?}");
        assert!(object.solidity > 0.93 && !object.touches_border);
    }
    assert_eq!(result.quality.flags, []);
    assert!((result.quality.noise_sd - 8.0).abs() < 1.0, "{:?}", result.quality);
    assert!((result.quality.background - 100.0).abs() < 2.0);
}

#[test]
fn touching_discs_are_split() {
    let pair = Canvas::new(90, 90, 100.0).disc(45.0, 33.0, 12.0, 400.0).disc(45.0, 54.0, 12.0, 400.0);
    let result = found(&pair.map(|_, _, value| value.min(500.0)).noise(8.0, 2));
    let centres = centres(&result);
    assert_eq!(centres.len(), 2);
    assert!((centres[0][1] - 33).abs() <= 1 && (centres[1][1] - 54).abs() <= 1, "{centres:?}");
}

#[test]
fn a_ring_is_filled() {
    let ring = Canvas::new(80, 80, 100.0).disc(40.0, 40.0, 14.0, 400.0).disc(40.0, 40.0, 5.0, -380.0);
    let result = found(&ring.noise(5.0, 3));
    assert_eq!(result.objects.len(), 1);
    assert_eq!(result.labels.labels[40 * 80 + 40], 1);
    assert!(result.objects[0].solidity > 0.95);
}

#[test]
fn objects_at_the_border_are_kept_and_marked() {
    let result = found(
        &Canvas::new(80, 80, 100.0).disc(2.0, 30.0, 10.0, 400.0).disc(50.0, 50.0, 10.0, 400.0).noise(5.0, 4),
    );
    let marks: Vec<bool> = result.objects.iter().map(|object| object.touches_border).collect();
    assert_eq!(marks, [true, false]);
}

#[test]
fn a_dim_nucleus_beside_a_bright_one_is_found() {
    let canvas = Canvas::new(100, 120, 100.0).disc(50.0, 35.0, 12.0, 2000.0).disc(50.0, 80.0, 12.0, 400.0);
    let result = found(&canvas.noise(8.0, 5));
    assert_eq!(centres(&result), [[50, 35], [50, 80]]);
    for object in &result.objects {
        assert!((object.equivalent_diameter_area - 24.0).abs() < 2.0, "{object:?}");
    }
}

#[test]
fn nothing_is_found_where_nothing_is() {
    let (height, width) = (400, 480);
    let flat = Canvas::new(height, width, 400.0);
    let slope = flat.clone().map(|row, column, value| value + column as f64 + 0.5 * row as f64);
    let vignette = flat.clone().map(|row, column, value| {
        let (y, x) = (row as f64 / 200.0 - 1.0, column as f64 / 240.0 - 1.0);
        value * (1.0 - 0.3 * (y * y + x * x))
    });
    for (name, canvas) in
        [("flat", flat), ("slope", slope.clone()), ("turned", slope.turned()), ("vignette", vignette)]
    {
        for sd in [0.0, 3.0, 20.0] {
            for seed in 1..3 {
                let result = found(&canvas.clone().noise(sd, seed));
                assert_eq!(result.objects.len(), 0, "{name}, noise {sd}, seed {seed}");
                assert!(result.quality.flags.contains(&QualityFlag::NoObjects));
                assert!(result.labels.labels.iter().all(|&label| label == 0));
            }
        }
    }
}

#[test]
fn every_sample_type_gives_the_same_objects() {
    let canvas = nuclei().noise(8.0, 6);
    let expected = found(&canvas);
    let values = &canvas.values;
    let types = [
        Samples::Uint32(values.iter().map(|&value| 2_000_000_000 + value.round() as u32).collect()),
        Samples::Int16(values.iter().map(|&value| value.round() as i16 - 20_000).collect()),
        Samples::Int32(values.iter().map(|&value| value.round() as i32 - 70_000).collect()),
        Samples::Float32(values.iter().map(|&value| value as f32 / 1000.0).collect()),
        Samples::Float64(values.iter().map(|&value| value * 1e200).collect()),
    ];
    for samples in types {
        let name = samples.sample_type();
        let result =
            segment(&canvas.plane_of(samples), None, &SegmentationSettings::default()).expect("grey");
        assert_eq!(centres(&result), centres(&expected), "{name:?}");
    }
}

#[test]
fn what_is_not_a_number_is_background() {
    let canvas = nuclei().noise(8.0, 7);
    let mut values: Vec<f32> = canvas.values.iter().map(|&value| value as f32).collect();
    (values[5], values[1000], values[2000]) = (f32::NAN, f32::INFINITY, f32::NEG_INFINITY);
    (values[3000], values[4000]) = (1e30, -1e30);
    let result = segment(&canvas.plane_of(Samples::Float32(values)), None, &SegmentationSettings::default());
    let result = result.expect("a grey plane");
    assert_eq!(centres(&result), [[30, 40], [30, 120], [100, 60], [120, 150]]);
    assert_eq!(result.quality.flags, [QualityFlag::NotFinite]);
    let nowhere = canvas.plane_of(Samples::Float32(vec![f32::NAN; canvas.values.len()]));
    let result = segment(&nowhere, None, &SegmentationSettings::default()).expect("a grey plane");
    assert_eq!(result.objects.len(), 0);
}

#[test]
fn any_shape_is_taken_and_colour_is_refused() {
    for (height, width) in [(0, 0), (0, 7), (7, 0), (1, 1), (1, 50), (50, 1), (2, 2), (3, 300)] {
        let canvas = Canvas::new(height, width, 100.0).disc(0.0, 20.0, 5.0, 900.0).noise(3.0, 8);
        let result = found(&canvas);
        assert_eq!(result.labels.labels.len(), height * width);
    }
    let settings = SegmentationSettings::default();
    let colour = Plane { height: 2, width: 2, n_samples: 3, samples: Samples::Uint8(vec![0; 12]) };
    assert_eq!(segment(&colour, None, &settings), Err(SegmentationError::Colour { n_samples: 3 }));
    let short = Plane { height: 2, width: 2, n_samples: 1, samples: Samples::Uint8(vec![0; 3]) };
    let error = SegmentationError::Shape { height: 2, width: 2, n_samples: 3 };
    assert_eq!(segment(&short, None, &settings), Err(error));
}

#[test]
fn the_pixel_size_limits_what_is_a_nucleus() {
    let canvas = nuclei().noise(8.0, 9);
    let tiny = segment(&canvas.plane(), Some(0.02), &SegmentationSettings::default()).expect("grey");
    assert_eq!(tiny.objects.len(), 0, "20 pixels of 0.02 um are no nucleus");
    let usual = segment(&canvas.plane(), Some(0.65), &SegmentationSettings::default()).expect("grey");
    assert_eq!(usual.objects.len(), 4);
}

#[test]
fn debris_hides_no_nuclei() {
    let canvas = nuclei().disc(75.0, 110.0, 7.0, 60_000.0).noise(8.0, 10);
    let bright = found(&canvas);
    assert_eq!(centres(&bright), [[30, 40], [30, 120], [75, 110], [100, 60], [120, 150]]);
    let mut canvas = Canvas::new(300, 300, 100.0).disc(230.0, 150.0, 27.0, 500.0);
    for index in 0..40 {
        canvas =
            canvas.disc(30.0 + 30.0 * f64::from(index / 10), 15.0 + 28.0 * f64::from(index % 10), 5.0, 400.0);
    }
    let large = found(&canvas.noise(8.0, 11));
    assert_eq!(large.objects.len(), 40);
    assert_eq!((large.quality.n_debris, large.quality.flags), (1, vec![QualityFlag::Debris]));
}

fn scene(seed: u64) -> Canvas {
    let mut canvas = Canvas::new(150, 190, 200.0);
    for index in 0..12_u64 {
        let random =
            |salt: u64| ((seed * 31 + index * 7 + salt).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 40) as f64;
        let place = |salt: u64, n: f64| random(salt) % n;
        canvas = canvas.disc(place(1, 150.0), place(2, 190.0), 6.0 + place(3, 6.0), 300.0 + place(4, 600.0));
    }
    canvas.noise(10.0, seed + 1)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn labels_are_in_raster_order_and_each_is_measured(seed in 0_u64..1000) {
        let result = found(&scene(seed));
        let mut last = 0;
        for &label in &result.labels.labels {
            prop_assert!(label <= last + 1);
            last = last.max(label);
        }
        prop_assert_eq!(last, result.labels.n_objects);
        let numbers: Vec<u32> = result.objects.iter().map(|object| object.label).collect();
        prop_assert_eq!(numbers, (1..=last).collect::<Vec<_>>());
        prop_assert_eq!(found(&scene(seed)), result);
    }

    #[test]
    fn a_turned_plane_has_as_many_objects(seed in 0_u64..1000) {
        let canvas = scene(seed);
        prop_assert_eq!(found(&canvas.turned()).objects.len(), found(&canvas).objects.len());
    }

    #[test]
    fn an_offset_changes_nothing(seed in 0_u64..1000, offset in 1.0..5000.0_f64) {
        let canvas = scene(seed).map(|_, _, value| value.round());
        let shifted = canvas.clone().map(|_, _, value| value + offset.round());
        prop_assert_eq!(found(&shifted).labels, found(&canvas).labels);
    }
}

//! Every measure of random objects against its definition, computed the plain way from lists of pixels; shapes whose
//! measures are known in closed form.

use std::collections::{BTreeMap, BTreeSet};
use std::f64::consts::{PI, SQRT_2};

use crate::analysis::segmentation::{LabelImage, Region, measure};
use crate::analysis::synthesis::Random;
use crate::formats::plane::{Plane, Samples};

/// `[row, column]`
type Pixel = [i64; 2];

const N_REGIONS: usize = 1000;

#[test]
fn a_thousand_random_objects_measure_as_defined() {
    let mut random = Random::new(5);
    let (mut n_regions, mut n_images) = (0, 0);
    while n_regions < N_REGIONS {
        let labels = random_labels(&mut random);
        let (plane, values) = random_plane(&mut random, &labels, n_images % 6);
        let regions = measure(&plane, &labels);
        let mut pixels: BTreeMap<u32, Vec<Pixel>> = BTreeMap::new();
        for (index, &label) in labels.labels.iter().enumerate().filter(|(_, label)| **label != 0) {
            let pixel = [index / labels.width, index % labels.width].map(|place| place as i64);
            pixels.entry(label).or_default().push(pixel);
        }
        // what later objects hide wholly is left out
        let found: Vec<u32> = regions.iter().map(|region| region.label).collect();
        assert_eq!(found, pixels.keys().copied().collect::<Vec<_>>());
        for region in &regions {
            let checked = Checked { region, pixels: &pixels[&region.label] };
            checked.place(labels.height as i64, labels.width as i64);
            checked.ellipse();
            checked.outline();
            checked.intensity(|pixel| values[pixel[0] as usize * labels.width + pixel[1] as usize]);
        }
        n_regions += regions.len();
        n_images += 1;
    }
}

/// Objects of every kind, those drawn later upon the earlier ones: star shapes, bars, walks, specks, frames.
fn random_labels(random: &mut Random) -> LabelImage {
    let mut up_to = |most: u64| (random.bits() % most) as i64 + 1;
    let (height, width, n_objects) = (up_to(70), up_to(70), up_to(14) as u32);
    let mut labels = vec![0; (height * width) as usize];
    for label in 1..=n_objects {
        let centre = [height, width].map(|extent| random.between(0.0, extent as f64));
        let radius = random.between(0.6, 16.0);
        let flattening = random.between(1.0, 5.0);
        let (sin, cos) = random.between(0.0, PI).sin_cos();
        let part = random.between(0.1, 1.0);
        let kind = random.bits() % 5;
        let waves = random.between(0.0, 0.5);
        let walk = walked(random, centre, (radius * radius) as usize);
        for row in 0..height {
            for column in 0..width {
                let (y, x) = (row as f64 - centre[0], column as f64 - centre[1]);
                let (along, across) = (x * cos + y * sin, y * cos - x * sin);
                let is_inside = match kind {
                    0 => y.hypot(x) <= radius * (1.0 + waves * (5.0 * y.atan2(x)).cos()),
                    1 => along.hypot(across * flattening) <= radius,
                    2 => y.hypot(x) <= radius && random.uniform() < part,
                    3 => walk.contains(&[row, column]),
                    _ => y.abs().max(x.abs()) <= radius && y.abs().max(x.abs()) >= part * radius - 1.0,
                };
                if is_inside {
                    labels[(row * width + column) as usize] = label;
                }
            }
        }
    }
    LabelImage { height: height as usize, width: width as usize, n_objects, labels }
}

fn walked(random: &mut Random, centre: [f64; 2], n_steps: usize) -> BTreeSet<Pixel> {
    let mut at = centre.map(|place| place as i64);
    let mut seen = BTreeSet::from([at]);
    for _ in 0..n_steps {
        at = at.map(|place| place + (random.bits() % 3) as i64 - 1);
        seen.insert(at);
    }
    seen
}

/// Samples of one of six kinds, and the same as real numbers.
fn random_plane(random: &mut Random, labels: &LabelImage, kind: usize) -> (Plane, Vec<f64>) {
    let (height, width) = (labels.height, labels.width);
    let numbers: Vec<f64> = (0..height * width).map(|_| random.uniform()).collect();
    let scaled = |factor: f64, offset: f64| numbers.iter().map(move |number| number * factor + offset);
    let samples = match kind {
        0 => Samples::Uint8(scaled(256.0, 0.0).map(|value| value as u8).collect()),
        1 => Samples::Uint16(scaled(3000.0, 90.0).map(|value| value as u16).collect()),
        // mostly zero: some weighted centroids do not exist
        2 => Samples::Uint16(scaled(70_000.0, -68_000.0).map(|value| value.max(0.0) as u16).collect()),
        3 => Samples::Float32(scaled(1e-3, 1e-4).map(|value| value as f32).collect()),
        4 => Samples::Int16(scaled(9000.0, -20_000.0).map(|value| value as i16).collect()),
        _ => Samples::Float64(scaled(1e12, 1e12).collect()),
    };
    let values = match &samples {
        Samples::Uint8(values) => values.iter().map(|&value| value.into()).collect(),
        Samples::Uint16(values) => values.iter().map(|&value| value.into()).collect(),
        Samples::Int16(values) => values.iter().map(|&value| value.into()).collect(),
        Samples::Float32(values) => values.iter().map(|&value| value.into()).collect(),
        Samples::Float64(values) => values.clone(),
        other => unreachable!("{:?} is not drawn", other.sample_type()),
    };
    (Plane { height, width, n_samples: 1, samples }, values)
}

#[track_caller]
fn assert_close(found: f64, expected: f64, scale: f64, region: &Region) {
    assert!((found - expected).abs() <= 1e-11 * scale, "{found} is not {expected}: {region:?}");
}

/// One object and the list of its pixels.
struct Checked<'a> {
    region: &'a Region,
    pixels: &'a [Pixel],
}

impl Checked<'_> {
    fn n(&self) -> f64 {
        self.pixels.len() as f64
    }

    fn mean(&self, value: impl Fn(Pixel) -> f64) -> f64 {
        self.pixels.iter().map(|&pixel| value(pixel)).sum::<f64>() / self.n()
    }

    /// Rows and columns from the first to the one after the last.
    fn bounds(&self, axis: usize) -> [i64; 2] {
        let places = || self.pixels.iter().map(|pixel| pixel[axis]);
        [places().min().unwrap(), places().max().unwrap() + 1]
    }

    fn place(&self, height: i64, width: i64) {
        let region = self.region;
        let ([top, bottom], [left, right]) = (self.bounds(0), self.bounds(1));
        assert_eq!(region.area, self.pixels.len() as u64);
        assert_eq!(region.bbox, [top, left, bottom, right].map(|place| place as usize));
        assert_close(region.extent, self.n() / ((bottom - top) * (right - left)) as f64, 1.0, region);
        assert_close(PI / 4.0 * region.equivalent_diameter_area.powi(2), self.n(), self.n(), region);
        for axis in 0..2 {
            assert_close(region.centroid[axis], self.mean(|pixel| pixel[axis] as f64), 100.0, region);
        }
        let on_border = |pixel: &Pixel| pixel.contains(&0) || pixel[0] == height - 1 || pixel[1] == width - 1;
        assert_eq!(region.touches_border, self.pixels.iter().any(on_border), "{region:?}");
    }

    /// The ellipse by what defines it: its axes have the sum and the product of the variances' eigenvalues, and along
    /// its orientation the variance is the greatest.
    fn ellipse(&self) {
        let region = self.region;
        let centre = [0, 1].map(|axis| self.mean(|pixel| pixel[axis] as f64));
        let variance = |a: usize, b: usize| {
            self.mean(|pixel| (pixel[a] as f64 - centre[a]) * (pixel[b] as f64 - centre[b]))
        };
        let (yy, xx, yx) = (variance(0, 0), variance(1, 1), variance(0, 1));
        let [major, minor] =
            [region.axis_major_length, region.axis_minor_length].map(|axis| (axis / 4.0).powi(2));
        let total = yy + xx;
        assert!(major >= minor);
        assert_close(major + minor, total, total, region);
        assert_close(major * minor, yy * xx - yx * yx, total * total, region);
        assert_close(region.eccentricity.powi(2) * major, major - minor, total, region);
        assert!(region.orientation.abs() <= PI / 2.0);
        let (sin, cos) = region.orientation.sin_cos();
        let along = cos * cos * yy + 2.0 * sin * cos * yx + sin * sin * xx;
        assert_close(along, major, total, region);
    }

    fn outline(&self) {
        let hull = convex_hull(self.pixels);
        let ([top, bottom], [left, right]) = (self.bounds(0), self.bounds(1));
        let n_inside = (top..bottom)
            .flat_map(|row| (left..right).map(move |column| [2 * row, 2 * column]))
            .filter(|&centre| is_in(&hull, centre))
            .count();
        assert_close(self.region.solidity, self.n() / n_inside as f64, 1.0, self.region);
        let perimeter = perimeter(self.pixels);
        assert_close(self.region.perimeter, perimeter, perimeter, self.region);
    }

    fn intensity(&self, value: impl Fn(Pixel) -> f64) {
        let region = self.region;
        let mut values: Vec<f64> = self.pixels.iter().map(|&pixel| value(pixel)).collect();
        values.sort_by(f64::total_cmp);
        let (n, least, greatest) = (values.len(), values[0], values[values.len() - 1]);
        let scale = least.abs().max(greatest.abs());
        let mean = self.mean(&value);
        assert_eq!((region.intensity_min, region.intensity_max), (least, greatest));
        assert_close(region.intensity_mean, mean, scale, region);
        let variance = self.mean(|pixel| (value(pixel) - mean).powi(2));
        assert_close(region.intensity_std, variance.sqrt(), scale, region);
        let median = (values[(n - 1) / 2] + values[n / 2]) / 2.0;
        assert_close(region.intensity_median, median, scale, region);
        let sum: f64 = values.iter().sum();
        assert_eq!(region.centroid_weighted.is_some(), sum != 0.0, "{region:?}");
        for (axis, &found) in region.centroid_weighted.iter().flatten().enumerate() {
            let expected = self.mean(|pixel| value(pixel) * pixel[axis] as f64) / mean;
            assert_close(found, expected, 100.0, region);
        }
    }
}

/// Corners of the convex hull of the middles of the pixels' sides, in half pixels: gift wrapping.
fn convex_hull(pixels: &[Pixel]) -> Vec<Pixel> {
    let sides = [[-1, 0], [1, 0], [0, -1], [0, 1]];
    let points: BTreeSet<Pixel> =
        pixels.iter().flat_map(|&[row, column]| sides.map(|[y, x]| [2 * row + y, 2 * column + x])).collect();
    let first = *points.first().unwrap();
    let mut hull = vec![first];
    loop {
        let last = hull[hull.len() - 1];
        let mut next = *points.iter().find(|&&point| point != last).unwrap();
        for &point in &points {
            let side = turn(last, next, point);
            let farther = |point: Pixel| (point[0] - last[0]).pow(2) + (point[1] - last[1]).pow(2);
            if side < 0 || (side == 0 && farther(point) > farther(next)) {
                next = point;
            }
        }
        if next == first {
            return hull;
        }
        hull.push(next);
    }
}

/// Twice the area of a triangle, with its sign.
fn turn(a: Pixel, b: Pixel, c: Pixel) -> i64 {
    (b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0])
}

fn is_in(hull: &[Pixel], point: Pixel) -> bool {
    (0..hull.len()).all(|index| turn(hull[index], hull[(index + 1) % hull.len()], point) >= 0)
}

/// Benkrid's and Crookes' sum over the pixels that have a neighbour outside, by the number of such pixels beside
/// and diagonally beside each.
fn perimeter(pixels: &[Pixel]) -> f64 {
    let all: BTreeSet<Pixel> = pixels.iter().copied().collect();
    let beside = |[y, x]: Pixel| [[y - 1, x], [y + 1, x], [y, x - 1], [y, x + 1]];
    let diagonal = |[y, x]: Pixel| [[y - 1, x - 1], [y - 1, x + 1], [y + 1, x - 1], [y + 1, x + 1]];
    let border: BTreeSet<Pixel> =
        all.iter().copied().filter(|&pixel| beside(pixel).iter().any(|other| !all.contains(other))).collect();
    let count = |places: [Pixel; 4]| places.iter().filter(|place| border.contains(*place)).count();
    let weight = |pixel: Pixel| match (count(beside(pixel)), count(diagonal(pixel))) {
        (2 | 3, 0..=2) => 1.0,
        (0, 2) | (1, 3) => SQRT_2,
        (1, 1 | 2) => (1.0 + SQRT_2) / 2.0,
        _ => 0.0,
    };
    border.iter().map(|&pixel| weight(pixel)).sum()
}

fn measured(height: usize, width: usize, is_inside: impl Fn(i64, i64) -> bool) -> Region {
    let at = |index: usize| is_inside((index / width) as i64, (index % width) as i64);
    let labels = (0..height * width).map(|index| u32::from(at(index))).collect();
    let plane = Plane { height, width, n_samples: 1, samples: Samples::Uint8(vec![7; height * width]) };
    measure(&plane, &LabelImage { height, width, n_objects: 1, labels }).remove(0)
}

#[test]
fn rectangles_measure_as_in_closed_form() {
    for (rows, columns) in [(3, 3), (3, 8), (9, 4), (20, 31)] {
        let region = measured(rows + 3, columns + 4, |y, x| {
            (1..=rows as i64).contains(&y) && (2..columns as i64 + 2).contains(&x)
        });
        let [a, b] = [rows as f64, columns as f64];
        // the variance of 1, 2, ..., n is (n^2 - 1) / 12
        let axis = |n: f64| 4.0 * ((n * n - 1.0) / 12.0).sqrt();
        assert_eq!((region.area, region.solidity, region.extent), ((rows * columns) as u64, 1.0, 1.0));
        assert_eq!(region.centroid, [1.0 + (a - 1.0) / 2.0, 2.0 + (b - 1.0) / 2.0]);
        assert_eq!(region.perimeter, 2.0 * (a + b) - 4.0);
        assert_close(region.axis_major_length, axis(a.max(b)), 10.0, &region);
        assert_close(region.axis_minor_length, axis(a.min(b)), 10.0, &region);
        if rows != columns {
            assert_eq!(region.orientation.abs(), if rows > columns { 0.0 } else { PI / 2.0 });
        }
        assert_eq!((region.intensity_mean, region.intensity_std, region.touches_border), (7.0, 0.0, false));
    }
}

#[test]
fn diamonds_and_lines_measure_as_in_closed_form() {
    for radius in [2, 3, 10] {
        let region = measured(25, 25, |y, x| (y - 12).abs() + (x - 12).abs() <= radius);
        let r = radius as f64;
        assert_eq!(region.area as f64, 2.0 * r * (r + 1.0) + 1.0);
        assert_close(region.perimeter, 4.0 * r * SQRT_2, 10.0, &region);
        assert_eq!((region.eccentricity, region.solidity), (0.0, 1.0));
        assert_eq!(region.centroid_weighted, Some([12.0, 12.0]));
    }
    let row = measured(1, 9, |_, x| x > 1);
    assert_eq!((row.area, row.perimeter, row.eccentricity, row.axis_minor_length), (7, 5.0, 1.0, 0.0));
    assert!(row.touches_border && row.orientation.abs() == PI / 2.0);
    let diagonal = measured(12, 12, |y, x| y == x && (1..11).contains(&y));
    assert_close(diagonal.perimeter, 8.0 * SQRT_2, 10.0, &diagonal);
    assert_close(diagonal.orientation, PI / 4.0, 1.0, &diagonal);
    let pixel = measured(3, 3, |y, x| [y, x] == [1, 1]);
    assert_eq!((pixel.area, pixel.perimeter, pixel.axis_major_length), (1, 0.0, 0.0));
    assert_eq!((pixel.eccentricity, pixel.solidity, pixel.touches_border), (0.0, 1.0, false));
}

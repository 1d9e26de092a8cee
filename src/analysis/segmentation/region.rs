//! One object and its measures, defined as scikit-image's `regionprops` defines them.

use super::LabelImage;
use super::hull::hull_area;
use super::levels::{Sample, with_samples};
use crate::formats::plane::Plane;

/// One object, measured as scikit-image's `regionprops` does. Lengths are in pixels, intensities in the units of
/// the file, points `[row, column]` with the origin at the centre of the first pixel.
#[derive(Debug, Clone, PartialEq)]
pub struct Region {
    /// Label of the object, from 1.
    pub label: u32,
    /// Number of pixels.
    pub area: u64,
    /// Mean position of the pixels.
    pub centroid: [f64; 2],
    /// Mean position weighted by intensity; `None` where the intensities sum to zero or are not finite.
    pub centroid_weighted: Option<[f64; 2]>,
    /// First row, first column, row after the last, column after the last.
    pub bbox: [usize; 4],
    /// Major axis of the ellipse with the same second moments.
    pub axis_major_length: f64,
    /// Minor axis of the ellipse with the same second moments.
    pub axis_minor_length: f64,
    /// Eccentricity of that ellipse: 0 is a circle, 1 a line.
    pub eccentricity: f64,
    /// Angle between the row axis and the major axis, counter-clockwise, in radians from -pi/2 to pi/2.
    pub orientation: f64,
    /// Area over the area of the convex hull.
    pub solidity: f64,
    /// Area over the area of the bounding box.
    pub extent: f64,
    /// Length of the outline through the border pixels' centres, neighbourhood 4.
    pub perimeter: f64,
    /// Diameter of the circle of the same area.
    pub equivalent_diameter_area: f64,
    /// Mean intensity.
    pub intensity_mean: f64,
    /// Least intensity.
    pub intensity_min: f64,
    /// Greatest intensity.
    pub intensity_max: f64,
    /// Standard deviation of the intensity, divisor n.
    pub intensity_std: f64,
    /// Median intensity; the mean of the middle two for an even number.
    pub intensity_median: f64,
    /// Whether a pixel of it lies in the first or last row or column.
    pub touches_border: bool,
}

/// Measures every object of `labels` on the samples of `plane`: the result's `[i]` has label `i + 1`.
///
/// The plane must have one sample per pixel and the labels' shape; labels above `n_objects` are not measured, and a
/// label that no pixel has is left out.
pub fn measure(plane: &Plane, labels: &LabelImage) -> Vec<Region> {
    if labels.labels.len() != labels.height * labels.width || plane.samples.len() != labels.labels.len() {
        return Vec::new();
    }
    let mut measurer = Measurer::default();
    let boxes = bounding_boxes(labels);
    let mut regions = Vec::with_capacity(boxes.len());
    with_samples!(plane, values => {
        for (label, bbox) in (1_u32..).zip(boxes).filter(|(_, bbox)| bbox[2] > 0) {
            regions.push(measurer.measure(labels, label, bbox, values));
        }
    });
    regions
}

fn bounding_boxes(labels: &LabelImage) -> Vec<[usize; 4]> {
    let mut boxes = vec![[usize::MAX, usize::MAX, 0, 0]; labels.n_objects as usize];
    for (y, row) in labels.labels.chunks_exact(labels.width.max(1)).enumerate() {
        let mut x = 0;
        while let Some(skip) = row[x..].iter().position(|&label| label != 0) {
            let start = x + skip;
            let label = row[start];
            let end = start + row[start..].iter().take_while(|&&other| other == label).count();
            if let Some(bbox) = boxes.get_mut(label as usize - 1) {
                *bbox = [bbox[0].min(y), bbox[1].min(start), y + 1, bbox[3].max(end)];
            }
            x = end;
        }
    }
    boxes
}

/// Measures objects one after the other, with buffers that are used again.
#[derive(Debug, Default)]
struct Measurer {
    /// The object in its box with a margin of two pixels: bit 0 belongs to it, bit 1 is its border.
    mask: Vec<u8>,
    /// The object's samples.
    intensities: Vec<f64>,
    /// First and last column of each row, in the box.
    spans: Vec<[i64; 2]>,
}

/// Sums over an object's pixels, positions counted from its box's corner.
#[derive(Debug, Default)]
struct Sums {
    n: i128,
    y: i128,
    x: i128,
    yy: i128,
    xx: i128,
    yx: i128,
    intensity: f64,
    intensity_y: f64,
    intensity_x: f64,
}

impl Measurer {
    fn measure<T: Sample>(
        &mut self,
        labels: &LabelImage,
        label: u32,
        bbox: [usize; 4],
        values: &[T],
    ) -> Region {
        let [top, left, bottom, right] = bbox;
        let sums = self.collect(labels, label, bbox, values);
        let n = sums.n as f64;
        let shape = Ellipse::of(&sums);
        let intensity = Intensity::of(&mut self.intensities);
        let weighted = [sums.intensity_y / sums.intensity, sums.intensity_x / sums.intensity];
        let is_weighted = weighted.iter().all(|position| position.is_finite());
        Region {
            label,
            area: sums.n as u64,
            centroid: [top as f64 + sums.y as f64 / n, left as f64 + sums.x as f64 / n],
            centroid_weighted: is_weighted.then(|| [top as f64 + weighted[0], left as f64 + weighted[1]]),
            bbox,
            axis_major_length: 4.0 * shape.major.sqrt(),
            axis_minor_length: 4.0 * shape.minor.sqrt(),
            eccentricity: if shape.major > 0.0 { (1.0 - shape.minor / shape.major).sqrt() } else { 0.0 },
            orientation: shape.orientation,
            solidity: n / hull_area(&self.spans) as f64,
            extent: n / ((bottom - top) * (right - left)) as f64,
            perimeter: self.perimeter(right - left + 4),
            equivalent_diameter_area: (4.0 * n / std::f64::consts::PI).sqrt(),
            intensity_mean: intensity.mean,
            intensity_min: intensity.min,
            intensity_max: intensity.max,
            intensity_std: intensity.std,
            intensity_median: intensity.median,
            touches_border: top == 0 || left == 0 || bottom == labels.height || right == labels.width,
        }
    }

    /// One pass over the box: sums, mask, spans, samples.
    fn collect<T: Sample>(
        &mut self,
        labels: &LabelImage,
        label: u32,
        bbox: [usize; 4],
        values: &[T],
    ) -> Sums {
        let [top, left, bottom, right] = bbox;
        let stride = right - left + 4;
        self.mask.clear();
        self.mask.resize((bottom - top + 4) * stride, 0);
        self.intensities.clear();
        self.intensities.reserve((bottom - top) * (right - left));
        self.spans.clear();
        let mut sums = Sums::default();
        for y in top..bottom {
            let from = y * labels.width + left;
            let row = &labels.labels[from..from + right - left];
            let samples = &values[from..from + right - left];
            let mask = &mut self.mask[(y - top + 2) * stride + 2..];
            let mut span = [i64::MAX, -1];
            let (mut n, mut sum_x, mut sum_xx) = (0_i64, 0_i64, 0_i64);
            let (mut intensity, mut intensity_x) = (0.0, 0.0);
            for (x, (&other, sample)) in (0_i64..).zip(row.iter().zip(samples)) {
                if other == label {
                    let value = sample.value();
                    mask[x as usize] = 1;
                    span = [span[0].min(x), x];
                    n += 1;
                    sum_x += x;
                    sum_xx += x * x;
                    intensity += value;
                    intensity_x += value * x as f64;
                    self.intensities.push(value);
                }
            }
            let dy = (y - top) as i128;
            sums.n += i128::from(n);
            sums.y += dy * i128::from(n);
            sums.yy += dy * dy * i128::from(n);
            sums.x += i128::from(sum_x);
            sums.xx += i128::from(sum_xx);
            sums.yx += dy * i128::from(sum_x);
            sums.intensity += intensity;
            sums.intensity_x += intensity_x;
            sums.intensity_y += intensity * dy as f64;
            self.spans.push(span);
        }
        sums
    }

    /// Length of the outline: each border pixel counts by how its border neighbours lie.
    ///
    /// # References
    /// K. Benkrid, D. Crookes, Design and FPGA implementation of a perimeter estimator (2000), as scikit-image
    /// weighs it: 1 for a straight step, sqrt 2 for a diagonal one, their mean for a corner.
    fn perimeter(&mut self, stride: usize) -> f64 {
        const BORDER: u8 = 2;
        let mask = &mut self.mask;
        let (first, last) = (stride + 1, mask.len() - stride - 1);
        for pixel in first..last {
            let cross = mask[pixel - stride] & mask[pixel - 1] & mask[pixel + 1] & mask[pixel + stride] & 1;
            if mask[pixel] & 1 == 1 && cross == 0 {
                mask[pixel] |= BORDER;
            }
        }
        let (mut n_straight, mut n_diagonal, mut n_corner) = (0_u64, 0_u64, 0_u64);
        for pixel in (first..last).filter(|&pixel| mask[pixel] & BORDER != 0) {
            let is_border = |other: usize| u32::from(mask[other] >> 1);
            let sides = is_border(pixel - stride)
                + is_border(pixel - 1)
                + is_border(pixel + 1)
                + is_border(pixel + stride);
            let diagonals = is_border(pixel - stride - 1)
                + is_border(pixel - stride + 1)
                + is_border(pixel + stride - 1)
                + is_border(pixel + stride + 1);
            match 1 + 2 * sides + 10 * diagonals {
                5 | 7 | 15 | 17 | 25 | 27 => n_straight += 1,
                21 | 33 => n_diagonal += 1,
                13 | 23 => n_corner += 1,
                _ => {}
            }
        }
        let root = std::f64::consts::SQRT_2;
        n_straight as f64 + n_diagonal as f64 * root + n_corner as f64 * (1.0 + root) / 2.0
    }
}

/// The ellipse with an object's second moments.
#[derive(Debug)]
struct Ellipse {
    major: f64,
    minor: f64,
    orientation: f64,
}

impl Ellipse {
    /// Eigenvalues of the covariance of the pixels' positions, from exact integer sums.
    fn of(sums: &Sums) -> Self {
        let n = sums.n;
        let scale = 1.0 / (n as f64 * n as f64);
        let yy = (n * sums.yy - sums.y * sums.y) as f64 * scale;
        let xx = (n * sums.xx - sums.x * sums.x) as f64 * scale;
        let yx = (n * sums.yx - sums.y * sums.x) as f64 * scale;
        let (middle, reach) = ((yy + xx) / 2.0, ((yy - xx) / 2.0).hypot(yx));
        let (a, b, c) = (xx, -yx, yy);
        let orientation = if a == c {
            if b < 0.0 { std::f64::consts::FRAC_PI_4 } else { -std::f64::consts::FRAC_PI_4 }
        } else {
            0.5 * (-2.0 * b).atan2(c - a)
        };
        Self { major: middle + reach, minor: (middle - reach).max(0.0), orientation }
    }
}

/// What an object's samples say.
#[derive(Debug)]
struct Intensity {
    mean: f64,
    min: f64,
    max: f64,
    std: f64,
    median: f64,
}

impl Intensity {
    /// `values` are reordered; there is at least one.
    fn of(values: &mut [f64]) -> Self {
        let n = values.len() as f64;
        let mean = values.iter().sum::<f64>() / n;
        let variance = values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / n;
        let min = values.iter().copied().fold(f64::INFINITY, f64::min);
        let max = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let middle = values.len() / 2;
        let n_values = values.len();
        let (below, &mut upper, _) = values.select_nth_unstable_by(middle, f64::total_cmp);
        let median = if n_values % 2 == 1 {
            upper
        } else {
            let lower = below.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            lower / 2.0 + upper / 2.0
        };
        Self { mean, min, max, std: variance.sqrt(), median }
    }
}

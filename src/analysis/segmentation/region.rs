//! One object and its measures, defined as scikit-image's `regionprops` defines them.

use rayon::prelude::*;

use super::LabelImage;
use super::components::Run;
use super::hull::hull_area;
use super::intensity::Intensities;
use super::label_runs::LabelRuns;
use super::levels::{Sample, with_samples};
use super::perimeter::Perimeter;
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
/// label that no pixel has is left out. Objects are shared out to the threads of the rayon pool that this is called in.
pub fn measure(plane: &Plane, labels: &LabelImage) -> Vec<Region> {
    if labels.labels.len() != labels.height * labels.width || plane.samples.len() != labels.labels.len() {
        return Vec::new();
    }
    let runs = LabelRuns::of(labels);
    let shape = [labels.height, labels.width];
    with_samples!(plane, values => {
        let objects = runs.par_iter().enumerate().filter(|(_, runs)| !runs.is_empty());
        let measured = objects.map_init(Measurer::default, |measurer, (index, runs)| {
            measurer.measure(index as u32 + 1, runs, shape, values)
        });
        measured.collect()
    })
}

/// Measures objects one after the other, with buffers that are used again.
#[derive(Debug, Default)]
struct Measurer {
    perimeter: Perimeter,
    intensities: Intensities,
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
}

impl Measurer {
    fn measure<T: Sample>(
        &mut self,
        label: u32,
        runs: &[Run],
        [height, width]: [usize; 2],
        values: &[T],
    ) -> Region {
        let bbox @ [top, left, bottom, right] = bounding_box(runs);
        let sums = Sums::of(runs, bbox);
        let n = sums.n as f64;
        let shape = Ellipse::of(&sums);
        let intensity = self.intensities.measure(runs, [top, left], (values, width));
        self.find_spans(runs, bbox);
        let weighted = intensity.weighted;
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
            perimeter: self.perimeter.measure(runs, bbox),
            equivalent_diameter_area: (4.0 * n / std::f64::consts::PI).sqrt(),
            intensity_mean: intensity.mean,
            intensity_min: intensity.min,
            intensity_max: intensity.max,
            intensity_std: intensity.std,
            intensity_median: intensity.median,
            touches_border: top == 0 || left == 0 || bottom == height || right == width,
        }
    }

    fn find_spans(&mut self, runs: &[Run], [top, left, bottom, _]: [usize; 4]) {
        self.spans.clear();
        self.spans.resize(bottom - top, [i64::MAX, -1]);
        for run in runs {
            let span = &mut self.spans[run.row as usize - top];
            *span = [span[0].min(i64::from(run.start) - left as i64), i64::from(run.end) - 1 - left as i64];
        }
    }
}

/// First row, first column, row after the last, column after the last; there is at least one run.
fn bounding_box(runs: &[Run]) -> [usize; 4] {
    let left = runs.iter().map(|run| run.start).min().unwrap_or(0);
    let right = runs.iter().map(|run| run.end).max().unwrap_or(0);
    let [top, bottom] = [runs.first(), runs.last()].map(|run| run.map_or(0, |run| run.row));
    [top, left, bottom + 1, right].map(|edge| edge as usize)
}

impl Sums {
    fn of(runs: &[Run], [top, left, ..]: [usize; 4]) -> Self {
        let mut sums = Self::default();
        for run in runs {
            let (from, to) = (i64::from(run.start) - left as i64, i64::from(run.end) - left as i64);
            let n = to - from;
            // sums of x and of x squared below a bound, in closed form
            let sum = |end: i64| end * (end - 1) / 2;
            let sum_squared = |end: i64| i128::from(end - 1) * i128::from(end) * i128::from(2 * end - 1) / 6;
            let (y, n, x) =
                (i128::from(run.row) - top as i128, i128::from(n), i128::from(sum(to) - sum(from)));
            sums.n += n;
            sums.y += y * n;
            sums.yy += y * y * n;
            sums.x += x;
            sums.xx += sum_squared(to) - sum_squared(from);
            sums.yx += y * x;
        }
        sums
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

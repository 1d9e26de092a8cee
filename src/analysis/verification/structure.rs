//! Stage 4: in which orientation, and how far shifted, two reduced images agree best.

use super::fourier::{Complex, Fourier};
use super::grey_image::Image;
use super::placement::turned_shape;

/// Peaks of the correlation that are looked at per orientation.
const N_PEAKS: usize = 3;
/// Correlation of whole frames in place from which no other place is looked for.
const CORRELATION_IN_PLACE: f32 = 0.97;
/// Correlation from which no other orientation is tried.
const CORRELATION_SURE: f32 = 0.95;
/// Peaks nearer than this to a higher one are part of it, in pixels.
const PEAK_RADIUS: i64 = 2;
/// Quantiles of the grey values that are drawn in first: hot pixels, saturated objects.
const CLIP: (f64, f64) = (0.005, 0.998);
/// The slowly varying part that is taken off is the mean over this part of the longer side: illumination.
const BACKGROUND_PART: usize = 4;

/// Where image B lies in the turned image A.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Match {
    pub(super) orientation: u8,
    /// Rows and columns of the turned A before the first of B.
    pub(super) shift: (i64, i64),
    /// Correlation where they overlap, -1 to 1.
    pub(super) correlation: f32,
}

/// Finds the place of B in A in the given orientations; `overlap_min` is the least common part of the smaller image.
///
/// # References
/// Kuglin and Hines, "The phase correlation image alignment method" (1975), with half of the whitening: its highest
/// peaks only propose, the correlation of the overlapping parts decides; the first of equals wins. Frames of one shape that
/// agree where they stand are not searched.
pub(super) fn best_match(a: &Image, b: &Image, orientations: &[u8], overlap_min: f64) -> Option<Match> {
    let longest = a.height.max(a.width).max(b.height).max(b.width);
    if a.values.is_empty() || b.values.is_empty() {
        return None;
    }
    let (a, b) = (normalised(a), normalised(b));
    let n_min = overlap_min * a.values.len().min(b.values.len()) as f64;
    if let Some(&orientation) = orientations.first() {
        let turned = a.clone().turned(orientation);
        let correlation = overlap_correlation(&turned, &b, (0, 0), n_min);
        if turned.shape() == b.shape() && correlation.abs() >= CORRELATION_IN_PLACE {
            return Some(Match { orientation, shift: (0, 0), correlation });
        }
    }
    let side = (2 * longest).next_power_of_two();
    let fourier = Fourier::new(side);
    let spectrum_b = spectrum(&b, &fourier);
    let mut best: Option<Match> = None;
    for &orientation in orientations {
        if best.is_some_and(|best| best.correlation.abs() >= CORRELATION_SURE) {
            break;
        }
        let turned = a.clone().turned(orientation);
        let surface = correlation_surface(spectrum(&turned, &fourier), &spectrum_b, &fourier);
        let mut shifts = peaks(&surface, (turned.shape(), b.shape()), n_min);
        shifts.push(centred_shift(turned_shape(a.shape(), orientation), b.shape()));
        for shift in shifts {
            let correlation = overlap_correlation(&turned, &b, shift, n_min);
            if best.is_none_or(|best| correlation.abs() > best.correlation.abs()) {
                best = Some(Match { orientation, shift, correlation });
            }
        }
    }
    best
}

/// The shift that puts both centres on each other: whole frames.
fn centred_shift(a: (usize, usize), b: (usize, usize)) -> (i64, i64) {
    let half = |a: usize, b: usize| (a as i64 - b as i64) / 2;
    (half(a.0, b.0), half(a.1, b.1))
}

/// Draws outliers in, takes the local mean away, scales to a mean square of 1.
fn normalised(image: &Image) -> Image {
    let mut values = image.values.clone();
    let mut quantile = |p: f64| {
        let place = ((values.len() - 1) as f64 * p).round() as usize;
        *values.select_nth_unstable_by(place, f32::total_cmp).1
    };
    let (low, high) = (quantile(CLIP.0), quantile(CLIP.1));
    let mut clipped = image.clone();
    clipped.values.iter_mut().for_each(|value| *value = value.max(low).min(high));
    let window = (image.height.max(image.width) / BACKGROUND_PART).max(3);
    let means = local_means(&clipped, window / 2);
    clipped.values.iter_mut().zip(means).for_each(|(value, mean)| *value -= mean);
    let square: f64 = clipped.values.iter().map(|&v| f64::from(v) * f64::from(v)).sum();
    let deviation = (square / clipped.values.len() as f64).sqrt();
    let scale = if deviation > 0.0 { 1.0 / deviation } else { 0.0 };
    clipped.values.iter_mut().for_each(|value| *value = (f64::from(*value) * scale) as f32);
    clipped
}

/// Means over squares of `2 * radius + 1` pixels, cut off at the edges.
pub(super) fn local_means(image: &Image, radius: usize) -> Vec<f32> {
    let (height, width) = image.shape();
    let stride = width + 1;
    let mut sums = vec![0.0_f64; (height + 1) * stride];
    for y in 0..height {
        let mut row_sum = 0.0;
        for (x, &value) in image.row(y).iter().enumerate() {
            row_sum += f64::from(value);
            sums[(y + 1) * stride + x + 1] = sums[y * stride + x + 1] + row_sum;
        }
    }
    let mut means = Vec::with_capacity(height * width);
    for y in 0..height {
        let (top, bottom) = (y.saturating_sub(radius), (y + radius + 1).min(height));
        for x in 0..width {
            let (left, right) = (x.saturating_sub(radius), (x + radius + 1).min(width));
            let sum =
                sums[bottom * stride + right] - sums[top * stride + right] - sums[bottom * stride + left]
                    + sums[top * stride + left];
            means.push((sum / ((bottom - top) * (right - left)) as f64) as f32);
        }
    }
    means
}

fn spectrum(image: &Image, fourier: &Fourier) -> Vec<Complex> {
    let side = fourier.side();
    let mut values = vec![[0.0; 2]; side * side];
    for y in 0..image.height {
        for (place, &value) in values[y * side..].iter_mut().zip(image.row(y)) {
            *place = [value, 0.0];
        }
    }
    fourier.forward(&mut values);
    values
}

/// The half-whitened correlation of A with B over all shifts.
fn correlation_surface(mut a: Vec<Complex>, b: &[Complex], fourier: &Fourier) -> Vec<Complex> {
    for (a, b) in a.iter_mut().zip(b) {
        let product = [a[0] * b[0] + a[1] * b[1], a[1] * b[0] - a[0] * b[1]];
        let weight = product[0].hypot(product[1]).sqrt().max(f32::MIN_POSITIVE);
        *a = [product[0] / weight, product[1] / weight];
    }
    fourier.inverse(&mut a);
    a
}

/// The shifts of the highest peaks, of either sign, with enough overlap.
fn peaks(surface: &[Complex], (a, b): ((usize, usize), (usize, usize)), n_min: f64) -> Vec<(i64, i64)> {
    let side = (surface.len() as f64).sqrt() as i64;
    let mut shifts: Vec<(f32, (i64, i64))> = Vec::new();
    for dy in 1 - b.0 as i64..a.0 as i64 {
        for dx in 1 - b.1 as i64..a.1 as i64 {
            let value = surface[(dy.rem_euclid(side) * side + dx.rem_euclid(side)) as usize][0].abs();
            if shifts.len() == N_PEAKS && value <= shifts[N_PEAKS - 1].0 {
                continue;
            }
            let (rows, columns) = (overlap(a.0, b.0, dy), overlap(a.1, b.1, dx));
            if ((rows.1 - rows.0).max(0) * (columns.1 - columns.0).max(0)) as f64 >= n_min {
                keep_peak(&mut shifts, value, (dy, dx));
            }
        }
    }
    shifts.into_iter().map(|(_, shift)| shift).collect()
}

/// Keeps the list short, descending, and free of neighbours.
fn keep_peak(shifts: &mut Vec<(f32, (i64, i64))>, value: f32, shift: (i64, i64)) {
    let is_near = |other: (i64, i64)| {
        (other.0 - shift.0).abs() <= PEAK_RADIUS && (other.1 - shift.1).abs() <= PEAK_RADIUS
    };
    if shifts.iter().any(|&(other, place)| is_near(place) && other >= value) {
        return;
    }
    shifts.retain(|&(_, place)| !is_near(place));
    let place = shifts.partition_point(|&(other, _)| other >= value);
    shifts.insert(place, (value, shift));
    shifts.truncate(N_PEAKS);
}

/// First and one past the last row (or column) of B that lies in A.
pub(super) fn overlap(length_a: usize, length_b: usize, shift: i64) -> (i64, i64) {
    ((-shift).max(0), (length_a as i64 - shift).min(length_b as i64))
}

/// Correlation of the overlapping parts; 0 where too few pixels overlap or nothing varies.
fn overlap_correlation(a: &Image, b: &Image, shift: (i64, i64), n_min: f64) -> f32 {
    let rows = overlap(a.height, b.height, shift.0);
    let columns = overlap(a.width, b.width, shift.1);
    let n = ((rows.1 - rows.0).max(0) * (columns.1 - columns.0).max(0)) as f64;
    if n < n_min.max(16.0) {
        return 0.0;
    }
    let mut moments = Moments::default();
    for y in rows.0..rows.1 {
        let row_b = &b.row(y as usize)[columns.0 as usize..columns.1 as usize];
        let from = (columns.0 + shift.1) as usize;
        let row_a = &a.row((y + shift.0) as usize)[from..from + row_b.len()];
        row_a.iter().zip(row_b).for_each(|(&a, &b)| moments.add(a, b));
    }
    moments.correlation()
}

/// Sums for a correlation.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Moments {
    pub(super) n: f64,
    pub(super) a: f64,
    pub(super) b: f64,
    pub(super) aa: f64,
    pub(super) bb: f64,
    pub(super) ab: f64,
}

impl Moments {
    pub(super) fn add(&mut self, a: f32, b: f32) {
        let (a, b) = (f64::from(a), f64::from(b));
        self.n += 1.0;
        self.a += a;
        self.b += b;
        self.aa += a * a;
        self.bb += b * b;
        self.ab += a * b;
    }

    /// Pearson's correlation; 0 where one side does not vary.
    pub(super) fn correlation(&self) -> f32 {
        let n = self.n.max(1.0);
        let covariance = self.ab - self.a * self.b / n;
        let variances = (self.aa - self.a * self.a / n, self.bb - self.b * self.b / n);
        // what rounding leaves of a constant is no variance
        let is_flat = variances.0 <= 1e-12 * self.aa || variances.1 <= 1e-12 * self.bb;
        if is_flat { 0.0 } else { (covariance / (variances.0 * variances.1).sqrt()).clamp(-1.0, 1.0) as f32 }
    }
}

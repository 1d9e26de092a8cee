//! R and Q: whether two aligned images have their noise in common.
//!
//! Photon and read noise depend on the grey level, so everything is measured per level and the median over the levels
//! counts. A level whose noise is lost in the rounding of the grey values says nothing and is left out.

use super::cells::{CELL, Cells};
use super::grey_map::{GreyMap, ascending};
use super::structure::local_means;

/// Grey levels, dense at both ends as the quantiles of a few bright objects on a wide background need.
const N_LEVELS: usize = 32;
/// Cells per level: on average, and at least.
const N_PER_LEVEL_MEAN: usize = 48;
const N_PER_LEVEL_MIN: usize = 24;
/// Part of the cells of a level, the least steep, where noise is measured.
const FLAT_FRACTION: f64 = 0.7;
/// Noise, in steps of the grey values, that survives rounding.
const NOISE_STEPS_MIN: f64 = 0.3;
/// Levels without which nothing is said.
const N_LEVELS_MIN: usize = 3;

/// What the noise of both images says; medians over the grey levels.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct NoiseMatch {
    /// Correlation of the finest diagonal details.
    pub(super) r: f32,
    /// Root mean square of B minus the mapped A, in units of what two exposures would give.
    pub(super) q: f32,
    /// Noise of B that A does not explain, in units of the larger noise of both.
    pub(super) own: f32,
    pub(super) n_levels: u32,
}

impl NoiseMatch {
    /// Measures; `cell_side` is that of the cells in pixels, `levels` are those of the cells, `step` that of the grey values of B. `None` where too few
    /// levels have noise above the rounding.
    pub(super) fn of(
        (cells, cell_side): (&Cells, usize),
        levels: &[Vec<usize>],
        map: &GreyMap,
        step: f64,
    ) -> Option<Self> {
        let n_details = cell_side * cell_side / 4;
        let found: Vec<Level> =
            levels.iter().filter_map(|places| Level::of(cells, places, n_details, map, step)).collect();
        if found.len() < N_LEVELS_MIN {
            return None;
        }
        let median_of = |figure: fn(&Level) -> f32| median(found.iter().map(figure).collect());
        Some(Self {
            r: median_of(|level| level.r),
            q: median_of(|level| level.q),
            own: median_of(|level| level.own),
            n_levels: found.len() as u32,
        })
    }
}

/// Correlation of details of twice the cell over cells that are not steep: noise that compression leaves. It is taken
/// from how often the signs agree (Sheppard 1899), so that no bright place outweighs all others.
pub(super) fn coarse_correlation(cells: &Cells, levels: &[Vec<usize>]) -> Option<f32> {
    let mut is_flat = vec![false; cells.len()];
    levels.iter().flatten().for_each(|&place| is_flat[place] = true);
    let (mut n, mut n_agreeing) = (0_usize, 0_i64);
    for y in 0..cells.height / 2 {
        for x in 0..cells.width / 2 {
            let quad = cells.quad(y, x);
            if quad.iter().all(|&place| is_flat[place]) {
                let detail = |means: &[f32]| {
                    let [a, b, c, d] = quad.map(|place| means[place]);
                    a - b - c + d
                };
                let (a, b) = (detail(&cells.means_a), detail(&cells.means_b));
                n += 1;
                n_agreeing += i64::from(a * b > 0.0) - i64::from(a * b < 0.0);
            }
        }
    }
    let agreement = n_agreeing as f64 / n.max(1) as f64;
    (n >= N_PER_LEVEL_MEAN).then(|| (std::f64::consts::FRAC_PI_2 * agreement).sin() as f32)
}

/// The median; of an even number the upper one. 0 for none.
pub(super) fn median(mut values: Vec<f32>) -> f32 {
    if values.is_empty() {
        return 0.0;
    }
    let middle = values.len() / 2;
    *values.select_nth_unstable_by(middle, f32::total_cmp).1
}

/// One grey level.
struct Level {
    r: f32,
    q: f32,
    own: f32,
}

impl Level {
    fn of(cells: &Cells, places: &[usize], n_details: usize, map: &GreyMap, step: f64) -> Option<Self> {
        let [first, .., last] = places else { return None };
        // variance of a pixel, from sums of squares over four details
        let variance = |value: fn(&super::cells::Details) -> f32| {
            let median = median(places.iter().map(|&place| value(&cells.details[place])).collect());
            f64::from(median) / 4.0 / median_of_mean_square(n_details)
        };
        let (ends_a, ends_b) = (
            (cells.means_a[*first], cells.means_a[*last]),
            (map.apply(cells.means_a[*first]), map.apply(cells.means_a[*last])),
        );
        let width = f64::from(ends_a.1 - ends_a.0);
        let slope = if width > 0.0 { f64::from(ends_b.1 - ends_b.0) / width } else { 0.0 };
        let (mapped, own) = (variance(|d| d.aa) * slope * slope, variance(|d| d.bb));
        let noise = mapped.max(own);
        if noise <= 0.0 || noise.sqrt() < NOISE_STEPS_MIN * step {
            return None;
        }
        let sum = |value: fn(&super::cells::Details) -> f32| {
            places.iter().map(|&place| f64::from(value(&cells.details[place]))).sum::<f64>()
        };
        let norm = (sum(|d| d.aa) * sum(|d| d.bb)).sqrt();
        let r = if norm > 0.0 { (sum(|d| d.ab) / norm).clamp(-1.0, 1.0) } else { 0.0 };
        let rest = |&place: &usize| f64::from(cells.means_b[place] - map.apply(cells.means_a[place])).powi(2);
        let mean_square = places.iter().map(rest).sum::<f64>() / places.len() as f64;
        // two exposures with the noise of the noisier; the mean of a cell has that of a pixel over its side
        let expected = 2.0 * noise / (4 * n_details) as f64;
        Some(Self {
            r: r as f32,
            q: (mean_square / expected).sqrt().min(1e6) as f32,
            own: ((1.0 - r * r) * own / noise).sqrt() as f32,
        })
    }
}

/// The median of a mean of `n` squares of normal numbers (Wilson and Hilferty 1931).
fn median_of_mean_square(n: usize) -> f64 {
    (1.0 - 2.0 / (9.0 * n as f64)).powi(3)
}

/// The flat cells of each grey level of A, in ascending order of their means.
pub(super) fn levels(cells: &Cells) -> Vec<Vec<usize>> {
    let order = ascending(&cells.means_a);
    let steepness = steepness(cells);
    let n_levels = (order.len() / N_PER_LEVEL_MEAN).min(N_LEVELS);
    let edge = |level: usize| {
        let fraction = (1.0 - (std::f64::consts::PI * level as f64 / n_levels as f64).cos()) / 2.0;
        (fraction * order.len() as f64).round() as usize
    };
    (0..n_levels)
        .map(|level| &order[edge(level)..edge(level + 1)])
        .filter(|places| places.len() >= N_PER_LEVEL_MIN)
        .map(|places| {
            let mut sorted: Vec<f32> = places.iter().map(|&place| steepness[place]).collect();
            let kept = (places.len() as f64 * FLAT_FRACTION) as usize;
            let limit = *sorted.select_nth_unstable_by(kept, f32::total_cmp).1;
            places.iter().copied().filter(|&place| steepness[place] <= limit).collect()
        })
        .collect()
}

/// The larger of the slopes of both images, each in units of its mean slope.
fn steepness(cells: &Cells) -> Vec<f32> {
    let scaled = |means: &[f32]| {
        let mut slopes = slopes(cells, means);
        let mean = slopes.iter().map(|&slope| f64::from(slope)).sum::<f64>() / slopes.len().max(1) as f64;
        let scale = if mean > 0.0 { 1.0 / mean } else { 0.0 };
        slopes.iter_mut().for_each(|slope| *slope = (f64::from(*slope) * scale) as f32);
        slopes
    };
    let (a, b) = (scaled(&cells.means_a), scaled(&cells.means_b));
    a.iter().zip(&b).map(|(a, b)| a.max(*b)).collect()
}

/// Central differences of the means over three by three cells.
fn slopes(cells: &Cells, means: &[f32]) -> Vec<f32> {
    let smooth = local_means(&cells.image(means.to_vec()), 1);
    let (height, width) = (cells.height, cells.width);
    let at = |y: usize, x: usize| smooth[y * width + x];
    let mut slopes = Vec::with_capacity(means.len());
    for y in 0..height {
        for x in 0..width {
            let down = at((y + 1).min(height - 1), x) - at(y.saturating_sub(1), x);
            let right = at(y, (x + 1).min(width - 1)) - at(y, x.saturating_sub(1));
            slopes.push((down * down + right * right).sqrt());
        }
    }
    slopes
}

/// Side of the cells of [`Cells::of`], and of the next coarser ones, which average over the blocks of a JPEG.
pub(super) const CELL_SIDES: [usize; 2] = [CELL, 2 * CELL];

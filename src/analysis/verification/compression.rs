//! Whether one image is the JPEG of the other, from the rounding that a JPEG does.
//!
//! A JPEG stores the cosine coefficients of blocks of eight by eight pixels, each rounded to a multiple of its step. So the
//! coefficients of its original lie within half a step of those of the JPEG, however much noise was lost; those of another
//! exposure leave that range as often as their noise says.

use super::grey_image::Image;
use super::grey_map::GreyMap;
use super::noise::median;
use super::structure::overlap;

/// Side of a block.
const SIDE: usize = 8;
/// Pixels of a block.
const N_PIXELS: usize = SIDE * SIDE;
/// Blocks that are looked at, at most.
const N_BLOCKS_MAX: usize = 4096;
/// Blocks that show the steps, at most.
const N_BLOCKS_STEPS: usize = 4096;
/// Steps of brightness at quality 50, for frequencies along columns, then rows (ITU-T T.81, table K.1).
const STEPS: [u16; N_PIXELS] = [
    16, 11, 10, 16, 24, 40, 51, 61, 12, 12, 14, 19, 26, 58, 60, 55, 14, 13, 16, 24, 40, 57, 69, 56, 14, 17,
    22, 29, 51, 87, 80, 62, 18, 22, 37, 56, 68, 109, 103, 77, 24, 35, 55, 64, 81, 104, 113, 92, 49, 64, 78,
    87, 103, 121, 120, 101, 72, 92, 95, 98, 112, 100, 103, 99,
];
/// Qualities that are recognised: finer steps than at the last drown in the rounding of pixels.
const QUALITIES: std::ops::RangeInclusive<u16> = 20..=97;
/// Steps that stand out from the rounding of pixels.
const STEP_MIN: f32 = 3.0;
/// Coefficients that must be seen, and how far they may lie from multiples of the steps: 0 for a JPEG, 1 for chance.
const N_COEFFICIENTS_MIN: usize = 200;
const MISFIT_MAX: f32 = 0.35;
/// Misfits nearer than this are equal: then the coarser steps are meant.
const MISFIT_TOLERANCE: f32 = 0.005;
/// Rounding of pixels and error of the grey map, in grey levels of the JPEG.
const TOLERANCE: f64 = 0.6;
/// Highest sum of the two frequencies that is looked at.
const FREQUENCY_MAX: usize = 8;
/// Noise, in steps, that tells.
const NOISE_STEPS_MIN: f64 = 0.25;
/// Grey levels, each with its own noise.
const N_LEVELS: usize = 32;
const N_PER_LEVEL_MIN: usize = 8;
/// Grey values from which a pixel may have been cut off at either end.
const UNCUT: (f32, f32) = (1.0, 252.0);

/// How a JPEG rounds.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Quantisation {
    /// From 1 to 100 as in the library of the Independent JPEG Group.
    pub(super) quality: u8,
    steps: [f32; N_PIXELS],
}

/// How often coefficients differ by more than the rounding of the JPEG.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct BeyondRounding {
    /// As a part of how often those of two exposures would.
    pub(super) ratio: f32,
    /// How many of two exposures would.
    pub(super) n_expected: f32,
}

/// A block of both images.
struct Block {
    /// Mean of the mapped reference.
    mean: f32,
    /// Mean square of the finest diagonal details of the mapped reference.
    detail: f32,
    /// Differences of the coefficients.
    differences: [f32; N_PIXELS],
}

impl Quantisation {
    /// Recognises the steps of a JPEG by how its coefficients lie on multiples of them.
    pub(super) fn of(image: &Image) -> Option<Self> {
        let waves = waves();
        let mut coefficients = Vec::new();
        for (y, x) in spread((image.height / SIDE, image.width / SIDE), N_BLOCKS_STEPS) {
            let block = pixels(image, (y * SIDE, x * SIDE));
            if block.iter().all(|value| (UNCUT.0..=UNCUT.1).contains(value)) {
                coefficients.push(transformed(&block, &waves));
            }
        }
        let mut best: Option<(f32, Self)> = None;
        // from coarse steps to fine ones
        for quality in QUALITIES {
            let steps = steps(quality);
            let Some(misfit) = misfit(&coefficients, &steps) else { continue };
            if misfit <= MISFIT_MAX
                && best.as_ref().is_none_or(|(least, _)| misfit < least - MISFIT_TOLERANCE)
            {
                best = Some((misfit, Self { quality: quality as u8, steps }));
            }
        }
        best.map(|(_, found)| found)
    }

    /// Compares the JPEG `b` with `a`; `shift` rows and columns of A come before the first of B. `None` where too few
    /// blocks are common.
    pub(super) fn beyond_rounding(
        &self,
        a: &Image,
        b: &Image,
        shift: (i64, i64),
        is_inverted: bool,
    ) -> Option<BeyondRounding> {
        let corners = corners(a, b, shift);
        let cells = |image: &Image, shift: (i64, i64)| -> Vec<f32> {
            corners.iter().flat_map(|&corner| quarter_means(&pixels(image, moved(corner, shift)))).collect()
        };
        let map = GreyMap::fit(&cells(a, shift), &cells(b, (0, 0)), is_inverted)?;
        let waves = waves();
        let blocks = corners.iter().filter_map(|&corner| {
            let (from, to) = (pixels(a, moved(corner, shift)), pixels(b, corner));
            Block::of(from.map(|value| map.apply(value).clamp(0.0, 255.0)), to, &waves)
        });
        let mut blocks: Vec<Block> = blocks.collect();
        blocks.sort_by(|one, other| one.mean.total_cmp(&other.mean));
        let (mut n_beyond, mut n_expected) = (0.0, 0.0);
        for level in levels(&blocks) {
            let (seen, expected) = self.beyond(level);
            n_beyond += seen;
            n_expected += expected;
        }
        (n_expected > 0.0)
            .then(|| BeyondRounding { ratio: (n_beyond / n_expected) as f32, n_expected: n_expected as f32 })
    }

    /// How many coefficients of a grey level lie beyond the rounding, and how many of two exposures would.
    fn beyond(&self, level: &[Block]) -> (f64, f64) {
        let detail = median(level.iter().map(|block| block.detail).collect());
        // the median of a mean of sixteen squares (Wilson and Hilferty 1931)
        let noise = (f64::from(detail) / (1.0 - 2.0 / (9.0 * 16.0_f64)).powi(3)).sqrt();
        let (mut n_beyond, mut n_expected) = (0_usize, 0.0);
        for place in (0..N_PIXELS).filter(|place| place / SIDE + place % SIDE <= FREQUENCY_MAX) {
            let step = f64::from(self.steps[place]);
            if noise < NOISE_STEPS_MIN * step {
                continue;
            }
            let limit = step / 2.0 + TOLERANCE;
            n_beyond +=
                level.iter().filter(|block| f64::from(block.differences[place].abs()) > limit).count();
            n_expected += level.len() as f64 * share_beyond(limit, step, noise * std::f64::consts::SQRT_2);
        }
        (n_beyond as f64, n_expected)
    }
}

impl Block {
    /// `None` where a pixel may have been cut off.
    fn of(mapped: [f32; N_PIXELS], to: [f32; N_PIXELS], waves: &[[f32; SIDE]; SIDE]) -> Option<Self> {
        let is_cut = to.iter().any(|value| !(UNCUT.0..=UNCUT.1).contains(value))
            || mapped.iter().any(|value| *value > UNCUT.1);
        if is_cut {
            return None;
        }
        let (one, other) = (transformed(&mapped, waves), transformed(&to, waves));
        let mut detail = 0.0;
        for corner in
            (0..N_PIXELS).filter(|place| (place / SIDE).is_multiple_of(2) && place.is_multiple_of(2))
        {
            let [p, q] = [mapped[corner], mapped[corner + 1]];
            let [r, s] = [mapped[corner + SIDE], mapped[corner + SIDE + 1]];
            detail += ((p - q - r + s) * 0.5).powi(2) / 16.0;
        }
        Some(Self {
            mean: mapped.iter().sum::<f32>() / N_PIXELS as f32,
            detail,
            differences: std::array::from_fn(|place| other[place] - one[place]),
        })
    }
}

/// Mean square distance from multiples of the steps, of coefficients that are not rounded to 0: about 0 for those of a
/// JPEG, 1 for any others. `None` where there are too few.
fn misfit(coefficients: &[[f32; N_PIXELS]], steps: &[f32; N_PIXELS]) -> Option<f32> {
    let (mut n, mut sum) = (0_usize, 0.0);
    for block in coefficients {
        for (value, &step) in block.iter().zip(steps) {
            let multiple = value / step;
            if step >= STEP_MIN && multiple.abs() > 0.5 {
                // the rounding of pixels has a mean square of 1/12
                let rounding = 1.0 / (step * step);
                let distance = 12.0 * (multiple - multiple.round()).powi(2);
                sum += (distance - rounding) / (1.0 - rounding);
                n += 1;
            }
        }
    }
    (n >= N_COEFFICIENTS_MIN).then(|| sum / n as f32)
}

fn steps(quality: u16) -> [f32; N_PIXELS] {
    let percent = if quality < 50 { 5000 / quality } else { 200 - 2 * quality };
    STEPS.map(|step| f32::from(((step * percent + 50) / 100).clamp(1, 255)))
}

/// How often a normal number of that deviation plus an even one of the width of a step exceeds the limit, either way.
fn share_beyond(limit: f64, step: f64, deviation: f64) -> f64 {
    const N: usize = 8;
    let share = |k: usize| {
        let even = ((k as f64 + 0.5) / N as f64 - 0.5) * step;
        tail((limit - even) / deviation) + tail((limit + even) / deviation)
    };
    (0..N).map(share).sum::<f64>() / N as f64
}

/// How often a standard normal number exceeds `z`, to 1e-5 (Abramowitz and Stegun 1964, 26.2.16).
fn tail(z: f64) -> f64 {
    if z < 0.0 {
        return 1.0 - tail(-z);
    }
    let t = 1.0 / (1.0 + 0.332_67 * z);
    let density = (-z * z / 2.0).exp() / (2.0 * std::f64::consts::PI).sqrt();
    density * t * (0.436_183_6 + t * (-0.120_167_6 + t * 0.937_298_0))
}

/// Runs of blocks of like brightness, dense at both ends.
fn levels(blocks: &[Block]) -> Vec<&[Block]> {
    let edge = |level: usize| {
        let fraction = (1.0 - (std::f64::consts::PI * level as f64 / N_LEVELS as f64).cos()) / 2.0;
        (fraction * blocks.len() as f64).round() as usize
    };
    let (mut found, mut first) = (Vec::new(), 0);
    for level in 1..=N_LEVELS {
        let end = edge(level);
        if end - first >= N_PER_LEVEL_MIN || level == N_LEVELS {
            found.push(&blocks[first..end]);
            first = end;
        }
    }
    found
}

/// First pixels, in B, of blocks on the grid of B that lie in both.
fn corners(a: &Image, b: &Image, shift: (i64, i64)) -> Vec<(usize, usize)> {
    let along = |length_a: usize, length_b: usize, shift: i64| {
        let (first, end) = overlap(length_a, length_b, shift);
        let (first, end) = ((first.max(0) as usize).div_ceil(SIDE), end.max(0) as usize / SIDE);
        (first, end.saturating_sub(first))
    };
    let (top, height) = along(a.height, b.height, shift.0);
    let (left, width) = along(a.width, b.width, shift.1);
    let blocks = spread((height, width), N_BLOCKS_MAX);
    blocks.into_iter().map(|(y, x)| ((top + y) * SIDE, (left + x) * SIDE)).collect()
}

/// Places on a grid, at most `n_max`, evenly chosen.
fn spread((height, width): (usize, usize), n_max: usize) -> Vec<(usize, usize)> {
    let n = height * width;
    let n_taken = n.min(n_max);
    (0..n_taken).map(|taken| taken * n / n_taken).map(|place| (place / width, place % width)).collect()
}

fn moved((y, x): (usize, usize), shift: (i64, i64)) -> (usize, usize) {
    ((y as i64 + shift.0) as usize, (x as i64 + shift.1) as usize)
}

fn pixels(image: &Image, (top, left): (usize, usize)) -> [f32; N_PIXELS] {
    let mut block = [0.0; N_PIXELS];
    for (y, row) in block.chunks_exact_mut(SIDE).enumerate() {
        row.copy_from_slice(&image.row(top + y)[left..left + SIDE]);
    }
    block
}

/// Means of the quarters of a block.
fn quarter_means(block: &[f32; N_PIXELS]) -> [f32; 4] {
    let mut sums = [0.0; 4];
    for (place, value) in block.iter().enumerate() {
        sums[place / (N_PIXELS / 2) * 2 + place % SIDE / (SIDE / 2)] += value / 16.0;
    }
    sums
}

/// The orthonormal cosine waves, one a row.
fn waves() -> [[f32; SIDE]; SIDE] {
    std::array::from_fn(|frequency| {
        let scale = if frequency == 0 { (1.0 / SIDE as f64).sqrt() } else { (2.0 / SIDE as f64).sqrt() };
        let angle = |x: usize| std::f64::consts::PI * (frequency * (2 * x + 1)) as f64 / (2 * SIDE) as f64;
        std::array::from_fn(|x| (scale * angle(x).cos()) as f32)
    })
}

/// The cosine transform of a block around the middle grey.
fn transformed(block: &[f32; N_PIXELS], waves: &[[f32; SIDE]; SIDE]) -> [f32; N_PIXELS] {
    let mut along_rows = [0.0; N_PIXELS];
    for (row, out) in block.chunks_exact(SIDE).zip(along_rows.chunks_exact_mut(SIDE)) {
        for (value, wave) in out.iter_mut().zip(waves) {
            *value = row.iter().zip(wave).map(|(pixel, w)| (pixel - 128.0) * w).sum();
        }
    }
    let mut coefficients = [0.0; N_PIXELS];
    for (out, wave) in coefficients.chunks_exact_mut(SIDE).zip(waves) {
        for (row, w) in along_rows.chunks_exact(SIDE).zip(wave) {
            out.iter_mut().zip(row).for_each(|(value, along)| *value += along * w);
        }
    }
    coefficients
}

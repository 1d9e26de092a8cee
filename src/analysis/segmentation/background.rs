//! What the plane looks like where nothing is: background level, noise, and the level above which objects begin.

use rayon::prelude::*;

use super::counts::{count_in_parts, median_bin};
use super::histogram::Histogram;

/// Levels of background, noise and foreground.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Background {
    /// Median of the pixels of the lower class.
    pub(super) level: f64,
    /// Standard deviation of the noise of a blurred pixel.
    pub(super) noise_sd: f64,
    /// Otsu's level; `None` for a constant plane.
    pub(super) otsu: Option<u16>,
}

/// Something very bright and small hides the nuclei from Otsu: at most this part of the plane ...
const BRIGHT_FRACTION_MAX: f64 = 0.02;
/// ... with at least so many times as many pixels in the upper class of what lies below it ...
const HIDDEN_RATIO_MIN: u64 = 4;
/// ... which stands out by so many standard deviations of the noise.
const HIDDEN_CONTRAST_MIN_SD: f64 = 6.0;

/// So many layers of brightness are looked under.
const LAYERS_MAX: usize = 6;

impl Background {
    /// Estimates all three on the blurred plane. `noise_floor` is the least standard deviation that the file's
    /// quantisation allows.
    pub(super) fn of(levels: &[u16], width: usize, noise_floor: f64) -> Self {
        let histogram = Histogram::of(levels);
        let top = histogram.otsu_below(u16::MAX).unwrap_or(u16::MAX);
        let noise_sd = noise_sd(levels, width, top).max(noise_floor);
        let within = |top: u16| {
            let otsu = histogram.otsu_below(top);
            let level = f64::from(histogram.quantile_below(0.5, otsu.unwrap_or(top)));
            Self { level, noise_sd, otsu }
        };
        let whole = within(u16::MAX);
        let mut bright = whole;
        // each step leaves out the brightest class: an artefact, then its rim
        for _ in 0..LAYERS_MAX {
            let Some(top) = bright.otsu else { break };
            let n_bright = histogram.count_above(top);
            if n_bright as f64 > BRIGHT_FRACTION_MAX * levels.len() as f64 {
                break;
            }
            let below = within(top);
            let n_dim = below.otsu.map_or(0, |otsu| histogram.count_above(otsu) - n_bright);
            let stands_out = below.contrast() >= HIDDEN_CONTRAST_MIN_SD * noise_sd;
            if stands_out && n_dim >= HIDDEN_RATIO_MIN * n_bright {
                return below;
            }
            bright = below;
        }
        whole
    }

    /// Height of Otsu's level above the background; 0 for a constant plane.
    pub(super) fn contrast(&self) -> f64 {
        self.otsu.map_or(0.0, |otsu| f64::from(otsu) - self.level)
    }
}

/// Pixels between the three of a second difference: so far that the blur does not make them alike.
const LAG: usize = 4;

/// Robust standard deviation of the noise: the median absolute second difference `a - 2b + c`, over `0.6745 sqrt(6)`, of
/// pixels at or below `top` along the rows and along the columns, so that a plane that is turned has the same. Slopes
/// cancel; nuclei, whose edges would count as noise where they are many and small, lie above `top`.
fn noise_sd(levels: &[u16], width: usize, top: u16) -> f64 {
    let height = levels.len() / width.max(1);
    let row = |y: usize| &levels[y * width..][..width];
    let count = |counts: &mut [u32], [a, b, c]: [u16; 3]| {
        if a.max(b).max(c) <= top {
            let difference = i32::from(a) + i32::from(c) - 2 * i32::from(b);
            counts[difference.unsigned_abs() as usize] += 1;
        }
    };
    // a quarter of the lines is as good as all: the same ones counted from either side
    let is_chosen = |line: usize, n: usize| (2 * line).abs_diff(n - 1) % 8 < 2;
    let columns: Vec<usize> = (0..width).filter(|&x| is_chosen(x, width)).collect();
    let counts = count_in_parts((0..height).into_par_iter(), 1 << 17, |counts, y| {
        let here = row(y);
        if is_chosen(y, height) {
            let threes = here.iter().zip(here.iter().skip(LAG)).zip(here.iter().skip(2 * LAG));
            threes.for_each(|((&a, &b), &c)| count(counts, [a, b, c]));
        }
        if y + 2 * LAG < height {
            let (middle, last) = (row(y + LAG), row(y + 2 * LAG));
            columns.iter().for_each(|&x| count(counts, [here[x], middle[x], last[x]]));
        }
    });
    median_bin(&counts) as f64 / (0.6745 * 6.0_f64.sqrt())
}

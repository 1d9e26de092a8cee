//! What the plane looks like where nothing is: background level, noise, and the level above which objects begin.

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

impl Background {
    /// Estimates all three on the blurred plane. `noise_floor` is the least standard deviation that the file's
    /// quantisation allows.
    pub(super) fn of(levels: &[u16], width: usize, noise_floor: f64) -> Self {
        let histogram = Histogram::of(levels);
        let otsu = histogram.otsu();
        let level = f64::from(histogram.quantile_below(0.5, otsu.unwrap_or(u16::MAX)));
        Self { level, noise_sd: noise_sd(levels, width).max(noise_floor), otsu }
    }

    /// Height of Otsu's level above the background; 0 for a constant plane.
    pub(super) fn contrast(&self) -> f64 {
        self.otsu.map_or(0.0, |otsu| f64::from(otsu) - self.level)
    }
}

/// Pixels between the three of a second difference: so far that the blur does not make them alike.
const LAG: usize = 4;

/// Robust standard deviation of the noise: the median absolute second difference `a - 2b + c` along the rows, over
/// `0.6745 sqrt(6)`. Slopes cancel; edges are few.
fn noise_sd(levels: &[u16], width: usize) -> f64 {
    if width <= 2 * LAG {
        return 0.0;
    }
    let mut counts = vec![0_u32; 1 << 17];
    let mut n = 0_u64;
    // every second row is as good as all
    for row in levels.chunks_exact(width).step_by(2) {
        for ((&a, &b), &c) in row.iter().zip(&row[LAG..]).zip(&row[2 * LAG..]) {
            let difference = i32::from(a) + i32::from(c) - 2 * i32::from(b);
            counts[difference.unsigned_abs() as usize] += 1;
        }
        n += (width - 2 * LAG) as u64;
    }
    let mut below = 0_u64;
    let median = counts.iter().position(|&count| {
        below += u64::from(count);
        2 * below >= n
    });
    median.unwrap_or(0) as f64 / (0.6745 * 6.0_f64.sqrt())
}

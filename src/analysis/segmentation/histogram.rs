//! The histogram of 16-bit levels and what is read from it: quantiles and Otsu's level.

use rayon::prelude::*;

use super::counts::count_in_parts;

/// So many pixels at either end may be outliers.
const N_OUTLIERS: u64 = 16;

/// How often each level occurs.
#[derive(Debug, Clone)]
pub(super) struct Histogram {
    counts: Vec<u32>,
}

impl Histogram {
    /// Counts the levels.
    pub(super) fn of(levels: &[u16]) -> Self {
        const PART: usize = 1 << 17;
        const N_LEVELS: usize = 1 << 16;
        // two tables: neighbouring pixels are often equal, and one counter would wait for itself
        let counts = count_in_parts(levels.par_chunks(PART), 2 * N_LEVELS, |counts, levels| {
            let (even, odd) = counts.split_at_mut(N_LEVELS);
            let mut pairs = levels.chunks_exact(2);
            for pair in &mut pairs {
                even[usize::from(pair[0])] += 1;
                odd[usize::from(pair[1])] += 1;
            }
            pairs.remainder().iter().for_each(|&level| even[usize::from(level)] += 1);
        });
        let (even, odd) = counts.split_at(N_LEVELS);
        Self { counts: even.iter().zip(odd).map(|(a, b)| a + b).collect() }
    }

    /// The least level that at least `part` (0 to 1) of the pixels at or below `top` do not exceed.
    pub(super) fn quantile_below(&self, part: f64, top: u16) -> u16 {
        let counts = &self.counts[..=usize::from(top)];
        let n: u64 = counts.iter().map(|&count| u64::from(count)).sum();
        let rank = (part * n as f64).ceil().max(1.0) as u64;
        let mut below = 0_u64;
        let level = counts.iter().position(|&count| {
            below += u64::from(count);
            below >= rank
        });
        level.unwrap_or(0) as u16
    }

    /// The level that splits the pixels at or below `top` into two classes of the greatest variance between them: the lower class is
    /// at or below it. `None` where all have one level. The few lowest and highest pixels count as the next ones:
    /// a hot or a dead pixel is no class of its own.
    ///
    /// # References
    /// N. Otsu, A threshold selection method from gray-level histograms, IEEE Trans. SMC 9 (1979), equation 14.
    pub(super) fn otsu_below(&self, top: u16) -> Option<u16> {
        let counts = &self.counts[..=usize::from(top)];
        let n: u64 = counts.iter().map(|&count| u64::from(count)).sum();
        let (first, last) = (self.level_at(N_OUTLIERS), self.level_at(n.saturating_sub(N_OUTLIERS + 1)));
        let clipped = |level: u16| f64::from(level.clamp(first.min(last), last));
        let n = n as f64;
        let total: f64 = counts
            .iter()
            .zip(0_u16..=u16::MAX)
            .map(|(&count, level)| f64::from(count) * clipped(level))
            .sum();
        let (mut n_low, mut sum_low) = (0.0, 0.0);
        let mut best = (0.0, None);
        for (&count, level) in counts.iter().zip(0_u16..=u16::MAX) {
            if count == 0 {
                continue;
            }
            n_low += f64::from(count);
            sum_low += f64::from(count) * clipped(level);
            let n_high = n - n_low;
            if n_high <= 0.0 {
                break;
            }
            let between = (total - sum_low) / n_high - sum_low / n_low;
            let variance = n_low * n_high * between * between;
            if variance > best.0 {
                best = (variance, Some(level));
            }
        }
        best.1
    }

    /// How many pixels lie above a level.
    pub(super) fn count_above(&self, level: u16) -> u64 {
        self.counts[usize::from(level) + 1..].iter().map(|&count| u64::from(count)).sum()
    }

    /// The level of the pixel of that rank, the lowest being 0.
    fn level_at(&self, rank: u64) -> u16 {
        let mut below = 0_u64;
        let level = self.counts.iter().position(|&count| {
            below += u64::from(count);
            below > rank
        });
        level.unwrap_or(0) as u16
    }
}

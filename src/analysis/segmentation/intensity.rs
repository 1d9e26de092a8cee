//! What the samples of an object say.

use super::components::Run;
use super::levels::Sample;

/// Figures of an object's samples.
#[derive(Debug)]
pub(super) struct Intensity {
    pub(super) mean: f64,
    pub(super) min: f64,
    pub(super) max: f64,
    /// Standard deviation, divisor n.
    pub(super) std: f64,
    /// Mean of the middle two for an even number.
    pub(super) median: f64,
    /// Row and column of the centroid weighted by intensity, from the box's corner; not finite where there is none.
    pub(super) weighted: [f64; 2],
}

/// Measures intensities, with buffers that are used again.
#[derive(Debug, Default)]
pub(super) struct Intensities {
    narrow: Vec<i32>,
    wide: Vec<f64>,
}

impl Intensities {
    /// Measures the samples under `runs` (at least one) of a plane `values` of `width` columns; `[top, left]` is the corner
    /// of their box. Whole numbers of at most 16 bits are summed exactly.
    pub(super) fn measure<T: Sample>(
        &mut self,
        runs: &[Run],
        corner: [usize; 2],
        plane: (&[T], usize),
    ) -> Intensity {
        match T::IS_NARROW {
            true => self.measure_narrow(runs, corner, plane),
            false => self.measure_wide(runs, corner, plane),
        }
    }

    fn measure_narrow<T: Sample>(
        &mut self,
        runs: &[Run],
        [top, left]: [usize; 2],
        (values, width): (&[T], usize),
    ) -> Intensity {
        self.narrow.clear();
        let (mut sum, mut sum_squared, mut sum_y, mut sum_x) = (0_i64, 0_i128, 0_i128, 0_i128);
        for run in runs {
            let samples = &values[run.row as usize * width..][run.start as usize..run.end as usize];
            let first = self.narrow.len();
            self.narrow.extend(samples.iter().map(|sample| sample.narrow()));
            let (mut row, mut squares, mut moments) = (0_i64, 0_i64, 0_i64);
            for (x, &value) in (i64::from(run.start) - left as i64..).zip(&self.narrow[first..]) {
                let value = i64::from(value);
                row += value;
                squares += value * value;
                moments += value * x;
            }
            sum += row;
            sum_squared += i128::from(squares);
            sum_x += i128::from(moments);
            sum_y += i128::from(row) * (i128::from(run.row) - top as i128);
        }
        let n = self.narrow.len();
        let variance =
            (n as i128 * sum_squared - i128::from(sum) * i128::from(sum)) as f64 / (n as f64).powi(2);
        let fold = |f: fn(i32, i32) -> i32| self.narrow.iter().copied().reduce(f).map_or(f64::NAN, f64::from);
        let (min, max) = (fold(i32::min), fold(i32::max));
        let (below, &mut upper, _) = self.narrow.select_nth_unstable(n / 2);
        let lower = if n % 2 == 1 { upper } else { below.iter().copied().max().unwrap_or(upper) };
        Intensity {
            mean: sum as f64 / n as f64,
            min,
            max,
            std: variance.sqrt(),
            median: f64::from(lower + upper) / 2.0,
            weighted: [sum_y as f64 / sum as f64, sum_x as f64 / sum as f64],
        }
    }

    fn measure_wide<T: Sample>(
        &mut self,
        runs: &[Run],
        [top, left]: [usize; 2],
        (values, width): (&[T], usize),
    ) -> Intensity {
        self.wide.clear();
        let (mut sum, mut sum_y, mut sum_x) = (0.0, 0.0, 0.0);
        for run in runs {
            let samples = &values[run.row as usize * width..][run.start as usize..run.end as usize];
            let mut row = 0.0;
            for (x, sample) in (i64::from(run.start) - left as i64..).zip(samples) {
                let value = sample.value();
                row += value;
                sum_x += value * x as f64;
                self.wide.push(value);
            }
            sum += row;
            sum_y += row * (run.row as usize - top) as f64;
        }
        let values = &mut self.wide;
        let n = values.len();
        let mean = sum / n as f64;
        let variance = values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / n as f64;
        let min = values.iter().copied().fold(f64::INFINITY, f64::min);
        let max = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let (below, &mut upper, _) = values.select_nth_unstable_by(n / 2, f64::total_cmp);
        let lower = if n % 2 == 1 { upper } else { below.iter().copied().fold(f64::NEG_INFINITY, f64::max) };
        let median = lower / 2.0 + upper / 2.0;
        Intensity { mean, min, max, std: variance.sqrt(), median, weighted: [sum_y / sum, sum_x / sum] }
    }
}

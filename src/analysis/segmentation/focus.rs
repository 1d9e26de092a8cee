//! How sharp a plane is.

use rayon::prelude::*;

use super::counts::{count_in_parts, median_bin};

/// Variance of the Laplacian of `levels`, less what noise alone gives, over `contrast` squared; 0 where there is
/// no contrast or fewer than 3 rows or columns.
///
/// The noise's part is the robust variance (median absolute value over 0.6745, squared): edges are few, noise is
/// everywhere.
///
/// # References
/// J. Pech-Pacheco et al., Diatom autofocusing in brightfield microscopy (2000): the variance of the Laplacian.
pub(super) fn focus(levels: &[u16], width: usize, contrast: f64) -> f64 {
    if width < 3 || levels.len() < 3 * width || contrast <= 0.0 {
        return 0.0;
    }
    // every second row is as good as all
    let rows = (1..levels.len() / width - 1).into_par_iter().step_by(2);
    let laplacians = |y: usize| {
        let [above, here, below] = [y - 1, y, y + 1].map(|row| &levels[row * width..][..width]);
        (1..width - 1).map(move |x| {
            let around = [above[x], here[x - 1], here[x + 1], below[x]].map(i32::from).iter().sum::<i32>();
            around - 4 * i32::from(here[x])
        })
    };
    let n = rows.len() as f64 * (width - 2) as f64;
    let counts = count_in_parts(rows.clone(), 4 << 16, |counts, y| {
        laplacians(y).for_each(|laplacian| counts[laplacian.unsigned_abs() as usize] += 1);
    });
    let sum: i64 = rows.map(|y| laplacians(y).map(i64::from).sum::<i64>()).sum();
    let squares = counts.iter().zip(0_u64..).map(|(&count, value)| u64::from(count) * value * value);
    let sum_squared: u64 = squares.sum();
    let noise_sd = median_bin(&counts) as f64 / 0.6745;
    let mean = sum as f64 / n;
    let variance = sum_squared as f64 / n - mean * mean;
    (variance - noise_sd * noise_sd).max(0.0) / (contrast * contrast)
}

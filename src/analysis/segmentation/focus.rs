//! How sharp a plane is.

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
    let mut counts = vec![0_u32; 4 << 16];
    let (mut n, mut sum, mut sum_squared) = (0_u64, 0_i64, 0_u64);
    let height = levels.len() / width;
    // every second row is as good as all
    for y in (1..height - 1).step_by(2) {
        let [above, here, below] = [y - 1, y, y + 1].map(|row| &levels[row * width..][..width]);
        for x in 1..width - 1 {
            let around = [above[x], here[x - 1], here[x + 1], below[x]].map(i32::from).iter().sum::<i32>();
            let laplacian = around - 4 * i32::from(here[x]);
            counts[laplacian.unsigned_abs() as usize] += 1;
            sum += i64::from(laplacian);
            sum_squared += u64::from(laplacian.unsigned_abs()).pow(2);
        }
        n += (width - 2) as u64;
    }
    let mut below = 0_u64;
    let median = counts.iter().position(|&count| {
        below += u64::from(count);
        2 * below >= n
    });
    let noise_sd = median.unwrap_or(0) as f64 / 0.6745;
    let mean = sum as f64 / n as f64;
    let variance = sum_squared as f64 / n as f64 - mean * mean;
    (variance - noise_sd * noise_sd).max(0.0) / (contrast * contrast)
}

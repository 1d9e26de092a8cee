//! Intervals and quantiles for counts and variances.

/// 97.5 % of a normal distribution lie below so many standard deviations.
const Z_95: f64 = 1.959_963_984_540_054;

/// The interval of 95 % for a share of which `k` of `n` were seen; 0 to 1 for none.
///
/// # References
/// Wilson 1927, JASA 22.
pub fn wilson(k: usize, n: usize) -> [f64; 2] {
    if n == 0 {
        return [0.0, 1.0];
    }
    let [k, n] = [k, n].map(|count| count as f64);
    let (share, z_square) = (k / n, Z_95 * Z_95);
    let middle = share + z_square / (2.0 * n);
    let half = Z_95 * (share * (1.0 - share) / n + z_square / (4.0 * n * n)).sqrt();
    let whole = 1.0 + z_square / n;
    [((middle - half) / whole).max(0.0), ((middle + half) / whole).min(1.0)]
}

/// With a confidence of 95 %, the greatest share of what never happened in `n` trials.
pub fn share_max_of_none(n: usize) -> f64 {
    if n == 0 { 1.0 } else { -(0.05_f64.ln() / n as f64).exp_m1() }
}

/// The quantile `q` of some values, 0 to 1, between neighbours in proportion; `None` for no value.
pub fn quantile(values: &[f64], q: f64) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
    let place = q * (sorted.len().checked_sub(1)? as f64);
    let (below, above) = (sorted[place.floor() as usize], sorted[place.ceil() as usize]);
    // equal ones first: the difference of two infinities is no number
    Some(if below == above { below } else { below + (above - below) * place.fract() })
}

/// The median; `None` for no value.
pub fn median(values: &[f64]) -> Option<f64> {
    quantile(values, 0.5)
}

/// How many standard deviations leave the probability `tail`, 1e-12 to 0.05, above them.
pub fn normal_quantile_upper(tail: f64) -> f64 {
    let (mut low, mut high) = (1.6, 8.0);
    for _ in 0..80 {
        let middle = f64::midpoint(low, high);
        if normal_tail(middle) > tail { low = middle } else { high = middle }
    }
    low
}

/// The probability above `z` standard deviations, for `z` from 1.6, by Laplace's continued fraction (Abramowitz and
/// Stegun 26.2.14).
fn normal_tail(z: f64) -> f64 {
    let fraction = (1..=60).rev().fold(z, |rest, term| z + f64::from(term) / rest);
    (-z * z / 2.0).exp() / (std::f64::consts::TAU.sqrt() * fraction)
}

/// The ratio of a chi-square variable to its `n` degrees of freedom that is exceeded where a normal one exceeds `z`
/// standard deviations, negative for the lower side; error below 1e-4 from 100 degrees on.
///
/// # References
/// Wilson and Hilferty 1931, PNAS 17.
pub fn chi_square_ratio(n: usize, z: f64) -> f64 {
    let part = 2.0 / (9.0 * n as f64);
    (1.0 - part + z * part.sqrt()).powi(3)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn they_agree_with_a_reference_program() {
        let close = |found: f64, expected: f64, tolerance: f64| {
            assert!((found - expected).abs() < tolerance, "{found}, not {expected}");
        };
        // statsmodels.stats.proportion.proportion_confint(method="wilson")
        close(wilson(12, 12)[0], 0.757_506, 1e-6);
        close(wilson(3, 10)[0], 0.107_791, 1e-6);
        close(wilson(3, 10)[1], 0.603_222, 1e-6);
        // scipy.stats.norm.isf, scipy.stats.chi2.ppf(...) / n
        close(normal_quantile_upper(0.025), 1.959_964, 1e-5);
        close(normal_quantile_upper(1e-6), 4.753_424, 1e-5);
        close(chi_square_ratio(10_000, 1.959_964), 1.027_910, 1e-5);
        close(chi_square_ratio(100, -1.959_964), 0.742_219, 2e-4);
        close(share_max_of_none(2000), 0.001_496_7, 1e-6);
    }

    #[test]
    fn quantiles_stand_between_neighbours() {
        assert_eq!(median(&[]), None);
        assert_eq!(median(&[3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(quantile(&[1.0, 2.0], 0.25), Some(1.25));
        assert_eq!(quantile(&[f64::INFINITY; 3], 0.6), Some(f64::INFINITY));
        assert_eq!((wilson(0, 0), share_max_of_none(0)), ([0.0, 1.0], 1.0));
    }
}

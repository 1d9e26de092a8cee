//! How likely chance would do as well.

/// Decimal logarithm of the probability that `n` trials of probability `p` succeed `k` times or more; 0 where `k` is
/// no more than expected, since chance explains that. Relative error below 1e-6.
pub(super) fn log10_binomial_tail(k: usize, n: usize, p: f64) -> f64 {
    let [k_f, n_f] = [k, n].map(|count| count as f64);
    if k_f <= n_f * p {
        return 0.0;
    }
    if k > n || p <= 0.0 {
        return f64::NEG_INFINITY;
    }
    let ln_choose = ln_factorial(n_f) - ln_factorial(k_f) - ln_factorial(n_f - k_f);
    let rest = if k == n { 0.0 } else { (n_f - k_f) * (-p).ln_1p() };
    let ln_first = ln_choose + k_f * p.ln() + rest;
    // beyond the mean each term is smaller than the one before, by a factor that falls
    let (mut sum, mut term) = (1.0, 1.0);
    for i in k..n {
        term *= (n - i) as f64 / (i + 1) as f64 * (p / (1.0 - p));
        sum += term;
        if term < 1e-9 * sum {
            break;
        }
    }
    ((ln_first + f64::ln(sum)) / std::f64::consts::LN_10).min(0.0)
}

/// `ln n!` by Stirling's series (Abramowitz and Stegun 6.1.41) from 16 on, where its error is below 1e-12.
fn ln_factorial(n: f64) -> f64 {
    if n < 16.0 {
        return (2..=n as u32).map(f64::from).product::<f64>().ln();
    }
    let series = (1.0 / 12.0 - (1.0 / 360.0 - 1.0 / 1260.0 / (n * n)) / (n * n)) / n;
    (n + 0.5) * n.ln() - n + 0.5 * std::f64::consts::TAU.ln() + series
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_agrees_with_a_reference_program() {
        // scipy.stats.binom.logsf(k - 1, n, p) / log(10)
        let cases = [
            (6, 6, 0.178, -4.497_479_986),
            (20, 40, 0.178, -5.456_990_160),
            (300, 600, 0.05, -217.837_844_1),
            (5, 1000, 0.0028, -0.817_980_233),
            (9000, 10_000, 0.85, -48.767_337_47),
        ];
        for (k, n, p, expected) in cases {
            let found = log10_binomial_tail(k, n, p);
            assert!((found - expected).abs() < 1e-6 * f64::abs(expected), "{k} {n} {p}: {found}");
        }
    }

    #[test]
    fn what_chance_explains_and_what_cannot_be() {
        assert_eq!(log10_binomial_tail(0, 0, 0.5), 0.0);
        assert_eq!(log10_binomial_tail(10, 100, 0.1), 0.0);
        assert_eq!(log10_binomial_tail(10, 10, 1.0), 0.0);
        assert_eq!(log10_binomial_tail(1, 10, 0.0), f64::NEG_INFINITY);
    }
}

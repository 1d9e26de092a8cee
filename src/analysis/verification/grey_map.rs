//! The monotone map that takes the grey values of one image to those of the other.

/// Grey levels of the map, dense at both ends, as a few bright objects on a wide background need.
const N_LEVELS: usize = 256;
/// Values behind a level, at least.
const N_PER_LEVEL_MIN: usize = 16;

/// A monotone, piecewise linear map of grey values.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct GreyMap {
    /// Grey values of A, ascending, and what they become.
    knots: Vec<(f32, f32)>,
}

impl GreyMap {
    /// The monotone map of least squares from `a` to `b`, falling where `is_inverted`: means of values of equal rank, made
    /// monotone by pooling adjacent violators (Barlow et al. 1972). `None` for fewer than two levels.
    pub(super) fn fit(a: &[f32], b: &[f32], is_inverted: bool) -> Option<Self> {
        // by both, so that the order of equal values does not depend on their places
        let mut keys: Vec<u64> =
            a.iter().zip(b).map(|(&a, &b)| u64::from(key(a)) << 32 | u64::from(key(b))).collect();
        keys.sort_unstable();
        let pairs: Vec<(f32, f32)> =
            keys.into_iter().map(|keys| (value((keys >> 32) as u32), value(keys as u32))).collect();
        let n_levels = (pairs.len() / N_PER_LEVEL_MIN).min(N_LEVELS);
        if n_levels < 2 {
            return None;
        }
        let sign = if is_inverted { -1.0 } else { 1.0 };
        let mut pools: Vec<Pool> = Vec::with_capacity(n_levels);
        let mut first = 0;
        for level in 1..=n_levels {
            let fraction = (1.0 - (std::f64::consts::PI * level as f64 / n_levels as f64).cos()) / 2.0;
            let mut end = (fraction * pairs.len() as f64).round() as usize;
            if end < first + N_PER_LEVEL_MIN && level < n_levels {
                continue;
            }
            // equal values of A stay together
            while end > 0 && end < pairs.len() && pairs[end].0 == pairs[end - 1].0 {
                end += 1;
            }
            if end <= first {
                continue;
            }
            pools.push(Pool::of(&pairs[first..end], sign));
            first = end;
            while let [.., lower, upper] = &pools[..]
                && lower.mean_b() > upper.mean_b()
            {
                let pooled = lower.with(upper);
                pools.truncate(pools.len() - 2);
                pools.push(pooled);
            }
        }
        let knots: Vec<(f32, f32)> =
            pools.iter().map(|pool| (pool.mean_a() as f32, (sign * pool.mean_b()) as f32)).collect();
        (!knots.is_empty()).then_some(Self { knots })
    }

    /// What a grey value becomes. Beyond the ends the map goes on as it was, as noise does.
    pub(super) fn apply(&self, value: f32) -> f32 {
        let last = self.knots.len() - 1;
        if last == 0 {
            return self.knots[0].1;
        }
        let upper = self.knots.partition_point(|knot| knot.0 <= value).clamp(1, last);
        let ((x0, y0), (x1, y1)) = (self.knots[upper - 1], self.knots[upper]);
        if x1 > x0 { y0 + (value - x0) * ((y1 - y0) / (x1 - x0)) } else { y0 }
    }
}

/// The places of values in ascending order, equal ones as they come.
pub(super) fn ascending(values: &[f32]) -> Vec<usize> {
    let mut keys: Vec<u64> =
        (0_u64..).zip(values).map(|(place, &value)| u64::from(key(value)) << 32 | place).collect();
    keys.sort_unstable();
    keys.into_iter().map(|key| (key & u64::from(u32::MAX)) as usize).collect()
}

/// The bits of a number, turned so that they ascend with it: integers sort faster.
fn key(value: f32) -> u32 {
    let bits = value.to_bits();
    if bits >> 31 == 1 { !bits } else { bits | 1 << 31 }
}

/// The inverse of [`key`].
fn value(key: u32) -> f32 {
    f32::from_bits(if key >> 31 == 1 { key & !(1 << 31) } else { !key })
}

/// Part of the variance of `b` that the best monotone map of `a` explains, 0 to 1.
pub(super) fn explained(a: &[f32], b: &[f32], is_inverted: bool) -> f32 {
    let Some(map) = GreyMap::fit(a, b, is_inverted) else { return 0.0 };
    let n = b.len().max(1) as f64;
    let mean = b.iter().map(|&value| f64::from(value)).sum::<f64>() / n;
    let total: f64 = b.iter().map(|&value| (f64::from(value) - mean).powi(2)).sum();
    let rest: f64 = a.iter().zip(b).map(|(&a, &b)| f64::from(b - map.apply(a)).powi(2)).sum();
    if total > 0.0 { (1.0 - rest / total).clamp(0.0, 1.0) as f32 } else { 0.0 }
}

#[derive(Debug, Clone, Copy)]
struct Pool {
    n: f64,
    a: f64,
    b: f64,
}

impl Pool {
    fn of(pairs: &[(f32, f32)], sign: f64) -> Self {
        let a = pairs.iter().map(|pair| f64::from(pair.0)).sum();
        let b = pairs.iter().map(|pair| sign * f64::from(pair.1)).sum();
        Self { n: pairs.len() as f64, a, b }
    }

    fn with(&self, other: &Self) -> Self {
        Self { n: self.n + other.n, a: self.a + other.a, b: self.b + other.b }
    }

    fn mean_a(&self) -> f64 {
        self.a / self.n
    }

    fn mean_b(&self) -> f64 {
        self.b / self.n
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_monotone_map_is_found_and_never_turns() {
        let a: Vec<f32> = (0..4000_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 20) as f32).collect();
        for (sign, is_inverted) in [(1.0, false), (-1.0, true)] {
            let b: Vec<f32> = a.iter().map(|a| sign * a * a / 100.0 + (a * 7.0).sin()).collect();
            let map = GreyMap::fit(&a, &b, is_inverted).unwrap();
            let mapped: Vec<f32> = (0..4096).map(|v| sign * map.apply(v as f32)).collect();
            assert!(mapped.is_sorted());
            assert!((map.apply(2000.0) - sign * 40_000.0).abs() < 200.0, "{}", map.apply(2000.0));
            assert!(explained(&a, &b, is_inverted) > 0.99);
            assert!(explained(&a, &b, !is_inverted) < 0.01);
        }
    }

    #[test]
    fn constants_and_few_values_have_no_map_or_a_flat_one() {
        assert_eq!(GreyMap::fit(&[1.0; 20], &[2.0; 20], false), None);
        let flat = GreyMap::fit(&[1.0; 64], &[2.0; 64], false).unwrap();
        assert_eq!((flat.apply(0.0), flat.apply(9.0)), (2.0, 2.0));
    }

    #[test]
    fn places_ascend_with_the_values() {
        let values = [0.5, -3.0, f32::MAX, -0.5, 0.5, f32::MIN];
        assert_eq!(ascending(&values), [5, 1, 3, 0, 4, 2]);
    }
}

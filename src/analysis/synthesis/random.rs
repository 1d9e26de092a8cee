//! Numbers that look random and are the same everywhere.

/// A generator of pseudo-random numbers (SplitMix64; Steele, Lea and Flood 2014, figure 3).
#[derive(Debug, Clone)]
pub struct Random(u64);

impl Random {
    /// Starts a sequence; the same seed gives the same one.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next 64 bits.
    pub fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// A number from 0 (included) to 1 (excluded).
    pub fn uniform(&mut self) -> f64 {
        (self.bits() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// A number with mean 0 and standard deviation 1: the sum of twelve uniform ones (Irwin-Hall), within 6.
    pub fn normal(&mut self) -> f64 {
        (0..12).map(|_| self.uniform()).sum::<f64>() - 6.0
    }

    /// A generator for one purpose: other parts give independent numbers.
    pub fn of(parts: &[u64]) -> Self {
        Self(parts.iter().fold(0x5C0F_E9A7, |state, part| Self(state ^ part.rotate_left(17)).bits()))
    }

    /// A number from `low` (included) to `high` (excluded).
    pub fn between(&mut self, low: f64, high: f64) -> f64 {
        low + (high - low) * self.uniform()
    }

    /// A vector of length 1 in any direction (von Neumann's rejection).
    pub fn direction(&mut self) -> [f64; 2] {
        loop {
            let [x, y] = [self.between(-1.0, 1.0), self.between(-1.0, 1.0)];
            let length = (x * x + y * y).sqrt();
            if length > 0.1 && length <= 1.0 {
                return [x / length, y / length];
            }
        }
    }

    /// As [`Self::normal`], four times as fast and in steps of 1/65536: the noise of a pixel.
    pub fn noise(&mut self) -> f64 {
        let pieces =
            |bits: u64| (bits & 0xFFFF) + (bits >> 16 & 0xFFFF) + (bits >> 32 & 0xFFFF) + (bits >> 48);
        let sum: u64 = (0..3).map(|_| pieces(self.bits())).sum();
        // twelve numbers from 0 to 65535 have the mean 12 * 32767.5 and, in units of 65536, the variance 1
        (sum as f64 - 393_210.0) / 65_536.0
    }
}

/// A smooth random surface with values from -1 to 1 and knots one unit apart.
pub(super) fn smooth_noise(seed: u64, x: f64, y: f64) -> f64 {
    let (column, row) = (x.floor(), y.floor());
    let knot = |dx: f64, dy: f64| {
        let place = [(column + dx) as i64 as u64, (row + dy) as i64 as u64];
        let mixed = seed
            ^ place[0].wrapping_mul(0x9E37_79B9_7F4A_7C15)
            ^ place[1].wrapping_mul(0xC2B2_AE3D_27D4_EB4F);
        2.0 * Random(mixed).uniform() - 1.0
    };
    let ease = |part: f64| part * part * (3.0 - 2.0 * part);
    let (right, down) = (ease(x - column), ease(y - row));
    let along = |dy: f64| knot(0.0, dy) + right * (knot(1.0, dy) - knot(0.0, dy));
    along(0.0) + down * (along(1.0) - along(0.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn normal_numbers_have_mean_zero_and_deviation_one() {
        let mut random = Random::new(1);
        for draw in [Random::normal, Random::noise] {
            let values: Vec<_> = (0..20_000).map(|_| draw(&mut random)).collect();
            let mean = values.iter().sum::<f64>() / values.len() as f64;
            let variance = values.iter().map(|value| value * value).sum::<f64>() / values.len() as f64;
            assert!(mean.abs() < 0.03 && (variance - 1.0).abs() < 0.05, "{mean} {variance}");
        }
    }

    #[test]
    fn the_smooth_surface_is_continuous_and_bounded() {
        for step in 0..400 {
            let x = f64::from(step) * 0.173 - 30.0;
            let here = smooth_noise(5, x, -x);
            assert!(here.abs() <= 1.0);
            assert!((smooth_noise(5, x + 1e-6, -x) - here).abs() < 1e-4);
        }
    }
}

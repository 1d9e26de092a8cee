//! The discrete Fourier transform of square images whose side is a power of two.

use std::f64::consts::TAU;

/// Side of the squares that are transposed at once.
const TILE: usize = 16;

/// A complex number: real and imaginary part.
pub(super) type Complex = [f32; 2];

/// Tables for transforms of one side.
pub(super) struct Fourier {
    side: usize,
    /// exp(-2 pi i k / side) for the first half of the circle.
    twiddles: Vec<Complex>,
}

impl Fourier {
    /// Tables for `side`, a power of two.
    pub(super) fn new(side: usize) -> Self {
        let angle = |k: usize| TAU * k as f64 / side as f64;
        let twiddles = (0..side / 2).map(|k| [angle(k).cos() as f32, -angle(k).sin() as f32]).collect();
        Self { side, twiddles }
    }

    /// Rows and columns of what is transformed.
    pub(super) fn side(&self) -> usize {
        self.side
    }

    /// Transforms `side * side` values in place.
    pub(super) fn forward(&self, values: &mut [Complex]) {
        for _ in 0..2 {
            values.chunks_exact_mut(self.side).for_each(|row| self.line(row));
            self.transpose(values);
        }
    }

    /// The inverse of [`Self::forward`], without the factor `1 / side^2`.
    pub(super) fn inverse(&self, values: &mut [Complex]) {
        values.iter_mut().for_each(|value| value[1] = -value[1]);
        self.forward(values);
        values.iter_mut().for_each(|value| value[1] = -value[1]);
    }

    /// Radix 2, decimation in time (Cooley and Tukey 1965).
    fn line(&self, row: &mut [Complex]) {
        let n = row.len();
        let mut reversed = 0;
        for place in 1..n {
            let mut bit = n >> 1;
            while reversed & bit != 0 {
                reversed ^= bit;
                bit >>= 1;
            }
            reversed |= bit;
            if place < reversed {
                row.swap(place, reversed);
            }
        }
        let mut half = 1;
        while half < n {
            let step = n / (2 * half);
            for block in row.chunks_exact_mut(2 * half) {
                let (evens, odds) = block.split_at_mut(half);
                for (k, (even, odd)) in evens.iter_mut().zip(odds).enumerate() {
                    let [cos, sin] = self.twiddles[k * step];
                    let turned = [odd[0] * cos - odd[1] * sin, odd[0] * sin + odd[1] * cos];
                    *odd = [even[0] - turned[0], even[1] - turned[1]];
                    *even = [even[0] + turned[0], even[1] + turned[1]];
                }
            }
            half *= 2;
        }
    }

    fn transpose(&self, values: &mut [Complex]) {
        // square by square, so that neither side leaves the cache
        for top in (0..self.side).step_by(TILE) {
            for left in (0..=top).step_by(TILE) {
                for y in top..(top + TILE).min(self.side) {
                    for x in left..(left + TILE).min(y) {
                        values.swap(y * self.side + x, x * self.side + y);
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wave_is_one_coefficient_and_comes_back() {
        let fourier = Fourier::new(16);
        let wave = |place: usize| (TAU * (3 * (place / 16) + 2 * (place % 16)) as f64 / 16.0).cos() as f32;
        let image: Vec<Complex> = (0..256).map(|place| [wave(place), 0.0]).collect();
        let mut values = image.clone();
        fourier.forward(&mut values);
        for (place, value) in values.iter().enumerate() {
            let expected = if [3 * 16 + 2, 13 * 16 + 14].contains(&place) { 128.0 } else { 0.0 };
            assert!((value[0] - expected).abs() < 1e-3 && value[1].abs() < 1e-3, "{place}: {value:?}");
        }
        fourier.inverse(&mut values);
        for (value, expected) in values.iter().zip(&image) {
            assert!((value[0] / 256.0 - expected[0]).abs() < 1e-5);
        }
    }
}

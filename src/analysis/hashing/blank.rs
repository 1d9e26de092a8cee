//! Whether a plane shows anything: block means against what noise alone would give.

use super::thumbnail::SIDE;

/// Total degree of the surface that illumination alone may have.
const DEGREE_MAX: usize = 6;
/// A block this many noise deviations away counts as one deviation of the whole.
const PEAK_WEIGHT: f64 = 4.0;
/// Blocks that may stick out before that counts: dust, or a bright pixel that the clipping left.
const N_PEAKS_IGNORED: usize = 2;

/// How far block means stray from a smooth surface, in units of what white noise of `noise` grey levels a pixel
/// gives: about 1 for noise alone whatever the illumination, large for structure.
///
/// It is the largest over blocks of 1/64, 1/32 and 1/16 of a side, and for each the larger of the root mean square and of a
/// quarter of the third largest deviation, which sees a few small objects in an otherwise empty field. The surface is
/// a polynomial of total degree 6, fitted by least squares.
pub(super) fn signal_to_noise(blocks: &[f32], (height, width): (usize, usize), noise: f32) -> f32 {
    let mut deviations = without_surface(blocks);
    let mut largest = 0.0_f64;
    for side in [SIDE, SIDE / 2, SIDE / 4] {
        let pixels_along = |length: usize| (length as f64 / side as f64).max(1.0);
        let expected = f64::from(noise) / (pixels_along(height) * pixels_along(width)).sqrt();
        largest = largest.max(deviation(&deviations) / expected);
        deviations = halved(&deviations, side);
    }
    largest.min(1e6) as f32
}

/// Root mean square, or the weighted third largest where that is more.
fn deviation(deviations: &[f64]) -> f64 {
    let mean_square = deviations.iter().map(|d| d * d).sum::<f64>() / deviations.len() as f64;
    let mut sizes: Vec<f64> = deviations.iter().map(|d| d.abs()).collect();
    let place = sizes.len() - 1 - N_PEAKS_IGNORED;
    let peak = *sizes.select_nth_unstable_by(place, f64::total_cmp).1;
    mean_square.sqrt().max(peak / PEAK_WEIGHT)
}

/// Means of two by two blocks of a square.
fn halved(values: &[f64], side: usize) -> Vec<f64> {
    let mean = |corner: usize| {
        (values[corner] + values[corner + 1] + values[corner + side] + values[corner + side + 1]) / 4.0
    };
    let half = side / 2;
    (0..half * half).map(|index| mean(index / half * 2 * side + index % half * 2)).collect()
}

/// Takes the best fitting polynomial surface away.
fn without_surface(values: &[f32]) -> Vec<f64> {
    let basis = orthonormal_polynomials();
    let mut rest: Vec<f64> = values.iter().map(|&value| f64::from(value)).collect();
    for (degree, along_y) in basis.iter().enumerate() {
        for along_x in &basis[..=DEGREE_MAX - degree] {
            let term = |index: usize| along_y[index / SIDE] * along_x[index % SIDE];
            let weight: f64 = rest.iter().enumerate().map(|(index, value)| value * term(index)).sum();
            rest.iter_mut().enumerate().for_each(|(index, value)| *value -= weight * term(index));
        }
    }
    rest
}

/// Polynomials of degree 0 to 6 that are orthonormal on the 64 block centres (Gram and Schmidt).
fn orthonormal_polynomials() -> [[f64; SIDE]; DEGREE_MAX + 1] {
    let mut basis = [[0.0; SIDE]; DEGREE_MAX + 1];
    let x = |index: usize| (2 * index + 1) as f64 / SIDE as f64 - 1.0;
    for degree in 0..=DEGREE_MAX {
        let mut polynomial: [f64; SIDE] = std::array::from_fn(|index| x(index).powi(degree as i32));
        for earlier in &basis[..degree] {
            let weight: f64 = polynomial.iter().zip(earlier).map(|(a, b)| a * b).sum();
            polynomial.iter_mut().zip(earlier).for_each(|(a, b)| *a -= weight * b);
        }
        let length = polynomial.iter().map(|a| a * a).sum::<f64>().sqrt();
        basis[degree] = polynomial.map(|a| a / length);
    }
    basis
}

//! Whether a plane shows anything: block means against what noise alone would give.

use std::sync::LazyLock;

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
    let mut peaks = [0.0_f64; N_PEAKS_IGNORED + 1];
    for size in deviations.iter().map(|d| d.abs()) {
        if size > peaks[0] {
            let place = peaks.partition_point(|&peak| peak < size);
            peaks[..place].rotate_left(1);
            peaks[place - 1] = size;
        }
    }
    let peak = peaks[0];
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
    // of each row, then of the rows' weights: the products of two polynomials are orthonormal, too
    let rows = values.chunks_exact(SIDE).map(|row| {
        let mut weights = [0.0; DEGREE_MAX + 1];
        for (&value, polynomials) in row.iter().zip(&*POLYNOMIALS) {
            for (weight, polynomial) in weights.iter_mut().zip(polynomials) {
                *weight += f64::from(value) * polynomial;
            }
        }
        weights
    });
    let mut weights = [[0.0; DEGREE_MAX + 1]; DEGREE_MAX + 1];
    for (along_x, polynomials) in rows.zip(&*POLYNOMIALS) {
        for (weights, polynomial) in weights.iter_mut().zip(polynomials) {
            for (weight, along_x) in weights.iter_mut().zip(along_x) {
                *weight += along_x * polynomial;
            }
        }
    }
    let mut rest = Vec::with_capacity(values.len());
    for (row, along_y) in values.chunks_exact(SIDE).zip(&*POLYNOMIALS) {
        let mut along_x = [0.0; DEGREE_MAX + 1];
        for (degree, (weights, along_y)) in weights.iter().zip(along_y).enumerate() {
            for (along_x, weight) in along_x[..=DEGREE_MAX - degree].iter_mut().zip(weights) {
                *along_x += weight * along_y;
            }
        }
        rest.extend(row.iter().zip(&*POLYNOMIALS).map(|(&value, polynomials)| {
            let surface: f64 =
                polynomials.iter().zip(along_x).map(|(polynomial, weight)| polynomial * weight).sum();
            f64::from(value) - surface
        }));
    }
    rest
}

/// The polynomials at each block along a side.
static POLYNOMIALS: LazyLock<[[f64; DEGREE_MAX + 1]; SIDE]> = LazyLock::new(|| {
    let basis = orthonormal_polynomials();
    std::array::from_fn(|block| basis.map(|polynomial| polynomial[block]))
});

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

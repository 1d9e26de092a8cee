//! Which model do pairs call for? The simplest that leaves no more than chance explains.

use super::fit::FitBounds;
use super::models::{Model, closed_form};

/// A model is dropped where chance would make it look as poor in fewer than one of a thousand cases: the normal
/// deviate of that probability on both sides, and twice its logarithm.
const Z_MAX: f64 = 3.290_526_731_491_895;
const TWICE_LN: f64 = 13.815_510_557_964_274;
/// Sums of squares below this share of the coordinates' are rounding.
const ROUNDING: f64 = 1e-26;

/// The widest model that can keep within bounds: an affine map has neither a scale nor a rotation.
pub fn widest_model(bounds: &FitBounds) -> Model {
    if *bounds == FitBounds::default() { Model::Affine } else { Model::Anisotropic }
}

/// The simplest model whose least squares over the pairs `(moving[i], reference[i])` are not significantly worse than
/// those of `widest`, by an F test at the level 0.001. `mirrored`: whether one view is the mirror image of the other.
///
/// The pairs should be those found under `widest`: a narrower model would have lost the pairs that speak against it.
///
/// # References
/// Seber and Lee 2003, Linear Regression Analysis, section 4.3. For one parameter more the test is Student's, by Wallace
/// 1959 (Annals of Mathematical Statistics 30), formula for the normal deviate; for two its tail is elementary.
pub fn simplest_model(moving: &[[f64; 2]], reference: &[[f64; 2]], mirrored: bool, widest: Model) -> Model {
    let sign = if mirrored { -1.0 } else { 1.0 };
    let moving: Vec<_> = moving.iter().map(|[x, y]| [sign * x, *y]).collect();
    let n_free = 2 * moving.len() as i64 - widest.n_parameters() as i64;
    let [moving, reference] = [centred(&moving), centred(reference)];
    let total: f64 = reference.as_flattened().iter().map(|value| value * value).sum();
    let left = |model: Model| {
        // what cannot be computed explains nothing
        sum_of_squares(model, &moving, &reference).map_or(total, |square| square.max(ROUNDING * total))
    };
    let least = left(widest);
    let candidates = [Model::Similarity, Model::Anisotropic];
    let mut simpler = candidates.into_iter().filter(|model| model.n_parameters() < widest.n_parameters());
    let is_borne_out = |model: &Model| {
        n_free < 1 || is_chance(left(*model) / least, widest.n_parameters() - model.n_parameters(), n_free)
    };
    simpler.find(is_borne_out).unwrap_or(widest)
}

/// Whether chance explains that a model with `n_more` parameters less, 1 or 2, leaves `ratio` times as much, where the
/// wider one leaves `n_free` degrees of freedom.
fn is_chance(ratio: f64, n_more: usize, n_free: i64) -> bool {
    let n_free = n_free as f64;
    let deviance = n_free * ratio.max(1.0).ln();
    if n_more == 1 {
        (8.0 * n_free + 1.0) / (8.0 * n_free + 3.0) * deviance.sqrt() <= Z_MAX
    } else {
        deviance <= TWICE_LN
    }
}

fn centred(points: &[[f64; 2]]) -> Vec<[f64; 2]> {
    let n = points.len().max(1) as f64;
    let sum = points.iter().fold([0.0; 2], |[x, y], [u, v]| [x + u, y + v]);
    points.iter().map(|[x, y]| [x - sum[0] / n, y - sum[1] / n]).collect()
}

/// What the least squares leave.
fn sum_of_squares(model: Model, moving: &[[f64; 2]], reference: &[[f64; 2]]) -> Option<f64> {
    let map = model.map(&closed_form(model, moving, reference)?);
    let square = |(from, to): (&[f64; 2], &[f64; 2])| {
        let [x, y] = map.apply(*from);
        (x - to[0]).powi(2) + (y - to[1]).powi(2)
    };
    Some(moving.iter().zip(reference).map(square).sum())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::analysis::synthesis::Random;
    use crate::geometry::Affine;

    /// Which model is chosen for pairs under a distortion of the moving image, with this noise in reference px.
    fn chosen(
        n: usize,
        distortion: [[f64; 2]; 2],
        noise_px: f64,
        mirrored: bool,
        random: &mut Random,
    ) -> Model {
        let turn = Affine::similarity(0.25, 0.7, mirrored, [300.0, 400.0]);
        let map = turn.after(&Affine::from_parts(distortion, [0.0; 2]));
        let moving: Vec<[f64; 2]> = (0..n).map(|_| [0; 2].map(|_| 2048.0 * random.uniform())).collect();
        let reference: Vec<_> = moving
            .iter()
            .map(|point| map.apply(*point).map(|value| value + noise_px * random.normal()))
            .collect();
        simplest_model(&moving, &reference, mirrored, Model::Affine)
    }

    #[test]
    fn each_distortion_calls_for_its_model() {
        let mut random = Random::new(1);
        let cases = [
            ([[1.0, 0.0], [0.0, 1.0]], Model::Similarity),
            ([[1.01, 0.0], [0.0, 1.0]], Model::Anisotropic),
            ([[1.0, 0.01], [0.0, 1.0]], Model::Affine),
            ([[0.99, 0.01], [-0.02, 1.0]], Model::Affine),
        ];
        for (distortion, expected) in cases {
            for mirrored in [false, true] {
                for noise_px in [0.0, 0.1, 0.3] {
                    let found = chosen(300, distortion, noise_px, mirrored, &mut random);
                    assert_eq!(found, expected, "{distortion:?} {noise_px} {mirrored}");
                }
            }
        }
    }

    #[test]
    fn too_much_is_chosen_as_rarely_as_the_level_says() {
        let mut random = Random::new(2);
        for n in [6, 10, 100] {
            let too_wide =
                |_: &i32| chosen(n, [[1.0, 0.0], [0.0, 1.0]], 0.5, false, &mut random) != Model::Similarity;
            // 4 are expected of 4,000; fewer than one in 10,000 such runs has 13 or more
            let n_too_wide = (0..4000).filter(too_wide).count();
            assert!(n_too_wide <= 12, "{n}: {n_too_wide}");
        }
    }

    #[test]
    fn the_test_is_that_of_the_tables() {
        // scipy.stats.t.isf(0.0005, n) and scipy.stats.f.isf(0.001, 2, n)
        for (n, t, f) in [(6, 5.958_816, 27.0), (20, 3.849_516, 9.953_2), (200, 3.339_8, 7.151_9)] {
            let ratio = |t_square: f64| 1.0 + t_square / f64::from(n);
            for (factor, expected) in [(0.96, true), (1.04, false)] {
                assert_eq!(is_chance(ratio(factor * t * t), 1, i64::from(n)), expected, "t {n}");
                assert_eq!(is_chance(ratio(factor * 2.0 * f), 2, i64::from(n)), expected, "F {n}");
            }
        }
    }

    #[test]
    fn few_pairs_and_narrow_choices() {
        assert_eq!(simplest_model(&[], &[], false, Model::Affine), Model::Similarity);
        let three = [[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]];
        let stretched = three.map(|[x, y]| [2.0 * x, y]);
        assert_eq!(simplest_model(&three, &stretched, false, Model::Affine), Model::Similarity);
        assert_eq!(simplest_model(&three, &stretched, false, Model::Anisotropic), Model::Anisotropic);
        assert_eq!(simplest_model(&three, &stretched, false, Model::Similarity), Model::Similarity);
    }
}

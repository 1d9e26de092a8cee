//! Is the scatter of the fitted parameters the least that any unbiased method can have (the bound of Cramér and Rao)?
//!
//! Pairs are given, the noise is normal and the loss is linear; the same points are observed again and again. Over the
//! trials, the squared errors of a parameter divided by its bound are a chi-square variable with as many degrees of
//! freedom as there are trials, if the bound is reached.

use serde::Serialize;

use super::known::{SOLVERS, gaussian};
use super::scene::{CAMERA_PX, NOMINAL_SCALE};
use super::statistics::{chi_square_ratio, normal_quantile_upper};
use crate::analysis::registration::fit::FitError;
use crate::analysis::registration::{FitSettings, Model, fit};
use crate::analysis::synthesis::Random;
use crate::geometry::Affine;

/// The probability that a test of the whole family fails though all bounds are reached.
const FAMILY_LEVEL: f64 = 1e-3;
/// The true transform of all trials.
const ROTATION_RAD: f64 = 0.03;
const SHIFT_PX: [f64; 2] = [812.0, 1033.0];

/// One configuration.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct EfficiencyCell {
    /// Pairs.
    pub n_pairs: usize,
    /// Standard deviation of a coordinate in px of the reference.
    pub noise_px: f64,
    /// Similarity or affine.
    pub model: Model,
}

/// The configurations of a full run.
pub fn cells() -> Vec<EfficiencyCell> {
    let mut cells = vec![];
    for model in [Model::Similarity, Model::Affine] {
        for n_pairs in [50, 500] {
            for noise_px in [0.5, 2.0] {
                cells.push(EfficiencyCell { n_pairs, noise_px, model });
            }
        }
    }
    cells
}

/// Sums of squared errors in units of the bound, per solver and parameter.
pub type Squares = [Vec<f64>; 2];

/// A parameter's variance beside the bound.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct VarianceRatio {
    /// The configuration.
    pub cell: EfficiencyCell,
    /// The solver's name.
    pub solver: &'static str,
    /// The parameter's name.
    pub parameter: &'static str,
    /// Measured variance by the bound.
    pub ratio: f64,
    /// Where the true ratio lies with 95 %.
    pub interval: [f64; 2],
    /// Whether the ratio is within what chance allows in the whole family.
    pub is_within: bool,
}

impl EfficiencyCell {
    /// Runs trials `first..first + n` and sums up.
    ///
    /// # Errors
    /// Pairs that nothing can be fitted to.
    pub fn run(&self, seed: u64, first: u64, n: u64) -> Result<Squares, FitError> {
        let moving = self.moving(seed);
        let truth = Affine::similarity(NOMINAL_SCALE, ROTATION_RAD, false, SHIFT_PX);
        let places: Vec<_> = moving.iter().map(|point| truth.apply(*point)).collect();
        let (parameters, bounds) = (self.model.parameters(&truth), self.variance_bounds(&moving));
        let settings = FitSettings { model: self.model, ..FitSettings::default() };
        let mut squares: Squares = [vec![0.0; bounds.len()], vec![0.0; bounds.len()]];
        for trial in first..first + n {
            let mut random = Random::of(&[seed, trial, self.n_pairs as u64, self.noise_px.to_bits()]);
            let mut noisy =
                |place: &[f64; 2]| place.map(|value| value + self.noise_px * gaussian(&mut random));
            let reference: Vec<_> = places.iter().map(&mut noisy).collect();
            let fit = fit::fit_pairs(&moving, &reference, &settings)?;
            for (sums, found) in squares.iter_mut().zip([&fit.lbfgsb, &fit.lm]) {
                for (index, sum) in sums.iter_mut().enumerate() {
                    *sum += (found.parameters[index] - parameters[index]).powi(2) / bounds[index];
                }
            }
        }
        Ok(squares)
    }

    /// Points with their centroid at the origin, where the shift is then independent of the other parameters.
    fn moving(&self, seed: u64) -> Vec<[f64; 2]> {
        let mut random = Random::of(&[seed, self.n_pairs as u64]);
        let mut points: Vec<_> =
            (0..self.n_pairs).map(|_| [(); 2].map(|()| CAMERA_PX * random.uniform())).collect();
        let n = points.len() as f64;
        let centre = [0, 1].map(|axis| points.iter().map(|point| point[axis]).sum::<f64>() / n);
        points.iter_mut().for_each(|[x, y]| (*x, *y) = (*x - centre[0], *y - centre[1]));
        points
    }

    /// The least variances: the diagonal of the inverse of Fisher's information, which is `J'J` by the variance of the
    /// noise.
    fn variance_bounds(&self, moving: &[[f64; 2]]) -> Vec<f64> {
        let variance = self.noise_px * self.noise_px;
        let sum = |of: fn(&[f64; 2]) -> f64| moving.iter().map(of).sum::<f64>();
        let (xx, yy, xy) = (sum(|[x, _]| x * x), sum(|[_, y]| y * y), sum(|[x, y]| x * y));
        let shift = variance / moving.len() as f64;
        if self.model == Model::Similarity {
            let scale = variance / (xx + yy);
            return vec![scale, scale / (NOMINAL_SCALE * NOMINAL_SCALE), shift, shift];
        }
        let determinant = xx * yy - xy * xy;
        let [by_x, by_y] = [variance * yy / determinant, variance * xx / determinant];
        vec![by_x, by_y, by_x, by_y, shift, shift]
    }
}

/// Judges the sums over `n_trials` trials of each cell.
pub fn judge(cells: &[(EfficiencyCell, Squares)], n_trials: usize) -> Vec<VarianceRatio> {
    let n_tests: usize = cells.iter().map(|(cell, _)| 2 * cell.model.n_parameters()).sum();
    let z = normal_quantile_upper((FAMILY_LEVEL / (2.0 * n_tests.max(1) as f64)).max(1e-12));
    let limits = [-z, z].map(|z| chi_square_ratio(n_trials, z));
    let mut ratios = vec![];
    for (cell, squares) in cells {
        for (solver, sums) in SOLVERS.into_iter().zip(squares) {
            for (parameter, sum) in cell.model.parameter_names().iter().zip(sums) {
                let ratio = sum / n_trials as f64;
                let interval = [1.96, -1.96].map(|z| ratio / chi_square_ratio(n_trials, z));
                let is_within = (limits[0]..=limits[1]).contains(&ratio);
                ratios.push(VarianceRatio { cell: *cell, solver, parameter, ratio, interval, is_within });
            }
        }
    }
    ratios
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_optimizers_reach_the_bound() {
        for model in [Model::Similarity, Model::Affine] {
            let cell = EfficiencyCell { n_pairs: 40, noise_px: 1.0, model };
            let n_trials = 1500;
            let squares = cell.run(3, 0, n_trials).unwrap();
            let ratios = judge(&[(cell, squares)], n_trials as usize);
            assert_eq!(ratios.len(), 2 * model.n_parameters());
            for ratio in ratios {
                assert!(ratio.is_within && (ratio.ratio - 1.0).abs() < 0.15, "{ratio:?}");
                assert!(ratio.interval[0] < ratio.ratio && ratio.ratio < ratio.interval[1]);
            }
        }
    }

    #[test]
    fn more_scatter_than_the_bound_is_seen() {
        let cell = EfficiencyCell { n_pairs: 40, noise_px: 1.0, model: Model::Similarity };
        let too_much = [vec![1200.0; 4], vec![1000.0; 4]];
        let ratios = judge(&[(cell, too_much)], 1000);
        assert!(ratios[..4].iter().all(|ratio| !ratio.is_within) && ratios[4..].iter().all(|r| r.is_within));
    }

    #[test]
    fn trials_do_not_depend_on_how_they_are_shared_out() {
        let cell = EfficiencyCell { n_pairs: 20, noise_px: 1.0, model: Model::Similarity };
        let whole = cell.run(1, 0, 20).unwrap();
        let [first, second] = [cell.run(1, 0, 10).unwrap(), cell.run(1, 10, 10).unwrap()];
        for solver in 0..2 {
            for parameter in 0..4 {
                let sum = first[solver][parameter] + second[solver][parameter];
                assert!((sum / whole[solver][parameter] - 1.0).abs() < 1e-12);
            }
        }
    }
}

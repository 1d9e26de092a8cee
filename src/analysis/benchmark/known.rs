//! Both optimizers on pairs that are known, some of them wrong: how far, how quickly, how well.
//!
//! Both get the same residuals in normalised coordinates, the same loss, box and start. Their own stop tests are left
//! aside: every point where residuals were computed is traced, and the passes up to a given accuracy are counted
//! afterwards.

use serde::Serialize;

use super::scene::{CAMERA_PX, NOMINAL_SCALE};
use crate::analysis::optimizers::{LossKind, Report};
use crate::analysis::registration::fit::{FitBounds, FitStart};
use crate::analysis::registration::{Cost, FitError, FitSettings, Meter, Model, Prepared};
use crate::analysis::synthesis::Random;
use crate::geometry::Affine;

/// The solvers in the order of all figures.
pub const SOLVERS: [&str; 2] = ["lbfgsb", "lm"];
/// Accuracies: what is left of the cost above the least one, as a part of that at the start.
pub const ACCURACIES: [f64; 4] = [1e-3, 1e-6, 1e-9, 1e-12];
/// Passes of a convergence curve.
pub const N_CURVE_PASSES: usize = 60;
/// Points of a trace; a run that needs more has long failed.
const N_TRACE_POINTS: usize = 400;
/// Loss scale in standard deviations of the noise.
const LOSS_SCALE_SIGMAS: f64 = 3.0;

/// Where both optimizers start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum StartChoice {
    /// The nominal scale, no rotation, centroid on centroid.
    Nominal,
    /// The scale off by 30 %, the rotation by 40 degrees, the centroid by a quarter of the field.
    Poor,
}

/// The box around the parameters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum BoxChoice {
    /// None.
    Free,
    /// Scale within 10 %, rotation within 90 degrees: the minimum lies inside.
    Inactive,
    /// Scale within 1 %, the true one 3 % away: the minimum lies on the border.
    Active,
}

/// One configuration.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct KnownCell {
    /// Pairs, wrong ones included.
    pub n_pairs: usize,
    /// Standard deviation of a coordinate in px of the reference.
    pub noise_px: f64,
    /// Share of pairs that do not belong together.
    pub wrong_share: f64,
    /// The transform.
    pub model: Model,
    /// The loss.
    pub loss: LossKind,
    /// The start.
    pub start: StartChoice,
    /// The box.
    pub bounds: BoxChoice,
}

/// The values that are combined with one another.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct KnownAxes {
    /// Pairs.
    pub n_pairs: Vec<usize>,
    /// Standard deviations of the noise in px of the reference.
    pub noise_px: Vec<f64>,
    /// Shares of wrong pairs.
    pub wrong_shares: Vec<f64>,
}

impl Default for KnownAxes {
    fn default() -> Self {
        Self {
            n_pairs: vec![50, 100, 500, 1000, 5000],
            noise_px: vec![0.0, 0.5, 1.0, 2.0, 5.0],
            wrong_shares: vec![0.0, 0.1, 0.3],
        }
    }
}

impl KnownAxes {
    /// All combinations that mean something: no robust loss without noise, which has no scale then; boxes for the
    /// similarity alone, whose parameters they are about.
    pub fn cells(&self) -> Vec<KnownCell> {
        let mut cells = vec![];
        for &n_pairs in &self.n_pairs {
            for &noise_px in &self.noise_px {
                for &wrong_share in &self.wrong_shares {
                    for (model, loss, start, bounds) in choices() {
                        let cell = KnownCell { n_pairs, noise_px, wrong_share, model, loss, start, bounds };
                        if cell.is_meaningful() {
                            cells.push(cell);
                        }
                    }
                }
            }
        }
        cells
    }
}

fn choices() -> Vec<(Model, LossKind, StartChoice, BoxChoice)> {
    let mut choices = vec![];
    for model in [Model::Similarity, Model::Affine] {
        for loss in [LossKind::Linear, LossKind::Cauchy] {
            for start in [StartChoice::Nominal, StartChoice::Poor] {
                for bounds in [BoxChoice::Free, BoxChoice::Inactive, BoxChoice::Active] {
                    choices.push((model, loss, start, bounds));
                }
            }
        }
    }
    choices
}

/// Pairs with their truth, and how they are to be fitted.
pub struct KnownPairs {
    /// Moving points in px.
    pub moving: Vec<[f64; 2]>,
    /// Reference points in px.
    pub reference: Vec<[f64; 2]>,
    /// The true transform.
    pub truth: Affine,
    /// What is fitted, and from where.
    pub settings: FitSettings,
}

/// What one solver did in one trial.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct SolverTrial {
    /// Root mean square distance over all pairs in px of the reference.
    pub rmsd_px: f64,
    /// Root mean square distance between found and true transform over the moving points (target registration error).
    pub tre_px: f64,
    /// The cost at the end, in normalised coordinates.
    pub cost: f64,
    /// Steps.
    pub n_iterations: u32,
    /// Passes over the data that computed residuals.
    pub n_residual_passes: u32,
    /// Passes over the data that computed derivatives.
    pub n_jacobian_passes: u32,
    /// Passes of either kind up to each of [`ACCURACIES`].
    pub passes_to: [Option<u32>; ACCURACIES.len()],
    /// Its own stop reason.
    pub stop_reason: &'static str,
    /// How far a parameter lies outside of the box.
    pub bound_violation_max: f64,
    /// Time and memory of this one run.
    #[serde(skip)]
    pub taken: Cost,
    /// What is left after 1, 2, … passes.
    #[serde(skip)]
    pub curve: Vec<f32>,
}

/// Both solvers on the same pairs.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct KnownTrial {
    /// The cost at the start.
    pub cost_start: f64,
    /// The least cost known: of the closed form where it is the answer, and of both solvers.
    pub cost_least: f64,
    /// In the order of [`SOLVERS`].
    pub solvers: [SolverTrial; 2],
}

impl KnownCell {
    fn is_meaningful(&self) -> bool {
        let has_loss = self.loss == LossKind::Linear || self.noise_px > 0.0;
        let has_box = self.bounds == BoxChoice::Free || self.model == Model::Similarity;
        has_loss && has_box
    }

    /// Draws pairs: points anywhere in a camera, their images with noise, the first of them anywhere.
    pub fn pairs(&self, seed: u64) -> KnownPairs {
        let mut random = Random::new(seed);
        let truth = self.truth(&mut random);
        let reach = CAMERA_PX * NOMINAL_SCALE;
        let moving: Vec<_> =
            (0..self.n_pairs).map(|_| [0; 2].map(|_| CAMERA_PX * random.uniform())).collect();
        let n_wrong = (self.wrong_share * self.n_pairs as f64).round() as usize;
        let image = |(index, point): (usize, &[f64; 2])| {
            let noisy = truth.apply(*point).map(|value| value + self.noise_px * gaussian(&mut random));
            let anywhere = truth.translation().map(|value| value + reach * random.uniform());
            if index < n_wrong { anywhere } else { noisy }
        };
        let reference = moving.iter().enumerate().map(image).collect();
        KnownPairs { moving, reference, truth, settings: self.settings() }
    }

    fn truth(&self, random: &mut Random) -> Affine {
        let off = if self.bounds == BoxChoice::Active { 1.03 } else { random.between(0.99, 1.01) };
        let turn = random.between(-5.0_f64, 5.0).to_radians();
        let shift = [300.0, 700.0].map(|middle| middle + random.between(-100.0, 100.0));
        let similarity = Affine::similarity(NOMINAL_SCALE * off, turn, false, shift);
        if self.model == Model::Similarity {
            return similarity;
        }
        let [stretch, shear] = [(); 2].map(|()| random.between(-0.02, 0.02));
        similarity.after(&Affine::from_parts([[1.0 + stretch, shear], [0.0, 1.0 - stretch]], [0.0; 2]))
    }

    fn settings(&self) -> FitSettings {
        let around = |share: f64| Some([NOMINAL_SCALE * (1.0 - share), NOMINAL_SCALE * (1.0 + share)]);
        let quarter = std::f64::consts::FRAC_PI_2;
        let bounds = match self.bounds {
            BoxChoice::Free => FitBounds::default(),
            BoxChoice::Inactive => FitBounds { scale: around(0.1), theta_rad: Some([-quarter, quarter]) },
            BoxChoice::Active => FitBounds { scale: around(0.01), theta_rad: None },
        };
        let start = match self.start {
            StartChoice::Nominal => {
                FitStart { scale: Some(NOMINAL_SCALE), rotation_rad: Some(0.0), shift_px: [0.0; 2] }
            }
            StartChoice::Poor => FitStart {
                scale: Some(1.3 * NOMINAL_SCALE),
                rotation_rad: Some(40_f64.to_radians()),
                shift_px: [0.25 * CAMERA_PX * NOMINAL_SCALE; 2],
            },
        };
        FitSettings {
            model: self.model,
            loss: self.loss,
            loss_scale_px: (LOSS_SCALE_SIGMAS * self.noise_px).max(1e-9),
            bounds,
            start,
            n_trace_points: N_TRACE_POINTS,
            ..FitSettings::default()
        }
    }

    /// Draws the pairs of a seed and runs both solvers on them.
    ///
    /// # Errors
    /// Pairs that nothing can be fitted to.
    pub fn run(&self, seed: u64, meter: &mut impl Meter) -> Result<KnownTrial, FitError> {
        let pairs = self.pairs(seed);
        let (prepared, _) = Prepared::new(&pairs.moving, &pairs.reference, &pairs.settings, meter)?;
        let (lbfgsb, lbfgsb_taken) = meter.measure(|| prepared.lbfgsb());
        let (lm, lm_taken) = meter.measure(|| prepared.lm());
        let (lbfgsb, lm) = (lbfgsb?, lm?);
        let cost_start = lm.trace.points().next().map_or(f64::NAN, |point| point.cost);
        let known = [Some(lbfgsb.cost), Some(lm.cost), prepared.cost_least()];
        let cost_least = known.into_iter().flatten().fold(f64::INFINITY, f64::min);
        let fit = prepared.conclude(lbfgsb, lm)?;
        let solvers = [(&fit.lbfgsb, lbfgsb_taken), (&fit.lm, lm_taken)].map(|(found, taken)| {
            let Report { ref trace, .. } = found.report;
            let costs: Vec<_> = trace.points().map(|point| (point.n_passes, point.cost)).collect();
            let curve = curve(&costs, cost_start, cost_least);
            SolverTrial {
                rmsd_px: found.rmsd_px,
                tre_px: tre(&pairs, &found.reference_from_moving),
                cost: found.report.cost,
                n_iterations: found.report.n_iterations,
                n_residual_passes: found.report.n_residual_passes,
                n_jacobian_passes: found.report.n_jacobian_passes,
                passes_to: ACCURACIES.map(|accuracy| passes_to(&costs, cost_start, cost_least, accuracy)),
                stop_reason: found.report.stop_reason.name(),
                bound_violation_max: found.examination.bound_violation_max,
                taken,
                curve,
            }
        });
        Ok(KnownTrial { cost_start, cost_least, solvers })
    }
}

/// Root mean square distance between two transforms over the moving points.
fn tre(pairs: &KnownPairs, found: &Affine) -> f64 {
    let square = |point: &[f64; 2]| {
        let [[x, y], [u, v]] = [found.apply(*point), pairs.truth.apply(*point)];
        (x - u).powi(2) + (y - v).powi(2)
    };
    (pairs.moving.iter().map(square).sum::<f64>() / pairs.moving.len() as f64).sqrt()
}

/// Passes up to the first point that leaves no more than a part of the way from the start to the least cost. Rounding
/// errors of the least cost itself are no way.
fn passes_to(costs: &[(u32, f64)], start: f64, least: f64, accuracy: f64) -> Option<u32> {
    let enough = least + accuracy * (start - least) + 4.0 * f64::EPSILON * least;
    costs.iter().find(|(_, cost)| *cost <= enough).map(|(n_passes, _)| *n_passes)
}

/// What is left of the way after 1, 2, … passes, by the best point so far.
fn curve(costs: &[(u32, f64)], start: f64, least: f64) -> Vec<f32> {
    let mut rest = costs.iter().peekable();
    let mut best = start;
    let left = |n_passes: u32| {
        while let Some((_, cost)) = rest.next_if(|(passes, _)| *passes <= n_passes) {
            best = best.min(*cost);
        }
        ((best - least) / (start - least)).max(0.0) as f32
    };
    (1..=N_CURVE_PASSES as u32).map(left).collect()
}

/// A number of the normal distribution (Marsaglia's polar method).
pub(super) fn gaussian(random: &mut Random) -> f64 {
    loop {
        let [x, y] = [(); 2].map(|()| random.between(-1.0, 1.0));
        let square = x * x + y * y;
        if square > 0.0 && square < 1.0 {
            return x * (-2.0 * square.ln() / square).sqrt();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_grid_leaves_out_what_means_nothing() {
        let cells = KnownAxes::default().cells();
        assert_eq!(cells.len(), 1080);
        assert!(cells.iter().all(|cell| cell.noise_px > 0.0 || cell.loss == LossKind::Linear));
        assert!(cells.iter().all(|cell| cell.model != Model::Affine || cell.bounds == BoxChoice::Free));
    }

    #[test]
    fn both_solvers_reach_the_least_cost_on_small_cells() {
        let axes = KnownAxes { n_pairs: vec![60], noise_px: vec![0.0, 1.0], wrong_shares: vec![0.0, 0.1] };
        for cell in axes.cells() {
            let trial = cell.run(7, &mut ()).unwrap();
            assert!(trial.cost_least <= trial.cost_start);
            for (solver, name) in trial.solvers.iter().zip(SOLVERS) {
                assert!(solver.passes_to[1].is_some(), "{name} {cell:?}: {solver:?}");
                assert_eq!(solver.bound_violation_max, 0.0);
                assert!(solver.passes_to.is_sorted_by_key(|passes| passes.unwrap_or(u32::MAX)));
                assert_eq!(solver.curve.len(), N_CURVE_PASSES);
            }
            assert_eq!(trial, cell.run(7, &mut ()).unwrap());
        }
    }

    #[test]
    fn passes_are_counted_to_the_first_point_that_is_good_enough() {
        let costs = [(1, 11.0), (3, 5.0), (5, 6.0), (7, 1.001), (9, 1.0)];
        assert_eq!(passes_to(&costs, 11.0, 1.0, 0.5), Some(3));
        assert_eq!(passes_to(&costs, 11.0, 1.0, 1e-3), Some(7));
        assert_eq!(passes_to(&costs, 11.0, 1.0, 1e-9), Some(9));
        assert_eq!(passes_to(&costs[..4], 11.0, 1.0, 1e-9), None);
        let left = curve(&costs, 11.0, 1.0);
        assert_eq!((left[0], left[2], left[4], left[8]), (1.0, 0.4, 0.4, 0.0));
    }
}

//! Levenberg-Marquardt with a scaled trust region, bounds, and robust losses.
//!
//! Without active bounds the steps, the scaling, the update of the radius and the tests are those of MINPACK's
//! `lmder`; the Jacobian is reduced row by row as in `lmstr`. Parameters at a bound that the gradient pushes outwards
//! are left out of a step; where a step leaves the box, the parameters that do go to their bounds and the step of the
//! others is computed again; where that gains much less than the projected steepest descent, the latter is taken.
//!
//! # References
//! Moré, The Levenberg-Marquardt algorithm: implementation and theory, 1978. Moré, Garbow and Hillstrom, User guide
//! for MINPACK-1, ANL-80-74, 1980.

mod damping;

use serde::{Deserialize, Serialize};

use super::objective::{Objective, dot, norm};
use super::qr::{PivotedQr, RowQr};
use super::{Bounds, Loss, OptimizerError, Report, Residuals, StopReason, check};
use damping::Damping;

/// The least ratio of actual to predicted reduction at which a step is taken.
const RATIO_MIN: f64 = 1e-4;
/// The part of the projected steepest descent's gain that a step cut off at the bounds must reach.
const DESCENT_SHARE_MIN: f64 = 0.1;

/// When to stop. The names in brackets are MINPACK's.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LevenbergMarquardtSettings {
    /// Relative reduction of the cost, actual and predicted, below which it ends (`ftol`); default 1e-14.
    pub cost_tolerance: f64,
    /// Radius of the trust region beside the length of the scaled parameters below which it ends (`xtol`); default
    /// 1e-12.
    pub step_tolerance: f64,
    /// Cosine between the residuals and any column of the Jacobian below which it ends (`gtol`); default 1e-12.
    pub gradient_tolerance: f64,
    /// First radius beside the length of the scaled parameters (`factor`); default 100.
    pub radius_factor: f64,
    /// Most residual passes; default 2,000.
    pub n_passes_max: u32,
    /// Points of the trace to keep; default 0.
    pub n_trace_points: usize,
}

impl Default for LevenbergMarquardtSettings {
    fn default() -> Self {
        Self {
            cost_tolerance: 1e-14,
            step_tolerance: 1e-12,
            gradient_tolerance: 1e-12,
            radius_factor: 100.0,
            n_passes_max: 2_000,
            n_trace_points: 0,
        }
    }
}

impl LevenbergMarquardtSettings {
    fn check(&self) -> Result<(), OptimizerError> {
        let tolerances = [self.cost_tolerance, self.step_tolerance, self.gradient_tolerance];
        let is_fit = tolerances.iter().all(|value| *value >= 0.0) && self.radius_factor > 0.0;
        let what = "tolerances of 0 or more and a radius factor above 0";
        is_fit.then_some(()).ok_or(OptimizerError::Setting { what })
    }
}

/// Minimises the cost of `residuals` under `loss` within `bounds`, from `start` moved into the box.
///
/// # Errors
/// [`OptimizerError`] for a problem that cannot be started on; numbers that are not finite once it runs are a
/// [`StopReason`].
pub fn minimize(
    residuals: &impl Residuals,
    loss: Loss,
    start: &[f64],
    bounds: &Bounds,
    settings: &LevenbergMarquardtSettings,
) -> Result<Report, OptimizerError> {
    check(residuals, loss, start, bounds)?;
    settings.check()?;
    let mut search = Search::new(residuals, loss, bounds, *settings);
    search.parameters.copy_from_slice(start);
    let stop_reason = search.run();
    let Search { objective, parameters, cost, n_iterations, .. } = search;
    Ok(Report {
        parameters,
        cost,
        n_residual_passes: objective.n_residual_passes,
        n_jacobian_passes: objective.n_jacobian_passes,
        n_iterations,
        stop_reason,
        trace: objective.trace,
    })
}

/// What a step is expected to do, in parts of twice the cost.
struct Prediction {
    /// Reduction of twice the cost.
    reduction: f64,
    /// Slope of half of that along the step; negative.
    slope: f64,
    /// Length of the scaled step.
    length: f64,
}

/// The state of a run; every vector is allocated at the start.
struct Search<'a, R> {
    objective: Objective<'a, R>,
    bounds: &'a Bounds,
    settings: LevenbergMarquardtSettings,
    parameters: Vec<f64>,
    trial: Vec<f64>,
    step: Vec<f64>,
    descent: Vec<f64>,
    gradient: Vec<f64>,
    /// Lengths of the Jacobian's columns, and the greatest so far: the diagonal of `D`.
    column_lengths: Vec<f64>,
    scales: Vec<f64>,
    /// Parameters that no bound holds back; those of them that a step has not taken to a bound, and their scales.
    free: Vec<usize>,
    active: Vec<usize>,
    active_scales: Vec<f64>,
    triangle: RowQr,
    reduced: PivotedQr,
    damping: Damping,
    right_side: Vec<f64>,
    product: Vec<f64>,
    cost: f64,
    radius: f64,
    damping_parameter: f64,
    n_iterations: u32,
}

impl<'a, R: Residuals> Search<'a, R> {
    fn new(problem: &'a R, loss: Loss, bounds: &'a Bounds, settings: LevenbergMarquardtSettings) -> Self {
        let n = problem.n_parameters();
        let vector = || vec![0.0; n];
        Self {
            objective: Objective::new(problem, loss, settings.n_trace_points),
            bounds,
            settings,
            parameters: vector(),
            trial: vector(),
            step: vector(),
            descent: vector(),
            gradient: vector(),
            column_lengths: vector(),
            scales: vector(),
            free: Vec::with_capacity(n),
            active: Vec::with_capacity(n),
            active_scales: Vec::with_capacity(n),
            triangle: RowQr::new(n),
            reduced: PivotedQr::new(n),
            damping: Damping::new(n),
            right_side: vector(),
            product: vector(),
            cost: f64::INFINITY,
            radius: 0.0,
            damping_parameter: 0.0,
            n_iterations: 0,
        }
    }

    fn run(&mut self) -> StopReason {
        self.bounds.project(&mut self.parameters);
        self.cost = self.objective.cost(&self.parameters);
        if !self.cost.is_finite() {
            return StopReason::NotFinite;
        }
        loop {
            if self.cost == 0.0 {
                return StopReason::ExactFit;
            }
            self.objective.triangle(&self.parameters, &mut self.triangle);
            if !self.triangle.is_finite() {
                return StopReason::NotFinite;
            }
            self.linearise();
            let cosine = self.gradient_cosine();
            if cosine <= self.settings.gradient_tolerance {
                return StopReason::Gradient;
            }
            loop {
                let (ratio, stop) = self.try_step(cosine);
                if let Some(reason) = stop {
                    return reason;
                }
                if ratio >= RATIO_MIN {
                    break;
                }
            }
        }
    }

    /// From the triangle to gradient, scales and free parameters.
    fn linearise(&mut self) {
        let is_first = self.objective.n_jacobian_passes == 1;
        for index in 0..self.parameters.len() {
            let column = self.triangle.column(index);
            let length = norm(column);
            self.gradient[index] = dot(column, self.triangle.right_side());
            self.column_lengths[index] = length;
            let scale = if is_first && length == 0.0 { 1.0 } else { length };
            self.scales[index] = self.scales[index].max(scale);
        }
        if is_first {
            let length = self.scaled_length(&self.parameters);
            self.radius = self.settings.radius_factor * if length > 0.0 { length } else { 1.0 };
        }
        self.free.clear();
        for (index, &value) in self.parameters.iter().enumerate() {
            let slope = self.gradient[index];
            let (lower, upper) = (self.bounds.lower[index], self.bounds.upper[index]);
            let is_held =
                lower == upper || (value <= lower && slope >= 0.0) || (value >= upper && slope <= 0.0);
            if !is_held {
                self.free.push(index);
            }
        }
    }

    /// The greatest cosine between the residuals and a column of the Jacobian, over the free parameters.
    fn gradient_cosine(&self) -> f64 {
        let length = (2.0 * self.cost).sqrt();
        let of = |index: &usize| match self.column_lengths[*index] {
            0.0 => 0.0,
            column_length => (self.gradient[*index] / column_length / length).abs(),
        };
        self.free.iter().map(of).fold(0.0, f64::max)
    }

    /// Tries one step; returns the ratio of actual to predicted reduction, and why to stop, where there is reason.
    fn try_step(&mut self, cosine: f64) -> (f64, Option<StopReason>) {
        let predicted = self.propose();
        if self.n_iterations == 0 {
            self.radius = self.radius.min(predicted.length);
        }
        let cost = self.objective.cost(&self.trial);
        // a tenfold length of the residuals is worth no closer look
        let actual = if cost < 100.0 * self.cost { (self.cost - cost) / self.cost } else { -1.0 };
        let ratio = if predicted.reduction > 0.0 { actual / predicted.reduction } else { 0.0 };
        self.adapt_radius(&predicted, actual, ratio);
        if ratio >= RATIO_MIN {
            self.parameters.copy_from_slice(&self.trial);
            self.cost = cost;
            self.n_iterations += 1;
        }
        let settings = &self.settings;
        let is_small =
            |tolerance: f64| actual.abs() <= tolerance && predicted.reduction <= tolerance && ratio <= 2.0;
        let length = self.scaled_length(&self.parameters);
        let stop = if is_small(settings.cost_tolerance) {
            Some(StopReason::Cost)
        } else if self.radius <= settings.step_tolerance * length {
            Some(StopReason::Step)
        } else if self.objective.n_residual_passes >= settings.n_passes_max {
            Some(StopReason::Passes)
        } else if is_small(f64::EPSILON) || self.radius <= f64::EPSILON * length || cosine <= f64::EPSILON {
            Some(StopReason::Rounding)
        } else {
            None
        };
        (ratio, stop)
    }

    fn adapt_radius(&mut self, predicted: &Prediction, actual: f64, ratio: f64) {
        if ratio <= 0.25 {
            let half =
                if actual >= 0.0 { 0.5 } else { 0.5 * predicted.slope / (predicted.slope + 0.5 * actual) };
            let factor = if actual <= -1.0 || half < 0.1 { 0.1 } else { half };
            self.radius = factor * self.radius.min(predicted.length / 0.1);
            self.damping_parameter /= factor;
        } else if self.damping_parameter == 0.0 || ratio >= 0.75 {
            self.radius = predicted.length / 0.5;
            self.damping_parameter *= 0.5;
        }
    }

    /// Computes the next trial point and what is expected of it.
    fn propose(&mut self) -> Prediction {
        let is_cut = self.damped_step();
        let mut predicted = self.predict(is_cut);
        if is_cut {
            std::mem::swap(&mut self.step, &mut self.descent);
            self.projected_descent();
            let descent = self.predict(true);
            if predicted.reduction >= DESCENT_SHARE_MIN * descent.reduction {
                std::mem::swap(&mut self.step, &mut self.descent);
            } else {
                predicted = descent;
            }
        }
        for ((trial, value), step) in self.trial.iter_mut().zip(&self.parameters).zip(&self.step) {
            *trial = value + step;
        }
        self.bounds.project(&mut self.trial);
        predicted
    }

    /// Writes the damped step of the free parameters; says whether a bound cut it off.
    fn damped_step(&mut self) -> bool {
        self.active.clone_from(&self.free);
        self.right_side.copy_from_slice(self.triangle.right_side());
        self.step.fill(0.0);
        let mut is_cut = false;
        while !self.active.is_empty() {
            self.reduced.factor(&self.triangle, &self.active, &self.right_side);
            self.active_scales.clear();
            self.active_scales.extend(self.active.iter().map(|&index| self.scales[index]));
            let (radius, parameter) = (self.radius, self.damping_parameter);
            let parameter = self.damping.solve(&self.reduced, &self.active_scales, radius, parameter);
            for (&index, &step) in self.active.iter().zip(&self.damping.step) {
                self.step[index] = step;
            }
            if !self.cut() {
                self.damping_parameter = parameter;
                break;
            }
            is_cut = true;
        }
        is_cut
    }

    /// Takes those active parameters to their bounds whose step leaves the box; says whether there are any.
    fn cut(&mut self) -> bool {
        let n_before = self.active.len();
        let Self { active, parameters, bounds, step, right_side, triangle, .. } = self;
        active.retain(|&index| {
            let aim = parameters[index] + step[index];
            let cut = aim.max(bounds.lower[index]).min(bounds.upper[index]);
            if cut == aim {
                return true;
            }
            step[index] = cut - parameters[index];
            for (right, value) in right_side.iter_mut().zip(triangle.column(index)) {
                *right += step[index] * value;
            }
            false
        });
        self.active.len() < n_before
    }

    /// Writes the scaled steepest descent of the free parameters, as far as the radius and the model's gain allow,
    /// projected onto the box.
    fn projected_descent(&mut self) {
        let mut length = 0.0_f64;
        for &index in &self.free {
            length = length.hypot(self.gradient[index] / self.scales[index]);
        }
        let mut reach = self.radius / length;
        for _ in 0..60 {
            self.step.fill(0.0);
            for &index in &self.free {
                let value = self.parameters[index];
                let aim = value - reach * self.gradient[index] / self.scales[index].powi(2);
                self.step[index] = aim.max(self.bounds.lower[index]).min(self.bounds.upper[index]) - value;
            }
            let predicted = self.predict(true);
            if predicted.reduction >= -0.2 * predicted.slope {
                break;
            }
            reach /= 2.0;
        }
    }

    /// What the linear model says of the step.
    fn predict(&mut self, is_cut: bool) -> Prediction {
        self.product.fill(0.0);
        for (index, &step) in self.step.iter().enumerate() {
            let column = self.triangle.column(index);
            self.product.iter_mut().zip(column).for_each(|(sum, value)| *sum += step * value);
        }
        let twice_cost = 2.0 * self.cost;
        let linear = dot(&self.product, &self.product) / twice_cost;
        let length = self.scaled_length(&self.step);
        if is_cut {
            let slope = dot(&self.gradient, &self.step) / twice_cost;
            Prediction { reduction: -2.0 * slope - linear, slope, length }
        } else {
            let damped = self.damping_parameter * length * length / twice_cost;
            Prediction { reduction: linear + 2.0 * damped, slope: -(linear + damped), length }
        }
    }

    fn scaled_length(&self, vector: &[f64]) -> f64 {
        vector.iter().zip(&self.scales).map(|(value, scale)| (value * scale).powi(2)).sum::<f64>().sqrt()
    }
}

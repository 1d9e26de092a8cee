//! L-BFGS-B: limited-memory quasi-Newton steps within bounds, from costs and gradients alone.
//!
//! The steps and tests are those of version 3.0 of the program of the same name, with four additions: a trial point
//! whose cost is not finite shortens the line search instead of ending it; a direction that promises less than the
//! rounding error of the cost is not searched, and one that promises little more is tried once; a small reduction ends
//! it only where steepest descent promises no more; and where the memory has led astray, its older half goes first.
//! Without the third, the projected subspace step may lead across the box again and again, so that the cost hardly falls
//! far from the minimum. Without the fourth, all curvature is forgotten at once, and from the steepest descent of a narrow
//! valley there is no way on.
//!
//! # References
//! Byrd, Lu, Nocedal and Zhu 1995, SIAM J. Sci. Comput. 16(5); Zhu, Byrd, Lu and Nocedal 1997, ACM TOMS 23(4),
//! algorithm 778; Morales and Nocedal 2011, ACM TOMS 38(1).

mod cauchy;
mod line_search;
mod memory;
mod subspace;

use serde::{Deserialize, Serialize};

use super::objective::{Objective, dot};
use super::{Bounds, Loss, OptimizerError, Report, Residuals, StopReason, check};
use cauchy::CauchyPoint;
use line_search::{Advice, LineSearch, Sample};
use memory::Memory;
use subspace::{Model, Subspace};

/// Most pairs of steps and gradient changes that may be kept.
pub const N_PAIRS_MAX: usize = 100;
/// Most trial points of a line search.
const N_TRIALS_MAX: u32 = 20;
/// What a step is shortened to when the cost is not finite there.
const RETREAT: f64 = 0.1;
/// A failed search along the steepest descent is put down to rounding when it promised less than this part of the
/// cost.
const ROUNDING: f64 = 1e3 * f64::EPSILON;
/// A direction that promises less than this part of the cost is tried once: what a second trial finds is chance.
const NOISE: f64 = 16.0 * f64::EPSILON;

/// When to stop and how much to remember. The names in brackets are those of the original program.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LbfgsbSettings {
    /// Pairs of steps and gradient changes to keep (`m`); 1 to 100, default 10.
    pub n_pairs: usize,
    /// Reduction of the cost, as a part of the cost or of `cost_floor`, below which it ends (`factr` times the
    /// machine's precision); default 1e-14.
    pub cost_tolerance: f64,
    /// Cost below which reductions are judged absolutely; default 0, the original program has 1.
    pub cost_floor: f64,
    /// Greatest element of the projected gradient below which it ends (`pgtol`); default 1e-10.
    pub gradient_tolerance: f64,
    /// Most residual passes; default 2,000.
    pub n_passes_max: u32,
    /// Points of the trace to keep; default 0.
    pub n_trace_points: usize,
}

impl Default for LbfgsbSettings {
    fn default() -> Self {
        Self {
            n_pairs: 10,
            cost_tolerance: 1e-14,
            cost_floor: 0.0,
            gradient_tolerance: 1e-10,
            n_passes_max: 2_000,
            n_trace_points: 0,
        }
    }
}

impl LbfgsbSettings {
    fn check(&self) -> Result<(), OptimizerError> {
        let tolerances = [self.cost_tolerance, self.cost_floor, self.gradient_tolerance];
        let is_fit =
            (1..=N_PAIRS_MAX).contains(&self.n_pairs) && tolerances.iter().all(|value| *value >= 0.0);
        let what = "1 to 100 pairs and tolerances of 0 or more";
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
    settings: &LbfgsbSettings,
) -> Result<Report, OptimizerError> {
    check(residuals, loss, start, bounds)?;
    settings.check()?;
    let objective = Objective::new(residuals, loss, settings.n_trace_points);
    let mut search = Search::new(objective, start, bounds, *settings);
    let stop_reason = search.run();
    let Search { function: objective, parameters, cost, n_iterations, .. } = search;
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

/// A cost with its gradient.
pub(super) trait Function {
    /// Returns the cost, which need not be finite, and writes the gradient where it is.
    fn evaluate(&mut self, parameters: &[f64], gradient: &mut [f64]) -> f64;
}

impl<R: Residuals> Function for Objective<'_, R> {
    fn evaluate(&mut self, parameters: &[f64], gradient: &mut [f64]) -> f64 {
        let cost = self.cost(parameters);
        if cost.is_finite() {
            self.gradient(parameters, gradient);
        }
        cost
    }
}

/// The state of a run; every vector is allocated at the start.
pub(super) struct Search<'a, F> {
    pub(super) function: F,
    bounds: &'a Bounds,
    settings: LbfgsbSettings,
    pub(super) parameters: Vec<f64>,
    pub(super) cost: f64,
    gradient: Vec<f64>,
    trial: Vec<f64>,
    trial_gradient: Vec<f64>,
    direction: Vec<f64>,
    change: Vec<f64>,
    memory: Memory,
    cauchy: CauchyPoint,
    subspace: Subspace,
    pub(super) n_evaluations: u32,
    pub(super) n_iterations: u32,
}

/// How a line search ended.
enum Progress {
    /// A new point, whose cost is lower by this much.
    Moved { reduction: f64 },
    /// No lower cost was found.
    Failed,
    /// No pass is left.
    Spent,
}

impl<'a, F: Function> Search<'a, F> {
    pub(super) fn new(function: F, start: &[f64], bounds: &'a Bounds, settings: LbfgsbSettings) -> Self {
        let n = start.len();
        let vector = || vec![0.0; n];
        Self {
            function,
            bounds,
            settings,
            parameters: start.to_vec(),
            cost: f64::INFINITY,
            gradient: vector(),
            trial: vector(),
            trial_gradient: vector(),
            direction: vector(),
            change: vector(),
            memory: Memory::new(n, settings.n_pairs),
            cauchy: CauchyPoint::new(n, settings.n_pairs),
            subspace: Subspace::new(n, settings.n_pairs),
            n_evaluations: 0,
            n_iterations: 0,
        }
    }

    /// Moves the start into the box and evaluates it.
    pub(super) fn begin(&mut self) {
        self.bounds.project(&mut self.parameters);
        self.cost = self.function.evaluate(&self.parameters, &mut self.gradient);
        self.n_evaluations = 1;
    }

    pub(super) fn run(&mut self) -> StopReason {
        self.begin();
        if !is_finite(self.cost, &self.gradient) {
            return StopReason::NotFinite;
        }
        loop {
            if let Some(reason) = self.iterate() {
                return reason;
            }
        }
    }

    /// Takes one step; returns why to stop, where there is reason.
    pub(super) fn iterate(&mut self) -> Option<StopReason> {
        let slope_max = self.bounds.projected_gradient_max(&self.parameters, &self.gradient);
        if slope_max <= self.settings.gradient_tolerance {
            return Some(if self.cost == 0.0 { StopReason::ExactFit } else { StopReason::Gradient });
        }
        self.aim();
        let slope = dot(&self.gradient, &self.direction);
        let progress = if slope < 0.0 { self.search_line(slope) } else { Progress::Failed };
        match progress {
            Progress::Moved { reduction } => {
                self.n_iterations += 1;
                let size = self.cost.abs().max((self.cost + reduction).abs()).max(self.settings.cost_floor);
                let slope_max = self.bounds.projected_gradient_max(&self.parameters, &self.gradient);
                let is_flat = slope_max <= self.settings.gradient_tolerance;
                let enough = self.settings.cost_tolerance * size;
                if is_flat || reduction > enough {
                    return None;
                }
                let is_noise = -slope <= NOISE * size;
                if !is_noise && self.memory.n_pairs > 1 && self.promise() > enough {
                    self.memory.forget();
                    return None;
                }
                Some(StopReason::Cost)
            }
            Progress::Spent => Some(StopReason::Passes),
            Progress::Failed if self.memory.n_pairs == 0 => {
                let is_vain = -slope <= ROUNDING * self.cost.abs();
                Some(if is_vain { StopReason::Rounding } else { StopReason::LineSearch })
            }
            Progress::Failed => {
                self.memory.forget();
                None
            }
        }
    }

    /// What a step of projected steepest descent promises to take off the cost, by the curvature last met.
    fn promise(&self) -> f64 {
        let theta = self.memory.theta;
        let gain = |(index, (&value, &slope)): (usize, (&f64, &f64))| {
            let aim = (value - slope / theta).max(self.bounds.lower[index]).min(self.bounds.upper[index]);
            slope * (value - aim)
        };
        self.parameters.iter().zip(&self.gradient).enumerate().map(gain).sum::<f64>() / 2.0
    }

    /// Sets the direction: to the minimum of the quadratic model within the box.
    fn aim(&mut self) {
        let is_bounded = self.bounds.lower.iter().chain(&self.bounds.upper).any(|bound| bound.is_finite());
        loop {
            let Self { memory, bounds, parameters, gradient, .. } = self;
            if is_bounded || memory.n_pairs == 0 {
                self.cauchy.find(memory, bounds, parameters, gradient);
            } else {
                self.cauchy.stay(parameters);
            }
            if memory.n_pairs == 0 || self.cauchy.free.is_empty() {
                break;
            }
            let model = Model { memory, bounds, centre: parameters, gradient };
            if self.subspace.minimise(&model, &mut self.cauchy) {
                break;
            }
            self.memory.forget();
        }
        for ((step, to), from) in self.direction.iter_mut().zip(&self.cauchy.point).zip(&self.parameters) {
            *step = to - from;
        }
    }

    /// Searches a lower cost along the direction, and takes the point and the change of the gradient in.
    fn search_line(&mut self, slope: f64) -> Progress {
        // a step that promises less than the cost's rounding error can only be found by chance
        let is_vain = -slope <= f64::EPSILON * self.cost.abs();
        if is_vain {
            return Progress::Failed;
        }
        let start = Sample { length: 0.0, cost: self.cost, slope };
        let mut length_max = self.length_max();
        let mut length = self.first_length(length_max);
        let mut search = LineSearch::new(start, length, length_max);
        for _ in 0..N_TRIALS_MAX {
            if length == 0.0 {
                return Progress::Failed;
            }
            if self.n_evaluations >= self.settings.n_passes_max {
                return Progress::Spent;
            }
            let cost = self.try_length(length);
            if !is_finite(cost, &self.trial_gradient) {
                length_max = length / 2.0;
                length *= RETREAT;
                search = LineSearch::new(start, length, length_max);
                continue;
            }
            let slope = dot(&self.trial_gradient, &self.direction);
            match search.advise(Sample { length, cost, slope }) {
                Advice::Try(_) if -start.slope * length <= NOISE * self.cost.abs() => {
                    return Progress::Failed;
                }
                Advice::Try(next) => length = next,
                Advice::Take if cost <= self.cost => return self.take(length, cost, start.slope, slope),
                Advice::Take => return Progress::Failed,
            }
        }
        Progress::Failed
    }

    /// How far the direction may be followed before it leaves the box.
    fn length_max(&self) -> f64 {
        let is_bounded = self.bounds.lower.iter().chain(&self.bounds.upper).any(|bound| bound.is_finite());
        if is_bounded && self.n_iterations == 0 {
            return 1.0;
        }
        let mut length_max = 1e10_f64;
        for (index, (&value, &step)) in self.parameters.iter().zip(&self.direction).enumerate() {
            let bound = if step < 0.0 { self.bounds.lower[index] } else { self.bounds.upper[index] };
            if step != 0.0 && bound.is_finite() {
                length_max = length_max.min(((bound - value) / step).max(0.0));
            }
        }
        length_max
    }

    fn first_length(&self, length_max: f64) -> f64 {
        let is_boxed = self.bounds.lower.iter().chain(&self.bounds.upper).all(|bound| bound.is_finite());
        if self.n_iterations == 0 && !is_boxed {
            (1.0 / dot(&self.direction, &self.direction).sqrt()).min(length_max)
        } else {
            length_max.min(1.0)
        }
    }

    fn try_length(&mut self, length: f64) -> f64 {
        if length == 1.0 {
            self.trial.copy_from_slice(&self.cauchy.point);
        } else {
            for ((trial, value), step) in self.trial.iter_mut().zip(&self.parameters).zip(&self.direction) {
                *trial = length * step + value;
            }
            self.bounds.project(&mut self.trial);
        }
        self.n_evaluations += 1;
        self.function.evaluate(&self.trial, &mut self.trial_gradient)
    }

    /// Moves to the trial point and remembers the step, where it tells something about the curvature.
    fn take(&mut self, length: f64, cost: f64, slope_before: f64, slope: f64) -> Progress {
        for ((change, new), old) in self.change.iter_mut().zip(&self.trial_gradient).zip(&self.gradient) {
            *change = new - old;
        }
        let curvature = (slope - slope_before) * length;
        if curvature > f64::EPSILON * -slope_before * length {
            self.direction.iter_mut().for_each(|step| *step *= length);
            self.memory.push(&self.direction, &self.change);
        }
        std::mem::swap(&mut self.parameters, &mut self.trial);
        std::mem::swap(&mut self.gradient, &mut self.trial_gradient);
        let reduction = self.cost - cost;
        self.cost = cost;
        Progress::Moved { reduction }
    }
}

fn is_finite(cost: f64, gradient: &[f64]) -> bool {
    cost.is_finite() && gradient.iter().all(|value| value.is_finite())
}

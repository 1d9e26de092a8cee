//! A fit that is ready to run, one optimizer at a time.

use super::findings::{Finding, finding};
use super::frame::Frame;
use super::{ChosenBy, Fit, FitError, FitSettings, Method, OptimizerChoice, check};
use crate::analysis::optimizers::{
    Bounds, LbfgsbSettings, LevenbergMarquardtSettings, Loss, OptimizerError, Report, StopReason, lbfgsb,
    levenberg_marquardt,
};
use crate::analysis::registration::meter::{Cost, Meter};

/// Part of the cost by which two optimizers may differ at the same minimum.
const COST_ROUNDING: f64 = 1e-9;
/// Cost in normalised coordinates below which two optimizers count as being at the same minimum: a residual of about
/// 1e-10 of the cloud's radius.
const COST_FLOOR: f64 = 1e-20;

/// Point pairs in normalised coordinates with all that both optimizers are given alike.
pub struct Prepared<'a> {
    frame: Frame<'a>,
    settings: &'a FitSettings,
    closed_form: Option<Vec<f64>>,
    loss: Loss,
    bounds: Bounds,
    start: Vec<f64>,
}

impl<'a> Prepared<'a> {
    /// Checks the pairs, normalises them and computes the closed form; what the latter takes is measured.
    ///
    /// # Errors
    /// As [`super::fit_pairs`].
    pub fn new(
        moving: &'a [[f64; 2]],
        reference: &'a [[f64; 2]],
        settings: &'a FitSettings,
        meter: &mut impl Meter,
    ) -> Result<(Self, Cost), FitError> {
        check(moving, reference, settings)?;
        let frame = Frame::new(moving, reference, settings)?;
        let (closed_form, cost) = meter.measure(|| frame.problem.closed_form());
        let (loss, bounds) = (frame.loss(settings), frame.bounds(settings));
        let start = frame.start(settings, closed_form.as_deref());
        let start = frame.within_reach(start, loss, &bounds)?;
        Ok((Self { frame, settings, closed_form, loss, bounds, start }, cost))
    }

    /// Runs L-BFGS-B.
    ///
    /// # Errors
    /// A problem that cannot be started on.
    pub fn lbfgsb(&self) -> Result<Report, OptimizerError> {
        let settings =
            LbfgsbSettings { n_trace_points: self.settings.n_trace_points, ..LbfgsbSettings::default() };
        lbfgsb::minimize(&self.frame.problem, self.loss, &self.start, &self.bounds, &settings)
    }

    /// Runs Levenberg-Marquardt.
    ///
    /// # Errors
    /// A problem that cannot be started on.
    pub fn lm(&self) -> Result<Report, OptimizerError> {
        let settings = LevenbergMarquardtSettings {
            n_trace_points: self.settings.n_trace_points,
            ..LevenbergMarquardtSettings::default()
        };
        levenberg_marquardt::minimize(&self.frame.problem, self.loss, &self.start, &self.bounds, &settings)
    }

    /// The cost at the closed form in normalised coordinates, where it is the minimum that the optimizers look for.
    pub fn cost_least(&self) -> Option<f64> {
        let found = self.closed_form.as_deref().filter(|_| self.is_direct())?;
        Some(self.frame.cost(found))
    }

    /// Whether the closed form is the answer.
    fn is_direct(&self) -> bool {
        let found = self.closed_form.as_deref();
        found.is_some_and(|found| self.frame.is_answer(found, self.settings, &self.bounds))
    }

    /// Chooses among what was found, and brings it to px.
    ///
    /// # Errors
    /// [`FitError::NotFinite`] where there is nothing to choose from.
    pub fn conclude(&self, lbfgsb: Report, lm: Report) -> Result<Fit, FitError> {
        let is_lost = |report: &Report| report.stop_reason == StopReason::NotFinite;
        let (chosen, chosen_by) = if is_lost(&lbfgsb) && is_lost(&lm) {
            if !self.is_direct() {
                return Err(FitError::NotFinite);
            }
            (Method::ClosedForm, ChosenBy::Cost)
        } else {
            self.choose(&lbfgsb, &lm)
        };
        let is_either_lost = is_lost(&lbfgsb) || is_lost(&lm);
        let closed_form = self.closed_form.as_deref().map(|found| self.frame.direct(found));
        let [lbfgsb, lm] = [lbfgsb, lm].map(|report| self.frame.optimized(report, self.loss, &self.bounds));
        let (reference_from_moving, rmsd_px) = match (&closed_form, chosen) {
            (Some(direct), Method::ClosedForm) => (direct.reference_from_moving, direct.rmsd_px),
            (_, Method::Lbfgsb) => (lbfgsb.reference_from_moving, lbfgsb.rmsd_px),
            _ => (lm.reference_from_moving, lm.rmsd_px),
        };
        let optimizers_apart_px = self.frame.apart_px([&lbfgsb, &lm]).filter(|_| !is_either_lost);
        let n_pairs = self.frame.n_pairs();
        Ok(Fit {
            reference_from_moving,
            rmsd_px,
            chosen,
            chosen_by,
            finding: self.finding(),
            optimizers_apart_px,
            n_pairs,
            closed_form,
            lbfgsb,
            lm,
        })
    }

    /// What the benchmark found for problems of this kind.
    fn finding(&self) -> &'static Finding {
        let least_squares = self.closed_form.as_deref();
        let is_inside =
            least_squares.is_some_and(|found| self.frame.is_inside(found, self.settings, &self.bounds));
        finding(self.settings.loss, &self.settings.bounds, is_inside)
    }

    /// The optimizer whose solution is the transform, at least one of them having ended at a finite cost.
    fn choose(&self, lbfgsb: &Report, lm: &Report) -> (Method, ChosenBy) {
        let (wanted, by) = match self.settings.optimizer {
            OptimizerChoice::Auto => (self.finding().recommended(), ChosenBy::Benchmark),
            OptimizerChoice::LevenbergMarquardt => (Method::Lm, ChosenBy::Setting),
            OptimizerChoice::Lbfgsb => (Method::Lbfgsb, ChosenBy::Setting),
        };
        let (own, rival, other) = match wanted {
            Method::Lbfgsb => (lbfgsb, lm, Method::Lm),
            _ => (lm, lbfgsb, Method::Lbfgsb),
        };
        let is_lost = |report: &Report| report.stop_reason == StopReason::NotFinite;
        let is_higher = own.cost > rival.cost * (1.0 + COST_ROUNDING) + COST_FLOOR;
        let is_beaten = is_lost(own) || (by == ChosenBy::Benchmark && !is_lost(rival) && is_higher);
        if is_beaten { (other, ChosenBy::Cost) } else { (wanted, by) }
    }
}

//! A fit that is ready to run, one optimizer at a time.

use super::frame::Frame;
use super::{Fit, FitError, FitSettings, Method, check};
use crate::analysis::optimizers::{
    Bounds, LbfgsbSettings, LevenbergMarquardtSettings, Loss, OptimizerError, Report, StopReason, lbfgsb,
    levenberg_marquardt,
};
use crate::analysis::registration::meter::{Cost, Meter};

/// Part of the cost by which two optimizers may differ at the same minimum.
const COST_ROUNDING: f64 = 1e-9;

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
        let is_direct = self.is_direct();
        let chosen = match is_direct {
            true => Method::ClosedForm,
            false if lm.cost <= lbfgsb.cost * (1.0 + COST_ROUNDING) => Method::Lm,
            false => Method::Lbfgsb,
        };
        let is_lost = [&lbfgsb, &lm].iter().all(|report| report.stop_reason == StopReason::NotFinite);
        if is_lost && !is_direct {
            return Err(FitError::NotFinite);
        }
        let closed_form = self.closed_form.as_deref().map(|found| self.frame.direct(found));
        let [lbfgsb, lm] = [lbfgsb, lm].map(|report| self.frame.optimized(report, self.loss, &self.bounds));
        let (reference_from_moving, rmsd_px) = match (&closed_form, chosen) {
            (Some(direct), Method::ClosedForm) => (direct.reference_from_moving, direct.rmsd_px),
            (_, Method::Lbfgsb) => (lbfgsb.reference_from_moving, lbfgsb.rmsd_px),
            _ => (lm.reference_from_moving, lm.rmsd_px),
        };
        let n_pairs = self.frame.n_pairs();
        Ok(Fit { reference_from_moving, rmsd_px, chosen, n_pairs, closed_form, lbfgsb, lm })
    }
}

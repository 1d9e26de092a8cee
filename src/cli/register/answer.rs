//! What `register` answers: one JSON object as the contract says, or a few lines for people.

use std::fmt::Write;
use std::time::Duration;

use serde_json::{Value, json};

use crate::analysis::registration::fit::OptimizedFit;
use crate::analysis::registration::{Fit, FitTimes, Model};

use super::points::Points;
use super::{Outcome, Registered};

/// What came out for these points.
pub(super) struct Answer<'a> {
    pub(super) moving: &'a Points,
    pub(super) reference: &'a Points,
    pub(super) model: Model,
    pub(super) outcome: Outcome,
}

impl Answer<'_> {
    pub(super) fn to_json(&self) -> Value {
        let mut answer = json!({
            "accepted": self.outcome.registered.is_ok(),
            "reason": self.outcome.registered.as_ref().err(),
            "log10_chance": self.outcome.log10_chance,
            "model": self.model,
            "n_moving": self.moving.ids.len(),
            "n_reference": self.reference.ids.len(),
        });
        let registered = match &self.outcome.registered {
            Ok(registered) => self.registered_json(registered),
            Err(_) => json!({
                "mirrored": null, "reference_from_moving": null, "affine_row_col": null, "scale": null,
                "rotation_deg": null, "n_pairs": 0, "rmsd_px": null, "pairs": [], "optimizers": {},
            }),
        };
        let both = answer.as_object_mut().zip(registered.as_object());
        if let Some((answer, registered)) = both {
            answer.extend(registered.clone());
        }
        answer
    }

    fn registered_json(&self, registered: &Registered) -> Value {
        let Registered { mirrored, pairs, fit, times } = registered;
        let map = fit.reference_from_moving;
        let parts = map.decompose();
        let ids = |&(m, r): &(usize, usize)| [&self.moving.ids[m], &self.reference.ids[r]];
        json!({
            "mirrored": mirrored,
            "reference_from_moving": map,
            "affine_row_col": map.row_col(),
            "scale": parts.scale,
            "rotation_deg": parts.rotation_rad.to_degrees(),
            "n_pairs": pairs.len(),
            "rmsd_px": fit.rmsd_px,
            "pairs": pairs.iter().map(ids).collect::<Vec<_>>(),
            "optimizers": optimizers(fit, times, self.model),
        })
    }

    pub(super) fn to_text(&self) -> String {
        let Registered { mirrored, pairs, fit, times } = match &self.outcome.registered {
            Ok(registered) => registered,
            Err(reason) => return format!("refused: {reason}\n"),
        };
        let chance =
            self.outcome.log10_chance.map(|chance| format!(", chance 1e{chance:.0}")).unwrap_or_default();
        let parts = fit.reference_from_moving.decompose();
        let [[a, b, tx], [c, d, ty]] = fit.reference_from_moving.rows;
        let mut text = format!("registered: {} pairs, rmsd {:.3} px{chance}\n", pairs.len(), fit.rmsd_px);
        let mirrored = if *mirrored { "mirrored" } else { "not mirrored" };
        let lines = [
            format!(
                "scale {:.6}, rotation {:.4} degrees, {mirrored}",
                parts.scale,
                parts.rotation_rad.to_degrees()
            ),
            format!("x' = {a:.6} x {b:+.6} y {tx:+.3}"),
            format!("y' = {c:.6} x {d:+.6} y {ty:+.3}"),
        ];
        for line in lines {
            writeln!(text, "{line}").expect("a string takes all text");
        }
        let optimizers =
            [("L-BFGS-B", &fit.lbfgsb, times.lbfgsb), ("Levenberg-Marquardt", &fit.lm, times.lm)];
        for (name, optimized, time) in optimizers {
            let report = &optimized.report;
            writeln!(
                text,
                "{name}: rmsd {:.6} px, {} iterations, {} residual and {} Jacobian passes, {:.0} us, stopped by {}",
                optimized.rmsd_px,
                report.n_iterations,
                report.n_residual_passes,
                report.n_jacobian_passes,
                microseconds(time),
                report.stop_reason.name(),
            )
            .expect("a string takes all text");
        }
        text
    }
}

fn optimizers(fit: &Fit, times: &FitTimes, model: Model) -> Value {
    let closed_form = fit.closed_form.as_ref().map(|closed| {
        json!({
            "parameters": closed.parameters,
            "parameter_names": model.parameter_names(),
            "rmsd_px": closed.rmsd_px,
            "time_us": microseconds(times.closed_form),
        })
    });
    json!({
        "closed_form": closed_form,
        "lbfgsb": optimizer(&fit.lbfgsb, times.lbfgsb, model),
        "lm": optimizer(&fit.lm, times.lm, model),
    })
}

fn optimizer(fit: &OptimizedFit, time: Duration, model: Model) -> Value {
    json!({
        "parameters": fit.parameters,
        "parameter_names": model.parameter_names(),
        "standard_errors": fit.standard_errors,
        "rmsd_px": fit.rmsd_px,
        "iterations": fit.report.n_iterations,
        "residual_evaluations": fit.report.n_residual_passes,
        "jacobian_evaluations": fit.report.n_jacobian_passes,
        "time_us": microseconds(time),
        "peak_alloc_bytes": null,
        "stop_reason": fit.report.stop_reason.name(),
    })
}

fn microseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1e6
}

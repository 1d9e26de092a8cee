//! What `register` answers: one JSON object as the contract says, or a few lines for people.

use std::fmt::Write;
use std::time::Duration;

use serde_json::{Value, json};

use crate::analysis::registration::{Model, Warp};
use crate::reports::{fit_fields, why};

use super::points::Points;
use super::{Outcome, Registered};

/// What came out for these points.
pub(super) struct Answer<'a> {
    pub(super) moving: &'a Points,
    pub(super) reference: &'a Points,
    /// Which transform was fitted, or was to be; none where the pairs were to choose it and there are none.
    pub(super) model: Option<Model>,
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
                "rotation_deg": null, "n_pairs": 0, "rmsd_px": null, "warp": null, "pairs": [], "optimizer": null, "optimizers": {},
            }),
        };
        let both = answer.as_object_mut().zip(registered.as_object());
        if let Some((answer, registered)) = both {
            answer.extend(registered.clone());
        }
        answer
    }

    fn registered_json(&self, registered: &Registered) -> Value {
        let Registered { mirrored, pairs, model, fit, costs, warp } = registered;
        let ids = |&(m, r): &(usize, usize)| [&self.moving.ids[m], &self.reference.ids[r]];
        let mut fields = fit_fields(fit, costs, *model);
        fields.insert("mirrored".into(), (*mirrored).into());
        fields.insert("warp".into(), json!(warp));
        fields.insert("pairs".into(), json!(pairs.iter().map(ids).collect::<Vec<_>>()));
        fields.into()
    }

    pub(super) fn to_text(&self) -> String {
        let Registered { mirrored, pairs, model, fit, costs, warp } = match &self.outcome.registered {
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
                "{}: scale {:.6}, rotation {:.4} degrees, {mirrored}",
                model.name(),
                parts.scale,
                parts.rotation_rad.to_degrees()
            ),
            format!("x' = {a:.6} x {b:+.6} y {tx:+.3}"),
            format!("y' = {c:.6} x {d:+.6} y {ty:+.3}"),
            format!("optimizer: {}", why(fit)),
        ];
        for line in lines {
            writeln!(text, "{line}").expect("a string takes all text");
        }
        if let Some(Warp { knots, cv_rmsd_px_without, cv_rmsd_px_with, .. }) = warp {
            writeln!(
                text,
                "a warp with {} knots: cross-validated rmsd {cv_rmsd_px_without:.3} px without it, {cv_rmsd_px_with:.3} px with it",
                knots.len()
            )
            .expect("a string takes all text");
        }
        let optimizers =
            [("L-BFGS-B", &fit.lbfgsb, costs.lbfgsb.time), ("Levenberg-Marquardt", &fit.lm, costs.lm.time)];
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

fn microseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1e6
}

//! How a fit by both optimizers is written down, in every answer and report alike.

use std::time::Duration;

use serde_json::{Map, Value, json};

use crate::analysis::registration::fit::OptimizedFit;
use crate::analysis::registration::{Fit, FitTimes, Model};

/// The transform of a fit and how it was found: `reference_from_moving`, `affine_row_col`, `scale`, `rotation_deg`,
/// `n_pairs`, `rmsd_px` and `optimizers`.
pub fn fit_fields(fit: &Fit, times: &FitTimes, model: Model) -> Map<String, Value> {
    let map = fit.reference_from_moving;
    let parts = map.decompose();
    let closed_form = fit.closed_form.as_ref().map(|closed| {
        json!({
            "parameters": closed.parameters,
            "parameter_names": model.parameter_names(),
            "rmsd_px": closed.rmsd_px,
            "time_us": microseconds(times.closed_form),
        })
    });
    let fields: [(&str, Value); 7] = [
        ("reference_from_moving", json!(map)),
        ("affine_row_col", json!(map.row_col())),
        ("scale", json!(parts.scale)),
        ("rotation_deg", json!(parts.rotation_rad.to_degrees())),
        ("n_pairs", json!(fit.n_pairs)),
        ("rmsd_px", json!(fit.rmsd_px)),
        (
            "optimizers",
            json!({
                "closed_form": closed_form,
                "lbfgsb": optimizer(&fit.lbfgsb, times.lbfgsb, model),
                "lm": optimizer(&fit.lm, times.lm, model),
            }),
        ),
    ];
    fields.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()
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

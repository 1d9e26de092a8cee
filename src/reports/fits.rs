//! How a fit by both optimizers is written down, in every answer and report alike.

use serde_json::{Map, Value, json};

use crate::analysis::registration::fit::OptimizedFit;
use crate::analysis::registration::{Cost, Fit, FitCosts, Model};

/// The transform of a fit and how it was found: `reference_from_moving`, `affine_row_col`, `scale`, `rotation_deg`,
/// `n_pairs`, `rmsd_px`, `expected_tre_px` and `optimizers`.
pub fn fit_fields(fit: &Fit, costs: &FitCosts, model: Model) -> Map<String, Value> {
    let map = fit.reference_from_moving;
    let parts = map.decompose();
    let closed_form = fit.closed_form.as_ref().map(|closed| {
        json!({
            "parameters": closed.parameters,
            "parameter_names": model.parameter_names(),
            "rmsd_px": closed.rmsd_px,
            "time_us": microseconds(costs.closed_form),
            "peak_alloc_bytes": costs.closed_form.peak_bytes,
        })
    });
    let fields: [(&str, Value); 8] = [
        ("reference_from_moving", json!(map)),
        ("affine_row_col", json!(map.row_col())),
        ("scale", json!(parts.scale)),
        ("rotation_deg", json!(parts.rotation_rad.to_degrees())),
        ("n_pairs", json!(fit.n_pairs)),
        ("rmsd_px", json!(fit.rmsd_px)),
        ("expected_tre_px", json!(expected_tre_px(fit, model))),
        (
            "optimizers",
            json!({
                "closed_form": closed_form,
                "lbfgsb": optimizer(&fit.lbfgsb, costs.lbfgsb, model),
                "lm": optimizer(&fit.lm, costs.lm, model),
            }),
        ),
    ];
    fields.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()
}

/// How far the transform is off, root mean square over the pairs, as their scatter lets expect: `sigma sqrt(p / n)` with
/// `sigma` the error of a point per axis, estimated from what `p` parameters leave of `2 n` coordinates. None where they
/// leave nothing.
fn expected_tre_px(fit: &Fit, model: Model) -> Option<f64> {
    let p = model.n_parameters() as f64;
    let surplus = 2.0 * fit.n_pairs as f64 - p;
    (surplus > 0.0).then(|| fit.rmsd_px * (p / surplus).sqrt())
}

fn optimizer(fit: &OptimizedFit, cost: Cost, model: Model) -> Value {
    json!({
        "parameters": fit.parameters,
        "parameter_names": model.parameter_names(),
        "standard_errors": fit.standard_errors,
        "rmsd_px": fit.rmsd_px,
        "iterations": fit.report.n_iterations,
        "residual_evaluations": fit.report.n_residual_passes,
        "jacobian_evaluations": fit.report.n_jacobian_passes,
        "time_us": microseconds(cost),
        "peak_alloc_bytes": cost.peak_bytes,
        "stop_reason": fit.report.stop_reason.name(),
    })
}

fn microseconds(cost: Cost) -> f64 {
    cost.time.as_secs_f64() * 1e6
}

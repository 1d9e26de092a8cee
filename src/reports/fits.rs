//! How a fit by both optimizers is written down, in every answer and report alike.

use serde_json::{Map, Value, json};

use crate::analysis::registration::fit::{ChosenBy, FINDINGS_COMMAND, Finding, Method, OptimizedFit};
use crate::analysis::registration::{Cost, Fit, FitCosts, Model};

/// The transform of a fit and how it was found: `reference_from_moving`, `affine_row_col`, `scale`, `rotation_deg`,
/// `n_pairs`, `rmsd_px`, `expected_tre_px`, `optimizer` and `optimizers`.
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
    let fields: [(&str, Value); 9] = [
        ("reference_from_moving", json!(map)),
        ("affine_row_col", json!(map.row_col())),
        ("scale", json!(parts.scale)),
        ("rotation_deg", json!(parts.rotation_rad.to_degrees())),
        ("n_pairs", json!(fit.n_pairs)),
        ("rmsd_px", json!(fit.rmsd_px)),
        ("expected_tre_px", json!(expected_tre_px(fit, model))),
        ("optimizer", chosen(fit)),
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

/// Two optimizers agree where they put no point farther apart than this, in px of the reference: centres of nuclei are
/// kept to a thousandth of a pixel.
const AGREE_PX: f64 = 1e-3;

/// Whose transform it is, what led to it, and whether both agree.
fn chosen(fit: &Fit) -> Value {
    let apart_px = fit.optimizers_apart_px;
    json!({
        "name": method_name(fit.chosen),
        "chosen_by": fit.chosen_by,
        "agree": apart_px.is_some_and(|apart_px| apart_px <= AGREE_PX),
        "apart_px": apart_px,
        "why": why(fit),
    })
}

/// Why it is this one, and how far the other one is, in one sentence.
pub fn why(fit: &Fit) -> String {
    let title = method_title(fit.chosen);
    let reason = match (fit.chosen, fit.chosen_by) {
        (Method::ClosedForm, _) => "neither optimizer ends at a finite cost, the closed form does".to_owned(),
        (_, ChosenBy::Setting) => format!("{title} as the settings say"),
        (_, ChosenBy::Benchmark) => format!("{title} by `{FINDINGS_COMMAND}`: {}", borne_out(fit.finding)),
        (_, ChosenBy::Cost) => {
            format!("{title}, because the other optimizer ends at a higher cost here or at none")
        }
    };
    match fit.optimizers_apart_px {
        _ if fit.chosen == Method::ClosedForm => reason,
        None => format!("{reason}; the other optimizer does not end at a finite cost here"),
        Some(px) if px <= AGREE_PX => {
            format!("{reason}; here both put every point in the same place within {px:.0e} px")
        }
        Some(px) => format!("{reason}; here both disagree, by up to {px:.3} px of the reference"),
    }
}

/// What the benchmark found, for people.
fn borne_out(finding: &Finding) -> String {
    let Finding { n_fits, n_solved, n_passes, time_ratio, .. } = finding;
    let [own, other] = if finding.recommended() == Method::Lbfgsb { [0, 1] } else { [1, 0] };
    let solved = if n_solved[0] == n_solved[1] {
        format!("both solve {} of {n_fits} fits with {}", n_solved[own], finding.title())
    } else {
        let kind = finding.title();
        format!("it solves {} of {n_fits} fits with {kind}, the other {}", n_solved[own], n_solved[other])
    };
    if finding.is_quicker() {
        let times = if own == 0 { 1.0 / time_ratio } else { *time_ratio };
        format!("{solved}, and it is {times:.1} times as fast")
    } else {
        format!(
            "{solved} in about the same time, it in {} passes and the other in {}",
            n_passes[own], n_passes[other]
        )
    }
}

const fn method_name(method: Method) -> &'static str {
    match method {
        Method::ClosedForm => "closed_form",
        Method::Lbfgsb => "lbfgsb",
        Method::Lm => "lm",
    }
}

const fn method_title(method: Method) -> &'static str {
    match method {
        Method::ClosedForm => "the closed form",
        Method::Lbfgsb => "L-BFGS-B",
        Method::Lm => "Levenberg-Marquardt",
    }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::analysis::optimizers::LossKind;
    use crate::analysis::registration::FitSettings;
    use crate::analysis::registration::fit::{FitBounds, OptimizerChoice, fit_pairs};

    fn fitted(settings: &FitSettings) -> Fit {
        let moving: Vec<[f64; 2]> = (0..40).map(|n| [f64::from(n * n % 37), f64::from(n * 7 % 41)]).collect();
        let reference: Vec<[f64; 2]> = moving
            .iter()
            .zip(0..)
            .map(|([x, y], n)| [0.25 * x - 0.01 * y + f64::from(n % 3) * 0.1, 0.25 * y + 0.01 * x])
            .collect();
        fit_pairs(&moving, &reference, settings).unwrap()
    }

    #[test]
    fn the_line_says_whose_transform_it_is_and_why() {
        let said = chosen(&fitted(&FitSettings::default()));
        assert_eq!(
            (&said["name"], &said["chosen_by"], &said["agree"]),
            (&json!("lm"), &json!("benchmark"), &json!(true))
        );
        let text = said["why"].as_str().unwrap();
        let expected = "Levenberg-Marquardt by `scopewatch bench optimizers`: both solve 1500 of 1500 fits with linear loss \
                        without a box, and it is 1.4 times as fast; here both put every point in the same place within ";
        assert!(text.starts_with(expected), "{text}");
        let bounds = FitBounds { scale: Some([0.2, 0.24]), theta_rad: None };
        let on_border = fitted(&FitSettings { bounds, ..FitSettings::default() });
        assert!(
            why(&on_border).starts_with("L-BFGS-B by `scopewatch bench optimizers`"),
            "{}",
            why(&on_border)
        );
        let robust = fitted(&FitSettings { loss: LossKind::Cauchy, ..FitSettings::default() });
        assert!(
            why(&robust).contains("in about the same time, it in 12 passes and the other in 23"),
            "{}",
            why(&robust)
        );
        for (optimizer, name) in
            [(OptimizerChoice::Lbfgsb, "lbfgsb"), (OptimizerChoice::LevenbergMarquardt, "lm")]
        {
            let said = chosen(&fitted(&FitSettings { optimizer, ..FitSettings::default() }));
            assert_eq!((&said["name"], &said["chosen_by"]), (&json!(name), &json!("setting")));
        }
    }

    #[test]
    fn a_disagreement_is_said() {
        let mut fit = fitted(&FitSettings::default());
        fit.optimizers_apart_px = Some(0.25);
        assert_eq!(chosen(&fit)["agree"], json!(false));
        assert!(why(&fit).ends_with("; here both disagree, by up to 0.250 px of the reference"));
        fit.optimizers_apart_px = None;
        assert!(why(&fit).ends_with("; the other optimizer does not end at a finite cost here"));
        assert_eq!(chosen(&fit)["agree"], json!(false));
    }
}

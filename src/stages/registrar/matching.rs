//! One pair of fields: matched, fitted, and said in the words of the report.

use std::time::{Duration, Instant};

use serde_json::{Map, Value, json};

use crate::analysis::registration::fit::{Fit, FitTimes, OptimizedFit, fit_pairs_timed};
use crate::analysis::registration::{Field, FitSettings, Match, Refusal, Settings, match_fields};
use crate::geometry::Affine;
use crate::store::View;

use super::pairing::scale_prior;

/// What came of one try.
#[derive(Debug, Clone)]
pub(super) struct Outcome {
    /// Where the moving field lies; none when it was refused.
    pub(super) reference_from_moving: Option<Affine>,
    /// The keys of the line.
    pub(super) result: Map<String, Value>,
}

impl Outcome {
    /// A pair that is not registered, with the reason.
    pub(super) fn refused(reason: String, log10_chance: Option<f64>) -> Self {
        let result = map(json!({ "log10_chance": log10_chance, "reason": reason }));
        Self { reference_from_moving: None, result }
    }

    /// Memory that it takes, in bytes, roughly.
    pub(super) fn size_bytes(&self) -> usize {
        // the reports of three fits, most of it keys
        const REGISTERED_BYTES: usize = 8 << 10;
        const REFUSED_BYTES: usize = 1 << 10;
        if self.reference_from_moving.is_some() { REGISTERED_BYTES } else { REFUSED_BYTES }
    }
}

/// Finds out whether and where the moving field lies in the reference field.
pub(super) fn register(
    (moving, reference): (&Field, &Field),
    (moving_points, reference_points): (&[[f64; 2]], &[[f64; 2]]),
    views: (&View, &View),
) -> Outcome {
    let scale_prior = scale_prior(views.0, views.1);
    let settings = Settings { scale_prior, ..Settings::default() };
    let found = match match_fields(moving, reference, &settings) {
        Ok(found) => found,
        Err(refusal) => return refused(&refusal),
    };
    let pairs = |index: usize| (moving_points[found.pairs[index].0], reference_points[found.pairs[index].1]);
    let (from, to): (Vec<_>, Vec<_>) = (0..found.pairs.len()).map(pairs).unzip();
    let fit_settings = FitSettings { mirrored: found.mirrored, ..settings.fit };
    let started = Instant::now();
    match fit_pairs_timed(&from, &to, &fit_settings, &mut || started.elapsed()) {
        Ok((fit, times)) => registered(&found, (&fit, times), views.1),
        Err(error) => {
            Outcome::refused(format!("the pairs cannot be fitted: {error}"), Some(found.log10_chance))
        }
    }
}

fn refused(refusal: &Refusal) -> Outcome {
    Outcome::refused(refusal.to_string(), refusal.log10_chance())
}

fn registered(found: &Match, (fit, times): (&Fit, FitTimes), reference: &View) -> Outcome {
    let map_found = fit.reference_from_moving;
    let parts = map_found.decompose();
    let result = json!({
        "log10_chance": found.log10_chance,
        "mirrored": parts.mirrored,
        "model": FitSettings::default().model,
        "reference_from_moving": map_found,
        "affine_row_col": map_found.row_col(),
        "scale": parts.scale,
        "rotation_deg": parts.rotation_rad.to_degrees(),
        "n_pairs": fit.n_pairs,
        "rmsd_px": fit.rmsd_px,
        "rmsd_um": reference.pixel_size_um.map(|um| um * fit.rmsd_px),
        "optimizers": {
            "closed_form": fit.closed_form.as_ref().map(|closed| json!({
                "parameters": closed.parameters,
                "rmsd_px": closed.rmsd_px,
                "time_us": micros(times.closed_form),
                "peak_alloc_bytes": null,
            })),
            "lbfgsb": optimizer(&fit.lbfgsb, times.lbfgsb),
            "lm": optimizer(&fit.lm, times.lm),
        },
    });
    Outcome { reference_from_moving: Some(map_found), result: map(result) }
}

fn optimizer(fit: &OptimizedFit, time: Duration) -> Value {
    let report = &fit.report;
    json!({
        "parameters": fit.parameters,
        "rmsd_px": fit.rmsd_px,
        "iterations": report.n_iterations,
        "residual_evaluations": report.n_residual_passes,
        "jacobian_evaluations": report.n_jacobian_passes,
        "time_us": micros(time),
        "peak_alloc_bytes": null,
        "stop_reason": report.stop_reason.name(),
    })
}

fn micros(time: Duration) -> f64 {
    time.as_nanos() as f64 / 1e3
}

/// What the stage says of a registered pair, where it stood over both: how far it moved from the reference to the
/// moving field, how far the registration says that it did, along the axes of the reference image, and how far the
/// two are apart. Cameras stand on stages in eight ways; the one that fits best is taken, and named: `x,-y` where the
/// stage's x runs along the rows of the image and its y against the columns.
pub(super) fn stage_figures(
    reference_from_moving: Option<&Affine>,
    (moving, reference): (&View, &View),
) -> Map<String, Value> {
    let Some((to, from)) = moving.stage_um.zip(reference.stage_um) else { return Map::new() };
    let stage_um = [to[0] - from[0], to[1] - from[1]];
    let mut figures = map(json!({ "stage_offset_um": stage_um }));
    if let Some((transform, um)) = reference_from_moving.zip(reference.pixel_size_um) {
        let centre = |view: &View| [view.width, view.height].map(|n| (f64::from(n) - 1.0) / 2.0);
        let (landed, middle) = (transform.apply(centre(moving)), centre(reference));
        let found_um = [(landed[0] - middle[0]) * um, (landed[1] - middle[1]) * um];
        let (deviation_um, axes) = stage_deviation(stage_um, found_um);
        figures.extend(map(json!({
            "found_offset_um": found_um,
            "stage_deviation_um": deviation_um,
            "stage_axes": axes,
        })));
    }
    figures
}

/// The least distance of two offsets over the ways in which a camera can stand on a stage; of equal ones the first.
fn stage_deviation([x, y]: [f64; 2], found: [f64; 2]) -> (f64, &'static str) {
    let ways = [
        ([x, y], "x,y"),
        ([-x, y], "-x,y"),
        ([x, -y], "x,-y"),
        ([-x, -y], "-x,-y"),
        ([y, x], "y,x"),
        ([-y, x], "-y,x"),
        ([y, -x], "y,-x"),
        ([-y, -x], "-y,-x"),
    ];
    let distance = |way: [f64; 2]| (way[0] - found[0]).hypot(way[1] - found[1]);
    let ways = ways.map(|(way, name)| (distance(way), name));
    ways.into_iter()
        .reduce(|best, way| if way.0 < best.0 { way } else { best })
        .expect("there are eight ways")
}

fn map(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(map) => map,
        _ => Map::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn view(pixel_size_um: f64, stage_um: [f64; 2]) -> View {
        let (pixel_size_um, stage_um) = (Some(pixel_size_um), Some(stage_um));
        View { height: 101, width: 201, pixel_size_um, magnification: None, stage_um }
    }

    #[test]
    fn the_deviation_from_the_stage_is_told_whichever_way_the_camera_stands() {
        let reference = view(0.5, [1000.0, 2000.0]);
        let moving = view(0.125, [1030.0, 1990.0]);
        // 61 px right and 22 px up of the middle: 30.5 um and 11 um
        let transform = Affine::similarity(0.25, 0.0, false, [100.0 + 61.0 - 25.0, 50.0 - 22.0 - 12.5]);
        let figures = stage_figures(Some(&transform), (&moving, &reference));
        assert_eq!(figures["stage_offset_um"], json!([30.0, -10.0]));
        assert_eq!(figures["found_offset_um"], json!([30.5, -11.0]));
        assert_eq!(figures["stage_axes"], "x,y");
        let deviation = figures["stage_deviation_um"].as_f64().unwrap();
        assert!((deviation - 0.5_f64.hypot(1.0)).abs() < 1e-9, "{deviation}");
        let turned = view(0.125, [1010.0, 2030.0]);
        let figures = stage_figures(Some(&transform), (&turned, &reference));
        assert_eq!(figures["stage_axes"], "y,-x", "{figures:?}");
        let unknown = View { stage_um: None, ..moving };
        assert!(stage_figures(Some(&transform), (&unknown, &reference)).is_empty());
    }
}

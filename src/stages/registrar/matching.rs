//! One pair of fields: matched, fitted, and said in the words of the report.

use serde_json::{Map, Value, json};

use crate::analysis::registration::{self, Expected, Field, Registration, Settings, pairs_to_bytes};
use crate::geometry::Affine;
use crate::platform::meter::StopWatch;
use crate::reports::fit_fields;
use crate::store::View;

use super::pairing::scale_prior;

/// What came of one try.
#[derive(Debug, Clone)]
pub(super) struct Outcome {
    /// Where the moving field lies; none when it was refused.
    pub(super) reference_from_moving: Option<Affine>,
    /// The keys of the line.
    pub(super) result: Map<String, Value>,
    /// Which points are the same nucleus, as the ledger keeps them.
    pub(super) pairs: Option<Vec<u8>>,
}

impl Outcome {
    /// A pair that is not registered, with the reason.
    pub(super) fn refused(reason: String, log10_chance: Option<f64>) -> Self {
        let result = map(json!({ "log10_chance": log10_chance, "reason": reason }));
        Self { reference_from_moving: None, result, pairs: None }
    }

    /// Memory that it takes, in bytes, roughly.
    pub(super) fn size_bytes(&self) -> usize {
        // the reports of three fits, most of it keys, and a warp
        const REGISTERED_BYTES: usize = 12 << 10;
        const REFUSED_BYTES: usize = 1 << 10;
        let pairs = self.pairs.as_ref().map_or(0, Vec::capacity);
        if self.reference_from_moving.is_some() { REGISTERED_BYTES + pairs } else { REFUSED_BYTES }
    }
}

/// Finds out whether and where the moving field lies in the reference field.
pub(super) fn register(
    (moving, reference): (&Field, &Field),
    (moving_view, reference_view): (&View, &View),
    method: &Settings,
) -> Outcome {
    let scale_prior = scale_prior(moving_view, reference_view);
    let settings = Settings { scale_prior, ..method.clone() };
    match registration::register(moving, reference, &settings, &mut StopWatch::default()) {
        Ok(found) => registered(&found, reference_view),
        Err(refusal) => Outcome::refused(refusal.to_string(), refusal.log10_chance()),
    }
}

/// Looks for the moving field where its well says that it lies.
pub(super) fn register_near(
    (moving, reference): (&Field, &Field),
    reference_view: &View,
    expected: &Expected,
    method: &Settings,
) -> Outcome {
    match registration::register_near(moving, reference, expected, method, &mut StopWatch::default()) {
        Ok(found) => registered(&found, reference_view),
        Err(refusal) => Outcome::refused(refusal.to_string(), refusal.log10_chance()),
    }
}

fn registered(found: &Registration, reference: &View) -> Outcome {
    let model = found.model;
    let mut result = map(json!({
        "log10_chance": found.log10_chance,
        "mirrored": found.mirrored,
        "model": model,
        "rmsd_um": reference.pixel_size_um.map(|um| um * found.fit.rmsd_px),
        "warp": found.warp,
    }));
    result.extend(fit_fields(&found.fit, &found.costs, model));
    Outcome {
        reference_from_moving: Some(found.fit.reference_from_moving),
        result,
        pairs: Some(pairs_to_bytes(&found.pairs)),
    }
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
        let (landed, middle) = (transform.apply(moving.centre_px()), reference.centre_px());
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

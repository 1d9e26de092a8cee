//! Registration without known pairs: found, not found, or found where there is nothing.

use serde::Serialize;

use super::scene::{NOMINAL_SCALE, Scene, Views};
use crate::analysis::registration::fit::fit_pairs;
use crate::analysis::registration::{
    Cost, Field, FieldError, FitSettings, Meter, Orientation, Registration, Settings, register,
};
use crate::geometry::Affine;

/// A registration is right where it is off by no more than this in px of the reference…
const ERROR_MAX_PX: f64 = 1.0;
/// …or than this many times what the true pairs would give.
const ERROR_MAX_FACTOR: f64 = 3.0;

/// One configuration: a scene in which one thing is out of the ordinary.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct UnknownCell {
    /// What varies.
    pub factor: Factor,
    /// Its value; of a combination the first one.
    pub value: f64,
    /// The scene, but for its seed.
    pub scene: Scene,
}

/// What varies from cell to cell.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Factor {
    /// Noise of both views in px of their own.
    Noise,
    /// Share of nuclei missed, and of false ones, in both views.
    Missed,
    /// Share of the field that lies in the reference.
    Overlap,
    /// Rotation in degrees.
    Rotation,
    /// Rotation in degrees, in a mirror.
    Mirrored,
    /// Half of the field outside, and this share missed and false.
    HalfAndMissed,
    /// This share missed and false, with the orientation known.
    MissedOriented,
    /// Half of the field outside, this share missed and false, with the orientation known.
    HalfAndMissedOriented,
    /// Fields of two wells.
    OtherWell,
    /// Fields of two wells, with the orientation known.
    OtherWellOriented,
    /// A neighbouring field of the same well, this many sides away.
    Neighbour,
    /// The same, with the orientation known.
    NeighbourOriented,
}

/// How far the orientation that a registration is told is off, in degrees.
const ORIENTATION_ERROR_DEG: f64 = 1.0;

impl Factor {
    /// The word in tables.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Noise => "noise_px",
            Self::Missed => "missed_and_spurious",
            Self::Overlap => "overlap",
            Self::Rotation => "rotation_deg",
            Self::Mirrored => "mirrored_rotation_deg",
            Self::HalfAndMissed => "half_outside_and_missed",
            Self::MissedOriented => "missed_and_spurious_oriented",
            Self::HalfAndMissedOriented => "half_outside_and_missed_oriented",
            Self::OtherWell => "other_well",
            Self::OtherWellOriented => "other_well_oriented",
            Self::Neighbour => "neighbouring_field",
            Self::NeighbourOriented => "neighbouring_field_oriented",
        }
    }

    /// Whether there is something to find.
    pub const fn is_related(self) -> bool {
        !matches!(self, Self::OtherWell | Self::OtherWellOriented | Self::Neighbour | Self::NeighbourOriented)
    }

    /// Whether the registration is told how the moving image lies in the reference, give or take a degree.
    pub const fn is_oriented(self) -> bool {
        matches!(
            self,
            Self::MissedOriented
                | Self::HalfAndMissedOriented
                | Self::OtherWellOriented
                | Self::NeighbourOriented
        )
    }
}

/// Standard deviations of the noise that are usually tried, in px of each view.
pub const NOISE_PX: [f64; 6] = [0.0, 0.5, 1.0, 2.0, 3.0, 5.0];

/// The cells of related fields for a number of nuclei in the reference.
pub fn related_cells(n: usize, noise_px: &[f64]) -> Vec<UnknownCell> {
    let usual = Scene { n, ..Scene::default() };
    let cells = |factor: Factor, values: &[f64]| -> Vec<UnknownCell> {
        let scene = |value: f64| match factor {
            Factor::Noise => Scene { noise_px: [value; 2], ..usual },
            Factor::Missed => Scene { missed: value, spurious: value, ..usual },
            Factor::Overlap => Scene { overlap: value, ..usual },
            Factor::Mirrored => Scene { theta_deg: value, mirrored: true, ..usual },
            Factor::HalfAndMissed => Scene { overlap: 0.5, missed: value, spurious: value, ..usual },
            _ => Scene { theta_deg: value, ..usual },
        };
        values.iter().map(|&value| UnknownCell { factor, value, scene: scene(value) }).collect()
    };
    [
        cells(Factor::Noise, noise_px),
        cells(Factor::Missed, &[0.0, 0.1, 0.2, 0.3, 0.4]),
        cells(Factor::Overlap, &[1.0, 0.75, 0.5, 0.25]),
        cells(Factor::Rotation, &[0.0, 8.0, 45.0, 90.0, 178.0]),
        cells(Factor::Mirrored, &[0.0, 90.0, 178.0]),
        cells(Factor::HalfAndMissed, &[0.2, 0.3]),
    ]
    .concat()
}

/// The cells of unrelated fields: those of two wells, and neighbours in one.
pub fn unrelated_cells(n: usize) -> Vec<UnknownCell> {
    let (other, neighbour) = (unrelated(n, Factor::OtherWell, 0.0), Factor::Neighbour);
    vec![other, unrelated(n, neighbour, 0.1), other, unrelated(n, neighbour, 0.5)]
}

/// Fields a gap apart, in sides of the finer one.
fn unrelated(n: usize, factor: Factor, gap: f64) -> UnknownCell {
    UnknownCell { factor, value: gap, scene: Scene { n, overlap: 0.0 - gap, ..Scene::default() } }
}

/// The cells of related fields whose orientation is known.
pub fn oriented_cells(n: usize) -> Vec<UnknownCell> {
    let usual = Scene { n, ..Scene::default() };
    let cell = |factor: Factor, value: f64, overlap: f64| {
        let scene = Scene { missed: value, spurious: value, overlap, ..usual };
        UnknownCell { factor, value, scene }
    };
    let missed = [0.3, 0.4, 0.5].map(|value| cell(Factor::MissedOriented, value, 1.0));
    let half = [0.2, 0.3].map(|value| cell(Factor::HalfAndMissedOriented, value, 0.5));
    [missed.to_vec(), half.to_vec()].concat()
}

/// The cells of unrelated fields whose orientation is thought to be known.
pub fn unrelated_oriented_cells(n: usize) -> Vec<UnknownCell> {
    vec![unrelated(n, Factor::OtherWellOriented, 0.0), unrelated(n, Factor::NeighbourOriented, 0.1)]
}

/// What came of one pair of fields.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct UnknownTrial {
    /// Points of the moving field.
    pub n_moving: usize,
    /// Points of the reference field.
    pub n_reference: usize,
    /// Whether a transform was taken for true.
    pub is_accepted: bool,
    /// Whether it is: off by no more than a pixel, or than three times the error that the true pairs would give, and
    /// mirrored where the field is.
    pub is_right: bool,
    /// Decimal logarithm of how many transforms would agree as well by chance.
    pub log10_chance: Option<f64>,
    /// Root mean square distance between found and true transform over the moving points, in px of the reference.
    pub tre_px: Option<f64>,
    /// The same for the least squares over the true pairs.
    pub tre_true_pairs_px: Option<f64>,
    /// Share of the pairs found that are true.
    pub precision: Option<f64>,
    /// Share of the true pairs that were found.
    pub recall: Option<f64>,
    /// Making both fields ready.
    #[serde(skip)]
    pub taken_ready: Cost,
    /// Matching and fitting.
    #[serde(skip)]
    pub taken_match: Cost,
}

impl UnknownCell {
    /// Draws the scene of a seed and registers it.
    ///
    /// # Errors
    /// Points that no field is made of.
    pub fn run(&self, seed: u64, meter: &mut impl Meter) -> Result<UnknownTrial, FieldError> {
        let scene = Scene { seed, ..self.scene };
        let views = scene.views();
        let (fields, taken_ready) = meter
            .measure(|| Ok::<_, FieldError>([Field::new(&views.moving)?, Field::new(&views.reference)?]));
        let [moving, reference] = fields?;
        let orientation = Orientation {
            rotation_rad: (scene.theta_deg - ORIENTATION_ERROR_DEG).to_radians(),
            mirrored: scene.mirrored,
        };
        let settings = Settings {
            scale_prior: Some(NOMINAL_SCALE),
            orientation_prior: self.factor.is_oriented().then_some(orientation),
            ..Settings::default()
        };
        let (found, taken_match) = meter.measure(|| register(&moving, &reference, &settings, &mut ()));
        let floor = (scene.overlap > 0.0).then(|| error_of_true_pairs(&views, scene.mirrored)).flatten();
        let unknown = UnknownTrial {
            n_moving: moving.len(),
            n_reference: reference.len(),
            is_accepted: false,
            is_right: false,
            log10_chance: None,
            tre_px: None,
            tre_true_pairs_px: floor,
            precision: None,
            recall: None,
            taken_ready,
            taken_match,
        };
        Ok(match found {
            Ok(found) => judged(unknown, &found, &views, scene.mirrored),
            Err(refusal) => UnknownTrial { log10_chance: refusal.log10_chance(), ..unknown },
        })
    }
}

fn judged(unknown: UnknownTrial, found: &Registration, views: &Views, mirrored: bool) -> UnknownTrial {
    let tre_px = error(views, &found.fit.reference_from_moving);
    let limit = unknown.tre_true_pairs_px.map(|floor| ERROR_MAX_PX.max(ERROR_MAX_FACTOR * floor));
    let truth: std::collections::HashSet<_> = views.pairs.iter().collect();
    let n_true = found.pairs.iter().filter(|pair| truth.contains(pair)).count() as f64;
    let share = |n: usize| (n > 0).then(|| n_true / n as f64);
    UnknownTrial {
        is_accepted: true,
        is_right: found.mirrored == mirrored && limit.is_some_and(|limit| tre_px <= limit),
        log10_chance: Some(found.log10_chance),
        tre_px: Some(tre_px),
        precision: share(found.pairs.len()),
        recall: share(views.pairs.len()),
        ..unknown
    }
}

fn error(views: &Views, map: &Affine) -> f64 {
    let square = |point: &[f64; 2]| {
        let [[x, y], [u, v]] = [map.apply(*point), views.reference_from_moving.apply(*point)];
        (x - u).powi(2) + (y - v).powi(2)
    };
    (views.moving.iter().map(square).sum::<f64>() / views.moving.len().max(1) as f64).sqrt()
}

/// What least squares over the true pairs are off by; `None` where they are too few.
fn error_of_true_pairs(views: &Views, mirrored: bool) -> Option<f64> {
    let places = views.pairs.iter().map(|&(m, r)| (views.moving[m], views.reference[r]));
    let (from, to): (Vec<_>, Vec<_>) = places.unzip();
    let fit = fit_pairs(&from, &to, &FitSettings { mirrored, ..FitSettings::default() }).ok()?;
    Some(error(views, &fit.reference_from_moving))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_related_is_found_and_what_is_not_is_refused() {
        let usual =
            related_cells(1200, &NOISE_PX).into_iter().find(|cell| cell.factor == Factor::Overlap).unwrap();
        let trial = usual.run(5, &mut ()).unwrap();
        assert!(trial.is_accepted && trial.is_right, "{trial:?}");
        assert!(trial.precision.unwrap() > 0.9 && trial.recall.unwrap() > 0.9);
        let oriented = oriented_cells(1200)[1].run(5, &mut ()).unwrap();
        assert!(oriented.is_accepted && oriented.is_right, "{oriented:?}");
        for cell in [unrelated_cells(1200), unrelated_oriented_cells(1200)].concat() {
            let trial = cell.run(5, &mut ()).unwrap();
            assert!(!trial.is_accepted && !trial.is_right && trial.tre_px.is_none(), "{cell:?}: {trial:?}");
            assert!(trial.n_moving > 30, "a neighbour has nuclei, too: {trial:?}");
        }
    }

    #[test]
    fn a_transform_that_is_off_is_not_right() {
        let views = Scene { n: 800, ..Scene::default() }.views();
        let off = Affine::similarity(1.0, 0.0, false, [5.0, 0.0]).after(&views.reference_from_moving);
        assert!((error(&views, &off) - 5.0).abs() < 1e-9);
        assert!(error_of_true_pairs(&views, false).unwrap() < 0.4);
    }
}

//! Where does one field of nuclei lie in another? Points are matched without knowing which belongs to which, and
//! unrelated fields are refused.
//!
//! *Moving* is the finer field (40x), *reference* its overview (10x). Points are `[x, y]` in pixels of their image,
//! origin at the centre of the first pixel.
//!
//! Each triangle of a Delaunay triangulation and the three corners around it make a description that neither shift,
//! rotation nor scale changes (`descriptors`). Descriptions that resemble one another propose a transform, which
//! has to prove itself on ever more points around (`search`), until the whole field agrees better than chance could
//! (`agreement`). Where that fails and scale and orientation are known, points vote for the shift
//! (`votes`); where the shift is known nearly, too, few nuclei suffice (`nearby`), and fields of one well tell it of one
//! another ([`well`]). Then the pairs are told from accidental neighbours (`refinement`) and fitted ([`fit`]).

mod agreement;
mod cells;
mod chance;
mod choice;
mod descriptors;
mod estimate;
mod field;
pub mod fit;
mod kd_tree;
mod meter;
pub mod models;
mod nearby;
mod places;
mod refinement;
mod search;
mod triangulation;
mod votes;
mod warp;
pub mod well;

use crate::geometry::Affine;

pub use cells::{Cell, CellPair, PointPair, one_pair_per_cell, pairs_from_bytes, pairs_to_bytes};
pub use choice::{simplest_model, widest_model};
pub use estimate::mirrored_pairs;
pub use field::{COORDINATE_MAX_PX, Field, FieldError, N_POINTS_MAX};
pub use fit::{Fit, FitCosts, FitError, FitSettings, Prepared};
pub use meter::{Cost, Meter};
pub use models::Model;
pub use warp::{Warp, residual_warp};

use refinement::Pairing;
use search::Found;

/// What a registration looks for.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Settings {
    /// Reference pixels per moving pixel, where it is known: micrometres per moving pixel by micrometres per
    /// reference pixel. The true one may be up to 10 % away.
    pub scale_prior: Option<f64>,
    /// How the moving image lies in the reference, where it is known. With a scale prior that is right within 1.5 % as
    /// well, fields of which much was missed are found by their shift alone, after the descriptions have failed.
    pub orientation_prior: Option<Orientation>,
    /// Which transform, within which bounds, how large residuals count. Whether it is mirrored is found out.
    pub fit: FitSettings,
    /// Whether the pairs choose the model instead of [`FitSettings::model`]: the simplest that they do not speak against
    /// ([`simplest_model`]); with bounds none but those that have a scale and a rotation.
    pub choose_model: bool,
    /// Whether a residual warp is looked for behind the transform ([`residual_warp`]).
    pub warp: bool,
}

/// How one image lies in another.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Orientation {
    /// Rotation in radians from x towards y, after the mirror; right within 3 degrees.
    pub rotation_rad: f64,
    /// Whether x is mirrored first.
    pub mirrored: bool,
}

/// Where a field is expected in another.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Expected {
    /// From moving to reference px: a similarity, right but for a shift and the tolerances below.
    pub reference_from_moving: Affine,
    /// How far off the shift may be, in px of the reference.
    pub radius_px: f64,
    /// How far off the rotation may be, in radians.
    pub rotation_tolerance_rad: f64,
    /// How far off the scale may be, as a share.
    pub scale_tolerance: f64,
}

/// Points of two fields that belong together.
#[derive(Debug, Clone, PartialEq)]
pub struct Match {
    /// Decimal logarithm of how many transforms would agree as well, were the fields unrelated.
    pub log10_chance: f64,
    /// Whether one view is the mirror image of the other.
    pub mirrored: bool,
    /// Takes points of the moving image to the reference image; by least squares over the pairs.
    pub reference_from_moving: Affine,
    /// Positions of points that are the same nucleus, `(moving, reference)`; ascending, each point at most once.
    pub pairs: Vec<(usize, usize)>,
}

/// Two fields that lie on one another.
#[derive(Debug, Clone, PartialEq)]
pub struct Registration {
    /// Decimal logarithm of how many transforms would agree as well, were the fields unrelated.
    pub log10_chance: f64,
    /// Whether one view is the mirror image of the other.
    pub mirrored: bool,
    /// Positions of points that are the same nucleus, `(moving, reference)`; ascending, each point at most once.
    pub pairs: Vec<(usize, usize)>,
    /// Which transform was fitted: that of the settings, or the one that the pairs chose.
    pub model: Model,
    /// The transform from moving to reference px, and how each optimizer got there.
    pub fit: Fit,
    /// What the parts of the fit took, by the caller's meter.
    pub costs: FitCosts,
    /// What the optics of both views bend, where it was looked for and the pairs bear it out.
    pub warp: Option<Warp>,
}

/// Why two fields are not registered.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum Refusal {
    /// A side has too few points to be told from chance.
    #[error(
        "too few points: expected at least {expected} different ones on each side, found {n_moving} and {n_reference}"
    )]
    TooFewPoints {
        /// Points needed on each side.
        expected: usize,
        /// Different points of the moving image.
        n_moving: usize,
        /// Different points of the reference image.
        n_reference: usize,
    },
    /// No transform brings more points together than chance does.
    #[error("no agreement beyond chance")]
    Unrelated {
        /// [`Match::log10_chance`] of the best transform met, where there was one.
        log10_chance: Option<f64>,
    },
    /// The pairs found do not determine the transform, or the settings of the fit contradict one another.
    #[error("the fit failed: {0}")]
    Fit(#[from] FitError),
}

impl Refusal {
    /// [`Match::log10_chance`] of the best transform met, where there was one.
    pub const fn log10_chance(&self) -> Option<f64> {
        match self {
            Self::TooFewPoints { .. } | Self::Fit(_) => None,
            Self::Unrelated { log10_chance } => *log10_chance,
        }
    }
}

/// Registers two fields: finds which points belong together, and fits the transform to them by both optimizers, which
/// start from the prior scale where there is one. The same for any order of the points.
///
/// `meter` is asked around the parts of the fit, for [`Registration::costs`] alone.
///
/// # Errors
/// Why the fields are not registered.
pub fn register(
    moving: &Field,
    reference: &Field,
    settings: &Settings,
    meter: &mut impl Meter,
) -> Result<Registration, Refusal> {
    let (found, pairing) = find(moving, reference, settings)?;
    conclude((moving, reference), &found, &pairing, settings, meter)
}

/// Looks for a field where it is expected, and fits a similarity within the tolerances. So few transforms are possible
/// there that fields of a handful of nuclei, too, are told from chance: [`Registration::log10_chance`] counts these alone.
/// Of the settings only the loss, the optimizer and the warp are obeyed. The same for any order of the points.
///
/// # Errors
/// Why the field is not registered.
pub fn register_near(
    moving: &Field,
    reference: &Field,
    expected: &Expected,
    settings: &Settings,
    meter: &mut impl Meter,
) -> Result<Registration, Refusal> {
    let [n_moving, n_reference] = [moving.len(), reference.len()];
    if n_moving.min(n_reference) < N_POINTS_MIN_NEAR {
        return Err(Refusal::TooFewPoints { expected: N_POINTS_MIN_NEAR, n_moving, n_reference });
    }
    let found = nearby::search_near(moving, reference, expected)?;
    let pairing = refinement::refine(moving, reference, &found, Model::Similarity);
    let parts = expected.reference_from_moving.decompose();
    let around = |value: f64, tolerance: f64| Some([value - tolerance, value + tolerance]);
    let mut settings = settings.clone();
    settings.fit.bounds.scale = around(parts.scale, parts.scale * expected.scale_tolerance);
    settings.fit.bounds.theta_rad = around(parts.rotation_rad, expected.rotation_tolerance_rad);
    settings.fit.start.scale = Some(parts.scale);
    settings.fit.start.rotation_rad = Some(parts.rotation_rad);
    let registration = conclude((moving, reference), &found, &pairing, &settings, meter)?;
    let middle = moving.middle();
    let [[x, y], [to_x, to_y]] =
        [registration.fit.reference_from_moving, expected.reference_from_moving].map(|map| map.apply(middle));
    // pairs may lead away from where the field was looked for
    if (x - to_x).hypot(y - to_y) > expected.radius_px + reference.spacing {
        return Err(Refusal::Unrelated { log10_chance: Some(found.agreement.log10_chance) });
    }
    Ok(registration)
}

fn conclude(
    (moving, reference): (&Field, &Field),
    found: &Found,
    pairing: &Pairing,
    settings: &Settings,
    meter: &mut impl Meter,
) -> Result<Registration, Refusal> {
    let model = pairing.model;
    let mut fit = FitSettings { model, mirrored: found.mirrored, ..settings.fit.clone() };
    fit.start.scale = fit.start.scale.or(settings.scale_prior);
    // in the fields' order, so that sums are the same for any order of the points
    let (from, to): (Vec<_>, Vec<_>) = pairing.places(moving, reference).into_iter().unzip();
    let (fit, costs) = fit::fit_pairs_measured(&from, &to, &fit, meter)?;
    Ok(Registration {
        log10_chance: found.agreement.log10_chance,
        mirrored: found.mirrored,
        pairs: pairing.positions(moving, reference),
        model,
        warp: settings.warp.then(|| residual_warp(&from, &to, &fit.reference_from_moving)).flatten(),
        fit,
        costs,
    })
}

/// Finds which points of two fields belong together. The same for any order of the points.
///
/// # Errors
/// Why the fields are not registered.
pub fn match_fields(moving: &Field, reference: &Field, settings: &Settings) -> Result<Match, Refusal> {
    let (found, pairing) = find(moving, reference, settings)?;
    Ok(Match {
        log10_chance: found.agreement.log10_chance,
        mirrored: found.mirrored,
        reference_from_moving: pairing.reference_from_moving,
        pairs: pairing.positions(moving, reference),
    })
}

/// The points of a description: fewer make none.
const N_POINTS_MIN: usize = 6;
/// Where a field is expected: fewer would not be told from chance whatever they do.
const N_POINTS_MIN_NEAR: usize = 4;

fn find(moving: &Field, reference: &Field, settings: &Settings) -> Result<(Found, Pairing), Refusal> {
    let [n_moving, n_reference] = [moving.len(), reference.len()];
    if n_moving.min(n_reference) < N_POINTS_MIN {
        return Err(Refusal::TooFewPoints { expected: N_POINTS_MIN, n_moving, n_reference });
    }
    let found = search::search(moving, reference, settings)?;
    let pairing = if settings.choose_model {
        refinement::refine_chosen(moving, reference, &found, &settings.fit)
    } else {
        refinement::refine(moving, reference, &found, settings.fit.model)
    };
    Ok((found, pairing))
}

#[cfg(test)]
mod tests;

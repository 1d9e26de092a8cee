//! Fits a transform to point pairs by both optimizers and, where there is one, by the closed form.

mod findings;
mod frame;
mod prepared;

use serde::{Deserialize, Serialize};

use super::meter::{Cost, Meter};
use super::models::Model;
use crate::analysis::optimizers::{Examination, LossKind, OptimizerError, Report};
use crate::geometry::Affine;

pub use findings::{FINDINGS, FINDINGS_COMMAND, Finding, Place};
pub use prepared::Prepared;

/// Most pairs of a fit, 10 million.
pub const N_PAIRS_MAX: usize = 10_000_000;

/// What is fitted and how. The default is a similarity by least squares without bounds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct FitSettings {
    /// Which transforms are searched.
    pub model: Model,
    /// Whether the moving image is seen in a mirror: its x is mirrored first.
    pub mirrored: bool,
    /// How much a large residual counts. With Tukey's loss both optimizers start where Levenberg-Marquardt ends with
    /// the Cauchy loss of the same scale; those passes are not counted.
    pub loss: LossKind,
    /// Distance in px of the reference image at which a robust loss starts to differ from least squares; above 0,
    /// default 3.
    pub loss_scale_px: f64,
    /// The box that scale and rotation stay within.
    pub bounds: FitBounds,
    /// Where the optimizers start.
    pub start: FitStart,
    /// Whose solution is the transform.
    pub optimizer: OptimizerChoice,
    /// Points of each optimizer's trace to keep; default 0.
    pub n_trace_points: usize,
}

impl Default for FitSettings {
    fn default() -> Self {
        Self {
            model: Model::Similarity,
            mirrored: false,
            loss: LossKind::Linear,
            loss_scale_px: 3.0,
            bounds: FitBounds::default(),
            start: FitStart::default(),
            optimizer: OptimizerChoice::Auto,
            n_trace_points: 0,
        }
    }
}

/// A box around scale and rotation; not for the affine model, which has neither as a parameter.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct FitBounds {
    /// Least and greatest scale in px of the reference per px of the moving image; for the anisotropic model both
    /// scales.
    pub scale: Option<[f64; 2]>,
    /// Least and greatest rotation in radians, from x towards y, after the mirror.
    pub theta_rad: Option<[f64; 2]>,
}

/// What is known before the fit. Without a shift, the centroids of the clouds start on one another.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct FitStart {
    /// Scale in px of the reference per px of the moving image: the ratio of the pixel sizes. Without it, the ratio
    /// of the root mean square radii.
    pub scale: Option<f64>,
    /// Rotation in radians. Without it, the one of eight directions that is nearest to the least squares rotation.
    pub rotation_rad: Option<f64>,
    /// Where the moving centroid starts, in px of the reference from the reference's centroid.
    pub shift_px: [f64; 2],
}

/// Whose solution becomes the transform; both optimizers run in any case.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OptimizerChoice {
    /// That of the optimizer that the benchmark recommends for this kind of problem ([`FINDINGS`]), unless the other one
    /// reaches a cost that is lower by more than rounding.
    #[default]
    Auto,
    /// That of Levenberg-Marquardt.
    LevenbergMarquardt,
    /// That of L-BFGS-B.
    Lbfgsb,
}

/// What led to the optimizer whose solution is the transform.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ChosenBy {
    /// The settings name it.
    Setting,
    /// What the benchmark found for problems of this kind.
    Benchmark,
    /// The cost that it reaches: the other one was to be taken, but ends higher by more than rounding, or nowhere.
    Cost,
}

/// A way to a transform.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Method {
    /// Least squares, computed directly.
    ClosedForm,
    /// L-BFGS-B.
    Lbfgsb,
    /// Levenberg-Marquardt.
    Lm,
}

/// A transform fitted to point pairs.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Fit {
    /// The transform that `chosen` found.
    pub reference_from_moving: Affine,
    /// Root mean square distance over all pairs in px of the reference.
    pub rmsd_px: f64,
    /// Whose transform it is: an optimizer's, by [`FitSettings::optimizer`]; that of the closed form only where neither
    /// optimizer ends at a finite cost.
    pub chosen: Method,
    /// What led to it.
    pub chosen_by: ChosenBy,
    /// What the benchmark found for problems of this kind.
    #[serde(skip)]
    pub finding: &'static Finding,
    /// Greatest distance in px of the reference between where both optimizers put one of the moving points; none where
    /// one of them ends nowhere.
    pub optimizers_apart_px: Option<f64>,
    /// Pairs that were used.
    pub n_pairs: usize,
    /// The least squares transform, whatever the loss and without bounds; `None` where the pairs do not determine one.
    pub closed_form: Option<ClosedForm>,
    /// What L-BFGS-B found.
    pub lbfgsb: OptimizedFit,
    /// What Levenberg-Marquardt found.
    pub lm: OptimizedFit,
}

/// A least squares transform, computed directly.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ClosedForm {
    /// The transform.
    pub reference_from_moving: Affine,
    /// Its parameters in px and radians; see [`Model::parameter_names`].
    pub parameters: Vec<f64>,
    /// Root mean square distance over all pairs in px of the reference.
    pub rmsd_px: f64,
}

/// What one optimizer found.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct OptimizedFit {
    /// The transform.
    pub reference_from_moving: Affine,
    /// Its parameters in px and radians; see [`Model::parameter_names`].
    pub parameters: Vec<f64>,
    /// Standard errors of the parameters; `None` where the pairs do not determine them or leave nothing to estimate
    /// them from.
    pub standard_errors: Option<Vec<f64>>,
    /// Root mean square distance over all pairs in px of the reference.
    pub rmsd_px: f64,
    /// Passes, iterations, stop reason, and the result in normalised coordinates.
    pub report: Report,
    /// The result as the referee sees it, in normalised coordinates.
    pub examination: Examination,
}

/// Pairs or settings that nothing can be fitted to.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum FitError {
    /// Two lists of different length.
    #[error(
        "expected as many reference points as moving points, found {n_moving} moving and {n_reference} reference points"
    )]
    Lengths {
        /// Moving points.
        n_moving: usize,
        /// Reference points.
        n_reference: usize,
    },
    /// Too few or too many pairs.
    #[error("expected {expected} to {N_PAIRS_MAX} pairs, found {found}")]
    Pairs {
        /// Least number for the model.
        expected: usize,
        /// Pairs found.
        found: usize,
    },
    /// A coordinate that is not a finite number, or so large that its square is not.
    #[error("expected finite coordinates, found others in pair {index}")]
    Coordinate {
        /// Position of the pair.
        index: usize,
    },
    /// All moving or all reference points in one place.
    #[error("expected points that differ, all {which} points are in one place")]
    Coincident {
        /// `moving` or `reference`.
        which: &'static str,
    },
    /// A setting outside its range.
    #[error("expected {what}")]
    Setting {
        /// What was expected.
        what: &'static str,
    },
    /// The cost or its derivatives overflow, for both optimizers.
    #[error("the cost is no finite number: the coordinates or the loss scale are too large or too small")]
    NotFinite,
    /// The optimizers refused the problem.
    #[error(transparent)]
    Optimizer(#[from] OptimizerError),
}

/// What the parts of a fit took, by the caller's meter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct FitCosts {
    /// The closed form.
    pub closed_form: Cost,
    /// L-BFGS-B.
    pub lbfgsb: Cost,
    /// Levenberg-Marquardt.
    pub lm: Cost,
}

/// Fits a transform that maps `moving[i]` onto `reference[i]`, both `[x, y]` in px.
///
/// # Errors
/// [`FitError`] for lists of different length, too few or too many pairs, coordinates that are not finite or all the
/// same, and settings outside their ranges. An optimizer that does not converge says so in its stop reason.
///
/// # References
/// Umeyama, Least-squares estimation of transformation parameters between two point patterns, IEEE PAMI 13(4), 1991
/// (closed form of the similarity, in two dimensions and with the mirror given).
pub fn fit_pairs(
    moving: &[[f64; 2]],
    reference: &[[f64; 2]],
    settings: &FitSettings,
) -> Result<Fit, FitError> {
    fit_pairs_measured(moving, reference, settings, &mut ()).map(|(fit, _)| fit)
}

/// Does what [`fit_pairs`] does and tells what each part took by `meter`.
///
/// # Errors
/// As [`fit_pairs`].
pub fn fit_pairs_measured(
    moving: &[[f64; 2]],
    reference: &[[f64; 2]],
    settings: &FitSettings,
    meter: &mut impl Meter,
) -> Result<(Fit, FitCosts), FitError> {
    let (prepared, closed_form) = Prepared::new(moving, reference, settings, meter)?;
    let (lbfgsb, cost_lbfgsb) = meter.measure(|| prepared.lbfgsb());
    let (lm, cost_lm) = meter.measure(|| prepared.lm());
    let costs = FitCosts { closed_form, lbfgsb: cost_lbfgsb, lm: cost_lm };
    Ok((prepared.conclude(lbfgsb?, lm?)?, costs))
}

/// Root mean square distance between mapped moving points and reference points, in px of the reference; 0 for none.
pub fn rmsd(moving: &[[f64; 2]], reference: &[[f64; 2]], reference_from_moving: &Affine) -> f64 {
    let square = |(from, to): (&[f64; 2], &[f64; 2])| {
        let [x, y] = reference_from_moving.apply(*from);
        (x - to[0]).powi(2) + (y - to[1]).powi(2)
    };
    let sum: f64 = moving.iter().zip(reference).map(square).sum();
    (sum / moving.len().max(1) as f64).sqrt()
}

/// Greatest distance between the images of points under two maps, in px of the reference; none where it is no number.
fn apart_px(moving: &[[f64; 2]], [one, other]: [&Affine; 2]) -> Option<f64> {
    let distance = |point: &[f64; 2]| {
        let ([x, y], [u, v]) = (one.apply(*point), other.apply(*point));
        (x - u).hypot(y - v)
    };
    let greatest =
        moving.iter().map(distance).fold(0.0, |most: f64, next| if next > most { next } else { most });
    (one.is_finite() && other.is_finite()).then_some(greatest)
}

fn check(moving: &[[f64; 2]], reference: &[[f64; 2]], settings: &FitSettings) -> Result<(), FitError> {
    let (n_moving, n_reference) = (moving.len(), reference.len());
    if n_moving != n_reference {
        return Err(FitError::Lengths { n_moving, n_reference });
    }
    let expected = settings.model.n_pairs_min();
    if !(expected..=N_PAIRS_MAX).contains(&n_moving) {
        return Err(FitError::Pairs { expected, found: n_moving });
    }
    let is_fit = |[x, y]: &[f64; 2]| x.abs() <= COORDINATE_MAX && y.abs() <= COORDINATE_MAX;
    if let Some(index) = moving.iter().zip(reference).position(|(m, r)| !is_fit(m) || !is_fit(r)) {
        return Err(FitError::Coordinate { index });
    }
    let FitSettings { bounds, start, .. } = settings;
    let is_ordered = |[least, greatest]: [f64; 2]| least <= greatest && greatest - least < f64::INFINITY;
    let is_scale = |scale: f64| scale > 0.0 && scale.is_finite();
    let rules = [
        (
            settings.loss_scale_px > 0.0 && settings.loss_scale_px <= COORDINATE_MAX,
            "a loss scale above 0 px, at most 1e100 px",
        ),
        (
            bounds.scale.is_none_or(|range| is_ordered(range) && is_scale(range[0])),
            "finite bounds of the scale above 0, the lower one first",
        ),
        (bounds.theta_rad.is_none_or(is_ordered), "finite bounds of the rotation, the lower one first"),
        (
            settings.model != Model::Affine || *bounds == FitBounds::default(),
            "no bounds of scale and rotation for the affine model",
        ),
        (start.scale.is_none_or(is_scale), "a finite scale above 0 to start from"),
        (start.rotation_rad.is_none_or(f64::is_finite), "a finite rotation to start from"),
        (start.shift_px.iter().all(|shift| shift.abs() <= COORDINATE_MAX), "a finite shift to start from"),
    ];
    rules.into_iter().find(|(holds, _)| !holds).map_or(Ok(()), |(_, what)| Err(FitError::Setting { what }))
}

/// Greatest coordinate in px, either sign, and greatest loss scale.
pub const COORDINATE_MAX: f64 = 1e100;

#[cfg(test)]
mod tests;

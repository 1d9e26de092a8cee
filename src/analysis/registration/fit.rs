//! Fits a transform to point pairs by both optimizers and, where there is one, by the closed form.

use serde::{Deserialize, Serialize};

use super::models::Model;
use crate::analysis::optimizers::{LossKind, OptimizerError, Report};
use crate::geometry::Affine;

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
    /// How much a large residual counts.
    pub loss: LossKind,
    /// Distance in px of the reference image at which a robust loss starts to differ from least squares; above 0,
    /// default 3.
    pub loss_scale_px: f64,
    /// The box that scale and rotation stay within.
    pub bounds: FitBounds,
    /// Where the optimizers start.
    pub start: FitStart,
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

/// What is known before the fit. The centroids of the clouds start on one another.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct FitStart {
    /// Scale in px of the reference per px of the moving image: the ratio of the pixel sizes. Without it, the ratio
    /// of the root mean square radii.
    pub scale: Option<f64>,
    /// Rotation in radians. Without it, the one of eight directions that is nearest to the least squares rotation.
    pub rotation_rad: Option<f64>,
}

/// A transform fitted to point pairs.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Fit {
    /// The better of both optimizers' transforms (by cost; Levenberg-Marquardt's where equal).
    pub reference_from_moving: Affine,
    /// Root mean square distance over all pairs in px of the reference.
    pub rmsd_px: f64,
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
    /// The optimizers refused the problem.
    #[error(transparent)]
    Optimizer(#[from] OptimizerError),
}

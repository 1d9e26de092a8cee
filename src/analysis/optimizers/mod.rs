//! Two optimizers for nonlinear least squares with few parameters, made to be compared: L-BFGS-B and
//! Levenberg-Marquardt.
//!
//! Both see the same [`Residuals`] through the same robust [`Loss`], count passes over the data the same way, keep
//! parameters within the same [`Bounds`] and name why they stopped; their results are examined by the same [`referee`]. What they need they allocate before the first step.
//!
//! The cost is `1/2 sum c^2 rho(|r_b|^2 / c^2)` over blocks `r_b` of residuals, `c` being the loss's scale; for the
//! linear loss it is half the sum of squares.

pub mod lbfgsb;
pub mod levenberg_marquardt;
mod loss;
mod objective;
mod qr;
pub mod referee;
#[cfg(test)]
mod tests;
mod trace;

use serde::Serialize;

pub use lbfgsb::LbfgsbSettings;
pub use levenberg_marquardt::LevenbergMarquardtSettings;
pub use loss::{Loss, LossKind};
pub use referee::{Examination, examine};
pub use trace::{Trace, TracePoint};

/// Most parameters a problem may have, 1,000; a refusal before anything is allocated for it.
pub const N_PARAMETERS_MAX: usize = 1_000;
/// Most residuals a problem may have, 100 million; a refusal before anything is allocated for it.
pub const N_RESIDUALS_MAX: usize = 100_000_000;

/// Residuals as a function of few parameters, with their derivatives.
pub trait Residuals {
    /// How many parameters there are; the same in every call, 1 or more.
    fn n_parameters(&self) -> usize;

    /// How many residuals there are; the same in every call, 1 or more.
    fn n_residuals(&self) -> usize;

    /// How many neighbouring residuals a robust loss sees as one length: 2 for the x and y of a point pair. Divides
    /// the number of residuals.
    fn block_len(&self) -> usize {
        1
    }

    /// Writes all residuals: one pass over the data.
    fn residuals(&self, parameters: &[f64], residuals: &mut [f64]);

    /// Writes as many rows of the Jacobian as fit into `columns`, from `first_row` on, column after column: of `m` rows
    /// the element `i + j m` is the derivative of residual `first_row + i` by parameter `j`. A pass over the data calls
    /// this for one stretch of rows after the other; a stretch holds whole blocks.
    fn jacobian_columns(&self, parameters: &[f64], first_row: usize, columns: &mut [f64]);

    /// Writes the product of the transposed Jacobian with residuals, where there is a shorter way than through the
    /// columns; says whether there is. One pass over the data.
    fn gradient(&self, _parameters: &[f64], _residuals: &[f64], _gradient: &mut [f64]) -> bool {
        false
    }

    /// Writes few rows with the same triangle as the Jacobian and the same product with what stands in `right_side`,
    /// where there is a shorter way to them that is as sound: column after column, as many rows as are returned and
    /// `right_side` has room for. Returns 0 where there is none. One pass over the data.
    fn compress(
        &self,
        _parameters: &[f64],
        _residuals: &[f64],
        _columns: &mut [f64],
        _right_side: &mut [f64],
    ) -> usize {
        0
    }
}

/// A box that parameters stay within; infinite where there is no bound.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Bounds {
    /// Least value of each parameter.
    pub lower: Vec<f64>,
    /// Greatest value of each parameter.
    pub upper: Vec<f64>,
}

impl Bounds {
    /// No bound on any of `n` parameters.
    pub fn none(n: usize) -> Self {
        Self { lower: vec![f64::NEG_INFINITY; n], upper: vec![f64::INFINITY; n] }
    }

    /// Moves a point into the box.
    pub(crate) fn project(&self, parameters: &mut [f64]) {
        for ((value, lower), upper) in parameters.iter_mut().zip(&self.lower).zip(&self.upper) {
            *value = value.max(*lower).min(*upper);
        }
    }

    /// What moving along `-gradient` by one unit and back into the box changes at most in any parameter: 0 at a
    /// stationary point.
    pub(crate) fn projected_gradient_max(&self, parameters: &[f64], gradient: &[f64]) -> f64 {
        let mut greatest = 0.0_f64;
        for (index, (&value, &slope)) in parameters.iter().zip(gradient).enumerate() {
            let room = if slope < 0.0 { value - self.upper[index] } else { value - self.lower[index] };
            let step = if slope < 0.0 { slope.max(room) } else { slope.min(room) };
            greatest = greatest.max(step.abs());
        }
        greatest
    }
}

/// Why an optimizer stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum StopReason {
    /// The projected gradient is small enough (LM: its cosine with the residuals).
    Gradient,
    /// The cost fell by less than the tolerance asks for.
    Cost,
    /// The step is small beside the parameters.
    Step,
    /// The residuals are all zero.
    ExactFit,
    /// Rounding errors leave nothing to gain; the result is as good as the numbers allow.
    Rounding,
    /// The line search found no lower cost, also after the memory was dropped.
    LineSearch,
    /// All passes that were allowed are used up.
    Passes,
    /// A residual or derivative at the start is not a finite number.
    NotFinite,
}

impl StopReason {
    /// Whether a tolerance was reached: the result is a stationary point as far as the numbers tell.
    pub const fn is_converged(self) -> bool {
        matches!(self, Self::Gradient | Self::Cost | Self::Step | Self::ExactFit | Self::Rounding)
    }

    /// The reason in one word, as reports write it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Gradient => "gradient",
            Self::Cost => "cost",
            Self::Step => "step",
            Self::ExactFit => "exact_fit",
            Self::Rounding => "rounding",
            Self::LineSearch => "line_search",
            Self::Passes => "passes",
            Self::NotFinite => "not_finite",
        }
    }
}

/// What an optimizer found and what that took.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Report {
    /// The best parameters met; never outside the bounds.
    pub parameters: Vec<f64>,
    /// The cost there.
    pub cost: f64,
    /// Passes over the data that computed residuals.
    pub n_residual_passes: u32,
    /// Passes over the data that computed derivatives.
    pub n_jacobian_passes: u32,
    /// Steps taken.
    pub n_iterations: u32,
    /// Why it ended.
    pub stop_reason: StopReason,
    /// Every point where residuals were computed, in order, where a trace was asked for; else empty.
    pub trace: Trace,
}

/// A problem that cannot be started on.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OptimizerError {
    /// No parameters or no residuals, or too many of either.
    #[error(
        "expected 1 to {N_PARAMETERS_MAX} parameters and 1 to {N_RESIDUALS_MAX} residuals, found {n_parameters} and {n_residuals}"
    )]
    Size {
        /// Parameters of the problem.
        n_parameters: usize,
        /// Residuals of the problem.
        n_residuals: usize,
    },
    /// The length of a block does not divide the number of residuals.
    #[error("expected blocks that divide {n_residuals} residuals, found blocks of {block_len}")]
    Block {
        /// Residuals of the problem.
        n_residuals: usize,
        /// Residuals of a block.
        block_len: usize,
    },
    /// Start or bounds have another length than the problem has parameters.
    #[error("expected {expected} values for the start and for each bound, found {found}")]
    Length {
        /// Parameters of the problem.
        expected: usize,
        /// Values found.
        found: usize,
    },
    /// A start that is not a finite number.
    #[error("expected a finite start for parameter {index}")]
    Start {
        /// Position of the parameter.
        index: usize,
    },
    /// A bound that is not a number, or a lower one above the upper one.
    #[error("expected a lower bound at or below the upper one for parameter {index}")]
    Bounds {
        /// Position of the parameter.
        index: usize,
    },
    /// A scale of the loss that is not above 0, or a tolerance that is negative.
    #[error("expected {what}")]
    Setting {
        /// What was expected.
        what: &'static str,
    },
}

/// Checks everything that a caller may get wrong, before anything is allocated.
fn check(
    residuals: &impl Residuals,
    loss: Loss,
    start: &[f64],
    bounds: &Bounds,
) -> Result<(), OptimizerError> {
    let (n, m) = (residuals.n_parameters(), residuals.n_residuals());
    if n == 0 || m == 0 || n > N_PARAMETERS_MAX || m > N_RESIDUALS_MAX {
        return Err(OptimizerError::Size { n_parameters: n, n_residuals: m });
    }
    let block_len = residuals.block_len();
    if block_len == 0 || m % block_len != 0 {
        return Err(OptimizerError::Block { n_residuals: m, block_len });
    }
    for found in [start.len(), bounds.lower.len(), bounds.upper.len()] {
        if found != n {
            return Err(OptimizerError::Length { expected: n, found });
        }
    }
    if let Some(index) = start.iter().position(|value| !value.is_finite()) {
        return Err(OptimizerError::Start { index });
    }
    let fits = |index: usize| {
        let (lower, upper) = (bounds.lower[index], bounds.upper[index]);
        lower <= upper && lower < f64::INFINITY && upper > f64::NEG_INFINITY
    };
    if let Some(index) = (0..n).find(|index| !fits(*index)) {
        return Err(OptimizerError::Bounds { index });
    }
    loss.check()
}

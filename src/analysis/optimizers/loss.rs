//! Robust losses: how much a large residual counts.

use serde::{Deserialize, Serialize};

use super::OptimizerError;

/// The shape of a loss `rho(z)`, `z` being the squared length of a block of residuals in units of the loss's scale.
/// All have `rho(z) = z` to first order, so that small residuals count as in least squares.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LossKind {
    /// `z`: least squares.
    #[default]
    Linear,
    /// `2 (sqrt(1 + z) - 1)`: smooth, grows like the length.
    SoftL1,
    /// `z` up to 1, then `2 sqrt(z) - 1` (Huber 1964).
    Huber,
    /// `ln(1 + z)`: wrong pairs hardly count.
    Cauchy,
    /// `(1 - (1 - z)^3) / 3` up to 1, then constant (Beaton and Tukey 1974): far blocks do not count at all.
    Tukey,
}

/// A loss and the length at which it starts to differ from least squares.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Loss {
    /// The shape.
    pub kind: LossKind,
    /// The scale `c` in units of the residuals; above 0. Without meaning for the linear loss.
    pub scale: f64,
}

/// A loss at one block.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct LossValue {
    /// `c^2 rho`, in squared units of the residuals.
    pub(crate) cost: f64,
    /// `rho'`: the weight of the block in the gradient, 0 to 1.
    pub(crate) weight: f64,
    /// `1 + 2 z rho'' / rho'`: curvature along the residual beside that across, 1 or less, negative beyond the
    /// point of inflection.
    pub(crate) curvature: f64,
}

impl Loss {
    /// Least squares.
    pub const LINEAR: Self = Self { kind: LossKind::Linear, scale: 1.0 };

    pub(crate) fn check(self) -> Result<(), OptimizerError> {
        let is_fit = self.kind == LossKind::Linear || (self.scale > 0.0 && self.scale.is_finite());
        let what = "a finite loss scale above 0";
        is_fit.then_some(()).ok_or(OptimizerError::Setting { what })
    }

    /// The loss of a block with this sum of squares.
    pub(crate) fn at(self, sum_of_squares: f64) -> LossValue {
        if self.kind == LossKind::Linear {
            return LossValue { cost: sum_of_squares, weight: 1.0, curvature: 1.0 };
        }
        let scale_squared = self.scale * self.scale;
        let z = sum_of_squares / scale_squared;
        let (rho, weight, curvature) = match self.kind {
            LossKind::Linear => (z, 1.0, 1.0),
            LossKind::SoftL1 => {
                let root = (1.0 + z).sqrt();
                // equal to 2 (root - 1), without cancellation for small z
                (2.0 * z / (1.0 + root), 1.0 / root, 1.0 / (1.0 + z))
            }
            LossKind::Huber if z <= 1.0 => (z, 1.0, 1.0),
            LossKind::Huber => (2.0 * z.sqrt() - 1.0, 1.0 / z.sqrt(), 0.0),
            LossKind::Cauchy => (z.ln_1p(), 1.0 / (1.0 + z), 2.0 / (1.0 + z) - 1.0),
            LossKind::Tukey if z < 1.0 => {
                let rest = 1.0 - z;
                (z * (1.0 - z + z * z / 3.0), rest * rest, 1.0 - 4.0 * z / rest)
            }
            LossKind::Tukey => (1.0 / 3.0, 0.0, 1.0),
        };
        LossValue { cost: scale_squared * rho, weight, curvature }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KINDS: [LossKind; 5] =
        [LossKind::Linear, LossKind::SoftL1, LossKind::Huber, LossKind::Cauchy, LossKind::Tukey];

    #[test]
    fn weight_and_curvature_are_the_derivatives_of_the_cost() {
        for kind in KINDS {
            let loss = Loss { kind, scale: 0.7 };
            let at = |length: f64| loss.at(length * length);
            for length in [0.02, 0.2, 0.5, 0.69, 0.9, 3.0] {
                let h = 1e-4 * length;
                let (below, here, above) = (at(length - h), at(length), at(length + h));
                let slope = (above.cost - below.cost) / (2.0 * h);
                let expected = 2.0 * here.weight * length;
                assert!((slope - expected).abs() < 1e-6 * length, "{kind:?} {length}: {slope} {expected}");
                let second = (above.weight * (length + h) - below.weight * (length - h)) / (2.0 * h);
                let expected = here.weight * here.curvature;
                assert!((second - expected).abs() < 1e-6, "{kind:?} {length}: {second} {expected}");
            }
        }
    }

    #[test]
    fn small_residuals_count_as_in_least_squares_and_none_more() {
        for kind in KINDS {
            let loss = Loss { kind, scale: 2.0 };
            assert!((loss.at(1e-12).cost / 1e-12 - 1.0).abs() < 1e-9, "{kind:?}");
            for square in [0.1, 1.0, 10.0, 1e6] {
                assert!(loss.at(square).cost <= square, "{kind:?}");
            }
        }
    }

    #[test]
    fn a_scale_must_be_a_length() {
        for scale in [0.0, -1.0, f64::NAN, f64::INFINITY] {
            assert!(Loss { kind: LossKind::Huber, scale }.check().is_err());
        }
        assert!(Loss::LINEAR.check().is_ok());
    }
}

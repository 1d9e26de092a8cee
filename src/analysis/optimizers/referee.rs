//! Looks at a result again, apart from the optimizer that found it.

use serde::Serialize;

/// What the referee finds at a result.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Examination {
    /// The cost, computed again.
    pub cost: f64,
    /// What one unit of steepest descent, cut off at the bounds, would change at most in any parameter: 0 at a
    /// stationary point.
    pub projected_gradient_max: f64,
    /// How far a parameter lies outside its bounds at most: 0 for every result of an optimizer here.
    pub bound_violation_max: f64,
    /// The covariance of the parameters, row after row; zero for those at a bound. `None` where the residuals do not
    /// determine the parameters or are no more than those.
    pub covariance: Option<Vec<f64>>,
}

//! Other people's optimizers on the same problems.

use std::convert::Infallible;

use basin::{
    BoxBounds, ConstraintDescription, ConstraintSet, Constraints, CostFunction, Executor, Gradient, Lbfgsb,
};
use levenberg_marquardt::{LeastSquaresProblem, LevenbergMarquardt};
use nalgebra::storage::Owned;
use nalgebra::{DMatrix, DVector, Dyn};

use crate::analysis::optimizers::Residuals;
use crate::problems::Case;
use crate::{Found, GRADIENT, N_PAIRS, RELATIVE_REDUCTION};

fn residuals(case: &Case, parameters: &[f64]) -> Vec<f64> {
    let mut residuals = vec![0.0; case.problem.n_residuals()];
    case.problem.residuals(parameters, &mut residuals);
    residuals
}

/// Column after column.
fn jacobian(case: &Case, parameters: &[f64]) -> Vec<f64> {
    let mut columns = vec![0.0; case.problem.n_residuals() * parameters.len()];
    case.problem.jacobian_columns(parameters, 0, &mut columns);
    columns
}

/// A problem as the referees of both kinds see it.
struct Seen<'a> {
    case: &'a Case,
    parameters: DVector<f64>,
}

impl LeastSquaresProblem<f64, Dyn, Dyn> for Seen<'_> {
    type ResidualStorage = Owned<f64, Dyn>;
    type JacobianStorage = Owned<f64, Dyn, Dyn>;
    type ParameterStorage = Owned<f64, Dyn>;

    fn set_params(&mut self, parameters: &DVector<f64>) {
        self.parameters.copy_from(parameters);
    }

    fn params(&self) -> DVector<f64> {
        self.parameters.clone()
    }

    fn residuals(&self) -> Option<DVector<f64>> {
        Some(DVector::from_vec(residuals(self.case, self.parameters.as_slice())))
    }

    fn jacobian(&self) -> Option<DMatrix<f64>> {
        let columns = jacobian(self.case, self.parameters.as_slice());
        Some(DMatrix::from_vec(self.case.problem.n_residuals(), self.parameters.len(), columns))
    }
}

/// MINPACK's lmder, as the crate `levenberg-marquardt` has it.
pub(crate) fn lm(case: &Case) -> Found {
    let seen = Seen { case, parameters: DVector::from_column_slice(&case.start) };
    let solver = LevenbergMarquardt::new()
        .with_ftol(RELATIVE_REDUCTION)
        .with_xtol(RELATIVE_REDUCTION)
        .with_gtol(RELATIVE_REDUCTION);
    let (seen, report) = solver.minimize(seen);
    Found {
        parameters: seen.parameters.as_slice().to_vec(),
        cost: report.objective_function,
        n_evaluations: report.number_of_evaluations as u64,
    }
}

impl Constraints for Seen<'_> {
    type Set = ConstraintSet<BoxBounds<Vec<f64>>>;

    fn constraints(&self) -> <Self::Set as ConstraintDescription>::Borrowed<'_> {
        let bounds = &self.case.bounds;
        ConstraintSet::new().with_bounds(BoxBounds::new(Some(&bounds.lower), Some(&bounds.upper)))
    }
}

impl CostFunction for Seen<'_> {
    type Param = Vec<f64>;
    type Output = f64;
    type Error = Infallible;

    fn cost(&self, parameters: &Vec<f64>) -> Result<f64, Infallible> {
        let residuals = residuals(self.case, parameters);
        Ok(residuals.iter().map(|residual| residual * residual).sum::<f64>() / 2.0)
    }
}

impl Gradient for Seen<'_> {
    type Gradient = Vec<f64>;

    fn gradient(&self, parameters: &Vec<f64>) -> Result<Vec<f64>, Infallible> {
        let (residuals, columns) = (residuals(self.case, parameters), jacobian(self.case, parameters));
        let slope = |column: &[f64]| residuals.iter().zip(column).map(|(r, value)| r * value).sum();
        let gradient = columns.chunks_exact(residuals.len()).map(slope).collect();
        Ok(gradient)
    }
}

/// L-BFGS-B 3.0, as the crate `basin` has it.
pub(crate) fn lbfgsb(case: &Case) -> Found {
    let seen = Seen { case, parameters: DVector::from_column_slice(&case.start) };
    let solver = Lbfgsb::new()
        .with_m_capacity(N_PAIRS)
        .with_absolute_projected_gradient_tolerance(GRADIENT)
        .with_relative_cost_reduction_tolerance(RELATIVE_REDUCTION);
    let mut start = case.start.clone();
    for ((value, lower), upper) in start.iter_mut().zip(&case.bounds.lower).zip(&case.bounds.upper) {
        *value = value.clamp(*lower, *upper);
    }
    let result = Executor::from_start(seen, solver, start).max_iter(2_000).run().expect("a sound problem");
    Found {
        parameters: result.best_param().clone(),
        cost: result.best_cost(),
        n_evaluations: result.cost_evals(),
    }
}

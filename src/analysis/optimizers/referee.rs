//! Looks at a result again, apart from the optimizer that found it.

use serde::Serialize;

use super::objective::{Objective, norm};
use super::qr::{PivotedQr, RowQr};
use super::{Bounds, Loss, LossKind, Residuals};

/// Smallest ratio of the diagonal of the triangle, columns of length 1, at which parameters count as determined.
const RANK_TOLERANCE: f64 = 1e-13;

/// Most parameters a covariance is computed for.
const N_COVARIANCE_MAX: usize = 100;

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
    /// determine the parameters or are no more than those, and beyond 100 parameters. For the linear loss it is the residual variance times
    /// the inverse of `J'J`; for the others Huber's sandwich, blocks taken as independent.
    pub covariance: Option<Vec<f64>>,
}

/// Examines `parameters`, with one residual and two Jacobian passes over code of its own as far as sums go.
pub fn examine(residuals: &impl Residuals, loss: Loss, parameters: &[f64], bounds: &Bounds) -> Examination {
    let (n, m, block_len) = (residuals.n_parameters(), residuals.n_residuals(), residuals.block_len());
    let mut values = vec![0.0; m];
    residuals.residuals(parameters, &mut values);
    let mut columns = vec![0.0; block_len * n];
    let mut cost = 0.0;
    let mut gradient = vec![0.0; n];
    // the sum of the squares of each block's gradient
    let is_robust = loss.kind != LossKind::Linear && n <= N_COVARIANCE_MAX;
    let mut scatter = vec![0.0; if is_robust { n * n } else { 0 }];
    for (index, block) in values.chunks_exact(block_len).enumerate() {
        let value = loss.at(block.iter().map(|r| r * r).sum());
        cost += value.cost / 2.0;
        residuals.jacobian_columns(parameters, index * block_len, &mut columns);
        let slopes = |j: usize| {
            let column = &columns[j * block_len..][..block_len];
            value.weight * block.iter().zip(column).map(|(residual, value)| residual * value).sum::<f64>()
        };
        for j in 0..n {
            let slope = slopes(j);
            gradient[j] += slope;
            if is_robust {
                (0..n).for_each(|k| scatter[j * n + k] += slope * slopes(k));
            }
        }
    }
    let outside = |index: usize| {
        (bounds.lower[index] - parameters[index]).max(parameters[index] - bounds.upper[index]).max(0.0)
    };
    let free: Vec<_> =
        (0..n).filter(|&i| parameters[i] > bounds.lower[i] && parameters[i] < bounds.upper[i]).collect();
    let inverse = inverse_square(residuals, loss, parameters, &free).filter(|_| m > free.len());
    let covariance = inverse.map(|inverse| {
        let surplus = (m - free.len()) as f64;
        if loss.kind == LossKind::Linear {
            let variance = 2.0 * cost / surplus;
            inverse.iter().map(|value| value * variance).collect()
        } else {
            let sandwich = product(&product(&inverse, &scatter, n), &inverse, n);
            sandwich.iter().map(|value| value * m as f64 / surplus).collect()
        }
    });
    Examination {
        cost,
        projected_gradient_max: bounds.projected_gradient_max(parameters, &gradient),
        bound_violation_max: (0..n).map(outside).fold(0.0, f64::max),
        covariance: covariance.filter(|values: &Vec<f64>| values.iter().all(|value| value.is_finite())),
    }
}

/// The inverse of `J'J` over the free parameters, zero elsewhere; `None` where they are not determined.
fn inverse_square(
    residuals: &impl Residuals,
    loss: Loss,
    parameters: &[f64],
    free: &[usize],
) -> Option<Vec<f64>> {
    let n = residuals.n_parameters();
    if n > N_COVARIANCE_MAX {
        return None;
    }
    let mut objective = Objective::new(residuals, loss, 0);
    objective.cost(parameters);
    let mut triangle = RowQr::new(n);
    objective.triangle(parameters, &mut triangle);
    if !triangle.is_finite() {
        return None;
    }
    let lengths: Vec<_> = (0..n).map(|index| norm(triangle.column(index))).collect();
    if free.iter().any(|&index| lengths[index] == 0.0) {
        return None;
    }
    (0..n).for_each(|index| triangle.scale_column(index, 1.0 / lengths[index]));
    let mut qr = PivotedQr::new(n);
    let nothing = vec![0.0; n];
    qr.factor(&triangle, free, &nothing);
    let k = free.len();
    if (0..k).any(|index| qr.at(index, index).abs() <= RANK_TOLERANCE) {
        return None;
    }
    // the columns of R^-1
    let mut columns = vec![0.0; k * k];
    for column in 0..k {
        for row in (0..=column).rev() {
            let unit = if row == column { 1.0 } else { 0.0 };
            let sum: f64 = (row + 1..=column).map(|i| qr.at(row, i) * columns[column * k + i]).sum();
            columns[column * k + row] = (unit - sum) / qr.at(row, row);
        }
    }
    let mut inverse = vec![0.0; n * n];
    for row in 0..k {
        for column in 0..k {
            let sum: f64 = (0..k).map(|i| columns[i * k + row] * columns[i * k + column]).sum();
            let (i, j) = (free[qr.pivots[row]], free[qr.pivots[column]]);
            inverse[i * n + j] = sum / lengths[i] / lengths[j];
        }
    }
    Some(inverse)
}

fn product(left: &[f64], right: &[f64], n: usize) -> Vec<f64> {
    let at = |index: usize| (0..n).map(|k| left[index / n * n + k] * right[k * n + index % n]).sum();
    (0..n * n).map(at).collect()
}

//! The cost of a problem under a loss, with the counters and the trace that both optimizers share.

use super::qr::RowQr;
use super::trace::Trace;
use super::{Loss, LossKind, Residuals};

/// Rows of the Jacobian that are held at a time, where a block is no longer.
const ROWS_AT_A_TIME: usize = 128;
/// Least curvature along a residual beside that across: keeps the Gauss-Newton matrix positive definite.
const CURVATURE_MIN: f64 = 1e-3;

/// A problem under a loss. Everything is allocated by [`Objective::new`].
pub(super) struct Objective<'a, R> {
    problem: &'a R,
    loss: Loss,
    n_parameters: usize,
    block_len: usize,
    /// Those of the last call of [`Objective::cost`].
    residuals: Vec<f64>,
    rows: Vec<f64>,
    columns: Vec<f64>,
    pub(super) n_residual_passes: u32,
    pub(super) n_jacobian_passes: u32,
    pub(super) trace: Trace,
}

impl<'a, R: Residuals> Objective<'a, R> {
    pub(super) fn new(problem: &'a R, loss: Loss, n_trace_points: usize) -> Self {
        let (n_parameters, block_len) = (problem.n_parameters(), problem.block_len());
        let n_residuals = problem.n_residuals();
        let rows_max = (ROWS_AT_A_TIME / block_len).max(1) * block_len;
        let n_rows = rows_max.min(n_residuals);
        Self {
            problem,
            loss,
            n_parameters,
            block_len,
            residuals: vec![0.0; n_residuals],
            rows: vec![0.0; n_rows * n_parameters],
            columns: vec![0.0; n_rows * (n_parameters + 1)],
            n_residual_passes: 0,
            n_jacobian_passes: 0,
            trace: Trace::with_room(n_parameters, n_trace_points),
        }
    }

    /// The cost at a point; infinite where a residual is not finite. One residual pass.
    pub(super) fn cost(&mut self, parameters: &[f64]) -> f64 {
        self.n_residual_passes += 1;
        self.problem.residuals(parameters, &mut self.residuals);
        let sum = match self.loss.kind {
            LossKind::Linear => dot(&self.residuals, &self.residuals),
            _ => self.residuals.chunks_exact(self.block_len).map(|r| self.loss.at(dot(r, r)).cost).sum(),
        };
        let cost = if sum.is_finite() { sum / 2.0 } else { f64::INFINITY };
        self.trace.record(self.n_residual_passes + self.n_jacobian_passes, cost, parameters);
        cost
    }

    /// Writes the gradient at the point of the last call of [`Objective::cost`]. One Jacobian pass.
    pub(super) fn gradient(&mut self, parameters: &[f64], gradient: &mut [f64]) {
        gradient.fill(0.0);
        let (n, loss) = (self.n_parameters, self.loss);
        let block_len = self.block_len;
        self.each_stretch(parameters, |residuals, rows, _| {
            for (block, rows) in residuals.chunks_exact(block_len).zip(rows.chunks_exact(n * block_len)) {
                let weight =
                    if loss.kind == LossKind::Linear { 1.0 } else { loss.at(dot(block, block)).weight };
                for (residual, row) in block.iter().zip(rows.chunks_exact(n)) {
                    let slope = weight * residual;
                    gradient.iter_mut().zip(row).for_each(|(sum, value)| *sum += slope * value);
                }
            }
        });
    }

    /// Reduces the Jacobian and the residuals at the point of the last call of [`Objective::cost`] to a triangle,
    /// both corrected for the loss: their product stays the gradient, and the square of the Jacobian becomes the
    /// Gauss-Newton matrix of the robust cost (Triggs and others 2000, section 4.3). One Jacobian pass.
    pub(super) fn triangle(&mut self, parameters: &[f64], qr: &mut RowQr) {
        qr.clear();
        let (n, loss, block_len) = (self.n_parameters, self.loss, self.block_len);
        self.each_stretch(parameters, |residuals, rows, columns| {
            let n_rows = residuals.len();
            let columns = &mut columns[..n_rows * (n + 1)];
            let (jacobian, right_side) = columns.split_at_mut(n_rows * n);
            right_side.copy_from_slice(residuals);
            if loss.kind != LossKind::Linear {
                let blocks = right_side.chunks_exact_mut(block_len);
                blocks
                    .zip(rows.chunks_exact_mut(n * block_len))
                    .for_each(|(r, rows)| correct(loss, r, rows, n));
            }
            for (row_index, row) in rows.chunks_exact(n).enumerate() {
                for (value, column) in row.iter().zip(jacobian.chunks_exact_mut(n_rows)) {
                    column[row_index] = *value;
                }
            }
            qr.absorb(columns, n_rows);
        });
    }

    /// Calls `take` with stretches of residuals, the rows of their Jacobian, and room for the same rows as columns.
    fn each_stretch(&mut self, parameters: &[f64], mut take: impl FnMut(&[f64], &mut [f64], &mut [f64])) {
        self.n_jacobian_passes += 1;
        let n = self.n_parameters;
        let n_rows = self.rows.len() / n;
        for (index, residuals) in self.residuals.chunks(n_rows).enumerate() {
            let rows = &mut self.rows[..residuals.len() * n];
            self.problem.jacobian_rows(parameters, index * n_rows, rows);
            take(residuals, rows, &mut self.columns);
        }
    }
}

/// Replaces a block of residuals and its rows of the Jacobian by those whose least squares are the loss to second
/// order.
fn correct(loss: Loss, residuals: &mut [f64], rows: &mut [f64], n: usize) {
    let sum_of_squares = dot(residuals, residuals);
    let value = loss.at(sum_of_squares);
    let root = value.weight.sqrt();
    let along = value.curvature.max(CURVATURE_MIN).sqrt();
    if sum_of_squares > 0.0 && along != 1.0 {
        let shrink = (along - 1.0) / sum_of_squares;
        for parameter in 0..n {
            let products = residuals.iter().zip(rows[parameter..].iter().step_by(n));
            let along_residual: f64 = products.map(|(residual, value)| residual * value).sum();
            for (residual, value) in residuals.iter().zip(rows[parameter..].iter_mut().step_by(n)) {
                *value += shrink * along_residual * residual;
            }
        }
    }
    rows.iter_mut().for_each(|value| *value *= root);
    residuals.iter_mut().for_each(|value| *value *= root / along);
}

/// The sum of products, in four interleaved sums.
pub(super) fn dot(left: &[f64], right: &[f64]) -> f64 {
    let mut sums = [0.0; 4];
    let (left_fours, right_fours) = (left.chunks_exact(4), right.chunks_exact(4));
    let rest: f64 = left_fours.remainder().iter().zip(right_fours.remainder()).map(|(l, r)| l * r).sum();
    for (l, r) in left_fours.zip(right_fours) {
        for lane in 0..4 {
            sums[lane] += l[lane] * r[lane];
        }
    }
    (sums[0] + sums[1]) + (sums[2] + sums[3]) + rest
}

/// The length of a vector.
pub(super) fn norm(vector: &[f64]) -> f64 {
    dot(vector, vector).sqrt()
}

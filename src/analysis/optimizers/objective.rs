//! The cost of a problem under a loss, with the counters and the trace that both optimizers share.

use super::qr::RowQr;
use super::trace::Trace;
use super::{Loss, LossKind, Residuals};

/// Rows of the Jacobian that are held at a time, where a block is no longer; not a power of two, which would put the
/// columns so far apart that processors take a load of one for what a store to another still holds back.
const ROWS_AT_A_TIME: usize = 500;
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
    /// A stretch of the Jacobian's rows, column after column, and a right side.
    columns: Vec<f64>,
    /// How a robust loss changes each block of a stretch.
    corrections: Vec<Correction>,
    pub(super) n_residual_passes: u32,
    pub(super) n_jacobian_passes: u32,
    pub(super) trace: Trace,
}

/// What makes the least squares of a block those of the loss to second order: its rows `J` become
/// `root (J + shrink r r'J)`, its residuals `r` are multiplied with `residual`.
#[derive(Debug, Clone, Copy, Default)]
struct Correction {
    root: f64,
    shrink: f64,
    residual: f64,
}

impl<'a, R: Residuals> Objective<'a, R> {
    pub(super) fn new(problem: &'a R, loss: Loss, n_trace_points: usize) -> Self {
        let (n_parameters, block_len) = (problem.n_parameters(), problem.block_len());
        let n_residuals = problem.n_residuals();
        let rows_max = (ROWS_AT_A_TIME / block_len).max(1) * block_len;
        let n_rows = rows_max.min(n_residuals);
        let n_corrections = if loss.kind == LossKind::Linear { 0 } else { n_rows / block_len };
        Self {
            problem,
            loss,
            n_parameters,
            block_len,
            residuals: vec![0.0; n_residuals],
            columns: vec![0.0; n_rows * (n_parameters + 1)],
            corrections: vec![Correction::default(); n_corrections],
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
        let (loss, block_len) = (self.loss, self.block_len);
        if loss.kind == LossKind::Linear && self.problem.gradient(parameters, &self.residuals, gradient) {
            self.n_jacobian_passes += 1;
            return;
        }
        gradient.fill(0.0);
        self.each_stretch(parameters, |columns, residuals, _| {
            if loss.kind != LossKind::Linear {
                for block in residuals.chunks_exact_mut(block_len) {
                    let weight = loss.at(dot(block, block)).weight;
                    block.iter_mut().for_each(|residual| *residual *= weight);
                }
            }
            add_products(columns, residuals, gradient);
        });
    }

    /// Reduces the Jacobian and the residuals at the point of the last call of [`Objective::cost`] to a triangle,
    /// both corrected for the loss: their product stays the gradient, and the square of the Jacobian becomes the
    /// Gauss-Newton matrix of the robust cost (Triggs and others 2000, section 4.3). One Jacobian pass.
    pub(super) fn triangle(&mut self, parameters: &[f64], qr: &mut RowQr) {
        qr.clear();
        let (loss, block_len) = (self.loss, self.block_len);
        if loss.kind == LossKind::Linear {
            let n_columns = self.columns.len() / (self.n_parameters + 1) * self.n_parameters;
            let (columns, right_side) = self.columns.split_at_mut(n_columns);
            let n_rows = self.problem.compress(parameters, &self.residuals, columns, right_side);
            if n_rows > 0 {
                self.n_jacobian_passes += 1;
                qr.absorb(&mut columns[..n_rows * self.n_parameters], &mut right_side[..n_rows]);
                return;
            }
        }
        self.each_stretch(parameters, |columns, residuals, corrections| {
            if loss.kind != LossKind::Linear {
                correct(loss, block_len, columns, residuals, corrections);
            }
            qr.absorb(columns, residuals);
        });
    }

    /// Calls `take` with the columns of each stretch of rows, a copy of its residuals, and room for corrections.
    fn each_stretch(
        &mut self,
        parameters: &[f64],
        mut take: impl FnMut(&mut [f64], &mut [f64], &mut [Correction]),
    ) {
        self.n_jacobian_passes += 1;
        let n = self.n_parameters;
        let n_rows = self.columns.len() / (n + 1);
        for (index, residuals) in self.residuals.chunks(n_rows).enumerate() {
            let (columns, rest) = self.columns.split_at_mut(residuals.len() * n);
            let right_side = &mut rest[..residuals.len()];
            self.problem.jacobian_columns(parameters, index * n_rows, columns);
            right_side.copy_from_slice(residuals);
            take(columns, right_side, &mut self.corrections);
        }
    }
}

/// Adds the product of each column with the residuals, with the best instructions that this processor has.
#[multiversion::multiversion(targets("x86_64+avx2"))]
fn add_products(columns: &[f64], residuals: &[f64], sums: &mut [f64]) {
    for (sum, column) in sums.iter_mut().zip(columns.chunks_exact(residuals.len())) {
        *sum += dot(column, residuals);
    }
}

/// Replaces residuals and columns of the Jacobian by those whose least squares are the loss to second order.
fn correct(
    loss: Loss,
    block_len: usize,
    columns: &mut [f64],
    residuals: &mut [f64],
    corrections: &mut [Correction],
) {
    for (correction, block) in corrections.iter_mut().zip(residuals.chunks_exact(block_len)) {
        let sum_of_squares = dot(block, block);
        let value = loss.at(sum_of_squares);
        let root = value.weight.sqrt();
        let along = value.curvature.max(CURVATURE_MIN).sqrt();
        let shrink = if sum_of_squares > 0.0 { (along - 1.0) / sum_of_squares } else { 0.0 };
        *correction = Correction { root, shrink, residual: root / along };
    }
    for column in columns.chunks_exact_mut(residuals.len()) {
        let blocks = column.chunks_exact_mut(block_len).zip(residuals.chunks_exact(block_len));
        for ((values, residuals), correction) in blocks.zip(&*corrections) {
            let shrink = correction.shrink * dot(residuals, values);
            for (value, residual) in values.iter_mut().zip(residuals) {
                *value = correction.root * (*value + shrink * residual);
            }
        }
    }
    for (block, correction) in residuals.chunks_exact_mut(block_len).zip(corrections) {
        block.iter_mut().for_each(|residual| *residual *= correction.residual);
    }
}

/// The sum of products, in sixteen interleaved sums: the same on every processor.
#[inline(always)]
pub(super) fn dot(left: &[f64], right: &[f64]) -> f64 {
    let ((left, left_rest), (right, right_rest)) = (left.as_chunks::<16>(), right.as_chunks::<16>());
    let rest: f64 = left_rest.iter().zip(right_rest).map(|(l, r)| l * r).sum();
    if left.is_empty() {
        return rest;
    }
    let mut sums = [0.0; 16];
    for (l, r) in left.iter().zip(right) {
        for lane in 0..16 {
            sums[lane] += l[lane] * r[lane];
        }
    }
    for half in [8, 4, 2, 1] {
        for lane in 0..half {
            sums[lane] += sums[lane + half];
        }
    }
    sums[0] + rest
}

/// The length of a vector.
pub(super) fn norm(vector: &[f64]) -> f64 {
    dot(vector, vector).sqrt()
}

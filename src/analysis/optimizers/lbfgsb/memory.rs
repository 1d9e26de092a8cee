//! The last steps and gradient changes, and the limited-memory Hessian approximation they define.
//!
//! The matrix is `B = theta I - W M W'` with `W = [Y, theta S]` and `M` the inverse of
//! `[[-D, L'], [L, theta S'S]]`, where `D` and `L` are the diagonal and the strictly lower part of `S'Y`
//! (Byrd, Lu, Nocedal and Zhu 1995, equation 3.2).

use super::super::objective::dot;

/// Up to `n_pairs_max` pairs of steps `s` and gradient changes `y`, oldest first.
pub(super) struct Memory {
    pub(super) n: usize,
    n_pairs_max: usize,
    /// How many pairs there are.
    pub(super) n_pairs: usize,
    /// The scale of the identity in `B`.
    pub(super) theta: f64,
    /// Pair after pair, `n` long each.
    steps: Vec<f64>,
    changes: Vec<f64>,
    /// `S'Y` and `S'S`, row after row, `n_pairs_max` long each.
    step_change: Vec<f64>,
    step_step: Vec<f64>,
    /// The Cholesky factor of `theta S'S + L D^-1 L'`, lower, row after row.
    factor: Vec<f64>,
}

impl Memory {
    pub(super) fn new(n: usize, n_pairs_max: usize) -> Self {
        let square = || vec![0.0; n_pairs_max * n_pairs_max];
        Self {
            n,
            n_pairs_max,
            n_pairs: 0,
            theta: 1.0,
            steps: vec![0.0; n * n_pairs_max],
            changes: vec![0.0; n * n_pairs_max],
            step_change: square(),
            step_step: square(),
            factor: square(),
        }
    }

    /// Forgets all pairs.
    pub(super) fn clear(&mut self) {
        self.n_pairs = 0;
        self.theta = 1.0;
    }

    /// Forgets the older half of the pairs, and whatever else keeps the approximation from being positive definite.
    pub(super) fn forget(&mut self) {
        while self.n_pairs > 0 {
            self.drop_oldest(self.n_pairs.div_ceil(2));
            if self.n_pairs == 0 {
                self.clear();
            } else if self.factorise() {
                return;
            }
        }
    }

    fn drop_oldest(&mut self, n_dropped: usize) {
        let (n, max) = (self.n, self.n_pairs_max);
        self.steps.copy_within(n_dropped * n.., 0);
        self.changes.copy_within(n_dropped * n.., 0);
        for matrix in [&mut self.step_change, &mut self.step_step] {
            for row in n_dropped..max {
                matrix.copy_within(row * max + n_dropped..(row + 1) * max, (row - n_dropped) * max);
            }
        }
        self.n_pairs -= n_dropped;
    }

    pub(super) fn step(&self, pair: usize) -> &[f64] {
        &self.steps[pair * self.n..][..self.n]
    }

    pub(super) fn change(&self, pair: usize) -> &[f64] {
        &self.changes[pair * self.n..][..self.n]
    }

    /// Takes in a pair with a positive product, the oldest going when there are too many; where the approximation is not
    /// positive definite any more, older ones go until it is.
    pub(super) fn push(&mut self, step: &[f64], change: &[f64]) {
        let (n, max) = (self.n, self.n_pairs_max);
        if self.n_pairs == max {
            self.drop_oldest(1);
        }
        let last = self.n_pairs;
        self.steps[last * n..][..n].copy_from_slice(step);
        self.changes[last * n..][..n].copy_from_slice(change);
        self.n_pairs += 1;
        for pair in 0..self.n_pairs {
            self.step_change[last * max + pair] = dot(step, self.change(pair));
            self.step_change[pair * max + last] = dot(self.step(pair), change);
            let product = dot(self.step(pair), step);
            self.step_step[last * max + pair] = product;
            self.step_step[pair * max + last] = product;
        }
        self.theta = dot(change, change) / self.step_change[last * max + last];
        if !self.factorise() {
            self.forget();
        }
    }

    fn factorise(&mut self) -> bool {
        let (k, max) = (self.n_pairs, self.n_pairs_max);
        for row in 0..k {
            for column in 0..=row {
                // L is strictly lower: only pairs older than both rows count
                let older = 0..column.min(row);
                let sum: f64 = older
                    .map(|i| self.lower(row, i) * self.lower(column, i) / self.step_change[i * max + i])
                    .sum();
                self.factor[row * max + column] = self.theta * self.step_step[row * max + column] + sum;
            }
        }
        cholesky(&mut self.factor, k, max)
    }

    /// An element of `S'Y` below its diagonal: step `row` with the change of an older pair.
    pub(super) fn lower(&self, row: usize, column: usize) -> f64 {
        self.step_change[row * self.n_pairs_max + column]
    }

    /// The product of step and change of a pair.
    pub(super) fn curvature(&self, pair: usize) -> f64 {
        self.lower(pair, pair)
    }

    /// Writes `W' v` (`2 n_pairs`).
    pub(super) fn project(&self, vector: &[f64], product: &mut [f64]) {
        for pair in 0..self.n_pairs {
            product[pair] = dot(self.change(pair), vector);
            product[self.n_pairs + pair] = self.theta * dot(self.step(pair), vector);
        }
    }

    /// Writes row `index` of `W` (`2 n_pairs`).
    pub(super) fn row(&self, index: usize, row: &mut [f64]) {
        for pair in 0..self.n_pairs {
            row[pair] = self.changes[pair * self.n + index];
            row[self.n_pairs + pair] = self.theta * self.steps[pair * self.n + index];
        }
    }

    /// Writes `M v`, both `2 n_pairs` long.
    pub(super) fn middle(&self, vector: &[f64], product: &mut [f64]) {
        let k = self.n_pairs;
        let (upper, lower) = product[..2 * k].split_at_mut(k);
        for row in 0..k {
            let sum: f64 = (0..row).map(|i| self.lower(row, i) * vector[i] / self.curvature(i)).sum();
            lower[row] = vector[k + row] + sum;
        }
        cholesky_solve(&self.factor, k, self.n_pairs_max, lower);
        for (row, value) in upper.iter_mut().enumerate() {
            let sum: f64 = (row + 1..k).map(|i| self.lower(i, row) * lower[i]).sum();
            *value = (sum - vector[row]) / self.curvature(row);
        }
    }
}

/// Factors a symmetric matrix, given by its lower part, in place; says whether it is positive definite.
pub(super) fn cholesky(matrix: &mut [f64], k: usize, stride: usize) -> bool {
    for row in 0..k {
        for column in 0..=row {
            let sum: f64 = (0..column).map(|i| matrix[row * stride + i] * matrix[column * stride + i]).sum();
            let rest = matrix[row * stride + column] - sum;
            if column < row {
                matrix[row * stride + column] = rest / matrix[column * stride + column];
            } else if rest > 0.0 && rest.is_finite() {
                matrix[row * stride + row] = rest.sqrt();
            } else {
                return false;
            }
        }
    }
    true
}

/// Solves with the lower factor.
pub(super) fn solve_lower(factor: &[f64], k: usize, stride: usize, vector: &mut [f64]) {
    for row in 0..k {
        let sum: f64 = (0..row).map(|i| factor[row * stride + i] * vector[i]).sum();
        vector[row] = (vector[row] - sum) / factor[row * stride + row];
    }
}

/// Solves with the factor and its transpose.
pub(super) fn cholesky_solve(factor: &[f64], k: usize, stride: usize, vector: &mut [f64]) {
    solve_lower(factor, k, stride, vector);
    for row in (0..k).rev() {
        let sum: f64 = (row + 1..k).map(|i| factor[i * stride + row] * vector[i]).sum();
        vector[row] = (vector[row] - sum) / factor[row * stride + row];
    }
}

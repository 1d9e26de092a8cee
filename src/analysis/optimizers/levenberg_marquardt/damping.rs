//! The Levenberg-Marquardt parameter: how much damping makes a step as long as the trust region.
//!
//! # References
//! Moré, The Levenberg-Marquardt algorithm: implementation and theory, 1978, sections 3 and 5; the steps are those of
//! MINPACK's `lmpar` and `qrsolv`.

use super::super::objective::norm;
use super::super::qr::PivotedQr;

/// How far a step's length may be off the radius, as a part of it.
const LENGTH_TOLERANCE: f64 = 0.1;
/// Most Newton steps for the parameter.
const N_NEWTON_STEPS_MAX: usize = 10;

/// Room for the search, and its result.
pub(super) struct Damping {
    n: usize,
    /// The step `p` in the order of the columns that were factored: minimises `|R p + b|^2 + parameter |D p|^2`.
    pub(super) step: Vec<f64>,
    /// The triangle of the damped system, row after row.
    damped: Vec<f64>,
    /// A row that is rotated away, and right sides.
    row: Vec<f64>,
    right_side: Vec<f64>,
    work: Vec<f64>,
    scaled: Vec<f64>,
}

impl Damping {
    pub(super) fn new(n: usize) -> Self {
        let vector = || vec![0.0; n];
        Self {
            n,
            step: vector(),
            damped: vec![0.0; n * n],
            row: vector(),
            right_side: vector(),
            work: vector(),
            scaled: vector(),
        }
    }

    /// Finds the step within `radius` (measured as `|D p|`, within a tenth) from an earlier `parameter`; `scales`
    /// are the diagonal of `D` in the order of the columns that were factored. Returns the parameter.
    pub(super) fn solve(&mut self, qr: &PivotedQr, scales: &[f64], radius: f64, parameter: f64) -> f64 {
        self.n = qr.n_columns();
        let is_full = self.gauss_newton(qr);
        let mut excess = self.scale_step(scales) - radius;
        if excess <= LENGTH_TOLERANCE * radius {
            return 0.0;
        }
        let mut least = if is_full { self.newton(qr, scales, excess / radius, false) } else { 0.0 };
        let slope = self.scaled_gradient(qr, scales);
        let mut greatest = slope / radius;
        if greatest == 0.0 {
            greatest = f64::MIN_POSITIVE / radius.min(LENGTH_TOLERANCE);
        }
        let mut parameter = parameter.max(least).min(greatest);
        if parameter == 0.0 {
            parameter = slope / norm(&self.scaled[..self.n]);
        }
        for iteration in 1..=N_NEWTON_STEPS_MAX {
            if parameter == 0.0 {
                parameter = f64::MIN_POSITIVE.max(0.001 * greatest);
            }
            self.damped_step(qr, scales, parameter.sqrt());
            let before = excess;
            excess = self.scale_step(scales) - radius;
            let is_near = excess.abs() <= LENGTH_TOLERANCE * radius;
            let is_stuck = least == 0.0 && excess <= before && before < 0.0;
            if is_near || is_stuck || iteration == N_NEWTON_STEPS_MAX {
                break;
            }
            let correction = self.newton(qr, scales, excess / radius, true);
            if excess > 0.0 {
                least = least.max(parameter);
            } else {
                greatest = greatest.min(parameter);
            }
            parameter = least.max(parameter + correction);
        }
        parameter
    }

    /// The step without damping, zero for columns that depend on others; says whether none does.
    fn gauss_newton(&mut self, qr: &PivotedQr) -> bool {
        let n = self.n;
        let rank = (0..n).find(|&index| qr.at(index, index) == 0.0).unwrap_or(n);
        self.work[..n].copy_from_slice(&qr.right_side[..n]);
        self.work[rank..n].fill(0.0);
        for index in (0..rank).rev() {
            self.work[index] /= qr.at(index, index);
            for row in 0..index {
                self.work[row] -= qr.at(row, index) * self.work[index];
            }
        }
        self.unpivot(qr);
        rank == n
    }

    /// The step with damping: rotates the rows of `root D` into the triangle (Givens).
    fn damped_step(&mut self, qr: &PivotedQr, scales: &[f64], root: f64) {
        let n = self.n;
        for row in 0..n {
            for column in row..n {
                self.damped[row * n + column] = qr.at(row, column);
            }
        }
        self.right_side[..n].copy_from_slice(&qr.right_side[..n]);
        for index in 0..n {
            self.row[index..n].fill(0.0);
            self.row[index] = root * scales[qr.pivots[index]];
            let mut right = 0.0;
            for pivot in index..n {
                if self.row[pivot] == 0.0 {
                    continue;
                }
                let length = self.damped[pivot * n + pivot].hypot(self.row[pivot]);
                let (cos, sin) = (self.damped[pivot * n + pivot] / length, self.row[pivot] / length);
                for column in pivot..n {
                    let (above, below) = (self.damped[pivot * n + column], self.row[column]);
                    self.damped[pivot * n + column] = cos * above + sin * below;
                    self.row[column] = cos * below - sin * above;
                }
                let above = self.right_side[pivot];
                self.right_side[pivot] = cos * above + sin * right;
                right = cos * right - sin * above;
            }
        }
        self.work[..n].copy_from_slice(&self.right_side[..n]);
        let rank = (0..n).find(|&index| self.damped[index * n + index] == 0.0).unwrap_or(n);
        self.work[rank..n].fill(0.0);
        for index in (0..rank).rev() {
            self.work[index] /= self.damped[index * n + index];
            for row in 0..index {
                self.work[row] -= self.damped[row * n + index] * self.work[index];
            }
        }
        self.unpivot(qr);
    }

    /// Puts the solution in `work` into the order of the columns, turned downhill.
    fn unpivot(&mut self, qr: &PivotedQr) {
        for (place, &column) in qr.pivots.iter().enumerate() {
            self.step[column] = -self.work[place];
        }
    }

    /// Writes `D p` and returns its length.
    fn scale_step(&mut self, scales: &[f64]) -> f64 {
        for ((scaled, step), scale) in self.scaled.iter_mut().zip(&self.step[..self.n]).zip(scales) {
            *scaled = scale * step;
        }
        norm(&self.scaled[..self.n])
    }

    /// Newton's correction of the parameter for a step that is too long by `excess` radii.
    fn newton(&mut self, qr: &PivotedQr, scales: &[f64], excess: f64, is_damped: bool) -> f64 {
        let n = self.n;
        let length = norm(&self.scaled[..n]);
        for (place, &column) in qr.pivots.iter().enumerate() {
            self.work[place] = scales[column] * (self.scaled[column] / length);
        }
        for index in 0..n {
            let at = |row: usize| if is_damped { self.damped[row * n + index] } else { qr.at(row, index) };
            let sum: f64 = (0..index).map(|row| at(row) * self.work[row]).sum();
            self.work[index] = (self.work[index] - sum) / at(index);
        }
        let length = norm(&self.work[..n]);
        excess / length / length
    }

    /// The length of the gradient in scaled parameters.
    fn scaled_gradient(&mut self, qr: &PivotedQr, scales: &[f64]) -> f64 {
        for (place, &column) in qr.pivots.iter().enumerate() {
            let sum: f64 = (0..=place).map(|row| qr.at(row, place) * qr.right_side[row]).sum();
            self.work[place] = sum / scales[column];
        }
        norm(&self.work[..self.n])
    }
}

//! A test problem: residuals written once, over numbers that carry their derivatives.

use super::dual::Dual;
use crate::analysis::optimizers::Residuals;

pub(crate) struct Problem<F> {
    pub(crate) n_parameters: usize,
    pub(crate) n_residuals: usize,
    pub(crate) block_len: usize,
    /// What a solver's parameter of 1 stands for.
    pub(crate) units: Vec<f64>,
    /// Residual `i` at parameters.
    pub(crate) residual: F,
}

impl<F: Fn(&[Dual], usize) -> Dual> Problem<F> {
    pub(crate) fn new(n_parameters: usize, n_residuals: usize, residual: F) -> Self {
        Self { n_parameters, n_residuals, block_len: 1, units: vec![1.0; n_parameters], residual }
    }

    fn duals(&self, parameters: &[f64]) -> Vec<Dual> {
        let values = parameters.iter().zip(&self.units).enumerate();
        values.map(|(index, (value, unit))| Dual::parameter(0.0, index) * *unit + value * unit).collect()
    }
}

impl<F: Fn(&[Dual], usize) -> Dual> Residuals for Problem<F> {
    fn n_parameters(&self) -> usize {
        self.n_parameters
    }

    fn n_residuals(&self) -> usize {
        self.n_residuals
    }

    fn block_len(&self) -> usize {
        self.block_len
    }

    fn residuals(&self, parameters: &[f64], residuals: &mut [f64]) {
        let duals = self.duals(parameters);
        for (index, residual) in residuals.iter_mut().enumerate() {
            *residual = (self.residual)(&duals, index).value;
        }
    }

    fn jacobian_columns(&self, parameters: &[f64], first_row: usize, columns: &mut [f64]) {
        let duals = self.duals(parameters);
        let n_rows = columns.len() / self.n_parameters;
        for row in 0..n_rows {
            let residual = (self.residual)(&duals, first_row + row);
            let places = columns[row..].iter_mut().step_by(n_rows);
            places.zip(residual.slopes).for_each(|(value, slope)| *value = slope);
        }
    }
}

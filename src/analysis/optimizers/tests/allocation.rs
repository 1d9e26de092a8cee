//! Memory is taken before the first step, and none after it.

use crate::analysis::optimizers::lbfgsb::{self, LbfgsbSettings};
use crate::analysis::optimizers::levenberg_marquardt::{self, LevenbergMarquardtSettings};
use crate::analysis::optimizers::{Bounds, Loss, LossKind, Report, Residuals};
use crate::platform::meter::{begin_counting, end_counting};

/// Rosenbrock's valley in pairs of parameters, without memory of its own.
struct Valleys(usize);

impl Residuals for Valleys {
    fn n_parameters(&self) -> usize {
        self.0
    }

    fn n_residuals(&self) -> usize {
        self.0
    }

    fn block_len(&self) -> usize {
        2
    }

    fn residuals(&self, x: &[f64], residuals: &mut [f64]) {
        for (pair, values) in x.chunks_exact(2).zip(residuals.chunks_exact_mut(2)) {
            values.copy_from_slice(&[10.0 * (pair[1] - pair[0] * pair[0]), 1.0 - pair[0]]);
        }
    }

    fn jacobian_columns(&self, x: &[f64], first_row: usize, columns: &mut [f64]) {
        columns.fill(0.0);
        let n_rows = columns.len() / self.0;
        for row in 0..n_rows {
            let pair = (first_row + row) / 2 * 2;
            if (first_row + row).is_multiple_of(2) {
                columns[pair * n_rows + row] = -20.0 * x[pair];
                columns[(pair + 1) * n_rows + row] = 10.0;
            } else {
                columns[pair * n_rows + row] = -1.0;
            }
        }
    }
}

/// How often memory is taken in a run, and how many steps it had.
fn n_allocations(run: impl Fn() -> Report) -> (u64, u32) {
    begin_counting();
    let report = run();
    (end_counting().n_allocations, report.n_iterations)
}

#[test]
fn no_step_takes_memory() {
    let problem = Valleys(6);
    let start = [-1.2, 1.0, -0.5, 2.0, 1.7, -1.0];
    let free = Bounds::none(6);
    let boxed = Bounds { lower: vec![-2.0; 6], upper: vec![0.8; 6] };
    for (loss, bounds) in [
        (Loss::LINEAR, &free),
        (Loss::LINEAR, &boxed),
        (Loss { kind: LossKind::Cauchy, scale: 3.0 }, &free),
        (Loss { kind: LossKind::Huber, scale: 3.0 }, &boxed),
    ] {
        let lm = |n_passes_max: u32| {
            let settings =
                LevenbergMarquardtSettings { n_passes_max, n_trace_points: 500, ..Default::default() };
            levenberg_marquardt::minimize(&problem, loss, &start, bounds, &settings).unwrap()
        };
        let lbfgsb = |n_passes_max: u32| {
            let settings = LbfgsbSettings { n_passes_max, n_trace_points: 500, ..Default::default() };
            lbfgsb::minimize(&problem, loss, &start, bounds, &settings).unwrap()
        };
        let runs: [&dyn Fn(u32) -> Report; 2] = [&lm, &lbfgsb];
        for run in runs {
            let ((few, n_few), (many, n_many)) = (n_allocations(|| run(1)), n_allocations(|| run(400)));
            assert!(few > 0 && n_few <= 1 && n_many > 5, "{loss:?}: {n_few} and {n_many} steps");
            assert_eq!(few, many, "{loss:?}: {n_many} steps");
        }
    }
}

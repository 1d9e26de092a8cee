//! The example programs that come with L-BFGS-B, and a trajectory of its version 3.0.

use crate::analysis::optimizers::lbfgsb::{Function, LbfgsbSettings, Search};
use crate::analysis::optimizers::{Bounds, StopReason};

/// The function of `driver1`: `4 ((x_1 - 1)^2 / 4 + sum (x_i - x_(i-1)^2)^2)`.
struct Driver;

impl Function for Driver {
    fn evaluate(&mut self, x: &[f64], gradient: &mut [f64]) -> f64 {
        let n = x.len();
        let mut sum = 0.25 * (x[0] - 1.0).powi(2);
        for i in 1..n {
            sum += (x[i] - x[i - 1].powi(2)).powi(2);
        }
        let mut rest = x[1] - x[0].powi(2);
        gradient[0] = 2.0 * (x[0] - 1.0) - 16.0 * x[0] * rest;
        for i in 1..n - 1 {
            let before = rest;
            rest = x[i + 1] - x[i].powi(2);
            gradient[i] = 8.0 * before - 16.0 * x[i] * rest;
        }
        gradient[n - 1] = 8.0 * rest;
        4.0 * sum
    }
}

/// From 1 to 100 for the first parameter and every second after it, from -100 to 100 for the others.
fn driver_bounds(n: usize) -> Bounds {
    let lower = (0..n).map(|i| if i % 2 == 0 { 1.0 } else { -100.0 }).collect();
    Bounds { lower, upper: vec![100.0; n] }
}

fn near(count: u32, expected: u32) -> bool {
    count.abs_diff(expected) <= 2
}

#[test]
fn driver_1_ends_as_the_original_does() {
    let settings = LbfgsbSettings {
        n_pairs: 5,
        cost_tolerance: 1e7 * f64::EPSILON,
        cost_floor: 1.0,
        gradient_tolerance: 1e-5,
        ..Default::default()
    };
    let bounds = driver_bounds(25);
    let mut search = Search::new(Driver, &[3.0; 25], &bounds, settings);
    assert_eq!(search.run(), StopReason::Cost);
    assert!((search.cost / 1.083490083e-9 - 1.0).abs() < 1e-5, "{:e}", search.cost);
    let (iterations, evaluations) = (search.n_iterations, search.n_evaluations);
    assert!(
        near(iterations, 23) && near(evaluations, 28),
        "{iterations} iterations, {evaluations} evaluations"
    );
}

#[test]
fn driver_3_converges_with_a_thousand_parameters() {
    let settings = LbfgsbSettings {
        n_pairs: 10,
        cost_tolerance: 0.0,
        cost_floor: 1.0,
        gradient_tolerance: 1e-10,
        ..Default::default()
    };
    let bounds = driver_bounds(1000);
    let mut search = Search::new(Driver, &[3.0; 1000], &bounds, settings);
    assert_eq!(search.run(), StopReason::Gradient);
    let (iterations, evaluations) = (search.n_iterations, search.n_evaluations);
    // the original needs 49 and 58
    assert!(iterations <= 60 && evaluations <= 75, "{iterations} iterations, {evaluations} evaluations");
}

/// `sum 100 (x_(i+1) - x_i^2)^2 + (1 - x_i)^2`.
struct Rosenbrock;

impl Function for Rosenbrock {
    fn evaluate(&mut self, x: &[f64], gradient: &mut [f64]) -> f64 {
        gradient.fill(0.0);
        let mut sum = 0.0;
        for i in 0..x.len() - 1 {
            let (valley, distance) = (x[i + 1] - x[i] * x[i], 1.0 - x[i]);
            sum += 100.0 * valley * valley + distance * distance;
            gradient[i] += -400.0 * x[i] * valley - 2.0 * distance;
            gradient[i + 1] += 200.0 * valley;
        }
        sum
    }
}

/// Costs of the first iterates of the Fortran program, version 3.0 (n = 5, m = 5, the box from 0 to 5, start
/// (-1, 2, -1, 2, -1) moved into it, no tolerances).
const ROSENBROCK_COSTS: [f64; 16] = [
    4004.0,
    376.9154689696958,
    307.1623687577397,
    83.43256218994735,
    18.754015351367062,
    0.7600374228001037,
    0.1479906704660153,
    0.1215463296274864,
    0.11797787256535695,
    0.1177725958632054,
    0.11717746045797228,
    0.11645221037712711,
    0.11407865743020489,
    0.10909244384861488,
    0.0943175661293673,
    0.06828466225776225,
];

#[test]
fn the_first_iterates_are_those_of_the_original() {
    let settings =
        LbfgsbSettings { n_pairs: 5, cost_tolerance: 0.0, gradient_tolerance: 0.0, ..Default::default() };
    let bounds = Bounds { lower: vec![0.0; 5], upper: vec![5.0; 5] };
    let mut search = Search::new(Rosenbrock, &[-1.0, 2.0, -1.0, 2.0, -1.0], &bounds, settings);
    search.begin();
    for (iteration, expected) in ROSENBROCK_COSTS.into_iter().enumerate() {
        let found = search.cost;
        assert!((found / expected - 1.0).abs() <= 1e-9, "iteration {iteration}: {found:e}, not {expected:e}");
        assert_eq!(search.iterate(), None);
    }
}

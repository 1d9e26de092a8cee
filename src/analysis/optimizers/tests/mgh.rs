//! The test problems of Moré, Garbow and Hillstrom (ACM TOMS 7(1), 1981), numbers 1 to 19, and the bounds that Gay
//! (1984) put on ten of them.

use super::dual::Dual;
use super::problem::Problem;
use crate::analysis::optimizers::lbfgsb::{self, LbfgsbSettings};
use crate::analysis::optimizers::levenberg_marquardt::{self, LevenbergMarquardtSettings};
use crate::analysis::optimizers::{Bounds, Loss, Report, examine};

/// What a test needs to know; costs are sums of squares.
struct Case {
    name: &'static str,
    start: &'static [f64],
    n_residuals: usize,
    least: f64,
    bounded: Option<Bounded>,
}

/// Gay's bounds, the number of residuals that he took, and the least cost within.
#[derive(Clone, Copy)]
struct Bounded {
    lower: &'static [f64],
    upper: &'static [f64],
    n_residuals: usize,
    least: f64,
}

const fn free(name: &'static str, start: &'static [f64], n_residuals: usize, least: f64) -> Case {
    Case { name, start, n_residuals, least, bounded: None }
}

const fn boxed(case: Case, lower: &'static [f64], upper: &'static [f64], least: f64) -> Case {
    Case { bounded: Some(Bounded { lower, upper, n_residuals: case.n_residuals, least }), ..case }
}

/// The same with another number of residuals within the bounds, where the problem leaves it open.
const fn resized(case: Case, n_residuals: usize) -> Case {
    match case.bounded {
        Some(bounded) => Case { bounded: Some(Bounded { n_residuals, ..bounded }), ..case },
        None => case,
    }
}

const CASES: [Case; 19] = [
    free("rosenbrock", &[-1.2, 1.0], 2, 0.0),
    free("freudenstein_roth", &[0.5, -2.0], 2, 0.0),
    boxed(free("powell_badly_scaled", &[0.0, 1.0], 2, 0.0), &[0.0, 1.0], &[1.0, 9.0], 1.51259e-10),
    boxed(free("brown_badly_scaled", &[1.0, 1.0], 3, 0.0), &[0.0, 3e-5], &[1e6, 100.0], 784.0),
    boxed(free("beale", &[1.0, 1.0], 3, 0.0), &[0.6, 0.5], &[10.0, 100.0], 0.0),
    free("jennrich_sampson", &[0.3, 0.4], 10, 124.362),
    boxed(
        free("helical_valley", &[-1.0, 0.0, 0.0], 3, 0.0),
        &[-100.0, -1.0, -1.0],
        &[0.8, 1.0, 1.0],
        0.99042212,
    ),
    free("bard", &[1.0, 1.0, 1.0], 15, 8.21487e-3),
    boxed(
        free("gaussian", &[0.4, 1.0, 0.0], 15, 1.12793e-8),
        &[0.398, 1.0, -0.5],
        &[4.2, 2.0, 0.1],
        1.12793e-8,
    ),
    free("meyer", &[0.02, 4000.0, 250.0], 16, 87.9458),
    resized(
        boxed(
            free("gulf", &[5.0, 2.5, 0.15], 99, 0.0),
            &[1e-16, 0.0, 0.0],
            &[10.0, 10.0, 10.0],
            5.8281431e-5,
        ),
        3,
    ),
    resized(
        boxed(free("box3d", &[0.0, 10.0, 20.0], 10, 0.0), &[0.0, 5.0, 0.0], &[2.0, 9.5, 20.0], 3.0998153e-6),
        3,
    ),
    free("powell_singular", &[3.0, -1.0, 0.0, 1.0], 4, 0.0),
    boxed(
        free("wood", &[-3.0, -1.0, -3.0, -1.0], 6, 0.0),
        &[-100.0, -100.0, -100.0, -100.0],
        &[0.0, 10.0, 100.0, 100.0],
        1.5567008,
    ),
    free("kowalik_osborne", &[0.25, 0.39, 0.415, 0.39], 11, 3.07505e-4),
    boxed(
        free("brown_dennis", &[25.0, 5.0, -5.0, -1.0], 20, 85822.2),
        &[-10.0, 0.0, -100.0, -20.0],
        &[100.0, 15.0, 0.0, 0.2],
        88860.479,
    ),
    free("osborne1", &[0.5, 1.5, -1.0, 0.01, 0.02], 33, 5.46489e-5),
    boxed(
        free("biggs_exp6", &[1.0, 2.0, 1.0, 1.0, 1.0, 1.0], 13, 0.0),
        &[0.0, 0.0, 0.0, 1.0, 0.0, 0.0],
        &[2.0, 8.0, 1.0, 7.0, 5.0, 5.0],
        5.3209865e-4,
    ),
    free("osborne2", &[1.3, 0.65, 0.65, 0.7, 0.6, 3.0, 5.0, 7.0, 2.0, 4.5, 5.5], 65, 4.01377e-2),
];

const BARD: [f64; 15] =
    [0.14, 0.18, 0.22, 0.25, 0.29, 0.32, 0.35, 0.39, 0.37, 0.58, 0.73, 0.96, 1.34, 2.10, 4.39];
const GAUSSIAN: [f64; 15] = [
    0.0009, 0.0044, 0.0175, 0.0540, 0.1295, 0.2420, 0.3521, 0.3989, 0.3521, 0.2420, 0.1295, 0.0540, 0.0175,
    0.0044, 0.0009,
];
const MEYER: [f64; 16] = [
    34780.0, 28610.0, 23650.0, 19630.0, 16370.0, 13720.0, 11540.0, 9744.0, 8261.0, 7030.0, 6005.0, 5147.0,
    4427.0, 3820.0, 3307.0, 2872.0,
];
const KOWALIK: [[f64; 2]; 11] = [
    [0.1957, 4.0],
    [0.1947, 2.0],
    [0.1735, 1.0],
    [0.1600, 0.5],
    [0.0844, 0.25],
    [0.0627, 0.167],
    [0.0456, 0.125],
    [0.0342, 0.1],
    [0.0323, 0.0833],
    [0.0235, 0.0714],
    [0.0246, 0.0625],
];
const OSBORNE1: [f64; 33] = [
    0.844, 0.908, 0.932, 0.936, 0.925, 0.908, 0.881, 0.850, 0.818, 0.784, 0.751, 0.718, 0.685, 0.658, 0.628,
    0.603, 0.580, 0.558, 0.538, 0.522, 0.506, 0.490, 0.478, 0.467, 0.457, 0.448, 0.438, 0.431, 0.424, 0.420,
    0.414, 0.411, 0.406,
];
const OSBORNE2: [f64; 65] = [
    1.366, 1.191, 1.112, 1.013, 0.991, 0.885, 0.831, 0.847, 0.786, 0.725, 0.746, 0.679, 0.608, 0.655, 0.616,
    0.606, 0.602, 0.626, 0.651, 0.724, 0.649, 0.649, 0.694, 0.644, 0.624, 0.661, 0.612, 0.558, 0.533, 0.495,
    0.500, 0.423, 0.395, 0.375, 0.372, 0.391, 0.396, 0.405, 0.428, 0.429, 0.523, 0.562, 0.607, 0.653, 0.672,
    0.708, 0.633, 0.668, 0.645, 0.632, 0.591, 0.559, 0.597, 0.625, 0.739, 0.710, 0.729, 0.720, 0.636, 0.581,
    0.428, 0.292, 0.162, 0.098, 0.054,
];

/// Residual `i` (from 0) of a problem.
fn residual(name: &str, x: &[Dual], i: usize) -> Dual {
    let t = (i + 1) as f64;
    match name {
        "rosenbrock" => [10.0 * (x[1] - x[0].square()), 1.0 - x[0]][i],
        "freudenstein_roth" => {
            let [a, b, sign, c] = [[-13.0, 5.0, -1.0, 2.0], [-29.0, 1.0, 1.0, 14.0]][i];
            x[0] + a + ((b + sign * x[1]) * x[1] - c) * x[1]
        }
        "powell_badly_scaled" => [1e4 * x[0] * x[1] - 1.0, (-x[0]).exp() + (-x[1]).exp() - 1.0001][i],
        "brown_badly_scaled" => [x[0] - 1e6, x[1] - 2e-6, x[0] * x[1] - 2.0][i],
        "beale" => [1.5, 2.25, 2.625][i] - x[0] * (1.0 - x[1].powf(t)),
        "jennrich_sampson" => 2.0 + 2.0 * t - ((t * x[0]).exp() + (t * x[1]).exp()),
        "helical_valley" => {
            let half = if x[0].value < 0.0 { 0.5 } else { 0.0 };
            let theta = (x[1] / x[0]).atan() / (2.0 * std::f64::consts::PI) + half;
            [10.0 * (x[2] - 10.0 * theta), 10.0 * ((x[0].square() + x[1].square()).sqrt() - 1.0), x[2]][i]
        }
        "bard" => BARD[i] - (x[0] + t / ((16.0 - t) * x[1] + t.min(16.0 - t) * x[2])),
        "gaussian" => x[0] * (-x[1] * ((8.0 - t) / 2.0 - x[2]).square() / 2.0).exp() - GAUSSIAN[i],
        "meyer" => x[0] * (x[1] / (45.0 + 5.0 * t + x[2])).exp() - MEYER[i],
        "gulf" => {
            let time = t / 100.0;
            let y = 25.0 + (-50.0 * time.ln()).powf(2.0 / 3.0);
            (-((y - x[1]).abs().pow(x[2]) / x[0])).exp() - time
        }
        "box3d" => {
            let t = 0.1 * t;
            (-t * x[0]).exp() - (-t * x[1]).exp() - x[2] * ((-t).exp() - (-10.0 * t).exp())
        }
        "powell_singular" => [
            x[0] + 10.0 * x[1],
            5.0_f64.sqrt() * (x[2] - x[3]),
            (x[1] - 2.0 * x[2]).square(),
            10.0_f64.sqrt() * (x[0] - x[3]).square(),
        ][i],
        "wood" => [
            10.0 * (x[1] - x[0].square()),
            1.0 - x[0],
            90.0_f64.sqrt() * (x[3] - x[2].square()),
            1.0 - x[2],
            10.0_f64.sqrt() * (x[1] + x[3] - 2.0),
            (x[1] - x[3]) / 10.0_f64.sqrt(),
        ][i],
        "kowalik_osborne" => {
            let [y, u] = KOWALIK[i];
            y - x[0] * (u * u + u * x[1]) / (u * u + u * x[2] + x[3])
        }
        "brown_dennis" => {
            let t = t / 5.0;
            (x[0] + t * x[1] - t.exp()).square() + (x[2] + x[3] * t.sin() - t.cos()).square()
        }
        "osborne1" => {
            let t = 10.0 * i as f64;
            OSBORNE1[i] - (x[0] + x[1] * (-t * x[3]).exp() + x[2] * (-t * x[4]).exp())
        }
        "biggs_exp6" => {
            let t = 0.1 * t;
            let y = (-t).exp() - 5.0 * (-10.0 * t).exp() + 3.0 * (-4.0 * t).exp();
            x[2] * (-t * x[0]).exp() - x[3] * (-t * x[1]).exp() + x[5] * (-t * x[4]).exp() - y
        }
        "osborne2" => {
            let t = 0.1 * i as f64;
            let bump = |height: usize, width: usize, place: usize| {
                x[height] * (-x[width] * (t - x[place]).square()).exp()
            };
            let model = x[0] * (-t * x[4]).exp() + bump(1, 5, 8) + bump(2, 6, 9) + bump(3, 7, 10);
            OSBORNE2[i] - model
        }
        _ => unreachable!("{name}"),
    }
}

/// What Levenberg-Marquardt and L-BFGS-B find, within the bounds where wanted.
fn solve(case: &Case, bounded: Option<Bounded>) -> [Report; 2] {
    let n = case.start.len();
    let (n_residuals, bounds) = match bounded {
        Some(b) => (b.n_residuals, Bounds { lower: b.lower.to_vec(), upper: b.upper.to_vec() }),
        None => (case.n_residuals, Bounds::none(n)),
    };
    let problem = Problem::new(n, n_residuals, |x, i| residual(case.name, x, i));
    let lm = LevenbergMarquardtSettings {
        cost_tolerance: 1e-15,
        step_tolerance: 1e-15,
        gradient_tolerance: 1e-15,
        n_passes_max: 10_000,
        ..Default::default()
    };
    let lbfgsb = LbfgsbSettings {
        cost_tolerance: 0.0,
        gradient_tolerance: 1e-14,
        n_passes_max: 20_000,
        ..Default::default()
    };
    let reports = [
        levenberg_marquardt::minimize(&problem, Loss::LINEAR, case.start, &bounds, &lm).unwrap(),
        lbfgsb::minimize(&problem, Loss::LINEAR, case.start, &bounds, &lbfgsb).unwrap(),
    ];
    for report in &reports {
        let examination = examine(&problem, Loss::LINEAR, &report.parameters, &bounds);
        assert_eq!(examination.bound_violation_max, 0.0, "{}", case.name);
        assert!((examination.cost - report.cost).abs() <= 1e-12 * report.cost, "{}", case.name);
    }
    reports
}

/// Whether a sum of squares agrees with the published one: four digits, or 1e-8 where that is zero.
fn is_solved(report: &Report, least: f64) -> bool {
    let found = 2.0 * report.cost;
    if least == 0.0 { found < 1e-8 } else { found <= least * (1.0 + 1e-4) }
}

/// The problems that an optimizer, the first or the second of [`solve`], leaves unsolved.
fn unsolved(optimizer: usize, bounded: bool) -> Vec<&'static str> {
    let is_left = |case: &&Case| {
        let least = case.bounded.filter(|_| bounded).map_or(case.least, |b| b.least);
        let report = &solve(case, case.bounded.filter(|_| bounded))[optimizer];
        !is_solved(report, least)
    };
    CASES.iter().filter(|case| !bounded || case.bounded.is_some()).filter(is_left).map(|c| c.name).collect()
}

#[test]
fn levenberg_marquardt_solves_18_of_19() {
    // freudenstein_roth leads every local method into its second minimum
    assert_eq!(unsolved(0, false), ["freudenstein_roth"]);
}

#[test]
fn lbfgsb_solves_16_of_19() {
    let left = unsolved(1, false);
    println!("L-BFGS-B: not {left:?}");
    assert!(CASES.len() - left.len() >= 16, "{left:?}");
    let known = ["freudenstein_roth", "biggs_exp6", "powell_badly_scaled", "meyer"];
    assert!(left.iter().all(|name| known.contains(name)), "{left:?}");
}

#[test]
fn of_10_within_bounds_levenberg_marquardt_solves_9_and_lbfgsb_8() {
    assert_eq!(CASES.iter().filter(|case| case.bounded.is_some()).count(), 10);
    // within its bounds, the start of gulf lies on a plateau
    assert_eq!(unsolved(0, true), ["gulf"]);
    let left = unsolved(1, true);
    assert!(left.iter().all(|name| ["gulf", "powell_badly_scaled"].contains(name)), "{left:?}");
}

//! The statistical reference datasets for nonlinear regression of the National Institute of Standards and Technology:
//! 27 problems, each from two starts.

use std::f64::consts::{PI, TAU};

use super::dual::Dual;
use super::nist_data::{DATA, Data};
use super::problem::Problem;
use crate::analysis::optimizers::lbfgsb::{self, LbfgsbSettings};
use crate::analysis::optimizers::levenberg_marquardt::{self, LevenbergMarquardtSettings};
use crate::analysis::optimizers::{Bounds, Loss, Report, Residuals, examine};

/// Digits at which a problem counts as solved.
const N_DIGITS_SOLVED: f64 = 4.0;

/// What the published model says at parameters `b` and predictors `x`.
fn model(name: &str, b: &[Dual], x: &[f64]) -> Dual {
    let t = x[0];
    let decay = |height: usize, rate: usize| b[height] * (-b[rate] * t).exp();
    let bump =
        |height: usize, place: usize, width: usize| b[height] * (-((t - b[place]) / b[width]).square()).exp();
    let wave = |cos: usize, sin: usize, phase: Dual| b[cos] * phase.cos() + b[sin] * phase.sin();
    let polynomial =
        |terms: &[usize]| terms.iter().rev().fold(Dual::from(0.0), |sum, &term| sum * t + b[term]);
    match name {
        "Bennett5" => b[0] * (b[1] + t).pow(-1.0 / b[2]),
        "BoxBOD" | "Misra1a" => b[0] * (1.0 - (-b[1] * t).exp()),
        "Chwirut1" | "Chwirut2" => (-b[0] * t).exp() / (b[1] + b[2] * t),
        "DanWood" => b[0] * Dual::from(t).pow(b[1]),
        "ENSO" => {
            let year = wave(1, 2, Dual::from(TAU * t / 12.0));
            b[0] + year + wave(4, 5, TAU * t / b[3]) + wave(7, 8, TAU * t / b[6])
        }
        "Eckerle4" => b[0] / b[1] * (-((t - b[2]) / b[1]).square() / 2.0).exp(),
        "Gauss1" | "Gauss2" | "Gauss3" => decay(0, 1) + bump(2, 3, 4) + bump(5, 6, 7),
        "Hahn1" | "Thurber" => polynomial(&[0, 1, 2, 3]) / (1.0 + t * polynomial(&[4, 5, 6])),
        "Kirby2" => polynomial(&[0, 1, 2]) / (1.0 + t * polynomial(&[3, 4])),
        "Lanczos1" | "Lanczos2" | "Lanczos3" => decay(0, 1) + decay(2, 3) + decay(4, 5),
        "MGH09" => b[0] * (t * t + t * b[1]) / (t * t + t * b[2] + b[3]),
        "MGH10" => b[0] * (b[1] / (t + b[2])).exp(),
        "MGH17" => b[0] + decay(1, 3) + decay(2, 4),
        "Misra1b" => b[0] * (1.0 - 1.0 / (1.0 + b[1] * t / 2.0).square()),
        "Misra1c" => b[0] * (1.0 - 1.0 / (1.0 + 2.0 * b[1] * t).sqrt()),
        "Misra1d" => b[0] * b[1] * t / (1.0 + b[1] * t),
        "Nelson" => b[0] - b[1] * t * (-b[2] * x[1]).exp(),
        "Rat42" => b[0] / (1.0 + (b[1] - b[2] * t).exp()),
        "Rat43" => b[0] / (1.0 + (b[1] - b[2] * t).exp()).pow(1.0 / b[3]),
        "Roszman1" => b[0] - b[1] * t - (b[2] / (t - b[3])).atan() / PI,
        _ => unreachable!("{name}"),
    }
}

/// The residuals of a dataset with parameters in `units`.
fn problem<'a>(data: &'a Data, units: &[f64]) -> Problem<impl Fn(&[Dual], usize) -> Dual + use<'a>> {
    let n_predictors = data.x.len() / data.y.len();
    // the published model of one dataset is that of a logarithm
    let is_logarithm = data.name == "Nelson";
    let residual = move |b: &[Dual], index: usize| {
        let seen = if is_logarithm { data.y[index].ln() } else { data.y[index] };
        model(data.name, b, &data.x[index * n_predictors..]) - seen
    };
    Problem { units: units.to_vec(), ..Problem::new(units.len(), data.y.len(), residual) }
}

/// Digits that agree with the certified value in the worst parameter (log relative error), 0 to 11.
fn digits(found: &[f64], certified: &[f64]) -> f64 {
    let of = |(found, certified): (&f64, &f64)| -((found / certified - 1.0).abs()).log10();
    let worst = found.iter().zip(certified).map(of).fold(11.0, f64::min);
    if worst.is_nan() { 0.0 } else { worst.max(0.0) }
}

/// Solves all 54 problems; returns the digits found, by problem and start.
fn solve_all(mut solve: impl FnMut(&Data, &[f64]) -> Vec<f64>) -> Vec<(String, f64)> {
    let each = |data: &'static Data| (0..2).map(move |start| (data, start));
    DATA.iter()
        .flat_map(each)
        .map(|(data, start)| {
            let found = solve(data, data.starts[start]);
            (format!("{} from start {}", data.name, start + 1), digits(&found, data.certified))
        })
        .collect()
}

/// How many are solved, the mean of the digits, and which are not solved.
fn score(found: &[(String, f64)]) -> (usize, f64, Vec<&str>) {
    let unsolved: Vec<_> =
        found.iter().filter(|(_, digits)| *digits < N_DIGITS_SOLVED).map(|(name, _)| name.as_str()).collect();
    let mean = found.iter().map(|(_, digits)| digits).sum::<f64>() / found.len() as f64;
    (found.len() - unsolved.len(), mean, unsolved)
}

fn levenberg_marquardt_from(problem: &impl Residuals, start: &[f64]) -> Report {
    let settings = LevenbergMarquardtSettings {
        cost_tolerance: 1e-15,
        step_tolerance: 1e-15,
        gradient_tolerance: 1e-15,
        n_passes_max: 10_000,
        ..Default::default()
    };
    levenberg_marquardt::minimize(problem, Loss::LINEAR, start, &Bounds::none(start.len()), &settings)
        .unwrap()
}

#[test]
fn levenberg_marquardt_solves_53_of_54_to_9_digits_in_the_mean() {
    let found = solve_all(|data, start| {
        let ones = vec![1.0; start.len()];
        levenberg_marquardt_from(&problem(data, &ones), start).parameters
    });
    let (n_solved, mean, unsolved) = score(&found);
    println!("Levenberg-Marquardt: {n_solved} of {}, {mean:.2} digits, not {unsolved:?}", found.len());
    assert!(n_solved >= 53 && mean >= 9.0, "{n_solved}, {mean:.2} digits, not {unsolved:?}");
}

#[test]
fn lbfgsb_solves_43_of_54_in_units_of_the_start() {
    let settings = LbfgsbSettings {
        cost_tolerance: 0.0,
        gradient_tolerance: 1e-14,
        n_passes_max: 20_000,
        ..Default::default()
    };
    let found = solve_all(|data, start| {
        let (ones, bounds) = (vec![1.0; start.len()], Bounds::none(start.len()));
        let report =
            lbfgsb::minimize(&problem(data, start), Loss::LINEAR, &ones, &bounds, &settings).unwrap();
        report.parameters.iter().zip(start).map(|(value, unit)| value * unit).collect()
    });
    let (n_solved, mean, unsolved) = score(&found);
    println!("L-BFGS-B: {n_solved} of {}, {mean:.2} digits, not {unsolved:?}", found.len());
    assert!(n_solved >= 43, "{n_solved}, {mean:.2} digits, not {unsolved:?}");
}

#[test]
fn the_covariance_gives_the_certified_standard_deviations() {
    let mut n_compared = 0;
    for data in &DATA {
        let n = data.certified.len();
        let problem = problem(data, &vec![1.0; n]);
        let report = levenberg_marquardt_from(&problem, data.starts[1]);
        // an exact fit has no scatter: its published deviations are rounding errors
        if digits(&report.parameters, data.certified) < 6.0 || report.cost < 1e-15 {
            continue;
        }
        let examination = examine(&problem, Loss::LINEAR, &report.parameters, &Bounds::none(n));
        let covariance = examination.covariance.unwrap();
        let errors: Vec<_> = (0..n).map(|i| covariance[i * n + i].sqrt()).collect();
        let found = digits(&errors, data.deviations);
        assert!(found >= 4.0, "{}: {errors:?}, not {:?}", data.name, data.deviations);
        n_compared += 1;
    }
    assert!(n_compared >= 24, "{n_compared} datasets");
}

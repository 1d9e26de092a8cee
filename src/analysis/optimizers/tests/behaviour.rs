//! Robust losses, bounds, degenerate and hostile problems, counters and traces.

use proptest::prelude::*;

use super::dual::Dual;
use super::problem::Problem;
use crate::analysis::optimizers::lbfgsb::{self, LbfgsbSettings};
use crate::analysis::optimizers::levenberg_marquardt::{self, LevenbergMarquardtSettings};
use crate::analysis::optimizers::{
    Bounds, Loss, LossKind, OptimizerError, Report, Residuals, StopReason, examine,
};

/// What Levenberg-Marquardt and L-BFGS-B find.
fn both(
    problem: &impl Residuals,
    loss: Loss,
    start: &[f64],
    bounds: &Bounds,
) -> Result<[Report; 2], OptimizerError> {
    let lm = LevenbergMarquardtSettings { n_trace_points: 50, ..Default::default() };
    let lbfgsb = LbfgsbSettings { n_trace_points: 50, ..Default::default() };
    Ok([
        levenberg_marquardt::minimize(problem, loss, start, bounds, &lm)?,
        lbfgsb::minimize(problem, loss, start, bounds, &lbfgsb)?,
    ])
}

/// A line through ten points, three of which lie far off.
fn line() -> Problem<impl Fn(&[Dual], usize) -> Dual> {
    Problem::new(2, 10, |b, i| {
        let outlier = if i % 4 == 1 { 20.0 } else { 0.0 };
        let wiggle = [0.1, -0.1, 0.05][i % 3];
        b[0] + b[1] * i as f64 - (2.0 + 0.5 * i as f64 + wiggle + outlier)
    })
}

#[test]
fn robust_losses_resist_outliers_and_both_optimizers_agree() {
    for kind in [LossKind::SoftL1, LossKind::Huber, LossKind::Cauchy, LossKind::Tukey] {
        let loss = Loss { kind, scale: 0.5 };
        let [lm, lbfgsb] = both(&line(), loss, &[2.2, 0.45], &Bounds::none(2)).unwrap();
        for report in [&lm, &lbfgsb] {
            assert!(report.stop_reason.is_converged(), "{kind:?}: {report:?}");
            let off = (report.parameters[0] - 2.0).abs() + (report.parameters[1] - 0.5).abs();
            assert!(off < 0.5, "{kind:?}: {report:?}");
            let examination = examine(&line(), loss, &report.parameters, &Bounds::none(2));
            assert!(examination.projected_gradient_max < 1e-6, "{kind:?}: {examination:?}");
        }
        assert!((lm.cost / lbfgsb.cost - 1.0).abs() < 1e-10, "{kind:?}: {} {}", lm.cost, lbfgsb.cost);
    }
}

#[test]
fn every_residual_pass_is_counted_and_traced() {
    let [lm, lbfgsb] = both(&line(), Loss::LINEAR, &[0.0, 0.0], &Bounds::none(2)).unwrap();
    for report in [lm, lbfgsb] {
        assert_eq!(report.trace.len(), report.n_residual_passes as usize);
        let points: Vec<_> = report.trace.points().collect();
        assert_eq!((points[0].n_passes, points[0].parameters), (1, &[0.0, 0.0][..]));
        assert!(points.windows(2).all(|pair| pair[0].n_passes < pair[1].n_passes));
        let best = points.iter().find(|point| point.parameters == report.parameters).unwrap();
        assert_eq!(best.cost, report.cost);
    }
}

#[test]
fn a_trace_ends_when_it_is_full() {
    let settings = LbfgsbSettings { n_trace_points: 2, ..Default::default() };
    let report = lbfgsb::minimize(&line(), Loss::LINEAR, &[0.0, 0.0], &Bounds::none(2), &settings).unwrap();
    assert_eq!(report.trace.len(), 2);
    assert!(report.n_residual_passes > 2);
}

#[test]
fn a_start_outside_is_moved_into_the_box_and_stays_there() {
    let bounds = Bounds { lower: vec![5.0, 0.0], upper: vec![6.0, 0.1] };
    for report in both(&line(), Loss::LINEAR, &[-100.0, 100.0], &bounds).unwrap() {
        let examination = examine(&line(), Loss::LINEAR, &report.parameters, &bounds);
        assert_eq!(examination.bound_violation_max, 0.0);
        assert!(examination.projected_gradient_max < 1e-8, "{report:?}");
        assert!(report.stop_reason.is_converged());
    }
}

#[test]
fn a_box_of_one_point_leaves_nothing_to_do() {
    let bounds = Bounds { lower: vec![1.0, 0.5], upper: vec![1.0, 0.5] };
    for report in both(&line(), Loss::LINEAR, &[0.0, 0.0], &bounds).unwrap() {
        assert_eq!((report.parameters, report.stop_reason), (vec![1.0, 0.5], StopReason::Gradient));
    }
}

#[test]
fn parameters_that_the_residuals_do_not_see_stay_and_have_no_covariance() {
    let problem = Problem::new(3, 5, |b, i| b[0] + b[1] - i as f64);
    for report in both(&problem, Loss::LINEAR, &[0.0, 0.0, 7.0], &Bounds::none(3)).unwrap() {
        assert!(report.stop_reason.is_converged(), "{report:?}");
        assert!((report.parameters[0] + report.parameters[1] - 2.0).abs() < 1e-9);
        assert_eq!(report.parameters[2], 7.0);
        let examination = examine(&problem, Loss::LINEAR, &report.parameters, &Bounds::none(3));
        assert_eq!(examination.covariance, None);
    }
}

#[test]
fn an_exact_fit_is_named_and_has_no_covariance_without_surplus() {
    let problem = Problem::new(2, 2, |b, i| b[i] - 3.0);
    for report in both(&problem, Loss::LINEAR, &[3.0, 3.0], &Bounds::none(2)).unwrap() {
        assert_eq!((report.stop_reason, report.cost), (StopReason::ExactFit, 0.0));
        assert_eq!(examine(&problem, Loss::LINEAR, &report.parameters, &Bounds::none(2)).covariance, None);
    }
}

#[test]
fn a_start_without_numbers_is_named() {
    let problem = Problem::new(1, 2, |b, _| b[0].ln());
    for report in both(&problem, Loss::LINEAR, &[-1.0], &Bounds::none(1)).unwrap() {
        assert_eq!((report.stop_reason, report.n_residual_passes), (StopReason::NotFinite, 1));
    }
}

#[test]
fn a_hole_in_the_way_is_walked_around() {
    // the first full step leads to where the logarithm is not defined
    let problem = Problem::new(1, 1, |b, _| b[0].ln() - 0.1);
    for report in both(&problem, Loss::LINEAR, &[5.0], &Bounds::none(1)).unwrap() {
        assert!((report.parameters[0] - 0.1_f64.exp()).abs() < 1e-6, "{report:?}");
    }
}

#[test]
fn passes_are_limited() {
    let problem = Problem::new(2, 2, |x, i| [10.0 * (x[1] - x[0].square()), 1.0 - x[0]][i]);
    let lm = LevenbergMarquardtSettings { n_passes_max: 4, ..Default::default() };
    let lbfgsb = LbfgsbSettings { n_passes_max: 4, ..Default::default() };
    let (start, bounds) = ([-1.2, 1.0], Bounds::none(2));
    for report in [
        levenberg_marquardt::minimize(&problem, Loss::LINEAR, &start, &bounds, &lm).unwrap(),
        lbfgsb::minimize(&problem, Loss::LINEAR, &start, &bounds, &lbfgsb).unwrap(),
    ] {
        assert_eq!((report.stop_reason, report.n_residual_passes), (StopReason::Passes, 4));
    }
}

#[test]
fn what_cannot_be_started_on_is_refused() {
    let none = Bounds::none(2);
    let refused =
        |start: &[f64], bounds: &Bounds, loss: Loss| both(&line(), loss, start, bounds).unwrap_err();
    let linear = Loss::LINEAR;
    assert_eq!(refused(&[0.0], &none, linear), OptimizerError::Length { expected: 2, found: 1 });
    assert_eq!(refused(&[0.0, f64::NAN], &none, linear), OptimizerError::Start { index: 1 });
    let crossed = Bounds { lower: vec![0.0, 1.0], upper: vec![0.0, 0.5] };
    assert_eq!(refused(&[0.0; 2], &crossed, linear), OptimizerError::Bounds { index: 1 });
    let unknown = Bounds { lower: vec![f64::NAN, 0.0], upper: vec![1.0; 2] };
    assert_eq!(refused(&[0.0; 2], &unknown, linear), OptimizerError::Bounds { index: 0 });
    let flat = Loss { kind: LossKind::Cauchy, scale: 0.0 };
    assert!(matches!(refused(&[0.0; 2], &none, flat), OptimizerError::Setting { .. }));
    let empty = Problem::new(0, 3, |_, _| Dual::from(1.0));
    assert!(matches!(both(&empty, linear, &[], &Bounds::none(0)), Err(OptimizerError::Size { .. })));
    let mut odd = Problem::new(1, 3, |b, _| b[0]);
    odd.block_len = 2;
    assert!(matches!(both(&odd, linear, &[0.0], &Bounds::none(1)), Err(OptimizerError::Block { .. })));
}

#[test]
fn the_covariance_of_a_mean_is_its_textbook_value() {
    let data = [1.0, 2.0, 4.0, 7.0];
    let problem = Problem::new(1, 4, |b, i| b[0] - data[i]);
    let [report, _] = both(&problem, Loss::LINEAR, &[0.0], &Bounds::none(1)).unwrap();
    let covariance =
        examine(&problem, Loss::LINEAR, &report.parameters, &Bounds::none(1)).covariance.unwrap();
    // variance 7 of the data, over 4
    assert!((covariance[0] - 1.75).abs() < 1e-12, "{covariance:?}");
}

proptest! {
    /// A convex problem in a random box has one minimum: both end there, inside, whatever the start.
    #[test]
    fn both_end_at_the_minimum_of_a_convex_problem_in_a_box(
        matrix in prop::array::uniform12(-2.0..2.0_f64),
        aim in prop::array::uniform4(-3.0..3.0_f64),
        corner in prop::array::uniform3(-2.0..1.0_f64),
        size in prop::array::uniform3(0.0..3.0_f64),
        start in prop::array::uniform3(-5.0..5.0_f64),
    ) {
        let problem = Problem::new(3, 7, |b, i| {
            if i < 4 {
                matrix[3 * i] * b[0] + matrix[3 * i + 1] * b[1] + matrix[3 * i + 2] * b[2] - aim[i]
            } else {
                0.1 * b[i - 4]
            }
        });
        let upper = corner.iter().zip(size).map(|(lower, size)| lower + size).collect();
        let bounds = Bounds { lower: corner.to_vec(), upper };
        let reports = both(&problem, Loss::LINEAR, &start, &bounds).unwrap();
        for report in &reports {
            let examination = examine(&problem, Loss::LINEAR, &report.parameters, &bounds);
            prop_assert_eq!(examination.bound_violation_max, 0.0);
            prop_assert!(examination.projected_gradient_max < 1e-5, "{:?}", report);
        }
        let [lm, lbfgsb] = reports;
        prop_assert!((lm.cost - lbfgsb.cost).abs() <= 1e-9 * (1.0 + lm.cost), "{:?} {:?}", lm, lbfgsb);
    }
}

use std::f64::consts::{PI, TAU};

use super::*;
use crate::analysis::optimizers::Residuals;
use crate::analysis::registration::models::PairResiduals;
use crate::analysis::synthesis::Random;

const KINDS: [LossKind; 5] =
    [LossKind::Linear, LossKind::SoftL1, LossKind::Huber, LossKind::Cauchy, LossKind::Tukey];

/// Points over a field of 2048 px, their images under `truth` with noise, the first `share_wrong` of them elsewhere.
fn pairs(truth: &Affine, n: usize, noise_px: f64, share_wrong: f64) -> (Vec<[f64; 2]>, Vec<[f64; 2]>) {
    let mut random = Random::new(n as u64);
    let mut point = |size: f64| [size * random.uniform(), size * random.uniform()];
    let moving: Vec<_> = (0..n).map(|_| point(2048.0)).collect();
    let wrong: Vec<_> = (0..n).map(|_| point(512.0)).collect();
    let mut random = Random::new(17);
    let image = |(index, from): (usize, &[f64; 2])| {
        let [x, y] = truth.apply(*from);
        let noisy = [x + noise_px * random.normal(), y + noise_px * random.normal()];
        if (index as f64) < share_wrong * n as f64 { wrong[index] } else { noisy }
    };
    let reference = moving.iter().enumerate().map(image).collect();
    (moving, reference)
}

fn settings(model: Model) -> FitSettings {
    FitSettings { model, ..FitSettings::default() }
}

/// Greatest distance between two maps over the corners of the field.
fn distance(one: &Affine, two: &Affine) -> f64 {
    let corners = [[0.0, 0.0], [2048.0, 0.0], [0.0, 2048.0], [2048.0, 2048.0]];
    let apart = |corner: [f64; 2]| {
        let ([x, y], [u, v]) = (one.apply(corner), two.apply(corner));
        (x - u).hypot(y - v)
    };
    corners.into_iter().map(apart).fold(0.0, f64::max)
}

#[test]
fn both_optimizers_end_at_the_closed_form_for_any_rotation_and_mirror() {
    for model in [Model::Similarity, Model::Anisotropic, Model::Affine] {
        for mirrored in [false, true] {
            for degrees in [-170.0, -90.0, -22.6, 0.0, 3.0, 90.0, 178.0, 180.0_f64] {
                let stretch = if model == Model::Similarity { 1.0 } else { 1.1 };
                let axes = Affine::from_parts([[0.25, 0.0], [0.0, 0.25 * stretch]], [0.0, 0.0]);
                let turned = Affine::similarity(1.0, degrees.to_radians(), false, [300.0, -40.0]);
                let mirror = Affine::similarity(1.0, 0.0, mirrored, [0.0, 0.0]);
                let truth = turned.after(&axes).after(&mirror);
                let (moving, reference) = pairs(&truth, 60, 0.5, 0.0);
                let fit =
                    fit_pairs(&moving, &reference, &FitSettings { mirrored, ..settings(model) }).unwrap();
                assert_eq!((fit.chosen, fit.chosen_by), (Method::Lm, ChosenBy::Benchmark));
                assert!(fit.optimizers_apart_px.unwrap() < 1e-6, "{fit:?}");
                let direct = fit.closed_form.unwrap();
                let context = format!("{model:?} {mirrored} {degrees}");
                assert!(distance(&direct.reference_from_moving, &truth) < 1.0, "{context}");
                for found in [&fit.lm, &fit.lbfgsb] {
                    assert!(found.report.stop_reason.is_converged(), "{context}: {found:?}");
                    let off = distance(&found.reference_from_moving, &direct.reference_from_moving);
                    assert!(off < 1e-6, "{context}: {off} px off, {found:?}");
                    assert!(found.examination.projected_gradient_max < 1e-8, "{context}");
                }
                assert_eq!(fit.reference_from_moving.decompose().mirrored, mirrored, "{context}");
            }
        }
    }
}

#[test]
fn active_bounds_are_kept_and_both_agree_for_every_loss() {
    let truth = Affine::similarity(0.2575, -0.14, false, [514.0, 420.0]);
    let (moving, reference) = pairs(&truth, 200, 1.0, 0.0);
    for model in [Model::Similarity, Model::Anisotropic] {
        for loss in KINDS {
            let bounds = FitBounds { scale: Some([0.2475, 0.2525]), theta_rad: Some([-0.1, 0.1]) };
            let start = FitStart { scale: Some(0.25), rotation_rad: Some(0.0), ..FitStart::default() };
            let settings = FitSettings { loss, bounds, start, ..settings(model) };
            let fit = fit_pairs(&moving, &reference, &settings).unwrap();
            assert_eq!((fit.chosen, fit.chosen_by), (Method::Lbfgsb, ChosenBy::Benchmark), "{loss:?}");
            let gap = (fit.lm.rmsd_px - fit.lbfgsb.rmsd_px).abs() / fit.rmsd_px;
            assert!(gap < 1e-6, "{model:?} {loss:?}: {gap:e}");
            for found in [fit.lm, fit.lbfgsb] {
                assert_eq!(found.examination.bound_violation_max, 0.0);
                let rotation = found.parameters[model.n_scales()];
                assert!((found.parameters[0] - 0.2525).abs() < 1e-12, "{model:?} {loss:?}: {found:?}");
                assert!((rotation + 0.1).abs() < 1e-12, "{model:?} {loss:?}: {found:?}");
            }
        }
    }
}

#[test]
fn a_third_of_wrong_pairs_spoils_least_squares_but_not_the_robust_losses() {
    let truth = Affine::similarity(0.25, 0.1, false, [40.0, 60.0]);
    let (moving, reference) = pairs(&truth, 300, 0.5, 0.3);
    for loss in KINDS {
        let start = FitStart { scale: Some(0.25), rotation_rad: Some(0.0), ..FitStart::default() };
        let fit =
            fit_pairs(&moving, &reference, &FitSettings { loss, start, ..FitSettings::default() }).unwrap();
        let off = distance(&fit.reference_from_moving, &truth);
        if loss == LossKind::Linear {
            assert!(off > 10.0, "{off}");
        } else {
            assert!(off < 2.0, "{loss:?}: {off}");
        }
        let apart = distance(&fit.lm.reference_from_moving, &fit.lbfgsb.reference_from_moving);
        assert!(apart < 1e-4, "{loss:?}: {apart}");
    }
}

/// Of a similarity with noise `sigma`, scale and rotation have the standard errors `sigma / (radius root N)`, the
/// former relative; and the shift is where the origin lands.
#[test]
fn standard_errors_are_those_of_theory() {
    let truth = Affine::similarity(0.25, 0.3, false, [40.0, 60.0]);
    let (sigma, n) = (0.7, 4000);
    let (moving, reference) = pairs(&truth, n, sigma, 0.0);
    let radius = 0.25 * 2048.0 / 6.0_f64.sqrt();
    let expected = sigma / (radius * (n as f64).sqrt());
    let distance_of_origin = 0.25 * 1024.0 * 2.0_f64.sqrt();
    let shift = sigma / (n as f64).sqrt() * (1.0 + (distance_of_origin / radius).powi(2)).sqrt();
    for loss in [LossKind::Linear, LossKind::SoftL1] {
        // so wide a loss is nearly least squares, but its errors come from the sandwich
        let settings = FitSettings { loss, loss_scale_px: 50.0, ..FitSettings::default() };
        let errors = fit_pairs(&moving, &reference, &settings).unwrap().lm.standard_errors.unwrap();
        let expected = [0.25 * expected, expected, shift, shift];
        for (found, expected) in errors.iter().zip(expected) {
            assert!((found / expected - 1.0).abs() < 0.05, "{loss:?}: {errors:?}, not {expected:?}");
        }
    }
}

#[test]
fn the_order_of_the_pairs_does_not_matter() {
    let truth = Affine::similarity(0.25, 2.0, false, [40.0, 60.0]);
    let (moving, reference) = pairs(&truth, 50, 0.5, 0.0);
    let turned = |points: &[[f64; 2]]| points.iter().rev().copied().collect::<Vec<_>>();
    let one = fit_pairs(&moving, &reference, &FitSettings::default()).unwrap();
    let two = fit_pairs(&turned(&moving), &turned(&reference), &FitSettings::default()).unwrap();
    assert!(distance(&one.reference_from_moving, &two.reference_from_moving) < 1e-9);
}

#[test]
fn far_away_and_tiny_fields_are_fitted_as_well() {
    for (size, place) in [(1e-6, 0.0), (1.0, 1e6), (1e9, -1e12)] {
        let truth = Affine::similarity(1.5, 0.4, false, [place, -place]);
        let moving: Vec<_> = [[0.0, 0.0], [1.0, 0.0], [0.0, 2.0], [3.0, 1.0]]
            .into_iter()
            .map(|[x, y]: [f64; 2]| [x * size + place, y * size])
            .collect();
        let reference: Vec<_> = moving.iter().map(|point| truth.apply(*point)).collect();
        let fit = fit_pairs(&moving, &reference, &FitSettings::default()).unwrap();
        let limit = 1e-9 * size + 1e-14 * f64::abs(place);
        assert!(fit.rmsd_px <= limit, "{size} {place}: {} px", fit.rmsd_px);
    }
}

#[test]
fn two_pairs_are_a_similarity_and_its_errors_are_unknown() {
    let fit =
        fit_pairs(&[[0.0, 0.0], [4.0, 0.0]], &[[1.0, 1.0], [1.0, 2.0]], &FitSettings::default()).unwrap();
    let truth = Affine::similarity(0.25, std::f64::consts::FRAC_PI_2, false, [1.0, 1.0]);
    assert!(distance(&fit.reference_from_moving, &truth) < 1e-8);
    assert_eq!(fit.lm.standard_errors, None);
}

#[test]
fn points_on_a_line_have_no_affine_closed_form_but_a_named_end() {
    let moving: Vec<_> = (0..5).map(|i| [f64::from(i), 2.0 * f64::from(i)]).collect();
    for model in [Model::Similarity, Model::Anisotropic, Model::Affine] {
        let fit = fit_pairs(&moving, &moving, &settings(model)).unwrap();
        assert_eq!(fit.closed_form.is_none(), model == Model::Affine, "{model:?}");
        assert!(fit.rmsd_px < 1e-6, "{model:?}: {}", fit.rmsd_px);
        assert!(fit.lm.report.stop_reason.is_converged() && fit.lbfgsb.report.stop_reason.is_converged());
    }
}

#[test]
fn what_cannot_be_fitted_is_refused() {
    let three = [[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]];
    let refused = |moving: &[[f64; 2]], reference: &[[f64; 2]], settings: &FitSettings| {
        fit_pairs(moving, reference, settings).unwrap_err().to_string()
    };
    let plain = FitSettings::default();
    assert!(refused(&three, &three[..2], &plain).starts_with("expected as many"));
    assert_eq!(refused(&[], &[], &plain), "expected 2 to 10000000 pairs, found 0");
    assert_eq!(refused(&three[..1], &three[..1], &plain), "expected 2 to 10000000 pairs, found 1");
    assert!(refused(&three[..2], &three[..2], &settings(Model::Affine)).contains("3 to"));
    for bad in [f64::NAN, f64::INFINITY, 1e200] {
        let spoilt = [[0.0, 0.0], [1.0, bad], [0.0, 1.0]];
        assert_eq!(refused(&three, &spoilt, &plain), "expected finite coordinates, found others in pair 1");
    }
    let same = [[1e9 + 0.1, 3.3]; 3];
    assert!(refused(&same, &three, &plain).contains("all moving points are in one place"));
    assert!(refused(&three, &same, &plain).contains("all reference points are in one place"));
    let bounded = |scale, theta_rad| FitBounds { scale, theta_rad };
    for bounds in [
        bounded(Some([0.0, 1.0]), None),
        bounded(Some([2.0, 1.0]), None),
        bounded(None, Some([1.0, f64::NAN])),
    ] {
        assert!(refused(&three, &three, &FitSettings { bounds, ..plain.clone() }).contains("bounds"));
    }
    let bounds = bounded(Some([0.5, 1.0]), None);
    assert!(refused(&three, &three, &FitSettings { bounds, ..settings(Model::Affine) }).contains("affine"));
    let start = FitStart { scale: Some(-1.0), ..FitStart::default() };
    assert!(refused(&three, &three, &FitSettings { start, ..plain.clone() }).contains("start"));
    for loss_scale_px in [0.0, 1e300, f64::NAN] {
        let settings = FitSettings { loss_scale_px, ..settings(Model::Similarity) };
        assert!(refused(&three, &three, &settings).contains("loss scale"));
    }
    // each in its range, but their ratio squared is not a number
    let tiny: Vec<_> = three.iter().map(|[x, y]| [1e-90 * x, 1e-90 * y]).collect();
    let loss = LossKind::Cauchy;
    let settings = FitSettings { loss, loss_scale_px: 1e100, ..settings(Model::Anisotropic) };
    assert!(refused(&tiny, &tiny, &settings).contains("no finite number"));
}

/// Numbers the deeds that are measured.
struct Deeds(u64);

impl Meter for Deeds {
    fn begin(&mut self) {
        self.0 += 1;
    }

    fn end(&mut self) -> Cost {
        Cost { peak_bytes: Some(self.0), ..Cost::default() }
    }
}

#[test]
fn costs_are_those_of_the_callers_meter() {
    let truth = Affine::similarity(0.25, 0.1, false, [40.0, 60.0]);
    let (moving, reference) = pairs(&truth, 10, 0.5, 0.0);
    let (fit, costs) =
        fit_pairs_measured(&moving, &reference, &FitSettings::default(), &mut Deeds(0)).unwrap();
    let peak_bytes = [costs.closed_form, costs.lbfgsb, costs.lm].map(|cost| cost.peak_bytes);
    assert_eq!(peak_bytes, [Some(1), Some(2), Some(3)]);
    assert_eq!(fit, fit_pairs(&moving, &reference, &FitSettings::default()).unwrap());
}

#[test]
fn bounds_around_half_a_turn_are_met_from_either_side() {
    let truth = Affine::similarity(0.25, -3.1, false, [40.0, 60.0]);
    let (moving, reference) = pairs(&truth, 30, 0.5, 0.0);
    let around = |middle: f64| Some([middle - 0.2, middle + 0.2]);
    for theta_rad in [around(-PI), around(PI), around(-3.0), around(TAU - 3.0)] {
        let bounds = FitBounds { scale: None, theta_rad };
        let settings = FitSettings { bounds, ..FitSettings::default() };
        let (prepared, _) = Prepared::new(&moving, &reference, &settings, &mut ()).unwrap();
        assert!(prepared.cost_least().is_some(), "{theta_rad:?}: the closed form lies within the bounds");
        let fit = fit_pairs(&moving, &reference, &settings).unwrap();
        let apart = distance(&fit.lm.reference_from_moving, &fit.reference_from_moving);
        assert!(apart < 1e-6, "{theta_rad:?}: {apart}");
    }
}

#[test]
fn the_settings_name_the_optimizer_and_auto_takes_the_lower_cost() {
    let truth = Affine::similarity(0.25, 0.1, false, [40.0, 60.0]);
    let (moving, reference) = pairs(&truth, 50, 0.5, 0.0);
    for (optimizer, expected) in
        [(OptimizerChoice::LevenbergMarquardt, Method::Lm), (OptimizerChoice::Lbfgsb, Method::Lbfgsb)]
    {
        let settings = FitSettings { optimizer, ..FitSettings::default() };
        let fit = fit_pairs(&moving, &reference, &settings).unwrap();
        assert_eq!((fit.chosen, fit.chosen_by), (expected, ChosenBy::Setting));
        let own = if expected == Method::Lm { &fit.lm } else { &fit.lbfgsb };
        assert_eq!((fit.reference_from_moving, fit.rmsd_px), (own.reference_from_moving, own.rmsd_px));
    }
    // Levenberg-Marquardt ends higher, or nowhere
    let settings = FitSettings::default();
    let (prepared, _) = Prepared::new(&moving, &reference, &settings, &mut ()).unwrap();
    let [lbfgsb, lm] = [prepared.lbfgsb().unwrap(), prepared.lm().unwrap()];
    let mut poor = lm.clone();
    poor.cost *= 1.01;
    poor.parameters[2] += 0.1;
    let fit = prepared.conclude(lbfgsb.clone(), poor.clone()).unwrap();
    assert_eq!((fit.chosen, fit.chosen_by), (Method::Lbfgsb, ChosenBy::Cost));
    assert!(fit.optimizers_apart_px.unwrap() > 1.0, "{:?}", fit.optimizers_apart_px);
    poor.stop_reason = crate::analysis::optimizers::StopReason::NotFinite;
    let fit = prepared.conclude(lbfgsb.clone(), poor.clone()).unwrap();
    assert_eq!((fit.chosen, fit.optimizers_apart_px), (Method::Lbfgsb, None));
    // neither: least squares are known without them
    let lost = lbfgsb.clone();
    let lost = crate::analysis::optimizers::Report { stop_reason: poor.stop_reason, ..lost };
    let fit = prepared.conclude(lost, poor).unwrap();
    assert_eq!(fit.chosen, Method::ClosedForm);
    assert_eq!(fit.reference_from_moving, fit.closed_form.unwrap().reference_from_moving);
    // one that ends a rounding apart is not beaten
    let mut near = lm.clone();
    near.cost *= 1.0 + 1e-12;
    assert_eq!(prepared.conclude(lbfgsb, near).unwrap().chosen_by, ChosenBy::Benchmark);
}

/// The short ways to gradient and triangle lead where those through the columns do.
#[test]
fn sums_and_compressed_rows_are_those_of_the_whole_jacobian() {
    let mut random = Random::new(5);
    for n in [4, 5, 7, 30] {
        let mut cloud = || (0..n).map(|_| [(); 2].map(|()| random.between(-1.5, 1.5))).collect::<Vec<_>>();
        let (moving, reference) = (cloud(), cloud());
        for (model, parameters) in [
            (Model::Similarity, vec![0.8, 2.5, 0.1, -0.2]),
            (Model::Anisotropic, vec![0.8, 1.3, -0.7, 0.1, -0.2]),
            (Model::Affine, vec![0.7, -0.4, 0.2, 1.1, 0.1, -0.2]),
        ] {
            let problem = PairResiduals::new(model, moving.clone(), reference.clone());
            let (m, k) = (problem.n_residuals(), parameters.len());
            let (mut residuals, mut columns) = (vec![0.0; m], vec![0.0; m * k]);
            problem.residuals(&parameters, &mut residuals);
            problem.jacobian_columns(&parameters, 0, &mut columns);
            let product =
                |left: &[f64], right: &[f64]| left.iter().zip(right).map(|(l, r)| l * r).sum::<f64>();
            let near = |found: f64, expected: f64| {
                assert!((found - expected).abs() < 1e-12, "{model:?} {n}: {found}, not {expected}");
            };
            let mut gradient = vec![0.0; k];
            assert!(problem.gradient(&parameters, &residuals, &mut gradient));
            let (mut few, mut right_side) = (vec![0.0; m * k], vec![0.0; m]);
            let n_few = problem.compress(&parameters, &residuals, &mut few, &mut right_side);
            assert_eq!(n_few, 6, "{n} points in general position");
            for (i, column) in columns.chunks_exact(m).enumerate() {
                near(gradient[i], product(column, &residuals));
                let short = &few[i * n_few..][..n_few];
                near(product(short, &right_side[..n_few]), gradient[i]);
                for (j, other) in columns.chunks_exact(m).enumerate() {
                    near(product(short, &few[j * n_few..][..n_few]), product(column, other));
                }
            }
        }
    }
    let on_a_line: Vec<_> = (-3..=3).map(|i| [f64::from(i), 2.0 * f64::from(i)]).collect();
    let problem = PairResiduals::new(Model::Similarity, on_a_line.clone(), on_a_line);
    let (mut columns, mut right_side) = (vec![0.0; 56], vec![0.0; 14]);
    assert_eq!(problem.compress(&[1.0, 0.0, 0.0, 0.0], &[0.0; 14], &mut columns, &mut right_side), 0);
}

//! Two views of generated nuclei: found again, or refused.

use super::*;
use crate::analysis::benchmark::scene::{NOMINAL_SCALE, Scene, Views, shuffle};
use crate::analysis::synthesis::Random;

mod near;

fn matched(views: &Views, settings: &Settings) -> Result<Match, Refusal> {
    let [moving, reference] = [&views.moving, &views.reference].map(|points| Field::new(points).unwrap());
    match_fields(&moving, &reference, settings)
}

/// Root mean square distance between two maps over the moving points.
fn distance(views: &Views, map: &Affine) -> f64 {
    let square = |point: &[f64; 2]| {
        let [[x, y], [u, v]] = [map.apply(*point), views.reference_from_moving.apply(*point)];
        (x - u).powi(2) + (y - v).powi(2)
    };
    (views.moving.iter().map(square).sum::<f64>() / views.moving.len() as f64).sqrt()
}

/// Least squares over the true pairs: no method can do better.
fn distance_of_true_pairs(views: &Views, mirrored: bool) -> f64 {
    let place = |&(m, r): &(usize, usize)| (views.moving[m], views.reference[r]);
    let (from, to): (Vec<_>, Vec<_>) = views.pairs.iter().map(place).unzip();
    let fit = fit::fit_pairs(&from, &to, &FitSettings { mirrored, ..Default::default() }).unwrap();
    distance(views, &fit.reference_from_moving)
}

/// Registers a scene several times over and asks for the precision that the true pairs would give.
fn check(scene: Scene) {
    for seed in 1..=3 {
        let views = Scene { seed, ..scene }.views();
        let found =
            matched(&views, &Settings::default()).unwrap_or_else(|refusal| panic!("{scene:?}: {refusal}"));
        assert_eq!(found.mirrored, scene.mirrored);
        let [error, floor] =
            [distance(&views, &found.reference_from_moving), distance_of_true_pairs(&views, scene.mirrored)];
        assert!(error <= 2.0 * floor.max(0.05), "{scene:?}: {error} px, with the true pairs {floor} px");
        let n_true = found.pairs.iter().filter(|pair| views.pairs.contains(pair)).count();
        let [precision, recall] = [found.pairs.len(), views.pairs.len()].map(|n| n_true as f64 / n as f64);
        assert!(precision >= 0.9 && recall >= 0.9, "{scene:?}: precision {precision}, recall {recall}");
    }
}

#[test]
fn a_field_is_found_in_its_overview() {
    check(Scene { noise_px: [0.0, 0.0], missed: 0.0, spurious: 0.0, merged: 0.0, ..Scene::default() });
    check(Scene::default());
    check(Scene { n: 6000, ..Scene::default() });
}

#[test]
fn any_rotation_and_a_mirror_are_found() {
    for theta_deg in [-37.0, 8.0, 90.0, 178.0] {
        check(Scene { theta_deg, ..Scene::default() });
        check(Scene { theta_deg, mirrored: true, ..Scene::default() });
    }
}

#[test]
fn noise_losses_and_a_border_are_borne() {
    check(Scene { noise_px: [2.0, 2.0], ..Scene::default() });
    check(Scene { missed: 0.15, spurious: 0.15, ..Scene::default() });
    check(Scene { overlap: 0.6, ..Scene::default() });
}

#[test]
fn unrelated_fields_are_refused() {
    for seed in 0..40 {
        let views = Scene { overlap: 0.0, seed, ..Scene::default() }.views();
        let refusal = matched(&views, &Settings::default()).unwrap_err();
        assert!(matches!(refusal, Refusal::Unrelated { .. }), "{refusal}");
        // what comes nearest is far from the limit
        assert!(refusal.log10_chance().is_none_or(|chance| chance > -3.0), "{refusal:?}");
    }
}

#[test]
fn priors_and_bounds_keep_what_fits_them_and_nothing_else() {
    let views = Scene { theta_deg: 20.0, ..Scene::default() }.views();
    let bounds = |scale: Option<[f64; 2]>, degrees: Option<[f64; 2]>| {
        let mut settings = Settings::default();
        settings.fit.bounds =
            fit::FitBounds { scale, theta_rad: degrees.map(|range| range.map(f64::to_radians)) };
        matched(&views, &settings).is_ok()
    };
    assert!(bounds(Some([0.24, 0.26]), None) && bounds(None, Some([15.0, 25.0])));
    assert!(bounds(None, Some([375.0, 385.0])), "a whole turn more is the same rotation");
    assert!(!bounds(Some([0.3, 0.4]), None) && !bounds(None, Some([40.0, 50.0])));
    let prior = |scale| matched(&views, &Settings { scale_prior: Some(scale), ..Default::default() }).is_ok();
    assert!(prior(NOMINAL_SCALE) && !prior(2.0 * NOMINAL_SCALE));
}

#[test]
fn where_the_orientation_is_known_votes_find_what_descriptions_miss() {
    let free = Settings { scale_prior: Some(NOMINAL_SCALE), ..Default::default() };
    let turned = |degrees: f64, mirrored: bool| Settings {
        orientation_prior: Some(Orientation { rotation_rad: degrees.to_radians(), mirrored }),
        ..free.clone()
    };
    let mut n_free = 0;
    for (seed, mirrored) in [(1, false), (2, false), (3, true), (4, true)] {
        let scene = Scene { missed: 0.4, spurious: 0.4, theta_deg: 12.0, mirrored, seed, ..Scene::default() };
        let views = scene.views();
        n_free += usize::from(matched(&views, &free).is_ok());
        let found = matched(&views, &turned(10.0, mirrored)).unwrap();
        assert_eq!(found.mirrored, mirrored);
        let [error, floor] =
            [distance(&views, &found.reference_from_moving), distance_of_true_pairs(&views, mirrored)];
        assert!(error <= 2.0 * floor.max(0.05), "{error} px, with the true pairs {floor} px");
        let unrelated = Scene { overlap: 0.0, ..scene }.views();
        let refusal = matched(&unrelated, &turned(10.0, mirrored)).unwrap_err();
        assert!(refusal.log10_chance().is_none_or(|chance| chance > -3.0), "{refusal:?}");
    }
    assert!(n_free < 4, "there is something to find");
}

#[test]
fn the_order_of_the_points_leaves_no_trace() {
    let views = Scene::default().views();
    let mut random = Random::new(9);
    let register = |moving: &[[f64; 2]], reference: &[[f64; 2]]| {
        let [moving, reference] = [moving, reference].map(|points| Field::new(points).unwrap());
        register(&moving, &reference, &Settings::default(), &mut ()).unwrap()
    };
    let first = register(&views.moving, &views.reference);
    let mut order: Vec<usize> = (0..views.moving.len()).collect();
    shuffle(&mut order, &mut random);
    let moving: Vec<_> = order.iter().map(|&index| views.moving[index]).collect();
    let mut reference = views.reference.clone();
    reference.reverse();
    let second = register(&moving, &reference);
    assert_eq!((&second.fit, second.log10_chance), (&first.fit, first.log10_chance));
    let last = reference.len() - 1;
    let mut renamed: Vec<_> = second.pairs.iter().map(|&(m, r)| (order[m], last - r)).collect();
    renamed.sort_unstable();
    assert_eq!(renamed, first.pairs);
}

#[test]
fn the_fit_is_that_of_the_pairs() {
    let views = Scene { mirrored: true, ..Scene::default() }.views();
    let [moving, reference] = [&views.moving, &views.reference].map(|points| Field::new(points).unwrap());
    let settings = Settings { scale_prior: Some(NOMINAL_SCALE), ..Default::default() };
    let found = register(&moving, &reference, &settings, &mut ()).unwrap();
    assert!(found.mirrored && found.fit.reference_from_moving.determinant() < 0.0);
    assert_eq!(found.fit.n_pairs, found.pairs.len());
    assert!(distance(&views, &found.fit.reference_from_moving) < 0.2);
    let closed = found.fit.closed_form.unwrap();
    assert!((closed.rmsd_px - found.fit.rmsd_px).abs() < 1e-9);
}

#[test]
fn stretched_and_sheared_fields_are_found_and_the_pairs_choose_the_model() {
    let cases = [
        ([[1.0, 0.0], [0.0, 1.0]], Model::Similarity),
        ([[1.015, 0.0], [0.0, 0.985]], Model::Anisotropic),
        ([[1.0, 0.02], [0.0, 1.0]], Model::Affine),
        ([[1.01, 0.03], [0.0, 0.98]], Model::Affine),
    ];
    for (seed, (distortion, expected)) in (1..).zip(cases) {
        for n in [2500, 6000] {
            let mut views =
                Scene { n, theta_deg: 33.0, mirrored: seed % 2 == 0, seed, ..Scene::default() }.views();
            // about the middle of the image, which so stays where it is
            let [x, y] = Affine::from_parts(distortion, [0.0; 2]).apply([1024.0; 2]);
            let distorted = Affine::from_parts(distortion, [1024.0 - x, 1024.0 - y]);
            let back = distorted.inverse().unwrap();
            views.moving.iter_mut().for_each(|place| *place = back.apply(*place));
            views.reference_from_moving = views.reference_from_moving.after(&distorted);
            let [moving, reference] =
                [&views.moving, &views.reference].map(|points| Field::new(points).unwrap());
            let settings =
                Settings { scale_prior: Some(NOMINAL_SCALE), choose_model: true, ..Settings::default() };
            let found = register(&moving, &reference, &settings, &mut ()).unwrap();
            assert_eq!(found.model, expected, "{distortion:?}");
            let (from, to): (Vec<_>, Vec<_>) =
                views.pairs.iter().map(|&(m, r)| (views.moving[m], views.reference[r])).unzip();
            let true_pairs = FitSettings { model: expected, mirrored: found.mirrored, ..Default::default() };
            let floor =
                distance(&views, &fit::fit_pairs(&from, &to, &true_pairs).unwrap().reference_from_moving);
            let error = distance(&views, &found.fit.reference_from_moving);
            assert!(
                error <= 2.0 * floor.max(0.05),
                "{distortion:?}: {error} px, with the true pairs {floor}"
            );
        }
    }
}

#[test]
fn few_points_are_refused_with_the_reason() {
    let views = Scene::default().views();
    for n in 0..N_POINTS_MIN {
        let few: Vec<_> = (0..n).map(|i| [i as f64, (i * i) as f64]).collect();
        let few = Field::new(&few).unwrap();
        let many = Field::new(&views.reference).unwrap();
        for (moving, reference) in [(&few, &many), (&many, &few), (&few, &few)] {
            let refusal = match_fields(moving, reference, &Settings::default()).unwrap_err();
            assert!(matches!(refusal, Refusal::TooFewPoints { expected: 6, .. }), "{refusal}");
            assert!(refusal.to_string().starts_with("too few points: expected at least 6 "));
        }
    }
}

#[test]
fn points_without_a_pattern_are_refused() {
    let line: Vec<_> = (0..200).map(|i| [f64::from(i), 3.0]).collect();
    let slope: Vec<_> = (0..200).map(|i| [f64::from(i) * 0.1, f64::from(i) * 0.3]).collect();
    let lattice: Vec<_> = (0..900).map(|i| [f64::from(i % 30) * 7.0, f64::from(i / 30) * 7.0]).collect();
    let one_place = vec![[5.0, 5.0]; 50];
    let scattered = Scene::default().views().reference;
    let all = [line, slope, lattice, one_place, scattered];
    for (index, moving) in all.iter().enumerate() {
        for reference in &all[..all.len() - usize::from(index == all.len() - 1)] {
            let fields = [moving, reference].map(|points| Field::new(points).unwrap());
            let found = match_fields(&fields[0], &fields[1], &Settings::default());
            assert!(found.is_err(), "{index}: {found:?}");
        }
    }
}

#[test]
fn points_given_twice_change_nothing() {
    let mut views = Scene::default().views();
    let once = matched(&views, &Settings::default()).unwrap();
    views.moving.extend(views.moving.clone());
    views.reference.extend(views.reference.clone());
    assert_eq!(matched(&views, &Settings::default()).unwrap(), once);
}

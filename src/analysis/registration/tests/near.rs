//! Fields that are looked for where they are expected.

use super::*;
use crate::analysis::benchmark::scene::CAMERA_PX;

/// What a well would say of a scene: its true transform, but for a shift and a small turn.
fn expected(views: &Views, radius_px: f64, random: &mut Random) -> Expected {
    let parts = views.reference_from_moving.decompose();
    let linear = Affine::similarity(parts.scale, parts.rotation_rad + 0.002, parts.mirrored, [0.0; 2]);
    let middle = [CAMERA_PX / 2.0; 2];
    let ([to_x, to_y], [x, y]) = (views.reference_from_moving.apply(middle), linear.apply(middle));
    let away = [0; 2].map(|_| radius_px * std::f64::consts::FRAC_1_SQRT_2 * (2.0 * random.uniform() - 1.0));
    Expected {
        reference_from_moving: Affine::from_parts(linear.linear(), [to_x - x + away[0], to_y - y + away[1]]),
        radius_px,
        rotation_tolerance_rad: 0.01,
        scale_tolerance: 0.01,
    }
}

fn fields(views: &Views) -> [Field; 2] {
    [&views.moving, &views.reference].map(|points| Field::new(points).unwrap())
}

/// Of 40 fields of about so many nuclei: how many are found by themselves, and where they are expected.
fn check(n_in_field: usize, scene: Scene, at_least: usize) {
    let mut random = Random::new(n_in_field as u64);
    let [mut n_alone, mut n_near] = [0, 0];
    for seed in 1..=40 {
        let views = Scene { n: 16 * n_in_field, seed, ..scene }.views();
        let [moving, reference] = fields(&views);
        let alone = Settings { scale_prior: Some(NOMINAL_SCALE), ..Settings::default() };
        n_alone += usize::from(match_fields(&moving, &reference, &alone).is_ok());
        let expected = expected(&views, 24.0, &mut random);
        let Ok(found) = register_near(&moving, &reference, &expected, &Settings::default(), &mut ()) else {
            continue;
        };
        assert_eq!(found.mirrored, scene.mirrored);
        let error = distance(&views, &found.fit.reference_from_moving);
        assert!(error <= 2.0, "{n_in_field} nuclei, seed {seed}: {error} px");
        n_near += 1;
    }
    assert!(n_near >= at_least, "{n_near} of 40 with {n_in_field} nuclei, {n_alone} by themselves");
    assert!(n_alone < n_near, "{n_alone} by themselves, {n_near} where they are expected");
}

#[test]
fn a_handful_of_nuclei_suffices_where_they_are_expected() {
    let scene = Scene { merged: 0.0, ..Scene::default() };
    check(8, scene, 25);
    check(12, Scene { mirrored: true, theta_deg: 90.0, ..scene }, 34);
    check(20, Scene { theta_deg: 179.9, ..scene }, 37);
    // of many nuclei, many may be missed
    check(160, Scene { missed: 0.4, spurious: 0.4, ..scene }, 38);
}

#[test]
fn unrelated_fields_are_refused_where_they_are_expected() {
    let mut nearest = f64::INFINITY;
    for (n_in_field, overlap) in [(6, 0.0), (10, -0.25), (20, 0.0), (160, -0.25)] {
        for seed in 1..=50 {
            let views = Scene { n: 16 * n_in_field, overlap, seed, ..Scene::default() }.views();
            let [moving, reference] = fields(&views);
            let expected = expected(&views, 32.0, &mut Random::new(seed));
            let refusal =
                register_near(&moving, &reference, &expected, &Settings::default(), &mut ()).unwrap_err();
            nearest = nearest.min(refusal.log10_chance().unwrap_or(f64::INFINITY));
        }
    }
    // of 200 the nearest is expected at -2.3
    assert!(nearest > -4.0, "{nearest}");
}

#[test]
fn a_lattice_agrees_with_itself_anywhere_and_so_nowhere() {
    let lattice = |n: i32, from: f64, step: f64| -> Vec<[f64; 2]> {
        (0..n * n).map(|i| [from + step * f64::from(i % n), from + step * f64::from(i / n)]).collect()
    };
    let [moving, reference] =
        [lattice(6, 0.0, 40.0), lattice(40, 0.0, 10.0)].map(|points| Field::new(&points).unwrap());
    let expected = Expected {
        reference_from_moving: Affine::similarity(0.25, 0.0, false, [100.0, 100.0]),
        radius_px: 30.0,
        rotation_tolerance_rad: 0.01,
        scale_tolerance: 0.01,
    };
    assert!(register_near(&moving, &reference, &expected, &Settings::default(), &mut ()).is_err());
}

#[test]
fn nothing_to_look_at_is_refused() {
    let views = Scene::default().views();
    let expected = expected(&views, 24.0, &mut Random::new(1));
    let [moving, reference] = fields(&views);
    for few in [vec![], vec![[3.0, 4.0]], vec![[1000.0, 1000.0]; 9]] {
        let few = Field::new(&few).unwrap();
        for (moving, reference) in [(&few, &reference), (&moving, &few)] {
            let refusal =
                register_near(moving, reference, &expected, &Settings::default(), &mut ()).unwrap_err();
            assert!(matches!(refusal, Refusal::TooFewPoints { expected: 4, .. }), "{refusal}");
        }
    }
    let line = Field::new(&[[0.0, 0.0], [1.0, 0.0], [2.0, 0.0], [5.0, 0.0]]).unwrap();
    assert!(register_near(&moving, &line, &expected, &Settings::default(), &mut ()).is_err());
}

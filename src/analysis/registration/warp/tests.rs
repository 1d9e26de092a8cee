use super::*;
use crate::analysis::synthesis::Random;

/// Where a point of a field of 2048 px lies at a quarter of the scale in its reference, the radius of a corner grown by
/// the share `k`.
fn bent([x, y]: [f64; 2], k: f64, map: &Affine) -> [f64; 2] {
    let [u, v] = [x - 1024.0, y - 1024.0];
    let factor = k * (u * u + v * v) / (2.0 * 1024.0 * 1024.0);
    map.apply([x + factor * u, y + factor * v])
}

fn map() -> Affine {
    Affine::similarity(0.25, 0.03, false, [700.0, 900.0])
}

/// Pairs with noise in reference px.
fn drawn(n: usize, k: f64, noise_px: f64, random: &mut Random) -> (Vec<[f64; 2]>, Vec<[f64; 2]>) {
    let moving: Vec<[f64; 2]> = (0..n).map(|_| [(); 2].map(|()| random.between(0.0, 2048.0))).collect();
    let mut noisy = |value: f64| value + noise_px * random.normal();
    let reference = moving.iter().map(|point| bent(*point, k, &map()).map(&mut noisy)).collect();
    (moving, reference)
}

/// Root mean square distance of the warp from the truth over the field.
fn error_px(k: f64, warp: &Warp) -> f64 {
    let places = (0..400).map(|n| [f64::from(n % 20), f64::from(n / 20)].map(|value| 100.0 + 97.0 * value));
    let square = |place: [f64; 2]| {
        let ([x, y], [u, v]) = (warp.apply(map().apply(place)), bent(place, k, &map()));
        (x - u).powi(2) + (y - v).powi(2)
    };
    (places.map(square).sum::<f64>() / 400.0).sqrt()
}

#[test]
fn bent_optics_call_for_a_warp_that_follows_them() {
    let mut random = Random::new(1);
    for (n, knots) in [(60, 9), (300, 25)] {
        let (moving, reference) = drawn(n, 1e-2, 0.05, &mut random);
        let warp = residual_warp(&moving, &reference, &map()).unwrap();
        assert_eq!(warp.knots.len(), knots);
        let [with, without] = [warp.cv_rmsd_px_with, warp.cv_rmsd_px_without];
        assert!(with < 0.7 * without, "{n}: {with} {without}");
        // a corner lies 3.6 px from where the map alone puts it
        let error = error_px(1e-2, &warp);
        assert!(error < if n == 60 { 0.3 } else { 0.08 }, "{n}: {error} px");
        for which in [|_: &[f64; 2]| 1.0, |knot: &[f64; 2]| knot[0], |knot: &[f64; 2]| knot[1]] {
            for axis in 0..2 {
                let parts = || warp.knots.iter().zip(&warp.weights).map(|(knot, w)| w[axis] * which(knot));
                let size: f64 = parts().map(f64::abs).sum();
                assert!(parts().sum::<f64>().abs() < 1e-9 * size, "the side conditions hold");
            }
        }
    }
}

#[test]
fn a_linear_map_calls_for_none() {
    let mut random = Random::new(2);
    let sheared = Affine::from_parts([[1.01, 0.004], [-0.003, 0.99]], [3.0, -2.0]);
    let mut n_taken = 0;
    for n in [40, 120] {
        for _ in 0..100 {
            let (moving, mut reference) = drawn(n, 0.0, 0.5, &mut random);
            reference.iter_mut().for_each(|point| *point = sheared.apply(*point));
            n_taken += u32::from(residual_warp(&moving, &reference, &map()).is_some());
        }
    }
    assert!(n_taken <= 1, "{n_taken} of 200");
}

#[test]
fn the_same_for_any_place_and_unit_of_the_reference() {
    let (moving, reference) = drawn(150, 1e-2, 0.05, &mut Random::new(3));
    let warp = residual_warp(&moving, &reference, &map()).unwrap();
    let other = Affine::similarity(3.0, 0.0, false, [5000.0, -700.0]);
    let shifted: Vec<_> = reference.iter().map(|point| other.apply(*point)).collect();
    let moved = residual_warp(&moving, &shifted, &other.after(&map())).unwrap();
    assert!((moved.cv_rmsd_px_with - 3.0 * warp.cv_rmsd_px_with).abs() < 1e-9);
    for point in [[0.0, 0.0], [1000.0, 300.0], [2047.0, 2047.0]] {
        let ([x, y], [u, v]) =
            (other.apply(warp.apply(map().apply(point))), moved.apply(other.apply(map().apply(point))));
        assert!((x - u).hypot(y - v) < 1e-6, "{x} {y}, {u} {v}");
    }
}

#[test]
fn what_determines_no_warp_has_none() {
    let (moving, reference) = drawn(35, 1e-1, 0.0, &mut Random::new(4));
    assert_eq!(residual_warp(&moving, &reference, &map()), None, "too few");
    assert_eq!(residual_warp(&[], &[], &map()), None);
    let line: Vec<_> = (0..50).map(|n| [f64::from(n), 2.0 * f64::from(n)]).collect();
    assert_eq!(residual_warp(&line, &line, &Affine::IDENTITY), None, "on a line");
    assert_eq!(residual_warp(&[[1.0, 2.0]; 50], &[[1.0, 2.0]; 50], &Affine::IDENTITY), None);
    let exact: Vec<_> = moving.iter().cycle().take(60).copied().collect();
    assert_eq!(residual_warp(&exact, &exact, &Affine::IDENTITY), None, "nothing is left");
}

//! How often a residual warp is taken where there is none to find, and what it gains where there is.
//!
//! `cargo run --release --example residual_warp`
//!
//! The distances are means over the draws in which a warp was taken.
//! Pairs are drawn over a field of 2048 px at a quarter of the scale, with normal noise of 0.3 px of the reference per axis; a
//! radial distortion of `k` takes a corner of the field outwards by `k` of its radius.

use std::error::Error;
use std::hint::black_box;
use std::time::Instant;

use scopewatch::analysis::registration::residual_warp;
use scopewatch::analysis::synthesis::Random;
use scopewatch::geometry::Affine;

const SIDE_PX: f64 = 2048.0;
const NOISE_PX: f64 = 0.3;
const N_DRAWS: usize = 2000;
const N_DRAWS_BENT: usize = 200;

/// Where a point lies in the reference.
fn bent([x, y]: [f64; 2], k: f64, map: &Affine) -> [f64; 2] {
    let half = SIDE_PX / 2.0;
    let [u, v] = [x - half, y - half];
    let factor = k * (u * u + v * v) / (2.0 * half * half);
    map.apply([x + factor * u, y + factor * v])
}

type Pairs = (Vec<[f64; 2]>, Vec<[f64; 2]>);

fn drawn(n: usize, k: f64, map: &Affine, random: &mut Random) -> Pairs {
    let pair = |_| {
        let point = [(); 2].map(|()| random.between(0.0, SIDE_PX));
        (point, bent(point, k, map).map(|value| value + NOISE_PX * random.normal()))
    };
    (0..n).map(pair).unzip()
}

/// Root mean square distance over the field, in px of the reference, between where points lie and where the map and then
/// `moved` put them.
fn errors_px(k: f64, map: &Affine, moved: impl Fn([f64; 2]) -> [f64; 2]) -> f64 {
    let places =
        (0..1600).map(|n| [f64::from(n % 40), f64::from(n / 40)].map(|value| SIDE_PX / 40.0 * (value + 0.5)));
    let square = |place: [f64; 2]| {
        let ([x, y], [u, v]) = (moved(map.apply(place)), bent(place, k, map));
        (x - u).powi(2) + (y - v).powi(2)
    };
    (places.map(square).sum::<f64>() / 1600.0).sqrt()
}

fn main() -> Result<(), Box<dyn Error>> {
    let map = Affine::similarity(0.25, 0.03, false, [700.0, 900.0]);
    println!("| pairs | k | taken | of these: rmsd foretold without, with | error of the field with |");
    println!("|---|---|---|---|---|");
    for n in [40, 100, 150, 300, 650, 2000] {
        let mut random = Random::new(n as u64);
        for k in [0.0, 1e-3, 3e-3, 1e-2] {
            let n_draws = if k == 0.0 { N_DRAWS } else { N_DRAWS_BENT };
            let mut warps = vec![];
            for _ in 0..n_draws {
                let (moving, reference) = drawn(n, k, &map, &mut random);
                warps.extend(residual_warp(&moving, &reference, &map));
            }
            if warps.is_empty() {
                println!("| {n} | {k} | 0 of {n_draws} | | |");
                continue;
            }
            let mean = |of: &dyn Fn(&_) -> f64| warps.iter().map(of).sum::<f64>() / warps.len() as f64;
            println!(
                "| {n} | {k} | {} of {n_draws} | {:.3}, {:.3} | {:.3} |",
                warps.len(),
                mean(&|warp: &scopewatch::analysis::registration::Warp| warp.cv_rmsd_px_without),
                mean(&|warp| warp.cv_rmsd_px_with),
                mean(&|warp| errors_px(k, &map, |mapped| warp.apply(mapped)))
            );
        }
    }
    let (moving, reference) = drawn(650, 1e-2, &map, &mut Random::new(1));
    let begin = Instant::now();
    for _ in 0..500 {
        black_box(residual_warp(black_box(&moving), &reference, &map));
    }
    println!("{:.2} ms for 650 pairs", begin.elapsed().as_secs_f64() * 1e3 / 500.0);
    Ok(())
}

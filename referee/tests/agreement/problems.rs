//! Random problems of small dimension whose optimum is not in doubt: a curve is drawn, seen with noise, and fitted from
//! nearby.

use crate::analysis::optimizers::Bounds;
use crate::dual::Dual;
use crate::problem::Problem;
use crate::random::Random;

/// The curves.
pub(crate) const FAMILIES: [&str; 8] =
    ["decay", "peak", "logistic", "ratio", "circle", "oscillation", "power", "similarity"];

type Model = fn(&[Dual], f64) -> Dual;
type Residual = Box<dyn Fn(&[Dual], usize) -> Dual>;

/// A problem and where to start on it.
pub(crate) struct Case {
    pub(crate) family: &'static str,
    pub(crate) seed: u64,
    pub(crate) problem: Problem<Residual>,
    pub(crate) start: Vec<f64>,
    pub(crate) bounds: Bounds,
    pub(crate) is_boxed: bool,
}

/// Draws the problem of a seed. Two in five have a box; in every second of those the truth lies outside.
pub(crate) fn draw(seed: u64) -> Case {
    let mut random = Random::of(&[seed, 1]);
    let index = (seed % FAMILIES.len() as u64) as usize;
    let (truth, residual, n_residuals) = match FAMILIES[index] {
        "circle" => circle(&mut random),
        "similarity" => similarity(&mut random),
        family => curve(family, &mut random),
    };
    let n = truth.len();
    let start: Vec<_> = truth.iter().map(|value| value * random.between(0.85, 1.15)).collect();
    let is_boxed = seed % 5 < 2;
    let mut bounds = Bounds::none(n);
    if is_boxed {
        for ((value, lower), upper) in truth.iter().zip(&mut bounds.lower).zip(&mut bounds.upper) {
            let reach = value.abs() * random.between(0.2, 0.5);
            (*lower, *upper) = (value - reach, value + reach);
        }
        if seed.is_multiple_of(2) {
            let place = (random.bits() % n as u64) as usize;
            bounds.upper[place] = truth[place] - 0.03 * truth[place].abs();
        }
    }
    Case {
        family: FAMILIES[index],
        seed,
        problem: Problem::new(n, n_residuals, residual),
        start,
        bounds,
        is_boxed,
    }
}

fn curve(family: &str, random: &mut Random) -> (Vec<f64>, Residual, usize) {
    let mut between = |low: f64, high: f64| random.between(low, high);
    let (truth, model): (Vec<f64>, Model) = match family {
        "decay" => (vec![between(1.0, 5.0), between(0.3, 1.5), between(0.2, 1.0)], |b, t| {
            b[0] * (-b[1] * t).exp() + b[2]
        }),
        "peak" => {
            (vec![between(1.0, 5.0), between(1.5, 3.0), between(0.4, 1.0), between(0.1, 0.5)], |b, t| {
                b[0] * (-((t - b[1]) / b[2]).square()).exp() + b[3]
            })
        }
        "logistic" => (vec![between(2.0, 9.0), between(2.0, 4.0), between(1.0, 2.5)], |b, t| {
            b[0] / (1.0 + (b[1] - b[2] * t).exp())
        }),
        "ratio" => (vec![between(1.0, 3.0), between(0.5, 2.0), between(0.2, 1.0)], |b, t| {
            (b[0] + b[1] * t) / (1.0 + b[2] * t)
        }),
        "oscillation" => {
            (vec![between(1.0, 3.0), between(0.1, 0.5), between(1.0, 2.0), between(0.2, 0.8)], |b, t| {
                b[0] * (-b[1] * t).exp() * (b[2] * t + b[3]).cos()
            })
        }
        // the only one left
        _ => (vec![between(1.0, 3.0), between(0.3, 1.2), between(0.5, 2.0)], |b, t| {
            b[0] * (b[1] * Dual::from(t + 1.0).ln()).exp() + b[2]
        }),
    };
    let n_seen = 12 + (random.bits() % 30) as usize;
    let noise = random.between(0.001, 0.05);
    let at = move |index: usize| 4.0 * (index as f64 + 0.5) / n_seen as f64;
    let values: Vec<Dual> = truth.iter().map(|value| Dual::from(*value)).collect();
    let seen: Vec<f64> = (0..n_seen).map(|i| model(&values, at(i)).value + noise * random.normal()).collect();
    let residual = move |b: &[Dual], index: usize| model(b, at(index)) - seen[index];
    (truth, Box::new(residual), n_seen)
}

/// Points around a circle: centre and radius.
fn circle(random: &mut Random) -> (Vec<f64>, Residual, usize) {
    let truth = vec![random.between(1.0, 3.0), random.between(-3.0, -1.0), random.between(2.0, 5.0)];
    let noise = random.between(0.01, 0.2);
    let mut point = || {
        let angle = random.between(0.0, 4.5);
        let radius = truth[2] + noise * random.normal();
        [truth[0] + radius * angle.cos(), truth[1] + radius * angle.sin()]
    };
    let points: Vec<_> = (0..25).map(|_| point()).collect();
    let residual = move |b: &[Dual], index: usize| {
        let [x, y] = points[index];
        ((b[0] - x).square() + (b[1] - y).square()).sqrt() - b[2]
    };
    (truth, Box::new(residual), 25)
}

/// Pairs of points: scale, rotation, shift.
fn similarity(random: &mut Random) -> (Vec<f64>, Residual, usize) {
    let truth = vec![
        random.between(0.5, 2.0),
        random.between(0.2, 1.0),
        random.between(0.5, 2.0),
        random.between(-2.0, -0.5),
    ];
    let noise = random.between(0.001, 0.05);
    let moving: Vec<[f64; 2]> = (0..30).map(|_| [(); 2].map(|()| random.between(-1.0, 1.0))).collect();
    let map = |b: &[Dual], [x, y]: [f64; 2], axis: usize| {
        let (cos, sin) = (b[1].cos(), b[1].sin());
        if axis == 0 { b[0] * (cos * x - sin * y) + b[2] } else { b[0] * (sin * x + cos * y) + b[3] }
    };
    let values: Vec<Dual> = truth.iter().map(|value| Dual::from(*value)).collect();
    let seen: Vec<f64> =
        (0..60).map(|i| map(&values, moving[i / 2], i % 2).value + noise * random.normal()).collect();
    let residual = move |b: &[Dual], index: usize| map(b, moving[index / 2], index % 2) - seen[index];
    (truth, Box::new(residual), 60)
}

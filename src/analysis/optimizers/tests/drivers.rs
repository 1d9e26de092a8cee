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

/// Costs and parameters of the first iterates of the Fortran program, version 3.0 (n = 5, m = 5, the box from 0 to 5,
/// start (-1, 2, -1, 2, -1) moved into it, no tolerances).
const ROSENBROCK_ITERATES: [(f64, [f64; 5]); 16] = [
    (4004.0, [0.0, 2.0, 0.0, 2.0, 0.0]),
    (
        376.9154689696958,
        [0.49278354319246537, 1.5072164568046662, 1.2319588579883343, 1.5072164568046662, 1.2319588579883343],
    ),
    (
        307.1623687577397,
        [0.7706432434313206, 1.3146372121934164, 1.725181816168946, 1.3973283046239946, 1.7271722703913532],
    ),
    (
        83.43256218994735,
        [0.7599170484648957, 1.2340536741793422, 1.3614819041656572, 1.4075809962172037, 1.5640048852411557],
    ),
    (
        18.754015351367062,
        [0.8959864361918148, 1.1189636117224646, 1.2482827915655077, 1.3609050703691956, 1.6365094387614412],
    ),
    (
        0.7600374228001037,
        [1.0570254416921485, 1.0669308795345174, 1.1495467138202078, 1.291420507100862, 1.7214795048597482],
    ),
    (
        0.1479906704660153,
        [1.0332923164974628, 1.0693487850213712, 1.1488019085136627, 1.3041787376807825, 1.7018566248496496],
    ),
    (
        0.1215463296274864,
        [1.0337712168241004, 1.0688466292945438, 1.1440049973669792, 1.3041293320225296, 1.7000361038299907],
    ),
    (
        0.11797787256535695,
        [1.0338017753029032, 1.0686890660594943, 1.141434719545392, 1.3033333266563256, 1.6992857980542713],
    ),
    (
        0.1177725958632054,
        [1.0335826764631366, 1.0684177217575543, 1.1411710369275476, 1.3031241087145136, 1.6989332207444425],
    ),
    (
        0.11717746045797228,
        [1.032867990343026, 1.0675653960675855, 1.140393220718344, 1.3020944572818287, 1.6968667539744093],
    ),
    (
        0.11645221037712711,
        [1.032376133387846, 1.0666584605380633, 1.1394475235558383, 1.300629784631819, 1.6932330238971198],
    ),
    (
        0.11407865743020489,
        [1.0306500674573698, 1.064405949188282, 1.1362191202180676, 1.2942880654990832, 1.678664894632712],
    ),
    (
        0.10909244384861488,
        [1.0282838117524384, 1.059935310637312, 1.1296951563894675, 1.2818019862323093, 1.6458409076651233],
    ),
    (
        0.0943175661293673,
        [1.0232757597717144, 1.0498625482380908, 1.1132551288834636, 1.2455456263910707, 1.55506097291495],
    ),
    (
        0.06828466225776225,
        [1.0135809791008417, 1.032190020247992, 1.07938952040068, 1.1736951106346993, 1.3739532936159078],
    ),
];

#[test]
fn the_first_iterates_are_those_of_the_original() {
    let settings =
        LbfgsbSettings { n_pairs: 5, cost_tolerance: 0.0, gradient_tolerance: 0.0, ..Default::default() };
    let bounds = Bounds { lower: vec![0.0; 5], upper: vec![5.0; 5] };
    let mut search = Search::new(Rosenbrock, &[-1.0, 2.0, -1.0, 2.0, -1.0], &bounds, settings);
    search.begin();
    let near = |found: f64, expected: f64| (found - expected).abs() <= 1e-9 * expected.abs();
    for (iteration, (cost, parameters)) in ROSENBROCK_ITERATES.into_iter().enumerate() {
        let found = search.cost;
        assert!(near(found, cost), "iteration {iteration}: {found:e}, not {cost:e}");
        for (found, expected) in search.parameters.iter().zip(parameters) {
            assert!(near(*found, expected), "iteration {iteration}: {found:e}, not {expected:e}");
        }
        assert_eq!(search.iterate(), None);
    }
}

//! Both optimizers beside other people's on 200 random problems: the same optimum, and how many evaluations each takes.
//!
//! The referees are `levenberg-marquardt` (MINPACK's lmder) and `basin` (L-BFGS-B 3.0). All get the same residuals, the
//! same Jacobians, starts and boxes, and tolerances that mean the same.

mod problems;
mod referees;

/// Where the sources of the test problems look for what they use.
mod analysis {
    pub(crate) use scopewatch_referee::optimizers;
}
#[path = "../../../src/analysis/optimizers/tests/dual.rs"]
#[allow(dead_code, reason = "other tests need more of it")]
mod dual;
#[path = "../../../src/analysis/optimizers/tests/problem.rs"]
mod problem;
#[path = "../../../src/analysis/synthesis/random.rs"]
#[allow(dead_code, reason = "pictures need more of it")]
mod random;

use problems::{Case, FAMILIES, draw};
use scopewatch_referee::optimizers::{
    Bounds, LbfgsbSettings, LevenbergMarquardtSettings, Loss, Report, examine, lbfgsb, levenberg_marquardt,
};

const N_PROBLEMS: u64 = 200;
/// Seed of the first problem; the others follow.
const SEED: u64 = 7;
/// How far two costs may be apart, as a part of them, where both claim a minimum.
const COST_TOLERANCE: f64 = 1e-8;
/// The same for parameters, as a part of them or absolutely below 1.
const PARAMETER_TOLERANCE: f64 = 1e-4;
/// A point counts as no minimum where steepest descent leads further than this.
const STATIONARY: f64 = 1e-4;
/// Tolerances that all are given.
pub(crate) const RELATIVE_REDUCTION: f64 = 1e-14;
pub(crate) const GRADIENT: f64 = 1e-10;
pub(crate) const N_PAIRS: usize = 10;

/// What a solver found.
pub(crate) struct Found {
    pub(crate) parameters: Vec<f64>,
    pub(crate) cost: f64,
    pub(crate) n_evaluations: u64,
}

impl From<Report> for Found {
    fn from(report: Report) -> Self {
        let n_evaluations = report.n_residual_passes.into();
        Self { parameters: report.parameters, cost: report.cost, n_evaluations }
    }
}

fn own_lm(case: &Case) -> Found {
    let settings = LevenbergMarquardtSettings {
        cost_tolerance: RELATIVE_REDUCTION,
        step_tolerance: RELATIVE_REDUCTION,
        gradient_tolerance: RELATIVE_REDUCTION,
        ..Default::default()
    };
    let minimize = levenberg_marquardt::minimize;
    minimize(&case.problem, Loss::LINEAR, &case.start, &case.bounds, &settings)
        .expect("a sound problem")
        .into()
}

fn own_lbfgsb(case: &Case) -> Found {
    let settings = LbfgsbSettings {
        n_pairs: N_PAIRS,
        cost_tolerance: RELATIVE_REDUCTION,
        // the referee judges reductions of costs below 1 absolutely
        cost_floor: 1.0,
        gradient_tolerance: GRADIENT,
        ..Default::default()
    };
    let minimize = lbfgsb::minimize;
    minimize(&case.problem, Loss::LINEAR, &case.start, &case.bounds, &settings)
        .expect("a sound problem")
        .into()
}

/// Evaluations of both sides, and how far apart they end, over problems of one family.
#[derive(Default)]
struct Tally {
    evaluations: Vec<[u64; 2]>,
    /// Problems on which the referee stopped short of a minimum, and the optimizer under test did not.
    n_short: usize,
    cost_gap_max: f64,
    parameter_gap_max: f64,
}

impl Tally {
    /// Takes in what both found, and says what is wrong with it, if anything is.
    fn take(&mut self, case: &Case, own: &Found, referee: &Found) -> Result<(), String> {
        self.evaluations.push([own.n_evaluations, referee.n_evaluations]);
        let left = |found: &Found| {
            examine(&case.problem, Loss::LINEAR, &found.parameters, &case.bounds).projected_gradient_max
        };
        if own.cost < referee.cost && left(referee) > STATIONARY && left(own) < STATIONARY {
            self.n_short += 1;
            return Ok(());
        }
        let cost_gap = (own.cost - referee.cost).abs() / own.cost.max(referee.cost).max(f64::MIN_POSITIVE);
        let gap = |(one, two): (&f64, &f64)| (one - two).abs() / one.abs().max(1.0);
        let parameter_gap = own.parameters.iter().zip(&referee.parameters).map(gap).fold(0.0, f64::max);
        self.cost_gap_max = self.cost_gap_max.max(cost_gap);
        self.parameter_gap_max = self.parameter_gap_max.max(parameter_gap);
        if cost_gap <= COST_TOLERANCE && parameter_gap <= PARAMETER_TOLERANCE {
            return Ok(());
        }
        let Found { parameters, cost, n_evaluations } = own;
        let own = format!("cost {cost:e} in {n_evaluations} evaluations at {parameters:?}");
        let Found { parameters, cost, n_evaluations } = referee;
        Err(format!("{own}, the referee's {cost:e} in {n_evaluations} at {parameters:?}"))
    }

    fn median(&self, side: usize) -> u64 {
        let mut counts: Vec<_> = self.evaluations.iter().map(|both| both[side]).collect();
        counts.sort_unstable();
        counts.get(counts.len() / 2).copied().unwrap_or(0)
    }

    fn sum(&self, side: usize) -> u64 {
        self.evaluations.iter().map(|both| both[side]).sum()
    }

    fn line(&self, name: &str) -> String {
        let n = self.evaluations.len();
        let (own, referee, own_sum, referee_sum) = (self.median(0), self.median(1), self.sum(0), self.sum(1));
        let (cost, parameter, n_short) = (self.cost_gap_max, self.parameter_gap_max, self.n_short);
        format!(
            "{name:<24} {n:>4} {own:>6} {referee:>10} {own_sum:>8} {referee_sum:>10} {cost:>9.1e} {parameter:>10.1e} {n_short:>5}"
        )
    }
}

const HEADER: &str =
    "evaluations                 n median  referee's      sum  referee's  cost gap parameters short";

/// Compares a solver with its referee on all problems that are meant for both.
fn compare(
    name: &str,
    cases: &[Case],
    own: impl Fn(&Case) -> Found,
    referee: impl Fn(&Case) -> Found,
) -> Tally {
    println!("{HEADER}");
    let mut all = Tally::default();
    let mut wrong = vec![];
    for family in FAMILIES {
        for is_boxed in [false, true] {
            let is_member = |case: &&Case| case.family == family && case.is_boxed == is_boxed;
            let mut tally = Tally::default();
            for case in cases.iter().filter(is_member) {
                let (own, referee) = (own(case), referee(case));
                let context = |what| format!("{name}, {family}, seed {}: {what}", case.seed);
                wrong.extend(tally.take(case, &own, &referee).map_err(context).err());
                let _ = all.take(case, &own, &referee);
            }
            if !tally.evaluations.is_empty() {
                let boxed = if is_boxed { ", in a box" } else { "" };
                println!("{}", tally.line(&format!("{family}{boxed}")));
            }
        }
    }
    println!("{}", all.line(name));
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(all.n_short * 100 <= cases.len(), "the referee stops short on {}", all.n_short);
    all
}

fn cases() -> Vec<Case> {
    (SEED..SEED + N_PROBLEMS).map(draw).collect()
}

#[test]
fn levenberg_marquardt_agrees_with_minpacks() {
    let mut cases = cases();
    assert_eq!(cases.len(), 200);
    // the referee has no bounds
    for case in &mut cases {
        case.bounds = Bounds::none(case.start.len());
        case.is_boxed = false;
    }
    let all = compare("Levenberg-Marquardt", &cases, own_lm, referees::lm);
    assert!(all.sum(0) * 100 <= all.sum(1) * 105, "more evaluations than MINPACK's");
}

#[test]
fn lbfgsb_agrees_with_the_original() {
    let cases = cases();
    assert!(cases.iter().filter(|case| case.is_boxed).count() >= 60, "some problems have boxes");
    let all = compare("L-BFGS-B", &cases, own_lbfgsb, referees::lbfgsb);
    assert!(all.sum(0) * 100 <= all.sum(1) * 110, "more evaluations than the original's");
}

#[test]
fn both_optimizers_agree_within_boxes() {
    let cases: Vec<_> = cases().into_iter().filter(|case| case.is_boxed).collect();
    compare("LM beside L-BFGS-B", &cases, own_lm, own_lbfgsb);
}

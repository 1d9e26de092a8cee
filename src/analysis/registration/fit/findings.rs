//! What the benchmark of both optimizers found, by kind of problem: what the automatic choice rests on.

use std::cmp::Ordering;

use super::{FitBounds, Method};
use crate::analysis::optimizers::LossKind;

/// The command whose figures [`FINDINGS`] are: its `groups` of the nominal start, from which registrations start.
pub const FINDINGS_COMMAND: &str = "scopewatch bench optimizers";

/// Where the least squares solution lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Place {
    /// There is no box.
    Free,
    /// Within the box.
    Inside,
    /// Outside of the box, so that the minimum is to be expected on its border.
    Outside,
}

/// What came of the fits of one kind.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Finding {
    /// Whether the loss was robust (Cauchy's), or linear.
    pub is_robust: bool,
    /// Where the least squares solution lay.
    pub place: Place,
    /// Fits by each optimizer.
    pub n_fits: u32,
    /// Fits solved to a billionth of the cost at the start: by L-BFGS-B, by Levenberg-Marquardt.
    pub n_solved: [u32; 2],
    /// Passes over the pairs until then, in the median; likewise.
    pub n_passes: [u32; 2],
    /// How many times longer L-BFGS-B takes, with its own stop tests: the median over the configurations.
    pub time_ratio: f64,
}

/// The findings, one for each kind of problem.
pub const FINDINGS: [Finding; 6] = [
    finding_of((false, Place::Free), (1500, [1500, 1500]), [9, 4], 1.37),
    finding_of((false, Place::Inside), (750, [750, 750]), [7, 7], 0.91),
    finding_of((false, Place::Outside), (750, [750, 750]), [7, 9], 0.50),
    finding_of((true, Place::Free), (1200, [1200, 1200]), [23, 12], 0.95),
    finding_of((true, Place::Inside), (600, [600, 600]), [23, 11], 0.89),
    finding_of((true, Place::Outside), (600, [600, 600]), [21, 12], 0.66),
];

/// Times that differ by a smaller factor than this differ from run to run.
const FACTOR_MIN: f64 = 1.25;

const fn finding_of(
    (is_robust, place): (bool, Place),
    (n_fits, n_solved): (u32, [u32; 2]),
    n_passes: [u32; 2],
    time_ratio: f64,
) -> Finding {
    Finding { is_robust, place, n_fits, n_solved, n_passes, time_ratio }
}

/// The finding for a fit with this loss and box; `is_inside`: whether the least squares solution lies within the box.
pub(super) fn finding(loss: LossKind, bounds: &FitBounds, is_inside: bool) -> &'static Finding {
    let is_robust = loss != LossKind::Linear;
    let place = match (*bounds == FitBounds::default(), is_inside) {
        (true, _) => Place::Free,
        (false, true) => Place::Inside,
        (false, false) => Place::Outside,
    };
    let is_it = |finding: &&Finding| finding.is_robust == is_robust && finding.place == place;
    FINDINGS.iter().find(is_it).expect("every kind of problem has its finding")
}

impl Finding {
    /// The optimizer that solves more of the fits; where both solve as many, the quicker one; where both take about as
    /// long, the one with fewer passes, at last Levenberg-Marquardt.
    pub fn recommended(&self) -> Method {
        let is_lbfgsb = match (self.n_solved[0].cmp(&self.n_solved[1]), self.is_quicker()) {
            (Ordering::Greater, _) => true,
            (Ordering::Less, _) => false,
            (Ordering::Equal, true) => self.time_ratio < 1.0,
            (Ordering::Equal, false) => self.n_passes[0] < self.n_passes[1],
        };
        if is_lbfgsb { Method::Lbfgsb } else { Method::Lm }
    }

    /// Whether one of both is quicker by more than from run to run.
    pub fn is_quicker(&self) -> bool {
        self.time_ratio.max(1.0 / self.time_ratio) >= FACTOR_MIN
    }

    /// The kind of problem, for people.
    pub const fn title(&self) -> &'static str {
        match (self.is_robust, self.place) {
            (false, Place::Free) => "linear loss without a box",
            (false, Place::Inside) => "linear loss and a minimum within the box",
            (false, Place::Outside) => "linear loss and a minimum on the border of the box",
            (true, Place::Free) => "a robust loss without a box",
            (true, Place::Inside) => "a robust loss and a minimum within the box",
            (true, Place::Outside) => "a robust loss and a minimum on the border of the box",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_recommendation_follows_from_the_finding() {
        let with = |n_solved, n_passes, time_ratio| {
            finding_of((false, Place::Free), (10, n_solved), n_passes, time_ratio).recommended()
        };
        assert_eq!(with([10, 9], [9, 3], 3.0), Method::Lbfgsb, "solves more");
        assert_eq!(with([9, 10], [3, 9], 0.3), Method::Lm);
        assert_eq!(with([10, 10], [9, 9], 0.5), Method::Lbfgsb, "is quicker");
        assert_eq!(with([10, 10], [3, 9], 2.0), Method::Lm);
        assert_eq!(with([10, 10], [3, 9], 1.2), Method::Lbfgsb, "as quick, fewer passes");
        assert_eq!(with([10, 10], [9, 9], 0.9), Method::Lm);
    }

    #[test]
    fn every_kind_of_problem_has_one_finding() {
        let box_around = FitBounds { scale: Some([0.2, 0.3]), theta_rad: None };
        let mut met = vec![];
        for loss in [LossKind::Linear, LossKind::Cauchy] {
            for (bounds, is_inside) in [(FitBounds::default(), true), (box_around, true), (box_around, false)]
            {
                met.push(finding(loss, &bounds, is_inside).title());
            }
        }
        assert_eq!(met, FINDINGS.iter().map(Finding::title).collect::<Vec<_>>());
    }
}

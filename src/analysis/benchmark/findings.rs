//! Sums up what the benchmarks found, and says it in words that follow from the figures.

use serde::Serialize;

use super::efficiency::VarianceRatio;
use super::known::{ACCURACIES, BoxChoice, KnownCell, KnownTrial, N_CURVE_PASSES, StartChoice};
use super::statistics::{median, share_max_of_none, wilson};
use super::unknown::{UnknownCell, UnknownTrial};
use crate::analysis::optimizers::LossKind;

/// The accuracy at which solvers are compared: what is left of the cost is a billionth of that at the start.
pub const ACCURACY_INDEX: usize = 2;
/// Names for people, in the order of all figures.
pub const SOLVER_TITLES: [&str; 2] = ["L-BFGS-B", "Levenberg-Marquardt"];

/// One cell with its trials and, per solver, the time of one run in microseconds: the least of several batches.
pub struct KnownResult {
    /// The configuration.
    pub cell: KnownCell,
    /// The trials in order.
    pub trials: Vec<KnownTrial>,
    /// Microseconds per run.
    pub time_us: [f64; 2],
}

/// Cells that share loss, start and box.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct KnownGroup {
    /// The loss.
    pub loss: LossKind,
    /// The start.
    pub start: StartChoice,
    /// The box.
    pub bounds: BoxChoice,
    /// Trials.
    pub n_trials: usize,
    /// Per solver, trials solved to each of the accuracies.
    pub n_solved: [[usize; ACCURACIES.len()]; 2],
    /// Per solver, the share solved to the accuracy of the comparison, with its interval of 95 %.
    pub solved_interval: [[f64; 2]; 2],
    /// Per solver, the median of the passes up to that accuracy.
    pub passes_median: [Option<f64>; 2],
    /// Per solver, the median over cells of microseconds per run with its own stop tests.
    pub time_us_median: [Option<f64>; 2],
    /// The median over cells of how many times longer L-BFGS-B takes.
    pub time_ratio_median: Option<f64>,
    /// The most bytes that a run held at one time, per solver; none where nobody counted.
    pub peak_bytes_max: [Option<u64>; 2],
    /// The largest distance between both results' root mean square distances in px, over trials that both solved.
    pub rmsd_difference_max_px: f64,
    /// Per solver and pass, the median of what is left of the cost.
    #[serde(skip)]
    pub curves: [Vec<f64>; 2],
}

/// Sums up groups of cells.
pub fn known_groups(results: &[KnownResult]) -> Vec<KnownGroup> {
    let mut groups = vec![];
    for loss in [LossKind::Linear, LossKind::Cauchy] {
        for start in [StartChoice::Nominal, StartChoice::Poor] {
            for bounds in [BoxChoice::Free, BoxChoice::Inactive, BoxChoice::Active] {
                let is_member = |result: &&KnownResult| {
                    let cell = result.cell;
                    cell.loss == loss && cell.start == start && cell.bounds == bounds
                };
                let members: Vec<_> = results.iter().filter(is_member).collect();
                if !members.is_empty() {
                    groups.push(group(&members));
                }
            }
        }
    }
    groups
}

fn group(members: &[&KnownResult]) -> KnownGroup {
    let trials: Vec<&KnownTrial> = members.iter().flat_map(|result| &result.trials).collect();
    let n_solved = [0, 1].map(|solver| {
        std::array::from_fn(|accuracy| {
            trials.iter().filter(|trial| trial.solvers[solver].passes_to[accuracy].is_some()).count()
        })
    });
    let passes = |solver: usize| -> Vec<f64> {
        let to = |trial: &&KnownTrial| trial.solvers[solver].passes_to[ACCURACY_INDEX].map(f64::from);
        trials.iter().filter_map(to).collect()
    };
    let times = |of: &dyn Fn(&KnownResult) -> f64| -> Option<f64> {
        median(&members.iter().map(|result| of(result)).collect::<Vec<_>>())
    };
    let both_solved =
        |trial: &&&KnownTrial| trial.solvers.iter().all(|solver| solver.passes_to[ACCURACY_INDEX].is_some());
    let difference = |trial: &&KnownTrial| (trial.solvers[0].rmsd_px - trial.solvers[1].rmsd_px).abs();
    let curve = |solver: usize| -> Vec<f64> {
        let at = |pass: usize| -> Vec<f64> {
            trials.iter().map(|trial| f64::from(trial.solvers[solver].curve[pass])).collect()
        };
        (0..N_CURVE_PASSES).filter_map(|pass| median(&at(pass))).collect()
    };
    let KnownCell { loss, start, bounds, .. } = members[0].cell;
    KnownGroup {
        loss,
        start,
        bounds,
        n_trials: trials.len(),
        n_solved,
        solved_interval: [0, 1].map(|solver| wilson(n_solved[solver][ACCURACY_INDEX], trials.len())),
        passes_median: [0, 1].map(|solver| median(&passes(solver))),
        time_us_median: [times(&|result| result.time_us[0]), times(&|result| result.time_us[1])],
        time_ratio_median: times(&|result| result.time_us[0] / result.time_us[1]),
        peak_bytes_max: [0, 1]
            .map(|solver| trials.iter().filter_map(|trial| trial.solvers[solver].taken.peak_bytes).max()),
        rmsd_difference_max_px: trials.iter().filter(both_solved).map(difference).fold(0.0, f64::max),
        curves: [curve(0), curve(1)],
    }
}

/// What the comparison on known pairs comes to, one sentence after the other.
pub fn known_conclusion(groups: &[KnownGroup], ratios: &[VarianceRatio]) -> Vec<String> {
    let sum = |of: &dyn Fn(&KnownGroup) -> usize| groups.iter().map(of).sum::<usize>();
    let n_trials = sum(&|group| group.n_trials);
    let n_solved = [0, 1].map(|solver| sum(&|group| group.n_solved[solver][ACCURACY_INDEX]));
    let difference = groups.iter().map(|group| group.rmsd_difference_max_px).fold(0.0, f64::max);
    let percent = |n: usize| 100.0 * n as f64 / n_trials.max(1) as f64;
    let mut sentences = vec![format!(
        "Of {n_trials} fits, {} solves {:.2} % and {} {:.2} % to {:e} of the cost at the start; where both do, their root \
         mean square distances differ by {difference:.1e} px at most.",
        SOLVER_TITLES[0],
        percent(n_solved[0]),
        SOLVER_TITLES[1],
        percent(n_solved[1]),
        ACCURACIES[ACCURACY_INDEX]
    )];
    for group in groups {
        let KnownGroup { passes_median: [Some(lbfgsb), Some(lm)], time_ratio_median: Some(ratio), .. } =
            group
        else {
            continue;
        };
        let (quicker, factor) = if *ratio >= 1.0 { (1, *ratio) } else { (0, 1.0 / ratio) };
        sentences.push(format!(
            "{}: {lbfgsb:.0} passes for {} and {lm:.0} for {} in the median; {} takes {factor:.1} times less time.",
            group_title(group),
            SOLVER_TITLES[0],
            SOLVER_TITLES[1],
            SOLVER_TITLES[quicker]
        ));
    }
    if let Some(solver) = recommended(groups) {
        sentences.push(format!(
            "Recommended for registration: {}, which solves no fewer of the fits and takes less time in the median.",
            SOLVER_TITLES[solver]
        ));
    } else {
        sentences
            .push("Neither solves more of the fits in less time: the choice depends on the problem.".into());
    }
    sentences.extend(efficiency_conclusion(ratios));
    sentences
}

/// Loss, start and box of a group, for people.
pub fn group_title(group: &KnownGroup) -> String {
    let loss = if group.loss == LossKind::Linear { "Linear loss" } else { "Cauchy loss" };
    let start = if group.start == StartChoice::Nominal { "nominal start" } else { "poor start" };
    let bounds = match group.bounds {
        BoxChoice::Free => "no box",
        BoxChoice::Inactive => "box around the minimum",
        BoxChoice::Active => "minimum on the border of the box",
    };
    format!("{loss}, {start}, {bounds}")
}

/// The solver that solves at least as many fits as the other and is quicker in the median over the groups, if one is.
pub fn recommended(groups: &[KnownGroup]) -> Option<usize> {
    let n_solved =
        [0, 1].map(|solver| groups.iter().map(|group| group.n_solved[solver][ACCURACY_INDEX]).sum::<usize>());
    let ratios: Vec<_> = groups.iter().filter_map(|group| group.time_ratio_median).collect();
    let quicker = usize::from(median(&ratios)? > 1.0);
    (n_solved[quicker] >= n_solved[1 - quicker]).then_some(quicker)
}

fn efficiency_conclusion(ratios: &[VarianceRatio]) -> Option<String> {
    let least = ratios.iter().map(|ratio| ratio.ratio).min_by(f64::total_cmp)?;
    let greatest = ratios.iter().map(|ratio| ratio.ratio).max_by(f64::total_cmp)?;
    let n_outside = ratios.iter().filter(|ratio| !ratio.is_within).count();
    let verdict =
        if n_outside == 0 { "as chance allows for the whole family" } else { "more than chance allows" };
    Some(format!(
        "The variances of the parameters are {least:.3} to {greatest:.3} times the bound of Cramér and Rao, {verdict} \
         ({n_outside} of {} outside, level 0.001).",
        ratios.len()
    ))
}

/// A cell of the registration benchmark, summed up.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct UnknownSummary {
    /// What varies.
    pub factor: &'static str,
    /// Its value.
    pub value: f64,
    /// Nuclei in the reference.
    pub n_nuclei: usize,
    /// Whether there is something to find.
    pub is_related: bool,
    /// Trials.
    pub n_trials: usize,
    /// Registered where they lie.
    pub n_right: usize,
    /// Registered somewhere else, or though there is nothing.
    pub n_wrong: usize,
    /// The share of right ones with its interval of 95 %.
    pub right_interval: [f64; 2],
    /// Median error in px of the reference, over those registered right.
    pub tre_median_px: Option<f64>,
    /// Median error of the true pairs' least squares.
    pub tre_true_pairs_median_px: Option<f64>,
    /// Median share of pairs that are true, and of true pairs found.
    pub precision_median: Option<f64>,
    /// Median share of true pairs that were found.
    pub recall_median: Option<f64>,
    /// Logarithm of the chance that came nearest to the limit: the greatest of those accepted, or the least of those
    /// refused.
    pub log10_chance_nearest: Option<f64>,
    /// Median milliseconds to make both fields ready.
    pub ready_ms_median: Option<f64>,
    /// Median milliseconds to match and fit.
    pub match_ms_median: Option<f64>,
}

/// Sums up one cell.
pub fn unknown_summary(cell: &UnknownCell, trials: &[UnknownTrial]) -> UnknownSummary {
    let right: Vec<_> = trials.iter().filter(|trial| trial.is_right).collect();
    let of = |pick: &dyn Fn(&UnknownTrial) -> Option<f64>| -> Option<f64> {
        median(&right.iter().filter_map(|trial| pick(trial)).collect::<Vec<_>>())
    };
    let time = |pick: &dyn Fn(&UnknownTrial) -> std::time::Duration| {
        median(&trials.iter().map(|trial| pick(trial).as_secs_f64() * 1e3).collect::<Vec<_>>())
    };
    let is_related = cell.factor.is_related();
    let chances =
        trials.iter().filter(|trial| trial.is_accepted == is_related).filter_map(|t| t.log10_chance);
    let nearest = if is_related { chances.max_by(f64::total_cmp) } else { chances.min_by(f64::total_cmp) };
    UnknownSummary {
        factor: cell.factor.name(),
        value: cell.value,
        n_nuclei: cell.scene.n,
        is_related,
        n_trials: trials.len(),
        n_right: right.len(),
        n_wrong: trials.iter().filter(|trial| trial.is_accepted && !trial.is_right).count(),
        right_interval: wilson(right.len(), trials.len()),
        tre_median_px: of(&|trial| trial.tre_px),
        tre_true_pairs_median_px: of(&|trial| trial.tre_true_pairs_px),
        precision_median: of(&|trial| trial.precision),
        recall_median: of(&|trial| trial.recall),
        log10_chance_nearest: nearest,
        ready_ms_median: time(&|trial| trial.taken_ready.time),
        match_ms_median: time(&|trial| trial.taken_match.time),
    }
}

/// What the registration benchmark comes to.
pub fn unknown_conclusion(summaries: &[UnknownSummary]) -> Vec<String> {
    let sum = |is_related: bool, of: &dyn Fn(&UnknownSummary) -> usize| -> usize {
        summaries.iter().filter(|summary| summary.is_related == is_related).map(of).sum()
    };
    let [related, unrelated] = [true, false].map(|kind| sum(kind, &|summary| summary.n_trials));
    let right = sum(true, &|summary| summary.n_right);
    let wrong = [true, false].map(|kind| sum(kind, &|summary| summary.n_wrong));
    let mut sentences = vec![format!(
        "Of {related} fields that lie in their overview, {right} are registered where they lie ({:.1} %), {} elsewhere, \
         and the others are refused.",
        100.0 * right as f64 / related.max(1) as f64,
        wrong[0]
    )];
    if unrelated > 0 {
        let bound = if wrong[1] == 0 {
            format!("with 95 % the true share is below {:.2} %", 100.0 * share_max_of_none(unrelated))
        } else {
            format!("{:.2} % at most with 95 %", 100.0 * wilson(wrong[1], unrelated)[1])
        };
        let nearest = summaries.iter().filter(|summary| !summary.is_related);
        let nearest = nearest.filter_map(|summary| summary.log10_chance_nearest).min_by(f64::total_cmp);
        let nearest = nearest.map(|chance| format!("; the nearest came to a chance of 1e{chance:.1}"));
        sentences.push(format!(
            "Of {unrelated} unrelated fields, half of them neighbours in one well, {} are accepted: {bound}{}.",
            wrong[1],
            nearest.unwrap_or_default()
        ));
    }
    let worst = summaries.iter().filter(|summary| summary.is_related && summary.n_right < summary.n_trials);
    let worst: Vec<_> = worst
        .map(|summary| {
            let UnknownSummary { factor, value, n_nuclei, n_right, n_trials, .. } = summary;
            format!("{factor} {value} with {n_nuclei} nuclei ({n_right} of {n_trials})")
        })
        .collect();
    sentences.push(match worst.is_empty() {
        true => "No configuration has a field that is not found.".into(),
        false => format!("Not every field is found with {}.", worst.join(", ")),
    });
    sentences
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::analysis::benchmark::known::KnownAxes;
    use crate::analysis::benchmark::unknown::{Factor, related_cells, unrelated_cells};

    fn results(time_us: [f64; 2]) -> Vec<KnownResult> {
        let axes = KnownAxes { n_pairs: vec![30], noise_px: vec![1.0], wrong_shares: vec![0.0] };
        let run = |cell: KnownCell| {
            let trials = (0..2).map(|seed| cell.run(seed, &mut ()).unwrap()).collect();
            KnownResult { cell, trials, time_us }
        };
        axes.cells().into_iter().map(run).collect()
    }

    #[test]
    fn the_recommendation_follows_from_the_figures() {
        let mut groups = known_groups(&results([30.0, 10.0]));
        assert_eq!(groups.len(), 12);
        groups.iter_mut().for_each(|group| group.n_solved = [[4; 4]; 2]);
        assert_eq!((recommended(&groups), groups[0].time_ratio_median), (Some(1), Some(3.0)));
        groups[0].n_solved[1] = [3; 4];
        assert_eq!(recommended(&groups), None, "quicker, but solves fewer");
        groups.iter_mut().for_each(|group| group.time_ratio_median = Some(0.5));
        assert_eq!(recommended(&groups), Some(0));
        assert_eq!(recommended(&[]), None);
        let text = known_conclusion(&groups, &[]).join("\n");
        assert!(text.contains("L-BFGS-B takes 2.0 times less time"), "{text}");
        assert!(text.contains("Recommended for registration: L-BFGS-B"), "{text}");
    }

    #[test]
    fn wrong_acceptances_are_told_from_refusals() {
        let related = related_cells(900, &[0.5])[0];
        let right = related.run(1, &mut ()).unwrap();
        let wrong = UnknownTrial { is_right: false, ..right.clone() };
        let refused = UnknownTrial { is_accepted: false, ..wrong.clone() };
        let summary = unknown_summary(&related, &[right, wrong.clone(), refused.clone()]);
        assert_eq!((summary.n_right, summary.n_wrong, summary.n_trials), (1, 1, 3));
        let stranger = unrelated_cells(900)[0];
        assert_eq!(stranger.factor, Factor::OtherWell);
        let none = unknown_summary(&stranger, &vec![refused; 30]);
        let text = unknown_conclusion(&[summary.clone(), none]).join("\n");
        assert!(text.contains("1 are registered where they lie (33.3 %), 1 elsewhere"), "{text}");
        assert!(text.contains("below 9.50 %"), "{text}");
        let some = unknown_summary(&stranger, &[wrong]);
        assert!(unknown_conclusion(&[summary, some]).join("\n").contains("1 are accepted"), "{text}");
    }
}

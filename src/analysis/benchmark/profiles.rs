//! Profiles: which share of the problems a solver has done within which effort.

/// What both solvers needed for one problem; `None` where it was not solved.
pub type Efforts = [Option<f64>; 2];

/// Points `(effort, share)` of a step function that starts at 0 and rises at each point.
pub type Steps = Vec<[f64; 2]>;

/// For each solver, the share of problems solved within a multiple of what the better one needed.
///
/// # References
/// Dolan and Moré 2002, Math. Program. 91.
pub fn performance(problems: &[Efforts]) -> [Steps; 2] {
    [0, 1].map(|solver| {
        let ratio = |efforts: &Efforts| {
            let best = efforts.iter().flatten().copied().fold(f64::INFINITY, f64::min);
            efforts[solver].map(|effort| if best > 0.0 { effort / best } else { 1.0 })
        };
        steps(problems.iter().map(ratio), problems.len())
    })
}

/// For each solver, the share of problems solved within an effort.
///
/// # References
/// Moré and Wild 2009, SIAM J. Optim. 20(1).
pub fn data(problems: &[Efforts]) -> [Steps; 2] {
    [0, 1].map(|solver| steps(problems.iter().map(|efforts| efforts[solver]), problems.len()))
}

fn steps(efforts: impl Iterator<Item = Option<f64>>, n_problems: usize) -> Steps {
    let mut solved: Vec<f64> = efforts.flatten().collect();
    solved.sort_unstable_by(f64::total_cmp);
    let mut steps: Steps = vec![];
    for (n_before, effort) in solved.into_iter().enumerate() {
        let share = (n_before + 1) as f64 / n_problems as f64;
        match steps.last_mut() {
            Some(last) if last[0] == effort => last[1] = share,
            _ => steps.push([effort, share]),
        }
    }
    steps
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_count_unsolved_problems_as_well() {
        let problems = [[Some(2.0), Some(4.0)], [Some(9.0), Some(3.0)], [Some(5.0), None], [None, None]];
        let [first, second] = performance(&problems);
        assert_eq!(first, [[1.0, 0.5], [3.0, 0.75]]);
        assert_eq!(second, [[1.0, 0.25], [2.0, 0.5]]);
        assert_eq!(data(&problems)[1], [[3.0, 0.25], [4.0, 0.5]]);
        assert!(performance(&[]).iter().all(Vec::is_empty));
    }
}

//! Runs the comparison of both optimizers on known pairs, and writes what came out.

mod plots;

use std::fmt::Write;
use std::hint::black_box;
use std::time::{Duration, Instant};

use anyhow::Result;
use rayon::prelude::*;
use serde::Serialize;
use serde_json::{Value, json};

use super::batches::batch_times_us;
use super::findings::{Findings, Table, Trials};
use super::report::word;
use super::session::Session;
use crate::analysis::benchmark::efficiency::{self, EfficiencyCell, Squares, VarianceRatio};
use crate::analysis::benchmark::findings::{
    ACCURACY_INDEX, KnownGroup, KnownResult, group_title, known_conclusion, known_groups, recommended,
};
use crate::analysis::benchmark::known::{ACCURACIES, KnownAxes, KnownCell, KnownTrial, SOLVERS};
use crate::analysis::registration::Prepared;
use crate::analysis::synthesis::Random;
use crate::platform::meter::StopWatch;

/// Least length of a batch of runs that is timed, and how many of them there are: the quickest counts.
const BATCH: Duration = Duration::from_millis(2);
const N_BATCHES: usize = 5;
/// Trials of an efficiency cell that are one part of the work.
const N_EFFICIENCY_PART: u64 = 500;

/// What is run.
#[derive(Debug, Clone, Serialize)]
pub struct KnownSettings {
    /// The grid.
    pub axes: KnownAxes,
    /// Trials per cell.
    pub n_trials: usize,
    /// Trials per cell of the comparison with the bound of Cramér and Rao; 0 for none.
    pub n_efficiency_trials: u64,
    /// Another seed gives other pairs.
    pub seed: u64,
}

/// Runs everything, writes everything, and returns the summary.
///
/// # Errors
/// Files that cannot be written, and pairs that nothing can be fitted to.
pub fn run(session: Session, settings: &KnownSettings) -> Result<Value> {
    let results = run_cells(&session, settings)?;
    let squares = run_efficiency(&session, settings)?;
    let ratios = match settings.n_efficiency_trials {
        0 => vec![],
        n_trials => efficiency::judge(&squares, n_trials as usize),
    };
    let groups = known_groups(&results);
    let findings = Findings {
        title: "Two optimizers on known pairs",
        summary: json!({
            "benchmark": "optimizers",
            "settings": settings,
            "n_fits": results.iter().map(|result| 2 * result.trials.len()).sum::<usize>(),
            "solvers": SOLVERS,
            "accuracies": ACCURACIES,
            "accuracy_compared": ACCURACIES[ACCURACY_INDEX],
            "recommended": recommended(&groups).map(|solver| SOLVERS[solver]),
            "groups": groups,
            "efficiency": ratios,
        }),
        conclusion: known_conclusion(&groups, &ratios),
        trials: trials(&results),
        plots: plots::of(&results, &groups),
        tables: vec![
            Table {
                heading: "By loss, start and box",
                header: &GROUP_HEADER,
                rows: groups.iter().map(group_row).collect(),
            },
            Table {
                heading: "Variance beside the bound of Cramér and Rao",
                header: &RATIO_HEADER,
                rows: ratios.iter().map(ratio_row).collect(),
            },
        ],
    };
    findings.close(session)
}

fn run_cells(session: &Session, settings: &KnownSettings) -> Result<Vec<KnownResult>> {
    let cells = settings.axes.cells();
    let task = session.task("known pairs", cells.len());
    let run = |(index, cell): (usize, &KnownCell)| -> Result<KnownResult> {
        let seed = |trial: usize| Random::of(&[settings.seed, index as u64, trial as u64]).bits();
        let trials: Result<Vec<KnownTrial>, _> = (0..settings.n_trials)
            .into_par_iter()
            .map(|trial| cell.run(seed(trial), &mut StopWatch::default()))
            .collect();
        let result = KnownResult { cell: *cell, trials: trials?, time_us: time_runs(cell, seed(0))? };
        task.advance();
        Ok(result)
    };
    let results = session.pool().install(|| cells.par_iter().enumerate().map(run).collect());
    task.end();
    results
}

/// Microseconds that each solver takes for the pairs of a seed, by its own stop tests and without a trace.
fn time_runs(cell: &KnownCell, seed: u64) -> Result<[f64; 2]> {
    let mut pairs = cell.pairs(seed);
    pairs.settings.n_trace_points = 0;
    let (prepared, _) = Prepared::new(&pairs.moving, &pairs.reference, &pairs.settings, &mut ())?;
    let begin = Instant::now();
    let least = |run: &dyn Fn()| batch_times_us(run, (N_BATCHES, BATCH), || begin.elapsed())[0];
    // both can be started on, or the trials before would have said so
    Ok([least(&|| drop(black_box(prepared.lbfgsb()))), least(&|| drop(black_box(prepared.lm())))])
}

fn run_efficiency(session: &Session, settings: &KnownSettings) -> Result<Vec<(EfficiencyCell, Squares)>> {
    let n_trials = settings.n_efficiency_trials;
    if n_trials == 0 {
        return Ok(vec![]);
    }
    let cells = efficiency::cells();
    let n_parts = n_trials.div_ceil(N_EFFICIENCY_PART);
    let task = session.task("efficiency", cells.len() * n_parts as usize);
    let run_part = |cell: &EfficiencyCell, part: u64| {
        let first = part * N_EFFICIENCY_PART;
        let squares = cell.run(settings.seed, first, N_EFFICIENCY_PART.min(n_trials - first));
        task.advance();
        squares
    };
    let run_cell = |cell: &EfficiencyCell| -> Result<(EfficiencyCell, Squares)> {
        let parts: Result<Vec<Squares>, _> =
            (0..n_parts).into_par_iter().map(|part| run_part(cell, part)).collect();
        let mut sums: Squares = [0, 1].map(|_| vec![0.0; cell.model.n_parameters()]);
        for part in parts? {
            let sums = sums.iter_mut().flatten();
            sums.zip(part.iter().flatten()).for_each(|(sum, value)| *sum += value);
        }
        Ok((*cell, sums))
    };
    let results = session.pool().install(|| cells.par_iter().map(run_cell).collect());
    task.end();
    results
}

fn trials(results: &[KnownResult]) -> Trials {
    let mut csv = String::from(
        "n_pairs,noise_px,wrong_share,model,loss,start,bounds,trial,solver,rmsd_px,tre_px,cost_start,cost_least,cost,\
         iterations,residual_passes,jacobian_passes,passes_1e-3,passes_1e-6,passes_1e-9,passes_1e-12,stop_reason,\
         bound_violation_max,time_us,peak_alloc_bytes\n",
    );
    for result in results {
        let KnownCell { n_pairs, noise_px, wrong_share, model, loss, start, bounds } = result.cell;
        let [model, loss, start, bounds] = [word(&model), word(&loss), word(&start), word(&bounds)];
        let cell = format!("{n_pairs},{noise_px},{wrong_share},{model},{loss},{start},{bounds}");
        for (trial, both) in result.trials.iter().enumerate() {
            for (solver, run) in SOLVERS.iter().zip(&both.solvers) {
                let passes: Vec<_> =
                    run.passes_to.iter().map(|n| n.map_or(String::new(), |n| n.to_string())).collect();
                let peak = run.taken.peak_bytes.map_or(String::new(), |bytes| bytes.to_string());
                writeln!(
                    csv,
                    "{cell},{trial},{solver},{},{},{:e},{:e},{:e},{},{},{},{},{},{},{:.2},{peak}",
                    run.rmsd_px,
                    run.tre_px,
                    both.cost_start,
                    both.cost_least,
                    run.cost,
                    run.n_iterations,
                    run.n_residual_passes,
                    run.n_jacobian_passes,
                    passes.join(","),
                    run.stop_reason,
                    run.bound_violation_max,
                    run.taken.time.as_secs_f64() * 1e6,
                )
                .expect("a string takes all text");
            }
        }
    }
    Trials {
        csv,
        texts: &["model", "loss", "start", "bounds", "solver", "stop_reason"],
        wholes: &[
            "n_pairs",
            "trial",
            "iterations",
            "residual_passes",
            "jacobian_passes",
            "passes_1e-3",
            "passes_1e-6",
            "passes_1e-9",
            "passes_1e-12",
            "peak_alloc_bytes",
        ],
        flags: &[],
    }
}

const GROUP_HEADER: [&str; 9] = [
    "loss, start, box",
    "fits",
    "solved L-BFGS-B",
    "solved LM",
    "passes L-BFGS-B",
    "passes LM",
    "us L-BFGS-B",
    "us LM",
    "rmsd differs by px",
];

fn group_row(group: &KnownGroup) -> Vec<String> {
    let share = |solver: usize| {
        let [low, high] = group.solved_interval[solver];
        let solved = group.n_solved[solver][ACCURACY_INDEX] as f64 / group.n_trials.max(1) as f64;
        format!("{:.2} % ({:.2} to {:.2})", 100.0 * solved, 100.0 * low, 100.0 * high)
    };
    let number = |value: Option<f64>| value.map_or("-".to_owned(), |value| format!("{value:.1}"));
    vec![
        group_title(group),
        group.n_trials.to_string(),
        share(0),
        share(1),
        number(group.passes_median[0]),
        number(group.passes_median[1]),
        number(group.time_us_median[0]),
        number(group.time_us_median[1]),
        format!("{:.1e}", group.rmsd_difference_max_px),
    ]
}

const RATIO_HEADER: [&str; 8] =
    ["model", "pairs", "noise px", "solver", "parameter", "ratio", "95 % interval", "within family test"];

fn ratio_row(ratio: &VarianceRatio) -> Vec<String> {
    let [low, high] = ratio.interval;
    vec![
        word(&ratio.cell.model),
        ratio.cell.n_pairs.to_string(),
        ratio.cell.noise_px.to_string(),
        ratio.solver.to_owned(),
        ratio.parameter.to_owned(),
        format!("{:.4}", ratio.ratio),
        format!("{low:.4} to {high:.4}"),
        if ratio.is_within { "yes" } else { "NO" }.to_owned(),
    ]
}

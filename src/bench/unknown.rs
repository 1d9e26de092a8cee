//! Runs registration without known pairs on scenes with their truth, and writes what came out.

use std::fmt::Write;

use anyhow::Result;
use rayon::prelude::*;
use serde::Serialize;
use serde_json::{Value, json};

use super::findings::{Findings, Table, Trials};
use super::plot::{Plot, Series, Style};
use super::report::word;
use super::session::Session;
use crate::analysis::benchmark::findings::{UnknownSummary, unknown_conclusion, unknown_summary};
use crate::analysis::benchmark::unknown::{
    Factor, UnknownCell, UnknownTrial, related_cells, unrelated_cells,
};
use crate::analysis::synthesis::Random;
use crate::platform::meter::StopWatch;

/// What is run.
#[derive(Debug, Clone, Serialize)]
pub struct UnknownSettings {
    /// Nuclei in the reference.
    pub n_nuclei: Vec<usize>,
    /// Standard deviations of the noise in px of each view.
    pub noise_px: Vec<f64>,
    /// Trials per cell.
    pub n_trials: usize,
    /// Unrelated pairs per number of nuclei, spread over their cells.
    pub n_unrelated: usize,
    /// Another seed gives other scenes.
    pub seed: u64,
}

/// A cell and what came of its trials.
struct CellResult {
    cell: UnknownCell,
    trials: Vec<UnknownTrial>,
}

/// Runs everything, writes everything, and returns the summary.
///
/// # Errors
/// Files that cannot be written.
pub fn run(session: Session, settings: &UnknownSettings) -> Result<Value> {
    let results = run_cells(&session, settings)?;
    let summaries: Vec<_> =
        results.iter().map(|result| unknown_summary(&result.cell, &result.trials)).collect();
    let mut plots = success_plots(&summaries);
    plots.push(("tre_noise", tre_plot(&summaries)));
    plots.push(("match_time", time_plot(&summaries)));
    let findings = Findings {
        title: "Registration without known pairs",
        summary: json!({
            "benchmark": "registration",
            "settings": settings,
            "n_pairs_of_fields": results.iter().map(|result| result.trials.len()).sum::<usize>(),
            "cells": summaries,
        }),
        conclusion: unknown_conclusion(&summaries),
        trials: trials(&results),
        plots,
        tables: vec![Table { heading: "Cells", header: &HEADER, rows: summaries.iter().map(row).collect() }],
    };
    findings.close(session)
}

fn run_cells(session: &Session, settings: &UnknownSettings) -> Result<Vec<CellResult>> {
    let mut cells: Vec<(UnknownCell, usize)> = vec![];
    for &n in &settings.n_nuclei {
        cells.extend(related_cells(n, &settings.noise_px).into_iter().map(|cell| (cell, settings.n_trials)));
        let unrelated = unrelated_cells(n);
        let n_each = settings.n_unrelated.div_ceil(unrelated.len());
        cells.extend(unrelated.into_iter().map(|cell| (cell, n_each)));
    }
    let task = session.task("pairs of fields", cells.iter().map(|(_, n_trials)| n_trials).sum());
    let run = |(index, (cell, n_trials)): (usize, &(UnknownCell, usize))| -> Result<CellResult> {
        let run_trial = |trial: usize| {
            let seed = Random::of(&[settings.seed, index as u64, trial as u64]).bits();
            let found = cell.run(seed, &mut StopWatch::default());
            task.advance();
            found
        };
        let trials: Result<Vec<_>, _> = (0..*n_trials).into_par_iter().map(run_trial).collect();
        Ok(CellResult { cell: *cell, trials: trials? })
    };
    let results = session.pool().install(|| cells.par_iter().enumerate().map(run).collect());
    task.end();
    results
}

fn trials(results: &[CellResult]) -> Trials {
    let mut csv = String::from(
        "n_nuclei,factor,value,trial,n_moving,n_reference,accepted,right,log10_chance,tre_px,tre_true_pairs_px,\
         precision,recall,ready_ms,match_ms,match_peak_alloc_bytes\n",
    );
    let number = |value: Option<f64>| value.map_or(String::new(), |value| format!("{value:.6}"));
    for CellResult { cell, trials } in results {
        for (index, trial) in trials.iter().enumerate() {
            writeln!(
                csv,
                "{},{},{},{index},{},{},{},{},{},{},{},{},{},{:.3},{:.3},{}",
                cell.scene.n,
                cell.factor.name(),
                cell.value,
                trial.n_moving,
                trial.n_reference,
                trial.is_accepted,
                trial.is_right,
                number(trial.log10_chance),
                number(trial.tre_px),
                number(trial.tre_true_pairs_px),
                number(trial.precision),
                number(trial.recall),
                trial.taken_ready.time.as_secs_f64() * 1e3,
                trial.taken_match.time.as_secs_f64() * 1e3,
                trial.taken_match.peak_bytes.map_or(String::new(), |bytes| bytes.to_string()),
            )
            .expect("a string takes all text");
        }
    }
    Trials {
        csv,
        texts: &["factor"],
        wholes: &["n_nuclei", "trial", "n_moving", "n_reference", "match_peak_alloc_bytes"],
        flags: &["accepted", "right"],
    }
}

const HEADER: [&str; 12] = [
    "what varies",
    "value",
    "nuclei",
    "pairs of fields",
    "right",
    "wrong",
    "right, 95 % interval",
    "error px",
    "error of true pairs px",
    "precision",
    "recall",
    "ms to match",
];

fn row(summary: &UnknownSummary) -> Vec<String> {
    let number = |value: Option<f64>| value.map_or("-".to_owned(), |value| format!("{value:.3}"));
    let [low, high] = summary.right_interval;
    vec![
        summary.factor.to_owned(),
        summary.value.to_string(),
        summary.n_nuclei.to_string(),
        summary.n_trials.to_string(),
        summary.n_right.to_string(),
        summary.n_wrong.to_string(),
        if summary.is_related { format!("{low:.2} to {high:.2}") } else { "-".to_owned() },
        number(summary.tre_median_px),
        number(summary.tre_true_pairs_median_px),
        number(summary.precision_median),
        number(summary.recall_median),
        number(summary.match_ms_median),
    ]
}

/// The numbers of nuclei in order, for which a series is drawn each.
fn sizes(summaries: &[UnknownSummary]) -> Vec<usize> {
    let mut sizes: Vec<_> = summaries.iter().map(|summary| summary.n_nuclei).collect();
    sizes.sort_unstable();
    sizes.dedup();
    sizes
}

/// The share of right registrations with its interval, a plot for each thing that varies.
fn success_plots(summaries: &[UnknownSummary]) -> Vec<(&'static str, Plot)> {
    let factors = [
        (Factor::Noise, "success_noise", "noise in px of each view"),
        (Factor::Missed, "success_missed", "share missed, and share false, in both views"),
        (Factor::Overlap, "success_overlap", "share of the field inside the reference"),
        (Factor::Rotation, "success_rotation", "rotation in degrees"),
    ];
    let plot = |(factor, file, x_label): (Factor, &'static str, &str)| {
        let one = |(colour, n): (usize, usize)| {
            let members = summaries.iter().filter(|it| it.factor == factor.name() && it.n_nuclei == n);
            let (points, whiskers) = members
                .map(|it| ([it.value, it.n_right as f64 / it.n_trials.max(1) as f64], it.right_interval))
                .unzip();
            Series { name: format!("{n} nuclei"), style: Style::Line, points, whiskers, colour }
        };
        let plot = Plot {
            title: format!("Registered where it lies: {}", word(&factor)),
            x_label: x_label.to_owned(),
            y_label: "share, with 95 % interval".to_owned(),
            is_log: [false, false],
            y_range: Some([0.0, 1.0]),
            series: sizes(summaries).into_iter().enumerate().map(one).collect(),
        };
        (file, plot)
    };
    factors.into_iter().map(plot).collect()
}

/// Errors by noise beside those that the true pairs would give.
fn tre_plot(summaries: &[UnknownSummary]) -> Plot {
    let mut series = vec![];
    for (colour, n) in sizes(summaries).into_iter().enumerate() {
        let members = || {
            let is_member = |it: &&UnknownSummary| it.factor == Factor::Noise.name() && it.n_nuclei == n;
            summaries.iter().filter(is_member).filter(|it| it.value > 0.0)
        };
        let points = |of: fn(&UnknownSummary) -> Option<f64>| {
            members().filter_map(|it| Some([it.value, of(it)?])).collect()
        };
        series.push(Series {
            name: format!("{n} nuclei"),
            style: Style::Points,
            points: points(|it| it.tre_median_px),
            whiskers: vec![],
            colour,
        });
        series.push(Series {
            name: format!("{n} nuclei, true pairs"),
            style: Style::Dashed,
            points: points(|it| it.tre_true_pairs_median_px),
            whiskers: vec![],
            colour,
        });
    }
    Plot {
        title: "Error by noise (medians)".to_owned(),
        x_label: "noise in px of each view".to_owned(),
        y_label: "root mean square error in px of the reference".to_owned(),
        is_log: [true, true],
        y_range: None,
        series,
    }
}

/// Milliseconds to match by the number of nuclei, for related and unrelated fields.
fn time_plot(summaries: &[UnknownSummary]) -> Plot {
    let line = |(colour, (name, is_related)): (usize, (&str, bool))| {
        let mean = |n: usize| {
            let members: Vec<_> = summaries
                .iter()
                .filter(|it| it.is_related == is_related && it.n_nuclei == n)
                .filter_map(|it| it.match_ms_median)
                .collect();
            crate::analysis::benchmark::statistics::median(&members).map(|ms| [n as f64, ms])
        };
        let points = sizes(summaries).into_iter().filter_map(mean).collect();
        let whiskers = vec![];
        Series { name: name.to_owned(), style: Style::Line, points, whiskers, colour }
    };
    Plot {
        title: "Time to match and fit (medians)".to_owned(),
        x_label: "nuclei in the reference".to_owned(),
        y_label: "milliseconds".to_owned(),
        is_log: [true, true],
        y_range: None,
        series: [("related", true), ("unrelated", false)].into_iter().enumerate().map(line).collect(),
    }
}

//! Runs the whole pipeline over two folders of real files, and writes how both optimizers registered their fields.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde::Serialize;
use serde_json::{Map, Value, json};

use super::findings::{Findings, Table, Trials};
use super::plot::{Plot, Series, Style};
use super::session::Session;
use crate::actor::Outcome;
use crate::analysis::benchmark::findings::SOLVER_TITLES;
use crate::analysis::benchmark::known::SOLVERS;
use crate::analysis::benchmark::real::{RealFit, RealPair, RealRun, real_conclusion, real_summary};
use crate::analysis::segmentation::table::text_cell;
use crate::service::{Service, Task};
use crate::settings::{Settings, below_one_root, resolve_scanned};
use crate::stages::bookkeeping::ProgressSnapshot;
use crate::store::{LedgerError, LedgerReader, RegistrationListing};

/// Threads that wait for files and for the ledger; computing has its own.
const RUNTIME_THREADS: usize = 2;
/// How long the runtime may take to end what it still holds.
const END_MAX: Duration = Duration::from_secs(2);

/// What is run.
#[derive(Debug, Clone, Serialize)]
pub struct RealSettings {
    /// Folders or files of the coarse and of the fine objective.
    pub folders: [PathBuf; 2],
}

/// Reads, segments and registers everything, writes everything, and returns the summary.
///
/// # Errors
/// Folders that cannot be found, a pipeline that fails, files that cannot be written.
pub fn run(session: Session, settings: &RealSettings) -> Result<Value> {
    let scanned = session.folder().join("scan");
    let (counts, pairs) = scan(&session, settings, &scanned)?;
    fs::remove_dir_all(&scanned).with_context(|| format!("cannot remove {}", scanned.display()))?;
    let summary = real_summary(&pairs);
    let findings = Findings {
        title: "Registration of real fields",
        summary: json!({
            "benchmark": "registration_real",
            "settings": settings,
            "solvers": SOLVERS,
            "files": counts.files_done,
            "files_rejected": counts.files_rejected,
            "planes": counts.planes_done,
            "pairs": summary,
        }),
        conclusion: real_conclusion(&summary),
        trials: trials(&pairs),
        plots: vec![("fit_time", time_plot(&pairs)), ("rmsd", rmsd_plot(&pairs))],
        tables: vec![Table { heading: "Pairs", header: &HEADER, rows: pairs.iter().map(row).collect() }],
    };
    findings.close(session)
}

/// The pipeline of `scopewatch scan`, with its output in a folder of this run.
fn scan(
    session: &Session,
    settings: &RealSettings,
    output: &Path,
) -> Result<(ProgressSnapshot, Vec<RealPair>)> {
    let mut chosen = Settings::default();
    chosen.output.dir = output.to_owned();
    chosen.resources.workers = Some(session.n_workers());
    // where a file names no plate, fields are only paired with overviews of their root
    let (folders, only) = below_one_root(resolve_scanned(&settings.folders, output)?);
    let state = folders.output.join("state");
    let task = session.task("read, segment, register", 1);
    let service = Service::open(Task { settings: chosen, folders, only, once: true, hash_only: false })?;
    let watchtower = service.watchtower();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(RUNTIME_THREADS)
        .enable_all()
        .build()
        .context("cannot start the runtime")?;
    let finished = runtime.block_on(service.run(|| ()));
    let counts = watchtower.progress().snapshot();
    drop(watchtower);
    runtime.shutdown_timeout(END_MAX);
    if finished?.outcome != Outcome::Finished {
        bail!("the pipeline ended before everything was registered");
    }
    task.advance();
    task.end();
    let mut pairs = vec![];
    LedgerReader::open(&state)?.each_registration(|listing| {
        pairs.push(pair(&listing));
        Ok::<_, LedgerError>(())
    })?;
    Ok((counts, pairs))
}

fn pair(listing: &RegistrationListing) -> RealPair {
    let RegistrationListing { moving, reference, is_accepted, result, .. } = listing;
    let name = |(_, path, index): &(_, crate::paths::RelativePath, crate::units::PlaneIndex)| {
        [path.to_report(), index.to_string()]
    };
    RealPair {
        moving: name(moving),
        reference: name(reference),
        found: is_accepted.then(|| fit(result)).flatten(),
        reason: result.get("reason").and_then(Value::as_str).map(str::to_owned),
        log10_chance: result.get("log10_chance").and_then(Value::as_f64),
    }
}

/// What the line of an accepted pair says.
fn fit(result: &Map<String, Value>) -> Option<RealFit> {
    let number = |key: &str| result.get(key).and_then(Value::as_f64);
    let optimizers = result.get("optimizers")?;
    let [Some(lbfgsb), Some(lm)] = SOLVERS.map(|solver| run_of(optimizers.get(solver)?)) else { return None };
    Some(RealFit {
        n_pairs: result.get("n_pairs")?.as_u64()?,
        rmsd_px: number("rmsd_px")?,
        expected_tre_px: number("expected_tre_px"),
        scale: number("scale")?,
        rotation_deg: number("rotation_deg")?,
        solvers: [lbfgsb, lm],
    })
}

fn run_of(said: &Value) -> Option<RealRun> {
    Some(RealRun {
        rmsd_px: said["rmsd_px"].as_f64()?,
        n_iterations: said["iterations"].as_u64()?,
        n_residual_passes: said["residual_evaluations"].as_u64()?,
        n_jacobian_passes: said["jacobian_evaluations"].as_u64()?,
        time_us: said["time_us"].as_f64()?,
        peak_bytes: said["peak_alloc_bytes"].as_u64(),
        stop_reason: said["stop_reason"].as_str()?.to_owned(),
    })
}

/// One row per pair and solver; one without a solver where the pair was refused.
fn trials(pairs: &[RealPair]) -> Trials {
    let mut csv = String::from(
        "moving_file,moving_plane,reference_file,reference_plane,accepted,reason,log10_chance,n_pairs,rmsd_px,\
         expected_tre_px,scale,rotation_deg,solver,solver_rmsd_px,iterations,residual_passes,jacobian_passes,time_us,\
         peak_alloc_bytes,stop_reason\n",
    );
    let number = |value: Option<f64>| value.map_or(String::new(), |value| value.to_string());
    for RealPair { moving, reference, found, reason, log10_chance } in pairs {
        let names = moving.iter().chain(reference).map(|name| text_cell(name)).collect::<Vec<_>>().join(",");
        let reason = text_cell(reason.as_deref().unwrap_or_default());
        let begin = format!("{names},{},{reason},{}", found.is_some(), number(*log10_chance));
        let Some(fit) = found else {
            csv += &format!("{begin},,,,,,,,,,,,,\n");
            continue;
        };
        let RealFit { n_pairs, rmsd_px, scale, rotation_deg, .. } = fit;
        let expected = number(fit.expected_tre_px);
        for (solver, run) in SOLVERS.iter().zip(&fit.solvers) {
            let peak = run.peak_bytes.map_or(String::new(), |bytes| bytes.to_string());
            csv += &format!(
                "{begin},{n_pairs},{rmsd_px},{expected},{scale},{rotation_deg},{solver},{},{},{},{},{:.2},{peak},{}\n",
                run.rmsd_px,
                run.n_iterations,
                run.n_residual_passes,
                run.n_jacobian_passes,
                run.time_us,
                run.stop_reason
            );
        }
    }
    Trials {
        csv,
        texts: &[
            "moving_file",
            "moving_plane",
            "reference_file",
            "reference_plane",
            "reason",
            "solver",
            "stop_reason",
        ],
        wholes: &["n_pairs", "iterations", "residual_passes", "jacobian_passes", "peak_alloc_bytes"],
        flags: &["accepted"],
    }
}

const HEADER: [&str; 9] = [
    "field",
    "overview",
    "result",
    "log10 of chance",
    "pairs",
    "rmsd px",
    "expected error px",
    "us L-BFGS-B",
    "us LM",
];

fn row(pair: &RealPair) -> Vec<String> {
    let name = |[file, plane]: &[String; 2]| format!("{file} {plane}");
    let mut cells = vec![name(&pair.moving), name(&pair.reference)];
    cells.push(pair.reason.clone().unwrap_or_else(|| "accepted".to_owned()));
    cells.push(pair.log10_chance.map_or("-".to_owned(), |chance| format!("{chance:.1}")));
    match &pair.found {
        None => cells.extend(vec!["-".to_owned(); 5]),
        Some(fit) => cells.extend([
            fit.n_pairs.to_string(),
            format!("{:.3}", fit.rmsd_px),
            fit.expected_tre_px.map_or("-".to_owned(), |expected| format!("{expected:.3}")),
            format!("{:.1}", fit.solvers[0].time_us),
            format!("{:.1}", fit.solvers[1].time_us),
        ]),
    }
    cells
}

fn by_pairs(pairs: &[RealPair], of: impl Fn(&RealFit) -> Option<f64>) -> Vec<[f64; 2]> {
    let found = pairs.iter().filter_map(|pair| pair.found.as_ref());
    found.filter_map(|fit| Some([fit.n_pairs as f64, of(fit)?])).collect()
}

fn time_plot(pairs: &[RealPair]) -> Plot {
    let series = |solver: usize| {
        let points = by_pairs(pairs, |fit| Some(fit.solvers[solver].time_us));
        series(SOLVER_TITLES[solver], solver, points)
    };
    plot("Time of one fit", "microseconds", vec![series(0), series(1)])
}

fn rmsd_plot(pairs: &[RealPair]) -> Plot {
    let distances = series("distance of the pairs", 0, by_pairs(pairs, |fit| Some(fit.rmsd_px)));
    let errors = series("expected error of the transform", 1, by_pairs(pairs, |fit| fit.expected_tre_px));
    plot("Root mean square distances", "px of the overview", vec![distances, errors])
}

fn series(name: &str, colour: usize, points: Vec<[f64; 2]>) -> Series {
    Series { name: name.to_owned(), style: Style::Points, points, whiskers: vec![], colour }
}

fn plot(title: &str, y_label: &str, series: Vec<Series>) -> Plot {
    Plot {
        title: title.to_owned(),
        x_label: "pairs of nuclei".to_owned(),
        y_label: y_label.to_owned(),
        is_log: [true, true],
        y_range: None,
        series,
    }
}

//! `scopewatch demo`: the daemon at work on a synthetic acquisition, and what it found against what was planted.

mod arrival;
mod found;
mod score;
#[cfg(test)]
mod tests;

use std::fs;
use std::io::{ErrorKind, IsTerminal};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow};
use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use tokio::runtime::Runtime;
use tokio_util::sync::CancellationToken;

use crate::analysis::synthesis::truth::Truth;
use crate::analysis::synthesis::{Acquisition, AcquisitionSettings};
use crate::service::{Service, Task, drain_on_signal};
use crate::settings::{Override, Settings, resolve_folders};

use super::{Exit, Failure, logging, say, set, synth};
use arrival::Arrival;
use found::Found;

/// Shows the daemon at work: drops a small synthetic acquisition into a watched folder and checks what is found
#[derive(Debug, Args)]
#[command(
    after_help = "Nuclei at 10x and 40x in ND2, TIFF and OME-TIFF arrive file by file, one of them frame by frame; among \
                        them are copies, look-alikes, a stuck camera, an empty well and damaged files. The command ends \
                        with a table of what was planted and what was found, and exits 0 only when nothing is missed \
                        and nothing invented.\n\n\
                        Example:\n  scopewatch demo --out /tmp/scopewatch-demo"
)]
pub(super) struct DemoArgs {
    /// Folder for acquisition and reports: a new one, or that of an earlier demo, which is replaced
    #[arg(long, value_name = "DIR", default_value = "scopewatch-demo")]
    out: PathBuf,
    /// Another seed gives another acquisition
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    /// Rows and columns of a frame in pixels, 768 to 4096: below, too few nuclei are in both magnifications
    #[arg(long, value_name = "PX", default_value_t = 1024, value_parser = clap::value_parser!(u16).range(768..=4096))]
    size: u16,
    /// End with the counts as one JSON object on stdout
    #[arg(long)]
    json: bool,
}

/// By this file a folder is known as that of a demo.
const MARK: &str = ".scopewatch-demo";
/// What a demo makes in its folder: the acquisition, the watched folder, the daemon's output.
const ACQUIRED: &str = "acquired";
const WATCHED: &str = "watched";
const OUTPUT: &str = "out";

pub(super) fn main(args: &DemoArgs) -> Result<Exit, Failure> {
    let settings =
        AcquisitionSettings { seed: args.seed, side_px: args.size.into(), ..AcquisitionSettings::default() };
    let plan = Acquisition::plan(settings).map_err(Failure::usage)?;
    make_room(&args.out)?;
    let out = fs::canonicalize(&args.out).with_context(|| args.out.display().to_string())?;
    let started = Instant::now();
    let runtime = super::run::runtime()?;
    let stop = CancellationToken::new();
    runtime.spawn(drain_on_signal(stop.clone(), Duration::ZERO));
    eprintln!("drawing {} files into {}", plan.n_files(), out.join(ACQUIRED).display());
    let watched = match synth::fill(&out.join(ACQUIRED), plan, &|| stop.is_cancelled())? {
        Some(truth) => watch(&out, &truth, &runtime, &stop)?.map(|timed_out| (truth, timed_out)),
        None => None,
    };
    runtime.shutdown_timeout(Duration::from_secs(2));
    let Some((truth, timed_out)) = watched else {
        eprintln!("interrupted; what was done so far is in {}", out.display());
        if args.json {
            say("{\"interrupted\":true}\n")?;
        }
        return Ok(Exit::Failed);
    };
    let found = Found::read(&out.join(OUTPUT))?;
    let score = score::score(&truth, &found);
    say(&format!("\n{score}\n{:.0} s\n", started.elapsed().as_secs_f64()))?;
    if timed_out {
        say("time ran out before everything was reported\n")?;
    }
    let reports = out.join(OUTPUT).join("reports");
    say(&format!("reports   {}\n", reports.display()))?;
    if let Some(overlay) = overlay(&out.join(OUTPUT).join("objects")) {
        say(&format!("a picture {}\n", overlay.display()))?;
    }
    if args.json {
        let mut answer = score.to_json(&reports);
        answer["timed_out"] = timed_out.into();
        say(&format!("{answer}\n"))?;
    }
    Ok(if score.is_perfect() && !timed_out { Exit::Done } else { Exit::Failed })
}

/// Makes the folder, or takes away what an earlier demo made in it.
///
/// # Errors
/// When the folder holds anything but an earlier demo.
fn make_room(out: &Path) -> Result<(), Failure> {
    let name = || out.display().to_string();
    if out.exists() && !out.is_dir() {
        return Err(Failure::usage(anyhow!("expected a folder, {} is none", out.display())));
    }
    fs::create_dir_all(out).with_context(name)?;
    let is_empty = fs::read_dir(out).with_context(name)?.next().is_none();
    if !is_empty && !out.join(MARK).is_file() {
        return Err(Failure::usage(anyhow!(
            "{} is not empty and not the folder of an earlier demo: name another one by --out",
            out.display()
        )));
    }
    fs::write(out.join(MARK), b"").with_context(name)?;
    for part in [ACQUIRED, WATCHED, OUTPUT] {
        let path = out.join(part);
        match fs::remove_dir_all(&path) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                return Err(anyhow::Error::new(error).context(path.display().to_string()).into());
            }
            _ => {}
        }
    }
    Ok(fs::create_dir(out.join(WATCHED)).with_context(name)?)
}

/// The daemon's settings: as shipped, but as impatient as a demonstration is.
fn settings(out: &Path) -> Result<Settings> {
    let overrides: Vec<Override> = [
        set("watch.quiet_period_ms", "demo", Some(300)),
        set("watch.scan_interval_ms", "demo", Some(500)),
        set("output.overlays", "demo", Some("all")),
        set("output.labels", "demo", Some("none")),
        set("output.current_interval_ms", "demo", Some(2000)),
    ]
    .into_iter()
    .flatten()
    .collect();
    let mut settings = Settings::load(None, Vec::new(), &overrides)?;
    settings.output.dir = out.join(OUTPUT);
    settings.watch.roots = vec![out.join(WATCHED)];
    Ok(settings)
}

/// Runs the daemon while files arrive; whether time ran out, and nothing where it was interrupted.
fn watch(out: &Path, truth: &Truth, runtime: &Runtime, stop: &CancellationToken) -> Result<Option<bool>> {
    eprintln!("the daemon watches {}", out.join(WATCHED).display());
    let settings = settings(out)?;
    let folders = resolve_folders(&settings.watch.roots, &settings.output.dir)?;
    let bar = bar(truth.files.len() as u64);
    logging::start(&settings.log, &folders.output, Some(&bar))?;
    let service = Service::open(Task { settings, folders, only: Vec::new(), once: false, hash_only: false })?;
    let drain = service.shutdown().drain;
    let drained = drain.clone();
    let stopped = stop.clone();
    runtime.spawn(async move {
        stopped.cancelled().await;
        drained.cancel();
    });
    let timed_out = runtime.block_on(attend(service, out, truth, &bar));
    bar.finish_and_clear();
    timed_out.map(|timed_out| (!stop.is_cancelled()).then_some(timed_out))
}

/// Runs the service until all files have arrived and are reported; whether time ran out.
async fn attend(service: Service, out: &Path, truth: &Truth, bar: &ProgressBar) -> Result<bool> {
    let watchtower = service.watchtower();
    let drain = service.shutdown().drain;
    let (out, truth, bar) = (out.to_owned(), truth.clone(), bar.clone());
    let arriving = tokio::task::spawn_blocking({
        let drain = drain.clone();
        move || {
            let is_over = || drain.is_cancelled();
            let arrival = Arrival { out: &out, truth: &truth, bar: &bar, is_over: &is_over };
            let arrived = arrival.run(&|| watchtower.is_idle());
            drain.cancel();
            arrived
        }
    });
    let finished = service.run(|| ()).await;
    // whatever ended the service ends the arrival, too
    drain.cancel();
    let arrived = arriving.await.context("the files stopped arriving")?;
    finished?;
    arrived
}

fn bar(n_files: u64) -> ProgressBar {
    if !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let style = ProgressStyle::with_template("{bar:32} {pos}/{len} files reported  {elapsed}  {msg}");
    ProgressBar::new(n_files).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}

/// The overlay of a 40x field, or else of any, the first by name.
fn overlay(objects: &Path) -> Option<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![objects.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            let path = entry.path();
            if path.is_dir() {
                folders.push(path);
            } else if path.to_string_lossy().ends_with("overlay.png") {
                found.push(path);
            }
        }
    }
    let is_overview = |path: &PathBuf| !path.components().any(|part| part.as_os_str() == "40x");
    found.sort_by_key(|path| (is_overview(path), path.clone()));
    found.into_iter().next()
}

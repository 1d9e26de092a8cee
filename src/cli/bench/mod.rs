//! `scopewatch bench`: how good and how quick the optimizers and the registration are, on this machine.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand};
use serde_json::Value;

use super::{Exit, Failure, say};
use crate::analysis::benchmark::known::KnownAxes;
use crate::analysis::benchmark::unknown::NOISE_PX;
use crate::bench::known::{self, KnownSettings};
use crate::bench::real::{self, RealSettings};
use crate::bench::session::{Session, SessionSettings};
use crate::bench::unknown::{self, UnknownSettings};
use crate::machine;
use crate::tuning::{Sharing, shares};

/// Measures the optimizers and the registration, and writes a report
///
/// Each benchmark writes trials.csv and trials.parquet, summary.json, report.html, the plots as SVG, and a log.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  scopewatch bench optimizers --out /tmp/bench-optimizers")]
pub(super) struct BenchArgs {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    Optimizers(OptimizersArgs),
    Registration(RegistrationArgs),
}

/// Compares L-BFGS-B with Levenberg-Marquardt on point pairs that are known
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  scopewatch bench optimizers --out /tmp/bench-optimizers")]
struct OptimizersArgs {
    #[command(flatten)]
    common: CommonArgs,
    /// Numbers of point pairs, separated by commas
    #[arg(long, value_name = "N,…", value_delimiter = ',', default_values_t = KnownAxes::default().n_pairs, value_parser = count_of_pairs)]
    points: Vec<usize>,
    /// Standard deviations of the noise in pixels of the reference
    #[arg(long, value_name = "PX,…", value_delimiter = ',', default_values_t = KnownAxes::default().noise_px, value_parser = noise)]
    noise: Vec<f64>,
    /// Shares of wrong pairs
    #[arg(long, value_name = "SHARE,…", value_delimiter = ',', default_values_t = KnownAxes::default().wrong_shares, value_parser = share)]
    wrong: Vec<f64>,
    /// Trials per configuration
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    trials: u32,
    /// Trials per configuration of the comparison with the least possible variance; 0 for none
    #[arg(long, value_name = "N", default_value_t = 10_000)]
    efficiency_trials: u32,
}

/// Registers generated fields whose pairs nobody tells, and refuses unrelated ones; or the fields of real files
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  scopewatch bench registration --out /tmp/bench-registration\n  \
                        scopewatch bench registration --real /data/10x /data/40x --out /tmp/bench-real")]
struct RegistrationArgs {
    #[command(flatten)]
    common: CommonArgs,
    /// Reads, segments and registers the files of two folders, those of the coarse and of the fine objective, instead of
    /// generated fields
    #[arg(long, num_args = 2, value_names = ["DIR10X", "DIR40X"],
          conflicts_with_all = ["points", "noise", "trials", "unrelated", "seed"])]
    real: Option<Vec<PathBuf>>,
    /// Numbers of nuclei in the reference field, separated by commas
    #[arg(long, value_name = "N,…", value_delimiter = ',', default_values_t = [2500, 10_000], value_parser = count_of_nuclei)]
    points: Vec<usize>,
    /// Standard deviations of the noise in pixels of each view
    #[arg(long, value_name = "PX,…", value_delimiter = ',', default_values_t = NOISE_PX, value_parser = noise)]
    noise: Vec<f64>,
    /// Trials per configuration
    #[arg(long, value_name = "N", default_value_t = 12, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    trials: u32,
    /// Pairs of unrelated fields per number of nuclei
    #[arg(long, value_name = "N", default_value_t = 1000)]
    unrelated: u32,
}

#[derive(Debug, Args)]
struct CommonArgs {
    /// Folder for the results
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Another seed gives other data
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    /// Threads that compute; all cores by default
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    workers: Option<u16>,
    /// Seconds between two looks at the machine
    #[arg(long, value_name = "S", default_value_t = 30, value_parser = clap::value_parser!(u32).range(1..=86_400))]
    metrics_interval: u32,
    /// End with the summary as one JSON object on stdout
    #[arg(long)]
    json: bool,
}

impl CommonArgs {
    fn begin(&self, name: &str) -> anyhow::Result<Session> {
        let chosen = self.workers.map(usize::from);
        let n_workers = shares(&machine::facts(), Sharing::Alone, chosen, None).n_workers;
        let metrics_interval = Duration::from_secs(self.metrics_interval.into());
        Session::begin(name, SessionSettings { out: self.out.clone(), n_workers, metrics_interval })
    }

    fn tell(&self, summary: &Value) -> Result<Exit, Failure> {
        if self.json {
            say(&format!("{summary}\n"))?;
            return Ok(Exit::Done);
        }
        for sentence in summary["conclusion"].as_array().into_iter().flatten().filter_map(Value::as_str) {
            say(&format!("{sentence}\n"))?;
        }
        say(&format!("report {}\n", self.out.join("report.html").display()))?;
        Ok(Exit::Done)
    }
}

fn within<T>(text: &str, range: std::ops::RangeInclusive<T>, what: &str) -> Result<T, String>
where
    T: std::str::FromStr + PartialOrd + std::fmt::Display,
{
    let value = text.trim().parse().ok().filter(|value| range.contains(value));
    value.ok_or_else(|| format!("expected {what}, {} to {}", range.start(), range.end()))
}

fn count_of_pairs(text: &str) -> Result<usize, String> {
    within(text, 4..=1_000_000, "a number of pairs")
}

fn count_of_nuclei(text: &str) -> Result<usize, String> {
    within(text, 100..=200_000, "a number of nuclei")
}

fn noise(text: &str) -> Result<f64, String> {
    within(text, 0.0..=1000.0, "a noise in pixels")
}

fn share(text: &str) -> Result<f64, String> {
    within(text, 0.0..=0.9, "a share")
}

pub(super) fn main(args: BenchArgs) -> Result<Exit, Failure> {
    match args.what {
        What::Optimizers(args) => {
            let axes = KnownAxes { n_pairs: args.points, noise_px: args.noise, wrong_shares: args.wrong };
            let settings = KnownSettings {
                axes,
                n_trials: args.trials as usize,
                n_efficiency_trials: args.efficiency_trials.into(),
                seed: args.common.seed,
            };
            let session = args.common.begin("bench optimizers")?;
            args.common.tell(&known::run(session, &settings)?)
        }
        What::Registration(args) => {
            if let Some([coarse, fine]) = args.real.as_deref() {
                let settings = RealSettings { folders: [coarse.clone(), fine.clone()] };
                let session = args.common.begin("bench registration --real")?;
                return args.common.tell(&real::run(session, &settings)?);
            }
            let settings = UnknownSettings {
                n_nuclei: args.points,
                noise_px: args.noise,
                n_trials: args.trials as usize,
                n_unrelated: args.unrelated as usize,
                seed: args.common.seed,
            };
            let session = args.common.begin("bench registration")?;
            args.common.tell(&unknown::run(session, &settings)?)
        }
    }
}

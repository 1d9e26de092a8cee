//! The command line: one word, one deed. Text for people on stdout, `--json` for programs, logs on stderr.

mod check_config;
mod compare;
mod demo;
mod explain;
mod file_error;
mod inspect;
mod logging;
mod order;
mod pause;
mod register;
mod rescan;
mod retry;
mod run;
mod scan;
mod segment;
mod status;
mod synth;

use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};

use crate::settings::{Override, Settings, SettingsError, environment};

/// Watches the folders a microscope writes into: reads each plane once, segments nuclei, finds duplicates, and
/// reports each plane exactly once.
#[derive(Debug, Parser)]
#[command(name = "scopewatch", version, about, propagate_version = true, arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Run(run::RunArgs),
    Scan(scan::ScanArgs),
    Inspect(inspect::InspectArgs),
    Segment(segment::SegmentArgs),
    Compare(compare::CompareArgs),
    Register(register::RegisterArgs),
    Status(status::StatusArgs),
    Explain(explain::ExplainArgs),
    Retry(retry::RetryArgs),
    Pause(pause::PauseArgs),
    Resume(pause::ResumeArgs),
    Rescan(rescan::RescanArgs),
    CheckConfig(check_config::CheckConfigArgs),
    Synth(synth::SynthArgs),
    Demo(demo::DemoArgs),
}

/// How a command ended; the numbers are part of the contract.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Exit {
    /// Everything was done.
    Done = 0,
    /// Something failed.
    Failed = 1,
    /// The command line or the configuration is wrong.
    Usage = 2,
    /// An input could not be read; the others were done.
    Unreadable = 3,
}

/// An error that ends a command, with its exit code.
#[derive(Debug)]
struct Failure {
    exit: Exit,
    error: anyhow::Error,
}

impl Failure {
    fn usage(error: impl Into<anyhow::Error>) -> Self {
        Self { exit: Exit::Usage, error: error.into() }
    }
}

impl<E: Into<anyhow::Error>> From<E> for Failure {
    fn from(error: E) -> Self {
        Self { exit: Exit::Failed, error: error.into() }
    }
}

/// Where settings come from, for the commands that need them.
#[derive(Debug, Args)]
struct ConfigArgs {
    /// Configuration file in TOML; `scopewatch check-config --print-default` explains every key
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

impl ConfigArgs {
    /// Merges defaults, file, environment and flags. The output folder need not be UTF-8, unlike what a layer holds:
    /// it is put in place as it was typed.
    fn load(&self, out: Option<&Path>, mut overrides: Vec<Override>) -> Result<Settings, SettingsError> {
        overrides.extend(set("output.dir", "--out", out.map(Path::display)));
        let mut settings = Settings::load(self.config.as_deref(), environment(), &overrides)?;
        if let Some(out) = out {
            settings.output.dir = out.to_owned();
        }
        Ok(settings)
    }
}

/// Writes an answer to stdout. A reader that has closed the pipe has seen enough: that is no failure.
fn say(text: &str) -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        said => said,
    }
}

/// One key that a flag sets.
fn set(key: &'static str, flag: &'static str, value: Option<impl ToString>) -> Option<Override> {
    value.map(|value| Override { key, flag, values: vec![value.to_string()] })
}

/// Parses the command line, does the deed, and says how it ended.
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // a closed stdout is nothing to complain about
            let _ = error.print();
            return ExitCode::from(if error.use_stderr() { Exit::Usage as u8 } else { Exit::Done as u8 });
        }
    };
    let ended = match cli.command {
        Command::Run(args) => run::main(args),
        Command::Scan(args) => scan::main(args),
        Command::Inspect(args) => inspect::main(&args),
        Command::Segment(args) => segment::main(&args),
        Command::Compare(args) => compare::main(&args),
        Command::Register(args) => register::main(&args),
        Command::Status(args) => status::main(&args),
        Command::Explain(args) => explain::main(&args),
        Command::Retry(args) => retry::main(&args),
        Command::Pause(args) => pause::pause(&args),
        Command::Resume(args) => pause::resume(&args),
        Command::Rescan(args) => rescan::main(&args),
        Command::CheckConfig(args) => check_config::main(&args),
        Command::Synth(args) => synth::main(&args),
        Command::Demo(args) => demo::main(&args),
    };
    let exit = ended.unwrap_or_else(|failure| {
        eprintln!("error: {:#}", failure.error);
        failure.exit
    });
    ExitCode::from(exit as u8)
}

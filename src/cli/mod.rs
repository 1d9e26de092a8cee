//! The command line: one word, one deed. Text for people on stdout, `--json` for programs, logs on stderr.

mod bench;
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
mod verdict;

use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, anyhow};
use clap::{Args, Parser, Subcommand};
use serde_json::json;

use crate::settings::{Folders, Override, Settings, SettingsError, environment};
use crate::store::DATABASE_FILE;

/// Watches the folders a microscope writes into: reads each plane once, segments nuclei, finds duplicates, and
/// reports each plane exactly once.
#[derive(Debug, Parser)]
#[command(
    name = "scopewatch",
    version,
    about,
    propagate_version = true,
    arg_required_else_help = true,
    after_help = "Exit codes: 0 done, 1 failed, 2 wrong usage or configuration, 3 an input could not be read (the others \
                  were done), 130 ended at once by a second Ctrl-C or SIGTERM"
)]
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
    Verdict(verdict::VerdictArgs),
    CheckConfig(check_config::CheckConfigArgs),
    Bench(bench::BenchArgs),
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

impl Exit {
    /// The name in JSON answers.
    const fn name(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Failed => "failed",
            Self::Usage => "usage",
            Self::Unreadable => "unreadable",
        }
    }
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

    /// The settings, and the state folder of an output folder that a service or a scan has worked in.
    fn load_with_ledger(&self, out: Option<&Path>) -> Result<(Settings, PathBuf), Failure> {
        let settings = self.load(out, Vec::new()).map_err(Failure::usage)?;
        let state_dir = settings.output.dir.join("state");
        let ledger = state_dir.join(DATABASE_FILE);
        if !ledger.try_exists().with_context(|| format!("cannot look at {}", ledger.display()))? {
            return Err(anyhow!(
                "there is no ledger in {}: expected the output folder of a service (--out or --config)",
                state_dir.display()
            )
            .into());
        }
        Ok((settings, state_dir))
    }
}

/// What is wrong with folders that `run` will not start with.
fn nothing_to_watch(folders: &Folders) -> Option<&'static str> {
    folders.roots.is_empty().then_some("watches nothing: `run` needs watch.roots or --watch")
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

/// An error with its causes; one that is told in the text of another is not told twice.
fn message(error: &anyhow::Error) -> String {
    let mut text = error.to_string();
    for cause in error.chain().skip(1).map(ToString::to_string) {
        if !text.contains(&cause) {
            text += &format!(": {cause}");
        }
    }
    text
}

/// Tells a program that a command has failed, as one line of JSON.
fn answer_failure(exit: Exit, message: &str) {
    let answer = json!({ "error": { "kind": exit.name(), "message": message } });
    // a closed stdout is nothing to complain about
    let _ = say(&format!("{answer}\n"));
}

/// Parses the command line, does the deed, and says how it ended.
pub fn main() -> ExitCode {
    let json = std::env::args_os().take_while(|word| word != "--").any(|word| word == "--json");
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // a closed stdout is nothing to complain about
            let _ = error.print();
            if !error.use_stderr() {
                return ExitCode::from(Exit::Done as u8);
            }
            if json {
                answer_failure(Exit::Usage, error.to_string().trim_end());
            }
            return ExitCode::from(Exit::Usage as u8);
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
        Command::Verdict(args) => verdict::main(&args),
        Command::CheckConfig(args) => check_config::main(&args),
        Command::Bench(args) => bench::main(args),
        Command::Synth(args) => synth::main(&args),
        Command::Demo(args) => demo::main(&args),
    };
    let exit = ended.unwrap_or_else(|failure| {
        let message = message(&failure.error);
        logging::failure(&message);
        if json {
            answer_failure(failure.exit, &message);
        }
        failure.exit
    });
    ExitCode::from(exit as u8)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_message_repeats_itself() {
        let file = Path::new("no such file.toml");
        let error = Settings::load(Some(file), Vec::new(), &[]).unwrap_err();
        let text = message(&error.into());
        assert_eq!(text.matches("no such file.toml").count(), 1, "{text}");
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("bad.toml");
        for (written, once) in [
            ("[watch\nroots = 1", "[watch"),
            ("[watch]\ninclude = [\"a{b\"]", "a{b"),
            ("[identity]\npatterns = [\"(?P<well>\"]", "(?P<well>"),
        ] {
            std::fs::write(&file, written).unwrap();
            let text = message(&Settings::load(Some(&file), Vec::new(), &[]).unwrap_err().into());
            assert_eq!(text.matches(once).count(), 1, "{text}");
        }
        let error = anyhow::Error::new(std::io::Error::other("inner")).context("outer");
        assert_eq!(message(&error), "outer: inner");
    }

    #[test]
    fn a_folder_without_a_ledger_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let args = ConfigArgs { config: None };
        let failure = args.load_with_ledger(Some(folder.path())).unwrap_err();
        let text = message(&failure.error);
        assert!(
            text.contains("there is no ledger in") && text.contains(&folder.path().display().to_string())
        );
        // not a folder: the system's reason, and the path
        let file = folder.path().join("file");
        std::fs::write(&file, b"").unwrap();
        assert!(message(&args.load_with_ledger(Some(&file)).unwrap_err().error).contains("file"));
    }
}

//! Where log messages go: stderr (journald under systemd), and a file in the output folder that is rotated by size.

mod journal;
mod rotation;

use std::ffi::OsString;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use anyhow::{Context, Result};
use indicatif::ProgressBar;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::fmt::writer::BoxMakeWriter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Layer, fmt};

use crate::settings::{LogFormat, LogLevel, LogSettings};

use journal::Prioritized;
use rotation::RotatingFile;

/// Starts logging. While a progress bar is drawn only warnings come to stderr, above the bar; rejected files are
/// left to the end of the command, which lists them.
///
/// # Errors
/// When the log file cannot be opened.
pub(super) fn start(settings: &LogSettings, output: &Path, bar: Option<&ProgressBar>) -> Result<()> {
    let level = match settings.level {
        LogLevel::Error => LevelFilter::ERROR,
        LogLevel::Warn => LevelFilter::WARN,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Debug => LevelFilter::DEBUG,
        LogLevel::Trace => LevelFilter::TRACE,
    };
    let json = settings.format == LogFormat::Json;
    let (writer, filter) = match bar.cloned() {
        Some(bar) => {
            let filter = Targets::new().with_default(level.min(LevelFilter::WARN));
            let writer = BoxMakeWriter::new(move || AboveBar(bar.clone()));
            // those who warn of rejections
            let quiet = ["scopewatch::stages::settler", "scopewatch::stages::bookkeeping"];
            (writer, filter.with_targets(quiet.map(|target| (target, LevelFilter::ERROR))))
        }
        None => (BoxMakeWriter::new(io::stderr), Targets::new().with_default(level)),
    };
    let stderr = fmt::layer().with_writer(writer).with_ansi(io::IsTerminal::is_terminal(&io::stderr()));
    let stderr = match (json, journal::is_stderr()) {
        (true, false) => stderr.json().boxed(),
        (false, false) => stderr.with_target(false).boxed(),
        // an object stays whole, with its time: `journalctl -o cat` gives it back
        (true, true) => stderr.json().map_event_format(Prioritized).boxed(),
        (false, true) => stderr.with_target(false).without_time().map_event_format(Prioritized).boxed(),
    };
    let file = if settings.file {
        let folder = log_folder(std::env::var_os("LOGS_DIRECTORY"), output);
        let path = folder.join("scopewatch.log");
        let opened = std::fs::create_dir_all(&folder)
            .and_then(|()| RotatingFile::open(path.clone(), rotation::BYTES_MAX));
        let file = opened.with_context(|| format!("cannot open the log file {}", path.display()))?;
        let layer = fmt::layer().with_writer(Mutex::new(file)).with_ansi(false);
        let layer = if json { layer.json().boxed() } else { layer.with_target(false).boxed() };
        Some(layer.with_filter(level))
    } else {
        None
    };
    // a second start in one process (tests) keeps the first
    let _ = tracing_subscriber::registry().with(stderr.with_filter(filter)).with(file).try_init();
    Ok(())
}

/// The folder that systemd made for logs (`LogsDirectory=`, the first where there are several), or one in the output
/// folder.
fn log_folder(from_systemd: Option<OsString>, output: &Path) -> PathBuf {
    let first = from_systemd.as_ref().and_then(|folders| std::env::split_paths(folders).next());
    first.filter(|folder| folder.is_absolute()).unwrap_or_else(|| output.join("logs"))
}

/// Says on stderr and, once logging runs, in the log file why a command has failed.
pub(super) fn failure(message: &str) {
    if tracing::dispatcher::has_been_set() {
        tracing::error!("{message}");
    } else if journal::is_stderr() {
        // each line is a message of its own there
        eprintln!("<3>error: {}", message.replace('\n', "\n<3>"));
    } else {
        eprintln!("error: {message}");
    }
}

/// Writes to stderr while the bar is away, so that neither tears the other.
struct AboveBar(ProgressBar);

impl Write for AboveBar {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.suspend(|| io::stderr().write(bytes))
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    #[test]
    fn logs_go_where_systemd_says() {
        let folder = |said: Option<&str>| log_folder(said.map(OsString::from), Path::new("/out"));
        assert_eq!(folder(None), Path::new("/out/logs"));
        assert_eq!(folder(Some("/var/log/scopewatch:/var/log/other")), Path::new("/var/log/scopewatch"));
        assert_eq!(folder(Some("")), Path::new("/out/logs"));
    }
}

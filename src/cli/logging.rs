//! Where log messages go: stderr (journald under systemd), and a file in the output folder that is rotated by size.

mod rotation;

use std::io::{self, Write};
use std::path::Path;
use std::sync::Mutex;

use indicatif::ProgressBar;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::fmt::writer::BoxMakeWriter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Layer, fmt};

use crate::settings::{LogFormat, LogLevel, LogSettings};

use rotation::RotatingFile;

/// Starts logging. While a progress bar is drawn only warnings come to stderr, above the bar; rejected files are
/// left to the end of the command, which lists them.
///
/// # Errors
/// When the log file cannot be opened.
pub(super) fn start(settings: &LogSettings, output: &Path, bar: Option<&ProgressBar>) -> io::Result<()> {
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
    let stderr = if json { stderr.json().boxed() } else { stderr.with_target(false).boxed() };
    let file = if settings.file {
        let folder = output.join("logs");
        std::fs::create_dir_all(&folder)?;
        let file = RotatingFile::open(folder.join("scopewatch.log"), rotation::BYTES_MAX)?;
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

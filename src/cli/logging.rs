//! Where log messages go: stderr (journald under systemd), and a file in the output folder.

use std::fs::OpenOptions;
use std::path::Path;
use std::sync::Arc;

use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Layer, fmt};

use crate::settings::{LogFormat, LogLevel, LogSettings};

/// Starts logging. `quiet` keeps everything below warnings off stderr, for commands that draw a progress bar.
///
/// # Errors
/// When the log file cannot be opened.
pub(super) fn start(settings: &LogSettings, output: &Path, quiet: bool) -> std::io::Result<()> {
    let level = match settings.level {
        LogLevel::Error => LevelFilter::ERROR,
        LogLevel::Warn => LevelFilter::WARN,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Debug => LevelFilter::DEBUG,
        LogLevel::Trace => LevelFilter::TRACE,
    };
    let json = settings.format == LogFormat::Json;
    let stderr_level = if quiet { level.min(LevelFilter::WARN) } else { level };
    let stderr = fmt::layer()
        .with_writer(std::io::stderr)
        .with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr()));
    let stderr = if json { stderr.json().boxed() } else { stderr.with_target(false).boxed() };
    let file = if settings.file {
        let folder = output.join("logs");
        std::fs::create_dir_all(&folder)?;
        let file = OpenOptions::new().create(true).append(true).open(folder.join("scopewatch.log"))?;
        let layer = fmt::layer().with_writer(Arc::new(file)).with_ansi(false);
        let layer = if json { layer.json().boxed() } else { layer.with_target(false).boxed() };
        Some(layer.with_filter(level))
    } else {
        None
    };
    // a second start in one process (tests) keeps the first
    let _ = tracing_subscriber::registry().with(stderr.with_filter(stderr_level)).with(file).try_init();
    Ok(())
}

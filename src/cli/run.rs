//! `scopewatch run`: the daemon.

use std::path::PathBuf;

use clap::Args;
use tokio::sync::oneshot;
use tracing::{info, warn};

use crate::actor::Outcome;
use crate::service::{Service, ServiceError, Task, obey_signals};
use crate::settings::{Override, Settings, SettingsError, resolve_folders};
use crate::{control, service};

use super::{ConfigArgs, Exit, Failure, logging, nothing_to_watch, set};

/// Watches folders until told to end, and reports each plane exactly once
#[derive(Debug, Args)]
#[command(
    after_help = "Flags win over the environment (SCOPEWATCH__SECTION__KEY, such as SCOPEWATCH__RESOURCES__WORKERS=2), \
                  which wins over the configuration file.\n\n\
                  Examples:\n  scopewatch run --watch /data/microscope --out /data/scopewatch\n  \
                  scopewatch run --config /etc/scopewatch.toml"
)]
pub(super) struct RunArgs {
    #[command(flatten)]
    config: ConfigArgs,
    /// Folder to watch, with everything below it; may be given several times
    #[arg(long, value_name = "DIR")]
    watch: Vec<PathBuf>,
    /// Output folder for reports, objects, logs and the ledger; outside the watched folders
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// How long a file must stay unchanged before it is read, in milliseconds
    #[arg(long, value_name = "N")]
    quiet_period_ms: Option<u64>,
    /// Pause between two looks through the folders, in milliseconds
    #[arg(long, value_name = "N")]
    scan_interval_ms: Option<u64>,
    /// Threads that compute [default: cores - 1]
    #[arg(long, value_name = "N")]
    workers: Option<usize>,
    /// Memory for pixels, scratch and caches, in MB of 2^20 bytes
    #[arg(long, value_name = "N")]
    memory_mb: Option<u64>,
    /// Log messages as JSON, one object per line
    #[arg(long)]
    json: bool,
}

impl RunArgs {
    fn load(&self) -> Result<Settings, SettingsError> {
        let watch = self.watch.iter().map(|path| path.display().to_string()).collect::<Vec<_>>();
        let flags = [
            (!watch.is_empty()).then_some(Override { key: "watch.roots", flag: "--watch", values: watch }),
            set("watch.quiet_period_ms", "--quiet-period-ms", self.quiet_period_ms),
            set("watch.scan_interval_ms", "--scan-interval-ms", self.scan_interval_ms),
            set("resources.workers", "--workers", self.workers),
            set("resources.memory_mb", "--memory-mb", self.memory_mb),
            set("log.format", "--json", self.json.then_some("json")),
        ];
        let mut settings = self.config.load(self.out.as_deref(), flags.into_iter().flatten().collect())?;
        if !self.watch.is_empty() {
            // as typed: a layer holds text only
            settings.watch.roots.clone_from(&self.watch);
        }
        Ok(settings)
    }
}

pub(super) fn main(args: RunArgs) -> Result<Exit, Failure> {
    let settings = args.load().map_err(Failure::usage)?;
    let folders = resolve_folders(&settings.watch.roots, &settings.output.dir).map_err(Failure::usage)?;
    if let Some(error) = nothing_to_watch(&folders) {
        return Err(Failure::usage(anyhow::anyhow!(error)));
    }
    logging::start(&settings.log, &folders.output, None)?;
    let service = Service::open(Task { settings, folders, only: Vec::new(), once: false, hash_only: false })?;
    let runtime = runtime()?;
    let outcome = runtime.block_on(serve(service));
    // a read that hangs in a dead share must not keep the process
    runtime.shutdown_timeout(std::time::Duration::from_secs(2));
    match outcome? {
        Outcome::Finished | Outcome::DrainTimedOut => Ok(Exit::Done),
        Outcome::Aborted => Ok(Exit::Failed),
    }
}

/// The runtime of the actors: two threads are enough, the work is done in pools of its own.
pub(super) fn runtime() -> std::io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()
}

async fn serve(service: Service) -> Result<Outcome, ServiceError> {
    let (end_signals, signals_end) = oneshot::channel();
    let watchtower = service.watchtower();
    let signals = tokio::spawn(obey_signals(watchtower.clone(), signals_end));
    let heart = tokio::spawn(service::beat(watchtower.clone()));
    let trimming = tokio::spawn(service::trim_memory());
    #[cfg(unix)]
    let _socket = control::listen(watchtower.state_dir(), watchtower.clone()).inspect_err(
        |error| warn!(%error, "nobody can ask how this process stands: the socket cannot be made"),
    );
    let on_ready = || {
        service::notify::ready();
        info!(version = env!("CARGO_PKG_VERSION"), "READY");
    };
    let finished = service.run(on_ready).await;
    heart.abort();
    trimming.abort();
    drop(end_signals);
    // the task only waits; its end says nothing
    let _ = signals.await;
    let finished = finished?;
    info!(outcome = ?finished.outcome, uptime_s = finished.wall.as_secs(), "ended");
    Ok(finished.outcome)
}

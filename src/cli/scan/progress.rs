//! How far the scan is, while it runs.

use std::io::IsTerminal;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use tokio::sync::oneshot;

use crate::actor::{Stage, StageSnapshot};
use crate::service::Watchtower;
use crate::stages::decoder::Decoder;
use crate::stages::hasher::Hasher;
use crate::stages::segmenter::Segmenter;
use crate::stages::verifier::Verifier;

/// The bar, where stderr is a terminal.
pub(super) fn bar() -> Option<ProgressBar> {
    std::io::stderr().is_terminal().then(ProgressBar::new_spinner)
}

/// Draws the bar; where there is none, logs a line every ten seconds.
pub(super) async fn show(watchtower: Watchtower, total: oneshot::Receiver<u64>, bar: Option<ProgressBar>) {
    let drawn = bar.clone().unwrap_or_else(ProgressBar::hidden);
    let total = async move { total.await.ok() };
    tokio::pin!(total);
    let mut n_files = None;
    let mut logged = tokio::time::Instant::now();
    loop {
        tokio::select! {
            found = &mut total, if n_files.is_none() => {
                let found = found.unwrap_or(0);
                n_files = Some(found);
                drawn.set_length(found);
                let style = "{bar:32} {pos}/{len} files  {per_sec}  {eta} left  {msg}";
                drawn.set_style(ProgressStyle::with_template(style).unwrap_or_else(|_| ProgressStyle::default_bar()));
            }
            () = tokio::time::sleep(Duration::from_millis(200)) => (),
        }
        let done = watchtower.progress().snapshot();
        let files = done.files_done + done.files_unchanged + done.files_rejected;
        drawn.set_position(files);
        drawn.set_message(stages(&watchtower.stages(), done.planes_done));
        if bar.is_none() && logged.elapsed() >= Duration::from_secs(10) {
            logged = tokio::time::Instant::now();
            tracing::info!(
                files,
                of = n_files,
                planes = done.planes_done,
                rejected = done.files_rejected,
                "scanning"
            );
        }
    }
}

/// How many planes have come through each step.
fn stages(stages: &[StageSnapshot], n_written: u64) -> String {
    let n_out = |name: &str| stages.iter().find(|stage| stage.name == name).map_or(0, |stage| stage.n_out);
    let [read, segmented, hashed, verified] =
        [Decoder::NAME, Segmenter::NAME, Hasher::NAME, Verifier::NAME].map(n_out);
    format!(
        "planes: {read} read, {segmented} segmented, {hashed} hashed, {verified} verified, {n_written} written"
    )
}

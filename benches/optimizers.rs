//! How long a fit takes by either optimizer, for `scripts/bench_optimizers.py`, which sets it beside scipy's on the same
//! pairs: `cargo bench --bench optimizers`.
//!
//! Writes one JSON object a line: pairs in px, start and box, and per optimizer the cost in normalised coordinates, the
//! evaluations and the least wall time of several batches in microseconds.

use std::hint::black_box;
use std::time::{Duration, Instant};

use scopewatch::analysis::benchmark::known::{BoxChoice, KnownCell, StartChoice};
use scopewatch::analysis::optimizers::{LossKind, OptimizerError, Report};
use scopewatch::analysis::registration::{Model, Prepared};
use scopewatch::bench::batches::batch_times_us;
use serde_json::{Value, json};

const N_BATCHES: usize = 7;
/// Least length of a batch.
const BATCH: Duration = Duration::from_millis(20);

/// Least microseconds of a run, over batches.
fn time_us(run: impl Fn() -> Result<Report, OptimizerError>) -> f64 {
    let begin = Instant::now();
    batch_times_us(|| drop(black_box(run())), (N_BATCHES, BATCH), || begin.elapsed())[0]
}

fn solver(run: impl Fn() -> Result<Report, OptimizerError>) -> Value {
    let report = run().expect("it can be started on");
    json!({
        "cost": report.cost,
        "residual_passes": report.n_residual_passes,
        "jacobian_passes": report.n_jacobian_passes,
        "stop_reason": report.stop_reason.name(),
        "time_us": time_us(run),
    })
}

fn main() {
    for n_pairs in [50, 500, 5000] {
        for (model, bounds) in [
            (Model::Similarity, BoxChoice::Free),
            (Model::Similarity, BoxChoice::Active),
            (Model::Affine, BoxChoice::Free),
        ] {
            let (loss, start) = (LossKind::Linear, StartChoice::Nominal);
            let cell = KnownCell { n_pairs, noise_px: 0.5, wrong_share: 0.0, model, loss, start, bounds };
            let mut pairs = cell.pairs(1);
            pairs.settings.n_trace_points = 0;
            let (prepared, _) = Prepared::new(&pairs.moving, &pairs.reference, &pairs.settings, &mut ())
                .expect("pairs are sound");
            let line = json!({
                "n_pairs": n_pairs,
                "model": model,
                "box": bounds,
                "scale_start": pairs.settings.start.scale,
                "scale_bounds": pairs.settings.bounds.scale,
                "moving": pairs.moving,
                "reference": pairs.reference,
                "lm": solver(|| prepared.lm()),
                "lbfgsb": solver(|| prepared.lbfgsb()),
            });
            println!("{line}");
        }
    }
}

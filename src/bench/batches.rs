//! The time of short runs, in batches that are long beside the steps of a clock.

use std::time::Duration;

/// Microseconds of one run, ascending: one figure for each of `n_batches` batches, of as many runs as take `batch_min` at
/// least by the clock `now`.
pub fn batch_times_us(
    mut run: impl FnMut(),
    (n_batches, batch_min): (usize, Duration),
    now: impl Fn() -> Duration,
) -> Vec<f64> {
    let mut batch = |n_runs: u32| {
        let begin = now();
        (0..n_runs).for_each(|_| run());
        now() - begin
    };
    let mut n_runs = 1;
    while batch(n_runs) < batch_min {
        n_runs *= 2;
    }
    let mut times: Vec<f64> =
        (0..n_batches).map(|_| batch(n_runs).as_secs_f64() * 1e6 / f64::from(n_runs)).collect();
    times.sort_unstable_by(f64::total_cmp);
    times
}

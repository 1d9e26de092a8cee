//! How long matching and fitting take on one core: `cargo bench --bench registration`.
//!
//! Each figure is the least and the median of several batches. Where the system tells it, the time that the thread was
//! on a core counts, so that what else runs on the machine hardly shows.

use std::hint::black_box;
use std::time::{Duration, Instant};

use scopewatch::analysis::benchmark::scene::{NOMINAL_SCALE, Scene, Views};
use scopewatch::analysis::registration::{Field, FitSettings, Orientation, Prepared, Settings, match_fields};
use scopewatch::analysis::synthesis::Random;
use scopewatch::bench::batches::batch_times_us;
use scopewatch::geometry::Affine;

const N_BATCHES: usize = 9;
/// Least length of a batch.
const BATCH: Duration = Duration::from_millis(20);

/// Time on a core of this thread since it began, else the time since `begin`.
fn time_since(begin: Instant) -> Duration {
    let on_core = std::fs::read_to_string("/proc/thread-self/schedstat").ok();
    let nanoseconds = on_core.and_then(|text| text.split_whitespace().next()?.parse().ok());
    nanoseconds.map_or_else(|| begin.elapsed(), Duration::from_nanos)
}

/// Times a deed and prints one line.
fn time(name: &str, limit: Duration, mut deed: impl FnMut()) {
    deed();
    let begin = Instant::now();
    let times = batch_times_us(deed, (N_BATCHES, BATCH), || time_since(begin));
    let [least, median] = [times[0], times[N_BATCHES / 2]];
    let verdict = if least <= limit.as_secs_f64() * 1e6 { "within" } else { "ABOVE" };
    println!("{name:<52} {least:>10.1} us least {median:>10.1} us median, {verdict} {limit:?}");
}

fn field(points: &[[f64; 2]]) -> Field {
    Field::new(points).expect("points of a scene are sound")
}

fn matching() {
    let views: Vec<Views> = (1..=3)
        .map(|seed| Scene { n: 10_000, missed: 0.05, spurious: 0.05, seed, ..Scene::default() }.views())
        .collect();
    let settings = Settings { scale_prior: Some(NOMINAL_SCALE), ..Settings::default() };
    let mut order = 0;
    let mut next = || {
        order += 1;
        order % views.len()
    };
    let name = format!("match {} -> {} points", views[0].moving.len(), views[0].reference.len());
    time(&format!("{name}, cold"), Duration::from_millis(10), || {
        let views = &views[next()];
        let found = match_fields(&field(&views.moving), &field(&views.reference), &settings);
        assert!(black_box(found).is_ok(), "the field is found");
    });
    let references: Vec<Field> = views.iter().map(|views| field(&views.reference)).collect();
    time(&format!("{name}, reference ready"), Duration::from_millis(2), || {
        let which = next();
        let found = match_fields(&field(&views[which].moving), &references[which], &settings);
        assert!(black_box(found).is_ok(), "the field is found");
    });
    time(&format!("{name}, refused"), Duration::from_millis(60), || {
        let which = next();
        let stranger = &views[(which + 1) % views.len()];
        let refused = match_fields(&field(&stranger.moving), &field(&views[which].reference), &settings);
        assert!(black_box(refused).is_err(), "the field is a stranger");
    });
    let orientation_prior = Some(Orientation { rotation_rad: 0.0, mirrored: false });
    let oriented = Settings { orientation_prior, ..settings };
    time(&format!("{name}, refused after votes"), Duration::from_millis(500), || {
        let which = next();
        let stranger = field(&views[(which + 1) % views.len()].moving);
        assert!(black_box(match_fields(&stranger, &references[which], &oriented)).is_err());
    });
}

fn fitting() {
    let mut random = Random::new(1);
    let truth = Affine::similarity(NOMINAL_SCALE, 0.02, false, [300.0, 400.0]);
    let moving: Vec<[f64; 2]> = (0..500).map(|_| [0; 2].map(|_| 2048.0 * random.uniform())).collect();
    let noisy = |point: &[f64; 2]| truth.apply(*point).map(|value| value + 0.5 * random.normal());
    let reference: Vec<_> = moving.iter().map(noisy).collect();
    let settings = FitSettings::default();
    let (prepared, _) = Prepared::new(&moving, &reference, &settings, &mut ()).expect("pairs are sound");
    time("similarity of 500 pairs, Levenberg-Marquardt", Duration::from_micros(100), || {
        black_box(prepared.lm()).expect("it can be started on");
    });
    time("similarity of 500 pairs, L-BFGS-B", Duration::from_micros(150), || {
        black_box(prepared.lbfgsb()).expect("it can be started on");
    });
}

fn main() {
    matching();
    fitting();
}

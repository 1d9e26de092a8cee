//! The gate that holds back the reading of planes, so that whoever acquires comes first: a rate that the user sets, a lower
//! one while files arrive, and less still while processes wait for the disks.
//!
//! What counts is what comes from disks: planes that were just written are still in the page cache and cost nobody
//! anything, so they pass at full speed.
//!
//! Bytes are counted for the process as a whole, and so are the limits: while files of one root arrive, the planes of all
//! roots, and what is read again to compare look-alikes, share the lower rate. Roots often lie on one disk.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::Serialize;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::info;

use crate::actor::StageCounters;
use crate::paths::FileStat;
use crate::platform::reading;

/// How fast planes may be read.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Settings {
    /// Bytes from disks in a second; `None` is no limit.
    pub bytes_per_s_max: Option<f64>,
    /// The same while files are arriving.
    pub arriving_bytes_per_s_max: Option<f64>,
    /// The part of the time, 0 to 1, in which tasks of this machine may wait for disks while files arrive; `None` is
    /// whatever it takes.
    pub stalled_share_max: Option<f64>,
}

/// What the gate asks of the system; see [`reading`] for both.
#[derive(Clone)]
pub struct Probes {
    /// Bytes that came from disks so far.
    pub disk_bytes_read: Arc<dyn Fn() -> Option<u64> + Send + Sync>,
    /// For how long tasks have waited for disks so far.
    pub io_stall_time: Arc<dyn Fn() -> Option<Duration> + Send + Sync>,
}

/// Lets planes pass at a bounded rate; clones are the same gate.
#[derive(Clone, Default)]
pub struct ReadGate {
    settings: Settings,
    probes: Probes,
    state: Arc<Mutex<State>>,
}

/// The right to read a plane; dropped when it was read.
pub struct Reading {
    gate: ReadGate,
    bytes: u64,
}

/// How the gate stands, for `status`.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize)]
pub struct ReadGateSnapshot {
    /// Bytes from disks in a second, at most; null where there is no limit now.
    pub bytes_per_s_max: Option<u64>,
    /// What sets the limit; null where there is none.
    pub limited_by: Option<LimitedBy>,
    /// Roots of which files are arriving.
    pub n_roots_arriving: usize,
    /// The part of the time in which tasks of this machine waited for disks, as last measured while there was work; null
    /// where the system does not say.
    pub stalled_share: Option<f64>,
}

/// Why reading is limited.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum LimitedBy {
    /// The user's limit.
    Setting,
    /// Files are arriving.
    Arriving,
    /// Files are arriving, and tasks wait for the disks.
    Pressure,
}

/// A root counts as receiving files for this long after the last sign of it, and a file as new for as long after its last
/// change.
const ARRIVING_FOR: Duration = Duration::from_secs(10);
/// What may be ahead of the rate: so much of a second.
const BURST_S: f64 = 0.25;
/// The longest sleep before the figures are looked at again.
const LOOK_INTERVAL: Duration = Duration::from_millis(250);
/// Over how long the wait for disks is measured.
const PRESSURE_INTERVAL: Duration = Duration::from_secs(1);
/// A measurement over a longer time says nothing of now.
const PRESSURE_INTERVAL_MAX: Duration = Duration::from_secs(10);
/// Pressure never slows reading to less than this many bytes in a second: planes go on, if slowly.
const FLOOR_BYTES_PER_S: f64 = 4.0 * MB;
/// Bytes of a megabyte.
const MB: f64 = 1024.0 * 1024.0;
/// Where no other limit stands, backing off is over at this rate.
const CEILING_BYTES_PER_S: f64 = 1024.0 * MB;

#[derive(Default)]
struct State {
    /// When a sign of files that arrive was last seen, for each root.
    arriving: HashMap<i64, Instant>,
    /// When the figures were last taken, and the bytes that had come from disks.
    looked: Option<(Instant, u64)>,
    /// Whether the system says what came from disks.
    is_counted: bool,
    /// Bytes that were read ahead of the rate.
    owed_bytes: f64,
    /// The rate in force at the last look.
    rate: Option<f64>,
    /// Bytes of planes that have passed and are not read yet.
    pending_bytes: u64,
    pressure: Pressure,
}

/// The wait for disks, as it is measured.
#[derive(Default)]
struct Pressure {
    /// Time, wait for disks and bytes from disks when the measurement began.
    begun: Option<(Instant, Duration, u64)>,
    stalled_share: Option<f64>,
    /// Bytes in a second, while reading backs off.
    limit: Option<f64>,
}

impl Default for Probes {
    fn default() -> Self {
        Self {
            disk_bytes_read: Arc::new(reading::disk_bytes_read),
            io_stall_time: Arc::new(reading::io_stall_time),
        }
    }
}

impl ReadGate {
    /// A gate with these limits.
    pub fn new(settings: Settings, probes: Probes) -> Self {
        Self { settings, probes, state: Arc::default() }
    }

    /// Takes in what a look at a file of this root showed: its figures, and those of the look before.
    pub fn saw(&self, root_id: i64, stat: FileStat, before: Option<FileStat>) {
        if before.is_some_and(|before| before != stat) || is_new(stat) {
            self.lock().arriving.insert(root_id, Instant::now());
        }
    }

    /// Waits until planes of so many bytes may be read, or until `stop`.
    pub async fn pass(&self, bytes: u64, counters: &Arc<StageCounters>, stop: &CancellationToken) -> Reading {
        if let Some(mut pause) = self.enter(bytes) {
            // one guard for the whole wait: a guard in each round would pass for progress of reads that hang
            let _wait = counters.protect();
            loop {
                tokio::select! {
                    () = stop.cancelled() => {
                        self.lock().pending_bytes += bytes;
                        break;
                    }
                    () = tokio::time::sleep(pause) => (),
                }
                match self.enter(bytes) {
                    Some(longer) => pause = longer,
                    None => break,
                }
            }
        }
        Reading { gate: self.clone(), bytes }
    }

    /// How the gate stands.
    pub fn snapshot(&self) -> ReadGateSnapshot {
        let now = Instant::now();
        let mut state = self.lock();
        state.arriving.retain(|_, last| is_recent(*last, now));
        let limit = self.limit(&state);
        ReadGateSnapshot {
            bytes_per_s_max: limit.map(|(rate, _)| rate as u64),
            limited_by: limit.map(|(_, by)| by),
            n_roots_arriving: state.arriving.len(),
            stalled_share: state.pressure.stalled_share,
        }
    }

    /// Lets a plane in, or says for how long to wait before asking again.
    fn enter(&self, bytes: u64) -> Option<Duration> {
        let now = Instant::now();
        let mut state = self.lock();
        state.arriving.retain(|_, last| is_recent(*last, now));
        if self.settings.bytes_per_s_max.is_none() && state.arriving.is_empty() {
            state.rest();
        } else {
            self.look(&mut state, now);
        }
        state.rate = self.limit(&state).map(|(rate, _)| rate);
        if let Some(rate) = state.rate {
            let ahead = state.owed_bytes + state.pending_bytes as f64 - rate * BURST_S;
            if ahead > 0.0 {
                let pause = Duration::from_secs_f64((ahead / rate).min(LOOK_INTERVAL.as_secs_f64()));
                return Some(pause.max(Duration::from_millis(1)));
            }
        }
        state.pending_bytes += bytes;
        None
    }

    /// Brings what is owed and the pressure up to now.
    fn look(&self, state: &mut State, now: Instant) {
        let counted = (self.probes.disk_bytes_read)();
        state.is_counted = counted.is_some();
        let read = counted.unwrap_or(0);
        if let Some((then, before)) = state.looked.replace((now, read)) {
            let paid = state.rate.map_or(f64::INFINITY, |rate| rate * (now - then).as_secs_f64());
            state.owed_bytes = (state.owed_bytes + read.saturating_sub(before) as f64 - paid).max(0.0);
        }
        let share_max = self.settings.stalled_share_max.filter(|_| !state.arriving.is_empty());
        if share_max.is_some() && !state.pressure.is_due(now) {
            return;
        }
        match share_max.and_then(|share_max| Some((share_max, (self.probes.io_stall_time)()?))) {
            Some((share_max, stalled)) => {
                let base = self.base(true).map_or(CEILING_BYTES_PER_S, |(rate, _)| rate);
                state.pressure.measure((now, stalled, read), base, share_max);
            }
            None => state.pressure.let_go(),
        }
    }

    /// The limit that holds, and what sets it.
    fn limit(&self, state: &State) -> Option<(f64, LimitedBy)> {
        let is_arriving = !state.arriving.is_empty();
        let base = self.base(is_arriving);
        match state.pressure.limit.filter(|_| is_arriving) {
            Some(limit) if base.is_none_or(|(rate, _)| limit < rate) => Some((limit, LimitedBy::Pressure)),
            _ => base,
        }
    }

    /// The limit that the settings ask for.
    fn base(&self, is_arriving: bool) -> Option<(f64, LimitedBy)> {
        let setting = self.settings.bytes_per_s_max.map(|rate| (rate, LimitedBy::Setting));
        let arriving = self.settings.arriving_bytes_per_s_max.map(|rate| (rate, LimitedBy::Arriving));
        let arriving = arriving.filter(|(rate, _)| is_arriving && setting.is_none_or(|(set, _)| *rate < set));
        arriving.or(setting)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Nothing holds anybody back, so nothing is measured.
    fn rest(&mut self) {
        (self.looked, self.owed_bytes) = (None, 0.0);
        self.pressure.let_go();
    }
}

impl Pressure {
    /// Whether there is something to measure again.
    fn is_due(&self, now: Instant) -> bool {
        self.begun.is_none_or(|(then, ..)| now - then >= PRESSURE_INTERVAL)
    }

    /// Takes in the time, the wait for disks and the bytes from disks until now. Over `share_max` the rate is halved; it
    /// doubles again only under half of `share_max`, until it reaches `base`.
    fn measure(&mut self, now: (Instant, Duration, u64), base: f64, share_max: f64) {
        let Some((then, stalled, read)) = self.begun else {
            self.begun = Some(now);
            return;
        };
        let elapsed = now.0 - then;
        self.begun = Some(now);
        if elapsed > PRESSURE_INTERVAL_MAX {
            return;
        }
        let share = now.1.saturating_sub(stalled).as_secs_f64() / elapsed.as_secs_f64();
        self.stalled_share = Some(share);
        if share > share_max {
            let rate_now = now.2.saturating_sub(read) as f64 / elapsed.as_secs_f64();
            let lower = (self.limit.unwrap_or(rate_now.min(base)) / 2.0).max(FLOOR_BYTES_PER_S);
            if self.limit.is_none() {
                let (stalled_percent, mb_per_s) = ((share * 100.0) as u64, (lower / MB) as u64);
                info!(stalled_percent, mb_per_s, "files arrive and tasks wait for the disks, reading slower");
            }
            self.limit = Some(lower);
        } else if let Some(limit) = self.limit.filter(|_| share < share_max / 2.0) {
            self.limit = Some(limit * 2.0);
            if limit * 2.0 >= base {
                self.let_go();
            }
        }
    }

    /// Ends backing off.
    fn let_go(&mut self) {
        if self.limit.take().is_some() {
            info!("reading at the usual rate again");
        }
    }
}

impl Drop for Reading {
    fn drop(&mut self) {
        let mut state = self.gate.lock();
        state.pending_bytes -= self.bytes;
        if !state.is_counted {
            // the system does not say what came from disks: everything may have
            state.owed_bytes += self.bytes as f64;
        }
    }
}

fn is_recent(last: Instant, now: Instant) -> bool {
    now.duration_since(last) < ARRIVING_FOR
}

/// Whether a file was last changed a short while ago.
fn is_new(stat: FileStat) -> bool {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let changed = Duration::from_nanos(u64::try_from(stat.mtime_ns).unwrap_or(0));
    now.abs_diff(changed) < ARRIVING_FOR
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;

    const PLANE_BYTES: u64 = 1 << 20;

    /// A gate over a machine whose figures the test sets.
    struct World {
        gate: ReadGate,
        disk_bytes: Arc<AtomicU64>,
        stalled_ms: Arc<AtomicU64>,
        counters: Arc<StageCounters>,
        stop: CancellationToken,
    }

    impl World {
        fn new(settings: Settings) -> Self {
            let (disk_bytes, stalled_ms) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
            let (bytes, stalled) = (disk_bytes.clone(), stalled_ms.clone());
            let probes = Probes {
                disk_bytes_read: Arc::new(move || Some(bytes.load(Ordering::SeqCst))),
                io_stall_time: Arc::new(move || Some(Duration::from_millis(stalled.load(Ordering::SeqCst)))),
            };
            let gate = ReadGate::new(settings, probes);
            let (counters, stop) = (StageCounters::alone("decoder"), CancellationToken::new());
            Self { gate, disk_bytes, stalled_ms, counters, stop }
        }

        /// Reads planes, one after the other, from the disk or from the page cache; the time it took.
        async fn read(&self, n_planes: u64, is_cached: bool) -> Duration {
            let begun = Instant::now();
            for _ in 0..n_planes {
                let reading = self.gate.pass(PLANE_BYTES, &self.counters, &self.stop).await;
                if !is_cached {
                    self.disk_bytes.fetch_add(PLANE_BYTES, Ordering::SeqCst);
                }
                drop(reading);
            }
            begun.elapsed()
        }

        /// A second in which tasks waited for disks for so many milliseconds, and one plane was read.
        async fn second(&self, stalled_ms: u64) {
            self.gate.saw(1, stat_changed_at(0), Some(stat_changed_at(1)));
            tokio::time::sleep(Duration::from_millis(1001)).await;
            self.stalled_ms.fetch_add(stalled_ms, Ordering::SeqCst);
            self.read(1, false).await;
        }
    }

    fn stat_changed_at(mtime_ns: i64) -> FileStat {
        FileStat { device: 1, inode: 1, size_bytes: 1, mtime_ns, ctime_ns: 0 }
    }

    fn limits(setting: Option<u64>, arriving: Option<u64>, stalled_share_max: Option<f64>) -> Settings {
        let rate = |planes: u64| (planes * PLANE_BYTES) as f64;
        Settings {
            bytes_per_s_max: setting.map(rate),
            arriving_bytes_per_s_max: arriving.map(rate),
            stalled_share_max,
        }
    }

    fn check_seconds(found: Duration, expected_s: f64) {
        let found = found.as_secs_f64();
        assert!((found - expected_s).abs() < 0.1 * expected_s + 0.02, "{found} s, expected {expected_s} s");
    }

    #[tokio::test(start_paused = true)]
    async fn what_comes_from_the_disk_keeps_the_rate_and_what_was_cached_does_not_count() {
        let world = World::new(limits(Some(10), None, None));
        // a quarter of a second is let through at once
        check_seconds(world.read(100, false).await, 9.75);
        check_seconds(world.read(1000, true).await, 0.1);
        let world = World::new(limits(None, Some(10), Some(0.4)));
        assert_eq!(world.read(1000, false).await, Duration::ZERO, "nothing arrives");
    }

    #[tokio::test(start_paused = true)]
    async fn a_plane_larger_than_the_rate_passes_in_its_time() {
        let world = World::new(Settings {
            bytes_per_s_max: Some(PLANE_BYTES as f64 / 4.0),
            ..limits(None, None, None)
        });
        check_seconds(world.read(10, false).await, 36.0 - 0.25);
    }

    #[tokio::test(start_paused = true)]
    async fn where_the_system_does_not_say_everything_counts() {
        let mut world = World::new(limits(Some(10), None, None));
        world.gate.probes.disk_bytes_read = Arc::new(|| None);
        check_seconds(world.read(100, true).await, 9.75);
    }

    #[tokio::test(start_paused = true)]
    async fn planes_are_read_slower_while_files_arrive() {
        let world = World::new(limits(Some(100), Some(10), None));
        world.gate.saw(1, stat_changed_at(0), None);
        world.gate.saw(1, stat_changed_at(0), Some(stat_changed_at(0)));
        assert_eq!(world.gate.snapshot().limited_by, Some(LimitedBy::Setting), "an old file that rests");
        world.gate.saw(1, stat_changed_at(1), Some(stat_changed_at(0)));
        let snapshot = world.gate.snapshot();
        assert_eq!((snapshot.limited_by, snapshot.n_roots_arriving), (Some(LimitedBy::Arriving), 1));
        assert_eq!(snapshot.bytes_per_s_max, Some(10 << 20));
        check_seconds(world.read(50, false).await, 4.75);
        tokio::time::advance(ARRIVING_FOR).await;
        assert_eq!(world.gate.snapshot().limited_by, Some(LimitedBy::Setting));
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        world.gate.saw(1, stat_changed_at(i64::try_from(now.as_nanos()).unwrap()), None);
        assert_eq!(world.gate.snapshot().limited_by, Some(LimitedBy::Arriving), "a file that is new");
    }

    #[tokio::test(start_paused = true)]
    async fn waiting_for_disks_halves_the_rate_until_it_is_clearly_less() {
        let world = World::new(limits(None, Some(64), Some(0.4)));
        let standing = || {
            let ReadGateSnapshot { bytes_per_s_max, limited_by, .. } = world.gate.snapshot();
            (bytes_per_s_max.map(|bytes| bytes >> 20), limited_by)
        };
        world.second(0).await;
        world.second(390).await;
        assert_eq!(standing(), (Some(64), Some(LimitedBy::Arriving)));
        // it reads one plane in a second, so the first step leads to the floor
        world.second(500).await;
        world.second(900).await;
        assert_eq!(standing(), (Some(4), Some(LimitedBy::Pressure)));
        assert!((world.gate.snapshot().stalled_share.unwrap() - 0.9).abs() < 0.01);
        world.second(300).await;
        assert_eq!(standing(), (Some(4), Some(LimitedBy::Pressure)), "neither much nor little");
        for expected in [8, 16, 32] {
            world.second(100).await;
            assert_eq!(standing(), (Some(expected), Some(LimitedBy::Pressure)));
        }
        world.second(100).await;
        assert_eq!(standing(), (Some(64), Some(LimitedBy::Arriving)));
        world.second(500).await;
        assert_eq!(standing().1, Some(LimitedBy::Pressure));
        tokio::time::advance(ARRIVING_FOR).await;
        world.read(1, false).await;
        assert_eq!(standing(), (None, None), "nothing arrives any more");
    }

    #[tokio::test(start_paused = true)]
    async fn planes_that_wait_to_be_read_count_and_a_stop_ends_the_wait() {
        let world = World::new(limits(Some(10), None, None));
        let pass = || world.gate.pass(PLANE_BYTES, &world.counters, &world.stop);
        let mut held = Vec::new();
        for _ in 0..3 {
            held.push(pass().await);
        }
        let waited = tokio::time::timeout(Duration::from_secs(60), pass()).await;
        assert!(waited.is_err(), "three planes are on their way, and two and a half may be");
        held.pop();
        held.push(pass().await);
        world.stop.cancel();
        held.push(pass().await);
        assert_eq!(world.gate.lock().pending_bytes, 4 * PLANE_BYTES);
        drop(held);
        assert_eq!(world.gate.lock().pending_bytes, 0);
    }
}

//! One run of a benchmark: its folder, its log, its progress, its threads; everything is put back at the end.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context, Result};
use indicatif::{ProgressBar, ProgressStyle};
use rayon::ThreadPool;

use super::metrics::{Sample, Sampler, system_information};
use crate::platform::process;

/// What every benchmark is told.
#[derive(Debug, Clone)]
pub struct SessionSettings {
    /// Where results are written.
    pub out: PathBuf,
    /// Threads that compute, at least 1.
    pub n_workers: usize,
    /// Seconds between two looks at the machine.
    pub metrics_interval: Duration,
}

/// A run.
pub struct Session {
    settings: SessionSettings,
    begun: Instant,
    log: Arc<Log>,
    sampler: Sampler,
    pool: ThreadPool,
    /// Where results are made before they are moved to their place.
    temporary: Temporary,
    /// Keeps the machine awake while it lives.
    _awake: Option<Awake>,
}

/// What a run leaves when it ends.
pub struct Ended {
    /// What the whole run took.
    pub wall: Duration,
    /// How busy the machine was.
    pub samples: Vec<Sample>,
}

impl Session {
    /// Makes the folder, begins log and metrics, and says what the machine is.
    ///
    /// # Errors
    /// A folder or file that cannot be made, naming it.
    pub fn begin(name: &str, settings: SessionSettings) -> Result<Self> {
        let SessionSettings { out, n_workers, metrics_interval } = &settings;
        let naming = |path: &Path| format!("cannot write to {}", path.display());
        fs::create_dir_all(out).with_context(|| naming(out))?;
        let temporary = Temporary::make(out.join(format!(".scopewatch-bench-{}", std::process::id())))?;
        let log = Arc::new(Log::create(&out.join("bench.log"))?);
        log.say(&format!("{name}: {n_workers} workers, results in {}", out.display()));
        log.say(&format!("machine: {}", system_information()));
        if let Some(n_files) = process::raise_file_limit() {
            log.say(&format!("at most {n_files} open files"));
        }
        let awake = Awake::begin();
        if awake.is_some() {
            log.say("the machine is kept awake (systemd-inhibit)");
        }
        let told = Arc::clone(&log);
        let sampler = Sampler::begin(*metrics_interval, move |sample| {
            told.say(&format!(
                "machine {:.0} % busy, this process {:.0} %, {:.0} MB resident, load {:.1}",
                sample.system_cpu_percent, sample.process_cpu_percent, sample.resident_mb, sample.load_one
            ));
        })
        .context("cannot start a thread for metrics")?;
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(*n_workers)
            .thread_name(|index| format!("bench-{index}"))
            .build()
            .context("cannot start the workers")?;
        Ok(Self { settings, begun: Instant::now(), log, sampler, pool, temporary, _awake: awake })
    }

    /// Writes a line with the time to the log and to stderr.
    pub fn say(&self, text: &str) {
        self.log.say(text);
    }

    /// The threads that compute.
    pub fn pool(&self) -> &ThreadPool {
        &self.pool
    }

    /// How many threads compute.
    pub fn n_workers(&self) -> usize {
        self.settings.n_workers
    }

    /// A folder of this run alone. What is left in it at the end becomes a result.
    pub fn folder(&self) -> &Path {
        &self.temporary.0
    }

    /// Begins a task of `n` parts.
    pub fn task(&self, name: &'static str, n: usize) -> Task {
        self.say(&format!("{name}: {n} parts"));
        Task::begin(name, n, Arc::clone(&self.log))
    }

    /// Writes a result; it stands in its place when the run ends.
    ///
    /// # Errors
    /// A file that cannot be written, naming it.
    pub fn write(&self, name: &str, content: &[u8]) -> Result<()> {
        let path = self.temporary.0.join(name);
        fs::write(&path, content).with_context(|| format!("cannot write {}", path.display()))
    }

    /// Seconds since the run began.
    pub fn elapsed(&self) -> Duration {
        self.begun.elapsed()
    }

    /// Ends the metrics, lets `report` write what follows from them, and moves all results to their place.
    ///
    /// # Errors
    /// Those of the report, and a file that cannot be moved.
    pub fn end(self, report: impl FnOnce(&Closing, &Ended) -> Result<()>) -> Result<Ended> {
        let Self { settings, begun, log, sampler, temporary, .. } = self;
        let ended = Ended { samples: sampler.end(), wall: begun.elapsed() };
        let rest = Closing { temporary, log };
        report(&rest, &ended)?;
        let Closing { temporary, log } = rest;
        for entry in fs::read_dir(&temporary.0).context("cannot read the temporary folder")? {
            let entry = entry.context("cannot read the temporary folder")?;
            let place = settings.out.join(entry.file_name());
            fs::rename(entry.path(), &place).with_context(|| format!("cannot write {}", place.display()))?;
        }
        log.say(&format!("done in {:.1} s", ended.wall.as_secs_f64()));
        Ok(ended)
    }
}

/// What is left of a run whose metrics have ended.
pub struct Closing {
    temporary: Temporary,
    log: Arc<Log>,
}

impl Closing {
    /// As [`Session::write`].
    ///
    /// # Errors
    /// A file that cannot be written, naming it.
    pub fn write(&self, name: &str, content: &[u8]) -> Result<()> {
        let path = self.temporary.0.join(name);
        fs::write(&path, content).with_context(|| format!("cannot write {}", path.display()))
    }

    /// As [`Session::say`].
    pub fn say(&self, text: &str) {
        self.log.say(text);
    }
}

/// A task that is on its way: counts parts, and draws a bar where stderr is a terminal.
pub struct Task {
    name: &'static str,
    n: usize,
    n_done: AtomicUsize,
    begun: Instant,
    bar: ProgressBar,
    log: Arc<Log>,
}

impl Task {
    fn begin(name: &'static str, n: usize, log: Arc<Log>) -> Self {
        // hidden by itself where stderr is no terminal
        let bar = ProgressBar::new(n as u64);
        if let Ok(style) = ProgressStyle::with_template("{msg:20} {bar:32} {pos}/{len}  {eta} left") {
            bar.set_style(style);
        }
        bar.set_message(name);
        Self { name, n, n_done: AtomicUsize::new(0), begun: Instant::now(), bar, log }
    }

    /// One part is done; every tenth of all is a line in the log.
    pub fn advance(&self) {
        let n_done = self.n_done.fetch_add(1, Ordering::Relaxed) + 1;
        self.bar.inc(1);
        let tenth = self.n.div_ceil(10).max(1);
        if n_done.is_multiple_of(tenth) && n_done < self.n {
            let seconds = self.begun.elapsed().as_secs_f64();
            self.log.say(&format!("{}: {n_done} of {} after {seconds:.1} s", self.name, self.n));
        }
    }

    /// All parts are done.
    pub fn end(self) {
        self.bar.finish_and_clear();
        self.log.say(&format!("{}: done in {:.1} s", self.name, self.begun.elapsed().as_secs_f64()));
    }
}

/// A file with lines that begin with the time.
struct Log {
    file: Mutex<File>,
}

impl Log {
    fn create(path: &Path) -> Result<Self> {
        let file = File::create(path).with_context(|| format!("cannot write {}", path.display()))?;
        Ok(Self { file: Mutex::new(file) })
    }

    /// A log on a full disk is no reason to lose a benchmark.
    fn say(&self, text: &str) {
        let line = format!("{} {text}\n", humantime::format_rfc3339_millis(SystemTime::now()));
        let _ = self.file.lock().unwrap_or_else(PoisonError::into_inner).write_all(line.as_bytes());
        let _ = std::io::stderr().lock().write_all(line.as_bytes());
    }
}

/// A folder of this process alone, which goes with it.
struct Temporary(PathBuf);

impl Temporary {
    fn make(path: PathBuf) -> Result<Self> {
        fs::create_dir_all(&path).with_context(|| format!("cannot make the folder {}", path.display()))?;
        Ok(Self(path))
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        // what cannot be removed is named by its process, and harms nobody
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Holds off sleep for as long as it lives, where systemd is there to ask: its helper waits for the end of its input.
struct Awake(Child);

impl Awake {
    fn begin() -> Option<Self> {
        let mut child = Command::new("systemd-inhibit")
            .args(["--what=idle:sleep", "--who=scopewatch", "--why=a benchmark is running", "cat"])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .ok()?;
        // without a running systemd it ends at once
        std::thread::sleep(Duration::from_millis(100));
        match child.try_wait() {
            Ok(None) => Some(Self(child)),
            _ => None,
        }
    }
}

impl Drop for Awake {
    fn drop(&mut self) {
        drop(self.0.stdin.take());
        let _ = self.0.wait();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_appear_at_the_end_and_nothing_else_is_left() {
        let folder = tempfile::tempdir().unwrap();
        let out = folder.path().join("new");
        let settings =
            SessionSettings { out: out.clone(), n_workers: 2, metrics_interval: Duration::from_secs(60) };
        let session = Session::begin("a test", settings).unwrap();
        session.write("one.csv", b"1").unwrap();
        assert!(!out.join("one.csv").exists());
        let task = session.task("parts", 20);
        session.pool().install(|| (0..20).for_each(|_| task.advance()));
        task.end();
        let ended = session.end(|rest, ended| rest.write("two.txt", &[ended.samples.len() as u8])).unwrap();
        let mut names: Vec<_> = fs::read_dir(&out).unwrap().map(|e| e.unwrap().file_name()).collect();
        names.sort();
        assert_eq!(names, ["bench.log", "one.csv", "two.txt"]);
        assert_eq!(fs::read(out.join("two.txt")).unwrap(), [ended.samples.len() as u8]);
        let log = fs::read_to_string(out.join("bench.log")).unwrap();
        for expected in ["a test: 2 workers", "machine: {", "parts: 20 parts", "parts: 10 of 20", "done in"] {
            assert!(log.contains(expected), "{expected}: {log}");
        }
    }
}

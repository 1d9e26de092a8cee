//! What the tests share: a sandbox with a watched folder, the daemon in it, and files as instruments write them.

use std::collections::BTreeMap;
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use scopewatch::analysis::synthesis::{FieldSettings, Random, expose, place_nuclei};
use scopewatch::formats::Plane;
use scopewatch::formats::tiff::{WriteOptions, encode};
use serde_json::Value;
use tempfile::TempDir;

/// How long a test waits for something that must come.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// The built program, or the one that `SCOPEWATCH_BINARY` names.
pub(crate) fn scopewatch() -> Command {
    let built = || env!("CARGO_BIN_EXE_scopewatch").into();
    let mut command = Command::new(std::env::var_os("SCOPEWATCH_BINARY").unwrap_or_else(built));
    command.stdin(Stdio::null());
    command
}

/// Runs a command to its end.
pub(crate) fn output(command: &mut Command) -> Output {
    command.output().expect("the program can be started")
}

/// A Python that has these packages: the one that `SCOPEWATCH_PYTHON` names, the checkout's own, or the system's.
pub(crate) fn python_with(packages: &str) -> Option<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let named = std::env::var_os("SCOPEWATCH_PYTHON").map(PathBuf::from);
    let candidates = named.into_iter().chain([root.join(".kit-venv/bin/python"), "python3".into()]);
    candidates.into_iter().find(|python| {
        let asked = Command::new(python).args(["-c", &format!("import {packages}")]).output();
        asked.is_ok_and(|asked| asked.status.success())
    })
}

/// Waits until `condition` holds.
pub(crate) fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < deadline, "waited {PATIENCE:?} in vain until {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// A folder of its own with a watched folder `in` and an output folder `out`.
pub(crate) struct Sandbox {
    folder: TempDir,
}

impl Sandbox {
    pub(crate) fn new() -> Self {
        let sandbox = Self { folder: tempfile::tempdir().unwrap() };
        fs::create_dir(sandbox.inbox()).unwrap();
        sandbox
    }

    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }

    pub(crate) fn inbox(&self) -> PathBuf {
        self.path().join("in")
    }

    pub(crate) fn out(&self) -> PathBuf {
        self.path().join("out")
    }

    /// Writes a file into the watched folder, its folders first.
    pub(crate) fn drop_file(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.inbox().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, bytes).unwrap();
        path
    }

    /// The command that starts the daemon here, with short times.
    pub(crate) fn run_command(&self) -> Command {
        let mut command = scopewatch();
        command.arg("run").arg("--watch").arg(self.inbox()).arg("--out").arg(self.out());
        command.args(["--quiet-period-ms", "100", "--scan-interval-ms", "300"]);
        command
    }

    /// Starts the daemon and waits until it is ready.
    pub(crate) fn start(&self) -> Daemon {
        Daemon::start(&mut self.run_command(), self.path())
    }

    /// Scans the watched folder; the summary and the exit code.
    pub(crate) fn scan(&self, flags: &[&str]) -> (Value, i32) {
        let mut command = scopewatch();
        command.arg("scan").arg(self.inbox()).arg("--out").arg(self.out()).arg("--json").args(flags);
        let ended = output(&mut command);
        let text = String::from_utf8(ended.stdout).unwrap();
        let last =
            text.lines().last().unwrap_or_else(|| panic!("{}", String::from_utf8_lossy(&ended.stderr)));
        (serde_json::from_str(last).unwrap(), ended.status.code().unwrap())
    }

    /// The lines of `reports/NAME.jsonl`; a torn line is a failure.
    pub(crate) fn lines(&self, name: &str) -> Vec<Value> {
        let text = fs::read_to_string(self.out().join(format!("reports/{name}.jsonl"))).unwrap_or_default();
        text.lines()
            .map(|line| serde_json::from_str(line).unwrap_or_else(|_| panic!("torn line {line:?}")))
            .collect()
    }

    /// How often each file stands in `files.jsonl`, by outcome.
    pub(crate) fn reported(&self) -> BTreeMap<(String, String), usize> {
        let mut counts = BTreeMap::new();
        for line in self.lines("files") {
            let text = |key: &str| line[key].as_str().unwrap().to_owned();
            *counts.entry((text("file"), text("outcome"))).or_insert(0) += 1;
        }
        counts
    }

    /// Waits until `n` lines stand in `files.jsonl`.
    pub(crate) fn wait_for_files(&self, n: usize) {
        let path = self.out().join("reports/files.jsonl");
        wait_until(&format!("{n} files are reported"), || {
            let text = fs::read_to_string(&path).unwrap_or_default();
            text.matches('\n').count() >= n
        });
    }

    /// Waits until the running service has walked its folder `n` times more.
    pub(crate) fn wait_for_walks(&self, n: u64) {
        let walks = || {
            let asked = output(scopewatch().args(["status", "--json", "--out"]).arg(self.out()));
            let status: Value = serde_json::from_slice(&asked.stdout).unwrap();
            status["roots"][0]["walks"].as_u64().unwrap()
        };
        let before = walks();
        wait_until("the folder is walked", || walks() >= before + n);
    }

    /// A table of `reports/current`.
    pub(crate) fn table(&self, name: &str) -> String {
        fs::read_to_string(self.out().join("reports/current").join(name)).unwrap()
    }

    /// The reason with which a file was rejected.
    pub(crate) fn rejection(&self, file: &str) -> String {
        let lines = self.lines("files");
        let line =
            lines.iter().find(|line| line["file"] == file).unwrap_or_else(|| panic!("{file} has no line"));
        assert_eq!(line["outcome"], "rejected", "{line}");
        line["reason"].as_str().unwrap().to_owned()
    }
}

/// A running daemon; killed when dropped.
pub(crate) struct Daemon {
    child: Child,
    log: PathBuf,
}

impl Daemon {
    pub(crate) fn start(command: &mut Command, folder: &Path) -> Self {
        let log = folder.join(format!("daemon-{}.log", fs::read_dir(folder).unwrap().count()));
        command.stderr(fs::File::create(&log).unwrap()).stdout(Stdio::null());
        let mut daemon = Self { child: command.spawn().unwrap(), log };
        wait_until("the daemon is ready", || {
            let ended = daemon.child.try_wait().unwrap();
            assert!(ended.is_none(), "the daemon ended by itself: {}", daemon.log());
            daemon.log().contains("READY")
        });
        daemon
    }

    pub(crate) fn log(&self) -> String {
        let mut bytes = Vec::new();
        fs::File::open(&self.log).unwrap().read_to_end(&mut bytes).unwrap();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Sends a signal by name, such as `TERM`.
    pub(crate) fn signal(&self, name: &str) {
        let pid = self.pid().to_string();
        assert!(Command::new("kill").args(["-s", name, &pid]).status().unwrap().success());
    }

    /// Ends it as power loss would.
    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Waits for its end; the exit code.
    pub(crate) fn wait(&mut self) -> Option<i32> {
        let mut code = None;
        wait_until("the daemon ends", || {
            code = self.child.try_wait().unwrap();
            code.is_some()
        });
        code.unwrap().code()
    }

    /// Tells it to end and waits; the exit code.
    pub(crate) fn stop(mut self) -> Option<i32> {
        self.signal("TERM");
        self.wait()
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // it may have ended already
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A small field of nuclei; another seed gives another one.
pub(crate) fn field(seed: u64) -> Plane {
    let settings =
        FieldSettings { height: 96, width: 128, n_nuclei: 6, diameter_px: 18.0, ..FieldSettings::default() };
    expose(&settings, &place_nuclei(&settings, &mut Random::new(seed)), seed)
}

/// A TIFF of one plane.
pub(crate) fn tiff(plane: &Plane) -> Vec<u8> {
    encode(std::slice::from_ref(plane), &WriteOptions::default()).unwrap()
}

//! Faults between the program and the C library: `faults.c`, compiled when a trial wants it.

use std::fs::{self, File};
use std::io::{Seek, Write};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// The compiled layer, in a folder of the trial.
pub(super) struct Shim {
    library: PathBuf,
}

impl Shim {
    /// Compiles it; a C compiler is needed for the program itself, too.
    pub(super) fn build(folder: &Path) -> Self {
        let library = folder.join("faults.so");
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/torture/faults.c");
        let mut compile = Command::new("cc");
        compile.args(["-O2", "-Wall", "-Werror", "-shared", "-fPIC", "-o"]).arg(&library).arg(source);
        assert!(compile.args(["-ldl", "-lpthread"]).status().unwrap().success());
        Self { library }
    }

    fn load<'a>(&self, command: &'a mut Command) -> &'a mut Command {
        command.env("LD_PRELOAD", &self.library)
    }

    /// Makes a call on files under a folder fail, as `faults.c` describes it; `met` is created when that has happened.
    pub(super) fn fail(&self, command: &mut Command, under: &Path, fault: &str, met: &Path) {
        self.load(command).env("TORTURE_UNDER", under).env("TORTURE_FAIL", fault).env("TORTURE_MET", met);
    }

    /// Writes down every change under a folder.
    pub(super) fn record(&self, command: &mut Command, under: &Path, trace: &Path) {
        self.load(command).env("TORTURE_UNDER", under).env("TORTURE_TRACE", trace);
    }

    /// Lets the program read a clock that can be set.
    pub(super) fn set_clock(&self, command: &mut Command, clock: &Clock) {
        self.load(command).env("TORTURE_CLOCK", &clock.path);
    }
}

/// A wrong clock.
pub(super) struct Clock {
    path: PathBuf,
    file: File,
}

impl Clock {
    /// One that is right so far.
    pub(super) fn new(folder: &Path) -> Self {
        let path = folder.join("clock");
        let file = File::create(&path).unwrap();
        let mut clock = Self { path, file };
        clock.set(Duration::ZERO, false);
        clock
    }

    /// Sets it before or behind the right time.
    pub(super) fn set(&mut self, by: Duration, is_behind: bool) {
        let ns = i64::try_from(by.as_nanos()).unwrap();
        self.file.rewind().unwrap();
        self.file.write_all(&(if is_behind { -ns } else { ns }).to_ne_bytes()).unwrap();
    }
}

/// A change of the disk, as the layer wrote it down.
#[derive(Debug)]
pub(super) struct Change {
    pub(super) path: PathBuf,
    pub(super) what: What,
}

/// What a change did to its path.
#[derive(Debug)]
pub(super) enum What {
    Write { place: u64, bytes: Vec<u8> },
    Sync,
    SyncNames,
    Truncate { length: u64 },
    Create,
    Remove,
    Rename { to: PathBuf },
}

/// Reads what was recorded; a record that a kill cut off ends it.
pub(super) fn read_changes(trace: &Path) -> Vec<Change> {
    let bytes = fs::read(trace).unwrap();
    let mut rest = bytes.as_slice();
    let mut changes = Vec::new();
    while let Some((head, body)) = rest.split_at_checked(17) {
        let number = |at: usize| u32::from_ne_bytes(head[at..at + 4].try_into().unwrap()) as usize;
        let (n_path, n_data) = (number(1), number(13));
        let place = u64::from_ne_bytes(head[5..13].try_into().unwrap());
        let Some((body, behind)) = body.split_at_checked(n_path + n_data) else { break };
        let path = |bytes: &[u8]| PathBuf::from(String::from_utf8(bytes.to_vec()).unwrap());
        let (name, data) = body.split_at(n_path);
        let what = match head[0] {
            b'W' => What::Write { place, bytes: data.to_vec() },
            b'S' => What::Sync,
            b'F' => What::SyncNames,
            b'T' => What::Truncate { length: place },
            b'C' => What::Create,
            b'U' => What::Remove,
            b'M' => What::Rename { to: path(data) },
            other => panic!("a record of kind {other}"),
        };
        changes.push(Change { path: path(name), what });
        rest = behind;
    }
    changes
}

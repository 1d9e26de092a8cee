//! A ledger in a temporary folder, for tests.

use std::path::PathBuf;

use serde_json::{Map, Value};

use crate::paths::{FileStat, RelativePath};
use crate::store::*;
use crate::units::PlaneIndex;

/// A ledger that can be killed and opened again.
pub(crate) struct Scratch {
    pub(crate) folder: tempfile::TempDir,
    pub(crate) ledger: Option<Ledger>,
    pub(crate) root_id: i64,
    n_runs: u32,
}

/// Memory where there is some, since every commit is synced.
fn folder() -> tempfile::TempDir {
    let memory = std::path::Path::new("/dev/shm");
    if memory.is_dir() { tempfile::tempdir_in(memory).unwrap() } else { tempfile::tempdir().unwrap() }
}

pub(crate) fn stat(mtime_ns: i64) -> FileStat {
    FileStat { device: u64::MAX, inode: 2, size_bytes: 3, mtime_ns, ctime_ns: mtime_ns }
}

pub(crate) fn plane(z: u32) -> PlaneIndex {
    PlaneIndex { z, ..PlaneIndex::default() }
}

impl Scratch {
    pub(crate) fn new() -> Self {
        let mut scratch = Self { folder: folder(), ledger: None, root_id: 0, n_runs: 0 };
        scratch.open();
        let roots = vec![("root".to_owned(), PathBuf::from("/data/root"))];
        scratch.root_id = wait(|reply| scratch.handle().register_roots(roots, reply)).unwrap()[0];
        scratch
    }

    /// Opens the ledger as another run of the program would.
    pub(crate) fn open(&mut self) {
        self.ledger = None;
        self.n_runs += 1;
        let run_id = format!("run{}", self.n_runs);
        self.ledger = Some(Ledger::open(&self.state_dir(), LedgerOptions::new("host", run_id)).unwrap());
    }

    pub(crate) fn state_dir(&self) -> PathBuf {
        self.folder.path().join("state")
    }

    pub(crate) fn handle(&self) -> LedgerHandle {
        self.ledger.as_ref().unwrap().handle()
    }

    pub(crate) fn reader(&self) -> LedgerReader {
        LedgerReader::open(&self.state_dir()).unwrap()
    }

    pub(crate) fn file_claim(&self, path: &str, mtime_ns: i64, n_planes: u32) -> FileClaim {
        let claimed = |z| ClaimedPlane { index: plane(z), ..ClaimedPlane::default() };
        FileClaim {
            root_id: self.root_id,
            path: RelativePath::new(path),
            stat: stat(mtime_ns),
            format: "tiff".into(),
            metadata: Map::new(),
            identity: Identity::default(),
            quality_rank: 0,
            is_complete: true,
            only_grew: false,
            planes: (0..n_planes).map(claimed).collect(),
            probes: Vec::new(),
        }
    }

    pub(crate) fn claim(&self, path: &str, mtime_ns: i64, n_planes: u32) -> Claimed {
        wait(|reply| self.handle().claim_file(self.file_claim(path, mtime_ns, n_planes), reply)).unwrap()
    }

    pub(crate) fn begin(&self, ticket: FileTicket) {
        wait(|reply| self.handle().begin_planes(ticket, reply)).unwrap();
    }

    pub(crate) fn done(&self, ticket: FileTicket, z: u32, digest: u8) -> PlaneDone {
        PlaneDone {
            ticket,
            index: plane(z),
            digest: [digest; 32],
            blank: None,
            features: Some(PlaneFeatures { version: 1, bytes: vec![digest] }),
            figures: Map::from_iter([("nuclei".to_owned(), Value::from(digest))]),
            matches: Vec::new(),
            registrable: None,
            registrations: Vec::new(),
        }
    }

    pub(crate) fn finish_plane(&self, ticket: FileTicket, z: u32, digest: u8) -> PlaneFinished {
        wait(|reply| self.handle().finish_plane(self.done(ticket, z, digest), reply)).unwrap()
    }

    pub(crate) fn fail_plane(&self, ticket: FileTicket, z: u32, attempts_max: u32) -> PlaneFailed {
        let failure = PlaneFailure {
            ticket,
            index: plane(z),
            stage: "decoder".into(),
            reason: "expected a strip".into(),
            attempts_max,
        };
        wait(|reply| self.handle().fail_plane(failure, reply)).unwrap()
    }

    pub(crate) fn finish_file(&self, ticket: FileTicket, mtime_ns: i64) -> FileFinished {
        let confirmed = wait(|reply| self.handle().confirm_file(ticket, stat(mtime_ns), reply)).unwrap();
        assert!(confirmed.is_unchanged && confirmed.file_ready, "{confirmed:?}");
        wait(|reply| self.handle().finish_file(ticket, Map::new(), reply)).unwrap()
    }

    /// Takes a file through with the given digest for each plane.
    pub(crate) fn take_through(&self, path: &str, mtime_ns: i64, digests: &[u8]) -> FileTicket {
        let claimed = self.claim(path, mtime_ns, digests.len() as u32);
        for (z, digest) in digests.iter().enumerate() {
            self.finish_plane(claimed.ticket, z as u32, *digest);
        }
        self.finish_file(claimed.ticket, mtime_ns);
        claimed.ticket
    }

    pub(crate) fn note(&self, path: &str, mtime_ns: i64, state: FileState, reason: &str) {
        let note = FileNote {
            root_id: self.root_id,
            path: RelativePath::new(path),
            stat: stat(mtime_ns),
            state,
            reason: reason.into(),
            alert: Some(Alert { kind: state.name().into(), text: "look".into(), fields: Map::new() }),
        };
        wait(|reply| self.handle().note_file(note, reply)).unwrap();
    }

    /// The lines of a stream that are not in their file yet.
    pub(crate) fn lines(&self, stream: Stream) -> Vec<Value> {
        let lines = self.reader().lines_after(stream, 0, 10_000).unwrap();
        lines.iter().map(|(_, line)| serde_json::from_str(line).unwrap()).collect()
    }

    /// The lines of a stream, as the values of some keys.
    pub(crate) fn brief(&self, stream: Stream, keys: &[&str]) -> Vec<String> {
        let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        let brief = |line: &Value| keys.iter().map(|key| text(&line[key])).collect::<Vec<_>>().join(" ");
        self.lines(stream).iter().map(brief).collect()
    }
}

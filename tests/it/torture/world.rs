//! The reference model: what was dropped, and what must therefore stand in the reports, the ledger and the groups.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

use scopewatch::analysis::synthesis::Random;
use scopewatch::store::LedgerReader;
use serde_json::Value;

use super::Trial;
use super::instruments::Instrument;
use super::tail::Tail;
use crate::support::{Daemon, Sandbox, field, output, scopewatch, tiff, wait_until};

/// A sandbox, what was dropped into it, and who follows its reports.
pub(super) struct World {
    pub(super) sandbox: Sandbox,
    random: Random,
    /// What lies in the watched folder, by path: the number of its picture.
    expected: BTreeMap<String, u64>,
    /// What lay there for a while: it may be reported, at most once for each version.
    fleeting: BTreeSet<String>,
    /// How often something was written under a path.
    n_written: BTreeMap<String, u64>,
    n_images: u64,
    n_names: u64,
    /// Under which path the service sees the folder that is written into.
    watched: PathBuf,
    tails: Vec<(&'static str, Tail)>,
}

/// The streams of which each line says one thing that may be said once.
pub(super) const STREAMS: [&str; 2] = ["files", "planes"];

impl World {
    pub(super) fn new(trial: &Trial) -> Self {
        Self::seeded(trial.seed)
    }

    pub(super) fn seeded(seed: u64) -> Self {
        let sandbox = Sandbox::new();
        let reports = sandbox.out().join("reports");
        let follow = |stream| (stream, Tail::follow(reports.join(format!("{stream}.jsonl"))));
        let tails = STREAMS.map(follow).into();
        fs::create_dir(sandbox.path().join("outside")).unwrap();
        Self {
            watched: sandbox.inbox(),
            sandbox,
            random: Random::new(seed),
            expected: BTreeMap::new(),
            fleeting: BTreeSet::new(),
            n_written: BTreeMap::new(),
            n_images: 0,
            n_names: 0,
            tails,
        }
    }

    /// A whole number under `limit`.
    pub(super) fn below(&mut self, limit: u64) -> u64 {
        self.random.bits() % limit.max(1)
    }

    pub(super) fn inbox(&self) -> PathBuf {
        self.sandbox.inbox()
    }

    /// Lets the service see the folder under another path.
    pub(super) fn watch_as(&mut self, path: PathBuf) {
        self.watched = path;
    }

    /// A folder on the same disk that is not watched.
    pub(super) fn outside(&self) -> PathBuf {
        self.sandbox.path().join("outside")
    }

    pub(super) fn next_number(&mut self) -> u64 {
        self.n_names += 1;
        self.n_names
    }

    /// A path that was not used yet.
    pub(super) fn new_name(&mut self, kind: &str) -> String {
        format!("plate{}/{kind}{}.tif", self.below(5), self.next_number())
    }

    /// A picture that stands nowhere yet.
    pub(super) fn new_image(&mut self) -> u64 {
        self.n_images += 1;
        self.n_images
    }

    /// A picture, in one of three cases one of the last twenty again.
    pub(super) fn any_image(&mut self) -> u64 {
        match self.expected.values().copied().max() {
            Some(last) if self.below(3) == 0 => {
                let wanted = last.saturating_sub(self.below(20)).max(1);
                let known = self.expected.values().any(|image| *image == wanted);
                if known { wanted } else { last }
            }
            _ => self.new_image(),
        }
    }

    pub(super) fn bytes(&self, image: u64) -> Vec<u8> {
        tiff(&field(image))
    }

    pub(super) fn create(&self, name: &str) -> File {
        let path = self.inbox().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        File::create(path).unwrap()
    }

    /// Writes a file at once, and expects it.
    pub(super) fn write(&mut self, name: &str, image: u64) {
        self.sandbox.drop_file(name, &self.bytes(image));
        self.expect(name, image);
    }

    pub(super) fn expect(&mut self, name: &str, image: u64) {
        self.expected.insert(name.to_owned(), image);
        *self.n_written.entry(name.to_owned()).or_default() += 1;
    }

    pub(super) fn forget(&mut self, name: &str) {
        self.expected.remove(name);
        self.fleeting.insert(name.to_owned());
    }

    pub(super) fn any_expected(&mut self) -> Option<(String, u64)> {
        let at = self.below(self.expected.len() as u64) as usize;
        self.expected.iter().nth(at).map(|(name, image)| (name.clone(), *image))
    }

    pub(super) fn n_expected(&self) -> usize {
        self.expected.len()
    }

    /// The paths of the files that lie in the watched folder.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.expected.keys().map(String::as_str)
    }

    /// Lets one of the instruments write.
    pub(super) fn drop_one(&mut self, instruments: &[Instrument]) {
        let at = self.below(instruments.len() as u64) as usize;
        instruments[at](self);
    }

    /// The service with a quiet period of 50 ms, scanning every 300 ms.
    pub(super) fn command(&self) -> Command {
        let mut command = scopewatch();
        command.arg("run").arg("--watch").arg(&self.watched).arg("--out").arg(self.sandbox.out());
        command.args(["--quiet-period-ms", "50", "--scan-interval-ms", "300"]);
        command.env("SCOPEWATCH__WATCH__QUIET_PERIOD_NETWORK_MS", "50");
        command.env("SCOPEWATCH__OUTPUT__FREE_SPACE_MIN_MB", "0");
        command
    }

    /// A scan that does what the service left undone.
    pub(super) fn scan_command(&self) -> Command {
        let mut command = scopewatch();
        command.arg("scan").arg(self.inbox()).arg("--out").arg(self.sandbox.out());
        command.env("SCOPEWATCH__WATCH__QUIET_PERIOD_MS", "50");
        command.env("SCOPEWATCH__OUTPUT__FREE_SPACE_MIN_MB", "0");
        command
    }

    pub(super) fn start(&self) -> Daemon {
        Daemon::start(&mut self.command(), self.sandbox.path())
    }

    /// Bytes of report lines so far.
    pub(super) fn reported_bytes(&self) -> u64 {
        let length = |stream| {
            let path = self.sandbox.out().join(format!("reports/{stream}.jsonl"));
            fs::metadata(path).map_or(0, |metadata| metadata.len())
        };
        STREAMS.map(length).iter().sum()
    }

    pub(super) fn status(&self) -> Value {
        let asked = output(scopewatch().args(["status", "--json", "--out"]).arg(self.sandbox.out()));
        serde_json::from_slice(&asked.stdout).unwrap_or_default()
    }

    /// Waits until two walks have found nothing that is not done.
    pub(super) fn wait_until_idle(&self) {
        let mut idle_at: Option<u64> = None;
        wait_until("everything is done", || {
            let status = self.status();
            let walks = status["roots"][0]["walks"].as_u64().unwrap_or(0);
            let is_idle = status["n_waiting"] == 0 && status["n_in_work"] == 0 && walks > 0;
            idle_at = if is_idle { idle_at.or(Some(walks)) } else { None };
            idle_at.is_some_and(|since| walks >= since + 2)
        });
    }

    /// Lets a running service finish, ends it, and compares everything.
    pub(super) fn end(mut self, daemon: Daemon) -> usize {
        self.wait_until_idle();
        assert_eq!(daemon.stop(), Some(0));
        let n_lines = self.check_lines();
        let reader = LedgerReader::open(&self.sandbox.out().join("state")).unwrap();
        assert_eq!(reader.integrity_check().unwrap(), "ok");
        self.check_against_a_clean_run();
        n_lines
    }

    /// Nothing lost, nothing twice: in the files, and for their followers.
    fn check_lines(&mut self) -> usize {
        for (stream, tail) in self.tails.drain(..) {
            let followed = tail.end();
            let path = self.sandbox.out().join(format!("reports/{stream}.jsonl"));
            assert_eq!(followed.n_taken_back, 0, "{stream}: bytes were taken back");
            assert!(followed.bytes == fs::read(path).unwrap(), "{stream}: a follower saw something else");
        }
        let [lines, _] = STREAMS.map(|stream| self.lines_said_once(stream, "at the end"));
        let mut outcomes: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for line in &lines {
            let (file, outcome) = (line["file"].as_str().unwrap(), line["outcome"].as_str().unwrap());
            outcomes.entry(file).or_default().push(outcome);
        }
        for (name, n_written) in &self.n_written {
            let found = outcomes.remove(name.as_str()).unwrap_or_default();
            // a link shares its inode with other names, so its times move on without a new version
            let is_there = self.expected.contains_key(name);
            let n_due =
                if is_there { 1..=n_written + u64::from(name.contains("again")) } else { 0..=*n_written };
            assert!(
                n_due.contains(&(found.len() as u64)),
                "{name} has {} lines, due are {n_due:?}",
                found.len()
            );
            assert!(!is_there || found.iter().all(|outcome| *outcome == "done"), "{name}: {found:?}");
        }
        assert!(outcomes.is_empty(), "reported, but never dropped: {outcomes:?}");
        lines.len()
    }

    /// The lines of a stream, which are numbered without a gap, and none of which is said twice.
    pub(super) fn lines_said_once(&self, stream: &str, when: &str) -> Vec<Value> {
        let lines = self.sandbox.lines(stream);
        let seqs: Vec<_> = lines.iter().map(|line| line["seq"].as_u64().unwrap()).collect();
        assert_eq!(seqs, (1..=lines.len() as u64).collect::<Vec<_>>(), "{when}: {stream}");
        let mut said = BTreeSet::new();
        for line in &lines {
            let key = format!("{} {} {}", line["file"], line["version"], line["plane"]);
            assert!(said.insert(key), "{when}: {stream}: said twice: {line}");
        }
        lines
    }

    /// The same pixels, and the same groups, as of a scan that nobody disturbed.
    pub(super) fn check_against_a_clean_run(&self) {
        let clean = self.sandbox.path().join("clean");
        let scan = output(scopewatch().arg("scan").arg(self.inbox()).arg("--out").arg(&clean));
        assert!(scan.status.success(), "{}", String::from_utf8_lossy(&scan.stderr));
        let table = |name: &str, out: PathBuf| -> BTreeSet<String> {
            let text = fs::read_to_string(out.join("reports/current").join(name)).unwrap();
            let is_there = |line: &&str| !self.fleeting.iter().any(|gone| line.contains(gone.as_str()));
            text.lines().filter(is_there).map(str::to_owned).collect()
        };
        let differ = |name: &str, cut: fn(&str) -> String| {
            let rows = |out| table(name, out).iter().map(|row| cut(row)).collect::<BTreeSet<_>>();
            let (found, due) = (rows(self.sandbox.out()), rows(clean.clone()));
            let (more, less) = (found.difference(&due), due.difference(&found));
            let (more, less): (Vec<_>, Vec<_>) = (more.collect(), less.collect());
            assert!(more.is_empty() && less.is_empty(), "{name}: more {more:#?}, less {less:#?}");
        };
        let found = exact_groups(&self.sandbox.out(), &self.fleeting);
        assert_eq!(found, exact_groups(&clean, &self.fleeting), "groups of equal pixels");
        differ("duplicate_pairs.csv", |row| {
            // pairs with equal pixels are told as pairs with a representative, which may be a file that has gone since
            if row.contains(",identical_") { String::new() } else { row.to_owned() }
        });
        // file, root, plane, and the digest of its pixels
        differ("planes.csv", |row| {
            let cells: Vec<_> = row.split(',').collect();
            format!("{} {} {}", cells[0], cells[2], cells[16])
        });
    }
}

/// The planes of equal pixels among files that are still there: each group once, by file and plane.
fn exact_groups(out: &Path, gone: &BTreeSet<String>) -> BTreeSet<BTreeSet<String>> {
    let text = fs::read_to_string(out.join("reports/current/duplicate_pairs.csv")).unwrap();
    let mut groups: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for row in text.lines().filter(|row| row.contains(",identical_")) {
        let cells: Vec<_> = row.split(',').collect();
        let (representative, member) = (cells[..2].join(" "), cells[2..4].join(" "));
        groups.entry(representative.clone()).or_default().extend([representative, member]);
    }
    let is_there = |plane: &String| !gone.iter().any(|file| plane.starts_with(file.as_str()));
    let groups = groups.into_values().map(|group| group.into_iter().filter(is_there).collect());
    groups.filter(|group: &BTreeSet<_>| group.len() > 1).collect()
}

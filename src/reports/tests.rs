use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

#[cfg(unix)]
mod faults;
mod found;

use proptest::prelude::*;
use serde_json::{Map, Value};

use super::tail::{Append, Disk, Tail};
use super::{CurrentTables, ReportNotice, ReportOptions, ReportWriter, next_refresh};
use crate::store::test_support::{Scratch, plane, stat};
use crate::store::*;

fn sound() -> Disk {
    Disk::default()
}

fn appending(append: Append) -> Disk {
    Disk { append, ..Disk::default() }
}

/// A disk on which appends break off with an error after some bytes.
fn broken_after(n_bytes: u64, kind: io::ErrorKind) -> Disk {
    let left = AtomicU64::new(n_bytes);
    appending(Box::new(move |file, bytes| {
        let n = left.load(Ordering::Relaxed).min(bytes.len() as u64);
        file.write_all(&bytes[..n as usize])?;
        left.fetch_sub(n, Ordering::Relaxed);
        if n < bytes.len() as u64 { Err(kind.into()) } else { Ok(()) }
    }))
}

impl Scratch {
    fn reports_dir(&self) -> PathBuf {
        let folder = self.folder.path().join("reports");
        fs::create_dir_all(&folder).unwrap();
        folder
    }

    fn text(&self, stream: Stream) -> String {
        let path = self.reports_dir().join(format!("{}.jsonl", stream.name()));
        fs::read_to_string(path).unwrap_or_default()
    }

    /// Moves lines to their files as a process would that is killed when `disk` fails, or before the ledger knows.
    fn pump(&self, mut disk: Disk, is_told: bool) {
        let reader = self.reader();
        for cursor in reader.cursors().unwrap() {
            let mut tail = Tail::new(&self.reports_dir(), cursor);
            let result = tail.catch_up(&reader, &mut disk);
            if let (true, Some(cursor)) = (is_told, tail.cursor()) {
                wait(|reply| self.handle().advance_cursor(cursor, reply)).unwrap();
            }
            if result.is_err() {
                return;
            }
        }
    }

    fn alert(&self, text: &str) {
        let alert = Alert { kind: "test".into(), text: text.into(), fields: Map::new() };
        wait(|reply| self.handle().emit_alert(alert, reply)).unwrap();
    }
}

/// The lines of a stream, checked to be numbered from 1 without a gap and ended by a line feed.
fn whole_lines(text: &str) -> Vec<Value> {
    assert!(text.is_empty() || text.ends_with('\n'), "{text:?}");
    let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).expect(line)).collect();
    for (at, line) in lines.iter().enumerate() {
        assert_eq!(line["seq"], at as u64 + 1, "{text}");
    }
    lines
}

#[test]
fn a_kill_after_any_byte_neither_loses_nor_repeats_a_line() {
    let scratch = Scratch::new();
    let mut n_lines = 0;
    for n_bytes in 0..300 {
        scratch.alert(&n_lines.to_string());
        n_lines += 1;
        let before = scratch.text(Stream::Alerts);
        scratch.pump(broken_after(n_bytes, io::ErrorKind::Other), n_bytes % 2 == 0);
        let after = scratch.text(Stream::Alerts);
        assert!(after.starts_with(&before), "a reader that follows the file never sees a byte taken back");
    }
    scratch.pump(sound(), true);
    assert_eq!(whole_lines(&scratch.text(Stream::Alerts)).len(), n_lines);
    assert!(scratch.lines(Stream::Alerts).is_empty(), "what is in the file has left the outbox");
}

#[test]
fn a_torn_line_is_cut_from_the_first_byte_that_differs() {
    let scratch = Scratch::new();
    scratch.alert("first");
    scratch.pump(sound(), true);
    scratch.alert("second");
    scratch.pump(broken_after(9, io::ErrorKind::Other), true);
    let path = scratch.reports_dir().join("alerts.jsonl");
    fs::OpenOptions::new().append(true).open(&path).unwrap().write_all(b"\0\0\0").unwrap();
    scratch.pump(sound(), true);
    assert_eq!(whole_lines(&scratch.text(Stream::Alerts)).len(), 2);
    fs::OpenOptions::new().append(true).open(&path).unwrap().write_all(b"{\"torn").unwrap();
    scratch.pump(sound(), true);
    assert_eq!(whole_lines(&scratch.text(Stream::Alerts)).len(), 2);
}

#[test]
fn a_file_that_the_user_removed_or_shortened_is_continued_at_its_end() {
    let scratch = Scratch::new();
    let path = scratch.reports_dir().join("alerts.jsonl");
    let numbers = || -> Vec<u64> {
        let text = scratch.text(Stream::Alerts);
        text.lines()
            .map(|line| serde_json::from_str::<Value>(line).unwrap()["seq"].as_u64().unwrap())
            .collect()
    };
    for text in ["1", "2", "3"] {
        scratch.alert(text);
    }
    scratch.pump(sound(), true);
    fs::remove_file(&path).unwrap();
    scratch.alert("4");
    scratch.alert("5");
    scratch.pump(sound(), true);
    assert_eq!(numbers(), [4, 5]);
    let length = fs::metadata(&path).unwrap().len();
    fs::OpenOptions::new().write(true).open(&path).unwrap().set_len(length - 10).unwrap();
    scratch.alert("6");
    // killed after the line was written, before the ledger knew: it is found again, though the file is short
    scratch.pump(sound(), false);
    assert_eq!(numbers(), [4, 6]);
    scratch.alert("7");
    scratch.pump(broken_after(20, io::ErrorKind::Other), false);
    scratch.pump(sound(), true);
    assert_eq!(numbers(), [4, 6, 7]);
}

#[test]
fn the_writer_pauses_without_space_and_flushes_everything() {
    let scratch = Scratch::new();
    let notices = Arc::new(Mutex::new(Vec::new()));
    let heard = notices.clone();
    let mut n_calls = 0;
    let options = ReportOptions {
        retry_delay: Duration::from_millis(5),
        on_notice: Box::new(move |notice| {
            heard.lock().unwrap().push(match notice {
                ReportNotice::Paused(_) => "paused",
                ReportNotice::Resumed => "resumed",
                ReportNotice::Fatal(_) => "fatal",
            });
        }),
        disk: appending(Box::new(move |file, bytes| {
            n_calls += 1;
            if (2..5).contains(&n_calls) {
                file.write_all(&bytes[..7])?;
                return Err(io::ErrorKind::StorageFull.into());
            }
            file.write_all(bytes)
        })),
        ..ReportOptions::new(scratch.reports_dir())
    };
    let writer = ReportWriter::start(options, scratch.reader(), scratch.handle()).unwrap();
    for text in ["1", "2", "3"] {
        scratch.alert(text);
        wait(|reply| writer.flush(reply)).unwrap();
        assert_eq!(whole_lines(&scratch.text(Stream::Alerts)).len().to_string(), text);
    }
    fs::remove_file(scratch.reports_dir().join("alerts.jsonl")).unwrap();
    scratch.alert("4");
    wait(|reply| writer.flush(reply)).unwrap();
    assert_eq!(scratch.text(Stream::Alerts).lines().count(), 1, "a removed file is begun anew");
    writer.close();
    assert_eq!(*notices.lock().unwrap(), ["paused", "resumed"]);
    assert!(scratch.lines(Stream::Alerts).is_empty());
}

#[test]
fn an_error_that_does_not_pass_ends_the_writer_and_a_restart_goes_on() {
    let scratch = Scratch::new();
    let (sender, receiver) = std::sync::mpsc::channel();
    let options = ReportOptions {
        on_notice: Box::new(move |notice| sender.send(notice).unwrap()),
        disk: broken_after(30, io::ErrorKind::Other),
        ..ReportOptions::new(scratch.reports_dir())
    };
    let writer = ReportWriter::start(options, scratch.reader(), scratch.handle()).unwrap();
    scratch.alert("1");
    assert!(matches!(receiver.recv().unwrap(), ReportNotice::Fatal(text) if text.contains("alerts.jsonl")));
    assert!(wait(|reply| writer.flush(reply)).is_err());
    drop(writer);
    let options = ReportOptions::new(scratch.reports_dir());
    ReportWriter::start(options, scratch.reader(), scratch.handle()).unwrap().close();
    assert_eq!(whole_lines(&scratch.text(Stream::Alerts)).len(), 1);
}

#[test]
fn tables_refreshed_at_the_same_time_are_whole() {
    let scratch = Scratch::new();
    for n in 0..20 {
        scratch.take_through(&format!("{n}.tif"), n, &[n as u8 + 1, 1]);
    }
    let folder = scratch.reports_dir().join("current");
    let tables = CurrentTables::new(&folder);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            let (tables, reader) = (tables.clone(), scratch.reader());
            scope.spawn(move || (0..10).for_each(|_| tables.refresh(&reader).unwrap()));
        }
    });
    assert_eq!(fs::read_to_string(folder.join("planes.csv")).unwrap().lines().count(), 1 + 40);
    assert_eq!(fs::read_dir(&folder).unwrap().count(), 7, "no temporary file is left");
}

#[test]
fn refreshing_takes_at_most_a_twentieth_of_the_time() {
    let seconds = Duration::from_secs;
    assert_eq!(next_refresh(seconds(5), Duration::from_millis(10)), seconds(5));
    assert_eq!(next_refresh(seconds(5), seconds(3)), seconds(60));
}

/// The files of `reports/current` after all of `files` went through in the given order.
fn current_tables(order: &[usize]) -> BTreeMap<String, String> {
    let scratch = Scratch::new();
    let files: [(&str, i64, &[u8]); 6] = [
        ("b/x.tif", 3, &[1, 2]),
        ("a/=x,1.tif", 3, &[1]),
        ("c.tif", 1, &[1, 1]),
        ("d.tif", 9, &[2, 3]),
        ("e \"q\".tif", 2, &[4]),
        ("f.tif", 5, &[2]),
    ];
    for (path, mtime_ns, digests) in order.iter().map(|at| files[*at]) {
        scratch.take_through(path, mtime_ns, digests);
    }
    let tables = CurrentTables::new(scratch.reports_dir().join("current"));
    tables.refresh(&scratch.reader()).unwrap();
    fs::read_dir(scratch.reports_dir().join("current"))
        .unwrap()
        .map(|entry| entry.unwrap())
        .map(|entry| (entry.file_name().into_string().unwrap(), fs::read_to_string(entry.path()).unwrap()))
        .collect()
}

#[test]
fn the_tables_do_not_depend_on_the_order_of_arrival() {
    let first = current_tables(&[0, 1, 2, 3, 4, 5]);
    assert_eq!(first, current_tables(&[5, 4, 3, 2, 1, 0]));
    assert_eq!(first, current_tables(&[2, 5, 0, 4, 1, 3]));
    assert_eq!(first.len(), 7, "{:?}", first.keys());
    let pairs: Vec<_> = first["duplicate_pairs.csv"].lines().collect();
    let evidence = "identical_pixels,1,1,1,0,identity,1,0,0,";
    assert_eq!(
        pairs[0],
        "file_a,plane_a,file_b,plane_b,relation,confidence,s,r,q,orientation,scale,shift_y_px,shift_x_px,reason"
    );
    assert_eq!(
        pairs[1..],
        [
            format!("c.tif,t0p0z0c0,c.tif,t0p0z1c0,{evidence}"),
            format!("c.tif,t0p0z0c0,\"a/=x,1.tif\",t0p0z0c0,{evidence}"),
            format!("c.tif,t0p0z0c0,b/x.tif,t0p0z0c0,{evidence}"),
            format!("b/x.tif,t0p0z1c0,d.tif,t0p0z0c0,{evidence}"),
            format!("b/x.tif,t0p0z1c0,f.tif,t0p0z0c0,{evidence}"),
        ]
    );
    let groups: Value = serde_json::from_str(&first["duplicate_groups.json"]).unwrap();
    assert_eq!(groups["groups"].as_array().unwrap().len(), 2);
    assert_eq!(groups["groups"][0]["representative"]["file"], "c.tif");
    assert_eq!(first["files.csv"].lines().count(), 7);
    assert_eq!(first["planes.csv"].lines().count(), 10);
    assert!(
        first["planes.csv"].lines().next().unwrap().ends_with("Metadata_Site,digest,blank,reason,nuclei")
    );
}

/// What the world does to the files, the ledger and the report files.
#[derive(Debug, Clone)]
enum Action {
    /// The file gets other planes (digest 0 is blank).
    Change { file: usize, digests: Vec<u8> },
    /// The file is written anew as it was.
    Touch { file: usize },
    /// The file is taken up as it is now.
    Claim { file: usize },
    /// Its first open plane is done.
    FinishPlane { file: usize },
    /// Its first open plane fails, for good the second time.
    FailPlane { file: usize },
    /// It is confirmed and finished where it may be, reopened where it changed.
    FinishFile { file: usize },
    /// It is handed back.
    Release { file: usize },
    /// It is rejected as a whole.
    Reject { file: usize },
    /// Lines are moved to the files until the process dies or the disk is full after so many bytes.
    Pump { n_bytes: u64, is_told: bool },
    /// The process is killed and started again.
    Restart,
}

fn actions() -> impl Strategy<Value = Vec<Action>> {
    let file = || 0..3_usize;
    let action = prop_oneof![
        2 => (file(), prop::collection::vec(0..4_u8, 1..4))
            .prop_map(|(file, digests)| Action::Change { file, digests }),
        1 => file().prop_map(|file| Action::Touch { file }),
        4 => file().prop_map(|file| Action::Claim { file }),
        8 => file().prop_map(|file| Action::FinishPlane { file }),
        2 => file().prop_map(|file| Action::FailPlane { file }),
        4 => file().prop_map(|file| Action::FinishFile { file }),
        1 => file().prop_map(|file| Action::Release { file }),
        1 => file().prop_map(|file| Action::Reject { file }),
        3 => (0..2000_u64, any::<bool>()).prop_map(|(n_bytes, is_told)| Action::Pump { n_bytes, is_told }),
        1 => Just(Action::Restart),
    ];
    prop::collection::vec(action, 1..60)
}

/// What must come of one file, told without versions, states or SQL.
#[derive(Debug, Default, Clone)]
struct ModelFile {
    mtime_ns: i64,
    /// What stands on the disk.
    digests: Vec<u8>,
    /// Planes to do of the open claim.
    open: BTreeSet<u32>,
    claimed: Option<(Claimed, i64)>,
    /// Since it was claimed: planes may still finish, the file may not.
    is_handed_back: bool,
    /// Planes known at the last claim.
    n_known: u32,
    /// The stat that the results belong to.
    results_mtime_ns: Option<i64>,
    /// The digest that each plane was last reported with, none for rejected.
    results: BTreeMap<u32, Option<u8>>,
    attempts: BTreeMap<u32, u32>,
    /// Something was reported, or went, since the file's last line.
    is_changed: bool,
    last_outcome: Option<&'static str>,
}

/// The model, and the ledger under test.
struct World {
    scratch: Scratch,
    files: Vec<ModelFile>,
    clock: i64,
    plane_lines: Vec<(usize, u32, Option<u8>)>,
    file_lines: Vec<(usize, &'static str)>,
}

fn path(file: usize) -> String {
    format!("f{file}.tif")
}

impl World {
    fn new() -> Self {
        let file = ModelFile { mtime_ns: 1, digests: vec![1, 2], ..ModelFile::default() };
        Self {
            scratch: Scratch::new(),
            files: vec![file; 3],
            clock: 1,
            plane_lines: Vec::new(),
            file_lines: Vec::new(),
        }
    }

    fn act(&mut self, action: &Action) {
        match action {
            Action::Change { file, digests } => {
                self.files[*file].digests.clone_from(digests);
                self.touch(*file);
            }
            Action::Touch { file } => self.touch(*file),
            Action::Claim { file } => self.claim(*file),
            Action::FinishPlane { file } => self.finish_plane(*file),
            Action::FailPlane { file } => self.fail_plane(*file),
            Action::FinishFile { file } => self.finish_file(*file),
            Action::Release { file } => {
                self.files[*file].is_handed_back |= self.files[*file].claimed.is_some();
                if let Some((claimed, _)) = &self.files[*file].claimed {
                    let release = |reply| {
                        self.scratch.handle().release_file(claimed.ticket, "asked".into(), reply);
                    };
                    wait(release).unwrap();
                }
            }
            Action::Reject { file } => self.reject(*file),
            Action::Pump { n_bytes, is_told } => {
                self.scratch.pump(broken_after(*n_bytes, io::ErrorKind::Other), *is_told);
            }
            Action::Restart => {
                self.scratch.open();
                self.files.iter_mut().for_each(|file| file.claimed = None);
            }
        }
    }

    fn touch(&mut self, file: usize) {
        self.clock += 1;
        self.files[file].mtime_ns = self.clock;
    }

    fn claim(&mut self, at: usize) {
        let others = self.files.iter().enumerate().filter(|(other, _)| *other != at);
        let others: Vec<_> = others.map(|(_, file)| file.results.clone()).collect();
        let file = &mut self.files[at];
        let claimed = self.scratch.claim(&path(at), file.mtime_ns, file.digests.len() as u32);
        let n_planes = file.digests.len() as u32;
        let was_open = file.open.clone();
        if file.results_mtime_ns != Some(file.mtime_ns) {
            file.open = (0..n_planes).collect();
            file.attempts.clear();
        }
        let n_results = file.results.len();
        file.results.retain(|z, _| *z < n_planes);
        file.is_changed |= file.results.len() < n_results;
        file.results_mtime_ns = Some(file.mtime_ns);
        for plane in &claimed.planes {
            let is_open = file.open.contains(&plane.index.z);
            assert_eq!(plane.state == PlaneState::Todo, is_open, "{plane:?}");
            let has_twin = |digest: &u8| {
                let others =
                    others.iter().any(|results| results.values().any(|other| *other == Some(*digest)));
                *digest > 0 && others
            };
            let is_single = (file.n_known, n_planes) == (1, 1);
            let previous =
                file.results.get(&plane.index.z).copied().flatten().filter(|_| is_open && is_single);
            // an earlier claim that came to no end is no ground to recognise anything
            let previous = previous.filter(|digest| !was_open.contains(&plane.index.z) && !has_twin(digest));
            assert_eq!(plane.previous_digest, previous.map(|digest| [digest; 32]));
            assert_eq!(plane.attempts, file.attempts.get(&plane.index.z).copied().unwrap_or(0));
        }
        file.n_known = n_planes;
        file.is_handed_back = false;
        file.claimed = Some((claimed, file.mtime_ns));
    }

    /// The first open plane of the claim, if the file still stands as it was claimed.
    fn next_open(&self, at: usize) -> Option<(FileTicket, u32)> {
        let file = &self.files[at];
        let (claimed, mtime_ns) = file.claimed.as_ref()?;
        let z = *file.open.first()?;
        (*mtime_ns == file.mtime_ns).then_some((claimed.ticket, z))
    }

    fn finish_plane(&mut self, at: usize) {
        let Some((ticket, z)) = self.next_open(at) else { return };
        let file = &mut self.files[at];
        let digest = file.digests[z as usize];
        let blank = (digest == 0).then(|| "constant".to_owned());
        let done = PlaneDone { blank, ..self.scratch.done(ticket, z, digest) };
        let finished = wait(|reply| self.scratch.handle().finish_plane(done, reply)).unwrap();
        let is_unchanged = file.results.insert(z, Some(digest)) == Some(Some(digest));
        assert_eq!(finished.is_unchanged, is_unchanged);
        file.open.remove(&z);
        if !is_unchanged {
            file.is_changed = true;
            self.plane_lines.push((at, z, Some(digest)));
        }
    }

    fn fail_plane(&mut self, at: usize) {
        let Some((ticket, z)) = self.next_open(at) else { return };
        let file = &mut self.files[at];
        let is_dead = self.scratch.fail_plane(ticket, z, 2).is_dead;
        let attempts = file.attempts.entry(z).or_default();
        *attempts += 1;
        assert_eq!(is_dead, *attempts >= 2);
        if is_dead {
            file.open.remove(&z);
            if file.results.insert(z, None) != Some(None) {
                file.is_changed = true;
                self.plane_lines.push((at, z, None));
            }
        }
    }

    fn finish_file(&mut self, at: usize) {
        let file = &mut self.files[at];
        let Some((claimed, mtime_ns)) = file.claimed.clone() else { return };
        let handle = self.scratch.handle();
        let confirm = |reply| handle.confirm_file(claimed.ticket, stat(file.mtime_ns), reply);
        let confirmed = wait(confirm).unwrap();
        assert_eq!(confirmed.is_unchanged, mtime_ns == file.mtime_ns);
        if !confirmed.is_unchanged {
            let reopen = |reply| handle.reopen_file(claimed.ticket, "changed".into(), reply);
            // a file that was finished before it changed is not reopened
            if wait(reopen).is_ok() {
                file.results_mtime_ns = None;
            }
            file.claimed = None;
        } else if confirmed.file_ready {
            assert!(file.open.is_empty() && !file.is_handed_back);
            let finished = wait(|reply| handle.finish_file(claimed.ticket, Map::new(), reply)).unwrap();
            let is_rejected = file.results.values().all(Option::is_none);
            let outcome = if is_rejected { "rejected" } else { "done" };
            assert_eq!(finished.is_unchanged, !file.is_changed && file.last_outcome == Some(outcome));
            self.report_file(at, outcome);
        }
    }

    fn report_file(&mut self, at: usize, outcome: &'static str) {
        let file = &mut self.files[at];
        if file.is_changed || file.last_outcome != Some(outcome) {
            self.file_lines.push((at, outcome));
        }
        file.is_changed = false;
        file.last_outcome = Some(outcome);
    }

    fn reject(&mut self, at: usize) {
        let file = &mut self.files[at];
        let rejection = FileRejection {
            root_id: self.scratch.root_id,
            path: crate::paths::RelativePath::new(path(at)),
            stat: stat(file.mtime_ns),
            kind: "malformed".into(),
            reason: "expected a directory".into(),
        };
        wait(|reply| self.scratch.handle().reject_file(rejection, reply)).unwrap();
        file.is_changed |= !file.results.is_empty();
        *file = ModelFile {
            mtime_ns: file.mtime_ns,
            digests: file.digests.clone(),
            is_changed: file.is_changed,
            last_outcome: file.last_outcome,
            ..ModelFile::default()
        };
        self.report_file(at, "rejected as a whole");
    }

    /// Takes every file through as it is now, then compares everything.
    fn end(mut self) {
        for at in 0..self.files.len() {
            self.claim(at);
            while self.next_open(at).is_some() {
                self.finish_plane(at);
            }
            self.finish_file(at);
        }
        self.scratch.open();
        self.scratch.pump(sound(), true);
        self.check_lines();
        let groups = self.expected_groups();
        assert_eq!(self.groups_of_ledger(), groups);
        assert_eq!(self.groups_of_events(), groups);
        assert_eq!(self.scratch.reader().integrity_check().unwrap(), "ok");
    }

    fn check_lines(&self) {
        let lines = whole_lines(&self.scratch.text(Stream::Planes));
        let told: Vec<_> = lines
            .iter()
            .map(|line| format!("{} {} {}", line["file"], line["plane"], line["nuclei"]))
            .collect();
        let due: Vec<_> = self
            .plane_lines
            .iter()
            .map(|(at, z, digest)| {
                let nuclei = digest.map_or("null".to_owned(), |digest| digest.to_string());
                format!("\"{}\" \"{}\" {nuclei}", path(*at), plane(*z))
            })
            .collect();
        assert_eq!(told, due);
        let unique = |lines: &[Value], keys: &[&str]| {
            let named = |line: &Value| keys.iter().map(|key| line[key].to_string()).collect::<Vec<_>>();
            assert_eq!(lines.iter().map(named).collect::<BTreeSet<_>>().len(), lines.len());
        };
        unique(&lines, &["file", "version", "plane"]);
        let lines = whole_lines(&self.scratch.text(Stream::Files));
        unique(&lines, &["file", "version"]);
        let told: Vec<_> = lines.iter().map(|line| line["file"].as_str().unwrap().to_owned()).collect();
        assert_eq!(told, self.file_lines.iter().map(|(at, _)| path(*at)).collect::<Vec<_>>());
    }

    /// Members by digest, the representative first.
    fn expected_groups(&self) -> BTreeMap<u8, Vec<String>> {
        let mut members: BTreeMap<u8, Vec<(i64, usize, u32)>> = BTreeMap::new();
        for (at, file) in self.files.iter().enumerate() {
            for (z, digest) in file.digests.iter().enumerate().filter(|(_, digest)| **digest > 0) {
                // a plane that stays rejected is in no group
                if file.results[&(z as u32)].is_some() {
                    members.entry(*digest).or_default().push((file.mtime_ns, at, z as u32));
                }
            }
        }
        members.retain(|_, members| members.len() > 1);
        let named = |mut members: Vec<(i64, usize, u32)>| {
            members.sort_unstable();
            let mut names: Vec<_> =
                members.iter().map(|(_, at, z)| format!("{} {}", path(*at), plane(*z))).collect();
            names[1..].sort_unstable();
            names
        };
        members.into_iter().map(|(digest, members)| (digest, named(members))).collect()
    }

    fn groups_of_ledger(&self) -> BTreeMap<u8, Vec<String>> {
        let mut groups = BTreeMap::new();
        let visit = |group: GroupListing| {
            let mut members: Vec<_> = group
                .members
                .iter()
                .map(|member| {
                    let name = format!("{} {}", member.plane.path.to_report(), member.plane.index);
                    (member.relation.is_some(), name)
                })
                .collect();
            members.sort_unstable();
            let digest = u8::from_str_radix(&group.name[..2], 16).unwrap();
            groups.insert(digest, members.into_iter().map(|(_, name)| name).collect());
            Ok::<_, LedgerError>(())
        };
        self.scratch.reader().each_group(visit).unwrap();
        groups
    }

    /// The groups that a reader of `duplicates.jsonl` arrives at.
    fn groups_of_events(&self) -> BTreeMap<u8, Vec<String>> {
        let name = |member: &Value| {
            format!("{} {}", member["file"].as_str().unwrap(), member["plane"].as_str().unwrap())
        };
        let mut groups: BTreeMap<u8, (String, BTreeSet<String>)> = BTreeMap::new();
        for line in whole_lines(&self.scratch.text(Stream::Duplicates)) {
            let digest = u8::from_str_radix(&line["group"].as_str().unwrap()[..2], 16).unwrap();
            let (representative, members) = groups.entry(digest).or_default();
            match line["event"].as_str().unwrap() {
                "created" => {
                    *representative = name(&line["representative"]);
                    *members = line["members"].as_array().unwrap().iter().map(name).collect();
                }
                "member_added" => assert!(members.insert(name(&line["member"]))),
                "representative_changed" => *representative = name(&line["representative"]),
                "retracted" => assert!(members.remove(&name(&line["member"]))),
                other => panic!("{other}"),
            }
            if line["event"] == "retracted" && line["dissolved"] == true {
                groups.remove(&digest);
            } else {
                assert_eq!(line["n_members"], members.len());
            }
        }
        let listed = |(first, members): (String, BTreeSet<String>)| {
            let rest = members.into_iter().filter(|name| *name != first).collect::<Vec<_>>();
            [vec![first], rest].concat()
        };
        groups.into_iter().map(|(digest, group)| (digest, listed(group))).collect()
    }
}

proptest! {
    #![proptest_config(ProptestConfig { max_shrink_iters: 2000, ..ProptestConfig::with_cases(
        std::env::var("PROPTEST_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(48)
    ) })]

    #[test]
    fn ledger_and_reports_agree_with_the_model(actions in actions()) {
        let mut world = World::new();
        for action in &actions {
            world.act(action);
        }
        world.end();
    }
}

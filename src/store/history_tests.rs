//! What a reader of `duplicates.jsonl` arrives at: histories of planes, edges and verdicts.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::stars;
use super::test_support::Scratch;
use super::verdicts::tests::{MAPPED, edge, events, files, judge, pairs, save, text};
use crate::analysis::synthesis::Random;
use crate::analysis::verification::Relation;
use crate::reports::CurrentTables;
use crate::store::*;

/// The groups of `duplicates.jsonl` as its rule in the README says: by kind and name, the representative and the members.
/// A member of an exact group is a plane, one of a mapped group a class, for which a plane stands.
#[derive(Default)]
struct Replay {
    groups: BTreeMap<(String, String), (String, BTreeSet<String>)>,
    plane_of: BTreeMap<String, String>,
}

impl Replay {
    fn of(lines: &[Value]) -> Self {
        let mut replay = Self::default();
        for line in lines.iter().filter(|line| line["group"].is_string()) {
            replay.follow(line);
        }
        replay
    }

    /// What names a member: its plane, or its class. A plane is noted as the one that stands for a class.
    fn key(&mut self, line: &Value, report: &Value) -> String {
        let plane = format!("{} {}", text(&report["file"]), text(&report["plane"]));
        if line["kind"] == "exact" {
            return plane;
        }
        let class = text(&report["class"]);
        if report["file"].is_string() {
            self.plane_of.insert(class.clone(), plane);
        }
        class
    }

    fn follow(&mut self, line: &Value) {
        let at = |name: &str| (text(&line["kind"]), name.to_owned());
        let group = text(&line["group"]);
        let representative =
            line["representative"].is_object().then(|| self.key(line, &line["representative"]));
        match line["event"].as_str().unwrap() {
            "created" => {
                let members = line["members"].as_array().unwrap();
                let members = members.iter().map(|member| self.key(line, member)).collect();
                let created = self.groups.insert(at(&group), (representative.clone().unwrap(), members));
                assert!(created.is_none(), "{line}");
            }
            "member_added" => {
                let member = self.key(line, &line["member"]);
                assert!(self.groups.get_mut(&at(&group)).unwrap().1.insert(member), "{line}");
            }
            "representative_changed" => {
                let old = line["previous_group"].as_str().unwrap_or(&group).to_owned();
                let (_, members) = self.groups.remove(&at(&old)).unwrap();
                let changed = self.groups.insert(at(&group), (representative.clone().unwrap(), members));
                assert!(changed.is_none(), "{line}");
            }
            "merged" => {
                let (_, members) = self.groups.remove(&at(&text(&line["merged_group"]))).unwrap();
                self.groups.get_mut(&at(&group)).unwrap().1.extend(members);
            }
            "retracted" if line["dissolved"] == true => assert!(self.groups.remove(&at(&group)).is_some()),
            "retracted" => {
                let member = self.key(line, &line["member"]);
                assert!(self.groups.get_mut(&at(&group)).unwrap().1.remove(&member), "{line}");
            }
            other => panic!("{other}"),
        }
        if line["kind"] == "exact" {
            let stands = representative
                .or_else(|| line["remaining"].is_object().then(|| self.key(line, &line["remaining"])));
            self.plane_of.extend(stands.map(|plane| (group, plane)));
        }
    }

    /// Kind, name, representative and members of each group, as planes.
    fn listed(&self) -> Vec<(String, String, String, BTreeSet<String>)> {
        let named = |kind: &str, key: &String| {
            if kind == "exact" { key.clone() } else { self.plane_of[key].clone() }
        };
        let groups = self.groups.iter().map(|((kind, name), (representative, members))| {
            let members = members.iter().map(|member| named(kind, member)).collect();
            (kind.clone(), name.clone(), named(kind, representative), members)
        });
        groups.collect()
    }
}

/// The groups of `duplicate_groups.json`.
fn groups_of_table(scratch: &Scratch) -> Vec<(String, String, String, BTreeSet<String>)> {
    let folder = scratch.folder.path().join("current");
    std::fs::create_dir_all(&folder).unwrap();
    CurrentTables::new(&folder).refresh(&scratch.reader()).unwrap();
    let table = std::fs::read_to_string(folder.join("duplicate_groups.json")).unwrap();
    let table: Value = serde_json::from_str(&table).unwrap();
    let name = |member: &Value| format!("{} {}", text(&member["file"]), text(&member["plane"]));
    let listed = |group: &Value| {
        let members: Vec<_> = group["members"].as_array().unwrap().iter().map(name).collect();
        let n_members = members.len();
        let members: BTreeSet<_> = members.into_iter().collect();
        assert_eq!(members.len(), n_members, "each member once: {group}");
        (text(&group["kind"]), text(&group["group"]), name(&group["representative"]), members)
    };
    let mut groups: Vec<_> = table["groups"].as_array().unwrap().iter().map(listed).collect();
    groups.sort();
    groups
}

fn check(scratch: &Scratch) {
    assert_eq!(Replay::of(&scratch.lines(Stream::Duplicates)).listed(), groups_of_table(scratch));
}

#[test]
fn each_event_of_a_group_is_told_when_it_happens() {
    let scratch = files(4, &[]);
    let told = |n: &mut usize| {
        let events = events(&scratch);
        let new = events[*n..].to_vec();
        *n = events.len();
        check(&scratch);
        new
    };
    let mut n = 0;
    save(&scratch, &[edge(2, 3, MAPPED)]);
    assert_eq!(told(&mut n), ["created 02"]);
    save(&scratch, &[edge(2, 4, MAPPED)]);
    assert_eq!(told(&mut n), ["member_added 02 04"]);
    // an earlier plane of the same exposure
    save(&scratch, &[edge(1, 2, MAPPED), edge(1, 3, MAPPED), edge(1, 4, MAPPED)]);
    assert_eq!(told(&mut n), ["representative_changed 01 02", "member_added 01 01"]);
    save(&scratch, &[edge(1, 4, Relation::Distinct)]);
    assert_eq!(told(&mut n), ["retracted 01 04"]);
    // a second group, which then proves to be the same exposure
    scratch.take_through("e.tif", 5, &[5]);
    save(&scratch, &[edge(4, 5, MAPPED)]);
    assert_eq!(told(&mut n), ["created 04"]);
    save(&scratch, &[edge(1, 4, MAPPED), edge(1, 5, MAPPED)]);
    assert_eq!(told(&mut n), ["merged 01 04"]);
    // exact groups within: the class keeps its name, and another plane stands for it
    scratch.take_through("better b.tif", 0, &[2]);
    assert_eq!(told(&mut n)[0], "created 02");
    scratch.take_through("third b.tif", 7, &[2]);
    assert_eq!(told(&mut n), ["member_added 02"]);
    let leaves = scratch.claim("better b.tif", -5, 1).ticket;
    scratch.finish_plane(leaves, 0, 9);
    assert_eq!(told(&mut n)[..2], ["retracted 02", "representative_changed 02"]);
    scratch.take_through("b.tif", 1, &[8]);
    assert_eq!(told(&mut n)[0], "retracted 02 dissolved");
    // the representative goes, and the rest has no edge to go on with
    save(
        &scratch,
        &[edge(2, 3, Relation::Distinct), edge(2, 4, Relation::Distinct), edge(4, 5, Relation::Distinct)],
    );
    n = events(&scratch).len();
    scratch.take_through("a.tif", -1, &[11]);
    assert_eq!(told(&mut n), ["retracted 01 dissolved"]);
}

#[test]
fn the_better_plane_then_the_earlier_then_the_first_by_path_represents_exact_and_mapped_groups() {
    // (path, quality rank, modification time), the best first
    let ranked = [("z.tif", 2, 9), ("y.tif", 1, 3), ("b/x.tif", 1, 4), ("c/a.tif", 1, 4), ("a.tif", 0, 1)];
    for is_exact in [true, false] {
        for first in 0..ranked.len() {
            let scratch = Scratch::new();
            let mut order: Vec<_> = (0..ranked.len()).collect();
            order.rotate_left(first);
            for at in order {
                let (path, quality_rank, mtime_ns) = ranked[at];
                let request = FileClaim { quality_rank, ..scratch.file_claim(path, mtime_ns, 1) };
                let ticket = wait(|reply| scratch.handle().claim_file(request, reply)).unwrap().ticket;
                scratch.finish_plane(ticket, 0, if is_exact { 1 } else { at as u8 + 1 });
                if !is_exact {
                    let others = (1..=ranked.len() as u8).filter(|other| *other != at as u8 + 1);
                    save(
                        &scratch,
                        &others.map(|other| edge(at as u8 + 1, other, MAPPED)).collect::<Vec<_>>(),
                    );
                }
            }
            // the representatives as the better ones go
            for best in 0..ranked.len() - 1 {
                let groups = groups_of_table(&scratch);
                let [(_, _, representative, members)] = &groups[..] else { panic!("{groups:?}") };
                assert_eq!(representative.split(' ').next().unwrap(), ranked[best].0, "first came {first}");
                assert_eq!(members.len(), ranked.len() - best);
                scratch.take_through(ranked[best].0, 100, &[100 + best as u8]);
            }
            assert!(groups_of_table(&scratch).is_empty());
            check(&scratch);
        }
    }
}

/// What happens in a history, drawn at random.
struct World {
    scratch: Scratch,
    random: Random,
    mtime_ns: i64,
    verdicts: BTreeMap<(u8, u8), OperatorVerdict>,
}

const N_DIGESTS: usize = 9;

impl World {
    fn below(&mut self, n: usize) -> usize {
        (self.random.uniform() * n as f64) as usize
    }

    fn digest(&mut self) -> u8 {
        self.below(N_DIGESTS) as u8 + 1
    }

    fn pair(&mut self) -> Option<(u8, u8)> {
        let (a, b) = (self.digest(), self.digest());
        (a != b).then_some((a.min(b), a.max(b)))
    }

    fn edges(&mut self, n: usize) -> Vec<Edge> {
        use Relation::{Distinct, PartialOverlap, Reacquired, SameExposureLossy};
        let relations = [MAPPED, MAPPED, MAPPED, SameExposureLossy, Reacquired, PartialOverlap, Distinct];
        let mut edges = Vec::new();
        for _ in 0..n {
            let relation = relations[self.below(relations.len())];
            let version = 1 + self.below(3) as u32;
            edges.extend(self.pair().map(|(a, b)| Edge { version, ..edge(a, b, relation) }));
        }
        edges
    }

    /// One of a few files comes, comes back with other planes, grows, is cut, or fails.
    fn take(&mut self) {
        self.mtime_ns += 1;
        let path = format!("{}.tif", self.below(7));
        let n_planes = 1 + self.below(3) as u32;
        let mtime_ns = if self.below(3) == 0 { self.below(4) as i64 } else { self.mtime_ns };
        let well = Some(format!("B0{}", self.below(2)));
        let identity =
            if self.below(4) == 0 { Identity { well, ..Identity::default() } } else { Identity::default() };
        let request = FileClaim {
            quality_rank: self.below(3) as i64,
            identity,
            ..self.scratch.file_claim(&path, mtime_ns, n_planes)
        };
        let claimed = wait(|reply| self.scratch.handle().claim_file(request, reply)).unwrap();
        for z in 0..n_planes {
            let (digest, edges) = (self.digest(), self.edges(2));
            match self.below(8) {
                0 => drop(self.scratch.fail_plane(claimed.ticket, z, 1)),
                1 => {
                    let blank = Some("constant".to_owned());
                    let done = PlaneDone { blank, ..self.scratch.done(claimed.ticket, z, 200) };
                    wait(|reply| self.scratch.handle().finish_plane(done, reply)).unwrap();
                }
                // left undone
                2 => {}
                _ => {
                    save(&self.scratch, &edges);
                    self.scratch.finish_plane(claimed.ticket, z, digest);
                }
            }
        }
    }

    fn step(&mut self) {
        match self.below(10) {
            0..4 => self.take(),
            4..6 => {
                let edges = self.edges(3);
                save(&self.scratch, &edges);
            }
            6..9 => {
                let words = [Some(OperatorVerdict::Same), Some(OperatorVerdict::NotDuplicate), None];
                let says = words[self.below(3)];
                let Some(pair) = self.pair() else { return };
                if judge(&self.scratch, pair, says).is_ok() {
                    match says {
                        Some(says) => self.verdicts.insert(pair, says),
                        None => self.verdicts.remove(&pair),
                    };
                }
            }
            _ => {
                let path = format!("{}.tif", self.below(7));
                self.scratch.note(&path, self.mtime_ns, FileState::Vanished, "gone");
                if self.below(3) == 0 {
                    self.scratch.open();
                }
            }
        }
    }

    /// Verdicts are obeyed, and what is kept step by step is what follows from everything at once.
    fn check(&self) {
        let reader = self.scratch.reader();
        let session = reader.session();
        let all = session.rows("SELECT digest FROM plane WHERE is_live = 1", [], |row| row.get(0)).unwrap();
        let live: BTreeSet<PixelDigest> = all.into_iter().collect();
        let (standing, due) = stars::standing_and_due(&session, live.clone()).unwrap();
        assert_eq!(standing, due);
        let star = |digest: u8| standing.iter().find(|(_, members)| members.contains(&[digest; 32]));
        for ((a, b), says) in &self.verdicts {
            let is_one = star(*a).is_some() && star(*a) == star(*b);
            match says {
                OperatorVerdict::NotDuplicate => assert!(!is_one, "{a} {b}"),
                OperatorVerdict::Same => {
                    let is_live = [a, b].iter().all(|digest| live.contains(&[**digest; 32]));
                    assert_eq!(is_one, is_live, "{a} {b}");
                }
            }
        }
        check(&self.scratch);
        pairs(&self.scratch);
    }
}

#[test]
fn the_events_from_the_start_give_the_groups_as_they_stand() {
    let mut n_events = BTreeMap::<String, usize>::new();
    for seed in 0..24 {
        let random = Random::new(seed);
        let mut world = World { scratch: Scratch::new(), random, mtime_ns: 10, verdicts: BTreeMap::new() };
        for n in 0..60 {
            world.step();
            if n % 4 == 0 {
                world.check();
            }
        }
        world.check();
        for line in world.scratch.lines(Stream::Duplicates) {
            *n_events.entry(format!("{} {}", text(&line["kind"]), text(&line["event"]))).or_default() += 1;
        }
    }
    // every event was seen
    let mapped = ["created", "member_added", "representative_changed", "merged", "retracted"];
    let exact = ["created", "member_added", "representative_changed", "retracted"];
    let expected = mapped.map(|event| format!("mapped {event}")).into_iter();
    for event in expected.chain(exact.map(|event| format!("exact {event}"))) {
        assert!(n_events.get(&event).is_some_and(|n| *n >= 20), "{event}: {n_events:?}");
    }
}

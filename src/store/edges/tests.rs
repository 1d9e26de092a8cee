use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::*;
use crate::analysis::synthesis::Random;
use crate::store::test_support::{Scratch, plane};
use crate::store::{ClaimedPlane, FileClaim, FileTicket, Identity, PlaneDone, wait};

/// A file of one plane, or of a time series, by the first byte of each plane's digest.
#[derive(Clone)]
struct Planted {
    path: &'static str,
    mtime_ns: i64,
    quality_rank: i64,
    identity: Identity,
    digests: &'static [u8],
}

fn planted(path: &'static str, mtime_ns: i64, digests: &'static [u8]) -> Planted {
    Planted { path, mtime_ns, quality_rank: 0, identity: Identity::default(), digests }
}

fn edge(a: u8, b: u8, relation: Relation) -> Edge {
    Edge {
        a: [a.min(b); 32],
        b: [a.max(b); 32],
        relation,
        confidence: 0.5,
        s: Some(0.9),
        r: None,
        q: Some(f32::from(a.abs_diff(b)) / 100.0),
        b_in_a: Some(Placement { orientation: 1, scale: 1.0, shift_row_px: 0.5, shift_column_px: -2.0 }),
        a_in_b: Some(Placement { orientation: 3, scale: 1.0, shift_row_px: 2.0, shift_column_px: -0.5 }),
        reason: "drawn".into(),
        version: 1,
    }
}

/// Takes a file through; each plane brings the edges to what has come before.
fn take(scratch: &Scratch, file: &Planted, edges: &[Edge], seen: &mut BTreeSet<u8>) -> FileTicket {
    let several = file.digests.len() > 1;
    let claimed = |z: u32| ClaimedPlane {
        index: plane(z),
        identity: Identity { z: several.then_some(z.into()), ..file.identity.clone() },
        ..ClaimedPlane::default()
    };
    let request = FileClaim {
        quality_rank: file.quality_rank,
        planes: (0..file.digests.len() as u32).map(claimed).collect(),
        ..scratch.file_claim(file.path, file.mtime_ns, 1)
    };
    let ticket = wait(|reply| scratch.handle().claim_file(request, reply)).unwrap().ticket;
    for (z, digest) in file.digests.iter().enumerate() {
        let is_new = |edge: &&Edge| {
            let (a, b) = (edge.a[0], edge.b[0]);
            (a == *digest && seen.contains(&b)) || (b == *digest && seen.contains(&a))
        };
        save_edges(scratch, edges.iter().filter(is_new).cloned().collect());
        scratch.finish_plane(ticket, z as u32, *digest);
        seen.insert(*digest);
    }
    scratch.finish_file(ticket, file.mtime_ns);
    ticket
}

fn save_edges(scratch: &Scratch, edges: Vec<Edge>) {
    wait(|reply| scratch.handle().save_edges(edges, reply)).unwrap();
}

fn take_all(files: &[Planted], edges: &[Edge]) -> Scratch {
    let scratch = Scratch::new();
    let mut seen = BTreeSet::new();
    for file in files {
        take(&scratch, file, edges, &mut seen);
    }
    scratch
}

/// Every row of pairs as `a b relation`.
fn pairs(scratch: &Scratch) -> Vec<String> {
    let mut rows = Vec::new();
    let visit = |pair: crate::store::PairListing| {
        let name = |plane: &crate::store::PlaneName| {
            let index = if plane.index.z > 0 { format!(":{}", plane.index.z) } else { String::new() };
            format!("{}{index}", plane.path.to_report())
        };
        rows.push(format!("{} {} {}", name(&pair.a), name(&pair.b), pair.relation));
        Ok::<_, LedgerError>(())
    };
    scratch.reader().each_pair(visit).unwrap();
    assert_eq!(scratch.reader().counts().unwrap().pairs as usize, rows.len(), "{rows:?}");
    rows
}

/// The mapped groups that a reader of `duplicates.jsonl` arrives at, by the classes of their members.
fn groups_of_events(scratch: &Scratch) -> BTreeMap<String, BTreeSet<String>> {
    let class = |report: &Value| report["class"].as_str().unwrap().to_owned();
    let mut groups: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for line in scratch.lines(Stream::Duplicates) {
        if line["kind"] != MAPPED_KIND {
            continue;
        }
        let name = line["group"].as_str().unwrap().to_owned();
        match line["event"].as_str().unwrap() {
            "created" => {
                let members = line["members"].as_array().unwrap().iter().map(class).collect();
                assert!(groups.insert(name, members).is_none());
            }
            "member_added" => assert!(groups.get_mut(&name).unwrap().insert(class(&line["member"]))),
            "representative_changed" => {
                let members = groups.remove(line["previous_group"].as_str().unwrap()).unwrap();
                groups.insert(name, members);
            }
            "merged" => {
                let members = groups.remove(line["merged_group"].as_str().unwrap()).unwrap();
                groups.get_mut(&name).unwrap().extend(members);
            }
            "retracted" if line["dissolved"] == true => assert!(groups.remove(&name).is_some()),
            "retracted" => assert!(groups.get_mut(&name).unwrap().remove(&class(&line["member"]))),
            other => panic!("{other}"),
        }
    }
    groups
}

const MAPPED_KIND: &str = "mapped";

fn groups_of_ledger(scratch: &Scratch) -> BTreeMap<String, BTreeSet<String>> {
    let reader = scratch.reader();
    let mut statement = reader.connection.prepare("SELECT star, digest FROM star_member").unwrap();
    let mut groups: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).unwrap();
    for row in rows {
        let (star, digest): (PixelDigest, PixelDigest) = row.unwrap();
        groups.entry(group_name(&star)).or_default().insert(group_name(&digest));
    }
    groups
}

const MAPPED_RELATION: Relation = Relation::SameExposureMapped;

#[test]
fn a_chain_does_not_join_what_nobody_compared() {
    let files = [planted("a.tif", 1, &[1]), planted("b.tif", 2, &[2]), planted("c.tif", 3, &[3])];
    let edges = [edge(1, 2, MAPPED_RELATION), edge(2, 3, Relation::SameExposureLossy)];
    let scratch = take_all(&files, &edges);
    assert_eq!(pairs(&scratch), ["a.tif b.tif same_exposure_mapped"]);
    // the middle one is the better original: then both are its copies
    let better = Planted { quality_rank: 1, ..files[1].clone() };
    let scratch = take_all(&[files[2].clone(), files[0].clone(), better], &edges);
    assert_eq!(pairs(&scratch), ["b.tif a.tif same_exposure_mapped", "b.tif c.tif same_exposure_lossy"]);
}

#[test]
fn evidence_is_seen_from_the_representative() {
    let edges = [edge(1, 2, MAPPED_RELATION)];
    for (first, orientation) in [(1, 1), (2, 3)] {
        let files = [planted("a.tif", if first == 1 { 1 } else { 3 }, &[1]), planted("b.tif", 2, &[2])];
        let scratch = take_all(&files, &edges);
        let mut placements = Vec::new();
        let visit = |pair: crate::store::PairListing| {
            placements.push(pair.evidence.placement.unwrap().orientation);
            Ok::<_, LedgerError>(())
        };
        scratch.reader().each_pair(visit).unwrap();
        assert_eq!(placements, [orientation]);
    }
}

#[test]
fn flags_stand_between_groups_once_and_never_within_one() {
    let files = [
        planted("a.tif", 1, &[1]),
        planted("b.tif", 2, &[2]),
        planted("x.tif", 3, &[3]),
        planted("y.tif", 4, &[4]),
        planted("copy of y.tif", 5, &[4]),
    ];
    let edges = [
        edge(1, 2, MAPPED_RELATION),
        edge(3, 4, MAPPED_RELATION),
        edge(2, 3, Relation::Uncertain),
        edge(2, 4, Relation::Reacquired),
        edge(1, 4, Relation::Reacquired),
    ];
    let scratch = take_all(&files, &edges);
    let expected = [
        "y.tif copy of y.tif identical_pixels",
        "a.tif b.tif same_exposure_mapped",
        "x.tif y.tif same_exposure_mapped",
        "a.tif x.tif reacquired",
    ];
    assert_eq!(pairs(&scratch), expected);
    let flagged = scratch.brief(Stream::Duplicates, &["event", "relation"]);
    assert_eq!(flagged.iter().filter(|line| *line == "flagged reacquired").count(), 2, "{flagged:?}");
    let within = [edges.as_slice(), &[edge(2, 3, MAPPED_RELATION), edge(1, 3, MAPPED_RELATION)]].concat();
    let within: Vec<_> = within.into_iter().filter(|edge| edge.relation != Relation::Uncertain).collect();
    assert_eq!(pairs(&take_all(&files[..3], &within)).len(), 2, "one group, no flag");
}

#[test]
fn a_plane_that_is_replaced_takes_its_edges_out_of_count() {
    let files = [planted("a.tif", 1, &[1]), planted("b.tif", 2, &[2]), planted("c.tif", 3, &[3])];
    let edges = [edge(1, 2, MAPPED_RELATION), edge(1, 3, MAPPED_RELATION), edge(2, 3, Relation::Reacquired)];
    let scratch = take_all(&files, &edges);
    let mut seen = BTreeSet::from([1, 2, 3]);
    take(&scratch, &planted("a.tif", 9, &[9]), &[], &mut seen);
    assert_eq!(pairs(&scratch), ["b.tif c.tif reacquired"]);
    assert!(groups_of_events(&scratch).is_empty());
    // and back again, without the pair being brought a second time
    take(&scratch, &planted("a.tif", 1, &[1]), &[], &mut BTreeSet::new());
    assert_eq!(pairs(&scratch), ["a.tif b.tif same_exposure_mapped", "a.tif c.tif same_exposure_mapped"]);
    assert_eq!(groups_of_events(&scratch), groups_of_ledger(&scratch));
}

#[test]
fn a_verdict_of_nothing_takes_an_earlier_one_back_and_one_that_was_not_read_stays_behind() {
    let files = [planted("a.tif", 1, &[1]), planted("b.tif", 2, &[2])];
    let unread = Edge { version: 0, ..edge(1, 2, Relation::Uncertain) };
    let scratch = take_all(&files, std::slice::from_ref(&unread));
    assert_eq!(pairs(&scratch), ["a.tif b.tif uncertain"]);
    let again = |path, edge: &Edge| {
        take(&scratch, &planted(path, 5, &[2]), std::slice::from_ref(edge), &mut BTreeSet::from([1]));
    };
    again("c.tif", &edge(1, 2, Relation::Reacquired));
    again("d.tif", &unread);
    assert!(pairs(&scratch).contains(&"a.tif b.tif reacquired".to_owned()));
    again("e.tif", &edge(1, 2, Relation::Distinct));
    assert!(!pairs(&scratch).iter().any(|pair| pair.contains("a.tif")));
    let flags = scratch.brief(Stream::Duplicates, &["event", "relation"]);
    let flags: Vec<_> = flags.iter().filter(|line| line.contains("flagged")).collect();
    let expected = ["flagged uncertain", "unflagged uncertain", "flagged reacquired", "unflagged reacquired"];
    assert_eq!(flags, expected);
}

#[test]
fn stuck_frames_are_told_once_and_never_for_files_that_a_vendor_repeats() {
    let series = planted("run.nd2", 1, &[1, 1, 2, 3, 3]);
    let edges = [edge(2, 3, MAPPED_RELATION)];
    let scratch = take_all(&[series], &edges);
    let expected = [
        "run.nd2 run.nd2:1 stuck_frame",
        "run.nd2:3 run.nd2:4 stuck_frame",
        "run.nd2:2 run.nd2:3 stuck_frame",
    ];
    assert_eq!(pairs(&scratch), expected);
    let alerts = scratch.brief(Stream::Alerts, &["kind", "plane", "is_exact"]);
    let expected = ["stuck_frame t0p0z1c0 true", "stuck_frame t0p0z3c0 false", "stuck_frame t0p0z4c0 true"];
    assert_eq!(alerts, expected);

    let scratch = Scratch::new();
    let well = |t| Identity { well: Some("B02".into()), t: Some(t), ..Identity::default() };
    let file = |path, t| Planted { identity: well(t), ..planted(path, t, &[7]) };
    let first = take(&scratch, &file("TimePoint_1/B02.tif", 1), &[], &mut BTreeSet::new());
    let second = scratch.file_claim("TimePoint_2/B02.tif", 2, 1);
    let claimed = ClaimedPlane { identity: well(2), ..ClaimedPlane::default() };
    let request = FileClaim { planes: vec![claimed], ..second };
    let ticket = wait(|reply| scratch.handle().claim_file(request, reply)).unwrap().ticket;
    let found =
        crate::store::ExactMatch { other_file_id: first.file_id, other_index: plane(0), same_bytes: true };
    let done = PlaneDone { matches: vec![found], ..scratch.done(ticket, 0, 7) };
    wait(|reply| scratch.handle().finish_plane(done, reply)).unwrap();
    assert!(scratch.lines(Stream::Alerts).is_empty());
    let mut reasons = Vec::new();
    let visit = |pair: crate::store::PairListing| {
        reasons.push((pair.relation, pair.reason));
        Ok::<_, LedgerError>(())
    };
    scratch.reader().each_pair(visit).unwrap();
    assert_eq!(reasons, [("identical_file", Some("vendor_layout".to_owned()))]);
    // the same pixels written anew are a repeated frame
    take(&scratch, &file("TimePoint_3/B02.tif", 3), &[], &mut BTreeSet::new());
    assert_eq!(scratch.brief(Stream::Alerts, &["kind"]), ["stuck_frame"]);
}

#[test]
fn repeats_that_come_at_one_pace_are_told_as_such() {
    let periods = |digests: &'static [u8]| {
        let scratch = take_all(&[planted("run.nd2", 1, digests)], &[]);
        scratch.brief(Stream::Alerts, &["plane", "period"])
    };
    let expected = ["t0p0z1c0 null", "t0p0z4c0 null", "t0p0z7c0 3", "t0p0z10c0 3"];
    assert_eq!(periods(&[1, 1, 2, 3, 3, 4, 5, 5, 6, 7, 7]), expected);
    let expected = ["t0p0z1c0 null", "t0p0z3c0 null", "t0p0z6c0 null"];
    assert_eq!(periods(&[1, 1, 2, 2, 3, 4, 4]), expected, "at no one pace");
    let expected = ["t0p0z1c0 null", "t0p0z2c0 null", "t0p0z3c0 null"];
    assert_eq!(periods(&[1, 1, 1, 1]), expected, "one frame that stays");
}

#[test]
fn a_copy_that_changes_no_edge_and_no_representative_leaves_the_groups_alone() {
    let files = [planted("a.tif", 1, &[1]), planted("b.tif", 2, &[2])];
    let scratch = take_all(&files, &[edge(1, 2, MAPPED_RELATION)]);
    let copy = |path, mtime_ns| take(&scratch, &planted(path, mtime_ns, &[2]), &[], &mut BTreeSet::new());
    // only whoever makes the groups anew will see that one is lost
    let path = scratch.state_dir().join(crate::store::DATABASE_FILE);
    rusqlite::Connection::open(path).unwrap().execute("DELETE FROM star_member", []).unwrap();
    copy("later.tif", 5);
    assert!(groups_of_ledger(&scratch).is_empty());
    copy("earlier.tif", 0);
    assert_eq!(groups_of_ledger(&scratch).len(), 1);
    assert_eq!(pairs(&scratch).last().unwrap(), "earlier.tif a.tif same_exposure_mapped");
}

/// Any order of arrival, with copies, series, groups and flags drawn at random, gives the same rows, and the events lead to
/// the groups as they stand.
#[test]
fn what_counts_does_not_depend_on_the_order_of_arrival() {
    let relations = [
        MAPPED_RELATION,
        MAPPED_RELATION,
        Relation::SameExposureLossy,
        Relation::Reacquired,
        Relation::Uncertain,
    ];
    let mut n_rows = 0;
    for seed in 0..12 {
        let mut random = Random::new(seed);
        let mut below = |n: usize| (random.uniform() * n as f64) as usize;
        let mut edges = Vec::new();
        for b in 1..9_u8 {
            for a in 0..b {
                if below(3) == 0 {
                    edges.push(edge(a, b, relations[below(relations.len())]));
                }
            }
        }
        const FILES: [(&str, &[u8]); 9] = [
            ("a", &[0]),
            ("b", &[1]),
            ("c", &[2, 3]),
            ("d", &[4]),
            ("e", &[5]),
            ("f", &[6, 6, 7]),
            ("g", &[8]),
            ("copy1", &[4]),
            ("copy2", &[1]),
        ];
        let well =
            |n: usize| Identity { well: Some(format!("B0{n}")), t: Some(n as i64), ..Identity::default() };
        let mut files: Vec<_> = FILES
            .iter()
            .map(|(path, digests)| {
                let quality_rank = below(3) as i64;
                let identity = if below(2) == 0 { well(below(3)) } else { Identity::default() };
                Planted { quality_rank, identity, ..planted(path, below(4) as i64, digests) }
            })
            .collect();
        let mut expected: Option<Vec<String>> = None;
        for _ in 0..4 {
            let scratch = take_all(&files, &edges);
            let rows = pairs(&scratch);
            assert_eq!(groups_of_events(&scratch), groups_of_ledger(&scratch), "seed {seed}");
            n_rows += rows.len();
            assert_eq!(expected.get_or_insert_with(|| rows.clone()), &rows, "seed {seed}");
            for at in (1..files.len()).rev() {
                files.swap(at, below(at + 1));
            }
        }
    }
    assert!(n_rows > 200, "{n_rows}");
}

/// A container of which nothing says yet that its planes are a series.
fn claim_growing(scratch: &Scratch, n_planes: u32) -> FileTicket {
    let request = FileClaim { is_complete: false, ..scratch.file_claim("run.tif", 1, n_planes) };
    wait(|reply| scratch.handle().claim_file(request, reply)).unwrap().ticket
}

/// The same, complete, as a series of focus steps.
fn claim_complete(scratch: &Scratch, n_planes: u32) {
    let claimed = |z: u32| ClaimedPlane {
        index: plane(z),
        identity: Identity { z: Some(z.into()), ..Identity::default() },
        ..ClaimedPlane::default()
    };
    let planes = (0..n_planes).map(claimed).collect();
    let request = FileClaim { planes, only_grew: true, ..scratch.file_claim("run.tif", 2, n_planes) };
    wait(|reply| scratch.handle().claim_file(request, reply)).unwrap();
}

#[test]
fn stuck_frames_are_found_when_a_container_says_at_its_end_that_it_is_a_series() {
    let scratch = Scratch::new();
    let ticket = claim_growing(&scratch, 4);
    for (z, digest) in [1, 1, 2, 3].into_iter().enumerate() {
        scratch.finish_plane(ticket, z as u32, digest);
    }
    save_edges(&scratch, vec![edge(2, 3, MAPPED_RELATION)]);
    assert!(scratch.lines(Stream::Alerts).is_empty());
    claim_complete(&scratch, 4);
    let alerts = scratch.brief(Stream::Alerts, &["kind", "plane", "is_exact"]);
    assert_eq!(alerts, ["stuck_frame t0p0z1c0 true", "stuck_frame t0p0z3c0 false"]);
    let mut stacked = Vec::new();
    scratch.reader().known_planes(|plane| stacked.push((plane.place.z, plane.place.is_stacked))).unwrap();
    stacked.sort_unstable();
    assert_eq!(stacked, [(0, true), (1, true), (2, true), (3, true)]);
}

#[test]
fn what_counts_follows_the_place_that_a_container_states_at_its_end() {
    let well = |z| Identity { well: Some("B02".into()), z, ..Identity::default() };
    let scratch = Scratch::new();
    let single = Planted { identity: well(Some(0)), ..planted("B02.tif", 1, &[1]) };
    take(&scratch, &single, &[], &mut BTreeSet::new());
    let claim = |is_complete, z, mtime_ns| {
        let claimed = ClaimedPlane { index: plane(0), identity: well(z), ..ClaimedPlane::default() };
        let only_grew = is_complete;
        let file = scratch.file_claim("B02_b.tif", mtime_ns, 1);
        let request = FileClaim { planes: vec![claimed], is_complete, only_grew, ..file };
        wait(|reply| scratch.handle().claim_file(request, reply)).unwrap().ticket
    };
    let ticket = claim(false, None, 2);
    save_edges(&scratch, vec![edge(1, 2, Relation::Reacquired)]);
    scratch.finish_plane(ticket, 0, 2);
    assert_eq!(pairs(&scratch), ["B02.tif B02_b.tif reacquired"]);
    claim(true, Some(1), 3);
    assert!(pairs(&scratch).is_empty(), "the next focus step is expected to look alike");
}

#[test]
fn stuck_frames_are_found_by_edges_that_come_after_their_planes() {
    let scratch = Scratch::new();
    take(&scratch, &planted("run.nd2", 1, &[1, 2, 3]), &[], &mut BTreeSet::new());
    assert!(scratch.lines(Stream::Alerts).is_empty());
    save_edges(&scratch, vec![edge(1, 2, MAPPED_RELATION)]);
    assert_eq!(scratch.brief(Stream::Alerts, &["kind", "plane"]), ["stuck_frame t0p0z1c0"]);
}

#[test]
fn edges_that_come_after_their_planes_count_like_others_and_once() {
    let files = [planted("a.tif", 1, &[1]), planted("b.tif", 2, &[2]), planted("run.nd2", 3, &[3, 4])];
    let scratch = take_all(&files, &[]);
    let edges =
        vec![edge(1, 2, MAPPED_RELATION), edge(1, 3, Relation::Reacquired), edge(3, 4, MAPPED_RELATION)];
    for _ in 0..2 {
        save_edges(&scratch, edges.clone());
        let expected =
            ["a.tif b.tif same_exposure_mapped", "a.tif run.nd2 reacquired", "run.nd2 run.nd2:1 stuck_frame"];
        assert_eq!(pairs(&scratch), expected);
        assert_eq!(scratch.brief(Stream::Duplicates, &["event"]), ["created", "flagged"]);
        assert_eq!(scratch.brief(Stream::Alerts, &["kind"]), ["stuck_frame"]);
    }
    let with = |version, byte| scratch.reader().verified_with(version, &[byte; 32]).unwrap();
    let version = edges[0].version;
    assert_eq!((with(version, 3), with(version + 1, 3)), (vec![[4; 32], [1; 32]], vec![]), "either side");
}

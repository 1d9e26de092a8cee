use serde_json::Value;

use super::*;
use crate::analysis::verification::Relation;
use crate::store::test_support::{Scratch, plane};
use crate::store::*;

pub(in crate::store) const MAPPED: Relation = Relation::SameExposureMapped;

pub(in crate::store) fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

pub(in crate::store) fn edge(a: u8, b: u8, relation: Relation) -> Edge {
    Edge {
        a: [a.min(b); 32],
        b: [a.max(b); 32],
        relation,
        confidence: 0.5,
        s: Some(0.9),
        r: None,
        q: None,
        b_in_a: None,
        a_in_b: None,
        reason: "drawn".into(),
        version: 1,
    }
}

pub(in crate::store) fn judge(
    scratch: &Scratch,
    (a, b): (u8, u8),
    says: Option<OperatorVerdict>,
) -> Result<Option<OperatorVerdict>, LedgerError> {
    wait(|reply| scratch.handle().judge([[a; 32], [b; 32]], says, reply))
}

pub(in crate::store) fn save(scratch: &Scratch, edges: &[Edge]) {
    wait(|reply| scratch.handle().save_edges(edges.to_vec(), reply)).unwrap();
}

/// Files `a.tif`, `b.tif` and so on of the pixels 1, 2 and so on, the earliest first, with these edges.
pub(in crate::store) fn files(n: u8, edges: &[Edge]) -> Scratch {
    let scratch = Scratch::new();
    for at in 1..=n {
        scratch.take_through(&file_of(at), at.into(), &[at]);
    }
    save(&scratch, edges);
    scratch
}

pub(in crate::store) fn file_of(digest: u8) -> String {
    format!("{}.tif", char::from(b'a' + digest - 1))
}

/// The rows of pairs as `a b relation reason`.
pub(in crate::store) fn pairs(scratch: &Scratch) -> Vec<String> {
    let mut rows = Vec::new();
    let visit = |pair: PairListing| {
        let [a, b] = [&pair.a, &pair.b].map(|plane| plane.path.to_report());
        rows.push(format!("{a} {b} {} {}", pair.relation, pair.reason.as_deref().unwrap_or("-")));
        Ok::<_, LedgerError>(())
    };
    scratch.reader().each_pair(visit).unwrap();
    assert_eq!(scratch.reader().counts().unwrap().pairs as usize, rows.len(), "{rows:?}");
    rows
}

/// The events as `event group` with the first two digits of a group, and what else is of interest.
pub(in crate::store) fn events(scratch: &Scratch) -> Vec<String> {
    let name = |value: &Value| value.as_str().map(|name| name[..2].to_owned()).unwrap_or_default();
    let brief = |line: &Value| {
        let mut words = vec![text(&line["event"]), name(&line["group"])];
        words.extend(["merged_group", "previous_group"].map(|key| name(&line[key])));
        words.push(name(&line["member"]["class"]));
        words.push(if line["dissolved"] == true { "dissolved".into() } else { String::new() });
        words.retain(|word| !word.is_empty());
        words.join(" ")
    };
    scratch.lines(Stream::Duplicates).iter().map(brief).collect()
}

#[test]
fn what_is_no_duplicate_leaves_the_group_for_ever_whatever_leads_there() {
    let edges = [edge(1, 2, MAPPED), edge(1, 3, MAPPED), edge(2, 3, MAPPED)];
    let mut scratch = files(3, &edges);
    let not = Some(OperatorVerdict::NotDuplicate);
    assert_eq!(judge(&scratch, (3, 2), not).unwrap(), None);
    // both are copies of a.tif; the better of the two stays
    assert_eq!(pairs(&scratch), ["a.tif b.tif same_exposure_mapped -"]);
    assert_eq!(judge(&scratch, (1, 2), not).unwrap(), None);
    assert_eq!(pairs(&scratch), ["a.tif c.tif same_exposure_mapped -"]);
    assert_eq!(judge(&scratch, (2, 1), not).unwrap(), not, "known by now, in either order");
    // a copy under another name, a restart, and the same evidence once more
    scratch.open();
    scratch.take_through("renamed b.tif", 9, &[2]);
    save(&scratch, &[Edge { version: 2, ..edge(1, 2, MAPPED) }]);
    let expected = ["b.tif renamed b.tif identical_pixels -", "a.tif c.tif same_exposure_mapped -"];
    assert_eq!(pairs(&scratch), expected);
    assert_eq!(judge(&scratch, (1, 2), None).unwrap(), not);
    assert_eq!(pairs(&scratch)[1..], ["a.tif b.tif same_exposure_mapped -"], "forgotten");
}

#[test]
fn what_is_no_duplicate_is_not_flagged() {
    let edges = [edge(1, 2, Relation::Reacquired), edge(1, 4, MAPPED), edge(2, 4, Relation::Reacquired)];
    let scratch = files(4, &edges);
    assert_eq!(pairs(&scratch), ["a.tif d.tif same_exposure_mapped -", "a.tif b.tif reacquired drawn"]);
    judge(&scratch, (1, 2), Some(OperatorVerdict::NotDuplicate)).unwrap();
    // nor by what another member of the group is to b.tif
    assert_eq!(pairs(&scratch), ["a.tif d.tif same_exposure_mapped -"]);
    assert!(events(&scratch).contains(&"unflagged".to_owned()));
    judge(&scratch, (1, 2), None).unwrap();
    assert_eq!(pairs(&scratch).len(), 2);
}

#[test]
fn what_is_the_same_stands_in_one_group_with_the_operator_as_reason() {
    let same = Some(OperatorVerdict::Same);
    let scratch = files(5, &[edge(1, 2, Relation::Reacquired), edge(3, 4, MAPPED)]);
    judge(&scratch, (1, 2), same).unwrap();
    let declared = ["a.tif b.tif declared_same operator", "c.tif d.tif same_exposure_mapped -"];
    assert_eq!(pairs(&scratch), declared, "and flagged no longer");
    assert_eq!(scratch.lines(Stream::Duplicates).last().unwrap()["event"], "unflagged");
    judge(&scratch, (3, 4), same).unwrap();
    assert_eq!(pairs(&scratch)[1], "c.tif d.tif same_exposure_mapped operator");
    // through d.tif, which is a copy of c.tif, e.tif joins; so do the two above
    judge(&scratch, (5, 4), same).unwrap();
    judge(&scratch, (4, 2), same).unwrap();
    let all = ["b", "c", "d", "e"].map(|name| format!("a.tif {name}.tif declared_same operator"));
    assert_eq!(pairs(&scratch), all);
    assert_eq!(events(&scratch).iter().filter(|event| event.starts_with("merged")).count(), 1);
    judge(&scratch, (2, 1), None).unwrap();
    assert_eq!(pairs(&scratch).len(), 4, "b.tif, c.tif, d.tif and e.tif; a.tif is flagged again");
}

#[test]
fn a_verdict_outlives_the_planes_and_waits_for_them() {
    let mut scratch = files(2, &[]);
    judge(&scratch, (1, 2), Some(OperatorVerdict::Same)).unwrap();
    assert_eq!(pairs(&scratch), ["a.tif b.tif declared_same operator"]);
    scratch.take_through("b.tif", 9, &[7]);
    assert!(pairs(&scratch).is_empty());
    scratch.open();
    scratch.take_through("elsewhere/b.tif", 12, &[2]);
    assert_eq!(pairs(&scratch), ["a.tif elsewhere/b.tif declared_same operator"]);
}

#[test]
fn contradictions_are_refused_and_named() {
    let scratch = files(4, &[]);
    let (same, not) = (Some(OperatorVerdict::Same), Some(OperatorVerdict::NotDuplicate));
    judge(&scratch, (1, 2), same).unwrap();
    judge(&scratch, (2, 3), same).unwrap();
    let error = judge(&scratch, (3, 1), not).unwrap_err().to_string();
    let way = "root/a.tif:t0p0z0c0, root/b.tif:t0p0z0c0, root/c.tif:t0p0z0c0 are the same";
    assert!(error.contains(way), "{error}");
    judge(&scratch, (4, 3), not).unwrap();
    let error = judge(&scratch, (4, 1), same).unwrap_err().to_string();
    assert!(error.contains("root/c.tif:t0p0z0c0, root/d.tif:t0p0z0c0 are no duplicates"), "{error}");
    assert!(judge(&scratch, (1, 1), same).is_err());
    assert_eq!(pairs(&scratch).len(), 2, "refused verdicts change nothing");
    // the last word on a pair replaces the one before
    assert_eq!(judge(&scratch, (1, 2), not).unwrap(), same);
    assert_eq!(pairs(&scratch), ["b.tif c.tif declared_same operator"]);
}

#[test]
fn a_stuck_frame_that_is_no_duplicate_is_none() {
    let scratch = Scratch::new();
    let claimed = |z: u32| ClaimedPlane {
        index: plane(z),
        identity: Identity { z: Some(z.into()), ..Identity::default() },
        ..ClaimedPlane::default()
    };
    let request = FileClaim { planes: vec![claimed(0), claimed(1)], ..scratch.file_claim("run.nd2", 1, 2) };
    let ticket = wait(|reply| scratch.handle().claim_file(request, reply)).unwrap().ticket;
    scratch.finish_plane(ticket, 0, 1);
    scratch.finish_plane(ticket, 1, 2);
    save(&scratch, &[edge(1, 2, MAPPED)]);
    assert_eq!(pairs(&scratch), ["run.nd2 run.nd2 stuck_frame -"]);
    judge(&scratch, (2, 1), Some(OperatorVerdict::NotDuplicate)).unwrap();
    assert!(pairs(&scratch).is_empty());
    judge(&scratch, (2, 1), None).unwrap();
    assert_eq!(pairs(&scratch), ["run.nd2 run.nd2 stuck_frame -"]);
}

#[test]
fn explain_tells_verdicts_from_either_end_and_of_pixels_that_are_gone() {
    let scratch = files(2, &[]);
    judge(&scratch, (2, 1), Some(OperatorVerdict::NotDuplicate)).unwrap();
    let told = |file: &str| {
        let mut histories = scratch.reader().explain(file).unwrap();
        let [verdict] = &histories.remove(0).verdicts[..] else { panic!("one verdict") };
        let other = verdict.other.as_ref().map(|other| other.path.to_report());
        (verdict.says, other, verdict.other_class.clone())
    };
    let not = OperatorVerdict::NotDuplicate;
    assert_eq!(told("b.tif"), (not, Some("a.tif".into()), group_name(&[1; 32])));
    scratch.take_through("b.tif", 9, &[7]);
    assert_eq!(told("a.tif"), (not, None, group_name(&[2; 32])));
}

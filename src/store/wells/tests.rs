use std::sync::Arc;

use serde_json::json;

use super::*;
use crate::analysis::segmentation::Centroids;
use crate::store::test_support::{Scratch, plane};
use crate::store::{FileTicket, PlaneDone, Registrable, Registration, Side, Stream, View, wait};

fn pixels(ticket: FileTicket, digest: u8) -> PixelsOf {
    PixelsOf { file_id: ticket.file_id, index: plane(0), digest: [digest; 32] }
}

fn map(value: Value) -> Map<String, Value> {
    let Value::Object(map) = value else { panic!("{value} is no object") };
    map
}

fn finish(scratch: &Scratch, ticket: FileTicket, digest: u8, tried: Vec<Registration>) {
    let centroids = Arc::new(Centroids { points: vec![[1.5, 0.25]], labels: vec![1] });
    let done = PlaneDone {
        registrable: Some(Registrable { view: View::default(), centroids }),
        registrations: tried,
        ..scratch.done(ticket, 0, digest)
    };
    wait(|reply| scratch.handle().finish_plane(done, reply)).unwrap();
}

fn refused(partner: PixelsOf) -> Registration {
    let result = map(json!({ "log10_chance": -1.5, "reason": "no agreement beyond chance" }));
    Registration { side: Side::Reference, partner, is_accepted: false, result, pairs: None }
}

fn by_well(log10_chance: f64, time_us: f64) -> Map<String, Value> {
    let optimizers = json!({ "lm": { "time_us": time_us } });
    map(json!({ "log10_chance": log10_chance, "found_by": "well", "optimizers": optimizers }))
}

fn settle(scratch: &Scratch, [moving, reference]: [PixelsOf; 2], result: Option<Map<String, Value>>) {
    let lot = Lot { root: "root".into(), plate: None, run: None, cycle: None, well: None };
    let key = WellKey { moving: lot.clone(), reference: lot };
    let found = result.map(|result| Found { result, pairs: Some(vec![7]) });
    let found = vec![FoundByWell { moving, reference, found }];
    wait(|reply| scratch.handle().settle_well(WellSettled { key, transform: None, found }, reply)).unwrap();
}

fn told(scratch: &Scratch) -> Vec<String> {
    scratch.brief(Stream::Registrations, &["event", "log10_chance"])
}

#[test]
fn what_a_well_finds_stands_in_place_of_the_refusal_until_it_is_taken_back() {
    let scratch = Scratch::new();
    let [first, second] = ["a.tif", "b.tif"].map(|path| scratch.claim(path, 1, 1).ticket);
    let pair = [pixels(first, 1), pixels(second, 2)];
    finish(&scratch, first, 1, vec![]);
    finish(&scratch, second, 2, vec![refused(pair[0])]);
    settle(&scratch, pair, Some(by_well(-9.1, 7.0)));
    // nothing new but the time that it took
    settle(&scratch, pair, Some(by_well(-9.1, 8.0)));
    assert_eq!(told(&scratch), ["refused -1.5", "withdrawn null", "registered -9.1"]);
    let known = scratch.reader().registrations_of(&pair[0]).unwrap();
    assert_eq!((known.len(), known[0].reference, known[0].is_accepted), (1, pair[1], true));
    assert_eq!(known[0].result["direct"]["reason"], "no agreement beyond chance");
    // a second try by the points says what is known
    finish(&scratch, first, 1, vec![]);
    settle(&scratch, pair, Some(by_well(-8.0, 7.0)));
    settle(&scratch, pair, None);
    settle(&scratch, pair, None);
    let later = ["withdrawn null", "registered -8.0", "withdrawn null", "refused -1.5"];
    assert_eq!(told(&scratch)[3..], later);
    let known = scratch.reader().registrations_of(&pair[0]).unwrap();
    assert_eq!((known[0].is_accepted, known[0].result.len()), (false, 2));
}

#[test]
fn a_pair_that_was_never_tried_goes_without_a_trace_and_a_try_by_points_goes_first() {
    let scratch = Scratch::new();
    let [first, second] = ["a.tif", "b.tif"].map(|path| scratch.claim(path, 1, 1).ticket);
    let pair = [pixels(first, 1), pixels(second, 2)];
    finish(&scratch, first, 1, vec![]);
    finish(&scratch, second, 2, vec![]);
    settle(&scratch, pair, Some(by_well(-7.0, 1.0)));
    settle(&scratch, pair, None);
    assert_eq!(told(&scratch), ["registered -7.0", "withdrawn null"]);
    settle(&scratch, pair, Some(by_well(-7.0, 1.0)));
    let second = scratch.claim("b.tif", 2, 1).ticket;
    let accepted = map(json!({ "log10_chance": -20.0, "found_by": "descriptors" }));
    let own = Registration { is_accepted: true, result: accepted, ..refused(pair[0]) };
    finish(&scratch, second, 2, vec![own]);
    settle(&scratch, pair, Some(by_well(-7.0, 1.0)));
    settle(&scratch, pair, None);
    assert_eq!(told(&scratch)[2..], ["registered -7.0", "withdrawn null", "registered -20.0"]);
    // of pixels that are there no more
    settle(&scratch, [pixels(first, 9), pair[1]], Some(by_well(-7.0, 1.0)));
    assert_eq!(told(&scratch).len(), 5);
}

#[test]
fn marks_stay_until_what_they_mark_is_settled() {
    let mut scratch = Scratch::new();
    assert_eq!(scratch.reader().due_wells().unwrap(), None);
    let ticket = scratch.claim("a.tif", 1, 1).ticket;
    finish(&scratch, ticket, 1, vec![]);
    scratch.open();
    let due = scratch.reader().due_wells().unwrap().unwrap();
    assert_eq!((due.lots.len(), due.lots[0].root.as_str()), (1, "root"));
    let ticket = scratch.claim("a.tif", 2, 1).ticket;
    finish(&scratch, ticket, 2, vec![]);
    wait(|reply| scratch.handle().wells_settled(due.last, reply)).unwrap();
    let later = scratch.reader().due_wells().unwrap().unwrap();
    assert!(later.last > due.last);
    wait(|reply| scratch.handle().wells_settled(later.last, reply)).unwrap();
    assert_eq!(scratch.reader().due_wells().unwrap(), None);
    // one that is given up leaves a mark, too, and the numbers go on
    let ticket = scratch.claim("a.tif", 3, 1).ticket;
    scratch.fail_plane(ticket, 0, 1);
    assert!(scratch.reader().due_wells().unwrap().unwrap().last > later.last);
    // planes without nuclei leave none
    wait(|reply| scratch.handle().wells_settled(i64::MAX, reply)).unwrap();
    scratch.take_through("b.tif", 1, &[5]);
    assert_eq!(scratch.reader().due_wells().unwrap(), None);
}

#[test]
fn a_plane_that_goes_leaves_the_mark_of_its_well() {
    let scratch = Scratch::new();
    let ticket = scratch.claim("a.tif", 1, 2).ticket;
    finish(&scratch, ticket, 1, vec![]);
    wait(|reply| scratch.handle().wells_settled(i64::MAX, reply)).unwrap();
    assert_eq!(scratch.reader().due_wells().unwrap(), None);
    // the container is written anew, and names no plane any more
    scratch.claim("a.tif", 2, 0);
    let due = scratch.reader().due_wells().unwrap().unwrap();
    assert_eq!(due.lots, [Lot { root: "root".into(), plate: None, run: None, cycle: None, well: None }]);
}

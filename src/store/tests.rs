use std::ffi::OsStr;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};

use serde_json::Map;

use super::test_support::{Scratch, plane, stat};
use crate::paths::RelativePath;
use crate::store::*;

const PLANE_KEYS: [&str; 4] = ["file", "version", "plane", "outcome"];
const FILE_KEYS: [&str; 6] = ["file", "version", "outcome", "planes", "planes_rejected", "nuclei"];

#[test]
fn a_file_is_taken_through_with_one_line_per_plane_and_one_per_file() {
    let scratch = Scratch::new();
    let claimed = scratch.claim("a/b.tif", 1, 2);
    assert_eq!((claimed.version, claimed.interruptions), (1, 0));
    assert!(!scratch.finish_plane(claimed.ticket, 0, 7).file_ready);
    scratch.finish_plane(claimed.ticket, 1, 8);
    assert!(scratch.finish_plane(claimed.ticket, 1, 9).is_unchanged, "a plane that is done stays as it is");
    let finished = scratch.finish_file(claimed.ticket, 1);
    assert_eq!((finished.version, finished.is_unchanged, finished.state), (1, false, FileState::Done));
    assert!(scratch.finish_file_again(claimed.ticket).is_unchanged);
    assert_eq!(
        scratch.brief(Stream::Planes, &PLANE_KEYS),
        ["a/b.tif 1 t0p0z0c0 done", "a/b.tif 1 t0p0z1c0 done"]
    );
    assert_eq!(scratch.brief(Stream::Files, &FILE_KEYS), ["a/b.tif 1 done 2 0 15"]);
    let line = &scratch.lines(Stream::Planes)[1];
    assert_eq!((&line["seq"], &line["schema"], &line["z"]), (&2.into(), &1.into(), &1.into()));
    assert_eq!(
        (&line["run_id"], &line["host"], &line["root"]),
        (&"run1".into(), &"host".into(), &"root".into())
    );
    assert!(humantime::parse_rfc3339(line["time"].as_str().unwrap()).is_ok());
    let known = scratch.reader().folder(scratch.root_id, OsStr::new("a")).unwrap();
    assert_eq!(known.len(), 1);
    assert_eq!(
        (known[0].name.to_str(), known[0].stat, known[0].state),
        (Some("b.tif"), stat(1), FileState::Done)
    );
    assert_eq!(scratch.reader().integrity_check().unwrap(), "ok");
}

impl Scratch {
    fn finish_file_again(&self, ticket: FileTicket) -> FileFinished {
        wait(|reply| self.handle().finish_file(ticket, Map::new(), reply)).unwrap()
    }
}

#[test]
fn a_touched_file_writes_nothing_and_keeps_its_version() {
    let scratch = Scratch::new();
    scratch.take_through("a.tif", 1, &[7, 8]);
    let claimed = scratch.claim("a.tif", 2, 2);
    assert_eq!(claimed.planes[1].state, PlaneState::Todo);
    assert_eq!(claimed.planes[1].previous_digest, None, "the planes of a container share a table");
    assert!(scratch.finish_plane(claimed.ticket, 0, 7).is_unchanged);
    assert!(scratch.finish_plane(claimed.ticket, 1, 8).is_unchanged);
    let finished = scratch.finish_file(claimed.ticket, 2);
    assert_eq!((finished.version, finished.is_unchanged), (1, true));
    assert_eq!((scratch.lines(Stream::Planes).len(), scratch.lines(Stream::Files).len()), (2, 1));
    assert_eq!(scratch.reader().folder(scratch.root_id, OsStr::new("")).unwrap()[0].stat, stat(2));
}

#[test]
fn a_changed_plane_makes_a_new_version_and_leaves_its_group() {
    let scratch = Scratch::new();
    scratch.take_through("a.tif", 1, &[7, 8]);
    scratch.take_through("b.tif", 9, &[7]);
    let claimed = scratch.claim("a.tif", 3, 2);
    scratch.finish_plane(claimed.ticket, 0, 9);
    scratch.finish_plane(claimed.ticket, 1, 8);
    let features = |z| scratch.reader().features_of(claimed.ticket.file_id, plane(z)).unwrap().unwrap().bytes;
    assert_eq!((features(0), features(1)), (vec![9], vec![8]));
    assert_eq!(scratch.finish_file(claimed.ticket, 3).version, 2);
    assert_eq!(
        scratch.brief(Stream::Planes, &PLANE_KEYS)[3..],
        ["a.tif 2 t0p0z0c0 done"],
        "the plane that did not change has no second line"
    );
    assert_eq!(
        scratch.brief(Stream::Files, &FILE_KEYS),
        ["a.tif 1 done 2 0 15", "b.tif 1 done 1 0 7", "a.tif 2 done 2 0 17"]
    );
    assert_eq!(
        scratch.brief(Stream::Duplicates, &["event", "n_members", "group"]),
        ["created 2 0707070707070707", "retracted 0 0707070707070707"]
    );
}

#[test]
fn work_goes_on_where_it_was_cut_off_and_the_cuts_are_counted() {
    let mut scratch = Scratch::new();
    let claimed = scratch.claim("a.tif", 1, 3);
    scratch.begin(claimed.ticket);
    scratch.finish_plane(claimed.ticket, 1, 8);
    scratch.open();
    let claimed = scratch.claim("a.tif", 1, 3);
    assert_eq!(claimed.interruptions, 1);
    assert_eq!(
        claimed.planes.iter().map(|plane| plane.state).collect::<Vec<_>>(),
        [PlaneState::Todo, PlaneState::Done, PlaneState::Todo]
    );
    scratch.begin(claimed.ticket);
    assert_eq!(
        scratch.claim("a.tif", 1, 3).interruptions,
        1,
        "another try within one run is no interruption"
    );
    scratch.open();
    let claimed = scratch.claim("a.tif", 1, 3);
    assert_eq!(claimed.interruptions, 1, "no plane was begun since the last claim");
    scratch.begin(claimed.ticket);
    scratch.open();
    let claimed = scratch.claim("a.tif", 1, 3);
    assert_eq!(claimed.interruptions, 2);
    scratch.begin(claimed.ticket);
    wait(|reply| scratch.handle().release_file(claimed.ticket, "shutting down".into(), reply)).unwrap();
    scratch.open();
    let claimed = scratch.claim("a.tif", 1, 3);
    assert_eq!(claimed.interruptions, 2, "a release is no interruption");
    scratch.finish_plane(claimed.ticket, 0, 7);
    let claimed = scratch.claim("a.tif", 1, 3);
    assert_eq!((claimed.interruptions, claimed.version), (0, 1), "a finished plane clears the count");
    let events = &scratch.reader().explain("a.tif").unwrap()[0].events;
    let why: Vec<_> = events.iter().map(|event| event.reason.as_str()).collect();
    assert_eq!(
        why,
        [
            "taken up",
            "taken up again: the process ended while planes of the file were in work",
            "taken up again",
            "taken up again: the process ended before a plane of the file was in work",
            "taken up again: the process ended while planes of the file were in work",
            "shutting down",
            "taken up again",
            "taken up again",
        ]
    );
}

#[test]
fn a_note_of_the_next_run_counts_a_cut_once() {
    let mut scratch = Scratch::new();
    for (is_begun, n_cuts) in [(false, 0), (true, 1)] {
        let ticket = scratch.claim("a.tif", 1, 1).ticket;
        if is_begun {
            scratch.begin(ticket);
        }
        scratch.open();
        scratch.note("a.tif", 1, FileState::BeingWritten, "held");
        assert_eq!(scratch.claim("a.tif", 1, 1).interruptions, n_cuts);
    }
    let old = scratch.claim("a.tif", 1, 1).ticket;
    let new = scratch.claim("a.tif", 1, 1).ticket;
    let error = wait(|reply| scratch.handle().begin_planes(old, reply)).unwrap_err();
    assert!(matches!(error, LedgerError::StaleTicket { .. }), "{error}");
    scratch.begin(new);
}

#[test]
fn planes_in_work_when_their_file_is_handed_back_can_still_be_finished() {
    let mut scratch = Scratch::new();
    let claimed = scratch.claim("a.tif", 1, 2);
    scratch.begin(claimed.ticket);
    scratch.finish_plane(claimed.ticket, 0, 7);
    for _ in 0..2 {
        wait(|reply| scratch.handle().release_file(claimed.ticket, "drained".into(), reply)).unwrap();
    }
    let late = scratch.finish_plane(claimed.ticket, 1, 8);
    assert!(!late.is_unchanged && !late.file_ready);
    let confirmed = wait(|reply| scratch.handle().confirm_file(claimed.ticket, stat(1), reply)).unwrap();
    assert!(confirmed.is_unchanged && !confirmed.file_ready);
    let error = wait(|reply| scratch.handle().finish_file(claimed.ticket, Map::new(), reply))
        .map(|_| ())
        .unwrap_err();
    assert!(matches!(error, LedgerError::StaleTicket { .. }), "{error}");
    assert_eq!(scratch.reader().unfinished_files(9).unwrap()[0].state, FileState::Waiting);
    scratch.open();
    let again = scratch.claim("a.tif", 1, 2);
    assert_eq!(again.interruptions, 0);
    assert!(again.planes.iter().all(|plane| plane.state == PlaneState::Done), "{again:?}");
    assert_eq!(scratch.finish_file(again.ticket, 1).state, FileState::Done);
    assert_eq!(scratch.lines(Stream::Planes).len(), 2);
    let error = wait(|reply| scratch.handle().finish_plane(scratch.done(claimed.ticket, 1, 9), reply));
    assert!(matches!(error, Err(LedgerError::StaleTicket { .. })), "the next claim has moved it on");
}

#[test]
fn a_file_that_changes_after_it_was_handed_back_is_read_again() {
    let scratch = Scratch::new();
    let claimed = scratch.claim("a.tif", 1, 1);
    wait(|reply| scratch.handle().release_file(claimed.ticket, "drained".into(), reply)).unwrap();
    scratch.note("a.tif", 2, FileState::Growing, "grows");
    scratch.finish_plane(claimed.ticket, 0, 7);
    let confirmed = wait(|reply| scratch.handle().confirm_file(claimed.ticket, stat(2), reply)).unwrap();
    assert!(!confirmed.is_unchanged, "the plane was read at another stat");
    wait(|reply| scratch.handle().reopen_file(claimed.ticket, "changed".into(), reply)).unwrap();
    assert_eq!(scratch.reader().unfinished_files(9).unwrap()[0].state, FileState::Growing);
    assert_eq!(scratch.claim("a.tif", 2, 1).planes[0].state, PlaneState::Todo);
}

#[test]
fn a_run_that_ended_in_order_cut_nothing_off_though_it_could_not_hand_it_back() {
    let mut scratch = Scratch::new();
    let begin = |scratch: &Scratch| {
        let claimed = scratch.claim("a.tif", 1, 2);
        scratch.begin(claimed.ticket);
        claimed.interruptions
    };
    assert_eq!(begin(&scratch), 0);
    scratch.ledger.take().unwrap().close();
    scratch.open();
    assert_eq!(begin(&scratch), 0, "the ledger was closed");
    scratch.open();
    assert_eq!(begin(&scratch), 1, "the run was killed");
    scratch.ledger.take().unwrap().close();
    scratch.open();
    scratch.open();
    assert_eq!(begin(&scratch), 1, "a kill before anything was begun, after an end in order");
}

#[test]
fn everything_of_this_run_is_handed_back_at_once() {
    let mut scratch = Scratch::new();
    let old = scratch.claim("of_another_run.tif", 1, 1).ticket;
    scratch.begin(old);
    scratch.open();
    let release_all =
        |scratch: &Scratch| wait(|reply| scratch.handle().release_all("the end".into(), reply)).unwrap();
    scratch.take_through("done.tif", 1, &[7]);
    for path in ["a.tif", "b.tif"] {
        let ticket = scratch.claim(path, 1, 1).ticket;
        scratch.begin(ticket);
    }
    assert_eq!((release_all(&scratch), release_all(&scratch)), (2, 0));
    scratch.open();
    let cuts = ["a.tif", "b.tif", "of_another_run.tif"].map(|path| scratch.claim(path, 1, 1).interruptions);
    assert_eq!(cuts, [0, 0, 1]);
}

#[test]
fn a_ticket_is_stale_once_the_file_is_claimed_again() {
    let scratch = Scratch::new();
    let old = scratch.claim("a.tif", 1, 1).ticket;
    let new = scratch.claim("a.tif", 1, 1).ticket;
    let error = wait(|reply| scratch.handle().finish_plane(scratch.done(old, 0, 7), reply)).unwrap_err();
    assert!(matches!(error, LedgerError::StaleTicket { .. }), "{error}");
    wait(|reply| scratch.handle().reopen_file(new, "changed while it was read".into(), reply)).unwrap();
    let error = wait(|reply| scratch.handle().finish_plane(scratch.done(new, 0, 7), reply)).unwrap_err();
    assert!(matches!(error, LedgerError::StaleTicket { .. }), "{error}");
    assert!(scratch.lines(Stream::Planes).is_empty());
}

#[test]
fn an_unfinished_version_that_changed_is_read_again_without_second_lines() {
    let scratch = Scratch::new();
    let claimed = scratch.claim("a.tif", 1, 3);
    scratch.finish_plane(claimed.ticket, 0, 7);
    scratch.finish_plane(claimed.ticket, 1, 8);
    let claimed = scratch.claim("a.tif", 2, 3);
    assert_eq!((claimed.planes[0].state, claimed.version), (PlaneState::Todo, 1));
    scratch.finish_plane(claimed.ticket, 0, 7);
    scratch.finish_plane(claimed.ticket, 1, 9);
    scratch.finish_plane(claimed.ticket, 2, 10);
    assert_eq!(scratch.finish_file(claimed.ticket, 2).version, 2);
    assert_eq!(
        scratch.brief(Stream::Planes, &["version", "plane"]),
        ["1 t0p0z0c0", "1 t0p0z1c0", "2 t0p0z1c0", "2 t0p0z2c0"]
    );
}

#[test]
fn a_file_that_lost_or_gained_planes_after_its_line_is_the_next_version() {
    let scratch = Scratch::new();
    scratch.take_through("a.tif", 1, &[7, 8, 7]);
    assert_eq!(scratch.brief(Stream::Duplicates, &["event", "relation"]), ["created identical_pixels"]);
    scratch.take_through("a.tif", 2, &[7]);
    scratch.take_through("a.tif", 3, &[7, 8]);
    assert_eq!(scratch.brief(Stream::Files, &["version", "planes", "nuclei"]), ["1 3 22", "2 1 7", "3 2 15"]);
    assert_eq!(
        scratch.brief(Stream::Planes, &["version", "plane"])[3..],
        ["3 t0p0z1c0"],
        "the plane that came back has a new line"
    );
    assert_eq!(scratch.reader().counts().unwrap().groups, 0);
}

#[test]
fn a_plane_that_fails_is_tried_again_and_then_rejected_with_its_history() {
    let scratch = Scratch::new();
    let claimed = scratch.claim("a.tif", 1, 2);
    assert!(!scratch.fail_plane(claimed.ticket, 0, 2).is_dead);
    assert_eq!(scratch.claim("a.tif", 1, 2).planes[0].attempts, 1);
    let claimed = scratch.claim("a.tif", 1, 2);
    assert!(scratch.fail_plane(claimed.ticket, 0, 2).is_dead);
    assert!(scratch.fail_plane(claimed.ticket, 0, 2).is_dead, "a dead plane stays as it is");
    scratch.finish_plane(claimed.ticket, 1, 8);
    scratch.finish_file(claimed.ticket, 1);
    assert_eq!(
        scratch.brief(Stream::Planes, &["plane", "outcome", "reason"])[0],
        "t0p0z0c0 rejected expected a strip"
    );
    assert_eq!(scratch.brief(Stream::Files, &FILE_KEYS), ["a.tif 1 done 2 1 8"]);
    let history = &scratch.reader().explain("root/a.tif").unwrap()[0];
    assert_eq!((history.planes.len(), history.planes[0].attempts.len()), (1, 2));
    assert!(history.events.len() >= 4, "{history:?}");

    wait(|reply| scratch.handle().retry_file(claimed.ticket.file_id, reply)).unwrap();
    let claimed = scratch.claim("a.tif", 1, 2);
    assert_eq!((claimed.planes[0].state, claimed.planes[1].state), (PlaneState::Todo, PlaneState::Done));
    scratch.finish_plane(claimed.ticket, 0, 7);
    assert_eq!(scratch.finish_file(claimed.ticket, 1).version, 2);
    assert_eq!(scratch.brief(Stream::Planes, &["version", "outcome"]), ["1 rejected", "1 done", "2 done"]);
}

#[test]
fn what_failed_is_listed_and_can_be_tried_again_and_nothing_else() {
    let scratch = Scratch::new();
    scratch.take_through("good.tif", 1, &[7]);
    let rejected = scratch.claim("rejected.tif", 1, 1).ticket;
    scratch.fail_plane(rejected, 0, 1);
    scratch.finish_file(rejected, 1);
    let in_part = scratch.claim("in_part.tif", 1, 2).ticket;
    scratch.fail_plane(in_part, 0, 1);
    let note = FileNote {
        root_id: scratch.root_id,
        path: RelativePath::new("incomplete.tif"),
        stat: stat(1),
        state: FileState::Incomplete,
        reason: "no end".into(),
        alert: None,
    };
    wait(|reply| scratch.handle().note_file(note, reply)).unwrap();
    let names = || {
        let files = scratch.reader().failed_files().unwrap();
        files.iter().map(|file| file.path.to_report()).collect::<Vec<_>>()
    };
    assert_eq!(names(), ["rejected.tif", "in_part.tif", "incomplete.tif"]);
    for file in scratch.reader().failed_files().unwrap() {
        wait(|reply| scratch.handle().retry_file(file.file_id, reply)).unwrap();
    }
    assert!(names().is_empty());
    let good = scratch.reader().find_file(scratch.root_id, &RelativePath::new("good.tif")).unwrap().unwrap();
    let refused = wait(|reply| scratch.handle().retry_file(good.file_id, reply)).unwrap_err();
    assert!(refused.to_string().contains("good.tif") && !refused.is_fatal(), "{refused}");
}

#[test]
fn a_pause_is_kept_until_it_is_over() {
    let mut scratch = Scratch::new();
    assert_eq!(scratch.reader().pause().unwrap(), None);
    // kept to the millisecond
    let since = std::time::UNIX_EPOCH + std::time::Duration::from_millis(1_700_000_000_123);
    let later = std::time::SystemTime::now() + std::time::Duration::from_secs(3600);
    let set = |scratch: &Scratch, pause| wait(|reply| scratch.handle().set_pause(pause, reply)).unwrap();
    set(&scratch, Some(Pause { since, until: Some(later) }));
    assert_eq!(scratch.reader().pause().unwrap().map(|pause| pause.since), Some(since));
    set(&scratch, Some(Pause { since, until: None }));
    scratch.open();
    assert_eq!(scratch.reader().pause().unwrap(), Some(Pause { since, until: None }));
    set(&scratch, Some(Pause { since, until: Some(since) }));
    assert_eq!(scratch.reader().pause().unwrap(), None, "it has ended by itself");
    set(&scratch, None);
    assert_eq!(scratch.reader().pause().unwrap(), None);
}

#[test]
fn a_file_without_a_single_good_plane_is_rejected_once() {
    let scratch = Scratch::new();
    for mtime_ns in [1, 2] {
        let claimed = scratch.claim("a.tif", mtime_ns, 1);
        scratch.fail_plane(claimed.ticket, 0, 1);
        assert_eq!(scratch.finish_file(claimed.ticket, mtime_ns).state, FileState::Rejected);
    }
    assert_eq!(scratch.brief(Stream::Files, &["outcome", "reason"]), ["rejected expected a strip"]);
    assert_eq!(scratch.lines(Stream::Planes).len(), 1);
}

#[test]
fn a_file_rejected_as_a_whole_is_known_and_can_become_good() {
    let scratch = Scratch::new();
    let reject = |mtime_ns, reason: &str| {
        let rejection = FileRejection {
            root_id: scratch.root_id,
            path: RelativePath::new("a.tif"),
            stat: stat(mtime_ns),
            kind: "malformed".into(),
            reason: reason.into(),
        };
        wait(|reply| scratch.handle().reject_file(rejection, reply)).unwrap();
    };
    reject(1, "expected a directory");
    reject(2, "expected a directory");
    assert_eq!(scratch.reader().folder(scratch.root_id, OsStr::new("")).unwrap()[0].stat, stat(2));
    scratch.take_through("a.tif", 3, &[7]);
    reject(4, "expected a directory");
    assert_eq!(
        scratch.brief(Stream::Files, &["version", "outcome", "kind"]),
        ["1 rejected malformed", "2 done null", "3 rejected malformed"]
    );
    scratch.take_through("a.tif", 5, &[7]);
    assert_eq!(scratch.brief(Stream::Planes, &["version", "plane"]), ["2 t0p0z0c0", "4 t0p0z0c0"]);
}

#[test]
fn notes_are_written_once_per_transition() {
    let mut scratch = Scratch::new();
    for mtime_ns in 1..4 {
        scratch.note("a.nd2", mtime_ns, FileState::Growing, "grows");
    }
    scratch.note("a.nd2", 4, FileState::Incomplete, "no map");
    scratch.open();
    scratch.note("a.nd2", 4, FileState::Incomplete, "no map");
    assert_eq!(
        scratch.brief(Stream::Alerts, &["kind", "file", "state"]),
        ["growing a.nd2 growing", "incomplete a.nd2 incomplete"]
    );
    let reader = scratch.reader();
    let unfinished = reader.unfinished_files(10).unwrap();
    assert_eq!(
        (unfinished.len(), unfinished[0].state, unfinished[0].stat),
        (1, FileState::Incomplete, stat(4))
    );
    let counts = reader.counts().unwrap();
    assert_eq!(counts.files[&FileState::Incomplete], 1);
    assert!(counts.oldest_pending.is_some() && counts.lines_pending == 2);
    let events = &reader.explain("/data/root/a.nd2").unwrap()[0].events;
    assert_eq!(events.iter().map(|event| event.what.as_str()).collect::<Vec<_>>(), ["growing", "incomplete"]);
}

#[test]
fn a_done_file_that_vanishes_and_returns_unchanged_writes_nothing() {
    let scratch = Scratch::new();
    scratch.take_through("a.tif", 1, &[7]);
    scratch.note("a.tif", 1, FileState::Vanished, "gone");
    let claimed = scratch.claim("a.tif", 1, 1);
    assert_eq!(claimed.planes[0].state, PlaneState::Done);
    assert!(scratch.finish_file(claimed.ticket, 1).is_unchanged);
}

#[test]
fn planes_whose_product_was_lost_are_done_again_silently() {
    let scratch = Scratch::new();
    scratch.take_through("a.tif", 1, &[7]);
    let claimed = scratch.claim("a.tif", 2, 1);
    assert_eq!(claimed.planes[0].previous_digest, Some([7; 32]), "a touched file is recognised");
    let recognised = PlaneDone { features: None, figures: Map::new(), ..scratch.done(claimed.ticket, 0, 7) };
    wait(|reply| scratch.handle().finish_plane(recognised, reply)).unwrap();
    let file_id = claimed.ticket.file_id;
    let part_of = || -> Vec<_> {
        let planes = scratch.reader().segmented_planes(file_id).unwrap();
        planes.iter().map(|plane| (plane.index, plane.claim)).collect()
    };
    assert_eq!(part_of(), [(plane(0), None)], "its rows stand in the table");
    let features = || scratch.reader().features_of(file_id, plane(0)).unwrap().unwrap().bytes;
    assert_eq!(features(), [7], "what was found stands");

    wait(|reply| scratch.handle().reread_planes(claimed.ticket, vec![plane(0)], reply)).unwrap();
    assert_eq!(scratch.reader().unfinished_files(9).unwrap()[0].state, FileState::Waiting);
    for _ in 0..2 {
        let claimed = scratch.claim("a.tif", 2, 1);
        assert_eq!(claimed.planes[0].state, PlaneState::Todo);
        assert_eq!(claimed.planes[0].previous_digest, None, "no digest spares it the work");
    }
    let claimed = scratch.claim("a.tif", 2, 1);
    let features_anew = Some(PlaneFeatures { version: 1, bytes: vec![70] });
    let anew = PlaneDone { features: features_anew, ..scratch.done(claimed.ticket, 0, 7) };
    assert!(wait(|reply| scratch.handle().finish_plane(anew, reply)).unwrap().is_unchanged);
    assert_eq!(part_of(), [(plane(0), Some(claimed.ticket.claim))]);
    assert_eq!(features(), [70], "the results are refreshed");
    let finished = scratch.finish_file(claimed.ticket, 2);
    assert_eq!((finished.is_unchanged, finished.version), (true, 1));
    assert_eq!(part_of(), [(plane(0), None)]);
    assert_eq!((scratch.lines(Stream::Planes).len(), scratch.lines(Stream::Files).len()), (1, 1));
    assert_eq!(scratch.claim("a.tif", 3, 1).planes[0].previous_digest, Some([7; 32]), "the mark has gone");
}

#[test]
fn a_plane_whose_other_pixels_came_too_late_takes_the_whole_way() {
    let scratch = Scratch::new();
    scratch.take_through("a.tif", 1, &[7]);
    // others have seen what it was for a moment
    let moment = scratch.claim("a.tif", 2, 1).ticket;
    wait(|reply| scratch.handle().reopen_file(moment, "changed while it was read".into(), reply)).unwrap();
    wait(|reply| scratch.handle().finish_plane(scratch.done(moment, 0, 8), reply)).unwrap_err();
    for mtime_ns in [3, 4] {
        // cut off in between, too
        let claimed = scratch.claim("a.tif", mtime_ns, 1);
        assert_eq!(claimed.planes[0].previous_digest, None, "they are to see what it is again");
    }
    let claimed = scratch.claim("a.tif", 4, 1);
    scratch.finish_plane(claimed.ticket, 0, 7);
    assert_eq!(scratch.lines(Stream::Planes).len(), 1);
    scratch.finish_file(claimed.ticket, 4);
    assert_eq!(scratch.claim("a.tif", 5, 1).planes[0].previous_digest, Some([7; 32]), "that came to an end");
}

#[test]
fn missing_planes_are_counted_and_make_a_version() {
    let scratch = Scratch::new();
    let take = |mtime_ns, missing: &[u32]| {
        let mut request = scratch.file_claim("a.nd2", mtime_ns, 3);
        missing.iter().for_each(|z| request.planes[*z as usize].is_missing = true);
        let claimed = wait(|reply| scratch.handle().claim_file(request, reply)).unwrap();
        for plane in &claimed.planes {
            let is_missing = missing.contains(&plane.index.z);
            assert_eq!(plane.state == PlaneState::Missing, is_missing, "{plane:?}");
            if !is_missing {
                scratch.finish_plane(claimed.ticket, plane.index.z, plane.index.z as u8 + 1);
            }
        }
        scratch.finish_file(claimed.ticket, mtime_ns)
    };
    take(1, &[1, 2]);
    assert!(take(2, &[1, 2]).is_unchanged);
    take(3, &[2]);
    take(4, &[0, 2]);
    assert_eq!(
        scratch.brief(Stream::Files, &["version", "planes", "planes_missing", "nuclei"]),
        ["1 3 2 1", "2 3 1 3", "3 3 2 2"]
    );
    assert_eq!(scratch.brief(Stream::Planes, &["version", "plane"]), ["1 t0p0z0c0", "2 t0p0z1c0"]);
    assert_eq!(scratch.reader().counts().unwrap().planes[&PlaneState::Missing], 2);
    let mut listed = 0;
    let count = |_| {
        listed += 1;
        Ok::<_, LedgerError>(())
    };
    scratch.reader().each_plane(count).unwrap();
    assert_eq!(listed, 1, "a missing plane has no row");
}

#[test]
fn a_group_of_three_changes_its_representative_by_quality_then_age() {
    let scratch = Scratch::new();
    let take = |path: &str, mtime_ns, quality_rank| {
        let request = FileClaim { quality_rank, ..scratch.file_claim(path, mtime_ns, 1) };
        let ticket = wait(|reply| scratch.handle().claim_file(request, reply)).unwrap().ticket;
        scratch.finish_plane(ticket, 0, 7);
        scratch.finish_file(ticket, mtime_ns);
        ticket
    };
    take("b.tif", 5, 0);
    take("a.tif", 4, 0);
    take("c.tif", 9, 1);
    let representative = |line: &serde_json::Value| {
        format!("{} {}", line["event"].as_str().unwrap(), line["representative"]["file"].as_str().unwrap())
    };
    assert_eq!(
        scratch.lines(Stream::Duplicates).iter().map(representative).collect::<Vec<_>>(),
        ["created a.tif", "member_added a.tif", "representative_changed c.tif"]
    );
    take("c.tif", 9, -1);
    let lines = scratch.lines(Stream::Duplicates);
    assert_eq!(representative(lines.last().unwrap()), "representative_changed a.tif");
    assert_eq!(lines.last().unwrap()["previous"]["file"], "c.tif");
    take("c.tif", 10, -1);
    assert_eq!(scratch.lines(Stream::Duplicates).len(), lines.len());
}

#[test]
fn files_of_equal_bytes_are_one_class_in_whatever_order_their_planes_finish() {
    let scratch = Scratch::new();
    let tickets: Vec<_> = ["a.tif", "b.tif", "c.tif"].map(|path| scratch.claim(path, 1, 1).ticket).into();
    for (at, other) in [(1, 0), (2, 1), (0, 0)] {
        let matches = if at == other {
            Vec::new()
        } else {
            vec![ExactMatch {
                other_file_id: tickets[other].file_id,
                other_index: plane(0),
                same_bytes: true,
            }]
        };
        let done = PlaneDone { matches, ..scratch.done(tickets[at], 0, 7) };
        wait(|reply| scratch.handle().finish_plane(done, reply)).unwrap();
    }
    let mut relations = Vec::new();
    scratch
        .reader()
        .each_group(|group| {
            relations.extend(group.members.into_iter().map(|member| member.relation));
            Ok::<_, LedgerError>(())
        })
        .unwrap();
    assert_eq!(relations, [None, Some("identical_file"), Some("identical_file")]);
    let mut classes = Vec::new();
    scratch.reader().known_planes(|plane| classes.push(plane.byte_class)).unwrap();
    assert!(
        classes.len() == 3 && classes.iter().all(|class| *class == classes[0] && *class > 0),
        "{classes:?}"
    );
}

#[test]
fn blank_planes_never_group() {
    let scratch = Scratch::new();
    for path in ["a.tif", "b.tif"] {
        let ticket = scratch.claim(path, 1, 1).ticket;
        let done = PlaneDone { blank: Some("constant".into()), ..scratch.done(ticket, 0, 0) };
        wait(|reply| scratch.handle().finish_plane(done, reply)).unwrap();
    }
    assert!(scratch.lines(Stream::Duplicates).is_empty());
    scratch.reader().known_planes(|plane| panic!("{plane:?}")).unwrap();
}

#[test]
fn a_second_instance_is_refused_and_told_who_holds_the_folder() {
    let mut scratch = Scratch::new();
    let error = Ledger::open(&scratch.state_dir(), LedgerOptions::new("host", "other")).err().unwrap();
    assert!(error.to_string().contains(&format!("process {}", std::process::id())), "{error}");
    scratch.open();
}

#[test]
fn an_operation_that_fails_does_not_hurt_the_others() {
    let scratch = Scratch::new();
    let ticket = scratch.claim("a.tif", 1, 2).ticket;
    let answers = Arc::new(Mutex::new(Vec::new()));
    for z in [0, 9, 1] {
        let answers = answers.clone();
        let reply = Box::new(move |answer: Result<PlaneFinished, _>| {
            answers.lock().unwrap().push(answer.map(|_| ()).map_err(|error: LedgerError| error.to_string()));
        });
        scratch.handle().finish_plane(scratch.done(ticket, z, z as u8), reply);
    }
    scratch.finish_file(ticket, 1);
    let answers = answers.lock().unwrap();
    assert_eq!(answers[0..1], [Ok(())]);
    assert!(answers[1].as_ref().unwrap_err().contains("without plane t0p0z9c0"), "{answers:?}");
    assert_eq!(scratch.brief(Stream::Planes, &["seq"]), ["1", "2"]);
}

/// A commit that fails `n` times with an SQLite error, and the notices of the writer.
fn failing(code: i32, n: u32) -> (LedgerOptions, Arc<Mutex<Vec<String>>>) {
    let notices = Arc::new(Mutex::new(Vec::new()));
    let heard = notices.clone();
    let left = AtomicU32::new(n);
    let options = LedgerOptions {
        retry_delay: std::time::Duration::from_millis(5),
        on_notice: Box::new(move |notice| {
            let name = match notice {
                LedgerNotice::Paused(_) => "paused",
                LedgerNotice::Resumed => "resumed",
                LedgerNotice::Fatal(_) => "fatal",
            };
            heard.lock().unwrap().push(name.to_owned());
        }),
        before_commit: Box::new(move || {
            match left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)) {
                Ok(_) => Err(rusqlite::Error::SqliteFailure(rusqlite::ffi::Error::new(code), None).into()),
                Err(_) => Ok(()),
            }
        }),
        ..LedgerOptions::new("host", "run")
    };
    (options, notices)
}

#[test]
fn no_space_pauses_the_writer_and_loses_nothing() {
    let mut scratch = Scratch::new();
    scratch.ledger = None;
    let (options, notices) = failing(rusqlite::ffi::SQLITE_FULL, 3);
    scratch.ledger = Some(Ledger::open(&scratch.state_dir(), options).unwrap());
    scratch.take_through("a.tif", 1, &[7, 8]);
    assert_eq!(*notices.lock().unwrap(), ["paused", "resumed"]);
    assert_eq!(scratch.brief(Stream::Planes, &["seq"]), ["1", "2"]);
}

#[test]
fn an_input_output_error_ends_the_writer_and_is_told_to_everybody() {
    let mut scratch = Scratch::new();
    scratch.ledger = None;
    let (options, notices) = failing(rusqlite::ffi::SQLITE_IOERR_FSYNC, u32::MAX);
    scratch.ledger = Some(Ledger::open(&scratch.state_dir(), options).unwrap());
    let handle = scratch.handle();
    for _ in 0..2 {
        let error = wait(|reply| handle.claim_file(scratch.file_claim("a.tif", 1, 1), reply)).unwrap_err();
        assert!(matches!(error, LedgerError::Fatal(_) | LedgerError::Closed), "{error}");
    }
    assert_eq!(*notices.lock().unwrap(), ["fatal"]);
    scratch.open();
    assert_eq!(scratch.claim("a.tif", 1, 1).interruptions, 0);
}

#[cfg(unix)]
#[test]
fn the_state_folder_is_private_and_names_that_are_not_text_come_back() {
    use std::os::unix::fs::PermissionsExt;
    let scratch = Scratch::new();
    let mode = std::fs::metadata(scratch.state_dir()).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o750);
    let path = RelativePath::from_bytes(b"a\xFF/b%\xFE.tif".to_vec());
    let request = FileClaim { path: path.clone(), ..scratch.file_claim("", 1, 1) };
    let ticket = wait(|reply| scratch.handle().claim_file(request, reply)).unwrap().ticket;
    let reader = scratch.reader();
    assert_eq!(reader.file_location(ticket.file_id).unwrap().unwrap().path, path);
    let (folder, name) = path.split();
    assert_eq!(reader.folder(scratch.root_id, folder).unwrap()[0].name, name);
    assert_eq!(reader.explain(&path.to_report()).unwrap()[0].location.path, path);
    assert!(reader.explain("nothing").unwrap().is_empty());
}

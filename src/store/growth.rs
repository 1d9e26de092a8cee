//! What is kept of a growing file beside its planes: the bytes by which it is known again, and where it stands.

use rusqlite::{OptionalExtension, params};

use super::outbox;
use super::reader::LedgerReader;
use super::rows::FileRow;
use super::session::Session;
use crate::paths::{FileStat, RelativePath};
use crate::store::{FileState, GrowthNote, GrowthRecord, LedgerError, Probe, Stream};

pub(super) fn save(
    session: &Session<'_>,
    file_id: i64,
    (stat, probes): (FileStat, &[Probe]),
    is_open_ended: bool,
) -> Result<(), LedgerError> {
    let probes = serde_json::to_string(probes).expect("numbers are JSON");
    session.execute(
        "INSERT INTO growth (file_id, device, inode, probes, is_open_ended) VALUES (?1, ?2, ?3, ?4, ?5) \
         ON CONFLICT (file_id) DO UPDATE SET device = excluded.device, inode = excluded.inode, \
         probes = excluded.probes, is_open_ended = excluded.is_open_ended",
        params![file_id, stat.device.cast_signed(), stat.inode.cast_signed(), probes, is_open_ended],
    )?;
    Ok(())
}

/// A file that is finished is known by its planes alone, unless it may go on growing.
pub(super) fn finish(session: &Session<'_>, file: &FileRow) -> Result<(), LedgerError> {
    session.execute("DELETE FROM growth WHERE file_id = ?1 AND is_open_ended = 0", [file.id])?;
    session.execute(
        "UPDATE growth SET finished_bytes = ?2 WHERE file_id = ?1",
        [file.id, file.stat.size_bytes.cast_signed()],
    )?;
    Ok(())
}

/// A file that is another one now, or given up, is known by its planes alone.
pub(super) fn forget(session: &Session<'_>, file_id: i64) -> Result<(), LedgerError> {
    session.execute("DELETE FROM growth WHERE file_id = ?1", [file_id])?;
    Ok(())
}

pub(super) fn note(session: &Session<'_>, note: &GrowthNote) -> Result<(), LedgerError> {
    if !matches!(note.state, FileState::Growing | FileState::Stalled) {
        return Err(LedgerError::Misuse(format!("a growing file cannot be noted as {}", note.state)));
    }
    let mut file = FileRow::of_ticket(session, note.ticket)?;
    if file.is_complete || (file.state == note.state && file.reason == note.reason) {
        return Ok(());
    }
    file.set_state(session, note.state, &note.reason)?;
    match &note.alert {
        Some(alert) => outbox::emit(session, Stream::Alerts, &outbox::file_alert(&file, alert)),
        None => Ok(()),
    }
}

impl LedgerReader {
    /// Every file that was taken up while it grew and is not finished.
    pub fn growing_files(&self, mut visit: impl FnMut(i64)) -> Result<(), LedgerError> {
        let mut statement = self.connection.prepare(
            "SELECT file_id FROM growth JOIN file ON file.id = file_id WHERE state NOT IN ('done', 'rejected')",
        )?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            visit(row.get(0)?);
        }
        Ok(())
    }

    /// By what a file is known again that was taken up while it grew, or that may grow again; `None` for any other.
    pub fn growth_of(&self, root_id: i64, path: &RelativePath) -> Result<Option<GrowthRecord>, LedgerError> {
        let (folder, name) = path.split();
        let mut statement = self.connection.prepare_cached(
            "SELECT growth.device, growth.inode, probes, finished_bytes FROM file JOIN growth ON file_id = file.id \
             WHERE root_id = ?1 AND folder = ?2 AND name = ?3",
        )?;
        let key = params![root_id, folder.as_encoded_bytes(), name.as_encoded_bytes()];
        let row: Option<(i64, i64, String, Option<i64>)> =
            statement.query_row(key, |row| row.try_into()).optional()?;
        let Some((device, inode, probes, finished_bytes)) = row else { return Ok(None) };
        let probes = serde_json::from_str(&probes)
            .map_err(|error| LedgerError::Damaged(format!("probes of {}: {error}", path.to_report())))?;
        Ok(Some(GrowthRecord {
            device: device.cast_unsigned(),
            inode: inode.cast_unsigned(),
            probes,
            finished_bytes: finished_bytes.map(i64::cast_unsigned),
        }))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Map;

    use crate::paths::RelativePath;
    use crate::store::test_support::{Scratch, plane, stat};
    use crate::store::*;

    const PLANE_KEYS: [&str; 4] = ["version", "plane", "outcome", "container_complete"];

    fn planes(places: &[u64]) -> Vec<ClaimedPlane> {
        let listed = |(z, place): (usize, &u64)| ClaimedPlane {
            index: plane(z as u32),
            place: Some(*place),
            ..ClaimedPlane::default()
        };
        places.iter().enumerate().map(listed).collect()
    }

    impl Scratch {
        /// Claims `a.nd2` with planes that are read from `places`.
        fn claim_growing(&self, mtime_ns: i64, only_grew: bool, places: &[u64]) -> Claimed {
            let probes = vec![Probe { offset: 0, length: 9, digest: [mtime_ns as u8; 32] }];
            let claim = self.file_claim("a.nd2", mtime_ns, 0);
            let request =
                FileClaim { is_complete: false, only_grew, planes: planes(places), probes, ..claim };
            wait(|reply| self.handle().claim_file(request, reply)).unwrap()
        }

        fn claim_complete(&self, mtime_ns: i64, only_grew: bool, places: &[u64]) -> Claimed {
            let claim = self.file_claim("a.nd2", mtime_ns, 0);
            let request = FileClaim { only_grew, planes: planes(places), ..claim };
            wait(|reply| self.handle().claim_file(request, reply)).unwrap()
        }

        /// Lists the planes from `first` on.
        fn extend(&self, ticket: FileTicket, first: usize, places: &[u64]) -> Vec<PlaneState> {
            let more = FileExtension {
                ticket,
                stat: stat(5),
                identity: Identity::default(),
                planes: planes(places).split_off(first),
                probes: vec![Probe { offset: 1, length: 2, digest: [3; 32] }],
            };
            let planes = wait(|reply| self.handle().extend_file(more, reply)).unwrap();
            planes.iter().map(|plane| plane.state).collect()
        }

        fn note_growth(&self, ticket: FileTicket, state: FileState, alert: bool) {
            let alert = alert.then(|| Alert { kind: "stalled".into(), ..Alert::default() });
            let note = GrowthNote { ticket, state, reason: "as seen".into(), alert };
            wait(|reply| self.handle().note_growth(note, reply)).unwrap();
        }

        fn state(&self) -> FileState {
            self.reader().find_file(self.root_id, &path()).unwrap().unwrap().state
        }
    }

    fn path() -> RelativePath {
        RelativePath::new("a.nd2")
    }

    #[test]
    fn planes_are_listed_as_they_come_and_stand_when_the_container_is_complete() {
        let scratch = Scratch::new();
        let claimed = scratch.claim_growing(1, false, &[10, 11]);
        assert_eq!(scratch.state(), FileState::Growing);
        assert!(!scratch.finish_plane(claimed.ticket, 0, 7).file_ready);
        assert_eq!(
            scratch.extend(claimed.ticket, 1, &[10, 11, 12]),
            [PlaneState::Todo; 2],
            "one was listed before"
        );
        for (z, digest) in [(1, 8), (2, 9)] {
            assert!(!scratch.finish_plane(claimed.ticket, z, digest).file_ready, "more may come");
        }
        let record = scratch.reader().growth_of(scratch.root_id, &path()).unwrap().unwrap();
        assert_eq!((record.inode, record.probes[0].offset), (2, 1), "of the last planes listed");

        let complete = scratch.claim_complete(6, true, &[10, 11, 12]);
        let open: Vec<_> = complete.planes.iter().filter(|plane| plane.state == PlaneState::Todo).collect();
        assert_eq!((open.len(), open[0].index, complete.n_misplaced), (1, plane(2), 0), "one is read again");
        assert!(scratch.finish_plane(complete.ticket, 2, 9).is_unchanged);
        assert_eq!(scratch.finish_file(complete.ticket, 6).version, 1);
        let lines = scratch.brief(Stream::Planes, &PLANE_KEYS);
        assert_eq!(lines, ["1 t0p0z0c0 done false", "1 t0p0z1c0 done false", "1 t0p0z2c0 done false"]);
        assert_eq!(scratch.brief(Stream::Files, &["version", "planes", "nuclei"]), ["1 3 24"]);
        assert!(scratch.reader().growth_of(scratch.root_id, &path()).unwrap().is_none());
    }

    #[test]
    fn the_next_process_goes_on_where_planes_are_open() {
        let mut scratch = Scratch::new();
        let claimed = scratch.claim_growing(1, false, &[10, 11, 12]);
        scratch.begin(claimed.ticket);
        scratch.finish_plane(claimed.ticket, 0, 7);
        scratch.open();
        scratch.note("a.nd2", 2, FileState::Growing, "size or times still change");
        // it does not see the last plane as written yet
        let claimed = scratch.claim_growing(2, true, &[10, 11]);
        assert_eq!(claimed.interruptions, 1);
        let states: Vec<_> = claimed.planes.iter().map(|plane| plane.state).collect();
        assert_eq!(states, [PlaneState::Done, PlaneState::Todo]);
        assert_eq!(scratch.extend(claimed.ticket, 2, &[10, 11, 12]), [PlaneState::Todo]);
        scratch.finish_plane(claimed.ticket, 1, 8);
        scratch.finish_plane(claimed.ticket, 2, 9);
        assert_eq!(scratch.lines(Stream::Planes).len(), 3);
        assert_eq!(scratch.reader().counts().unwrap().planes[&PlaneState::Done], 3);
    }

    #[test]
    fn a_plane_that_is_read_from_elsewhere_in_the_end_is_read_again() {
        let scratch = Scratch::new();
        let claimed = scratch.claim_growing(1, false, &[10, 11, 12]);
        for z in 0..3 {
            scratch.finish_plane(claimed.ticket, z, z as u8);
        }
        let complete = scratch.claim_complete(2, true, &[10, 12, 11]);
        assert_eq!(complete.n_misplaced, 2);
        let states: Vec<_> = complete.planes.iter().map(|plane| plane.state).collect();
        assert_eq!(states, [PlaneState::Todo; 3], "one that stands is read again, whatever else is");
        assert!(scratch.finish_plane(complete.ticket, 0, 0).is_unchanged);
        scratch.finish_plane(complete.ticket, 1, 2);
        scratch.finish_plane(complete.ticket, 2, 1);
        assert_eq!(scratch.finish_file(complete.ticket, 2).version, 2);
        assert_eq!(scratch.brief(Stream::Planes, &["version", "plane"])[3..], ["2 t0p0z1c0", "2 t0p0z2c0"]);
    }

    #[test]
    fn a_finished_file_that_may_grow_again_keeps_its_results() {
        let scratch = Scratch::new();
        let claim = |mtime_ns, only_grew, places: &[u64]| {
            let probes = vec![Probe { offset: 0, length: 9, digest: [7; 32] }];
            let claim = scratch.file_claim("a.nd2", mtime_ns, 0);
            let request = FileClaim { only_grew, planes: planes(places), probes, ..claim };
            wait(|reply| scratch.handle().claim_file(request, reply)).unwrap()
        };
        let record = || scratch.reader().growth_of(scratch.root_id, &path()).unwrap();
        let claimed = claim(1, false, &[10, 11]);
        assert_eq!(record().unwrap().finished_bytes, None);
        scratch.finish_plane(claimed.ticket, 0, 7);
        scratch.finish_plane(claimed.ticket, 1, 8);
        scratch.finish_file(claimed.ticket, 1);
        assert_eq!(record().unwrap().finished_bytes, Some(stat(1).size_bytes));
        let mut growing = Vec::new();
        scratch.reader().growing_files(|file_id| growing.push(file_id)).unwrap();
        assert!(growing.is_empty(), "it is whole");

        let claimed = claim(2, true, &[10, 11, 12]);
        let states: Vec<_> = claimed.planes.iter().map(|plane| plane.state).collect();
        assert_eq!(states, [PlaneState::Done, PlaneState::Done, PlaneState::Todo]);
        scratch.finish_plane(claimed.ticket, 2, 9);
        assert_eq!(scratch.finish_file(claimed.ticket, 2).version, 2);
        let lines = scratch.brief(Stream::Planes, &["version", "plane"]);
        assert_eq!(lines, ["1 t0p0z0c0", "1 t0p0z1c0", "2 t0p0z2c0"]);
        assert_eq!(scratch.brief(Stream::Files, &["version", "planes"]), ["1 2", "2 3"]);

        let claimed = scratch.claim_complete(3, false, &[10]);
        assert_eq!(record(), None, "another file, and one that does not grow");
        assert_eq!(claimed.planes[0].state, PlaneState::Todo);
    }

    #[test]
    fn a_rejected_plane_that_is_listed_elsewhere_is_counted_once() {
        let scratch = Scratch::new();
        let claimed = scratch.claim_growing(1, false, &[10, 11]);
        scratch.finish_plane(claimed.ticket, 0, 7);
        scratch.fail_plane(claimed.ticket, 1, 1);
        assert_eq!(scratch.reader().counts().unwrap().planes[&PlaneState::Rejected], 1);
        assert_eq!(scratch.extend(claimed.ticket, 1, &[10, 12]), [PlaneState::Todo]);
        let planes = scratch.reader().counts().unwrap().planes;
        let of = |state| planes[&state];
        assert_eq!([of(PlaneState::Done), of(PlaneState::Todo), of(PlaneState::Rejected)], [1, 1, 0]);
        scratch.finish_plane(claimed.ticket, 1, 8);
        assert_eq!(scratch.reader().counts().unwrap().planes[&PlaneState::Done], 2);
    }

    #[test]
    fn a_file_written_anew_keeps_the_lines_of_equal_pixels() {
        let scratch = Scratch::new();
        let claimed = scratch.claim_growing(1, false, &[10, 11, 12]);
        for z in 0..3 {
            scratch.finish_plane(claimed.ticket, z, z as u8);
        }
        wait(|reply| scratch.handle().reopen_file(claimed.ticket, "written anew".into(), reply)).unwrap();
        let again = scratch.claim_growing(2, false, &[10]);
        assert_eq!(again.planes[0].state, PlaneState::Todo);
        assert!(scratch.finish_plane(again.ticket, 0, 0).is_unchanged);
        assert_eq!(scratch.extend(again.ticket, 1, &[10, 11]), [PlaneState::Todo], "to be compared");
        assert!(!scratch.finish_plane(again.ticket, 1, 9).is_unchanged);
        let complete = scratch.claim_complete(3, true, &[10, 11]);
        scratch.finish_plane(complete.ticket, 1, 9);
        scratch.finish_file(complete.ticket, 3);
        let lines = scratch.brief(Stream::Planes, &["version", "plane"]);
        assert_eq!(lines[3..], ["2 t0p0z1c0"]);
        assert_eq!(scratch.brief(Stream::Files, &["planes"]), ["2"], "the third plane never came again");
    }

    #[test]
    fn a_stall_is_told_once_and_an_orderly_end_is_no_interruption() {
        let mut scratch = Scratch::new();
        let claimed = scratch.claim_growing(1, false, &[10]);
        scratch.begin(claimed.ticket);
        scratch.note_growth(claimed.ticket, FileState::Growing, false);
        for _ in 0..2 {
            scratch.note_growth(claimed.ticket, FileState::Stalled, true);
        }
        assert_eq!(scratch.state(), FileState::Stalled);
        assert_eq!(scratch.brief(Stream::Alerts, &["kind", "file", "state"]), ["stalled a.nd2 stalled"]);
        wait(|reply| scratch.handle().release_all("end".into(), reply)).unwrap();
        scratch.open();
        assert_eq!(scratch.claim_growing(1, true, &[10]).interruptions, 0);
        let complete = scratch.claim_complete(1, true, &[10]);
        let more = FileExtension {
            ticket: complete.ticket,
            stat: stat(1),
            identity: Identity::default(),
            planes: Vec::new(),
            probes: Vec::new(),
        };
        assert!(wait(|reply| scratch.handle().extend_file(more, reply)).is_err(), "it grows no more");
        let early = wait(|reply| scratch.handle().finish_file(claimed.ticket, Map::new(), reply));
        assert!(early.is_err(), "its ticket is stale");
    }
}

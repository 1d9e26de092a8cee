//! The stages' way to the ledger: its operations as futures, and the closing of a file that every path leads to.

mod failures;

use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use dashmap::DashMap;
use serde::Serialize;
use tokio::sync::oneshot;
use tracing::{debug, info, warn};

use crate::actor::{IoPool, StageCounters, StageError};
use crate::messages::Ticket;
use crate::paths::RelativePath;
use crate::platform::filesystem;
use crate::reports::{ObjectTables, Part, PartError};
use crate::store::{
    Alert, Claimed, Confirmed, FileClaim, FileExtension, FileFinished, FileNote, FileState, FileTicket,
    GrowthNote, GrowthRecord, LedgerError, LedgerHandle, LedgerReader, PlaneClaim, PlaneDone, PlaneFinished,
    Reply, SegmentedPlane, WellSettled,
};
use crate::units::PlaneIndex;

/// Writes into the ledger and closes files; cheap to clone.
#[derive(Clone)]
pub struct Bookkeeping {
    ledger: LedgerHandle,
    reader: Arc<Mutex<LedgerReader>>,
    io: IoPool,
    tables: ObjectTables,
    attempts_max: u32,
    progress: Arc<Progress>,
    /// How often this process has failed with files as a whole.
    failed_files: Arc<DashMap<(i64, RelativePath), u32>>,
}

/// How often who waits for an answer looks whether the ledger waits for space.
const WAIT_LOOK: Duration = Duration::from_secs(1);
/// Pause between two tries to write while there is no space.
const RETRY_INTERVAL: Duration = Duration::from_secs(1);

/// Why object tables could not be joined.
#[derive(Debug, thiserror::Error)]
enum JoinTablesError {
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    #[error(transparent)]
    Part(#[from] PartError),
}

macro_rules! progress {
    ($($(#[$doc:meta])* $name:ident,)+) => {
        /// What this run has done so far; counted as it is committed.
        #[derive(Debug, Default)]
        pub struct Progress {
            $($name: AtomicU64,)+
            /// The ledger waits for space now; set by whoever hears its notices.
            pub ledger_waits: AtomicBool,
        }

        /// A reading of [`Progress`].
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
        pub struct ProgressSnapshot { $($(#[$doc])* pub $name: u64,)+ }

        impl Progress {
            /// Reads all counters.
            pub fn snapshot(&self) -> ProgressSnapshot {
                ProgressSnapshot { $($name: self.$name.load(Ordering::Relaxed),)+ }
            }
        }
    };
}

progress! {
    /// Files closed with a line, with at least one plane done.
    files_done,
    /// Files looked at again in which nothing had changed.
    files_unchanged,
    /// Files rejected as a whole, or with all their planes.
    files_rejected,
    /// Files given back because they changed or vanished while they were read.
    files_reopened,
    /// Planes done.
    planes_done,
    /// Planes read again that had not changed.
    planes_unchanged,
    /// Planes rejected.
    planes_rejected,
    /// Verdicts of operators that were written down or taken back.
    verdicts,
    /// Times that the wells of new fields were gone over.
    wells_settled,
}

impl Progress {
    fn count(counter: &AtomicU64) {
        counter.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts a verdict of an operator.
    pub fn count_verdict(&self) {
        Self::count(&self.verdicts);
    }
}

impl Bookkeeping {
    /// A plane is tried `attempts_max` times.
    pub fn new(
        (ledger, reader): (LedgerHandle, LedgerReader),
        io: IoPool,
        tables: ObjectTables,
        attempts_max: u32,
        progress: Arc<Progress>,
    ) -> Self {
        let (reader, failed_files) = (Arc::new(Mutex::new(reader)), Arc::default());
        Self { ledger, reader, io, tables, attempts_max, progress, failed_files }
    }

    /// Whether the ledger waits for space now.
    pub fn ledger_waits(&self) -> bool {
        self.progress.ledger_waits.load(Ordering::Relaxed)
    }

    /// Waits for an answer of the ledger. One that waits for space is no hang of ours.
    pub async fn patiently<T>(&self, counters: &StageCounters, answer: impl Future<Output = T>) -> T {
        tokio::pin!(answer);
        loop {
            tokio::select! {
                answer = &mut answer => return answer,
                () = tokio::time::sleep(WAIT_LOOK) => if self.ledger_waits() { counters.progress() },
            }
        }
    }

    /// Notes where a file stands that is not taken up yet; nobody waits for it.
    pub fn note_file(&self, ticket: &Ticket, state: FileState, reason: String, alert: Option<Alert>) {
        let Some(stat) = ticket.stat else { return };
        let note =
            FileNote { root_id: ticket.root.id, path: (*ticket.path).clone(), stat, state, reason, alert };
        self.ledger.note_file(note, Box::new(|_| ()));
    }

    /// Takes a file up.
    pub async fn claim_file(&self, request: FileClaim) -> Result<Claimed, StageError> {
        self.ask(|ledger, reply| ledger.claim_file(request, reply)).await
    }

    /// Lists more planes of a file that grows.
    pub async fn extend_file(&self, more: FileExtension) -> Result<Vec<PlaneClaim>, StageError> {
        self.ask(|ledger, reply| ledger.extend_file(more, reply)).await
    }

    /// Notes whether planes of a growing file still come; nobody waits for it.
    pub fn note_growth(&self, note: GrowthNote) {
        self.ledger.note_growth(note, Box::new(|_| ()));
    }

    /// Gives a claim up because the file is another one now.
    pub async fn reopen_file(&self, claim: FileTicket, reason: String) -> Result<(), StageError> {
        self.ask(|ledger, reply| ledger.reopen_file(claim, reason, reply)).await
    }

    /// By what a file is known again that was taken up while it grew. Reads the ledger: call it off the runtime's
    /// workers.
    ///
    /// # Errors
    /// When the ledger cannot be read.
    pub fn growth_of(&self, root_id: i64, path: &RelativePath) -> Result<Option<GrowthRecord>, LedgerError> {
        self.reader.lock().unwrap_or_else(PoisonError::into_inner).growth_of(root_id, path)
    }

    /// Writes an alert down; nobody waits for it.
    pub fn alert(&self, alert: Alert) {
        self.ledger.emit_alert(alert, Box::new(|_| ()));
    }

    /// Writes down that the pixels of a file are worked on from here on; nobody waits for it.
    pub fn begin_planes(&self, claim: FileTicket) {
        self.ledger.begin_planes(claim, Box::new(|_| ()));
    }

    /// Writes down a plane and its lines; closes the file when it was the last.
    pub async fn finish_plane(&self, ticket: &Ticket, done: PlaneDone) -> Result<(), StageError> {
        let finished: PlaneFinished = self.ask(|ledger, reply| ledger.finish_plane(done, reply)).await?;
        let Progress { planes_done, planes_unchanged, .. } = &*self.progress;
        Progress::count(if finished.is_unchanged { planes_unchanged } else { planes_done });
        self.close_if(finished.file_ready, ticket).await
    }

    /// Writes down what the transform of a well came to.
    pub async fn settle_well(&self, settled: WellSettled) -> Result<(), StageError> {
        self.ask(|ledger, reply| ledger.settle_well(settled, reply)).await
    }

    /// Writes down that every well is settled that was marked up to a mark.
    pub async fn wells_settled(&self, last: i64) -> Result<(), StageError> {
        self.ask(|ledger, reply| ledger.wells_settled(last, reply)).await?;
        Progress::count(&self.progress.wells_settled);
        Ok(())
    }

    /// Compares the file with its claim after its last plane was read: unchanged, it can be closed once its planes
    /// are; changed, it is given back to be taken up again.
    pub async fn confirm_file(&self, ticket: &Ticket, claim: FileTicket) -> Result<(), StageError> {
        let path = ticket.absolute_path();
        let stat = self.io.run(move |_| filesystem::stat_path(&path)).await?;
        let reason = match stat {
            Ok(stat) => {
                let confirmed: Confirmed =
                    self.ask(|ledger, reply| ledger.confirm_file(claim, stat, reply)).await?;
                if confirmed.is_unchanged {
                    return self.close_if(confirmed.file_ready, ticket).await;
                }
                "changed while it was read".to_owned()
            }
            Err(error) => format!("cannot be found any more after reading: {error}"),
        };
        info!(file = %ticket, reason, "to be taken up again");
        Progress::count(&self.progress.files_reopened);
        self.ask(|ledger, reply| ledger.reopen_file(claim, reason, reply)).await
    }

    /// Hands a file back at shutdown, without blame.
    pub async fn release_file(&self, claim: FileTicket) -> Result<(), StageError> {
        self.ask(|ledger, reply| ledger.release_file(claim, "handed back at shutdown".into(), reply)).await
    }

    async fn close_if(&self, file_ready: bool, ticket: &Ticket) -> Result<(), StageError> {
        let Some(claim) = ticket.claim.filter(|_| file_ready) else { return Ok(()) };
        let Joined { lost, parts } = self.join_tables(claim, ticket).await?;
        if !lost.is_empty() {
            warn!(file = %ticket, n_planes = lost.len(), "parts of the object table are lost, doing their planes again");
            return self.ask(|ledger, reply| ledger.reread_planes(claim, lost, reply)).await;
        }
        let mut fields = serde_json::Map::new();
        let latency_ms = ticket.seen_at.elapsed().as_millis() as u64;
        fields.insert("latency_ms".into(), latency_ms.into());
        let finished: FileFinished =
            self.ask(|ledger, reply| ledger.finish_file(claim, fields, reply)).await?;
        self.failed_files.remove(&(ticket.root.id, (*ticket.path).clone()));
        let Progress { files_done, files_unchanged, files_rejected, .. } = &*self.progress;
        Progress::count(match finished.state {
            FileState::Rejected => files_rejected,
            _ if finished.is_unchanged => files_unchanged,
            _ => files_done,
        });
        debug!(file = %ticket, version = finished.version, state = finished.state.name(), latency_ms, "file closed");
        self.remove_parts(claim, ticket, parts).await
    }

    /// Removes the parts that went into a table that the ledger knows of, and what older claims left behind.
    async fn remove_parts(
        &self,
        claim: FileTicket,
        ticket: &Ticket,
        parts: Vec<Part>,
    ) -> Result<(), StageError> {
        if parts.is_empty() && claim.claim == 1 {
            return Ok(());
        }
        let tables = self.tables.clone();
        let remove = move || match claim.claim {
            1 => tables.remove(&parts),
            _ => tables.remove_parts(claim.file_id),
        };
        if let Err(error) = self.io.run(move |_| remove()).await? {
            warn!(file = %ticket, %error, "parts of the object table cannot be removed");
        }
        Ok(())
    }

    /// Joins the object tables of a container's planes. Waits while there is no space; a disk that fails ends the line; a table
    /// that cannot be written for another reason is an alert, and the file is closed without it.
    async fn join_tables(&self, claim: FileTicket, ticket: &Ticket) -> Result<Joined, StageError> {
        loop {
            let this = self.clone();
            let (root, path) = (ticket.root.clone(), ticket.path.clone());
            let joined = self.io.run(move |_| this.try_join_tables(claim, &root.name, &path)).await?;
            match joined {
                Ok(joined) => return Ok(joined),
                Err(JoinTablesError::Ledger(error)) => return Err(StageError::fatal(error)),
                Err(JoinTablesError::Part(error)) if error.is_out_of_space() => {
                    warn!(file = %ticket, "no space for the object table, trying again");
                    tokio::time::sleep(RETRY_INTERVAL).await;
                }
                Err(JoinTablesError::Part(error)) if error.is_of_the_disk() => {
                    return Err(StageError::fatal(error));
                }
                Err(JoinTablesError::Part(error)) => {
                    warn!(file = %ticket, %error, "the object table cannot be written");
                    let text =
                        format!("the object table of {} cannot be written: {error}", ticket.path.to_report());
                    let alert = Alert { kind: "objects_table".into(), text, ..Alert::default() };
                    self.ledger.emit_alert(alert, Box::new(|_| ()));
                    return Ok(Joined::default());
                }
            }
        }
    }

    fn try_join_tables(
        &self,
        claim: FileTicket,
        root_name: &str,
        path: &RelativePath,
    ) -> Result<Joined, JoinTablesError> {
        let reader = self.reader.lock().unwrap_or_else(PoisonError::into_inner);
        let planes = reader.segmented_planes(claim.file_id)?;
        drop(reader);
        let (tables, table) = (&self.tables, self.tables.table_path(root_name, path));
        let joined = put_together(tables, claim.file_id, &planes, &table)?;
        if !joined.lost.is_empty() || planes.is_empty() {
            return Ok(joined);
        }
        tables.renew_parquet(&table, &tables.parquet_path(root_name, path), !joined.parts.is_empty())?;
        if joined.parts.is_empty() {
            return Ok(joined);
        }
        let outlines = |position| tables.outlines_path(root_name, path, position);
        match tables.join_outlines(claim.file_id, &planes, outlines)? {
            lost if lost.is_empty() => Ok(joined),
            lost => Ok(Joined::lost(lost)),
        }
    }

    /// Queues an operation and waits for its commit. A claim that went stale is an item's error; a ledger that cannot
    /// be written is fatal.
    async fn ask<T: Send + 'static>(
        &self,
        queue: impl FnOnce(&LedgerHandle, Reply<T>),
    ) -> Result<T, StageError> {
        let (sender, receiver) = oneshot::channel();
        queue(
            &self.ledger,
            Box::new(move |answer| {
                // whoever asked may have been stopped
                let _ = sender.send(answer);
            }),
        );
        let answer = receiver.await.unwrap_or(Err(LedgerError::Closed));
        answer.map_err(
            |error| if error.is_fatal() { StageError::fatal(error) } else { StageError::item(error) },
        )
    }
}

/// What became of a container's object table.
#[derive(Debug, Default)]
struct Joined {
    /// Planes that have to be done again for it; the table was not made then.
    lost: Vec<PlaneIndex>,
    /// The parts that went into it.
    parts: Vec<Part>,
}

impl Joined {
    fn lost(lost: Vec<PlaneIndex>) -> Self {
        Self { lost, parts: Vec::new() }
    }
}

/// Makes the object table of a container from the parts of its planes, behind what the table holds of those before
/// them.
fn put_together(
    tables: &ObjectTables,
    file_id: i64,
    planes: &[SegmentedPlane],
    table: &Path,
) -> Result<Joined, PartError> {
    if planes.iter().all(|plane| plane.claim.is_none()) && (planes.is_empty() || table.exists()) {
        // nothing was segmented since the table was made: it stands as it is
        return Ok(Joined::default());
    }
    let n_tabled = planes.iter().take_while(|plane| plane.claim.is_none()).count();
    let (tabled, others) = planes.split_at(n_tabled);
    let (mut parts, mut lost) = (Vec::with_capacity(others.len()), Vec::new());
    for plane in others {
        match plane.claim.map(|claim| Part { file_id, claim, plane: plane.index }) {
            Some(part) if tables.has_part(part) => parts.push(part),
            _ => lost.push(plane.index),
        }
    }
    if !lost.is_empty() {
        return Ok(Joined::lost(lost));
    }
    if n_tabled > 0 {
        let n_rows = |planes: &[SegmentedPlane]| planes.iter().map(|plane| plane.nuclei).sum::<u64>();
        if !tables.extend(n_rows(tabled)..n_rows(planes), &parts, table)? {
            return Ok(Joined::lost(tabled.iter().map(|plane| plane.index).collect()));
        }
        return Ok(Joined { lost, parts });
    }
    match tables.concatenate(&parts, table) {
        Ok(()) => Ok(Joined { lost, parts }),
        Err(PartError::Damaged(plane)) => Ok(Joined::lost(vec![plane])),
        Err(error) => Err(error),
    }
}

//! The ledger's door: opened once, written through cheap handles, every operation answered after its commit.

use std::path::Path;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use super::lock::InstanceLock;
use super::writer::{Message, Operation, Writer};
use super::{claim, edges, files, growth, outbox, pause, planes, schema, verdicts, wells};
use crate::paths::FileStat;
use crate::store::records::*;
use crate::store::{LedgerError, OperatorVerdict, Pause, Session, Stream, WellSettled};
use crate::units::PlaneIndex;

/// Called once with the answer, after the commit, on the writer's thread: it must not block.
pub type Reply<T> = Box<dyn FnOnce(Result<T, LedgerError>) + Send>;

/// What the writer tells besides the answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LedgerNotice {
    /// Nothing can be written now (no space left, or another program holds the database); tried again all the time.
    Paused(String),
    /// Writing goes on.
    Resumed,
    /// The writer has ended; the process should end too.
    Fatal(String),
}

/// How the ledger is opened.
pub struct LedgerOptions {
    /// Name of this machine, for the report lines.
    pub host: String,
    /// Name of this run of the program, for the report lines.
    pub run_id: String,
    /// Pause between two tries while nothing can be written. 1 s.
    pub retry_delay: Duration,
    /// Hears of pauses and of the end, on the writer's thread.
    pub on_notice: Box<dyn Fn(LedgerNotice) + Send>,
    /// A planned failure of commits.
    #[cfg(test)]
    pub(crate) before_commit: Box<dyn FnMut() -> Result<(), LedgerError> + Send>,
}

/// The open ledger of an output folder; held by one process at a time.
pub struct Ledger {
    handle: LedgerHandle,
    writer: Option<thread::JoinHandle<()>>,
    run_id: String,
    lock: InstanceLock,
}

/// Queues operations to the one writer. Cheap to clone.
#[derive(Clone)]
pub struct LedgerHandle {
    sender: mpsc::Sender<Message>,
}

impl LedgerOptions {
    /// Options with the names that stand in report lines, nobody listening.
    pub fn new(host: impl Into<String>, run_id: impl Into<String>) -> Self {
        Self {
            host: host.into(),
            run_id: run_id.into(),
            retry_delay: Duration::from_secs(1),
            on_notice: Box::new(|_| ()),
            #[cfg(test)]
            before_commit: Box::new(|| Ok(())),
        }
    }
}

impl Ledger {
    /// Opens or creates `scopewatch.db` in `state_dir` (created with mode 0750), migrates an older one, and starts
    /// the writer.
    ///
    /// # Errors
    /// [`LedgerError::Held`] when another process has it open, [`LedgerError::NewerSchema`], or I/O.
    pub fn open(state_dir: &Path, options: LedgerOptions) -> Result<Self, LedgerError> {
        let mut lock = InstanceLock::take(state_dir)?;
        let connection = schema::open(state_dir)?;
        if let Some(ended_run) = lock.ended_run() {
            files::forgive(&connection, ended_run)?;
        }
        lock.note_begin();
        let run_id = options.run_id.clone();
        let (sender, receiver) = mpsc::channel();
        let writer = Writer::new(connection, receiver, options);
        let thread = thread::Builder::new()
            .name("ledger".into())
            .spawn(move || writer.run())
            .map_err(LedgerError::io(state_dir))?;
        Ok(Self { handle: LedgerHandle { sender }, writer: Some(thread), run_id, lock })
    }

    /// A way to write.
    pub fn handle(&self) -> LedgerHandle {
        self.handle.clone()
    }

    /// Does everything that was queued before, and ends the writer. Dropping the ledger does the same, but leaves the next
    /// run to think that this one was cut off, as by a kill.
    pub fn close(mut self) {
        self.end();
        self.lock.note_end(&self.run_id);
    }

    fn end(&mut self) {
        if let Some(thread) = self.writer.take() {
            // an error means that the writer has ended by itself
            let _ = self.handle.sender.send(Message::Stop);
            let _ = thread.join();
        }
    }
}

impl Drop for Ledger {
    fn drop(&mut self) {
        self.end();
    }
}

/// Waits for the answer of an operation: for commands and tests, never on an async worker.
///
/// # Errors
/// That of the operation.
pub fn wait<T: Send + 'static>(queue: impl FnOnce(Reply<T>)) -> Result<T, LedgerError> {
    let (sender, receiver) = mpsc::sync_channel(1);
    queue(Box::new(move |answer| {
        let _ = sender.send(answer);
    }));
    receiver.recv().unwrap_or(Err(LedgerError::Closed))
}

impl LedgerHandle {
    /// Makes roots known by their names, and answers their numbers in the same order. A root is the same wherever it
    /// is mounted.
    pub fn register_roots(&self, roots: Vec<(String, std::path::PathBuf)>, reply: Reply<Vec<i64>>) {
        self.queue(reply, move |session| files::register_roots(session, &roots));
    }

    /// Writes down where a file stands that is not taken up. Does nothing for a file that this run works on.
    pub fn note_file(&self, note: FileNote, reply: Reply<()>) {
        self.queue(reply, move |session| files::note(session, &note));
    }

    /// Takes up a file; the rules of versions stand in the documentation of [`crate::store`].
    pub fn claim_file(&self, request: FileClaim, reply: Reply<Claimed>) {
        self.queue(reply, move |session| claim::claim(session, &request));
    }

    /// Lists more planes of a file that was claimed while it grows, under the same ticket; answers what is to be done
    /// with each.
    pub fn extend_file(&self, more: FileExtension, reply: Reply<Vec<PlaneClaim>>) {
        self.queue(reply, move |session| claim::extend(session, &more));
    }

    /// Writes down whether planes of a growing file still come.
    pub fn note_growth(&self, note: GrowthNote, reply: Reply<()>) {
        self.queue(reply, move |session| growth::note(session, &note));
    }

    /// Writes down that the work on the pixels of a file begins: from here on the end of the process counts as an
    /// interruption of this file. Queued before the first result of the file; the answer need not be waited for.
    pub fn begin_planes(&self, ticket: FileTicket, reply: Reply<()>) {
        self.queue(reply, move |session| files::begin(session, ticket));
    }

    /// Writes down that a plane is done, with its line, features and groups. A plane that is done stays as it is.
    pub fn finish_plane(&self, done: PlaneDone, reply: Reply<PlaneFinished>) {
        self.queue(reply, move |session| planes::finish(session, &done));
    }

    /// Writes down what pixels are to each other. It counts while both have live planes, before or after.
    pub fn save_edges(&self, edges: Vec<Edge>, reply: Reply<()>) {
        self.queue(reply, move |session| edges::save(session, &edges));
    }

    /// Writes down what the transform of a well came to.
    pub fn settle_well(&self, settled: WellSettled, reply: Reply<()>) {
        self.queue(reply, move |session| wells::settle(session, &settled));
    }

    /// Writes down that every well is settled of which a plane was marked up to the mark `last`.
    pub fn wells_settled(&self, last: i64, reply: Reply<()>) {
        self.queue(reply, move |session| wells::unmark(session, last));
    }

    /// Counts a failed attempt, and rejects the plane at the last one.
    pub fn fail_plane(&self, failure: PlaneFailure, reply: Reply<PlaneFailed>) {
        self.queue(reply, move |session| planes::fail(session, &failure));
    }

    /// Asks for planes to be done again though the file did not change (a product beside the ledger was lost), and
    /// hands the file back: its next claim has them to do, without the digest that would spare them the work.
    pub fn reread_planes(&self, ticket: FileTicket, planes: Vec<PlaneIndex>, reply: Reply<()>) {
        self.queue(reply, move |session| planes::reread(session, ticket, &planes));
    }

    /// Says what the file system says of the file after its last plane was read.
    pub fn confirm_file(&self, ticket: FileTicket, stat: FileStat, reply: Reply<Confirmed>) {
        self.queue(reply, move |session| files::confirm(session, ticket, stat));
    }

    /// Writes down that a file is done; `fields` (durations, …) go to its line.
    pub fn finish_file(
        &self,
        ticket: FileTicket,
        fields: serde_json::Map<String, serde_json::Value>,
        reply: Reply<FileFinished>,
    ) {
        self.queue(reply, move |session| files::finish(session, ticket, &fields));
    }

    /// Gives a file up because it changed while it was read; it will be claimed again.
    pub fn reopen_file(&self, ticket: FileTicket, reason: String, reply: Reply<()>) {
        self.queue(reply, move |session| files::reopen(session, ticket, &reason));
    }

    /// Hands a file back without blame: at shutdown, or a growing container with nothing more to read for now. Planes
    /// of it that are in work can still be finished under the ticket, until the next claim. Does nothing for a file
    /// that is not in work any more.
    pub fn release_file(&self, ticket: FileTicket, reason: String, reply: Reply<()>) {
        self.queue(reply, move |session| files::release(session, ticket, &reason));
    }

    /// Hands back, as [`Self::release_file`] does, every file that this run still works on; answers how many.
    pub fn release_all(&self, reason: String, reply: Reply<u64>) {
        self.queue(reply, move |session| files::release_all(session, &reason));
    }

    /// Rejects a file that cannot be taken up at all.
    pub fn reject_file(&self, rejection: FileRejection, reply: Reply<()>) {
        self.queue(reply, move |session| files::reject(session, &rejection));
    }

    /// Takes up a file that was rejected or stays incomplete, or the rejected planes of a file, once more: it is to be
    /// claimed again.
    pub fn retry_file(&self, file_id: i64, reply: Reply<()>) {
        self.queue(reply, move |session| files::retry(session, file_id));
    }

    /// Writes down a pause, or its end; whoever takes files up obeys it, the ledger only remembers.
    pub fn set_pause(&self, pause: Option<Pause>, reply: Reply<()>) {
        self.queue(reply, move |session| pause::set(session, pause));
    }

    /// Writes down what an operator says of two pixel digests, or takes that back (none), and makes the groups anew;
    /// answers the verdict before. A verdict that contradicts others is refused.
    pub fn judge(
        &self,
        pixels: [PixelDigest; 2],
        says: Option<OperatorVerdict>,
        reply: Reply<Option<OperatorVerdict>>,
    ) {
        self.queue(reply, move |session| verdicts::judge(session, pixels, says));
    }

    /// Answers once everything that was queued before is committed: a reader sees it then.
    pub fn catch_up(&self, reply: Reply<()>) {
        self.queue(reply, |_| Ok(()));
    }

    /// Writes a line to `alerts.jsonl`.
    pub fn emit_alert(&self, alert: Alert, reply: Reply<()>) {
        self.queue(reply, move |session| outbox::emit_alert(session, &alert));
    }

    /// Writes down how far a report file has got.
    pub(crate) fn advance_cursor(&self, cursor: (Stream, i64, u64), reply: Reply<()>) {
        self.queue(reply, move |session| outbox::advance(session, cursor));
    }

    /// Calls `wake` after each commit that holds report lines, on the writer's thread.
    pub(crate) fn on_lines(&self, wake: Box<dyn Fn() + Send>) {
        // a writer that has ended commits nothing
        let _ = self.sender.send(Message::OnLines(wake));
    }

    fn queue<T: Send + 'static>(
        &self,
        reply: Reply<T>,
        work: impl FnMut(&Session<'_>) -> Result<T, LedgerError> + Send + 'static,
    ) {
        if let Err(mpsc::SendError(message)) = self.sender.send(Message::Work(Operation::boxed(work, reply)))
        {
            message.refuse(&LedgerError::Closed);
        }
    }
}

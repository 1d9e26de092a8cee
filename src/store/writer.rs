//! The one writer: drains its queue into a transaction, each operation in a savepoint, and answers after the commit.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, TryRecvError};
use std::time::{Duration, Instant};

use rusqlite::Connection;

use super::error::Severity;
use super::ledger::{LedgerNotice, LedgerOptions, Reply};
use super::session::Session;
use crate::store::LedgerError;

/// Most operations in one transaction.
const BATCH_MAX: usize = 256;

/// After this time without work the write-ahead log is folded into the database.
const IDLE: Duration = Duration::from_secs(2);

/// What the writer is asked to do.
pub(super) enum Message {
    Work(Box<dyn Job>),
    OnLines(Box<dyn Fn() + Send>),
    Stop,
}

/// An operation with its reply, the type of the answer hidden.
pub(super) trait Job: Send {
    /// Does the work inside the transaction; may be called again after a rollback.
    fn apply(&mut self, session: &Session<'_>) -> Result<(), LedgerError>;
    /// Keeps an error as the answer.
    fn fail(&mut self, error: LedgerError);
    /// Sends the answer.
    fn reply(self: Box<Self>);
}

/// Work, its answer so far, and who waits for it.
pub(super) struct Operation<T, W> {
    work: W,
    answer: Result<T, LedgerError>,
    reply: Reply<T>,
}

impl<T, W> Operation<T, W>
where
    T: Send + 'static,
    W: FnMut(&Session<'_>) -> Result<T, LedgerError> + Send + 'static,
{
    pub(super) fn boxed(work: W, reply: Reply<T>) -> Box<dyn Job> {
        Box::new(Self { work, answer: Err(LedgerError::Closed), reply })
    }
}

impl<T: Send, W: FnMut(&Session<'_>) -> Result<T, LedgerError> + Send> Job for Operation<T, W> {
    fn apply(&mut self, session: &Session<'_>) -> Result<(), LedgerError> {
        self.answer = Ok((self.work)(session)?);
        Ok(())
    }

    fn fail(&mut self, error: LedgerError) {
        self.answer = Err(error);
    }

    fn reply(self: Box<Self>) {
        (self.reply)(self.answer);
    }
}

impl Message {
    /// Answers an operation that will never be done.
    pub(super) fn refuse(self, error: &LedgerError) {
        if let Self::Work(mut job) = self {
            job.fail(error.clone());
            job.reply();
        }
    }
}

/// Why the writer does not go on.
enum Stop {
    Asked,
    Failed(LedgerError),
}

/// The thread's state.
pub(super) struct Writer {
    connection: Connection,
    receiver: Receiver<Message>,
    options: LedgerOptions,
    wakers: Vec<Box<dyn Fn() + Send>>,
    backlog: VecDeque<Box<dyn Job>>,
    is_stopping: bool,
}

impl Writer {
    pub(super) fn new(connection: Connection, receiver: Receiver<Message>, options: LedgerOptions) -> Self {
        Self {
            connection,
            receiver,
            options,
            wakers: Vec::new(),
            backlog: VecDeque::new(),
            is_stopping: false,
        }
    }

    /// Works until asked to stop with nothing left to do, or until an error that cannot be waited out.
    pub(super) fn run(mut self) {
        let error = match self.work() {
            Stop::Asked => LedgerError::Closed,
            Stop::Failed(error) => {
                let text = error.to_string();
                (self.options.on_notice)(LedgerNotice::Fatal(text.clone()));
                LedgerError::Fatal(Arc::from(text))
            }
        };
        for job in self.backlog.drain(..) {
            Message::Work(job).refuse(&error);
        }
        // closed first, so that whoever sends from now on gets the message back
        let Self { receiver, .. } = self;
        receiver.try_iter().for_each(|message| message.refuse(&error));
    }

    fn work(&mut self) -> Stop {
        loop {
            self.fill_backlog();
            if self.backlog.is_empty() {
                return Stop::Asked;
            }
            if let Err(stop) = self.commit_batch() {
                return stop;
            }
        }
    }

    /// Takes what is queued, and waits where nothing is; stays empty only when the writer is to stop.
    fn fill_backlog(&mut self) {
        let mut is_log_folded = false;
        while self.backlog.len() < BATCH_MAX {
            match self.receiver.try_recv() {
                Ok(message) => self.take(message),
                Err(TryRecvError::Disconnected) => break,
                Err(TryRecvError::Empty) if !self.backlog.is_empty() || self.is_stopping => break,
                Err(TryRecvError::Empty) => match self.receiver.recv_timeout(IDLE) {
                    Ok(message) => self.take(message),
                    Err(RecvTimeoutError::Timeout) if is_log_folded => {
                        if let Ok(message) = self.receiver.recv() {
                            self.take(message);
                        }
                    }
                    Err(RecvTimeoutError::Timeout) => {
                        self.fold_log();
                        is_log_folded = true;
                    }
                    Err(RecvTimeoutError::Disconnected) => break,
                },
            }
        }
    }

    fn take(&mut self, message: Message) {
        match message {
            Message::Work(job) => self.backlog.push_back(job),
            Message::OnLines(wake) => self.wakers.push(wake),
            Message::Stop => self.is_stopping = true,
        }
    }

    /// Folds the write-ahead log into the database; a reader in the way is no harm.
    fn fold_log(&self) {
        let _ = self.connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()));
    }

    /// Commits up to [`BATCH_MAX`] operations, waiting for space where there is none, and answers them.
    fn commit_batch(&mut self) -> Result<(), Stop> {
        let mut is_paused = false;
        let n_jobs = self.backlog.len().min(BATCH_MAX);
        let n_lines = loop {
            match self.try_batch(n_jobs) {
                Ok(n_lines) => break n_lines,
                Err(error) if error.severity() == Severity::Wait => {
                    if !is_paused {
                        is_paused = true;
                        (self.options.on_notice)(LedgerNotice::Paused(error.to_string()));
                    }
                    self.wait_for_space(error)?;
                }
                Err(error) => return Err(Stop::Failed(error)),
            }
        };
        if is_paused {
            (self.options.on_notice)(LedgerNotice::Resumed);
        }
        for job in self.backlog.drain(..n_jobs) {
            job.reply();
        }
        if n_lines > 0 {
            self.wakers.iter().for_each(|wake| wake());
        }
        Ok(())
    }

    /// Sleeps for the retry delay, still hearing the request to stop.
    fn wait_for_space(&mut self, error: LedgerError) -> Result<(), Stop> {
        let end = Instant::now() + self.options.retry_delay;
        while !self.is_stopping {
            match self.receiver.recv_timeout(end.saturating_duration_since(Instant::now())) {
                Ok(message) => self.take(message),
                Err(RecvTimeoutError::Timeout) => return Ok(()),
                Err(RecvTimeoutError::Disconnected) => self.is_stopping = true,
            }
        }
        Err(Stop::Failed(error))
    }

    /// One transaction over the first `n_jobs` operations; answers the number of report lines in it.
    fn try_batch(&mut self, n_jobs: usize) -> Result<u64, LedgerError> {
        let session = Session::new(&self.connection, &self.options.host, &self.options.run_id);
        let transaction = OpenTransaction::begin(&session)?;
        for job in self.backlog.iter_mut().take(n_jobs) {
            let n_lines = session.n_lines.get();
            session.execute("SAVEPOINT operation", [])?;
            if let Err(error) = job.apply(&session) {
                if error.severity() != Severity::Operation {
                    return Err(error);
                }
                session.execute("ROLLBACK TO operation", [])?;
                session.n_lines.set(n_lines);
                job.fail(error);
            }
            session.execute("RELEASE operation", [])?;
        }
        #[cfg(test)]
        (self.options.before_commit)()?;
        transaction.commit()?;
        Ok(session.n_lines.get())
    }
}

/// Rolls back when dropped before the commit.
struct OpenTransaction<'a, 'c> {
    session: &'a Session<'c>,
    is_open: bool,
}

impl<'a, 'c> OpenTransaction<'a, 'c> {
    fn begin(session: &'a Session<'c>) -> Result<Self, LedgerError> {
        session.execute("BEGIN IMMEDIATE", [])?;
        Ok(Self { session, is_open: true })
    }

    fn commit(mut self) -> Result<(), LedgerError> {
        self.session.execute("COMMIT", [])?;
        self.is_open = false;
        Ok(())
    }
}

impl Drop for OpenTransaction<'_, '_> {
    fn drop(&mut self) {
        if self.is_open {
            // SQLite may have rolled back by itself
            let _ = self.session.execute("ROLLBACK", []);
        }
    }
}

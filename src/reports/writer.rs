//! The thread that moves committed lines from the outbox to their files.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use super::tail::{Disk, Tail, TailError};
use crate::store::{LedgerError, LedgerHandle, LedgerReader, Reply};

/// Longest wait for the ledger at the end.
const SETTLE_MAX: Duration = Duration::from_secs(2);

/// How long a line waits for others, so that they are synced together.
const GATHER: Duration = Duration::from_millis(20);

/// What the report writer tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ReportNotice {
    /// No space left; tried again all the time.
    Paused(String),
    /// Writing goes on.
    Resumed,
    /// The writer has ended; the process should end too.
    Fatal(String),
}

/// The thread that moves lines from the outbox to their files.
pub struct ReportWriter {
    sender: mpsc::Sender<Request>,
    thread: Option<thread::JoinHandle<()>>,
}

/// How the report files are written.
pub struct ReportOptions {
    /// Where they stand; created where it is missing.
    pub folder: PathBuf,
    /// Pause between two tries while there is no space. 1 s.
    pub retry_delay: Duration,
    /// Hears of pauses and of the end, on the writer's thread.
    pub on_notice: Box<dyn Fn(ReportNotice) + Send>,
    /// How bytes are written.
    pub(super) disk: Disk,
}

enum Request {
    Lines,
    Flush(Reply<()>),
    Stop,
}

impl ReportOptions {
    /// Options for a folder, nobody listening.
    pub fn new(folder: impl Into<PathBuf>) -> Self {
        Self {
            folder: folder.into(),
            retry_delay: Duration::from_secs(1),
            on_notice: Box::new(|_| ()),
            disk: Disk::default(),
        }
    }
}

impl ReportWriter {
    /// Continues the files, and writes on as lines are committed.
    ///
    /// # Errors
    /// When the folder cannot be made or the ledger not be read.
    pub fn start(
        options: ReportOptions,
        reader: LedgerReader,
        ledger: LedgerHandle,
    ) -> Result<Self, LedgerError> {
        let folder = options.folder.clone();
        fs::create_dir_all(&folder).map_err(LedgerError::io(&folder))?;
        let tails = reader.cursors()?.into_iter().map(|cursor| Tail::new(&folder, cursor)).collect();
        let (sender, receiver) = mpsc::channel();
        let waker = sender.clone();
        ledger.on_lines(Box::new(move || {
            // a writer that has ended has told so
            let _ = waker.send(Request::Lines);
        }));
        let worker =
            Worker { options, reader, ledger, tails, receiver, flushes: Vec::new(), is_stopping: false };
        let thread = thread::Builder::new()
            .name("reports".into())
            .spawn(move || worker.run())
            .map_err(LedgerError::io(Path::new("thread reports")))?;
        Ok(Self { sender, thread: Some(thread) })
    }

    /// Answers when every line that is committed now is in its file.
    pub fn flush(&self, reply: Reply<()>) {
        if let Err(mpsc::SendError(Request::Flush(reply))) = self.sender.send(Request::Flush(reply)) {
            reply(Err(LedgerError::Closed));
        }
    }

    /// Writes every committed line, waits until the ledger knows, and ends the thread. To be called before the
    /// ledger is closed. Dropping the writer does the same.
    pub fn close(mut self) {
        self.end();
    }

    fn end(&mut self) {
        if let Some(thread) = self.thread.take() {
            // an error means that the thread has ended by itself
            let _ = self.sender.send(Request::Stop);
            let _ = thread.join();
        }
    }
}

impl Drop for ReportWriter {
    fn drop(&mut self) {
        self.end();
    }
}

/// The thread's state.
struct Worker {
    options: ReportOptions,
    reader: LedgerReader,
    ledger: LedgerHandle,
    tails: Vec<Tail>,
    receiver: Receiver<Request>,
    flushes: Vec<Reply<()>>,
    is_stopping: bool,
}

impl Worker {
    fn run(mut self) {
        let result = self.work();
        if let Err(error) = &result {
            (self.options.on_notice)(ReportNotice::Fatal(error.to_string()));
        }
        let error = result
            .map_or_else(|error| LedgerError::Fatal(Arc::from(error.to_string())), |()| LedgerError::Closed);
        let late = self.receiver.try_iter().filter_map(|request| match request {
            Request::Flush(reply) => Some(reply),
            _ => None,
        });
        self.flushes.into_iter().chain(late).for_each(|reply| reply(Err(error.clone())));
    }

    fn work(&mut self) -> Result<(), TailError> {
        let mut is_paused = false;
        loop {
            match self.catch_up() {
                Ok(()) => {
                    if std::mem::take(&mut is_paused) {
                        (self.options.on_notice)(ReportNotice::Resumed);
                    }
                    self.flushes.drain(..).for_each(|reply| reply(Ok(())));
                    if self.is_stopping {
                        self.settle();
                        return Ok(());
                    }
                    // the sender of the waker lives as long as the ledger, so this ends with a request
                    if let Ok(request) = self.receiver.recv() {
                        self.take(request);
                        self.gather();
                    }
                }
                Err(error) if error.is_full() && !self.is_stopping => {
                    if !std::mem::replace(&mut is_paused, true) {
                        (self.options.on_notice)(ReportNotice::Paused(error.to_string()));
                    }
                    match self.receiver.recv_timeout(self.options.retry_delay) {
                        Err(RecvTimeoutError::Disconnected) => return Err(error),
                        Err(RecvTimeoutError::Timeout) => {}
                        Ok(request) => {
                            self.take(request);
                            thread::sleep(self.options.retry_delay.min(Duration::from_millis(50)));
                        }
                    }
                }
                Err(error) => return Err(error),
            }
            while let Ok(request) = self.receiver.try_recv() {
                self.take(request);
            }
        }
    }

    /// Lets more lines come, unless somebody waits for them.
    fn gather(&mut self) {
        let end = Instant::now() + GATHER;
        while self.flushes.is_empty() && !self.is_stopping {
            match self.receiver.recv_timeout(end.saturating_duration_since(Instant::now())) {
                Ok(request) => self.take(request),
                Err(_) => return,
            }
        }
    }

    fn take(&mut self, request: Request) {
        match request {
            Request::Lines => {}
            Request::Flush(reply) => self.flushes.push(reply),
            Request::Stop => self.is_stopping = true,
        }
    }

    fn catch_up(&mut self) -> Result<(), TailError> {
        for tail in &mut self.tails {
            let result = tail.catch_up(&self.reader, &mut self.options.disk);
            if let Some(cursor) = tail.cursor() {
                // an error is the ledger's to tell; without the cursor the lines are matched at the next start
                self.ledger.advance_cursor(cursor, Box::new(|_| ()));
            }
            result?;
        }
        Ok(())
    }

    /// Waits until the ledger has done what was queued, but not for a ledger that has no space to write: without the
    /// cursors, the lines are matched at the next start.
    fn settle(&self) {
        let (sender, receiver) = mpsc::channel();
        self.ledger.register_roots(
            Vec::new(),
            Box::new(move |_| {
                let _ = sender.send(());
            }),
        );
        let _ = receiver.recv_timeout(SETTLE_MAX);
    }
}

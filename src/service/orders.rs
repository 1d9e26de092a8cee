//! What an operator may order: to pause and go on, to walk the folders now, to try again what was given up. The running
//! service does it, or a command that has taken the ledger's lock in its place.

use std::sync::mpsc;
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};

use crate::stages::watcher::RootFound;
use crate::store::{
    FileLocation, LedgerError, LedgerHandle, LedgerReader, OperatorVerdict, Pause, PixelDigest, wait,
};

use super::Watchtower;

/// Why an order was not followed.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the messages say it")]
pub enum OrderError {
    #[error("expected a pause of 1 second to 365 days")]
    PauseLength,
    #[error("{name} is not watched; the watched roots are: {known}")]
    UnknownRoot { name: String, known: String },
    #[error("the walk was broken off, the pipeline is ending or starting anew")]
    WalkBrokenOff,
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    #[error("cannot understand the request: {0}")]
    NotUnderstood(serde_json::Error),
    #[error("cannot write the answer: {0}")]
    Answer(#[from] serde_json::Error),
    #[error("{0}")]
    Failed(String),
}

/// Which files are to be tried again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Which {
    /// All that were rejected as a whole or in part, or stay incomplete.
    All,
    /// These, by their numbers in the ledger.
    Files(Vec<i64>),
}

/// Operations that are queued at once.
const AT_ONCE: usize = 256;
/// Files that are looked at by name after an order; more are a whole walk.
const HINTS_MAX: usize = 64;

/// A pause from now on, for a while or until somebody resumes.
///
/// # Errors
/// When the while is none.
pub fn pause_for(length: Option<Duration>) -> Result<Pause, OrderError> {
    let since = SystemTime::now();
    let day = Duration::from_secs(24 * 3600);
    if length.is_some_and(|length| !(Duration::from_secs(1)..=365 * day).contains(&length)) {
        return Err(OrderError::PauseLength);
    }
    Ok(Pause { since, until: length.map(|length| since + length) })
}

/// Hands files that were given up to the next claim; the files that this was done for.
///
/// # Errors
/// When the ledger cannot be read or written, or when none of several named files is to be tried again.
pub fn retry(
    ledger: &LedgerHandle,
    reader: &LedgerReader,
    which: &Which,
) -> Result<Vec<FileLocation>, LedgerError> {
    let mut files = match which {
        Which::All => reader.failed_files()?,
        Which::Files(ids) => {
            let files = ids.iter().map(|id| reader.file_location(*id)).collect::<Result<Vec<_>, _>>()?;
            files.into_iter().flatten().collect()
        }
    };
    let mut refusal = None;
    let mut answers = Vec::with_capacity(files.len());
    for some in files.chunks(AT_ONCE) {
        let (sender, receiver) = mpsc::channel();
        for FileLocation { file_id, .. } in some {
            let sender = sender.clone();
            // answers come in the order of the calls
            let reply = move |answer| drop(sender.send(answer));
            ledger.retry_file(*file_id, Box::new(reply));
        }
        drop(sender);
        for answer in receiver {
            match answer {
                Err(error) if error.is_fatal() => return Err(error),
                Err(error) => {
                    refusal.get_or_insert(error);
                    answers.push(false);
                }
                Ok(()) => answers.push(true),
            }
        }
    }
    let mut answers = answers.into_iter();
    files.retain(|_| answers.next().unwrap_or(false));
    // a file that came right by itself in the meantime is nothing to complain about
    match refusal.filter(|_| files.is_empty() && *which != Which::All) {
        Some(error) => Err(error),
        None => Ok(files),
    }
}

impl Watchtower {
    /// Takes up nothing new from now on; waits for the commit.
    ///
    /// # Errors
    /// When the length is wrong, or the ledger cannot be written.
    pub fn pause(&self, length: Option<Duration>) -> Result<Pause, OrderError> {
        let pause = pause_for(length)?;
        wait(|reply| self.resources.ledger.set_pause(Some(pause), reply))?;
        self.resources.pause.set(Some(pause));
        let until = pause.until.map(|until| humantime::format_rfc3339_seconds(until).to_string());
        tracing::info!(until = until.as_deref().unwrap_or("somebody resumes"), "paused");
        Ok(pause)
    }

    /// Goes on; the pause that this ends, if there was one.
    ///
    /// # Errors
    /// When the ledger cannot be written.
    pub fn resume(&self) -> Result<Option<Pause>, OrderError> {
        let ended = self.resources.pause.current();
        wait(|reply| self.resources.ledger.set_pause(None, reply))?;
        self.resources.pause.set(None);
        tracing::info!("resumed");
        Ok(ended)
    }

    /// Remembers what an operator says of two digests of pixels, or forgets it; the verdict before.
    ///
    /// # Errors
    /// When it contradicts other verdicts, or the ledger cannot be written.
    pub fn judge(
        &self,
        pixels: [PixelDigest; 2],
        says: Option<OperatorVerdict>,
    ) -> Result<Option<OperatorVerdict>, OrderError> {
        let before = wait(|reply| self.resources.ledger.judge(pixels, says, reply))?;
        self.progress.count_verdict();
        tracing::info!(
            verdict = says.map_or("forgotten", OperatorVerdict::name),
            before = before.map(OperatorVerdict::name),
            "an operator's verdict"
        );
        Ok(before)
    }

    /// Walks one root, or all, and says what was found; takes as long as the walk.
    ///
    /// # Errors
    /// When no such root is watched, or the service ends meanwhile.
    pub async fn rescan(&self, root: Option<String>) -> Result<Vec<RootFound>, OrderError> {
        let found = self.watched.rescans.ask(root.clone()).await.map_err(|_| OrderError::WalkBrokenOff)?;
        match root.filter(|_| found.is_empty()) {
            None => Ok(found),
            Some(name) => {
                let roots = self.watched.roots.iter();
                let known: Vec<_> = roots.map(|watched| watched.root.name.as_str()).collect();
                Err(OrderError::UnknownRoot { name, known: known.join(", ") })
            }
        }
    }

    /// Tries files again that were given up, at once where their root is watched.
    ///
    /// # Errors
    /// As for [`retry`].
    pub fn retry(&self, which: &Which) -> Result<Vec<FileLocation>, OrderError> {
        let reader = LedgerReader::open(&self.resources.state_dir)?;
        let files = retry(&self.resources.ledger, &reader, which)?;
        if files.len() > HINTS_MAX {
            self.resources.hints.everything();
        } else {
            for file in &files {
                let mut roots = self.watched.roots.iter();
                if let Some(watched) = roots.find(|watched| watched.root.id == file.root_id) {
                    let path = watched.root.path.join(file.path.as_path());
                    self.resources.hints.path(path, Duration::ZERO);
                }
            }
        }
        Ok(files)
    }
}

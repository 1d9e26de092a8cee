//! The `*.jsonl` files: outbox lines appended in order, exactly once over any end of the process.
//!
//! The ledger knows for each file the last line that is surely in it and the file's length with that line. What
//! stands behind it is compared with the lines of the outbox: equal bytes are kept, an unfinished line is completed, and
//! only from the first byte that differs is the file cut. So a reader that follows the file sees each line once. A file
//! that the user removed or shortened is continued at its end; lines that were written before are not written again.

use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use crate::store::{LedgerError, LedgerReader, Stream, line_start};

/// Lines read from the ledger at a time.
const LINES_MAX: usize = 1024;

/// How bytes reach a report file and are made to last; a test puts its faults here.
pub(super) struct Disk {
    pub(super) append: Append,
    pub(super) sync: Sync,
}

/// Appends bytes to a report file.
pub(super) type Append = Box<dyn FnMut(&mut File, &[u8]) -> io::Result<()> + Send>;
/// Makes what was appended last over a power loss.
pub(super) type Sync = Box<dyn FnMut(&File) -> io::Result<()> + Send>;

impl Default for Disk {
    fn default() -> Self {
        Self { append: Box::new(|file, bytes| file.write_all(bytes)), sync: Box::new(File::sync_data) }
    }
}

/// Why lines could not be moved to their file.
#[derive(Debug, thiserror::Error)]
pub(super) enum TailError {
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    #[error("{}: {source}", path.display())]
    Io { path: PathBuf, source: io::Error },
}

impl TailError {
    /// Waiting may help: no space is left.
    pub(super) fn is_full(&self) -> bool {
        let full = [io::ErrorKind::StorageFull, io::ErrorKind::QuotaExceeded];
        matches!(self, Self::Io { source, .. } if full.contains(&source.kind()))
    }
}

/// One report file and how far it has got.
pub(super) struct Tail {
    pub(super) stream: Stream,
    path: PathBuf,
    /// The last line that is in the file.
    pub(super) seq: i64,
    /// The file's length with that line.
    pub(super) end: u64,
    /// `seq` and `end` when the file was last synced: what the ledger may be told.
    synced: (i64, u64),
    /// The last line that the ledger was told of.
    told_seq: i64,
    /// Open, and known to end at `end`.
    file: Option<File>,
}

impl Tail {
    pub(super) fn new(folder: &Path, (stream, seq, end): (Stream, i64, u64)) -> Self {
        Self {
            stream,
            path: folder.join(format!("{}.jsonl", stream.name())),
            seq,
            end,
            synced: (seq, end),
            told_seq: seq,
            file: None,
        }
    }

    /// What the ledger is to be told, if there is something new: once. It forgets these lines, so they must last.
    pub(super) fn cursor(&mut self) -> Option<(Stream, i64, u64)> {
        let (seq, end) = self.synced;
        let is_new = seq > self.told_seq;
        self.told_seq = seq;
        is_new.then_some((self.stream, seq, end))
    }

    /// Appends every committed line that is not in the file yet.
    pub(super) fn catch_up(&mut self, reader: &LedgerReader, disk: &mut Disk) -> Result<(), TailError> {
        let mut lines = reader.lines_after(self.stream, self.seq, LINES_MAX)?;
        if self.file.is_none() || (!lines.is_empty() && !self.is_in_place()) {
            self.file = None;
            self.match_end(reader, disk).map_err(|error| self.named(error))?;
            lines = reader.lines_after(self.stream, self.seq, LINES_MAX)?;
        }
        while let Some((last, _)) = lines.last() {
            let bytes: String = lines.iter().map(|(_, line)| line.as_str()).collect();
            // taken out, so that after an error the end is matched anew
            if let Some(mut file) = self.file.take() {
                let written = (disk.append)(&mut file, bytes.as_bytes()).and_then(|()| (disk.sync)(&file));
                written.map_err(|error| self.named(MatchError::Io(error)))?;
                self.file = Some(file);
            }
            self.seq = *last;
            self.end += bytes.len() as u64;
            self.synced = (self.seq, self.end);
            lines = reader.lines_after(self.stream, self.seq, LINES_MAX)?;
        }
        Ok(())
    }

    /// Whether the open file still stands at its path with the length it should have.
    fn is_in_place(&self) -> bool {
        let same = |file: &File| {
            let (opened, standing) = (file.metadata().ok()?, fs::metadata(&self.path).ok()?);
            Some(same_file(&opened, &standing) && standing.len() == self.end)
        };
        self.file.as_ref().and_then(same).unwrap_or(false)
    }

    /// Opens the file and finds the place where the next line goes, keeping what of the outbox is already there.
    fn match_end(&mut self, reader: &LedgerReader, disk: &mut Disk) -> Result<(), MatchError> {
        let mut file = open(&self.path)?;
        let length = file.metadata()?.len();
        let mut lines = reader.lines_after(self.stream, self.seq, LINES_MAX)?;
        if length < self.end || !ends_with(&mut file, self.end, self.seq)? {
            self.end = place_in_shortened(&mut file, lines.first().map(|(_, line)| line.as_bytes()))?;
        }
        file.seek(SeekFrom::Start(self.end))?;
        let mut tail = BufReader::new(&file);
        let mut part = Vec::new();
        'all: while !lines.is_empty() {
            for (seq, line) in &lines {
                let line = line.as_bytes();
                part.clear();
                (&mut tail).take(line.len() as u64).read_to_end(&mut part)?;
                let n_equal = part.iter().zip(line).take_while(|(there, due)| there == due).count();
                if n_equal < line.len() {
                    part.truncate(n_equal);
                    part.extend(&line[n_equal..]);
                    drop(tail);
                    file.set_len(self.end + n_equal as u64)?;
                    if n_equal > 0 {
                        (disk.append)(&mut file, &line[n_equal..])?;
                        self.end += line.len() as u64;
                        self.seq = *seq;
                    }
                    break 'all;
                }
                self.end += line.len() as u64;
                self.seq = *seq;
            }
            lines = reader.lines_after(self.stream, self.seq, LINES_MAX)?;
        }
        // whatever stands behind the last line is not ours
        file.set_len(self.end)?;
        file.seek(SeekFrom::End(0))?;
        (disk.sync)(&file)?;
        self.synced = (self.seq, self.end);
        self.file = Some(file);
        Ok(())
    }

    fn named(&self, error: MatchError) -> TailError {
        match error {
            MatchError::Ledger(error) => TailError::Ledger(error),
            MatchError::Io(source) => TailError::Io { path: self.path.clone(), source },
        }
    }
}

/// A [`TailError`] before the file's name is added.
#[derive(Debug, thiserror::Error)]
enum MatchError {
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// Opens for reading and appending; a new file is made to last by syncing its folder.
fn open(path: &Path) -> io::Result<File> {
    let is_new = !path.exists();
    // where the system knows it, appending holds even when somebody shortens the file meanwhile
    let file =
        File::options().read(true).write(true).append(cfg!(unix)).create(true).truncate(false).open(path)?;
    if let (true, Some(folder)) = (is_new, path.parent()) {
        sync_folder(folder)?;
    }
    Ok(file)
}

/// Makes the names in a folder last over a power loss.
pub(super) fn sync_folder(folder: &Path) -> io::Result<()> {
    if cfg!(unix) { File::open(folder)?.sync_all() } else { Ok(()) }
}

#[cfg(unix)]
fn same_file(a: &fs::Metadata, b: &fs::Metadata) -> bool {
    use std::os::unix::fs::MetadataExt;
    (a.dev(), a.ino()) == (b.dev(), b.ino())
}

#[cfg(not(unix))]
fn same_file(a: &fs::Metadata, b: &fs::Metadata) -> bool {
    a.created().ok() == b.created().ok()
}

/// Longest line that [`ends_with`] looks for.
const LINE_LENGTH_MAX: u64 = 1 << 20;

/// Whether the line that ends at `end` is the one numbered `seq`: else somebody has changed the file before `end`.
fn ends_with(file: &mut File, end: u64, seq: i64) -> io::Result<bool> {
    if seq == 0 {
        return Ok(end == 0);
    }
    let start = end.saturating_sub(LINE_LENGTH_MAX);
    file.seek(SeekFrom::Start(start))?;
    let mut text = Vec::new();
    file.take(end - start).read_to_end(&mut text)?;
    let Some((b'\n', before)) = text.split_last() else { return Ok(false) };
    let begin = before.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
    let has_number = before[begin..].starts_with(line_start(seq).as_bytes());
    // a longer line cannot be told, and lines are never that long
    Ok(has_number || (begin == 0 && start > 0))
}

/// Where to go on in a file that someone shortened: where the next line due begins, if a part of it is already there, else
/// behind the last whole line.
fn place_in_shortened(file: &mut File, due: Option<&[u8]>) -> io::Result<u64> {
    file.rewind()?;
    let mut reader = BufReader::new(file);
    let (mut start, mut line) = (0, Vec::new());
    loop {
        line.clear();
        let n_bytes = reader.read_until(b'\n', &mut line)?;
        let is_due = due.is_some_and(|due| n_bytes > 0 && due.starts_with(&line));
        if is_due || !line.ends_with(b"\n") {
            return Ok(start);
        }
        start += n_bytes as u64;
    }
}

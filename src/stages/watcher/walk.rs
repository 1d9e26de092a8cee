//! The walk that finds what is new: every folder's files compared with what the ledger knows of that folder.

use std::collections::HashMap;
use std::ffi::OsString;
use std::fs::{DirEntry, Metadata};
use std::io::ErrorKind;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use globset::GlobSet;

use crate::paths::{FileStat, RelativePath, Root};
use crate::platform::filesystem;
use crate::store::{FileState, LedgerError, LedgerReader};

/// Which files are taken up.
#[derive(Debug, Clone)]
pub struct FileFilter {
    /// A file must match one of these (its path below the root).
    pub include: GlobSet,
    /// Neither a file nor any folder above it may match one of these.
    pub exclude: GlobSet,
    /// Folders deeper than this below the root are left alone.
    pub depth_max: usize,
}

/// What a walk met.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct WalkReport {
    /// Files that the filter takes.
    pub files: u64,
    /// Of these, new or changed since the ledger last saw them.
    pub new_files: u64,
    /// Folders walked.
    pub folders: u64,
    /// What could not be looked at; the first twenty.
    pub refusals: Vec<Refusal>,
}

/// A folder that cannot be listed, or a file that cannot be taken up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// Below the root.
    pub path: PathBuf,
    /// Whether it is a folder.
    pub is_folder: bool,
    /// Why.
    pub reason: String,
}

/// What a walk says while it goes on.
#[derive(Debug)]
pub(super) enum Met {
    /// A folder, or many entries of one: it goes on.
    Beat,
    /// A file that the ledger does not know as it is now.
    New(RelativePath),
}

/// Hears of each thing met; the walk ends when it breaks.
pub(super) type Visit<'a> = &'a mut dyn FnMut(Met) -> ControlFlow<()>;

/// Refusals remembered in one report.
pub(super) const REFUSALS_MAX: usize = 20;
/// Entries of a folder between two beats.
const ENTRIES_PER_BEAT: usize = 500;

/// Where a walk goes, and what it compares with. The reader is held only while the ledger is asked: a walk may hang in
/// a call on a dead share.
#[derive(Clone)]
pub(super) struct Ground {
    pub(super) root: Arc<Root>,
    pub(super) filter: FileFilter,
    pub(super) reader: Arc<Mutex<LedgerReader>>,
}

impl Ground {
    /// Looks at one path below the root that a hint named: a file itself, a folder with everything below it; nothing
    /// where no walk would come.
    ///
    /// # Errors
    /// As for [`Ground::walk`].
    pub(super) fn walk_hinted(&self, path: &Path, visit: Visit<'_>) -> Result<WalkReport, LedgerError> {
        let nothing = Ok(WalkReport::default());
        let Ok(metadata) = std::fs::symlink_metadata(self.root.path.join(path)) else { return nothing };
        if metadata.is_dir() {
            return if self.filter.reaches(path) { self.walk(path, visit) } else { nothing };
        }
        let is_reached = path.parent().is_some_and(|folder| self.filter.reaches(folder));
        if !metadata.is_file() || !self.filter.takes(path) || !is_reached {
            return nothing;
        }
        self.visit_file(path, &metadata, visit)
    }

    /// Looks at one path below the root that the user named: a file whatever the filter says, a folder as
    /// [`Ground::walk`] does.
    ///
    /// # Errors
    /// As for [`Ground::walk`].
    pub(super) fn walk_named(&self, path: &Path, visit: Visit<'_>) -> Result<WalkReport, LedgerError> {
        let reason = match std::fs::metadata(self.root.path.join(path)) {
            Ok(metadata) if metadata.is_dir() => return self.walk(path, visit),
            Ok(metadata) if metadata.is_file() => return self.visit_file(path, &metadata, visit),
            Ok(_) => "expected a regular file or a folder".to_owned(),
            Err(error) => error.to_string(),
        };
        let mut report = WalkReport::default();
        report.refuse(Refusal { path: path.to_owned(), is_folder: false, reason });
        Ok(report)
    }

    fn visit_file(
        &self,
        path: &Path,
        metadata: &Metadata,
        visit: Visit<'_>,
    ) -> Result<WalkReport, LedgerError> {
        let path = RelativePath::new(path);
        let stat = filesystem::stat_of(metadata);
        let known = self.reader().find_file(self.root.id, &path)?;
        let is_new = known.is_none_or(|known| !needs_nothing(known.state) || known.stat != stat);
        if is_new {
            // one file only: there is nothing to break off
            let _ = visit(Met::New(path));
        }
        Ok(WalkReport { files: 1, new_files: is_new.into(), ..Default::default() })
    }

    /// Walks `folder` (below the root) and everything under it in the order of names; hands each file that the ledger
    /// does not know as it is now to `visit`, until that breaks. Symbolic links are not followed: neither out of the
    /// root nor into a loop.
    ///
    /// # Errors
    /// When the ledger cannot be read. Folders that cannot be listed are in the report.
    fn walk(&self, folder: &Path, visit: Visit<'_>) -> Result<WalkReport, LedgerError> {
        let mut report = WalkReport::default();
        let mut folders = vec![folder.to_owned()];
        while let Some(folder) = folders.pop() {
            if visit(Met::Beat).is_break() {
                break;
            }
            report.folders += 1;
            let below = folders.len();
            if self.walk_one(&folder, &mut folders, &mut report, visit)?.is_break() {
                break;
            }
            // a stack turns the order round: the last pushed is walked first
            folders[below..].reverse();
        }
        Ok(report)
    }

    /// Looks at the files of one folder, and adds the folders in it to `folders`.
    fn walk_one(
        &self,
        folder: &Path,
        folders: &mut Vec<PathBuf>,
        report: &mut WalkReport,
        visit: Visit<'_>,
    ) -> Result<ControlFlow<()>, LedgerError> {
        let known = Known::load(&self.reader(), &self.root, folder)?;
        let listed = match list(&self.root.path.join(folder), visit) {
            Ok(listed) => listed,
            Err(error) => {
                report.refuse_unless_gone(folder.to_owned(), true, &error);
                return Ok(ControlFlow::Continue(()));
            }
        };
        for (number, entry) in listed.iter().enumerate() {
            if number % ENTRIES_PER_BEAT == 0 && visit(Met::Beat).is_break() {
                return Ok(ControlFlow::Break(()));
            }
            let path = folder.join(entry.file_name());
            match entry.file_type() {
                Err(error) => report.refuse_unless_gone(path, false, &error),
                Ok(kind) if kind.is_dir() => {
                    if self.filter.enters(&path) {
                        folders.push(path);
                    }
                }
                Ok(kind) if kind.is_file() && self.filter.takes(&path) => {
                    report.files += 1;
                    if known.is_settled_as_it_is(entry) {
                        continue;
                    }
                    report.new_files += 1;
                    if visit(Met::New(RelativePath::new(path))).is_break() {
                        return Ok(ControlFlow::Break(()));
                    }
                }
                Ok(_) => (),
            }
        }
        Ok(ControlFlow::Continue(()))
    }

    fn reader(&self) -> MutexGuard<'_, LedgerReader> {
        self.reader.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl FileFilter {
    /// Whether a file at this path below the root is taken up.
    pub fn takes(&self, path: &Path) -> bool {
        self.include.is_match(path) && !self.exclude.is_match(path)
    }

    /// Whether the files below this folder are looked at.
    pub fn enters(&self, folder: &Path) -> bool {
        !self.exclude.is_match(folder) && folder.components().count() <= self.depth_max
    }

    /// Whether a path found by a hint lies where a walk would have come.
    pub fn reaches(&self, folder: &Path) -> bool {
        folder
            .ancestors()
            .filter(|ancestor| !ancestor.as_os_str().is_empty())
            .all(|ancestor| self.enters(ancestor))
    }
}

impl WalkReport {
    /// Adds another walk's figures.
    pub fn add(&mut self, other: Self) {
        self.files += other.files;
        self.new_files += other.new_files;
        self.folders += other.folders;
        other.refusals.into_iter().for_each(|refusal| self.refuse(refusal));
    }

    fn refuse(&mut self, refusal: Refusal) {
        if self.refusals.len() < REFUSALS_MAX {
            self.refusals.push(refusal);
        }
    }

    /// What has gone since its folder was listed is not refused.
    fn refuse_unless_gone(&mut self, path: PathBuf, is_folder: bool, error: &std::io::Error) {
        if error.kind() != ErrorKind::NotFound {
            self.refuse(Refusal { path, is_folder, reason: error.to_string() });
        }
    }
}

/// The ledger's view of one folder.
struct Known(HashMap<OsString, FileStat>);

impl Known {
    fn load(reader: &LedgerReader, root: &Root, folder: &Path) -> Result<Self, LedgerError> {
        let files = reader.folder(root.id, folder.as_os_str())?;
        Ok(Self(
            files
                .into_iter()
                .filter(|file| needs_nothing(file.state))
                .map(|file| (file.name, file.stat))
                .collect(),
        ))
    }

    /// Whether the ledger is done with the file in just this state. Listings of network folders may be stale; a
    /// stale listing looks unchanged now and changed at a later walk.
    fn is_settled_as_it_is(&self, entry: &DirEntry) -> bool {
        let Some(known) = self.0.get(&entry.file_name()) else { return false };
        entry.metadata().is_ok_and(|metadata| filesystem::stat_of(&metadata) == *known)
    }
}

/// Whether the ledger waits for nothing but a change of the file.
fn needs_nothing(state: FileState) -> bool {
    state.is_settled() || state == FileState::Incomplete
}

fn list(folder: &Path, visit: Visit<'_>) -> std::io::Result<Vec<DirEntry>> {
    let mut entries = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        entries.push(entry?);
        // whether to go on is asked again before the first entry is looked at
        if entries.len() % ENTRIES_PER_BEAT == 0 && visit(Met::Beat).is_break() {
            break;
        }
    }
    entries.sort_by_key(DirEntry::file_name);
    Ok(entries)
}

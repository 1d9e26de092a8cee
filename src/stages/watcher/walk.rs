//! The walk that finds what is new: every folder's files compared with what the ledger knows of that folder.

use std::collections::HashMap;
use std::ffi::OsString;
use std::fs::{DirEntry, Metadata};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

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
    /// Folders and files that could not be listed, with the reason; at most [`REFUSALS_MAX`].
    pub refusals: Vec<(PathBuf, String)>,
}

/// Refusals remembered in one report.
pub(super) const REFUSALS_MAX: usize = 20;

/// Looks at one path below `root` that a hint named: a file itself, a folder with everything below it. `None` when
/// no walk would come there.
///
/// # Errors
/// As for [`walk`].
pub(super) fn walk_hinted(
    root: &Root,
    path: &Path,
    filter: &FileFilter,
    reader: &LedgerReader,
    visit: &mut dyn FnMut(RelativePath) -> ControlFlow<()>,
) -> Result<Option<WalkReport>, LedgerError> {
    let Ok(metadata) = std::fs::symlink_metadata(root.path.join(path)) else { return Ok(None) };
    if metadata.is_dir() {
        let walked = filter.reaches(path).then(|| walk(root, path, filter, reader, visit));
        return walked.transpose();
    }
    if !metadata.is_file()
        || !filter.takes(path)
        || !path.parent().is_some_and(|folder| filter.reaches(folder))
    {
        return Ok(None);
    }
    visit_file(root, path, &metadata, reader, visit).map(Some)
}

fn visit_file(
    root: &Root,
    path: &Path,
    metadata: &Metadata,
    reader: &LedgerReader,
    visit: &mut dyn FnMut(RelativePath) -> ControlFlow<()>,
) -> Result<WalkReport, LedgerError> {
    let path = RelativePath::new(path);
    let stat = filesystem::stat_of(metadata);
    let known = reader.find_file(root.id, &path)?;
    let is_new = known.is_none_or(|known| !needs_nothing(known.state) || known.stat != stat);
    if is_new {
        // one file only: there is nothing to break off
        let _ = visit(path);
    }
    Ok(WalkReport { files: 1, new_files: is_new.into(), ..Default::default() })
}

/// Looks at one path below `root` that the user named: a file whatever the filter says, a folder as [`walk`] does.
///
/// # Errors
/// As for [`walk`].
pub(super) fn walk_named(
    root: &Root,
    path: &Path,
    filter: &FileFilter,
    reader: &LedgerReader,
    visit: &mut dyn FnMut(RelativePath) -> ControlFlow<()>,
) -> Result<WalkReport, LedgerError> {
    match std::fs::metadata(root.path.join(path)) {
        Ok(metadata) if metadata.is_dir() => walk(root, path, filter, reader, visit),
        Ok(metadata) => visit_file(root, path, &metadata, reader, visit),
        Err(error) => {
            let refusals = vec![(path.to_owned(), error.to_string())];
            Ok(WalkReport { refusals, ..Default::default() })
        }
    }
}

/// Walks `folder` (below `root`) and everything under it in the order of names; hands each file that the ledger does
/// not know as it is now to `visit`, until that breaks. Symbolic links are not followed: neither out of the root nor
/// into a loop.
///
/// # Errors
/// When the ledger cannot be read. Folders that cannot be listed are in the report.
fn walk(
    root: &Root,
    folder: &Path,
    filter: &FileFilter,
    reader: &LedgerReader,
    visit: &mut dyn FnMut(RelativePath) -> ControlFlow<()>,
) -> Result<WalkReport, LedgerError> {
    let mut report = WalkReport::default();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        report.folders += 1;
        let known = Known::load(reader, root, &folder)?;
        let listed = match list(&root.path.join(&folder)) {
            Ok(listed) => listed,
            Err(reason) => {
                report.refuse(folder, reason);
                continue;
            }
        };
        let below = folders.len();
        for entry in listed {
            let path = folder.join(entry.file_name());
            match entry.file_type() {
                Err(error) => report.refuse(path, error.to_string()),
                Ok(kind) if kind.is_dir() => {
                    if filter.enters(&path) {
                        folders.push(path);
                    }
                }
                Ok(kind) if kind.is_file() && filter.takes(&path) => {
                    report.files += 1;
                    if known.is_settled_as_it_is(&entry) {
                        continue;
                    }
                    report.new_files += 1;
                    if visit(RelativePath::new(path)).is_break() {
                        return Ok(report);
                    }
                }
                Ok(_) => (),
            }
        }
        // a stack turns the order round: the last pushed is walked first
        folders[below..].reverse();
    }
    Ok(report)
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
        other.refusals.into_iter().for_each(|(path, reason)| self.refuse(path, reason));
    }

    fn refuse(&mut self, path: PathBuf, reason: String) {
        if self.refusals.len() < REFUSALS_MAX {
            self.refusals.push((path, reason));
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

fn list(folder: &Path) -> Result<Vec<DirEntry>, String> {
    let entries = std::fs::read_dir(folder).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    let mut entries = entries.map_err(|error| error.to_string())?;
    entries.sort_by_key(DirEntry::file_name);
    Ok(entries)
}

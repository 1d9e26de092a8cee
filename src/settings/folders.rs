//! Which folders may be watched beside which output folder.

use std::io::ErrorKind;
use std::path::{Component, Path, PathBuf};

use super::error::SettingsError;

/// The folders under the output folder that scopewatch fills; none of them may be watched.
const WRITTEN: [&str; 4] = ["objects", "reports", "state", "logs"];

/// Watched folders and output folder as absolute paths with links followed, fit to be used together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Folders {
    /// Folders to watch, as given order; one that does not exist (yet) is kept: it is offline.
    pub roots: Vec<PathBuf>,
    /// Output folder; it need not exist yet.
    pub output: PathBuf,
}

/// Resolves links and relative paths, and checks the folders against one another.
///
/// # Errors
/// When a root or the output folder is a file, and as [`check_folders`] says.
pub fn resolve_folders(roots: &[PathBuf], output: &Path) -> Result<Folders, SettingsError> {
    let roots = roots.iter().map(|root| resolve(root)).collect::<Result<Vec<_>, _>>()?;
    let output = resolve(output)?;
    if let Some(root) = roots.iter().find(|root| root.exists() && !root.is_dir()) {
        return Err(SettingsError::RootIsFile(root.clone()));
    }
    if output.exists() && !output.is_dir() {
        return Err(SettingsError::OutputIsFile(output));
    }
    check_folders(&roots, &output)?;
    Ok(Folders { roots, output })
}

/// Checks resolved paths against one another; looks at no disk.
///
/// # Errors
/// When the output folder is a root or lies in one, a root lies in another root (or is given twice), or a
/// root is a folder that scopewatch writes into.
pub fn check_folders(roots: &[PathBuf], output: &Path) -> Result<(), SettingsError> {
    for (index, root) in roots.iter().enumerate() {
        if output.starts_with(root) {
            return Err(SettingsError::OutputInsideRoot { output: output.to_owned(), root: root.clone() });
        }
        if WRITTEN.iter().any(|name| root.starts_with(output.join(name))) {
            return Err(SettingsError::RootInsideOutput { root: root.clone() });
        }
        let other =
            roots.iter().enumerate().find(|(other, outer)| *other != index && root.starts_with(outer));
        if let Some((_, outer)) = other {
            return Err(SettingsError::RootInsideRoot { inner: root.clone(), outer: outer.clone() });
        }
    }
    Ok(())
}

/// The absolute path with the links of its existing part followed.
fn resolve(path: &Path) -> Result<PathBuf, SettingsError> {
    let io = |source| SettingsError::Io { path: path.to_owned(), source };
    let absolute = std::path::absolute(path).map_err(io)?;
    for ancestor in absolute.ancestors() {
        match ancestor.canonicalize() {
            Ok(resolved) => {
                let rest = absolute.strip_prefix(ancestor).expect("an ancestor is a prefix");
                return Ok(append(resolved, rest));
            }
            Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {}
            Err(error) => return Err(io(error)),
        }
    }
    Ok(absolute)
}

/// Joins a part that does not exist, taking `..` away by name.
fn append(mut base: PathBuf, rest: &Path) -> PathBuf {
    for component in rest.components() {
        match component {
            Component::ParentDir => {
                base.pop();
            }
            other => base.push(other),
        }
    }
    base
}

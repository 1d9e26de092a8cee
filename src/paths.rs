//! Where a file stands and what the file system says of it: roots, paths below them, stat figures.

use std::ffi::{OsStr, OsString};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

/// A watched root folder, numbered by the ledger.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Root {
    /// The ledger's number of this root.
    pub id: i64,
    /// The name it has in reports: its last component, made unique.
    pub name: String,
    /// Where it is now.
    pub path: PathBuf,
}

/// A path relative to its root, kept as the bytes the file system gave.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RelativePath(OsString);

/// What the file system said of a file at one moment: a change in any of these means that the file was touched.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct FileStat {
    /// Device number.
    pub device: u64,
    /// Inode number.
    pub inode: u64,
    /// Size in bytes.
    pub size_bytes: u64,
    /// Modification time in nanoseconds since 1970.
    pub mtime_ns: i64,
    /// Change time in nanoseconds since 1970.
    pub ctime_ns: i64,
}

impl RelativePath {
    /// Takes a path below a root.
    pub fn new(path: impl Into<OsString>) -> Self {
        Self(path.into())
    }

    /// The path as the operating system takes it.
    pub fn as_path(&self) -> &Path {
        Path::new(&self.0)
    }

    /// The bytes as stored in the ledger.
    pub fn as_bytes(&self) -> &[u8] {
        self.0.as_encoded_bytes()
    }

    /// Takes back what [`Self::as_bytes`] gave.
    #[cfg(unix)]
    pub fn from_bytes(bytes: Vec<u8>) -> Self {
        use std::os::unix::ffi::OsStringExt;
        Self(OsString::from_vec(bytes))
    }

    /// Takes back what [`Self::as_bytes`] gave; bytes that are not UTF-8 cannot stand in a name here.
    #[cfg(not(unix))]
    pub fn from_bytes(bytes: Vec<u8>) -> Self {
        Self(String::from_utf8_lossy(&bytes).into_owned().into())
    }

    /// The folder part (empty for a file directly under the root) and the name.
    pub fn split(&self) -> (&OsStr, &OsStr) {
        let path = self.as_path();
        (path.parent().map_or(OsStr::new(""), Path::as_os_str), path.file_name().unwrap_or_default())
    }

    /// The text that stands in reports: `/` between components; bytes that are not UTF-8, control characters and
    /// `%` itself as `%XX`, so that the text can be turned back into the bytes.
    pub fn to_report(&self) -> String {
        let mut text = String::with_capacity(self.0.len());
        for chunk in self.as_bytes().utf8_chunks() {
            for character in chunk.valid().chars() {
                match character {
                    '%' | '\0'..='\u{1f}' | '\u{7f}' => percent(&mut text, character as u8),
                    '\\' if cfg!(windows) => text.push('/'),
                    _ => text.push(character),
                }
            }
            chunk.invalid().iter().for_each(|byte| percent(&mut text, *byte));
        }
        text
    }
}

fn percent(text: &mut String, byte: u8) {
    write!(text, "%{byte:02X}").expect("writing to a string cannot fail");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn report_paths_escape_what_is_not_text() {
        let report = |bytes: &[u8]| RelativePath::from_bytes(bytes.to_vec()).to_report();
        assert_eq!(report(b"plate 1/well B02,x.tif"), "plate 1/well B02,x.tif");
        assert_eq!(report(b"a\xFFb%\n.tif"), "a%FFb%25%0A.tif");
        assert_eq!(report("µm.nd2".as_bytes()), "µm.nd2");
    }

    #[test]
    fn folder_and_name_part() {
        let path = RelativePath::new("a/b/c.tif");
        assert_eq!(path.split(), (OsStr::new("a/b"), OsStr::new("c.tif")));
        assert_eq!(RelativePath::new("c.tif").split(), (OsStr::new(""), OsStr::new("c.tif")));
    }
}

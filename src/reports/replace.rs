//! Files that appear at once: written under a temporary name in the same folder, then renamed.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use super::tail::sync_folder;

/// A file being written; removed when dropped before it is put in place.
pub(super) struct Replacement {
    file: File,
    temporary: PathBuf,
    path: PathBuf,
    is_in_place: bool,
}

impl Replacement {
    /// Begins to write what will stand at `path`; its folder is created where it is missing.
    pub(super) fn create(path: &Path) -> io::Result<Self> {
        let folder = path.parent().unwrap_or(Path::new("."));
        fs::create_dir_all(folder)?;
        // short, since the name itself may be as long as the file system takes
        let number = blake3::hash(path.as_os_str().as_encoded_bytes()).to_hex();
        let temporary = folder.join(format!(".scopewatch-{}.tmp", &number[..16]));
        let file = File::create(&temporary)?;
        Ok(Self { file, temporary, path: path.to_owned(), is_in_place: false })
    }

    pub(super) fn file(&mut self) -> &mut File {
        &mut self.file
    }

    /// Makes the content last, then gives it its name, and makes the name last.
    pub(super) fn put_in_place(self) -> io::Result<()> {
        self.file.sync_all()?;
        let folder = self.path.parent().unwrap_or(Path::new(".")).to_owned();
        self.put_in_place_unsynced()?;
        sync_folder(&folder)
    }

    /// Gives the content its name; a power loss may still take it.
    pub(super) fn put_in_place_unsynced(mut self) -> io::Result<()> {
        fs::rename(&self.temporary, &self.path)?;
        self.is_in_place = true;
        Ok(())
    }
}

impl Write for Replacement {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl Drop for Replacement {
    fn drop(&mut self) {
        if !self.is_in_place {
            // a file that cannot be removed now is overwritten by the next try
            let _ = fs::remove_file(&self.temporary);
        }
    }
}

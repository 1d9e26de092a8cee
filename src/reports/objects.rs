//! Object tables: one CSV part per plane while a container is worked on, joined into one table per container.
//!
//! Parts are put in place at once but not synced, for speed: after a power loss a part may be empty or gone. That is
//! noticed ([`ObjectTables::has_part`], [`PartError::Damaged`]), and the plane is done again.

use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, BufWriter, Write};
use std::path::{Path, PathBuf};

use super::replace::Replacement;
use crate::paths::RelativePath;
use crate::units::PlaneIndex;

/// Where object tables stand: parts below the state folder, tables below `objects/`.
#[derive(Debug, Clone)]
pub struct ObjectTables {
    state_dir: PathBuf,
    objects_dir: PathBuf,
}

/// Why a container's table could not be written.
#[derive(Debug, thiserror::Error)]
pub enum PartError {
    /// The part of a plane is gone or torn, or has another header: the plane has to be done again.
    #[error("the object table of plane {0} is missing or damaged")]
    Damaged(PlaneIndex),
    /// A file could not be read or written.
    #[error("{}: {source}", path.display())]
    Io {
        /// Which file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

impl PartError {
    /// Whether the disk or a quota is full, so that another try may succeed later.
    pub fn is_out_of_space(&self) -> bool {
        use io::ErrorKind::{QuotaExceeded, StorageFull};
        matches!(self, Self::Io { source, .. } if matches!(source.kind(), StorageFull | QuotaExceeded))
    }
}

fn at(path: &Path) -> impl FnOnce(io::Error) -> PartError {
    move |source| PartError::Io { path: path.to_owned(), source }
}

/// Writes a file so that its name stands for the whole content or for none; its folder is created.
///
/// # Errors
/// I/O, with the path.
pub fn write_atomically(path: &Path, bytes: &[u8]) -> Result<(), PartError> {
    let write = || {
        let mut file = Replacement::create(path)?;
        file.file().write_all(bytes)?;
        file.put_in_place_unsynced()
    };
    write().map_err(at(path))
}

impl ObjectTables {
    /// Takes the two folders; nothing is created before it is needed.
    pub fn new(state_dir: impl Into<PathBuf>, objects_dir: impl Into<PathBuf>) -> Self {
        Self { state_dir: state_dir.into(), objects_dir: objects_dir.into() }
    }

    /// Where the part of a plane stands.
    pub fn part_path(&self, file_id: i64, plane: PlaneIndex) -> PathBuf {
        self.parts_dir(file_id).join(format!("{plane}.csv"))
    }

    fn parts_dir(&self, file_id: i64) -> PathBuf {
        self.state_dir.join("objects").join(file_id.to_string())
    }

    /// Writes the part of a plane: a header line and its rows, each ended by a line feed.
    ///
    /// # Errors
    /// I/O.
    pub fn write_part(&self, file_id: i64, plane: PlaneIndex, csv: &[u8]) -> Result<(), PartError> {
        write_atomically(&self.part_path(file_id, plane), csv)
    }

    /// Whether the part of a plane is there and not empty.
    pub fn has_part(&self, file_id: i64, plane: PlaneIndex) -> bool {
        fs::metadata(self.part_path(file_id, plane)).is_ok_and(|part| part.len() > 0)
    }

    /// Where the table of a container stands: names that some file system refuses are escaped.
    pub fn table_path(&self, root_name: &str, path: &RelativePath) -> PathBuf {
        let mut table = self.objects_dir.join(portable(root_name, ""));
        let text = path.to_report();
        let mut names = text.split('/').peekable();
        while let Some(name) = names.next() {
            table.push(portable(name, if names.peek().is_none() { ".objects.csv" } else { "" }));
        }
        table
    }

    /// Where a picture of a plane stands, beside the table of its container; `kind` is the end of its name, such as
    /// `overlay.png`.
    pub fn picture_path(
        &self,
        root_name: &str,
        path: &RelativePath,
        (plane, kind): (PlaneIndex, &str),
    ) -> PathBuf {
        let mut text = path.to_report();
        text.push_str(&format!(".{plane}.{kind}"));
        let mut picture = self.objects_dir.join(portable(root_name, ""));
        text.split('/').for_each(|name| picture.push(portable(name, "")));
        picture
    }

    /// Joins the parts of `planes`, in their order, under one header, and removes the parts. With no planes nothing
    /// is written.
    ///
    /// # Errors
    /// [`PartError::Damaged`] names the first plane whose part cannot be used; nothing is changed then.
    pub fn concatenate(&self, file_id: i64, planes: &[PlaneIndex], table: &Path) -> Result<(), PartError> {
        if planes.is_empty() {
            return Ok(());
        }
        let mut joined = Replacement::create(table).map_err(at(table))?;
        let mut out = BufWriter::new(joined.file());
        let mut header = Vec::new();
        for plane in planes {
            self.append_part(&mut out, &mut header, file_id, *plane)?;
        }
        out.flush().map_err(at(table))?;
        drop(out);
        joined.put_in_place().map_err(at(table))?;
        self.remove_parts(file_id)
    }

    /// Removes the parts of a container, if there are any.
    ///
    /// # Errors
    /// I/O.
    pub fn remove_parts(&self, file_id: i64) -> Result<(), PartError> {
        let parts = self.parts_dir(file_id);
        match fs::remove_dir_all(&parts) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(at(&parts)(error)),
            _ => Ok(()),
        }
    }

    fn append_part(
        &self,
        out: &mut impl Write,
        header: &mut Vec<u8>,
        file_id: i64,
        plane: PlaneIndex,
    ) -> Result<(), PartError> {
        let path = self.part_path(file_id, plane);
        let part = match File::open(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(PartError::Damaged(plane)),
            opened => opened.map_err(at(&path))?,
        };
        let mut part = BufReader::new(part);
        let mut line = Vec::new();
        part.read_until(b'\n', &mut line).map_err(at(&path))?;
        if header.is_empty() && line.len() > 1 {
            out.write_all(&line).map_err(at(&path))?;
            header.clone_from(&line);
        }
        if line != *header || line.is_empty() {
            return Err(PartError::Damaged(plane));
        }
        loop {
            line.clear();
            if part.read_until(b'\n', &mut line).map_err(at(&path))? == 0 {
                return Ok(());
            }
            if !line.ends_with(b"\n") || line.contains(&0) {
                return Err(PartError::Damaged(plane));
            }
            out.write_all(&line).map_err(at(&path))?;
        }
    }
}

/// Longest name that common file systems take, in bytes.
const NAME_LENGTH_MAX: usize = 255;

/// A file name that every common file system takes: what Windows refuses as `%XX`, a name that is too long shortened
/// and made unique by its hash.
fn portable(name: &str, suffix: &str) -> String {
    let mut text = String::with_capacity(name.len() + suffix.len());
    let n_characters = name.chars().count();
    for (at, character) in name.chars().enumerate() {
        let is_trailing = suffix.is_empty() && at + 1 == n_characters && matches!(character, '.' | ' ');
        if is_trailing || matches!(character, '<' | '>' | ':' | '"' | '|' | '?' | '*' | '\\' | '/') {
            text.push_str(&format!("%{:02X}", character as u32));
        } else {
            text.push(character);
        }
    }
    let stem = text.split('.').next().unwrap_or_default().to_ascii_uppercase();
    let is_device = ["CON", "PRN", "AUX", "NUL"].contains(&stem.as_str())
        || (stem.len() == 4
            && (stem.starts_with("COM") || stem.starts_with("LPT"))
            && stem.ends_with(|last: char| last.is_ascii_digit()));
    if is_device {
        let first = text.remove(0);
        text.insert_str(0, &format!("%{:02X}", first as u32));
    }
    if text.len() + suffix.len() > NAME_LENGTH_MAX {
        let hash = blake3::hash(name.as_bytes()).to_hex();
        let mut end = NAME_LENGTH_MAX - suffix.len() - 17;
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        text.truncate(end);
        text.push('~');
        text.push_str(&hash[..16]);
    }
    text.push_str(suffix);
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plane(z: u32) -> PlaneIndex {
        PlaneIndex { z, ..PlaneIndex::default() }
    }

    #[test]
    fn parts_become_one_table_and_go() {
        let folder = tempfile::tempdir().unwrap();
        let tables = ObjectTables::new(folder.path().join("state"), folder.path().join("objects"));
        let planes = [plane(0), plane(2), plane(10)];
        for at in planes {
            tables.write_part(7, at, format!("label,z\n1,{}\n2,{0}\n", at.z).as_bytes()).unwrap();
        }
        let table = tables.table_path("plate 1", &RelativePath::new("a:b/con.x/c.nd2"));
        assert_eq!(table, folder.path().join("objects/plate 1/a%3Ab/%63on.x/c.nd2.objects.csv"));
        tables.concatenate(7, &planes, &table).unwrap();
        assert_eq!(fs::read_to_string(&table).unwrap(), "label,z\n1,0\n2,0\n1,2\n2,2\n1,10\n2,10\n");
        assert!(!tables.has_part(7, planes[0]));
        assert!(!folder.path().join("state/objects/7").exists());
    }

    #[test]
    fn a_lost_or_torn_part_is_named_and_nothing_is_changed() {
        let folder = tempfile::tempdir().unwrap();
        let tables = ObjectTables::new(folder.path().join("state"), folder.path().join("objects"));
        let table = tables.table_path("r", &RelativePath::new("c.nd2"));
        for torn in ["", "label\n1\n2", "label,area\n1,2\n", "label\n\0\0\n"] {
            tables.write_part(1, plane(0), b"label\n1\n").unwrap();
            tables.write_part(1, plane(1), torn.as_bytes()).unwrap();
            let error = tables.concatenate(1, &[plane(0), plane(1)], &table).unwrap_err();
            assert!(matches!(error, PartError::Damaged(at) if at == plane(1)), "{torn:?}: {error}");
            assert!(tables.has_part(1, plane(0)) && !table.exists());
        }
        assert!(matches!(tables.concatenate(2, &[plane(3)], &table), Err(PartError::Damaged(_))));
        assert_eq!(fs::read_dir(table.parent().unwrap()).unwrap().count(), 0, "no temporary file is left");
    }

    #[test]
    fn names_too_long_for_a_file_system_are_shortened_and_stay_apart() {
        let long = |last: char| format!("{}{last}.tif", "µ".repeat(130));
        let names = [portable(&long('a'), ".objects.csv"), portable(&long('b'), ".objects.csv")];
        assert!(names.iter().all(|name| name.len() <= NAME_LENGTH_MAX && name.ends_with(".objects.csv")));
        assert_ne!(names[0], names[1]);
        assert_eq!(portable("ends with. ", ""), "ends with.%20");
    }
}

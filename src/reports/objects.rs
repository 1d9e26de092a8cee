//! Object tables: one CSV part per plane while a container is worked on, joined into one table per container; where it
//! is wanted, with its Parquet form beside it.
//!
//! Parts are not synced, for speed: after a power loss a part may be empty or gone. That is noticed
//! ([`ObjectTables::has_part`], [`PartError::Damaged`]), and the plane is done again. A part carries the claim in which
//! it was made, so that one left behind by an older claim is never taken for that of a newer one.

use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, BufWriter, Write};
use std::ops::Range;
use std::path::{Path, PathBuf};

use super::parquet::write_parquet;
use super::replace::Replacement;
use crate::paths::RelativePath;
use crate::units::PlaneIndex;

/// Where object tables stand: parts below the state folder, tables below `objects/`.
#[derive(Debug, Clone)]
pub struct ObjectTables {
    state_dir: PathBuf,
    objects_dir: PathBuf,
    pub(super) extras: Extras,
}

/// What is written beside the CSV table of a container.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Extras {
    /// The table as Parquet.
    pub parquet: bool,
    /// The outlines of the objects as GeoJSON.
    pub geojson: bool,
}

/// The rows of one plane, as one claim of its file has made them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Part {
    /// The ledger's number of the file.
    pub file_id: i64,
    /// Which claim of the file.
    pub claim: i64,
    /// Which plane.
    pub plane: PlaneIndex,
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

    /// Whether the output disk fails, so that no file is to blame: an error of the device, or a disk that the system made
    /// read-only after one.
    pub fn is_of_the_disk(&self) -> bool {
        #[cfg(unix)]
        const DEVICE_ERROR: i32 = libc::EIO;
        // ERROR_IO_DEVICE
        #[cfg(not(unix))]
        const DEVICE_ERROR: i32 = 1117;
        matches!(self, Self::Io { source, .. } if source.raw_os_error() == Some(DEVICE_ERROR)
            || source.kind() == io::ErrorKind::ReadOnlyFilesystem)
    }
}

pub(super) fn at(path: &Path) -> impl FnOnce(io::Error) -> PartError {
    move |source| PartError::Io { path: path.to_owned(), source }
}

pub(super) fn remove_if_any(path: &Path) -> Result<(), PartError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(at(path)(error)),
        _ => Ok(()),
    }
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

/// Writes the Parquet form of a CSV table that is whole; its name stands for all of it or for nothing.
///
/// # Errors
/// I/O, with the path; a table that is none.
pub fn write_parquet_atomically(table: &[u8], path: &Path) -> Result<(), PartError> {
    let write = || {
        let mut file = Replacement::create(path)?;
        write_parquet(table, file.file())?;
        file.put_in_place_unsynced()
    };
    write().map_err(at(path))
}

impl ObjectTables {
    /// Takes the two folders; nothing is created before it is needed.
    pub fn new(state_dir: impl Into<PathBuf>, objects_dir: impl Into<PathBuf>, extras: Extras) -> Self {
        Self { state_dir: state_dir.into(), objects_dir: objects_dir.into(), extras }
    }

    /// Where the part of a plane stands.
    pub fn part_path(&self, part: Part) -> PathBuf {
        let Part { file_id, claim, plane } = part;
        self.parts_dir().join(format!("{file_id}.{claim}.{plane}.csv"))
    }

    fn parts_dir(&self) -> PathBuf {
        self.state_dir.join("objects")
    }

    /// Writes the part of a plane: a header line and its rows, each ended by a line feed. A part that is cut off
    /// belongs to a plane that is not done, which is done again.
    ///
    /// # Errors
    /// I/O.
    pub fn write_part(&self, part: Part, csv: &[u8]) -> Result<(), PartError> {
        self.write_into_parts(&self.part_path(part), &[csv])
    }

    pub(super) fn write_into_parts(&self, path: &Path, pieces: &[&[u8]]) -> Result<(), PartError> {
        let create = || match File::create(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                fs::create_dir_all(self.parts_dir())?;
                File::create(path)
            }
            created => created,
        };
        let write =
            || create().and_then(|mut file| pieces.iter().try_for_each(|piece| file.write_all(piece)));
        write().map_err(at(path))
    }

    /// What is written beside the tables.
    pub fn extras(&self) -> Extras {
        self.extras
    }

    /// Whether the part of a plane is there and not empty, and that of its outlines where they are wanted.
    pub fn has_part(&self, part: Part) -> bool {
        let is_there = |path: &Path| fs::metadata(path).is_ok_and(|part| part.len() > 0);
        is_there(&self.part_path(part)) && (!self.extras.geojson || is_there(&self.outlines_part_path(part)))
    }

    /// Where the table of a container stands: names that some file system refuses are escaped.
    pub fn table_path(&self, root_name: &str, path: &RelativePath) -> PathBuf {
        self.path_beside(root_name, path, ".objects.csv")
    }

    /// Where the Parquet form of the table of a container stands.
    pub fn parquet_path(&self, root_name: &str, path: &RelativePath) -> PathBuf {
        self.path_beside(root_name, path, ".objects.parquet")
    }

    pub(super) fn path_beside(&self, root_name: &str, path: &RelativePath, suffix: &str) -> PathBuf {
        let mut table = self.objects_dir.join(portable(root_name, ""));
        let text = path.to_report();
        let mut names = text.split('/').peekable();
        while let Some(name) = names.next() {
            table.push(portable(name, if names.peek().is_none() { suffix } else { "" }));
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

    /// Joins `parts`, in their order, under one header into the table of their container. With no parts nothing is
    /// written. Parts stay until [`Self::remove`], so that joining can be repeated until the ledger knows of it. A single
    /// part becomes the table itself, where nothing else is made of it: its content is synced and it is renamed, and the
    /// name is made last by whatever is synced next on that disk, such as the ledger's commit.
    ///
    /// # Errors
    /// [`PartError::Damaged`] names the first plane whose part cannot be used; nothing is changed then.
    pub fn concatenate(&self, parts: &[Part], table: &Path) -> Result<(), PartError> {
        match parts {
            [] => return Ok(()),
            [part] if self.extras == Extras::default() && self.move_part(*part, table)? => return Ok(()),
            _ => {}
        }
        let mut joined = Replacement::create(table).map_err(at(table))?;
        let mut out = BufWriter::new(joined.file());
        let mut header = Vec::new();
        for part in parts {
            self.append_part(&mut out, &mut header, *part)?;
        }
        out.flush().map_err(at(table))?;
        drop(out);
        joined.put_in_place().map_err(at(table))
    }

    /// Joins `parts` behind the rows that the table has, and says whether the table holds all rows now: it must have
    /// `rows.start` of them before, or `rows.end` when this was done already. Not done, when the table has another
    /// number of rows or another header, or a part cannot be used. Parts stay until [`Self::remove`].
    ///
    /// # Errors
    /// I/O.
    pub fn extend(&self, rows: Range<u64>, parts: &[Part], table: &Path) -> Result<bool, PartError> {
        let mut old = match File::open(table) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            opened => BufReader::new(opened.map_err(at(table))?),
        };
        let mut joined = Replacement::create(table).map_err(at(table))?;
        let mut out = BufWriter::new(joined.file());
        let (mut header, mut line, mut n_lines) = (Vec::new(), Vec::new(), 0);
        while old.read_until(b'\n', &mut line).map_err(at(table))? > 0 {
            out.write_all(&line).map_err(at(table))?;
            if n_lines == 0 {
                header.clone_from(&line);
            }
            n_lines += 1;
            line.clear();
        }
        if n_lines != rows.start + 1 {
            return Ok(n_lines == rows.end + 1);
        }
        for part in parts {
            match self.append_part(&mut out, &mut header, *part) {
                Err(PartError::Damaged(_)) => return Ok(false),
                appended => appended?,
            }
        }
        out.flush().map_err(at(table))?;
        drop(out);
        joined.put_in_place().map_err(at(table))?;
        Ok(true)
    }

    /// Makes the Parquet form at `parquet` what it has to be beside the CSV table at `table`: written from it where it is
    /// wanted and the table `is_new` or it is not there, gone where it is not wanted and the table is new. To be called
    /// before parts are removed, so that it can be repeated with the joining.
    ///
    /// # Errors
    /// I/O; a table that is none.
    pub fn renew_parquet(&self, table: &Path, parquet: &Path, is_new: bool) -> Result<(), PartError> {
        if !self.extras.parquet {
            return if is_new { remove_if_any(parquet) } else { Ok(()) };
        }
        if !is_new && parquet.exists() {
            return Ok(());
        }
        let csv = match File::open(table) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            opened => BufReader::new(opened.map_err(at(table))?),
        };
        let write = || {
            let mut file = Replacement::create(parquet)?;
            write_parquet(csv, file.file())?;
            file.put_in_place()
        };
        write().map_err(at(parquet))
    }

    /// Removes parts that were joined.
    ///
    /// # Errors
    /// I/O.
    pub fn remove(&self, parts: &[Part]) -> Result<(), PartError> {
        let remove = |path: PathBuf| remove_if_any(&path);
        parts.iter().try_for_each(|part| {
            remove(self.part_path(*part)).and_then(|()| remove(self.outlines_part_path(*part)))
        })
    }

    /// Makes a part the table; not done, when they lie on different disks.
    fn move_part(&self, part: Part, table: &Path) -> Result<bool, PartError> {
        let path = self.part_path(part);
        self.append_part(&mut io::sink(), &mut Vec::new(), part)?;
        File::options().write(true).open(&path).and_then(|file| file.sync_data()).map_err(at(&path))?;
        let rename = || match fs::rename(&path, table) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                fs::create_dir_all(table.parent().unwrap_or(Path::new(".")))?;
                fs::rename(&path, table)
            }
            renamed => renamed,
        };
        match rename() {
            Err(error) if error.kind() == io::ErrorKind::CrossesDevices => Ok(false),
            Err(error) => Err(at(table)(error)),
            Ok(()) => Ok(true),
        }
    }

    /// Removes what claims of a file have left behind; looks through all parts, so only for a file that was claimed
    /// more than once.
    ///
    /// # Errors
    /// I/O.
    pub fn remove_parts(&self, file_id: i64) -> Result<(), PartError> {
        let folder = self.parts_dir();
        let entries = match fs::read_dir(&folder) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            entries => entries.map_err(at(&folder))?,
        };
        let prefix = format!("{file_id}.");
        for entry in entries {
            let entry = entry.map_err(at(&folder))?;
            if entry.file_name().as_encoded_bytes().starts_with(prefix.as_bytes()) {
                remove_if_any(&entry.path())?;
            }
        }
        Ok(())
    }

    fn append_part(&self, out: &mut impl Write, header: &mut Vec<u8>, part: Part) -> Result<(), PartError> {
        let (path, plane) = (self.part_path(part), part.plane);
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
        if line != *header || !line.ends_with(b"\n") {
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
pub(super) fn portable(name: &str, suffix: &str) -> String {
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

    fn part(file_id: i64, claim: i64, z: u32) -> Part {
        Part { file_id, claim, plane: plane(z) }
    }

    fn scratch() -> (tempfile::TempDir, ObjectTables) {
        let folder = tempfile::tempdir().unwrap();
        let tables =
            ObjectTables::new(folder.path().join("state"), folder.path().join("objects"), Extras::default());
        (folder, tables)
    }

    #[test]
    fn the_parquet_form_follows_its_table() {
        let (_folder, plain) = scratch();
        let wanted = ObjectTables { extras: Extras { parquet: true, ..Extras::default() }, ..plain.clone() };
        let path = RelativePath::new("deep/c.tif");
        let (table, parquet) = (wanted.table_path("r", &path), wanted.parquet_path("r", &path));
        wanted.renew_parquet(&table, &parquet, false).unwrap();
        assert!(!parquet.exists(), "there is no table");
        let only = part(7, 3, 0);
        wanted.write_part(only, b"label\n1\n").unwrap();
        wanted.concatenate(&[only], &table).unwrap();
        assert!(wanted.has_part(only), "the part stays until both are there");
        wanted.renew_parquet(&table, &parquet, true).unwrap();
        let first = fs::read(&parquet).unwrap();
        assert!(first.starts_with(b"PAR1") && first.ends_with(b"PAR1"));
        fs::write(&table, "label\n1\n2\n").unwrap();
        wanted.renew_parquet(&table, &parquet, false).unwrap();
        assert_eq!(fs::read(&parquet).unwrap(), first, "a table that stands is not read");
        wanted.renew_parquet(&table, &parquet, true).unwrap();
        assert_ne!(fs::read(&parquet).unwrap(), first);
        fs::write(&table, "label\nx\n").unwrap();
        assert!(wanted.renew_parquet(&table, &parquet, true).is_err());
        plain.renew_parquet(&table, &parquet, false).unwrap();
        assert!(parquet.exists(), "it still says what its table says");
        plain.renew_parquet(&table, &parquet, true).unwrap();
        assert!(!parquet.exists(), "an old one beside a new table would mislead");
        assert_eq!(fs::read_dir(table.parent().unwrap()).unwrap().count(), 1, "no temporary file is left");
    }

    #[test]
    fn parts_become_one_table_and_go() {
        let (folder, tables) = scratch();
        let parts = [part(7, 1, 0), part(7, 2, 2), part(7, 1, 10)];
        for at in parts {
            tables.write_part(at, format!("label,z\n1,{}\n2,{0}\n", at.plane.z).as_bytes()).unwrap();
        }
        let table = tables.table_path("plate 1", &RelativePath::new("a:b/con.x/c.nd2"));
        assert_eq!(table, folder.path().join("objects/plate 1/a%3Ab/%63on.x/c.nd2.objects.csv"));
        tables.concatenate(&parts, &table).unwrap();
        let joined = "label,z\n1,0\n2,0\n1,2\n2,2\n1,10\n2,10\n";
        assert_eq!(fs::read_to_string(&table).unwrap(), joined);
        tables.concatenate(&parts, &table).unwrap();
        assert_eq!(fs::read_to_string(&table).unwrap(), joined, "joined again after a crash");
        tables.remove(&parts).unwrap();
        assert!(parts.iter().all(|part| !tables.has_part(*part)));
    }

    #[test]
    fn a_single_part_becomes_the_table_and_replaces_the_one_before() {
        let (folder, tables) = scratch();
        let table = tables.table_path("r", &RelativePath::new("deep/c.tif"));
        for rows in ["label\n1\n", "label\n1\n2\n"] {
            tables.write_part(part(7, 3, 0), rows.as_bytes()).unwrap();
            tables.concatenate(&[part(7, 3, 0)], &table).unwrap();
            assert_eq!(fs::read_to_string(&table).unwrap(), rows);
        }
        assert_eq!(fs::read_dir(folder.path().join("state/objects")).unwrap().count(), 0);
        assert_eq!(fs::read_dir(table.parent().unwrap()).unwrap().count(), 1);
    }

    #[test]
    fn a_table_is_extended_only_when_it_holds_what_it_should() {
        let (_folder, tables) = scratch();
        let table = tables.table_path("r", &RelativePath::new("c.tif"));
        tables.write_part(part(7, 2, 2), b"label\n1\n").unwrap();
        assert!(!tables.extend(0..1, &[part(7, 2, 2)], &table).unwrap(), "no table");
        fs::create_dir_all(table.parent().unwrap()).unwrap();
        fs::write(&table, "label\n1\n2\n").unwrap();
        assert!(!tables.extend(0..1, &[part(7, 2, 2)], &table).unwrap(), "other rows");
        tables.write_part(part(7, 2, 3), b"label,area\n1,2\n").unwrap();
        assert!(!tables.extend(2..4, &[part(7, 2, 2), part(7, 2, 3)], &table).unwrap(), "another header");
        assert_eq!(fs::read_to_string(&table).unwrap(), "label\n1\n2\n");
        for _ in ["", "again after a crash"] {
            assert!(tables.extend(2..3, &[part(7, 2, 2)], &table).unwrap());
            assert_eq!(fs::read_to_string(&table).unwrap(), "label\n1\n2\n1\n");
        }
        assert_eq!(fs::read_dir(table.parent().unwrap()).unwrap().count(), 1, "no temporary file is left");
    }

    #[test]
    fn what_older_claims_left_is_never_taken_and_goes() {
        let (_folder, tables) = scratch();
        let table = tables.table_path("r", &RelativePath::new("c.nd2"));
        tables.write_part(part(7, 1, 0), b"label\n1\n").unwrap();
        tables.write_part(part(71, 1, 0), b"label\n1\n").unwrap();
        assert!(!tables.has_part(part(7, 2, 0)));
        let error = tables.concatenate(&[part(7, 2, 0)], &table).unwrap_err();
        assert!(matches!(error, PartError::Damaged(_)), "{error}");
        tables.remove_parts(7).unwrap();
        assert!(!tables.has_part(part(7, 1, 0)) && tables.has_part(part(71, 1, 0)));
    }

    #[test]
    fn a_lost_or_torn_part_is_named_and_nothing_is_changed() {
        let (_folder, tables) = scratch();
        let table = tables.table_path("r", &RelativePath::new("c.nd2"));
        for torn in ["", "label\n1\n2", "label,area\n1,2\n", "label\n\0\0\n"] {
            tables.write_part(part(1, 1, 0), b"label\n1\n").unwrap();
            tables.write_part(part(1, 1, 1), torn.as_bytes()).unwrap();
            let error = tables.concatenate(&[part(1, 1, 0), part(1, 1, 1)], &table).unwrap_err();
            assert!(matches!(error, PartError::Damaged(at) if at == plane(1)), "{torn:?}: {error}");
            assert!(tables.has_part(part(1, 1, 0)) && !table.exists());
        }
        assert!(matches!(tables.concatenate(&[part(2, 1, 3)], &table), Err(PartError::Damaged(_))));
        for torn in ["", "label\n1", "label\n\0\n"] {
            tables.write_part(part(3, 1, 0), torn.as_bytes()).unwrap();
            assert!(tables.concatenate(&[part(3, 1, 0)], &table).is_err(), "{torn:?}");
        }
        assert!(!table.exists());
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

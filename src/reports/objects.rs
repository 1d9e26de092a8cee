//! Object tables: one CSV part per plane while a container is worked on, joined into one table per container.

use std::io;
use std::path::{Path, PathBuf};

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
    /// The part of a plane is gone or torn: the plane has to be done again.
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

impl ObjectTables {
    /// Takes the two folders; nothing is created before it is needed.
    pub fn new(state_dir: impl Into<PathBuf>, objects_dir: impl Into<PathBuf>) -> Self {
        Self { state_dir: state_dir.into(), objects_dir: objects_dir.into() }
    }

    /// Where the part of a plane stands.
    pub fn part_path(&self, _file_id: i64, _plane: PlaneIndex) -> PathBuf {
        let _ = (&self.state_dir, &self.objects_dir);
        unimplemented!()
    }

    /// Writes the part of a plane: a header line and its rows, each ended by a line feed.
    pub fn write_part(&self, _file_id: i64, _plane: PlaneIndex, _csv: &[u8]) -> Result<(), PartError> {
        unimplemented!()
    }

    /// Whether the part of a plane is there and whole.
    pub fn has_part(&self, _file_id: i64, _plane: PlaneIndex) -> bool {
        unimplemented!()
    }

    /// Where the table of a container stands.
    pub fn table_path(&self, _root_name: &str, _path: &RelativePath) -> PathBuf {
        unimplemented!()
    }

    /// Joins the parts of `planes`, in their order, under one header, and removes the parts. With no planes nothing is written.
    pub fn concatenate(&self, _file_id: i64, _planes: &[PlaneIndex], _table: &Path) -> Result<(), PartError> {
        unimplemented!()
    }
}

//! Collections of outlines, one GeoJSON file per position of a container: parts per plane while it is worked on, as
//! object tables have them, joined when it is closed.

use std::fs::File;
use std::io::{self, BufRead, BufReader, BufWriter, Write};
use std::path::{Path, PathBuf};

use super::objects::{ObjectTables, Part, PartError, at, remove_if_any};
use super::replace::Replacement;
use crate::analysis::segmentation::geojson::{HEAD, TAIL};
use crate::paths::RelativePath;
use crate::store::SegmentedPlane;
use crate::units::PlaneIndex;

impl ObjectTables {
    /// Where the outlines of one position of a container stand.
    pub fn outlines_path(&self, root_name: &str, path: &RelativePath, position: u32) -> PathBuf {
        self.path_beside(root_name, path, &format!(".p{position}.objects.geojson"))
    }

    /// Where the outlines of a plane stand until they are joined.
    pub(super) fn outlines_part_path(&self, part: Part) -> PathBuf {
        self.part_path(part).with_extension("geojson")
    }

    /// Writes the outlines of a plane: one feature a line, each ended by a line feed and without a comma.
    ///
    /// # Errors
    /// I/O.
    pub fn write_outlines_part(&self, part: Part, features: &str) -> Result<(), PartError> {
        self.write_into_parts(&self.outlines_part_path(part), &[HEAD.as_bytes(), features.as_bytes()])
    }

    /// Brings the outlines of a container up to date where they are wanted: those of planes that carry a claim are added
    /// behind what the collection of their position holds of those before them. Answers the planes that have to be done
    /// again because their outlines are nowhere. Parts stay until [`Self::remove`], so that this can be repeated.
    ///
    /// `planes` are all planes of the container that were segmented, in order; `path` names the collection of a position.
    ///
    /// # Errors
    /// I/O.
    pub fn join_outlines(
        &self,
        file_id: i64,
        planes: &[SegmentedPlane],
        path: impl Fn(u32) -> PathBuf,
    ) -> Result<Vec<PlaneIndex>, PartError> {
        let n_positions = planes.iter().map(|plane| plane.index.p + 1).max().unwrap_or(0);
        let mut first_unused = 0;
        let mut lost = Vec::new();
        if self.extras.geojson {
            first_unused = n_positions;
            for position in 0..n_positions {
                let of_position: Vec<_> = planes.iter().filter(|plane| plane.index.p == position).collect();
                if !of_position.is_empty() {
                    lost.extend(self.join_position(file_id, &of_position, &path(position))?);
                }
            }
        }
        // old ones beside a new table would mislead
        for position in first_unused.. {
            let unused = path(position);
            if position >= n_positions && !unused.exists() {
                break;
            }
            remove_if_any(&unused)?;
        }
        Ok(lost)
    }

    fn join_position(
        &self,
        file_id: i64,
        planes: &[&SegmentedPlane],
        path: &Path,
    ) -> Result<Vec<PlaneIndex>, PartError> {
        let n_kept = planes.iter().take_while(|plane| plane.claim.is_none()).count();
        let (kept, added) = planes.split_at(n_kept);
        let n_features = |planes: &[&SegmentedPlane]| planes.iter().map(|plane| plane.nuclei).sum::<u64>();
        let indices = |planes: &[&SegmentedPlane]| planes.iter().map(|plane| plane.index).collect();
        let mut joined = Collection::create(path)?;
        if !kept.is_empty() {
            let n_old = joined.copy(path)?;
            if n_old == Some(n_features(planes)) {
                return Ok(Vec::new());
            }
            if n_old != Some(n_features(kept)) {
                return Ok(indices(kept));
            }
        }
        let mut lost = Vec::new();
        for plane in added {
            let part = plane.claim.map(|claim| Part { file_id, claim, plane: plane.index });
            let n_added = match part {
                Some(part) => joined.append(&self.outlines_part_path(part))?,
                None => None,
            };
            if n_added != Some(plane.nuclei) {
                lost.push(plane.index);
            }
        }
        if lost.is_empty() {
            joined.close()?;
        }
        Ok(lost)
    }
}

/// A collection being written.
struct Collection {
    out: BufWriter<Replacement>,
    path: PathBuf,
    is_begun: bool,
}

impl Collection {
    fn create(path: &Path) -> Result<Self, PartError> {
        let create = || {
            let mut out = BufWriter::new(Replacement::create(path)?);
            out.write_all(HEAD.as_bytes())?;
            Ok(out)
        };
        Ok(Self { out: create().map_err(at(path))?, path: path.to_owned(), is_begun: false })
    }

    /// Copies the features of a whole collection, and says how many; none where it is not there or not whole.
    fn copy(&mut self, path: &Path) -> Result<Option<u64>, PartError> {
        self.take(path, TAIL)
    }

    /// Adds the features of a part, and says how many; none where it is not there or torn.
    fn append(&mut self, path: &Path) -> Result<Option<u64>, PartError> {
        self.take(path, "")
    }

    fn take(&mut self, path: &Path, tail: &str) -> Result<Option<u64>, PartError> {
        let mut lines = match File::open(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            opened => BufReader::new(opened.map_err(at(path))?),
        };
        let mut line = Vec::new();
        let mut next = |line: &mut Vec<u8>| {
            line.clear();
            lines.read_until(b'\n', line).map_err(at(path))
        };
        next(&mut line)?;
        if line != HEAD.as_bytes() {
            return Ok(None);
        }
        for n_features in 0.. {
            next(&mut line)?;
            if line == tail.as_bytes() {
                return Ok(Some(n_features));
            }
            let feature = line.strip_suffix(b"\n").map(|line| line.strip_suffix(b",").unwrap_or(line));
            match feature {
                Some(feature) if feature.starts_with(b"{") && feature.ends_with(b"}") => {
                    self.push(feature)?
                }
                _ => return Ok(None),
            }
        }
        Ok(None)
    }

    fn push(&mut self, feature: &[u8]) -> Result<(), PartError> {
        let separator: &[u8] = if self.is_begun { b",\n" } else { b"" };
        self.is_begun = true;
        self.out.write_all(separator).and_then(|()| self.out.write_all(feature)).map_err(at(&self.path))
    }

    fn close(mut self) -> Result<(), PartError> {
        let end: &[u8] = if self.is_begun { b"\n" } else { b"" };
        let close = || {
            self.out.write_all(end)?;
            self.out.write_all(TAIL.as_bytes())?;
            self.out.into_inner().map_err(io::IntoInnerError::into_error)?.put_in_place()
        };
        close().map_err(at(&self.path))
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use serde_json::Value;

    use super::*;
    use crate::reports::Extras;

    struct Scratch {
        folder: tempfile::TempDir,
        tables: ObjectTables,
    }

    fn plane(t: u32, p: u32, claim: Option<i64>, nuclei: u64) -> SegmentedPlane {
        SegmentedPlane { index: PlaneIndex { t, p, ..PlaneIndex::default() }, claim, nuclei }
    }

    impl Scratch {
        fn new() -> Self {
            let folder = tempfile::tempdir().unwrap();
            let extras = Extras { geojson: true, ..Extras::default() };
            let tables =
                ObjectTables::new(folder.path().join("state"), folder.path().join("objects"), extras);
            Self { folder, tables }
        }

        fn path(&self, position: u32) -> PathBuf {
            self.tables.outlines_path("r", &RelativePath::new("deep/c.nd2"), position)
        }

        /// Writes the parts of planes that carry a claim: features that name their plane.
        fn write(&self, planes: &[SegmentedPlane]) {
            for SegmentedPlane { index, claim, nuclei } in planes {
                let feature = format!("{{\"id\":\"{index}\"}}\n");
                if let Some(claim) = *claim {
                    let part = Part { file_id: 7, claim, plane: *index };
                    self.tables.write_outlines_part(part, &feature.repeat(*nuclei as usize)).unwrap();
                }
            }
        }

        fn join(&self, planes: &[SegmentedPlane]) -> Vec<PlaneIndex> {
            self.tables.join_outlines(7, planes, |position| self.path(position)).unwrap()
        }

        fn ids(&self, position: u32) -> Vec<String> {
            let read: Value = serde_json::from_slice(&fs::read(self.path(position)).unwrap()).unwrap();
            let features = read["features"].as_array().unwrap();
            features.iter().map(|feature| feature["id"].as_str().unwrap().to_owned()).collect()
        }

        fn n_files(&self) -> usize {
            fs::read_dir(self.folder.path().join("objects/r/deep")).unwrap().count()
        }
    }

    #[test]
    fn each_position_has_its_collection_and_joining_can_be_repeated() {
        let scratch = Scratch::new();
        let planes = [plane(0, 0, Some(1), 2), plane(0, 1, Some(1), 0), plane(1, 0, Some(2), 1)];
        scratch.write(&planes);
        for _ in ["", "again after a crash"] {
            assert!(scratch.join(&planes).is_empty());
            assert_eq!(scratch.ids(0), ["t0p0z0c0", "t0p0z0c0", "t1p0z0c0"]);
            assert!(scratch.ids(1).is_empty());
        }
        assert_eq!(scratch.n_files(), 2, "no temporary file is left");
    }

    #[test]
    fn what_comes_later_is_added_behind_what_is_there() {
        let scratch = Scratch::new();
        let first = [plane(0, 0, Some(1), 2)];
        scratch.write(&first);
        assert!(scratch.join(&first).is_empty());
        let more = [plane(0, 0, None, 2), plane(1, 0, Some(2), 1)];
        scratch.write(&more);
        for _ in ["", "again after a crash"] {
            assert!(scratch.join(&more).is_empty());
            assert_eq!(scratch.ids(0), ["t0p0z0c0", "t0p0z0c0", "t1p0z0c0"]);
        }
        fs::write(scratch.path(0), HEAD).unwrap();
        assert_eq!(scratch.join(&more), [more[0].index], "what was there is torn");
        fs::remove_file(scratch.path(0)).unwrap();
        assert_eq!(scratch.join(&more), [more[0].index], "what was there has gone");
    }

    #[test]
    fn lost_and_torn_parts_are_named_and_nothing_is_changed() {
        let scratch = Scratch::new();
        let planes = [plane(0, 0, Some(1), 2), plane(1, 0, Some(1), 1)];
        scratch.write(&planes);
        assert!(scratch.join(&planes).is_empty());
        let before = scratch.ids(0);
        let part = Part { file_id: 7, claim: 1, plane: planes[1].index };
        for torn in [
            "",
            HEAD,
            "[\n{}\n",
            &format!("{HEAD}{{}}"),
            &format!("{HEAD}{{}}\n{{}}\n"),
            &format!("{HEAD}\0\n"),
        ] {
            fs::write(scratch.tables.outlines_part_path(part), torn).unwrap();
            assert_eq!(scratch.join(&planes), [planes[1].index], "{torn:?}");
        }
        fs::remove_file(scratch.tables.outlines_part_path(part)).unwrap();
        assert_eq!(scratch.join(&planes), [planes[1].index]);
        assert_eq!(scratch.ids(0), before);
        assert_eq!(scratch.n_files(), 1, "no temporary file is left");
    }

    #[test]
    fn collections_that_nothing_stands_behind_go() {
        let mut scratch = Scratch::new();
        let planes = [plane(0, 0, Some(1), 1), plane(0, 1, Some(1), 1), plane(0, 2, Some(1), 1)];
        scratch.write(&planes);
        assert!(scratch.join(&planes).is_empty());
        assert!(scratch.join(&planes[..1]).is_empty());
        assert!(scratch.path(0).exists() && scratch.n_files() == 1, "a version with fewer positions");
        assert!(scratch.join(&planes).is_empty());
        scratch.tables.extras.geojson = false;
        assert!(scratch.join(&planes[..2]).is_empty());
        assert_eq!(scratch.n_files(), 0, "not wanted any more");
    }

    #[test]
    fn a_plane_without_its_outlines_has_no_part() {
        let scratch = Scratch::new();
        let planes = [plane(0, 0, Some(1), 0)];
        let part = Part { file_id: 7, claim: 1, plane: planes[0].index };
        scratch.tables.write_part(part, b"label\n").unwrap();
        assert!(!scratch.tables.has_part(part));
        scratch.write(&planes);
        assert!(scratch.tables.has_part(part));
        scratch.tables.remove(&[part]).unwrap();
        assert_eq!(fs::read_dir(scratch.folder.path().join("state/objects")).unwrap().count(), 0);
    }
}

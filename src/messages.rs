//! What travels between the steps, in flow order:
//!
//! watch folder -> [`SeenFile`] -> [`SettledFile`] -> [`DecodedImage`] -> [`SegmentedImage`] -> [`HashedImage`]
//! -> [`VerifiedImage`] -> [`RegisteredImage`] -> the ledger and its reports.
//!
//! Each carries a [`Ticket`]: who it is, so that a failure anywhere can be reported by name.

use std::any::Any;
use std::fmt;
use std::sync::{Arc, Weak};
use std::time::Instant;

use dashmap::DashSet;

use crate::analysis::hashing::{PixelDigest, PlaneFeatures};
use crate::analysis::identity::PlateIdentity;
use crate::analysis::segmentation::{Centroids, PlaneQuality};
use crate::formats::{Container, Metadata, Plane};
use crate::paths::{FileStat, RelativePath, Root};
use crate::store::{ExactMatch, FileTicket, Registrable, Registration};
use crate::units::{PlaneIndex, SampleType};

/// A file that the watcher found new or changed.
#[derive(Debug, Clone)]
pub struct SeenFile {
    /// Who it is; neither claimed nor a plane yet.
    pub ticket: Ticket,
}

/// A file that passed every gate (at rest, without a writer, whole), or planes that are written of one that grows; the
/// ledger knows it to be in work.
pub struct SettledFile {
    /// Who it is.
    pub ticket: Ticket,
    /// What is known of it.
    pub file: Arc<FileContext>,
    /// The planes that are still to be done, as positions in `container.planes()`, with the digest of the same plane
    /// in the version before.
    pub todo: Vec<(usize, Option<PixelDigest>)>,
    /// How often the process died while this file was in work and none of its planes got done.
    pub interruptions: u32,
    /// The opened container.
    pub container: Box<dyn Container>,
}

/// A plane with its pixels.
#[derive(Debug)]
pub struct DecodedImage {
    /// Who it is.
    pub ticket: Ticket,
    /// What is known of its container.
    pub file: Arc<FileContext>,
    /// Which plane of it.
    pub index: PlaneIndex,
    /// Its pixels.
    pub plane: Plane,
    /// Digest of shape, type and samples.
    pub digest: PixelDigest,
}

/// A plane after segmentation, still with its pixels.
#[derive(Debug)]
pub struct SegmentedImage {
    /// The plane as it was decoded.
    pub image: DecodedImage,
    /// What was found.
    pub nuclei: Nuclei,
}

/// A plane after hashing: from here on without pixels.
#[derive(Debug)]
pub struct HashedImage {
    /// Who it is.
    pub ticket: Ticket,
    /// What is known of its container.
    pub file: Arc<FileContext>,
    /// Which plane of it.
    pub index: PlaneIndex,
    /// Rows, columns, samples per pixel.
    pub shape: [usize; 3],
    /// The type of the samples.
    pub sample_type: SampleType,
    /// Digest of shape, type and samples.
    pub digest: PixelDigest,
    /// What segmentation found.
    pub nuclei: Nuclei,
    /// Code, noise level, quantiles and so on.
    pub features: PlaneFeatures,
}

/// A plane whose relation to the planes before it is known.
#[derive(Debug)]
pub struct VerifiedImage {
    /// The plane as it was hashed.
    pub image: HashedImage,
    /// One match for each class of byte-identical containers that hold the same pixels; empty for a new scene and
    /// for blanks.
    pub matches: Vec<ExactMatch>,
}

/// A plane that was tried with every partner known so far.
#[derive(Debug)]
pub struct RegisteredImage {
    /// The plane as it was verified.
    pub image: VerifiedImage,
    /// What is kept of it for partners that come later; none where it cannot be registered.
    pub registrable: Option<Registrable>,
    /// What came of each pair.
    pub registrations: Vec<Registration>,
}

/// What segmentation found in a plane, without pixels.
#[derive(Debug, Clone)]
pub enum Nuclei {
    /// Nuclei were looked for.
    Segmented {
        /// The figures of the plane.
        quality: PlaneQuality,
        /// Where they are, for registration; none where there are too many to be nuclei.
        centroids: Option<Arc<Centroids>>,
    },
    /// They were not, and why.
    NotSegmented(String),
}

/// What is known of a container while its planes are in work; shared by them.
#[derive(Debug)]
pub struct FileContext {
    /// The right to work on it.
    pub claim: FileTicket,
    /// Which version of the file this is, from 1, as it stood when it was claimed.
    pub version: i64,
    /// What the file system said when it was opened.
    pub stat: FileStat,
    /// What the container says of itself.
    pub metadata: Metadata,
    /// Plate, well, site and so on, from its path.
    pub identity: PlateIdentity,
    /// Whether the container was whole when it was opened.
    pub container_complete: bool,
}

/// Who an item is, from the first sight of a file to the last line about its planes; cheap to clone.
#[derive(Clone)]
pub struct Ticket {
    /// The root that the file lies under.
    pub root: Arc<Root>,
    /// The file's path below the root.
    pub path: Arc<RelativePath>,
    /// What the file system said when it was last asked.
    pub stat: Option<FileStat>,
    /// The right to work on the file, once it is claimed.
    pub claim: Option<FileTicket>,
    /// Which plane, once it is one.
    pub plane: Option<PlaneIndex>,
    /// When the watcher handed the file out.
    pub seen_at: Instant,
    /// Held as long as anything of this file is in work.
    _mark: Arc<WorkMark>,
    /// What else is held as long as this plane is in work.
    _hold: Option<Arc<dyn Any + Send + Sync>>,
}

/// The files that are in work; the watcher does not hand them out again.
#[derive(Debug, Clone, Default)]
pub struct InWork(Arc<DashSet<(i64, RelativePath)>>);

/// Takes the file out of [`InWork`] when the last ticket has gone; that of a part does nothing of its own.
struct WorkMark {
    entry: Option<(InWork, (i64, RelativePath))>,
    _whole: Option<Arc<WorkMark>>,
}

/// Tells whether anything of a part of a file is in work.
#[derive(Clone)]
pub struct PartWatch(Weak<WorkMark>);

impl PartWatch {
    /// Whether every ticket of the part has gone.
    pub fn is_done(&self) -> bool {
        self.0.strong_count() == 0
    }
}

impl InWork {
    /// Whether anything of this file is in work.
    pub fn contains(&self, root: &Root, path: &RelativePath) -> bool {
        self.0.contains(&(root.id, path.clone()))
    }

    /// How many files are in work.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether no file is in work.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The first ticket of a file; `None` when it is in work already.
    pub fn ticket(&self, root: &Arc<Root>, path: RelativePath) -> Option<Ticket> {
        let key = (root.id, path.clone());
        self.0.insert(key.clone()).then(|| Ticket {
            root: root.clone(),
            path: Arc::new(path),
            stat: None,
            claim: None,
            plane: None,
            seen_at: Instant::now(),
            _mark: Arc::new(WorkMark { entry: Some((self.clone(), key)), _whole: None }),
            _hold: None,
        })
    }
}

impl Drop for WorkMark {
    fn drop(&mut self) {
        if let Some((in_work, key)) = &self.entry {
            in_work.0.remove(key);
        }
    }
}

impl Ticket {
    /// The same file, claimed.
    #[must_use]
    pub fn claimed(&self, claim: FileTicket) -> Self {
        Self { claim: Some(claim), ..self.clone() }
    }

    /// One plane of the same file.
    #[must_use]
    pub fn of_plane(&self, index: PlaneIndex) -> Self {
        Self { plane: Some(index), ..self.clone() }
    }

    /// The same, holding something until nothing of it is in work any more.
    #[must_use]
    pub fn holding(&self, hold: impl Any + Send + Sync) -> Self {
        Self { _hold: Some(Arc::new(hold)), ..self.clone() }
    }

    /// The same file as the file system describes it.
    #[must_use]
    pub fn with_stat(&self, stat: FileStat) -> Self {
        Self { stat: Some(stat), ..self.clone() }
    }

    /// The same file, for a part of the work on it; and the way to learn when no ticket of that part is left.
    #[must_use]
    pub fn part(&self) -> (Self, PartWatch) {
        let mark = Arc::new(WorkMark { entry: None, _whole: Some(self._mark.clone()) });
        let watch = PartWatch(Arc::downgrade(&mark));
        (Self { _mark: mark, ..self.clone() }, watch)
    }

    /// Where the file is now.
    pub fn absolute_path(&self) -> std::path::PathBuf {
        self.root.path.join(self.path.as_path())
    }
}

impl fmt::Display for Ticket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.absolute_path().display())?;
        self.plane.map_or(Ok(()), |plane| write!(f, " {plane}"))
    }
}

impl fmt::Debug for Ticket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Ticket({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_in_work_until_its_last_ticket_has_gone() {
        let root = Arc::new(Root { id: 1, name: "plate".into(), path: "/data/plate".into() });
        let in_work = InWork::default();
        let path = || RelativePath::new("a/b.tif");
        let ticket = in_work.ticket(&root, path()).unwrap();
        assert!(in_work.ticket(&root, path()).is_none(), "handed out twice");
        let plane = ticket.claimed(FileTicket { file_id: 7, claim: 1 }).of_plane(PlaneIndex::default());
        drop(ticket);
        assert!(in_work.contains(&root, &path()));
        assert_eq!(plane.to_string(), "/data/plate/a/b.tif t0p0z0c0");
        drop(plane);
        assert!(in_work.is_empty());
    }

    #[test]
    fn a_part_of_a_file_is_done_before_the_file_is() {
        let root = Arc::new(Root { id: 1, name: "plate".into(), path: "/data/plate".into() });
        let in_work = InWork::default();
        let ticket = in_work.ticket(&root, RelativePath::new("a.nd2")).unwrap();
        let (part, watch) = ticket.part();
        let plane = part.of_plane(PlaneIndex::default());
        drop(part);
        assert!(!watch.is_done());
        drop(ticket);
        assert!(!in_work.is_empty(), "its part holds it");
        drop(plane);
        assert!(watch.is_done() && in_work.is_empty());
    }
}

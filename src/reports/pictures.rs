//! Pictures of registrations, where they are wanted: made from the ledger beside the current tables, one for each pair of
//! fields that lie on one another.

use std::collections::{HashMap, HashSet};
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use serde_json::Value;

use super::objects::portable;
use super::picture::PairPicture;
use super::replace::Replacement;
use crate::analysis::registration::PointPair;
use crate::geometry::Affine;
use crate::store::{AcceptedPair, AcceptedSide, LedgerError, LedgerReader, PixelDigest};

/// Writes pictures into one folder and takes those of pairs away again that stand no longer.
#[derive(Debug)]
pub(super) struct Pictures {
    folder: PathBuf,
    /// Of each pair whose picture stands, the mark in it and its file; none before the first look.
    standing: Mutex<Option<Standing>>,
}

type Standing = HashMap<(i64, i64), (String, PathBuf)>;

/// Why a picture could not be written.
#[derive(Debug, thiserror::Error)]
enum PictureError {
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    #[error("{}: {source}", path.display())]
    Io { path: PathBuf, source: io::Error },
}

impl Pictures {
    pub(super) fn new(folder: PathBuf) -> Self {
        Self { folder, standing: Mutex::default() }
    }

    /// Draws what is new, removes what stands no longer; `file_name` is how a file is called in a picture.
    ///
    /// What could not be drawn or removed is told by a warning, and tried again by the next refresh.
    pub(super) fn refresh(&self, reader: &LedgerReader, file_name: impl Fn(&AcceptedSide) -> String) {
        let mut known = self.standing.lock().unwrap_or_else(PoisonError::into_inner);
        let (standing, errors) = match reader.accepted_pairs() {
            Ok(pairs) => self.bring_up(reader, pairs, known.take(), file_name),
            Err(error) => (HashMap::new(), vec![error.into()]),
        };
        if let Some(error) = errors.first() {
            tracing::warn!(%error, n_errors = errors.len(), "pictures of registrations could not be written or removed");
        }
        // after an error the folder is looked at anew
        *known = errors.is_empty().then_some(standing);
    }

    /// The pictures that stand afterwards, and what went wrong.
    fn bring_up(
        &self,
        reader: &LedgerReader,
        pairs: Vec<AcceptedPair>,
        known: Option<Standing>,
        file_name: impl Fn(&AcceptedSide) -> String,
    ) -> (Standing, Vec<PictureError>) {
        let (mut before, mut found) = match known {
            Some(standing) => (standing, vec![]),
            // what an earlier process left
            None => (HashMap::new(), pictures_below(&self.folder)),
        };
        let (mut standing, mut errors) = (HashMap::new(), vec![]);
        for pair in pairs {
            let key = (pair.moving, pair.reference);
            match self.stand(reader, &pair, before.get(&key), &file_name) {
                Ok(stands) => standing.extend(stands.map(|stands| (key, stands))),
                Err(error) => errors.push(error),
            }
        }
        found.extend(before.drain().map(|(_, (_, path))| path));
        let wanted: HashSet<&PathBuf> = standing.values().map(|(_, path)| path).collect();
        for path in found.into_iter().filter(|path| !wanted.contains(path)) {
            match fs::remove_file(&path) {
                Err(source) if source.kind() != io::ErrorKind::NotFound => {
                    errors.push(PictureError::Io { path, source });
                }
                _ => {}
            }
        }
        (standing, errors)
    }

    /// The mark and the file of a pair's picture, which is drawn unless it is there; none where its nuclei are not known.
    fn stand(
        &self,
        reader: &LedgerReader,
        pair: &AcceptedPair,
        before: Option<&(String, PathBuf)>,
        file_name: impl Fn(&AcceptedSide) -> String,
    ) -> Result<Option<(String, PathBuf)>, PictureError> {
        let (nuclei, result) = reader.accepted_nuclei(pair)?;
        let transform = result.get("reference_from_moving").cloned().unwrap_or_default();
        let mark = mark(&pair.digests, &transform, &nuclei);
        if let Some(stands) = before.filter(|(shown, _)| *shown == mark) {
            return Ok(Some(stands.clone()));
        }
        let sides = [reader.accepted_side(pair.moving)?, reader.accepted_side(pair.reference)?];
        let [Some(moving), Some(reference)] = sides else { return Ok(None) };
        let Ok(reference_from_moving) = serde_json::from_value::<Affine>(transform) else { return Ok(None) };
        if [moving.digest, reference.digest] != pair.digests {
            // replaced meanwhile
            return Ok(None);
        }
        let path = self.path(&moving, &file_name(&reference), &reference);
        if is_marked(&path, &mark) {
            return Ok(Some((mark, path)));
        }
        let names = [&moving, &reference].map(|side| format!("{} {}", file_name(side), side.index));
        let points = [&moving, &reference].map(|side| side.centroids.to_f64());
        let pairs: Vec<(usize, usize)> = nuclei
            .into_iter()
            .map(|(m, r)| (m as usize, r as usize))
            .filter(|&(m, r)| m < points[0].len() && r < points[1].len())
            .collect();
        let picture = PairPicture {
            names: [&names[0], &names[1]],
            moving: &points[0],
            reference: &points[1],
            pairs: &pairs,
            reference_from_moving,
            pixel_size_um: reference.pixel_size_um,
        };
        let write = || {
            let mut file = Replacement::create(&path)?;
            write!(file, "{mark}{}", picture.to_svg())?;
            file.put_in_place_unsynced()
        };
        match write() {
            Ok(()) => Ok(Some((mark, path))),
            Err(source) => Err(PictureError::Io { path, source }),
        }
    }

    /// Below the folder, where the fine field stands below its root.
    fn path(&self, moving: &AcceptedSide, reference_name: &str, reference: &AcceptedSide) -> PathBuf {
        let mut path = self.folder.join(portable(&moving.root, ""));
        let text = moving.path.to_report();
        let mut names = text.split('/').peekable();
        while let Some(name) = names.next() {
            if names.peek().is_some() {
                path.push(portable(name, ""));
            } else {
                let name = format!("{name}.{} in {reference_name}.{}", moving.index, reference.index);
                path.push(portable(&name, ".svg"));
            }
        }
        path
    }
}

/// What every picture of ours begins with.
const MARK_BEGIN: &str = "<!-- scopewatch: pixels ";

/// What a picture begins with: which pixels it shows, and by a hash, how they lie on one another and which nuclei are the
/// same: both can change while the pixels stay.
fn mark(digests: &[PixelDigest; 2], transform: &Value, nuclei: &[PointPair]) -> String {
    let hex = |digest: &PixelDigest| digest[..8].iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let mut found = blake3::Hasher::new();
    found.update(transform.to_string().as_bytes());
    for (moving, reference) in nuclei {
        found.update(&moving.to_le_bytes()).update(&reference.to_le_bytes());
    }
    let found = hex(found.finalize().as_bytes());
    format!("{MARK_BEGIN}{} in {}, found {found} -->\n", hex(&digests[0]), hex(&digests[1]))
}

/// Whether a picture begins so.
fn is_marked(path: &Path, mark: &str) -> bool {
    let mut begin = vec![0; mark.len()];
    let read = File::open(path).and_then(|mut file| file.read_exact(&mut begin));
    read.is_ok() && begin == mark.as_bytes()
}

/// The pictures of ours below a folder; what cannot be looked into holds none.
fn pictures_below(folder: &Path) -> Vec<PathBuf> {
    let mut found = vec![];
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        match entry.file_type() {
            Ok(kind) if kind.is_dir() => found.extend(pictures_below(&path)),
            Ok(kind) if kind.is_file() && is_marked(&path, MARK_BEGIN) => found.push(path),
            _ => {}
        }
    }
    found
}

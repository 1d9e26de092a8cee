//! Reads planes again from their files and verifies them against one another.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use super::known::Pair;
use crate::actor::{ByteBudget, CpuPool, IoPool, JobError, StageCounters, StageError};
use crate::analysis::hashing::{self, FEATURES_VERSION, PixelDigest, PlaneFeatures};
use crate::analysis::verification::{
    self, Relation, VERIFICATION_VERSION, Verdict, VerificationSettings, scratch_bytes,
};
use crate::formats::{self, Container, FormatError, FormatErrorKind, Limits, Plane, PlaneEntry};
use crate::messages::HashedImage;
use crate::platform::filesystem::open_regular;
use crate::store::{Edge, LedgerError, LedgerReader, Place};
use crate::units::PlaneIndex;

/// What it takes to read originals again and to compare them.
#[derive(Debug, Clone)]
pub struct Means {
    /// Threads that read files.
    pub io: IoPool,
    /// Threads that compute.
    pub cpu: CpuPool,
    /// Bytes for pixels and scratch.
    pub budget: ByteBudget,
    /// What a container may claim.
    pub limits: Limits,
    /// Where each root lies now.
    pub roots: Arc<HashMap<i64, PathBuf>>,
}

/// Reads originals and compares them; clones share it.
#[derive(Clone)]
pub(super) struct Originals {
    pub(super) reader: Arc<Mutex<LedgerReader>>,
    pub(super) means: Means,
}

/// An opened file and the plane of it that is meant.
struct Original {
    container: Box<dyn Container>,
    position: usize,
    entry: PlaneEntry,
}

/// Why a plane cannot be read again.
#[derive(Debug, thiserror::Error)]
enum OriginalError {
    #[error("the original cannot be found any more")]
    Gone,
    #[error("the original has changed")]
    Changed,
    #[error("the original still grows")]
    Growing,
    #[error("the original cannot be read again: {0}")]
    Format(FormatError),
    #[error(transparent)]
    Ledger(#[from] LedgerError),
}

/// What came of a pair.
enum Verified {
    Edge(Edge),
    /// It could not be read, and why.
    Unread(String),
    /// One of the two lies in a container that still grows.
    PutOff,
}

impl OriginalError {
    fn into_verified(self) -> Result<Verified, StageError> {
        match self {
            Self::Ledger(error) => Err(StageError::fatal(error)),
            Self::Growing => Ok(Verified::PutOff),
            error => Ok(Verified::Unread(error.to_string())),
        }
    }
}

impl From<FormatError> for OriginalError {
    fn from(error: FormatError) -> Self {
        if error.kind == FormatErrorKind::Incomplete { Self::Growing } else { Self::Format(error) }
    }
}

/// A plane with its features and its digest.
type Seen = (Plane, PlaneFeatures, PixelDigest);

impl Originals {
    /// The edges between planes and their look-alikes, in their order. A pair that cannot be read is uncertain; one of
    /// a container that still grows is put off: its digests are the second answer.
    pub(super) async fn verify_all(
        &self,
        image: &HashedImage,
        look_alikes: &[Pair],
        counters: &Arc<StageCounters>,
    ) -> Result<(Vec<Edge>, Vec<[PixelDigest; 2]>), StageError> {
        let (mut edges, mut put_off) = (Vec::with_capacity(look_alikes.len()), Vec::new());
        for pair in look_alikes {
            match self.verify(pair, image, counters).await? {
                Verified::Edge(edge) => edges.push(edge),
                Verified::Unread(reason) => edges.push(unread(pair, reason)),
                Verified::PutOff => put_off.push([pair[0].digest, pair[1].digest]),
            }
            counters.progress();
        }
        Ok((edges, put_off))
    }

    async fn verify(
        &self,
        pair: &Pair,
        image: &HashedImage,
        counters: &Arc<StageCounters>,
    ) -> Result<Verified, StageError> {
        let (this, [one, two]) = (self.clone(), pair.clone());
        let opened = self
            .means
            .io
            .run(move |_| Ok::<_, OriginalError>([this.open_any(&one.places)?, this.open_any(&two.places)?]));
        let [(one, one_place), (two, two_place)] = match opened.await? {
            Ok(opened) => opened,
            Err(error) => return error.into_verified(),
        };
        let permit = {
            let _wait = counters.protect();
            match self.means.budget.acquire(bytes_needed(&one.entry, &two.entry)).await {
                Ok(permit) => permit,
                Err(error) => return Ok(Verified::Unread(format!("too large to be compared: {error}"))),
            }
        };
        let digests = [pair[0].digest, pair[1].digest];
        // of the plane that is at hand the ledger holds no features yet
        let at_hand = digests.map(|digest| (digest == image.digest).then(|| image.features.clone()));
        let this = self.clone();
        // the permit goes with the pixels: if the line is taken down, the memory counts until they have gone
        let read = self.means.io.run(move |_| {
            let read = || {
                let [own, other] = at_hand;
                let features = |known: Option<_>, place| {
                    known.map_or_else(|| this.features_of(place), |known| Ok(Some(known)))
                };
                let one = (one.read(&digests[0])?, features(own, &one_place)?);
                Ok::<_, OriginalError>([one, (two.read(&digests[1])?, features(other, &two_place)?)])
            };
            (permit, read())
        });
        let (permit, read) = read.await?;
        let [one, two] = match read {
            Ok(read) => read,
            Err(error) => return error.into_verified(),
        };
        let compared = self.means.cpu.run(move |_| {
            let seen = |(plane, known): (Plane, Option<PlaneFeatures>), digest| {
                let features = known.unwrap_or_else(|| hashing::plane_features(&plane));
                (plane, features, digest)
            };
            let edge = compare(&seen(one, digests[0]), &seen(two, digests[1]));
            drop(permit);
            edge
        });
        match compared.await {
            // the planes themselves are good
            Err(JobError::Panicked(message)) => {
                Ok(Verified::Unread(format!("a fault of scopewatch itself: {message}")))
            }
            edge => Ok(Verified::Edge(edge?)),
        }
    }

    /// Opens the first plane of these that is still there.
    fn open_any(&self, places: &[Place]) -> Result<(Original, Place), OriginalError> {
        let mut error = OriginalError::Gone;
        for place in places {
            let Some(path) = self.path_of(place.file_id)? else { continue };
            match open(path, place.index, &self.means.limits) {
                Ok(original) => return Ok((original, *place)),
                Err(other) => error = other,
            }
        }
        Err(error)
    }

    /// Where a file is, if its root is still watched.
    pub(super) fn path_of(&self, file_id: i64) -> Result<Option<PathBuf>, LedgerError> {
        let reader = self.reader.lock().unwrap_or_else(PoisonError::into_inner);
        let location = reader.file_location(file_id)?;
        drop(reader);
        Ok(location.and_then(|file| Some(self.means.roots.get(&file.root_id)?.join(file.path.as_path()))))
    }

    /// The features of a plane, where the ledger holds them by now.
    fn features_of(&self, place: &Place) -> Result<Option<PlaneFeatures>, LedgerError> {
        let reader = self.reader.lock().unwrap_or_else(PoisonError::into_inner);
        let stored = reader.features_of(place.file_id, place.index)?;
        drop(reader);
        let stored = stored.filter(|features| features.version == u32::from(FEATURES_VERSION));
        Ok(stored.and_then(|features| PlaneFeatures::from_bytes(&features.bytes).ok()))
    }
}

impl Original {
    fn read(mut self, digest: &PixelDigest) -> Result<Plane, OriginalError> {
        let plane = self.container.read_plane(self.position)?;
        if hashing::pixel_digest(&plane) == *digest { Ok(plane) } else { Err(OriginalError::Changed) }
    }
}

fn open(path: PathBuf, index: PlaneIndex, limits: &Limits) -> Result<Original, OriginalError> {
    let (file, _) = open_regular(&path).map_err(|_| OriginalError::Gone)?;
    let container = formats::open(Box::new(file), limits)?;
    let position = container.planes().iter().position(|entry| entry.index == index && !entry.missing);
    let position = position.ok_or(OriginalError::Changed)?;
    let entry = container.planes()[position];
    Ok(Original { container, position, entry })
}

/// The bytes that two planes take at most from their reading to their verdict.
fn bytes_needed(one: &PlaneEntry, two: &PlaneEntry) -> u64 {
    let height = one.height.max(two.height) as usize;
    let width = one.width.max(two.width) as usize;
    // readers hold at most one encoded plane beside the decoded ones
    let encoded = one.decoded_bytes().max(two.decoded_bytes());
    let scratch = scratch_bytes(height, width).max(hashing::scratch_bytes(height, width)) as u64;
    one.decoded_bytes().saturating_add(two.decoded_bytes()).saturating_add(scratch.max(encoded))
}

/// Verifies two planes in canonical direction.
fn compare(one: &Seen, two: &Seen) -> Edge {
    let (a, b) = if one.2 < two.2 { (one, two) } else { (two, one) };
    let settings = VerificationSettings::default();
    let verdict = verification::verify(&a.0, &b.0, (&a.1, &b.1), &settings);
    let shape = |seen: &Seen| (seen.0.height, seen.0.width);
    let Verdict { relation, confidence, reason, placement, evidence, .. } = verdict;
    let figures = evidence.refinement;
    Edge {
        a: a.2.0,
        b: b.2.0,
        relation,
        confidence,
        s: figures.map(|figures| figures.s),
        r: figures.and_then(|figures| figures.r),
        q: figures.and_then(|figures| figures.q),
        b_in_a: placement,
        a_in_b: placement.map(|placement| placement.inverse(shape(a), shape(b))),
        reason,
        version: VERIFICATION_VERSION.into(),
    }
}

/// The edge of a pair that could not be read; tried again with the next copy of either.
fn unread([one, two]: &Pair, reason: String) -> Edge {
    Edge {
        a: one.digest.0.min(two.digest.0),
        b: one.digest.0.max(two.digest.0),
        relation: Relation::Uncertain,
        confidence: 0.0,
        s: None,
        r: None,
        q: None,
        b_in_a: None,
        a_in_b: None,
        reason,
        version: 0,
    }
}

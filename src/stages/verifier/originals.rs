//! Reads planes again from their files and verifies them against one another.

use std::collections::HashMap;
use std::fs::File;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use super::known::LookAlike;
use crate::actor::{ByteBudget, CpuPool, IoPool, JobError, StageCounters, StageError};
use crate::analysis::hashing::{self, FEATURES_VERSION, PixelDigest, PlaneFeatures};
use crate::analysis::verification::{
    self, Relation, VERIFICATION_VERSION, Verdict, VerificationSettings, scratch_bytes,
};
use crate::formats::{self, Container, FormatError, Limits, Plane, PlaneEntry};
use crate::messages::HashedImage;
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
    #[error("the original cannot be read again: {0}")]
    Format(#[from] FormatError),
    #[error(transparent)]
    Ledger(#[from] LedgerError),
}

/// A plane with its features and its digest.
type Seen = (Plane, PlaneFeatures, PixelDigest);

impl Originals {
    /// The edges between a plane and its look-alikes, in their order. A pair that cannot be read is uncertain.
    pub(super) async fn verify_all(
        &self,
        image: &HashedImage,
        look_alikes: &[LookAlike],
        counters: &Arc<StageCounters>,
    ) -> Result<Vec<Edge>, StageError> {
        let mut edges = Vec::with_capacity(look_alikes.len());
        let path = image.ticket.absolute_path();
        let own = (path, image.index, image.digest);
        for other in look_alikes {
            edges.push(match self.verify(&own, &image.features, other, counters).await? {
                Ok(edge) => edge,
                Err(reason) => unread(&image.digest, &other.digest, reason),
            });
            counters.progress();
        }
        Ok(edges)
    }

    async fn verify(
        &self,
        own: &(PathBuf, PlaneIndex, PixelDigest),
        features: &PlaneFeatures,
        other: &LookAlike,
        counters: &Arc<StageCounters>,
    ) -> Result<Result<Edge, String>, StageError> {
        let (this, (path, index, _), places) = (self.clone(), own.clone(), other.places.clone());
        let opened = self.means.io.run(move |_| {
            let one = open(path, index, &this.means.limits)?;
            Ok::<_, OriginalError>((one, this.open_any(&places)?))
        });
        let (one, (two, place)) = match opened.await? {
            Ok(opened) => opened,
            Err(OriginalError::Ledger(error)) => return Err(StageError::fatal(error)),
            Err(error) => return Ok(Err(error.to_string())),
        };
        let permit = {
            let _wait = counters.protect();
            match self.means.budget.acquire(bytes_needed(&one.entry, &two.entry)).await {
                Ok(permit) => permit,
                Err(error) => return Ok(Err(format!("too large to be compared: {error}"))),
            }
        };
        let (this, digests, features) = (self.clone(), (own.2, other.digest), features.clone());
        // the permit goes with the pixels: if the line is taken down, the memory counts until they have gone
        let read = self.means.io.run(move |_| {
            let read = || {
                let known = this.features_of(&place)?;
                Ok::<_, OriginalError>((one.read(&digests.0)?, two.read(&digests.1)?, known))
            };
            (permit, read())
        });
        let (permit, read) = read.await?;
        let (one, two, known) = match read {
            Ok(read) => read,
            Err(OriginalError::Ledger(error)) => return Err(StageError::fatal(error)),
            Err(error) => return Ok(Err(error.to_string())),
        };
        let compared = self.means.cpu.run(move |_| {
            let known = known.unwrap_or_else(|| hashing::plane_features(&two));
            let edge = compare(&(one, features, digests.0), &(two, known, digests.1));
            drop(permit);
            edge
        });
        match compared.await {
            // the planes themselves are good
            Err(JobError::Panicked(message)) => Ok(Err(format!("a fault of scopewatch itself: {message}"))),
            edge => Ok(Ok(edge?)),
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
    let file = File::open(path).map_err(|_| OriginalError::Gone)?;
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
fn unread(one: &PixelDigest, two: &PixelDigest, reason: String) -> Edge {
    Edge {
        a: one.0.min(two.0),
        b: one.0.max(two.0),
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

//! Finds the planes that hold the same pixels as one before, and those that look alike.
//!
//! Containers of equal pixels are compared byte for byte. Planes whose codes are near are read again and verified, unless
//! they are expected to look alike as planes of one series.

mod bytes;
mod known;
mod originals;

use std::sync::{Arc, Mutex, PoisonError};

use self::bytes::{Compared, equal_files};
use self::known::{Known, KnownPlanes};
pub use self::originals::Means;
use self::originals::Originals;
use crate::actor::{CancelFlag, Stage, StageCounters, StageError, StageOutbox};
use crate::analysis::hashing::{FEATURES_VERSION, PixelDigest, PlaneFeatures};
use crate::analysis::verification::VERIFICATION_VERSION;
use crate::messages::{HashedImage, VerifiedImage};
use crate::stages::figures;
use crate::store::{ExactMatch, LedgerError, LedgerReader, Place};

/// Finds copies.
pub struct Verifier {
    originals: Originals,
    known: Arc<Mutex<KnownPlanes>>,
    compared: Compared,
}

impl Verifier {
    /// Loads what the ledger knows of all planes.
    ///
    /// # Errors
    /// When the ledger cannot be read.
    pub fn load(reader: LedgerReader, means: Means) -> Result<Self, LedgerError> {
        let mut known = KnownPlanes::default();
        reader.known_planes(|plane| {
            let features = plane.features.filter(|features| features.version == u32::from(FEATURES_VERSION));
            let features = features.and_then(|features| PlaneFeatures::from_bytes(&features.bytes).ok());
            let entry = Known { place: plane.place, bytes: plane.byte_class };
            known.add(PixelDigest(plane.digest), entry, features.map(|features| features.code));
        })?;
        reader.growing_files(|file_id| known.add_growing(file_id))?;
        reader.verified_pairs(VERIFICATION_VERSION.into(), |a, b| {
            known.add_verified(&PixelDigest(a), &PixelDigest(b));
        })?;
        let originals = Originals { reader: Arc::new(Mutex::new(reader)), means };
        Ok(Self { originals, known: Arc::new(Mutex::new(known)), compared: Compared::default() })
    }

    /// Whether a plane of these pixels is known.
    #[cfg(test)]
    pub(crate) fn knows(&self, digest: &PixelDigest) -> bool {
        !lock(&self.known).of_digest(digest).is_empty()
    }

    /// Whether the containers of the planes with the same pixels are equal byte for byte.
    async fn exact_matches(
        &mut self,
        image: &HashedImage,
        others: &[Place],
        counters: &Arc<StageCounters>,
    ) -> Result<Vec<ExactMatch>, StageError> {
        let mut matches = Vec::with_capacity(others.len());
        for other in others {
            let same_bytes = self.same_bytes(image, other.file_id, counters).await?;
            matches.push(ExactMatch { other_file_id: other.file_id, other_index: other.index, same_bytes });
        }
        Ok(matches)
    }

    /// Whether the containers of two planes are equal byte for byte; not, when one of them has gone.
    async fn same_bytes(
        &mut self,
        image: &HashedImage,
        other_file_id: i64,
        counters: &Arc<StageCounters>,
    ) -> Result<bool, StageError> {
        if image.file.claim.file_id == other_file_id {
            // two planes of one container: equal pixels, not a copied file
            return Ok(false);
        }
        let pair = (image.file.claim, other_file_id);
        if let Some(known) = self.compared.get(pair) {
            return Ok(known);
        }
        let (originals, own) = (self.originals.clone(), image.ticket.absolute_path());
        let counters = counters.clone();
        let compare = move |cancelled: &CancelFlag| {
            let Some(other) = originals.path_of(other_file_id)? else { return Ok(false) };
            let go_on = || {
                // large containers take minutes: each block is progress
                counters.progress();
                !cancelled.is_cancelled()
            };
            Ok::<_, LedgerError>(equal_files(&own, &other, go_on).unwrap_or(false))
        };
        let same = self.originals.means.io.run(compare).await?.map_err(StageError::fatal)?;
        self.compared.put(pair, same);
        Ok(same)
    }
}

impl Stage for Verifier {
    const NAME: &'static str = "verifier";
    type Input = HashedImage;
    type Output = VerifiedImage;

    async fn process(&mut self, image: HashedImage, out: &mut StageOutbox<Self>) -> Result<(), StageError> {
        let place = place_of(&image);
        let mut matches = Vec::new();
        if !image.features.is_blank() {
            let others = lock(&self.known).exemplars(&image.digest, &place);
            matches = self.exact_matches(&image, &others, out.counters()).await?;
        }
        let pairs = lock(&self.known).take_in(&image, place, &matches);
        if pairs.is_empty() {
            return out.send(VerifiedImage { image, matches, edges: Vec::new() }).await;
        }
        let (originals, known, counters) =
            (self.originals.clone(), self.known.clone(), out.counters().clone());
        out.send_when(image.ticket.clone(), async move {
            let (edges, put_off) =
                originals.verify_all((image.digest, &image.features), &pairs, &counters).await?;
            let unread =
                edges.iter().filter(|edge| edge.version == 0).map(|edge| [edge.a, edge.b].map(PixelDigest));
            unread.chain(put_off).for_each(|[a, b]| lock(&known).forget_verified(&a, &b));
            Ok(Some(VerifiedImage { image, matches, edges }))
        })
        .await
    }
}

/// Where a plane stands in its series, as the ledger will have it.
fn place_of(image: &HashedImage) -> Place {
    let file = &image.file;
    let own = figures::plane_identity(&file.identity, &file.metadata, image.index);
    let identity = own.completed_by(&figures::file_identity(&file.identity));
    let ticket = &image.ticket;
    Place::new((file.claim.file_id, &ticket.root.name), &ticket.path, image.index, &identity)
}

fn lock(known: &Mutex<KnownPlanes>) -> std::sync::MutexGuard<'_, KnownPlanes> {
    known.lock().unwrap_or_else(PoisonError::into_inner)
}

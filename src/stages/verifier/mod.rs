//! Finds the planes that hold the same pixels as one before, and those that look alike.
//!
//! Containers of equal pixels are compared byte for byte. Planes whose codes are near are read again and verified, unless
//! they are expected to look alike as planes of one series.

mod bytes;
mod classes;
mod desk;
mod known;
mod nearest;
mod originals;
mod tally;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::task::{JoinError, JoinSet};

use self::bytes::{Compared, equal_files};
use self::classes::{Known, Looks};
use self::desk::Desk;
use self::known::KnownPlanes;
pub use self::originals::Means;
use self::originals::Originals;
pub use self::tally::{CacheSnapshot, DeedsSnapshot, VerifierSnapshot, VerifierStageSnapshot, VerifierTally};
use crate::actor::{CancelFlag, Stage, StageCounters, StageError, StageOutbox};
use crate::analysis::hashing::{FEATURES_VERSION, PixelDigest, PlaneFeatures};
use crate::analysis::verification::VERIFICATION_VERSION;
use crate::messages::{HashedImage, Ticket, VerifiedImage};
use crate::stages::figures;
use crate::store::{ExactMatch, LedgerError, LedgerReader, Place};
use crate::units::PlaneIndex;

/// Finds copies.
pub struct Verifier {
    desk: Desk,
    compared: Compared,
    /// Planes that wait for what was put off of their containers: others overtake them.
    late: JoinSet<(Ticket, Result<VerifiedImage, StageError>)>,
}

/// How often is looked for planes that have waited.
const LATE_LOOK: Duration = Duration::from_secs(1);

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
            known.add(PixelDigest(plane.digest), entry, features.as_ref().map(Looks::of));
        })?;
        reader.growing_files(|file_id| known.add_growing(file_id))?;
        reader.verified_pairs(VERIFICATION_VERSION.into(), |a, b| {
            known.add_verified(&PixelDigest(a), &PixelDigest(b));
        })?;
        let originals = Originals::new(reader, means);
        let desk = Desk { originals, known: Arc::new(Mutex::new(known)) };
        Ok(Self { desk, compared: Compared::default(), late: JoinSet::new() })
    }

    /// Whether a plane of these pixels is known.
    #[cfg(test)]
    pub(crate) fn knows(&self, digest: &PixelDigest) -> bool {
        !self.desk.known().of_digest(digest).is_empty()
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
        let (originals, own) = (self.desk.originals.clone(), image.ticket.absolute_path());
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
        let same = self.desk.originals.means.io.run(compare).await?.map_err(StageError::fatal)?;
        self.compared.put(pair, same);
        Ok(same)
    }
}

impl Stage for Verifier {
    const NAME: &'static str = "verifier";
    type Input = HashedImage;
    type Output = VerifiedImage;

    async fn process(&mut self, image: HashedImage, out: &mut StageOutbox<Self>) -> Result<(), StageError> {
        self.send_late(out).await?;
        let mut matches = Vec::new();
        if !image.features.is_blank() {
            let others = self.desk.known().exemplars(&image.digest, &place_of(&image, image.index));
            matches = self.exact_matches(&image, &others, out.counters()).await?;
        }
        let desk = self.desk.clone();
        let take_in = move |_: &_| {
            let verified = desk.verified_before(&image)?;
            let place_at = |index| place_of(&image, index);
            let take_in = |known: &mut KnownPlanes, met: &mut _| {
                known.take_in(&image, place_at, (&matches, &verified), met)
            };
            let (put_off, searched) = desk.search(take_in);
            Ok((VerifiedImage { image, matches }, searched, put_off))
        };
        let taken_in: Result<_, LedgerError> = self.desk.originals.means.cpu.run(take_in).await?;
        let (image, searched, put_off) = taken_in.map_err(StageError::fatal)?;
        let (ticket, counters) = (image.image.ticket.clone(), out.counters().clone());
        if !put_off.is_empty() {
            let work = counters.begin_work();
            let verified = self.desk.clone().verify(image, (searched, put_off), counters);
            self.late.spawn(async move {
                let _work = work;
                (ticket, verified.await)
            });
            return Ok(());
        }
        if searched.pairs.is_empty() && searched.taken_back.is_none() {
            return out.send(image).await;
        }
        let verified = self.desk.clone().verify(image, (searched, put_off), counters);
        out.send_when(ticket, async move { verified.await.map(Some) }).await
    }

    fn tick_period(&self) -> Option<Duration> {
        Some(LATE_LOOK)
    }

    async fn tick(&mut self, out: &mut StageOutbox<Self>) -> Result<(), StageError> {
        self.send_late(out).await
    }

    async fn finish(&mut self, out: &mut StageOutbox<Self>) -> Result<(), StageError> {
        let counters = out.counters().clone();
        loop {
            let ended = {
                let _wait = counters.protect();
                self.late.join_next().await
            };
            let Some(ended) = ended else { return Ok(()) };
            send_ended(ended, out).await?;
        }
    }
}

impl Verifier {
    /// Sends the planes that have waited long enough.
    async fn send_late(&mut self, out: &mut StageOutbox<Self>) -> Result<(), StageError> {
        while let Some(ended) = self.late.try_join_next() {
            send_ended(ended, out).await?;
        }
        Ok(())
    }
}

async fn send_ended(
    ended: Result<(Ticket, Result<VerifiedImage, StageError>), JoinError>,
    out: &mut StageOutbox<Verifier>,
) -> Result<(), StageError> {
    let (ticket, verified) = ended.map_err(StageError::fatal)?;
    match verified {
        Ok(image) => out.send(image).await,
        Err(StageError::Item(reason) | StageError::Panicked(reason)) => out.reject(ticket, reason).await,
        Err(fatal) => Err(fatal),
    }
}

/// Where a plane of the same container stands in its series, as the ledger will have it.
fn place_of(image: &HashedImage, index: PlaneIndex) -> Place {
    let file = &image.file;
    let own = figures::plane_identity(&file.identity, &file.metadata, index);
    let identity = own.completed_by(&figures::file_identity(&file.identity));
    let ticket = &image.ticket;
    Place::new((file.claim.file_id, &ticket.root.name), &ticket.path, index, &identity)
}

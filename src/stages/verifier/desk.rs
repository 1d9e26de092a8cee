//! Where pairs of look-alikes are verified: those of one plane, and in portions what was put off of a container.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::oneshot;

use super::known::{KnownPlanes, Met, Taken};
use super::originals::Originals;
use crate::actor::{StageCounters, StageError};
use crate::analysis::hashing::{PixelDigest, PlaneFeatures};
use crate::messages::{HashedImage, VerifiedImage};
use crate::store::{Edge, LedgerError};

/// Pairs whose verdicts are written down together.
const PAIRS_AT_ONCE: usize = 64;

/// What verifying takes; clones share it.
#[derive(Clone)]
pub(super) struct Desk {
    pub(super) originals: Originals,
    pub(super) known: Arc<Mutex<KnownPlanes>>,
}

impl Desk {
    /// What is known, alone with it.
    pub(super) fn known(&self) -> std::sync::MutexGuard<'_, KnownPlanes> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The pixels with which the ledger says what those of a plane are, where these are not known: they may have been here
    /// before.
    pub(super) fn verified_before(&self, image: &HashedImage) -> Result<Vec<PixelDigest>, LedgerError> {
        let is_known = !self.known().of_digest(&image.digest).is_empty();
        if is_known || image.features.is_blank() {
            return Ok(Vec::new());
        }
        self.originals.verified_with(&image.digest)
    }

    /// Verifies what is to be verified for a plane. What was put off of its container comes first and is written down at
    /// once: a plane that is not done is read again after a `kill -9`, and what was put off is asked for again with it.
    pub(super) async fn verify(
        self,
        mut image: VerifiedImage,
        Taken { met, put_off }: Taken,
        counters: Arc<StageCounters>,
    ) -> Result<VerifiedImage, StageError> {
        let own = (image.image.digest, &image.image.features);
        let mut portion = Met::default();
        for digest in put_off {
            portion = self.meet(digest, portion).await?;
            counters.progress();
            if portion.pairs.len() >= PAIRS_AT_ONCE {
                self.verify_portion(own, std::mem::take(&mut portion), &counters).await?;
            }
        }
        self.verify_portion(own, portion, &counters).await?;
        let edges = self.verify_pairs(own, &met, &counters).await?;
        // those of others stand whatever becomes of the plane: nobody would ask for them again
        let digest = image.image.digest.0;
        let (own, others) = edges.into_iter().partition(|edge| [edge.a, edge.b].contains(&digest));
        self.save(others, &counters).await?;
        image.edges = own;
        Ok(image)
    }

    /// Searches all codes, off the runtime's workers, and adds what is to be done.
    async fn meet(&self, digest: PixelDigest, mut met: Met) -> Result<Met, StageError> {
        let this = self.clone();
        let search = move |_: &_| {
            let mut known = this.known();
            this.originals.means.tally.search(|| known.meet(&digest, false, &mut met));
            drop(known);
            met
        };
        Ok(self.originals.means.cpu.run(search).await?)
    }

    async fn verify_portion(
        &self,
        own: (PixelDigest, &PlaneFeatures),
        met: Met,
        counters: &Arc<StageCounters>,
    ) -> Result<(), StageError> {
        let edges = self.verify_pairs(own, &met, counters).await?;
        self.save(edges, counters).await
    }

    async fn save(&self, edges: Vec<Edge>, counters: &Arc<StageCounters>) -> Result<(), StageError> {
        if edges.is_empty() {
            return Ok(());
        }
        // a ledger that waits for space is no hang of ours
        let _wait = counters.protect();
        let (sender, receiver) = oneshot::channel();
        // whoever asked may have been stopped
        let reply = Box::new(move |answer| drop(sender.send(answer)));
        self.originals.means.ledger.save_edges(edges, reply);
        receiver.await.unwrap_or(Err(LedgerError::Closed)).map_err(StageError::fatal)
    }

    async fn verify_pairs(
        &self,
        own: (PixelDigest, &PlaneFeatures),
        met: &Met,
        counters: &Arc<StageCounters>,
    ) -> Result<Vec<Edge>, StageError> {
        let (mut edges, unseen) = self.originals.verify_all(own, &met.pairs, counters).await?;
        let mut known = self.known();
        // whoever pushed a pair out meanwhile has taken it back
        edges.retain(|edge| known.is_wanted([&PixelDigest(edge.a), &PixelDigest(edge.b)]));
        // and what was asked again since stands
        let pushed_out = met.pushed_out.iter().filter(|[a, b]| !known.is_wanted([a, b]));
        edges.splice(0..0, pushed_out.map(|[a, b]| Edge::taken_back(a.0, b.0)));
        unseen.into_iter().for_each(|asked| known.forget_asked(asked));
        Ok(edges)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;
    use std::num::NonZeroUsize;

    use super::*;
    use crate::actor::{ByteBudget, CpuPool, IoPool};
    use crate::analysis::hashing;
    use crate::analysis::identity::PlateIdentity;
    use crate::formats::tiff::{WriteOptions, encode};
    use crate::formats::{self, Limits, Plane, Samples};
    use crate::messages::{FileContext, InWork, Nuclei};
    use crate::paths::{RelativePath, Root};
    use crate::stages::verifier::Means;
    use crate::stages::verifier::VerifierTally;
    use crate::stages::verifier::known::{Known, Looks};
    use crate::store::test_support::{Scratch, stat};
    use crate::store::{FileTicket, Identity, Place, Stream};
    use crate::units::{PlaneIndex, SampleType};

    /// A plane at hand that looks like nothing.
    fn image(claim: FileTicket) -> VerifiedImage {
        let plane = Plane { height: 8, width: 8, n_samples: 1, samples: Samples::Uint8(vec![7; 64]) };
        let bytes = encode(std::slice::from_ref(&plane), &WriteOptions::default()).unwrap();
        let container = formats::open(Box::new(Cursor::new(bytes)), &Limits::default()).unwrap();
        let root = Arc::new(Root { id: 1, name: "root".into(), path: "/data".into() });
        let file = FileContext {
            claim,
            version: 1,
            stat: stat(1),
            metadata: container.metadata().clone(),
            identity: PlateIdentity::default(),
            container_complete: true,
        };
        let image = HashedImage {
            ticket: InWork::default().ticket(&root, RelativePath::new("own.tif")).unwrap(),
            file: Arc::new(file),
            index: PlaneIndex::default(),
            shape: [8, 8, 1],
            sample_type: SampleType::Uint8,
            digest: hashing::pixel_digest(&plane),
            nuclei: Nuclei::NotSegmented("drawn".into()),
            features: hashing::plane_features(&plane),
        };
        VerifiedImage { image, matches: Vec::new(), edges: Vec::new() }
    }

    #[tokio::test]
    async fn what_was_put_off_stands_in_the_ledger_before_the_plane_that_waits_for_it() {
        let scratch = Scratch::new();
        let claims = ["a.tif", "b.tif"].map(|path| scratch.claim(path, 1, 1).ticket);
        let mut known = KnownPlanes::default();
        let put_off = [1, 2].map(|byte: u8| {
            let claim = claims[usize::from(byte) - 1];
            scratch.finish_plane(claim, 0, byte);
            let path = RelativePath::new("drawn.tif");
            let place =
                Place::new((claim.file_id, "root"), &path, PlaneIndex::default(), &Identity::default());
            let (code, fingerprints) = (hashing::Code256([7; 4]), hashing::Fingerprints::default());
            let (digest, looks) = (PixelDigest([byte; 32]), Looks { code, fingerprints });
            known.add(digest, Known { place, bytes: byte.into() }, Some(looks));
            digest
        });
        let means = Means {
            io: IoPool::new(NonZeroUsize::MIN),
            cpu: CpuPool::new(NonZeroUsize::MIN).unwrap(),
            budget: ByteBudget::new(1 << 20),
            limits: Limits::default(),
            ledger: scratch.handle(),
            // no root is watched: the originals are gone, which is an edge of its own
            roots: Arc::default(),
            feature_cache_bytes: 0,
            tally: VerifierTally::default(),
            reading: Default::default(),
        };
        let originals = Originals::new(scratch.reader(), means);
        let desk = Desk { originals, known: Arc::new(Mutex::new(known)) };
        let taken = Taken { met: Met::default(), put_off: put_off.to_vec() };
        let own = image(scratch.claim("own.tif", 1, 1).ticket);
        let verified = desk.clone().verify(own, taken, StageCounters::alone("verifier")).await.unwrap();
        assert!(verified.edges.is_empty());
        let relations = || {
            let mut relations = Vec::new();
            let visit = |pair: crate::store::PairListing| {
                relations.push((pair.a.path, pair.b.path, pair.relation));
                Ok::<_, LedgerError>(())
            };
            scratch.reader().each_pair(visit).unwrap();
            relations
        };
        let expected = [(RelativePath::new("a.tif"), RelativePath::new("b.tif"), "uncertain")];
        assert_eq!(relations(), expected);

        // pushed out and asked again in one step, and those of others are not the plane's to carry
        let mut met = Met { pushed_out: vec![put_off], ..Met::default() };
        desk.known().meet(&put_off[0], false, &mut met);
        assert_eq!(met.pairs.len(), 1, "what could not be read is asked again");
        let taken = Taken { met, put_off: Vec::new() };
        let own = image(scratch.claim("own.tif", 1, 1).ticket);
        let verified = desk.clone().verify(own, taken, StageCounters::alone("verifier")).await.unwrap();
        assert!(verified.edges.is_empty());
        assert_eq!(relations(), expected);
        assert_eq!(scratch.brief(Stream::Duplicates, &["event"]), ["flagged"]);
        let taken = Taken { met: Met { pushed_out: vec![put_off], ..Met::default() }, put_off: Vec::new() };
        let own = image(scratch.claim("own.tif", 1, 1).ticket);
        desk.verify(own, taken, StageCounters::alone("verifier")).await.unwrap();
        assert_eq!(relations(), []);
    }
}

//! Where pairs of look-alikes are verified: those of one plane, and in portions what was put off of a container.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;

use super::known::{Asked, KnownPlanes, Met};
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

/// What a search came to. The pairs with which nobody comes to an end, whatever happens, may be asked again.
pub(super) struct Search {
    known: Arc<Mutex<KnownPlanes>>,
    /// To be verified.
    pub(super) pairs: Vec<Asked>,
    pub(super) taken_back: Saved,
}

/// What the ledger says of edges; none where there were none.
type Saved = Option<oneshot::Receiver<Result<(), LedgerError>>>;

impl Desk {
    /// What is known, alone with it.
    pub(super) fn known(&self) -> MutexGuard<'_, KnownPlanes> {
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

    /// Searches what is known. What is taken back is handed to the ledger before whatever is decided later.
    pub(super) fn search<T>(&self, search: impl FnOnce(&mut KnownPlanes, &mut Met) -> T) -> (T, Search) {
        let (mut known, mut met) = (self.known(), Met::default());
        let found = self.originals.means.tally.search(|| search(&mut known, &mut met));
        known.settle(&mut met);
        let pushed_out = met.pushed_out.iter().map(|[a, b]| Edge::taken_back(a.0, b.0));
        let taken_back = self.save(pushed_out.collect());
        drop(known);
        (found, Search { known: self.known.clone(), pairs: met.pairs, taken_back })
    }

    /// Verifies what is to be verified for a plane, and with it what was put off of its container. Edges need no plane to be
    /// kept: they count from when both sides are there, and stand should this plane turn out to have changed meanwhile.
    pub(super) async fn verify(
        self,
        image: VerifiedImage,
        (mut searched, put_off): (Search, Vec<PixelDigest>),
        counters: Arc<StageCounters>,
    ) -> Result<VerifiedImage, StageError> {
        let own = (image.image.digest, &image.image.features);
        kept(searched.taken_back.take(), &counters).await?;
        for digest in put_off {
            let mut more = self.meet(digest).await?;
            searched.pairs.append(&mut more.pairs);
            kept(more.taken_back.take(), &counters).await?;
            counters.progress();
            if searched.pairs.len() >= PAIRS_AT_ONCE {
                self.verify_pairs(own, &mut searched.pairs, &counters).await?;
            }
        }
        self.verify_pairs(own, &mut searched.pairs, &counters).await?;
        Ok(image)
    }

    /// Searches all codes, off the runtime's workers.
    async fn meet(&self, digest: PixelDigest) -> Result<Search, StageError> {
        let this = self.clone();
        let search = move |_: &_| this.search(|known, met| known.meet(&digest, met)).1;
        Ok(self.originals.means.cpu.run(search).await?)
    }

    /// Verifies pairs, and takes them off the list; those that could not be read may be asked again.
    async fn verify_pairs(
        &self,
        own: (PixelDigest, &PlaneFeatures),
        pairs: &mut Vec<Asked>,
        counters: &Arc<StageCounters>,
    ) -> Result<(), StageError> {
        let (mut edges, unseen) = self.originals.verify_all(own, pairs, counters).await?;
        let saved = {
            let mut known = self.known();
            // whoever pushed a pair out meanwhile has taken it back
            edges.retain(|edge| known.is_wanted([&PixelDigest(edge.a), &PixelDigest(edge.b)]));
            unseen.into_iter().for_each(|asked| known.forget_asked(asked));
            self.save(edges)
        };
        pairs.clear();
        kept(saved, counters).await
    }

    /// Hands edges to the ledger: while what is known is locked, so that they come in the order in which it was decided.
    fn save(&self, edges: Vec<Edge>) -> Saved {
        if edges.is_empty() {
            return None;
        }
        let (sender, receiver) = oneshot::channel();
        // whoever asked may have been stopped
        let reply = Box::new(move |answer| drop(sender.send(answer)));
        self.originals.means.ledger.save_edges(edges, reply);
        Some(receiver)
    }
}

impl Drop for Search {
    fn drop(&mut self) {
        if !self.pairs.is_empty() {
            let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
            self.pairs.iter().for_each(|asked| known.forget_asked(asked));
        }
    }
}

/// Waits until the ledger has kept what it was given.
async fn kept(saved: Saved, counters: &Arc<StageCounters>) -> Result<(), StageError> {
    let Some(saved) = saved else { return Ok(()) };
    // a ledger that waits for space is no hang of ours
    let _wait = counters.protect();
    saved.await.unwrap_or(Err(LedgerError::Closed)).map_err(StageError::fatal)
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::io::Cursor;
    use std::num::NonZeroUsize;
    use std::task::Poll;

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
    use crate::stages::verifier::classes::{Known, Looks};
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
        VerifiedImage { image, matches: Vec::new() }
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
        let verify = |searched: Search, put_off: &[PixelDigest]| {
            let own = image(scratch.claim("own.tif", 1, 1).ticket);
            desk.clone().verify(own, (searched, put_off.to_vec()), StageCounters::alone("verifier"))
        };
        verify(desk.search(|_, _| ()).1, &put_off).await.unwrap();
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

        let ask = |known: &mut KnownPlanes, met: &mut Met| {
            met.pushed_out.push(put_off);
            known.meet(&put_off[0], met);
        };
        let ((), searched) = desk.search(ask);
        assert_eq!(searched.pairs.len(), 1, "what could not be read is asked again");
        verify(searched, &[]).await.unwrap();
        assert_eq!(relations(), expected, "what is pushed out and asked again in one step stands");
        assert_eq!(scratch.brief(Stream::Duplicates, &["event"]), ["flagged"]);
        // a job that is dropped lets its pairs be asked again
        let mut begun = Box::pin(verify(desk.search(ask).1, &[]));
        let is_pending = poll_fn(|context| Poll::Ready(begun.as_mut().poll(context).is_pending()));
        assert!(is_pending.await);
        drop(begun);
        drop(verify(desk.search(ask).1, &[]));
        let ((), searched) = desk.search(ask);
        assert_eq!(searched.pairs.len(), 1);
        // pushed out while it is verified
        searched.pairs.iter().for_each(|asked| desk.known().forget_asked(asked));
        desk.search(|_, met| met.pushed_out.push(put_off));
        verify(searched, &[]).await.unwrap();
        assert_eq!(relations(), []);
    }
}

//! Reads planes again from their files and verifies them against one another.

use std::collections::HashMap;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use moka::notification::RemovalCause;
use moka::sync::Cache;
use tokio_util::sync::CancellationToken;

use super::known::{Asked, Pair};
use super::tally::VerifierTally;
use crate::actor::{ByteBudget, CpuPool, IoPool, JobError, OverBudget, StageCounters, StageError};
use crate::analysis::hashing::{self, FEATURES_VERSION, PixelDigest, PlaneFeatures};
use crate::analysis::verification::{
    self, Prepared, Relation, VERIFICATION_VERSION, Verdict, VerificationSettings, scratch_bytes,
};
use crate::formats::{self, Container, FormatError, FormatErrorKind, Limits, Plane, PlaneEntry};
use crate::platform::filesystem::open_regular;
use crate::stages::reading::ReadGate;
use crate::store::{Edge, LedgerError, LedgerHandle, LedgerReader, Place};
use crate::units::PlaneIndex;

/// What it takes to read originals again and to compare them.
#[derive(Clone)]
pub struct Means {
    /// Threads that read files.
    pub io: IoPool,
    /// Threads that compute.
    pub cpu: CpuPool,
    /// Bytes for pixels and scratch.
    pub budget: ByteBudget,
    /// What a container may claim.
    pub limits: Limits,
    /// Where edges go.
    pub ledger: LedgerHandle,
    /// Where each root lies now.
    pub roots: Arc<HashMap<i64, PathBuf>>,
    /// Bytes of planes that stay ready for the next comparison.
    pub feature_cache_bytes: u64,
    /// Where is counted what it takes.
    pub tally: VerifierTally,
    /// Holds back reading while others need the disks, until the line is to end.
    pub reading: (ReadGate, CancellationToken),
}

/// Reads originals and compares them; clones share it.
#[derive(Clone)]
pub(super) struct Originals {
    pub(super) reader: Arc<Mutex<LedgerReader>>,
    pub(super) means: Means,
    ready: Cache<PixelDigest, Arc<Prepared>>,
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
    #[error("too large to be compared: {0}")]
    TooLarge(OverBudget),
    #[error("a fault of scopewatch itself: {0}")]
    Panicked(String),
    #[error(transparent)]
    Ledger(#[from] LedgerError),
}

/// What came of a pair.
#[derive(Debug, PartialEq)]
enum Verified {
    Edge(Edge),
    /// It cannot be read, and why.
    Unread(String),
    /// One of the two cannot be read now: it lies in a container that still grows or has changed, or reading failed.
    PutOff,
}

/// Why a side of a pair could not be read.
struct Failed {
    side: usize,
    /// The plane that was opened; none where no plane of the side could be.
    place: Option<Place>,
    error: OriginalError,
}

impl OriginalError {
    /// Whether it may be better later.
    fn is_passing(&self) -> bool {
        match self {
            Self::Changed | Self::Growing | Self::Panicked(_) => true,
            Self::Format(error) => error.kind == FormatErrorKind::Io,
            Self::Gone | Self::TooLarge(_) | Self::Ledger(_) => false,
        }
    }

    /// A panic of a job concerns its pair alone.
    fn from_job(error: JobError) -> Result<Self, StageError> {
        match error {
            JobError::Panicked(message) => Ok(Self::Panicked(message)),
            JobError::Stopped => Err(StageError::fatal(error)),
        }
    }
}

impl From<FormatError> for OriginalError {
    fn from(error: FormatError) -> Self {
        if error.kind == FormatErrorKind::Incomplete { Self::Growing } else { Self::Format(error) }
    }
}

/// A plane ready for comparison and its digest.
type Seen = (Arc<Prepared>, PixelDigest);

impl Originals {
    pub(super) fn new(reader: LedgerReader, means: Means) -> Self {
        let weight =
            |_: &PixelDigest, plane: &Arc<Prepared>| u32::try_from(plane.size_bytes()).unwrap_or(u32::MAX);
        let tally = means.tally.clone();
        let evicted = move |_: Arc<PixelDigest>, _: Arc<Prepared>, cause: RemovalCause| {
            if cause.was_evicted() {
                tally.add_eviction();
            }
        };
        let ready = Cache::builder()
            .weigher(weight)
            .max_capacity(means.feature_cache_bytes)
            .eviction_listener(evicted)
            .build();
        Self { reader: Arc::new(Mutex::new(reader)), means, ready }
    }

    /// The edges between planes and their look-alikes, in their order. `own` is the plane at hand, of which the ledger
    /// holds no features yet. A pair that cannot be read is uncertain; of one that cannot be read now nothing is said: the
    /// second answer are both.
    pub(super) async fn verify_all<'a>(
        &self,
        own: (PixelDigest, &PlaneFeatures),
        look_alikes: &'a [Asked],
        counters: &Arc<StageCounters>,
    ) -> Result<(Vec<Edge>, Vec<&'a Asked>), StageError> {
        let (mut edges, mut unseen) = (Vec::with_capacity(look_alikes.len()), Vec::new());
        for asked in look_alikes {
            match self.verify(&asked.pair, own, counters).await? {
                Verified::Edge(edge) => edges.push(edge),
                Verified::Unread(reason) => {
                    edges.push(unread(&asked.pair, reason));
                    unseen.push(asked);
                }
                Verified::PutOff => unseen.push(asked),
            }
            counters.progress();
        }
        Ok((edges, unseen))
    }

    /// Verifies a pair by the first copies of either side that can be read.
    async fn verify(
        &self,
        pair: &Pair,
        own: (PixelDigest, &PlaneFeatures),
        counters: &Arc<StageCounters>,
    ) -> Result<Verified, StageError> {
        let mut pair = pair.clone();
        let mut may_pass = false;
        loop {
            let Failed { side, place, error } = match self.try_verify(&pair, own, counters).await? {
                Ok(edge) => return Ok(Verified::Edge(edge)),
                Err(failed) => *failed,
            };
            if let OriginalError::Ledger(error) = error {
                return Err(StageError::fatal(error));
            }
            may_pass |= error.is_passing();
            let places = &mut pair[side].places;
            places.retain(|other| place.is_some_and(|place| *other != place));
            if places.is_empty() {
                return Ok(if may_pass { Verified::PutOff } else { Verified::Unread(error.to_string()) });
            }
        }
    }

    async fn try_verify(
        &self,
        pair: &Pair,
        own: (PixelDigest, &PlaneFeatures),
        counters: &Arc<StageCounters>,
    ) -> Result<Result<Edge, Box<Failed>>, StageError> {
        let failed = |side, place, error| Box::new(Failed { side, place, error });
        let whole = |error| failed(0, None, error);
        let digests = [pair[0].digest, pair[1].digest];
        let ready = digests.map(|digest| {
            let ready = self.ready.get(&digest);
            self.means.tally.add_request(ready.is_some());
            ready
        });
        let (this, sides, is_ready) = (self.clone(), pair.clone(), ready.each_ref().map(Option::is_some));
        let opened = self.means.io.run(move |_| {
            let open = |side: usize| {
                let opened = (!is_ready[side]).then(|| this.open_any(&sides[side].places)).transpose();
                opened.map_err(|error| failed(side, None, error))
            };
            Ok([open(0)?, open(1)?])
        });
        let opened = match opened.await {
            Ok(Ok(opened)) => opened,
            Ok(Err(failed)) => return Ok(Err(failed)),
            Err(error) => return Ok(Err(whole(OriginalError::from_job(error)?))),
        };
        let bytes = opened.iter().flatten().map(|(original, _)| original.entry.decoded_bytes()).sum();
        let reading = self.means.reading.0.pass(bytes, counters, &self.means.reading.1).await;
        let permit = {
            let _wait = counters.protect();
            match self.means.budget.acquire(bytes_needed(&opened, &ready)).await {
                Ok(permit) => permit,
                Err(error) => return Ok(Err(whole(OriginalError::TooLarge(error)))),
            }
        };
        let at_hand = digests.map(|digest| (digest == own.0).then(|| own.1.clone()));
        let this = self.clone();
        // the permit goes with the pixels: if the line is taken down, the memory counts until they have gone
        let read = self.means.io.run(move |_| {
            let _reading = reading;
            let mut planes = [None, None];
            for (side, (opened, at_hand)) in opened.into_iter().zip(at_hand).enumerate() {
                let Some((original, place)) = opened else { continue };
                let read = || {
                    let plane = original.read(&digests[side])?;
                    this.means.tally.add_read(plane.size_bytes());
                    let known = at_hand.map_or_else(|| this.features_of(&place), |known| Ok(Some(known)))?;
                    Ok((plane, known))
                };
                match read() {
                    Ok(read) => planes[side] = Some(read),
                    Err(error) => return (permit, Err(failed(side, Some(place), error))),
                }
            }
            (permit, Ok(planes))
        });
        let (permit, planes) = match read.await {
            Ok((permit, Ok(planes))) => (permit, planes),
            Ok((_, Err(failed))) => return Ok(Err(failed)),
            Err(error) => return Ok(Err(whole(OriginalError::from_job(error)?))),
        };
        let this = self.clone();
        let compared = self.means.cpu.run(move |_| {
            let [one, two] = planes;
            let [ready_one, ready_two] = ready;
            let seen = (this.seen(ready_one, one, digests[0]), this.seen(ready_two, two, digests[1]));
            let edge = seen.0.zip(seen.1).map(|(one, two)| compare(&one, &two, &this.means.tally));
            drop(permit);
            edge
        });
        match compared.await {
            Ok(edge) => Ok(edge.ok_or_else(|| whole(OriginalError::Gone))),
            Err(error) => Ok(Err(whole(OriginalError::from_job(error)?))),
        }
    }

    /// A plane that is ready, or was read and is made so.
    fn seen(
        &self,
        ready: Option<Arc<Prepared>>,
        read: Option<(Plane, Option<PlaneFeatures>)>,
        digest: PixelDigest,
    ) -> Option<Seen> {
        let prepared = ready.or_else(|| {
            let (plane, known) = read?;
            let prepare = || {
                let features = known.unwrap_or_else(|| hashing::plane_features(&plane));
                Arc::new(Prepared::new(&plane, features))
            };
            let prepared = self.means.tally.prepare(prepare);
            self.ready.insert(digest, prepared.clone());
            Some(prepared)
        });
        prepared.map(|prepared| (prepared, digest))
    }

    /// Opens the first plane of these that is still there; else says what may pass, if anything does.
    fn open_any(&self, places: &[Place]) -> Result<(Original, Place), OriginalError> {
        let mut error = OriginalError::Gone;
        for place in places {
            let Some(path) = self.path_of(place.file_id)? else { continue };
            match open(path, place.index, &self.means.limits) {
                Ok(original) => return Ok((original, *place)),
                Err(other) if !error.is_passing() => error = other,
                Err(_) => {}
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

    /// The pixels with which the ledger says what these are.
    pub(super) fn verified_with(&self, digest: &PixelDigest) -> Result<Vec<PixelDigest>, LedgerError> {
        let reader = self.reader.lock().unwrap_or_else(PoisonError::into_inner);
        let others = reader.verified_with(VERIFICATION_VERSION.into(), &digest.0)?;
        drop(reader);
        Ok(others.into_iter().map(PixelDigest).collect())
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
    use io::ErrorKind;
    let (file, _) = open_regular(&path).map_err(|error| match error.kind() {
        ErrorKind::NotFound | ErrorKind::NotADirectory | ErrorKind::InvalidInput => OriginalError::Gone,
        _ => OriginalError::Format(error.into()),
    })?;
    let container = formats::open(Box::new(file), limits)?;
    let position = container.planes().iter().position(|entry| entry.index == index && !entry.missing);
    let position = position.ok_or(OriginalError::Changed)?;
    let entry = container.planes()[position];
    Ok(Original { container, position, entry })
}

/// The bytes that two planes take at most from their reading to their verdict.
fn bytes_needed(opened: &[Option<(Original, Place)>; 2], ready: &[Option<Arc<Prepared>>; 2]) -> u64 {
    let (mut height, mut width, mut decoded, mut encoded) = (0, 0, 0_u64, 0);
    for (original, _) in opened.iter().flatten() {
        let entry = &original.entry;
        (height, width) = (height.max(entry.height as usize), width.max(entry.width as usize));
        decoded = decoded.saturating_add(entry.decoded_bytes());
        // readers hold at most one encoded plane beside the decoded ones
        encoded = encoded.max(entry.decoded_bytes());
    }
    for shape in ready.iter().flatten().map(|plane| plane.shape()) {
        (height, width) = (height.max(shape.0), width.max(shape.1));
    }
    let scratch = scratch_bytes(height, width).max(hashing::scratch_bytes(height, width)) as u64;
    decoded.saturating_add(scratch.max(encoded))
}

/// Verifies two planes in canonical direction.
fn compare(one: &Seen, two: &Seen, tally: &VerifierTally) -> Edge {
    let (a, b) = if one.1 < two.1 { (one, two) } else { (two, one) };
    let settings = VerificationSettings::default();
    let verdict = tally.compare(|done| verification::verify_observed(&a.0, &b.0, &settings, done));
    let Verdict { relation, confidence, reason, placement, evidence, .. } = verdict;
    let figures = evidence.refinement;
    Edge {
        a: a.1.0,
        b: b.1.0,
        relation,
        confidence,
        s: figures.map(|figures| figures.s),
        r: figures.and_then(|figures| figures.r),
        q: figures.and_then(|figures| figures.q),
        b_in_a: placement,
        a_in_b: placement.map(|placement| placement.inverse(a.0.shape(), b.0.shape())),
        reason,
        version: VERIFICATION_VERSION.into(),
    }
}

/// The edge of a pair that could not be read; tried again with the next copy of either.
fn unread([one, two]: &Pair, reason: String) -> Edge {
    Edge::unseen([one.digest.0, two.digest.0], Relation::Uncertain, reason)
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroUsize;
    use std::path::Path;

    use super::*;
    use crate::analysis::synthesis::Random;
    use crate::formats::Samples;
    use crate::formats::tiff::{WriteOptions, encode};
    use crate::stages::verifier::classes::Pixels;
    use crate::store::Identity;
    use crate::store::test_support::Scratch;

    fn noise(seed: u64) -> Plane {
        let mut random = Random::new(seed);
        let samples = (0..64 * 64).map(|_| random.bits() as u8).collect();
        Plane { height: 64, width: 64, n_samples: 1, samples: Samples::Uint8(samples) }
    }

    fn write(path: &Path, plane: &Plane) {
        std::fs::write(path, encode(std::slice::from_ref(plane), &WriteOptions::default()).unwrap()).unwrap();
    }

    /// A plane of the ledger in a file of that name.
    fn place(scratch: &Scratch, name: &str) -> Place {
        let claimed = scratch.claim(name, 1, 1);
        let path = crate::paths::RelativePath::new(name);
        Place::new((claimed.ticket.file_id, "root"), &path, PlaneIndex::default(), &Identity::default())
    }

    fn pixels(plane: &Plane, places: &[Place]) -> Pixels {
        Pixels { digest: hashing::pixel_digest(plane), places: places.to_vec() }
    }

    fn originals(scratch: &Scratch, folder: &Path) -> Originals {
        let means = Means {
            io: IoPool::new(NonZeroUsize::MIN),
            cpu: CpuPool::new(NonZeroUsize::MIN).unwrap(),
            budget: ByteBudget::new(64 << 20),
            limits: Limits::default(),
            ledger: scratch.handle(),
            roots: Arc::new(HashMap::from([(scratch.root_id, folder.to_owned())])),
            feature_cache_bytes: 0,
            tally: VerifierTally::default(),
            reading: Default::default(),
        };
        Originals::new(scratch.reader(), means)
    }

    #[tokio::test]
    async fn the_next_copy_stands_in_for_one_that_changed_and_only_what_is_gone_for_good_is_uncertain() {
        let (scratch, folder) = (Scratch::new(), tempfile::tempdir().unwrap());
        let [a, copy, other] = ["a.tif", "copy.tif", "other.tif"].map(|name| place(&scratch, name));
        let (own, second) = (noise(1), noise(2));
        let at = |name: &str| folder.path().join(name);
        // rewritten since it was read
        write(&at("a.tif"), &noise(3));
        write(&at("copy.tif"), &own);
        write(&at("other.tif"), &second);
        let originals = originals(&scratch, folder.path());
        let features = hashing::plane_features(&second);
        let counters = StageCounters::alone("verifier");
        let other = pixels(&second, &[other]);
        let verify = async |places: &[Place]| {
            let pair = [pixels(&own, places), other.clone()];
            originals.verify(&pair, (other.digest, &features), &counters).await.unwrap()
        };
        assert!(matches!(verify(&[a, copy]).await, Verified::Edge(_)));
        assert_eq!(verify(&[a]).await, Verified::PutOff, "its new pixels are on their way");
        std::fs::remove_file(at("a.tif")).unwrap();
        let gone = Verified::Unread("the original cannot be found any more".into());
        assert_eq!(verify(&[a]).await, gone);
        assert!(matches!(verify(&[a, copy]).await, Verified::Edge(_)));
        // a folder has taken its name
        std::fs::create_dir(at("a.tif")).unwrap();
        assert_eq!(verify(&[a]).await, gone);
        std::fs::remove_dir(at("a.tif")).unwrap();
        // an error that may pass: a link that leads to itself
        #[cfg(unix)]
        {
            std::os::unix::fs::symlink(at("a.tif"), at("a.tif")).unwrap();
            assert_eq!(verify(&[a]).await, Verified::PutOff);
        }
    }
}

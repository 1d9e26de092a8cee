//! The planes that are known: by their pixels, and by what looks alike.

use std::collections::{HashMap, HashSet};

use crate::analysis::hashing::{Code256, PixelDigest};
use crate::analysis::verification::{CandidateIndex, VerificationSettings};
use crate::messages::HashedImage;
use crate::store::{ExactMatch, Place};

/// The first half of a pixel digest: 128 bits tell planes apart as surely and take half the memory.
type DigestKey = [u8; 16];

/// Most look-alikes of one plane that are verified, the nearest first. Where a plane has more, which pairs are compared
/// depends on the order of arrival.
const LOOK_ALIKES_MAX: usize = 64;

/// Largest distance of the codes of a frame and its copy under another grey map, unmoved. Neighbours in time mostly look
/// alike, so that this saves most comparisons.
const STUCK_DISTANCE_MAX: u32 = 12;

/// All planes with the same pixels.
struct Class {
    digest: PixelDigest,
    code: Option<Code256>,
    planes: Vec<Known>,
}

impl Class {
    fn pixels(&self) -> Pixels {
        Pixels { digest: self.digest, places: self.planes.iter().map(|known| known.place).collect() }
    }
}

/// A plane that is known.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Known {
    /// Where it stands.
    pub(super) place: Place,
    /// Whether its container is the first of those equal byte for byte: one of each is compared with.
    pub(super) is_exemplar: bool,
}

/// Two classes that look alike.
pub(super) type Pair = [Pixels; 2];

/// Planes of equal pixels.
#[derive(Clone)]
pub(super) struct Pixels {
    /// Their pixels.
    pub(super) digest: PixelDigest,
    /// Where they are found.
    pub(super) places: Vec<Place>,
}

/// Every live plane of the ledger, and those on their way there.
#[derive(Default)]
pub(super) struct KnownPlanes {
    classes: Vec<Class>,
    by_digest: HashMap<DigestKey, u32>,
    codes: CandidateIndex,
    /// Pairs of classes, the lower number first, that were verified or are being verified.
    verified: HashSet<(u32, u32)>,
    /// Containers that grew when their planes were done: pairs with these are put off until they are complete.
    growing: HashSet<i64>,
}

impl KnownPlanes {
    /// The planes with these pixels.
    pub(super) fn of_digest(&self, digest: &PixelDigest) -> &[Known] {
        self.by_digest.get(&key_of(digest)).map_or(&[], |class| &self.classes[*class as usize].planes)
    }

    /// Makes a plane known. `code` finds its look-alikes; without one they are not looked for.
    pub(super) fn add(&mut self, digest: PixelDigest, known: Known, code: Option<Code256>) {
        let n_classes = u32::try_from(self.classes.len()).expect("fewer classes than memory holds");
        let class = *self.by_digest.entry(key_of(&digest)).or_insert(n_classes);
        if class == n_classes {
            self.classes.push(Class { digest, code, planes: Vec::new() });
            if let Some(code) = code {
                self.codes.insert(class.into(), code);
            }
        }
        let planes = &mut self.classes[class as usize].planes;
        match planes.iter_mut().find(|plane| is_same(plane, &known.place)) {
            Some(plane) => plane.place = known.place,
            None => planes.push(known),
        }
    }

    /// Makes a plane known that is on its way into the ledger: the pairs that are to be verified for it.
    pub(super) fn take_in(&mut self, image: &HashedImage, place: Place, matches: &[ExactMatch]) -> Vec<Pair> {
        let mut pairs = Vec::new();
        if !image.features.is_blank() {
            let is_back = self.of_digest(&image.digest).iter().any(|known| is_same(known, &place));
            let is_exemplar = !matches.iter().any(|found| found.same_bytes);
            self.add(image.digest, Known { place, is_exemplar }, Some(image.features.code));
            pairs = self.look_alikes((&image.digest, &place), &image.features.code, is_back);
        }
        if image.file.container_complete {
            pairs.extend(self.put_off_until_complete(place.file_id));
        } else {
            self.add_growing(place.file_id);
        }
        pairs
    }

    /// Notes that the ledger holds the verdict of a pair.
    pub(super) fn add_verified(&mut self, a: &PixelDigest, b: &PixelDigest) {
        let class = |digest| self.by_digest.get(&key_of(digest)).copied();
        if let (Some(a), Some(b)) = (class(a), class(b)) {
            self.verified.insert((a.min(b), a.max(b)));
        }
    }

    /// Notes that planes of a container are done while it grows.
    pub(super) fn add_growing(&mut self, file_id: i64) {
        self.growing.insert(file_id);
    }

    /// What was put off until a container is complete, which it is now.
    pub(super) fn put_off_until_complete(&mut self, file_id: i64) -> Vec<Pair> {
        if !self.growing.remove(&file_id) {
            return Vec::new();
        }
        let of_class = |class: &Class| {
            let place =
                class.planes.iter().map(|known| known.place).find(|place| place.file_id == file_id)?;
            Some((class.digest, place, class.code?))
        };
        let planes: Vec<_> = self.classes.iter().filter_map(of_class).collect();
        planes
            .iter()
            .flat_map(|(digest, place, code)| self.look_alikes((digest, place), code, false))
            .collect()
    }

    /// What is to be verified with a plane that is known; each pair is given once, unless the plane `is_back`: then
    /// what was found of it may have been lost.
    pub(super) fn look_alikes(
        &mut self,
        (digest, place): (&PixelDigest, &Place),
        code: &Code256,
        is_back: bool,
    ) -> Vec<Pair> {
        let Some(&own) = self.by_digest.get(&key_of(digest)) else { return Vec::new() };
        let mut found = Vec::new();
        for candidate in self.codes.within(code, VerificationSettings::default().distance_max) {
            let other = u32::try_from(candidate.id).expect("ids are numbers of classes");
            let is_unmoved = candidate.orientation == 0 && !candidate.is_inverted;
            let is_near = is_unmoved && candidate.distance <= STUCK_DISTANCE_MAX;
            let class = &self.classes[other as usize];
            if other == own || !is_worth_it(place, class, is_near) {
                continue;
            }
            let pair = (own.min(other), own.max(other));
            if !is_back && self.verified.contains(&pair) {
                continue;
            }
            self.verified.insert(pair);
            found.push([self.classes[own as usize].pixels(), class.pixels()]);
            if found.len() == LOOK_ALIKES_MAX {
                break;
            }
        }
        found
    }

    /// Lets a pair be verified again with the next copy of either.
    pub(super) fn forget_verified(&mut self, a: &PixelDigest, b: &PixelDigest) {
        let class = |digest| self.by_digest.get(&key_of(digest)).copied();
        if let (Some(a), Some(b)) = (class(a), class(b)) {
            self.verified.remove(&(a.min(b), a.max(b)));
        }
    }
}

/// Whether a plane is to be compared with those of a class: where none of them is an expected repeat, or where it may
/// be the copy of its neighbour.
fn is_worth_it(place: &Place, class: &Class, is_near: bool) -> bool {
    let places = || class.planes.iter().map(|known| &known.place);
    if is_near && places().any(|other| place.is_neighbour(other)) {
        return true;
    }
    let is_expected = places().any(|other| place.is_expected_repeat(other));
    !is_expected && places().any(|other| place.is_comparable(other))
}

/// Whether that is the plane of that place.
pub(super) fn is_same(known: &Known, place: &Place) -> bool {
    (known.place.file_id, known.place.index) == (place.file_id, place.index)
}

fn key_of(digest: &PixelDigest) -> DigestKey {
    let (head, _) = digest.0.split_first_chunk().expect("a digest has 32 bytes");
    *head
}

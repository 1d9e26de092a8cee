//! The planes that are known: by their pixels, and by what looks alike.

use std::collections::{HashMap, HashSet};

use crate::analysis::hashing::{Code256, Fingerprints, PixelDigest, PlaneFeatures};
use crate::analysis::verification::{CandidateIndex, PartIndex, VerificationSettings};
use crate::messages::HashedImage;
use crate::store::{ExactMatch, Place};
use crate::units::PlaneIndex;

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
    looks: Option<Looks>,
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
    /// A number that it shares with planes of equal pixels in containers that are equal byte for byte: one of them is
    /// compared with.
    pub(super) bytes: i64,
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

/// A plane whose look-alikes are to be found.
pub(super) type Wanted = (PixelDigest, Place, Looks);

/// By what a plane is found.
#[derive(Debug, Clone, Copy)]
pub(super) struct Looks {
    /// Finds the same frame as a whole.
    pub(super) code: Code256,
    /// Find parts of the frame.
    pub(super) fingerprints: Fingerprints,
}

impl Looks {
    pub(super) fn of(features: &PlaneFeatures) -> Self {
        Self { code: features.code, fingerprints: features.fingerprints }
    }
}

/// What is to be done for a plane that was taken in.
pub(super) struct Taken {
    /// What it is to be verified with.
    pub(super) pairs: Vec<Pair>,
    /// The planes of its container, for what was put off until that was complete, which it is now.
    pub(super) put_off: Vec<Wanted>,
}

/// Every live plane of the ledger, and those on their way there.
#[derive(Default)]
pub(super) struct KnownPlanes {
    classes: Vec<Class>,
    by_digest: HashMap<DigestKey, u32>,
    /// The class of each plane.
    by_place: HashMap<(i64, PlaneIndex), u32>,
    codes: CandidateIndex,
    parts: PartIndex,
    /// Pairs of classes, the lower number first, that were verified or are being verified.
    verified: HashSet<(u32, u32)>,
    /// Containers that grew when their planes were done: pairs with these are put off until they are complete.
    growing: HashSet<i64>,
    /// Numbers for containers that are not in the ledger as they are now: these are below 0, the ledger's above.
    n_unnumbered: i64,
}

impl KnownPlanes {
    /// The planes with these pixels but the one at `place`: one of each set of containers that are equal byte for byte.
    pub(super) fn exemplars(&self, digest: &PixelDigest, place: &Place) -> Vec<Place> {
        let mut seen = HashSet::new();
        let others = self.of_digest(digest).iter().filter(|known| !is_same(known, place));
        others.filter(|known| seen.insert(known.bytes)).map(|known| known.place).collect()
    }

    /// The planes with these pixels.
    pub(super) fn of_digest(&self, digest: &PixelDigest) -> &[Known] {
        self.by_digest.get(&key_of(digest)).map_or(&[], |class| &self.classes[*class as usize].planes)
    }

    /// Makes a plane known, in place of what it was before. `looks` find its look-alikes; without them they are not
    /// looked for.
    pub(super) fn add(&mut self, digest: PixelDigest, known: Known, looks: Option<Looks>) {
        let n_classes = u32::try_from(self.classes.len()).expect("fewer classes than memory holds");
        let class = *self.by_digest.entry(key_of(&digest)).or_insert(n_classes);
        if class == n_classes {
            self.classes.push(Class { digest, looks, planes: Vec::new() });
            if let Some(looks) = looks {
                self.codes.insert(class.into(), looks.code);
                self.parts.insert(class, &looks.fingerprints);
            }
        }
        self.forget(&known.place);
        self.by_place.insert(key_at(&known.place), class);
        self.classes[class as usize].planes.push(known);
    }

    /// Forgets what a plane was.
    fn forget(&mut self, place: &Place) {
        if let Some(class) = self.by_place.remove(&key_at(place)) {
            self.classes[class as usize].planes.retain(|known| !is_same(known, place));
        }
    }

    /// Makes a plane known that is on its way into the ledger. `place_at` says where the planes of its container stand.
    pub(super) fn take_in(
        &mut self,
        image: &HashedImage,
        place_at: impl Fn(PlaneIndex) -> Place,
        matches: &[ExactMatch],
    ) -> Taken {
        let place = place_at(image.index);
        let was_growing = if image.file.container_complete {
            self.growing.remove(&place.file_id)
        } else {
            self.add_growing(place.file_id);
            false
        };
        let renewed = if was_growing { self.renew_places(place.file_id, place_at) } else { Vec::new() };
        let mut pairs = Vec::new();
        if image.features.is_blank() {
            self.forget(&place);
        } else {
            let class = self.by_digest.get(&key_of(&image.digest));
            let is_back = class.is_some() && self.by_place.get(&key_at(&place)) == class;
            let bytes = self.number_of_bytes(&image.digest, matches);
            let looks = Looks::of(&image.features);
            self.add(image.digest, Known { place, bytes }, Some(looks));
            pairs = self.look_alikes((&image.digest, &place), &looks, is_back);
        }
        Taken { pairs, put_off: renewed }
    }

    /// The number that stands for the bytes of a container, with one of whose planes these are equal.
    fn number_of_bytes(&mut self, digest: &PixelDigest, matches: &[ExactMatch]) -> i64 {
        let is_copy = |known: &&Known| {
            matches.iter().any(|found| {
                found.same_bytes && key_at(&known.place) == (found.other_file_id, found.other_index)
            })
        };
        let known = self.of_digest(digest).iter().find(is_copy).map(|known| known.bytes);
        known.unwrap_or_else(|| {
            self.n_unnumbered += 1;
            -self.n_unnumbered
        })
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

    /// A container says only at its end what its planes are a series of. Gives one of its planes for each class.
    fn renew_places(&mut self, file_id: i64, place_at: impl Fn(PlaneIndex) -> Place) -> Vec<Wanted> {
        let mut wanted = Vec::new();
        for class in &mut self.classes {
            let mut first = None;
            for known in class.planes.iter_mut().filter(|known| known.place.file_id == file_id) {
                known.place = place_at(known.place.index);
                first = first.or(Some(known.place));
            }
            wanted.extend(first.zip(class.looks).map(|(place, looks)| (class.digest, place, looks)));
        }
        wanted
    }

    /// What is to be verified with a plane that is known; each pair is given once, unless the plane `is_back`: then
    /// what was found of it may have been lost. A pair is put off while all planes of either side lie in containers that
    /// grow.
    pub(super) fn look_alikes(
        &mut self,
        (digest, place): (&PixelDigest, &Place),
        looks: &Looks,
        is_back: bool,
    ) -> Vec<Pair> {
        let Some(&own) = self.by_digest.get(&key_of(digest)) else { return Vec::new() };
        let mut found = Vec::new();
        for (other, is_near) in self.candidates(looks) {
            let class = &self.classes[other as usize];
            if other == own || !is_worth_it(place, class, is_near) {
                continue;
            }
            let pair = (own.min(other), own.max(other));
            if !is_back && self.verified.contains(&pair) || self.all_grow(own) || self.all_grow(other) {
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

    /// The classes worth a look, those that look most alike first, then those that share fingerprints; and whether they
    /// may be the copy of their neighbour.
    fn candidates(&self, looks: &Looks) -> Vec<(u32, bool)> {
        let near = self.codes.within(&looks.code, VerificationSettings::default().distance_max);
        let mut found = Vec::with_capacity(near.len());
        for candidate in near {
            let other = u32::try_from(candidate.id).expect("ids are numbers of classes");
            let is_unmoved = candidate.orientation == 0 && !candidate.is_inverted;
            found.push((other, is_unmoved && candidate.distance <= STUCK_DISTANCE_MAX));
        }
        let known: HashSet<u32> = found.iter().map(|&(other, _)| other).collect();
        let parts = self.parts.sharing(&looks.fingerprints).into_iter();
        found.extend(parts.filter(|other| !known.contains(other)).map(|other| (other, false)));
        found
    }

    fn all_grow(&self, class: u32) -> bool {
        let planes = &self.classes[class as usize].planes;
        planes.iter().all(|known| self.growing.contains(&known.place.file_id))
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
fn is_same(known: &Known, place: &Place) -> bool {
    key_at(&known.place) == key_at(place)
}

fn key_at(place: &Place) -> (i64, PlaneIndex) {
    (place.file_id, place.index)
}

fn key_of(digest: &PixelDigest) -> DigestKey {
    let (head, _) = digest.0.split_first_chunk().expect("a digest has 32 bytes");
    *head
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(file_id: i64, z: u32) -> Place {
        let index = PlaneIndex { z, ..PlaneIndex::default() };
        Place { file_id, index, field: None, lane: 0, t: 0, z: z.into(), is_stacked: z > 0 }
    }

    fn digest(byte: u8) -> PixelDigest {
        PixelDigest([byte; 32])
    }

    /// All codes look alike.
    fn looks() -> Looks {
        Looks { code: Code256([7, 0, 0, 0]), fingerprints: Fingerprints::default() }
    }

    fn add(known: &mut KnownPlanes, byte: u8, place: Place, bytes: i64) {
        known.add(digest(byte), Known { place, bytes }, Some(looks()));
    }

    /// The pairs of a plane, as the first bytes of the other digests.
    fn pairs_of(known: &mut KnownPlanes, byte: u8, place: &Place) -> Vec<u8> {
        let pairs = known.look_alikes((&digest(byte), place), &looks(), false);
        pairs.iter().map(|[_, other]| other.digest.0[0]).collect()
    }

    #[test]
    fn a_plane_that_is_another_now_leaves_its_place_to_its_copies() {
        let mut known = KnownPlanes::default();
        let (a, c, other) = (place(1, 0), place(2, 0), place(3, 0));
        add(&mut known, 1, a, 5);
        add(&mut known, 1, c, 5);
        add(&mut known, 1, other, 6);
        assert_eq!(known.exemplars(&digest(1), &place(9, 0)), [a, other], "one of equal bytes");
        assert_eq!(known.exemplars(&digest(1), &a), [c, other], "never itself");
        add(&mut known, 2, a, -1);
        assert_eq!(known.exemplars(&digest(1), &place(9, 0)), [c, other]);
        assert_eq!(known.of_digest(&digest(2)).len(), 1);
        add(&mut known, 1, a, 6);
        assert_eq!(known.of_digest(&digest(1)).len(), 3, "and back");
        assert!(known.of_digest(&digest(2)).is_empty());
    }

    #[test]
    fn a_plane_that_is_another_now_suppresses_no_pair() {
        let mut known = KnownPlanes::default();
        // 1 and 2 lie in one container
        add(&mut known, 1, place(1, 0), 1);
        add(&mut known, 2, place(1, 1), 1);
        assert!(pairs_of(&mut known, 2, &place(1, 1)).is_empty());
        add(&mut known, 3, place(1, 0), -1);
        add(&mut known, 1, place(2, 0), 2);
        assert_eq!(pairs_of(&mut known, 1, &place(2, 0)), [2, 3]);
    }

    #[test]
    fn a_container_that_is_complete_is_compared_as_the_series_that_it_is() {
        let mut known = KnownPlanes::default();
        let before = |z| Place { is_stacked: false, ..place(1, z) };
        add(&mut known, 1, before(1), 1);
        add(&mut known, 2, before(2), 1);
        assert!(pairs_of(&mut known, 2, &before(2)).is_empty());
        let wanted = known.renew_places(1, |index| place(1, index.z));
        let planes: Vec<_> =
            wanted.iter().map(|(digest, place, _)| (digest.0[0], place.is_stacked)).collect();
        assert_eq!(planes, [(1, true), (2, true)]);
        assert_eq!(pairs_of(&mut known, 1, &place(1, 1)), [2], "a neighbour may be a stuck frame");
    }

    #[test]
    fn a_pair_waits_until_either_side_lies_in_a_container_that_is_complete() {
        let mut known = KnownPlanes::default();
        add(&mut known, 1, place(1, 0), 1);
        add(&mut known, 2, place(2, 0), 2);
        known.add_growing(2);
        assert!(pairs_of(&mut known, 2, &place(2, 0)).is_empty());
        assert!(pairs_of(&mut known, 1, &place(1, 0)).is_empty());
        // a copy that does not grow
        add(&mut known, 2, place(3, 0), 3);
        assert_eq!(pairs_of(&mut known, 2, &place(3, 0)), [1]);
        assert!(pairs_of(&mut known, 2, &place(2, 0)).is_empty(), "once");
    }
}

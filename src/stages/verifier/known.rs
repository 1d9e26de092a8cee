//! The planes that are known: by their pixels, and by what looks alike.
//!
//! Two classes of equal pixels are compared while each is among the nearest look-alikes of the other. What else comes can
//! only push one of them out, never in; so a pair that is among the nearest in the end was so when the later of the two
//! came, and was compared then, in any order of arrival. A pair that is pushed out is taken back. So the pairs that
//! stand follow from the planes that are there, and no plane has more than a bounded number of them. Where a class goes, or
//! becomes an expected repeat, those behind it move up and are compared then. Neighbours in a series that may be stuck are
//! always compared.
//!
//! A class that is left by its last plane, which is another one now, is taken out, and its number is used again: files that
//! are written anew for days take no more memory than those that stand. What was found of it stays in the ledger, and is
//! noted again should its pixels come back. Planes that only the ledger drops stay until the next start.

use std::collections::{BTreeSet, HashMap, HashSet};

use super::nearest::{FoundBy, Near, Nearest};
use crate::analysis::hashing::{Code256, Fingerprints, PixelDigest, PlaneFeatures};
use crate::analysis::verification::{CandidateIndex, PartIndex, VerificationSettings};
use crate::messages::HashedImage;
use crate::store::{ExactMatch, Place};
use crate::units::PlaneIndex;

/// The first half of a pixel digest: 128 bits tell planes apart as surely and take half the memory.
type DigestKey = [u8; 16];

/// Largest distance of the codes of a frame and its copy under another grey map, unmoved. Neighbours in time mostly look
/// alike, so that this saves most comparisons.
const STUCK_DISTANCE_MAX: u32 = 12;

/// All planes with the same pixels.
struct Class {
    digest: PixelDigest,
    looks: Option<Looks>,
    planes: Vec<Known>,
    /// The look-alikes that are nearest; none where nobody has looked since the start, or since one of a full list went.
    nearest: Option<Nearest>,
    /// The classes with which it was verified or is being verified; each of these has this one, too.
    verified: Vec<Verified>,
}

/// That a class was verified with another one, or is being verified.
#[derive(Clone, Copy)]
struct Verified {
    with: u32,
    /// The number under which that was asked.
    number: u32,
}

impl Class {
    fn new(digest: PixelDigest) -> Self {
        Self { digest, looks: None, planes: Vec::new(), nearest: None, verified: Vec::new() }
    }

    fn pixels(&self) -> Pixels {
        Pixels { digest: self.digest, places: self.planes.iter().map(|known| known.place).collect() }
    }

    fn seen_at(&self, distance: u32, class: u32) -> Near {
        let (head, _) = self.digest.0.split_first_chunk().expect("a digest has 32 bytes");
        Near { distance, tie: u64::from_be_bytes(*head), class }
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

/// Two classes that are to be verified.
pub(super) struct Asked {
    pub(super) pair: Pair,
    /// One that is asked again has another one.
    number: u32,
}

/// Planes of equal pixels.
#[derive(Clone)]
pub(super) struct Pixels {
    /// Their pixels.
    pub(super) digest: PixelDigest,
    /// Where they are found.
    pub(super) places: Vec<Place>,
}

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

/// What is to be done about pairs.
#[derive(Default)]
pub(super) struct Met {
    /// To be verified.
    pub(super) pairs: Vec<Asked>,
    /// Verified before, and to be taken back: nearer ones have come.
    pub(super) pushed_out: Vec<[PixelDigest; 2]>,
}

/// What is to be done for a plane that was taken in.
#[derive(Default)]
pub(super) struct Taken {
    /// For the plane.
    pub(super) met: Met,
    /// The pixels in its container, for what was put off until that was complete, which it is now.
    pub(super) put_off: Vec<PixelDigest>,
}

/// How two classes that look alike stand to one another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Standing {
    /// Not to be compared: expected to look alike, or not there now.
    Apart,
    /// To be compared if they are among the nearest.
    Comparable,
    /// To be compared in any case.
    Neighbours,
}

/// A class that looks like another one.
#[derive(Clone, Copy)]
struct Seen {
    found_by: FoundBy,
    distance: u32,
    class: u32,
    standing: Standing,
}

/// Every live plane of the ledger, and those on their way there.
#[derive(Default)]
pub(super) struct KnownPlanes {
    classes: Vec<Class>,
    /// Numbers of classes that were taken out.
    free: Vec<u32>,
    by_digest: HashMap<DigestKey, u32>,
    /// The class of each plane.
    by_place: HashMap<(i64, PlaneIndex), u32>,
    codes: CandidateIndex,
    parts: PartIndex,
    /// Containers that grew when their planes were done: pairs with these are put off until they are complete.
    growing: HashSet<i64>,
    /// How often a pair was asked; begins anew after the largest number.
    n_asked: u32,
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
        self.class_of(digest).map_or(&[], |class| &self.classes[class as usize].planes)
    }

    /// Makes a plane known, in place of what it was before. `looks` find its look-alikes; without them they are not
    /// looked for.
    pub(super) fn add(&mut self, digest: PixelDigest, known: Known, looks: Option<Looks>) {
        let class = self.class_of(&digest).unwrap_or_else(|| self.begin_class(digest));
        let known_looks = &mut self.classes[class as usize].looks;
        if let Some(looks) = looks
            && known_looks.is_none()
        {
            *known_looks = Some(looks);
            self.codes.insert(class, looks.code);
            self.parts.insert(class, &looks.fingerprints);
        }
        self.forget(&known.place);
        self.by_place.insert(key_at(&known.place), class);
        let planes = &mut self.classes[class as usize].planes;
        if planes.is_empty() {
            // most have one for ever
            planes.reserve_exact(1);
        }
        planes.push(known);
    }

    fn class_of(&self, digest: &PixelDigest) -> Option<u32> {
        self.by_digest.get(&key_of(digest)).copied()
    }

    /// A class without planes as yet.
    fn begin_class(&mut self, digest: PixelDigest) -> u32 {
        let class = if let Some(free) = self.free.pop() {
            self.classes[free as usize] = Class::new(digest);
            free
        } else {
            self.classes.push(Class::new(digest));
            u32::try_from(self.classes.len() - 1).expect("fewer classes than memory holds")
        };
        self.by_digest.insert(key_of(&digest), class);
        class
    }

    /// Takes out a class without planes, of which the others have been told.
    fn take_out(&mut self, class: u32) {
        while let Some(verified) = self.classes[class as usize].verified.last() {
            self.unnote_verified(class, verified.with);
        }
        let digest = self.classes[class as usize].digest;
        let gone = std::mem::replace(&mut self.classes[class as usize], Class::new(digest));
        if let Some(looks) = gone.looks {
            self.codes.remove(class);
            self.parts.remove(class, &looks.fingerprints);
        }
        self.by_digest.remove(&key_of(&digest));
        self.free.push(class);
    }

    /// Forgets what a plane was. What becomes of its class, the next [`Self::meet`] of these pixels says.
    fn forget(&mut self, place: &Place) {
        if let Some(class) = self.by_place.remove(&key_at(place)) {
            self.classes[class as usize].planes.retain(|known| !is_same(known, place));
        }
    }

    /// Makes a plane known that is on its way into the ledger. `place_at` says where the planes of its container stand.
    /// Where its pixels are not known, `verified` are those with which the ledger says what they are.
    pub(super) fn take_in(
        &mut self,
        image: &HashedImage,
        place_at: impl Fn(PlaneIndex) -> Place,
        matches: &[ExactMatch],
        verified: &[PixelDigest],
    ) -> Taken {
        let place = place_at(image.index);
        let was_growing = if image.file.container_complete {
            self.growing.remove(&place.file_id)
        } else {
            self.add_growing(place.file_id);
            false
        };
        let renewed = if was_growing { self.renew_places(place.file_id, place_at) } else { Vec::new() };
        let mut met = Met::default();
        let before = self.by_place.get(&key_at(&place)).copied();
        let own = self.class_of(&image.digest);
        if image.features.is_blank() {
            self.forget(&place);
        } else {
            let bytes = self.number_of_bytes(&image.digest, matches);
            self.add(image.digest, Known { place, bytes }, Some(Looks::of(&image.features)));
            verified.iter().for_each(|other| self.add_verified(&image.digest, other));
            self.meet(&image.digest, own.is_some() && own == before, &mut met);
        }
        // those behind a class that has lost its plane move up
        if let Some(before) = before.filter(|before| image.features.is_blank() || own != Some(*before)) {
            let digest = self.classes[before as usize].digest;
            self.meet(&digest, false, &mut met);
        }
        Taken { met, put_off: renewed }
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

    /// Notes that the ledger holds the verdict of a pair, if both sides are known.
    pub(super) fn add_verified(&mut self, a: &PixelDigest, b: &PixelDigest) {
        if let Some([a, b]) = self.pair_of([a, b]) {
            self.note_verified(a, b);
        }
    }

    fn pair_of(&self, [a, b]: [&PixelDigest; 2]) -> Option<[u32; 2]> {
        Some([self.class_of(a)?, self.class_of(b)?])
    }

    /// Notes that two classes are being verified, and under which number.
    fn note_verified(&mut self, one: u32, other: u32) -> u32 {
        self.unnote_verified(one, other);
        self.n_asked = self.n_asked.wrapping_add(1);
        let number = self.n_asked;
        for [own, with] in [[one, other], [other, one]] {
            self.classes[own as usize].verified.push(Verified { with, number });
        }
        number
    }

    fn unnote_verified(&mut self, one: u32, other: u32) {
        for [own, with] in [[one, other], [other, one]] {
            self.classes[own as usize].verified.retain(|verified| verified.with != with);
        }
    }

    /// The number under which two classes were verified or are being verified.
    fn verified(&self, one: u32, other: u32) -> Option<u32> {
        let verified = self.classes[one as usize].verified.iter();
        verified.copied().find(|verified| verified.with == other).map(|verified| verified.number)
    }

    /// Notes that planes of a container are done while it grows.
    pub(super) fn add_growing(&mut self, file_id: i64) {
        self.growing.insert(file_id);
    }

    /// A container says only at its end what its planes are a series of. Gives the pixels in it.
    fn renew_places(&mut self, file_id: i64, place_at: impl Fn(PlaneIndex) -> Place) -> Vec<PixelDigest> {
        let mut renewed = Vec::new();
        for class in &mut self.classes {
            let mut is_in_file = false;
            for known in class.planes.iter_mut().filter(|known| known.place.file_id == file_id) {
                known.place = place_at(known.place.index);
                is_in_file = true;
            }
            if is_in_file {
                renewed.push(class.digest);
            }
        }
        renewed
    }

    /// Adds what is to be verified now that planes of these pixels have come, gone or changed their places, and what is
    /// to be taken back; each pair is given once, unless the plane `is_back`: then what was found of it may have been
    /// lost. A pair is put off while all planes of either side lie in containers that grow. Pixels without planes are
    /// taken out.
    pub(super) fn meet(&mut self, digest: &PixelDigest, is_back: bool, met: &mut Met) {
        let Some(own) = self.class_of(digest) else { return };
        let around = self.around(own);
        self.look_around(own, &around, met);
        let mut moved_up = Vec::new();
        for seen in &around {
            moved_up.extend(self.tell(own, *seen, met).then_some(seen.class));
        }
        for other in moved_up {
            let around = self.around(other);
            self.look_around(other, &around, met);
            for seen in around.iter().filter(|seen| seen.standing == Standing::Comparable) {
                if self.classes[seen.class as usize].nearest.is_none() {
                    let around = self.around(seen.class);
                    self.look_around(seen.class, &around, met);
                }
            }
            self.add_pairs(other, (&around, false), met);
        }
        if self.classes[own as usize].planes.is_empty() {
            self.take_out(own);
        } else {
            self.add_pairs(own, (&around, is_back), met);
        }
    }

    /// Tells a class of another one that has come, gone or changed. Whether those behind it move up.
    fn tell(&mut self, own: u32, seen: Seen, met: &mut Met) -> bool {
        let near = self.classes[own as usize].seen_at(seen.distance, own);
        let Some(nearest) = &mut self.classes[seen.class as usize].nearest else {
            if seen.standing == Standing::Comparable {
                let around = self.around(seen.class);
                self.look_around(seen.class, &around, met);
            }
            return false;
        };
        if seen.standing != Standing::Comparable {
            return nearest.remove(own);
        }
        if !nearest.holds(own)
            && let Some(last) = nearest.insert(seen.found_by, near)
        {
            self.push_out(seen.class, last, met);
        }
        false
    }

    /// Makes the list of the nearest of a class anew.
    fn look_around(&mut self, own: u32, around: &[Seen], met: &mut Met) {
        let mut nearest = Nearest::default();
        for seen in around.iter().filter(|seen| seen.standing == Standing::Comparable) {
            let near = self.classes[seen.class as usize].seen_at(seen.distance, seen.class);
            if let Some(last) = nearest.insert(seen.found_by, near) {
                self.push_out(own, last, met);
            }
        }
        self.classes[own as usize].nearest = Some(nearest);
    }

    /// A pair that was verified stands no longer.
    fn push_out(&mut self, one: u32, other: u32, met: &mut Met) {
        if self.verified(one, other).is_some() {
            self.unnote_verified(one, other);
            let [one, other] = [one, other].map(|class| self.classes[class as usize].digest);
            met.pushed_out.push([one, other]);
        }
    }

    /// Adds the pairs of a class that stand and are not verified.
    fn add_pairs(&mut self, own: u32, (around, is_back): (&[Seen], bool), met: &mut Met) {
        let is_neighbour = |seen: &&Seen| seen.standing == Standing::Neighbours;
        let mut others: Vec<u32> = around.iter().filter(is_neighbour).map(|seen| seen.class).collect();
        let nearest = self.classes[own as usize].nearest.as_ref();
        let is_mutual = |other: &u32| {
            let nearest = self.classes[*other as usize].nearest.as_ref();
            nearest.is_some_and(|nearest| nearest.holds(own))
        };
        others.extend(nearest.into_iter().flat_map(Nearest::classes).filter(is_mutual));
        for other in others {
            if is_back || self.verified(own, other).is_none() {
                let number = self.note_verified(own, other);
                let pair = [own, other].map(|class| self.classes[class as usize].pixels());
                met.pairs.push(Asked { pair, number });
            }
        }
    }

    /// Every class that looks like this one.
    fn around(&self, own: u32) -> Vec<Seen> {
        let class = &self.classes[own as usize];
        let Some(looks) = &class.looks else { return Vec::new() };
        let mut found = Vec::new();
        let mut sharing: BTreeSet<u32> = self.parts.sharing(&looks.fingerprints).into_iter().collect();
        sharing.remove(&own);
        for candidate in self.codes.within(&looks.code, VerificationSettings::default().distance_max) {
            let other = candidate.id;
            let is_unmoved = candidate.orientation == 0 && !candidate.is_inverted;
            let is_near = is_unmoved && candidate.distance <= STUCK_DISTANCE_MAX;
            if other == own {
                continue;
            }
            let found_by = if sharing.remove(&other) { FoundBy::Fingerprints } else { FoundBy::Code };
            let standing = self.standing(own, other, is_near);
            found.push(Seen { found_by, distance: candidate.distance, class: other, standing });
        }
        for other in sharing {
            let standing = self.standing(own, other, false);
            found.push(Seen { found_by: FoundBy::Fingerprints, distance: u32::MAX, class: other, standing });
        }
        found
    }

    /// Whether two classes are to be compared: where none of their planes is an expected repeat of one of the other, or
    /// where one may be the copy of its neighbour.
    fn standing(&self, one: u32, other: u32, is_near: bool) -> Standing {
        if self.all_grow(one) || self.all_grow(other) {
            return Standing::Apart;
        }
        let [one, other] = [one, other].map(|class| &self.classes[class as usize].planes);
        let any = |holds: fn(&Place, &Place) -> bool| {
            one.iter().any(|a| other.iter().any(|b| holds(&a.place, &b.place)))
        };
        if is_near && any(Place::is_neighbour) {
            Standing::Neighbours
        } else if !any(Place::is_expected_repeat) && any(Place::is_comparable) {
            Standing::Comparable
        } else {
            Standing::Apart
        }
    }

    fn all_grow(&self, class: u32) -> bool {
        let planes = &self.classes[class as usize].planes;
        planes.iter().all(|known| self.growing.contains(&known.place.file_id))
    }

    /// Whether a pair still stands: it was not pushed out while it was verified.
    pub(super) fn is_wanted(&self, pair: [&PixelDigest; 2]) -> bool {
        self.pair_of(pair).is_some_and(|[a, b]| self.verified(a, b).is_some())
    }

    /// Lets a pair be verified again with the next copy of either, unless it was asked again meanwhile.
    pub(super) fn forget_asked(&mut self, Asked { pair: [a, b], number }: &Asked) {
        if let Some([a, b]) = self.pair_of([&a.digest, &b.digest])
            && self.verified(a, b) == Some(*number)
        {
            self.unnote_verified(a, b);
        }
    }
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
mod tests;

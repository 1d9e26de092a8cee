//! The planes that are known: by their pixels, and by what looks alike.
//!
//! Two classes of equal pixels are compared while each is among the nearest look-alikes of the other. What else comes can
//! only push one of them out, never in; so a pair that is among the nearest in the end was so when the later of the two
//! came, and was compared then, in any order of arrival. A pair that is pushed out is taken back. So the pairs that
//! stand follow from the planes that are there, and no plane has more than a bounded number of them. Where a class goes, or
//! becomes an expected repeat, those behind it move up and are compared then. Neighbours in a series that may be stuck are
//! always compared.

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
}

impl Class {
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
    pub(super) pairs: Vec<Pair>,
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
            self.classes.push(Class { digest, looks: None, planes: Vec::new(), nearest: None });
        }
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
        let mut met = Met::default();
        let before = self.by_place.get(&key_at(&place)).copied();
        let own = self.by_digest.get(&key_of(&image.digest)).copied();
        if image.features.is_blank() {
            self.forget(&place);
        } else {
            let bytes = self.number_of_bytes(&image.digest, matches);
            self.add(image.digest, Known { place, bytes }, Some(Looks::of(&image.features)));
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
    /// lost. A pair is put off while all planes of either side lie in containers that grow.
    pub(super) fn meet(&mut self, digest: &PixelDigest, is_back: bool, met: &mut Met) {
        let Some(&own) = self.by_digest.get(&key_of(digest)) else { return };
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
        self.add_pairs(own, (&around, is_back), met);
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
        if self.verified.remove(&(one.min(other), one.max(other))) {
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
            let is_new = self.verified.insert((own.min(other), own.max(other)));
            if is_new || is_back {
                met.pairs.push([own, other].map(|class| self.classes[class as usize].pixels()));
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
    pub(super) fn is_wanted(&self, a: &PixelDigest, b: &PixelDigest) -> bool {
        let class = |digest| self.by_digest.get(&key_of(digest)).copied();
        let pair = class(a).zip(class(b)).map(|(a, b)| (a.min(b), a.max(b)));
        pair.is_some_and(|pair| self.verified.contains(&pair))
    }

    /// Lets a pair be verified again with the next copy of either.
    pub(super) fn forget_verified(&mut self, a: &PixelDigest, b: &PixelDigest) {
        let class = |digest| self.by_digest.get(&key_of(digest)).copied();
        if let (Some(a), Some(b)) = (class(a), class(b)) {
            self.verified.remove(&(a.min(b), a.max(b)));
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
mod tests {
    use super::super::nearest::NEAREST_MAX;
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
    fn pairs_of(known: &mut KnownPlanes, byte: u8) -> Vec<u8> {
        let mut met = Met::default();
        known.meet(&digest(byte), false, &mut met);
        met.pairs.iter().map(|[_, other]| other.digest.0[0]).collect()
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
        assert!(pairs_of(&mut known, 2).is_empty());
        add(&mut known, 3, place(1, 0), -1);
        add(&mut known, 1, place(2, 0), 2);
        assert_eq!(pairs_of(&mut known, 1), [2, 3]);
    }

    #[test]
    fn a_container_that_is_complete_is_compared_as_the_series_that_it_is() {
        let mut known = KnownPlanes::default();
        let before = |z| Place { is_stacked: false, ..place(1, z) };
        add(&mut known, 1, before(1), 1);
        add(&mut known, 2, before(2), 1);
        assert!(pairs_of(&mut known, 2).is_empty());
        let wanted = known.renew_places(1, |index| place(1, index.z));
        assert_eq!(wanted, [digest(1), digest(2)]);
        assert_eq!(pairs_of(&mut known, 1), [2], "a neighbour may be a stuck frame");
    }

    #[test]
    fn a_pair_waits_until_either_side_lies_in_a_container_that_is_complete() {
        let mut known = KnownPlanes::default();
        add(&mut known, 1, place(1, 0), 1);
        add(&mut known, 2, place(2, 0), 2);
        known.add_growing(2);
        assert!(pairs_of(&mut known, 2).is_empty());
        assert!(pairs_of(&mut known, 1).is_empty());
        // a copy that does not grow
        add(&mut known, 2, place(3, 0), 3);
        assert_eq!(pairs_of(&mut known, 2), [1]);
        assert!(pairs_of(&mut known, 2).is_empty(), "once");
    }

    /// What comes of planes that arrive in this order: the pairs that stand, as the first bytes of the digests, and how
    /// many were taken back. A plane of a place that was there before takes the place of the other.
    fn arrive(planes: &[(u16, Place, Code256)], is_restarted: bool) -> (HashSet<(u16, u16)>, usize) {
        let digest = |number: u16| {
            let mut bytes = [7; 32];
            bytes[..2].copy_from_slice(&number.wrapping_mul(0x9E37).to_be_bytes());
            bytes[2..4].copy_from_slice(&number.to_be_bytes());
            PixelDigest(bytes)
        };
        let number = |digest: &PixelDigest| u16::from_be_bytes([digest.0[2], digest.0[3]]);
        let (mut known, mut n_taken_back) = (KnownPlanes::default(), 0);
        let mut stand = HashSet::new();
        for (n, (own, place, code)) in planes.iter().enumerate() {
            let before =
                known.by_place.get(&key_at(place)).map(|class| known.classes[*class as usize].digest);
            let looks = Looks { code: *code, fingerprints: Fingerprints::default() };
            known.add(digest(*own), Known { place: *place, bytes: n as i64 }, Some(looks));
            let mut met = Met::default();
            known.meet(&digest(*own), false, &mut met);
            before.iter().for_each(|before| known.meet(before, false, &mut met));
            n_taken_back += met.pushed_out.len();
            let in_order = |a: &PixelDigest, b: &PixelDigest| {
                let (a, b) = (number(a), number(b));
                (a.min(b), a.max(b))
            };
            for [a, b] in &met.pushed_out {
                assert!(stand.remove(&in_order(a, b)), "only what stood is taken back");
            }
            for [a, b] in &met.pairs {
                assert!(stand.insert(in_order(&a.digest, &b.digest)), "each pair once");
            }
            if is_restarted && n % 50 == 0 {
                // nobody has looked since
                known.classes.iter_mut().for_each(|class| class.nearest = None);
            }
        }
        // the ledger counts no pair of planes that are gone, or are expected to look alike
        stand.retain(|(a, b)| {
            let [a, b] = [a, b].map(|number| known.by_digest[&key_of(&digest(*number))]);
            known.standing(a, b, true) != Standing::Apart
        });
        (stand, n_taken_back)
    }

    #[test]
    fn no_crowd_of_other_exposures_pushes_out_what_shares_its_noise() {
        use crate::analysis::hashing::plane_features;
        use crate::analysis::synthesis::Random;
        use crate::formats::{Plane, Samples};
        let noise = |seed| {
            let mut random = Random::new(seed);
            let samples = (0..64 * 64).map(|_| random.bits() as u16).collect();
            let plane = Plane { height: 64, width: 64, n_samples: 1, samples: Samples::Uint16(samples) };
            plane_features(&plane).fingerprints
        };
        let mut known = KnownPlanes::default();
        for byte in 1..=120_u8 {
            // the first and the last are one exposure, and farther from one another than any two of the rest
            let (seed, bits) = match byte {
                1 | 120 => (0, if byte == 1 { 0 } else { 0xFFFF }),
                _ => (byte.into(), 1_u64 << (byte % 4)),
            };
            let looks = Looks { code: Code256([bits, 0, 0, 0]), fingerprints: noise(seed) };
            let known_plane = Known { place: place(byte.into(), 0), bytes: byte.into() };
            known.add(digest(byte), known_plane, Some(looks));
            let mut met = Met::default();
            known.meet(&digest(byte), false, &mut met);
            let is_original = |[_, other]: &Pair| other.digest.0[0] == 1;
            assert!(byte < 120 || met.pairs.iter().any(is_original), "a copy is compared with its original");
        }
    }

    #[test]
    fn which_of_many_look_alikes_are_compared_does_not_depend_on_the_order_of_arrival() {
        use crate::analysis::synthesis::Random;
        let mut random = Random::new(5);
        let n_classes = 4 * NEAREST_MAX as u16;
        let mut planes = Vec::new();
        for number in 0..n_classes {
            // all within the distance that is searched, many equally far
            let code = Code256([random.bits() & 0xFFF, number as u64 % 3, 0, random.bits() & 0x7]);
            for _ in 0..1 + number % 7 / 5 {
                let file_id = planes.len() as i64;
                let is_in_series = random.bits().is_multiple_of(4);
                let field = is_in_series.then_some((random.bits() % 6) as i64);
                let z = if is_in_series { (random.bits() % 9) as i64 } else { 0 };
                let index = PlaneIndex::default();
                let place = Place { file_id, index, field, lane: 0, t: 0, z, is_stacked: is_in_series };
                planes.push((number, place, code));
            }
        }
        let (expected, n_taken_back) = arrive(&planes, false);
        assert!(n_taken_back > 1000 && expected.len() > 4000, "{n_taken_back} {}", expected.len());
        let mut degrees: HashMap<u16, usize> = HashMap::new();
        expected
            .iter()
            .flat_map(|(a, b)| [a, b])
            .for_each(|number| *degrees.entry(*number).or_default() += 1);
        let most = degrees.values().max().unwrap();
        assert!((NEAREST_MAX..NEAREST_MAX + 8).contains(most), "neighbours beside the nearest: {most}");
        for _ in 0..3 {
            for at in (1..planes.len()).rev() {
                planes.swap(at, (random.uniform() * (at + 1) as f64) as usize);
            }
            assert_eq!(arrive(&planes, true).0, expected);
            // other planes at the places of these, which then become what they are
            let mut history: Vec<_> = planes
                .iter()
                .take(120)
                .map(|(number, place, code)| (n_classes + number, *place, *code))
                .collect();
            history.extend(&planes);
            assert_eq!(arrive(&history, false).0, expected, "after planes that are gone");
        }
    }
}

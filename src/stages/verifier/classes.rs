//! The classes of planes with equal pixels: found by digest and by looks, and which were verified with one another.

use std::collections::{BTreeSet, HashMap};
use std::ops::{Index, IndexMut};

use super::nearest::{FoundBy, Near, Nearest};
use crate::analysis::hashing::{Code256, Fingerprints, PixelDigest, PlaneFeatures};
use crate::analysis::verification::{CandidateIndex, PartIndex, VerificationSettings};
use crate::store::Place;

/// The first half of a pixel digest: 128 bits tell planes apart as surely and take half the memory.
type DigestKey = [u8; 16];

/// Largest distance of the codes of a frame and its copy under another grey map, unmoved. Neighbours in time mostly look
/// alike, so that this saves most comparisons.
const STUCK_DISTANCE_MAX: u32 = 12;

/// All planes with the same pixels.
pub(super) struct Class {
    pub(super) digest: PixelDigest,
    pub(super) planes: Vec<Known>,
    /// The look-alikes that are nearest; none where nobody has looked since the start.
    pub(super) nearest: Option<Nearest>,
    looks: Option<Looks>,
    /// The classes with which it was verified or is being verified; each of these has this one, too.
    verified: Vec<Verified>,
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

/// By what a plane is found.
#[derive(Debug, Clone, Copy)]
pub(super) struct Looks {
    /// Finds the same frame as a whole.
    pub(super) code: Code256,
    /// Find parts of the frame.
    pub(super) fingerprints: Fingerprints,
}

/// That a class was verified with another one, or is being verified.
#[derive(Clone, Copy)]
struct Verified {
    with: u32,
    /// The number under which that was noted.
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

/// A class that looks like another one.
#[derive(Clone, Copy)]
pub(super) struct LookAlike {
    pub(super) class: u32,
    pub(super) found_by: FoundBy,
    /// Differing bits of the codes, or more than there are.
    pub(super) distance: u32,
    /// It may be the same frame, unmoved.
    pub(super) may_be_stuck: bool,
}

/// Every class, by number. The number of one that was taken out is used again.
#[derive(Default)]
pub(super) struct Classes {
    list: Vec<Class>,
    free: Vec<u32>,
    by_digest: HashMap<DigestKey, u32>,
    codes: CandidateIndex,
    parts: PartIndex,
    /// The last number of a note; they begin anew after the largest.
    n_noted: u32,
}

impl Looks {
    pub(super) fn of(features: &PlaneFeatures) -> Self {
        Self { code: features.code, fingerprints: features.fingerprints }
    }
}

impl Class {
    fn new(digest: PixelDigest) -> Self {
        Self { digest, planes: Vec::new(), nearest: None, looks: None, verified: Vec::new() }
    }

    pub(super) fn pixels(&self) -> Pixels {
        Pixels { digest: self.digest, places: self.planes.iter().map(|known| known.place).collect() }
    }

    pub(super) fn seen_at(&self, distance: u32, class: u32) -> Near {
        let (head, _) = self.digest.0.split_first_chunk().expect("a digest has 32 bytes");
        Near { distance, tie: u64::from_be_bytes(*head), class }
    }
}

impl Classes {
    /// The class of these pixels.
    pub(super) fn of(&self, digest: &PixelDigest) -> Option<u32> {
        self.by_digest.get(&key_of(digest)).copied()
    }

    /// The classes of both, where both are known.
    pub(super) fn of_pair(&self, [a, b]: [&PixelDigest; 2]) -> Option<[u32; 2]> {
        Some([self.of(a)?, self.of(b)?])
    }

    /// Every class that was not taken out, and every number of one that was, without planes.
    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Class> {
        self.list.iter_mut()
    }

    /// A class without planes as yet.
    pub(super) fn begin(&mut self, digest: PixelDigest) -> u32 {
        let class = if let Some(free) = self.free.pop() {
            self.list[free as usize] = Class::new(digest);
            free
        } else {
            self.list.push(Class::new(digest));
            u32::try_from(self.list.len() - 1).expect("fewer classes than memory holds")
        };
        self.by_digest.insert(key_of(&digest), class);
        class
    }

    /// From now on the look-alikes of a class are found, and it is found by them. Looks never change.
    pub(super) fn show(&mut self, class: u32, looks: Looks) {
        let shown = &mut self.list[class as usize].looks;
        if shown.is_none() {
            *shown = Some(looks);
            self.codes.insert(class, looks.code);
            self.parts.insert(class, &looks.fingerprints);
        }
    }

    /// Takes a class without planes out, which nobody holds for near any more.
    pub(super) fn take_out(&mut self, class: u32) {
        while let Some(verified) = self[class].verified.last() {
            self.unnote(class, verified.with);
        }
        let digest = self[class].digest;
        let gone = std::mem::replace(&mut self[class], Class::new(digest));
        if let Some(looks) = gone.looks {
            self.codes.remove(class);
            self.parts.remove(class, &looks.fingerprints);
        }
        self.by_digest.remove(&key_of(&digest));
        self.free.push(class);
    }

    /// Every class that looks like this one.
    pub(super) fn look_alikes(&self, own: u32) -> Vec<LookAlike> {
        let Some(looks) = &self[own].looks else { return Vec::new() };
        let mut found = Vec::new();
        let mut sharing: BTreeSet<u32> = self.parts.sharing(&looks.fingerprints).into_iter().collect();
        sharing.remove(&own);
        for candidate in self.codes.within(&looks.code, VerificationSettings::default().distance_max) {
            let (class, distance) = (candidate.id, candidate.distance);
            if class == own {
                continue;
            }
            let is_unmoved = candidate.orientation == 0 && !candidate.is_inverted;
            let may_be_stuck = is_unmoved && distance <= STUCK_DISTANCE_MAX;
            let found_by = if sharing.remove(&class) { FoundBy::Fingerprints } else { FoundBy::Code };
            found.push(LookAlike { class, found_by, distance, may_be_stuck });
        }
        let by_parts = |class| LookAlike {
            class,
            found_by: FoundBy::Fingerprints,
            distance: u32::MAX,
            may_be_stuck: false,
        };
        found.extend(sharing.into_iter().map(by_parts));
        found
    }

    /// Notes that two classes were verified or are being verified, and under which number.
    pub(super) fn note(&mut self, one: u32, other: u32) -> u32 {
        self.unnote(one, other);
        self.n_noted = self.n_noted.wrapping_add(1);
        let number = self.n_noted;
        for [own, with] in [[one, other], [other, one]] {
            self[own].verified.push(Verified { with, number });
        }
        number
    }

    /// Forgets that two classes were verified.
    pub(super) fn unnote(&mut self, one: u32, other: u32) {
        for [own, with] in [[one, other], [other, one]] {
            self[own].verified.retain(|verified| verified.with != with);
        }
    }

    /// The number under which it was noted that two classes were verified or are being verified.
    pub(super) fn noted(&self, one: u32, other: u32) -> Option<u32> {
        let verified = self[one].verified.iter().find(|verified| verified.with == other);
        verified.map(|verified| verified.number)
    }
}

impl Index<u32> for Classes {
    type Output = Class;

    fn index(&self, class: u32) -> &Class {
        &self.list[class as usize]
    }
}

impl IndexMut<u32> for Classes {
    fn index_mut(&mut self, class: u32) -> &mut Class {
        &mut self.list[class as usize]
    }
}

fn key_of(digest: &PixelDigest) -> DigestKey {
    let (head, _) = digest.0.split_first_chunk().expect("a digest has 32 bytes");
    *head
}

#[cfg(test)]
impl Classes {
    /// Asserts that nothing refers to a class without planes and that notes are mutual; how many classes have planes, how
    /// many numbers there are, and how many notes.
    pub(super) fn check(&self) -> (usize, usize, usize) {
        let is_there = |class: u32| !self[class].planes.is_empty();
        let numbered = || (0..).zip(&self.list).filter(|(_, class)| !class.planes.is_empty());
        let n_there = numbered().count();
        assert_eq!((self.by_digest.len(), self.codes.len()), (n_there, n_there));
        let mut n_noted = 0;
        for (own, class) in numbered() {
            assert_eq!(self.of(&class.digest), Some(own));
            assert!(class.nearest.iter().flat_map(Nearest::classes).all(is_there));
            assert!(self.look_alikes(own).iter().all(|other| is_there(other.class)));
            let marks = |class: u32| self[class].looks.iter().flat_map(|looks| looks.fingerprints.marks());
            let is_alike =
                |other: &u32| marks(*other).filter(|mark| marks(own).any(|own| own == *mark)).count() > 1;
            let sharing =
                class.looks.map(|looks| self.parts.sharing(&looks.fingerprints)).unwrap_or_default();
            assert!(sharing.iter().all(is_alike), "{own}: {sharing:?}");
            for Verified { with, number } in &class.verified {
                assert!(is_there(*with) && self.noted(*with, own) == Some(*number));
            }
            n_noted += class.verified.len();
        }
        (n_there, self.list.len(), n_noted)
    }
}

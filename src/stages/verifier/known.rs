//! The planes that are known: by their pixels, and by what looks alike.

use std::collections::{HashMap, HashSet};

use crate::analysis::hashing::{Code256, PixelDigest};
use crate::analysis::verification::{CandidateIndex, VerificationSettings};
use crate::store::Place;

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
    planes: Vec<Known>,
}

/// A plane that is known.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Known {
    /// Where it stands.
    pub(super) place: Place,
    /// Whether its container is the first of those equal byte for byte: one of each is compared with.
    pub(super) is_exemplar: bool,
}

/// Planes of equal pixels that look like the one asked for.
pub(super) struct LookAlike {
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
            self.classes.push(Class { digest, planes: Vec::new() });
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

    /// Notes that the ledger holds the verdict of a pair.
    pub(super) fn add_verified(&mut self, a: &PixelDigest, b: &PixelDigest) {
        let class = |digest| self.by_digest.get(&key_of(digest)).copied();
        if let (Some(a), Some(b)) = (class(a), class(b)) {
            self.verified.insert((a.min(b), a.max(b)));
        }
    }

    /// What is to be verified against a plane that was just made known; each pair is given once, unless the plane
    /// `is_back`: then what was found of it may have been lost.
    pub(super) fn look_alikes(
        &mut self,
        (digest, place): (&PixelDigest, &Place),
        code: &Code256,
        is_back: bool,
    ) -> Vec<LookAlike> {
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
            let places = class.planes.iter().map(|known| known.place).collect();
            found.push(LookAlike { digest: class.digest, places });
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

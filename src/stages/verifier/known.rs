//! The planes that are known: by their pixels, and by what looks alike.
//!
//! Two classes of equal pixels are compared while each is among the nearest look-alikes of the other. What else comes can
//! only push one of them out, never in; so a pair that is among the nearest in the end was so when the later of the two
//! came, and was compared then, in any order of arrival. A pair that is pushed out is taken back. So the pairs that
//! stand follow from the planes that are there, and no plane has more than a bounded number of them. Where a class goes, or
//! becomes an expected repeat, those behind it move up and are compared then. Neighbours in a series that may be stuck are
//! always compared.
//!
//! A class that is left by its last plane, which is another one now, is taken out: files that are written anew for days take
//! no more memory than those that stand. What its pixels were to others stays in the ledger, and is noted again should
//! they come back. Planes that only the ledger drops stay until the next start. What was pushed out by a plane that was
//! never done, since the process was killed and its file changed meanwhile, waits for the next copy of either side.

use std::collections::{HashMap, HashSet};

use super::classes::{Class, Classes, Known, LookAlike, Looks, Pixels};
use super::nearest::Nearest;
use crate::analysis::hashing::PixelDigest;
use crate::messages::HashedImage;
use crate::store::{ExactMatch, Place};
use crate::units::PlaneIndex;

/// Two classes that look alike.
pub(super) type Pair = [Pixels; 2];

/// Two classes that are to be verified.
pub(super) struct Asked {
    pub(super) pair: Pair,
    /// One that is asked again has another one.
    number: u32,
}

/// What is to be done about pairs.
#[derive(Default)]
pub(super) struct Met {
    /// To be verified.
    pub(super) pairs: Vec<Asked>,
    /// Verified before, and to be taken back: nearer ones have come.
    pub(super) pushed_out: Vec<[PixelDigest; 2]>,
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

/// A class that looks like another one, and how it stands to it.
type Seen = (LookAlike, Standing);

/// Every live plane of the ledger, and those on their way there.
#[derive(Default)]
pub(super) struct KnownPlanes {
    classes: Classes,
    /// The class of each plane.
    by_place: HashMap<(i64, PlaneIndex), u32>,
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
        self.classes.of(digest).map_or(&[], |class| &self.classes[class].planes)
    }

    /// Makes a plane known, in place of what it was before. `looks` find its look-alikes; without them they are not
    /// looked for.
    pub(super) fn add(&mut self, digest: PixelDigest, known: Known, looks: Option<Looks>) {
        let class = self.classes.of(&digest).unwrap_or_else(|| self.classes.begin(digest));
        if let Some(looks) = looks {
            self.classes.show(class, looks);
        }
        self.forget(&known.place);
        self.by_place.insert(key_at(&known.place), class);
        let planes = &mut self.classes[class].planes;
        if planes.is_empty() {
            // most have one for ever
            planes.reserve_exact(1);
        }
        planes.push(known);
    }

    /// Forgets what a plane was. What becomes of its class, the next [`Self::meet`] of these pixels says.
    fn forget(&mut self, place: &Place) {
        if let Some(class) = self.by_place.remove(&key_at(place)) {
            self.classes[class].planes.retain(|known| !is_same(known, place));
        }
    }

    /// Makes a plane known that is on its way into the ledger. `place_at` says where the planes of its container stand.
    /// Where its pixels are not known, `verified` are those with which the ledger says what they are. Gives the pixels in
    /// its container for what was put off until that was complete, which it is now.
    pub(super) fn take_in(
        &mut self,
        image: &HashedImage,
        place_at: impl Fn(PlaneIndex) -> Place,
        (matches, verified): (&[ExactMatch], &[PixelDigest]),
        met: &mut Met,
    ) -> Vec<PixelDigest> {
        let place = place_at(image.index);
        let was_growing = if image.file.container_complete {
            self.growing.remove(&place.file_id)
        } else {
            self.add_growing(place.file_id);
            false
        };
        let renewed = if was_growing { self.renew_places(place.file_id, place_at) } else { Vec::new() };
        if image.features.is_blank() {
            self.change(&place, None, met, |this| this.forget(&place));
        } else {
            let bytes = self.number_of_bytes(&image.digest, matches);
            let plane = (Known { place, bytes }, Looks::of(&image.features));
            self.put(image.digest, plane, verified, met);
        }
        renewed
    }

    /// Makes a plane known at its place, and meets the others.
    fn put(
        &mut self,
        digest: PixelDigest,
        (known, looks): (Known, Looks),
        verified: &[PixelDigest],
        met: &mut Met,
    ) {
        self.change(&known.place, Some(&digest), met, |this| {
            this.add(digest, known, Some(looks));
            verified.iter().for_each(|other| this.add_verified(&digest, other));
        });
        self.meet(&digest, met);
    }

    /// Has the class met that stood at a place before `change`, unless it is the one of `digest`.
    fn change(
        &mut self,
        place: &Place,
        digest: Option<&PixelDigest>,
        met: &mut Met,
        change: impl FnOnce(&mut Self),
    ) {
        let before = self.by_place.get(&key_at(place)).map(|class| self.classes[*class].digest);
        let before = before.filter(|before| Some(before) != digest);
        for changing in before.iter().chain(digest) {
            if let Some(class) = self.classes.of(changing) {
                // who moves up behind it is told by lists in which it stands
                self.have_looked(&self.around(class), met);
            }
        }
        change(self);
        if let Some(before) = before {
            self.meet(&before, met);
        }
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
        if let Some([a, b]) = self.classes.of_pair([a, b]) {
            self.classes.note(a, b);
        }
    }

    /// Notes that planes of a container are done while it grows.
    pub(super) fn add_growing(&mut self, file_id: i64) {
        self.growing.insert(file_id);
    }

    /// A container says only at its end what its planes are a series of. Gives the pixels in it.
    fn renew_places(&mut self, file_id: i64, place_at: impl Fn(PlaneIndex) -> Place) -> Vec<PixelDigest> {
        let mut renewed = Vec::new();
        for class in self.classes.iter_mut() {
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
    /// to be taken back; each pair is given once. A pair is put off while all planes of either side lie in containers that
    /// grow. Pixels without planes are taken out.
    pub(super) fn meet(&mut self, digest: &PixelDigest, met: &mut Met) {
        let Some(own) = self.classes.of(digest) else { return };
        let around = self.around(own);
        self.look_around(own, &around, met);
        let mut moved_up = Vec::new();
        for seen in &around {
            moved_up.extend(self.tell(own, *seen, met).then_some(seen.0.class));
        }
        for other in moved_up {
            let stayed: Vec<u32> = self.nearest_of(other).collect();
            let around = self.around(other);
            self.look_around(other, &around, met);
            self.have_looked(&around, met);
            let mut new = self.mutual(other);
            new.retain(|class| !stayed.contains(class));
            self.ask(other, new, met);
        }
        if self.classes[own].planes.is_empty() {
            self.classes.take_out(own);
            return;
        }
        let is_neighbour = |seen: &&Seen| seen.1 == Standing::Neighbours;
        let mut others: Vec<u32> = around.iter().filter(is_neighbour).map(|seen| seen.0.class).collect();
        others.extend(self.mutual(own));
        self.ask(own, others, met);
    }

    /// Tells a class of another one that has come, gone or changed. Whether those behind it move up.
    fn tell(&mut self, own: u32, seen: Seen, met: &mut Met) -> bool {
        let (LookAlike { class, found_by, distance, .. }, standing) = seen;
        self.have_looked(&[seen], met);
        let near = self.classes[own].seen_at(distance, own);
        let Some(nearest) = &mut self.classes[class].nearest else { return false };
        if standing != Standing::Comparable {
            return nearest.remove(own);
        }
        if !nearest.holds(own)
            && let Some(last) = nearest.insert(found_by, near)
        {
            self.push_out(class, last, met);
        }
        false
    }

    /// Makes the list of the nearest of each comparable class that has not looked since the start.
    fn have_looked(&mut self, around: &[Seen], met: &mut Met) {
        for (seen, _) in around.iter().filter(|seen| seen.1 == Standing::Comparable) {
            if self.classes[seen.class].nearest.is_none() {
                let around = self.around(seen.class);
                self.look_around(seen.class, &around, met);
            }
        }
    }

    /// Makes the list of the nearest of a class anew.
    fn look_around(&mut self, own: u32, around: &[Seen], met: &mut Met) {
        let mut nearest = Nearest::default();
        for (seen, _) in around.iter().filter(|seen| seen.1 == Standing::Comparable) {
            let near = self.classes[seen.class].seen_at(seen.distance, seen.class);
            if let Some(last) = nearest.insert(seen.found_by, near) {
                self.push_out(own, last, met);
            }
        }
        self.classes[own].nearest = Some(nearest);
    }

    /// A pair that was verified stands no longer.
    fn push_out(&mut self, one: u32, other: u32, met: &mut Met) {
        if self.classes.noted(one, other).is_some() {
            self.classes.unnote(one, other);
            met.pushed_out.push([one, other].map(|class| self.classes[class].digest));
        }
    }

    fn nearest_of(&self, class: u32) -> impl Iterator<Item = u32> {
        self.classes[class].nearest.iter().flat_map(Nearest::classes)
    }

    /// Those among the nearest of a class that hold it for one of theirs.
    fn mutual(&self, own: u32) -> Vec<u32> {
        let holds_own = |other: &u32| self.nearest_of(*other).any(|class| class == own);
        self.nearest_of(own).filter(holds_own).collect()
    }

    /// Adds the pairs of a class with others that are not verified.
    fn ask(&mut self, own: u32, others: Vec<u32>, met: &mut Met) {
        for other in others {
            if self.classes.noted(own, other).is_none() {
                let number = self.classes.note(own, other);
                let pair = [own, other].map(|class| self.classes[class].pixels());
                met.pairs.push(Asked { pair, number });
            }
        }
    }

    /// Every class that looks like this one.
    fn around(&self, own: u32) -> Vec<Seen> {
        let found = self.classes.look_alikes(own).into_iter();
        found.map(|seen| (seen, self.standing(own, seen.class, seen.may_be_stuck))).collect()
    }

    /// Whether two classes are to be compared: where none of their planes is an expected repeat of one of the other, or
    /// where one may be the copy of its neighbour.
    fn standing(&self, one: u32, other: u32, may_be_stuck: bool) -> Standing {
        let [one, other] = [one, other].map(|class| &self.classes[class]);
        if self.all_grow(one) || self.all_grow(other) {
            return Standing::Apart;
        }
        let any = |holds: fn(&Place, &Place) -> bool| {
            one.planes.iter().any(|a| other.planes.iter().any(|b| holds(&a.place, &b.place)))
        };
        if may_be_stuck && any(Place::is_neighbour) {
            Standing::Neighbours
        } else if !any(Place::is_expected_repeat) && any(Place::is_comparable) {
            Standing::Comparable
        } else {
            Standing::Apart
        }
    }

    /// Also of a class without planes.
    fn all_grow(&self, class: &Class) -> bool {
        class.planes.iter().all(|known| self.growing.contains(&known.place.file_id))
    }

    /// Leaves of what was met in one step what holds at its end.
    pub(super) fn settle(&self, met: &mut Met) {
        met.pairs.retain(|asked| self.number_of(asked) == Some(asked.number));
        met.pushed_out.retain(|[a, b]| !self.is_wanted([a, b]));
    }

    /// The number under which a pair is noted now.
    fn number_of(&self, Asked { pair: [a, b], .. }: &Asked) -> Option<u32> {
        let [a, b] = self.classes.of_pair([&a.digest, &b.digest])?;
        self.classes.noted(a, b)
    }

    /// Whether a pair still stands: it was not pushed out while it was verified.
    pub(super) fn is_wanted(&self, pair: [&PixelDigest; 2]) -> bool {
        self.classes.of_pair(pair).is_some_and(|[a, b]| self.classes.noted(a, b).is_some())
    }

    /// Lets a pair be verified again with the next copy of either, unless it was asked again meanwhile.
    pub(super) fn forget_asked(&mut self, asked: &Asked) {
        if self.number_of(asked) == Some(asked.number)
            && let Some([a, b]) = self.classes.of_pair(asked.pair.each_ref().map(|side| &side.digest))
        {
            self.classes.unnote(a, b);
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

#[cfg(test)]
mod tests;

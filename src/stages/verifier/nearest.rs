//! The nearest look-alikes of one class, and who has been pushed out by nearer ones.

/// Most look-alikes of one class that it is compared with: so many by its code, and so many by its fingerprints.
pub(super) const NEAREST_MAX: usize = 64;

/// A class as another one sees it: the lesser is the nearer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Near {
    /// Differing bits of the codes, or more than there are.
    pub(super) distance: u32,
    /// The start of the digest: of those equally far the order is that of the pixels, not that of arrival.
    pub(super) tie: u64,
    /// Its number.
    pub(super) class: u32,
}

/// By what two classes were found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum FoundBy {
    /// They share fingerprints of their noise: other exposures do not, so that none of these pushes a copy out.
    Fingerprints,
    /// Their codes are near.
    Code,
}

/// The nearest look-alikes of one class, at most [`NEAREST_MAX`] of each kind, the nearest first.
#[derive(Debug, Clone, Default)]
pub(super) struct Nearest([Vec<Near>; 2]);

impl Nearest {
    /// Adds a look-alike that is not there yet; the class that is pushed out by it, or is itself too far.
    pub(super) fn insert(&mut self, found_by: FoundBy, near: Near) -> Option<u32> {
        let list = &mut self.0[found_by as usize];
        let place = list.partition_point(|other| *other < near);
        list.insert(place, near);
        if list.len() > NEAREST_MAX { list.pop().map(|last| last.class) } else { None }
    }

    /// Takes a class out. Whether there may have been others that it had pushed out.
    pub(super) fn remove(&mut self, class: u32) -> bool {
        let mut was_full = false;
        for list in &mut self.0 {
            if let Some(place) = list.iter().position(|near| near.class == class) {
                was_full |= list.len() == NEAREST_MAX;
                list.remove(place);
            }
        }
        was_full
    }

    /// Whether a class is among them.
    pub(super) fn holds(&self, class: u32) -> bool {
        self.classes().any(|other| other == class)
    }

    /// Their numbers: those by fingerprints first, each kind the nearest first.
    pub(super) fn classes(&self) -> impl Iterator<Item = u32> + '_ {
        self.0.iter().flatten().map(|near| near.class)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::analysis::synthesis::Random;

    #[test]
    fn what_stays_are_the_nearest_whatever_came_first() {
        let mut random = Random::new(1);
        let mut all: Vec<_> = (0..3 * NEAREST_MAX as u32)
            .map(|class| Near { distance: random.bits() as u32 % 5, tie: random.bits(), class })
            .collect();
        let mut nearest = Nearest::default();
        let mut pushed_out: Vec<u32> =
            all.iter().filter_map(|near| nearest.insert(FoundBy::Code, *near)).collect();
        all.sort_unstable();
        let numbers: Vec<u32> = all.iter().map(|near| near.class).collect();
        let (kept, out) = numbers.split_at(NEAREST_MAX);
        assert_eq!(nearest.classes().collect::<Vec<_>>(), kept);
        let mut out = out.to_vec();
        out.sort_unstable();
        pushed_out.sort_unstable();
        assert_eq!(pushed_out, out);
        // others may be waiting behind one that goes, until the list is no longer full
        assert!(nearest.holds(kept[3]) && nearest.remove(kept[3]) && !nearest.holds(kept[3]));
        assert!(!nearest.remove(kept[4]) && !nearest.remove(out[0]));
        assert!(nearest.insert(FoundBy::Fingerprints, all[0]).is_none(), "each kind has its own places");
    }
}

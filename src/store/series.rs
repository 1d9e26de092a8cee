//! Which planes belong to one acquisition, and where they stand in it: repeats that are expected are no finding.

use crate::paths::RelativePath;
use crate::store::Identity;
use crate::units::PlaneIndex;

/// Where a plane stands among the planes of its acquisition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// Its container.
    pub file_id: i64,
    /// Where it stands in that.
    pub index: PlaneIndex,
    /// A number for the field of view, equal for all channels, cycles, times and focus steps of it; none where the name
    /// says nothing.
    pub field: Option<i64>,
    /// A number for the cycle and channel.
    pub lane: i64,
    /// Time point.
    pub t: i64,
    /// Focus step.
    pub z: i64,
    /// Whether the field has several times or focus steps, as its container or its name says.
    pub is_stacked: bool,
}

impl Place {
    /// The place of a plane whose identity is completed by that of its file.
    pub fn new(
        (file_id, root): (i64, &str),
        path: &RelativePath,
        index: PlaneIndex,
        identity: &Identity,
    ) -> Self {
        let Identity { plate, run, cycle, well, site, channel, t, z } = identity;
        let is_named = well.is_some() || site.is_some() || t.is_some() || z.is_some();
        let field = is_named.then(|| {
            let mut hash = Fnv::default();
            hash.add(root.as_bytes());
            hash.add(&acquisition_folder(path));
            [plate, run, well, site].into_iter().for_each(|part| hash.add_text(part.as_deref()));
            hash.0 as i64
        });
        let mut lane = Fnv::default();
        lane.add_text(cycle.as_deref());
        match channel {
            Some(name) => lane.add(name.as_bytes()),
            None => lane.add(&index.c.to_le_bytes()),
        }
        Self {
            file_id,
            index,
            field,
            lane: lane.0 as i64,
            t: t.unwrap_or(index.t.into()),
            z: z.unwrap_or(index.z.into()),
            is_stacked: t.is_some() || z.is_some(),
        }
    }

    /// Whether the two show one field at another time, focus, cycle or in another channel, or lie in one container:
    /// they may look alike.
    pub fn is_expected_repeat(&self, other: &Self) -> bool {
        self.file_id == other.file_id
            || self.is_same_field(other) && (self.lane, self.t, self.z) != (other.lane, other.t, other.z)
    }

    /// Whether it is worth a comparison that these two look alike. Of two stacks only planes of one time and focus are
    /// compared, so that n planes against n planes are n comparisons.
    pub fn is_comparable(&self, other: &Self) -> bool {
        let is_aslant = self.is_stacked && other.is_stacked && (self.t, self.z) != (other.t, other.z);
        !is_aslant && !self.is_expected_repeat(other)
    }

    /// Whether one follows the other in time or focus, all else equal.
    pub fn is_neighbour(&self, other: &Self) -> bool {
        let is_one_lane = if self.file_id == other.file_id {
            (self.index.p, self.index.c) == (other.index.p, other.index.c)
        } else {
            self.is_same_field(other) && self.lane == other.lane
        };
        let steps = self.t.abs_diff(other.t).saturating_add(self.z.abs_diff(other.z));
        is_one_lane && self.is_stacked && other.is_stacked && steps == 1
    }

    fn is_same_field(&self, other: &Self) -> bool {
        self.field.is_some() && self.field == other.field
    }
}

/// The folder of a file without the parts that number times, focus steps and cycles.
fn acquisition_folder(path: &RelativePath) -> Vec<u8> {
    let (folder, _) = path.split();
    let mut kept = Vec::new();
    for part in folder.as_encoded_bytes().split(|byte| matches!(byte, b'/' | b'\\')) {
        if !is_numbered_step(part) {
            kept.extend_from_slice(part);
            kept.push(b'/');
        }
    }
    kept
}

/// `TimePoint_1`, `ZStep_2`, `cycle3` and the like.
fn is_numbered_step(part: &[u8]) -> bool {
    ["timepoint", "zstep", "cycle"].iter().any(|word| {
        let Some((head, rest)) = part.split_at_checked(word.len()) else { return false };
        let digits = rest.strip_prefix(b"_").or(rest.strip_prefix(b"-")).or(rest.strip_prefix(b" "));
        let digits = digits.unwrap_or(rest);
        head.eq_ignore_ascii_case(word.as_bytes())
            && !digits.is_empty()
            && digits.iter().all(u8::is_ascii_digit)
    })
}

/// FNV-1a: a number that is the same in every version of this program.
struct Fnv(u64);

impl Default for Fnv {
    fn default() -> Self {
        Self(0xCBF2_9CE4_8422_2325)
    }
}

impl Fnv {
    /// Adds a part, told from the next by its length.
    fn add(&mut self, part: &[u8]) {
        let length = (part.len() as u64).to_le_bytes();
        for byte in length.iter().chain(part) {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01B3);
        }
    }

    fn add_text(&mut self, part: Option<&str>) {
        self.add(&[u8::from(part.is_some())]);
        self.add(part.unwrap_or_default().as_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn identity(well: &str, channel: &str, (t, z): (i64, i64)) -> Identity {
        Identity {
            well: Some(well.into()),
            channel: Some(channel.into()),
            t: Some(t),
            z: Some(z),
            ..Identity::default()
        }
    }

    fn place(file_id: i64, path: &str, identity: &Identity) -> Place {
        Place::new((file_id, "root"), &RelativePath::new(path), PlaneIndex::default(), identity)
    }

    /// Expected repeat, comparable, neighbour.
    fn check(a: Place, b: Place, expected: (bool, bool, bool)) {
        for (a, b) in [(a, b), (b, a)] {
            let found = (a.is_expected_repeat(&b), a.is_comparable(&b), a.is_neighbour(&b));
            assert_eq!(found, expected, "{a:?} {b:?}");
        }
    }

    #[test]
    fn one_field_at_another_time_focus_channel_or_cycle_is_expected() {
        let first = place(1, "run/TimePoint_1/B02_w1.tif", &identity("B02", "w1", (1, 0)));
        let next = place(2, "run/TimePoint_2/B02_w1.tif", &identity("B02", "w1", (2, 0)));
        check(first, next, (true, false, true));
        let later = place(3, "run/TimePoint_9/B02_w1.tif", &identity("B02", "w1", (9, 0)));
        check(first, later, (true, false, false));
        let channel = place(4, "run/TimePoint_2/B02_w2.tif", &identity("B02", "w2", (2, 0)));
        check(first, channel, (true, false, false));
        let cycle = Identity { cycle: Some("2".into()), ..identity("B02", "w1", (1, 0)) };
        check(first, place(5, "run/cycle-2/TimePoint_1/B02_w1.tif", &cycle), (true, false, false));
    }

    #[test]
    fn other_wells_other_runs_and_second_files_of_one_place_are_compared() {
        let first = place(1, "run1/B02_w1.tif", &identity("B02", "w1", (1, 0)));
        check(first, place(2, "run1/B03_w1.tif", &identity("B03", "w1", (1, 0))), (false, true, false));
        check(first, place(3, "run2/B02_w1.tif", &identity("B02", "w1", (1, 0))), (false, true, false));
        check(
            first,
            place(4, "run1/B02_w1_export.png", &identity("B02", "w1", (1, 0))),
            (false, true, false),
        );
        check(first, place(5, "run2/B02_w1.tif", &identity("B02", "w1", (2, 0))), (false, false, false));
        let nameless = place(6, "copy.tif", &Identity::default());
        check(first, nameless, (false, true, false));
        check(nameless, place(7, "copy2.tif", &Identity::default()), (false, true, false));
    }

    #[test]
    fn planes_of_one_container_are_expected_and_neighbours_within_position_and_channel() {
        let of = |index: PlaneIndex| {
            let identity = Identity { t: Some(index.t.into()), ..Identity::default() };
            Place::new((1, "root"), &RelativePath::new("a.nd2"), index, &identity)
        };
        let first = of(PlaneIndex { t: 3, c: 1, ..PlaneIndex::default() });
        check(first, of(PlaneIndex { t: 4, c: 1, ..PlaneIndex::default() }), (true, false, true));
        check(first, of(PlaneIndex { t: 4, c: 0, ..PlaneIndex::default() }), (true, false, false));
        check(first, of(PlaneIndex { t: 4, p: 1, c: 1, ..PlaneIndex::default() }), (true, false, false));
    }

    #[test]
    fn only_numbered_folders_are_left_out() {
        let kept = |path: &str| String::from_utf8(acquisition_folder(&RelativePath::new(path))).unwrap();
        assert_eq!(kept("a/TimePoint_1/ZStep_02/x.tif"), "a/");
        assert_eq!(kept("a/cycle 3/timepoints/x.tif"), "a/timepoints/");
        assert_eq!(kept("zstep/cycle/x.tif"), "zstep/cycle/");
    }
}

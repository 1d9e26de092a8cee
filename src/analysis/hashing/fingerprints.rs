//! Fingerprints of the noise: small marks of single places that survive cropping, turning, mirroring and rising grey
//! maps, so that a part of a frame is found without comparing it with every frame.

use std::ops::Range;

use super::histogram::ANY;
use super::rows::{Rows, Sample};

/// Fingerprints kept of a plane.
pub const N_FINGERPRINTS: usize = 16;
/// A place counts when its value is above all others this near: the same places count in a crop.
const RADIUS: usize = 6;
/// Pixels from the place to the edge of the patch that is looked at.
const PATCH_RADIUS: i32 = 2;
/// Side of a block of which at most one pixel counts.
const BLOCK: usize = RADIUS + 1;
/// Rows of a row of blocks and of what its pixels are compared with.
const N_ROWS: usize = BLOCK + 2 * RADIUS;
/// Stands for no fingerprint.
const NONE: u32 = u32::MAX;

/// The smallest distinct fingerprints of a plane, ascending: of a crop, most that lie inside it are among its own
/// smallest (bottom-k sketch).
///
/// # References
/// Broder, "On the resemblance and containment of documents" (1997).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Fingerprints(pub(super) [u32; N_FINGERPRINTS]);

impl Default for Fingerprints {
    fn default() -> Self {
        Self([NONE; N_FINGERPRINTS])
    }
}

impl Fingerprints {
    /// Looks at every place of a plane that stands out.
    ///
    /// # References
    /// A. Neubeck, L. Van Gool, Efficient non-maximum suppression, ICPR 2006: of a block as wide as the radius and one, only
    /// the highest pixel can stand out.
    pub(super) fn of<T: Sample>(rows: &Rows<'_, T>) -> Self {
        let mut found = Self::default();
        if rows.height < 2 * RADIUS + 1 || rows.width < 2 * RADIUS + 1 {
            return found;
        }
        let mut band = Band::new(rows.width);
        let mut highest = vec![0.0; rows.width];
        for first in (RADIUS..rows.height - RADIUS).step_by(BLOCK) {
            let n = BLOCK.min(rows.height - RADIUS - first);
            band.move_to(rows, first, n);
            band.highest_of_columns(n, &mut highest);
            for left in (RADIUS..rows.width - RADIUS).step_by(BLOCK) {
                let right = (left + BLOCK).min(rows.width - RADIUS);
                if let Some(place) = band.peak(n, &highest, left..right)
                    && let Some(mark) = fingerprint(&band, place)
                {
                    found.insert(mark);
                }
            }
        }
        found
    }

    fn insert(&mut self, mark: u32) {
        let place = self.0.partition_point(|&kept| kept < mark);
        if place < N_FINGERPRINTS && self.0[place] != mark {
            self.0[place..].rotate_right(1);
            self.0[place] = mark;
        }
    }

    /// The fingerprints, ascending and distinct.
    pub fn marks(&self) -> impl Iterator<Item = u32> + '_ {
        self.0.iter().copied().filter(|&mark| mark != NONE)
    }
}

/// The rows of a row of blocks, and those that its pixels are compared with.
struct Band {
    /// Grey values of [`N_ROWS`] rows, one after the other; the first row of blocks begins at row [`RADIUS`].
    values: Vec<f32>,
    width: usize,
    /// The plane's row at the start of the blocks; none before the first.
    first: Option<usize>,
}

impl Band {
    fn new(width: usize) -> Self {
        Self { values: vec![0.0; N_ROWS * width], width, first: None }
    }

    /// Reads what is missing of the rows around `n` rows of blocks from `first` on.
    fn move_to<T: Sample>(&mut self, rows: &Rows<'_, T>, first: usize, n: usize) {
        let kept = match self.first {
            Some(before) => N_ROWS - (first - before),
            None => 0,
        };
        self.values.copy_within((N_ROWS - kept) * self.width.., 0);
        for row in kept..2 * RADIUS + n {
            let values = &mut self.values[row * self.width..][..self.width];
            rows.read(first + row - RADIUS, ANY, values);
        }
        self.first = Some(first);
    }

    fn row(&self, row: usize) -> &[f32] {
        &self.values[row * self.width..][..self.width]
    }

    /// The highest value of each column in the `n` rows of the blocks.
    fn highest_of_columns(&self, n: usize, highest: &mut [f32]) {
        highest.copy_from_slice(self.row(RADIUS));
        for row in RADIUS + 1..RADIUS + n {
            for (highest, &value) in highest.iter_mut().zip(self.row(row)) {
                *highest = if value > *highest { value } else { *highest };
            }
        }
    }

    /// Row and column of the pixel of a block that is above all others within the radius, if there is one.
    fn peak(&self, n: usize, highest: &[f32], columns: Range<usize>) -> Option<[usize; 2]> {
        let mut best = columns.start;
        for column in columns.start + 1..columns.end {
            best = if highest[column] > highest[best] { column } else { best };
        }
        let value = highest[best];
        let row = (RADIUS..RADIUS + n).find(|&row| self.row(row)[best] == value)?;
        let is_lower = |row: usize| {
            let row = &self.row(row)[best - RADIUS..=best + RADIUS];
            row.iter().fold(true, |is_lower, &other| is_lower & (other < value))
        };
        let beside = &self.row(row)[best - RADIUS..=best + RADIUS];
        let is_alone = beside.iter().filter(|&&other| other >= value).count() == 1;
        // what lies farthest is not of the block, and decides soonest
        let is_peak = is_alone && (1..=RADIUS).rev().all(|away| is_lower(row - away) && is_lower(row + away));
        is_peak.then_some([row, best])
    }
}

/// Which neighbours rise and which fall around a place, seen from its highest neighbour so that turning does not matter;
/// `None` where that is not one pixel.
fn fingerprint(band: &Band, [row, column]: [usize; 2]) -> Option<u32> {
    let at = |(dy, dx): (i32, i32)| band.row((row as i32 + dy) as usize)[(column as i32 + dx) as usize];
    const SIDES: [(i32, i32); 4] = [(-1, 0), (0, 1), (1, 0), (0, -1)];
    let (ahead, side) = (0..4).map(|side| (at(SIDES[side]), side)).max_by(|a, b| a.0.total_cmp(&b.0))?;
    let is_alone = (0..4).filter(|&other| at(SIDES[other]) == ahead).count() == 1;
    let (right, left) = (SIDES[(side + 1) % 4], SIDES[(side + 3) % 4]);
    if !is_alone || at(right) == at(left) {
        return None;
    }
    let (u, v) = (SIDES[side], if at(right) > at(left) { right } else { left });
    let pixel = |i: i32, j: i32| at((i * u.0 + j * v.0, i * u.1 + j * v.1));
    let mut bits = 0_u64;
    for i in -PATCH_RADIUS..=PATCH_RADIUS {
        for j in -PATCH_RADIUS..PATCH_RADIUS {
            bits = bits << 1 | u64::from(pixel(i, j) < pixel(i, j + 1));
            bits = bits << 1 | u64::from(pixel(j, i) < pixel(j + 1, i));
        }
    }
    Some(mixed(bits).min(NONE - 1))
}

/// Spreads bits evenly over 32 (the finaliser of Steele, Lea and Flood, "Fast splittable pseudorandom number generators",
/// 2014).
fn mixed(bits: u64) -> u32 {
    let mut z = bits.wrapping_add(0x9E37_79B9_7F4A_7C15);
    z = (z ^ z >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ z >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
    ((z ^ z >> 31) >> 32) as u32
}

/// Bytes that [`Fingerprints::of`] allocates for a plane of that width.
pub(super) const fn scratch_bytes(width: usize) -> usize {
    4 * width * (N_ROWS + 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::analysis::synthesis::Random;

    const SIDE: usize = 200;

    fn noise(seed: u64) -> Vec<u16> {
        let mut random = Random::new(seed);
        (0..SIDE * SIDE).map(|_| (500.0 + 30.0 * random.normal()).round() as u16).collect()
    }

    fn of(samples: &[u16], height: usize, width: usize) -> Fingerprints {
        Fingerprints::of(&Rows::new(samples, height, width, 1))
    }

    fn n_shared(a: &Fingerprints, b: &Fingerprints) -> usize {
        a.marks().filter(|mark| b.marks().any(|other| other == *mark)).count()
    }

    #[test]
    fn crops_turned_and_mapped_copies_share_fingerprints_and_other_noise_none() {
        for seed in 1..6 {
            let frame = noise(seed);
            let whole = of(&frame, SIDE, SIDE);
            assert_eq!(whole.marks().count(), N_FINGERPRINTS);
            assert_eq!(n_shared(&whole, &of(&noise(seed + 100), SIDE, SIDE)), 0);
            let half: Vec<u16> =
                (0..SIDE * 140).map(|place| frame[place / 140 * SIDE + 37 + place % 140]).collect();
            assert!(n_shared(&whole, &of(&half, SIDE, 140)) >= 5, "seed {seed}");
            let turned: Vec<u16> =
                (0..SIDE * SIDE).map(|place| frame[place % SIDE * SIDE + SIDE - 1 - place / SIDE]).collect();
            assert_eq!(of(&turned, SIDE, SIDE), whole);
            let mirrored: Vec<u16> =
                frame.chunks(SIDE).flat_map(|row| row.iter().rev().map(|&value| 7 * value + 3)).collect();
            assert_eq!(of(&mirrored, SIDE, SIDE), whole);
        }
    }

    /// The definition, pixel by pixel.
    fn plain(samples: &[u16], height: usize, width: usize) -> Fingerprints {
        let mut found = Fingerprints::default();
        let values: Vec<f32> = samples.iter().map(|&sample| sample.into()).collect();
        let band = Band { values, width, first: None };
        for y in RADIUS..height.saturating_sub(RADIUS) {
            for x in RADIUS..width.saturating_sub(RADIUS) {
                let around = (y - RADIUS..=y + RADIUS).flat_map(|y| &band.row(y)[x - RADIUS..=x + RADIUS]);
                if around.filter(|&&other| other >= band.row(y)[x]).count() == 1
                    && let Some(mark) = fingerprint(&band, [y, x])
                {
                    found.insert(mark);
                }
            }
        }
        found
    }

    #[test]
    fn fingerprints_are_those_of_the_definition() {
        let frame = noise(3);
        for (height, width) in
            [(13, 13), (13, 200), (14, 31), (20, 19), (26, 40), (27, 60), (61, 97), (200, 200)]
        {
            let samples = &frame[..height * width];
            // few grey values: many ties
            let coarse: Vec<u16> = samples.iter().map(|sample| sample / 16).collect();
            for samples in [samples, &coarse] {
                assert_eq!(of(samples, height, width), plain(samples, height, width), "{height} x {width}");
            }
        }
    }

    #[test]
    fn small_and_flat_planes_have_none() {
        assert_eq!(of(&[7; SIDE * SIDE], SIDE, SIDE), Fingerprints::default());
        assert_eq!(of(&noise(1)[..144], 12, 12), Fingerprints::default());
    }
}

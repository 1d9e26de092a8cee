//! Fingerprints of the noise: small marks of single places that survive cropping, turning, mirroring and rising grey
//! maps, so that a part of a frame is found without comparing it with every frame.

use super::histogram::ANY;
use super::rows::{Rows, Sample};

/// Fingerprints kept of a plane.
pub const N_FINGERPRINTS: usize = 16;
/// A place counts when its value is above all others this near: the same places count in a crop.
const RADIUS: usize = 6;
/// Pixels from the place to the edge of the patch that is looked at.
const PATCH_RADIUS: i32 = 2;
const N_ROWS: usize = 2 * RADIUS + 1;
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
    pub(super) fn of<T: Sample>(rows: &Rows<'_, T>) -> Self {
        let mut found = Self::default();
        if rows.height < N_ROWS || rows.width < N_ROWS {
            return found;
        }
        let mut window = vec![vec![0.0; rows.width]; N_ROWS];
        (0..N_ROWS - 1).for_each(|y| rows.read(y, ANY, &mut window[y + 1]));
        for y in N_ROWS - 1..rows.height {
            window.rotate_left(1);
            rows.read(y, ANY, &mut window[N_ROWS - 1]);
            for x in RADIUS..rows.width - RADIUS {
                if is_peak(&window, x)
                    && let Some(mark) = fingerprint(&window, x)
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

/// Whether the middle of the window is above everything around it.
fn is_peak(window: &[Vec<f32>], x: usize) -> bool {
    let value = window[RADIUS][x];
    let beside = &window[RADIUS];
    if beside[x - 1] >= value || beside[x + 1] >= value {
        return false;
    }
    let is_lower = |row: &[f32]| row[x - RADIUS..=x + RADIUS].iter().all(|&other| other < value);
    let (above, rest) = window.split_at(RADIUS);
    let others = |range: &[f32]| range.iter().all(|&other| other < value);
    above.iter().rev().all(|row| is_lower(row))
        && rest[1..].iter().all(|row| is_lower(row))
        && others(&beside[x - RADIUS..x])
        && others(&beside[x + 1..=x + RADIUS])
}

/// Which neighbours rise and which fall around a place, seen from its highest neighbour so that turning does not matter;
/// `None` where that is not one pixel.
fn fingerprint(window: &[Vec<f32>], x: usize) -> Option<u32> {
    let at = |(dy, dx): (i32, i32)| window[(RADIUS as i32 + dy) as usize][(x as i32 + dx) as usize];
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
    (4 * width + 24) * N_ROWS
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

    #[test]
    fn small_and_flat_planes_have_none() {
        assert_eq!(of(&[7; SIDE * SIDE], SIDE, SIDE), Fingerprints::default());
        assert_eq!(of(&noise(1)[..144], 12, 12), Fingerprints::default());
    }
}

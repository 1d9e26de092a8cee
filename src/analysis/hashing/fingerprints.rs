//! Fingerprints of the noise: small marks of single places that survive cropping, turning, mirroring and rising grey
//! maps, so that a part of a frame is found without comparing it with every frame.

use super::histogram::ANY;
use super::rows::{Rows, Sample};

/// Fingerprints kept of a plane.
pub const N_FINGERPRINTS: usize = 16;
/// A place counts when its value is above all others this near: the same places count in a crop.
const RADIUS: usize = 6;
/// Pixels from the place to the edge of the patch that is looked at.
const PATCH_RADIUS: usize = 2;
/// Side of that patch.
const PATCH: usize = 2 * PATCH_RADIUS + 1;
/// Side of the square in which a place has to stand out.
const WINDOW: usize = 2 * RADIUS + 1;
/// Pixels of a row that are looked at together.
const CHUNK: usize = 32;
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
        if T::FIRST_BIN.is_some() && rows.is_plain() {
            // only the order of the values counts
            Self::of_ranks(rows.height, rows.width, |y, ranks: &mut [u16]| {
                for (rank, sample) in ranks.iter_mut().zip(rows.samples(y)) {
                    *rank = sample.bin();
                }
            })
        } else {
            Self::of_ranks(rows.height, rows.width, |y, values: &mut [f32]| rows.read(y, ANY, values))
        }
    }

    fn of_ranks<R: Rank>(height: usize, width: usize, read: impl Fn(usize, &mut [R])) -> Self {
        let mut found = Self::default();
        if height < WINDOW || width < WINDOW {
            return found;
        }
        let mut window = Window::new(width);
        for y in 0..height {
            read(y, &mut window.ranks.row_mut(y).as_flattened_mut()[..width]);
            window.move_to(y);
            if y + 1 >= WINDOW {
                window.for_each_highest(y - RADIUS, |place| {
                    if let Some(mark) = fingerprint(&window.ranks, place)
                        && found.is_missing(mark)
                        && is_alone(&window.ranks, place)
                    {
                        found.insert(mark);
                    }
                });
            }
        }
        found
    }

    /// Whether the mark would be kept, and is not yet.
    fn is_missing(&self, mark: u32) -> bool {
        mark < self.0[N_FINGERPRINTS - 1] && !self.0.contains(&mark)
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

/// What pixels are ordered by.
trait Rank: Copy + Default + PartialOrd {}

impl Rank for u16 {}
impl Rank for f32 {}

/// The last rows of a plane, in chunks; what lies behind the width means nothing.
struct LastRows<R> {
    n_chunks: usize,
    /// A power of two.
    n_rows: usize,
    chunks: Vec<[R; CHUNK]>,
}

impl<R: Rank> LastRows<R> {
    fn new(n_rows: usize, width: usize) -> Self {
        let n_chunks = width.div_ceil(CHUNK);
        Self { n_chunks, n_rows, chunks: vec![[R::default(); CHUNK]; n_rows * n_chunks] }
    }

    fn row(&self, y: usize) -> &[[R; CHUNK]] {
        &self.chunks[y % self.n_rows * self.n_chunks..][..self.n_chunks]
    }

    fn row_mut(&mut self, y: usize) -> &mut [[R; CHUNK]] {
        &mut self.chunks[y % self.n_rows * self.n_chunks..][..self.n_chunks]
    }

    /// Row `y` to be written beside an earlier one.
    fn row_and_earlier(&mut self, y: usize, n_before: usize) -> (&mut [[R; CHUNK]], &[[R; CHUNK]]) {
        let [now, then] = [y, y.wrapping_sub(n_before)].map(|y| y % self.n_rows * self.n_chunks);
        let (low, high) = self.chunks.split_at_mut(now.max(then));
        let (low, high) = (&mut low[now.min(then)..][..self.n_chunks], &mut high[..self.n_chunks]);
        if now < then { (low, high) } else { (high, low) }
    }

    /// The values of row `y` from `radius` before column `x` to `radius` behind it.
    fn around(&self, [y, x]: [usize; 2], radius: usize) -> &[R] {
        &self.row(y).as_flattened()[x - radius..=x + radius]
    }
}

/// A window that moves down over the plane: its rows, and the highest value around each pixel.
struct Window<R> {
    width: usize,
    ranks: LastRows<R>,
    /// The highest in a row around each pixel.
    highest: LastRows<R>,
    /// Of that, the highest in 2, 4 and 8 rows up to a row.
    highest_of: [LastRows<R>; 3],
    scratch: Vec<R>,
    /// Chunks of the row in the middle with a pixel that nothing in the window exceeds.
    chunks: Vec<usize>,
}

impl<R: Rank> Window<R> {
    fn new(width: usize) -> Self {
        Self {
            width,
            ranks: LastRows::new(WINDOW.next_power_of_two(), width),
            highest: LastRows::new(2, width),
            highest_of: [4, 8, 8].map(|n_rows| LastRows::new(n_rows, width)),
            scratch: vec![R::default(); width.next_multiple_of(CHUNK)],
            chunks: Vec::with_capacity(width.div_ceil(CHUNK)),
        }
    }

    /// Takes in row `y` of the plane, which stands in `ranks`: the last one of the window.
    fn move_to(&mut self, y: usize) {
        let (ranks, highest) = (self.ranks.row(y).as_flattened(), self.highest.row_mut(y).as_flattened_mut());
        higher(ranks, 1, &mut self.scratch);
        higher(&self.scratch, 2, highest);
        higher(highest, 4, &mut self.scratch);
        // 13 are two overlapping eights
        higher(&self.scratch, WINDOW - 8, &mut highest[RADIUS..]);
        // what stands for rows before the first has no say: nobody looks at the window before it is full
        let [of_2, of_4, of_8] = &mut self.highest_of;
        let (of_2, of_2_earlier) = of_2.row_and_earlier(y, 2);
        let (of_4, of_4_earlier) = of_4.row_and_earlier(y, 4);
        let (of_8, of_8_earlier) = of_8.row_and_earlier(y, WINDOW - 8);
        let (one, other) = (self.highest.row(y), self.highest.row(y.wrapping_sub(1)));
        let middle = self.ranks.row(y.wrapping_sub(RADIUS));
        self.chunks.clear();
        highest_down(
            [one, other, of_2_earlier, of_4_earlier, of_8_earlier],
            [of_2, of_4, of_8],
            middle,
            &mut self.chunks,
        );
    }

    /// Calls `visit` with row and column of each pixel of the middle row `y` that nothing in the window exceeds, the margins at
    /// the sides left out.
    fn for_each_highest(&self, y: usize, mut visit: impl FnMut([usize; 2])) {
        let highest = self.highest_of[2].row(y + RADIUS);
        let earlier = self.highest_of[2].row(y + RADIUS - (WINDOW - 8));
        for &chunk in &self.chunks {
            let highest = highest[chunk].iter().zip(&earlier[chunk]);
            for (x, (rank, (a, b))) in self.ranks.row(y)[chunk].iter().zip(highest).enumerate() {
                let x = chunk * CHUNK + x;
                if rank >= a && rank >= b && (RADIUS..self.width - RADIUS).contains(&x) {
                    visit([y, x]);
                }
            }
        }
    }
}

/// Whether no other pixel in the window is as high.
fn is_alone<R: Rank>(ranks: &LastRows<R>, [y, x]: [usize; 2]) -> bool {
    let rank = ranks.around([y, x], 0)[0];
    let around = (y - RADIUS..=y + RADIUS).flat_map(|y| ranks.around([y, x], RADIUS));
    around.filter(|&&other| other >= rank).count() == 1
}

/// The higher of each value and the one `step` behind it, as far as there is one.
#[multiversion::multiversion(targets("x86_64+avx2", "x86_64+sse4.1"))]
fn higher<R: Rank>(values: &[R], step: usize, output: &mut [R]) {
    for ((output, &a), &b) in output.iter_mut().zip(values).zip(&values[step..]) {
        *output = if b > a { b } else { a };
    }
}

/// From the highest values in the last row and the one before it, in the 2 rows before these, in the 4 before, and in 8, makes
/// those of 2, 4, 8 and all rows, and notes the chunks where a value of the middle row is among the last.
#[multiversion::multiversion(targets("x86_64+avx2", "x86_64+sse4.1"))]
fn highest_down<R: Rank>(
    known: [&[[R; CHUNK]]; 5],
    made: [&mut [[R; CHUNK]]; 3],
    middle: &[[R; CHUNK]],
    chunks: &mut Vec<usize>,
) {
    for (chunk, middle) in middle.iter().enumerate() {
        let mut highest = known[0][chunk];
        for step in 0..4 {
            let others = &known[step + 1][chunk];
            for x in 0..CHUNK {
                highest[x] = if others[x] > highest[x] { others[x] } else { highest[x] };
            }
            if step < 3 {
                made[step][chunk] = highest;
            }
        }
        let mut any = false;
        for x in 0..CHUNK {
            any |= middle[x] == highest[x];
        }
        if any {
            chunks.push(chunk);
        }
    }
}

/// Which neighbours rise and which fall around a place, seen from its highest neighbour so that turning does not matter;
/// `None` where that is not one pixel.
fn fingerprint<R: Rank>(ranks: &LastRows<R>, [y, x]: [usize; 2]) -> Option<u32> {
    const CENTRE: i32 = PATCH_RADIUS as i32;
    const SIDES: [(i32, i32); 4] = [(-1, 0), (0, 1), (1, 0), (0, -1)];
    let mut patch = [[R::default(); PATCH]; PATCH];
    for (row, values) in patch.iter_mut().enumerate() {
        values.copy_from_slice(ranks.around([y + row - PATCH_RADIUS, x], PATCH_RADIUS));
    }
    let at = |dy: i32, dx: i32| patch[(CENTRE + dy) as usize][(CENTRE + dx) as usize];
    let beside = SIDES.map(|(dy, dx)| at(dy, dx));
    let mut side = 0;
    for other in 1..4 {
        side = if beside[other] > beside[side] { other } else { side };
    }
    let is_alone = beside.iter().filter(|&&other| other == beside[side]).count() == 1;
    let (right, left) = ((side + 1) % 4, (side + 3) % 4);
    if !is_alone || beside[right] == beside[left] {
        return None;
    }
    let (u, v) = (SIDES[side], SIDES[if beside[right] > beside[left] { right } else { left }]);
    let mut turned = patch;
    for i in -CENTRE..=CENTRE {
        for j in -CENTRE..=CENTRE {
            turned[(CENTRE + i) as usize][(CENTRE + j) as usize] = at(i * u.0 + j * v.0, i * u.1 + j * v.1);
        }
    }
    let mut bits = 0_u64;
    for (i, row) in turned.iter().enumerate() {
        for j in 0..PATCH - 1 {
            bits = bits << 1 | u64::from(row[j] < row[j + 1]);
            bits = bits << 1 | u64::from(turned[j][i] < turned[j + 1][i]);
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
    // rows of ranks, of the highest, and scratch, whole chunks of each; the list of chunks
    let n_chunks = width.div_ceil(CHUNK);
    n_chunks * (CHUNK * size_of::<f32>() * (16 + 2 + 4 + 8 + 8 + 1) + size_of::<usize>())
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
        let mut ranks = LastRows::new(height.next_power_of_two(), width);
        for (y, row) in samples.chunks_exact(width).enumerate() {
            ranks.row_mut(y).as_flattened_mut()[..width].copy_from_slice(row);
        }
        for y in RADIUS..height.saturating_sub(RADIUS) {
            for x in RADIUS..width.saturating_sub(RADIUS) {
                if is_alone(&ranks, [y, x])
                    && let Some(mark) = fingerprint(&ranks, [y, x])
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

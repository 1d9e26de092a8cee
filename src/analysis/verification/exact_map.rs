//! Whether each grey value of one image always becomes the same grey value of the other.
//!
//! A copy under any grey map, however coarse, obeys this without exception, even where rounding has swallowed the noise.
//! Another exposure breaks it wherever noise crosses the edge of a grey level, as often as a neighbouring pixel does.

use super::grey_image::Image;
use super::judgement::EXCEPTIONS_MAX;
use super::structure::overlap;

/// Pixels looked at, at most, unless one row alone has more.
const N_PIXELS_MAX: usize = 1 << 17;
/// Exceptions of neighbouring pixels that must be seen before anything is said.
const N_EXCEPTIONS_MIN: u32 = 200;
/// Integers of 16 bits, signed or not, have a place in the table.
const OFFSET: f32 = 32_768.0;
const N_VALUES: usize = 32_768 + 65_536;

/// How often the rule is broken.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Exceptions {
    /// Pixels of B that differ from what their value in A becomes elsewhere.
    pub(super) n: u32,
    /// The same for the pixels of B to the right.
    pub(super) n_of_neighbours: u32,
}

impl Exceptions {
    /// Counts in whichever direction has fewer; `None` where a value is no integer of 16 bits.
    pub(super) fn count(a: &Image, b: &Image, shift: (i64, i64)) -> Option<Self> {
        let pairs = Pairs::of(a, b, shift)?;
        let (ab, ba) = (pairs.exceptions(|pair| pair), pairs.exceptions(|(a, b)| (b, a)));
        Some(if (ba.n, ab.n_of_neighbours) < (ab.n, ba.n_of_neighbours) { ba } else { ab })
    }

    /// Exceptions as a part of those of neighbouring pixels; `None` where there are too few to tell.
    pub(super) fn ratio(&self) -> Option<f32> {
        (self.n_of_neighbours >= N_EXCEPTIONS_MIN).then(|| self.n as f32 / self.n_of_neighbours as f32)
    }

    /// Whether the planes must be one exposure.
    pub(super) fn is_one_exposure(&self) -> bool {
        self.ratio().is_some_and(|ratio| ratio <= EXCEPTIONS_MAX)
    }
}

/// Places in the table of the pixels of some common rows.
struct Pairs {
    width: usize,
    values: Vec<(u32, u32)>,
}

impl Pairs {
    fn of(a: &Image, b: &Image, shift: (i64, i64)) -> Option<Self> {
        let rows = overlap(a.height, b.height, shift.0);
        let columns = overlap(a.width, b.width, shift.1);
        let (height, width) = (rows.1 - rows.0, columns.1 - columns.0);
        if height <= 0 || width <= 0 {
            return None;
        }
        let (height, width) = (height as usize, width as usize);
        let n_rows = (N_PIXELS_MAX / width).clamp(1, height);
        let mut values = Vec::with_capacity(n_rows * width);
        for taken in 0..n_rows {
            let y = rows.0 as usize + taken * height / n_rows;
            let row_b = &b.row(y)[columns.0 as usize..][..width];
            let row_a = &a.row((y as i64 + shift.0) as usize)[(columns.0 + shift.1) as usize..][..width];
            for (&a, &b) in row_a.iter().zip(row_b) {
                values.push((place(a)?, place(b)?));
            }
        }
        Some(Self { width, values })
    }

    /// Takes the most frequent image of each value (of two, the first to stay ahead: Boyer and Moore 1991) for the rule.
    fn exceptions(&self, direction: impl Fn((u32, u32)) -> (u32, u32)) -> Exceptions {
        let mut votes = vec![(0_u32, 0_u32); N_VALUES];
        for &pair in &self.values {
            let (from, to) = direction(pair);
            let (elected, lead) = &mut votes[from as usize];
            if *lead == 0 {
                (*elected, *lead) = (to, 1);
            } else if *elected == to {
                *lead += 1;
            } else {
                *lead -= 1;
            }
        }
        let mut exceptions = Exceptions { n: 0, n_of_neighbours: 0 };
        for row in self.values.chunks_exact(self.width) {
            for two in row.windows(2) {
                let (from, to) = direction(two[0]);
                let elected = votes[from as usize].0;
                exceptions.n += u32::from(elected != to);
                exceptions.n_of_neighbours += u32::from(elected != direction(two[1]).1);
            }
        }
        exceptions
    }
}

/// The place of an integer of 16 bits in the table.
fn place(value: f32) -> Option<u32> {
    let place = (value + OFFSET) as u32;
    ((place as usize) < N_VALUES && place as f32 - OFFSET == value).then_some(place)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::analysis::synthesis::Random;

    fn noise(seed: u64, mean: impl Fn(usize) -> f64) -> Image {
        let mut random = Random::new(seed);
        let values = (0..64 * 64).map(|place| (mean(place) + 3.0 * random.normal()).round() as f32).collect();
        Image { height: 64, width: 64, values }
    }

    #[test]
    fn a_coarse_copy_has_no_exception_and_another_exposure_as_many_as_neighbours() {
        let mean = |place: usize| 500.0 + (place % 64) as f64;
        let (a, again) = (noise(1, mean), noise(2, mean));
        let coarse = |image: &Image| {
            let values = image.values.iter().map(|value| (1000.0 - value / 16.0).floor()).collect();
            Image { values, ..*image }
        };
        let copy = Exceptions::count(&coarse(&a), &a, (0, 0)).unwrap();
        assert!(copy.n == 0 && copy.is_one_exposure(), "{copy:?}");
        let other = Exceptions::count(&a, &coarse(&again), (0, 0)).unwrap();
        assert!(!other.is_one_exposure() && other.ratio().unwrap() > 0.7, "{other:?}");
        let shifted = Exceptions::count(&a, &coarse(&a), (0, 1)).unwrap();
        assert!(!shifted.is_one_exposure(), "{shifted:?}");
    }

    #[test]
    fn fractions_wide_numbers_and_constants_say_nothing() {
        let a = noise(1, |_| 0.0);
        let with = |value: f32| Image { values: vec![value; 64 * 64], ..a };
        assert_eq!(Exceptions::count(&a, &with(0.5), (0, 0)), None);
        assert_eq!(Exceptions::count(&a, &with(70_000.0), (0, 0)), None);
        assert_eq!(Exceptions::count(&a, &with(-40_000.0), (0, 0)), None);
        assert_eq!(Exceptions::count(&a, &a, (64, 0)), None);
        assert_eq!(Exceptions::count(&a, &with(3.0), (0, 0)).unwrap().ratio(), None);
    }
}

//! Noise and the energy of details at three scales, from strips of eight rows spread over the plane.

use super::rows::{Rows, Sample};

/// Scales: details of 2, 4 and 8 pixels.
pub(super) const N_SCALES: usize = 3;
/// The energy that stands for none: log2 of an energy too small to be seen.
pub(super) const ENERGY_NONE: f32 = -64.0;
const STRIP_HEIGHT: usize = 1 << N_SCALES;
/// Pixels looked at, at most, unless one strip alone has more.
const N_PIXELS_MAX: usize = 1 << 19;

/// What the details of a plane say.
pub(super) struct Details {
    /// Standard deviation of the noise of one pixel, in grey levels.
    pub(super) noise: f32,
    /// log2 of the mean square of the horizontal, vertical and diagonal details, finest scale first.
    pub(super) energies: [[f32; 3]; N_SCALES],
}

/// Takes orthonormal Haar wavelets of the grey values, each first drawn into `range`.
///
/// The noise is the median absolute diagonal detail of the finest scale divided by 0.6745; where most details
/// are 0 (few photons, masks, pictures without noise) it is their root mean square.
///
/// # References
/// Donoho and Johnstone, "Ideal spatial adaptation by wavelet shrinkage", Biometrika 81 (1994), section 5.
pub(super) fn details<T: Sample>(rows: &Rows<'_, T>, range: (f32, f32)) -> Details {
    let strip_height = STRIP_HEIGHT.min(rows.height);
    let n_strips = rows.height.checked_div(strip_height).unwrap_or(0);
    let n_strips_taken = (N_PIXELS_MAX / (STRIP_HEIGHT * rows.width.max(1))).clamp(1, n_strips.max(1));
    let mut strip = vec![0.0; strip_height * rows.width];
    let mut low = vec![0.0; strip_height / 2 * (rows.width / 2)];
    let mut diagonals = vec![0.0; low.len()];
    let (mut horizontals, mut verticals) = (vec![0.0; rows.width / 2], vec![0.0; rows.width / 2]);
    let mut finest = Vec::with_capacity(n_strips.min(n_strips_taken) * low.len());
    let mut energies = [[Energy::default(); 3]; N_SCALES];
    for taken in 0..n_strips.min(n_strips_taken) {
        let top = taken * n_strips / n_strips_taken * strip_height;
        for (y, row) in strip.chunks_exact_mut(rows.width).enumerate() {
            rows.read(top + y, range, row);
        }
        let mut width = rows.width;
        let mut n = strip.len();
        for (scale, sums) in energies.iter_mut().enumerate() {
            let n_low = n / width.max(1) / 2 * (width / 2);
            let bands = Bands { low: &mut low[..n_low], diagonals: &mut diagonals[..n_low] };
            transform(&strip[..n], width, bands, [&mut horizontals, &mut verticals], sums);
            if scale == 0 {
                // not negative: their bits ascend with them
                finest.extend(diagonals.iter().map(|diagonal| diagonal.abs().to_bits()));
            }
            strip[..n_low].copy_from_slice(&low[..n_low]);
            (n, width) = (n_low, width / 2);
        }
    }
    let diagonal = energies[0][2];
    let noise = match median(&mut finest) / 0.6745 {
        0.0 => diagonal.mean().sqrt() as f32,
        noise => noise,
    };
    Details { noise, energies: energies.map(|bands| bands.map(Energy::log2)) }
}

/// What a transform leaves: a quarter as many values each.
struct Bands<'a> {
    low: &'a mut [f32],
    diagonals: &'a mut [f32],
}

/// Splits rows of `width` values into the low band and the diagonal details, and adds up the squares of all details.
/// The horizontal and vertical ones are scratch, of at least half the width each.
fn transform(
    values: &[f32],
    width: usize,
    bands: Bands<'_>,
    [horizontals, verticals]: [&mut [f32]; 2],
    sums: &mut [Energy; 3],
) {
    let half_width = width / 2;
    if half_width == 0 {
        return;
    }
    let rows = values.chunks_exact(2 * width);
    let bands = bands.low.chunks_exact_mut(half_width).zip(bands.diagonals.chunks_exact_mut(half_width));
    let (horizontals, verticals) = (&mut horizontals[..half_width], &mut verticals[..half_width]);
    for (rows, (low, diagonals)) in rows.zip(bands) {
        split(rows.split_at(width), low, [horizontals, verticals, diagonals]);
        for (sum, details) in sums.iter_mut().zip([&*horizontals, &*verticals, &*diagonals]) {
            sum.add(sum_of_squares(details), half_width);
        }
    }
}

/// Splits two rows, in blocks of two by two values.
#[multiversion::multiversion(targets("x86_64+avx2", "x86_64+sse4.1"))]
fn split(
    (top, bottom): (&[f32], &[f32]),
    low: &mut [f32],
    [horizontals, verticals, diagonals]: [&mut [f32]; 3],
) {
    let n = low.len();
    let (top, bottom) = (&top[..2 * n], &bottom[..2 * n]);
    let (horizontals, verticals) = (&mut horizontals[..n], &mut verticals[..n]);
    let diagonals = &mut diagonals[..n];
    for x in 0..n {
        let [a, b, c, d] = [top[2 * x], top[2 * x + 1], bottom[2 * x], bottom[2 * x + 1]];
        low[x] = (a + b + c + d) / 2.0;
        horizontals[x] = (a - b + c - d) / 2.0;
        verticals[x] = (a + b - c - d) / 2.0;
        diagonals[x] = (a - b - c + d) / 2.0;
    }
}

/// Adds up squares in lanes, side by side.
#[multiversion::multiversion(targets("x86_64+avx2", "x86_64+sse4.1"))]
fn sum_of_squares(values: &[f32]) -> f64 {
    const LANES: usize = 8;
    let mut squares = [0.0_f32; LANES];
    let mut chunks = values.chunks_exact(LANES);
    for chunk in &mut chunks {
        for lane in 0..LANES {
            squares[lane] += chunk[lane] * chunk[lane];
        }
    }
    for (square, value) in squares.iter_mut().zip(chunks.remainder()) {
        *square += value * value;
    }
    let mut sum = 0.0;
    for square in squares {
        sum += f64::from(square);
    }
    sum
}

#[derive(Clone, Copy, Default)]
struct Energy {
    sum: f64,
    n: u64,
}

impl Energy {
    fn add(&mut self, squares: f64, n: usize) {
        self.sum += squares;
        self.n += n as u64;
    }

    fn mean(self) -> f64 {
        self.sum / self.n.max(1) as f64
    }

    fn log2(self) -> f32 {
        (self.mean().log2() as f32).max(ENERGY_NONE)
    }
}

fn median(bits: &mut [u32]) -> f32 {
    if bits.is_empty() {
        return 0.0;
    }
    let middle = bits.len() / 2;
    f32::from_bits(*bits.select_nth_unstable(middle).1)
}

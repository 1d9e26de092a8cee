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
    let mut finest = Vec::with_capacity(n_strips.min(n_strips_taken) * (strip_height / 2) * (rows.width / 2));
    let mut energies = [[Energy::default(); 3]; N_SCALES];
    for taken in 0..n_strips.min(n_strips_taken) {
        let top = taken * n_strips / n_strips_taken * strip_height;
        for (y, row) in strip.chunks_exact_mut(rows.width).enumerate() {
            rows.read(top + y, range, row);
        }
        let (mut height, mut width) = (strip_height, rows.width);
        for (scale, sums) in energies.iter_mut().enumerate() {
            transform(&mut strip, (height, width), sums, |diagonal| {
                if scale == 0 {
                    finest.push(diagonal.abs());
                }
            });
            (height, width) = (height / 2, width / 2);
        }
    }
    let diagonal = energies[0][2];
    let noise = match median(&mut finest) / 0.6745 {
        0.0 => diagonal.mean().sqrt() as f32,
        noise => noise,
    };
    Details { noise, energies: energies.map(|bands| bands.map(Energy::log2)) }
}

/// Replaces the values by their low band (a quarter as many, at the front), and adds up the three detail bands.
fn transform(
    values: &mut [f32],
    (height, width): (usize, usize),
    sums: &mut [Energy; 3],
    mut diagonal: impl FnMut(f32),
) {
    let half_width = width / 2;
    for y in 0..height / 2 {
        for x in 0..half_width {
            let top = 2 * y * width + 2 * x;
            let [a, b, c, d] = [values[top], values[top + 1], values[top + width], values[top + width + 1]];
            sums[0].add((a - b + c - d) / 2.0);
            sums[1].add((a + b - c - d) / 2.0);
            sums[2].add((a - b - c + d) / 2.0);
            diagonal((a - b - c + d) / 2.0);
            // the place has been read: it lies at or before `top`
            values[y * half_width + x] = (a + b + c + d) / 2.0;
        }
    }
}

#[derive(Clone, Copy, Default)]
struct Energy {
    sum: f64,
    n: u64,
}

impl Energy {
    fn add(&mut self, detail: f32) {
        self.sum += f64::from(detail) * f64::from(detail);
        self.n += 1;
    }

    fn mean(self) -> f64 {
        self.sum / self.n.max(1) as f64
    }

    fn log2(self) -> f32 {
        (self.mean().log2() as f32).max(ENERGY_NONE)
    }
}

fn median(values: &mut [f32]) -> f32 {
    if values.is_empty() {
        return 0.0;
    }
    let middle = values.len() / 2;
    *values.select_nth_unstable_by(middle, f32::total_cmp).1
}

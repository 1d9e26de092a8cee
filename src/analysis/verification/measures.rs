//! Stage 5: S, R and Q of two aligned images.

use super::cells::Cells;
use super::grey_image::Image;
use super::grey_map::GreyMap;
use super::noise::{CELL_SIDES, NoiseMatch, coarse_correlation, levels};
use super::structure::{Moments, local_means};

/// Slow variation is the mean over this part of the longer side, either way.
const SLOW_PART: usize = 8;
/// Cells without which nothing is measured.
const N_CELLS_MIN: usize = 64;

/// S, R, Q and what they stand on.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Measures {
    pub(super) s: f32,
    pub(super) r_coarse: Option<f32>,
    /// R, own noise and levels, from cells of four pixels; Q the smaller of those of four and eight pixels.
    pub(super) noise: Option<NoiseMatch>,
}

impl Measures {
    /// Measures; `shift` rows and columns of A come before the first of B, `step` is that of the grey values of B. `None`
    /// where too little is common, or constant.
    pub(super) fn of(
        a: &Image,
        b: &Image,
        shift: (i64, i64),
        (is_inverted, step): (bool, f64),
    ) -> Option<Self> {
        let cells = Cells::of(a, b, shift);
        if cells.len() < N_CELLS_MIN {
            return None;
        }
        let map = GreyMap::fit(&cells.means_a, &cells.means_b, is_inverted)?;
        let levels_of_cells = levels(&cells);
        let sign = if is_inverted { -1.0 } else { 1.0 };
        let noise = NoiseMatch::of((&cells, CELL_SIDES[0]), &levels_of_cells, &map, step).map(|noise| {
            let coarser = cells.coarser();
            let q_coarser = GreyMap::fit(&coarser.means_a, &coarser.means_b, is_inverted)
                .and_then(|map| NoiseMatch::of((&coarser, CELL_SIDES[1]), &levels(&coarser), &map, step))
                .map_or(noise.q, |noise| noise.q);
            NoiseMatch { r: sign * noise.r, q: noise.q.min(q_coarser), ..noise }
        });
        Some(Self {
            s: structure_correlation(&cells, &map),
            r_coarse: coarse_correlation(&cells, &levels_of_cells).map(|r| sign * r),
            noise,
        })
    }
}

/// S: what is left of both images between noise and illumination, correlated after the grey map.
fn structure_correlation(cells: &Cells, map: &GreyMap) -> f32 {
    let radius = (cells.height.max(cells.width) / SLOW_PART).max(3);
    let band = |values: Vec<f32>| {
        let image = cells.image(values);
        let (smooth, slow) = (local_means(&image, 1), local_means(&image, radius));
        smooth.into_iter().zip(slow).map(|(smooth, slow)| smooth - slow)
    };
    let mapped = cells.means_a.iter().map(|&mean| map.apply(mean)).collect();
    let mut moments = Moments::default();
    band(mapped).zip(band(cells.means_b.clone())).for_each(|(a, b)| moments.add(a, b));
    moments.correlation()
}

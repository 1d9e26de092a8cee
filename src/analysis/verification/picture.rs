//! Two planes side by side, as the verification sees them, for people to look at.

use std::io::Cursor;

use image::codecs::png::{CompressionType, FilterType, PngEncoder};
use image::{ExtendedColorType, ImageEncoder};

use super::cells::{CELL, Cells, Details};
use super::grey_image::Image;
use super::grey_map::{GreyMap, ascending};
use super::noise::levels;
use super::placement::turned_shape;
use super::structure::local_means;
use super::{Placement, Prepared};

/// Quantiles of the grey values that are drawn black and white.
const CLIP: (f64, f64) = (0.005, 0.998);
/// Differences that are drawn black and white, in units of the noise of two exposures.
const DIFFERENCE_MAX: f32 = 4.0;
/// Standard deviation of rounding to whole numbers.
const ROUNDING: f32 = 0.3;
/// Cells either way over which the correlation of the noise is taken.
const RADIUS_CELLS: usize = 4;
/// White pixels between two panels.
const GAP: usize = 8;
const MIDDLE: u8 = 128;
const WHITE: u8 = 255;

/// A picture of two planes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Picture {
    /// A PNG of 8 bits, grey.
    pub png: Vec<u8>,
    /// Height and width of the common part that is shown; `None` where no place is known, and both frames are shown as
    /// they are.
    pub common: Option<(usize, usize)>,
}

/// A picture that cannot be drawn: the encoder's reason.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the picture cannot be drawn: {0}")]
pub struct PictureError(String);

impl Picture {
    /// Draws two planes. Where `placement` says how B lies in A, and whether dark and bright are exchanged, four panels show
    /// the common part on the grid of the coarser plane, from left to right:
    ///
    /// 1. A, turned and shifted so that it lies on B; percentile-stretched (0.5 % black, 0.2 % white).
    /// 2. B, stretched in the same way.
    /// 3. B less A, after the grey values of A were mapped to those of B: grey where nothing differs, black and white
    ///    from four times what two exposures would differ by their finest details there.
    /// 4. The local correlation of the finest details, which are noise: white where the noise is the same (R = 1), grey
    ///    where it is another (0), over 36 pixels. Steep places are left out.
    ///
    /// Without a place, or where nothing is common, two panels show A and B as they are, stretched.
    ///
    /// # Errors
    /// For planes without pixels.
    pub fn draw(
        a: &Prepared,
        b: &Prepared,
        placement: Option<(&Placement, bool)>,
    ) -> Result<Self, PictureError> {
        let aligned = placement.and_then(|(placement, is_inverted)| {
            let (a, b) = aligned(a, b, placement)?;
            Some((a, b, is_inverted))
        });
        let Some((a, b, is_inverted)) = aligned else {
            let panels = [a, b].map(|plane| (plane.shape(), stretched(plane.image())));
            return Ok(Self { png: to_png(&panels)?, common: None });
        };
        let cells = Cells::of(&a, &b, (0, 0));
        let shape = a.shape();
        let panels = [
            (shape, stretched(&a)),
            (shape, stretched(&b)),
            (shape, difference(&a, &b, &cells, is_inverted)),
            (shape, agreement(&cells, shape, is_inverted)),
        ];
        Ok(Self { png: to_png(&panels)?, common: Some(shape) })
    }
}

/// The common part of both, A turned; `None` where there is none.
fn aligned(a: &Prepared, b: &Prepared, placement: &Placement) -> Option<(Image, Image)> {
    if placement.scale < 1.0 {
        // B is the finer one
        let (b, a) = aligned(b, a, &placement.inverse(a.shape(), b.shape()))?;
        // as B lies, so that both ways show the same
        let turn = placement.orientation;
        return Some((a.turned(turn), b.turned(turn)));
    }
    let turned = a.image().clone().turned(placement.orientation);
    let shape = turned_shape(a.shape(), placement.orientation);
    let (rows, first_row) = common((shape.0, b.shape().0), placement.scale, placement.shift_row_px)?;
    let (columns, first_column) = common((shape.1, b.shape().1), placement.scale, placement.shift_column_px)?;
    let scale = placement.scale;
    let first =
        (first_row * scale + placement.shift_row_px, first_column * scale + placement.shift_column_px);
    let a = turned.resampled((rows, columns), first, (scale, scale));
    let b = b.image().resampled((rows, columns), (first_row, first_column), (1.0, 1.0));
    Some((a, b))
}

/// How many pixels of B lie in A along one side, and the first of them; half a pixel may stick out.
fn common((n_a, n_b): (usize, usize), scale: f64, shift: f64) -> Option<(usize, f64)> {
    let first = (-shift / scale - 0.5).ceil().max(0.0);
    let end = ((n_a as f64 - shift) / scale + 0.5).floor().min(n_b as f64);
    (end > first).then_some(((end - first) as usize, first))
}

/// Grey values between two quantiles.
fn stretched(image: &Image) -> Vec<u8> {
    let order = ascending(&image.values);
    let Some(last) = order.len().checked_sub(1) else { return Vec::new() };
    let quantile = |p: f64| image.values[order[(last as f64 * p).round() as usize]];
    let (low, high) = (quantile(CLIP.0), quantile(CLIP.1));
    if high <= low {
        return vec![MIDDLE; image.values.len()];
    }
    image.values.iter().map(|value| ((value - low) / (high - low) * 255.0).round() as u8).collect()
}

/// B less the mapped A, in units of what two exposures would differ there.
fn difference(a: &Image, b: &Image, cells: &Cells, is_inverted: bool) -> Vec<u8> {
    // means of cells are free of noise, pixels follow a map that bends within a cell: the better one counts
    let maps = [(&cells.means_a, &cells.means_b), (&a.values, &b.values)];
    let mapped = maps.into_iter().filter(|_| cells.len() > 0).filter_map(|(from, to)| {
        let map = GreyMap::fit(from, to, is_inverted)?;
        let values: Vec<f32> = a.values.iter().map(|&value| map.apply(value)).collect();
        let rest: f64 = values.iter().zip(&b.values).map(|(a, b)| f64::from((a - b).abs())).sum();
        Some((rest, values))
    });
    let Some((_, values)) = mapped.min_by(|one, other| one.0.total_cmp(&other.0)) else {
        return vec![MIDDLE; b.values.len()];
    };
    let mapped = Image { values, ..*a };
    let of_mapped = Cells::of(&mapped, b, (0, 0));
    let noise = |sum: fn(&Details) -> f32| {
        local_means(&of_mapped.image(of_mapped.details.iter().map(sum).collect()), RADIUS_CELLS)
    };
    let units: Vec<f32> = noise(|details| details.aa)
        .into_iter()
        .zip(noise(|details| details.bb))
        // four details a cell; two exposures; at least the rounding of whole numbers
        .map(|(of_a, of_b)| (of_a.max(of_b) / 4.0).sqrt().max(ROUNDING) * 2.0_f32.sqrt())
        .collect();
    let unit_at = |place: usize| {
        let (row, column) = (place / a.width / CELL, place % a.width / CELL);
        units[row.min(cells.height - 1) * cells.width + column.min(cells.width - 1)]
    };
    let pairs = b.values.iter().zip(&mapped.values).enumerate();
    pairs.map(|(place, (b, a))| signed((b - a) / (unit_at(place) * DIFFERENCE_MAX))).collect()
}

/// The local correlation of the finest details, steep places left out: the edges of what is seen are no noise.
fn agreement(cells: &Cells, (height, width): (usize, usize), is_inverted: bool) -> Vec<u8> {
    let mut is_flat = vec![false; cells.len()];
    levels(cells).into_iter().flatten().for_each(|place| is_flat[place] = true);
    let sums = |value: fn(&Details) -> f32| {
        let of_cell = |(details, is_flat): (&Details, &bool)| if *is_flat { value(details) } else { 0.0 };
        let values = cells.details.iter().zip(&is_flat).map(of_cell).collect();
        local_means(&cells.image(values), RADIUS_CELLS)
    };
    let (ab, aa, bb) = (sums(|d| d.ab), sums(|d| d.aa), sums(|d| d.bb));
    let sign = if is_inverted { -1.0 } else { 1.0 };
    let grey: Vec<u8> = ab
        .iter()
        .zip(aa.iter().zip(&bb))
        .map(|(ab, (aa, bb))| if aa * bb > 0.0 { signed(sign * ab / (aa * bb).sqrt()) } else { MIDDLE })
        .collect();
    let at = |y: usize, x: usize| {
        let (row, column) = (y / CELL, x / CELL);
        if row < cells.height && column < cells.width { grey[row * cells.width + column] } else { MIDDLE }
    };
    let at = &at;
    (0..height).flat_map(|y| (0..width).map(move |x| at(y, x))).collect()
}

/// -1 to 1 as black to white.
fn signed(value: f32) -> u8 {
    (f32::from(MIDDLE) + 127.0 * value.clamp(-1.0, 1.0)).round() as u8
}

/// Panels beside each other on white.
fn to_png(panels: &[((usize, usize), Vec<u8>)]) -> Result<Vec<u8>, PictureError> {
    let height = panels.iter().map(|((height, _), _)| *height).max().unwrap_or(0);
    let width = panels.iter().map(|((_, width), _)| width + GAP).sum::<usize>().saturating_sub(GAP);
    let mut grey = vec![WHITE; height * width];
    let mut left = 0;
    for ((_, panel_width), values) in panels {
        for (row, line) in values.chunks_exact((*panel_width).max(1)).enumerate() {
            grey[row * width + left..][..*panel_width].copy_from_slice(line);
        }
        left += panel_width + GAP;
    }
    let side = |pixels: usize| u32::try_from(pixels).map_err(|error| PictureError(error.to_string()));
    let mut bytes = Cursor::new(Vec::new());
    PngEncoder::new_with_quality(&mut bytes, CompressionType::Fast, FilterType::Adaptive)
        .write_image(&grey, side(width)?, side(height)?, ExtendedColorType::L8)
        .map_err(|error| PictureError(error.to_string()))?;
    Ok(bytes.into_inner())
}

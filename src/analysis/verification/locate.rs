//! Finds where one image lies in another, from reduced images down to whole pixels.

use std::borrow::Cow;

use super::grey_image::Image;
use super::placement::{Shape, turned_shape};
use super::prepared::Prepared;
use super::shift::{pyramid, refined_shift};
use super::structure::{Match, best_match, overlap};

/// Side of the reduced images, at most.
const SIDE_REDUCED: usize = 128;
/// Sizes that differ by less are the same; ratios of height and width that differ by more are no resizing.
const SCALE_TOLERANCE: f64 = 0.01;
const ASPECT_TOLERANCE: f64 = 0.03;
/// Scale and correlation of a resized copy that leave no doubt: a crop is never that much smaller and that much alike.
const SCALE_SURE: f64 = 1.5;
const CORRELATION_SURE: f32 = 0.95;
/// Least common part of a frame and its resized copy.
const OVERLAP_RESIZED: f64 = 0.9;

/// Image B in image A: A turned and on the grid of B, and how far it is shifted.
pub(super) struct Located<'p> {
    pub(super) orientation: u8,
    /// Pixels of A per pixel of B.
    pub(super) scale: f64,
    /// Rows and columns of the turned A before the first of B, in pixels of B.
    pub(super) shift: (i64, i64),
    /// Correlation of the reduced images.
    pub(super) correlation: f32,
    /// Turned A on the grid of B.
    pub(super) a: Cow<'p, Image>,
    pub(super) b: Cow<'p, Image>,
}

impl Located<'_> {
    /// Common part of B, and of A.
    pub(super) fn overlaps(&self) -> (f64, f64) {
        let rows = overlap(self.a.height, self.b.height, self.shift.0);
        let columns = overlap(self.a.width, self.b.width, self.shift.1);
        let common = ((rows.1 - rows.0).max(0) * (columns.1 - columns.0).max(0)) as f64;
        (common / self.b.values.len().max(1) as f64, common / self.a.values.len().max(1) as f64)
    }
}

/// Looks for B, the smaller image, in A. `orientations` are tried for parts; the first also for resized frames, when
/// `is_whole` says that the frames look alike as a whole.
pub(super) fn locate<'p>(
    a: &'p Prepared,
    b: &'p Prepared,
    orientations: &[u8],
    (is_whole, overlap_min): (bool, f64),
) -> Located<'p> {
    let n_levels = n_levels(&[a.shape(), b.shape()]);
    let (levels_a, levels_b) = (a.levels(n_levels), b.levels(n_levels));
    let first = orientations.first().copied().unwrap_or(0);
    let resized = if is_whole { resized(a.image(), b, first) } else { None };
    let is_sure = resized.as_ref().is_some_and(Resized::is_sure);
    let (smallest_a, smallest_b) = (&levels_a[n_levels - 1], &levels_b[n_levels - 1]);
    let found = if is_sure { None } else { best_match(smallest_a, smallest_b, orientations, overlap_min) };
    match (found, resized) {
        (found, Some(resized))
            if found.is_none_or(|found| found.correlation.abs() < resized.place.correlation.abs()) =>
        {
            let place = Match { orientation: first, ..resized.place };
            refined(Cow::Owned(resized.levels_a), resized.levels_b, place, resized.scale)
        }
        (Some(found), _) if found.orientation == 0 => refined(levels_a, levels_b, found, 1.0),
        (Some(found), _) => {
            let turned = a.image().clone().turned(found.orientation);
            refined(Cow::Owned(pyramid(turned, n_levels)), levels_b, found, 1.0)
        }
        (None, _) => {
            let (a, b) = (Cow::Borrowed(a.image()), Cow::Borrowed(b.image()));
            Located { orientation: 0, scale: 1.0, shift: (0, 0), correlation: 0.0, a, b }
        }
    }
}

/// A on the grid of B and B, each as a pyramid, with the place on the smallest level.
struct Resized<'p> {
    levels_a: Vec<Image>,
    levels_b: Cow<'p, [Image]>,
    place: Match,
    scale: f64,
}

impl Resized<'_> {
    /// Whether no place at the same scale need be looked for.
    fn is_sure(&self) -> bool {
        self.scale >= SCALE_SURE && self.place.correlation.abs() >= CORRELATION_SURE
    }
}

/// Where A is a resized B as a whole.
fn resized<'p>(a: &Image, b: &'p Prepared, orientation: u8) -> Option<Resized<'p>> {
    let (shape, shape_b) = (turned_shape(a.shape(), orientation), b.shape());
    let pitch = (shape.0 as f64 / shape_b.0.max(1) as f64, shape.1 as f64 / shape_b.1.max(1) as f64);
    let scale = (pitch.0 * pitch.1).sqrt();
    if scale < 1.0 + SCALE_TOLERANCE || (pitch.0 / pitch.1).ln().abs() > ASPECT_TOLERANCE {
        return None;
    }
    let resampled = a.clone().turned(orientation).resampled(shape_b, (0.0, 0.0), pitch);
    let n_levels = n_levels(&[shape_b]);
    let (levels_a, levels_b) = (pyramid(resampled, n_levels), b.levels(n_levels));
    let place = best_match(&levels_a[n_levels - 1], &levels_b[n_levels - 1], &[0], OVERLAP_RESIZED)?;
    Some(Resized { levels_a, levels_b, place, scale })
}

/// Follows the shift down to whole pixels.
fn refined<'p>(
    levels_a: Cow<'p, [Image]>,
    levels_b: Cow<'p, [Image]>,
    place: Match,
    scale: f64,
) -> Located<'p> {
    let shift = refined_shift(&levels_a, &levels_b, place.shift);
    let Match { orientation, correlation, .. } = place;
    Located { orientation, scale, shift, correlation, a: first_of(levels_a), b: first_of(levels_b) }
}

/// Halvings, with the whole image, until no side is longer than the reduced images may be.
fn n_levels(shapes: &[Shape]) -> usize {
    let longest = shapes.iter().map(|shape| shape.0.max(shape.1)).max().unwrap_or(0);
    let mut n_levels = 1;
    while longest >> (n_levels - 1) > SIDE_REDUCED {
        n_levels += 1;
    }
    n_levels
}

fn first_of(levels: Cow<'_, [Image]>) -> Cow<'_, Image> {
    match levels {
        Cow::Borrowed(levels) => Cow::Borrowed(&levels[0]),
        Cow::Owned(levels) => Cow::Owned(levels.into_iter().next().expect("a pyramid has a first level")),
    }
}

//! Finds where one image lies in another, from reduced images down to whole pixels.

use super::image::Image;
use super::placement::{Shape, turned_shape};
use super::shift::{pyramid, refined_shift};
use super::structure::{Match, best_match, overlap};

/// Side of the reduced images, at most.
const SIDE_REDUCED: usize = 128;
/// Sizes that differ by less are the same; ratios of height and width that differ by more are no resizing.
const SCALE_TOLERANCE: f64 = 0.01;
const ASPECT_TOLERANCE: f64 = 0.03;
/// Least common part of a frame and its resized copy.
const OVERLAP_RESIZED: f64 = 0.9;

/// Image B in image A: A turned and on the grid of B, and how far it is shifted.
pub(super) struct Located {
    pub(super) orientation: u8,
    /// Pixels of A per pixel of B.
    pub(super) scale: f64,
    /// Rows and columns of the turned A before the first of B, in pixels of B.
    pub(super) shift: (i64, i64),
    /// Correlation of the reduced images.
    pub(super) correlation: f32,
    /// Turned A on the grid of B.
    pub(super) a: Image,
    pub(super) b: Image,
}

impl Located {
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
pub(super) fn locate(
    a: Image,
    b: Image,
    orientations: &[u8],
    (is_whole, overlap_min): (bool, f64),
) -> Located {
    let n_levels = n_levels(&[a.shape(), b.shape()]);
    let levels_b = pyramid(b, n_levels);
    let levels_a = pyramid(a, n_levels);
    let found = best_match(&levels_a[n_levels - 1], &levels_b[n_levels - 1], orientations, overlap_min);
    let first = orientations.first().copied().unwrap_or(0);
    let (a, b) = (first_of(levels_a), first_of(levels_b));
    let resized = if is_whole { resized(&a, &b, first) } else { None };
    match (found, resized) {
        (found, Some((resized, place, scale)))
            if found.is_none_or(|found| found.correlation.abs() < place.correlation.abs()) =>
        {
            refined(resized, b, Match { orientation: 0, ..place }, scale, first)
        }
        (Some(found), _) => refined(a.turned(found.orientation), b, found, 1.0, found.orientation),
        (None, _) => Located { orientation: 0, scale: 1.0, shift: (0, 0), correlation: 0.0, a, b },
    }
}

/// A on the grid of B, where A is a resized B as a whole, with the place on reduced images.
fn resized(a: &Image, b: &Image, orientation: u8) -> Option<(Image, Match, f64)> {
    let shape = turned_shape(a.shape(), orientation);
    let pitch = (shape.0 as f64 / b.height.max(1) as f64, shape.1 as f64 / b.width.max(1) as f64);
    let scale = (pitch.0 * pitch.1).sqrt();
    if scale < 1.0 + SCALE_TOLERANCE || (pitch.0 / pitch.1).ln().abs() > ASPECT_TOLERANCE {
        return None;
    }
    let resized = a.clone().turned(orientation).resampled(b.shape(), (0.0, 0.0), pitch);
    let n_levels = n_levels(&[b.shape()]);
    let reduced = |image: &Image| pyramid(image.clone(), n_levels).pop();
    let place = best_match(&reduced(&resized)?, &reduced(b)?, &[0], OVERLAP_RESIZED)?;
    Some((resized, place, scale))
}

/// Follows the shift down to whole pixels.
fn refined(a: Image, b: Image, place: Match, scale: f64, orientation: u8) -> Located {
    let n_levels = n_levels(&[a.shape(), b.shape()]);
    let (levels_a, levels_b) = (pyramid(a, n_levels), pyramid(b, n_levels));
    let shift = refined_shift(&levels_a, &levels_b, place.shift);
    let (a, b) = (first_of(levels_a), first_of(levels_b));
    Located { orientation, scale, shift, correlation: place.correlation, a, b }
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

fn first_of(levels: Vec<Image>) -> Image {
    levels.into_iter().next().expect("a pyramid has a first level")
}

//! Finds the nuclei of one plane: a label image, a table of regions and the figures of the plane.
//!
//! The chain, from pixels to objects: blur into 16-bit levels, background and noise, Otsu's level and the local mean,
//! over a window that follows the nuclei's size, give a mask; its connected components are split by flooding a surface
//! made of the distance to the edge and of the intensity; what is too small or too large is dropped; what is left is
//! measured.

mod background;
mod blur;
mod centroids;
mod chain;
mod clump;
mod components;
mod counts;
mod distance;
mod edges;
mod focus;
pub mod geojson;
mod histogram;
mod holes;
mod hull;
mod intensity;
mod label_runs;
mod levels;
mod mask;
pub mod outline;
pub mod overlay;
mod patch;
mod perimeter;
mod quality;
mod region;
mod settings;
pub mod stack;
pub mod table;
mod watershed;

pub use centroids::Centroids;
pub use quality::{PlaneQuality, QualityFlag};
pub use region::{Region, measure};
pub use settings::SegmentationSettings;

use crate::formats::plane::Plane;
use background::Background;
use chain::{Finder, Found, LevelImage, RadiusRange, floor_level};
use focus::focus;
use levels::Levels;

/// Which object each pixel belongs to.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct LabelImage {
    /// Rows (Y).
    pub height: usize,
    /// Columns (X).
    pub width: usize,
    /// How many objects there are.
    pub n_objects: u32,
    /// `height * width` values, row-major: 0 is background, `1..=n_objects` the objects in raster order of their
    /// first pixel.
    pub labels: Vec<u32>,
}

impl LabelImage {
    /// The labels as 16-bit numbers, or `None` where there are more than 65 535 objects.
    pub fn to_u16(&self) -> Option<Vec<u16>> {
        u16::try_from(self.n_objects).ok()?;
        Some(self.labels.iter().map(|&label| label as u16).collect())
    }
}

/// What was found on one plane.
#[derive(Debug, Clone, PartialEq)]
pub struct Segmentation {
    /// Which object each pixel belongs to.
    pub labels: LabelImage,
    /// The objects: `objects[i]` has label `i + 1`.
    pub objects: Vec<Region>,
    /// The figures of the whole plane.
    pub quality: PlaneQuality,
}

/// Why a plane was not segmented.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum SegmentationError {
    /// The plane has several samples per pixel.
    #[error("expected a plane of one sample per pixel, found a colour plane of {n_samples}")]
    Colour {
        /// Samples per pixel found.
        n_samples: usize,
    },
    /// The plane's shape and its number of samples contradict each other.
    #[error("expected {height} x {width} samples, found {n_samples}")]
    Shape {
        /// Rows stated.
        height: usize,
        /// Columns stated.
        width: usize,
        /// Samples found.
        n_samples: usize,
    },
    /// The plane has more pixels than a 31-bit index can name.
    #[error("expected a plane of at most 2147483647 pixels, found {height} x {width}")]
    TooLarge {
        /// Rows.
        height: usize,
        /// Columns.
        width: usize,
    },
    /// A setting is outside its range.
    #[error("expected {name} {expected}, found {value}")]
    Setting {
        /// The setting's name.
        name: &'static str,
        /// The range in words.
        expected: &'static str,
        /// What was given.
        value: f64,
    },
    /// The PNG encoder refused the overlay.
    #[error("the overlay could not be encoded: {0}")]
    Encode(String),
}

/// Finds the nuclei of `plane`.
///
/// `pixel_size_um` is the side of a pixel in micrometres (finite and above 0, or it is ignored); with it the
/// limits of the nuclear diameter in `settings` apply.
///
/// # Errors
/// [`SegmentationError::Colour`] for a plane of several samples per pixel, [`SegmentationError::Shape`] where the
/// plane contradicts itself, [`SegmentationError::TooLarge`] above 2^31 - 1 pixels, and
/// [`SegmentationError::Setting`] for a setting outside its range.
pub fn segment(
    plane: &Plane,
    pixel_size_um: Option<f64>,
    settings: &SegmentationSettings,
) -> Result<Segmentation, SegmentationError> {
    segment_observed(plane, pixel_size_um, settings, &mut |_| ())
}

/// A step of the chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Step {
    /// Levels and blur.
    Blur,
    /// Histogram, background, noise, Otsu's level.
    Background,
    /// Mask, components and typical radius in the first window.
    RoughRadius,
    /// Mask and components in the window that fits the nuclei.
    Mask,
    /// Which components stand out of their surroundings.
    Candidates,
    /// The typical radius.
    Radius,
    /// Distance transform, surface, watershed and rims of every component.
    Split,
    /// The label image.
    Labels,
    /// The focus measure.
    Focus,
    /// The table of regions.
    Table,
}

/// The same as [`segment`], and calls `done` at the end of every step: who measures brings the clock.
///
/// # Errors
/// As [`segment`].
pub fn segment_observed(
    plane: &Plane,
    pixel_size_um: Option<f64>,
    settings: &SegmentationSettings,
    done: &mut dyn FnMut(Step),
) -> Result<Segmentation, SegmentationError> {
    settings.check()?;
    check_shape(plane)?;
    let (height, width) = (plane.height, plane.width);
    let map = Levels::of(plane);
    let levels = blur::blur_plane(plane, &map, settings.blur_sigma_px);
    done(Step::Blur);
    let background = Background::of(&levels, width, map.quantum / 12.0_f64.sqrt());
    done(Step::Background);
    let floor = floor_level(&background, settings);
    let image = LevelImage { levels: &levels, height, width };
    let found = match floor {
        Some(floor) => {
            let finder = Finder { image, background: &background, floor, settings };
            finder.find(radius_range(pixel_size_um, settings), done)
        }
        None => Found { labels: vec![0; height * width], ..Found::default() },
    };
    let focus = focus(&levels, width, background.contrast());
    done(Step::Focus);
    drop(levels);
    let labels = LabelImage { height, width, n_objects: found.n_objects, labels: found.labels };
    let objects = measure(plane, &labels);
    done(Step::Table);
    let mut quality = PlaneQuality {
        n_objects: labels.n_objects,
        diameter_median_px: median_diameter(&objects),
        threshold: floor.map(|level| map.sample(f64::from(level))),
        background: map.sample(background.level),
        noise_sd: background.noise_sd * map.step / blur::noise_gain(settings.blur_sigma_px),
        foreground_fraction: objects.iter().map(|object| object.area).sum::<u64>() as f64
            / (height * width).max(1) as f64,
        focus,
        saturated_fraction: map.saturated_fraction,
        n_debris: found.n_debris,
        flags: Vec::new(),
    };
    quality.set_flags(map.all_finite);
    Ok(Segmentation { labels, objects, quality })
}

/// The limits of the nuclear diameter as radii in pixels; without a pixel size there are none.
fn radius_range(pixel_size_um: Option<f64>, settings: &SegmentationSettings) -> RadiusRange {
    match pixel_size_um.filter(|um| um.is_finite() && *um > 0.0) {
        Some(um) => {
            RadiusRange { min: settings.diameter_min_um / 2.0 / um, max: settings.diameter_max_um / 2.0 / um }
        }
        None => RadiusRange { min: 0.0, max: f64::INFINITY },
    }
}

fn median_diameter(objects: &[Region]) -> Option<f64> {
    let mut diameters: Vec<f64> = objects.iter().map(|object| object.equivalent_diameter_area).collect();
    let middle = diameters.len() / 2;
    (!diameters.is_empty()).then(|| *diameters.select_nth_unstable_by(middle, f64::total_cmp).1)
}

/// An upper bound of the memory, in bytes, that [`segment`] holds at once for a plane of this shape, its results
/// included and the plane itself not.
///
/// Reached where one component covers the plane or every second pixel starts a run; a usual plane of nuclei takes
/// a fifth of it.
pub fn scratch_bytes(height: usize, width: usize) -> u64 {
    // 2 levels, 4 labels, up to 8 runs, 16 the largest patch's buffers, 2 rounding up
    const BYTES_PER_PIXEL: u64 = 32;
    // histograms, and the blur's rows
    const BYTES_ALWAYS: u64 = 4 << 20;
    // a patch has a margin of one pixel
    let n_pixels = (height as u64).saturating_add(2).saturating_mul((width as u64).saturating_add(2));
    n_pixels.saturating_mul(BYTES_PER_PIXEL).saturating_add(BYTES_ALWAYS)
}

fn check_shape(plane: &Plane) -> Result<(), SegmentationError> {
    let (height, width) = (plane.height, plane.width);
    if plane.n_samples != 1 {
        return Err(SegmentationError::Colour { n_samples: plane.n_samples });
    }
    match height.checked_mul(width) {
        Some(n) if n > i32::MAX as usize => Err(SegmentationError::TooLarge { height, width }),
        None => Err(SegmentationError::TooLarge { height, width }),
        Some(n) if n != plane.samples.len() => {
            Err(SegmentationError::Shape { height, width, n_samples: plane.samples.len() })
        }
        Some(_) => Ok(()),
    }
}

#[cfg(test)]
mod tests;

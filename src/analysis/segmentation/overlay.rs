//! The overlay: outlines of the objects over the percentile-stretched image, as the bytes of an 8-bit RGB PNG.

use std::io::Cursor;

use image::codecs::png::{CompressionType, FilterType, PngEncoder};
use image::{ExtendedColorType, ImageEncoder};

use super::histogram::Histogram;
use super::levels::Levels;
use super::{LabelImage, SegmentationError, blur, check_shape};
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
        Self { side_max_px: 1024, quantile_low: 0.01, quantile_high: 0.998, outline_rgb: [255, 196, 0] }
    }
}

/// Draws the overlay of `labels` over `plane` and encodes it as PNG.
///
/// # Errors
/// [`SegmentationError::Colour`] and [`SegmentationError::Shape`] for a plane that is not the labels' own,
/// [`SegmentationError::Encode`] for a plane without pixels or where the encoder refuses.
pub fn to_png(
    plane: &Plane,
    labels: &LabelImage,
    settings: &OverlaySettings,
) -> Result<Vec<u8>, SegmentationError> {
    check_shape(plane)?;
    let (height, width) = (plane.height, plane.width);
    if (labels.height, labels.width) != (height, width) || labels.labels.len() != height * width {
        return Err(SegmentationError::Shape { height, width, n_samples: labels.labels.len() });
    }
    if height * width == 0 {
        return Err(SegmentationError::Encode(format!("expected pixels, found {height} x {width}")));
    }
    let picture = Picture::draw(plane, labels, settings);
    let mut bytes = Cursor::new(Vec::new());
    PngEncoder::new_with_quality(&mut bytes, CompressionType::Fast, FilterType::Adaptive)
        .write_image(&picture.rgb, picture.width as u32, picture.height as u32, ExtendedColorType::Rgb8)
        .map_err(|error| SegmentationError::Encode(error.to_string()))?;
    Ok(bytes.into_inner())
}

struct Picture {
    height: usize,
    width: usize,
    rgb: Vec<u8>,
}

impl Picture {
    /// One picture pixel is the mean of a square of plane pixels; it is outline where one of them is.
    fn draw(plane: &Plane, labels: &LabelImage, settings: &OverlaySettings) -> Self {
        let levels = blur::blur_plane(plane, &Levels::of(plane), 0.0);
        let histogram = Histogram::of(&levels);
        let low = f64::from(histogram.quantile_below(settings.quantile_low, u16::MAX));
        let high = f64::from(histogram.quantile_below(settings.quantile_high, u16::MAX)).max(low + 1.0);
        let side = plane.height.max(plane.width);
        let factor = if settings.side_max_px == 0 { 1 } else { side.div_ceil(settings.side_max_px).max(1) };
        let (height, width) = (plane.height.div_ceil(factor), plane.width.div_ceil(factor));
        let mut rgb = Vec::with_capacity(3 * height * width);
        for y in 0..height {
            let rows = y * factor..((y + 1) * factor).min(plane.height);
            for x in 0..width {
                let columns = x * factor..((x + 1) * factor).min(plane.width);
                let (mut sum, mut n, mut is_outline) = (0_u64, 0_u64, false);
                for row in rows.clone() {
                    for column in columns.clone() {
                        sum += u64::from(levels[row * plane.width + column]);
                        n += 1;
                        is_outline |= is_outline_at(labels, row, column);
                    }
                }
                let grey = ((sum as f64 / n as f64 - low) / (high - low) * 255.0) as u8;
                rgb.extend(if is_outline { settings.outline_rgb } else { [grey; 3] });
            }
        }
        Self { height, width, rgb }
    }
}

/// Whether the pixel belongs to an object and a pixel beside it does not belong to the same.
fn is_outline_at(labels: &LabelImage, row: usize, column: usize) -> bool {
    let index = row * labels.width + column;
    let label = labels.labels[index];
    let differs = |other: usize| labels.labels[other] != label;
    label != 0
        && ((row > 0 && differs(index - labels.width))
            || (column > 0 && differs(index - 1))
            || (column + 1 < labels.width && differs(index + 1))
            || (row + 1 < labels.height && differs(index + labels.width)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::formats::plane::Samples;

    #[test]
    fn outlines_stand_on_the_stretched_image() {
        let (height, width) = (20, 30);
        let inside = |row: usize, column: usize| (5..15).contains(&row) && (8..20).contains(&column);
        let at = |index: usize| inside(index / width, index % width);
        let labels = (0..height * width).map(|index| u32::from(at(index))).collect();
        let values = (0..height * width).map(|index| if at(index) { 1000 } else { 100 }).collect();
        let plane = Plane { height, width, n_samples: 1, samples: Samples::Uint16(values) };
        let labels = LabelImage { height, width, n_objects: 1, labels };
        let settings = OverlaySettings::default();
        let decode = |png: Vec<u8>| image::load_from_memory(&png).expect("a png").to_rgb8();
        let picture = decode(to_png(&plane, &labels, &settings).expect("an overlay"));
        assert_eq!(picture.dimensions(), (30, 20));
        assert_eq!(picture.get_pixel(8, 5).0, settings.outline_rgb);
        assert_eq!(picture.get_pixel(10, 7).0, [255; 3]);
        assert_eq!(picture.get_pixel(0, 0).0, [0; 3]);
        let small = OverlaySettings { side_max_px: 10, ..settings };
        let picture = decode(to_png(&plane, &labels, &small).expect("an overlay"));
        assert_eq!(picture.dimensions(), (10, 7));
        let none = Plane { height: 0, width: 0, n_samples: 1, samples: Samples::Uint8(Vec::new()) };
        assert!(to_png(&none, &LabelImage::default(), &settings).is_err());
        assert!(to_png(&none, &labels, &settings).is_err());
    }
}

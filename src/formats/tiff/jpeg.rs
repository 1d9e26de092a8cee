//! JPEG strips and tiles: tables and data put together, colours as the page's photometric interpretation says.

use zune_jpeg::JpegDecoder;
use zune_jpeg::zune_core::bytestream::ZCursor;
use zune_jpeg::zune_core::colorspace::ColorSpace;
use zune_jpeg::zune_core::options::DecoderOptions;

use crate::formats::FormatError;

/// What the page expects of one strip or tile.
#[derive(Debug, Clone, Copy)]
pub(super) struct Expected {
    pub(super) width: usize,
    pub(super) rows: usize,
    pub(super) n_samples: usize,
    /// Stored as YCbCr: comes out as RGB.
    pub(super) ycbcr: bool,
}

/// Decodes one strip or tile of 8-bit samples into `out`.
///
/// # Errors
/// `malformed` when the data are damaged or of another shape than expected.
pub(super) fn decode(
    tables: &[u8],
    data: &[u8],
    expected: Expected,
    out: &mut [u8],
) -> Result<(), FormatError> {
    let damaged = |error| FormatError::malformed(format!("damaged JPEG data: {error:?}"));
    let joined;
    let stream = match tables {
        // tables end with an end-of-image marker, data start with a start-of-image marker
        [head @ .., 0xFF, 0xD9] if data.len() > 2 => {
            joined = [head, &data[2..]].concat();
            &joined
        }
        _ => data,
    };
    let options = DecoderOptions::default()
        .set_strict_mode(true)
        .set_max_width(usize::from(u16::MAX))
        .set_max_height(usize::from(u16::MAX));
    let mut decoder = JpegDecoder::new_with_options(ZCursor::new(stream), options);
    decoder.decode_headers().map_err(damaged)?;
    let stored = decoder.input_colorspace().unwrap_or(ColorSpace::Unknown);
    let (width, height) = decoder.dimensions().unwrap_or((0, 0));
    let Expected { rows, n_samples, .. } = expected;
    if width != expected.width || height < rows || stored.num_components() != n_samples {
        return Err(FormatError::malformed(format!(
            "expected a JPEG of {rows} rows, {} columns and {n_samples} samples, found {height}, {width} and {}",
            expected.width,
            stored.num_components()
        )));
    }
    if height > rows.saturating_mul(2).saturating_add(64) {
        return Err(FormatError::malformed(format!("expected a JPEG of {rows} rows, found {height}")));
    }
    let wanted = if expected.ycbcr && n_samples == 3 { ColorSpace::RGB } else { stored };
    decoder.set_options(options.jpeg_set_out_colorspace(wanted));
    let pixels = decoder.decode().map_err(damaged)?;
    match pixels.get(..out.len()) {
        Some(pixels) => out.copy_from_slice(pixels),
        None => return Err(FormatError::malformed("a JPEG of fewer samples than announced")),
    }
    Ok(())
}

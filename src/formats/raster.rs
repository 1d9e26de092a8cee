//! PNG, JPEG and BMP: one plane each, decoded by the `image` crate within [`Limits`].
//!
//! Decoders tolerate a file that ends early, so its end is looked for before anything is decoded.

use std::io::{BufRead, BufReader, Read, Seek, SeekFrom};

use image::{ColorType, ImageDecoder, ImageError, ImageFormat, ImageReader};

use super::{Container, Dims, Format, FormatError, Limits, Metadata, Plane, PlaneEntry, Source};
use crate::units::{PlaneIndex, SampleType};

/// An opened PNG, JPEG or BMP file.
///
/// Samples are as decoded: 16-bit PNG stays 16-bit, palettes become colours, gray with alpha has 2 samples a pixel, RGB
/// 3 and RGBA 4.
pub struct RasterContainer {
    source: Box<dyn Source>,
    format: Format,
    limits: Limits,
    metadata: Metadata,
    planes: [PlaneEntry; 1],
}

impl RasterContainer {
    /// Checks that the file is whole and reads its header.
    ///
    /// # Errors
    /// `incomplete` when the file ends before its last marker, `over_limit` when the decoded plane or the file exceeds
    /// `plane_bytes_max`, `unsupported` for a format or colour type that is not read here, else `malformed`.
    pub fn open(mut source: Box<dyn Source>, format: Format, limits: &Limits) -> Result<Self, FormatError> {
        check_whole(&mut source, format, limits)?;
        let header = Header::of(&decoder(&mut source, format, limits)?)?;
        let Header { height, width, n_samples, sample_type } = header;
        let bits = sample_type.size_bytes() as u32 * 8;
        let metadata = Metadata {
            format,
            dims: Dims { t: 1, p: 1, z: 1, c: 1, y: height, x: width, s: n_samples },
            sample_type,
            significant_bits: bits,
            is_lossy: format == Format::Jpeg,
            pixel_size_um: None,
            z_step_um: None,
            nominal_magnification: None,
            objective: None,
            numerical_aperture: None,
            channels: Vec::new(),
            positions: Vec::new(),
            acquired_at: None,
            other_files: Vec::new(),
        };
        let plane = PlaneEntry {
            index: PlaneIndex::default(),
            height,
            width,
            n_samples,
            sample_type,
            missing: false,
            time_ms: None,
        };
        check_bytes("a plane", plane.decoded_bytes(), limits)?;
        Ok(Self { source, format, limits: *limits, metadata, planes: [plane] })
    }
}

impl Container for RasterContainer {
    fn metadata(&self) -> &Metadata {
        &self.metadata
    }

    fn planes(&self) -> &[PlaneEntry] {
        &self.planes
    }

    fn read_plane_into(&mut self, plane_index: usize, plane: &mut Plane) -> Result<(), FormatError> {
        let entry = self.planes[plane_index];
        let decoder = decoder(&mut self.source, self.format, &self.limits)?;
        let found = Header::of(&decoder)?;
        if (found.height, found.width, found.n_samples) != (entry.height, entry.width, entry.n_samples) {
            return Err(FormatError::malformed("the file changed while it was open"));
        }
        let (height, width, n_samples) =
            (entry.height as usize, entry.width as usize, entry.n_samples as usize);
        plane.reshape([height, width, n_samples], entry.sample_type);
        decoder.read_image(plane.samples.as_bytes_mut()).map_err(error_of)
    }
}

/// Shape and type of the decoded plane.
struct Header {
    height: u32,
    width: u32,
    n_samples: u32,
    sample_type: SampleType,
}

impl Header {
    fn of(decoder: &impl ImageDecoder) -> Result<Self, FormatError> {
        let (width, height) = decoder.dimensions();
        let (n_samples, sample_type) = match decoder.color_type() {
            ColorType::L8 => (1, SampleType::Uint8),
            ColorType::La8 => (2, SampleType::Uint8),
            ColorType::Rgb8 => (3, SampleType::Uint8),
            ColorType::Rgba8 => (4, SampleType::Uint8),
            ColorType::L16 => (1, SampleType::Uint16),
            ColorType::La16 => (2, SampleType::Uint16),
            ColorType::Rgb16 => (3, SampleType::Uint16),
            ColorType::Rgba16 => (4, SampleType::Uint16),
            other => return Err(FormatError::unsupported(format!("colour type {other:?} is not read"))),
        };
        Ok(Self { height, width, n_samples, sample_type })
    }
}

/// A decoder at the start of the file.
fn decoder<'a>(
    source: &'a mut Box<dyn Source>,
    format: Format,
    limits: &Limits,
) -> Result<impl ImageDecoder + 'a, FormatError> {
    let format = match format {
        Format::Png => ImageFormat::Png,
        Format::Jpeg => ImageFormat::Jpeg,
        Format::Bmp => ImageFormat::Bmp,
        Format::Nd2 | Format::Tiff => {
            return Err(FormatError::unsupported(format!("{} is no raster image", format.name())));
        }
    };
    source.rewind()?;
    let mut reader = ImageReader::with_format(BufReader::new(source), format);
    let mut bounds = image::Limits::no_limits();
    bounds.max_alloc = Some(limits.plane_bytes_max);
    reader.limits(bounds);
    reader.into_decoder().map_err(error_of)
}

fn error_of(error: ImageError) -> FormatError {
    match error {
        ImageError::IoError(error) => error.into(),
        ImageError::Limits(error) => FormatError::over_limit(format!("plane_bytes_max: {error}")),
        ImageError::Unsupported(error) => FormatError::unsupported(error.to_string()),
        error => FormatError::malformed(error.to_string()),
    }
}

fn check_bytes(what: &str, bytes: u64, limits: &Limits) -> Result<(), FormatError> {
    if bytes <= limits.plane_bytes_max && usize::try_from(bytes).is_ok() {
        return Ok(());
    }
    Err(FormatError::over_limit(format!(
        "{what} of {bytes} bytes, plane_bytes_max is {}",
        limits.plane_bytes_max
    )))
}

/// Looks for the end that the format asks for.
fn check_whole(source: &mut Box<dyn Source>, format: Format, limits: &Limits) -> Result<(), FormatError> {
    let file_bytes = source.seek(SeekFrom::End(0))?;
    check_bytes("a file", file_bytes, limits)?;
    source.rewind()?;
    let mut reader = BufReader::new(source);
    let walked = match format {
        Format::Png => walk_png(&mut reader),
        Format::Jpeg => walk_jpeg(&mut reader),
        _ => walk_bmp(&mut reader),
    };
    let end = walked.map_err(|error| FormatError::from(error).at(file_bytes))?;
    if end <= file_bytes {
        return Ok(());
    }
    Err(FormatError::incomplete(format!("the file should have {end} bytes, it has {file_bytes}"))
        .at(file_bytes))
}

/// Follows the chunks to the last, IEND; gives where it ends.
fn walk_png<R: Read + Seek>(reader: &mut BufReader<R>) -> std::io::Result<u64> {
    const CHECKSUM_BYTES: i64 = 4;
    reader.seek_relative(8)?;
    loop {
        let mut head = [0; 8];
        reader.read_exact(&mut head)?;
        let [a, b, c, d, kind @ ..] = head;
        reader.seek_relative(i64::from(u32::from_be_bytes([a, b, c, d])) + CHECKSUM_BYTES)?;
        if &kind == b"IEND" {
            return reader.stream_position();
        }
    }
}

/// Follows the segments, and the coded data behind each start of scan, to the end-of-image marker.
fn walk_jpeg<R: Read + Seek>(reader: &mut BufReader<R>) -> std::io::Result<u64> {
    const STUFFED: u8 = 0x00;
    const END_OF_IMAGE: u8 = 0xD9;
    loop {
        // between segments, and in coded data, a marker is 0xFF and a byte that is neither stuffing nor fill
        reader.skip_until(0xFF)?;
        let mut code = [0xFF];
        while code == [0xFF] {
            reader.read_exact(&mut code)?;
        }
        match code[0] {
            END_OF_IMAGE => return reader.stream_position(),
            STUFFED | 0x01 | 0xD0..=0xD8 => {}
            _ => {
                let mut length = [0; 2];
                reader.read_exact(&mut length)?;
                reader.seek_relative(i64::from(u16::from_be_bytes(length).saturating_sub(2)))?;
            }
        }
    }
}

/// Reads the size that the header announces; some writers leave it 0.
fn walk_bmp<R: Read + Seek>(reader: &mut BufReader<R>) -> std::io::Result<u64> {
    let mut head = [0; 6];
    reader.read_exact(&mut head)?;
    Ok(u64::from(u32::from_le_bytes([head[2], head[3], head[4], head[5]])))
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use image::{ExtendedColorType, ImageEncoder};

    use super::*;
    use crate::formats::{FormatErrorKind, open};

    fn open_bytes(bytes: &[u8]) -> Result<Plane, FormatError> {
        open(Box::new(Cursor::new(bytes.to_vec())), &Limits::default())?.read_plane(0)
    }

    fn png(pixels: &[u8], width: u32, color: ExtendedColorType) -> Vec<u8> {
        let mut bytes = Vec::new();
        let encoder = image::codecs::png::PngEncoder::new(&mut bytes);
        encoder.write_image(pixels, width, 3, color).unwrap();
        bytes
    }

    fn ramp(n: usize) -> Vec<u8> {
        (0..n).map(|i| (i * 7 % 251) as u8).collect()
    }

    #[test]
    fn png_comes_back_sample_by_sample() {
        for (color, n_samples, size) in [
            (ExtendedColorType::L8, 1, 1),
            (ExtendedColorType::La8, 2, 1),
            (ExtendedColorType::Rgb8, 3, 1),
            (ExtendedColorType::Rgba8, 4, 1),
            (ExtendedColorType::L16, 1, 2),
            (ExtendedColorType::Rgb16, 3, 2),
        ] {
            let pixels = ramp(5 * 3 * n_samples * size);
            let plane = open_bytes(&png(&pixels, 5, color)).unwrap();
            assert_eq!((plane.height, plane.width, plane.n_samples), (3, 5, n_samples));
            assert_eq!(plane.samples.as_bytes(), pixels, "{color:?}");
        }
    }

    #[test]
    fn jpeg_and_bmp_have_their_shape() {
        let pixels = ramp(16 * 3 * 3);
        let mut jpeg = Vec::new();
        let encoder = image::codecs::jpeg::JpegEncoder::new(&mut jpeg);
        encoder.write_image(&pixels, 16, 3, ExtendedColorType::Rgb8).unwrap();
        assert_eq!(open_bytes(&jpeg).unwrap().samples.len(), pixels.len());
        let mut bmp = Vec::new();
        let encoder = image::codecs::bmp::BmpEncoder::new(&mut bmp);
        encoder.write_image(&pixels, 16, 3, ExtendedColorType::Rgb8).unwrap();
        assert_eq!(open_bytes(&bmp).unwrap().samples.as_bytes(), pixels);
    }

    #[test]
    fn a_truncated_file_is_incomplete_at_every_length() {
        let pixels = ramp(16 * 3 * 3);
        let mut jpeg = Vec::new();
        let encoder = image::codecs::jpeg::JpegEncoder::new(&mut jpeg);
        encoder.write_image(&pixels, 16, 3, ExtendedColorType::Rgb8).unwrap();
        let mut bmp = Vec::new();
        let encoder = image::codecs::bmp::BmpEncoder::new(&mut bmp);
        encoder.write_image(&pixels, 16, 3, ExtendedColorType::Rgb8).unwrap();
        for whole in [png(&pixels, 16, ExtendedColorType::Rgb8), jpeg, bmp] {
            for n in 8..whole.len() {
                let error = open_bytes(&whole[..n]).unwrap_err();
                assert_eq!(error.kind, FormatErrorKind::Incomplete, "{n} of {}: {error}", whole.len());
            }
        }
    }

    #[test]
    fn a_plane_above_the_limit_is_refused_by_name() {
        let bytes = png(&ramp(5 * 3), 5, ExtendedColorType::L8);
        let limits = Limits { plane_bytes_max: 14, ..Limits::default() };
        let source = Box::new(Cursor::new(bytes));
        let error = RasterContainer::open(source, Format::Png, &limits).err().unwrap();
        assert_eq!(error.kind, FormatErrorKind::OverLimit);
        assert!(error.message.contains("plane_bytes_max"), "{error}");
    }
}

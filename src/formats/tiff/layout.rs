//! How the pixels of one page lie in the file: shape, sample type, strips or tiles, and what was done to them.

use std::io::{Read, Seek};

use super::codecs::Compression;
use super::directory::{Directory, FileReader};
use super::tags::{ByteOrder, Predictor, tag};
use crate::formats::{FormatError, Limits};
use crate::units::SampleType;

/// Tags that decide what the pixels are: a directory that repeats one with another value is damaged.
const STRUCTURAL: [u16; 10] = [
    tag::WIDTH,
    tag::HEIGHT,
    tag::BITS_PER_SAMPLE,
    tag::COMPRESSION,
    tag::FILL_ORDER,
    tag::SAMPLES_PER_PIXEL,
    tag::PLANAR,
    tag::PREDICTOR,
    tag::SAMPLE_FORMAT,
    tag::ROWS_PER_STRIP,
];

/// A run of bytes in the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ByteRange {
    pub(super) offset: u64,
    pub(super) length: u64,
}

/// Everything that decoding a page needs.
#[derive(Debug, Clone)]
pub(super) struct Layout {
    pub(super) height: u32,
    pub(super) width: u32,
    pub(super) n_samples: u32,
    /// Bits of one sample as stored.
    pub(super) bits: u32,
    pub(super) sample_type: SampleType,
    pub(super) compression: Compression,
    pub(super) predictor: Predictor,
    pub(super) photometric: u64,
    /// Every sample has strips or tiles of its own.
    pub(super) planar: bool,
    /// The bits of every byte are stored in reverse (FillOrder 2).
    pub(super) bits_reversed: bool,
    pub(super) tiled: bool,
    pub(super) order: ByteOrder,
    pub(super) chunk_height: u32,
    pub(super) chunk_width: u32,
    pub(super) t4_options: u64,
    /// Strips or tiles in the file's order: rows first, then (planar) samples.
    pub(super) chunks: Vec<ByteRange>,
}

impl Layout {
    /// Reads and checks the tags of one page.
    ///
    /// # Errors
    /// `incomplete` when a strip or tile does not lie inside the file, `malformed` for contradicting tags,
    /// `unsupported` for a sample type that nobody reads.
    pub(super) fn read<R: Read + Seek>(
        reader: &mut FileReader<R>,
        directory: &Directory,
        order: ByteOrder,
        limits: &Limits,
    ) -> Result<Self, FormatError> {
        directory.check_unambiguous(&STRUCTURAL)?;
        let at = |error: FormatError| error.at(directory.at);
        let size = |name: &str, tag: u16| match directory.uint(tag).map(u32::try_from) {
            Some(Ok(value)) if value > 0 => Ok(value),
            _ => Err(at(FormatError::malformed(format!("expected the image's {name} in tag {tag}")))),
        };
        let (width, height) = (size("width", tag::WIDTH)?, size("height", tag::HEIGHT)?);
        let n_samples = directory.uint(tag::SAMPLES_PER_PIXEL).unwrap_or(1).clamp(1, 65_535) as u32;
        let compression = Compression::from_code(directory.uint(tag::COMPRESSION).unwrap_or(1));
        let (bits, sample_type) = sample_type(reader, directory, n_samples, limits).map_err(at)?;
        let tiled = directory.count(tag::TILE_OFFSETS) > 0 || directory.count(tag::TILE_WIDTH) > 0;
        let (chunk_width, chunk_height) = if tiled {
            (size("tile width", tag::TILE_WIDTH)?, size("tile height", tag::TILE_HEIGHT)?)
        } else {
            let rows = directory.uint(tag::ROWS_PER_STRIP).unwrap_or(u64::from(height));
            (width, if rows == 0 { height } else { rows.min(height.into()) as u32 })
        };
        let mut layout = Self {
            height,
            width,
            n_samples,
            bits,
            sample_type,
            compression,
            predictor: predictor(directory)?,
            photometric: directory.uint(tag::PHOTOMETRIC).unwrap_or(1),
            planar: directory.uint(tag::PLANAR) == Some(2) && n_samples > 1,
            bits_reversed: directory.uint(tag::FILL_ORDER) == Some(2),
            tiled,
            order,
            chunk_height,
            chunk_width,
            t4_options: directory.uint(tag::T4_OPTIONS).unwrap_or(0),
            chunks: Vec::new(),
        };
        layout.check_subsampling(reader, directory, limits)?;
        layout.read_chunks(reader, directory, limits)?;
        Ok(layout)
    }

    /// Samples per pixel in one strip or tile.
    pub(super) fn chunk_samples(&self) -> u32 {
        if self.planar { 1 } else { self.n_samples }
    }

    /// Bytes of one stored row of a strip or tile, after decompression.
    pub(super) fn stored_row_bytes(&self) -> u64 {
        let bits = u64::from(self.chunk_width) * u64::from(self.chunk_samples()) * u64::from(self.bits);
        bits.div_ceil(8)
    }

    /// Rows of strip or tile `index` that are stored.
    pub(super) fn stored_rows(&self, index: usize) -> u32 {
        if self.tiled {
            return self.chunk_height;
        }
        let n_down = self.height.div_ceil(self.chunk_height) as usize;
        let top = (index % n_down) as u32 * self.chunk_height;
        self.chunk_height.min(self.height - top)
    }

    /// Rows, columns and samples per pixel.
    pub(super) fn shape(&self) -> [usize; 3] {
        [self.height, self.width, self.n_samples].map(|n| n as usize)
    }

    /// Bytes of the decoded rows that a strip, or a row of tiles, spans.
    pub(super) fn band_bytes(&self) -> usize {
        let [_, width, n_samples] = self.shape();
        self.chunk_height as usize * width * n_samples * self.sample_type.size_bytes()
    }

    /// Bytes of the decoded page.
    pub(super) fn plane_bytes(&self) -> u64 {
        let n =
            u64::from(self.height).saturating_mul(self.width.into()).saturating_mul(self.n_samples.into());
        n.saturating_mul(self.sample_type.size_bytes() as u64)
    }

    /// Bytes of one decoded strip or tile.
    pub(super) fn chunk_bytes(&self) -> u64 {
        let row = u64::from(self.chunk_width).saturating_mul(self.chunk_samples().into());
        row.saturating_mul(self.chunk_height.into()).saturating_mul(self.sample_type.size_bytes() as u64)
    }

    /// Whether stored bytes are the samples' bytes, apart from their order.
    pub(super) fn is_plain(&self) -> bool {
        self.compression == Compression::None
            && self.predictor == Predictor::None
            && !self.bits_reversed
            && !self.is_packed()
    }

    /// Whether samples do not start at byte boundaries or need to be widened.
    pub(super) fn is_packed(&self) -> bool {
        self.bits as usize != self.sample_type.size_bytes() * 8
    }

    /// The data of a page that lies in one piece: `(offset, length)`.
    pub(super) fn contiguous(&self) -> Option<ByteRange> {
        if !self.is_plain() || self.tiled || self.planar {
            return None;
        }
        let offset = self.chunks.first()?.offset;
        let mut end = offset;
        for (index, chunk) in self.chunks.iter().enumerate() {
            if chunk.offset != end {
                return None;
            }
            end += self.stored_row_bytes() * u64::from(self.stored_rows(index));
        }
        Some(ByteRange { offset, length: end - offset })
    }

    /// Uncompressed YCbCr with subsampled chroma has another geometry; it is refused.
    fn check_subsampling<R: Read + Seek>(
        &self,
        reader: &mut FileReader<R>,
        directory: &Directory,
        limits: &Limits,
    ) -> Result<(), FormatError> {
        if self.photometric != 6 || matches!(self.compression, Compression::Jpeg | Compression::OldJpeg) {
            return Ok(());
        }
        let subsampling = directory.uints(reader, tag::YCBCR_SUBSAMPLING, limits)?;
        if subsampling == [1, 1] {
            return Ok(());
        }
        Err(FormatError::unsupported("YCbCr with subsampled chroma outside JPEG is not read")
            .at(directory.at))
    }

    fn read_chunks<R: Read + Seek>(
        &mut self,
        reader: &mut FileReader<R>,
        directory: &Directory,
        limits: &Limits,
    ) -> Result<(), FormatError> {
        let (offsets, lengths) = match (self.tiled, directory.count(tag::TILE_OFFSETS)) {
            // some writers put tiles under the strips' tags
            (true, 1..) => (tag::TILE_OFFSETS, tag::TILE_BYTE_COUNTS),
            _ => (tag::STRIP_OFFSETS, tag::STRIP_BYTE_COUNTS),
        };
        let across = u64::from(self.width.div_ceil(self.chunk_width));
        let down = u64::from(self.height.div_ceil(self.chunk_height));
        let n = (across * down).saturating_mul(if self.planar { u64::from(self.n_samples) } else { 1 });
        let offsets = directory.uints(reader, offsets, limits)?;
        let lengths = directory.uints(reader, lengths, limits)?;
        if (offsets.len() as u64) < n || (!lengths.is_empty() && (lengths.len() as u64) < n) {
            return Err(FormatError::malformed(format!(
                "expected {n} strips or tiles, found {} offsets and {} lengths",
                offsets.len(),
                lengths.len()
            ))
            .at(directory.at));
        }
        self.chunks = Vec::with_capacity(n as usize);
        for (index, offset) in offsets.into_iter().take(n as usize).enumerate() {
            let length = self.chunk_length(index, offset, lengths.get(index).copied(), reader.file_bytes);
            if offset == 0 {
                return Err(FormatError::incomplete("a strip or tile is not written yet").at(directory.at));
            }
            reader.check("a strip or tile", offset, length)?;
            self.chunks.push(ByteRange { offset, length });
        }
        Ok(())
    }

    /// The bytes of a strip or tile; uncompressed ones are what their geometry says, however they are announced.
    fn chunk_length(&self, index: usize, offset: u64, announced: Option<u64>, file_bytes: u64) -> u64 {
        match (self.compression, announced.filter(|length| *length > 0)) {
            (Compression::None, Some(length)) => {
                let needed = self.stored_row_bytes().saturating_mul(self.stored_rows(index).into());
                length.min(needed)
            }
            (Compression::None, None) => {
                self.stored_row_bytes().saturating_mul(self.stored_rows(index).into())
            }
            (_, Some(length)) => length,
            // one compressed strip of unsaid length reaches at most to the end of the file
            (_, None) => file_bytes.saturating_sub(offset),
        }
    }
}

fn predictor(directory: &Directory) -> Result<Predictor, FormatError> {
    match directory.uint(tag::PREDICTOR).unwrap_or(1) {
        0 | 1 => Ok(Predictor::None),
        2 => Ok(Predictor::Horizontal),
        3 => Ok(Predictor::FloatingPoint),
        other => Err(FormatError::unsupported(format!("predictor {other} is not read, only 1 to 3 are"))
            .at(directory.at)),
    }
}

/// Bits as stored, and the smallest type that holds them.
fn sample_type<R: Read + Seek>(
    reader: &mut FileReader<R>,
    directory: &Directory,
    n_samples: u32,
    limits: &Limits,
) -> Result<(u32, SampleType), FormatError> {
    use SampleType::*;
    let all_bits = directory.uints(reader, tag::BITS_PER_SAMPLE, limits)?;
    let bits = all_bits.first().copied().unwrap_or(1);
    if all_bits.iter().take(n_samples as usize).any(|other| *other != bits) {
        return Err(FormatError::unsupported(format!("samples of different bit depths ({all_bits:?})")));
    }
    let format = directory.uints(reader, tag::SAMPLE_FORMAT, limits)?.first().copied().unwrap_or(1);
    let sample_type = match (format, bits) {
        (2, 8) => Int8,
        (2, 16) => Int16,
        (2, 32) => Int32,
        (2, 64) => Int64,
        (3, 16) => Float16,
        (3, 32) => Float32,
        (3, 64) => Float64,
        (2 | 3 | 5 | 6, _) => {
            return Err(FormatError::unsupported(format!(
                "samples of format {format} with {bits} bits are not read"
            )));
        }
        (_, 1..=8) => Uint8,
        (_, 9..=16) => Uint16,
        (_, 17..=32) => Uint32,
        (_, 64) => Uint64,
        _ => return Err(FormatError::unsupported(format!("samples of {bits} bits are not read"))),
    };
    Ok((bits as u32, sample_type))
}

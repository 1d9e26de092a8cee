//! A small TIFF writer: gray and colour planes of every sample type, page by page, to any `Write + Seek`.
//!
//! A page's pixels are written before its directory, and the directory before the pointer to it, so a file that is
//! being written is recognisable as incomplete at every moment.

use std::io::{Cursor, Seek, SeekFrom, Write};

use super::codecs;
use super::samples;
use super::tags::{ByteOrder, Predictor, tag};
use crate::formats::{FormatError, Plane};
use crate::units::SampleType;

/// How the pixels of a written file are compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum WriteCompression {
    /// Stored as they are.
    #[default]
    None,
    /// Zlib (compression 8), level 6; with [`Predictor::Horizontal`] the best choice for label images.
    Deflate,
    /// LZW (compression 5).
    Lzw,
    /// PackBits run lengths (compression 32773).
    PackBits,
}

/// How the pixels of a page are cut into pieces.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ChunkShape {
    /// Strips of about 256 KiB.
    #[default]
    Auto,
    /// Strips of so many rows, at least 1.
    Rows(u32),
    /// Tiles of width and height; the format asks for multiples of 16.
    Tiles(u32, u32),
}

/// What is said beside the pixels, and how they are stored.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct WriteOptions {
    /// Compression of the pixels, default none.
    pub compression: WriteCompression,
    /// Differencing before compression, default none; `FloatingPoint` needs float samples.
    pub predictor: Predictor,
    /// Strips or tiles, default [`ChunkShape::Auto`].
    pub chunks: ChunkShape,
    /// Side of a pixel in micrometres, stored as pixels per centimetre.
    pub pixel_size_um: Option<f64>,
    /// ImageDescription of the first page: plain text, ImageJ's lines or OME-XML.
    pub description: Option<String>,
    /// DateTime of every page, as the format asks for: `YYYY:MM:DD HH:MM:SS`.
    pub date_time: Option<String>,
    /// Byte order of the file, default little-endian.
    pub byte_order: ByteOrder,
    /// Writes 64-bit offsets, which a file above 4 GiB needs.
    pub big_tiff: bool,
}

/// Writes the planes as the pages of one file, with 64-bit offsets if they need them.
///
/// # Errors
/// As [`TiffWriter::new`] and [`TiffWriter::write_plane`].
pub fn write_planes<W: Write + Seek>(
    out: W,
    planes: &[Plane],
    options: &WriteOptions,
) -> Result<W, FormatError> {
    /// Kept free for directories.
    const SLACK: u64 = 64 << 20;
    let total = planes.iter().map(|plane| plane.size_bytes() as u64).sum::<u64>();
    let big_tiff = options.big_tiff || total + SLACK > u64::from(u32::MAX);
    let mut writer = TiffWriter::new(out, WriteOptions { big_tiff, ..options.clone() })?;
    for plane in planes {
        writer.write_plane(plane)?;
    }
    writer.finish()
}

/// Writes the planes as the pages of one file in memory.
///
/// # Errors
/// As [`TiffWriter::write_plane`].
pub fn encode(planes: &[Plane], options: &WriteOptions) -> Result<Vec<u8>, FormatError> {
    Ok(write_planes(Cursor::new(Vec::new()), planes, options)?.into_inner())
}

/// Writes a TIFF file page by page.
pub struct TiffWriter<W> {
    out: W,
    options: WriteOptions,
    position: u64,
    /// Where the pointer to the next directory stands.
    pointer_at: u64,
    n_pages: u64,
    scratch: Vec<u8>,
}

impl<W: Write + Seek> TiffWriter<W> {
    /// Writes the header.
    ///
    /// # Errors
    /// `io`, or `malformed` for options that contradict each other.
    pub fn new(mut out: W, options: WriteOptions) -> Result<Self, FormatError> {
        let empty = match options.chunks {
            ChunkShape::Auto => false,
            ChunkShape::Rows(rows) => rows == 0,
            ChunkShape::Tiles(width, height) => width == 0 || height == 0,
        };
        if empty {
            return Err(FormatError::malformed("expected strips of at least one row and tiles of one pixel"));
        }
        let order = options.byte_order;
        let mut head = order.mark().to_vec();
        if options.big_tiff {
            head.extend([43, 8, 0].into_iter().flat_map(|value| order.u16_bytes(value)));
            head.extend(order.u64_bytes(0));
        } else {
            head.extend(order.u16_bytes(42));
            head.extend(order.u32_bytes(0));
        }
        out.write_all(&head)?;
        let pointer_at = if options.big_tiff { 8 } else { 4 };
        Ok(Self { out, options, position: head.len() as u64, pointer_at, n_pages: 0, scratch: Vec::new() })
    }

    /// Appends one page.
    ///
    /// # Errors
    /// `io`; `over_limit` when the file would need 64-bit offsets that were not asked for; `malformed` when the
    /// plane's length contradicts its shape, its size is zero, or the predictor does not suit its samples.
    pub fn write_plane(&mut self, plane: &Plane) -> Result<(), FormatError> {
        let page = Page::new(plane, &self.options)?;
        let ranges = self.write_chunks(&page)?;
        self.pad()?;
        let directory = self.directory(&page, &ranges)?;
        let directory_at = self.position;
        let pointer_at = self.write_directory(&directory)?;
        self.patch(directory_at)?;
        self.pointer_at = pointer_at;
        self.n_pages += 1;
        Ok(())
    }

    /// Ends the file and hands the sink back.
    ///
    /// # Errors
    /// `io`, or `malformed` when no page was written.
    pub fn finish(mut self) -> Result<W, FormatError> {
        if self.n_pages == 0 {
            return Err(FormatError::malformed("expected at least one page to write"));
        }
        self.out.flush()?;
        Ok(self.out)
    }

    fn write_chunks(&mut self, page: &Page) -> Result<Vec<(u64, u64)>, FormatError> {
        let mut ranges = Vec::new();
        let mut scratch = std::mem::take(&mut self.scratch);
        for top in (0..page.height).step_by(page.chunk_height) {
            for left in (0..page.width).step_by(page.chunk_width) {
                page.chunk(top, left, &mut scratch);
                page.prepare(&mut scratch, &self.options);
                let packed = codecs::compress(&scratch, page.chunk_row_bytes(), self.options.compression)?;
                let bytes = packed.as_deref().unwrap_or(&scratch);
                ranges.push((self.position, bytes.len() as u64));
                self.put(bytes)?;
            }
        }
        self.scratch = scratch;
        Ok(ranges)
    }

    fn directory(&self, page: &Page, ranges: &[(u64, u64)]) -> Result<Vec<Entry>, FormatError> {
        let order = self.options.byte_order;
        let s = page.n_samples;
        let short = |tag, values: &[u16]| {
            Entry::new(tag, 3, values.len(), values.iter().flat_map(|v| order.u16_bytes(*v)).collect())
        };
        let long = |tag, value: u32| Entry::new(tag, 4, 1, order.u32_bytes(value).to_vec());
        let size = |tag, value: usize| {
            u32::try_from(value)
                .map(|value| long(tag, value))
                .map_err(|_| FormatError::over_limit("expected fewer than 2^32 rows and columns"))
        };
        let mut entries = vec![
            size(tag::WIDTH, page.width)?,
            size(tag::HEIGHT, page.height)?,
            short(tag::BITS_PER_SAMPLE, &vec![page.sample_type.size_bytes() as u16 * 8; s]),
            short(tag::COMPRESSION, &[codecs::code_of(self.options.compression)]),
            short(tag::PHOTOMETRIC, &[if page.is_colour() { 2 } else { 1 }]),
            short(tag::SAMPLES_PER_PIXEL, &[s as u16]),
            short(tag::SAMPLE_FORMAT, &vec![sample_format(page.sample_type); s]),
            short(tag::PLANAR, &[1]),
        ];
        if let Some(text) = &self.options.date_time {
            let bytes = [text.as_bytes(), &[0]].concat();
            entries.push(Entry::new(tag::DATE_TIME, 2, bytes.len(), bytes));
        }
        if let (Some(text), 0) = (&self.options.description, self.n_pages) {
            let mut bytes = text.clone().into_bytes();
            bytes.push(0);
            entries.push(Entry::new(tag::DESCRIPTION, 2, bytes.len(), bytes));
        }
        let (offsets, lengths) = match self.options.chunks {
            ChunkShape::Tiles(..) => {
                entries.push(size(tag::TILE_WIDTH, page.chunk_width)?);
                entries.push(size(tag::TILE_HEIGHT, page.chunk_height)?);
                (tag::TILE_OFFSETS, tag::TILE_BYTE_COUNTS)
            }
            _ => {
                entries.push(size(tag::ROWS_PER_STRIP, page.chunk_height)?);
                (tag::STRIP_OFFSETS, tag::STRIP_BYTE_COUNTS)
            }
        };
        entries.push(self.sizes(offsets, ranges.iter().map(|range| range.0)));
        entries.push(self.sizes(lengths, ranges.iter().map(|range| range.1)));
        if let Some(um) = self.options.pixel_size_um.filter(|um| *um > 0.0 && um.is_finite()) {
            let resolution = pixels_per_cm(um, order);
            entries.push(Entry::new(tag::X_RESOLUTION, 5, 1, resolution.clone()));
            entries.push(Entry::new(tag::Y_RESOLUTION, 5, 1, resolution));
            entries.push(short(tag::RESOLUTION_UNIT, &[3]));
        }
        if self.options.predictor != Predictor::None {
            entries.push(short(tag::PREDICTOR, &[self.options.predictor.code()]));
        }
        let n_extra = if page.is_colour() { s - 3 } else { s - 1 };
        if n_extra > 0 {
            let alpha = matches!(s, 2 | 4) && n_extra == 1;
            entries.push(short(tag::EXTRA_SAMPLES, &vec![if alpha { 2 } else { 0 }; n_extra]));
        }
        entries.sort_by_key(|entry| entry.tag);
        Ok(entries)
    }

    fn sizes(&self, tag: u16, values: impl ExactSizeIterator<Item = u64>) -> Entry {
        let order = self.options.byte_order;
        let n = values.len();
        if self.options.big_tiff {
            Entry::new(tag, 16, n, values.flat_map(|v| order.u64_bytes(v)).collect())
        } else {
            Entry::new(tag, 4, n, values.flat_map(|v| order.u32_bytes(v as u32)).collect())
        }
    }

    /// Writes the directory with its long values behind it; returns where its pointer to the next one stands.
    fn write_directory(&mut self, entries: &[Entry]) -> Result<u64, FormatError> {
        let order = self.options.byte_order;
        let big = self.options.big_tiff;
        let (entry_bytes, inline, pointer_bytes) = if big { (20, 8, 8) } else { (12, 4, 4) };
        let count_bytes = if big { 8 } else { 2 };
        let pointer_at = self.position + count_bytes + entry_bytes * entries.len() as u64;
        let mut value_at = pointer_at + pointer_bytes;
        let mut head = Vec::new();
        let mut tail = Vec::new();
        if big {
            head.extend(order.u64_bytes(entries.len() as u64));
        } else {
            head.extend(order.u16_bytes(entries.len() as u16));
        }
        for entry in entries {
            head.extend(order.u16_bytes(entry.tag));
            head.extend(order.u16_bytes(entry.field_type));
            head.extend(order.size_bytes(entry.count as u64, big));
            if entry.value.len() <= inline {
                head.extend(&entry.value);
                head.resize(head.len() + inline - entry.value.len(), 0);
            } else {
                head.extend(order.size_bytes(value_at, big));
                tail.extend(&entry.value);
                if entry.value.len() % 2 == 1 {
                    tail.push(0);
                }
                value_at += entry.value.len().next_multiple_of(2) as u64;
            }
        }
        head.extend(order.size_bytes(0, big));
        self.put(&head)?;
        self.put(&tail)?;
        Ok(pointer_at)
    }

    /// Makes the last pointer point to the directory at `directory_at`.
    fn patch(&mut self, directory_at: u64) -> Result<(), FormatError> {
        let pointer = self.options.byte_order.size_bytes(directory_at, self.options.big_tiff);
        self.out.seek(SeekFrom::Start(self.pointer_at))?;
        self.out.write_all(&pointer)?;
        self.out.seek(SeekFrom::Start(self.position))?;
        Ok(())
    }

    /// Directories start at even offsets.
    fn pad(&mut self) -> Result<(), FormatError> {
        if self.position % 2 == 1 { self.put(&[0]) } else { Ok(()) }
    }

    fn put(&mut self, bytes: &[u8]) -> Result<(), FormatError> {
        let end = self.position + bytes.len() as u64;
        if !self.options.big_tiff && end > u64::from(u32::MAX) {
            return Err(FormatError::over_limit("a TIFF above 4 GiB needs the 64-bit variant, BigTIFF"));
        }
        self.out.write_all(bytes)?;
        self.position = end;
        Ok(())
    }
}

/// One tag of a directory, its value in the file's byte order.
struct Entry {
    tag: u16,
    field_type: u16,
    count: usize,
    value: Vec<u8>,
}

impl Entry {
    fn new(tag: u16, field_type: u16, count: usize, value: Vec<u8>) -> Self {
        Self { tag, field_type, count, value }
    }
}

/// The shape of the page being written, and its bytes.
struct Page<'a> {
    bytes: &'a [u8],
    sample_type: SampleType,
    height: usize,
    width: usize,
    n_samples: usize,
    chunk_height: usize,
    chunk_width: usize,
    tiled: bool,
}

impl<'a> Page<'a> {
    fn new(plane: &'a Plane, options: &WriteOptions) -> Result<Self, FormatError> {
        const STRIP_BYTES: usize = 256 << 10;
        let Plane { height, width, n_samples, samples } = plane;
        let (height, width, n_samples) = (*height, *width, *n_samples);
        let expected = height.checked_mul(width).and_then(|n| n.checked_mul(n_samples));
        if expected != Some(samples.len()) || samples.is_empty() || n_samples > usize::from(u16::MAX) {
            return Err(FormatError::malformed(format!(
                "expected {height} x {width} x {n_samples} samples to write, at least one, found {}",
                samples.len()
            )));
        }
        let sample_type = samples.sample_type();
        let float = matches!(sample_type, SampleType::Float16 | SampleType::Float32 | SampleType::Float64);
        if options.predictor == Predictor::FloatingPoint && !float {
            return Err(FormatError::malformed("the floating-point predictor needs float samples"));
        }
        let row_bytes = width * n_samples * sample_type.size_bytes();
        let (chunk_width, chunk_height) = match options.chunks {
            ChunkShape::Auto => (width, (STRIP_BYTES / row_bytes).clamp(1, height)),
            ChunkShape::Rows(rows) => (width, (rows as usize).min(height)),
            ChunkShape::Tiles(width, height) => (width as usize, height as usize),
        };
        let tiled = matches!(options.chunks, ChunkShape::Tiles(..));
        let bytes = samples.as_bytes();
        Ok(Self { bytes, sample_type, height, width, n_samples, chunk_height, chunk_width, tiled })
    }

    fn is_colour(&self) -> bool {
        matches!(self.n_samples, 3 | 4)
    }

    fn pixel_bytes(&self) -> usize {
        self.n_samples * self.sample_type.size_bytes()
    }

    fn chunk_row_bytes(&self) -> usize {
        self.chunk_width * self.pixel_bytes()
    }

    /// Copies one strip or tile, in native order; tiles are filled up with zeros.
    fn chunk(&self, top: usize, left: usize, chunk: &mut Vec<u8>) {
        let pixel = self.pixel_bytes();
        let n_rows = self.chunk_height.min(self.height - top);
        let n_columns = self.chunk_width.min(self.width - left);
        chunk.clear();
        for row in top..top + n_rows {
            let start = (row * self.width + left) * pixel;
            chunk.extend_from_slice(&self.bytes[start..start + n_columns * pixel]);
            chunk.resize(chunk.len() + (self.chunk_width - n_columns) * pixel, 0);
        }
        if self.tiled {
            chunk.resize(self.chunk_height * self.chunk_row_bytes(), 0);
        }
    }

    /// Applies the predictor and the file's byte order.
    fn prepare(&self, chunk: &mut [u8], options: &WriteOptions) {
        let size = self.sample_type.size_bytes();
        let mut scratch = Vec::new();
        for row in chunk.chunks_exact_mut(self.chunk_row_bytes()) {
            match options.predictor {
                Predictor::None => {}
                Predictor::Horizontal => samples::apply_horizontal(row, size, self.n_samples),
                Predictor::FloatingPoint => {
                    samples::apply_floating(row, size, self.n_samples, &mut scratch);
                }
            }
        }
        if options.byte_order != ByteOrder::NATIVE && options.predictor != Predictor::FloatingPoint {
            samples::swap_bytes(chunk, size);
        }
    }
}

const fn sample_format(sample_type: SampleType) -> u16 {
    match sample_type {
        SampleType::Uint8 | SampleType::Uint16 | SampleType::Uint32 | SampleType::Uint64 => 1,
        SampleType::Int8 | SampleType::Int16 | SampleType::Int32 | SampleType::Int64 => 2,
        SampleType::Float16 | SampleType::Float32 | SampleType::Float64 => 3,
    }
}

/// The resolution as a fraction with the largest denominator that fits.
fn pixels_per_cm(pixel_size_um: f64, order: ByteOrder) -> Vec<u8> {
    let pixels = 1e4 / pixel_size_um;
    let mut denominator = 1_000_000_u32;
    while denominator > 1 && pixels * f64::from(denominator) > f64::from(u32::MAX) {
        denominator /= 10;
    }
    let numerator = (pixels * f64::from(denominator)).round().clamp(0.0, f64::from(u32::MAX)) as u32;
    [order.u32_bytes(numerator), order.u32_bytes(denominator)].concat()
}

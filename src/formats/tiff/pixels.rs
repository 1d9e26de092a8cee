//! Decodes one page: strips and tiles into rows, planes of samples into interleaved pixels.

use std::io::{Read, Seek};

use rayon::prelude::*;

use super::codecs::{self, Compression};
use super::directory::FileReader;
use super::layout::Layout;
use super::tags::{ByteOrder, Predictor};
use super::{fax, jpeg, samples};
use crate::formats::{FetchedPlane, FormatError, Limits, Plane, encoded_bytes_max};

/// Photometric interpretation YCbCr.
const YCBCR: u64 = 6;
/// Planes below this are decoded by one thread: handing strips around costs more than it saves.
const PARALLEL_BYTES_MIN: u64 = 1 << 20;

/// How the pixels of a page are stored.
#[derive(Debug)]
pub(super) struct StoredPage {
    pub(super) layout: Layout,
    pub(super) jpeg_tables: Vec<u8>,
}

impl StoredPage {
    /// Reads the pixels, one strip or tile after the other.
    ///
    /// # Errors
    /// `over_limit` when the plane or one of its tiles exceeds `plane_bytes_max`, before anything is allocated;
    /// `unsupported` for a compression that is not read; `malformed` for damaged data.
    pub(super) fn read<R: Read + Seek>(
        &self,
        reader: &mut FileReader<R>,
        limits: &Limits,
        plane: &mut Plane,
    ) -> Result<(), FormatError> {
        self.check(limits)?;
        let layout = &self.layout;
        plane.reshape(layout.shape(), layout.sample_type);
        let out = plane.samples.as_bytes_mut();
        if layout.is_plain() && !layout.tiled && !layout.planar {
            return read_plain_strips(reader, layout, out);
        }
        let mut decoder = Decoder::new(self);
        let mut encoded = Vec::new();
        for (band, rows) in out.chunks_mut(layout.band_bytes()).enumerate() {
            for place in Place::in_band(layout, band) {
                let chunk = layout.chunks[place.index];
                check_size("a compressed strip or tile", chunk.length, limits)?;
                encoded.resize(chunk.length as usize, 0);
                reader.read_at(chunk.offset, &mut encoded)?;
                self.turn_bits(&mut encoded);
                decoder.decode_into(&place, &encoded, rows)?;
            }
        }
        Ok(())
    }

    /// Takes the plane out of the file: strips or tiles of a compressed page as they are stored; decoded, where they are not
    /// compressed or larger than what they hold.
    ///
    /// # Errors
    /// As [`Self::read`].
    pub(super) fn fetch<R: Read + Seek>(
        self,
        reader: &mut FileReader<R>,
        limits: &Limits,
    ) -> Result<FetchedPlane, FormatError> {
        self.check(limits)?;
        let chunks = &self.layout.chunks;
        let total = chunks.iter().map(|chunk| chunk.length).fold(0, u64::saturating_add);
        let is_compressed = self.layout.compression != Compression::None;
        if !is_compressed || total > encoded_bytes_max(self.layout.plane_bytes()) {
            let mut plane = Plane::empty();
            self.read(reader, limits, &mut plane)?;
            return Ok(FetchedPlane::decoded(plane));
        }
        let mut encoded = vec![0; total as usize];
        let mut starts = Vec::with_capacity(chunks.len());
        let mut start = 0;
        for chunk in chunks {
            let end = start + chunk.length as usize;
            reader.read_at(chunk.offset, &mut encoded[start..end])?;
            starts.push(start);
            start = end;
        }
        self.turn_bits(&mut encoded);
        let page = EncodedPage { page: self, encoded, starts };
        Ok(FetchedPlane::encoded(move |plane| page.decode(plane)))
    }

    fn check(&self, limits: &Limits) -> Result<(), FormatError> {
        self.layout.compression.check_supported()?;
        check_size("a plane", self.layout.plane_bytes(), limits)?;
        check_size("a strip or tile", self.layout.chunk_bytes(), limits)
    }

    /// Undoes the reversed order of bits, which JPEG has none of.
    fn turn_bits(&self, encoded: &mut [u8]) {
        if self.layout.bits_reversed && self.layout.compression != Compression::Jpeg {
            samples::reverse_bits(encoded);
        }
    }
}

/// A compressed page in memory.
#[derive(Debug)]
struct EncodedPage {
    page: StoredPage,
    /// Strips or tiles, one behind the other.
    encoded: Vec<u8>,
    /// Where each of them starts.
    starts: Vec<usize>,
}

impl EncodedPage {
    /// Decodes the pixels: strips and rows of tiles side by side on the rayon pool that this is called from.
    ///
    /// # Errors
    /// `malformed` for damaged data: the error of the first strip or row of tiles that has one.
    fn decode(&self, plane: &mut Plane) -> Result<(), FormatError> {
        let layout = &self.page.layout;
        plane.reshape(layout.shape(), layout.sample_type);
        let bands = plane.samples.as_bytes_mut();
        let decode = |decoder: &mut Decoder, (band, rows): (usize, &mut [u8])| {
            let mut places = Place::in_band(layout, band);
            places.try_for_each(|place| decoder.decode_into(&place, self.chunk(place.index), rows))
        };
        if layout.plane_bytes() < PARALLEL_BYTES_MIN || layout.chunk_height >= layout.height {
            let mut decoder = Decoder::new(&self.page);
            let mut bands = bands.chunks_mut(layout.band_bytes()).enumerate();
            return bands.try_for_each(|band| decode(&mut decoder, band));
        }
        let bands = bands.par_chunks_mut(layout.band_bytes()).enumerate();
        let results: Vec<_> = bands.map_init(|| Decoder::new(&self.page), decode).collect();
        results.into_iter().collect()
    }

    fn chunk(&self, index: usize) -> &[u8] {
        &self.encoded[self.starts[index]..][..self.page.layout.chunks[index].length as usize]
    }
}

/// Refuses what exceeds the configured plane size.
fn check_size(what: &str, bytes: u64, limits: &Limits) -> Result<(), FormatError> {
    if bytes <= limits.plane_bytes_max && usize::try_from(bytes).is_ok() {
        return Ok(());
    }
    Err(FormatError::over_limit(format!(
        "{what} of {bytes} bytes, plane_bytes_max is {}",
        limits.plane_bytes_max
    )))
}

/// Strips whose bytes are the samples: read in place, neighbours in one go.
fn read_plain_strips<R: Read + Seek>(
    reader: &mut FileReader<R>,
    layout: &Layout,
    out: &mut [u8],
) -> Result<(), FormatError> {
    let row_bytes = layout.stored_row_bytes() as usize;
    let (mut start, mut end) = (0, 0);
    let mut run_at = 0;
    for (index, chunk) in layout.chunks.iter().enumerate() {
        let needed = row_bytes * layout.stored_rows(index) as usize;
        check_length(chunk.length, needed)?;
        if chunk.offset != run_at + (end - start) as u64 {
            reader.read_at(run_at, &mut out[start..end])?;
            (start, run_at) = (end, chunk.offset);
        }
        end += needed;
    }
    reader.read_at(run_at, &mut out[start..end])?;
    if layout.order != ByteOrder::NATIVE {
        samples::swap_bytes(out, layout.sample_type.size_bytes());
    }
    Ok(())
}

fn check_length(found: u64, needed: usize) -> Result<(), FormatError> {
    if found >= needed as u64 {
        return Ok(());
    }
    Err(FormatError::malformed(format!("expected {needed} bytes in a strip or tile, found {found}")))
}

/// Decodes strips and tiles of one page, in memory of its own that is used again.
struct Decoder<'a> {
    layout: &'a Layout,
    jpeg_tables: &'a [u8],
    piece: Vec<u8>,
    packed: Vec<u8>,
    scratch: Vec<u8>,
}

impl<'a> Decoder<'a> {
    fn new(page: &'a StoredPage) -> Self {
        let StoredPage { layout, jpeg_tables } = page;
        Self { layout, jpeg_tables, piece: Vec::new(), packed: Vec::new(), scratch: Vec::new() }
    }

    /// Decodes one strip or tile into its place among the rows of its band: strips that span the image at once, tiles and
    /// strips of single samples aside first.
    fn decode_into(&mut self, place: &Place, encoded: &[u8], rows: &mut [u8]) -> Result<(), FormatError> {
        let layout = self.layout;
        if !layout.tiled && !layout.planar {
            return self.decode(place.index, encoded, rows);
        }
        let row_bytes =
            layout.chunk_width as usize * layout.chunk_samples() as usize * layout.sample_type.size_bytes();
        let mut piece = std::mem::take(&mut self.piece);
        piece.resize(row_bytes * layout.stored_rows(place.index) as usize, 0);
        self.decode(place.index, encoded, &mut piece)?;
        place.copy(layout, &piece, row_bytes, rows);
        self.piece = piece;
        Ok(())
    }

    /// Decodes one strip or tile to native samples.
    fn decode(&mut self, index: usize, encoded: &[u8], out: &mut [u8]) -> Result<(), FormatError> {
        let layout = self.layout;
        let result = match layout.compression {
            Compression::Jpeg => self.decode_jpeg(index, encoded, out),
            Compression::CcittRle | Compression::Fax3 | Compression::Fax4 => self.decode_fax(encoded, out),
            _ if layout.is_packed() => self.decode_packed(index, encoded, out),
            _ => self.decode_whole_bytes(encoded, out),
        };
        result.map_err(|error| error.at(layout.chunks[index].offset))
    }

    fn decode_whole_bytes(&mut self, encoded: &[u8], out: &mut [u8]) -> Result<(), FormatError> {
        let layout = self.layout;
        let size = layout.sample_type.size_bytes();
        let stride = layout.chunk_samples() as usize;
        codecs::decompress(layout.compression, encoded, out)?;
        if layout.order != ByteOrder::NATIVE && layout.predictor != Predictor::FloatingPoint {
            samples::swap_bytes(out, size);
        }
        let rows = out.chunks_exact_mut(layout.chunk_width as usize * stride * size);
        match layout.predictor {
            Predictor::None => {}
            Predictor::Horizontal => rows.for_each(|row| samples::undo_horizontal(row, size, stride)),
            Predictor::FloatingPoint => {
                rows.for_each(|row| samples::undo_floating(row, size, stride, &mut self.scratch));
            }
        }
        Ok(())
    }

    fn decode_packed(&mut self, index: usize, encoded: &[u8], out: &mut [u8]) -> Result<(), FormatError> {
        let layout = self.layout;
        if layout.predictor == Predictor::FloatingPoint {
            return Err(FormatError::unsupported(
                "the floating-point predictor on packed samples is not read",
            ));
        }
        let size = layout.sample_type.size_bytes();
        let stride = layout.chunk_samples() as usize;
        let packed_row = layout.stored_row_bytes() as usize;
        self.packed.resize(packed_row * layout.stored_rows(index) as usize, 0);
        codecs::decompress(layout.compression, encoded, &mut self.packed)?;
        let rows = out.chunks_exact_mut(layout.chunk_width as usize * stride * size);
        for (stored, row) in self.packed.chunks_exact(packed_row).zip(rows) {
            samples::unpack_bits(stored, layout.bits, row, size);
            if layout.predictor == Predictor::Horizontal {
                samples::undo_horizontal(row, size, stride);
                samples::mask_bits(row, layout.bits, size);
            }
        }
        Ok(())
    }

    fn decode_fax(&self, encoded: &[u8], out: &mut [u8]) -> Result<(), FormatError> {
        let layout = self.layout;
        if layout.bits != 1 || layout.chunk_samples() != 1 {
            return Err(FormatError::malformed("expected one sample of one bit under a fax compression"));
        }
        fax::decode(layout.compression, layout.t4_options, encoded, layout.chunk_width as usize, out)
    }

    fn decode_jpeg(&self, index: usize, encoded: &[u8], out: &mut [u8]) -> Result<(), FormatError> {
        let layout = self.layout;
        if layout.bits != 8 {
            return Err(FormatError::unsupported(format!("JPEG of {} bits is not read", layout.bits)));
        }
        let expected = jpeg::Expected {
            width: layout.chunk_width as usize,
            rows: layout.stored_rows(index) as usize,
            n_samples: layout.chunk_samples() as usize,
            ycbcr: layout.photometric == YCBCR,
        };
        jpeg::decode(self.jpeg_tables, encoded, expected, out)
    }
}

/// Where a strip or tile belongs in its band: the rows that its row of tiles, or its strip, spans.
struct Place {
    index: usize,
    left: usize,
    sample: usize,
}

impl Place {
    /// All strips or tiles of a band.
    fn in_band(layout: &Layout, band: usize) -> impl Iterator<Item = Self> {
        let across = layout.width.div_ceil(layout.chunk_width) as usize;
        let down = layout.height.div_ceil(layout.chunk_height) as usize;
        let chunk_width = layout.chunk_width as usize;
        let n_layers = if layout.planar { layout.n_samples as usize } else { 1 };
        (0..n_layers).flat_map(move |sample| {
            (0..across).map(move |column| Self {
                index: (sample * down + band) * across + column,
                left: column * chunk_width,
                sample,
            })
        })
    }

    fn copy(&self, layout: &Layout, piece: &[u8], piece_row: usize, rows: &mut [u8]) {
        let size = layout.sample_type.size_bytes();
        let pixel = layout.n_samples as usize * size;
        let width = layout.width as usize;
        let n_columns = (layout.chunk_width as usize).min(width - self.left);
        for (row, stored) in rows.chunks_exact_mut(width * pixel).zip(piece.chunks_exact(piece_row)) {
            let row = &mut row[self.left * pixel..(self.left + n_columns) * pixel];
            if layout.planar {
                let column = row.chunks_exact_mut(pixel).zip(stored.chunks_exact(size));
                for (pixel, value) in column {
                    pixel[self.sample * size..][..size].copy_from_slice(value);
                }
            } else {
                row.copy_from_slice(&stored[..n_columns * pixel]);
            }
        }
    }
}

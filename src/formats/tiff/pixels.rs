//! Decodes one page: strips and tiles into rows, planes of samples into interleaved pixels.

use std::io::{Read, Seek};

use super::codecs::{self, Compression};
use super::directory::FileReader;
use super::layout::Layout;
use super::tags::{ByteOrder, Predictor};
use super::{fax, jpeg, samples};
use crate::formats::{FormatError, Limits, Plane};

/// Photometric interpretation YCbCr.
const YCBCR: u64 = 6;

/// Reads the pixels of a page.
///
/// # Errors
/// `over_limit` when the plane or one of its tiles exceeds `plane_bytes_max`, before anything is allocated;
/// `unsupported` for a compression that is not read; `malformed` for damaged data.
pub(super) fn read_plane<R: Read + Seek>(
    reader: &mut FileReader<R>,
    layout: &Layout,
    (jpeg_tables, limits): (&[u8], &Limits),
    plane: &mut Plane,
) -> Result<(), FormatError> {
    layout.compression.check_supported()?;
    check_size("a plane", layout.plane_bytes(), limits)?;
    check_size("a strip or tile", layout.chunk_bytes(), limits)?;
    let shape = [layout.height, layout.width, layout.n_samples].map(|n| n as usize);
    plane.reshape(shape, layout.sample_type);
    let mut decoder = Decoder {
        reader,
        layout,
        jpeg_tables,
        limits,
        compressed: Vec::new(),
        packed: Vec::new(),
        scratch: Vec::new(),
    };
    let out = plane.samples.as_bytes_mut();
    match (layout.tiled || layout.planar, layout.is_plain()) {
        (false, true) => decoder.read_plain_strips(out),
        (false, false) => decoder.read_strips(out),
        (true, _) => decoder.read_pieces(out),
    }
}

/// Refuses what exceeds the configured plane size.
pub(super) fn check_size(what: &str, bytes: u64, limits: &Limits) -> Result<(), FormatError> {
    if bytes <= limits.plane_bytes_max && usize::try_from(bytes).is_ok() {
        return Ok(());
    }
    Err(FormatError::over_limit(format!(
        "{what} of {bytes} bytes, plane_bytes_max is {}",
        limits.plane_bytes_max
    )))
}

struct Decoder<'a, R> {
    reader: &'a mut FileReader<R>,
    layout: &'a Layout,
    jpeg_tables: &'a [u8],
    limits: &'a Limits,
    compressed: Vec<u8>,
    packed: Vec<u8>,
    scratch: Vec<u8>,
}

impl<R: Read + Seek> Decoder<'_, R> {
    /// Strips whose bytes are the samples: read in place, neighbours in one go.
    fn read_plain_strips(&mut self, out: &mut [u8]) -> Result<(), FormatError> {
        let layout = self.layout;
        let row_bytes = layout.stored_row_bytes() as usize;
        let (mut start, mut end) = (0, 0);
        let mut run_at = 0;
        for (index, chunk) in layout.chunks.iter().enumerate() {
            let needed = row_bytes * layout.stored_rows(index) as usize;
            check_length(chunk.length, needed)?;
            if chunk.offset != run_at + (end - start) as u64 {
                self.reader.read_at(run_at, &mut out[start..end])?;
                (start, run_at) = (end, chunk.offset);
            }
            end += needed;
        }
        self.reader.read_at(run_at, &mut out[start..end])?;
        if layout.order != ByteOrder::NATIVE {
            samples::swap_bytes(out, layout.sample_type.size_bytes());
        }
        Ok(())
    }

    /// Strips that span the image: each is decoded in place.
    fn read_strips(&mut self, out: &mut [u8]) -> Result<(), FormatError> {
        let layout = self.layout;
        let row_bytes = layout.width as usize * layout.n_samples as usize * layout.sample_type.size_bytes();
        let mut rest = out;
        for index in 0..layout.chunks.len() {
            let (strip, after) = rest.split_at_mut(row_bytes * layout.stored_rows(index) as usize);
            self.decode(index, strip)?;
            rest = after;
        }
        Ok(())
    }

    /// Tiles, and strips of single samples: decoded aside, then put in place.
    fn read_pieces(&mut self, out: &mut [u8]) -> Result<(), FormatError> {
        let layout = self.layout;
        let across = layout.width.div_ceil(layout.chunk_width) as usize;
        let down = layout.height.div_ceil(layout.chunk_height) as usize;
        let mut piece = Vec::new();
        let piece_row =
            layout.chunk_width as usize * layout.chunk_samples() as usize * layout.sample_type.size_bytes();
        for index in 0..layout.chunks.len() {
            piece.resize(piece_row * layout.stored_rows(index) as usize, 0);
            self.decode(index, &mut piece)?;
            let place = Place {
                top: index / across % down * layout.chunk_height as usize,
                left: index % across * layout.chunk_width as usize,
                sample: index / (across * down),
            };
            place.copy(layout, &piece, piece_row, out);
        }
        Ok(())
    }

    /// Decodes one strip or tile to native samples.
    fn decode(&mut self, index: usize, out: &mut [u8]) -> Result<(), FormatError> {
        let layout = self.layout;
        let result = match layout.compression {
            Compression::Jpeg => self.decode_jpeg(index, out),
            Compression::CcittRle | Compression::Fax3 | Compression::Fax4 => self.decode_fax(index, out),
            _ if layout.is_packed() => self.decode_packed(index, out),
            _ => self.decode_whole_bytes(index, out),
        };
        result.map_err(|error| error.at(layout.chunks[index].offset))
    }

    fn decode_whole_bytes(&mut self, index: usize, out: &mut [u8]) -> Result<(), FormatError> {
        let layout = self.layout;
        let size = layout.sample_type.size_bytes();
        let stride = layout.chunk_samples() as usize;
        self.stored_bytes(index, out)?;
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

    fn decode_packed(&mut self, index: usize, out: &mut [u8]) -> Result<(), FormatError> {
        let layout = self.layout;
        if layout.predictor == Predictor::FloatingPoint {
            return Err(FormatError::unsupported(
                "the floating-point predictor on packed samples is not read",
            ));
        }
        let size = layout.sample_type.size_bytes();
        let stride = layout.chunk_samples() as usize;
        let packed_row = layout.stored_row_bytes() as usize;
        let mut packed = std::mem::take(&mut self.packed);
        packed.resize(packed_row * layout.stored_rows(index) as usize, 0);
        self.stored_bytes(index, &mut packed)?;
        let rows = out.chunks_exact_mut(layout.chunk_width as usize * stride * size);
        for (stored, row) in packed.chunks_exact(packed_row).zip(rows) {
            samples::unpack_bits(stored, layout.bits, row, size);
            if layout.predictor == Predictor::Horizontal {
                samples::undo_horizontal(row, size, stride);
                samples::mask_bits(row, layout.bits, size);
            }
        }
        self.packed = packed;
        Ok(())
    }

    fn decode_fax(&mut self, index: usize, out: &mut [u8]) -> Result<(), FormatError> {
        let layout = self.layout;
        if layout.bits != 1 || layout.chunk_samples() != 1 {
            return Err(FormatError::malformed("expected one sample of one bit under a fax compression"));
        }
        self.load(index)?;
        let width = layout.chunk_width as usize;
        fax::decode(layout.compression, layout.t4_options, &self.compressed, width, out)
    }

    fn decode_jpeg(&mut self, index: usize, out: &mut [u8]) -> Result<(), FormatError> {
        let layout = self.layout;
        if layout.bits != 8 {
            return Err(FormatError::unsupported(format!("JPEG of {} bits is not read", layout.bits)));
        }
        self.load(index)?;
        let expected = jpeg::Expected {
            width: layout.chunk_width as usize,
            rows: layout.stored_rows(index) as usize,
            n_samples: layout.chunk_samples() as usize,
            ycbcr: layout.photometric == YCBCR,
        };
        jpeg::decode(self.jpeg_tables, &self.compressed, expected, out)
    }

    /// Fills `out` with a strip's or tile's bytes after decompression.
    fn stored_bytes(&mut self, index: usize, out: &mut [u8]) -> Result<(), FormatError> {
        let layout = self.layout;
        if layout.compression == Compression::None {
            let chunk = layout.chunks[index];
            check_length(chunk.length, out.len())?;
            self.reader.read_at(chunk.offset, out)?;
            if layout.bits_reversed {
                samples::reverse_bits(out);
            }
            return Ok(());
        }
        self.load(index)?;
        codecs::decompress(layout.compression, &self.compressed, out)
    }

    /// Reads the compressed bytes of a strip or tile.
    fn load(&mut self, index: usize) -> Result<(), FormatError> {
        let chunk = self.layout.chunks[index];
        check_size("a compressed strip or tile", chunk.length, self.limits)?;
        self.compressed.resize(chunk.length as usize, 0);
        self.reader.read_at(chunk.offset, &mut self.compressed)?;
        if self.layout.bits_reversed && self.layout.compression != Compression::Jpeg {
            samples::reverse_bits(&mut self.compressed);
        }
        Ok(())
    }
}

fn check_length(found: u64, needed: usize) -> Result<(), FormatError> {
    if found >= needed as u64 {
        return Ok(());
    }
    Err(FormatError::malformed(format!("expected {needed} bytes in a strip or tile, found {found}")))
}

/// Where a tile, or a strip of one sample, belongs.
struct Place {
    top: usize,
    left: usize,
    sample: usize,
}

impl Place {
    fn copy(&self, layout: &Layout, piece: &[u8], piece_row: usize, out: &mut [u8]) {
        let size = layout.sample_type.size_bytes();
        let pixel = layout.n_samples as usize * size;
        let width = layout.width as usize;
        let n_columns = (layout.chunk_width as usize).min(width - self.left);
        let rows = out.chunks_exact_mut(width * pixel).skip(self.top);
        for (row, stored) in rows.zip(piece.chunks_exact(piece_row)) {
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

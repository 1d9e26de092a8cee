//! The pixels of a frame: rows that may be padded, components that may belong to several channels, zlib or plain.

use std::io::{ErrorKind, Read, Seek, SeekFrom};

use super::attributes::{Attributes, Compression};
use super::chunks::{FRAME_DATA_DISTANCE, FRAME_PREFIX, read_chunk_header};
use super::metadata::ChannelLayout;
use crate::formats::inflate::{Inflated, inflate};
use crate::formats::{FetchedPlane, FormatError, Limits, Plane};

/// Frames of several channels up to this size are kept until another frame is asked for, so that their channels cost
/// one read; larger ones are streamed once per channel.
pub(crate) const FRAME_CACHE_BYTES_MAX: u64 = 64 << 20;
/// Rows are streamed in blocks of about this size.
const BLOCK_BYTES: usize = 1 << 20;
/// A frame's data starts with its time in milliseconds.
const TIME_BYTES: u64 = 8;

/// Reads the planes of one file.
#[derive(Debug)]
pub(crate) struct FrameReader {
    attributes: Attributes,
    /// Frames up to this size are kept.
    kept_bytes_max: u64,
    /// The frame whose rows are in `rows`, and their length.
    cached: Option<(u32, usize)>,
    rows: Vec<u8>,
    /// The last compressed frame, kept for its memory.
    encoded: Vec<u8>,
}

impl FrameReader {
    pub(crate) fn new(attributes: Attributes, limits: &Limits) -> Self {
        let kept_bytes_max = FRAME_CACHE_BYTES_MAX.min(limits.plane_bytes_max);
        Self { attributes, kept_bytes_max, cached: None, rows: Vec::new(), encoded: Vec::new() }
    }

    /// The frame that is kept, for tests.
    #[cfg(test)]
    pub(crate) fn kept_frame(&self) -> Option<u32> {
        self.cached.map(|(frame, _)| frame)
    }

    pub(crate) fn attributes(&self) -> &Attributes {
        &self.attributes
    }

    /// Decodes one channel of one frame.
    ///
    /// # Errors
    /// `malformed` for a missing or damaged frame, `incomplete` for one that the file cuts off.
    pub(crate) fn read_plane(
        &mut self,
        source: &mut (impl Read + Seek),
        place: FramePlace,
        layout: &ChannelLayout,
        plane: &mut Plane,
    ) -> Result<(), FormatError> {
        let frame = place.frame;
        let gather = Gather::new(&self.attributes, layout);
        let Attributes { height, width, sample_type, .. } = self.attributes;
        // their size was checked against the limits when the file was opened
        plane.reshape([height, width, layout.n_samples].map(|n| n as usize), sample_type);
        let out = plane.samples.as_bytes_mut();
        match self.cached {
            Some((own, row_bytes)) if own == frame => gather.rows(&self.rows, row_bytes, out),
            _ => {
                let offset = place.offset.ok_or_else(|| {
                    FormatError::malformed(format!(
                        "frame {frame} is missing: the chunk map has no entry for it"
                    ))
                })?;
                let file_length = place.file_length;
                self.decode(&mut FrameSource { source, frame, offset, file_length }, &gather, out)
                    .map_err(|error| error.at(offset))?;
            }
        }
        if cfg!(target_endian = "big") {
            plane.samples.swap_bytes();
        }
        Ok(())
    }

    /// Takes a plane out of the file: a compressed frame of a single channel as it is stored, anything else decoded.
    ///
    /// # Errors
    /// As [`Self::read_plane`].
    pub(crate) fn fetch(
        &mut self,
        source: &mut (impl Read + Seek),
        place: FramePlace,
        layout: &ChannelLayout,
    ) -> Result<FetchedPlane, FormatError> {
        let attributes = self.attributes;
        let row_bytes = attributes.row_bytes_stated.max(attributes.row_bytes_packed());
        let takes_whole_rows = Gather::new(&attributes, layout).takes_whole_rows(row_bytes as usize);
        let is_apart = attributes.compression == Compression::Zlib && takes_whole_rows;
        let FramePlace { frame, offset, file_length } = place;
        let Some(offset) = offset.filter(|_| is_apart) else {
            let mut plane = Plane::empty();
            self.read_plane(source, place, layout, &mut plane)?;
            return Ok(FetchedPlane::decoded(plane));
        };
        let mut encoded = Vec::new();
        let from = &mut FrameSource { source, frame, offset, file_length };
        let data_length = from.seek_to_pixels().map_err(|error| error.at(offset))?;
        read_encoded(from.source, (row_bytes * u64::from(attributes.height), data_length), &mut encoded)
            .map_err(|error| error.at(offset))?;
        let frame = EncodedFrame { attributes, n_samples: layout.n_samples, offset, encoded };
        Ok(FetchedPlane::encoded(move |plane| frame.decode(plane)))
    }

    /// The time that stands before the pixels of a frame, in milliseconds; `None` for no number.
    ///
    /// # Errors
    /// As [`Self::read_plane`].
    pub(crate) fn time_ms(
        &self,
        source: &mut (impl Read + Seek),
        place: FramePlace,
    ) -> Result<Option<f64>, FormatError> {
        let FramePlace { frame, offset: Some(offset), file_length } = place else { return Ok(None) };
        let mut frame = FrameSource { source, frame, offset, file_length };
        frame.seek_to_pixels()?;
        frame.source.seek_relative(-(TIME_BYTES as i64))?;
        let mut time = [0; TIME_BYTES as usize];
        frame.source.read_exact(&mut time)?;
        Ok(Some(f64::from_le_bytes(time)).filter(|time| time.is_finite()))
    }

    fn decode<S: Read + Seek>(
        &mut self,
        from: &mut FrameSource<'_, S>,
        gather: &Gather,
        out: &mut [u8],
    ) -> Result<(), FormatError> {
        let data_length = from.seek_to_pixels()?;
        self.cached = None;
        let (row_bytes, kept) = match self.attributes.compression {
            Compression::None => {
                let row_bytes = self.row_bytes(data_length)?;
                (row_bytes, self.fill(from.source, row_bytes, gather, out)?)
            }
            Compression::Zlib => {
                let row_bytes =
                    self.attributes.row_bytes_stated.max(self.attributes.row_bytes_packed()) as usize;
                let kept = self.inflate(from.source, (row_bytes, data_length), gather, out)?;
                (row_bytes, kept)
            }
        };
        self.cached = kept.then_some((from.frame, row_bytes));
        Ok(())
    }

    /// Bytes from one row to the next: as stated, unless the length of the frame says otherwise.
    fn row_bytes(&self, data_length: u64) -> Result<usize, FormatError> {
        let height = u64::from(self.attributes.height);
        let packed = self.attributes.row_bytes_packed();
        let stated = self.attributes.row_bytes_stated.max(packed);
        let exact = [stated, packed, packed.next_multiple_of(4)];
        let fits = |row_bytes: &u64| row_bytes.checked_mul(height) == Some(data_length);
        let with_rest =
            || stated.checked_mul(height).is_some_and(|n| n < data_length && data_length - n < stated);
        match exact.into_iter().find(fits) {
            Some(row_bytes) => Ok(row_bytes as usize),
            None if with_rest() => Ok(stated as usize),
            None => {
                let message = format!("expected a frame of {height} rows of {stated} bytes");
                Err(FormatError::malformed(format!("{message}, found {data_length} bytes")))
            }
        }
    }

    /// Decompresses a frame into `out` and says, as [`Self::fill`], whether `self.rows` holds its rows: in one go where all
    /// of it may be held, else streamed.
    fn inflate(
        &mut self,
        source: &mut impl Read,
        (row_bytes, data_length): (usize, u64),
        gather: &Gather,
        out: &mut [u8],
    ) -> Result<bool, FormatError> {
        let frame_bytes = row_bytes as u64 * u64::from(self.attributes.height);
        let whole_rows = gather.takes_whole_rows(row_bytes);
        if !whole_rows && frame_bytes > self.kept_bytes_max {
            let mut stream = flate2::read::ZlibDecoder::new(source.take(data_length));
            let kept = self.fill(&mut stream, row_bytes, gather, out)?;
            expect_end(&mut stream)?;
            return Ok(kept);
        }
        read_encoded(source, (frame_bytes, data_length), &mut self.encoded)?;
        if whole_rows {
            inflate_frame(&self.encoded, out)?;
        } else {
            self.rows.resize(frame_bytes as usize, 0);
            inflate_frame(&self.encoded, &mut self.rows)?;
            gather.rows(&self.rows, row_bytes, out);
        }
        if self.encoded.capacity() as u64 > self.kept_bytes_max {
            self.encoded = Vec::new();
        }
        Ok(gather.is_one_of_several())
    }

    /// Reads all rows of a frame into `out`, and says whether `self.rows` still holds all of them.
    fn fill(
        &mut self,
        input: &mut impl Read,
        row_bytes: usize,
        gather: &Gather,
        out: &mut [u8],
    ) -> Result<bool, FormatError> {
        let height = self.attributes.height as usize;
        if gather.takes_whole_rows(row_bytes) {
            read_rows(input, out)?;
            return Ok(false);
        }
        let frame_bytes = row_bytes as u64 * u64::from(self.attributes.height);
        let keeps = gather.is_one_of_several() && frame_bytes <= self.kept_bytes_max;
        let rows_per_block = if keeps { height } else { (BLOCK_BYTES / row_bytes).clamp(1, height) };
        self.rows.resize(rows_per_block * row_bytes, 0);
        for out in out.chunks_mut(rows_per_block * gather.row_bytes_out) {
            let rows = &mut self.rows[..out.len() / gather.row_bytes_out * row_bytes];
            read_rows(input, rows)?;
            gather.rows(rows, row_bytes, out);
        }
        Ok(keeps)
    }
}

/// A compressed frame of one channel in memory.
#[derive(Debug)]
struct EncodedFrame {
    attributes: Attributes,
    n_samples: u32,
    /// Where it stands in the file, for errors.
    offset: u64,
    encoded: Vec<u8>,
}

impl EncodedFrame {
    /// Decodes the pixels.
    ///
    /// # Errors
    /// `malformed` for a damaged frame.
    fn decode(&self, plane: &mut Plane) -> Result<(), FormatError> {
        let Attributes { height, width, sample_type, .. } = self.attributes;
        plane.reshape([height, width, self.n_samples].map(|n| n as usize), sample_type);
        inflate_frame(&self.encoded, plane.samples.as_bytes_mut()).map_err(|error| error.at(self.offset))?;
        if cfg!(target_endian = "big") {
            plane.samples.swap_bytes();
        }
        Ok(())
    }
}

/// Which frame, and where its chunk starts; `None` for one that was never written.
#[derive(Debug, Clone, Copy)]
pub(crate) struct FramePlace {
    pub(crate) frame: u32,
    pub(crate) offset: Option<u64>,
    /// Size of the file when it was opened.
    pub(crate) file_length: u64,
}

/// A frame to be read.
struct FrameSource<'a, S> {
    source: &'a mut S,
    frame: u32,
    offset: u64,
    file_length: u64,
}

impl<S: Read + Seek> FrameSource<'_, S> {
    /// Checks the header, passes the time, and gives the bytes that follow.
    fn seek_to_pixels(&mut self) -> Result<u64, FormatError> {
        let mut name = FRAME_PREFIX.to_vec();
        name.extend(format!("{}!", self.frame).bytes());
        let extent = read_chunk_header(self.source, self.offset, &name, self.file_length)?;
        let distance = extent.data_offset - self.offset;
        if distance != FRAME_DATA_DISTANCE {
            let message = format!("expected the data of a frame {FRAME_DATA_DISTANCE} bytes from its start");
            return Err(FormatError::malformed(format!("{message}, found {distance}")));
        }
        let length = extent.data_length.checked_sub(TIME_BYTES);
        let length =
            length.ok_or_else(|| FormatError::malformed("expected a frame to start with its time"))?;
        self.source.seek(SeekFrom::Start(extent.data_offset + TIME_BYTES))?;
        Ok(length)
    }
}

/// Picks the samples of one channel out of interleaved rows.
struct Gather {
    attributes: Attributes,
    /// Bytes of a pixel, all channels.
    pixel_bytes: usize,
    /// Where the channel's bytes start in a pixel, and how many they are.
    start: usize,
    own_bytes: usize,
    row_bytes_out: usize,
}

impl Gather {
    fn new(attributes: &Attributes, layout: &ChannelLayout) -> Self {
        let sample_bytes = attributes.sample_type.size_bytes();
        let own_bytes = layout.n_samples as usize * sample_bytes;
        Self {
            attributes: *attributes,
            pixel_bytes: attributes.pixel_bytes(),
            start: layout.first_component as usize * sample_bytes,
            own_bytes,
            row_bytes_out: own_bytes * attributes.width as usize,
        }
    }

    fn is_one_of_several(&self) -> bool {
        self.own_bytes < self.pixel_bytes
    }

    fn takes_whole_rows(&self, row_bytes: usize) -> bool {
        row_bytes == self.row_bytes_out
    }

    fn rows(&self, rows: &[u8], row_bytes: usize, out: &mut [u8]) {
        for (row, out) in rows.chunks_exact(row_bytes).zip(out.chunks_exact_mut(self.row_bytes_out)) {
            let row = &row[..self.pixel_bytes * self.attributes.width as usize];
            match (self.is_one_of_several(), self.own_bytes) {
                (false, _) => out.copy_from_slice(row),
                (true, 1) => self.pixels::<1>(row, out),
                (true, 2) => self.pixels::<2>(row, out),
                (true, 4) => self.pixels::<4>(row, out),
                (true, own_bytes) => {
                    let pixels = row.chunks_exact(self.pixel_bytes).zip(out.chunks_exact_mut(own_bytes));
                    pixels.for_each(|(pixel, own)| {
                        own.copy_from_slice(&pixel[self.start..self.start + own_bytes])
                    });
                }
            }
        }
    }

    /// One sample of `N` bytes per pixel; the constant size is what makes it fast.
    fn pixels<const N: usize>(&self, row: &[u8], out: &mut [u8]) {
        let own = |pixel: &[u8]| -> [u8; N] {
            pixel[self.start..self.start + N].try_into().expect("a range of N bytes")
        };
        let (out, _) = out.as_chunks_mut::<N>();
        out.iter_mut().zip(row.chunks_exact(self.pixel_bytes)).for_each(|(out, pixel)| *out = own(pixel));
    }
}

/// Reads all of `rows`. A stream that is damaged or too short is `malformed`: its chunk lies inside the file.
fn read_rows(input: &mut impl Read, rows: &mut [u8]) -> Result<(), FormatError> {
    input.read_exact(rows).map_err(|error| match error.kind() {
        ErrorKind::InvalidData | ErrorKind::InvalidInput | ErrorKind::UnexpectedEof => {
            FormatError::malformed(format!("the pixels of the frame are damaged or too few: {error}"))
        }
        _ => error.into(),
    })
}

/// Reads a compressed frame of `frame_bytes` decoded and `data_length` stored bytes. What zlib cannot make smaller grows by
/// 5 bytes in 16 KiB at most; what follows the stream is not looked at.
fn read_encoded(
    source: &mut impl Read,
    (frame_bytes, data_length): (u64, u64),
    encoded: &mut Vec<u8>,
) -> Result<(), FormatError> {
    let encoded_max = frame_bytes + frame_bytes / 2048 + 4096;
    encoded.resize(data_length.min(encoded_max) as usize, 0);
    read_rows(source, encoded)
}

/// Fills `rows`, and asks that the stream ends there with its checksum.
fn inflate_frame(encoded: &[u8], rows: &mut [u8]) -> Result<(), FormatError> {
    let Inflated { n, ended } = inflate(encoded, rows)?;
    match (n == rows.len(), ended) {
        (true, true) => Ok(()),
        (false, true) => {
            let message = format!("expected {} bytes in a compressed frame, found {n}", rows.len());
            Err(FormatError::malformed(message))
        }
        (true, false) => Err(FormatError::malformed("a compressed frame holds more than its rows")),
        (false, false) => Err(FormatError::malformed("a compressed frame ends before its last row")),
    }
}

/// A compressed frame must end with its last row; reaching its end is also what checks its checksum.
fn expect_end(stream: &mut impl Read) -> Result<(), FormatError> {
    match stream.read(&mut [0]) {
        Ok(0) => Ok(()),
        Ok(_) => Err(FormatError::malformed("a compressed frame holds more than its rows")),
        Err(error) => Err(FormatError::malformed(format!("the compressed frame is damaged: {error}"))),
    }
}

//! Writes ND2 files: fixtures for tests, the files of the demo, synthetic acquisitions.
//!
//! The order of the chunks is that of NIS-Elements: metadata, frames as they come, attributes and map last. A file
//! whose writer is dropped before [`Nd2Writer::finish`] is therefore exactly what a growing or abandoned acquisition
//! looks like; [`Nd2Writer::n_bytes_written`] tells where each frame ends. The layout is checked against independent
//! readers.

mod chunks;
mod spec;
mod trees;

use std::io::{self, Write};

use crate::formats::{Channel, Plane};
use crate::units::SampleType;

use chunks::ChunkWriter;
pub use spec::{Nd2Compression, Nd2Loop, Nd2Objective, Nd2RowLength, Nd2Spec, Nd2Version};

/// Writes one ND2 file, frame by frame in the order of the loops.
#[derive(Debug)]
pub struct Nd2Writer<W: Write> {
    spec: Nd2Spec,
    out: ChunkWriter<W>,
    n_frames_passed: u64,
    frame: Vec<u8>,
}

impl<W: Write> Nd2Writer<W> {
    /// Writes the head of the file and the loops.
    ///
    /// # Errors
    /// `InvalidInput` for a spec that ND2 cannot hold (no pixels, no channel, an empty loop, another sample type),
    /// and whatever `out` says.
    pub fn new(out: W, spec: Nd2Spec) -> io::Result<Self> {
        let loops_are_full = spec.loops.iter().all(|own| own.n() > 0);
        let samples_are_known = matches!(
            spec.sample_type,
            SampleType::Uint8 | SampleType::Uint16 | SampleType::Uint32 | SampleType::Float32
        );
        if spec.height == 0
            || spec.width == 0
            || spec.n_components() == 0
            || !loops_are_full
            || !samples_are_known
        {
            return Err(misuse(
                "expected pixels, channels, loops that run, and samples of a type that ND2 holds",
            ));
        }
        if u32::try_from(spec.row_bytes()).is_err()
            || !spec.row_bytes().is_multiple_of(spec.sample_type.size_bytes())
        {
            return Err(misuse("expected rows of whole samples, shorter than 4 GiB"));
        }
        let mut out = ChunkWriter::new(out, spec.version)?;
        if let Some(experiment) = trees::experiment(&spec.loops) {
            out.metadata("ImageMetadata", "", "SLxExperiment", experiment)?;
        }
        Ok(Self { spec, out, n_frames_passed: 0, frame: Vec::new() })
    }

    /// Bytes given to the output so far; a file cut here holds whole chunks only.
    pub fn n_bytes_written(&self) -> u64 {
        self.out.position()
    }

    /// Writes the next frame: one plane per channel.
    ///
    /// # Errors
    /// `InvalidInput` when the planes are not those of the spec or all frames are written, and whatever the output
    /// says.
    pub fn write_frame(&mut self, planes: &[Plane]) -> io::Result<()> {
        let frame_index = self.next_frame()?;
        self.interleave(planes)?;
        let [x, y, z, time_ms] = self.spec.place_and_time(frame_index);
        let tree = trees::picture(&self.spec, [x, y, z], time_ms);
        self.out.metadata("ImageMetadataSeq", &format!("|{frame_index}"), "SLxPictureMetadata", tree)?;
        let zlib_level = match self.spec.compression {
            Nd2Compression::None => None,
            Nd2Compression::Zlib(level) => Some(level),
        };
        self.out.frame(frame_index, time_ms, &self.frame, zlib_level)
    }

    /// Writes the next frame from rows that are interleaved already, for tests of files that do not fit into memory.
    #[cfg(test)]
    pub(super) fn write_rows(&mut self, rows: &[u8]) -> io::Result<()> {
        let frame_index = self.next_frame()?;
        let [.., time_ms] = self.spec.place_and_time(frame_index);
        self.out.frame(frame_index, time_ms, rows, None)
    }

    /// Leaves the next frame out, as an acquisition with a gap does.
    ///
    /// # Errors
    /// `InvalidInput` when all frames are written.
    pub fn skip_frame(&mut self) -> io::Result<()> {
        self.next_frame().map(drop)
    }

    /// Writes attributes and map, and gives the output back. Frames not yet written are gaps.
    ///
    /// # Errors
    /// Whatever the output says.
    pub fn finish(mut self) -> io::Result<W> {
        if let Some(text) = trees::text_info(&self.spec) {
            self.out.metadata("ImageTextInfo", "", "SLxImageTextInfo", text)?;
        }
        for (column, name) in ["X", "Y", "Z", "AcqTimesCache"].into_iter().enumerate() {
            let frames = 0..self.spec.n_frames();
            let values = frames.flat_map(|frame| self.spec.place_and_time(frame)[column].to_le_bytes());
            self.out.chunk(&format!("CustomData|{name}"), &values.collect::<Vec<u8>>())?;
        }
        let attributes = trees::attributes(&self.spec);
        self.out.metadata("ImageAttributes", "", "SLxImageAttributes", attributes)?;
        self.out.finish()
    }

    fn next_frame(&mut self) -> io::Result<u64> {
        if self.n_frames_passed >= self.spec.n_frames() {
            return Err(misuse("all frames that the loops ask for are written"));
        }
        self.n_frames_passed += 1;
        Ok(self.n_frames_passed - 1)
    }

    /// Fills `self.frame` with rows of interleaved components.
    fn interleave(&mut self, planes: &[Plane]) -> io::Result<()> {
        let spec = &self.spec;
        let sample_size = spec.sample_type.size_bytes();
        let fits = |(plane, (_, n_samples)): (&Plane, &(Channel, u32))| {
            (plane.height, plane.width, plane.n_samples)
                == (spec.height as usize, spec.width as usize, *n_samples as usize)
                && plane.samples.sample_type() == spec.sample_type
                && plane.samples.len() == plane.height * plane.width * plane.n_samples
        };
        if planes.len() != spec.channels.len() || !planes.iter().zip(&spec.channels).all(fits) {
            return Err(misuse("expected one plane per channel, of the shape and type of the spec"));
        }
        let (row_bytes, pixel_bytes) = (spec.row_bytes(), spec.n_components() * sample_size);
        self.frame.clear();
        self.frame.resize(row_bytes * spec.height as usize, 0);
        let mut start = 0;
        for plane in planes {
            let mut little_endian = Vec::with_capacity(plane.size_bytes());
            plane.for_each_little_endian_bytes(|bytes| little_endian.extend_from_slice(bytes));
            let own_bytes = plane.n_samples * sample_size;
            let rows = little_endian.chunks_exact(own_bytes * plane.width);
            for (row, source) in self.frame.chunks_exact_mut(row_bytes).zip(rows) {
                let pixels = row.chunks_exact_mut(pixel_bytes).zip(source.chunks_exact(own_bytes));
                pixels.for_each(|(pixel, own)| pixel[start..start + own_bytes].copy_from_slice(own));
            }
            start += own_bytes;
        }
        Ok(())
    }
}

fn misuse(message: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, message)
}

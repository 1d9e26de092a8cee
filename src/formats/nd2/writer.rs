//! Writes ND2 files: fixtures for tests, the files of the demo, synthetic acquisitions.
//!
//! The order of the chunks is that of NIS-Elements: metadata, frames as they come, attributes and map last. A file
//! whose writer is dropped before [`Nd2Writer::finish`] is therefore exactly what a growing or abandoned acquisition
//! looks like; [`Nd2Writer::n_bytes_written`] tells where each frame ends. The layout is checked against independent
//! readers.

mod chunks;
mod trees;

use std::io::{self, Write};

use crate::formats::{Channel, Plane, Position};
use crate::units::SampleType;

use chunks::ChunkWriter;

/// How metadata is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Nd2Version {
    /// Version 3.0, binary metadata.
    #[default]
    V3,
    /// Version 2.1, XML metadata.
    V2,
}

/// How frames are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Nd2Compression {
    /// As they are.
    #[default]
    None,
    /// One zlib stream per frame, level 0 (stored) to 9.
    Zlib(u32),
}

/// How long a stored row is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Nd2RowLength {
    /// Padded to a multiple of four bytes, as NIS-Elements does.
    #[default]
    MultipleOfFour,
    /// Not padded.
    Packed,
    /// So many bytes more than the pixels need; a whole number of samples.
    PaddedBy(u32),
}

/// One loop of the acquisition.
#[derive(Debug, Clone, PartialEq)]
pub enum Nd2Loop {
    /// Time points at a fixed period.
    Time {
        /// Number of time points.
        n: u32,
        /// Milliseconds between them.
        period_ms: f64,
    },
    /// Time points of several phases, each with its own period: (number, milliseconds between them).
    TimePhases(Vec<(u32, f64)>),
    /// Stage positions, written relative to the first one when `relative`.
    Positions {
        /// The positions, in order; absent coordinates are written as 0.
        points: Vec<Position>,
        /// Whether x and y are stored as differences from a reference.
        relative: bool,
    },
    /// Focus steps.
    ZStack {
        /// Number of steps.
        n: u32,
        /// Micrometres between them.
        step_um: f64,
    },
    /// A loop of the user's own; read as time.
    Custom {
        /// Number of rounds.
        n: u32,
    },
}

impl Nd2Loop {
    /// How often the loop runs.
    pub fn n(&self) -> u64 {
        match self {
            Self::Time { n, .. } | Self::ZStack { n, .. } | Self::Custom { n } => u64::from(*n),
            Self::TimePhases(phases) => phases.iter().map(|(n, _)| u64::from(*n)).sum(),
            Self::Positions { points, .. } => points.len() as u64,
        }
    }
}

/// The objective that a file names.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Nd2Objective {
    /// Its name, such as `Plan Apo 20x`.
    pub name: String,
    /// The magnification in the objective's settings; without it the settings are left out, as old versions do, and a
    /// reader has only the name.
    pub magnification: Option<f64>,
    /// Numerical aperture.
    pub numerical_aperture: Option<f64>,
}

/// What a file holds beside its pixels.
#[derive(Debug, Clone, PartialEq)]
pub struct Nd2Spec {
    /// Rows of a frame.
    pub height: u32,
    /// Columns of a frame.
    pub width: u32,
    /// `Uint8`, `Uint16`, `Uint32`, `Float32`.
    pub sample_type: SampleType,
    /// Bits that carry signal.
    pub significant_bits: u32,
    /// Each channel and its samples per pixel: 1, or 3 for RGB.
    pub channels: Vec<(Channel, u32)>,
    /// Loops from the outermost to the innermost; none for a single frame.
    pub loops: Vec<Nd2Loop>,
    /// Side of a pixel in micrometres; `None` is written as not calibrated.
    pub pixel_size_um: Option<f64>,
    /// The objective.
    pub objective: Option<Nd2Objective>,
    /// Stage position where no loop of positions says otherwise.
    pub stage: Position,
    /// Start of the acquisition, in any text.
    pub acquired_at: Option<String>,
    /// How metadata is written.
    pub version: Nd2Version,
    /// How frames are stored.
    pub compression: Nd2Compression,
    /// How long a stored row is.
    pub row_length: Nd2RowLength,
}

impl Nd2Spec {
    /// A single frame of one unnamed channel, uncompressed, version 3, not calibrated.
    pub fn new(height: u32, width: u32, sample_type: SampleType) -> Self {
        Self {
            height,
            width,
            sample_type,
            significant_bits: 8 * sample_type.size_bytes() as u32,
            channels: vec![(Channel::default(), 1)],
            loops: Vec::new(),
            pixel_size_um: None,
            objective: None,
            stage: Position::default(),
            acquired_at: None,
            version: Nd2Version::default(),
            compression: Nd2Compression::default(),
            row_length: Nd2RowLength::default(),
        }
    }

    /// Frames that the loops ask for.
    pub fn n_frames(&self) -> u64 {
        self.loops.iter().map(Nd2Loop::n).fold(1, u64::saturating_mul)
    }

    fn n_components(&self) -> usize {
        self.channels.iter().map(|(_, n_samples)| *n_samples as usize).sum()
    }

    /// Bytes of one row without padding.
    fn row_bytes_packed(&self) -> usize {
        self.width as usize * self.n_components() * self.sample_type.size_bytes()
    }

    /// Bytes from one stored row to the next.
    fn row_bytes(&self) -> usize {
        let packed = self.row_bytes_packed();
        match self.row_length {
            Nd2RowLength::MultipleOfFour => packed.next_multiple_of(4),
            Nd2RowLength::Packed => packed,
            Nd2RowLength::PaddedBy(n) => packed + n as usize,
        }
    }

    /// Position and time (milliseconds) of frame `frame_index`: `[x, y, z, t]`.
    fn place_and_time(&self, frame_index: u64) -> [f64; 4] {
        let coordinate = |value: Option<f64>| value.unwrap_or(0.0);
        let mut place = [self.stage.x_um, self.stage.y_um, self.stage.z_um].map(coordinate);
        let (mut z_um, mut time_ms) = (0.0, 0.0);
        let mut rest = frame_index;
        for own in self.loops.iter().rev() {
            let index = rest % own.n().max(1);
            rest /= own.n().max(1);
            match own {
                Nd2Loop::Time { period_ms, .. } => time_ms += index as f64 * period_ms,
                Nd2Loop::TimePhases(phases) => {
                    let periods = phases.iter().flat_map(|(n, period_ms)| (0..*n).map(|_| *period_ms));
                    time_ms += periods.take(index as usize).sum::<f64>();
                }
                Nd2Loop::Positions { points, .. } => {
                    let point = &points[index as usize];
                    place = [point.x_um, point.y_um, point.z_um].map(coordinate);
                }
                Nd2Loop::ZStack { step_um, .. } => z_um += index as f64 * step_um,
                Nd2Loop::Custom { .. } => {}
            }
        }
        let [x, y, z] = place;
        [x, y, z + z_um, time_ms]
    }
}

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
        if u32::try_from(spec.row_bytes()).is_err() || spec.row_bytes() % spec.sample_type.size_bytes() != 0 {
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

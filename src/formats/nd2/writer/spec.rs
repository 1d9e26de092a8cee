//! What a written file holds beside its pixels, and how it is stored.

use crate::formats::{Channel, Position};
use crate::units::SampleType;

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

    pub(super) fn n_components(&self) -> usize {
        self.channels.iter().map(|(_, n_samples)| *n_samples as usize).sum()
    }

    /// Bytes of one row without padding.
    fn row_bytes_packed(&self) -> usize {
        self.width as usize * self.n_components() * self.sample_type.size_bytes()
    }

    /// Bytes from one stored row to the next.
    pub(super) fn row_bytes(&self) -> usize {
        let packed = self.row_bytes_packed();
        match self.row_length {
            Nd2RowLength::MultipleOfFour => packed.next_multiple_of(4),
            Nd2RowLength::Packed => packed,
            Nd2RowLength::PaddedBy(n) => packed + n as usize,
        }
    }

    /// Position and time (milliseconds) of frame `frame_index`: `[x, y, z, t]`.
    pub(super) fn place_and_time(&self, frame_index: u64) -> [f64; 4] {
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

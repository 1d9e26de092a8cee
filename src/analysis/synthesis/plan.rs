//! What is written where: files, their planes, and from which look at which scene each plane comes.

use std::sync::Arc;

use crate::formats::{Channel, Dims, Format};
use crate::units::PlaneIndex;

use super::optics::View;
use super::scene::Scene;

/// Milliseconds between two time points.
pub(super) const PERIOD_MS: f64 = 600_000.0;
/// Micrometres between two focus steps.
pub(super) const Z_STEP_UM: f64 = 2.0;

/// The channels, in their order: every second one shows nuclei.
const CHANNELS: [(&str, [u8; 3], f64); 4] = [
    ("DAPI", [0, 0, 255], 461.0),
    ("GFP", [0, 255, 0], 509.0),
    ("mCherry", [255, 0, 0], 610.0),
    ("Cy5", [255, 0, 255], 670.0),
];

/// The channel at `index`.
pub(super) fn channel(index: usize) -> Channel {
    let (name, color, emission_nm) = CHANNELS[index];
    Channel { name: name.into(), color_rgb: Some(color), emission_nm: Some(emission_nm) }
}

/// One exposure: the same shot gives the same samples.
#[derive(Debug, Clone)]
pub(super) struct Shot {
    /// The cells that are seen; none in an empty well.
    pub(super) scene: Arc<Scene>,
    /// How they are seen.
    pub(super) view: View,
    /// Another one gives another exposure.
    pub(super) noise_seed: u64,
    /// What was done to the samples afterwards.
    pub(super) change: Change,
}

/// What an export does to samples.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Change {
    /// Nothing.
    None,
    /// 8 bits, from black to the brightest nuclei, with a gamma of one half.
    EightBits,
    /// Half the contrast upon another offset.
    Dimmer,
    /// A quarter turn clockwise.
    Rotated,
    /// Columns in reverse order.
    Mirrored,
}

/// One plane of a file.
#[derive(Debug, Clone)]
pub(super) struct PlannedPlane {
    pub(super) index: PlaneIndex,
    pub(super) shot: Shot,
    /// When the file says that it was exposed; a stuck frame's shot is older.
    pub(super) time_ms: f64,
    pub(super) z_um: f64,
}

/// The container of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Container {
    Nd2,
    /// With zlib frames.
    Nd2Packed,
    /// One plane.
    Tiff,
    /// One plane, deflated, with other words in its description.
    TiffPacked,
    OmeTiff,
    /// Deflated.
    OmeTiffPacked,
}

impl Container {
    pub(super) const fn format(self) -> Format {
        match self {
            Self::Nd2 | Self::Nd2Packed => Format::Nd2,
            _ => Format::Tiff,
        }
    }

    pub(super) const fn is_plain_tiff(self) -> bool {
        matches!(self, Self::Tiff | Self::TiffPacked)
    }

    /// The same kind, compressed.
    pub(super) const fn packed(self) -> Self {
        match self {
            Self::Nd2 | Self::Nd2Packed => Self::Nd2Packed,
            Self::Tiff | Self::TiffPacked => Self::TiffPacked,
            Self::OmeTiff | Self::OmeTiffPacked => Self::OmeTiffPacked,
        }
    }
}

/// How a file is spoiled after it was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Damage {
    None,
    /// The compressed pixels are overwritten.
    Pixels,
    /// No image at all, only its name.
    NoImage,
}

/// One file.
#[derive(Debug, Clone)]
pub(super) struct PlannedFile {
    /// Below the acquisition's folder, with `/`.
    pub(super) path: String,
    pub(super) well: String,
    pub(super) container: Container,
    pub(super) planes: Vec<PlannedPlane>,
    /// Start of the acquisition.
    pub(super) acquired_at: String,
    pub(super) damage: Damage,
}

impl PlannedFile {
    /// The first plane: it speaks for the file.
    pub(super) fn first(&self) -> &PlannedPlane {
        self.planes.first().expect("a planned file has planes")
    }

    /// Lengths of its axes.
    pub(super) fn dims(&self) -> Dims {
        let length = |axis: fn(&PlaneIndex) -> u32| {
            self.planes.iter().map(|plane| axis(&plane.index) + 1).max().unwrap_or(1)
        };
        let side = self.first().shot.view.side_px as u32;
        let (t, z, c) = (length(|index| index.t), length(|index| index.z), length(|index| index.c));
        Dims { t, p: 1, z, c, y: side, x: side, s: 1 }
    }

    /// Channels in the order of its planes.
    pub(super) fn channels(&self) -> Vec<Channel> {
        let n = self.dims().c as usize;
        self.planes[..n].iter().map(|plane| channel(plane.shot.view.channel)).collect()
    }

    /// Bits of a sample.
    pub(super) fn is_8_bit(&self) -> bool {
        self.first().shot.change == Change::EightBits
    }

    /// What the stage reads, as the file says it.
    pub(super) fn stage_um(&self) -> [f64; 2] {
        let view = &self.first().shot.view;
        [0, 1].map(|axis| view.centre_um[axis] - view.objective.stage_error_um[axis])
    }
}

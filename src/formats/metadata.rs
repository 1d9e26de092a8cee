//! One metadata model for every format: what a container holds, in units that are said in the names.

use serde::{Deserialize, Serialize};

use crate::units::{PlaneIndex, SampleType};

/// The container formats that are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[allow(missing_docs, reason = "each name is its own explanation")]
pub enum Format {
    Nd2,
    Tiff,
    Png,
    Jpeg,
    Bmp,
}

impl Format {
    /// The name used in reports, such as `nd2`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Nd2 => "nd2",
            Self::Tiff => "tiff",
            Self::Png => "png",
            Self::Jpeg => "jpeg",
            Self::Bmp => "bmp",
        }
    }
}

/// Lengths of the axes; 1 where an axis is absent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub struct Dims {
    /// Time points.
    pub t: u32,
    /// Stage positions.
    pub p: u32,
    /// Focus steps.
    pub z: u32,
    /// Channels.
    pub c: u32,
    /// Rows.
    pub y: u32,
    /// Columns.
    pub x: u32,
    /// Interleaved samples per pixel.
    pub s: u32,
}

/// One channel as the container names it.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Channel {
    /// The name as written, such as `SD DAPI- EM`; empty when the container has none.
    pub name: String,
    /// Emission colour as red, green, blue (0 to 255).
    pub color_rgb: Option<[u8; 3]>,
    /// Emission wavelength in nanometres.
    pub emission_nm: Option<f64>,
}

/// One stage position.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Position {
    /// The name as written, or empty.
    pub name: String,
    /// Stage x in micrometres.
    pub x_um: Option<f64>,
    /// Stage y in micrometres.
    pub y_um: Option<f64>,
    /// Stage z in micrometres.
    pub z_um: Option<f64>,
}

/// What a container says of itself. Absent values are `None`, never a made-up number.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Metadata {
    /// The container format.
    pub format: Format,
    /// Axis lengths; `y, x, s` are those of the first plane.
    pub dims: Dims,
    /// Sample type of the first plane.
    pub sample_type: SampleType,
    /// Bits of a sample that carry signal, 1 to 64.
    pub significant_bits: u32,
    /// Whether the samples are compressed with loss, as JPEG does, in a TIFF too.
    pub is_lossy: bool,
    /// Side of a pixel in micrometres (already includes zoom and binning).
    pub pixel_size_um: Option<f64>,
    /// Distance of focus steps in micrometres.
    pub z_step_um: Option<f64>,
    /// Magnification printed on the objective.
    pub nominal_magnification: Option<f64>,
    /// The objective's name.
    pub objective: Option<String>,
    /// Numerical aperture of the objective.
    pub numerical_aperture: Option<f64>,
    /// Channels in order; `dims.c` of them, or none when the container names none.
    pub channels: Vec<Channel>,
    /// Stage positions in order; `dims.p` of them, or none when the container has no stage data.
    pub positions: Vec<Position>,
    /// Start of the acquisition as the container writes it.
    pub acquired_at: Option<String>,
    /// Names of other files that hold more planes of the same set, as the container writes them (OME-TIFF).
    pub other_files: Vec<String>,
}

/// When and where one plane was exposed, as far as the container says.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct PlaneDetails {
    /// Milliseconds since the start of the acquisition.
    pub time_ms: Option<f64>,
    /// Stage x in micrometres.
    pub x_um: Option<f64>,
    /// Stage y in micrometres.
    pub y_um: Option<f64>,
    /// Stage z in micrometres.
    pub z_um: Option<f64>,
}

impl Metadata {
    /// How good an original the container is among others of the same exposure: deeper samples, then lossless
    /// formats, then more metadata rank higher. Depth is that of the sample type: how many bits of it carry signal is known
    /// of originals, and of their exports mostly not.
    pub fn quality_rank(&self) -> i64 {
        let named = self.channels.iter().any(|channel| !channel.name.is_empty());
        let known = [
            self.pixel_size_um.is_some(),
            self.z_step_um.is_some(),
            self.nominal_magnification.is_some(),
            self.objective.is_some(),
            self.numerical_aperture.is_some(),
            self.acquired_at.is_some(),
            !self.positions.is_empty(),
            named,
        ];
        let richness = known.into_iter().filter(|known| *known).count() as i64;
        let bits = 8 * self.sample_type.size_bytes() as i64;
        bits * 100 + i64::from(!self.is_lossy) * 50 + richness
    }
}

/// One plane of a container as its directory lists it, before any pixel is read.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PlaneEntry {
    /// Where the plane stands.
    pub index: PlaneIndex,
    /// Rows.
    pub height: u32,
    /// Columns.
    pub width: u32,
    /// Interleaved samples per pixel.
    pub n_samples: u32,
    /// Type of the samples.
    pub sample_type: SampleType,
    /// Listed by the container's shape, but never written (a gap in the acquisition).
    pub missing: bool,
    /// Milliseconds since the start of the acquisition, where recorded without reading pixels.
    pub time_ms: Option<f64>,
}

impl PlaneEntry {
    /// Bytes of the decoded plane.
    pub fn decoded_bytes(&self) -> u64 {
        let n =
            u64::from(self.height).saturating_mul(self.width.into()).saturating_mul(self.n_samples.into());
        n.saturating_mul(self.sample_type.size_bytes() as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bare(format: Format, sample_type: SampleType) -> Metadata {
        Metadata {
            format,
            dims: Dims { t: 1, p: 1, z: 1, c: 1, y: 8, x: 8, s: 1 },
            sample_type,
            significant_bits: 8 * sample_type.size_bytes() as u32,
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
        }
    }

    #[test]
    fn depth_counts_before_losslessness_and_that_before_metadata() {
        let deep = bare(Format::Tiff, SampleType::Uint16);
        let shallow = bare(Format::Png, SampleType::Uint8);
        let lossy = Metadata {
            pixel_size_um: Some(0.5),
            z_step_um: Some(1.0),
            nominal_magnification: Some(20.0),
            objective: Some("20x".into()),
            numerical_aperture: Some(0.8),
            channels: vec![Channel { name: "DAPI".into(), ..Channel::default() }],
            positions: vec![Position::default()],
            acquired_at: Some("2026-01-01".into()),
            ..bare(Format::Jpeg, SampleType::Uint8)
        };
        // an original of 12 bits beside its export, of which nobody knows how many bits carry signal
        let original = Metadata {
            significant_bits: 12,
            objective: Some("20x".into()),
            ..bare(Format::Nd2, SampleType::Uint16)
        };
        let ranks = [&original, &deep, &shallow, &lossy].map(Metadata::quality_rank);
        assert!(ranks.is_sorted_by(|better, worse| better > worse), "{ranks:?}");
    }
}

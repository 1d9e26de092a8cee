//! The shape of a frame: `ImageAttributes`.

use super::value::Level;
use crate::formats::{FormatError, Limits};
use crate::units::SampleType;

/// How frames are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Compression {
    None,
    Zlib,
}

/// What every frame of a file has in common.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Attributes {
    pub(crate) width: u32,
    pub(crate) height: u32,
    /// Interleaved components of one pixel, over all channels.
    pub(crate) n_components: u32,
    pub(crate) sample_type: SampleType,
    pub(crate) significant_bits: u32,
    /// Bytes from one row to the next as the file states it; 0 where it does not.
    pub(crate) row_bytes_stated: u64,
    /// Frames that the acquisition counted.
    pub(crate) n_frames: u64,
    pub(crate) compression: Compression,
}

impl Attributes {
    /// Reads and checks the attributes.
    ///
    /// # Errors
    /// `malformed` for a frame without pixels or rows shorter than their pixels, `unsupported` for a sample type or a
    /// compression that is not read, `over_limit` for one component larger than a plane may be.
    pub(crate) fn parse(root: &Level, limits: &Limits) -> Result<Self, FormatError> {
        let root = root.unwrapped("SLxImageAttributes");
        let positive = |name: &str| {
            let value =
                root.count(name).and_then(|value| u32::try_from(value).ok()).filter(|value| *value > 0);
            value.ok_or_else(|| {
                FormatError::malformed(format!("expected {name} above 0 in the image attributes"))
            })
        };
        let (width, height) = (positive("uiWidth")?, positive("uiHeight")?);
        let n_components = root.get("uiComp").map_or(Ok(1), |_| positive("uiComp"))?;
        let bits = positive("uiBpcInMemory")?;
        let sample_type = sample_type(bits, root.count("ePixelType"))?;
        let attributes = Self {
            width,
            height,
            n_components,
            sample_type,
            significant_bits: root
                .count("uiBpcSignificant")
                .filter(|own| (1..=u64::from(bits)).contains(own))
                .map_or(bits, |own| own as u32),
            row_bytes_stated: root.count("uiWidthBytes").unwrap_or(0),
            n_frames: root.count("uiSequenceCount").unwrap_or(0),
            compression: compression(root)?,
        };
        attributes.check(limits)?;
        Ok(attributes)
    }

    fn check(&self, limits: &Limits) -> Result<(), FormatError> {
        let component_bytes =
            u64::from(self.width) * u64::from(self.height) * self.sample_type.size_bytes() as u64;
        if component_bytes > limits.plane_bytes_max {
            let message = format!("a plane of {} x {} pixels exceeds the limit of", self.height, self.width);
            return Err(FormatError::over_limit(format!("{message} {} bytes", limits.plane_bytes_max)));
        }
        let packed = self.row_bytes_packed();
        if self.row_bytes_stated != 0 && self.row_bytes_stated < packed {
            let message =
                format!("expected rows of at least {packed} bytes, found {}", self.row_bytes_stated);
            return Err(FormatError::malformed(message));
        }
        if packed.max(self.row_bytes_stated) > limits.plane_bytes_max
            || u64::from(self.n_components) > limits.planes_max
        {
            let message =
                format!("rows of {} components of {packed} bytes exceed the limits", self.n_components);
            return Err(FormatError::over_limit(message));
        }
        Ok(())
    }

    /// Bytes of one pixel with all its components.
    pub(crate) fn pixel_bytes(&self) -> usize {
        self.n_components as usize * self.sample_type.size_bytes()
    }

    /// Bytes of one row without padding.
    pub(crate) fn row_bytes_packed(&self) -> u64 {
        u64::from(self.width).saturating_mul(self.pixel_bytes() as u64)
    }
}

/// Unsigned, or float where the file says so; 32 bits without a word on it are float, as NIS-Elements has no other.
fn sample_type(bits: u32, pixel_type: Option<u64>) -> Result<SampleType, FormatError> {
    const UNSIGNED: u64 = 1;
    const FLOAT: u64 = 2;
    match (bits, pixel_type) {
        (8, None | Some(0 | UNSIGNED)) => Ok(SampleType::Uint8),
        (16, None | Some(0 | UNSIGNED)) => Ok(SampleType::Uint16),
        (32, Some(UNSIGNED)) => Ok(SampleType::Uint32),
        (32, None | Some(0 | FLOAT)) => Ok(SampleType::Float32),
        (64, Some(FLOAT)) => Ok(SampleType::Float64),
        _ => {
            let kind = pixel_type.map_or_else(String::new, |kind| format!(" of pixel type {kind}"));
            Err(FormatError::unsupported(format!("samples of {bits} bits{kind} are not read")))
        }
    }
}

fn compression(root: &Level) -> Result<Compression, FormatError> {
    match root.get("eCompression").map(|value| value.as_u64()) {
        None | Some(Some(2)) => Ok(Compression::None),
        Some(Some(0)) => Ok(Compression::Zlib),
        Some(Some(1)) => Err(FormatError::unsupported("lossy compressed ND2 is not read")),
        Some(other) => Err(FormatError::unsupported(format!("ND2 compression {other:?} is not known"))),
    }
}

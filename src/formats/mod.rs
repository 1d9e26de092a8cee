//! From bytes to planes: what microscopes write, read through `Read + Seek` within [`Limits`].
//!
//! [`open`] sniffs the format by its first bytes (never by the file's name), checks that the container is whole and
//! lists its planes; [`Container::read_plane`] decodes one. Nothing here knows paths, clocks or threads' pools.

pub mod calibration;
pub mod error;
mod fetched;
pub mod growing;
mod inflate;
pub mod limits;
pub mod metadata;
pub mod nd2;
pub mod plane;
pub mod raster;
pub mod tiff;

use std::io::{Read, Seek};

pub use calibration::{ObjectivePixelSize, PixelSizes};
pub use error::{FormatError, FormatErrorKind};
pub use fetched::{FetchedPlane, encoded_bytes_max};
pub use growing::{ByteRange, Growing, Hint};
pub use limits::Limits;
pub use metadata::{Channel, Dims, Format, Metadata, PlaneDetails, PlaneEntry, Position};
pub use plane::{Plane, Samples};

/// Anything a container can be read from.
pub trait Source: Read + Seek + Send {}

impl<T: Read + Seek + Send> Source for T {}

/// An opened container: its metadata and the list of its planes are known, its pixels are read on demand.
pub trait Container: Send {
    /// What the container says of itself.
    fn metadata(&self) -> &Metadata;

    /// All planes in the order of [`crate::units::PlaneIndex`].
    fn planes(&self) -> &[PlaneEntry];

    /// Decodes the plane at `plane_index` of [`Self::planes`].
    ///
    /// # Errors
    /// A [`FormatError`] for this plane alone; the others stay readable. A missing plane is `malformed`.
    ///
    /// # Panics
    /// When `plane_index` is not below `planes().len()`.
    fn read_plane(&mut self, plane_index: usize) -> Result<Plane, FormatError> {
        let mut plane = Plane::empty();
        self.read_plane_into(plane_index, &mut plane)?;
        Ok(plane)
    }

    /// The same into `plane`, whose memory is used again where its type of samples stays; after an error its samples mean
    /// nothing.
    ///
    /// # Errors
    /// As [`Self::read_plane`].
    ///
    /// # Panics
    /// As [`Self::read_plane`].
    fn read_plane_into(&mut self, plane_index: usize, plane: &mut Plane) -> Result<(), FormatError>;

    /// Takes what the plane is made of out of the file, so that it can be decoded by another thread while this container
    /// reads on. What a compressed plane is stored as comes whole, [`encoded_bytes_max`] at most; anything else comes
    /// decoded.
    ///
    /// # Errors
    /// As [`Self::read_plane`]; damage inside compressed data shows when they are decoded.
    ///
    /// # Panics
    /// As [`Self::read_plane`].
    fn fetch_plane(&mut self, plane_index: usize) -> Result<FetchedPlane, FormatError> {
        Ok(FetchedPlane::decoded(self.read_plane(plane_index)?))
    }

    /// When and where the plane at `plane_index` was exposed; this may read a little of the file for every plane.
    ///
    /// # Errors
    /// Those of reading it. What the container does not say is no error, but `None`.
    ///
    /// # Panics
    /// When `plane_index` is not below `planes().len()`.
    fn plane_details(&mut self, plane_index: usize) -> Result<PlaneDetails, FormatError> {
        Ok(PlaneDetails { time_ms: self.planes()[plane_index].time_ms, ..PlaneDetails::default() })
    }

    /// A number that stands for what the plane is made of: which bytes of the file, and how they are read. Two readings
    /// of a file take the same samples for a plane when the numbers agree. `None` where a file cannot grow.
    fn place(&self, plane_index: usize) -> Option<u64> {
        let _ = plane_index;
        None
    }

    /// Bytes that stay as they are while the file only grows: of its head, of the first plane listed and of the last.
    /// None where a file cannot grow.
    ///
    /// # Errors
    /// As for [`Self::read_plane`].
    fn steady_bytes(&mut self) -> Result<Vec<ByteRange>, FormatError> {
        Ok(Vec::new())
    }
}

/// Opens a finished container.
///
/// # Errors
/// `incomplete` when the container is not whole (it may still be growing), `unsupported` when no reader knows the
/// first bytes, and as [`FormatErrorKind`] says otherwise.
pub fn open(mut source: Box<dyn Source>, limits: &Limits) -> Result<Box<dyn Container>, FormatError> {
    match sniff(&mut source)? {
        Format::Nd2 => Ok(Box::new(nd2::Nd2Container::open(source, limits)?)),
        Format::Tiff => Ok(Box::new(tiff::TiffContainer::open(source, limits)?)),
        format @ (Format::Png | Format::Jpeg | Format::Bmp) => {
            Ok(Box::new(raster::RasterContainer::open(source, format, limits)?))
        }
    }
}

/// Names the format by the first bytes and leaves the source at its start.
///
/// # Errors
/// `incomplete` for fewer than 8 bytes, `unsupported` for an unknown signature, `io` when reading fails.
pub fn sniff(source: &mut (impl Read + Seek)) -> Result<Format, FormatError> {
    const ND2: [u8; 4] = 0x0ABE_CEDA_u32.to_le_bytes();
    const ND2_LEGACY: [u8; 8] = [0, 0, 0, 12, b'j', b'P', b' ', b' '];
    let mut head = [0_u8; 8];
    source.rewind()?;
    let read = source.read_exact(&mut head);
    source.rewind()?;
    match read {
        Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => {
            return Err(FormatError::incomplete("expected at least 8 bytes of an image file").at(0));
        }
        other => other?,
    }
    match head {
        ND2_LEGACY => {
            Err(FormatError::unsupported("legacy ND2 (JPEG 2000, before NIS-Elements 3) is not read"))
        }
        [a, b, c, d, ..] if [a, b, c, d] == ND2 => Ok(Format::Nd2),
        [b'I', b'I', 42 | 43, 0, ..] | [b'M', b'M', 0, 42 | 43, ..] => Ok(Format::Tiff),
        [0x89, b'P', b'N', b'G', 0x0D, 0x0A, 0x1A, 0x0A] => Ok(Format::Png),
        [0xFF, 0xD8, 0xFF, ..] => Ok(Format::Jpeg),
        [b'B', b'M', ..] => Ok(Format::Bmp),
        [0, 0, 0, 0, 0, 0, 0, 0] => {
            Err(FormatError::incomplete("the file starts with zeros, as a pre-allocated file does").at(0))
        }
        _ => Err(FormatError::unsupported(
            "the first bytes are not those of an ND2, TIFF, PNG, JPEG or BMP file",
        )
        .at(0)),
    }
}

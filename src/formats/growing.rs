//! Containers that are still being written: planes are handed out as soon as they are known to be written, and what
//! was looked at once is not looked at again.
//!
//! A plane counts as written when something of the file's own structure follows behind it, or when the file has rested
//! and the plane lies wholly inside. Whatever cannot be known before the file is complete is never guessed: it comes
//! from the file so far, from a [`Hint`], or no plane is handed out ([`Growing::lacks`] says why).

use std::fmt;
use std::str::FromStr;

use super::{Container, Format, FormatError, Limits, Source, nd2, sniff, tiff};
use crate::units::SampleType;

/// A container that is still being written, over several looks at its file.
pub trait Growing: Send {
    /// Looks at what was appended since the last call. `at_rest` says that the file has not changed for so long that a
    /// last plane which lies wholly inside it is written, too.
    ///
    /// # Errors
    /// `io`, and `malformed` when what is there contradicts the format: then nothing more can be told before the
    /// file is complete.
    fn advance(&mut self, source: &mut dyn Source, at_rest: bool) -> Result<(), FormatError>;

    /// Why no plane can be handed out although data are there; `None` when they can.
    fn lacks(&self) -> Option<String>;

    /// How many frames or pages were found written.
    fn n_written(&self) -> u64;

    /// Whether planes are there that a hint may explain.
    fn wants_hint(&self) -> bool;

    /// Takes over what another source knows of the planes, if it fits what was found so far.
    ///
    /// # Errors
    /// Why it does not fit.
    fn take_hint(&mut self, hint: &Hint) -> Result<(), String>;

    /// The planes that were found written since the last call, as a container of their own over `source` (the same
    /// file); `None` where there is none. They are listed in the order in which they were written.
    ///
    /// # Errors
    /// `over_limit` for more or larger planes than the limits allow, and those of reading metadata.
    fn new_planes(&mut self, source: Box<dyn Source>) -> Result<Option<Box<dyn Container>>, FormatError>;
}

/// Begins to look at a file that grows, from its start; `None` where its format is not one that grows plane by plane,
/// and for an ND2 file that ends with its map: it is complete.
///
/// # Errors
/// As [`sniff`], and those of the first block of the file.
pub fn open(source: &mut dyn Source, limits: &Limits) -> Result<Option<Box<dyn Growing>>, FormatError> {
    let mut source = source;
    Ok(match sniff(&mut source)? {
        Format::Nd2 if nd2::ends_with_map(&mut source)? => None,
        Format::Nd2 => Some(Box::new(nd2::GrowingNd2::new(limits))),
        Format::Tiff => Some(Box::new(tiff::GrowingTiff::new(limits))),
        _ => None,
    })
}

/// What is known of a growing file's planes from elsewhere.
#[derive(Debug, Clone)]
pub enum Hint {
    /// From a finished file of the same run.
    Sibling(Box<nd2::SiblingHint>),
    /// From the user: the frames are one of these.
    Stated(Vec<FrameShape>),
}

impl Hint {
    /// Makes a hint of a finished ND2 file.
    ///
    /// # Errors
    /// As [`nd2::Nd2Container::open`].
    pub fn of_finished(source: Box<dyn Source>, limits: &Limits) -> Result<Self, FormatError> {
        nd2::SiblingHint::read(source, limits).map(|hint| Self::Sibling(Box::new(hint)))
    }
}

/// The frames of a camera as a user states them, such as `2048x2044 uint16`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FrameShape {
    /// Columns.
    pub width: u32,
    /// Rows.
    pub height: u32,
    /// Type of the samples.
    pub sample_type: SampleType,
}

impl FromStr for FrameShape {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let parse = || {
            let (size, name) = text.trim().split_once(char::is_whitespace)?;
            let (width, height) = size.split_once(['x', 'X'])?;
            let side = |text: &str| text.parse::<u32>().ok().filter(|side| *side > 0);
            let sample_type = match name.trim() {
                "uint8" => SampleType::Uint8,
                "uint16" => SampleType::Uint16,
                "uint32" => SampleType::Uint32,
                "float32" => SampleType::Float32,
                _ => return None,
            };
            Some(Self { width: side(width)?, height: side(height)?, sample_type })
        };
        parse().ok_or_else(|| "columns x rows and a type, such as \"2048x2044 uint16\"".to_owned())
    }
}

impl fmt::Display for FrameShape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}x{} {}", self.width, self.height, self.sample_type)
    }
}

/// A run of bytes in a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ByteRange {
    /// Bytes from the start of the file.
    pub offset: u64,
    /// How many they are.
    pub length: u64,
}

impl ByteRange {
    /// The last bytes of a range, at most a block of them.
    #[must_use]
    pub fn tail(self) -> Self {
        const BLOCK: u64 = 4096;
        let length = self.length.min(BLOCK);
        Self { offset: self.offset + (self.length - length), length }
    }
}

/// A number for what a plane is made of (bytes and their meaning): FNV-1a over the given figures.
///
/// # References
/// Fowler, Noll, Vo: FNV-1a, 64 bit (IETF draft-eastlake-fnv).
pub(super) fn place_of(figures: &[u64]) -> u64 {
    const OFFSET_BASIS: u64 = 0xCBF2_9CE4_8422_2325;
    const PRIME: u64 = 0x0000_0100_0000_01B3;
    let bytes = figures.iter().flat_map(|figure| figure.to_le_bytes());
    bytes.fold(OFFSET_BASIS, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(PRIME))
}

/// Fills as much of `out` as the source has, from `offset` on; how many bytes that was.
pub(super) fn read_up_to(source: &mut dyn Source, offset: u64, out: &mut [u8]) -> Result<usize, FormatError> {
    source.seek(std::io::SeekFrom::Start(offset))?;
    let mut n = 0;
    while n < out.len() {
        match source.read(&mut out[n..]) {
            Ok(0) => break,
            Ok(more) => n += more,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(n)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frame_shapes_are_stated_as_text() {
        let shape: FrameShape = "2048x2044 uint16".parse().unwrap();
        assert_eq!((shape.width, shape.height, shape.sample_type), (2048, 2044, SampleType::Uint16));
        assert_eq!(shape.to_string(), "2048x2044 uint16");
        for text in ["", "2048 uint16", "0x5 uint8", "2x3", "2x3 int64", "axb uint8"] {
            assert!(text.parse::<FrameShape>().is_err(), "{text:?}");
        }
    }
}

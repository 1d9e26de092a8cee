//! What is known of the frames of a growing file from elsewhere, and whether it fits.

use super::walk::Frame;
use crate::formats::growing::FrameShape;
use crate::formats::nd2::attributes::{Attributes, Compression};
use crate::formats::nd2::chunks::{self, ChunkMap, FRAME_PREFIX, read_chunk_header};
use crate::formats::nd2::contents::Contents;
use crate::formats::nd2::metadata;
use crate::formats::nd2::value::Level;
use crate::formats::{FormatError, Limits, Source};

/// A frame's data starts with its time in milliseconds.
const TIME_BYTES: u64 = 8;

/// What a finished file of the same run says of its frames.
#[derive(Debug, Clone)]
pub struct SiblingHint {
    attributes: Attributes,
    picture: Level,
    has_loops: bool,
    /// Bytes of its first frame.
    frame_bytes: u64,
}

impl SiblingHint {
    /// Reads them.
    ///
    /// # Errors
    /// As [`super::super::Nd2Container::open`], and `malformed` when it has no frame.
    pub fn read(mut source: Box<dyn Source>, limits: &Limits) -> Result<Self, FormatError> {
        if chunks::read_file_version(&mut source)? < 2 {
            return Err(FormatError::unsupported("ND2 before version 2 is not read"));
        }
        let map = ChunkMap::read(&mut source, limits)?;
        let contents = Contents::read(&mut source, &map, limits)?;
        let first = map.frames.iter().zip(0_u32..).find_map(|(offset, number)| Some(((*offset)?, number)));
        let (offset, number) = first.ok_or_else(|| FormatError::malformed("expected at least one frame"))?;
        let name = [FRAME_PREFIX, format!("{number}!").as_bytes()].concat();
        let extent = read_chunk_header(&mut source, offset, &name, map.file_length)?;
        Ok(Self {
            attributes: contents.attributes,
            picture: contents.picture().clone(),
            has_loops: map.contains("ImageMetadataLV") || map.contains("ImageMetadata"),
            frame_bytes: extent.data_length,
        })
    }

    pub(super) const fn has_loops(&self) -> bool {
        self.has_loops
    }

    /// The attributes, when a frame is as long as the sibling's and its picture was taken in the same way.
    pub(super) fn attributes_for(&self, frame: Frame, picture: &Level) -> Result<Attributes, String> {
        // every compressed frame has a length of its own; its rows are counted when it is read
        let is_fixed = self.attributes.compression == Compression::None;
        if is_fixed && frame.data.length != self.frame_bytes {
            return Err(format!("its frames have {} bytes, not {}", self.frame_bytes, frame.data.length));
        }
        if !metadata::same_setup(picture, &self.picture, &self.attributes) {
            return Err("it has other channels or optics".to_owned());
        }
        Ok(self.attributes)
    }
}

/// The attributes of uncompressed frames of one of the stated shapes, when exactly one fits.
pub(super) fn stated_attributes(
    shapes: &[FrameShape],
    frame: Frame,
    (picture, limits): (&Level, &Limits),
) -> Result<Attributes, String> {
    let n_components = metadata::n_components(picture).ok_or("its metadata do not count its channels")?;
    let fits = |shape: &&FrameShape| {
        let pixel_bytes = u64::from(n_components) * shape.sample_type.size_bytes() as u64;
        let packed = u64::from(shape.width).saturating_mul(pixel_bytes);
        let rows = [packed, packed.next_multiple_of(4)];
        rows.iter().any(|row| {
            row.saturating_mul(shape.height.into()).saturating_add(TIME_BYTES) == frame.data.length
        })
    };
    let mut fitting: Vec<_> = shapes.iter().filter(fits).collect();
    fitting.dedup();
    let [shape] = fitting.as_slice() else {
        let n = fitting.len();
        return Err(format!("{n} of the stated shapes fit frames of {} bytes", frame.data.length));
    };
    let level = Level::default()
        .with("uiWidth", shape.width)
        .with("uiHeight", shape.height)
        .with("uiComp", n_components)
        .with("uiBpcInMemory", 8 * shape.sample_type.size_bytes() as u32)
        .with("ePixelType", if shape.sample_type == crate::units::SampleType::Float32 { 2_u32 } else { 1 });
    Attributes::parse(&level, limits).map_err(|error| error.to_string())
}

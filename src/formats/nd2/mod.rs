//! ND2, the container of Nikon NIS-Elements: version 3 (binary metadata) and version 2 (XML metadata), read from
//! bytes alone.
//!
//! [`Nd2Container::open`] reads the chunk map and the metadata chunks, nothing of the frames; a frame's header is
//! checked when one of its planes is read, so damage to it is an error of those planes only. Sequence numbers are
//! laid out along the loops of the acquisition; components of a pixel are split into channels. [`Nd2Writer`] writes
//! such files.
//!
//! Not read: lossy compression and the legacy format before version 2 (JPEG 2000), both `unsupported`.

mod attributes;
mod chunks;
mod clx;
mod contents;
mod experiment;
mod growing;
mod metadata;
mod pixels;
mod shape;
mod value;
mod writer;
mod xml;

#[cfg(test)]
mod tests;

pub(super) use chunks::ends_with_map;
pub use growing::{GrowingNd2, SiblingHint};
pub use writer::{Nd2Compression, Nd2Loop, Nd2Objective, Nd2RowLength, Nd2Spec, Nd2Version, Nd2Writer};

use super::growing::place_of;
use super::{Container, FormatError, Limits, Metadata, Plane, PlaneEntry, Source};
use attributes::Attributes;
use chunks::ChunkMap;
use contents::Contents;
use metadata::ChannelLayout;
use pixels::{FramePlace, FrameReader};

/// An opened ND2 file.
///
/// Beside its lists it holds at most 64 MiB: the last frame that was split into channels.
pub struct Nd2Container {
    source: Box<dyn Source>,
    map: ChunkMap,
    metadata: Metadata,
    planes: Vec<PlaneEntry>,
    /// The frame of each plane, by sequence number.
    frame_of_plane: Vec<u32>,
    layouts: Vec<ChannelLayout>,
    pixels: FrameReader,
}

impl Nd2Container {
    /// Opens a finished file.
    ///
    /// # Errors
    /// `incomplete` when the chunk map at the end is absent or cut off (the file may still be growing), `malformed`
    /// when map or metadata contradict themselves, `unsupported` for lossy compression and the legacy format,
    /// `over_limit` when the file claims more than `limits` allow.
    pub fn open(mut source: Box<dyn Source>, limits: &Limits) -> Result<Self, FormatError> {
        let version = chunks::read_file_version(&mut source)?;
        if version < 2 {
            return Err(FormatError::unsupported("ND2 before version 2 is not read"));
        }
        let map = ChunkMap::read(&mut source, limits)?;
        let contents = Contents::read(&mut source, &map, limits)?;
        let (planes, frame_of_plane) = contents.planes(&map, limits)?;
        let metadata = contents.metadata();
        let pixels = FrameReader::new(contents.attributes);
        let layouts = contents.layouts;
        Ok(Self { source, map, metadata, planes, frame_of_plane, layouts, pixels })
    }
}

impl Container for Nd2Container {
    fn metadata(&self) -> &Metadata {
        &self.metadata
    }

    fn planes(&self) -> &[PlaneEntry] {
        &self.planes
    }

    fn read_plane(&mut self, plane_index: usize) -> Result<Plane, FormatError> {
        let layout = &self.layouts[self.planes[plane_index].index.c as usize];
        let frame = self.frame_of_plane[plane_index];
        let place =
            FramePlace { frame, offset: self.map.frame_offset(frame), file_length: self.map.file_length };
        self.pixels.read_plane(&mut self.source, place, layout)
    }

    fn place(&self, plane_index: usize) -> Option<u64> {
        let offset = self.map.frame_offset(self.frame_of_plane[plane_index])?;
        let layout = &self.layouts[self.planes[plane_index].index.c as usize];
        Some(place_in_frame(offset, self.pixels.attributes(), layout))
    }
}

/// What a plane is made of: the frame's chunk, and the share of its components.
fn place_in_frame(chunk_offset: u64, attributes: &Attributes, layout: &ChannelLayout) -> u64 {
    let figures = [
        attributes.width,
        attributes.height,
        attributes.n_components,
        attributes.sample_type as u32,
        layout.first_component,
        layout.n_samples,
    ];
    let figures: Vec<u64> = std::iter::once(chunk_offset).chain(figures.map(u64::from)).collect();
    place_of(&figures)
}

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
pub use growing::{GrowingNd2, Recovered, SiblingHint, recover};
pub(super) use metadata::Objective;
pub use writer::{Nd2Compression, Nd2Loop, Nd2Objective, Nd2RowLength, Nd2Spec, Nd2Version, Nd2Writer};

use super::growing::place_of;
use super::{
    Channel, Container, FetchedPlane, FormatError, Limits, Metadata, Plane, PlaneDetails, PlaneEntry,
    Position, Source,
};
use attributes::Attributes;
use chunks::ChunkMap;
use contents::Contents;
use metadata::ChannelLayout;
use pixels::{FramePlace, FrameReader};

/// An opened ND2 file.
///
/// Beside its lists it holds at most 64 MiB each for the last frame that was split into channels and for the bytes of the
/// last compressed one.
pub struct Nd2Container {
    source: Box<dyn Source>,
    map: ChunkMap,
    metadata: Metadata,
    planes: Vec<PlaneEntry>,
    /// The frame of each plane, by sequence number.
    frame_of_plane: Vec<u32>,
    layouts: Vec<ChannelLayout>,
    pixels: FrameReader,
    limits: Limits,
    /// Stage positions of all frames, once they were asked for.
    stage: Option<[Vec<f64>; 3]>,
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
        let pixels = FrameReader::new(contents.attributes, limits);
        let layouts = contents.layouts;
        let (limits, stage) = (*limits, None);
        Ok(Self { source, map, metadata, planes, frame_of_plane, layouts, pixels, limits, stage })
    }
}

impl Nd2Container {
    fn frame_place(&self, plane_index: usize) -> FramePlace {
        let frame = self.frame_of_plane[plane_index];
        FramePlace { frame, offset: self.map.frame_offset(frame), file_length: self.map.file_length }
    }
}

impl Container for Nd2Container {
    fn metadata(&self) -> &Metadata {
        &self.metadata
    }

    fn planes(&self) -> &[PlaneEntry] {
        &self.planes
    }

    fn read_plane_into(&mut self, plane_index: usize, plane: &mut Plane) -> Result<(), FormatError> {
        let layout = &self.layouts[self.planes[plane_index].index.c as usize];
        let place = self.frame_place(plane_index);
        self.pixels.read_plane(&mut self.source, place, layout, plane)
    }

    fn fetch_plane(&mut self, plane_index: usize) -> Result<FetchedPlane, FormatError> {
        let layout = &self.layouts[self.planes[plane_index].index.c as usize];
        let place = self.frame_place(plane_index);
        self.pixels.fetch(&mut self.source, place, layout)
    }

    fn plane_details(&mut self, plane_index: usize) -> Result<PlaneDetails, FormatError> {
        let entry = self.planes[plane_index];
        if entry.missing {
            return Ok(PlaneDetails::default());
        }
        let place = self.frame_place(plane_index);
        let time_ms = match entry.time_ms {
            Some(time_ms) => Some(time_ms),
            None => self.pixels.time_ms(&mut self.source, place)?,
        };
        // a file of a single frame records zeros: its position is that of the picture
        if self.frame_of_plane.iter().all(|frame| *frame == place.frame) {
            let Position { x_um, y_um, z_um, .. } =
                self.metadata.positions.first().cloned().unwrap_or_default();
            return Ok(PlaneDetails { time_ms, x_um, y_um, z_um });
        }
        let (source, map, limits) = (&mut self.source, &self.map, &self.limits);
        let stage = self.stage.get_or_insert_with(|| contents::stage_per_frame(source, map, limits));
        let [x_um, y_um, z_um] = [0, 1, 2].map(|axis: usize| {
            stage[axis].get(place.frame as usize).copied().filter(|value| value.is_finite())
        });
        Ok(PlaneDetails { time_ms, x_um, y_um, z_um })
    }

    fn place(&self, plane_index: usize) -> Option<u64> {
        let offset = self.map.frame_offset(self.frame_of_plane[plane_index])?;
        let layout = &self.layouts[self.planes[plane_index].index.c as usize];
        Some(place_in_frame(offset, self.pixels.attributes(), layout))
    }
}

/// What a picture's metadata say wherever they stand; NIS-Elements puts them into the TIFF files that it exports, too.
#[derive(Debug, Default)]
pub(super) struct PictureFacts {
    pub(super) objective: Objective,
    pub(super) channels: Vec<Channel>,
    pub(super) position: Option<Position>,
}

impl PictureFacts {
    /// Reads them from a block of CLX-lite; `None` when it is damaged.
    pub(super) fn read(block: &[u8], limits: &Limits) -> Option<Self> {
        let picture = clx::parse(block, limits).ok()?.into_unwrapped("SLxPictureMetadata");
        Some(Self {
            objective: metadata::objective(&picture, None),
            channels: metadata::named_channels(&picture),
            position: metadata::stage_position(&picture),
        })
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

/// The parsers of metadata alone, for the fuzz targets.
#[cfg(fuzzing)]
#[allow(missing_docs, reason = "each name is its own explanation")]
pub mod fuzzing {
    use super::{Limits, clx, xml};

    pub fn parse_clx(block: &[u8], limits: &Limits) {
        let _ = clx::parse(block, limits);
    }

    pub fn parse_xml(block: &[u8], limits: &Limits) {
        let _ = xml::parse(block, limits);
    }
}

//! The planes of some frames of a growing file, as a container of their own.

use super::walk::Frame;
use crate::formats::nd2::contents::Contents;
use crate::formats::nd2::metadata::ChannelLayout;
use crate::formats::nd2::pixels::{FramePlace, FrameReader};
use crate::formats::nd2::place_in_frame;
use crate::formats::{
    ByteRange, Container, FetchedPlane, FormatError, Limits, Metadata, Plane, PlaneDetails, PlaneEntry,
    Source,
};

/// Bytes of the signature chunk, which never changes.
const HEAD: ByteRange = ByteRange { offset: 0, length: 112 };

/// Which part of which frame a plane is.
#[derive(Debug, Clone, Copy)]
pub(super) struct PlaneShare {
    pub(super) frame: Frame,
    pub(super) channel: usize,
}

/// Planes that are written in a file that still grows.
pub(super) struct Nd2Batch {
    source: Box<dyn Source>,
    metadata: Metadata,
    layouts: Vec<ChannelLayout>,
    planes: Vec<PlaneEntry>,
    shares: Vec<PlaneShare>,
    pixels: FrameReader,
    written_bytes: u64,
}

impl Nd2Batch {
    pub(super) fn new(
        source: Box<dyn Source>,
        (contents, limits): (&Contents, &Limits),
        (planes, shares): (Vec<PlaneEntry>, Vec<PlaneShare>),
        written_bytes: u64,
    ) -> Self {
        let pixels = FrameReader::new(contents.attributes, limits);
        let (metadata, layouts) = (contents.metadata(), contents.layouts.clone());
        Self { source, metadata, layouts, planes, shares, pixels, written_bytes }
    }

    fn frame_place(&self, plane_index: usize) -> FramePlace {
        let Frame { number: frame, offset, .. } = self.shares[plane_index].frame;
        FramePlace { frame, offset: Some(offset), file_length: self.written_bytes }
    }
}

impl Container for Nd2Batch {
    fn metadata(&self) -> &Metadata {
        &self.metadata
    }

    fn planes(&self) -> &[PlaneEntry] {
        &self.planes
    }

    fn read_plane_into(&mut self, plane_index: usize, plane: &mut Plane) -> Result<(), FormatError> {
        let (place, channel) = (self.frame_place(plane_index), self.shares[plane_index].channel);
        self.pixels.read_plane(&mut self.source, place, &self.layouts[channel], plane)
    }

    fn fetch_plane(&mut self, plane_index: usize) -> Result<FetchedPlane, FormatError> {
        let (place, channel) = (self.frame_place(plane_index), self.shares[plane_index].channel);
        self.pixels.fetch(&mut self.source, place, &self.layouts[channel])
    }

    fn plane_details(&mut self, plane_index: usize) -> Result<PlaneDetails, FormatError> {
        let place = self.frame_place(plane_index);
        let time_ms = self.pixels.time_ms(&mut self.source, place)?;
        Ok(PlaneDetails { time_ms, ..PlaneDetails::default() })
    }

    fn place(&self, plane_index: usize) -> Option<u64> {
        let PlaneShare { frame, channel } = self.shares[plane_index];
        Some(place_in_frame(frame.offset, self.pixels.attributes(), &self.layouts[channel]))
    }

    fn steady_bytes(&mut self) -> Result<Vec<ByteRange>, FormatError> {
        let tails = self.shares.first().into_iter().chain(self.shares.last());
        Ok(std::iter::once(HEAD).chain(tails.map(|share| share.frame.data.tail())).collect())
    }
}

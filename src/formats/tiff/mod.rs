//! TIFF: classic and BigTIFF in either byte order, with the metadata of OME, ImageJ, Micro-Manager and NIS-Elements.
//!
//! `directory` walks the chain and `layout` checks where the pixels lie, which decides whether a file is whole;
//! `pixels` decodes a page with `codecs`, `fax`, `jpeg` and `samples`; `axes` turns pages into planes by what `ome`,
//! `imagej` and `vendor` say. [`writer`] is the way back.

mod codecs;
mod directory;
mod fax;
mod jpeg;
mod layout;
mod pixels;
mod samples;
mod tags;
pub mod writer;

pub use tags::{ByteOrder, Predictor};
pub use writer::{ChunkShape, TiffWriter, WriteCompression, WriteOptions, encode, write_planes};

use super::*;
/// An opened container.
pub struct TiffContainer;
impl TiffContainer {
    /// Opens.
    /// # Errors
    /// Always.
    pub fn open(_source: Box<dyn Source>, _limits: &Limits) -> Result<Self, FormatError> {
        Err(FormatError::unsupported("not yet"))
    }
}
impl Container for TiffContainer {
    fn metadata(&self) -> &Metadata {
        unreachable!()
    }
    fn planes(&self) -> &[PlaneEntry] {
        unreachable!()
    }
    fn read_plane(&mut self, _plane_index: usize) -> Result<Plane, FormatError> {
        unreachable!()
    }
}

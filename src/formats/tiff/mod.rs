//! Placeholder until the reader lands.
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

//! Placeholder until the reader lands.
use super::*;
/// An opened container.
pub struct RasterContainer;
impl RasterContainer {
    /// Opens.
    /// # Errors
    /// Always.
    pub fn open(_source: Box<dyn Source>, _format: Format, _limits: &Limits) -> Result<Self, FormatError> {
        Err(FormatError::unsupported("not yet"))
    }
}
impl Container for RasterContainer {
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

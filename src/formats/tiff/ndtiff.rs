//! Where a page of an NDTiff stands on the axes: every page says so in its own JSON, the same that the index beside the
//! file lists. So a page of a file that grows is known as soon as it is written, and a file without its index, too.
//!
//! # References
//! NDTiffStorage, specification: mark at byte 8, image metadata in tag 51123 with the object `Axes`.

use std::collections::HashMap;
use std::io::{Read, Seek};

use super::directory::{FileReader, Header};
use super::vendor;
use crate::formats::FormatError;
use crate::units::PlaneIndex;

/// Axes are numbers or names; a name's number is its place among those of the axis, in the order of the pages.
#[derive(Debug, Clone, Default)]
pub(super) struct NdTiff {
    channels: HashMap<String, u32>,
    places: HashMap<String, u32>,
}

impl NdTiff {
    const MARK: u64 = 483_729;

    /// Whether the header is that of NDTiff.
    ///
    /// # Errors
    /// `io`.
    pub(super) fn read<R: Read + Seek>(
        reader: &mut FileReader<R>,
        header: &Header,
    ) -> Result<Option<Self>, FormatError> {
        let mut mark = [0; 4];
        if header.big || reader.file_bytes < 12 {
            return Ok(None);
        }
        reader.read_at(8, &mut mark)?;
        Ok((header.order.uint(&mark) == Self::MARK).then(Self::default))
    }

    /// Which plane the next page is by its JSON; `None` when that does not say, or names an axis that planes do not have.
    pub(super) fn index_of(&mut self, json: &[u8]) -> Option<PlaneIndex> {
        const KNOWN: [&str; 6] = ["time", "z", "channel", "position", "row", "column"];
        let json = vendor::object_in(json)?;
        let axes = json.get("Axes")?.as_object()?;
        if axes.keys().any(|axis| !KNOWN.contains(&axis.as_str())) {
            return None;
        }
        let number = |axis: &str| match axes.get(axis) {
            None => Some(0),
            Some(value) => u32::try_from(value.as_u64()?).ok(),
        };
        let named = |axis: &str| axes.get(axis).map_or_else(String::new, ToString::to_string);
        let place = ["position", "row", "column"].map(named).join(" ");
        Some(PlaneIndex {
            t: number("time")?,
            z: number("z")?,
            p: rank(&mut self.places, place),
            c: rank(&mut self.channels, named("channel")),
        })
    }
}

/// The place of a value among those seen.
fn rank(seen: &mut HashMap<String, u32>, value: String) -> u32 {
    let next = seen.len() as u32;
    *seen.entry(value).or_insert(next)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn axes_are_numbers_or_names_in_the_order_of_their_coming() {
        let mut ndtiff = NdTiff::default();
        let mut index = |axes: &str| {
            ndtiff.index_of(format!("{{\"Axes\":{axes}}}\0").as_bytes()).map(|index| index.to_string())
        };
        assert_eq!(index(r#"{"time":2,"channel":"GFP","z":1}"#).as_deref(), Some("t2p0z1c0"));
        assert_eq!(index(r#"{"time":2,"channel":"DAPI","z":1}"#).as_deref(), Some("t2p0z1c1"));
        assert_eq!(index(r#"{"row":4,"column":7,"channel":"GFP"}"#).as_deref(), Some("t0p1z0c0"));
        assert_eq!(index(r#"{"column":7,"row":4,"channel":"DAPI"}"#).as_deref(), Some("t0p1z0c1"));
        for axes in [r#"{"z":-1}"#, r#"{"time":"late"}"#, r#"{"lambda":1}"#, "7"] {
            assert_eq!(index(axes), None, "{axes}");
        }
        assert_eq!(ndtiff.index_of(b"not JSON"), None);
    }
}

//! What Micro-Manager, NDTiff, NIS-Elements, MetaMorph and Zeiss LSM keep beside the standard tags.
//!
//! Reference: Micro-Manager wiki, "Micro-Manager File Formats" (header and index map of image stack files).

use std::io::{Read, Seek};

use super::directory::{FileReader, Header};
use super::imagej::um_per_unit;
use super::tags::{ByteOrder, tag};
use crate::formats::nd2::PictureFacts;
use crate::formats::{FormatError, Limits, PlaneDetails};
use crate::units::PlaneIndex;

/// The index map and the summary of a Micro-Manager image stack file.
#[derive(Debug, Clone, Default)]
pub(super) struct MicroManager {
    /// Each plane with the offset of its directory.
    pub(super) index: Vec<(PlaneIndex, u64)>,
    pub(super) summary: Summary,
}

/// The few values that planes need from Micro-Manager's JSON.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Summary {
    pub(super) channel_names: Vec<String>,
    pub(super) pixel_size_um: Option<f64>,
    pub(super) z_step_um: Option<f64>,
    pub(super) significant_bits: Option<u32>,
}

impl MicroManager {
    const OFFSET_MARK: u64 = 54_773_648;
    const INDEX_MARK: u64 = 3_453_623;
    const SUMMARY_MARK: u64 = 2_355_492;

    /// Reads the header behind the first eight bytes; `None` when Micro-Manager did not write the file.
    ///
    /// # Errors
    /// `incomplete` when the index map is not written yet or lies outside the file.
    pub(super) fn read<R: Read + Seek>(
        reader: &mut FileReader<R>,
        header: &Header,
        limits: &Limits,
    ) -> Result<Option<Self>, FormatError> {
        let mut head = [0; 40];
        if header.big || reader.file_bytes < head.len() as u64 {
            return Ok(None);
        }
        reader.read_at(0, &mut head)?;
        let word = |at: usize| header.order.uint(&head[at..at + 4]);
        if word(8) != Self::OFFSET_MARK {
            return Ok(None);
        }
        let index_at = word(12);
        if index_at == 0 {
            return Err(
                FormatError::incomplete("the index map of the Micro-Manager stack is not written").at(12)
            );
        }
        let summary = Self::read_summary(reader, (word(32), word(36)), limits)?;
        let index = Self::read_index(reader, header, index_at, limits)?;
        Ok(Some(Self { index, summary }))
    }

    /// What stands in the header of a stack that is still acquired: all but the index.
    ///
    /// # Errors
    /// `incomplete` when the summary is not written yet.
    pub(super) fn read_growing<R: Read + Seek>(
        reader: &mut FileReader<R>,
        header: &Header,
        limits: &Limits,
    ) -> Result<Option<Self>, FormatError> {
        let mut head = [0; 40];
        if header.big || reader.file_bytes < head.len() as u64 {
            return Ok(None);
        }
        reader.read_at(0, &mut head)?;
        let word = |at: usize| header.order.uint(&head[at..at + 4]);
        if word(8) != Self::OFFSET_MARK && word(32) != Self::SUMMARY_MARK {
            return Ok(None);
        }
        let summary = Self::read_summary(reader, (word(32), word(36)), limits)?;
        Ok(Some(Self { index: Vec::new(), summary }))
    }

    fn read_summary<R: Read + Seek>(
        reader: &mut FileReader<R>,
        (mark, length): (u64, u64),
        limits: &Limits,
    ) -> Result<Summary, FormatError> {
        const AT: u64 = 40;
        if mark != Self::SUMMARY_MARK || length > limits.metadata_bytes_max {
            return Ok(Summary::default());
        }
        reader.check("the summary", AT, length)?;
        let mut text = vec![0; length as usize];
        reader.read_at(AT, &mut text)?;
        Ok(Summary::parse(&text))
    }

    fn read_index<R: Read + Seek>(
        reader: &mut FileReader<R>,
        header: &Header,
        at: u64,
        limits: &Limits,
    ) -> Result<Vec<(PlaneIndex, u64)>, FormatError> {
        const ENTRY_BYTES: u64 = 20;
        let mut head = [0; 8];
        reader.read_at(at, &mut head)?;
        let (mark, n) = (header.order.uint(&head[..4]), header.order.uint(&head[4..]));
        if mark != Self::INDEX_MARK {
            return Err(FormatError::incomplete("expected the index map of the Micro-Manager stack").at(at));
        }
        if n > limits.planes_max {
            return Err(
                FormatError::over_limit(format!("{n} planes, planes_max is {}", limits.planes_max)).at(at)
            );
        }
        reader.check("the index map", at + 8, n * ENTRY_BYTES)?;
        let mut bytes = vec![0; (n * ENTRY_BYTES) as usize];
        reader.read_at(at + 8, &mut bytes)?;
        let entry = |entry: &[u8]| {
            let word = |i: usize| header.order.uint(&entry[i * 4..i * 4 + 4]);
            let [c, z, t, p] = [word(0), word(1), word(2), word(3)].map(|value| value as u32);
            (PlaneIndex { t, p, z, c }, word(4))
        };
        Ok(bytes.chunks_exact(ENTRY_BYTES as usize).map(entry).collect())
    }
}

/// The JSON in a tag's value, up to its first NUL; `None` when it is none.
pub(super) fn object_in(json: &[u8]) -> Option<serde_json::Value> {
    let end = json.iter().position(|byte| *byte == 0).unwrap_or(json.len());
    serde_json::from_slice(&json[..end]).ok()
}

/// Which plane a page is, by the JSON that Micro-Manager writes with it; `None` when that does not say.
pub(super) fn index_in(json: &[u8]) -> Option<PlaneIndex> {
    let json = object_in(json)?;
    let number = |names: [&str; 2]| {
        let value = names.iter().find_map(|name| json.get(name))?;
        let value = value.as_u64().or_else(|| value.as_str()?.parse().ok())?;
        u32::try_from(value).ok()
    };
    Some(PlaneIndex {
        t: number(["FrameIndex", "Frame"])?,
        p: number(["PositionIndex", "PositionIndex"]).unwrap_or(0),
        z: number(["SliceIndex", "Slice"])?,
        c: number(["ChannelIndex", "ChannelIndex"])?,
    })
}

/// When and where a page was exposed, by the JSON that Micro-Manager writes with it.
pub(super) fn details_in(json: &[u8]) -> PlaneDetails {
    let Some(json) = object_in(json) else { return PlaneDetails::default() };
    let number = |name: &str| {
        let value = json.get(name)?;
        let value: f64 = value.as_f64().or_else(|| value.as_str()?.trim().parse().ok())?;
        value.is_finite().then_some(value)
    };
    PlaneDetails {
        time_ms: number("ElapsedTime-ms"),
        x_um: number("XPositionUm"),
        y_um: number("YPositionUm"),
        z_um: number("ZPositionUm"),
    }
}

/// The picture's metadata in a TIFF that NIS-Elements exports: a count, a name, and where the block of CLX-lite stands.
pub(super) fn nis_picture(tag: &[u8], limits: &Limits) -> PictureFacts {
    const NAME: &str = "MetadataTiffV1_0";
    let word = |at: usize| {
        let bytes = tag.get(at..at.checked_add(4)?)?;
        Some(u32::from_le_bytes(bytes.try_into().expect("four bytes")) as usize)
    };
    let block = || {
        let name: Vec<u8> = NAME.encode_utf16().flat_map(u16::to_le_bytes).collect();
        let behind_name = 8 + name.len();
        let is_known = word(0)? >= 1 && word(4)? == NAME.len() && tag.get(8..behind_name)? == name;
        // two words of unknown meaning, the length, the place
        let (length, start) = (word(behind_name + 8)?, word(behind_name + 12)?);
        tag.get(start..start.checked_add(length)?).filter(|_| is_known)
    };
    block().and_then(|block| PictureFacts::read(block, limits)).unwrap_or_default()
}

/// The tag in which MetaMorph describes the planes of a stack, and the bytes for each of them, whatever its type says.
pub(super) const METAMORPH_PLANES: (u16, u64) = (tag::METAMORPH_UIC2, 24);

/// Whether every plane of a MetaMorph stack is said to lie at a distance from the last: slices, no time points. The
/// distance is a fraction in front of two dates with their times.
pub(super) fn is_metamorph_z_stack(planes: &[u8], order: ByteOrder) -> bool {
    let is_apart = |plane: &[u8]| order.uint(&plane[..4]) != 0 && order.uint(&plane[4..8]) != 0;
    !planes.is_empty() && planes.chunks_exact(METAMORPH_PLANES.1 as usize).all(is_apart)
}

/// The pixel size in the XML description of MetaMorph and MetaXpress.
pub(super) fn metamorph_pixel_size_um(description: &str) -> Option<f64> {
    let value_of = |id: &str| {
        let at = description.find(&format!("id=\"{id}\""))?;
        let rest = &description[at..description[at..].find('>').map_or(description.len(), |end| at + end)];
        rest.split_once("value=\"")?.1.split('"').next()
    };
    let is_theirs = description.starts_with("<MetaData>");
    let is_calibrated = is_theirs && value_of("spatial-calibration-state") != Some("off");
    let um = um_per_unit(value_of("spatial-calibration-units").filter(|_| is_calibrated)?)?;
    let size: f64 = value_of("spatial-calibration-x")?.parse().ok()?;
    Some(size * um).filter(|um| um.is_finite() && *um > 0.0)
}

/// What Zeiss LSM says of its axes.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Lsm {
    pub(super) n_z: u32,
    pub(super) n_t: u32,
    pub(super) pixel_size_um: Option<f64>,
    pub(super) z_step_um: Option<f64>,
}

impl Lsm {
    /// Reads the structure of tag 34412; `None` when it is none.
    pub(super) fn parse(info: &[u8]) -> Option<Self> {
        const MARKS: [u32; 2] = [0x0300_494C, 0x0400_494C];
        let word = |at: usize| Some(u32::from_le_bytes(info.get(at..at + 4)?.try_into().ok()?));
        let metres = |at: usize| {
            let metres = f64::from_le_bytes(info.get(at..at + 8)?.try_into().ok()?);
            Some(metres * 1e6).filter(|um| um.is_finite() && *um > 0.0)
        };
        MARKS.contains(&word(0)?).then_some(())?;
        let count = |at: usize| Some(word(at)?.max(1));
        Some(Self { n_z: count(16)?, n_t: count(24)?, pixel_size_um: metres(40), z_step_um: metres(56) })
    }
}

impl Summary {
    /// Parses a summary or a plane's JSON; what is absent or not JSON stays empty.
    pub(super) fn parse(text: &[u8]) -> Self {
        let Some(json) = object_in(text) else { return Self::default() };
        let number = |names: [&str; 2]| {
            let value = names.iter().find_map(|name| json.get(name))?;
            let value = value.as_f64().or_else(|| value.as_str()?.parse().ok())?;
            (value > 0.0 && value.is_finite()).then_some(value)
        };
        let names = json.get("ChNames").and_then(|names| names.as_array());
        Self {
            channel_names: names
                .map(|names| names.iter().map(|name| name.as_str().unwrap_or("").to_owned()).collect())
                .unwrap_or_default(),
            pixel_size_um: number(["PixelSizeUm", "PixelSize_um"]),
            z_step_um: number(["z-step_um", "ZStepUm"]),
            significant_bits: number(["BitDepth", "Bit_Depth"]).map(|bits| bits as u32),
        }
    }
}

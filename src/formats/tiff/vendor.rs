//! What Micro-Manager, NDTiff and MetaMorph keep beside the standard tags.
//!
//! Reference: Micro-Manager wiki, "Micro-Manager File Formats" (header and index map of image stack files).

use std::io::{Read, Seek};

use super::directory::{FileReader, Header};
use crate::formats::{FormatError, Limits};
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

/// Which plane a page is, by the JSON that Micro-Manager writes with it; `None` when that does not say.
pub(super) fn index_in(json: &[u8]) -> Option<PlaneIndex> {
    let end = json.iter().position(|byte| *byte == 0).unwrap_or(json.len());
    let json: serde_json::Value = serde_json::from_slice(&json[..end]).ok()?;
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

impl Summary {
    /// Parses a summary or a plane's JSON; what is absent or not JSON stays empty.
    pub(super) fn parse(text: &[u8]) -> Self {
        let end = text.iter().position(|byte| *byte == 0).unwrap_or(text.len());
        let Ok(json) = serde_json::from_slice::<serde_json::Value>(&text[..end]) else {
            return Self::default();
        };
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

//! The container layer of ND2: chunk headers, the map at the end, and the bounds that both must keep.
//!
//! A chunk is: magic (u32), length of the name area (u32), length of the data (u64), name area (the name ends with
//! `!`, zeros follow), data. The last 40 bytes of a finished file are a signature and the offset of the map, whose
//! entries are a name, an offset and a size. The size is wrong in some files: the chunk's own header is trusted.

use std::collections::HashMap;
use std::io::{Read, Seek, SeekFrom};

use crate::formats::{FormatError, Limits};

pub(crate) const MAGIC: u32 = 0x0ABE_CEDA;
pub(crate) const FILE_SIGNATURE: &[u8; 32] = b"ND2 FILE SIGNATURE CHUNK NAME01!";
pub(crate) const MAP_NAME: &[u8; 32] = b"ND2 FILEMAP SIGNATURE NAME 0001!";
pub(crate) const MAP_END_SIGNATURE: &[u8; 32] = b"ND2 CHUNK MAP SIGNATURE 0000001!";
/// Magic, length of the name area, length of the data.
pub(crate) const HEADER_LENGTH: u64 = 16;
/// The signature and the map's offset that end a finished file.
pub(crate) const TAIL_LENGTH: u64 = 40;
/// Name of the chunk of frame `N`, followed by `N!`.
pub(crate) const FRAME_PREFIX: &[u8] = b"ImageDataSeq|";
/// Distance from the start of a frame's chunk to its data: time and pixels then stand at 4088 and 4096.
///
/// Every known writer keeps to it and the common readers rely on it. A frame with another distance is damaged: its
/// pixels would be read shifted.
pub(crate) const FRAME_DATA_DISTANCE: u64 = 4088;
/// Longest name area that is accepted; NIS-Elements writes up to 4128 bytes.
const NAME_AREA_MAX: u32 = 1 << 16;
/// Longest chunk name; real ones stay under 100 bytes.
const NAME_MAX: usize = 1024;

/// Where a chunk's data lies, as its own header says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ChunkExtent {
    /// Offset of the data from the start of the file.
    pub(crate) data_offset: u64,
    /// Bytes of data; they end inside the file.
    pub(crate) data_length: u64,
}

/// The map of a finished file.
#[derive(Debug, Default)]
pub(crate) struct ChunkMap {
    /// Size of the file when it was opened.
    pub(crate) file_length: u64,
    /// Offset of each frame's chunk by sequence number; `None` where the map has no entry.
    pub(crate) frames: Vec<Option<u64>>,
    /// Offsets of the other chunks by name without the `!`; of numbered chunks only the lowest number is kept.
    named: HashMap<String, (u64, u64)>,
}

/// Checks the first chunk of the file and gives the major version.
///
/// # Errors
/// `incomplete` when the file ends inside that chunk, `malformed` when it is not that of an ND2 file.
pub(crate) fn read_file_version(source: &mut (impl Read + Seek)) -> Result<u32, FormatError> {
    let mut head = [0_u8; 16 + 32 + 8];
    source.rewind()?;
    source.read_exact(&mut head)?;
    let (magic, rest) = head.split_at(16);
    if magic[..4] != MAGIC.to_le_bytes() || rest[..32] != *FILE_SIGNATURE {
        return Err(FormatError::malformed("expected the signature chunk of an ND2 file").at(0));
    }
    let version = &rest[32..];
    match version {
        [b'V', b'e', b'r', major @ b'1'..=b'9', b'.', ..] => Ok(u32::from(major - b'0')),
        _ => Err(FormatError::malformed("expected a version such as Ver3.0 in the signature chunk").at(48)),
    }
}

/// Whether the file ends as a finished one does.
///
/// # Errors
/// `io`.
pub(crate) fn ends_with_map(source: &mut (impl Read + Seek)) -> Result<bool, FormatError> {
    let length = source.seek(SeekFrom::End(0))?;
    let Some(tail_offset) = length.checked_sub(TAIL_LENGTH) else { return Ok(false) };
    source.seek(SeekFrom::Start(tail_offset))?;
    let mut signature = [0_u8; MAP_END_SIGNATURE.len()];
    source.read_exact(&mut signature)?;
    Ok(signature == *MAP_END_SIGNATURE)
}

/// Reads the header of the chunk at `offset` and checks its name and bounds; the source then stands at its data.
///
/// # Errors
/// `malformed` when no chunk of that name starts there, `incomplete` when it reaches past the end of the file.
pub(crate) fn read_chunk_header(
    source: &mut (impl Read + Seek),
    offset: u64,
    name: &[u8],
    file_length: u64,
) -> Result<ChunkExtent, FormatError> {
    if offset.checked_add(HEADER_LENGTH).is_none_or(|end| end > file_length) {
        return Err(FormatError::incomplete("expected a chunk, but the file ends before it").at(offset));
    }
    source.seek(SeekFrom::Start(offset))?;
    let mut header = [0_u8; HEADER_LENGTH as usize];
    source.read_exact(&mut header)?;
    let [magic, name_area_length, low, high] = [0, 4, 8, 12]
        .map(|at| u32::from_le_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]]));
    let data_length = u64::from(high) << 32 | u64::from(low);
    if magic != MAGIC {
        return Err(FormatError::malformed("expected a chunk header").at(offset));
    }
    if name_area_length > NAME_AREA_MAX || (name_area_length as usize) < name.len() {
        let message = format!("expected a chunk's name area of at most {NAME_AREA_MAX} bytes");
        return Err(FormatError::malformed(format!("{message}, found {name_area_length}")).at(offset + 4));
    }
    let data_offset = offset + HEADER_LENGTH + u64::from(name_area_length);
    if data_offset.checked_add(data_length).is_none_or(|end| end > file_length) {
        let message = format!("a chunk of {data_length} bytes reaches past the end of the file");
        return Err(FormatError::incomplete(message).at(offset));
    }
    let mut name_area = vec![0_u8; name_area_length as usize];
    source.read_exact(&mut name_area)?;
    if !name_area.starts_with(name) {
        let message = format!("expected the chunk {}", String::from_utf8_lossy(name));
        return Err(FormatError::malformed(message).at(offset));
    }
    Ok(ChunkExtent { data_offset, data_length })
}

impl ChunkMap {
    /// Finds and reads the map.
    ///
    /// # Errors
    /// `incomplete` when the signature at the file's end is absent or points past it, `malformed` when the map
    /// contradicts itself, `over_limit` when it is larger or lists more frames than `limits` allow.
    pub(crate) fn read(source: &mut (impl Read + Seek), limits: &Limits) -> Result<Self, FormatError> {
        let file_length = source.seek(SeekFrom::End(0))?;
        let tail_offset = file_length
            .checked_sub(TAIL_LENGTH)
            .ok_or_else(|| FormatError::incomplete("the file ends before its chunk map"))?;
        source.seek(SeekFrom::Start(tail_offset))?;
        let mut tail = [0_u8; TAIL_LENGTH as usize];
        source.read_exact(&mut tail)?;
        let (signature, location) = tail.split_at(MAP_END_SIGNATURE.len());
        if signature != MAP_END_SIGNATURE {
            let message = "the chunk map that ends a finished ND2 file is absent";
            return Err(FormatError::incomplete(message).at(tail_offset));
        }
        let map_offset = u64::from_le_bytes(location.try_into().expect("the tail holds eight bytes more"));
        let extent = read_chunk_header(source, map_offset, MAP_NAME, file_length)?;
        if extent.data_offset + extent.data_length != file_length {
            return Err(FormatError::malformed("expected the chunk map to end with the file").at(map_offset));
        }
        if extent.data_length > limits.metadata_bytes_max {
            let message =
                format!("a chunk map of {} bytes exceeds the limit on metadata", extent.data_length);
            return Err(FormatError::over_limit(message).at(map_offset));
        }
        let mut data = vec![0_u8; extent.data_length as usize];
        source.read_exact(&mut data)?;
        let mut map = Self { file_length, ..Self::default() };
        map.parse(&data, limits).map_err(|error| error.at(map_offset))?;
        Ok(map)
    }

    fn parse(&mut self, data: &[u8], limits: &Limits) -> Result<(), FormatError> {
        let mut rest = data;
        loop {
            let name_length = rest.iter().take(NAME_MAX).position(|byte| *byte == b'!');
            let Some((name, tail)) = name_length.and_then(|length| rest.split_at_checked(length + 1)) else {
                return Err(FormatError::malformed("expected a chunk's name in the chunk map"));
            };
            if name == MAP_END_SIGNATURE {
                return Ok(());
            }
            let Some((numbers, tail)) = tail.split_first_chunk::<16>() else {
                return Err(FormatError::malformed(
                    "expected an offset and a size after a name in the chunk map",
                ));
            };
            let offset = u64::from_le_bytes(numbers[..8].try_into().expect("eight of sixteen bytes"));
            self.insert(&name[..name.len() - 1], offset, limits)?;
            rest = tail;
        }
    }

    fn insert(&mut self, name: &[u8], offset: u64, limits: &Limits) -> Result<(), FormatError> {
        if let Some(digits) = name.strip_prefix(FRAME_PREFIX) {
            let number = parse_number(digits)
                .ok_or_else(|| FormatError::malformed("expected a frame's number in the chunk map"))?;
            if number >= limits.planes_max {
                let message = format!("frame {number} exceeds the limit of {} planes", limits.planes_max);
                return Err(FormatError::over_limit(message));
            }
            let index = number as usize;
            if index >= self.frames.len() {
                self.frames.resize(index + 1, None);
            }
            self.frames[index] = Some(offset);
            return Ok(());
        }
        let name = String::from_utf8_lossy(name);
        let (key, number) = match name.rsplit_once('|') {
            Some((prefix, digits)) => match parse_number(digits.as_bytes()) {
                Some(number) => (format!("{prefix}|"), number),
                None => (name.into_owned(), 0),
            },
            None => (name.into_owned(), 0),
        };
        let entry = self.named.entry(key).or_insert((number, offset));
        if number <= entry.0 {
            *entry = (number, offset);
        }
        Ok(())
    }

    /// Offset of the chunk of a frame; `None` for a frame that was never written.
    pub(crate) fn frame_offset(&self, frame: u32) -> Option<u64> {
        self.frames.get(frame as usize).copied().flatten()
    }

    /// Whether the map lists the chunk; `name` as [`Self::read_chunk`] takes it.
    pub(crate) fn contains(&self, name: &str) -> bool {
        self.named.contains_key(name)
    }

    /// Reads the data of the chunk called `name` (`ImageAttributesLV`, or `ImageMetadataSeqLV|` for the lowest
    /// numbered of its kind); `None` when the map does not list it.
    ///
    /// # Errors
    /// As [`read_chunk_header`], and `over_limit` for more than `limits.metadata_bytes_max`.
    pub(crate) fn read_chunk(
        &self,
        source: &mut (impl Read + Seek),
        name: &str,
        limits: &Limits,
    ) -> Result<Option<Vec<u8>>, FormatError> {
        let Some(&(number, offset)) = self.named.get(name) else {
            return Ok(None);
        };
        let full_name = if name.ends_with('|') { format!("{name}{number}!") } else { format!("{name}!") };
        let extent = read_chunk_header(source, offset, full_name.as_bytes(), self.file_length)?;
        if extent.data_length > limits.metadata_bytes_max {
            let message =
                format!("{full_name} of {} bytes exceeds the limit on metadata", extent.data_length);
            return Err(FormatError::over_limit(message).at(offset));
        }
        let mut data = vec![0_u8; extent.data_length as usize];
        source.read_exact(&mut data)?;
        Ok(Some(data))
    }
}

fn parse_number(digits: &[u8]) -> Option<u64> {
    std::str::from_utf8(digits).ok().filter(|text| text.bytes().all(|b| b.is_ascii_digit()))?.parse().ok()
}

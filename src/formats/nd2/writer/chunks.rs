//! The container layer of the writer: chunks on block boundaries, and the map of them.

use std::io::{self, Write};

use super::Nd2Version;
use crate::formats::nd2::chunks::{
    FILE_SIGNATURE, FRAME_DATA_DISTANCE, HEADER_LENGTH, MAGIC, MAP_END_SIGNATURE, MAP_NAME, TAIL_LENGTH,
};
use crate::formats::nd2::value::{Level, Value};
use crate::formats::nd2::{clx, xml};

/// Chunks start at multiples of this.
const BLOCK: u64 = 4096;
const FRAME_NAME_AREA: u64 = FRAME_DATA_DISTANCE - HEADER_LENGTH;

/// Writes chunks and remembers where they are.
#[derive(Debug)]
pub(super) struct ChunkWriter<W: Write> {
    out: W,
    version: Nd2Version,
    position: u64,
    /// Name with `!`, offset, data length.
    entries: Vec<(String, u64, u64)>,
}

impl<W: Write> ChunkWriter<W> {
    pub(super) fn new(out: W, version: Nd2Version) -> io::Result<Self> {
        let mut writer = Self { out, version, position: 0, entries: Vec::new() };
        let mut label = [0_u8; 64];
        label[..6].copy_from_slice(match version {
            Nd2Version::V3 => b"Ver3.0",
            Nd2Version::V2 => b"Ver2.1",
        });
        writer.raw_chunk(FILE_SIGNATURE, FILE_SIGNATURE.len() as u64, &[&label])?;
        Ok(writer)
    }

    pub(super) fn position(&self) -> u64 {
        self.position
    }

    /// A chunk of metadata in the encoding of the version; `suffix` is the `|N` of a numbered one.
    pub(super) fn metadata(&mut self, name: &str, suffix: &str, root: &str, tree: Level) -> io::Result<()> {
        match self.version {
            Nd2Version::V3 => {
                self.chunk(&format!("{name}LV{suffix}"), &clx::encode(root, &Value::Level(tree)))
            }
            Nd2Version::V2 => self.chunk(&format!("{name}{suffix}"), &xml::encode(&tree)),
        }
    }

    /// A chunk whose data ends on a block boundary.
    pub(super) fn chunk(&mut self, name: &str, data: &[u8]) -> io::Result<()> {
        let name = format!("{name}!");
        let shortest = name.len() as u64 + 20;
        let name_area = shortest + padding(HEADER_LENGTH + shortest + data.len() as u64);
        self.entry(name, name_area, &[data])
    }

    /// A frame, compressed where `zlib_level` says so.
    pub(super) fn frame(
        &mut self,
        index: u64,
        time_ms: f64,
        rows: &[u8],
        zlib_level: Option<u32>,
    ) -> io::Result<()> {
        let name = format!("ImageDataSeq|{index}!");
        let time = time_ms.to_le_bytes();
        match zlib_level {
            None => self.entry(name, FRAME_NAME_AREA, &[&time, rows]),
            Some(level) => {
                let level = flate2::Compression::new(level.min(9));
                let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), level);
                encoder.write_all(rows)?;
                self.entry(name, FRAME_NAME_AREA, &[&time, &encoder.finish()?])
            }
        }
    }

    /// Writes the map and gives the output back.
    pub(super) fn finish(mut self) -> io::Result<W> {
        let map_offset = self.position;
        let mut tail = MAP_END_SIGNATURE.to_vec();
        tail.extend(map_offset.to_le_bytes());
        // NIS-Elements sorts the map backwards
        self.entries.sort_by(|a, b| b.cmp(a));
        let mut data = Vec::new();
        for (name, offset, length) in &self.entries {
            data.extend(name.as_bytes());
            data.extend(offset.to_le_bytes());
            data.extend(length.to_le_bytes());
        }
        data.extend(&tail);
        let used = HEADER_LENGTH + MAP_NAME.len() as u64 + data.len() as u64 + TAIL_LENGTH;
        data.resize(data.len() + padding(used) as usize, 0);
        data.extend(&tail);
        self.raw_chunk(MAP_NAME, MAP_NAME.len() as u64, &[&data])?;
        self.out.flush()?;
        Ok(self.out)
    }

    fn entry(&mut self, name: String, name_area: u64, parts: &[&[u8]]) -> io::Result<()> {
        let offset = self.position;
        let length = self.raw_chunk(name.as_bytes(), name_area, parts)?;
        self.entries.push((name, offset, length));
        Ok(())
    }

    /// Writes header, name area, data and the zeros up to the next block; gives the length of the data.
    fn raw_chunk(&mut self, name: &[u8], name_area: u64, parts: &[&[u8]]) -> io::Result<u64> {
        let length: u64 = parts.iter().map(|part| part.len() as u64).sum();
        self.put(&MAGIC.to_le_bytes())?;
        self.put(&(name_area as u32).to_le_bytes())?;
        self.put(&length.to_le_bytes())?;
        self.put(name)?;
        self.put(&vec![0; (name_area as usize).saturating_sub(name.len())])?;
        parts.iter().try_for_each(|part| self.put(part))?;
        self.put(&vec![0; padding(self.position) as usize])?;
        Ok(length)
    }

    fn put(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.out.write_all(bytes)?;
        self.position += bytes.len() as u64;
        Ok(())
    }
}

/// Bytes from `position` to the next block boundary.
fn padding(position: u64) -> u64 {
    position.next_multiple_of(BLOCK) - position
}

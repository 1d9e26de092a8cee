//! The walk over chunk headers.

use std::collections::VecDeque;

use crate::formats::growing::read_up_to;
use crate::formats::nd2::chunks::{FILE_SIGNATURE, FRAME_PREFIX, HEADER_LENGTH, MAGIC, MAP_NAME};
use crate::formats::{ByteRange, FormatError, Limits, Source};

/// Chunks start at multiples of this; one that does not starts right behind the chunk before it.
const BLOCK: u64 = 4096;
/// Bytes of a chunk that are read to know it: its header, and more than its name needs.
const PEEK: usize = 16 + 240;
/// Longest name area; NIS-Elements writes up to 4128 bytes.
const NAME_AREA_MAX: u64 = 1 << 16;

/// A frame that is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Frame {
    pub(crate) number: u32,
    /// Where its chunk starts.
    pub(crate) offset: u64,
    /// Time and pixels.
    pub(crate) data: ByteRange,
}

/// The metadata chunks that planes need.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum MetadataChunk {
    Attributes,
    Loops,
    Picture,
}

impl MetadataChunk {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Attributes => "ImageAttributes",
            Self::Loops => "ImageMetadata",
            Self::Picture => "ImageMetadataSeq",
        }
    }

    /// By the name of a chunk, in version 3 or 2, numbered or not.
    fn of_name(name: &[u8]) -> Option<Self> {
        let plain = name.split(|byte| *byte == b'|').next().unwrap_or_default();
        let plain = plain.strip_suffix(b"LV").unwrap_or(plain);
        let all = [Self::Attributes, Self::Loops, Self::Picture];
        all.into_iter().find(|kind| kind.name().as_bytes() == plain)
    }
}

/// How far the headers have been walked, and what was found.
#[derive(Debug, Default)]
pub(super) struct ChunkWalk {
    /// Where the next header is expected.
    next: u64,
    /// The chunk before it: written once a header follows.
    pending: Option<Chunk>,
    frames: Vec<Frame>,
    /// The first of each kind that was found, not read yet.
    metadata: VecDeque<(MetadataChunk, ByteRange)>,
    seen: Vec<MetadataChunk>,
    /// The map has come: the file is being finished.
    ended: bool,
}

#[derive(Debug)]
struct Chunk {
    /// Without the `!`.
    name: Vec<u8>,
    offset: u64,
    data: ByteRange,
}

impl ChunkWalk {
    /// The frames that are written, in the order of the file.
    pub(super) fn frames(&self) -> &[Frame] {
        &self.frames
    }

    /// Whether the walk came to the chunk map, behind which nothing follows.
    pub(super) fn ended(&self) -> bool {
        self.ended
    }

    /// Goes on behind damage: to the next block that begins as a chunk does. False when there is none.
    ///
    /// # Errors
    /// `io`.
    pub(super) fn skip_damage(&mut self, source: &mut dyn Source) -> Result<bool, FormatError> {
        const BLOCKS_AT_ONCE: usize = 256;
        self.pending = None;
        let mut blocks = vec![0; BLOCKS_AT_ONCE * BLOCK as usize];
        let Some(start) = self.next.checked_add(1).and_then(|next| next.checked_next_multiple_of(BLOCK))
        else {
            return Ok(false);
        };
        self.next = start;
        loop {
            let n = read_up_to(source, self.next, &mut blocks)?;
            for head in blocks[..n].chunks(BLOCK as usize) {
                if is_header(head) {
                    return Ok(true);
                }
                self.next += BLOCK;
            }
            if n < blocks.len() {
                return Ok(false);
            }
        }
    }

    /// Whether a chunk starts where the next one is expected.
    pub(super) fn stands_at_chunk(&mut self, source: &mut dyn Source) -> bool {
        self.read_header(source).is_ok_and(|header| header.is_some())
    }

    /// The first metadata chunk that was not passed yet.
    pub(super) fn next_metadata(&self) -> Option<(MetadataChunk, ByteRange)> {
        self.metadata.front().copied()
    }

    /// Notes that it was read.
    pub(super) fn pass_metadata(&mut self) {
        self.metadata.pop_front();
    }

    /// Everything before this is written.
    pub(super) fn walked_bytes(&self) -> u64 {
        self.frames.last().map_or(0, |frame| frame.data.offset + frame.data.length)
    }

    /// Walks on as far as there are headers.
    pub(super) fn advance(
        &mut self,
        source: &mut dyn Source,
        at_rest: bool,
        limits: &Limits,
    ) -> Result<(), FormatError> {
        let file_length = source.seek(std::io::SeekFrom::End(0))?;
        while !self.ended {
            let Some(chunk) = self.read_header(source)? else { break };
            if let Some(written) = self.pending.take() {
                self.note(written, limits)?;
            }
            if chunk.name == MAP_NAME[..MAP_NAME.len() - 1] {
                self.ended = true;
            } else if chunk.end() <= file_length {
                self.next = chunk.end().next_multiple_of(BLOCK);
                self.pending = Some(chunk);
            } else {
                break;
            }
        }
        match self.pending.take() {
            Some(written) if at_rest => self.note(written, limits),
            pending => {
                self.pending = pending;
                Ok(())
            }
        }
    }

    /// The chunk that starts where the next one is expected; `None` while nothing stands there.
    fn read_header(&mut self, source: &mut dyn Source) -> Result<Option<Chunk>, FormatError> {
        let mut head = [0_u8; PEEK];
        let mut n = read_up_to(source, self.next, &mut head)?;
        let unaligned = self.pending.as_ref().map_or(self.next, Chunk::end);
        if !is_header(&head[..n]) && unaligned < self.next {
            let mut other = [0_u8; PEEK];
            let n_other = read_up_to(source, unaligned, &mut other)?;
            if is_header(&other[..n_other]) {
                (self.next, head, n) = (unaligned, other, n_other);
            }
        }
        let head = &head[..n];
        if n < HEADER_LENGTH as usize || head[..HEADER_LENGTH as usize].iter().all(|byte| *byte == 0) {
            return Ok(None);
        }
        if !is_header(head) {
            let message = "expected a chunk header where the next chunk should start";
            return Err(FormatError::malformed(message).at(self.next));
        }
        let word = |at: usize| u64::from_le_bytes(head[at..at + 8].try_into().expect("eight bytes"));
        let (name_area, length) = (word(0) >> 32, word(8));
        let offset = self.next + HEADER_LENGTH + name_area;
        let (Some(_), true) =
            (offset.checked_add(length).filter(|end| *end < u64::MAX - BLOCK), name_area <= NAME_AREA_MAX)
        else {
            return Err(FormatError::malformed("expected the lengths of a chunk").at(self.next));
        };
        let names = &head[HEADER_LENGTH as usize..];
        let names = &names[..names.len().min(name_area as usize)];
        let Some(name_length) = names.iter().position(|byte| *byte == b'!') else {
            // header and name are not written at the same time
            return Ok(None);
        };
        let name = names[..name_length].to_vec();
        if self.next == 0 && name != FILE_SIGNATURE[..FILE_SIGNATURE.len() - 1] {
            return Err(FormatError::malformed("expected the signature chunk of an ND2 file").at(0));
        }
        Ok(Some(Chunk { name, offset: self.next, data: ByteRange { offset, length } }))
    }

    /// Takes in a chunk that is written.
    fn note(&mut self, chunk: Chunk, limits: &Limits) -> Result<(), FormatError> {
        if let Some(kind) = MetadataChunk::of_name(&chunk.name) {
            if !self.seen.contains(&kind) {
                self.seen.push(kind);
                self.metadata.push_back((kind, chunk.data));
            }
            return Ok(());
        }
        let Some(digits) = chunk.name.strip_prefix(FRAME_PREFIX) else { return Ok(()) };
        let number = std::str::from_utf8(digits).ok().and_then(|digits| digits.parse::<u32>().ok());
        let number =
            number.ok_or_else(|| FormatError::malformed("expected a frame's number").at(chunk.offset))?;
        if u64::from(number) >= limits.planes_max {
            let message = format!("frame {number} exceeds the limit of {} planes", limits.planes_max);
            return Err(FormatError::over_limit(message).at(chunk.offset));
        }
        if self.frames.last().is_some_and(|last| number <= last.number) {
            let message = format!("frame {number} comes after a frame of a higher number");
            return Err(FormatError::malformed(message).at(chunk.offset));
        }
        self.frames.push(Frame { number, offset: chunk.offset, data: chunk.data });
        Ok(())
    }
}

impl Chunk {
    fn end(&self) -> u64 {
        self.data.offset + self.data.length
    }
}

fn is_header(head: &[u8]) -> bool {
    head.len() >= HEADER_LENGTH as usize && head.starts_with(&MAGIC.to_le_bytes())
}

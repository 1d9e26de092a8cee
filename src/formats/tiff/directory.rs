//! The chain of directories: header, entries, typed values; every offset is checked against the file's length.

use std::io::{Read, Seek, SeekFrom};
use std::ops::Range;

use super::tags::ByteOrder;
use crate::formats::{FormatError, Limits};

/// Entries that one directory may hold; the largest real ones have some dozens.
const ENTRIES_MAX: u64 = 4096;

/// Reads at offsets through a window that grows while the reading goes forward.
pub(super) struct FileReader<R> {
    source: R,
    pub(super) file_bytes: u64,
    window: Vec<u8>,
    window_at: u64,
    window_bytes: usize,
}

impl<R: Read + Seek> FileReader<R> {
    const WINDOW_MIN: usize = 4 << 10;
    const WINDOW_MAX: usize = 64 << 10;

    pub(super) fn new(mut source: R) -> Result<Self, FormatError> {
        let file_bytes = source.seek(SeekFrom::End(0))?;
        Ok(Self { source, file_bytes, window: Vec::new(), window_at: 0, window_bytes: Self::WINDOW_MIN })
    }

    /// Refuses a range that does not lie inside the file.
    pub(super) fn check(&self, what: &str, offset: u64, length: u64) -> Result<(), FormatError> {
        match offset.checked_add(length) {
            Some(end) if end <= self.file_bytes => Ok(()),
            _ => Err(FormatError::incomplete(format!(
                "{what} should end at byte {}, but the file has {} bytes",
                u128::from(offset) + u128::from(length),
                self.file_bytes
            ))
            .at(offset)),
        }
    }

    /// Fills `out` from `offset`, past the window.
    pub(super) fn read_at(&mut self, offset: u64, out: &mut [u8]) -> Result<(), FormatError> {
        self.check("data", offset, out.len() as u64)?;
        self.source.seek(SeekFrom::Start(offset))?;
        self.source.read_exact(out).map_err(|error| FormatError::from(error).at(offset))
    }

    /// Bytes for directories and small values; reads ahead.
    fn peek(&mut self, offset: u64, length: usize) -> Result<&[u8], FormatError> {
        self.check("a directory", offset, length as u64)?;
        let window_end = self.window_at + self.window.len() as u64;
        if offset < self.window_at || offset + length as u64 > window_end {
            let follows = (self.window_at..=window_end).contains(&offset) && !self.window.is_empty();
            self.window_bytes =
                if follows { (self.window_bytes * 2).min(Self::WINDOW_MAX) } else { Self::WINDOW_MIN };
            let n = (self.window_bytes.max(length) as u64).min(self.file_bytes - offset) as usize;
            self.window.resize(n, 0);
            self.window_at = offset;
            self.source.seek(SeekFrom::Start(offset))?;
            if let Err(error) = self.source.read_exact(&mut self.window) {
                self.window.clear();
                return Err(FormatError::from(error).at(offset));
            }
        }
        let start = (offset - self.window_at) as usize;
        Ok(&self.window[start..start + length])
    }
}

/// The first bytes of the file.
#[derive(Debug, Clone, Copy)]
pub(super) struct Header {
    pub(super) order: ByteOrder,
    /// 64-bit offsets.
    pub(super) big: bool,
    pub(super) first_directory: u64,
}

impl Header {
    pub(super) fn read<R: Read + Seek>(reader: &mut FileReader<R>) -> Result<Self, FormatError> {
        let head = reader.peek(0, 8)?;
        let order = match &head[..2] {
            b"II" => ByteOrder::Little,
            b"MM" => ByteOrder::Big,
            _ => return Err(FormatError::malformed("expected the byte order mark II or MM").at(0)),
        };
        let (big, first_directory) = match order.uint(&head[2..4]) {
            42 => (false, order.uint(&head[4..8])),
            43 if order.uint(&head[4..6]) == 8 && order.uint(&head[6..8]) == 0 => {
                (true, order.uint(reader.peek(8, 8)?))
            }
            43 => return Err(FormatError::malformed("expected offsets of 8 bytes in a BigTIFF").at(4)),
            version => {
                return Err(FormatError::malformed(format!(
                    "expected TIFF version 42 or 43, found {version}"
                ))
                .at(2));
            }
        };
        if first_directory == 0 {
            return Err(FormatError::incomplete("the pointer to the first directory is not written").at(4));
        }
        Ok(Self { order, big, first_directory })
    }
}

/// One tag of a directory; its value is read when asked for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Entry {
    tag: u16,
    field_type: u16,
    count: u64,
    /// Where the value stands, inside the entry or elsewhere.
    value_at: u64,
    /// The value itself if it fits into the entry.
    inline: Option<[u8; 8]>,
}

impl Entry {
    /// Bytes of one element; 0 for a type that nobody knows.
    fn element_bytes(&self) -> usize {
        match self.field_type {
            1 | 2 | 6 | 7 => 1,
            3 | 8 => 2,
            4 | 9 | 11 | 13 => 4,
            5 | 10 | 12 | 16..=18 => 8,
            _ => 0,
        }
    }

    fn value_bytes(&self) -> u64 {
        self.count.saturating_mul(self.element_bytes() as u64)
    }
}

/// One directory: its tags, and where the next one stands (0 for none).
#[derive(Debug, Clone)]
pub(super) struct Directory {
    pub(super) at: u64,
    pub(super) next: u64,
    order: ByteOrder,
    entries: Vec<Entry>,
}

impl Directory {
    /// Reads the entries at `at`.
    ///
    /// # Errors
    /// `incomplete` when the directory, or the value of one of its tags, does not lie inside the file.
    pub(super) fn read<R: Read + Seek>(
        reader: &mut FileReader<R>,
        header: &Header,
        at: u64,
    ) -> Result<Self, FormatError> {
        let Header { order, big, .. } = *header;
        let (count_bytes, entry_bytes, pointer_bytes) = if big { (8, 20, 8) } else { (2, 12, 4) };
        let n = order.uint(reader.peek(at, count_bytes)?);
        if n == 0 {
            return Err(FormatError::incomplete("a directory without entries: it is not written yet").at(at));
        }
        if n > ENTRIES_MAX {
            return Err(FormatError::malformed(format!(
                "expected a directory of at most {ENTRIES_MAX} entries, found {n}"
            ))
            .at(at));
        }
        let entries_at = at + count_bytes as u64;
        let table_bytes = n as usize * entry_bytes;
        let bytes = reader.peek(entries_at, table_bytes + pointer_bytes)?;
        let (table, pointer) = bytes.split_at(table_bytes);
        let next = order.uint(pointer);
        let parse = |(i, bytes): (usize, &[u8])| {
            let (head, value) = bytes.split_at(if big { 12 } else { 8 });
            let mut entry = Entry {
                tag: order.uint(&head[..2]) as u16,
                field_type: order.uint(&head[2..4]) as u16,
                count: order.uint(&head[4..]),
                value_at: order.uint(value),
                inline: None,
            };
            if entry.value_bytes() <= value.len() as u64 {
                let mut inline = [0; 8];
                inline[..value.len()].copy_from_slice(value);
                entry.inline = Some(inline);
                entry.value_at = entries_at + (i * entry_bytes + head.len()) as u64;
            }
            entry
        };
        let entries: Vec<Entry> = table.chunks_exact(entry_bytes).enumerate().map(parse).collect();
        for entry in entries.iter().filter(|entry| entry.inline.is_none()) {
            reader.check(&format!("the value of tag {}", entry.tag), entry.value_at, entry.value_bytes())?;
        }
        Ok(Self { at, next, order, entries })
    }

    /// The first entry of a tag; writers that repeat a tag mean the first.
    fn entry(&self, tag: u16) -> Option<&Entry> {
        self.entries.iter().find(|entry| entry.tag == tag)
    }

    /// Elements of a tag, 0 when absent.
    pub(super) fn count(&self, tag: u16) -> u64 {
        self.entry(tag).map_or(0, |entry| entry.count)
    }

    /// Whether a tag is announced without any content, as Micro-Manager does for a description that comes last.
    pub(super) fn is_reserved(&self, tag: u16) -> bool {
        self.entries.iter().any(|entry| entry.tag == tag && entry.count == 0)
    }

    /// Whether the directory, or the value of one of its tags, starts in a range of the file.
    pub(super) fn stands_in(&self, range: Range<u64>) -> bool {
        range.contains(&self.at) || self.entries.iter().any(|entry| range.contains(&entry.value_at))
    }

    /// Refuses a directory that gives one of these tags two different values.
    pub(super) fn check_unambiguous(&self, tags: &[u16]) -> Result<(), FormatError> {
        for tag in tags {
            let mut entries = self.entries.iter().filter(|entry| entry.tag == *tag);
            let value = |entry: &Entry| (entry.field_type, entry.count, entry.inline.ok_or(entry.value_at));
            let first = entries.next().map(value);
            if entries.any(|entry| Some(value(entry)) != first) {
                return Err(FormatError::malformed(format!("tag {tag} stands twice with different values"))
                    .at(self.at));
            }
        }
        Ok(())
    }

    /// The value's bytes in the file's order; empty when the tag is absent.
    pub(super) fn bytes<R: Read + Seek>(
        &self,
        reader: &mut FileReader<R>,
        tag: u16,
        limits: &Limits,
    ) -> Result<Vec<u8>, FormatError> {
        self.entry(tag).map_or(Ok(Vec::new()), |entry| read_value(reader, entry, limits))
    }

    /// The value of a tag whose elements are not of the size that their type says: `element_bytes` each.
    pub(super) fn bytes_of_size<R: Read + Seek>(
        &self,
        reader: &mut FileReader<R>,
        (tag, element_bytes): (u16, u64),
        limits: &Limits,
    ) -> Result<Vec<u8>, FormatError> {
        let Some(entry) = self.entry(tag) else { return Ok(Vec::new()) };
        let count = entry.count.saturating_mul(element_bytes);
        read_value(reader, &Entry { field_type: 1, count, inline: None, ..*entry }, limits)
    }

    /// The values of every occurrence of a text tag, each without its final NULs.
    pub(super) fn texts<R: Read + Seek>(
        &self,
        reader: &mut FileReader<R>,
        tag: u16,
        limits: &Limits,
    ) -> Result<Vec<String>, FormatError> {
        let entries = self.entries.iter().filter(|entry| entry.tag == tag);
        entries.map(|entry| Ok(text_of(read_value(reader, entry, limits)?))).collect()
    }

    /// Unsigned integers (BYTE, SHORT, LONG, LONG8, IFD, IFD8); empty when the tag is absent or of another type.
    pub(super) fn uints<R: Read + Seek>(
        &self,
        reader: &mut FileReader<R>,
        tag: u16,
        limits: &Limits,
    ) -> Result<Vec<u64>, FormatError> {
        let Some(entry) = self.entry(tag) else { return Ok(Vec::new()) };
        if !matches!(entry.field_type, 1 | 3 | 4 | 13 | 16 | 18) {
            return Ok(Vec::new());
        }
        let bytes = read_value(reader, entry, limits)?;
        Ok(bytes.chunks_exact(entry.element_bytes()).map(|value| self.order.uint(value)).collect())
    }

    /// The first unsigned integer of a tag whose value fits into the entry.
    pub(super) fn uint(&self, tag: u16) -> Option<u64> {
        let entry = self.entry(tag)?;
        let inline = entry.inline.filter(|_| entry.count > 0)?;
        matches!(entry.field_type, 1 | 3 | 4 | 13 | 16 | 18)
            .then(|| self.order.uint(&inline[..entry.element_bytes()]))
    }

    /// The first element of a tag as a float: any integer, FLOAT, DOUBLE, or a RATIONAL with a non-zero denominator.
    pub(super) fn float<R: Read + Seek>(
        &self,
        reader: &mut FileReader<R>,
        tag: u16,
        limits: &Limits,
    ) -> Result<Option<f64>, FormatError> {
        let Some(entry) = self.entry(tag).filter(|entry| entry.count > 0) else { return Ok(None) };
        let bytes = read_value(reader, entry, limits)?;
        let order = self.order;
        let first = bytes.get(..entry.element_bytes()).unwrap_or(&[]);
        Ok(match entry.field_type {
            5 => {
                let (numerator, denominator) = (order.uint(&first[..4]), order.uint(&first[4..]));
                (denominator != 0).then(|| numerator as f64 / denominator as f64)
            }
            11 => Some(f64::from(f32::from_bits(order.uint(first) as u32))),
            12 => Some(f64::from_bits(order.uint(first))),
            1 | 3 | 4 | 16 => Some(order.uint(first) as f64),
            _ => None,
        })
    }
}

fn read_value<R: Read + Seek>(
    reader: &mut FileReader<R>,
    entry: &Entry,
    limits: &Limits,
) -> Result<Vec<u8>, FormatError> {
    let n = entry.value_bytes();
    if let Some(inline) = entry.inline {
        return Ok(inline[..n as usize].to_vec());
    }
    if n > limits.metadata_bytes_max {
        return Err(FormatError::over_limit(format!(
            "tag {} holds {n} bytes, metadata_bytes_max is {}",
            entry.tag, limits.metadata_bytes_max
        ))
        .at(entry.value_at));
    }
    if n <= FileReader::<R>::WINDOW_MIN as u64 {
        return Ok(reader.peek(entry.value_at, n as usize)?.to_vec());
    }
    reader.check("a value", entry.value_at, n)?;
    let mut bytes = vec![0; n as usize];
    reader.read_at(entry.value_at, &mut bytes)?;
    Ok(bytes)
}

/// UTF-8, else Latin-1, up to the first NUL.
fn text_of(mut bytes: Vec<u8>) -> String {
    let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
    bytes.truncate(end);
    String::from_utf8(bytes).unwrap_or_else(|error| error.into_bytes().into_iter().map(char::from).collect())
}

/// Walks the chain from the first directory to its end.
///
/// # Errors
/// `incomplete` when the chain leaves the file or reaches an unwritten directory, `malformed` when it loops,
/// `over_limit` above `planes_max` directories.
pub(super) fn walk<R: Read + Seek>(
    reader: &mut FileReader<R>,
    header: &Header,
    limits: &Limits,
    mut visit: impl FnMut(&mut FileReader<R>, Directory) -> Result<(), FormatError>,
) -> Result<(), FormatError> {
    let mut seen = std::collections::HashSet::new();
    let mut at = header.first_directory;
    while at != 0 {
        if !seen.insert(at) {
            return Err(FormatError::malformed("the chain of directories runs in a circle").at(at));
        }
        if seen.len() as u64 > limits.planes_max {
            return Err(FormatError::over_limit(format!(
                "more directories than planes_max, {}",
                limits.planes_max
            ))
            .at(at));
        }
        let directory = Directory::read(reader, header, at)?;
        at = directory.next;
        visit(reader, directory)?;
    }
    Ok(())
}

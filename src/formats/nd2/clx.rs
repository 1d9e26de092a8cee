//! CLX-lite, the binary metadata of ND2 version 3 (and of tag 65331 in TIFF files that NIS-Elements exports).
//!
//! An item is: type (u8), length of the name in UTF-16 units with its NUL (u8), name, value. A level holds a count
//! (u32), the distance from the item's start to its offset table (u64), its items, and the table (u64 each, sorted
//! by name), which is not needed to read it. Numbers are little-endian.

use std::io::Read;

use super::value::{Level, TreeBudget, Value};
use crate::formats::{FormatError, Limits};

const TYPE_BOOL: u8 = 1;
const TYPE_INT32: u8 = 2;
const TYPE_UINT32: u8 = 3;
const TYPE_INT64: u8 = 4;
const TYPE_UINT64: u8 = 5;
const TYPE_FLOAT: u8 = 6;
const TYPE_POINTER: u8 = 7;
const TYPE_TEXT: u8 = 8;
const TYPE_BYTES: u8 = 9;
const TYPE_LEVEL: u8 = 11;
/// The rest of the block is a zlib stream of items.
const TYPE_COMPRESSED: u8 = 76;
/// Bytes between the head of a compressed item and its zlib stream.
const COMPRESSED_SKIP: usize = 10;

/// Reads all items of a block.
///
/// # Errors
/// `malformed` when a value reaches past its block or has an unknown type, `over_limit` when the tree nests too
/// deep, holds too many items or inflates to too many bytes.
pub(crate) fn parse(block: &[u8], limits: &Limits) -> Result<Level, FormatError> {
    if u64::try_from(block.len()).is_ok_and(|n| n > limits.metadata_bytes_max) {
        return Err(FormatError::over_limit(format!(
            "metadata of {} bytes exceeds the limit of {}",
            block.len(),
            limits.metadata_bytes_max
        )));
    }
    let mut parser = Parser { budget: TreeBudget::new(limits), bytes_left: limits.metadata_bytes_max };
    parser.items(block, None, 0)
}

struct Parser {
    budget: TreeBudget,
    bytes_left: u64,
}

impl Parser {
    /// `n_items` items, or as many as the block holds.
    fn items(&mut self, block: &[u8], n_items: Option<u32>, depth: u32) -> Result<Level, FormatError> {
        let mut cursor = Cursor { block, position: 0 };
        let mut level = Level::default();
        let mut n_left = n_items;
        while n_left != Some(0) && (n_items.is_some() || cursor.position < block.len()) {
            self.budget.take_item(depth)?;
            let start = cursor.position;
            let [item_type, name_length] = cursor.array()?;
            if item_type == TYPE_COMPRESSED {
                cursor.take(COMPRESSED_SKIP)?;
                let inflated = self.inflate(&block[cursor.position..])?;
                return self.items(&inflated, None, depth + 1);
            }
            let name = utf16_text(cursor.take(usize::from(name_length) * 2)?);
            let value = if item_type == TYPE_LEVEL {
                Value::Level(self.level(&mut cursor, start, depth)?)
            } else {
                cursor.scalar(item_type)?
            };
            level.0.push((name, value));
            n_left = n_left.map(|n| n - 1);
        }
        Ok(level)
    }

    fn level(&mut self, cursor: &mut Cursor<'_>, start: usize, depth: u32) -> Result<Level, FormatError> {
        let n_items = u32::from_le_bytes(cursor.array()?);
        let to_table = cursor.length()?;
        let body_length = to_table.checked_sub(cursor.position - start).ok_or_else(too_short)?;
        let body = cursor.take(body_length)?;
        let table_length =
            usize::try_from(n_items).ok().and_then(|n| n.checked_mul(8)).ok_or_else(too_short)?;
        cursor.take(table_length)?;
        self.items(body, Some(n_items), depth + 1)
    }

    fn inflate(&mut self, stream: &[u8]) -> Result<Vec<u8>, FormatError> {
        let mut inflated = Vec::new();
        let decoder = flate2::read::ZlibDecoder::new(stream);
        decoder
            .take(self.bytes_left.saturating_add(1))
            .read_to_end(&mut inflated)
            .map_err(|error| FormatError::malformed(format!("expected compressed metadata: {error}")))?;
        self.bytes_left = self
            .bytes_left
            .checked_sub(inflated.len() as u64)
            .ok_or_else(|| FormatError::over_limit("compressed metadata inflates past its limit in bytes"))?;
        Ok(inflated)
    }
}

struct Cursor<'a> {
    block: &'a [u8],
    position: usize,
}

impl<'a> Cursor<'a> {
    fn take(&mut self, n: usize) -> Result<&'a [u8], FormatError> {
        let end =
            self.position.checked_add(n).filter(|end| *end <= self.block.len()).ok_or_else(too_short)?;
        let taken = &self.block[self.position..end];
        self.position = end;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], FormatError> {
        Ok(self.take(N)?.try_into().expect("take gives exactly the bytes asked for"))
    }

    fn length(&mut self) -> Result<usize, FormatError> {
        usize::try_from(u64::from_le_bytes(self.array()?)).map_err(|_| too_short())
    }

    fn scalar(&mut self, item_type: u8) -> Result<Value, FormatError> {
        Ok(match item_type {
            // some writers store other values than 0 and 1
            TYPE_BOOL => Value::Bool(self.array::<1>()? != [0]),
            TYPE_INT32 => Value::Int32(i32::from_le_bytes(self.array()?)),
            TYPE_UINT32 => Value::Uint32(u32::from_le_bytes(self.array()?)),
            TYPE_INT64 => Value::Int64(i64::from_le_bytes(self.array()?)),
            TYPE_UINT64 | TYPE_POINTER => Value::Uint64(u64::from_le_bytes(self.array()?)),
            TYPE_FLOAT => Value::Float(f64::from_le_bytes(self.array()?)),
            TYPE_TEXT => {
                let rest = &self.block[self.position..];
                let units = rest.chunks_exact(2).position(|unit| unit == [0, 0]).ok_or_else(too_short)?;
                Value::Text(utf16_text(self.take(units * 2 + 2)?))
            }
            TYPE_BYTES => {
                let length = self.length()?;
                Value::Bytes(self.take(length)?.to_vec())
            }
            _ => {
                let message = format!("expected a known type of metadata value, found {item_type}");
                return Err(FormatError::malformed(message));
            }
        })
    }
}

fn too_short() -> FormatError {
    FormatError::malformed("a metadata value reaches past the end of its block")
}

/// UTF-16LE up to the first NUL; what is not valid becomes the replacement character.
fn utf16_text(bytes: &[u8]) -> String {
    let units = bytes
        .chunks_exact(2)
        .map(|unit| u16::from_le_bytes([unit[0], unit[1]]))
        .take_while(|unit| *unit != 0);
    char::decode_utf16(units).map(|unit| unit.unwrap_or(char::REPLACEMENT_CHARACTER)).collect()
}

/// Writes one root item, as the chunks of ND2 version 3 hold it. Names are cut at 254 UTF-16 units.
pub(crate) fn encode(name: &str, value: &Value) -> Vec<u8> {
    let mut out = Vec::new();
    encode_item(&mut out, name, value);
    out
}

fn encode_item(out: &mut Vec<u8>, name: &str, value: &Value) {
    let item_type = match value {
        Value::Bool(_) => TYPE_BOOL,
        Value::Int32(_) => TYPE_INT32,
        Value::Uint32(_) => TYPE_UINT32,
        Value::Int64(_) => TYPE_INT64,
        Value::Uint64(_) => TYPE_UINT64,
        Value::Float(_) => TYPE_FLOAT,
        Value::Text(_) => TYPE_TEXT,
        Value::Bytes(_) => TYPE_BYTES,
        Value::Level(_) => TYPE_LEVEL,
    };
    let start = out.len();
    let name: Vec<u16> = name.encode_utf16().take(254).chain([0]).collect();
    out.extend([item_type, name.len() as u8]);
    out.extend(name.iter().flat_map(|unit| unit.to_le_bytes()));
    match value {
        Value::Bool(value) => out.push(u8::from(*value)),
        Value::Int32(value) => out.extend(value.to_le_bytes()),
        Value::Uint32(value) => out.extend(value.to_le_bytes()),
        Value::Int64(value) => out.extend(value.to_le_bytes()),
        Value::Uint64(value) => out.extend(value.to_le_bytes()),
        Value::Float(value) => out.extend(value.to_le_bytes()),
        Value::Text(value) => {
            out.extend(value.encode_utf16().filter(|unit| *unit != 0).chain([0]).flat_map(u16::to_le_bytes));
        }
        Value::Bytes(value) => {
            out.extend((value.len() as u64).to_le_bytes());
            out.extend(value);
        }
        Value::Level(level) => encode_level(out, level, start),
    }
}

fn encode_level(out: &mut Vec<u8>, level: &Level, start: usize) {
    out.extend((level.0.len() as u32).to_le_bytes());
    let to_table_at = out.len();
    out.extend([0; 8]);
    let mut table = Vec::with_capacity(level.0.len());
    for (name, value) in &level.0 {
        table.push((name, (out.len() - start) as u64));
        encode_item(out, name, value);
    }
    table.sort_by_key(|(name, _)| *name);
    let to_table = (out.len() - start) as u64;
    out[to_table_at..to_table_at + 8].copy_from_slice(&to_table.to_le_bytes());
    out.extend(table.iter().flat_map(|(_, offset)| offset.to_le_bytes()));
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::formats::FormatErrorKind;
    use crate::formats::nd2::value::tests::any_level;
    use std::io::Write;

    fn kind(block: &[u8]) -> Option<FormatErrorKind> {
        parse(block, &Limits::default()).err().map(|error| error.kind)
    }

    #[test]
    fn reads_an_item_of_each_type_as_written_by_hand() {
        // uint32 "a" = 7; bool "b" = 116, as some files have it; text "c" = "x"
        let mut block = vec![3, 2, b'a', 0, 0, 0, 7, 0, 0, 0];
        block.extend([1, 2, b'b', 0, 0, 0, 116]);
        block.extend([8, 2, b'c', 0, 0, 0, b'x', 0, 0, 0]);
        let level = parse(&block, &Limits::default()).unwrap();
        assert_eq!(level, Level::default().with("a", 7_u32).with("b", true).with("c", "x"));
    }

    #[test]
    fn compressed_blocks_are_inflated_within_the_limit() {
        let compressed = |bytes: &[u8]| {
            let mut encoder = flate2::write::ZlibEncoder::new(vec![76, 0], flate2::Compression::best());
            encoder.get_mut().extend([0; COMPRESSED_SKIP]);
            encoder.write_all(bytes).unwrap();
            encoder.finish().unwrap()
        };
        let tree = Level::default().with("n", 5_u32);
        let block = compressed(&encode("root", &Value::Level(tree.clone())));
        assert_eq!(parse(&block, &Limits::default()).unwrap(), Level::default().with("root", tree));
        assert_eq!(kind(&compressed(&vec![1; 70 << 20])), Some(FormatErrorKind::OverLimit));
        let nested = (0..100).fold(encode("x", &Value::Bool(true)), |inner, _| compressed(&inner));
        assert_eq!(kind(&nested), Some(FormatErrorKind::OverLimit));
    }

    #[test]
    fn bombs_are_refused() {
        let deep = (0..100).fold(Value::Bool(true), |inner, _| Level::default().with("x", inner).into());
        assert_eq!(kind(&encode("root", &deep)), Some(FormatErrorKind::OverLimit));
        // three bytes an item, many items
        let many: Vec<u8> = [1, 0, 1].repeat(2 << 20);
        assert_eq!(kind(&many), Some(FormatErrorKind::OverLimit));
        // a level of 2^32 - 1 items, and one whose body is said to be huge
        let mut level = encode("r", &Value::Level(Level::default()));
        level[6..10].copy_from_slice(&u32::MAX.to_le_bytes());
        assert_eq!(kind(&level), Some(FormatErrorKind::Malformed));
        level[10..18].copy_from_slice(&(1_u64 << 63).to_le_bytes());
        assert_eq!(kind(&level), Some(FormatErrorKind::Malformed));
    }

    proptest! {
        #[test]
        fn trees_round_trip(tree in any_level()) {
            let read = parse(&encode("root", &Value::Level(tree.clone())), &Limits::default()).unwrap();
            prop_assert_eq!(read, Level::default().with("root", tree));
        }

        #[test]
        fn no_bytes_panic(block in prop::collection::vec(prop_oneof![0_u8..12, Just(76), any::<u8>()], 0..300)) {
            let _ = parse(&block, &Limits::default());
        }
    }
}

//! Bilevel fax compressions: modified Huffman rows, ITU-T T.4 (one-dimensional) and T.6.
//!
//! Samples are what the file stores: 0 for the code tables' white, 1 for their black, whatever a viewer makes of them.

use std::convert::Infallible;

use fax::decoder::{DecodeStatus, Group4Decoder};
use fax::{BitReader, ByteReader, maps};

use super::codecs::Compression;
use crate::formats::FormatError;

/// Bit 0 of T4Options: two-dimensional coding.
const T4_TWO_DIMENSIONAL: u64 = 1;

/// Decodes a strip into one byte per pixel, rows of `width`.
///
/// # Errors
/// `malformed` for damaged data, `unsupported` for two-dimensional T.4 and rows above 65,535 pixels.
pub(super) fn decode(
    compression: Compression,
    t4_options: u64,
    input: &[u8],
    width: usize,
    out: &mut [u8],
) -> Result<(), FormatError> {
    let Ok(columns) = u16::try_from(width) else {
        return Err(FormatError::unsupported("fax rows above 65535 pixels are not read"));
    };
    // the tables look ahead, past the last code
    let bytes = input.iter().copied().chain([0; 4]).map(Ok::<u8, Infallible>);
    let Ok(reader) = ByteReader::new(bytes.clone());
    match compression {
        Compression::Fax4 => decode_t6(bytes, columns, out),
        Compression::Fax3 if t4_options & T4_TWO_DIMENSIONAL != 0 => {
            Err(FormatError::unsupported("two-dimensional T.4 fax compression is not read"))
        }
        Compression::Fax3 => decode_rows(reader, columns, skip_end_of_line, out),
        _ => decode_rows(reader, columns, skip_to_byte, out),
    }
}

fn decode_t6(
    bytes: impl Iterator<Item = Result<u8, Infallible>>,
    columns: u16,
    out: &mut [u8],
) -> Result<(), FormatError> {
    let Ok(mut decoder) = Group4Decoder::new(bytes, columns);
    for (row, pixels) in out.chunks_exact_mut(usize::from(columns)).enumerate() {
        match decoder.advance() {
            Ok(DecodeStatus::Incomplete) => draw(decoder.transition(), pixels),
            Ok(DecodeStatus::End) | Err(_) => return Err(damaged(row)),
        }
    }
    Ok(())
}

/// One-dimensional rows, each preceded by what `align` skips.
fn decode_rows<R: BitReader>(
    mut reader: R,
    columns: u16,
    align: impl Fn(&mut R),
    out: &mut [u8],
) -> Result<(), FormatError> {
    for (row, pixels) in out.chunks_exact_mut(usize::from(columns)).enumerate() {
        align(&mut reader);
        let mut at = 0_u16;
        let mut black = false;
        let mut changes = Vec::new();
        while at < columns {
            let run = run_length(&mut reader, black).ok_or_else(|| damaged(row))?;
            at = at.checked_add(run).filter(|at| *at <= columns).ok_or_else(|| damaged(row))?;
            changes.push(at);
            black = !black;
        }
        draw(&changes, pixels);
    }
    Ok(())
}

/// Make-up codes of 64 and more, then one terminating code.
fn run_length(reader: &mut impl BitReader, black: bool) -> Option<u16> {
    let mut sum = 0_u16;
    loop {
        let n = if black { maps::black::decode(reader) } else { maps::white::decode(reader) }?;
        sum = sum.checked_add(n)?;
        if n < 64 {
            return Some(sum);
        }
    }
}

/// Fill bits and an end-of-line code; no run starts with 9 zeros.
fn skip_end_of_line<R: BitReader>(reader: &mut R) {
    if reader.peek(9) == Some(0) {
        while reader.peek(1) == Some(0) && reader.consume(1).is_ok() {}
        let _one = reader.consume(1);
    }
}

fn skip_to_byte<R: BitReader>(reader: &mut R) {
    let n = reader.bits_to_byte_boundary();
    let _fill = reader.consume(n % 8);
}

/// Draws a row from the places where the colour changes, white first.
fn draw(changes: &[u16], pixels: &mut [u8]) {
    pixels.fill(0);
    for run in changes.chunks(2) {
        let start = usize::from(run[0]).min(pixels.len());
        let end = run.get(1).map_or(pixels.len(), |end| usize::from(*end).clamp(start, pixels.len()));
        pixels[start..end].fill(1);
    }
}

fn damaged(row: usize) -> FormatError {
    FormatError::malformed(format!("damaged fax data in row {row} of a strip"))
}

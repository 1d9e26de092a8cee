//! LZW as TIFF has it: codes of 9 to 12 bits, most significant bit first, each width one code early.
//!
//! A code of the table stands for bytes that were written before, one of them more than the code before it: so the table
//! holds places in the output, and nothing is ever copied into it.
//!
//! # References
//! TIFF 6.0, section 13.

use crate::formats::FormatError;

const CLEAR: usize = 256;
const END: usize = 257;
const FIRST_FREE: usize = 258;
const WIDTH_MIN: u32 = 9;
const WIDTH_MAX: u32 = 12;
const TABLE_LENGTH: usize = 1 << WIDTH_MAX;
/// Bytes that are copied at once where there is room behind the end.
const STRIDE: usize = 8;

/// Decodes `input` until `out` is full, the end code comes or the input ends; gives the bytes written.
///
/// # Errors
/// `malformed` for a code that is not in the table yet, `unsupported` for the bit order before TIFF 5.0.
pub(super) fn decode(input: &[u8], out: &mut [u8]) -> Result<usize, FormatError> {
    if let [0, second, ..] = input
        && second & 1 == 1
    {
        return Err(FormatError::unsupported("LZW of the bit order before TIFF 5.0 is not read"));
    }
    let mut table = [Run::default(); TABLE_LENGTH];
    let mut codes = Codes { input, bit: 0 };
    let (mut width, mut free) = (WIDTH_MIN, FIRST_FREE);
    let mut previous: Option<Run> = None;
    let mut at = 0;
    while at < out.len() {
        let Some(code) = codes.next(width) else { break };
        let run = match code {
            0..CLEAR => {
                out[at] = code as u8;
                Run { start: at as u32, length: 1 }
            }
            CLEAR => {
                (width, free, previous) = (WIDTH_MIN, FIRST_FREE, None);
                continue;
            }
            END => break,
            _ => {
                let run = match previous {
                    Some(_) if code < free => table[code],
                    // the code that this very step defines: the run before, and its first byte again
                    Some(before) if code == free => before.longer(),
                    _ => {
                        return Err(FormatError::malformed(format!(
                            "damaged LZW data: code {code} is not defined"
                        )));
                    }
                };
                copy(out, run, at);
                Run { start: at as u32, length: run.length }
            }
        };
        if let Some(before) = previous
            && free < TABLE_LENGTH
        {
            table[free] = before.longer();
            free += 1;
            if free + 1 == 1 << width && width < WIDTH_MAX {
                width += 1;
            }
        }
        at += run.length as usize;
        previous = Some(run);
    }
    Ok(at.min(out.len()))
}

/// Bytes of the output.
#[derive(Debug, Clone, Copy, Default)]
struct Run {
    start: u32,
    length: u32,
}

impl Run {
    /// With the byte that follows it.
    fn longer(self) -> Self {
        Self { length: self.length + 1, ..self }
    }
}

/// Copies a run to `at`, as much of it as there is room for. It may reach up to `at` itself and then repeats.
fn copy(out: &mut [u8], run: Run, at: usize) {
    let (start, length) = (run.start as usize, run.length as usize);
    let end = at + length;
    if at - start >= STRIDE && end + STRIDE <= out.len() {
        // what is copied beyond the end is written again by the codes to come
        for offset in (0..length).step_by(STRIDE) {
            let bytes: [u8; STRIDE] =
                out[start + offset..start + offset + STRIDE].try_into().expect("a stride of bytes");
            out[at + offset..at + offset + STRIDE].copy_from_slice(&bytes);
        }
    } else {
        for offset in 0..length.min(out.len() - at) {
            out[at + offset] = out[start + offset];
        }
    }
}

/// Codes from a stream of bits.
struct Codes<'a> {
    input: &'a [u8],
    bit: usize,
}

impl Codes<'_> {
    fn next(&mut self, width: u32) -> Option<usize> {
        let (byte, skip) = (self.bit / 8, (self.bit % 8) as u32);
        let word = match self.input.get(byte..byte + 4) {
            Some(bytes) => u32::from_be_bytes(bytes.try_into().expect("four bytes")),
            None => {
                if self.bit + width as usize > self.input.len() * 8 {
                    return None;
                }
                let mut bytes = [0; 4];
                let rest = &self.input[byte..];
                bytes[..rest.len()].copy_from_slice(rest);
                u32::from_be_bytes(bytes)
            }
        };
        self.bit += width as usize;
        Some((word << skip >> (32 - width)) as usize)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::formats::FormatErrorKind;

    fn encode(bytes: &[u8]) -> Vec<u8> {
        weezl::encode::Encoder::with_tiff_size_switch(weezl::BitOrder::Msb, 8).encode(bytes).unwrap()
    }

    /// Bytes whose runs grow long, fill the table several times, and repeat themselves at once.
    #[test]
    fn what_an_independent_encoder_writes_comes_back() {
        let noise: Vec<u8> =
            (0..100_000_u64).map(|i| (i.wrapping_mul(i).wrapping_mul(2_654_435_761) >> 13) as u8).collect();
        let steps: Vec<u8> = (0..100_000_u32).map(|i| (i / 1000) as u8).collect();
        let words: Vec<u8> = b"abcabcabd".iter().copied().cycle().take(50_000).collect();
        for bytes in [noise, steps, words, vec![7; 70_000], vec![1], vec![], vec![1, 1], vec![2, 2, 2]] {
            let packed = encode(&bytes);
            let mut out = vec![0; bytes.len() + 3];
            assert_eq!(decode(&packed, &mut out).unwrap(), bytes.len());
            assert_eq!(out[..bytes.len()], bytes);
            for n in [0, 1, bytes.len() / 2, bytes.len().saturating_sub(1)] {
                let mut part = vec![0; n.min(bytes.len())];
                assert_eq!(decode(&packed, &mut part).unwrap(), part.len());
                assert_eq!(part, bytes[..part.len()]);
            }
        }
    }

    #[test]
    fn a_code_that_was_never_defined_is_damage() {
        // clear, 65, 300 in nine bits each
        let mut out = [0; 8];
        let bits = (256_u32 << 18 | 65 << 9 | 300) << 5;
        let error = decode(&bits.to_be_bytes(), &mut out).unwrap_err();
        assert_eq!(error.kind, FormatErrorKind::Malformed);
    }

    proptest! {
        #[test]
        fn any_bytes_come_back(bytes in prop::collection::vec(0_u8..4, 0..3000)) {
            let mut out = vec![0; bytes.len()];
            prop_assert_eq!(decode(&encode(&bytes), &mut out).unwrap(), bytes.len());
            prop_assert_eq!(out, bytes);
        }

        #[test]
        fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..300), n in 0_usize..5000) {
            let _ = decode(&bytes, &mut vec![0; n]);
        }
    }
}

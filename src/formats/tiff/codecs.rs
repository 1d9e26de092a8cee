//! Decompression of one strip or tile into a buffer of known length, and the compressions that are written.

use std::io::Write;

use weezl::BitOrder;

use super::lzw;
use super::writer::WriteCompression;
use crate::formats::FormatError;
use crate::formats::inflate::inflate;

/// How strips and tiles are compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Compression {
    None,
    /// Modified Huffman, rows aligned to bytes.
    CcittRle,
    /// ITU-T T.4.
    Fax3,
    /// ITU-T T.6.
    Fax4,
    Lzw,
    /// The JPEG of TIFF 6.0, withdrawn.
    OldJpeg,
    Jpeg,
    Deflate,
    PackBits,
    Zstd,
    Other(u64),
}

impl Compression {
    /// Whether samples may come back changed.
    pub(super) const fn is_lossy(self) -> bool {
        matches!(self, Self::OldJpeg | Self::Jpeg)
    }

    pub(super) const fn from_code(code: u64) -> Self {
        match code {
            0 | 1 => Self::None,
            2 => Self::CcittRle,
            3 => Self::Fax3,
            4 => Self::Fax4,
            5 => Self::Lzw,
            6 => Self::OldJpeg,
            7 => Self::Jpeg,
            8 | 32946 => Self::Deflate,
            32773 => Self::PackBits,
            34926 | 50000 => Self::Zstd,
            other => Self::Other(other),
        }
    }

    /// Refuses what no decoder here reads.
    pub(super) fn check_supported(self) -> Result<(), FormatError> {
        let what = match self {
            Self::Zstd if !cfg!(feature = "zstd") => "zstd compression (built without the feature zstd)",
            Self::OldJpeg => "old-style JPEG compression",
            Self::Other(34925) => "LZMA compression",
            Self::Other(34712 | 33003..=33005) => "JPEG 2000 compression",
            Self::Other(50001) => "WebP compression",
            Self::Other(34887) => "LERC compression",
            Self::Other(50002 | 52546) => "JPEG XL compression",
            Self::Other(code) => {
                return Err(FormatError::unsupported(format!("compression {code} is not read")));
            }
            _ => return Ok(()),
        };
        Err(FormatError::unsupported(format!("{what} is not read")))
    }
}

/// Decompresses `input` until `out` is full. Input left over is ignored, as writers pad.
///
/// # Errors
/// `malformed` when the data are damaged or end before `out` is full.
pub(super) fn decompress(compression: Compression, input: &[u8], out: &mut [u8]) -> Result<(), FormatError> {
    let n = match compression {
        Compression::None => {
            let n = input.len().min(out.len());
            out[..n].copy_from_slice(&input[..n]);
            n
        }
        Compression::Lzw => lzw::decode(input, out)?,
        Compression::Deflate => inflate(input, out)?.n,
        Compression::PackBits => unpack_runs(input, out),
        Compression::Zstd => zstd(input, out)?,
        other => return Err(FormatError::unsupported(format!("{other:?} is not a compression of bytes"))),
    };
    if n == out.len() {
        return Ok(());
    }
    Err(FormatError::malformed(format!("expected {} bytes in a strip or tile, found {n}", out.len())))
}

fn unpack_runs(input: &[u8], out: &mut [u8]) -> usize {
    let (mut n_in, mut n_out) = (0, 0);
    while n_out < out.len() {
        let Some(code) = input.get(n_in).map(|byte| i8::from_ne_bytes([*byte])) else { break };
        n_in += 1;
        match code {
            0.. => {
                let n = (code as usize + 1).min(out.len() - n_out).min(input.len() - n_in);
                if n == 0 {
                    break;
                }
                out[n_out..n_out + n].copy_from_slice(&input[n_in..n_in + n]);
                (n_in, n_out) = (n_in + n, n_out + n);
            }
            -127..0 => {
                let Some(value) = input.get(n_in) else { break };
                let n = (1 - isize::from(code)) as usize;
                let n = n.min(out.len() - n_out);
                out[n_out..n_out + n].fill(*value);
                (n_in, n_out) = (n_in + 1, n_out + n);
            }
            i8::MIN => {}
        }
    }
    n_out
}

#[cfg(feature = "zstd")]
fn zstd(input: &[u8], out: &mut [u8]) -> Result<usize, FormatError> {
    zstd::bulk::decompress_to_buffer(input, out)
        .map_err(|error| FormatError::malformed(format!("damaged zstd data: {error}")))
}

#[cfg(not(feature = "zstd"))]
fn zstd(_input: &[u8], _out: &mut [u8]) -> Result<usize, FormatError> {
    Err(FormatError::unsupported("zstd compression is not read (built without the feature zstd)"))
}

/// The code of a compression that is written.
pub(super) const fn code_of(compression: WriteCompression) -> u16 {
    match compression {
        WriteCompression::None => 1,
        WriteCompression::Lzw => 5,
        WriteCompression::Deflate => 8,
        WriteCompression::PackBits => 32773,
    }
}

/// Compresses one strip or tile; `None` means that it stays as it is.
pub(super) fn compress(
    bytes: &[u8],
    row_bytes: usize,
    compression: WriteCompression,
) -> Result<Option<Vec<u8>>, FormatError> {
    Ok(match compression {
        WriteCompression::None => None,
        WriteCompression::Deflate => {
            let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::new(6));
            encoder.write_all(bytes)?;
            Some(encoder.finish()?)
        }
        WriteCompression::Lzw => {
            let mut encoder = weezl::encode::Configuration::with_tiff_size_switch(BitOrder::Msb, 8).build();
            let packed = encoder.encode(bytes);
            Some(packed.map_err(|error| FormatError::malformed(format!("LZW: {error}")))?)
        }
        WriteCompression::PackBits => {
            let mut packed = Vec::new();
            bytes.chunks(row_bytes).for_each(|row| pack_runs(row, &mut packed));
            Some(packed)
        }
    })
}

/// Packs one row, as the format asks for.
fn pack_runs(row: &[u8], packed: &mut Vec<u8>) {
    let run_at = |at: usize| row[at..].iter().take(128).take_while(|byte| **byte == row[at]).count();
    let mut at = 0;
    while at < row.len() {
        let run = run_at(at);
        if run > 2 {
            packed.extend([(257 - run) as u8, row[at]]);
            at += run;
            continue;
        }
        let mut end = at + run;
        while end < row.len() && end - at < 128 && run_at(end) < 3 {
            end += 1;
        }
        packed.push((end - at - 1) as u8);
        packed.extend_from_slice(&row[at..end]);
        at = end;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(written: WriteCompression, read: Compression) {
        let noise: Vec<u8> = (0..5000_u64).map(|i| ((i * i * 2_654_435_761) >> 13) as u8).collect();
        let mut runs = vec![7_u8; 1000];
        runs[500..700].copy_from_slice(&noise[..200]);
        for bytes in [noise.clone(), runs, vec![0], vec![1, 1], vec![1, 1, 1, 2], vec![3; 129]] {
            let packed = compress(&bytes, 100, written).unwrap().unwrap_or_else(|| bytes.clone());
            let mut out = vec![0; bytes.len()];
            decompress(read, &packed, &mut out).unwrap();
            assert_eq!(out, bytes, "{read:?}");
            let mut longer = vec![0; bytes.len() + 1];
            assert!(decompress(read, &packed, &mut longer).is_err(), "{read:?} is one byte short");
            let mut shorter = vec![0; bytes.len() - 1];
            decompress(read, &packed, &mut shorter).unwrap();
            assert_eq!(shorter, bytes[..bytes.len() - 1]);
        }
    }

    #[test]
    fn each_compression_reads_what_it_wrote() {
        check(WriteCompression::None, Compression::None);
        check(WriteCompression::Deflate, Compression::Deflate);
        check(WriteCompression::Lzw, Compression::Lzw);
        check(WriteCompression::PackBits, Compression::PackBits);
    }

    #[cfg(feature = "zstd")]
    #[test]
    fn zstd_reads_what_its_encoder_wrote() {
        let bytes: Vec<u8> = (0..5000_u32).map(|i| (i / 7) as u8).collect();
        let packed = zstd::bulk::compress(&bytes, 3).unwrap();
        let mut out = vec![0; bytes.len()];
        decompress(Compression::Zstd, &packed, &mut out).unwrap();
        assert_eq!(out, bytes);
        let half = decompress(Compression::Zstd, &packed[..packed.len() / 2], &mut out);
        assert!(half.is_err());
    }

    #[test]
    fn a_wrong_checksum_is_noticed() {
        let bytes = vec![9; 300];
        let mut packed = compress(&bytes, 100, WriteCompression::Deflate).unwrap().unwrap();
        *packed.last_mut().unwrap() ^= 1;
        let mut out = vec![0; 300];
        let error = decompress(Compression::Deflate, &packed, &mut out).unwrap_err();
        assert!(error.message.contains("damaged deflate data"), "{error}");
    }
}

//! Zlib streams, decoded in one go into memory of known length.

use flate2::{Decompress, FlushDecompress, Status};

use super::FormatError;

/// What became of a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Inflated {
    /// Bytes that were written.
    pub(super) n: usize,
    /// The stream ended there and its checksum holds; else it has more to give.
    pub(super) ended: bool,
}

/// Fills `out` from the stream that `input` begins with; what follows the stream is ignored.
///
/// # Errors
/// `malformed` when the stream is damaged.
pub(super) fn inflate(input: &[u8], out: &mut [u8]) -> Result<Inflated, FormatError> {
    #[cfg(feature = "libdeflate")]
    if let Ok(n) = libdeflater::Decompressor::new().zlib_decompress(input, out) {
        return Ok(Inflated { n, ended: true });
    }
    // it does not say how far it came: a stream that is longer than `out` or damaged is gone through once more
    inflate_in_steps(input, out)
}

fn inflate_in_steps(input: &[u8], out: &mut [u8]) -> Result<Inflated, FormatError> {
    let damaged = |error| FormatError::malformed(format!("damaged deflate data: {error}"));
    let mut inflater = Decompress::new(true);
    loop {
        let (n_in, n) = (inflater.total_in() as usize, inflater.total_out() as usize);
        // the flush says that all there is of both stands here: nothing is buffered on the way
        let (flush, out) = (FlushDecompress::Finish, &mut out[n..]);
        let is_full = out.is_empty();
        let status = match is_full {
            // reads on to the checksum
            true => inflater.decompress(&input[n_in..], &mut [0], FlushDecompress::None),
            false => inflater.decompress(&input[n_in..], out, flush),
        };
        let status = status.map_err(damaged)?;
        let n_after = inflater.total_out() as usize;
        if status == Status::StreamEnd && !(is_full && n_after > n) {
            return Ok(Inflated { n: n_after, ended: true });
        }
        if is_full || (inflater.total_in() as usize == n_in && n_after == n) {
            return Ok(Inflated { n, ended: false });
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn streams_are_known_by_their_end() {
        for n in [1, 300, 70_000] {
            let bytes: Vec<u8> = (0..n).map(|i| (i * 7 % 251) as u8).collect();
            let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::new(6));
            encoder.write_all(&bytes).unwrap();
            let mut packed = encoder.finish().unwrap();
            let half = inflate(&packed[..packed.len() / 2], &mut vec![0; n]);
            assert!(half.is_err() || half.is_ok_and(|half| !half.ended));
            let mut damaged = packed.clone();
            *damaged.last_mut().unwrap() ^= 1;
            assert!(inflate(&damaged, &mut vec![0; n]).is_err(), "the checksum is looked at");
            packed.extend([0; 9]);
            let read = |length: usize| {
                let [mut out, mut in_steps] = [vec![0; length], vec![0; length]];
                let inflated = inflate(&packed, &mut out).unwrap();
                assert_eq!(inflate_in_steps(&packed, &mut in_steps).unwrap(), inflated);
                assert_eq!(out[..inflated.n], bytes[..inflated.n]);
                assert_eq!(in_steps, out);
                inflated
            };
            assert_eq!(read(n), Inflated { n, ended: true });
            assert_eq!(read(n + 5), Inflated { n, ended: true });
            assert_eq!(read(n - 1), Inflated { n: n - 1, ended: false });
        }
    }
}

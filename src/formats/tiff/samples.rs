//! From stored bytes to samples: byte order, bit order, packed bits and the two predictors, and back.

/// Turns the bytes of every sample of `size` bytes around.
pub(super) fn swap_bytes(bytes: &mut [u8], size: usize) {
    match size {
        2 => bytes.as_chunks_mut::<2>().0.iter_mut().for_each(|sample| sample.reverse()),
        4 => bytes.as_chunks_mut::<4>().0.iter_mut().for_each(|sample| sample.reverse()),
        8 => bytes.as_chunks_mut::<8>().0.iter_mut().for_each(|sample| sample.reverse()),
        _ => {}
    }
}

/// Turns the bits of every byte around (FillOrder 2).
pub(super) fn reverse_bits(bytes: &mut [u8]) {
    for byte in bytes {
        *byte = byte.reverse_bits();
    }
}

/// Undoes horizontal differencing (predictor 2) of one row of native-order samples.
///
/// `stride` is the number of interleaved samples per pixel.
pub(super) fn undo_horizontal(row: &mut [u8], size: usize, stride: usize) {
    match size {
        1 => accumulate::<1>(row, stride, |a, b| [a[0].wrapping_add(b[0])]),
        2 => accumulate::<2>(row, stride, |a, b| {
            u16::from_ne_bytes(a).wrapping_add(u16::from_ne_bytes(b)).to_ne_bytes()
        }),
        4 => accumulate::<4>(row, stride, |a, b| {
            u32::from_ne_bytes(a).wrapping_add(u32::from_ne_bytes(b)).to_ne_bytes()
        }),
        _ => accumulate::<8>(row, stride, |a, b| {
            u64::from_ne_bytes(a).wrapping_add(u64::from_ne_bytes(b)).to_ne_bytes()
        }),
    }
}

/// Applies horizontal differencing to one row of native-order samples.
pub(super) fn apply_horizontal(row: &mut [u8], size: usize, stride: usize) {
    match size {
        1 => differentiate::<1>(row, stride, |a, b| [a[0].wrapping_sub(b[0])]),
        2 => differentiate::<2>(row, stride, |a, b| {
            u16::from_ne_bytes(a).wrapping_sub(u16::from_ne_bytes(b)).to_ne_bytes()
        }),
        4 => differentiate::<4>(row, stride, |a, b| {
            u32::from_ne_bytes(a).wrapping_sub(u32::from_ne_bytes(b)).to_ne_bytes()
        }),
        _ => differentiate::<8>(row, stride, |a, b| {
            u64::from_ne_bytes(a).wrapping_sub(u64::from_ne_bytes(b)).to_ne_bytes()
        }),
    }
}

fn accumulate<const N: usize>(row: &mut [u8], stride: usize, add: impl Fn([u8; N], [u8; N]) -> [u8; N]) {
    let samples = row.as_chunks_mut::<N>().0;
    if stride == 1 {
        let mut sum = [0; N];
        for sample in samples {
            sum = add(*sample, sum);
            *sample = sum;
        }
    } else {
        for i in stride..samples.len() {
            samples[i] = add(samples[i], samples[i - stride]);
        }
    }
}

fn differentiate<const N: usize>(
    row: &mut [u8],
    stride: usize,
    subtract: impl Fn([u8; N], [u8; N]) -> [u8; N],
) {
    let samples = row.as_chunks_mut::<N>().0;
    for i in (stride..samples.len()).rev() {
        samples[i] = subtract(samples[i], samples[i - stride]);
    }
}

/// Undoes the floating-point predictor (predictor 3) of one row; the samples come out in native order.
///
/// Reference: Adobe Photoshop TIFF Technical Note 3, "Floating Point Predictor".
pub(super) fn undo_floating(row: &mut [u8], size: usize, stride: usize, scratch: &mut Vec<u8>) {
    for i in stride..row.len() {
        row[i] = row[i].wrapping_add(row[i - stride]);
    }
    scratch.clear();
    scratch.extend_from_slice(row);
    let n = row.len() / size;
    for (i, sample) in row.chunks_exact_mut(size).enumerate() {
        for (rank, byte) in sample.iter_mut().enumerate() {
            *byte = scratch[significance(rank, size) * n + i];
        }
    }
}

/// Applies the floating-point predictor to one row of native-order samples.
pub(super) fn apply_floating(row: &mut [u8], size: usize, stride: usize, scratch: &mut Vec<u8>) {
    scratch.clear();
    scratch.extend_from_slice(row);
    let n = row.len() / size;
    for (i, sample) in scratch.chunks_exact(size).enumerate() {
        for (rank, byte) in sample.iter().enumerate() {
            row[significance(rank, size) * n + i] = *byte;
        }
    }
    for i in (stride..row.len()).rev() {
        row[i] = row[i].wrapping_sub(row[i - stride]);
    }
}

/// Which byte of a native-order sample stands at memory position `rank`, counted from the most significant.
const fn significance(rank: usize, size: usize) -> usize {
    if cfg!(target_endian = "little") { size - 1 - rank } else { rank }
}

/// Unpacks one row of samples of `bits` bits each, most significant bit first, into native-order samples of `size`
/// bytes.
///
/// `bits` is 1 to 32 and fits into `size`; `packed` holds at least the bits that `out` asks for.
pub(super) fn unpack_bits(packed: &[u8], bits: u32, out: &mut [u8], size: usize) {
    let mut held: u64 = 0;
    let mut n_held = 0;
    let mut bytes = packed.iter();
    for sample in out.chunks_exact_mut(size) {
        while n_held < bits {
            held = held << 8 | u64::from(bytes.next().copied().unwrap_or(0));
            n_held += 8;
        }
        n_held -= bits;
        let value = (held >> n_held & ((1 << bits) - 1)) as u32;
        match size {
            1 => sample[0] = value as u8,
            2 => sample.copy_from_slice(&(value as u16).to_ne_bytes()),
            _ => sample.copy_from_slice(&value.to_ne_bytes()),
        }
    }
}

/// Keeps the lowest `bits` bits of every sample: what a difference of packed samples wraps around at.
pub(super) fn mask_bits(row: &mut [u8], bits: u32, size: usize) {
    let mask = (1_u64 << bits) - 1;
    match size {
        1 => row.iter_mut().for_each(|sample| *sample &= mask as u8),
        2 => row.as_chunks_mut::<2>().0.iter_mut().for_each(|sample| {
            *sample = (u16::from_ne_bytes(*sample) & mask as u16).to_ne_bytes();
        }),
        _ => row.as_chunks_mut::<4>().0.iter_mut().for_each(|sample| {
            *sample = (u32::from_ne_bytes(*sample) & mask as u32).to_ne_bytes();
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unpacks_every_width_that_occurs() {
        let check = |bits, size, packed: &[u8], expected: &[u32]| {
            let mut out = vec![0; expected.len() * size];
            unpack_bits(packed, bits, &mut out, size);
            let values: Vec<u32> = out
                .chunks_exact(size)
                .map(|sample| match size {
                    1 => u32::from(sample[0]),
                    2 => u32::from(u16::from_ne_bytes([sample[0], sample[1]])),
                    _ => u32::from_ne_bytes([sample[0], sample[1], sample[2], sample[3]]),
                })
                .collect();
            assert_eq!(values, expected, "{bits} bits");
        };
        check(1, 1, &[0b1010_0000], &[1, 0, 1]);
        check(3, 1, &[0b1010_0111, 0b1000_0000], &[5, 1, 7]);
        check(7, 1, &[0xFE, 0x02], &[127, 0]);
        check(12, 2, &[0xAB, 0xCD, 0xEF], &[0xABC, 0xDEF]);
        check(24, 4, &[1, 2, 3, 4, 5, 6], &[0x01_0203, 0x04_0506]);
        check(31, 4, &[0xFF, 0xFF, 0xFF, 0xFE], &[0x7FFF_FFFF]);
    }

    #[test]
    fn predictors_undo_what_they_apply() {
        let original: Vec<u8> = (0..48_u32).map(|i| (i * i * 37 % 251) as u8).collect();
        let mut scratch = Vec::new();
        for size in [1, 2, 4, 8] {
            for stride in [1, 2, 3] {
                let mut row = original.clone();
                apply_horizontal(&mut row, size, stride);
                assert_ne!(row, original);
                undo_horizontal(&mut row, size, stride);
                assert_eq!(row, original, "horizontal, size {size}, stride {stride}");
                if size > 1 {
                    apply_floating(&mut row, size, stride, &mut scratch);
                    assert_ne!(row, original);
                    undo_floating(&mut row, size, stride, &mut scratch);
                    assert_eq!(row, original, "floating, size {size}, stride {stride}");
                }
            }
        }
    }

    #[test]
    fn horizontal_differences_wrap_around() {
        let mut row: Vec<u8> = [10_u16, 65530, 12].iter().flat_map(|v| v.to_ne_bytes()).collect();
        undo_horizontal(&mut row, 2, 1);
        let values: Vec<u16> = row.chunks_exact(2).map(|b| u16::from_ne_bytes([b[0], b[1]])).collect();
        assert_eq!(values, [10, 4, 16]);
    }
}

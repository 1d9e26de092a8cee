//! The plane as a mean over 64 by 64 blocks.

use super::rows::{Rows, Sample};

/// Blocks along each side.
pub(super) const SIDE: usize = 64;

/// Averages grey values, each first drawn into `range`, over the blocks, row by row. Along a side shorter than
/// 64 pixels blocks repeat pixels.
pub(super) fn block_means<T: Sample>(rows: &Rows<'_, T>, range: (f32, f32)) -> Vec<f32> {
    if rows.height == 0 {
        return vec![0.0; SIDE * SIDE];
    }
    let mut means = Vec::with_capacity(SIDE * SIDE);
    let mut row = vec![0.0_f32; rows.width];
    let mut sums = vec![0.0_f32; rows.width];
    for block_row in 0..SIDE {
        let band = block(block_row, rows.height);
        sums.fill(0.0);
        for y in band.clone() {
            rows.read(y, range, &mut row);
            for (sum, value) in sums.iter_mut().zip(&row) {
                *sum += value;
            }
        }
        for block_column in 0..SIDE {
            let columns = block(block_column, rows.width);
            let n_pixels = columns.len() * band.len();
            let sum: f64 = sums[columns].iter().map(|&sum| f64::from(sum)).sum();
            means.push((sum / n_pixels as f64) as f32);
        }
    }
    means
}

/// The pixels of one of 64 blocks along a side of `length`; the same from either end, save for halves.
fn block(index: usize, length: usize) -> std::ops::Range<usize> {
    if length < SIDE {
        let centre = (2 * index + 1) * length / (2 * SIDE);
        return centre..centre + 1;
    }
    let edge = |index: usize| (2 * index * length + SIDE) / (2 * SIDE);
    edge(index)..edge(index + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_cover_a_side_without_gap_or_overlap() {
        for length in [64, 65, 100, 127, 128, 1000, 2048, 2044] {
            let mut next = 0;
            for index in 0..SIDE {
                let block = block(index, length);
                assert_eq!(block.start, next, "{length}");
                assert!(!block.is_empty(), "{length}");
                next = block.end;
            }
            assert_eq!(next, length);
        }
        for length in [1, 2, 5, 63] {
            assert_eq!(block(0, length), 0..1);
            assert_eq!(block(SIDE - 1, length), length - 1..length);
        }
    }
}

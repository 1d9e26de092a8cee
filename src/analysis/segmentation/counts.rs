//! Counts what occurs how often, on several threads.

use rayon::prelude::*;

/// Counts in a table of `n_bins` what `count` counts in each of `parts`. The sum is the same for any number of threads.
pub(super) fn count_in_parts<P: Send>(
    parts: impl IndexedParallelIterator<Item = P>,
    n_bins: usize,
    count: impl Fn(&mut [u32], P) + Send + Sync,
) -> Vec<u32> {
    /// A table costs as much as some thousand counts.
    const PARTS_MIN: usize = 4;
    let tables = parts.with_min_len(PARTS_MIN).fold(
        || vec![0_u32; n_bins],
        |mut table, part| {
            count(&mut table, part);
            table
        },
    );
    let add = |mut sum: Vec<u32>, table: Vec<u32>| {
        sum.iter_mut().zip(table).for_each(|(sum, n)| *sum += n);
        sum
    };
    tables.reduce_with(add).unwrap_or_else(|| vec![0; n_bins])
}

/// The least bin up to which at least half of what was counted lies; 0 when nothing was.
pub(super) fn median_bin(counts: &[u32]) -> usize {
    let n: u64 = counts.iter().map(|&count| u64::from(count)).sum();
    let mut below = 0_u64;
    let median = counts.iter().position(|&count| {
        below += u64::from(count);
        2 * below >= n
    });
    median.unwrap_or(0)
}

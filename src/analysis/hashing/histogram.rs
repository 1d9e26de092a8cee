//! How often each grey value occurs: exact for 8 and 16 bits, in 65 536 even steps for all else.

use std::ops::RangeInclusive;

use super::rows::{Rows, Sample};

const N_BINS: usize = 1 << 16;

/// Every grey value passes.
pub(super) const ANY: (f32, f32) = (f32::MIN, f32::MAX);

/// The distribution of the grey values.
pub(super) struct Histogram {
    /// Pixels in this bin and all before it.
    n_up_to: Vec<u64>,
    first: f32,
    step: f32,
    /// Pixels counted.
    pub(super) n_pixels: u64,
    /// Mean grey value.
    pub(super) mean: f32,
    /// Smallest grey value.
    pub(super) min: f32,
    /// Largest grey value.
    pub(super) max: f32,
    /// Pixels of the largest grey value.
    pub(super) n_at_max: u64,
}

impl Histogram {
    /// Counts all pixels. An empty plane counts as one pixel of value 0.
    pub(super) fn of<T: Sample>(rows: &Rows<'_, T>) -> Self {
        match T::FIRST_BIN {
            _ if rows.height == 0 => Self::exact(&[1], 0.0),
            Some(first) if rows.is_plain() => {
                let bins = bins(rows);
                Self::exact(&count_exact(rows, &bins), first + f32::from(*bins.start()))
            }
            _ => Self::even(rows),
        }
    }

    /// The grey value below which the fraction `p` of the pixels lies, `p` from 0 to 1.
    pub(super) fn quantile(&self, p: f64) -> f32 {
        self.of_rank(((self.n_pixels - 1) as f64 * p).round() as u64)
    }

    /// The grey value of the pixel that has `rank` others before it in ascending order.
    pub(super) fn of_rank(&self, rank: u64) -> f32 {
        if rank == 0 {
            return self.min;
        }
        if rank + 1 >= self.n_pixels {
            return self.max;
        }
        let bin = self.n_up_to.partition_point(|&n| n <= rank);
        (self.first + bin as f32 * self.step).clamp(self.min, self.max)
    }

    /// The first and the last of `counts` are not 0.
    fn exact(counts: &[u32], first: f32) -> Self {
        let last = counts.len() - 1;
        let extremes = Extremes { min: first, max: first + last as f32, n_at_max: counts[last].into() };
        Self::of_counts(counts, (first, 1.0), &extremes)
    }

    fn of_counts(counts: &[u32], (first, step): (f32, f32), extremes: &Extremes) -> Self {
        let n_up_to = sums(counts);
        let n_pixels = n_up_to.last().copied().unwrap_or(0);
        let sum: f64 = counts.iter().enumerate().map(|(bin, &count)| bin as f64 * f64::from(count)).sum();
        let mean = (f64::from(first) + sum / n_pixels as f64 * f64::from(step)) as f32;
        let Extremes { min, max, n_at_max } = *extremes;
        Self { n_up_to, first, step, n_pixels, mean, min, max, n_at_max }
    }

    /// Even steps between the values that leave 1 in 10 000 pixels outside on either side (counted in the outermost
    /// steps), which a first, logarithmic histogram finds: one wild value must not use up all steps.
    fn even<T: Sample>(rows: &Rows<'_, T>) -> Self {
        let mut values = vec![0.0_f32; rows.width];
        let mut counts = vec![0_u32; N_BINS];
        let mut extremes = Extremes { min: f32::MAX, max: f32::MIN, n_at_max: 0 };
        for y in 0..rows.height {
            rows.read(y, ANY, &mut values);
            for &value in &values {
                counts[key(value)] += 1;
                extremes.min = extremes.min.min(value);
                if value > extremes.max {
                    (extremes.max, extremes.n_at_max) = (value, 0);
                }
                extremes.n_at_max += u64::from(value == extremes.max);
            }
        }
        let n_pixels = (rows.height * rows.width) as u64;
        let n_outside = n_pixels / 10_000;
        let n_up_to = sums(&counts);
        let key_of_rank = |rank| n_up_to.partition_point(|&n| n <= rank);
        let first = edge(key_of_rank(n_outside)).max(extremes.min);
        let last = edge(key_of_rank(n_pixels - 1 - n_outside) + 1).min(extremes.max);
        let step = (last - first) / (N_BINS - 1) as f32;
        let steps_per_level = if step > 0.0 { 1.0 / step } else { 0.0 };
        counts.fill(0);
        for y in 0..rows.height {
            rows.read(y, (first, last), &mut values);
            for &value in &values {
                // the cast cuts off, so that this rounds
                let bin = ((value - first) * steps_per_level + 0.5) as usize;
                counts[bin.min(N_BINS - 1)] += 1;
            }
        }
        Self::of_counts(&counts, (first, step), &extremes)
    }
}

struct Extremes {
    min: f32,
    max: f32,
    n_at_max: u64,
}

/// The sum of each count and all before it.
fn sums(counts: &[u32]) -> Vec<u64> {
    let mut n = 0;
    counts
        .iter()
        .map(|&count| {
            n += u64::from(count);
            n
        })
        .collect()
}

/// From the first bin that is needed to the last.
fn bins<T: Sample>(rows: &Rows<'_, T>) -> RangeInclusive<u16> {
    let (mut first, mut last) = (u16::MAX, 0);
    for y in 0..rows.height {
        let (row_first, row_last) = bins_of_row(rows.samples(y));
        (first, last) = (first.min(row_first), last.max(row_last));
    }
    first.min(last)..=last
}

#[multiversion::multiversion(targets("x86_64+avx2", "x86_64+sse4.1"))]
fn bins_of_row<T: Sample>(samples: &[T]) -> (u16, u16) {
    let (mut first, mut last) = (u16::MAX, 0);
    for sample in samples {
        (first, last) = (first.min(sample.bin()), last.max(sample.bin()));
    }
    (first, last)
}

/// Counts from the first of `bins` to the last.
fn count_exact<T: Sample>(rows: &Rows<'_, T>, bins: &RangeInclusive<u16>) -> Vec<u32> {
    let n = bins.len();
    // tables of a size that is known beforehand need no check of each place
    let mut counts = match n {
        0..=0x400 => count_in_table::<T, 0x400>(rows, *bins.start()),
        0x401..=0x1000 => count_in_table::<T, 0x1000>(rows, *bins.start()),
        0x1001..=0x4000 => count_in_table::<T, 0x4000>(rows, *bins.start()),
        _ => count_in_table::<T, N_BINS>(rows, *bins.start()),
    };
    counts.truncate(n);
    counts
}

/// Counts in a table of `N` bins, a power of two. Two counts a bin, because neighbours are often equal and an addition must not
/// wait for the one before it; side by side, because places a multiple of 4096 bytes apart would wait as well.
fn count_in_table<T: Sample, const N: usize>(rows: &Rows<'_, T>, first: u16) -> Vec<u32> {
    let mut table = vec![[0_u32; 2]; N];
    let Some(counts) = table.first_chunk_mut::<N>() else { return Vec::new() };
    let place = |sample: &T| usize::from(sample.bin().wrapping_sub(first)) % N;
    for y in 0..rows.height {
        let mut pairs = rows.samples(y).chunks_exact(2);
        for pair in &mut pairs {
            counts[place(&pair[0])][0] += 1;
            counts[place(&pair[1])][1] += 1;
        }
        for sample in pairs.remainder() {
            counts[place(sample)][0] += 1;
        }
    }
    table.into_iter().map(|[even, odd]| even + odd).collect()
}

/// The upper 16 bits of a number, turned so that they ascend with it: sign, exponent and 7 bits of the fraction.
fn key(value: f32) -> usize {
    let bits = value.to_bits();
    let ascending = if bits >> 31 == 1 { !bits } else { bits | 1 << 31 };
    (ascending >> 16) as usize
}

/// The smallest number with this key.
fn edge(key: usize) -> f32 {
    let ascending = (key.min(N_BINS - 1) as u32) << 16;
    let value = f32::from_bits(if ascending >> 31 == 1 { ascending & !(1 << 31) } else { !ascending });
    if value.is_nan() { 0.0 } else { value.clamp(f32::MIN, f32::MAX) }
}

//! The mask of what could be an object: brighter than a floor and brighter than its surroundings.

use super::components::{Run, append_runs};

/// What a pixel must exceed.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct MaskRule {
    /// The level that every object pixel exceeds.
    pub(super) floor: u16,
    /// Side of the square over which the local mean is taken, in pixels; odd. It is cut at the image's edge.
    pub(super) window: usize,
}

/// The runs of pixels that exceed the floor and the mean of the window around them, in raster order.
///
/// Sums run along the columns and then along the row: the cost does not depend on the window.
pub(super) fn mask_runs(levels: &[u16], width: usize, rule: MaskRule) -> Vec<Run> {
    let mut runs = Vec::new();
    if levels.is_empty() {
        return runs;
    }
    let (height, reach) = (levels.len() / width, rule.window / 2);
    let row_of = |y: usize| &levels[y * width..][..width];
    let mut columns = vec![0_u32; width];
    let mut before = vec![0_u64; width + 1];
    let mut mask = vec![0_u8; width];
    for y in 0..reach.min(height) {
        add_row(&mut columns, row_of(y));
    }
    for y in 0..height {
        if y + reach < height {
            add_row(&mut columns, row_of(y + reach));
        }
        if y > reach {
            for (column, &level) in columns.iter_mut().zip(row_of(y - reach - 1)) {
                *column -= u32::from(level);
            }
        }
        if !row_of(y).iter().any(|&level| level > rule.floor) {
            continue;
        }
        let mut sum = 0_u64;
        for (before, &column) in before[1..].iter_mut().zip(&columns) {
            sum += u64::from(column);
            *before = sum;
        }
        let n_rows = ((y + reach).min(height - 1) - y.saturating_sub(reach) + 1) as u64;
        for (x, (mask, &level)) in mask.iter_mut().zip(row_of(y)).enumerate() {
            let (left, right) = (x.saturating_sub(reach), (x + reach + 1).min(width));
            let n = n_rows * (right - left) as u64;
            *mask = u8::from(level > rule.floor && u64::from(level) * n > before[right] - before[left]);
        }
        append_runs(&mut runs, &mask, y);
    }
    runs
}

fn add_row(columns: &mut [u32], row: &[u16]) {
    for (column, &level) in columns.iter_mut().zip(row) {
        *column += u32::from(level);
    }
}

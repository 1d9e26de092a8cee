//! One connected component cut out of the plane, with a margin of one pixel on every side.

use std::ops::Range;

use super::components::{Run, find_from};

/// Pixels side by side in one row of a patch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Span {
    /// The first, as an index of the patch.
    pub(super) start: usize,
    /// The one after the last.
    pub(super) end: usize,
}

impl Span {
    /// The pixels.
    pub(super) fn range(self) -> Range<usize> {
        self.start..self.end
    }
}

/// A component in its bounding box. Row-major with `stride` pixels a row; the first and last row and column are
/// margin and never belong to it.
#[derive(Debug, Clone, Default)]
pub(super) struct Patch {
    /// The plane's row at the first row inside the margin.
    pub(super) top: usize,
    /// The plane's column at the first column inside the margin.
    pub(super) left: usize,
    /// Rows with the margin.
    pub(super) rows: usize,
    /// Columns with the margin.
    pub(super) stride: usize,
    /// Pixels that belong to it.
    pub(super) area: usize,
    /// 1 where a pixel belongs to it.
    pub(super) mask: Vec<u8>,
    /// Where the mask is 1, row by row, once [`Self::find_spans`] was called.
    pub(super) spans: Vec<Span>,
    /// Whether the margin above, left, below, right lies outside the plane.
    pub(super) outside: [bool; 4],
}

/// Gives a buffer's memory back where it is large: small patches keep theirs for the next one, while a component as
/// large as the plane must not hold the buffers of every step at once.
pub(super) fn let_go<T>(buffer: &mut Vec<T>) {
    const LARGE: usize = 1 << 18;
    if buffer.capacity() > LARGE {
        *buffer = Vec::new();
    }
}

impl Patch {
    /// Draws the runs of one component of a plane of `height` by `width` pixels.
    pub(super) fn draw(&mut self, runs: &[Run], height: usize, width: usize) {
        let (Some(first), Some(last)) = (runs.first(), runs.last()) else {
            return;
        };
        let left = runs.iter().map(|run| run.start).min().unwrap_or(0) as usize;
        let right = runs.iter().map(|run| run.end).max().unwrap_or(0) as usize;
        let (top, bottom) = (first.row as usize, last.row as usize + 1);
        (self.top, self.left) = (top, left);
        (self.rows, self.stride) = (bottom - top + 2, right - left + 2);
        self.outside = [top == 0, left == 0, bottom == height, right == width];
        self.mask.clear();
        self.mask.resize(self.rows * self.stride, 0);
        self.area = 0;
        for run in runs {
            let start = self.index_of(run.row as usize, run.start as usize);
            let n = (run.end - run.start) as usize;
            self.mask[start..start + n].fill(1);
            self.area += n;
        }
    }

    /// Finds the spans of the mask as it is now.
    pub(super) fn find_spans(&mut self) {
        self.spans.clear();
        // the margin ends each row
        let mut start = find_from(&self.mask, 0, 1);
        while start < self.mask.len() {
            let end = find_from(&self.mask, start, 0);
            self.spans.push(Span { start, end });
            start = find_from(&self.mask, end, 1);
        }
    }

    /// The spans: where each stands in the patch, and where it lies in a plane of `width` columns.
    pub(super) fn plane_spans(
        &self,
        width: usize,
    ) -> impl Iterator<Item = (Range<usize>, Range<usize>)> + '_ {
        self.spans.iter().map(move |span| {
            let (row, column) = (span.start / self.stride, span.start % self.stride);
            let start = (self.top + row - 1) * width + self.left + column - 1;
            (span.range(), start..start + span.end - span.start)
        })
    }

    /// Where a pixel of the plane stands in the patch.
    pub(super) fn index_of(&self, row: usize, column: usize) -> usize {
        (row - self.top + 1) * self.stride + column - self.left + 1
    }

    /// The rows inside the margin: where each starts in the patch, and where it lies in a plane of `width` columns.
    pub(super) fn plane_rows(&self, width: usize) -> impl Iterator<Item = (usize, Range<usize>)> + use<> {
        let (top, left, stride) = (self.top, self.left, self.stride);
        (0..self.rows.saturating_sub(2)).map(move |row| {
            let start = (top + row) * width + left;
            ((row + 1) * stride + 1, start..start + stride - 2)
        })
    }

    /// Whether a pixel of the plane belongs to it.
    pub(super) fn holds(&self, row: usize, column: usize) -> bool {
        let (row, column) = ((row + 1).wrapping_sub(self.top), (column + 1).wrapping_sub(self.left));
        row < self.rows && column < self.stride && self.mask[row * self.stride + column] != 0
    }
}

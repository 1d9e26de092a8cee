//! Orthogonal reduction of least squares: rows are absorbed into a triangle, which is then factored with pivoting.

use super::objective::{dot, norm};

/// The triangle `R` and the right side `Q' b` of rows absorbed so far (Householder; Golub and Van Loan, section
/// 5.2), without the rows themselves.
pub(super) struct RowQr {
    n: usize,
    /// Column after column, `n` long each: the columns of `R`, then the right side.
    columns: Vec<f64>,
}

impl RowQr {
    pub(super) fn new(n: usize) -> Self {
        Self { n, columns: vec![0.0; n * (n + 1)] }
    }

    /// Forgets all rows.
    pub(super) fn clear(&mut self) {
        self.columns.fill(0.0);
    }

    /// Column `index` of the triangle; index `n` is the right side.
    pub(super) fn column(&self, index: usize) -> &[f64] {
        &self.columns[index * self.n..][..self.n]
    }

    /// The right side, `Q' b`.
    pub(super) fn right_side(&self) -> &[f64] {
        self.column(self.n)
    }

    pub(super) fn scale_column(&mut self, index: usize, factor: f64) {
        self.columns[index * self.n..][..self.n].iter_mut().for_each(|value| *value *= factor);
    }

    pub(super) fn is_finite(&self) -> bool {
        self.columns.iter().all(|value| value.is_finite())
    }

    /// Takes in rows, given as `n` columns one after the other and a right side; both are overwritten.
    pub(super) fn absorb(&mut self, columns: &mut [f64], right_side: &mut [f64]) {
        absorb(self.n, &mut self.columns, columns, right_side);
    }
}

/// Reflects rows into a triangle, column after column, with the best instructions that this processor has.
#[multiversion::multiversion(targets("x86_64+avx2"))]
fn absorb(n: usize, triangle: &mut [f64], columns: &mut [f64], right_side: &mut [f64]) {
    let n_rows = right_side.len();
    for pivot in 0..n {
        let (left, right) = columns.split_at_mut((pivot + 1) * n_rows);
        let vector = &left[pivot * n_rows..];
        let top = triangle[pivot * n + pivot];
        let below = dot(vector, vector);
        if below == 0.0 {
            continue;
        }
        // reflects (top, vector) onto (-sign(top) length, 0)
        let length = top.hypot(below.sqrt()).copysign(top);
        let head = top + length;
        let factor = 1.0 / (length * head);
        triangle[pivot * n + pivot] = -length;
        let others = right.chunks_exact_mut(n_rows).chain([&mut *right_side]);
        for (offset, column) in others.enumerate() {
            let top = &mut triangle[(pivot + 1 + offset) * n + pivot];
            let share = factor * (head * *top + dot(vector, column));
            *top -= share * head;
            column.iter_mut().zip(vector).for_each(|(value, v)| *value -= share * v);
        }
    }
}

/// A square-or-taller matrix factored as `A P = Q R` with column pivoting (Businger and Golub 1965), and `Q' b`.
pub(super) struct PivotedQr {
    n_rows: usize,
    n_columns: usize,
    /// Column after column, `n_rows` long each; the triangle after [`PivotedQr::factor`].
    columns: Vec<f64>,
    /// The right side; its first `n_columns` values belong to the triangle.
    pub(super) right_side: Vec<f64>,
    /// The column of `A` that stands at each place of the triangle.
    pub(super) pivots: Vec<usize>,
}

impl PivotedQr {
    /// Room for a matrix of `n` rows and up to `n` columns.
    pub(super) fn new(n: usize) -> Self {
        Self {
            n_rows: n,
            n_columns: 0,
            columns: vec![0.0; n * n],
            right_side: vec![0.0; n],
            pivots: Vec::with_capacity(n),
        }
    }

    pub(super) fn n_columns(&self) -> usize {
        self.n_columns
    }

    /// An element of the triangle.
    pub(super) fn at(&self, row: usize, column: usize) -> f64 {
        self.columns[column * self.n_rows + row]
    }

    /// Factors the chosen columns of a triangle, with `right_side` beside it.
    pub(super) fn factor(&mut self, triangle: &RowQr, chosen: &[usize], right_side: &[f64]) {
        let n_rows = self.n_rows;
        self.n_columns = chosen.len();
        self.pivots.clear();
        self.pivots.extend(0..chosen.len());
        self.right_side.copy_from_slice(right_side);
        for (column, index) in self.columns.chunks_exact_mut(n_rows).zip(chosen) {
            column.copy_from_slice(triangle.column(*index));
        }
        for pivot in 0..self.n_columns {
            self.bring_longest(pivot);
            self.reflect(pivot);
        }
    }

    /// Swaps the column that is longest from row `pivot` on into place; the first of equals.
    fn bring_longest(&mut self, pivot: usize) {
        let n_rows = self.n_rows;
        let length = |column: usize| norm(&self.columns[column * n_rows + pivot..(column + 1) * n_rows]);
        let mut longest = (pivot, length(pivot));
        for column in pivot + 1..self.n_columns {
            let length = length(column);
            if length > longest.1 {
                longest = (column, length);
            }
        }
        if longest.0 != pivot {
            self.pivots.swap(pivot, longest.0);
            for row in 0..n_rows {
                self.columns.swap(pivot * n_rows + row, longest.0 * n_rows + row);
            }
        }
    }

    fn reflect(&mut self, pivot: usize) {
        let n_rows = self.n_rows;
        let (left, right) = self.columns.split_at_mut((pivot + 1) * n_rows);
        let vector = &mut left[pivot * n_rows + pivot..];
        let length = norm(vector).copysign(vector[0]);
        if length == 0.0 {
            return;
        }
        vector[0] += length;
        let factor = 1.0 / (length * vector[0]);
        let others = right.chunks_exact_mut(n_rows).take(self.n_columns - pivot - 1);
        for column in others.map(|c| &mut c[pivot..]).chain([&mut self.right_side[pivot..]]) {
            let share = factor * dot(vector, column);
            column.iter_mut().zip(vector.iter()).for_each(|(value, v)| *value -= share * v);
        }
        vector.fill(0.0);
        vector[0] = -length;
    }
}

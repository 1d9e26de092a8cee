//! Normal equations of few unknowns and two right sides, that pairs can be taken out of again.

/// `B'B` and `B'r` over rows `b` of functions and residuals `r` for x and y.
#[derive(Clone)]
pub(super) struct Normal {
    n_rows: f64,
    /// The lower triangle, row after row, each `p` long.
    products: Vec<f64>,
    right_sides: Vec<[f64; 2]>,
}

impl Normal {
    /// No row of `p` functions.
    pub(super) fn new(p: usize) -> Self {
        Self { n_rows: 0.0, products: vec![0.0; p * p], right_sides: vec![[0.0; 2]; p] }
    }

    pub(super) fn add(&mut self, row: &[f64], residual: &[f64; 2]) {
        let p = row.len();
        self.n_rows += 1.0;
        for (index, value) in row.iter().enumerate() {
            let products = &mut self.products[index * p..][..=index];
            products.iter_mut().zip(row).for_each(|(product, other)| *product += value * other);
            let [x, y] = &mut self.right_sides[index];
            *x += value * residual[0];
            *y += value * residual[1];
        }
    }

    pub(super) fn plus(mut self, other: &Self) -> Self {
        self.combine(other, 1.0);
        self
    }

    pub(super) fn minus(&self, other: &Self) -> Self {
        let mut left = self.clone();
        left.combine(other, -1.0);
        left
    }

    fn combine(&mut self, other: &Self, sign: f64) {
        self.n_rows += sign * other.n_rows;
        self.products.iter_mut().zip(&other.products).for_each(|(value, more)| *value += sign * more);
        let sides = self.right_sides.as_flattened_mut().iter_mut().zip(other.right_sides.as_flattened());
        sides.for_each(|(value, more)| *value += sign * more);
    }

    /// The coefficients of the first `n_used` functions by least squares (Cholesky). With an energy, so many times the
    /// quadratic form of the last functions counts beside the mean square. None where they are not determined.
    pub(super) fn solve(&self, n_used: usize, energy: Option<(&[Vec<f64>], f64)>) -> Option<Vec<[f64; 2]>> {
        let p = self.right_sides.len();
        let mut triangle: Vec<Vec<f64>> =
            (0..n_used).map(|row| self.products[row * p..][..=row].to_vec()).collect();
        if let Some((energy, factor)) = energy {
            let first = n_used - energy.len();
            for (row, bent) in triangle[first..].iter_mut().zip(energy) {
                row[first..]
                    .iter_mut()
                    .zip(bent)
                    .for_each(|(value, bent)| *value += factor * self.n_rows * bent);
            }
        }
        factor(&mut triangle)?;
        let mut solution = self.right_sides[..n_used].to_vec();
        for row in 0..n_used {
            let known = sum((0..row).map(|index| (triangle[row][index], solution[index])));
            solution[row] = less(solution[row], known, triangle[row][row]);
        }
        for row in (0..n_used).rev() {
            let known = sum((row + 1..n_used).map(|index| (triangle[index][row], solution[index])));
            solution[row] = less(solution[row], known, triangle[row][row]);
        }
        Some(solution)
    }
}

/// Values for x and y, times a factor each, added up.
fn sum(parts: impl Iterator<Item = (f64, [f64; 2])>) -> [f64; 2] {
    parts.fold([0.0; 2], |[x, y], (factor, [u, v])| [x + factor * u, y + factor * v])
}

fn less([x, y]: [f64; 2], [u, v]: [f64; 2], pivot: f64) -> [f64; 2] {
    [(x - u) / pivot, (y - v) / pivot]
}

/// Part of a diagonal value below which what is left of it is rounding.
const ROUNDING: f64 = 1e-12;

/// Replaces the lower triangle of a matrix by that of its Cholesky factor; none where it is not positive definite.
fn factor(triangle: &mut [Vec<f64>]) -> Option<()> {
    for row in 0..triangle.len() {
        let (above, below) = triangle.split_at_mut(row);
        let current = &mut below[0];
        for column in 0..row {
            let known: f64 = current[..column].iter().zip(&above[column]).map(|(a, b)| a * b).sum();
            current[column] = (current[column] - known) / above[column][column];
        }
        let square = current[row] - current[..row].iter().map(|value| value * value).sum::<f64>();
        if square.is_nan() || square <= ROUNDING * current[row] {
            return None;
        }
        current[row] = square.sqrt();
    }
    Some(())
}

//! The minimum of the quadratic model over the parameters that are free at the Cauchy point, and its projection.
//!
//! # References
//! Byrd, Lu, Nocedal and Zhu 1995, section 5.1 (direct primal method); Morales and Nocedal, Remark on algorithm 778,
//! ACM TOMS 38(1), 2011 (projection). The middle matrix is factored in blocks as in L-BFGS-B's `formk`.

use super::super::Bounds;
use super::cauchy::CauchyPoint;
use super::memory::{Memory, cholesky, cholesky_solve, solve_lower};

/// Where the model is minimised.
pub(super) struct Model<'a> {
    pub(super) memory: &'a Memory,
    pub(super) bounds: &'a Bounds,
    /// The point that the model is built at, and the gradient there.
    pub(super) centre: &'a [f64],
    pub(super) gradient: &'a [f64],
}

/// Room for the minimisation.
pub(super) struct Subspace {
    n_pairs_max: usize,
    /// The reduced gradient, turned; then the direction.
    direction: Vec<f64>,
    before: Vec<f64>,
    image: Vec<f64>,
    /// The blocks of the middle matrix: `D + Y'ZZ'Y / theta`, `L_a - R_z`, and the Schur complement.
    corner: Vec<f64>,
    side: Vec<f64>,
    complement: Vec<f64>,
}

impl Subspace {
    pub(super) fn new(n: usize, n_pairs_max: usize) -> Self {
        let square = || vec![0.0; n_pairs_max * n_pairs_max];
        Self {
            n_pairs_max,
            direction: vec![0.0; n],
            before: vec![0.0; n],
            image: vec![0.0; 2 * n_pairs_max],
            corner: square(),
            side: square(),
            complement: square(),
        }
    }

    /// Moves the Cauchy point to the minimum over its free parameters within the box; `false` where rounding errors
    /// have spoilt the memory.
    pub(super) fn minimise(&mut self, model: &Model, cauchy: &mut CauchyPoint) -> bool {
        self.reduced_gradient(model, cauchy);
        let memory = model.memory;
        if !self.factorise(memory, &cauchy.free) {
            return false;
        }
        let k = memory.n_pairs;
        for pair in 0..k {
            let (step, change) = (memory.step(pair), memory.change(pair));
            let pairs = cauchy.free.iter().zip(&self.direction);
            let (along_change, along_step) = pairs.fold((0.0, 0.0), |(y, s), (&index, value)| {
                (y + change[index] * value, s + step[index] * value)
            });
            self.image[pair] = along_change;
            self.image[k + pair] = memory.theta * along_step;
        }
        self.solve_middle(k);
        for pair in 0..k {
            let (step, change) = (memory.step(pair), memory.change(pair));
            let (on_change, on_step) = (self.image[pair] / memory.theta, self.image[k + pair]);
            for (value, &index) in self.direction.iter_mut().zip(&cauchy.free) {
                *value += change[index] * on_change + step[index] * on_step;
            }
        }
        let n_free = cauchy.free.len();
        self.direction[..n_free].iter_mut().for_each(|value| *value /= memory.theta);
        self.go(model, cauchy);
        true
    }

    /// Writes the model's gradient at the Cauchy point over the free parameters, turned.
    fn reduced_gradient(&mut self, model: &Model, cauchy: &CauchyPoint) {
        let Model { memory, centre, gradient, .. } = model;
        let k = memory.n_pairs;
        memory.middle(&cauchy.way_image[..2 * k], &mut self.image);
        for (value, &index) in self.direction.iter_mut().zip(&cauchy.free) {
            let way = cauchy.point[index] - centre[index];
            *value = -memory.theta * way - gradient[index];
        }
        for pair in 0..k {
            let (step, change) = (memory.step(pair), memory.change(pair));
            let (on_change, on_step) = (self.image[pair], memory.theta * self.image[k + pair]);
            for (value, &index) in self.direction.iter_mut().zip(&cauchy.free) {
                *value += change[index] * on_change + step[index] * on_step;
            }
        }
    }

    /// Builds and factors the middle matrix `[[-corner, side'], [side, theta S'AA'S]]`, `Z` and `A` choosing the free
    /// and the other parameters.
    fn factorise(&mut self, memory: &Memory, free: &[usize]) -> bool {
        let (k, max, theta) = (memory.n_pairs, self.n_pairs_max, memory.theta);
        let over_free = |one: &[f64], two: &[f64]| free.iter().map(|&i| one[i] * two[i]).sum::<f64>();
        // the free parameters are sorted: the others are those between them
        let over_others = |one: &[f64], two: &[f64]| {
            let mut free = free.iter().copied().peekable();
            let others = (0..memory.n).filter(|index| free.next_if_eq(index).is_none());
            others.map(|i| one[i] * two[i]).sum::<f64>()
        };
        for row in 0..k {
            for column in 0..k {
                let at = row * max + column;
                let (step, change) = (memory.step(row), memory.change(column));
                self.side[at] =
                    if row > column { over_others(step, change) } else { -over_free(step, change) };
                if column <= row {
                    self.corner[at] = over_free(memory.change(row), change) / theta;
                    self.complement[at] = theta * over_others(step, memory.step(column));
                }
            }
            self.corner[row * max + row] += memory.curvature(row);
        }
        if !cholesky(&mut self.corner, k, max) {
            return false;
        }
        // the rows of side become those of side corner^-T: the Schur complement adds their products
        for row in 0..k {
            solve_lower(&self.corner, k, max, &mut self.side[row * max..][..k]);
        }
        for row in 0..k {
            for column in 0..=row {
                let (one, two) = (&self.side[row * max..][..k], &self.side[column * max..][..k]);
                self.complement[row * max + column] += one.iter().zip(two).map(|(a, b)| a * b).sum::<f64>();
            }
        }
        cholesky(&mut self.complement, k, max)
    }

    /// Solves with the middle matrix, in place in `image`.
    fn solve_middle(&mut self, k: usize) {
        let max = self.n_pairs_max;
        let (upper, lower) = self.image[..2 * k].split_at_mut(k);
        solve_lower(&self.corner, k, max, upper);
        for (row, value) in lower.iter_mut().enumerate() {
            *value += self.side[row * max..][..k].iter().zip(upper.iter()).map(|(a, b)| a * b).sum::<f64>();
        }
        cholesky_solve(&self.complement, k, max, lower);
        for (column, value) in upper.iter_mut().enumerate() {
            let sum: f64 = lower.iter().enumerate().map(|(row, v)| self.side[row * max + column] * v).sum();
            *value = sum - *value;
        }
        for row in (0..k).rev() {
            let sum: f64 = (row + 1..k).map(|i| self.corner[i * max + row] * upper[i]).sum();
            upper[row] = (upper[row] - sum) / self.corner[row * max + row];
        }
    }

    /// Goes along the direction: to the projection of the full step where that leads downhill, else as far as the
    /// box allows.
    fn go(&mut self, model: &Model, cauchy: &mut CauchyPoint) {
        let Model { bounds, centre, gradient, .. } = model;
        let CauchyPoint { point, free, .. } = cauchy;
        self.before.copy_from_slice(point);
        let mut is_cut = false;
        for (&index, step) in free.iter().zip(&self.direction) {
            let aim = point[index] + step;
            point[index] = aim.max(bounds.lower[index]).min(bounds.upper[index]);
            is_cut |= point[index] == bounds.lower[index] || point[index] == bounds.upper[index];
        }
        let way = point.iter().zip(*centre).map(|(to, from)| to - from);
        let slope: f64 = way.zip(*gradient).map(|(step, slope)| step * slope).sum();
        if !is_cut || slope <= 0.0 {
            return;
        }
        point.copy_from_slice(&self.before);
        let mut reach = (1.0, None);
        for (&index, &step) in free.iter().zip(&self.direction) {
            let bound = if step < 0.0 { bounds.lower[index] } else { bounds.upper[index] };
            let room = bound - point[index];
            if step != 0.0 && (step * reach.0).abs() > room.abs() {
                reach = (room / step, Some((index, bound)));
            }
        }
        for (&index, step) in free.iter().zip(&self.direction) {
            let aim = point[index] + reach.0 * step;
            point[index] = aim.max(bounds.lower[index]).min(bounds.upper[index]);
        }
        if let Some((index, bound)) = reach.1 {
            point[index] = bound;
        }
    }
}

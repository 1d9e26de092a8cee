//! What a linear map leaves where two cameras look through different optics: a smooth residual warp, a thin-plate spline
//! with few knots, taken only where it foretells pairs better that it has not seen.
//!
//! # References
//! Bookstein 1989, Principal warps: thin-plate splines and the decomposition of deformations, IEEE TPAMI 11(6), 567-585
//! (kernel, side conditions, bending energy). Wahba 1990, Spline models for observational data, SIAM, sections 2.4
//! (thin plates) and 7.1 (fewer basis functions than data).

mod normal;

use serde::Serialize;

use crate::geometry::Affine;
use normal::Normal;

/// Knots along each side of the grids that are tried.
const SIDES: [usize; 2] = [3, 5];
/// Pairs per knot at least.
const PAIRS_PER_KNOT_MIN: usize = 4;
/// Parts that the pairs are split into: pair `i`, in the order given, is foretold from those that are not of part
/// `i` modulo this.
const N_FOLDS: usize = 10;
/// What the bending energy counts beside the mean square of the residuals, both in units of half the longer side.
const BENDING: f64 = 1e-3;
/// A warp is taken where the mean square error falls by more than so many standard errors of the fall.
const STANDARD_ERRORS_MIN: f64 = 2.0;

/// A smooth displacement that follows a linear map, in px of the reference: `m` is where the map puts a point, and
/// `r_j = |m - knots[j]|`; per axis `m' = m + c + b_x m_x + b_y m_y + sum_j weights[j] r_j^2 ln r_j`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Warp {
    /// Where the kernels stand, in px of the reference: a grid over the box around the mapped points.
    pub knots: Vec<[f64; 2]>,
    /// The weight of each knot for x and for y. Their sums, and those of their products with the knots, are zero.
    pub weights: Vec<[f64; 2]>,
    /// The linear part: `[c, b_x, b_y]` for x and for y.
    pub linear: [[f64; 3]; 2],
    /// Root mean square distance in px of pairs to where an affine map puts them that was fitted without them.
    pub cv_rmsd_px_without: f64,
    /// The same with the warp.
    pub cv_rmsd_px_with: f64,
}

impl Warp {
    /// Where a point lies, given where the linear map puts it; both in px of the reference.
    pub fn apply(&self, mapped: [f64; 2]) -> [f64; 2] {
        let [x, y] = mapped;
        let mut moved = self.linear.map(|[c, by_x, by_y]| c + by_x * x + by_y * y);
        for (knot, weight) in self.knots.iter().zip(&self.weights) {
            let value = kernel((x - knot[0]).powi(2) + (y - knot[1]).powi(2));
            moved = [moved[0] + weight[0] * value, moved[1] + weight[1] * value];
        }
        [x + moved[0], y + moved[1]]
    }
}

/// The warp that pairs `(moving[i], reference[i])` call for after the map, by least squares with a light penalty on
/// bending; none where it does not lower the cross-validated error beyond that of an affine map by more than chance lets
/// it, or where there are fewer than 36 pairs.
///
/// Of the grids of 3 x 3 and 5 x 5 knots the one of the least cross-validated error is taken. The parts of the cross-validation
/// follow from the order of the pairs; where neighbours follow one another, each part is spread over the field.
pub fn residual_warp(
    moving: &[[f64; 2]],
    reference: &[[f64; 2]],
    reference_from_moving: &Affine,
) -> Option<Warp> {
    let n = moving.len().min(reference.len());
    let mapped: Vec<[f64; 2]> = moving.iter().map(|point| reference_from_moving.apply(*point)).collect();
    let frame = Frame::around(&mapped)?;
    let points: Vec<[f64; 2]> = mapped.iter().map(|point| frame.inside(*point)).collect();
    let residuals: Vec<[f64; 2]> = mapped
        .iter()
        .zip(reference)
        .map(|(from, to)| [(to[0] - from[0]) / frame.unit, (to[1] - from[1]) / frame.unit])
        .collect();
    let sides = SIDES.into_iter().filter(|side| n >= PAIRS_PER_KNOT_MIN * side * side);
    let tried = sides.filter_map(|side| Trial::new(&Basis::new(side, &frame), &points, &residuals));
    let best = tried.reduce(|best, next| if next.sum_with() < best.sum_with() { next } else { best })?;
    best.is_borne_out().then(|| best.warp(&frame, n))
}

/// `r^2 ln r` of the square of `r`; 0 at 0.
fn kernel(square: f64) -> f64 {
    if square > 0.0 { 0.5 * square * square.ln() } else { 0.0 }
}

/// The box around the mapped points: its middle, and half of its longer side, which is the unit of length.
struct Frame {
    centre: [f64; 2],
    half: [f64; 2],
    unit: f64,
}

impl Frame {
    /// None for points in one place.
    fn around(points: &[[f64; 2]]) -> Option<Self> {
        let end = |start: f64, choose: fn(f64, f64) -> f64| {
            [0, 1].map(|axis| points.iter().map(|point| point[axis]).fold(start, choose))
        };
        let (low, high) = (end(f64::INFINITY, f64::min), end(f64::NEG_INFINITY, f64::max));
        let half = [0, 1].map(|axis| (high[axis] - low[axis]) / 2.0);
        let unit = half[0].max(half[1]);
        let is_box = unit.is_finite() && half[0] > 0.0 && half[1] > 0.0;
        is_box.then(|| Self { centre: [0, 1].map(|axis| low[axis] + half[axis]), half, unit })
    }

    fn inside(&self, point: [f64; 2]) -> [f64; 2] {
        [0, 1].map(|axis| (point[axis] - self.centre[axis]) / self.unit)
    }
}

/// The functions that a displacement is made of: `1, x, y`, then combinations of kernels that fulfil the side conditions.
struct Basis {
    knots: Vec<[f64; 2]>,
    /// Orthonormal rows, a weight for each knot: those that `1, x, y` at the knots leave.
    combinations: Vec<Vec<f64>>,
    /// The same by knot.
    parts: Vec<Vec<f64>>,
    /// What each pair of combinations bends.
    energy: Vec<Vec<f64>>,
}

impl Basis {
    fn new(side: usize, frame: &Frame) -> Self {
        let step = |index: usize| 2.0 * index as f64 / (side - 1) as f64 - 1.0;
        let [x, y] = frame.half.map(|half| half / frame.unit);
        let knots: Vec<[f64; 2]> =
            (0..side * side).map(|index| [x * step(index % side), y * step(index / side)]).collect();
        let combinations = complement(&knots);
        let between = |one: &[f64; 2], other: &[f64; 2]| {
            kernel((one[0] - other[0]).powi(2) + (one[1] - other[1]).powi(2))
        };
        let bent: Vec<Vec<f64>> = combinations
            .iter()
            .map(|row| {
                let at =
                    |knot: &[f64; 2]| row.iter().zip(&knots).map(|(w, other)| w * between(knot, other)).sum();
                knots.iter().map(at).collect()
            })
            .collect();
        let energy =
            combinations.iter().map(|row| bent.iter().map(|other| dot(row, other)).collect()).collect();
        let part = |knot: usize| combinations.iter().map(|row| row[knot]).collect();
        Self { parts: (0..knots.len()).map(part).collect(), knots, combinations, energy }
    }

    fn len(&self) -> usize {
        self.knots.len()
    }

    /// Writes the values of all functions at a point.
    fn write(&self, [x, y]: [f64; 2], kernels: &mut Vec<f64>, row: &mut [f64]) {
        kernels.clear();
        kernels.extend(self.knots.iter().map(|knot| kernel((x - knot[0]).powi(2) + (y - knot[1]).powi(2))));
        row[..N_LINEAR].copy_from_slice(&[1.0, x, y]);
        let others = &mut row[N_LINEAR..];
        others.fill(0.0);
        for (parts, value) in self.parts.iter().zip(kernels.iter()) {
            others.iter_mut().zip(parts).for_each(|(sum, part)| *sum += part * value);
        }
    }
}

/// The functions `1, x, y`.
const N_LINEAR: usize = 3;

/// Orthonormal rows that are orthogonal to `1, x, y` at the knots (Gram and Schmidt, each step twice).
fn complement(knots: &[[f64; 2]]) -> Vec<Vec<f64>> {
    let n = knots.len();
    let mut rows: Vec<Vec<f64>> = Vec::with_capacity(n);
    let linear = [
        vec![1.0; n],
        knots.iter().map(|knot| knot[0]).collect(),
        knots.iter().map(|knot| knot[1]).collect(),
    ];
    let units = (0..n).map(|index| (0..n).map(|at| f64::from(u8::from(at == index))).collect());
    for mut row in linear.into_iter().chain(units) {
        let length_before = dot(&row, &row).sqrt();
        for _ in 0..2 {
            for done in &rows {
                let share = dot(done, &row);
                row.iter_mut().zip(done).for_each(|(value, done)| *value -= share * done);
            }
        }
        let length = dot(&row, &row).sqrt();
        // what is left of a row that depends on the others is rounding
        if rows.len() < n && length > 1e-6 * length_before {
            row.iter_mut().for_each(|value| *value /= length);
            rows.push(row);
        }
    }
    rows.split_off(N_LINEAR)
}

fn dot(one: &[f64], other: &[f64]) -> f64 {
    one.iter().zip(other).map(|(a, b)| a * b).sum()
}

/// One grid of knots, fitted, with the squared errors of pairs foretold without it and with it.
struct Trial {
    knots: Vec<[f64; 2]>,
    /// Of `1, x, y`, for x and for y.
    linear: [[f64; N_LINEAR]; 2],
    /// Of each knot, for x and for y.
    weights: Vec<[f64; 2]>,
    errors: Vec<[f64; 2]>,
}

impl Trial {
    /// None where the pairs do not determine it.
    fn new(basis: &Basis, points: &[[f64; 2]], residuals: &[[f64; 2]]) -> Option<Self> {
        let p = basis.len();
        let mut rows = vec![0.0; p * points.len()];
        let mut kernels = Vec::with_capacity(p);
        for (row, point) in rows.chunks_exact_mut(p).zip(points) {
            basis.write(*point, &mut kernels, row);
        }
        let rows = || rows.chunks_exact(p).zip(residuals).enumerate();
        let mut folds = vec![Normal::new(p); N_FOLDS];
        rows().for_each(|(index, (row, residual))| folds[index % N_FOLDS].add(row, residual));
        let whole = folds.iter().fold(Normal::new(p), |whole, fold| whole.plus(fold));
        let mut errors = vec![[0.0; 2]; points.len()];
        for (number, fold) in folds.iter().enumerate() {
            let others = whole.minus(fold);
            let fits = [others.solve(N_LINEAR, None)?, others.solve(p, Some((&basis.energy, BENDING)))?];
            for (index, (row, residual)) in rows().filter(|(index, _)| index % N_FOLDS == number) {
                errors[index] = [0, 1].map(|which| square_error(&fits[which], row, residual));
            }
        }
        let found = whole.solve(p, Some((&basis.energy, BENDING)))?;
        let weight = |axis: usize, knot: usize| {
            let parts = found[N_LINEAR..].iter().zip(&basis.combinations);
            parts.map(|(part, combination)| part[axis] * combination[knot]).sum::<f64>()
        };
        Some(Self {
            linear: [0, 1].map(|axis| std::array::from_fn(|index| found[index][axis])),
            weights: (0..p).map(|knot| [weight(0, knot), weight(1, knot)]).collect(),
            knots: basis.knots.clone(),
            errors,
        })
    }

    fn sum_with(&self) -> f64 {
        self.errors.iter().map(|errors| errors[1]).sum()
    }

    /// Whether the mean square error falls by more than chance lets it.
    fn is_borne_out(&self) -> bool {
        let n = self.errors.len() as f64;
        let falls = || self.errors.iter().map(|[without, with]| without - with);
        let mean = falls().sum::<f64>() / n;
        let variance = falls().map(|fall| (fall - mean).powi(2)).sum::<f64>() / (n - 1.0);
        mean > STANDARD_ERRORS_MIN * (variance / n).sqrt()
    }

    /// The warp in px.
    fn warp(self, frame: &Frame, n: usize) -> Warp {
        let Frame { centre, unit, .. } = frame;
        let rmsd_px = |which: usize| {
            unit * (self.errors.iter().map(|errors| errors[which]).sum::<f64>() / n as f64).sqrt()
        };
        let knots: Vec<[f64; 2]> =
            self.knots.iter().map(|knot| [0, 1].map(|axis| centre[axis] + unit * knot[axis])).collect();
        // (r / unit)^2 ln (r / unit) is r^2 ln r / unit^2 but for a part that the side conditions make a constant
        let constant = |axis: usize| {
            let sum: f64 =
                self.weights.iter().zip(&self.knots).map(|(w, [x, y])| w[axis] * (x * x + y * y)).sum();
            -unit * unit.ln() * sum
        };
        let linear = [0, 1].map(|axis| {
            let [c, by_x, by_y] = self.linear[axis];
            [unit * c - by_x * centre[0] - by_y * centre[1] + constant(axis), by_x, by_y]
        });
        Warp {
            cv_rmsd_px_without: rmsd_px(0),
            cv_rmsd_px_with: rmsd_px(1),
            weights: self.weights.iter().map(|weight| weight.map(|value| value / unit)).collect(),
            knots,
            linear,
        }
    }
}

/// What a fit misses at a pair, squared.
fn square_error(fit: &[[f64; 2]], row: &[f64], residual: &[f64; 2]) -> f64 {
    let missed = |axis: usize| {
        residual[axis] - fit.iter().zip(row).map(|(part, value)| part[axis] * value).sum::<f64>()
    };
    missed(0).powi(2) + missed(1).powi(2)
}

#[cfg(test)]
mod tests;

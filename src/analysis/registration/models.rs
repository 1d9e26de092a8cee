//! Transforms of the plane as functions of few parameters, and the residuals of point pairs under them.
//!
//! Fits run in normalised coordinates: both clouds centred and divided by their root mean square radius, so that
//! every parameter is of order 1 (Hartley 1997 for the idea). Residuals are divided by the root of the number of
//! pairs as well: the cost is half the mean square.

use std::f64::consts::PI;

use serde::{Deserialize, Serialize};

use crate::analysis::optimizers::Residuals;
use crate::geometry::Affine;

/// Which transforms are searched.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Model {
    /// One scale, rotation, shift: `scale, rotation_rad, tx, ty`.
    #[default]
    Similarity,
    /// A scale along each axis of the moving image, then rotation, shift: `scale_x, scale_y, rotation_rad, tx, ty`.
    Anisotropic,
    /// Any linear map and a shift: `a, b, c, d, tx, ty` of `[[a, b, tx], [c, d, ty]]`.
    Affine,
}

impl Model {
    /// What it is called.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Similarity => "similarity",
            Self::Anisotropic => "anisotropic",
            Self::Affine => "affine",
        }
    }

    /// What the parameters are called, in order. With a mirror, the moving image's x is mirrored first: scales stay
    /// positive, and the rotation comes after. For the affine model the numbers are those of the map itself.
    pub const fn parameter_names(self) -> &'static [&'static str] {
        match self {
            Self::Similarity => &["scale", "rotation_rad", "tx", "ty"],
            Self::Anisotropic => &["scale_x", "scale_y", "rotation_rad", "tx", "ty"],
            Self::Affine => &["a", "b", "c", "d", "tx", "ty"],
        }
    }

    /// How many parameters there are: 4, 5 or 6.
    pub const fn n_parameters(self) -> usize {
        self.parameter_names().len()
    }

    /// Least number of pairs that determine the parameters: 2 for a similarity, 3 for the others.
    pub const fn n_pairs_min(self) -> usize {
        match self {
            Self::Similarity => 2,
            Self::Anisotropic | Self::Affine => 3,
        }
    }

    /// Position of the rotation among the parameters.
    pub(crate) const fn rotation_index(self) -> Option<usize> {
        match self {
            Self::Similarity => Some(1),
            Self::Anisotropic => Some(2),
            Self::Affine => None,
        }
    }

    /// How many scales stand first among the parameters.
    pub(crate) const fn n_scales(self) -> usize {
        match self {
            Self::Similarity => 1,
            Self::Anisotropic => 2,
            Self::Affine => 0,
        }
    }

    /// The map that parameters stand for, without a mirror.
    pub(crate) fn map(self, parameters: &[f64]) -> Affine {
        match (self, parameters) {
            (Self::Similarity, &[scale, rotation, tx, ty]) => {
                Affine::similarity(scale, rotation, false, [tx, ty])
            }
            (Self::Anisotropic, &[scale_x, scale_y, rotation, tx, ty]) => {
                let (sin, cos) = rotation.sin_cos();
                Affine::from_parts(
                    [[scale_x * cos, -scale_y * sin], [scale_x * sin, scale_y * cos]],
                    [tx, ty],
                )
            }
            (Self::Affine, &[a, b, c, d, tx, ty]) => Affine { rows: [[a, b, tx], [c, d, ty]] },
            _ => Affine { rows: [[f64::NAN; 3]; 2] },
        }
    }

    /// The parameters of a map that the model can express.
    pub(crate) fn parameters(self, map: &Affine) -> Vec<f64> {
        let [[a, b, tx], [c, d, ty]] = map.rows;
        match self {
            Self::Similarity => vec![a.hypot(c), c.atan2(a), tx, ty],
            Self::Anisotropic => {
                let rotation = (c - b).atan2(a + d);
                let (sin, cos) = rotation.sin_cos();
                vec![a * cos + c * sin, d * cos - b * sin, rotation, tx, ty]
            }
            Self::Affine => vec![a, b, c, d, tx, ty],
        }
    }

    /// The derivatives of the map's coefficients by each parameter, which the mapped point is linear in.
    fn slopes(self, parameters: &[f64]) -> Slopes {
        let (sin, cos) = self.rotation_index().map_or((0.0, 1.0), |index| parameters[index].sin_cos());
        let none = [0.0; 3];
        let mut slopes = [[none; 2]; N_PARAMETERS_MAX];
        let n_others = self.n_parameters() - 2;
        match self {
            Self::Similarity => {
                let (sin_scaled, cos_scaled) = (parameters[0] * sin, parameters[0] * cos);
                slopes[0] = [[cos, -sin, 0.0], [sin, cos, 0.0]];
                slopes[1] = [[-sin_scaled, -cos_scaled, 0.0], [cos_scaled, -sin_scaled, 0.0]];
            }
            Self::Anisotropic => {
                let [by_x, by_y] = [parameters[0], parameters[1]].map(|scale| (scale * sin, scale * cos));
                slopes[0] = [[cos, 0.0, 0.0], [sin, 0.0, 0.0]];
                slopes[1] = [[0.0, -sin, 0.0], [0.0, cos, 0.0]];
                slopes[2] = [[-by_x.0, -by_y.1, 0.0], [by_x.1, -by_y.0, 0.0]];
            }
            Self::Affine => {
                slopes[0] = [[1.0, 0.0, 0.0], none];
                slopes[1] = [[0.0, 1.0, 0.0], none];
                slopes[2] = [none, [1.0, 0.0, 0.0]];
                slopes[3] = [none, [0.0, 1.0, 0.0]];
            }
        }
        slopes[n_others] = [[0.0, 0.0, 1.0], none];
        slopes[n_others + 1] = [none, [0.0, 0.0, 1.0]];
        slopes
    }

    /// The Jacobian of one mapped point by the parameters, `2 x n_parameters`, row after row.
    pub(crate) fn point_jacobian(self, parameters: &[f64], [x, y]: [f64; 2]) -> Vec<f64> {
        let slopes = self.slopes(parameters);
        let of = |row: usize| {
            slopes[..self.n_parameters()]
                .iter()
                .map(move |slope| slope[row][0] * x + slope[row][1] * y + slope[row][2])
        };
        of(0).chain(of(1)).collect()
    }
}

/// Most parameters that a model has.
const N_PARAMETERS_MAX: usize = 6;

/// For each parameter, the derivatives of `[[a, b, tx], [c, d, ty]]`.
type Slopes = [[[f64; 3]; 2]; N_PARAMETERS_MAX];

/// Point pairs in normalised coordinates and the model that is to map them.
///
/// A residual is linear in the coefficients of the map, and these do not depend on the point. So the gradient follows
/// from six sums of products, and the Jacobian is a small matrix behind the same three columns `x, y, 1` for both
/// coordinates, whose triangle is computed once.
#[derive(Debug, Clone)]
pub(crate) struct PairResiduals {
    model: Model,
    moving: Vec<[f64; 2]>,
    reference: Vec<[f64; 2]>,
    /// What a residual is multiplied with: one over the root of the number of pairs.
    pub(crate) weight: f64,
    /// The triangle `R` of the columns `x, y, 1` of the moving points; `None` where one nearly depends on the others.
    triangle: Option<[[f64; 3]; 3]>,
}

/// Least part of a column that the columns before it must leave for the triangle to be used: it comes from products, whose
/// error grows with the square of its inverse.
const INDEPENDENT: f64 = 1e-2;
/// Rows of the compressed Jacobian.
const N_COMPRESSED: usize = 6;

impl Residuals for PairResiduals {
    fn n_parameters(&self) -> usize {
        self.model.n_parameters()
    }

    fn n_residuals(&self) -> usize {
        2 * self.moving.len()
    }

    fn block_len(&self) -> usize {
        2
    }

    fn residuals(&self, parameters: &[f64], residuals: &mut [f64]) {
        let map = self.model.map(parameters).rows;
        write_residuals(&map, self.weight, [&self.moving, &self.reference], residuals);
    }

    fn jacobian_columns(&self, parameters: &[f64], first_row: usize, columns: &mut [f64]) {
        let n_rows = columns.len() / self.model.n_parameters();
        let points = &self.moving[first_row / 2..][..n_rows / 2];
        for (column, slope) in columns.chunks_exact_mut(n_rows).zip(self.model.slopes(parameters)) {
            let [[a, b, tx], [c, d, ty]] = slope.map(|row| row.map(|value| self.weight * value));
            for (pair, [x, y]) in column.as_chunks_mut().0.iter_mut().zip(points) {
                *pair = [a * x + b * y + tx, c * x + d * y + ty];
            }
        }
    }

    fn gradient(&self, parameters: &[f64], residuals: &[f64], gradient: &mut [f64]) -> bool {
        let sums = sums_of_products(&self.moving, residuals);
        for (value, slope) in gradient.iter_mut().zip(self.model.slopes(parameters)) {
            let products = slope.iter().flatten().zip(sums.iter().flatten());
            *value = self.weight * products.map(|(slope, sum)| slope * sum).sum::<f64>();
        }
        true
    }

    fn compress(
        &self,
        parameters: &[f64],
        residuals: &[f64],
        columns: &mut [f64],
        right_side: &mut [f64],
    ) -> usize {
        let Some(triangle) = self.triangle.filter(|_| right_side.len() >= N_COMPRESSED) else { return 0 };
        for (column, slope) in columns.chunks_exact_mut(N_COMPRESSED).zip(self.model.slopes(parameters)) {
            for (part, slope) in column.chunks_exact_mut(3).zip(slope) {
                for (value, row) in part.iter_mut().zip(triangle) {
                    *value = self.weight * (row[0] * slope[0] + row[1] * slope[1] + row[2] * slope[2]);
                }
            }
        }
        // the products are R' times what stands beside the triangle
        for (part, sums) in right_side.chunks_exact_mut(3).zip(sums_of_products(&self.moving, residuals)) {
            let first = sums[0] / triangle[0][0];
            let second = (sums[1] - triangle[0][1] * first) / triangle[1][1];
            let third = (sums[2] - triangle[0][2] * first - triangle[1][2] * second) / triangle[2][2];
            part.copy_from_slice(&[first, second, third]);
        }
        N_COMPRESSED
    }
}

/// Writes the residuals of pairs of moving and reference points, with the best instructions that this processor has.
#[multiversion::multiversion(targets("x86_64+avx2"))]
fn write_residuals(
    [[a, b, tx], [c, d, ty]]: &[[f64; 3]; 2],
    weight: f64,
    [moving, reference]: [&[[f64; 2]]; 2],
    residuals: &mut [f64],
) {
    let pairs = moving.iter().zip(reference);
    for (block, ([x, y], [u, v])) in residuals.as_chunks_mut().0.iter_mut().zip(pairs) {
        *block = [(a * x + b * y + tx - u) * weight, (c * x + d * y + ty - v) * weight];
    }
}

/// Sums of the residuals in x and in y, each times `x, y, 1`; four interleaved sums of each, on every processor alike.
#[multiversion::multiversion(targets("x86_64+avx2"))]
fn sums_of_products(points: &[[f64; 2]], residuals: &[f64]) -> [[f64; 3]; 2] {
    let (points, points_rest) = points.as_flattened().as_chunks::<8>();
    let (residuals, residuals_rest) = residuals.as_chunks::<8>();
    let [mut alike, mut crossed, mut plain] = [[0.0; 8]; 3];
    for (point, residual) in points.iter().zip(residuals) {
        for lane in 0..8 {
            alike[lane] += point[lane] * residual[lane];
            crossed[lane] += point[lane] * residual[lane ^ 1];
            plain[lane] += residual[lane];
        }
    }
    for (lane, (point, residual)) in points_rest.iter().zip(residuals_rest).enumerate() {
        alike[lane] += point * residual;
        crossed[lane] += point * residuals_rest[lane ^ 1];
        plain[lane] += residual;
    }
    let [alike, crossed, plain] = [alike, crossed, plain]
        .map(|sums| [0, 1].map(|axis| (sums[axis] + sums[axis + 2]) + (sums[axis + 4] + sums[axis + 6])));
    [[alike[0], crossed[1], plain[0]], [crossed[0], alike[1], plain[1]]]
}

/// The triangle of the columns `x, y, 1`, by Cholesky's method; `None` where one nearly depends on those before it.
fn triangle(points: &[[f64; 2]]) -> Option<[[f64; 3]; 3]> {
    let mut products = [[0.0; 3]; 3];
    for [x, y] in points {
        let row = [*x, *y, 1.0];
        for i in 0..3 {
            (i..3).for_each(|j| products[i][j] += row[i] * row[j]);
        }
    }
    let mut triangle = [[0.0; 3]; 3];
    for i in 0..3 {
        for j in i..3 {
            let before: f64 = (0..i).map(|k| triangle[k][i] * triangle[k][j]).sum();
            let rest = products[i][j] - before;
            if j > i {
                triangle[i][j] = rest / triangle[i][i];
            } else if rest > INDEPENDENT * INDEPENDENT * products[i][i] {
                triangle[i][i] = rest.sqrt();
            } else {
                return None;
            }
        }
    }
    Some(triangle)
}

impl PairResiduals {
    /// Pairs of moving and reference points, one after the other.
    pub(crate) fn new(model: Model, moving: Vec<[f64; 2]>, reference: Vec<[f64; 2]>) -> Self {
        let (weight, triangle) = (1.0 / (moving.len() as f64).sqrt(), triangle(&moving));
        Self { model, moving, reference, weight, triangle }
    }

    /// The model that is to map the pairs.
    pub(crate) fn model(&self) -> Model {
        self.model
    }

    /// The least squares parameters, computed directly ([`closed_form`]).
    pub(crate) fn closed_form(&self) -> Option<Vec<f64>> {
        closed_form(self.model, &self.moving, &self.reference)
    }
}

/// The parameters that map centred points to centred points of their own number with least squares, computed directly;
/// `None` where the pairs do not determine them, or where a scale is not positive.
pub(super) fn closed_form(model: Model, moving: &[[f64; 2]], reference: &[[f64; 2]]) -> Option<Vec<f64>> {
    // both are centred and the weights equal: the shift is zero
    let mut sums = Sums::default();
    for ([x, y], [u, v]) in moving.iter().zip(reference) {
        sums.xu += x * u;
        sums.xv += x * v;
        sums.yu += y * u;
        sums.yv += y * v;
        sums.xx += x * x;
        sums.xy += x * y;
        sums.yy += y * y;
    }
    let parameters = match model {
        Model::Similarity => sums.similarity(),
        Model::Anisotropic => sums.anisotropic(),
        Model::Affine => sums.affine(),
    }?;
    parameters.iter().all(|value| value.is_finite()).then_some(parameters)
}

/// Sums of products over centred pairs: moving `x, y`, reference `u, v`.
#[derive(Default)]
struct Sums {
    xu: f64,
    xv: f64,
    yu: f64,
    yv: f64,
    xx: f64,
    xy: f64,
    yy: f64,
}

/// Part of the sums of squares at which points count as being on a line.
const FLAT: f64 = 1e-12;

impl Sums {
    /// Umeyama 1991 in two dimensions without reflection, where the singular values are not needed: the sum of
    /// complex products `conj(x + iy) (u + iv)` over the sum of squares is `scale * exp(i rotation)`.
    fn similarity(&self) -> Option<Vec<f64>> {
        let (along, across) = (self.xu + self.yv, self.xv - self.yu);
        let scale = along.hypot(across) / (self.xx + self.yy);
        (scale > 0.0).then(|| vec![scale, across.atan2(along), 0.0, 0.0])
    }

    /// For a given rotation, both scales are plain regressions; what they explain is a quadratic form of
    /// `(cos, sin)`, so that the best rotation is its eigenvector with the greater eigenvalue.
    fn anisotropic(&self) -> Option<Vec<f64>> {
        let total = self.xx + self.yy;
        if self.xx <= FLAT * total || self.yy <= FLAT * total {
            return None;
        }
        let cos_cos = self.xu * self.xu / self.xx + self.yv * self.yv / self.yy;
        let sin_sin = self.xv * self.xv / self.xx + self.yu * self.yu / self.yy;
        let cos_sin = self.xu * self.xv / self.xx - self.yu * self.yv / self.yy;
        let rotation = (2.0 * cos_sin).atan2(cos_cos - sin_sin) / 2.0;
        let (sin, cos) = rotation.sin_cos();
        let scale_x = (self.xu * cos + self.xv * sin) / self.xx;
        let scale_y = (self.yv * cos - self.yu * sin) / self.yy;
        if scale_x > 0.0 && scale_y > 0.0 {
            Some(vec![scale_x, scale_y, rotation, 0.0, 0.0])
        } else if scale_x < 0.0 && scale_y < 0.0 {
            // the same map, half a turn on
            let turned = if rotation > 0.0 { rotation - PI } else { rotation + PI };
            Some(vec![-scale_x, -scale_y, turned, 0.0, 0.0])
        } else {
            None
        }
    }

    /// Linear regression of both coordinates.
    fn affine(&self) -> Option<Vec<f64>> {
        let determinant = self.xx * self.yy - self.xy * self.xy;
        let total = self.xx + self.yy;
        if determinant <= FLAT * total * total {
            return None;
        }
        let row = |x: f64, y: f64| {
            [(x * self.yy - y * self.xy) / determinant, (y * self.xx - x * self.xy) / determinant]
        };
        let [[a, b], [c, d]] = [row(self.xu, self.yu), row(self.xv, self.yv)];
        Some(vec![a, b, c, d, 0.0, 0.0])
    }
}

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

    /// Writes the Jacobian of mapped points by the parameters, times `weight`: a column for each parameter, in which x
    /// and y of each point follow one another.
    fn write_columns(self, parameters: &[f64], points: &[[f64; 2]], weight: f64, columns: &mut [f64]) {
        let (sin, cos) = self.sin_cos(parameters);
        let (sin, cos) = (weight * sin, weight * cos);
        let mut columns = columns.chunks_exact_mut(2 * points.len());
        let mut next = || columns.next().unwrap_or_default();
        match self {
            Self::Similarity => {
                let (sin_scaled, cos_scaled) = (parameters[0] * sin, parameters[0] * cos);
                fill(next(), points, |x, y| [cos * x - sin * y, sin * x + cos * y]);
                fill(next(), points, |x, y| {
                    [-sin_scaled * x - cos_scaled * y, cos_scaled * x - sin_scaled * y]
                });
            }
            Self::Anisotropic => {
                let [by_x, by_y] = [parameters[0], parameters[1]].map(|scale| (scale * sin, scale * cos));
                fill(next(), points, |x, _| [cos * x, sin * x]);
                fill(next(), points, |_, y| [-sin * y, cos * y]);
                fill(next(), points, |x, y| [-by_x.0 * x - by_y.1 * y, by_x.1 * x - by_y.0 * y]);
            }
            Self::Affine => {
                fill(next(), points, |x, _| [weight * x, 0.0]);
                fill(next(), points, |_, y| [weight * y, 0.0]);
                fill(next(), points, |x, _| [0.0, weight * x]);
                fill(next(), points, |_, y| [0.0, weight * y]);
            }
        }
        fill(next(), points, |_, _| [weight, 0.0]);
        fill(next(), points, |_, _| [0.0, weight]);
    }

    fn sin_cos(self, parameters: &[f64]) -> (f64, f64) {
        self.rotation_index().map_or((0.0, 1.0), |index| parameters[index].sin_cos())
    }

    /// The Jacobian of one mapped point by the parameters, `2 x n_parameters`, row after row.
    pub(crate) fn point_jacobian(self, parameters: &[f64], point: [f64; 2]) -> Vec<f64> {
        let mut columns = vec![0.0; 2 * self.n_parameters()];
        self.write_columns(parameters, &[point], 1.0, &mut columns);
        [0, 1].into_iter().flat_map(|row| columns.iter().skip(row).step_by(2).copied()).collect()
    }
}

/// Writes a column of a Jacobian: what `of` gives for x and y of each point.
fn fill(column: &mut [f64], points: &[[f64; 2]], of: impl Fn(f64, f64) -> [f64; 2]) {
    column.as_chunks_mut().0.iter_mut().zip(points).for_each(|(value, [x, y])| *value = of(*x, *y));
}

/// Point pairs in normalised coordinates and the model that is to map them.
#[derive(Debug, Clone)]
pub(crate) struct PairResiduals {
    pub(crate) model: Model,
    pub(crate) moving: Vec<[f64; 2]>,
    pub(crate) reference: Vec<[f64; 2]>,
    /// What a residual is multiplied with: one over the root of the number of pairs.
    pub(crate) weight: f64,
}

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
        let [[a, b, tx], [c, d, ty]] = self.model.map(parameters).rows;
        let pairs = self.moving.iter().zip(&self.reference);
        for (block, ([x, y], [u, v])) in residuals.as_chunks_mut().0.iter_mut().zip(pairs) {
            *block = [(a * x + b * y + tx - u) * self.weight, (c * x + d * y + ty - v) * self.weight];
        }
    }

    fn jacobian_columns(&self, parameters: &[f64], first_row: usize, columns: &mut [f64]) {
        let n_rows = columns.len() / self.model.n_parameters();
        let points = &self.moving[first_row / 2..][..n_rows / 2];
        self.model.write_columns(parameters, points, self.weight, columns);
    }
}

impl PairResiduals {
    /// The least squares parameters, computed directly; `None` where the pairs do not determine them, or where a
    /// scale is not positive. The moving points must be centred.
    pub(crate) fn closed_form(&self) -> Option<Vec<f64>> {
        // moving and reference are centred and the weights equal: the shift is zero
        let mut sums = Sums::default();
        for ([x, y], [u, v]) in self.moving.iter().zip(&self.reference) {
            sums.xu += x * u;
            sums.xv += x * v;
            sums.yu += y * u;
            sums.yv += y * v;
            sums.xx += x * x;
            sums.xy += x * y;
            sums.yy += y * y;
        }
        let parameters = match self.model {
            Model::Similarity => sums.similarity(),
            Model::Anisotropic => sums.anisotropic(),
            Model::Affine => sums.affine(),
        }?;
        parameters.iter().all(|value| value.is_finite()).then_some(parameters)
    }
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

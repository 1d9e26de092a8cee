//! Transforms of the plane, for points `[x, y]`: in pixels with the origin at the centre of the first pixel, or in
//! micrometres; the name of a transform says both ends, result first (`reference_from_moving`).

use serde::{Deserialize, Serialize};

/// An affine map of the plane, `[x', y'] = [[a, b, tx], [c, d, ty]] [x, y, 1]`; written as its two rows.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Affine {
    /// The rows `[a, b, tx]` and `[c, d, ty]`.
    pub rows: [[f64; 3]; 2],
}

/// An affine map taken apart; see [`Affine::decompose`].
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Decomposition {
    /// Mean scale: the root of the area's factor, 0 or more.
    pub scale: f64,
    /// Largest and smallest stretch over all directions; both equal `scale` for a similarity.
    pub stretch: [f64; 2],
    /// Rotation in radians, in (-pi, pi], from x towards y, after the mirror.
    pub rotation_rad: f64,
    /// Whether the map turns the plane over: x is mirrored first, then everything is rotated.
    pub mirrored: bool,
}

impl Affine {
    /// The map that leaves every point where it is.
    pub const IDENTITY: Self = Self { rows: [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]] };

    /// Builds a similarity: x is mirrored where wanted, then everything is rotated, scaled and shifted.
    pub fn similarity(scale: f64, rotation_rad: f64, mirrored: bool, translation: [f64; 2]) -> Self {
        let (sin, cos) = rotation_rad.sin_cos();
        let sign = if mirrored { -1.0 } else { 1.0 };
        let [tx, ty] = translation;
        Self { rows: [[sign * scale * cos, -scale * sin, tx], [sign * scale * sin, scale * cos, ty]] }
    }

    /// Builds a map from its linear part and its shift.
    pub const fn from_parts(linear: [[f64; 2]; 2], translation: [f64; 2]) -> Self {
        let [[a, b], [c, d]] = linear;
        Self { rows: [[a, b, translation[0]], [c, d, translation[1]]] }
    }

    /// The linear part, `[[a, b], [c, d]]`.
    pub const fn linear(&self) -> [[f64; 2]; 2] {
        let [[a, b, _], [c, d, _]] = self.rows;
        [[a, b], [c, d]]
    }

    /// The shift, `[tx, ty]`.
    pub const fn translation(&self) -> [f64; 2] {
        [self.rows[0][2], self.rows[1][2]]
    }

    /// Moves a point.
    pub fn apply(&self, [x, y]: [f64; 2]) -> [f64; 2] {
        self.rows.map(|[a, b, t]| a * x + b * y + t)
    }

    /// The map that applies `first`, then `self`: `c_from_b.after(&b_from_a)` is `c_from_a`.
    pub fn after(&self, first: &Self) -> Self {
        let [p, q] = first.rows;
        let row = |[a, b, t]: [f64; 3]| [a * p[0] + b * q[0], a * p[1] + b * q[1], a * p[2] + b * q[2] + t];
        Self { rows: self.rows.map(row) }
    }

    /// The map back; `None` where the plane is squeezed onto a line or a point, or a number is not finite.
    pub fn inverse(&self) -> Option<Self> {
        let [[a, b, tx], [c, d, ty]] = self.rows;
        let determinant = self.determinant();
        let linear = [[d, -b], [-c, a]].map(|row| row.map(|value| value / determinant));
        let back = Self::from_parts(linear, [0.0, 0.0]);
        let [x, y] = back.apply([tx, ty]);
        let inverse = Self::from_parts(linear, [-x, -y]);
        (determinant != 0.0 && inverse.is_finite()).then_some(inverse)
    }

    /// The factor of areas; negative where the plane is turned over.
    pub fn determinant(&self) -> f64 {
        let [[a, b], [c, d]] = self.linear();
        a * d - b * c
    }

    /// Whether all six numbers are finite.
    pub fn is_finite(&self) -> bool {
        self.rows.as_flattened().iter().all(|value| value.is_finite())
    }

    /// Takes the map apart: mean scale, largest and smallest stretch (singular values), rotation of the polar
    /// decomposition, mirror.
    pub fn decompose(&self) -> Decomposition {
        let [[a, b], [c, d]] = self.linear();
        let mirrored = self.determinant() < 0.0;
        let (a, c) = if mirrored { (-a, -c) } else { (a, c) };
        let conformal = (a + d).hypot(c - b) / 2.0;
        let skew = (a - d).hypot(c + b) / 2.0;
        Decomposition {
            scale: self.determinant().abs().sqrt(),
            stretch: [conformal + skew, (conformal - skew).abs()],
            rotation_rad: (c - b).atan2(a + d),
            mirrored,
        }
    }

    /// The same map for points `[row, col, 1]`, as napari and scikit-image expect it.
    pub const fn row_col(&self) -> [[f64; 3]; 3] {
        let [[a, b, tx], [c, d, ty]] = self.rows;
        [[d, c, ty], [b, a, tx], [0.0, 0.0, 1.0]]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn close(left: &[f64], right: &[f64]) {
        assert_eq!(left.len(), right.len());
        for (l, r) in left.iter().zip(right) {
            assert!((l - r).abs() <= 1e-12 * (1.0 + r.abs()), "{left:?} is not {right:?}");
        }
    }

    #[test]
    fn a_similarity_comes_apart_as_it_was_built() {
        for mirrored in [false, true] {
            for rotation_rad in [-3.1, -1.0, 0.0, 0.5, 3.0] {
                let parts = Affine::similarity(0.25, rotation_rad, mirrored, [7.0, -3.0]).decompose();
                close(&parts.stretch, &[0.25, 0.25]);
                close(&[parts.scale, parts.rotation_rad], &[0.25, rotation_rad]);
                assert_eq!(parts.mirrored, mirrored);
            }
        }
    }

    #[test]
    fn the_mirror_comes_before_the_rotation() {
        // x = 1 becomes x = -1, and a quarter turn from x towards y takes that to y = -1
        let quarter = Affine::similarity(1.0, std::f64::consts::FRAC_PI_2, true, [0.0, 0.0]);
        close(&quarter.apply([1.0, 0.0]), &[0.0, -1.0]);
    }

    #[test]
    fn two_stretches_are_the_singular_values() {
        let stretch = Affine::from_parts([[2.0, 0.0], [0.0, 0.5]], [0.0, 0.0]);
        let turned = Affine::similarity(1.0, 0.3, false, [1.0, 2.0]).after(&stretch);
        let parts = turned.decompose();
        close(&parts.stretch, &[2.0, 0.5]);
        close(&[parts.scale, parts.rotation_rad], &[1.0, 0.3]);
    }

    #[test]
    fn the_inverse_undoes_and_a_flat_map_has_none() {
        let map = Affine { rows: [[0.2, -0.7, 311.0], [1.4, 0.1, -20.5]] };
        let inverse = map.inverse().unwrap();
        close(inverse.after(&map).rows.as_flattened(), Affine::IDENTITY.rows.as_flattened());
        close(&inverse.apply(map.apply([12.0, 99.0])), &[12.0, 99.0]);
        assert_eq!(Affine { rows: [[1.0, 2.0, 0.0], [2.0, 4.0, 0.0]] }.inverse(), None);
        assert_eq!(Affine { rows: [[f64::NAN, 2.0, 0.0], [2.0, 4.0, 0.0]] }.inverse(), None);
    }

    #[test]
    fn row_col_moves_the_same_point() {
        let map = Affine { rows: [[0.2, -0.7, 311.0], [1.4, 0.1, -20.5]] };
        let [x, y] = map.apply([5.0, 8.0]);
        let moved = map.row_col().map(|[row, col, shift]| row * 8.0 + col * 5.0 + shift);
        close(&moved, &[y, x, 1.0]);
    }

    #[test]
    fn it_is_written_as_two_rows() {
        let map = Affine { rows: [[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]] };
        let text = serde_json::to_string(&map).unwrap();
        assert_eq!(text, "[[1.0,2.0,3.0],[4.0,5.0,6.0]]");
        assert_eq!(serde_json::from_str::<Affine>(&text).unwrap(), map);
    }
}

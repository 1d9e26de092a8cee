//! One transform for all fields of a well: from where the stage stood to where fields were found. It tells where the
//! other fields must lie, which of those found lie elsewhere, and how far a plate was moved between two acquisitions.
//!
//! A field whose centre the stage put at `m` is found, in an overview whose centre the stage put at `r`, at
//!
//! ```text
//! f = C (T(m) - r),    T(m) = T m + t
//! ```
//!
//! along the axes of the overview's image: `T` takes the stage of the one acquisition to that of the other (a plate put
//! back a little turned and shifted), `C` the stage to the image (how the camera stands, a mirror included). Written for
//! complex numbers, with `f` conjugate where the camera sees the stage in a mirror, this is linear:
//!
//! ```text
//! f = a (m - r) + d (r - middle) + b,    a = C T,  d = C T - C
//! ```
//!
//! Only overviews at several places tell `d`; that plates are put back nearly straight holds it near zero elsewhere.

use serde::{Deserialize, Serialize};

use super::Orientation;
use crate::geometry::Affine;

/// Fields that a transform needs.
pub const N_LANDINGS_MIN: usize = 3;
/// Of so many fields, spread over all, each three propose a transform.
const N_PROPOSING: usize = 16;
/// Before the scatter is known, fields farther than this from a transform in um are not borne out by it.
const GATE_FIRST_UM: f64 = 20.0;
/// Later, so many standard deviations, within these bounds in um.
const GATE_SIGMAS: f64 = 4.0;
const GATE_BOUNDS_UM: [f64; 2] = [8.0, 40.0];
/// Standard deviation of a stage position in um that is assumed at least.
const SIGMA_MIN_UM: f64 = 2.0;
/// Standard deviations of a stage position and of how far a put back plate is turned, for the weight of the latter.
const SIGMA_USUAL_UM: f64 = 5.0;
const TURN_USUAL_RAD: f64 = 0.03;
/// A plate that is turned by more is another plate.
const TURN_MAX_RAD: f64 = 0.1;
/// The turn is told where its standard error is below this.
const TURN_ERROR_MAX_RAD: f64 = 0.003;
/// Micrometres of the image and of the stage are the same, give or take this share.
const SCALE_TOLERANCE: f64 = 0.05;
/// Images of one well lie in their overviews in one way, give or take this: radians, and a share of the scale.
const ORIENTATION_TOLERANCE_RAD: f64 = 0.026;
const IMAGE_SCALE_TOLERANCE: f64 = 0.03;
/// Rounds of fitting at most.
const N_ROUNDS_MAX: usize = 20;
/// A field is looked for at least this far around, in um, and no farther than this.
const RADIUS_BOUNDS_UM: [f64; 2] = [10.0, 60.0];

/// A field that was found in its overview.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Landing {
    /// Where the stage put the centre of the field, in um.
    pub moving_stage_um: [f64; 2],
    /// Where it put the centre of the overview.
    pub reference_stage_um: [f64; 2],
    /// From the overview's centre to where the field's centre was found, along x and y of the overview's image, in um.
    pub found_um: [f64; 2],
    /// How the image of the field lies in that of the overview.
    pub orientation: Orientation,
    /// Scale of the field in its overview by that of the pixel sizes: near 1.
    pub scale_ratio: f64,
}

/// Where the fields of a well lie in its overviews.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct WellTransform {
    /// Fields found, each in each overview that it was found in.
    pub n_fields: usize,
    /// Of these, those that lie elsewhere than the others say.
    pub n_outliers: usize,
    /// Root mean square distance of the others from the transform, in um.
    pub rms_um: f64,
    /// From this distance in um on a field counts as an outlier.
    pub outlier_from_um: f64,
    /// By how much the stage stood farther along x and y for a field than for an overview of the same place, in um, in the
    /// middle of the overviews: how far a plate was moved in between, and objectives that do not look at the same spot.
    pub offset_um: [f64; 2],
    /// How far the plate was turned between the two, in degrees, from x towards y; `None` where the overviews do not tell.
    pub plate_rotation_deg: Option<f64>,
    /// Rotation of the stage's axes, as they lay to the plate when the fields were taken, in the overview's image in degrees,
    /// from x towards y.
    pub stage_rotation_deg: f64,
    /// Whether the overview's image shows the stage in a mirror: then `y` is mirrored last.
    pub stage_mirrored: bool,
    /// How the images of the fields lie in those of the overviews: rotation in degrees, after the mirror.
    pub image_rotation_deg: f64,
    /// Whether x is mirrored first.
    pub image_mirrored: bool,
    /// Scale of the fields in their overviews by that of the pixel sizes.
    pub image_scale_ratio: f64,
    /// The middle of the overviews in um of their stage.
    pub middle_um: [f64; 2],
    /// `a`, `d` and `b` of the transform: real and imaginary parts.
    pub parameters: [f64; 6],
}

/// A transform, and how far it can be trusted.
#[derive(Debug, Clone, PartialEq)]
pub struct WellFit {
    /// The transform.
    pub transform: WellTransform,
    factor: Factor,
    sigma_um: f64,
}

/// The unknowns of one fit: `a`, `d`, `b`.
type Unknowns = [f64; 6];

/// A linear equation: coefficients of the unknowns, right side.
type Equation = (Unknowns, f64);

/// The lower triangle `L` of the normal equations `L L^T`.
#[derive(Debug, Clone, PartialEq)]
struct Factor([Unknowns; 6]);

/// A fit for one of the two ways in which cameras see stages.
struct Solution {
    mirrored: bool,
    unknowns: Unknowns,
    factor: Factor,
    inliers: Vec<usize>,
    /// Standard deviation per axis over the inliers, in um.
    sigma_um: f64,
    gate_um: f64,
}

impl WellFit {
    /// Fits a transform to the fields that were found; the same for any order. `None` where they are fewer than
    /// [`N_LANDINGS_MIN`], most of them contradict one another, or they lie along a line, from either side of which the
    /// stage may be seen.
    pub fn new(landings: &[Landing]) -> Option<Self> {
        let mut landings = landings.to_vec();
        landings.sort_by(|left, right| {
            let (left, right) = (left.numbers(), right.numbers());
            let first = left.iter().zip(&right).map(|(l, r)| l.total_cmp(r)).find(|order| order.is_ne());
            first.unwrap_or(std::cmp::Ordering::Equal)
        });
        let (orientation, scale_ratio, agreeing) = common_orientation(&landings)?;
        let middle_um = mean(agreeing.iter().map(|&index| landings[index].reference_stage_um));
        let solve = |mirrored| solve(&landings, &agreeing, middle_um, mirrored);
        let solution = match (solve(false), solve(true)) {
            (Some(seen), Some(mirrored)) => clearer(seen, mirrored)?,
            (one, other) => one.or(other)?,
        };
        let Solution { mirrored, unknowns, factor, inliers, sigma_um, gate_um } = solution;
        if inliers.len() < N_LANDINGS_MIN || 2 * inliers.len() <= landings.len() {
            return None;
        }
        let [ar, ai, dr, di, br, bi] = unknowns;
        let square = ar * ar + ai * ai;
        // a d + b = 0
        let offset_um = [-(br * ar + bi * ai) / square, -(bi * ar - br * ai) / square];
        // C T turns the other way than the plate
        let turn = (ai - di).atan2(ar - dr) - ai.atan2(ar);
        let turn_error = sigma_um * factor.deviation(&[0.0, 0.0, 1.0, 0.0, 0.0, 0.0]);
        let mut transform = WellTransform {
            n_fields: landings.len(),
            n_outliers: landings.len() - inliers.len(),
            rms_um: 0.0,
            outlier_from_um: gate_um,
            offset_um,
            plate_rotation_deg: (turn_error < TURN_ERROR_MAX_RAD).then(|| wrapped(turn).to_degrees()),
            stage_rotation_deg: ai.atan2(ar).to_degrees(),
            stage_mirrored: mirrored,
            image_rotation_deg: orientation.rotation_rad.to_degrees(),
            image_mirrored: orientation.mirrored,
            image_scale_ratio: scale_ratio,
            middle_um,
            parameters: unknowns,
        };
        let squares = inliers.iter().map(|&index| transform.deviation_um(&landings[index]).powi(2));
        transform.rms_um = (squares.sum::<f64>() / inliers.len() as f64).sqrt();
        Some(Self { transform, factor, sigma_um })
    }

    /// How far around the predicted place a field has to be looked for, in um; `None` where so far that the prediction is
    /// worth nothing.
    pub fn radius_um(&self, moving_stage_um: [f64; 2], reference_stage_um: [f64; 2]) -> Option<f64> {
        let [row, _] = rows(moving_stage_um, reference_stage_um, self.transform.middle_um);
        let sigma = self.sigma_um * (1.0 + self.factor.deviation(&row).powi(2)).sqrt();
        let [least, most] = RADIUS_BOUNDS_UM;
        let radius = (GATE_SIGMAS * sigma).max(least);
        (radius <= most).then_some(radius)
    }
}

impl WellTransform {
    /// Where the centre of a field lies by the transform, from the centre of an overview along the axes of its image, in
    /// um.
    pub fn predict_um(&self, moving_stage_um: [f64; 2], reference_stage_um: [f64; 2]) -> [f64; 2] {
        let [x, y] = rows(moving_stage_um, reference_stage_um, self.middle_um)
            .map(|row| row.iter().zip(&self.parameters).map(|(r, p)| r * p).sum::<f64>());
        [x, if self.stage_mirrored { -y } else { y }]
    }

    /// How far from there it was found, in um.
    pub fn deviation_um(&self, landing: &Landing) -> f64 {
        let [x, y] = self.predict_um(landing.moving_stage_um, landing.reference_stage_um);
        (x - landing.found_um[0]).hypot(y - landing.found_um[1])
    }

    /// Whether a field lies elsewhere, or otherwise, than the others say.
    pub fn is_outlier(&self, landing: &Landing) -> bool {
        self.deviation_um(landing) > self.outlier_from_um
            || !is_like(landing, &self.image_orientation(), self.image_scale_ratio)
    }

    /// How the images of the fields lie in those of the overviews.
    pub fn image_orientation(&self) -> Orientation {
        Orientation { rotation_rad: self.image_rotation_deg.to_radians(), mirrored: self.image_mirrored }
    }
}

impl Landing {
    /// What a transform says of a field and its overview: where their centres are in px, and the sizes of their pixels in
    /// um as `(moving, reference)`.
    pub fn new(
        reference_from_moving: &Affine,
        centres_px: ([f64; 2], [f64; 2]),
        pixel_sizes_um: (f64, f64),
        stage_um: ([f64; 2], [f64; 2]),
    ) -> Self {
        let parts = reference_from_moving.decompose();
        let landed = reference_from_moving.apply(centres_px.0);
        Self {
            moving_stage_um: stage_um.0,
            reference_stage_um: stage_um.1,
            found_um: [0, 1].map(|axis| (landed[axis] - centres_px.1[axis]) * pixel_sizes_um.1),
            orientation: Orientation { rotation_rad: parts.rotation_rad, mirrored: parts.mirrored },
            scale_ratio: parts.scale * pixel_sizes_um.1 / pixel_sizes_um.0,
        }
    }

    fn numbers(&self) -> [f64; 9] {
        let ([mx, my], [rx, ry]) = (self.moving_stage_um, self.reference_stage_um);
        let ([x, y], Orientation { rotation_rad, mirrored }) = (self.found_um, self.orientation);
        [mx, my, rx, ry, x, y, rotation_rad, f64::from(u8::from(mirrored)), self.scale_ratio]
    }
}

/// The orientation and scale that most fields have, and who has them: those of the field that most others are like, and
/// the mean over these.
fn common_orientation(landings: &[Landing]) -> Option<(Orientation, f64, Vec<usize>)> {
    let like = |one: &Landing| -> Vec<usize> {
        let is_like = |other: &Landing| is_like(other, &one.orientation, one.scale_ratio);
        (0..landings.len()).filter(|&index| is_like(&landings[index])).collect()
    };
    let step = landings.len().div_ceil(N_PROPOSING).max(1);
    let candidates = landings.iter().step_by(step).map(|landing| (landing, like(landing)));
    let (model, agreeing) =
        candidates.reduce(|best, next| if next.1.len() > best.1.len() { next } else { best })?;
    if agreeing.len() < N_LANDINGS_MIN {
        return None;
    }
    let n = agreeing.len() as f64;
    let base = model.orientation;
    let turn = |&index: &usize| wrapped(landings[index].orientation.rotation_rad - base.rotation_rad);
    let rotation_rad = wrapped(base.rotation_rad + agreeing.iter().map(turn).sum::<f64>() / n);
    let scale_ratio = agreeing.iter().map(|&index| landings[index].scale_ratio).sum::<f64>() / n;
    Some((Orientation { rotation_rad, ..base }, scale_ratio, agreeing))
}

fn is_like(landing: &Landing, orientation: &Orientation, scale_ratio: f64) -> bool {
    landing.orientation.mirrored == orientation.mirrored
        && wrapped(landing.orientation.rotation_rad - orientation.rotation_rad).abs()
            <= ORIENTATION_TOLERANCE_RAD
        && (landing.scale_ratio / scale_ratio - 1.0).abs() <= IMAGE_SCALE_TOLERANCE
}

/// The fit for one way in which the camera may see the stage: the best that three fields propose, then least squares
/// over those that it bears out, until these stay the same.
fn solve(landings: &[Landing], agreeing: &[usize], middle_um: [f64; 2], mirrored: bool) -> Option<Solution> {
    let equations: Vec<[Equation; 2]> = landings
        .iter()
        .map(|landing| {
            let [x, y] = rows(landing.moving_stage_um, landing.reference_stage_um, middle_um);
            let [found_x, found_y] = landing.found_um;
            [(x, found_x), (y, if mirrored { -found_y } else { found_y })]
        })
        .collect();
    let of = |some: &[usize]| least_squares(some.iter().flat_map(|&index| &equations[index]));
    let square = |unknowns: &Unknowns, index: usize| {
        let residual = |(row, right): &Equation| dot(row, unknowns) - right;
        equations[index].iter().map(|equation| residual(equation).powi(2)).sum::<f64>()
    };
    let cost = |unknowns: &Unknowns| {
        let truncated = |&index: &usize| square(unknowns, index).min(GATE_FIRST_UM * GATE_FIRST_UM);
        agreeing.iter().map(truncated).sum::<f64>()
            + turn_weight() * (unknowns[2].powi(2) + unknowns[3].powi(2))
    };
    let n_proposing = agreeing.len().min(N_PROPOSING);
    let proposing: Vec<usize> =
        (0..n_proposing).map(|n| agreeing[n * agreeing.len() / n_proposing]).collect();
    let mut best: Option<(f64, Unknowns)> = None;
    for three in triples(&proposing) {
        let Some((unknowns, _)) = of(&three).filter(|(unknowns, _)| is_sound(unknowns)) else { continue };
        let cost = cost(&unknowns);
        if best.is_none_or(|(least, _)| cost < least) {
            best = Some((cost, unknowns));
        }
    }
    let (mut unknowns, mut gate_um) = (best?.1, GATE_FIRST_UM);
    let mut solution: Option<Solution> = None;
    for _ in 0..N_ROUNDS_MAX {
        let within: Vec<usize> =
            agreeing.iter().copied().filter(|&index| square(&unknowns, index) <= gate_um * gate_um).collect();
        let (fitted, factor) = of(&within).filter(|(fitted, _)| is_sound(fitted))?;
        let sum: f64 = within.iter().map(|&index| square(&fitted, index)).sum();
        // a shift, a turn and a scale at least are taken from them
        let n_free = (2 * within.len()).saturating_sub(4).max(1) as f64;
        let sigma_um = (sum / n_free).sqrt().max(SIGMA_MIN_UM);
        gate_um = (GATE_SIGMAS * sigma_um).clamp(GATE_BOUNDS_UM[0], GATE_BOUNDS_UM[1]);
        unknowns = fitted;
        let before =
            solution.replace(Solution { mirrored, unknowns, factor, inliers: within, sigma_um, gate_um });
        if before.is_some_and(|before| Some(&before.inliers) == solution.as_ref().map(|now| &now.inliers)) {
            break;
        }
    }
    solution
}

/// The solution that more fields bear out, or much better; `None` where the fields do not tell, as along a line.
fn clearer(one: Solution, other: Solution) -> Option<Solution> {
    let (more, less) = if one.inliers.len() >= other.inliers.len() { (one, other) } else { (other, one) };
    if more.inliers.len() > less.inliers.len() {
        return Some(more);
    }
    let (better, worse) = if more.sigma_um <= less.sigma_um { (more, less) } else { (less, more) };
    (worse.sigma_um > 3.0 * better.sigma_um).then_some(better)
}

/// The two equations of a field: real and imaginary part, without the right side.
fn rows(moving_um: [f64; 2], reference_um: [f64; 2], middle_um: [f64; 2]) -> [Unknowns; 2] {
    let [x, y] = [0, 1].map(|axis| moving_um[axis] - reference_um[axis]);
    let [u, v] = [0, 1].map(|axis| reference_um[axis] - middle_um[axis]);
    [[x, -y, u, -v, 1.0, 0.0], [y, x, v, u, 0.0, 1.0]]
}

/// Whether lengths stay what they are, and the plate lies nearly as it did.
fn is_sound(&[ar, ai, dr, di, ..]: &Unknowns) -> bool {
    let length = ar.hypot(ai);
    (length - 1.0).abs() <= SCALE_TOLERANCE && dr.hypot(di) <= TURN_MAX_RAD
}

fn turn_weight() -> f64 {
    (SIGMA_USUAL_UM / TURN_USUAL_RAD).powi(2)
}

/// The unknowns for which equations hold best, and how far they determine them; `None` where they do not.
fn least_squares<'a>(equations: impl Iterator<Item = &'a Equation>) -> Option<(Unknowns, Factor)> {
    let (mut normal, mut right) = ([[0.0; 6]; 6], [0.0; 6]);
    for axis in [2, 3] {
        normal[axis][axis] = turn_weight();
    }
    for (row, value) in equations {
        for i in 0..6 {
            right[i] += row[i] * value;
            for j in 0..=i {
                normal[i][j] += row[i] * row[j];
            }
        }
    }
    let factor = Factor::of(normal)?;
    Some((factor.solve(&right), factor))
}

impl Factor {
    /// By Cholesky's method; `None` where the matrix, of which the lower triangle is read, is singular to rounding.
    fn of(mut matrix: [Unknowns; 6]) -> Option<Self> {
        for i in 0..6 {
            let diagonal = matrix[i][i];
            for j in 0..=i {
                let sum: f64 = (0..j).map(|k| matrix[i][k] * matrix[j][k]).sum();
                let rest = matrix[i][j] - sum;
                matrix[i][j] = if i > j {
                    rest / matrix[j][j]
                } else if rest > 1e-9 * diagonal {
                    rest.sqrt()
                } else {
                    return None;
                };
            }
        }
        Some(Self(matrix))
    }

    /// `L^-1 v`.
    fn forward(&self, vector: &Unknowns) -> Unknowns {
        let mut solved = [0.0; 6];
        for i in 0..6 {
            let sum: f64 = (0..i).map(|k| self.0[i][k] * solved[k]).sum();
            solved[i] = (vector[i] - sum) / self.0[i][i];
        }
        solved
    }

    fn solve(&self, right: &Unknowns) -> Unknowns {
        let mut solved = self.forward(right);
        for i in (0..6).rev() {
            let sum: f64 = (i + 1..6).map(|k| self.0[k][i] * solved[k]).sum();
            solved[i] = (solved[i] - sum) / self.0[i][i];
        }
        solved
    }

    /// Standard deviation of a combination of the unknowns, where the right sides scatter by one.
    fn deviation(&self, combination: &Unknowns) -> f64 {
        self.forward(combination).iter().map(|value| value * value).sum::<f64>().sqrt()
    }
}

fn triples(of: &[usize]) -> impl Iterator<Item = [usize; 3]> + '_ {
    let after = |n: usize| n + 1..of.len();
    (0..of.len()).flat_map(move |i| after(i).flat_map(move |j| after(j).map(move |k| [of[i], of[j], of[k]])))
}

fn dot(left: &Unknowns, right: &Unknowns) -> f64 {
    left.iter().zip(right).map(|(l, r)| l * r).sum()
}

fn mean(places: impl ExactSizeIterator<Item = [f64; 2]>) -> [f64; 2] {
    let n = places.len().max(1) as f64;
    places.fold([0.0; 2], |[x, y], [u, v]| [x + u / n, y + v / n])
}

/// An angle in (-pi, pi], or next to it.
fn wrapped(angle_rad: f64) -> f64 {
    use std::f64::consts::{PI, TAU};
    PI - (PI - angle_rad).rem_euclid(TAU)
}

#[cfg(test)]
mod tests;

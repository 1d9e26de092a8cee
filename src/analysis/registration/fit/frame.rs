//! Point pairs in normalised coordinates: settings are brought there, results are brought back to px.

use std::f64::consts::{FRAC_PI_4, TAU};

use super::{ClosedForm, FitError, FitSettings, OptimizedFit, apart_px, rmsd};
use crate::analysis::optimizers::{
    Bounds, LevenbergMarquardtSettings, Loss, LossKind, Report, Residuals, examine, levenberg_marquardt,
};
use crate::analysis::registration::models::{Model, PairResiduals};
use crate::geometry::Affine;

/// Radius beside the greatest coordinate below which points count as being in one place: rounding errors.
const RADIUS_MIN: f64 = 1e-13;

/// Point pairs in normalised coordinates, with the way back to px.
pub(super) struct Frame<'a> {
    moving_px: &'a [[f64; 2]],
    reference_px: &'a [[f64; 2]],
    mirrored: bool,
    pub(super) problem: PairResiduals,
    centre_moving: [f64; 2],
    centre_reference: [f64; 2],
    radius_moving: f64,
    radius_reference: f64,
}

impl<'a> Frame<'a> {
    pub(super) fn new(
        moving_px: &'a [[f64; 2]],
        reference_px: &'a [[f64; 2]],
        settings: &FitSettings,
    ) -> Result<Self, FitError> {
        let mirror = if settings.mirrored { -1.0 } else { 1.0 };
        let mut moving: Vec<_> = moving_px.iter().map(|[x, y]| [mirror * x, *y]).collect();
        let mut reference = reference_px.to_vec();
        let normalised = |points, which| normalise(points).ok_or(FitError::Coincident { which });
        let (centre_moving, radius_moving) = normalised(&mut moving, "moving")?;
        let (centre_reference, radius_reference) = normalised(&mut reference, "reference")?;
        Ok(Self {
            moving_px,
            reference_px,
            mirrored: settings.mirrored,
            problem: PairResiduals::new(settings.model, moving, reference),
            centre_moving,
            centre_reference,
            radius_moving,
            radius_reference,
        })
    }

    pub(super) fn n_pairs(&self) -> usize {
        self.moving_px.len()
    }

    /// Half the sum of the squared residuals in normalised coordinates.
    pub(super) fn cost(&self, parameters: &[f64]) -> f64 {
        let mut residuals = vec![0.0; self.problem.n_residuals()];
        self.problem.residuals(parameters, &mut residuals);
        residuals.iter().map(|residual| residual * residual).sum::<f64>() / 2.0
    }

    /// What a scale in px is multiplied with in normalised coordinates.
    fn scale_unit(&self) -> f64 {
        self.radius_moving / self.radius_reference
    }

    pub(super) fn loss(&self, settings: &FitSettings) -> Loss {
        let scale = settings.loss_scale_px / self.radius_reference * self.problem.weight;
        Loss { kind: settings.loss, scale }
    }

    pub(super) fn bounds(&self, settings: &FitSettings) -> Bounds {
        let model = settings.model;
        let mut bounds = Bounds::none(model.n_parameters());
        if let Some([least, greatest]) = settings.bounds.scale {
            bounds.lower[..model.n_scales()].fill(least * self.scale_unit());
            bounds.upper[..model.n_scales()].fill(greatest * self.scale_unit());
        }
        if let (Some([least, greatest]), Some(index)) = (settings.bounds.theta_rad, model.rotation_index()) {
            bounds.lower[index] = least;
            bounds.upper[index] = greatest;
        }
        bounds
    }

    /// Whether the closed form is the minimum that the optimizers are asked for.
    pub(super) fn is_answer(&self, closed_form: &[f64], settings: &FitSettings, bounds: &Bounds) -> bool {
        settings.loss == LossKind::Linear && self.is_inside(closed_form, settings, bounds)
    }

    /// Whether the closed form lies within the box.
    pub(super) fn is_inside(&self, closed_form: &[f64], settings: &FitSettings, bounds: &Bounds) -> bool {
        let is_inside = |(index, &value): (usize, &f64)| {
            let is_rotation = self.problem.model().rotation_index() == Some(index);
            let value = if is_rotation { nearest_turn(value, settings) } else { value };
            (bounds.lower[index]..=bounds.upper[index]).contains(&value)
        };
        closed_form.iter().enumerate().all(is_inside)
    }

    pub(super) fn start(&self, settings: &FitSettings, closed_form: Option<&[f64]>) -> Vec<f64> {
        let model = settings.model;
        let scale = settings.start.scale.map_or(1.0, |scale| scale * self.scale_unit());
        let rotation = settings.start.rotation_rad.unwrap_or_else(|| {
            let known = closed_form.map(|parameters| model.map(parameters).decompose());
            let eighths = known.map_or(0.0, |parts| (parts.rotation_rad / FRAC_PI_4).round());
            eighths * FRAC_PI_4
        });
        let rotation = nearest_turn(rotation, settings);
        let map = Affine::similarity(scale, rotation, false, [0.0, 0.0]);
        let mut start = model.parameters(&map);
        if let Some(index) = model.rotation_index() {
            start[index] = rotation;
        }
        // the shift stands last in every model
        let n_others = start.len() - 2;
        start[n_others..]
            .copy_from_slice(&settings.start.shift_px.map(|shift| shift / self.radius_reference));
        start
    }

    /// Moves the start of a fit by Tukey's loss to where the Cauchy loss of the same scale leads: pairs beyond the
    /// scale do not count at all with the former, and from afar none does.
    pub(super) fn within_reach(
        &self,
        start: Vec<f64>,
        loss: Loss,
        bounds: &Bounds,
    ) -> Result<Vec<f64>, FitError> {
        if loss.kind != LossKind::Tukey {
            return Ok(start);
        }
        let cauchy = Loss { kind: LossKind::Cauchy, ..loss };
        let settings = LevenbergMarquardtSettings::default();
        Ok(levenberg_marquardt::minimize(&self.problem, cauchy, &start, bounds, &settings)?.parameters)
    }

    /// The map in px that normalised parameters stand for.
    fn in_px(&self, parameters: &[f64]) -> Affine {
        let map = self.problem.model().map(parameters);
        let [tx, ty] = map.translation();
        let linear = map.linear().map(|row| row.map(|value| value / self.scale_unit()));
        let turned = Affine::from_parts(linear, [0.0, 0.0]);
        let [x, y] = turned.apply(self.centre_moving);
        let radius = self.radius_reference;
        let [u, v] = self.centre_reference;
        Affine::from_parts(linear, [radius * tx + u - x, radius * ty + v - y]).after(&self.mirror())
    }

    fn mirror(&self) -> Affine {
        Affine::similarity(1.0, 0.0, self.mirrored, [0.0, 0.0])
    }

    fn parameters_in_px(&self, reference_from_moving: &Affine) -> Vec<f64> {
        match self.problem.model() {
            Model::Affine => Model::Affine.parameters(reference_from_moving),
            model => model.parameters(&reference_from_moving.after(&self.mirror())),
        }
    }

    pub(super) fn direct(&self, parameters: &[f64]) -> ClosedForm {
        let reference_from_moving = self.in_px(parameters);
        ClosedForm {
            parameters: self.parameters_in_px(&reference_from_moving),
            rmsd_px: rmsd(self.moving_px, self.reference_px, &reference_from_moving),
            reference_from_moving,
        }
    }

    pub(super) fn optimized(&self, report: Report, loss: Loss, bounds: &Bounds) -> OptimizedFit {
        let reference_from_moving = self.in_px(&report.parameters);
        let examination = examine(&self.problem, loss, &report.parameters, bounds);
        let covariance = examination.covariance.as_deref();
        OptimizedFit {
            parameters: self.parameters_in_px(&reference_from_moving),
            standard_errors: covariance
                .map(|covariance| self.standard_errors(&report.parameters, covariance)),
            rmsd_px: rmsd(self.moving_px, self.reference_px, &reference_from_moving),
            reference_from_moving,
            report,
            examination,
        }
    }

    /// Greatest distance between where two results put one of the moving points, in px of the reference.
    pub(super) fn apart_px(&self, [one, other]: [&OptimizedFit; 2]) -> Option<f64> {
        apart_px(self.moving_px, [&one.reference_from_moving, &other.reference_from_moving])
    }

    /// Standard errors in px: the shift in px is where the origin of the moving image lands, which is far from the
    /// centre of the points, so that it takes up the errors of all parameters.
    fn standard_errors(&self, parameters: &[f64], covariance: &[f64]) -> Vec<f64> {
        let model = self.problem.model();
        let n = model.n_parameters();
        let origin = self.centre_moving.map(|value| -value / self.radius_moving);
        let at_origin = model.point_jacobian(parameters, origin);
        let variance = |row: &[f64]| -> f64 {
            let image = |i: usize| (0..n).map(|j| covariance[i * n + j] * row[j]).sum::<f64>();
            (0..n).map(|i| row[i] * image(i)).sum()
        };
        let shifts =
            at_origin.chunks_exact(n).map(|row| self.radius_reference * variance(row).max(0.0).sqrt());
        let others = (0..n - 2).map(|index| {
            let unit = if Some(index) == model.rotation_index() { 1.0 } else { 1.0 / self.scale_unit() };
            unit * covariance[index * n + index].max(0.0).sqrt()
        });
        others.chain(shifts).collect()
    }
}

/// The same direction, as near to the middle of the bounds as full turns allow.
fn nearest_turn(rotation_rad: f64, settings: &FitSettings) -> f64 {
    let middle = settings.bounds.theta_rad.map_or(rotation_rad, |[least, greatest]| (least + greatest) / 2.0);
    rotation_rad + ((middle - rotation_rad) / TAU).round() * TAU
}

/// Moves points to their centroid and divides them by their root mean square radius; returns both, or `None` where
/// all points are in one place.
fn normalise(points: &mut [[f64; 2]]) -> Option<([f64; 2], f64)> {
    let n = points.len() as f64;
    let mean = |axis: usize| points.iter().map(|point| point[axis] / n).sum::<f64>();
    let centre = [mean(0), mean(1)];
    let reach = points.iter().flatten().fold(0.0_f64, |reach, value| reach.max(value.abs()));
    points.iter_mut().for_each(|[x, y]| (*x, *y) = (*x - centre[0], *y - centre[1]));
    let radius = (points.iter().map(|[x, y]| x * x + y * y).sum::<f64>() / n).sqrt();
    if radius <= RADIUS_MIN * reach {
        return None;
    }
    points.iter_mut().flatten().for_each(|value| *value /= radius);
    Some((centre, radius))
}

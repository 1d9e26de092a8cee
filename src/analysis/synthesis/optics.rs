//! How a scene is seen: by which objective, where the frame lies on the plate, how far out of focus.

use crate::geometry::Affine;

use super::random::smooth_noise;
use super::scene::{Cell, Scene};

/// Pixels of the camera in micrometres on the chip: 0.65 um at 10x, 0.1625 um at 40x.
const CAMERA_PIXEL_UM: f64 = 6.5;

/// An objective and how the camera is mounted behind it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Objective {
    pub(super) name: &'static str,
    pub(super) magnification: f64,
    pub(super) numerical_aperture: f64,
    /// Rotation of the camera against the stage in radians, below 0.1.
    rotation_rad: f64,
    /// Whether the light path mirrors x.
    pub(super) mirrored: bool,
    /// What the stage reads less than the true place of the frame's centre, in micrometres.
    pub(super) stage_error_um: [f64; 2],
}

impl Objective {
    pub(super) const OVERVIEW: Self = Self {
        name: "Plan Apo 10x",
        magnification: 10.0,
        numerical_aperture: 0.45,
        rotation_rad: 0.006,
        mirrored: false,
        stage_error_um: [2.5, -1.5],
    };

    pub(super) const fn detail(mirrored: bool) -> Self {
        Self {
            name: "Plan Apo 40x",
            magnification: 40.0,
            numerical_aperture: 0.95,
            rotation_rad: -0.013,
            mirrored,
            stage_error_um: [-11.0, 8.0],
        }
    }

    pub(super) fn pixel_size_um(&self) -> f64 {
        CAMERA_PIXEL_UM / self.magnification
    }

    /// Standard deviation of its point spread in focus, and what a micrometre out of focus adds, in micrometres.
    fn blur_um(&self, z_um: f64) -> f64 {
        let in_focus = 0.12 / self.numerical_aperture;
        let defocus = 0.3 * self.numerical_aperture * z_um;
        (in_focus * in_focus + defocus * defocus).sqrt()
    }

    /// From pixels of a square frame to micrometres on the plate.
    pub(super) fn plate_um_from_px(&self, centre_um: [f64; 2], side_px: usize) -> Affine {
        let size = self.pixel_size_um();
        let angle = self.rotation_rad;
        // Taylor's series: the same on every machine, and exact to 1e-12 at these angles
        let square = angle * angle;
        let sin = angle * (1.0 - square / 6.0 * (1.0 - square / 20.0));
        let cos = 1.0 - square / 2.0 * (1.0 - square / 12.0 * (1.0 - square / 30.0));
        let sign = if self.mirrored { -1.0 } else { 1.0 };
        let linear = [[sign * size * cos, -size * sin], [sign * size * sin, size * cos]];
        let middle = (side_px as f64 - 1.0) / 2.0;
        let shift = [0, 1].map(|axis| centre_um[axis] - middle * (linear[axis][0] + linear[axis][1]));
        Affine::from_parts(linear, shift)
    }
}

/// One look at a scene.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct View {
    pub(super) objective: Objective,
    /// True place of the frame's centre on the plate in micrometres.
    pub(super) centre_um: [f64; 2],
    /// Rows and columns of the frame.
    pub(super) side_px: usize,
    /// Which channel, from 0.
    pub(super) channel: usize,
    /// Which time point.
    pub(super) t: u32,
    /// Height above the focus in micrometres.
    pub(super) z_um: f64,
}

/// Photo-electrons that the medium gives everywhere.
const MEDIUM_ELECTRONS: f64 = 45.0;
/// What is left of the fluorescence from one time point to the next.
const BLEACHING: f64 = 0.985;
/// How far the cell reaches beyond its nucleus, in radii.
const CELL_REACH: f64 = 2.2;

impl View {
    pub(super) fn plate_um_from_px(&self) -> Affine {
        self.objective.plate_um_from_px(self.centre_um, self.side_px)
    }

    /// Where a nucleus is at this time, in micrometres.
    fn place_um(&self, cell: &Cell) -> [f64; 2] {
        [0, 1].map(|axis| cell.centre_um[axis] + f64::from(self.t) * cell.step_um[axis])
    }

    /// Centres of the nuclei inside the frame, in pixels.
    pub(super) fn nuclei_px(&self, scene: &Scene) -> Vec<[f64; 2]> {
        let px_from_um = self.px_from_plate_um();
        let range = -0.5..self.side_px as f64 - 0.5;
        let places = scene.cells.iter().map(|cell| px_from_um.apply(self.place_um(cell)));
        places.filter(|place| place.iter().all(|part| range.contains(part))).collect()
    }

    fn px_from_plate_um(&self) -> Affine {
        self.plate_um_from_px().inverse().expect("an objective magnifies")
    }

    /// Photo-electrons that reach each pixel of a perfect camera, row by row.
    pub(super) fn light(&self, scene: &Scene) -> Vec<f32> {
        let mut light = vec![MEDIUM_ELECTRONS as f32; self.side_px * self.side_px];
        let px_from_um = self.px_from_plate_um();
        let linear = self.plate_um_from_px().linear();
        let bleached = (0..self.t).fold(1.0, |left, _| left * BLEACHING);
        let blur_um = self.objective.blur_um(self.z_um);
        for cell in &scene.cells {
            let drawing = Drawing { cell, linear, channel: self.channel, bleached, blur_um };
            drawing.draw(&mut light, self.side_px, px_from_um.apply(self.place_um(cell)));
        }
        light
    }
}

/// One cell while it is drawn.
struct Drawing<'s> {
    cell: &'s Cell,
    /// From pixels to micrometres, without the shift.
    linear: [[f64; 2]; 2],
    channel: usize,
    bleached: f64,
    blur_um: f64,
}

impl Drawing<'_> {
    fn draw(&self, light: &mut [f32], side_px: usize, [x_px, y_px]: [f64; 2]) {
        let [[a, b], [c, d]] = self.linear;
        let pixel_um = (a * a + c * c).sqrt();
        let radii = if self.is_nuclear() { 1.1 } else { CELL_REACH };
        let reach = (self.cell.radii_um[0] * radii + 3.0 * self.edge_um()) / pixel_um + 1.0;
        let range = |centre: f64| {
            let first = (centre - reach).floor().clamp(0.0, side_px as f64);
            let last = (centre + reach).ceil().clamp(-1.0, side_px as f64 - 1.0);
            first as usize..(last + 1.0) as usize
        };
        for y in range(y_px) {
            for x in range(x_px) {
                let (dx, dy) = (x as f64 - x_px, y as f64 - y_px);
                let electrons = self.electrons([a * dx + b * dy, c * dx + d * dy]);
                light[y * side_px + x] += electrons as f32;
            }
        }
    }

    const fn is_nuclear(&self) -> bool {
        self.channel.is_multiple_of(2)
    }

    /// Half the width of the soft edge in micrometres.
    fn edge_um(&self) -> f64 {
        const OWN_UM: f64 = 0.3;
        2.0 * (OWN_UM * OWN_UM + self.blur_um * self.blur_um).sqrt()
    }

    /// Photo-electrons at a distance from the nucleus' centre in micrometres.
    fn electrons(&self, [x_um, y_um]: [f64; 2]) -> f64 {
        let cell = self.cell;
        let along = (x_um * cell.axis[0] + y_um * cell.axis[1]) / cell.radii_um[0];
        let across = (y_um * cell.axis[0] - x_um * cell.axis[1]) / cell.radii_um[1];
        let rho = (along * along + across * across).sqrt();
        let shape = if self.is_nuclear() {
            self.nucleus(rho, [along, across]) * (1.0 + self.texture([x_um, y_um], 1.3))
        } else {
            Self::cytoplasm(rho) * (1.0 + 2.0 * self.texture([x_um, y_um], 2.6))
        };
        self.bleached * cell.electrons[self.channel] * shape
    }

    /// A dome with a soft edge; light out of focus is spread, not lost.
    fn nucleus(&self, rho: f64, [along, across]: [f64; 2]) -> f64 {
        let outline = if rho > 1e-9 {
            let (cos, sin) = (along / rho, across / rho);
            let [c2, s2, c3, s3] = self.cell.lobes;
            1.0 + c2 * (cos * cos - sin * sin)
                + s2 * 2.0 * sin * cos
                + c3 * cos * (4.0 * cos * cos - 3.0)
                + s3 * sin * (3.0 - 4.0 * sin * sin)
        } else {
            1.0
        };
        let radius_um = (self.cell.radii_um[0] * self.cell.radii_um[1]).sqrt();
        let outside_um = (rho / outline - 1.0) * radius_um;
        let inside = (0.5 - outside_um / (2.0 * self.edge_um())).clamp(0.0, 1.0);
        let dome = 1.0 - 0.2 * rho.min(1.0) * rho.min(1.0);
        let spread = 1.0 + self.blur_um / radius_um;
        inside * inside * (3.0 - 2.0 * inside) * dome / (spread * spread)
    }

    fn cytoplasm(rho: f64) -> f64 {
        let part = (1.0 - (rho / CELL_REACH) * (rho / CELL_REACH)).max(0.0);
        part * part
    }

    /// Chromatin or granules: grains of `grain_um`, washed out by blur.
    fn texture(&self, [x_um, y_um]: [f64; 2], grain_um: f64) -> f64 {
        let blur = self.blur_um / grain_um;
        let contrast = 0.12 / (1.0 + 8.0 * blur * blur);
        contrast * smooth_noise(self.cell.texture, x_um / grain_um, y_um / grain_um)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn view(objective: Objective) -> View {
        View { objective, centre_um: [1000.0, 2000.0], side_px: 128, channel: 0, t: 0, z_um: 0.0 }
    }

    #[test]
    fn the_middle_of_a_frame_is_its_place_on_the_plate() {
        for objective in [Objective::OVERVIEW, Objective::detail(false), Objective::detail(true)] {
            let map = view(objective).plate_um_from_px();
            let [x, y] = map.apply([63.5, 63.5]);
            assert!((x - 1000.0).abs() < 1e-9 && (y - 2000.0).abs() < 1e-9, "{x} {y}");
            let parts = map.decompose();
            assert!((parts.scale - objective.pixel_size_um()).abs() < 1e-12);
            assert!((parts.rotation_rad - objective.rotation_rad).abs() < 1e-9, "{parts:?}");
            assert_eq!(parts.mirrored, objective.mirrored);
        }
    }

    #[test]
    fn nuclei_are_bright_where_the_truth_says_and_less_out_of_focus() {
        let scene = Scene::grow([1000.0, 2000.0], 120.0, 9);
        let sharp = view(Objective::OVERVIEW);
        let light = sharp.light(&scene);
        let nuclei = sharp.nuclei_px(&scene);
        assert!(nuclei.len() > 5, "{nuclei:?}");
        let at = |light: &[f32], [x, y]: [f64; 2]| light[y.round() as usize * 128 + x.round() as usize];
        let blurred = View { z_um: 8.0, ..sharp }.light(&scene);
        for place in nuclei {
            assert!(at(&light, place) > 800.0, "{place:?}");
            assert!(at(&blurred, place) < at(&light, place));
        }
    }
}

//! From a planned shot to samples.

use crate::formats::{Plane, Samples};
use crate::geometry::Affine;

use super::camera::Camera;
use super::plan::{Change, Shot};

impl Shot {
    /// The samples of the shot, as the file is to hold them.
    pub(super) fn draw(&self, camera: &Camera) -> Plane {
        let mut plane = camera.expose(&self.view.light(&self.scene), self.noise_seed);
        let width = plane.width;
        let Samples::Uint16(samples) = &mut plane.samples else { return plane };
        match self.change {
            Change::None => {}
            Change::EightBits => {
                let mapped = samples.iter().map(|sample| eight_bits(*sample)).collect();
                plane.samples = Samples::Uint8(mapped);
            }
            Change::Dimmer => samples.iter_mut().for_each(|sample| *sample = 300 + *sample / 2),
            Change::Rotated => {
                let from = |index: usize| (width - 1 - index % width) * width + index / width;
                plane.samples =
                    Samples::Uint16((0..samples.len()).map(|index| samples[from(index)]).collect());
            }
            Change::Mirrored => samples.chunks_exact_mut(width).for_each(<[u16]>::reverse),
        }
        plane
    }

    /// From pixels as the file holds them to micrometres on the plate.
    pub(super) fn plate_um_from_px(&self) -> Affine {
        let last = self.view.side_px as f64 - 1.0;
        let before = match self.change {
            Change::Rotated => Affine::from_parts([[0.0, 1.0], [-1.0, 0.0]], [0.0, last]),
            Change::Mirrored => Affine::from_parts([[-1.0, 0.0], [0.0, 1.0]], [last, 0.0]),
            _ => Affine::IDENTITY,
        };
        self.view.plate_um_from_px().after(&before)
    }

    /// Centres of the nuclei in pixels as the file holds them.
    pub(super) fn nuclei_px(&self) -> Vec<[f64; 2]> {
        let last = self.view.side_px as f64 - 1.0;
        let moved = |[x, y]: [f64; 2]| match self.change {
            Change::Rotated => [last - y, x],
            Change::Mirrored => [last - x, y],
            _ => [x, y],
        };
        self.view.nuclei_px(&self.scene).into_iter().map(moved).collect()
    }
}

/// Grey values 80 to 1680 as the root of their part of this range, times 255.
fn eight_bits(sample: u16) -> u8 {
    let part = (f64::from(sample) - 80.0) / 1600.0;
    (255.0 * part.clamp(0.0, 1.0).sqrt()).round() as u8
}

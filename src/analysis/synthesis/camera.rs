//! One camera: what it makes of light, with the noise of each exposure and the pattern that stays.

use crate::formats::{Plane, Samples};

use super::random::Random;

/// Grey value without light.
const OFFSET: f64 = 100.0;
/// Grey values per photo-electron.
const GAIN: f64 = 0.6;
/// Standard deviation of the read noise in electrons.
const READ_NOISE: f64 = 2.0;
/// Deviation of the pixels' sensitivity, as a part of it.
const SENSITIVITY_DEVIATION: f64 = 0.004;
/// One pixel in so many is hot.
const HOT_ONE_IN: f64 = 20_000.0;
/// Brightness lost in the corners.
const VIGNETTING: f64 = 0.18;

/// A square camera with its fixed pattern: the same for all its frames.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Camera {
    side_px: usize,
    /// Sensitivity of each pixel, with the light lost towards the corners; 1 in the mean of the centre.
    sensitivity: Vec<f32>,
    /// Electrons that hot pixels add.
    dark: Vec<f32>,
}

impl Camera {
    pub(super) fn new(side_px: usize, seed: u64) -> Self {
        let mut random = Random::new(seed);
        let middle = (side_px as f64 - 1.0) / 2.0;
        let corner = (2.0 * middle * middle).max(1.0);
        let mut sensitivity = Vec::with_capacity(side_px * side_px);
        let mut dark = Vec::with_capacity(side_px * side_px);
        for y in 0..side_px {
            for x in 0..side_px {
                let (dx, dy) = (x as f64 - middle, y as f64 - middle);
                let shade = 1.0 - VIGNETTING * (dx * dx + dy * dy) / corner;
                sensitivity.push((shade * (1.0 + SENSITIVITY_DEVIATION * random.noise())) as f32);
                let is_hot = random.uniform() * HOT_ONE_IN < 1.0;
                dark.push(if is_hot { random.between(60.0, 500.0) as f32 } else { 0.0 });
            }
        }
        Self { side_px, sensitivity, dark }
    }

    /// One exposure; another `seed` gives other noise and nothing else.
    pub(super) fn expose(&self, light: &[f32], seed: u64) -> Plane {
        let mut random = Random::new(seed);
        let pixels = light.iter().zip(self.sensitivity.iter().zip(&self.dark));
        let samples = pixels.map(|(light, (sensitivity, dark))| {
            let electrons = f64::from(*light) * f64::from(*sensitivity) + f64::from(*dark);
            // photon noise: the variance of a count is its mean
            let noise = random.noise() * (electrons + READ_NOISE * READ_NOISE).sqrt();
            (OFFSET + GAIN * (electrons + noise)).round().clamp(0.0, 65_535.0) as u16
        });
        let samples = Samples::Uint16(samples.collect());
        Plane { height: self.side_px, width: self.side_px, n_samples: 1, samples }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn samples(plane: &Plane) -> Vec<f64> {
        let Samples::Uint16(samples) = &plane.samples else { panic!("expected 16 bits") };
        samples.iter().map(|sample| f64::from(*sample)).collect()
    }

    #[test]
    fn exposures_differ_by_photon_noise_and_share_the_fixed_pattern() {
        let camera = Camera::new(512, 1);
        let light = vec![1000.0_f32; 512 * 512];
        let exposures: Vec<_> = (0..2).map(|seed| samples(&camera.expose(&light, seed))).collect();
        let differences = exposures[0].iter().zip(&exposures[1]).map(|(a, b)| (a - b) * (a - b));
        let noise = (differences.sum::<f64>() / (2.0 * light.len() as f64)).sqrt();
        // the mean over the frame loses two thirds of the vignetting's corner value
        let electrons = 1000.0 * (1.0 - VIGNETTING / 3.0);
        let expected = GAIN * (electrons + READ_NOISE * READ_NOISE).sqrt();
        assert!((noise / expected - 1.0).abs() < 0.02, "{noise} {expected}");
        let n_hot = camera.dark.iter().filter(|dark| **dark > 0.0).count();
        assert!(n_hot > 3 && n_hot < 30, "{n_hot}");
    }
}

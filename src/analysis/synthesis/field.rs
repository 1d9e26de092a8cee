//! Single fields of nuclei in pixels: small images for tests and benches.

use super::random::Random;
use crate::formats::{Plane, Samples};

/// What a synthetic field looks like.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct FieldSettings {
    /// Rows.
    pub height: usize,
    /// Columns.
    pub width: usize,
    /// Nuclei to place; those that would overlap too much are left out.
    pub n_nuclei: usize,
    /// Mean diameter of a nucleus in pixels; single ones vary by a fifth.
    pub diameter_px: f64,
    /// Grey value where there is nothing.
    pub background: f64,
    /// Mean height of nuclei above the background in grey values.
    pub signal: f64,
    /// Standard deviation of the camera's read noise in grey values; photon noise comes on top.
    pub read_noise: f64,
    /// Brightness lost in the corners, 0 to 1.
    pub vignetting: f64,
}

impl Default for FieldSettings {
    fn default() -> Self {
        Self {
            height: 512,
            width: 512,
            n_nuclei: 60,
            diameter_px: 26.0,
            background: 110.0,
            signal: 900.0,
            read_noise: 3.0,
            vignetting: 0.2,
        }
    }
}

/// Where a synthetic nucleus lies, in pixels, origin at the centre of the first pixel.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Nucleus {
    /// Column of the centre.
    pub x: f64,
    /// Row of the centre.
    pub y: f64,
    /// Half axes.
    pub radii: [f64; 2],
    /// Angle of the first half axis to the x axis in radians.
    pub angle: f64,
    /// Height above the background in grey values.
    pub signal: f64,
}

/// Places nuclei: neighbours may touch, but not lie on one another.
pub fn place_nuclei(settings: &FieldSettings, random: &mut Random) -> Vec<Nucleus> {
    let mut nuclei: Vec<Nucleus> = Vec::with_capacity(settings.n_nuclei);
    for _ in 0..settings.n_nuclei.saturating_mul(4) {
        if nuclei.len() == settings.n_nuclei {
            break;
        }
        let radius = settings.diameter_px / 2.0 * (1.0 + 0.2 * random.normal().clamp(-2.0, 2.0));
        let elongation = 1.0 + 0.35 * random.uniform();
        let nucleus = Nucleus {
            x: random.uniform() * settings.width as f64,
            y: random.uniform() * settings.height as f64,
            radii: [radius * elongation.sqrt(), radius / elongation.sqrt()],
            angle: random.uniform() * std::f64::consts::PI,
            signal: settings.signal * (0.6 + 0.8 * random.uniform()),
        };
        let clear = |other: &Nucleus| {
            let reach = 0.9 * (other.radii[0] + nucleus.radii[0]);
            (other.x - nucleus.x).hypot(other.y - nucleus.y) > reach
        };
        if nuclei.iter().all(clear) {
            nuclei.push(nucleus);
        }
    }
    nuclei
}

/// Draws one exposure of a field as a 16-bit plane; another `noise_seed` gives another exposure of the same field.
pub fn expose(settings: &FieldSettings, nuclei: &[Nucleus], noise_seed: u64) -> Plane {
    let (height, width) = (settings.height, settings.width);
    let mut light = vec![0.0_f32; height * width];
    nuclei.iter().for_each(|nucleus| draw(&mut light, (height, width), nucleus));
    let mut random = Random::new(noise_seed);
    let (centre_y, centre_x) = (height as f64 / 2.0, width as f64 / 2.0);
    let corner = centre_y.hypot(centre_x).max(1.0);
    let mut samples = Vec::with_capacity(height * width);
    for (index, &light) in light.iter().enumerate() {
        let (y, x) = ((index / width) as f64 - centre_y, (index % width) as f64 - centre_x);
        let shade = 1.0 - settings.vignetting * (y.hypot(x) / corner).powi(2);
        let expected = (settings.background + f64::from(light)) * shade;
        // photon noise: the variance of a count is its mean
        let noise = random.normal() * (expected + settings.read_noise.powi(2)).sqrt();
        samples.push((expected + noise).round().clamp(0.0, 65_535.0) as u16);
    }
    Plane { height, width, n_samples: 1, samples: Samples::Uint16(samples) }
}

/// Adds one nucleus: an ellipse with a soft edge and a slightly uneven inside.
fn draw(light: &mut [f32], (height, width): (usize, usize), nucleus: &Nucleus) {
    const EDGE_PX: f64 = 1.5;
    let reach = nucleus.radii[0].max(nucleus.radii[1]) + 3.0 * EDGE_PX;
    let range = |centre: f64, length: usize| {
        let first = (centre - reach).floor().max(0.0) as usize;
        let last = (centre + reach).ceil().max(0.0) as usize;
        first.min(length)..last.saturating_add(1).min(length)
    };
    let (sin, cos) = nucleus.angle.sin_cos();
    for y in range(nucleus.y, height) {
        for x in range(nucleus.x, width) {
            let (dx, dy) = (x as f64 - nucleus.x, y as f64 - nucleus.y);
            let (along, across) = (dx * cos + dy * sin, dy * cos - dx * sin);
            let distance = (along / nucleus.radii[0]).hypot(across / nucleus.radii[1]);
            let outside_px = (distance - 1.0) * nucleus.radii[1];
            let inside = 1.0 / (1.0 + (outside_px / (EDGE_PX / 2.0)).exp());
            let texture = 1.0 + 0.1 * (0.9 * x as f64).sin() * (0.7 * y as f64).cos();
            light[y * width + x] += (nucleus.signal * inside * texture) as f32;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_gives_the_same_field_and_another_exposure_other_noise() {
        let settings = FieldSettings { height: 64, width: 96, n_nuclei: 5, ..FieldSettings::default() };
        let nuclei = place_nuclei(&settings, &mut Random::new(7));
        assert_eq!(nuclei, place_nuclei(&settings, &mut Random::new(7)));
        assert_ne!(nuclei, place_nuclei(&settings, &mut Random::new(8)));
        let exposure = expose(&settings, &nuclei, 1);
        assert_eq!(exposure, expose(&settings, &nuclei, 1));
        assert_ne!(exposure, expose(&settings, &nuclei, 2));
    }

    #[test]
    fn nuclei_are_bright_and_the_rest_is_background() {
        let settings = FieldSettings { vignetting: 0.0, ..FieldSettings::default() };
        let nuclei = place_nuclei(&settings, &mut Random::new(3));
        assert!(nuclei.len() > 40);
        let plane = expose(&settings, &nuclei, 3);
        let Samples::Uint16(samples) = &plane.samples else { panic!() };
        let at = |x: f64, y: f64| f64::from(samples[y as usize * plane.width + x as usize]);
        let bright =
            nuclei.iter().filter(|n| at(n.x, n.y) > settings.background + 0.4 * settings.signal).count();
        assert!(bright * 10 >= nuclei.len() * 9, "{bright} of {}", nuclei.len());
        let mut sorted = samples.clone();
        sorted.sort_unstable();
        let median = f64::from(sorted[sorted.len() / 2]);
        assert!((median - settings.background).abs() < 10.0, "{median}");
    }
}

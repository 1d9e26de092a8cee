//! Splits one connected component into nuclei.

use super::blur::{Kernel, PatchBlur};
use super::chain::LevelImage;
use super::distance::DistanceTransform;
use super::flooding::Flooding;
use super::patch::Patch;

/// Heights of the flooded surface per nuclear radius.
const HEIGHTS_PER_RADIUS: f32 = 1024.0;

/// Blur of the distance and of the intensity, in nuclear radii: what is smaller does not split.
const DISTANCE_BLUR: f64 = 0.12;
const INTENSITY_BLUR: f64 = 0.25;

/// How a component is split.
#[derive(Debug, Clone)]
pub(super) struct SplitRule {
    /// Radius of a typical nucleus of the plane, in pixels.
    pub(super) radius: f64,
    /// Depth of a pass that splits, in radii.
    pub(super) depth: f64,
    /// Weight of the intensity beside the distance.
    pub(super) intensity_weight: f32,
    distance_kernel: Kernel,
    intensity_kernel: Kernel,
}

impl SplitRule {
    /// A rule for nuclei of the given radius in pixels.
    pub(super) fn new(radius: f64, depth: f64, intensity_weight: f64) -> Self {
        Self {
            radius,
            depth,
            intensity_weight: intensity_weight as f32,
            distance_kernel: Kernel::gaussian(DISTANCE_BLUR * radius),
            intensity_kernel: Kernel::gaussian(INTENSITY_BLUR * radius),
        }
    }
}

/// Splits patches, with buffers that are used again.
#[derive(Debug, Default)]
pub(super) struct Splitter {
    distance: DistanceTransform,
    squared: Vec<u32>,
    blur: PatchBlur,
    flooding: Flooding,
    shape: Vec<f32>,
    brightness: Vec<f32>,
    surface: Vec<u16>,
    /// Which nucleus each pixel of the patch belongs to, from 1; 0 outside.
    pub(super) labels: Vec<u32>,
}

impl Splitter {
    /// Finds the squared distances of the patch's pixels to its edge.
    pub(super) fn measure_distance(&mut self, patch: &Patch) {
        self.distance.squared(patch, &mut self.squared);
    }

    /// Appends the squared distances that no neighbour exceeds, above 1.
    pub(super) fn append_maxima(&self, patch: &Patch, maxima: &mut Vec<u32>) {
        let stride = patch.stride;
        for (index, &value) in self.squared.iter().enumerate().filter(|&(_, &value)| value > 1) {
            let is_maximum = [index - stride - 1, index - 1, index + stride - 1]
                .into_iter()
                .all(|start| self.squared[start..start + 3].iter().all(|&other| other <= value));
            if is_maximum {
                maxima.push(value);
            }
        }
    }

    /// Splits the patch, whose levels above the floor are `excess(pixel index of the patch)`; returns how many
    /// nuclei there are. `self.squared` holds the squared distances.
    pub(super) fn split(
        &mut self,
        patch: &Patch,
        image: LevelImage<'_>,
        floor: u16,
        rule: &SplitRule,
    ) -> u32 {
        let stride = patch.stride;
        self.shape.clear();
        let per_radius = 1.0 / rule.radius as f32;
        self.shape.extend(self.squared.iter().map(|&squared| (squared as f32).sqrt() * per_radius));
        self.blur.blur(&mut self.shape, stride, &rule.distance_kernel);
        self.brightness.clear();
        self.brightness.resize(patch.mask.len(), 0.0);
        for row in 0..patch.rows - 2 {
            let from = &image.levels[patch.plane_index(row, image.width)..][..stride - 2];
            let start = (row + 1) * stride + 1;
            let to = &mut self.brightness[start..][..stride - 2];
            for ((to, from), &mask) in to.iter_mut().zip(from).zip(&patch.mask[start..]) {
                *to = f32::from(from.saturating_sub(floor)) * f32::from(mask);
            }
        }
        self.blur.blur(&mut self.brightness, stride, &rule.intensity_kernel);
        let top = self.brightness.iter().copied().fold(f32::MIN_POSITIVE, f32::max);
        let weight = rule.intensity_weight / top;
        self.surface.clear();
        let pixels = self.shape.iter().zip(&self.brightness).zip(&patch.mask);
        self.surface.extend(pixels.map(|((&shape, &brightness), &mask)| {
            let height = (shape + weight * brightness) * HEIGHTS_PER_RADIUS;
            (height.min(60_000.0) as u16 + 1) * u16::from(mask)
        }));
        let depth = (rule.depth as f32 * HEIGHTS_PER_RADIUS) as u16;
        self.flooding.flood(&self.surface, stride, depth, &mut self.labels)
    }
}

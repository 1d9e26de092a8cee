//! Splits one connected component into nuclei.

use super::SegmentationSettings;
use super::blur::{Kernel, PatchBlur};
use super::chain::LevelImage;
use super::distance::DistanceTransform;
use super::patch::{Patch, let_go};
use super::watershed::{HEIGHT_END, Surface, Watershed};

/// Heights of the surface per nuclear radius: so many that neighbours are hardly ever equal, which only the order of the
/// pixels could decide.
const HEIGHTS_PER_RADIUS: f32 = (1 << 20) as f32;

/// Far more radii than anything that is not debris.
const HEIGHT_MAX: f32 = (HEIGHT_END / 2) as f32;

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
    pub(super) fn new(radius: f64, settings: &SegmentationSettings) -> Self {
        Self {
            radius,
            depth: settings.split_depth,
            intensity_weight: settings.intensity_weight as f32,
            distance_kernel: Kernel::gaussian(DISTANCE_BLUR * radius),
            intensity_kernel: Kernel::gaussian(INTENSITY_BLUR * radius),
        }
    }
}

/// How much of a nucleus' rim is glow.
#[derive(Debug, Clone, Copy)]
pub(super) struct RimRule {
    /// Level of the background.
    pub(super) background: f64,
    /// Part of the nucleus' upper quartile above the background that its pixels reach.
    pub(super) fraction: f64,
}

/// Splits patches, with buffers that are used again.
#[derive(Debug, Default)]
pub(super) struct Splitter {
    distance: DistanceTransform,
    squared: Vec<u32>,
    peaks: Vec<u32>,
    blur: PatchBlur,
    watershed: Watershed,
    shape: Vec<f32>,
    brightness: Vec<f32>,
    surface: Vec<u32>,
    grouped: Vec<u16>,
    starts: Vec<u32>,
    limits: Vec<u16>,
    is_dark: Vec<bool>,
    stack: Vec<u32>,
    /// Which nucleus each pixel of the patch belongs to, from 1; 0 outside.
    pub(super) labels: Vec<u32>,
}

impl Splitter {
    /// Finds the squared distances of the patch's pixels to its edge.
    pub(super) fn measure_distance(&mut self, patch: &Patch) {
        self.distance.squared(patch, &mut self.squared);
    }

    /// The greatest squared distance of the patch measured last.
    pub(super) fn squared_max(&self) -> u32 {
        self.squared.iter().copied().max().unwrap_or(0)
    }

    /// The squared distances that no neighbour exceeds, above 1.
    pub(super) fn maxima(&mut self, patch: &Patch) -> Vec<u32> {
        let stride = patch.stride;
        let from = stride + 1;
        let n = self.squared.len() - 2 * from;
        let [above, here, below] = [0, stride, 2 * stride].map(|start| &self.squared[start..][..n + 2]);
        let beside = [
            &above[..n],
            &above[1..=n],
            &above[2..],
            &here[..n],
            &here[2..],
            &below[..n],
            &below[1..=n],
            &below[2..],
        ];
        let here = &here[1..=n];
        self.peaks.clear();
        self.peaks.resize(n, 0);
        // plain enough that several pixels are done at once; what is no maximum stays 0
        for (x, peak) in self.peaks.iter_mut().enumerate() {
            let (value, mut highest) = (here[x] as i32, 2);
            for other in beside {
                highest = if other[x] as i32 > highest { other[x] as i32 } else { highest };
            }
            *peak = if value >= highest { here[x] } else { 0 };
        }
        let maxima = self.peaks.iter().copied().filter(|&peak| peak > 0).collect();
        let_go(&mut self.peaks);
        maxima
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
        let_go(&mut self.squared);
        self.blur.blur(&mut self.shape, stride, &rule.distance_kernel);
        self.brightness.clear();
        self.brightness.resize(patch.mask.len(), 0.0);
        for (span, pixels) in patch.plane_spans(image.width) {
            for (to, from) in self.brightness[span].iter_mut().zip(&image.levels[pixels]) {
                *to = f32::from(from.saturating_sub(floor));
            }
        }
        self.blur.blur(&mut self.brightness, stride, &rule.intensity_kernel);
        let top = self.brightness.iter().copied().fold(f32::MIN_POSITIVE, f32::max);
        let weight = rule.intensity_weight / top;
        self.surface.clear();
        let pixels = self.shape.iter().zip(&self.brightness).zip(&patch.mask);
        self.surface.extend(pixels.map(|((&shape, &brightness), &mask)| {
            let height = (shape + weight * brightness) * HEIGHTS_PER_RADIUS;
            (height.min(HEIGHT_MAX) as u32 + 1) * u32::from(mask)
        }));
        let_go(&mut self.shape);
        let_go(&mut self.brightness);
        let depth = (rule.depth as f32 * HEIGHTS_PER_RADIUS) as u32;
        let surface = Surface { heights: &self.surface, stride, spans: &patch.spans };
        self.watershed.split(surface, depth, &mut self.labels)
    }

    /// Takes the rim off each of the patch's `n` nuclei: pixels below `fraction` of its upper quartile, counted from
    /// the background's level, are its glow. A dim nucleus beside a bright one so keeps its own threshold.
    pub(super) fn take_rims_off(&mut self, n: u32, patch: &Patch, image: LevelImage<'_>, rim: RimRule) {
        self.group_by_label(n, patch, image);
        self.limits.clear();
        self.limits.push(0);
        for ends in self.starts.windows(2) {
            let levels = &mut self.grouped[ends[0] as usize..ends[1] as usize];
            let quartile = (levels.len() * 3 / 4).min(levels.len().saturating_sub(1));
            let top = f64::from(*levels.select_nth_unstable(quartile).1);
            self.limits.push((rim.background + rim.fraction * (top - rim.background)).max(0.0) as u16);
        }
        let_go(&mut self.grouped);
        let_go(&mut self.surface);
        self.peel(patch, image);
        let_go(&mut self.is_dark);
        let_go(&mut self.stack);
    }

    /// Takes pixels below their label's limit away from the outside in: what is dark inside stays.
    fn peel(&mut self, patch: &Patch, image: LevelImage<'_>) {
        let stride = patch.stride;
        let beside = |pixel: usize| [pixel - stride, pixel - 1, pixel + 1, pixel + stride];
        self.is_dark.clear();
        self.is_dark.resize(self.labels.len(), false);
        for (span, pixels) in patch.plane_spans(image.width) {
            let labels = &self.labels[span.clone()];
            let dark = self.is_dark[span].iter_mut().zip(labels).zip(&image.levels[pixels]);
            for ((dark, &label), &level) in dark {
                *dark = level < self.limits[label as usize];
            }
        }
        self.stack.clear();
        let pixels = patch.spans.iter().flat_map(|span| span.range());
        for pixel in pixels.filter(|&pixel| self.is_dark[pixel]) {
            if beside(pixel).iter().any(|&other| self.labels[other] != self.labels[pixel]) {
                self.stack.push(pixel as u32);
            }
        }
        while let Some(pixel) = self.stack.pop() {
            let label = std::mem::take(&mut self.labels[pixel as usize]);
            if label != 0 {
                let dark = beside(pixel as usize).into_iter().filter(|&other| self.is_dark[other]);
                self.stack
                    .extend(dark.filter(|&other| self.labels[other] == label).map(|other| other as u32));
            }
        }
    }

    /// Sorts the levels of the patch's pixels by label: those of label `i` stand at `starts[i - 1]..starts[i]`.
    fn group_by_label(&mut self, n: u32, patch: &Patch, image: LevelImage<'_>) {
        self.starts.clear();
        self.starts.resize(n as usize + 2, 0);
        for label in patch.spans.iter().flat_map(|span| alike(&self.labels[span.range()])) {
            // shifted by one: while grouping, each start moves to its end, which is the next label's start
            self.starts[label[0] as usize + 1] += label.len() as u32;
        }
        for label in 1..self.starts.len() {
            self.starts[label] += self.starts[label - 1];
        }
        self.grouped.clear();
        self.grouped.resize(self.starts[n as usize + 1] as usize, 0);
        for (span, pixels) in patch.plane_spans(image.width) {
            let mut levels = &image.levels[pixels];
            for label in alike(&self.labels[span]) {
                let (first, rest) = levels.split_at(label.len());
                let place = &mut self.starts[label[0] as usize];
                self.grouped[*place as usize..][..first.len()].copy_from_slice(first);
                *place += first.len() as u32;
                levels = rest;
            }
        }
        self.starts.truncate(n as usize + 1);
    }
}

/// Equal labels side by side.
pub(super) fn alike(labels: &[u32]) -> impl Iterator<Item = &[u32]> {
    labels.chunk_by(|a, b| a == b)
}

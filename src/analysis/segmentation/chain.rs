//! The chain from levels to labels: mask, components, typical radius, splitting, and what is kept.

use super::SegmentationSettings;
use super::background::Background;
use super::clump::{RimRule, SplitRule, Splitter};
use super::components::{Components, Run};
use super::mask::{MaskRule, mask_runs};
use super::patch::Patch;

/// A blurred plane in levels.
#[derive(Debug, Clone, Copy)]
pub(super) struct LevelImage<'a> {
    /// Row-major, `height * width`.
    pub(super) levels: &'a [u16],
    pub(super) height: usize,
    pub(super) width: usize,
}

/// Limits of a nuclear radius in pixels, where the size of a pixel is known.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct RadiusRange {
    pub(super) min: f64,
    pub(super) max: f64,
}

/// Labels, and what was left out.
#[derive(Debug, Default)]
pub(super) struct Found {
    /// Labels in raster order of the objects' first pixel.
    pub(super) labels: Vec<u32>,
    pub(super) n_objects: u32,
    pub(super) n_debris: u32,
}

/// The level above which a pixel may be an object, or `None` where nothing stands out of the noise.
pub(super) fn floor_level(background: &Background, settings: &SegmentationSettings) -> Option<u16> {
    let contrast = background.contrast();
    if background.otsu.is_none() || contrast < settings.noise_gate_sd * background.noise_sd {
        return None;
    }
    Some((background.level + settings.threshold_fraction * contrast) as u16)
}

/// Finds the objects above `floor`.
pub(super) fn find(
    image: LevelImage<'_>,
    background: &Background,
    floor: u16,
    radii: RadiusRange,
    settings: &SegmentationSettings,
) -> Found {
    let mut finder = Finder {
        image,
        background,
        floor,
        settings,
        patch: Patch::default(),
        splitter: Splitter::default(),
        steps: Vec::new(),
        labels: Vec::new(),
        n_labels: 0,
        n_debris: 0,
    };
    let Some(rough) = finder.rough_radius() else {
        return Found { labels: vec![0; image.levels.len()], ..Found::default() };
    };
    // the window in which a nucleus and its surroundings both have their share
    let reach = ((settings.local_window_radii * rough / 2.0).round() as usize).clamp(4, 60);
    let components = finder.components(2 * reach + 1);
    let candidates: Vec<&[Run]> = components.iter().filter(|runs| finder.is_candidate(runs)).collect();
    let radius = finder.typical_radius(&candidates).unwrap_or(rough);
    finder.split(&candidates, radius.clamp(radii.min, radii.max), radii);
    finder.numbered()
}

struct Finder<'a> {
    image: LevelImage<'a>,
    background: &'a Background,
    floor: u16,
    settings: &'a SegmentationSettings,
    patch: Patch,
    splitter: Splitter,
    /// How far the component's runs exceed their surroundings.
    steps: Vec<i32>,
    labels: Vec<u32>,
    n_labels: u32,
    n_debris: u32,
}

/// Components of fewer pixels have no shape.
const AREA_MIN_PX: usize = 4;

/// Side of the window of the local mean, in pixels, while nothing is known of the nuclei's size.
const ROUGH_WINDOW_PX: usize = 51;

/// So many components are enough to know the typical radius.
const N_RADIUS_SAMPLES: usize = 400;

/// What is so many times larger than a typical nucleus is debris.
const DEBRIS_RATIO: f64 = 20.0;

/// An object stands above its surroundings by at least this part of its own height above the background, and of the
/// height of Otsu's level.
const CONTRAST_FRACTION_MIN: f64 = 0.3;

impl Finder<'_> {
    fn components(&self, window: usize) -> Components {
        Components::of(mask_runs(self.image.levels, self.image.width, MaskRule { floor: self.floor, window }))
    }

    /// The typical radius as it looks before the window fits it; `None` where there is no nucleus.
    fn rough_radius(&mut self) -> Option<f64> {
        let components = self.components(ROUGH_WINDOW_PX);
        let step = components.len().div_ceil(4 * N_RADIUS_SAMPLES).max(1);
        let candidates: Vec<&[Run]> =
            components.iter().step_by(step).filter(|runs| self.is_candidate(runs)).collect();
        let radius = self.typical_radius(&candidates)?;
        self.n_debris = self.count_blobs(&components, radius);
        Some(radius)
    }

    /// How many components hold a disc of the area of [`DEBRIS_RATIO`] nuclei. In the window that fits the nuclei such
    /// a blob is its own surroundings, and only its rim is left of it.
    fn count_blobs(&mut self, components: &Components, radius: f64) -> u32 {
        let squared_min = DEBRIS_RATIO * radius * radius;
        let area = |runs: &[Run]| runs.iter().map(|run| f64::from(run.end - run.start)).sum::<f64>();
        let mut n = 0;
        // the middle of a flat blob may be a hole of its component
        for runs in components.iter().filter(|runs| area(runs) > squared_min) {
            if self.is_candidate(runs) {
                self.cut_out(runs);
                self.splitter.measure_distance(&self.patch);
                n += u32::from(f64::from(self.splitter.squared_max()) >= squared_min);
            }
        }
        n
    }

    /// Median of the radii at which the distance to the edge peaks, each weighted by its disc's area: specks count
    /// little, and a clump counts as its nuclei. Some hundred components, evenly spread, tell it.
    fn typical_radius(&mut self, candidates: &[&[Run]]) -> Option<f64> {
        let mut maxima = Vec::new();
        for runs in candidates.iter().step_by(candidates.len().div_ceil(N_RADIUS_SAMPLES).max(1)) {
            self.cut_out(runs);
            self.splitter.measure_distance(&self.patch);
            self.splitter.append_maxima(&self.patch, &mut maxima);
        }
        maxima.sort_unstable();
        let total: u64 = maxima.iter().map(|&squared| u64::from(squared)).sum();
        let mut below = 0;
        let median = maxima.iter().find(|&&squared| {
            below += u64::from(squared);
            2 * below >= total
        });
        median.map(|&squared| f64::from(squared).sqrt())
    }

    /// Whether the component may be an object at all.
    fn is_candidate(&mut self, runs: &[Run]) -> bool {
        self.patch.draw(runs, self.image.height, self.image.width);
        self.patch.area >= AREA_MIN_PX && self.stands_out()
    }

    /// Cuts a component out and fills its holes, but none larger than itself: that is a ring of nuclei.
    fn cut_out(&mut self, runs: &[Run]) {
        self.patch.draw(runs, self.image.height, self.image.width);
        self.patch.fill_holes(self.patch.area);
    }

    /// Whether the component is brighter than what surrounds it: by the noise gate, and by a part of its height
    /// above the background and of the plane's contrast, so that the bright end of a slope is not an object.
    fn stands_out(&mut self) -> bool {
        self.steps.clear();
        let (rows, stride) = (self.patch.rows, self.patch.stride);
        let mut sum = 0.0;
        for row in 1..rows - 1 {
            sum += self.append_steps(row * stride, 1, stride);
        }
        for column in 1..stride - 1 {
            self.append_steps(column, stride, rows);
        }
        let height = sum / self.patch.area as f64 - self.background.level;
        let step = if self.steps.is_empty() {
            height
        } else {
            let middle = self.steps.len() / 2;
            f64::from(*self.steps.select_nth_unstable(middle).1)
        };
        step >= self.settings.noise_gate_sd * self.background.noise_sd
            && step >= CONTRAST_FRACTION_MIN * height.max(self.background.contrast())
    }

    /// Along one line of the patch (`n` pixels from `base`, `step` apart), appends how far each run exceeds the
    /// pixels a little beyond its two ends: the mean over half a window from that end (or the run, if shorter) against
    /// the pixel a quarter of that length and two pixels beyond. Returns the sum of
    /// the runs' levels.
    fn append_steps(&mut self, base: usize, step: usize, n: usize) -> f64 {
        let (patch, image) = (&self.patch, self.image);
        let (row, column) = (patch.top + base / patch.stride, patch.left + base % patch.stride);
        // places along the line are counted in the plane and shifted by the patch's margin of one pixel
        let is_row = step == 1;
        let (origin, extent) = if is_row { (patch.left, image.width) } else { (patch.top, image.height) };
        let level = |place: usize| {
            let (row, column) = if is_row { (row, place) } else { (place, column) };
            image.levels[(row - 1) * image.width + column - 1]
        };
        let is_inside = |place: usize| {
            place >= origin && place - origin < n && patch.mask[base + (place - origin) * step] != 0
        };
        let mut total = 0.0;
        let mut start = origin + 1;
        while start < origin + n {
            if !is_inside(start) {
                start += 1;
                continue;
            }
            let end = (start..origin + n).find(|&place| !is_inside(place)).unwrap_or(origin + n);
            let sum = |from: usize, to: usize| (from..to).map(|place| u64::from(level(place))).sum::<u64>();
            let n_inner = (end - start).min(ROUGH_WINDOW_PX / 2);
            let reach = 2 + n_inner / 4;
            let ends = [
                (start.checked_sub(reach), start..start + n_inner),
                (Some(end - 1 + reach), end - n_inner..end),
            ];
            for (outer, inner) in ends {
                let outer = outer.filter(|&place| (1..=extent).contains(&place) && !is_inside(place));
                if let Some(outer) = outer {
                    let mean = sum(inner.start, inner.end) / n_inner as u64;
                    self.steps.push(mean as i32 - i32::from(level(outer)));
                }
            }
            total += sum(start, end) as f64;
            start = end;
        }
        total
    }

    fn split(&mut self, candidates: &[&[Run]], radius: f64, radii: RadiusRange) {
        self.labels = vec![0; self.image.levels.len()];
        let rule = SplitRule::new(radius.max(2.0), self.settings);
        let typical = std::f64::consts::PI * radius * radius;
        let area_min = (self.settings.area_min_fraction * typical)
            .max(std::f64::consts::PI * radii.min * radii.min)
            .max(AREA_MIN_PX as f64);
        let rim = RimRule { background: self.background.level, fraction: self.settings.rim_fraction };
        let area_max = (DEBRIS_RATIO * typical).min(std::f64::consts::PI * radii.max * radii.max);
        // those of the rough mask, where they are whole, or those left here: mostly the same
        let mut n_debris = 0;
        let mut areas = Vec::new();
        for runs in candidates {
            self.cut_out(runs);
            if (self.patch.area as f64) < area_min {
                continue;
            }
            self.splitter.measure_distance(&self.patch);
            let n = self.splitter.split(&self.patch, self.image, self.floor, &rule);
            self.splitter.take_rims_off(n, &self.patch, self.image, rim);
            areas.clear();
            areas.resize(n as usize + 1, 0_u32);
            for &label in &self.splitter.labels {
                areas[label as usize] += 1;
            }
            // areas become labels of the plane; 0 is left out
            areas[0] = 0;
            for area in &mut areas {
                let is_debris = f64::from(*area) > area_max;
                let is_kept = f64::from(*area) >= area_min && !is_debris;
                n_debris += u32::from(is_debris);
                self.n_labels += u32::from(is_kept);
                *area = if is_kept { self.n_labels } else { 0 };
            }
            self.write(&areas);
        }
        self.n_debris = self.n_debris.max(n_debris);
    }

    /// Writes the patch's labels into the plane, `ids` being the plane's label of each.
    fn write(&mut self, ids: &[u32]) {
        for (index, row) in self.patch.plane_rows(self.image.width) {
            for (to, &label) in self.labels[row].iter_mut().zip(&self.splitter.labels[index..]) {
                if label != 0 {
                    *to = ids[label as usize];
                }
            }
        }
    }

    /// Numbers the labels anew in raster order of their first pixel.
    fn numbered(mut self) -> Found {
        let mut ids = vec![0_u32; self.n_labels as usize + 1];
        let mut n_objects = 0;
        for label in self.labels.iter_mut().filter(|label| **label != 0) {
            let id = &mut ids[*label as usize];
            if *id == 0 {
                n_objects += 1;
                *id = n_objects;
            }
            *label = *id;
        }
        Found { labels: self.labels, n_objects, n_debris: self.n_debris }
    }
}

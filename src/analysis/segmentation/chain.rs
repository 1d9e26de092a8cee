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
    let rule = MaskRule { floor, window: settings.local_window_px };
    let components = Components::of(mask_runs(image.levels, image.width, rule));
    let mut finder = Finder {
        image,
        background,
        floor,
        settings,
        patch: Patch::default(),
        splitter: Splitter::default(),
        pixels: Vec::new(),
        labels: Vec::new(),
        n_labels: 0,
        n_debris: 0,
    };
    let Some(radius) = finder.typical_radius(&components) else {
        return Found { labels: vec![0; image.levels.len()], ..Found::default() };
    };
    finder.split(&components, radius.clamp(radii.min, radii.max), radii);
    finder.numbered()
}

struct Finder<'a> {
    image: LevelImage<'a>,
    background: &'a Background,
    floor: u16,
    settings: &'a SegmentationSettings,
    patch: Patch,
    splitter: Splitter,
    pixels: Vec<u16>,
    labels: Vec<u32>,
    n_labels: u32,
    n_debris: u32,
}

/// Components of fewer pixels have no shape.
const AREA_MIN_PX: usize = 4;

/// An object stands above its surroundings by at least this part of its height above the background.
const CONTRAST_FRACTION_MIN: f64 = 0.2;

impl Finder<'_> {
    /// Median of the radii at which the distance to the edge peaks, each weighted by its disc's area: specks count
    /// little, and a clump counts as its nuclei.
    fn typical_radius(&mut self, components: &Components) -> Option<f64> {
        let mut maxima = Vec::new();
        for runs in components.iter() {
            if self.take(runs) {
                self.splitter.measure_distance(&self.patch);
                self.splitter.append_maxima(&self.patch, &mut maxima);
            }
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

    /// Cuts a component out, fills its holes; says whether it may be an object at all.
    fn take(&mut self, runs: &[Run]) -> bool {
        self.patch.draw(runs, self.image.height, self.image.width);
        if self.patch.area < AREA_MIN_PX || !self.stands_out() {
            return false;
        }
        self.patch.fill_holes(self.patch.area);
        true
    }

    /// Whether the component is brighter than what surrounds it: by the noise gate, and by a part of its height
    /// above the background, so that the bright end of a slope is not an object.
    fn stands_out(&mut self) -> bool {
        let inside = self.mean_inside();
        let contrast = inside - self.median_around();
        contrast >= self.settings.noise_gate_sd * self.background.noise_sd
            && contrast >= CONTRAST_FRACTION_MIN * (inside - self.background.level)
    }

    fn mean_inside(&self) -> f64 {
        let (patch, width) = (&self.patch, self.image.width);
        let mut sum = 0_u64;
        for (index, row) in patch.plane_rows(width) {
            let pixels = self.image.levels[row].iter().zip(&patch.mask[index..]);
            sum += pixels.map(|(&level, &mask)| u64::from(level) * u64::from(mask)).sum::<u64>();
        }
        sum as f64 / patch.area as f64
    }

    /// Median of the levels a little outside the component: beyond both ends of its runs in every row and column,
    /// by a quarter of the run's length and two pixels.
    fn median_around(&mut self) -> f64 {
        self.pixels.clear();
        let (rows, stride) = (self.patch.rows, self.patch.stride);
        for row in 1..rows - 1 {
            self.append_ends(row * stride, 1, stride);
        }
        for column in 1..stride - 1 {
            self.append_ends(column, stride, rows);
        }
        if self.pixels.is_empty() {
            return self.background.level;
        }
        let middle = self.pixels.len() / 2;
        f64::from(*self.pixels.select_nth_unstable(middle).1)
    }

    /// Appends the levels beyond the ends of the runs along one line of the patch: `n` pixels from `base`, `step`
    /// apart.
    fn append_ends(&mut self, base: usize, step: usize, n: usize) {
        let (patch, image) = (&self.patch, self.image);
        let (row, column) = (patch.top + base / patch.stride, patch.left + base % patch.stride);
        let (origin, extent) = if step == 1 { (patch.left, image.width) } else { (patch.top, image.height) };
        let mask = |place: usize| patch.mask[base + place * step];
        let mut start = 1;
        while start < n {
            if mask(start) == 0 {
                start += 1;
                continue;
            }
            let end = (start..n).find(|&place| mask(place) == 0).unwrap_or(n);
            let margin = 2 + ((end - start) / 4).min(self.settings.local_window_px / 4);
            for place in [(start + origin).checked_sub(margin), Some(end - 1 + origin + margin)] {
                // places in the plane, still shifted by the patch's margin of one pixel
                let Some(place) = place.filter(|&place| (1..=extent).contains(&place)) else { continue };
                if place >= origin && place - origin < n && mask(place - origin) != 0 {
                    continue;
                }
                let index = if step == 1 {
                    (row - 1) * image.width + place - 1
                } else {
                    (place - 1) * image.width + column - 1
                };
                self.pixels.push(image.levels[index]);
            }
            start = end;
        }
    }

    fn split(&mut self, components: &Components, radius: f64, radii: RadiusRange) {
        self.labels = vec![0; self.image.levels.len()];
        let rule = SplitRule::new(radius.max(2.0), self.settings);
        let typical = std::f64::consts::PI * radius * radius;
        let area_min = (self.settings.area_min_fraction * typical)
            .max(std::f64::consts::PI * radii.min * radii.min)
            .max(AREA_MIN_PX as f64);
        let rim = RimRule { background: self.background.level, fraction: self.settings.rim_fraction };
        let mut areas = Vec::new();
        for runs in components.iter() {
            if !self.take(runs) || (self.patch.area as f64) < area_min {
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
                let is_kept = f64::from(*area) >= area_min;
                self.n_labels += u32::from(is_kept);
                *area = if is_kept { self.n_labels } else { 0 };
            }
            self.write(&areas);
        }
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

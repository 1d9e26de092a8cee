//! The chain from levels to labels: mask, components, typical radius, splitting, and what is kept.

use rayon::prelude::*;

use super::background::Background;
use super::clump::{RimRule, SplitRule, Splitter, alike};
use super::components::{Components, Run};
use super::edges::Edges;
use super::holes::Holes;
use super::mask::{MaskRule, mask_runs};
use super::patch::Patch;
use super::{SegmentationSettings, Step};

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

/// Finds the objects of one plane. Components are shared out to the threads of the rayon pool that this is called in.
#[derive(Clone, Copy)]
pub(super) struct Finder<'a> {
    pub(super) image: LevelImage<'a>,
    pub(super) background: &'a Background,
    /// The level above which a pixel may belong to an object.
    pub(super) floor: u16,
    pub(super) settings: &'a SegmentationSettings,
}

/// What is known before the window fits the nuclei.
struct Rough {
    radius: f64,
    n_debris: u32,
}

/// What one thread needs to look at components, used again for the next.
#[derive(Default)]
struct Workbench {
    patch: Patch,
    holes: Holes,
    edges: Edges,
    splitter: Splitter,
}

/// The objects of some components.
#[derive(Default)]
struct Pieces {
    /// Row and column of each object's first pixel.
    firsts: Vec<[u32; 2]>,
    /// Which object, and its pixels.
    runs: Vec<(u32, Run)>,
    n_debris: u32,
}

/// Components of fewer pixels have no shape.
const AREA_MIN_PX: usize = 4;

/// So many components are asked for their radius at least, of those that there are.
const N_ASKED: usize = 1000;

/// Side of the window of the local mean, in pixels, while nothing is known of the nuclei's size.
const ROUGH_WINDOW_PX: usize = 51;

/// Components that one thread takes at least.
const N_TOGETHER: usize = 16;

/// What is so many times larger than a typical nucleus is debris.
const DEBRIS_RATIO: f64 = 20.0;

/// An object stands above its surroundings by at least this part of its own height above the background, and of the
/// height of Otsu's level.
const CONTRAST_FRACTION_MIN: f64 = 0.3;

impl Finder<'_> {
    /// Finds the objects whose radii lie in the range; tells every step that is done.
    pub(super) fn find(&self, radii: RadiusRange, done: &mut dyn FnMut(Step)) -> Found {
        let rough = self.rough_radius();
        done(Step::RoughRadius);
        let Some(rough) = rough else {
            return Found { labels: vec![0; self.image.levels.len()], ..Found::default() };
        };
        // the window in which a nucleus and its surroundings both have their share
        let reach = ((self.settings.local_window_radii * rough.radius / 2.0).round() as usize).clamp(4, 60);
        let components = self.components(2 * reach + 1);
        done(Step::Mask);
        let candidates = self.candidates(&with_shape(&components));
        done(Step::Candidates);
        let radius = self.typical_radius(&self.sample(&candidates)).unwrap_or(rough.radius);
        done(Step::Radius);
        let pieces = self.split(&candidates, radius.clamp(radii.min, radii.max), radii);
        done(Step::Split);
        drop(candidates);
        drop(components);
        let mut found = numbered(&pieces, self.image);
        found.n_debris = found.n_debris.max(rough.n_debris);
        done(Step::Labels);
        found
    }

    fn components(&self, window: usize) -> Components {
        Components::of(mask_runs(self.image.levels, self.image.width, MaskRule { floor: self.floor, window }))
    }

    /// The components that may be objects.
    fn candidates<'a>(&self, components: &[&'a [Run]]) -> Vec<&'a [Run]> {
        let all = components.par_iter().with_min_len(N_TOGETHER);
        let kept =
            all.map_init(Workbench::default, |bench, runs| self.is_candidate(bench, runs).then_some(*runs));
        kept.collect::<Vec<_>>().into_iter().flatten().collect()
    }

    /// About [`N_ASKED`] of the components, all where there are fewer. Which, only the levels of their pixels decide,
    /// neither their order nor where they lie.
    fn sample<'a>(&self, components: &[&'a [Run]]) -> Vec<&'a [Run]> {
        let one_of = (components.len() / N_ASKED) as u64;
        if one_of < 2 {
            return components.to_vec();
        }
        let is_asked = |runs: &&&[Run]| {
            let levels = runs.iter().flat_map(|run| self.levels_of(run));
            let sum = levels.fold(0_u64, |sum, &level| sum + u64::from(level));
            // the sum's last bits alone may be those of the sample type
            (sum.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 32).is_multiple_of(one_of)
        };
        components.par_iter().filter(is_asked).copied().collect()
    }

    fn levels_of(&self, run: &Run) -> &[u16] {
        &self.image.levels[run.row as usize * self.image.width..][run.start as usize..run.end as usize]
    }

    /// The typical radius as it looks before the window fits it; `None` where there is no nucleus.
    fn rough_radius(&self) -> Option<Rough> {
        let components = self.components(ROUGH_WINDOW_PX);
        let components = with_shape(&components);
        let radius = self.typical_radius(&self.candidates(&self.sample(&components)))?;
        Some(Rough { radius, n_debris: self.count_blobs(&components, radius) })
    }

    /// How many components hold a disc of the area of [`DEBRIS_RATIO`] nuclei. In the window that fits the nuclei such
    /// a blob is its own surroundings, and only its rim is left of it.
    fn count_blobs(&self, components: &[&[Run]], radius: f64) -> u32 {
        let squared_min = DEBRIS_RATIO * radius * radius;
        let large = components.par_iter().filter(|runs| area_of(runs) as f64 > squared_min);
        let is_blob = |bench: &mut Workbench, runs: &[Run]| {
            // the middle of a flat blob may be a hole of its component
            self.is_candidate(bench, runs) && {
                self.cut_out(bench, runs);
                bench.splitter.measure_distance(&bench.patch);
                f64::from(bench.splitter.squared_max()) >= squared_min
            }
        };
        large.map_init(Workbench::default, |bench, runs| u32::from(is_blob(bench, runs))).sum()
    }

    /// Median of the radii at which the distance to the edge peaks, each weighted by its disc's area: specks count
    /// little, and a clump counts as its nuclei.
    fn typical_radius(&self, candidates: &[&[Run]]) -> Option<f64> {
        let all = candidates.par_iter().with_min_len(N_TOGETHER);
        let maxima = all.map_init(Workbench::default, |bench, runs| {
            self.cut_out(bench, runs);
            bench.splitter.measure_distance(&bench.patch);
            bench.splitter.maxima(&bench.patch)
        });
        let mut maxima: Vec<u32> = maxima.collect::<Vec<_>>().concat();
        maxima.sort_unstable();
        let total: u64 = maxima.iter().map(|&squared| u64::from(squared)).sum();
        let mut below = 0;
        let median = maxima.iter().find(|&&squared| {
            below += u64::from(squared);
            2 * below >= total
        });
        median.map(|&squared| f64::from(squared).sqrt())
    }

    /// Whether the component may be an object at all: brighter than what surrounds it by the noise
    /// gate, and by a part of its height above the background and of the plane's contrast, so that the bright end of a
    /// slope is not an object.
    fn is_candidate(&self, bench: &mut Workbench, runs: &[Run]) -> bool {
        let Workbench { patch, edges, .. } = bench;
        patch.draw(runs, self.image.height, self.image.width);
        let contrast = edges.measure(patch, runs, self.image);
        let height = contrast.mean - self.background.level;
        let step = contrast.step.unwrap_or(height);
        step >= self.settings.noise_gate_sd * self.background.noise_sd
            && step >= CONTRAST_FRACTION_MIN * height.max(self.background.contrast())
    }

    /// Cuts a component out and fills its holes, but none larger than itself: that is a ring of nuclei.
    fn cut_out(&self, bench: &mut Workbench, runs: &[Run]) {
        bench.patch.draw(runs, self.image.height, self.image.width);
        let area = bench.patch.area;
        bench.holes.fill(&mut bench.patch, runs, area);
        bench.patch.find_spans();
    }

    fn split(&self, candidates: &[&[Run]], radius: f64, radii: RadiusRange) -> Vec<Pieces> {
        let rule = SplitRule::new(radius.max(2.0), self.settings);
        let typical = std::f64::consts::PI * radius * radius;
        let area_min = (self.settings.area_min_fraction * typical)
            .max(std::f64::consts::PI * radii.min * radii.min)
            .max(AREA_MIN_PX as f64);
        let area_max = (DEBRIS_RATIO * typical).min(std::f64::consts::PI * radii.max * radii.max);
        let chunks = candidates.par_chunks(N_TOGETHER);
        let pieces = chunks.map_init(Workbench::default, |bench, chunk| {
            let mut pieces = Pieces::default();
            for runs in chunk {
                self.cut_out(bench, runs);
                if (bench.patch.area as f64) < area_min {
                    continue;
                }
                let n = self.split_one(bench, &rule);
                pieces.take(bench, n, [area_min, area_max]);
            }
            pieces
        });
        pieces.collect()
    }

    /// Splits the component on the bench; returns how many objects there are.
    fn split_one(&self, bench: &mut Workbench, rule: &SplitRule) -> u32 {
        let rim = RimRule { background: self.background.level, fraction: self.settings.rim_fraction };
        let Workbench { patch, splitter, .. } = bench;
        splitter.measure_distance(patch);
        let n = splitter.split(patch, self.image, self.floor, rule);
        splitter.take_rims_off(n, patch, self.image, rim);
        n
    }
}

/// The components of enough pixels to have a shape.
fn with_shape(components: &Components) -> Vec<&[Run]> {
    components.par_iter().filter(|runs| area_of(runs) >= AREA_MIN_PX).collect()
}

fn area_of(runs: &[Run]) -> usize {
    runs.iter().map(|run| (run.end - run.start) as usize).sum()
}

impl Pieces {
    /// Adds those of the `n` objects on the bench whose area is in the range; larger ones are debris.
    fn take(&mut self, bench: &Workbench, n: u32, [area_min, area_max]: [f64; 2]) {
        const NONE: u32 = u32::MAX;
        const UNSEEN: u32 = u32::MAX - 1;
        let Workbench { patch, splitter, .. } = bench;
        let mut ids = vec![0_u32; n as usize + 1];
        let spans = patch.spans.iter().map(|span| span.range());
        for label in spans.clone().flat_map(|span| alike(&splitter.labels[span])) {
            ids[label[0] as usize] += label.len() as u32;
        }
        for area in &mut ids[1..] {
            let is_debris = f64::from(*area) > area_max;
            self.n_debris += u32::from(is_debris);
            *area = if f64::from(*area) >= area_min && !is_debris { UNSEEN } else { NONE };
        }
        for span in spans {
            let row = (patch.top + span.start / patch.stride - 1) as u32;
            let mut start = (patch.left + span.start % patch.stride - 1) as u32;
            for labels in alike(&splitter.labels[span]) {
                let (id, end) = (&mut ids[labels[0] as usize], start + labels.len() as u32);
                if labels[0] != 0 && *id != NONE {
                    if *id == UNSEEN {
                        *id = self.firsts.len() as u32;
                        self.firsts.push([row, start]);
                    }
                    self.runs.push((*id, Run { row, start, end }));
                }
                start = end;
            }
        }
    }
}

/// Numbers the objects in raster order of their first pixel and paints the plane.
fn numbered(pieces: &[Pieces], image: LevelImage<'_>) -> Found {
    let firsts = pieces.iter().flat_map(|pieces| &pieces.firsts);
    let mut order: Vec<([u32; 2], u32)> = firsts.copied().zip(0..).collect();
    order.sort_unstable();
    let mut ids = vec![0_u32; order.len()];
    for ((_, object), id) in order.iter().zip(1..) {
        ids[*object as usize] = id;
    }
    let mut labels = vec![0; image.levels.len()];
    let mut n_before = 0;
    for pieces in pieces {
        for (object, run) in &pieces.runs {
            let row = run.row as usize * image.width;
            labels[row + run.start as usize..row + run.end as usize].fill(ids[n_before + *object as usize]);
        }
        n_before += pieces.firsts.len();
    }
    let n_debris = pieces.iter().map(|pieces| pieces.n_debris).sum();
    Found { labels, n_objects: ids.len() as u32, n_debris }
}

//! Looks for a transform under which two fields agree: proposals from descriptions that resemble one another, each
//! followed from its six points to the whole field.

use super::agreement::{Agreement, Counter, GATES, chance_if_even};
use super::chance::log10_binomial_tail;
use super::descriptors::{Descriptor, SixPoints, mirrored};
use super::estimate::{self, PlacePair};
use super::field::Field;
use super::votes::Election;
use super::{Refusal, Settings};
use crate::geometry::Affine;

/// Fields are registered where fewer than one in a million unrelated pairs would agree as well. Measured: of 5,000
/// unrelated pairs of generated fields and 3,000 of real ones the nearest came to -0.9.
pub(super) const LOG10_CHANCE_MAX: f64 = -6.0;
/// The search ends where chance is this far away.
const LOG10_CHANCE_SURE: f64 = -16.0;
/// Descriptions of the reference that are tried for one of the moving field.
const N_RESEMBLING: usize = 3;
/// Descriptions farther apart do not resemble one another. Measured: of 179 transforms that were accepted, with noise up
/// to a fifth of the spacing, none came from descriptions more than 0.43 apart.
const DISTANCE_MAX: f32 = 0.6;
/// Descriptions of the moving field that are looked up at most: the work for large fields is bounded.
const N_LOOKED_UP_MAX: usize = 4096;
/// Descriptions looked up before the first proposals are followed; doubled from time to time.
const N_LOOKED_UP_FIRST: usize = 32;
/// The scale may be this far from the prior.
const SCALE_PRIOR_TOLERANCE: f64 = 0.1;
/// Without a prior, the fields' densities may differ by the square of this factor.
const SCALE_FACTOR_MAX: f64 = 4.0;
/// Proposals may leave bounds on scale (share) and rotation (radians) by this; the fit may not.
const BOUNDS_MARGIN: f64 = 0.05;
/// Lookups of a point and comparisons after which the search ends, and how many more per point of the moving field: some
/// tenths of a second. An ordinary refusal takes a tenth; lattices, where all proposals look well, would take hours.
const N_LOOKUPS_MAX: usize = 4_000_000;
const N_LOOKUPS_PER_POINT: usize = 100;
/// The surroundings on which a proposal first has to prove itself, in spacings of the reference, and their growth.
const RADIUS_FIRST: f64 = 2.5;
const RADIUS_GROWTH: f64 = 1.7;
/// Decimal logarithm of the chance from which on agreement of the surroundings is no reason to go on: of the first ones,
/// which may have lost many points, and of wider ones.
const LOG10_FIRST_CHANCE_MAX: f64 = -0.5;
const LOG10_LOCAL_CHANCE_MAX: f64 = -2.0;
/// Of six points those that a proposal has to bring together: two may have been displaced or merged.
const N_CLOSE_MIN: usize = 4;
/// Points around that say something about a proposal.
const N_LOCAL_MIN: usize = 5;

/// The moving field as it is, or as it looks in a mirror.
pub(super) struct View<'a> {
    field: &'a Field,
    pub(super) mirrored: bool,
    pub(super) points: Vec<[f64; 2]>,
    middle: [f64; 2],
    /// No point is farther from the middle.
    radius: f64,
}

impl<'a> View<'a> {
    pub(super) fn new(field: &'a Field, is_mirrored: bool) -> Self {
        let turn = |[x, y]: [f64; 2]| if is_mirrored { [-x, y] } else { [x, y] };
        let points: Vec<_> = field.points.iter().copied().map(turn).collect();
        let radius = (field.high[0] - field.low[0]).hypot(field.high[1] - field.low[1]) / 2.0;
        Self { field, mirrored: is_mirrored, middle: turn(field.middle()), points, radius }
    }

    /// What is described, and the description.
    fn described(&self, index: u32) -> (SixPoints, Descriptor) {
        let (six, descriptor) =
            (self.field.six_points[index as usize], self.field.descriptors[index as usize]);
        if self.mirrored { mirrored(six, &descriptor) } else { (six, descriptor) }
    }

    /// The points within a radius of a place, ascending.
    fn around(&self, [x, y]: [f64; 2], radius: f64) -> impl Iterator<Item = u32> + use<> {
        let mut around = vec![];
        self.field.places.within([if self.mirrored { -x } else { x }, y], radius, &mut around);
        around.sort_unstable_by_key(|(_, index)| *index);
        around.into_iter().map(|(_, index)| index)
    }

    pub(super) fn middle(&self) -> [f64; 2] {
        self.middle
    }
}

/// A transform that brings the fields together.
pub(super) struct Found {
    pub(super) agreement: Agreement,
    pub(super) mirrored: bool,
}

/// Two descriptions that resemble one another.
struct Resemblance {
    square: f32,
    view: usize,
    moving: u32,
    reference: u32,
}

/// Finds the transform under which the fields agree best, or the first beyond doubt.
pub(super) fn search(moving: &Field, reference: &Field, settings: &Settings) -> Result<Found, Refusal> {
    let views = [false, true].map(|is_mirrored| View::new(moving, is_mirrored));
    let n_tests = 2.0 * moving.descriptors.len() as f64 * reference.descriptors.len() as f64;
    let mut search = Search {
        reference,
        counter: Counter::new(reference),
        allowed: Allowed::new(moving, reference, settings),
        n_tests: n_tests.max(1.0),
        best: None,
    };
    let n_lookups_max = N_LOOKUPS_MAX + N_LOOKUPS_PER_POINT * moving.len();
    'proposals: for batch in batches(moving.descriptors.len()) {
        for resemblance in search.look_up(&views, &batch) {
            if search.counter.n_lookups > n_lookups_max {
                break 'proposals;
            }
            search.follow(&views[resemblance.view], &resemblance);
            if search.is_sure() {
                break 'proposals;
            }
        }
    }
    if !search.has_found()
        && let Some((scale, orientation)) = settings.scale_prior.zip(settings.orientation_prior)
    {
        let view = &views[usize::from(orientation.mirrored)];
        search.vote(view, Election::new(&view.points, reference, scale, orientation.rotation_rad));
    }
    let log10_chance = search.best.as_ref().map(|best| best.agreement.log10_chance);
    let found = if search.has_found() { search.best } else { None };
    found.ok_or(Refusal::Unrelated { log10_chance })
}

/// The order in which descriptions are looked up: strewn over the field, the same each time, in batches that double.
fn batches(n: usize) -> impl Iterator<Item = Vec<u32>> {
    let mut order: Vec<u32> = (0..n as u32).collect();
    // multiplication by an odd number permutes 32-bit numbers (Knuth's multiplicative hashing)
    order.sort_by_key(|index| index.wrapping_mul(0x9E37_79B1));
    order.truncate(N_LOOKED_UP_MAX);
    let mut n_batch = N_LOOKED_UP_FIRST;
    std::iter::from_fn(move || {
        let batch: Vec<u32> = order.drain(..n_batch.min(order.len())).collect();
        n_batch *= 2;
        (!batch.is_empty()).then_some(batch)
    })
}

/// Which transforms are looked for at all.
struct Allowed {
    scale: [f64; 2],
    /// Rotations, from the first counterclockwise to the second.
    rotation_rad: Option<[f64; 2]>,
}

impl Allowed {
    fn new(moving: &Field, reference: &Field, settings: &Settings) -> Self {
        let bounds = &settings.fit.bounds;
        let scale = match (bounds.scale, settings.scale_prior) {
            (Some([low, high]), _) => [low * (1.0 - BOUNDS_MARGIN), high * (1.0 + BOUNDS_MARGIN)],
            (None, Some(prior)) => {
                [1.0 - SCALE_PRIOR_TOLERANCE, 1.0 + SCALE_PRIOR_TOLERANCE].map(|f| f * prior)
            }
            (None, None) => {
                let nominal = reference.spacing / moving.spacing;
                [nominal / SCALE_FACTOR_MAX, nominal * SCALE_FACTOR_MAX]
            }
        };
        let rotation_rad = bounds.theta_rad.map(|[low, high]| [low - BOUNDS_MARGIN, high + BOUNDS_MARGIN]);
        Self { scale, rotation_rad }
    }

    /// Of a similarity without a mirror.
    fn allows(&self, map: &Affine) -> bool {
        let [[cos, _], [sin, _]] = map.linear();
        let scale = cos.hypot(sin);
        let turn =
            |[low, high]: [f64; 2]| (sin.atan2(cos) - low).rem_euclid(std::f64::consts::TAU) <= high - low;
        scale >= self.scale[0] && scale <= self.scale[1] && self.rotation_rad.is_none_or(turn)
    }
}

struct Search<'a> {
    reference: &'a Field,
    counter: Counter<'a>,
    allowed: Allowed,
    /// How many transforms may be tried.
    n_tests: f64,
    best: Option<Found>,
}

impl Search<'_> {
    fn has_found(&self) -> bool {
        self.best.as_ref().is_some_and(|best| best.agreement.log10_chance <= LOG10_CHANCE_MAX)
    }

    fn is_sure(&self) -> bool {
        self.best.as_ref().is_some_and(|best| best.agreement.log10_chance <= LOG10_CHANCE_SURE)
    }

    /// What resembles the descriptions of a batch, the most similar first.
    fn look_up(&self, views: &[View<'_>; 2], batch: &[u32]) -> Vec<Resemblance> {
        let mut found = vec![];
        for (view, seen) in views.iter().enumerate() {
            for &moving in batch {
                let (_, descriptor) = seen.described(moving);
                let nearest =
                    self.reference.descriptor_tree.nearest::<N_RESEMBLING>(&descriptor, DISTANCE_MAX);
                let resembling = nearest.into_iter().flatten();
                found.extend(resembling.map(|(square, reference)| Resemblance {
                    square,
                    view,
                    moving,
                    reference,
                }));
            }
        }
        let key = |it: &Resemblance| (it.view, it.moving, it.reference);
        found.sort_by(|left, right| {
            left.square.total_cmp(&right.square).then_with(|| key(left).cmp(&key(right)))
        });
        found
    }

    /// Follows a proposal from its six points outwards.
    fn follow(&mut self, view: &View<'_>, resemblance: &Resemblance) {
        let (six, _) = view.described(resemblance.moving);
        let six_reference = self.reference.six_points[resemblance.reference as usize];
        let Some(map) = self.propose(view, six, six_reference) else { return };
        let [a, b, c] = [0, 1, 2].map(|corner| view.points[six[corner] as usize]);
        let centre = [0, 1].map(|axis| (a[axis] + b[axis] + c[axis]) / 3.0);
        let radius = RADIUS_FIRST * self.reference.spacing / map.determinant().sqrt();
        if let Some(agreement) = self.grow(view, map, (centre, radius), &six) {
            self.keep(view, agreement);
        }
    }

    /// Follows the transforms for which most points vote, from their stretch outwards.
    fn vote(&mut self, view: &View<'_>, mut election: Election<'_>) {
        let stretches = election.stretches();
        self.n_tests += election.n_tests(&stretches);
        for stretch in stretches {
            for candidate in election.candidates(&stretch) {
                let circle = (candidate.centre, candidate.radius);
                if let Some(agreement) = self.grow(view, candidate.map, circle, &[]) {
                    self.keep(view, agreement);
                }
                if self.is_sure() {
                    return;
                }
            }
        }
    }

    /// Keeps an agreement where it is the best so far.
    fn keep(&mut self, view: &View<'_>, agreement: Agreement) {
        let is_better = |best: &Found| agreement.log10_chance < best.agreement.log10_chance;
        if self.best.as_ref().is_none_or(is_better) {
            self.best = Some(Found { agreement, mirrored: view.mirrored });
        }
    }

    /// Follows a transform from a circle of the view to the whole; `None` where the surroundings do not bear it out.
    /// The points `own`, which it was made of, bear out nothing.
    fn grow(
        &mut self,
        view: &View<'_>,
        mut map: Affine,
        (centre, mut radius): ([f64; 2], f64),
        own: &[u32],
    ) -> Option<Agreement> {
        let reach = view.radius + (centre[0] - view.middle[0]).hypot(centre[1] - view.middle[1]);
        let gate = GATES[0] * self.reference.spacing;
        let mut log10_chance_max = LOG10_FIRST_CHANCE_MAX;
        while radius < reach {
            let meetings = self.counter.meetings(view, view.around(centre, radius), &map, gate);
            let n_own = meetings.pairs.iter().filter(|(moving, _)| own.contains(moving)).count();
            let n_others = meetings.n_inside.saturating_sub(own.len());
            let n_met = meetings.pairs.len() - n_own;
            if n_others >= N_LOCAL_MIN
                && log10_binomial_tail(n_met, n_others, chance_if_even(GATES[0])) > log10_chance_max
            {
                return None;
            }
            map = self.counter.similarity(view, &meetings.pairs).filter(|map| self.allowed.allows(map))?;
            radius *= RADIUS_GROWTH;
            log10_chance_max = LOG10_LOCAL_CHANCE_MAX;
        }
        self.counter
            .judge(view, map, self.n_tests.log10())
            .filter(|agreement| self.allowed.allows(&agreement.reference_from_view))
    }

    /// The similarity that takes six points to six others, where most of them come close.
    fn propose(&self, view: &View<'_>, moving: SixPoints, reference: SixPoints) -> Option<Affine> {
        let pairs: [PlacePair; 6] = std::array::from_fn(|i| {
            (view.points[moving[i] as usize], self.reference.points[reference[i] as usize])
        });
        let map = estimate::similarity(&pairs).filter(|map| self.allowed.allows(map))?;
        let gate = GATES[0] * self.reference.spacing;
        let is_close = |(from, to): &PlacePair| {
            let [x, y] = map.apply(*from);
            (x - to[0]).powi(2) + (y - to[1]).powi(2) <= gate * gate
        };
        (pairs.iter().filter(|pair| is_close(pair)).count() >= N_CLOSE_MIN).then_some(map)
    }
}

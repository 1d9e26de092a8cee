//! Is a field where it is expected? Scale and rotation are known and the shift nearly: so few transforms are possible
//! that a handful of nuclei tells the right one from chance.
//!
//! Each of some moving points is laid upon each reference point near its expected place; how many of the others then
//! meet one, counted as in `agreement`, decides.

use super::agreement::{Agreement, Counter, GATES, Meetings, chance_if_even};
use super::chance::log10_binomial_tail;
use super::field::Field;
use super::search::{Found, LOG10_CHANCE_MAX, View};
use super::{Expected, Refusal};
use crate::geometry::Affine;

/// Moving points that are laid upon reference points, at most.
const N_SEEDS_MAX: usize = 64;
/// Reference points that one of them is laid upon, at most: the nearest to its expected place.
const N_TARGETS_MAX: usize = 64;
/// The points that lie on one another whatever the fields: the one that made the transform.
const N_FREE: usize = 1;
/// Points whose chance meetings are counted, about, to measure how likely they are; and shifts for that.
const N_MEASURED: usize = 400;
const N_SHIFTS_BOUNDS: [usize; 2] = [8, 48];
/// Places of the reference may be this much denser than its spacing says.
const DENSITY_MAX: f64 = 2.0;

/// Finds the shift near the expected one under which the fields agree best.
pub(super) fn search_near(moving: &Field, reference: &Field, expected: &Expected) -> Result<Found, Refusal> {
    let map = expected.reference_from_moving;
    let mirrored = map.determinant() < 0.0;
    let view = View::new(moving, mirrored);
    // the map of the view as it looks in the mirror
    let [[a, b], [c, d]] = map.linear();
    let map = if mirrored { Affine::from_parts([[-a, b], [-c, d]], map.translation()) } else { map };
    let refusal = |log10_chance| Refusal::Unrelated { log10_chance };
    if reference.spacing <= 0.0 {
        return Err(refusal(None));
    }
    let mut near = Near { view, reference, counter: Counter::new(reference) };
    let seeds = near.seeds(&map, expected.radius_px);
    let in_spacings = expected.radius_px / reference.spacing;
    let n_targets = 1.0 + DENSITY_MAX * std::f64::consts::PI * in_spacings * in_spacings;
    let n_expected = seeds.len() as f64 * n_targets;
    let (mut n_tried, mut best): (usize, Option<Judged>) = (0, None);
    for seed in seeds {
        for target in near.targets(seed, &map, expected.radius_px) {
            n_tried += 1;
            let Some(judged) = near.judge(near.shifted(&map, seed, target)) else { continue };
            if best.as_ref().is_none_or(|best| judged.log10_tail < best.log10_tail) {
                best = Some(judged);
            }
        }
    }
    let Some(judged) = best else { return Err(refusal(None)) };
    // by the area, so that a place that is known a little better changes nothing
    let log10_tests = (n_expected.max(n_tried as f64) * GATES.len() as f64).log10();
    let log10_chance = log10_tests + near.log10_tail_as_measured(&judged);
    if log10_chance > LOG10_CHANCE_MAX {
        return Err(refusal(Some(log10_chance)));
    }
    let agreement = Agreement { reference_from_view: judged.map, log10_chance };
    Ok(Found { agreement, mirrored })
}

struct Near<'a> {
    view: View<'a>,
    reference: &'a Field,
    counter: Counter<'a>,
}

/// A transform, at the gate that tells most.
struct Judged {
    map: Affine,
    share: f64,
    meetings: Meetings,
    log10_tail: f64,
}

impl Near<'_> {
    /// The points that are tried: strewn over the field, the same each time, where a partner may lie in the reference.
    fn seeds(&self, map: &Affine, radius: f64) -> Vec<u32> {
        let mut order: Vec<u32> = (0..self.view.points.len() as u32).collect();
        // multiplication by an odd number permutes 32-bit numbers
        order.sort_by_key(|index| index.wrapping_mul(0x9E37_79B1));
        let may_have_one =
            |index: &u32| self.reference.covers(map.apply(self.view.points[*index as usize]), radius);
        order.into_iter().filter(may_have_one).take(N_SEEDS_MAX).collect()
    }

    fn targets(&self, seed: u32, map: &Affine, radius: f64) -> Vec<u32> {
        let mut found = vec![];
        self.reference.places.within(map.apply(self.view.points[seed as usize]), radius, &mut found);
        found.sort_by(|left, right| left.0.total_cmp(&right.0).then(left.1.cmp(&right.1)));
        found.into_iter().take(N_TARGETS_MAX).map(|(_, index)| index).collect()
    }

    fn shifted(&self, map: &Affine, seed: u32, target: u32) -> Affine {
        let [x, y] = map.apply(self.view.points[seed as usize]);
        let [to_x, to_y] = self.reference.points[target as usize];
        moved(map, [to_x - x, to_y - y])
    }

    /// At each gate after a shift to the middle of what meets there; the gate that tells most.
    fn judge(&mut self, mut map: Affine) -> Option<Judged> {
        let mut best: Option<Judged> = None;
        for share in GATES {
            let gate = share * self.reference.spacing;
            let before = self.meetings(&map, gate);
            if before.pairs.len() <= N_FREE {
                break;
            }
            map = self.centred(&map, &before.pairs);
            let meetings = self.meetings(&map, gate);
            let log10_tail = log10_tail(&meetings, chance_if_even(share));
            if best.as_ref().is_none_or(|best| log10_tail < best.log10_tail) {
                best = Some(Judged { map, share, meetings, log10_tail });
            }
        }
        best
    }

    fn meetings(&mut self, map: &Affine, gate: f64) -> Meetings {
        self.counter.meetings(&self.view, 0..self.view.points.len() as u32, map, gate)
    }

    /// The map with the shift under which pairs are nearest.
    fn centred(&self, map: &Affine, pairs: &[(u32, u32)]) -> Affine {
        let n = pairs.len() as f64;
        let sum = pairs.iter().fold([0.0; 2], |sum, &(moving, met)| {
            let (place, to) =
                (map.apply(self.view.points[moving as usize]), self.reference.points[met as usize]);
            [0, 1].map(|axis| sum[axis] + to[axis] - place[axis])
        });
        moved(map, sum.map(|value| value / n))
    }

    /// The chance with the share of points that meet another one after shifts from one reference point to others near by:
    /// above that of evenly strewn points where nuclei crowd, near 1 in a lattice. What such a shift brings upon its own
    /// target does not count: with few points that would be much.
    fn log10_tail_as_measured(&mut self, judged: &Judged) -> f64 {
        let spacing = self.reference.spacing;
        let middle = judged.map.apply(self.view.middle());
        let places = &self.reference.places;
        let Some(&(_, start)) = places.nearest(middle, 1).first() else { return 0.0 };
        let [x, y] = self.reference.points[start as usize];
        let [least, most] = N_SHIFTS_BOUNDS;
        let n_shifts = N_MEASURED.div_ceil(judged.meetings.n_inside.max(1)).clamp(least, most);
        let around = places.nearest([x, y], 3 * n_shifts);
        let far = around.into_iter().filter(|(square, _)| square.sqrt() >= 0.75 * spacing);
        let targets: Vec<u32> = far.take(n_shifts).map(|(_, index)| index).collect();
        let [mut n_met, mut n_inside] = [0, 0];
        for target in targets {
            let [to_x, to_y] = self.reference.points[target as usize];
            let shifted = moved(&judged.map, [to_x - x, to_y - y]);
            let meetings = self.meetings(&shifted, judged.share * spacing);
            let n_own = meetings.pairs.iter().filter(|(_, met)| *met == target).count();
            n_met += meetings.pairs.len() - n_own;
            n_inside += meetings.n_inside - n_own;
        }
        let measured = n_met as f64 / (n_inside as f64).max(1.0);
        log10_tail(&judged.meetings, measured.max(chance_if_even(judged.share)))
    }
}

fn moved(map: &Affine, [x, y]: [f64; 2]) -> Affine {
    let mut moved = *map;
    moved.rows[0][2] += x;
    moved.rows[1][2] += y;
    moved
}

fn log10_tail(meetings: &Meetings, chance: f64) -> f64 {
    let trials = |n: usize| n.saturating_sub(N_FREE);
    log10_binomial_tail(trials(meetings.pairs.len()), trials(meetings.n_inside), chance)
}

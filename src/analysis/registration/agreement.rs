//! Do two fields agree under a transform better than chance would make them?
//!
//! The a-contrario test of Moisan and Stival 2004 and its use for point sets: were the fields unrelated, each point
//! would meet one of the other field with a probability that depends on the gate alone. The number of meetings is
//! compared with that, and with how many transforms are tried.

use super::chance::log10_binomial_tail;
use super::estimate::{self, PlacePair};
use super::field::Field;
use super::search::View;
use crate::geometry::Affine;

/// How far apart points may be that meet, as shares of the reference's spacing; the one that tells most counts.
pub(super) const GATES: [f64; 4] = [0.25, 0.12, 0.06, 0.03];
/// The points that a similarity takes to lie on one another whatever the fields.
const N_FREE: usize = 2;
/// Shifts by which the probability of a chance meeting is measured.
const N_SHIFTS: usize = 8;

/// How far the best transform brings two fields together.
#[derive(Debug, Clone, Copy)]
pub(super) struct Agreement {
    /// Takes places of the view to the reference.
    pub(super) reference_from_view: Affine,
    /// Decimal logarithm of how many of all transforms would do as well by chance.
    pub(super) log10_chance: f64,
}

/// Points of a view inside the reference's box, and those that meet a point of the reference.
pub(super) struct Meetings {
    pub(super) n_inside: usize,
    /// `(view, reference)`; no reference point twice.
    pub(super) pairs: Vec<(u32, u32)>,
}

/// Counts meetings; remembers which reference points have been met.
pub(super) struct Counter<'a> {
    reference: &'a Field,
    /// The round in which a reference point was last met.
    met: Vec<u32>,
    round: u32,
    /// Points that were looked for in the reference, and those they were compared with: the work so far, roughly.
    pub(super) n_lookups: usize,
}

impl<'a> Counter<'a> {
    pub(super) fn new(reference: &'a Field) -> Self {
        Self { reference, met: vec![0; reference.len()], round: 0, n_lookups: 0 }
    }

    /// Which of some points of a view meet one of the reference within `gate` px.
    pub(super) fn meetings(
        &mut self,
        view: &View<'_>,
        points: impl Iterator<Item = u32>,
        map: &Affine,
        gate: f64,
    ) -> Meetings {
        self.round += 1;
        let mut meetings = Meetings { n_inside: 0, pairs: vec![] };
        for index in points {
            let place = map.apply(view.points[index as usize]);
            if !self.reference.covers(place, gate) {
                continue;
            }
            meetings.n_inside += 1;
            let (nearest, n_compared) = self.reference.places.nearest_one_counted(place, gate);
            self.n_lookups += 1 + n_compared;
            if let Some((_, met)) = nearest
                && std::mem::replace(&mut self.met[met as usize], self.round) != self.round
            {
                meetings.pairs.push((index, met));
            }
        }
        meetings
    }

    /// The similarity that brings points that met together.
    pub(super) fn similarity(&self, view: &View<'_>, pairs: &[(u32, u32)]) -> Option<Affine> {
        let place_pair = |&(moving, met): &(u32, u32)| -> PlacePair {
            (view.points[moving as usize], self.reference.points[met as usize])
        };
        estimate::similarity(&pairs.iter().map(place_pair).collect::<Vec<_>>())
    }

    /// Judges a transform over the whole field, at each gate after a fit to what meets there. `log10_tests` stands
    /// for the number of transforms that may be tried.
    pub(super) fn judge(&mut self, view: &View<'_>, map: Affine, log10_tests: f64) -> Option<Agreement> {
        let all = || 0..view.points.len() as u32;
        let log10_tests = log10_tests + (GATES.len() as f64).log10();
        let mut judged: Vec<(Agreement, Meetings, f64)> = vec![];
        let mut reference_from_view = map;
        for share in GATES {
            let gate = share * self.reference.spacing;
            let before = self.meetings(view, all(), &reference_from_view, gate);
            let Some(fitted) = self.similarity(view, &before.pairs) else { break };
            let meetings = self.meetings(view, all(), &fitted, gate);
            reference_from_view = fitted;
            let log10_chance = log10_tests + log10_tail(&meetings, chance_if_even(share));
            judged.push((Agreement { reference_from_view, log10_chance }, meetings, share));
        }
        let (mut best, meetings, share) =
            judged.into_iter().min_by(|left, right| left.0.log10_chance.total_cmp(&right.0.log10_chance))?;
        let measured =
            self.chance_as_measured(view, &best.reference_from_view, share * self.reference.spacing);
        best.log10_chance = log10_tests + log10_tail(&meetings, measured.max(chance_if_even(share)));
        Some(best)
    }

    /// The share of points that meet some other point after a shift to a neighbour's place. It is above that of
    /// evenly strewn points where nuclei crowd, and near 1 in a lattice, whose every shift is as good.
    fn chance_as_measured(&mut self, view: &View<'_>, map: &Affine, gate: f64) -> f64 {
        let spacing = self.reference.spacing;
        let middle = map.apply(view.middle());
        let Some(&(_, start)) = self.reference.places.nearest(middle, 1).first() else { return 1.0 };
        let [x, y] = self.reference.points[start as usize];
        let around = self.reference.places.nearest([x, y], 3 * N_SHIFTS);
        let far = around.into_iter().filter(|(square, _)| square.sqrt() >= 0.75 * spacing);
        let shifts: Vec<_> =
            far.take(N_SHIFTS).map(|(_, index)| self.reference.points[index as usize]).collect();
        let [mut n_met, mut n_inside] = [0, 0];
        for [to_x, to_y] in shifts {
            let mut shifted = *map;
            shifted.rows[0][2] += to_x - x;
            shifted.rows[1][2] += to_y - y;
            let meetings = self.meetings(view, 0..view.points.len() as u32, &shifted, gate);
            n_met += meetings.pairs.len();
            n_inside += meetings.n_inside;
        }
        n_met as f64 / (n_inside as f64).max(1.0)
    }
}

/// The probability that a place has a point within `share` of the spacing, were points strewn evenly (Poisson).
pub(super) fn chance_if_even(share: f64) -> f64 {
    -(-std::f64::consts::PI * share * share).exp_m1()
}

fn log10_tail(meetings: &Meetings, chance: f64) -> f64 {
    let trials = |n: usize| n.saturating_sub(N_FREE);
    log10_binomial_tail(trials(meetings.pairs.len()), trials(meetings.n_inside), chance)
}

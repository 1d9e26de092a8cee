//! From a transform that brings two fields together to the pairs that are the same nucleus.

use super::estimate::{self, PlacePair};
use super::field::Field;
use super::search::Found;
use super::{FitSettings, Model, simplest_model, widest_model};
use crate::geometry::Affine;

/// Rounds of pairing and fitting at most; a handful is usual.
const N_ROUNDS_MAX: usize = 30;
/// No nucleus is looked for beyond this share of the reference's spacing.
const REACH: f64 = 0.5;
/// Rounds of the estimate of the noise at most.
const N_NOISE_ROUNDS: usize = 60;
/// The gate stays between so many standard deviations of the noise.
const GATE_SIGMAS: [f64; 2] = [2.5, 4.0];

/// Nearest to one another: positions in both fields, and the squared distance in reference px.
type MutualPair = (u32, u32, f64);

/// Which points are the same nucleus.
pub(super) struct Pairing {
    /// Under which the pairs were found.
    pub(super) model: Model,
    /// By least squares over the pairs.
    pub(super) reference_from_moving: Affine,
    /// Indices in both fields, in the moving field's order.
    pairs: Vec<(u32, u32)>,
}

impl Pairing {
    /// The places that are to come together.
    pub(super) fn places(&self, moving: &Field, reference: &Field) -> Vec<PlacePair> {
        self.pairs.iter().map(|&(m, r)| (moving.points[m as usize], reference.points[r as usize])).collect()
    }

    /// The positions of the pairs among the points that the fields were made of, ascending.
    pub(super) fn positions(&self, moving: &Field, reference: &Field) -> Vec<(usize, usize)> {
        let given = |&(m, r): &(u32, u32)| (moving.positions[m as usize], reference.positions[r as usize]);
        let mut positions: Vec<_> = self.pairs.iter().map(given).collect();
        positions.sort_unstable();
        positions
    }
}

/// Pairs points under the widest model that the settings allow, lets these pairs choose the model, and pairs anew under
/// that.
pub(super) fn refine_chosen(
    moving: &Field,
    reference: &Field,
    found: &Found,
    settings: &FitSettings,
) -> Pairing {
    let widest = widest_model(&settings.bounds);
    let wide = refine(moving, reference, found, widest);
    let (from, to): (Vec<_>, Vec<_>) = wide.places(moving, reference).into_iter().unzip();
    let model = simplest_model(&from, &to, found.mirrored, widest);
    if model == widest { wide } else { refine(moving, reference, found, model) }
}

/// Pairs points that are nearest to one another, within a gate that follows the noise, and fits the model to them,
/// until nothing changes.
pub(super) fn refine(moving: &Field, reference: &Field, found: &Found, model: Model) -> Pairing {
    let flip = Affine::from_parts([[if found.mirrored { -1.0 } else { 1.0 }, 0.0], [0.0, 1.0]], [0.0; 2]);
    let reference_from_moving = found.agreement.reference_from_view.after(&flip);
    let mut pairing = Pairing { model, reference_from_moving, pairs: vec![] };
    for _ in 0..N_ROUNDS_MAX {
        let Some(mutual) = mutual_pairs(moving, reference, &pairing.reference_from_moving) else { break };
        let gate_square = gate_square(&mutual, REACH * reference.spacing);
        let within = mutual.iter().filter(|pair| pair.2 <= gate_square).map(|&(m, r, _)| (m, r)).collect();
        let before = std::mem::replace(&mut pairing.pairs, within);
        if before == pairing.pairs {
            break;
        }
        let places = pairing.places(moving, reference);
        let Some(fitted) = fit(model, &places, &flip) else { break };
        pairing.reference_from_moving = fitted;
    }
    pairing
}

/// The map of the model, or of a wider one that is computed directly, by least squares.
fn fit(model: Model, places: &[PlacePair], flip: &Affine) -> Option<Affine> {
    let seen: Vec<PlacePair> = places.iter().map(|&(from, to)| (flip.apply(from), to)).collect();
    let map = match model {
        Model::Similarity => estimate::similarity(&seen),
        Model::Anisotropic | Model::Affine => estimate::affine(&seen),
    };
    map.map(|map| map.after(flip))
}

/// Points of which each is the other's nearest, in the order of the moving field.
fn mutual_pairs(moving: &Field, reference: &Field, map: &Affine) -> Option<Vec<MutualPair>> {
    let back = map.inverse()?;
    let reach = REACH * reference.spacing;
    let pair = |(index, point): (u32, &[f64; 2])| {
        let (square, nearest) = reference.places.nearest_one(map.apply(*point), reach)?;
        let seen_back = back.apply(reference.points[nearest as usize]);
        let [x, y] = [0, 1].map(|axis| seen_back[axis] - point[axis]);
        // a little farther, so that rounding does not lose the point itself
        let (_, nearest_back) =
            moving.places.nearest_one(seen_back, 1.001 * x.hypot(y) + f64::MIN_POSITIVE)?;
        (nearest_back == index).then_some((index, nearest, square))
    };
    Some((0..).zip(&moving.points).filter_map(pair).collect())
}

/// The squared distance up to which a pair is rather the same nucleus than an accident.
///
/// True pairs are a normal distribution apart in x and y, so that the square of their distance falls off
/// exponentially; accidental ones are strewn evenly, so that theirs is as likely anywhere up to the reach. The share
/// and the spread follow by expectation and maximisation (Dempster, Laird and Rubin 1977).
fn gate_square(pairs: &[MutualPair], reach: f64) -> f64 {
    let n = pairs.len() as f64;
    let whole = reach * reach;
    let mut squares: Vec<f64> = pairs.iter().map(|pair| pair.2).collect();
    squares.sort_unstable_by(f64::total_cmp);
    let Some(&median) = squares.get(squares.len() / 2) else { return whole };
    // 2 sigma^2, the mean square of true pairs; the median of an exponential is ln 2 of its mean
    let floor = 1e-18 * whole;
    let (mut mean, mut share) = ((median / std::f64::consts::LN_2).clamp(floor, whole), 0.8);
    for _ in 0..N_NOISE_ROUNDS {
        let [mut weight, mut weighted] = [0.0; 2];
        for square in &squares {
            let same = share * (-square / mean).exp() / mean;
            let belief = same / (same + (1.0 - share) / whole);
            weight += belief;
            weighted += belief * square;
        }
        let next = (weighted / f64::max(weight, 1e-9)).clamp(floor, whole);
        share = (weight / n).clamp(0.05, 0.999);
        let has_settled = (next - mean).abs() <= 1e-6 * mean;
        mean = next;
        if has_settled {
            break;
        }
    }
    let even_odds = mean * (share * whole / ((1.0 - share) * mean)).ln();
    let [least, most] = GATE_SIGMAS.map(|sigmas| sigmas * sigmas * mean / 2.0);
    even_odds.clamp(least, most).min(whole)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::analysis::synthesis::Random;

    #[test]
    fn the_gate_follows_the_noise_and_not_the_accidents() {
        let mut random = Random::new(1);
        for sigma in [0.1, 0.5, 1.5] {
            for n_accidents in [0, 100, 300] {
                let mut pairs: Vec<MutualPair> = vec![];
                for _ in 0..500 {
                    let [x, y] = [(); 2].map(|()| sigma * random.normal());
                    pairs.push((0, 0, x * x + y * y));
                }
                pairs.extend((0..n_accidents).map(|_| (0, 0, 100.0 * random.uniform())));
                let gate = gate_square(&pairs, 10.0).sqrt();
                assert!((2.3..4.4).contains(&(gate / sigma)), "{sigma} {n_accidents}: {gate}");
            }
        }
    }

    #[test]
    fn pairs_without_noise_stay_pairs() {
        let gate = gate_square(&[(0, 0, 0.0), (1, 1, 0.0), (2, 2, 1e-30)], 5.0);
        assert!((1e-30..1e-6).contains(&gate), "{gate}");
        assert_eq!(gate_square(&[], 5.0), 25.0);
    }
}

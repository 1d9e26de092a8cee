//! Two views of the same nuclei as two objectives would show them, with everything that goes wrong on the way.

use crate::analysis::synthesis::Random;
use crate::geometry::Affine;

/// Side of a camera in px.
pub const CAMERA_PX: f64 = 2048.0;
/// Reference px per moving px, nominally: 0.1625 um by 0.65 um.
pub const NOMINAL_SCALE: f64 = 0.25;
/// Nuclei closer than this in reference px may be merged there (9 um).
const MERGED_WITHIN_PX: f64 = 14.0;

/// What is seen, and how badly.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Scene {
    /// Nuclei in the reference image.
    pub n: usize,
    /// Rotation of the moving camera.
    pub theta_deg: f64,
    /// Whether it sees the mirror image.
    pub mirrored: bool,
    /// Standard deviation of a centroid per axis in its own px: reference, moving.
    pub noise_px: [f64; 2],
    /// Share of nuclei not seen, in both views.
    pub missed: f64,
    /// Share of false ones, in both views.
    pub spurious: f64,
    /// Share of close neighbours merged into one in the reference.
    pub merged: f64,
    /// Share of the moving field inside the reference; 0: fields of different wells; below 0: a neighbouring field of
    /// the same well, so many of its sides away from the reference, at most 1.
    pub overlap: f64,
    /// Another seed gives other nuclei, another place and other faults.
    pub seed: u64,
}

impl Default for Scene {
    fn default() -> Self {
        Self {
            n: 2500,
            theta_deg: 1.0,
            mirrored: false,
            noise_px: [0.5, 1.0],
            missed: 0.1,
            spurious: 0.1,
            merged: 0.5,
            overlap: 1.0,
            seed: 1,
        }
    }
}

/// What both cameras saw, and the truth.
pub struct Views {
    /// Centroids in px of the moving camera.
    pub moving: Vec<[f64; 2]>,
    /// Centroids in px of the reference camera.
    pub reference: Vec<[f64; 2]>,
    /// The true transform; of unrelated fields the one that they would have.
    pub reference_from_moving: Affine,
    /// Positions of what is the same nucleus.
    pub pairs: Vec<(usize, usize)>,
}

/// A centroid and the nucleus it belongs to, if any.
type Seen = ([f64; 2], Option<usize>);

impl Scene {
    /// Draws the nuclei and what both cameras see of them.
    pub fn views(&self) -> Views {
        let mut random = Random::new(self.seed);
        let side = CAMERA_PX * NOMINAL_SCALE;
        let gap = side * (-self.overlap).clamp(0.0, 1.0);
        let around = side + gap;
        let world = nuclei(self.n, around, &mut random);
        let other = if self.overlap == 0.0 { nuclei(self.n, around, &mut random) } else { vec![] };
        let scale = NOMINAL_SCALE * (1.0 + 0.02 * (random.uniform() - 0.5));
        let margin = 0.75 * side;
        let inside = |random: &mut Random| margin + random.uniform() * (CAMERA_PX - 2.0 * margin);
        // the field hangs over the reference's right side by what does not overlap
        let across = if self.overlap < 0.0 {
            CAMERA_PX + gap + 0.5 * side
        } else if self.overlap < 1.0 {
            CAMERA_PX - (self.overlap - 0.5) * side
        } else {
            inside(&mut random)
        };
        let centre = [across, inside(&mut random)];
        let turn = Affine::similarity(scale, self.theta_deg.to_radians(), self.mirrored, [0.0; 2]);
        let [x, y] = turn.apply([CAMERA_PX / 2.0; 2]);
        let mut reference_from_moving = turn;
        reference_from_moving.rows[0][2] = centre[0] - x;
        reference_from_moving.rows[1][2] = centre[1] - y;
        let back = reference_from_moving.inverse().expect("a similarity has an inverse");
        let of_moving = if self.overlap == 0.0 { &other } else { &world };
        let in_camera = |place: &[f64; 2]| place.iter().all(|value| (0.0..CAMERA_PX).contains(value));
        let view = |nuclei: &[[f64; 2]], map: &Affine| -> Vec<Seen> {
            let all = nuclei.iter().zip(0..).map(|(place, index)| (map.apply(*place), Some(index)));
            all.filter(|(place, _)| in_camera(place)).collect()
        };
        let mut reference = view(&world, &Affine::IDENTITY);
        let mut moving = view(of_moving, &back);
        self.merge(&mut reference, &mut random);
        self.degrade(&mut reference, self.noise_px[0], &mut random);
        self.degrade(&mut moving, self.noise_px[1], &mut random);
        let pairs = if self.overlap > 0.0 { pairs(&moving, &reference) } else { vec![] };
        let places = |seen: Vec<Seen>| seen.into_iter().map(|(place, _)| place).collect();
        Views { moving: places(moving), reference: places(reference), reference_from_moving, pairs }
    }

    /// Some close neighbours become one in between; both are lost to the truth.
    fn merge(&self, seen: &mut Vec<Seen>, random: &mut Random) {
        seen.sort_by(|left, right| left.0[0].total_cmp(&right.0[0]));
        let mut gone = vec![false; seen.len()];
        for first in 0..seen.len() {
            for second in first + 1..seen.len() {
                let [[ax, ay], [bx, by]] = [seen[first].0, seen[second].0];
                if bx - ax > MERGED_WITHIN_PX {
                    break;
                }
                let are_close = (bx - ax).hypot(by - ay) < MERGED_WITHIN_PX;
                if are_close && !gone[first] && !gone[second] && random.uniform() < self.merged {
                    seen[first] = ([ax.midpoint(bx), ay.midpoint(by)], None);
                    gone[second] = true;
                }
            }
        }
        let mut gone = gone.into_iter();
        seen.retain(|_| gone.next() == Some(false));
    }

    /// Misses some, displaces all, adds false ones, and shuffles.
    fn degrade(&self, seen: &mut Vec<Seen>, noise_px: f64, random: &mut Random) {
        seen.retain(|_| random.uniform() >= self.missed);
        for (place, _) in seen.iter_mut() {
            *place = place.map(|value| value + noise_px * random.normal());
        }
        for _ in 0..(self.spurious * seen.len() as f64).round() as usize {
            seen.push(([random.uniform() * CAMERA_PX, random.uniform() * CAMERA_PX], None));
        }
        shuffle(seen, random);
    }
}

/// Fisher and Yates.
pub fn shuffle<T>(items: &mut [T], random: &mut Random) {
    for last in (1..items.len()).rev() {
        items.swap(last, (random.uniform() * (last + 1) as f64) as usize);
    }
}

/// How near to those before it a nucleus may come, in units of the mean spacing: each has a distance of its own, anywhere
/// between these, as nuclei differ in size and some touch.
const KEEPS: [f64; 2] = [0.1, 0.9];

/// Nuclei in and around the reference image that keep a distance: two in five near one of few centres (Thomas
/// process), the others anywhere.
fn nuclei(n: usize, around: f64, random: &mut Random) -> Vec<[f64; 2]> {
    let side = CAMERA_PX + 2.0 * around;
    let n = (n as f64 * (side / CAMERA_PX).powi(2)) as usize;
    let spacing = side / (n as f64).sqrt();
    let reach = KEEPS[1] * spacing;
    let centres: Vec<_> =
        (0..(n / 40).max(3)).map(|_| [random.uniform() * side, random.uniform() * side]).collect();
    let cell = |place: &[f64; 2]| place.map(|value| (value / reach) as i64);
    let mut taken = std::collections::HashMap::<[i64; 2], Vec<[f64; 2]>>::new();
    let mut placed = vec![];
    for _ in 0..60 * n {
        if placed.len() == n {
            break;
        }
        let place = if random.uniform() < 0.4 {
            let [x, y] = centres[(random.uniform() * centres.len() as f64) as usize];
            [x + 90.0 * random.normal(), y + 90.0 * random.normal()]
        } else {
            [random.uniform() * side, random.uniform() * side]
        };
        let [column, row] = cell(&place);
        let distance = spacing * random.between(KEEPS[0], KEEPS[1]);
        let near = (-1..=1).flat_map(|i| (-1..=1).map(move |j| [column + i, row + j]));
        let is_free = near
            .filter_map(|cell| taken.get(&cell))
            .flatten()
            .all(|[x, y]| (place[0] - x).hypot(place[1] - y) >= distance);
        if is_free && place.iter().all(|value| (0.0..side).contains(value)) {
            taken.entry([column, row]).or_default().push(place);
            placed.push(place);
        }
    }
    placed.into_iter().map(|place| place.map(|value| value - around)).collect()
}

fn pairs(moving: &[Seen], reference: &[Seen]) -> Vec<(usize, usize)> {
    let of: std::collections::HashMap<usize, usize> =
        reference.iter().enumerate().filter_map(|(index, (_, nucleus))| Some(((*nucleus)?, index))).collect();
    let pair = |(index, (_, nucleus)): (usize, &Seen)| Some((index, *of.get(nucleus.as_ref()?)?));
    moving.iter().enumerate().filter_map(pair).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn some_nuclei_nearly_touch_and_none_lies_within_another() {
        let scene = Scene { noise_px: [0.0; 2], missed: 0.0, spurious: 0.0, merged: 0.0, ..Scene::default() };
        let nuclei = scene.views().reference;
        assert!((2400..=2600).contains(&nuclei.len()), "{}", nuclei.len());
        let spacing = CAMERA_PX / 50.0;
        let within = |share: f64| {
            let near = |(first, [ax, ay]): (usize, &[f64; 2])| {
                let others = nuclei[first + 1..].iter();
                others.filter(|[bx, by]| (ax - bx).hypot(ay - by) < share * spacing).count()
            };
            nuclei.iter().enumerate().map(near).sum::<usize>()
        };
        // points without a rule would have 39 and 795 such pairs
        assert_eq!(within(KEEPS[0] - 0.001), 0);
        assert!((120..500).contains(&within(0.45)), "{}", within(0.45));
    }
}

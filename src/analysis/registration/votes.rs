//! Where scale and orientation are known, only the shift is not: every pair of points votes for the shift that brings
//! them together, and the true one gets more votes than chance gives any. This finds fields of which so much was missed
//! that hardly six neighbours are left as they were.
//!
//! Votes are counted for stretches of the moving field, so that few rotations and scales suffice: the smaller the
//! stretch, the less they move its points.

use super::field::Field;
use crate::geometry::Affine;

/// Points of a stretch, about.
const N_STRETCH: usize = 160;
/// Stretches that vote at most, spread over the field.
const N_STRETCHES_MAX: usize = 8;
/// Votes in all, by the number of the first stretch's tilts: some tenths of a second. Larger references than this allows are
/// not voted on.
const N_VOTES_MAX: usize = 200_000_000;
/// Cells of shifts at most, where single points lie far away.
const N_CELLS_MAX: f64 = 8e6;
/// The scale may be this far from the prior, as a share, and the rotation in radians: 3 degrees.
const SCALE_TOLERANCE: f64 = 0.015;
const ROTATION_TOLERANCE: f64 = 3.0 * std::f64::consts::PI / 180.0;
/// No point of a stretch is farther than this, in spacings of the reference, from where one of the rotations and scales
/// puts it.
const STEP_ERROR_MAX: f64 = 0.1;
/// Side of a cell of shifts in spacings. Two by two cells are counted together, so that no shift lies at an edge.
const CELL: f64 = 0.15;
/// Shifts taken from each rotation and scale.
const N_PEAKS: usize = 3;
/// Shifts of a stretch that are followed.
const N_FOLLOWED: usize = 12;

/// A transform that got many votes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Candidate {
    /// Takes places of the view to the reference.
    pub(super) map: Affine,
    /// The middle of the stretch in the view, and how far its points are from it.
    pub(super) centre: [f64; 2],
    pub(super) radius: f64,
}

/// Counts the votes of a view's points for shifts to the reference.
pub(super) struct Election<'a> {
    points: &'a [[f64; 2]],
    reference: &'a Field,
    /// Reference px per px of the view, and radians.
    scale: f64,
    rotation_rad: f64,
    /// Places of the reference in cells.
    places: Vec<[f32; 2]>,
    counts: Vec<u16>,
}

/// Shifts in cells: where the first cell begins, and how many there are.
#[derive(Clone, Copy)]
struct Raster {
    origin: [f64; 2],
    n: [usize; 2],
}

/// A block of two by two cells, by its first.
#[derive(Clone, Copy)]
struct Peak {
    n_votes: u32,
    cell: [usize; 2],
}

impl<'a> Election<'a> {
    /// Prepares a vote at this scale and rotation, or near them.
    pub(super) fn new(points: &'a [[f64; 2]], reference: &'a Field, scale: f64, rotation_rad: f64) -> Self {
        let side = CELL * reference.spacing;
        let in_cells =
            |place: &[f64; 2]| [0, 1].map(|axis| ((place[axis] - reference.low[axis]) / side) as f32);
        let places = reference.points.iter().map(in_cells).collect();
        Self { points, reference, scale, rotation_rad, places, counts: vec![] }
    }

    /// The stretches that vote: positions of their points.
    pub(super) fn stretches(&self) -> Vec<std::ops::Range<usize>> {
        let n = self.points.len();
        let n_stretches = n.div_ceil(N_STRETCH);
        let bounds = |stretch: usize| stretch * n / n_stretches..(stretch + 1) * n / n_stretches;
        if n == 0 || self.reference.spacing <= 0.0 {
            return vec![];
        }
        let n_votes = self.tilts(&bounds(0)).len() * N_STRETCH * self.reference.len();
        let n_voting = n_stretches.min(N_STRETCHES_MAX).min(N_VOTES_MAX / n_votes.max(1));
        (0..n_voting).map(|voting| bounds((2 * voting + 1) * n_stretches / (2 * n_voting))).collect()
    }

    /// How many transforms the votes of some stretches are counted for.
    pub(super) fn n_tests(&self, stretches: &[std::ops::Range<usize>]) -> f64 {
        let of_stretch = |stretch: &std::ops::Range<usize>| {
            let n_cells = self.raster(stretch).map_or(0, |raster| raster.n[0] * raster.n[1]);
            self.tilts(stretch).len() as f64 * n_cells as f64
        };
        stretches.iter().map(of_stretch).sum()
    }

    /// The transforms for which a stretch has the most votes, in their order.
    pub(super) fn candidates(&mut self, stretch: &std::ops::Range<usize>) -> Vec<Candidate> {
        let Some(raster) = self.raster(stretch) else { return vec![] };
        let (centre, radius) = self.circle(stretch);
        let mut found: Vec<(u32, Candidate)> = vec![];
        for tilt in self.tilts(stretch) {
            self.count(stretch, centre, &tilt, raster);
            for peak in self.peaks(raster) {
                let side = CELL * self.reference.spacing;
                // the middle of two by two cells
                let shift = [0, 1].map(|axis| raster.origin[axis] + side * (peak.cell[axis] + 1) as f64);
                let [x, y] = tilt.apply(centre);
                let mut map = tilt;
                map.rows[0][2] = shift[0] - x;
                map.rows[1][2] = shift[1] - y;
                found.push((peak.n_votes, Candidate { map, centre, radius }));
            }
        }
        // stable: of equal ones the first stays first
        found.sort_by_key(|(n_votes, _)| std::cmp::Reverse(*n_votes));
        found.truncate(N_FOLLOWED);
        found.into_iter().map(|(_, candidate)| candidate).collect()
    }

    /// The middle of a stretch, and how far its points are from it.
    fn circle(&self, stretch: &std::ops::Range<usize>) -> ([f64; 2], f64) {
        let points = &self.points[stretch.clone()];
        let extreme = |axis: usize, start: f64, choose: fn(f64, f64) -> f64| {
            points.iter().map(|point| point[axis]).fold(start, choose)
        };
        let centre = [0, 1].map(|axis| {
            extreme(axis, f64::INFINITY, f64::min).midpoint(extreme(axis, f64::NEG_INFINITY, f64::max))
        });
        let square = |[x, y]: &[f64; 2]| (x - centre[0]).powi(2) + (y - centre[1]).powi(2);
        (centre, points.iter().map(square).fold(0.0, f64::max).sqrt())
    }

    /// The rotations and scales that are tried, without a shift.
    fn tilts(&self, stretch: &std::ops::Range<usize>) -> Vec<Affine> {
        let (_, radius) = self.circle(stretch);
        let in_spacings = radius * self.scale / self.reference.spacing;
        let values = |tolerance: f64| {
            // a step to either side of a value stays within the error
            let n = (tolerance * in_spacings / STEP_ERROR_MAX).ceil().clamp(1.0, 15.0) as usize;
            (0..n).map(move |step| tolerance * ((2 * step + 1) as f64 / n as f64 - 1.0))
        };
        let tilt = |turn: f64, stretch: f64| {
            Affine::similarity(self.scale * (1.0 + stretch), self.rotation_rad + turn, false, [0.0; 2])
        };
        let turns = values(ROTATION_TOLERANCE);
        turns.flat_map(|turn| values(SCALE_TOLERANCE).map(move |stretch| tilt(turn, stretch))).collect()
    }

    /// The cells for all places of a stretch's middle at which some point may meet another; `None` where they are too
    /// many.
    fn raster(&self, stretch: &std::ops::Range<usize>) -> Option<Raster> {
        let side = CELL * self.reference.spacing;
        let margin = self.circle(stretch).1 * self.scale * (1.0 + SCALE_TOLERANCE) + side;
        let origin = self.reference.low.map(|low| low - margin);
        let n = [0, 1].map(|axis| ((self.reference.high[axis] + margin - origin[axis]) / side).ceil() + 2.0);
        (n[0] * n[1] <= N_CELLS_MAX).then(|| Raster { origin, n: n.map(|n| n as usize) })
    }

    fn count(&mut self, stretch: &std::ops::Range<usize>, centre: [f64; 2], tilt: &Affine, raster: Raster) {
        self.counts.clear();
        self.counts.resize(raster.n[0] * raster.n[1], 0);
        let side = CELL * self.reference.spacing;
        let middle = tilt.apply(centre);
        for point in &self.points[stretch.clone()] {
            let place = tilt.apply(*point);
            let offset = [0, 1].map(|axis| {
                ((self.reference.low[axis] - raster.origin[axis] - (place[axis] - middle[axis])) / side)
                    as f32
            });
            for [x, y] in &self.places {
                // positive: the margin is wider than the stretch
                let [column, row] = [(x + offset[0]) as u32 as usize, (y + offset[1]) as u32 as usize];
                if let Some(count) = self.counts.get_mut(row * raster.n[0] + column) {
                    *count = count.saturating_add(1);
                }
            }
        }
    }

    /// The blocks with the most votes, none beside another.
    fn peaks(&self, raster: Raster) -> Vec<Peak> {
        let mut peaks: Vec<Peak> = vec![];
        let mut least = 0;
        let rows: Vec<&[u16]> = self.counts.chunks_exact(raster.n[0]).collect();
        for (row, pair) in rows.windows(2).enumerate() {
            for (column, (above, below)) in pair[0].windows(2).zip(pair[1].windows(2)).enumerate() {
                let n_votes = [above[0], above[1], below[0], below[1]].map(u32::from).iter().sum();
                if n_votes > least {
                    least = take(&mut peaks, Peak { n_votes, cell: [column, row] });
                }
            }
        }
        peaks
    }
}

/// Takes a block among the best, and tells how many votes no longer suffice.
fn take(peaks: &mut Vec<Peak>, new: Peak) -> u32 {
    let is_beside = |peak: &Peak| (0..2).all(|axis| peak.cell[axis].abs_diff(new.cell[axis]) <= 2);
    match peaks.iter().position(is_beside) {
        Some(beside) if peaks[beside].n_votes < new.n_votes => peaks[beside] = new,
        Some(_) => {}
        None => peaks.push(new),
    }
    peaks.sort_by_key(|peak| std::cmp::Reverse(peak.n_votes));
    peaks.truncate(N_PEAKS);
    if peaks.len() < N_PEAKS { 0 } else { peaks[N_PEAKS - 1].n_votes }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::analysis::synthesis::Random;

    fn scattered(n: usize, side: f64, random: &mut Random) -> Vec<[f64; 2]> {
        (0..n).map(|_| [0; 2].map(|_| side * random.uniform())).collect()
    }

    #[test]
    fn the_true_shift_gets_the_most_votes() {
        let mut random = Random::new(5);
        let reference = scattered(2000, 1000.0, &mut random);
        let truth = Affine::similarity(0.25 * 1.012, 2.0_f64.to_radians(), false, [300.0, 200.0]);
        let back = truth.inverse().unwrap();
        let is_seen = |place: &[f64; 2]| place.iter().all(|value| (0.0..1200.0).contains(value));
        let seen: Vec<_> = reference.iter().map(|place| back.apply(*place)).filter(is_seen).collect();
        // two in five are missed, and as many false ones are there
        let mut points: Vec<_> =
            seen.iter().enumerate().filter(|(i, _)| i % 5 > 1).map(|(_, at)| *at).collect();
        points.extend(scattered(points.len() * 2 / 3, 1200.0, &mut random));
        let [moving, reference] = [points, reference].map(|points| Field::new(&points).unwrap());
        let mut election = Election::new(&moving.points, &reference, 0.25, 0.0);
        let stretches = election.stretches();
        assert_eq!(stretches.iter().map(ExactSizeIterator::len).sum::<usize>(), moving.len());
        assert!(election.n_tests(&stretches) > 1e5);
        for stretch in stretches {
            let best = election.candidates(&stretch)[0];
            let ([x, y], [u, v]) = (best.map.apply(best.centre), truth.apply(best.centre));
            assert!((x - u).hypot(y - v) < 0.25 * reference.spacing, "{best:?}");
        }
    }

    #[test]
    fn what_is_too_large_to_be_counted_gets_no_votes() {
        let mut random = Random::new(6);
        let mut points = scattered(500, 1000.0, &mut random);
        let moving = Field::new(&points).unwrap();
        points.push([1e9, 1e9]);
        let far = Field::new(&points).unwrap();
        let mut election = Election::new(&moving.points, &far, 1.0, 0.0);
        let stretches = election.stretches();
        assert_eq!((election.n_tests(&stretches), election.candidates(&stretches[0]).len()), (0.0, 0));
        let line = Field::new(&[[0.0, 0.0], [1.0, 0.0], [2.0, 0.0]]).unwrap();
        assert!(Election::new(&moving.points, &line, 1.0, 0.0).stretches().is_empty());
        assert!(Election::new(&[], &moving, 1.0, 0.0).stretches().is_empty());
    }

    #[test]
    fn blocks_beside_one_another_are_one_peak() {
        let mut peaks = vec![];
        for (n_votes, cell) in
            [(5, [3, 3]), (9, [4, 5]), (7, [9, 3]), (1, [0, 20]), (2, [30, 0]), (3, [3, 4])]
        {
            take(&mut peaks, Peak { n_votes, cell });
        }
        let votes: Vec<_> = peaks.iter().map(|peak| peak.n_votes).collect();
        assert_eq!(votes, [9, 7, 2]);
        assert_eq!(take(&mut peaks, Peak { n_votes: 4, cell: [50, 50] }), 4);
    }
}

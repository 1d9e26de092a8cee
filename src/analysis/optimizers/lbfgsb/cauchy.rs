//! The generalised Cauchy point: the first minimum of the quadratic model along the projected steepest descent.
//!
//! # References
//! Byrd, Lu, Nocedal and Zhu, A limited memory algorithm for bound constrained optimization, SIAM J. Sci. Comput.
//! 16(5), 1995, algorithm CP.

use super::super::Bounds;
use super::super::objective::dot;
use super::memory::Memory;

/// Room for the search, and its result.
pub(super) struct CauchyPoint {
    /// The point.
    pub(super) point: Vec<f64>,
    /// The parameters that are not at a bound there.
    pub(super) free: Vec<usize>,
    direction: Vec<f64>,
    /// Where along the path a parameter meets its bound.
    breaks: Vec<(f64, usize)>,
    is_free: Vec<bool>,
    /// `W'` times the direction, and times the way so far (the paper's `p` and `c`).
    direction_image: Vec<f64>,
    pub(super) way_image: Vec<f64>,
    row: Vec<f64>,
    work: Vec<f64>,
}

impl CauchyPoint {
    pub(super) fn new(n: usize, n_pairs_max: usize) -> Self {
        let image = || vec![0.0; 2 * n_pairs_max];
        Self {
            point: vec![0.0; n],
            free: Vec::with_capacity(n),
            direction: vec![0.0; n],
            breaks: Vec::with_capacity(n),
            is_free: vec![true; n],
            direction_image: image(),
            way_image: image(),
            row: image(),
            work: image(),
        }
    }

    /// Finds the point from `start`.
    pub(super) fn find(&mut self, memory: &Memory, bounds: &Bounds, start: &[f64], gradient: &[f64]) {
        let k = 2 * memory.n_pairs;
        self.point.copy_from_slice(start);
        self.way_image[..k].fill(0.0);
        let is_endless = self.set_out(bounds, start, gradient);
        memory.project(&self.direction, &mut self.direction_image);
        self.walk(memory, bounds, start, is_endless);
        self.free.clear();
        self.free.extend((0..start.len()).filter(|&index| self.is_free[index]));
    }

    /// Stays at `start` with all parameters free: without bounds, the minimum over them needs no other point.
    pub(super) fn stay(&mut self, start: &[f64]) {
        self.point.copy_from_slice(start);
        self.way_image.fill(0.0);
        self.free.clear();
        self.free.extend(0..start.len());
    }

    /// Sets direction and breaks; says whether a parameter moves without ever meeting a bound.
    fn set_out(&mut self, bounds: &Bounds, start: &[f64], gradient: &[f64]) -> bool {
        self.breaks.clear();
        let mut is_endless = false;
        for (index, (&value, &slope)) in start.iter().zip(gradient).enumerate() {
            let (lower, upper) = (bounds.lower[index], bounds.upper[index]);
            let is_held =
                lower == upper || (value <= lower && slope >= 0.0) || (value >= upper && slope <= 0.0);
            self.is_free[index] = !is_held;
            self.direction[index] = if is_held { 0.0 } else { -slope };
            if is_held || slope == 0.0 {
                continue;
            }
            let room = if slope < 0.0 { upper - value } else { value - lower };
            if room.is_finite() {
                self.breaks.push((room / slope.abs(), index));
            } else {
                is_endless = true;
            }
        }
        // from last to first; equal ones by position
        self.breaks.sort_unstable_by(|one, two| two.0.total_cmp(&one.0).then(two.1.cmp(&one.1)));
        is_endless
    }

    /// Follows the path from break to break up to the first minimum.
    fn walk(&mut self, memory: &Memory, bounds: &Bounds, start: &[f64], is_endless: bool) {
        let k = 2 * memory.n_pairs;
        let theta = memory.theta;
        let mut slope = -dot(&self.direction, &self.direction);
        if slope == 0.0 {
            return;
        }
        let first_curvature = -theta * slope;
        memory.middle(&self.direction_image[..k], &mut self.work);
        let mut curvature = first_curvature - dot(&self.direction_image[..k], &self.work[..k]);
        let mut rest = -slope / curvature;
        let (mut total, mut n_moving) = (0.0, start.len());
        n_moving -= self.direction.iter().filter(|value| **value == 0.0).count();
        while let Some(&(time, index)) = self.breaks.last() {
            let stretch = time - total;
            if rest < stretch {
                break;
            }
            self.breaks.pop();
            total = time;
            n_moving -= 1;
            let speed = self.direction[index];
            self.direction[index] = 0.0;
            self.point[index] = if speed > 0.0 { bounds.upper[index] } else { bounds.lower[index] };
            self.is_free[index] = false;
            let way = self.point[index] - start[index];
            for (sum, value) in self.way_image[..k].iter_mut().zip(&self.direction_image[..k]) {
                *sum += stretch * value;
            }
            if n_moving == 0 {
                return;
            }
            slope += stretch * curvature + speed * speed - theta * speed * way;
            curvature -= theta * speed * speed;
            if k > 0 {
                memory.row(index, &mut self.row);
                memory.middle(&self.row[..k], &mut self.work);
                let work = &self.work[..k];
                slope += speed * dot(&self.way_image[..k], work);
                curvature += 2.0 * speed * dot(&self.direction_image[..k], work)
                    - speed * speed * dot(&self.row[..k], work);
                for (value, row) in self.direction_image[..k].iter_mut().zip(&self.row[..k]) {
                    *value -= speed * row;
                }
            }
            curvature = curvature.max(f64::EPSILON * first_curvature);
            rest = if self.breaks.is_empty() && !is_endless { 0.0 } else { -slope / curvature };
        }
        let rest = rest.max(0.0);
        total += rest;
        for ((point, value), speed) in self.point.iter_mut().zip(start).zip(&self.direction) {
            if *speed != 0.0 {
                *point = value + total * speed;
            }
        }
        for (sum, value) in self.way_image[..k].iter_mut().zip(&self.direction_image[..k]) {
            *sum += rest * value;
        }
    }
}

//! A step length of sufficient decrease and curvature.
//!
//! # References
//! Moré and Thuente, Line search algorithms with guaranteed sufficient decrease, ACM TOMS 20(3), 1994; the steps and
//! tests are those of MINPACK-2's `dcsrch` and `dcstep`.

/// Sufficient decrease: the part of the first slope that a step must gain on average.
const DECREASE: f64 = 1e-3;
/// Curvature: the part of the first slope that may be left.
const CURVATURE: f64 = 0.9;
/// Relative width of the interval below which it ends.
const WIDTH_MIN: f64 = 0.1;
/// How far beyond the present step the next may lie at least and at most, while there is no interval.
const EXTRAPOLATION: [f64; 2] = [1.1, 4.0];

/// A step length with the cost and the slope there.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sample {
    pub(super) length: f64,
    pub(super) cost: f64,
    pub(super) slope: f64,
}

impl Sample {
    /// The same with `slope * length` taken off.
    fn tilted(self, slope: f64) -> Self {
        Self { length: self.length, cost: self.cost - slope * self.length, slope: self.slope - slope }
    }
}

/// What to do after a sample.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Advice {
    /// Sample there next.
    Try(f64),
    /// The last sample is the step: it satisfies both conditions, or nothing better can be told.
    Take,
}

/// A search along one direction.
pub(super) struct LineSearch {
    start: Sample,
    length_max: f64,
    best: Sample,
    other: Sample,
    is_bracketed: bool,
    is_first_stage: bool,
    /// The interval that the next step is to lie in.
    least: f64,
    greatest: f64,
    width: f64,
    width_before: f64,
}

impl LineSearch {
    /// Starts at `start`, a sample of length 0 with a negative slope; `first` is the first step to be tried, at most
    /// `length_max`.
    pub(super) fn new(start: Sample, first: f64, length_max: f64) -> Self {
        Self {
            start,
            length_max,
            best: start,
            other: start,
            is_bracketed: false,
            is_first_stage: true,
            least: 0.0,
            greatest: first + EXTRAPOLATION[1] * first,
            width: length_max,
            width_before: 2.0 * length_max,
        }
    }

    /// Takes in the sample that was asked for.
    pub(super) fn advise(&mut self, sample: Sample) -> Advice {
        let slope = DECREASE * self.start.slope;
        let enough = self.start.cost + sample.length * slope;
        if self.is_first_stage && sample.cost <= enough && sample.slope >= 0.0 {
            self.is_first_stage = false;
        }
        let is_outside = sample.length <= self.least || sample.length >= self.greatest;
        let is_narrow = self.greatest - self.least <= WIDTH_MIN * self.greatest;
        let is_good = sample.cost <= enough && sample.slope.abs() <= CURVATURE * -self.start.slope;
        let is_at_end = sample.length == self.length_max && sample.cost <= enough && sample.slope <= slope;
        let is_at_start = sample.length == 0.0 && (sample.cost > enough || sample.slope >= slope);
        if (self.is_bracketed && (is_outside || is_narrow)) || is_good || is_at_end || is_at_start {
            return Advice::Take;
        }
        // in the first stage, a function that is decreased enough but not everywhere is tilted
        let tilt = if self.is_first_stage && sample.cost <= self.best.cost && sample.cost > enough {
            slope
        } else {
            0.0
        };
        let next = self.update(sample, tilt);
        Advice::Try(self.shorten(next))
    }

    /// Updates the interval and proposes a step by cubic or quadratic interpolation (`dcstep`).
    fn update(&mut self, sample: Sample, tilt: f64) -> f64 {
        let (best, here) = (self.best.tilted(tilt), sample.tilted(tilt));
        let other = self.other.tilted(tilt);
        let is_opposite = here.slope * (best.slope / best.slope.abs()) < 0.0;
        let next = if here.cost > best.cost {
            self.is_bracketed = true;
            let cubic = cubic_step(best, here);
            let quadratic = best.length
                + best.slope / ((best.cost - here.cost) / (here.length - best.length) + best.slope) / 2.0
                    * (here.length - best.length);
            let is_cubic_closer = (cubic - best.length).abs() < (quadratic - best.length).abs();
            if is_cubic_closer { cubic } else { cubic + (quadratic - cubic) / 2.0 }
        } else if is_opposite {
            self.is_bracketed = true;
            let cubic = cubic_step(here, best);
            let secant = secant_step(best, here);
            if (cubic - here.length).abs() > (secant - here.length).abs() { cubic } else { secant }
        } else if here.slope.abs() < best.slope.abs() {
            self.slowing_step(best, here, other)
        } else if self.is_bracketed {
            cubic_step(here, other)
        } else if here.length > best.length {
            self.greatest
        } else {
            self.least
        };
        if here.cost > best.cost {
            self.other = sample;
        } else {
            if is_opposite {
                self.other = self.best;
            }
            self.best = sample;
        }
        next
    }

    /// The step where the cost is lower and the slope has the same sign but is smaller.
    fn slowing_step(&self, best: Sample, here: Sample, other: Sample) -> f64 {
        let cubic = beyond_step(best, here, self.least, self.greatest);
        let secant = secant_step(best, here);
        let is_cubic_closer = (cubic - here.length).abs() < (secant - here.length).abs();
        if self.is_bracketed {
            let next = if is_cubic_closer { cubic } else { secant };
            let limit = here.length + 0.66 * (other.length - here.length);
            if here.length > best.length { next.min(limit) } else { next.max(limit) }
        } else {
            let next = if is_cubic_closer { secant } else { cubic };
            next.min(self.greatest).max(self.least)
        }
    }

    /// Halves an interval that shrinks too slowly, sets the limits of the next step, and keeps it within all.
    fn shorten(&mut self, next: f64) -> f64 {
        let mut next = next;
        let (best, other) = (self.best.length, self.other.length);
        if self.is_bracketed {
            if (other - best).abs() >= 0.66 * self.width_before {
                next = best + 0.5 * (other - best);
            }
            self.width_before = self.width;
            self.width = (other - best).abs();
            self.least = best.min(other);
            self.greatest = best.max(other);
        } else {
            self.least = next + EXTRAPOLATION[0] * (next - best);
            self.greatest = next + EXTRAPOLATION[1] * (next - best);
        }
        next = next.max(0.0).min(self.length_max);
        let is_outside = next <= self.least || next >= self.greatest;
        let is_narrow = self.greatest - self.least <= WIDTH_MIN * self.greatest;
        if self.is_bracketed && (is_outside || is_narrow) { best } else { next }
    }
}

/// The minimum of the cubic through both samples with their slopes, seen from `near`.
fn cubic_step(near: Sample, far: Sample) -> f64 {
    let (theta, gamma) = cubic(near, far, false);
    let gamma = if far.length < near.length { -gamma } else { gamma };
    let ratio = ((gamma - near.slope) + theta) / (((gamma - near.slope) + gamma) + far.slope);
    near.length + ratio * (far.length - near.length)
}

/// The minimum of the cubic where it lies beyond `here` seen from `best`; else one of the limits.
fn beyond_step(best: Sample, here: Sample, least: f64, greatest: f64) -> f64 {
    let (theta, gamma) = cubic(best, here, true);
    let gamma = if here.length > best.length { -gamma } else { gamma };
    let ratio = ((gamma - here.slope) + theta) / ((gamma + (best.slope - here.slope)) + gamma);
    if ratio < 0.0 && gamma != 0.0 {
        here.length + ratio * (best.length - here.length)
    } else if here.length > best.length {
        greatest
    } else {
        least
    }
}

/// The coefficients of the cubic; where it may have no minimum, the root is taken as 0.
fn cubic(one: Sample, two: Sample, may_lack_minimum: bool) -> (f64, f64) {
    let theta = 3.0 * (one.cost - two.cost) / (two.length - one.length) + one.slope + two.slope;
    let scale = theta.abs().max(one.slope.abs()).max(two.slope.abs());
    let radicand = (theta / scale).powi(2) - (one.slope / scale) * (two.slope / scale);
    (theta, scale * if may_lack_minimum { radicand.max(0.0) } else { radicand }.sqrt())
}

/// The zero of the slope's line through both samples.
fn secant_step(best: Sample, here: Sample) -> f64 {
    here.length + here.slope / (here.slope - best.slope) * (best.length - here.length)
}

//! From loops to axes: which frame of the file holds which time point, position and focus step.

use super::experiment::{Axis, Loop, n_loop_frames};
use crate::formats::{FormatError, Limits};

/// Lengths of the axes and the place of every frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Shape {
    pub(crate) n_t: u32,
    pub(crate) n_p: u32,
    pub(crate) n_z: u32,
    /// Time point, position and focus step of each frame, in the order of the file.
    pub(crate) frames: Vec<[u32; 3]>,
}

/// Fits the loops to the frames, and lays them out.
///
/// `n_counted` is what the attributes count and `n_listed` what the map lists (its highest number plus one). The
/// loops rule while they agree with either. A run that was stopped has its outermost loop shortened to the frames it
/// took; a run that went on beyond its loops has its outermost time loop lengthened, or a time loop put around it, so
/// that no frame is ever left out.
///
/// # Errors
/// `malformed` when there is no frame at all, `over_limit` for more frames than `limits.planes_max`.
pub(crate) fn fit(
    mut loops: Vec<Loop>,
    n_counted: u64,
    n_listed: u64,
    limits: &Limits,
) -> Result<(Vec<Loop>, Shape), FormatError> {
    let n_frames = n_counted.max(n_listed);
    if n_frames == 0 {
        return Err(FormatError::malformed("expected at least one frame"));
    }
    let asked_for = n_loop_frames(&loops);
    let has_open_loop = loops.iter().any(|own| own.n == 0);
    if has_open_loop || asked_for < n_listed || asked_for > n_frames || loops.is_empty() {
        refit(&mut loops, n_frames);
    }
    let n_frames = n_loop_frames(&loops);
    if n_frames > limits.planes_max {
        let message = format!("{n_frames} frames exceed the limit of {} planes", limits.planes_max);
        return Err(FormatError::over_limit(message));
    }
    let shape = lay_out(&loops, n_frames);
    Ok((loops, shape))
}

fn refit(loops: &mut Vec<Loop>, n_frames: u64) {
    let open_at = loops.iter().position(|own| own.n == 0);
    loops.iter_mut().for_each(|own| own.n = own.n.max(1));
    let asked_for = n_loop_frames(loops);
    let adjustable_at = match (open_at, loops.first()) {
        (Some(at), _) => Some(at),
        (None, Some(first)) if first.axis == Axis::Time || asked_for > n_frames => Some(0),
        _ => None,
    };
    match adjustable_at {
        Some(at) => {
            let others = (asked_for / loops[at].n).max(1);
            loops[at].n = n_frames.div_ceil(others);
            let n = usize::try_from(loops[at].n).unwrap_or(usize::MAX);
            loops[at].points.truncate(n);
        }
        None => {
            let n = n_frames.div_ceil(asked_for);
            loops.insert(0, Loop { axis: Axis::Time, n, step_um: None, points: Vec::new() });
        }
    }
}

/// `n_frames` is the product of the loops and within the limit, so every length fits.
fn lay_out(loops: &[Loop], n_frames: u64) -> Shape {
    Shape { frames: (0..n_frames).map(|frame| place(loops, frame).0).collect(), ..lengths(loops) }
}

/// The axes of the loops, without frames; a loop of open length counts once.
pub(crate) fn lengths(loops: &[Loop]) -> Shape {
    let length = |axis| {
        let own = loops.iter().filter(|own| own.axis == axis);
        own.fold(1, |n: u32, own| n.saturating_mul(u32::try_from(own.n.max(1)).unwrap_or(u32::MAX)))
    };
    Shape {
        n_t: length(Axis::Time),
        n_p: length(Axis::Position),
        n_z: length(Axis::Focus),
        frames: Vec::new(),
    }
}

/// Time point, position and focus step of a frame, and the rounds of all loops before it.
fn place(loops: &[Loop], frame: u64) -> ([u32; 3], u64) {
    let mut rest = frame;
    let mut index = [0_u32; 3];
    let mut stride = [1_u32; 3];
    for own in loops.iter().rev() {
        let axis = own.axis as usize;
        index[axis] += (rest % own.n) as u32 * stride[axis];
        stride[axis] *= own.n as u32;
        rest /= own.n;
    }
    (index, rest)
}

/// Where a frame of a run that still goes on will stand in the finished file, by the rules of [`fit`]: an outermost
/// time loop, or one of open length, goes on as long as it takes, and around other loops there will be one of time.
/// `None` beyond what indices hold.
pub(crate) fn place_growing(loops: &[Loop], frame: u64) -> Option<[u32; 3]> {
    let (outer, inner) = match loops.split_first() {
        Some((first, inner)) if first.axis == Axis::Time || first.n == 0 => (first.axis, inner),
        _ => (Axis::Time, loops),
    };
    let (mut index, rounds) = place(inner, frame);
    let stride: u64 = inner.iter().filter(|own| own.axis == outer).map(|own| own.n).product();
    let at = rounds.checked_mul(stride)?.checked_add(index[outer as usize].into())?;
    index[outer as usize] = u32::try_from(at).ok()?;
    Some(index)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::formats::FormatErrorKind;

    fn loops(of: &[(Axis, u64)]) -> Vec<Loop> {
        of.iter().map(|(axis, n)| Loop { axis: *axis, n: *n, step_um: None, points: Vec::new() }).collect()
    }

    fn check(of: &[(Axis, u64)], counted: u64, listed: u64, expected: [u32; 3]) {
        let (_, shape) = fit(loops(of), counted, listed, &Limits::default()).unwrap();
        assert_eq!([shape.n_t, shape.n_p, shape.n_z], expected, "{of:?}, {counted} counted, {listed} listed");
        let n = u64::from(shape.n_t) * u64::from(shape.n_p) * u64::from(shape.n_z);
        assert_eq!(shape.frames.len() as u64, n);
        assert!(n >= listed, "no frame is left out");
        let mut frames = shape.frames.clone();
        frames.sort_unstable();
        frames.dedup();
        assert_eq!(frames.len() as u64, n, "no two frames at one place");
    }

    #[test]
    fn loops_are_fitted_to_the_frames() {
        use Axis::{Focus, Position, Time};
        check(&[(Time, 3), (Position, 2), (Focus, 4)], 24, 24, [3, 2, 4]);
        // gaps at the end, and a count that includes points that were switched off
        check(&[(Time, 5)], 5, 3, [5, 1, 1]);
        check(&[(Time, 2), (Position, 2)], 6, 4, [2, 2, 1]);
        // no loops at all
        check(&[], 1, 1, [1, 1, 1]);
        check(&[], 7, 7, [7, 1, 1]);
        // stopped early, within a stack
        check(&[(Time, 100), (Focus, 10)], 57, 57, [6, 1, 10]);
        check(&[(Position, 8), (Focus, 3)], 9, 9, [1, 3, 3]);
        // went on beyond its loops
        check(&[(Time, 2), (Focus, 3)], 12, 12, [4, 1, 3]);
        check(&[(Position, 2)], 5, 5, [3, 2, 1]);
        // run until stopped
        check(&[(Time, 0), (Focus, 3)], 12, 12, [4, 1, 3]);
        check(&[(Position, 2), (Time, 0)], 12, 12, [6, 2, 1]);
        // two loops of one axis
        check(&[(Time, 2), (Position, 2), (Time, 3)], 12, 12, [6, 2, 1]);
    }

    #[test]
    fn a_frame_of_a_growing_run_stands_where_the_finished_file_has_it() {
        use Axis::{Focus, Position, Time};
        let cases: [&[(Axis, u64)]; 9] = [
            &[],
            &[(Time, 3)],
            &[(Time, 0), (Focus, 3)],
            &[(Time, 4), (Position, 2), (Focus, 3)],
            &[(Position, 5), (Focus, 3)],
            &[(Position, 0), (Focus, 2)],
            &[(Focus, 7)],
            &[(Time, 2), (Position, 2), (Time, 3)],
            &[(Position, 2), (Time, 3)],
        ];
        for of in cases {
            for n_frames in 1..40 {
                // stopped anywhere, or gone on beyond its loops
                let (_, shape) = fit(loops(of), n_frames, n_frames, &Limits::default()).unwrap();
                for frame in 0..n_frames {
                    let growing = place_growing(&loops(of), frame).unwrap();
                    assert_eq!(growing, shape.frames[frame as usize], "{of:?}, {frame} of {n_frames}");
                }
            }
        }
    }

    #[test]
    fn nothing_and_too_much_are_refused() {
        let kind =
            |of: &[(Axis, u64)], counted| fit(loops(of), counted, 0, &Limits::default()).unwrap_err().kind;
        assert_eq!(kind(&[], 0), FormatErrorKind::Malformed);
        assert_eq!(kind(&[], u64::from(u32::MAX)), FormatErrorKind::OverLimit);
        assert_eq!(kind(&[(Axis::Time, 4), (Axis::Focus, u64::MAX)], 4), FormatErrorKind::OverLimit);
    }
}

//! The loops of an acquisition: `ImageMetadata`, an outermost loop with the inner ones inside.

use super::clx;
use super::value::{Level, Value};
use crate::formats::{FormatError, Limits, Position};

/// The axis along which a loop runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Axis {
    Time,
    Position,
    Focus,
}

/// One loop.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Loop {
    pub(crate) axis: Axis,
    /// How often it runs; 0 when the file does not say (a run until stopped).
    pub(crate) n: u64,
    /// Micrometres between focus steps.
    pub(crate) step_um: Option<f64>,
    /// The stage positions, `n` of them, if the file lists them.
    pub(crate) points: Vec<Position>,
}

impl Loop {
    fn new(axis: Axis, n: u64) -> Self {
        Self { axis, n, step_um: None, points: Vec::new() }
    }
}

/// The loops from the outermost to the innermost.
///
/// A run that was paused or changed keeps its inner loops as sub-loops of the outer one's parameters. They count
/// when the loop has no inner loops of the ordinary kind; when it has both, the reading that explains the
/// `n_frames` of the file is taken.
///
/// # Errors
/// `over_limit` when the loops nest deeper than `limits.depth_max`.
pub(crate) fn parse(root: &Level, n_frames: u64, limits: &Limits) -> Result<Vec<Loop>, FormatError> {
    let mut reading = read(root, SubLoops::WhereNothingElse, limits)?;
    if n_loop_frames(&reading) != n_frames {
        for other in [SubLoops::Always, SubLoops::Never] {
            let loops = read(root, other, limits)?;
            if n_loop_frames(&loops) == n_frames {
                reading = loops;
                break;
            }
        }
    }
    Ok(reading)
}

/// The loops of a file that still grows, if they say where each frame belongs however long the run will be: every
/// reading of them is the same, and none but the outermost is of open length. Else why not.
///
/// # Errors
/// As [`parse`], and `over_limit` when a round of an outermost time loop (all loops, where there is none) has more frames
/// than `limits.planes_max`.
pub(crate) fn parse_growing(
    root: &Level,
    limits: &Limits,
) -> Result<Result<Vec<Loop>, &'static str>, FormatError> {
    let loops = read(root, SubLoops::WhereNothingElse, limits)?;
    for other in [SubLoops::Always, SubLoops::Never] {
        if read(root, other, limits)? != loops {
            return Ok(Err("its loops can be read in several ways"));
        }
    }
    if loops.iter().skip(1).any(|own| own.n == 0) {
        return Ok(Err("an inner loop is of open length"));
    }
    // an outermost time loop is often planned longer than it will run
    let is_round = loops.first().is_some_and(|outermost| outermost.axis == Axis::Time);
    let inner = &loops[usize::from(is_round)..];
    let n_frames = n_loop_frames(inner);
    if n_frames > limits.planes_max {
        let message = format!("loops of {n_frames} frames exceed the limit of {} planes", limits.planes_max);
        return Err(FormatError::over_limit(message));
    }
    Ok(Ok(loops))
}

fn read(root: &Level, sub_loops: SubLoops, limits: &Limits) -> Result<Vec<Loop>, FormatError> {
    let mut loops = Vec::new();
    Walk { sub_loops, limits }.node(root.unwrapped("SLxExperiment"), &mut loops, 0)?;
    Ok(loops)
}

/// Frames that the loops ask for; loops without an end count once.
pub(crate) fn n_loop_frames(loops: &[Loop]) -> u64 {
    loops.iter().fold(1, |n, own| n.saturating_mul(own.n.max(1)))
}

/// Which sub-loops count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum SubLoops {
    Always,
    WhereNothingElse,
    Never,
}

struct Walk<'a> {
    sub_loops: SubLoops,
    limits: &'a Limits,
}

impl Walk<'_> {
    fn node(&self, node: &Level, loops: &mut Vec<Loop>, depth: u32) -> Result<(), FormatError> {
        if depth > self.limits.depth_max {
            return Err(FormatError::over_limit("the loops of the acquisition nest too deep"));
        }
        let empty = Level::default();
        let parameters = node.level("uLoopPars").map_or(&empty, |level| level.unwrapped("uLoopPars"));
        loops.extend(own_loop(node, parameters));
        let inner: Vec<&Level> = node.level("ppNextLevelEx").into_iter().flat_map(Level::levels).collect();
        let take_sub_loops = match self.sub_loops {
            SubLoops::Always => true,
            SubLoops::WhereNothingElse => inner.is_empty(),
            SubLoops::Never => false,
        };
        if take_sub_loops && let Some(sub_loops) = parameters.get("pSubLoops") {
            self.first_sub_loop(sub_loops, loops, depth)?;
        }
        self.longest(&inner, loops, depth)
    }

    /// Loops that stand side by side are phases of one: the one that runs most often gives the shape.
    fn longest(&self, siblings: &[&Level], loops: &mut Vec<Loop>, depth: u32) -> Result<(), FormatError> {
        let mut longest: Vec<Loop> = Vec::new();
        for sibling in siblings {
            let mut own = Vec::new();
            self.node(sibling, &mut own, depth + 1)?;
            if longest.is_empty() || n_loop_frames(&own) > n_loop_frames(&longest) {
                longest = own;
            }
        }
        loops.append(&mut longest);
        Ok(())
    }

    fn first_sub_loop(
        &self,
        sub_loops: &Value,
        loops: &mut Vec<Loop>,
        depth: u32,
    ) -> Result<(), FormatError> {
        let packed;
        let sub_loops = match sub_loops {
            Value::Level(level) => level,
            // some versions keep them as a block of their own; bytes that are no such block are no loops
            Value::Bytes(block) => match clx::parse(block, self.limits) {
                Ok(level) => {
                    packed = level;
                    &packed
                }
                Err(_) => return Ok(()),
            },
            _ => return Ok(()),
        };
        let first = sub_loops.levels().next().and_then(|own| own.level("ppNextLevelEx"));
        match first.and_then(|inner| inner.levels().next()) {
            Some(experiment) => self.node(experiment.unwrapped("SLxExperiment"), loops, depth + 1),
            None => Ok(()),
        }
    }
}

/// The loop of a node itself; none for a spectral loop (its steps are the channels) or an empty one.
fn own_loop(node: &Level, parameters: &Level) -> Option<Loop> {
    const TIME: u64 = 1;
    const POSITIONS: u64 = 2;
    const POSITIONS_DISCRETE: u64 = 3;
    const FOCUS: u64 = 4;
    const CUSTOM: u64 = 7;
    const TIME_PHASES: u64 = 8;
    const TIME_MANUAL: u64 = 9;
    const FOCUS_ACCURATE: u64 = 10;
    let n = parameters.count("uiCount");
    match node.count("eType")? {
        TIME | TIME_MANUAL => Some(Loop::new(Axis::Time, n.unwrap_or(0))),
        TIME_PHASES => Some(Loop::new(Axis::Time, n_phased(parameters).or(n).unwrap_or(0))),
        CUSTOM => n.filter(|n| *n > 0).map(|n| Loop::new(Axis::Time, n)),
        POSITIONS | POSITIONS_DISCRETE => positions(node, parameters),
        FOCUS | FOCUS_ACCURATE => n
            .filter(|n| *n > 0)
            .map(|n| Loop { step_um: step_um(parameters, n), ..Loop::new(Axis::Focus, n) }),
        _ => None,
    }
}

/// Time points over all phases that ran.
fn n_phased(parameters: &Level) -> Option<u64> {
    let phases = parameters.level("pPeriod")?;
    let counts: Vec<u64> = phases.levels().map(|phase| phase.count("uiCount").unwrap_or(0)).collect();
    let ran = kept(parameters.get("pPeriodValid"), counts);
    Some(ran.into_iter().fold(0, u64::saturating_add))
}

fn positions(node: &Level, parameters: &Level) -> Option<Loop> {
    let relative = parameters.flag("bRelativeXY").unwrap_or(false);
    let reference = |name| parameters.number(name).filter(|_| relative).unwrap_or(0.0);
    let (reference_x, reference_y) = (reference("dReferenceX"), reference("dReferenceY"));
    let uses_z = parameters.flag("bUseZ").unwrap_or(false);
    let point = |point: &Level| Position {
        name: point.text("dPosName").or_else(|| point.text("pPosName")).unwrap_or_default().to_owned(),
        x_um: point.number("dPosX").map(|x| x + reference_x),
        y_um: point.number("dPosY").map(|y| y + reference_y),
        z_um: point.number("dPosZ").filter(|_| uses_z),
    };
    let points: Vec<Position> =
        parameters.level("Points").into_iter().flat_map(Level::levels).map(point).collect();
    if points.is_empty() {
        return parameters.count("uiCount").filter(|n| *n > 0).map(|n| Loop::new(Axis::Position, n));
    }
    let points = kept(node.get("pItemValid"), points);
    (!points.is_empty()).then(|| Loop { points, ..Loop::new(Axis::Position, 0) }.counted())
}

impl Loop {
    fn counted(mut self) -> Self {
        self.n = self.points.len() as u64;
        self
    }
}

/// The items that a mask keeps: one truth value each, as bytes or as a list; all without a mask of that length.
fn kept<T>(mask: Option<&Value>, items: Vec<T>) -> Vec<T> {
    let mask: Vec<bool> = match mask {
        Some(Value::Bytes(bytes)) => bytes.iter().map(|byte| *byte != 0).collect(),
        Some(Value::Level(level)) => {
            level.0.iter().map(|(_, own)| own.as_f64().is_some_and(|n| n != 0.0)).collect()
        }
        _ => Vec::new(),
    };
    if mask.len() != items.len() {
        return items;
    }
    items.into_iter().zip(mask).filter_map(|(item, keep)| keep.then_some(item)).collect()
}

/// The step as stated, else from the ends of the stack.
fn step_um(parameters: &Level, n: u64) -> Option<f64> {
    let stated = parameters.number("dZStep").map(f64::abs).filter(|step| *step > 0.0);
    let range = || {
        Some((parameters.number("dZHigh")? - parameters.number("dZLow")?).abs() / (n.checked_sub(1)? as f64))
    };
    stated.or_else(range).filter(|step| step.is_finite() && *step > 0.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::formats::FormatErrorKind;

    fn node(loop_type: u32, parameters: Level) -> Level {
        Level::default().with("eType", loop_type).with("uLoopPars", parameters)
    }

    fn counting(loop_type: u32, n: u32) -> Level {
        node(loop_type, Level::default().with("uiCount", n))
    }

    fn list(levels: impl IntoIterator<Item = Level>) -> Level {
        levels.into_iter().map(|level| (String::new(), level.into())).collect()
    }

    fn read(root: Level, n_frames: u64) -> Vec<(Axis, u64)> {
        let root = Level::default().with("SLxExperiment", root);
        let loops = parse(&root, n_frames, &Limits::default()).unwrap();
        loops.iter().map(|own| (own.axis, own.n)).collect()
    }

    #[test]
    fn spectral_loops_are_passed_through() {
        let inner = counting(6, 2).with("ppNextLevelEx", list([counting(4, 5)]));
        let root = counting(1, 3).with("ppNextLevelEx", list([inner]));
        assert_eq!(read(root, 15), [(Axis::Time, 3), (Axis::Focus, 5)]);
    }

    #[test]
    fn parameters_may_be_wrapped_as_version_2_does() {
        let root = node(1, list([Level::default().with("uiCount", 4_u32)]));
        assert_eq!(read(root, 4), [(Axis::Time, 4)]);
    }

    #[test]
    fn sub_loops_of_a_paused_run_count() {
        let phase = Level::default()
            .with("ppNextLevelEx", list([Level::default().with("SLxExperiment", counting(4, 5))]));
        let parameters = Level::default().with("uiCount", 3_u32).with("pSubLoops", list([phase]));
        let root = node(1, parameters);
        assert_eq!(read(root.clone(), 15), [(Axis::Time, 3), (Axis::Focus, 5)]);
        // beside ordinary inner loops they count only where that explains the frames
        let both = root.with("ppNextLevelEx", list([counting(2, 2)]));
        assert_eq!(read(both.clone(), 6), [(Axis::Time, 3), (Axis::Position, 2)]);
        assert_eq!(read(both, 30), [(Axis::Time, 3), (Axis::Focus, 5), (Axis::Position, 2)]);
    }

    #[test]
    fn a_growing_plan_beyond_the_limit_is_refused_before_anything_is_laid_out() {
        let parsed = |loops: &[(u32, u32)]| {
            let inner = |own: Option<Level>, (loop_type, n): &(u32, u32)| {
                let node = counting(*loop_type, *n);
                Some(own.map_or(node.clone(), |inner| node.with("ppNextLevelEx", list([inner]))))
            };
            let root = loops.iter().rev().fold(None, inner).unwrap();
            parse_growing(&root, &Limits::default()).map(Result::unwrap).map_err(|error| error.kind)
        };
        let over_limit = Err(FormatErrorKind::OverLimit);
        assert_eq!(parsed(&[(2, 4_000_000_000)]), over_limit, "positions");
        assert_eq!(parsed(&[(1, 3), (4, 70_000), (2, 70_000)]), over_limit, "more than 32 bits inside");
        assert_eq!(parsed(&[(4, 70_000), (4, 70_000)]), over_limit);
        let loops = parsed(&[(1, 4_000_000_000), (2, 3)]).unwrap();
        assert_eq!(loops.len(), 2, "time points are counted as they come");
    }

    #[test]
    fn phases_and_masks() {
        let phase = |n: u32| Level::default().with("uiCount", n);
        let periods = Level::default().with("pPeriod", list([phase(2), phase(3), phase(4)]));
        assert_eq!(read(node(8, periods.clone()), 9), [(Axis::Time, 9)]);
        let mut masked = periods;
        masked.0.push(("pPeriodValid".to_owned(), Value::Bytes(vec![1, 0, 1])));
        assert_eq!(read(node(8, masked), 6), [(Axis::Time, 6)]);
    }

    #[test]
    fn positions_are_masked_and_made_absolute() {
        let point = |name: &str, x: f64| {
            Level::default().with("dPosName", name).with("dPosX", x).with("dPosY", 1.0).with("dPosZ", 9.0)
        };
        let parameters = Level::default()
            .with("bRelativeXY", true)
            .with("bUseZ", false)
            .with("dReferenceX", 100.0)
            .with("dReferenceY", -50.0)
            .with("Points", list([point("a", 0.0), point("b", 5.0), point("c", 7.0)]));
        let valid = list([]).with("", true).with("", false).with("", true);
        let root = node(2, parameters).with("pItemValid", valid);
        let loops = parse(&root, 2, &Limits::default()).unwrap();
        let place = |name: &str, x: f64| Position {
            name: name.to_owned(),
            x_um: Some(x),
            y_um: Some(-49.0),
            z_um: None,
        };
        assert_eq!(loops[0].points, [place("a", 100.0), place("c", 107.0)]);
        assert_eq!(loops[0].n, 2);
    }

    #[test]
    fn the_focus_step_is_stated_or_follows_from_the_range() {
        let stack = |step: f64| {
            let parameters = Level::default()
                .with("uiCount", 5_u32)
                .with("dZLow", -2.0)
                .with("dZHigh", 2.0)
                .with("dZStep", step);
            parse(&node(4, parameters), 5, &Limits::default()).unwrap()[0].step_um
        };
        assert_eq!([stack(0.5), stack(-0.5), stack(0.0)], [Some(0.5), Some(0.5), Some(1.0)]);
    }
}

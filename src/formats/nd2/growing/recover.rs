//! The frames of a file that has lost its map, or part of itself, found by the headers of its chunks.

use super::{GrowingNd2, Loops};
use crate::formats::growing::{Growing, Hint};
use crate::formats::{Container, FormatError, FormatErrorKind, Limits, Metadata, Source};

/// What is left of a file.
pub struct Recovered {
    /// The planes that were found.
    pub container: Box<dyn Container>,
    /// What the file says of itself; the axes are as long as planes were found.
    pub metadata: Metadata,
    /// Where it is damaged; empty for one that only ends too early.
    pub damage: Vec<String>,
}

/// Damage that is told; a file that is damaged more often is told so.
const DAMAGE_MAX: usize = 20;

/// Walks the chunks of `source` to its end, passing over what is damaged, and lists the planes of every frame that is there.
/// What the file does not say of its frames itself comes from the first of `hints` that fits, and from nowhere else.
///
/// # Errors
/// `incomplete` when frames are there, but nothing says what they hold; `malformed` when none is there; `io`.
pub fn recover(
    mut source: Box<dyn Source>,
    limits: &Limits,
    hints: impl IntoIterator<Item = Hint>,
) -> Result<Recovered, FormatError> {
    let mut file = GrowingNd2::new(limits);
    let mut damage = walk(&mut file, &mut *source)?;
    read_metadata(&mut file, &mut *source, &mut damage)?;
    if file.attributes.is_some() && damage.is_empty() && matches!(file.loops, Loops::Unknown) {
        // the attributes come last, and nothing is missing before them: there are no loops
        file.loops = Loops::Known(Vec::new());
    }
    if file.walk.frames().is_empty() {
        return Err(FormatError::malformed("no frame was found by the header of its chunk"));
    }
    let mut refusal = "no finished file of the same run is known".to_owned();
    if file.wants_hint() {
        for hint in hints {
            match file.take_hint(&hint) {
                Ok(()) => break,
                Err(why) => refusal = why,
            }
        }
    }
    let (n_frames, lacks) = (file.n_written(), file.lacks());
    let Some(container) = file.new_planes(source)? else {
        let lacks = lacks.unwrap_or_else(|| "nothing says what they hold".to_owned());
        let message = format!("{n_frames} frames were found, but {lacks}; {refusal}");
        return Err(FormatError::incomplete(message));
    };
    if damage.len() > DAMAGE_MAX {
        let n_more = damage.len() - DAMAGE_MAX;
        damage.truncate(DAMAGE_MAX);
        damage.push(format!("{n_more} more places"));
    }
    let metadata = as_found(container.as_ref());
    Ok(Recovered { container, metadata, damage })
}

/// Notes every chunk that can be found; what was damaged.
fn walk(file: &mut GrowingNd2, source: &mut dyn Source) -> Result<Vec<String>, FormatError> {
    let mut damage = Vec::new();
    loop {
        match file.walk.advance(source, true, &file.limits) {
            Err(error) if matches!(error.kind, FormatErrorKind::Io | FormatErrorKind::OverLimit) => {
                return Err(error);
            }
            Err(error) => {
                damage.push(error.to_string());
                // one frame that stands where it should not, or bytes that are no chunk
                if file.walk.stands_at_chunk(source) {
                    continue;
                }
            }
            Ok(()) if file.walk.ended() => return Ok(damage),
            Ok(()) => {}
        }
        if !file.walk.skip_damage(source)? {
            return Ok(damage);
        }
    }
}

/// Reads the metadata chunks that can be read.
fn read_metadata(
    file: &mut GrowingNd2,
    source: &mut dyn Source,
    damage: &mut Vec<String>,
) -> Result<(), FormatError> {
    loop {
        match file.read_metadata(source) {
            Ok(()) => return Ok(()),
            Err(error) if error.kind == FormatErrorKind::Io => return Err(error),
            Err(error) => {
                damage.push(error.to_string());
                file.walk.pass_metadata();
            }
        }
    }
}

/// The metadata with axes that hold the planes which were found.
fn as_found(container: &dyn Container) -> Metadata {
    let mut metadata = container.metadata().clone();
    let length = |axis: fn(&crate::units::PlaneIndex) -> u32| {
        container
            .planes()
            .iter()
            .map(|plane| axis(&plane.index))
            .max()
            .map_or(1, |last| last.saturating_add(1))
    };
    metadata.dims.t = length(|index| index.t);
    metadata.dims.p = length(|index| index.p);
    metadata.dims.z = length(|index| index.z);
    metadata.positions.truncate(metadata.dims.p as usize);
    metadata
}

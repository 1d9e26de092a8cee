//! Which picture of a stack of focus steps is segmented.

use std::collections::HashMap;

use crate::analysis::segmentation::stack::{raise_to_maximum, sharpness};
use crate::cli::file_error::FileError;
use crate::formats::{Container, Plane, PlaneEntry};
use crate::units::PlaneIndex;

use super::ZChoice;

/// A picture to segment.
pub(super) struct Picture {
    pub(super) plane: Plane,
    /// By what results name it: its place in the file, or that of its stack.
    pub(super) name: String,
    /// Its place in the file; of a projection the place of the first slice.
    pub(super) index: PlaneIndex,
    pub(super) is_projection: bool,
}

/// The stacks of focus steps among `entries`, in order of their first slices, as places in `entries`. Each slice is a stack
/// of its own where every one is wanted. Missing planes are left out.
pub(super) fn stacks(entries: &[PlaneEntry], choice: ZChoice) -> Vec<Vec<usize>> {
    let mut stacks: Vec<Vec<usize>> = Vec::new();
    let mut known = HashMap::new();
    for (place, entry) in entries.iter().enumerate().filter(|(_, entry)| !entry.missing) {
        let PlaneIndex { t, p, z, c } = entry.index;
        let z = if choice == ZChoice::Each { z } else { 0 };
        let stack = *known.entry([t, p, z, c]).or_insert(stacks.len());
        match stacks.get_mut(stack) {
            Some(stack) => stack.push(place),
            None => stacks.push(vec![place]),
        }
    }
    stacks
}

/// By what a stack is named as a whole: `t0p0zmaxc0`; a single slice by its place in the file.
pub(super) fn name(entries: &[PlaneEntry], stack: &[usize], choice: ZChoice) -> String {
    let index = stack.first().map(|place| entries[*place].index).unwrap_or_default();
    let PlaneIndex { t, p, c, .. } = index;
    match choice {
        ZChoice::Max if stack.len() > 1 => format!("t{t}p{p}zmaxc{c}"),
        ZChoice::Focus if stack.len() > 1 => format!("t{t}p{p}zfocusc{c}"),
        _ => index.to_string(),
    }
}

/// Reads a stack and makes its picture; holds two slices at once.
pub(super) fn read(
    container: &mut dyn Container,
    entries: &[PlaneEntry],
    stack: &[usize],
    choice: ZChoice,
) -> Result<Picture, FileError> {
    let Some((&first, others)) = stack.split_first() else {
        return Err(FileError { kind: "internal", message: "a stack without slices".into() });
    };
    let mut picture = Picture {
        plane: container.read_plane(first)?,
        name: name(entries, stack, choice),
        index: entries[first].index,
        is_projection: choice == ZChoice::Max && !others.is_empty(),
    };
    if choice == ZChoice::Focus && !others.is_empty() {
        let mut best = sharpness(&picture.plane);
        for &place in others {
            let slice = container.read_plane(place)?;
            let sharpness = sharpness(&slice);
            if sharpness > best {
                best = sharpness;
                (picture.plane, picture.index) = (slice, entries[place].index);
            }
        }
        picture.name = picture.index.to_string();
        return Ok(picture);
    }
    for &place in others {
        let slice = container.read_plane(place)?;
        raise_to_maximum(&mut picture.plane, &slice)
            .map_err(|error| FileError { kind: "unsupported", message: error.to_string() })?;
    }
    Ok(picture)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::units::SampleType;

    #[test]
    fn slices_of_one_time_position_and_channel_make_a_stack() {
        let entry = |t, z, c, missing| PlaneEntry {
            index: PlaneIndex { t, z, c, ..PlaneIndex::default() },
            missing,
            height: 1,
            width: 1,
            n_samples: 1,
            sample_type: SampleType::Uint8,
            time_ms: None,
        };
        let entries = [
            entry(0, 0, 0, false),
            entry(0, 0, 1, false),
            entry(0, 1, 0, false),
            entry(0, 1, 1, true),
            entry(1, 1, 0, false),
        ];
        let found = stacks(&entries, ZChoice::Max);
        assert_eq!(found, [vec![0, 2], vec![1], vec![4]]);
        let names: Vec<_> = found.iter().map(|stack| name(&entries, stack, ZChoice::Max)).collect();
        assert_eq!(names, ["t0p0zmaxc0", "t0p0z0c1", "t1p0z1c0"]);
        assert_eq!(stacks(&entries, ZChoice::Each), [[0], [1], [2], [4]]);
    }
}

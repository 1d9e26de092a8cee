//! All that a file says of itself before a pixel is read: its metadata chunks, put together.

use std::io::{Read, Seek};

use super::attributes::Attributes;
use super::chunks::ChunkMap;
use super::experiment::{self, Axis, Loop};
use super::metadata::{self, ChannelLayout};
use super::shape::{self, Shape};
use super::value::Level;
use super::{clx, xml};
use crate::formats::{Channel, Dims, Format, FormatError, Limits, Metadata, PlaneEntry, Position};
use crate::units::PlaneIndex;

/// The metadata chunks of one file.
pub(crate) struct Contents {
    pub(crate) attributes: Attributes,
    pub(crate) layouts: Vec<ChannelLayout>,
    loops: Vec<Loop>,
    shape: Shape,
    /// Metadata of the first frame that has some.
    picture: Level,
    texts: Level,
    positions: Vec<Position>,
    /// Milliseconds by sequence number.
    times_ms: Vec<f64>,
}

impl Contents {
    /// Reads the metadata chunks.
    ///
    /// Texts and the caches of positions and times are extras: where they are damaged they are left out.
    ///
    /// # Errors
    /// `malformed` when the attributes are absent or a chunk is damaged, `unsupported` and `over_limit` as
    /// [`Attributes::parse`] and [`shape::fit`] say.
    pub(crate) fn read<S: Read + Seek>(
        source: &mut S,
        map: &ChunkMap,
        limits: &Limits,
    ) -> Result<Self, FormatError> {
        let mut chunks = Chunks { source, map, limits };
        let attributes = chunks.tree("ImageAttributes", "")?;
        let attributes = attributes
            .ok_or_else(|| FormatError::malformed("expected the chunk ImageAttributes in the map"))?;
        let attributes = Attributes::parse(&attributes, limits)?;
        let picture = chunks.tree("ImageMetadataSeq", "|")?.unwrap_or_default();
        let picture = picture.into_unwrapped("SLxPictureMetadata");
        let n_listed = map.frames.len() as u64;
        let n_frames = attributes.n_frames.max(n_listed);
        let loops = chunks.tree("ImageMetadata", "")?;
        let loops = loops.map_or(Ok(Vec::new()), |root| experiment::parse(&root, n_frames, limits))?;
        let (loops, shape) = shape::fit(loops, attributes.n_frames, n_listed, limits)?;
        let texts = chunks.tree("ImageTextInfo", "").ok().flatten().unwrap_or_default();
        let positions = positions(&mut chunks, &loops, &shape, &picture);
        Ok(Self {
            layouts: metadata::channels(&picture, &attributes),
            attributes,
            loops,
            shape,
            positions,
            times_ms: chunks.numbers_per_frame("AcqTimesCache"),
            texts: texts.into_unwrapped("SLxImageTextInfo"),
            picture,
        })
    }

    /// What is known of a file that still grows, before texts and caches are written: every position as planned.
    pub(crate) fn growing(attributes: Attributes, picture: Level, loops: Vec<Loop>) -> Self {
        let shape = shape::lengths(&loops);
        let mut positions = planned_positions(&loops, shape.n_p);
        if let ([only], Some(own)) = (positions.as_mut_slice(), metadata::stage_position(&picture))
            && only.x_um.is_none()
        {
            *only = Position { name: std::mem::take(&mut only.name), ..own };
        }
        Self {
            layouts: metadata::channels(&picture, &attributes),
            attributes,
            loops,
            shape,
            picture,
            texts: Level::default(),
            positions,
            times_ms: Vec::new(),
        }
    }

    /// The loops of the acquisition.
    pub(crate) fn loops(&self) -> &[Loop] {
        &self.loops
    }

    /// Metadata of the first frame that has some.
    pub(crate) fn picture(&self) -> &Level {
        &self.picture
    }

    /// The metadata in the words that all formats share.
    pub(crate) fn metadata(&self) -> Metadata {
        let Attributes { width, height, sample_type, significant_bits, .. } = self.attributes;
        let objective = metadata::objective(&self.picture, self.texts.text("TextInfoItem_13"));
        let channels: Vec<Channel> = self.layouts.iter().map(|layout| layout.channel.clone()).collect();
        let says_nothing = channels.iter().all(|channel| *channel == Channel::default());
        Metadata {
            format: Format::Nd2,
            dims: Dims {
                t: self.shape.n_t,
                p: self.shape.n_p,
                z: self.shape.n_z,
                c: self.layouts.len() as u32,
                y: height,
                x: width,
                s: self.layouts.first().map_or(1, |layout| layout.n_samples),
            },
            sample_type,
            significant_bits,
            // lossy frames are refused
            is_lossy: false,
            pixel_size_um: metadata::pixel_size_um(&self.picture, &objective),
            z_step_um: self.loops.iter().find(|own| own.axis == Axis::Focus).and_then(|own| own.step_um),
            nominal_magnification: objective.magnification,
            numerical_aperture: objective.numerical_aperture,
            objective: objective.name,
            channels: if says_nothing { Vec::new() } else { channels },
            positions: self.positions.clone(),
            acquired_at: metadata::acquired_at(&self.picture, self.texts.text("TextInfoItem_9")),
            other_files: Vec::new(),
        }
    }

    /// Every plane in the order of its index, and the frame that holds it.
    ///
    /// # Errors
    /// `over_limit` for more planes, or a larger plane, than `limits` allow.
    pub(crate) fn planes(
        &self,
        map: &ChunkMap,
        limits: &Limits,
    ) -> Result<(Vec<PlaneEntry>, Vec<u32>), FormatError> {
        let n_planes = self.shape.frames.len() as u64 * self.layouts.len() as u64;
        if n_planes > limits.planes_max {
            let message = format!("{n_planes} planes exceed the limit of {}", limits.planes_max);
            return Err(FormatError::over_limit(message));
        }
        let mut order: Vec<([u32; 3], u32)> = self.shape.frames.iter().copied().zip(0..).collect();
        order.sort_unstable();
        let (mut planes, mut frame_of_plane) = (Vec::new(), Vec::new());
        for ([t, p, z], frame) in order {
            for (layout, c) in self.layouts.iter().zip(0..) {
                planes.push(PlaneEntry {
                    index: PlaneIndex { t, p, z, c },
                    height: self.attributes.height,
                    width: self.attributes.width,
                    n_samples: layout.n_samples,
                    sample_type: self.attributes.sample_type,
                    missing: map.frame_offset(frame).is_none(),
                    time_ms: self.times_ms.get(frame as usize).copied().filter(|time| time.is_finite()),
                });
                frame_of_plane.push(frame);
            }
        }
        if let Some(plane) = planes.iter().find(|plane| plane.decoded_bytes() > limits.plane_bytes_max) {
            let message = format!("a plane of {} bytes exceeds the limit of", plane.decoded_bytes());
            return Err(FormatError::over_limit(format!("{message} {}", limits.plane_bytes_max)));
        }
        Ok((planes, frame_of_plane))
    }
}

/// Where the stage stood for every frame, by sequence number: x, y and z in micrometres; empty where that is not recorded.
pub(crate) fn stage_per_frame<S: Read + Seek>(
    source: &mut S,
    map: &ChunkMap,
    limits: &Limits,
) -> [Vec<f64>; 3] {
    let mut chunks = Chunks { source, map, limits };
    ["X", "Y", "Z"].map(|name| chunks.numbers_per_frame(name))
}

/// The metadata chunks by name.
struct Chunks<'a, S> {
    source: &'a mut S,
    map: &'a ChunkMap,
    limits: &'a Limits,
}

impl<S: Read + Seek> Chunks<'_, S> {
    /// The tree of a chunk, under its name in version 3 or else in version 2; `suffix` is `|` for numbered chunks, of
    /// which the first is read.
    fn tree(&mut self, name: &str, suffix: &str) -> Result<Option<Level>, FormatError> {
        let binary = format!("{name}LV{suffix}");
        let name = if self.map.contains(&binary) { binary } else { format!("{name}{suffix}") };
        let Some(data) = self.map.read_chunk(self.source, &name, self.limits)? else { return Ok(None) };
        parse_tree(&name, &data, self.limits).map(Some)
    }

    /// The numbers of a cache, by sequence number; none where the cache is absent or damaged.
    fn numbers_per_frame(&mut self, name: &str) -> Vec<f64> {
        let chunk = self.map.read_chunk(self.source, &format!("CustomData|{name}"), self.limits);
        metadata::numbers_per_frame(&chunk.ok().flatten().unwrap_or_default())
    }
}

/// The tree that a metadata chunk holds, in either encoding.
pub(crate) fn parse_tree(name: &str, data: &[u8], limits: &Limits) -> Result<Level, FormatError> {
    let is_xml = data.trim_ascii_start().starts_with(b"<") || data.starts_with(&[0xEF, 0xBB, 0xBF]);
    let is_utf16 = data.starts_with(&[0xFF, 0xFE]) || data.starts_with(&[0xFE, 0xFF]);
    let tree = if is_xml || is_utf16 { xml::parse(data, limits) } else { clx::parse(data, limits) };
    tree.map_err(|mut error| {
        error.message = format!("{name}: {}", error.message);
        error
    })
}

/// The stage positions, one per step of the position axis.
///
/// The points of the position loop come first; coordinates that they lack are those recorded with the first frame
/// taken there. Files of a single frame record zeros, so theirs is the position of the picture.
fn positions<S: Read + Seek>(
    chunks: &mut Chunks<'_, S>,
    loops: &[Loop],
    shape: &Shape,
    picture: &Level,
) -> Vec<Position> {
    let mut positions = planned_positions(loops, shape.n_p);
    if shape.frames.len() == 1 || (shape.n_p == 1 && positions[0].x_um.is_none()) {
        let name = std::mem::take(&mut positions[0].name);
        let own = metadata::stage_position(picture);
        return own.map(|own| Position { name, ..own }).into_iter().collect();
    }
    let mut first_frames = vec![None; shape.n_p as usize];
    for (&[_, p, _], frame) in shape.frames.iter().zip(0_u32..) {
        let first: &mut Option<u32> = &mut first_frames[p as usize];
        if first.is_none() && chunks.map.frame_offset(frame).is_some() {
            *first = Some(frame);
        }
    }
    let recorded = ["X", "Y", "Z"].map(|name| chunks.numbers_per_frame(name));
    for (position, first) in positions.iter_mut().zip(first_frames) {
        let [x_um, y_um, z_um] = [0, 1, 2].map(|axis: usize| {
            first
                .and_then(|frame| recorded[axis].get(frame as usize).copied())
                .filter(|value| value.is_finite())
        });
        position.x_um = position.x_um.or(x_um);
        position.y_um = position.y_um.or(y_um);
        position.z_um = position.z_um.or(z_um);
    }
    let says_nothing = positions.iter().all(|position| *position == Position::default());
    if says_nothing { Vec::new() } else { positions }
}

/// The points of the position loop. Of several loops, one inside the other, only the names are certain.
fn planned_positions(loops: &[Loop], n_p: u32) -> Vec<Position> {
    let own: Vec<&Loop> = loops.iter().filter(|own| own.axis == Axis::Position).collect();
    match own.as_slice() {
        [only] if only.points.len() == n_p as usize => only.points.clone(),
        several => {
            (0..n_p).map(|p| Position { name: joined_name(several, p), ..Position::default() }).collect()
        }
    }
}

fn joined_name(loops: &[&Loop], position_index: u32) -> String {
    let mut rest = u64::from(position_index);
    let mut names = Vec::new();
    for own in loops.iter().rev() {
        // a loop of open length names no points beyond its first
        let n = own.n.max(1);
        let point = own.points.get((rest % n) as usize);
        rest /= n;
        names.extend(point.map(|point| point.name.as_str()).filter(|name| !name.is_empty()));
    }
    names.reverse();
    names.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::formats::nd2::experiment::Axis;

    #[test]
    fn a_growing_run_may_visit_positions_without_end() {
        let own = |axis, n| Loop { axis, n, step_um: None, points: Vec::new() };
        let loops = [own(Axis::Position, 0), own(Axis::Focus, 3)];
        assert_eq!(planned_positions(&loops, shape::lengths(&loops).n_p), [Position::default()]);
    }
}

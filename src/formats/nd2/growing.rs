//! An ND2 file that is still being written: its chunks are walked by their headers, forward from where the last walk
//! stood. The attributes, without which no frame can be read, mostly stand at the end: until then they come from a
//! finished file of the same run, or from the user.

mod batch;
mod hint;
mod recover;
#[cfg(test)]
mod tests;
mod walk;

use super::attributes::Attributes;
use super::contents::{Contents, parse_tree};
use super::experiment::{self, Loop};
use super::shape;
use super::value::Level;
use crate::formats::growing::{Growing, Hint, read_up_to};
use crate::formats::{Container, FormatError, FormatErrorKind, Limits, PlaneEntry, Source};
use crate::units::PlaneIndex;

use batch::{Nd2Batch, PlaneShare};
pub use hint::SiblingHint;
pub use recover::{Recovered, recover};
use walk::{ChunkWalk, MetadataChunk};

/// An ND2 file that is still being written.
#[derive(Debug)]
pub struct GrowingNd2 {
    limits: Limits,
    walk: ChunkWalk,
    loops: Loops,
    picture: Option<Level>,
    attributes: Option<Attributes>,
    /// Frames of the walk that were handed out.
    n_handed_out: usize,
    /// The error that ended the walk: what came behind it is not known, so nothing more is handed out.
    failed: Option<FormatError>,
}

/// What is known of the loops.
#[derive(Debug)]
enum Loops {
    /// The chunk that holds them has not come.
    Unknown,
    Known(Vec<Loop>),
    /// They do not say where a frame belongs before the file is complete.
    Open(&'static str),
}

impl GrowingNd2 {
    /// Begins at the first chunk; nothing is read yet.
    pub fn new(limits: &Limits) -> Self {
        Self {
            limits: *limits,
            walk: ChunkWalk::default(),
            loops: Loops::Unknown,
            picture: None,
            attributes: None,
            n_handed_out: 0,
            failed: None,
        }
    }

    /// Reads the metadata chunks that have come since the last look.
    fn read_metadata(&mut self, source: &mut dyn Source) -> Result<(), FormatError> {
        while let Some((kind, chunk)) = self.walk.next_metadata() {
            if chunk.length > self.limits.metadata_bytes_max {
                let message =
                    format!("a metadata chunk of {} bytes exceeds the limit on metadata", chunk.length);
                return Err(FormatError::over_limit(message).at(chunk.offset));
            }
            let mut data = vec![0; chunk.length as usize];
            if read_up_to(source, chunk.offset, &mut data)? < data.len() {
                return Err(
                    FormatError::incomplete("the file became shorter while it was read").at(chunk.offset)
                );
            }
            let tree = parse_tree(kind.name(), &data, &self.limits)?;
            match kind {
                MetadataChunk::Attributes => {
                    // what the file says itself counts more than any hint
                    self.attributes = Some(Attributes::parse(&tree, &self.limits)?);
                }
                MetadataChunk::Picture => self.picture = Some(tree.into_unwrapped("SLxPictureMetadata")),
                MetadataChunk::Loops => {
                    self.loops = match experiment::parse_growing(&tree, &self.limits)? {
                        Ok(loops) => Loops::Known(loops),
                        Err(why) => Loops::Open(why),
                    };
                }
            }
            self.walk.pass_metadata();
        }
        Ok(())
    }

    /// Everything that planes need, if it is known.
    fn contents(&self) -> Option<Contents> {
        let (Loops::Known(loops), Some(attributes)) = (&self.loops, self.attributes) else { return None };
        Some(Contents::growing(attributes, self.picture.clone().unwrap_or_default(), loops.clone()))
    }

    fn planes(&self, contents: &Contents) -> Result<(Vec<PlaneEntry>, Vec<PlaneShare>), FormatError> {
        let Attributes { width, height, sample_type, .. } = contents.attributes;
        let (mut planes, mut shares) = (Vec::new(), Vec::new());
        let n_planes = self.walk.frames().len() as u64 * contents.layouts.len() as u64;
        if n_planes > self.limits.planes_max {
            let message = format!("{n_planes} planes exceed the limit of {}", self.limits.planes_max);
            return Err(FormatError::over_limit(message));
        }
        for frame in &self.walk.frames()[self.n_handed_out..] {
            let place = shape::place_growing(contents.loops(), frame.number.into());
            let [t, p, z] = place.ok_or_else(|| FormatError::over_limit("more frames than indices"))?;
            for (channel, layout) in contents.layouts.iter().enumerate() {
                let plane = PlaneEntry {
                    index: PlaneIndex { t, p, z, c: channel as u32 },
                    height,
                    width,
                    n_samples: layout.n_samples,
                    sample_type,
                    missing: false,
                    time_ms: None,
                };
                if plane.decoded_bytes() > self.limits.plane_bytes_max {
                    let message = format!("a plane of {} bytes exceeds the limit of", plane.decoded_bytes());
                    return Err(FormatError::over_limit(format!(
                        "{message} {}",
                        self.limits.plane_bytes_max
                    )));
                }
                planes.push(plane);
                shares.push(PlaneShare { frame: *frame, channel });
            }
        }
        Ok((planes, shares))
    }
}

impl Growing for GrowingNd2 {
    fn advance(&mut self, source: &mut dyn Source, at_rest: bool) -> Result<(), FormatError> {
        if let Some(error) = &self.failed {
            return Err(error.clone());
        }
        let walked =
            self.walk.advance(source, at_rest, &self.limits).and_then(|()| self.read_metadata(source));
        // what the system refused is tried again
        let lasts = |error: &&FormatError| error.kind != FormatErrorKind::Io;
        self.failed = walked.as_ref().err().filter(lasts).cloned();
        walked
    }

    fn lacks(&self) -> Option<String> {
        if let Some(error) = &self.failed {
            return Some(error.to_string());
        }
        if self.walk.frames().is_empty() {
            return None;
        }
        match (&self.loops, &self.attributes) {
            (Loops::Open(why), _) => Some(format!("{why}, so its frames are placed when it is complete")),
            (_, None) => Some("the shape of its frames stands at its end".to_owned()),
            (Loops::Unknown, _) => Some("its loops are not written yet".to_owned()),
            (Loops::Known(_), Some(_)) => None,
        }
    }

    fn n_written(&self) -> u64 {
        self.walk.frames().len() as u64
    }

    fn wants_hint(&self) -> bool {
        let is_told = self.attributes.is_some() && !matches!(self.loops, Loops::Unknown);
        self.failed.is_none() && !is_told && !self.walk.frames().is_empty() && self.picture.is_some()
    }

    fn take_hint(&mut self, hint: &Hint) -> Result<(), String> {
        let first = *self.walk.frames().first().ok_or("no frame is written yet")?;
        let picture = self.picture.as_ref().ok_or("the metadata of its first frame are not written yet")?;
        let attributes = match hint {
            Hint::Sibling(sibling) => sibling.attributes_for(first, picture)?,
            Hint::Stated(shapes) => hint::stated_attributes(shapes, first, (picture, &self.limits))?,
        };
        if matches!(self.loops, Loops::Unknown) {
            match hint {
                // its loops would stand before its frames, as this file's would
                Hint::Sibling(sibling) if !sibling.has_loops() => self.loops = Loops::Known(Vec::new()),
                _ => return Err("its loops are not written yet".to_owned()),
            }
        }
        self.attributes.get_or_insert(attributes);
        Ok(())
    }

    fn new_planes(&mut self, source: Box<dyn Source>) -> Result<Option<Box<dyn Container>>, FormatError> {
        let has_more = self.failed.is_none() && self.n_handed_out < self.walk.frames().len();
        let Some(contents) = self.contents().filter(|_| has_more) else {
            return Ok(None);
        };
        let (planes, shares) = self.planes(&contents)?;
        self.n_handed_out = self.walk.frames().len();
        Ok(Some(Box::new(Nd2Batch::new(
            source,
            (&contents, &self.limits),
            (planes, shares),
            self.walk.walked_bytes(),
        ))))
    }
}

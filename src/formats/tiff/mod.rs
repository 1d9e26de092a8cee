//! TIFF: classic and BigTIFF in either byte order, with the metadata of OME, ImageJ, Micro-Manager and NIS-Elements.
//!
//! `directory` walks the chain and `layout` checks where the pixels lie, which decides whether a file is whole;
//! `pixels` decodes a page with `codecs`, `fax`, `jpeg` and `samples`; `axes` turns pages into planes by what `ome`,
//! `imagej`, `ndtiff` and `vendor` say, `describe` makes the metadata. [`writer`] is the way back.

mod axes;
mod codecs;
mod describe;
mod directory;
mod fax;
mod growing;
mod imagej;
mod jpeg;
mod layout;
mod lzw;
mod ndtiff;
mod ome;
mod ome_writer;
mod pixels;
mod samples;
mod tags;
#[cfg(test)]
mod tests;
mod vendor;
pub mod writer;

use axes::{Hints, Page, Slot};
use describe::Facts;
use directory::{Directory, FileReader, Header};
use layout::Layout;
use ndtiff::NdTiff;
use pixels::StoredPage;
use tags::tag;

pub use growing::GrowingTiff;
pub use ome_writer::{OmePlane, OmeSpec, OmeTiffWriter};
pub use tags::{ByteOrder, Predictor};
pub use writer::{ChunkShape, TiffWriter, WriteCompression, WriteOptions, encode, write_planes};

use super::growing::{ByteRange, place_of};
use super::{
    Container, FetchedPlane, FormatError, FormatErrorKind, Limits, Metadata, Plane, PlaneDetails, PlaneEntry,
    Source,
};
use crate::units::PlaneIndex;

/// An opened TIFF: the chain of directories was walked and every strip and tile lies inside the file.
///
/// Coarser resolutions, thumbnails and masks are no planes. Without metadata that account for every page, pages are
/// time points in page order.
pub struct TiffContainer {
    reader: FileReader<Box<dyn Source>>,
    header: Header,
    limits: Limits,
    metadata: Metadata,
    planes: Vec<PlaneEntry>,
    /// Where the pixels of each plane are.
    places: Vec<Place>,
}

/// The directory of a plane, and how far behind its own pixels those of the plane lie.
#[derive(Debug, Clone, Copy)]
struct Place {
    directory: Option<u64>,
    skip_bytes: u64,
    details: PlaneDetails,
}

impl TiffContainer {
    /// Walks the chain, checks that the file is whole, and lists the planes.
    ///
    /// # Errors
    /// `incomplete` when a directory, a tag's value, a strip or a tile does not lie inside the file or is not
    /// written yet; `unsupported` when no page has a compression or sample type that is read; `malformed` and
    /// `over_limit` as their names say.
    pub fn open(source: Box<dyn Source>, limits: &Limits) -> Result<Self, FormatError> {
        let mut reader = FileReader::new(source)?;
        let header = Header::read(&mut reader)?;
        let mut survey = Survey { ndtiff: NdTiff::read(&mut reader, &header)?, ..Survey::default() };
        directory::walk(&mut reader, &header, limits, |reader, directory| {
            survey.visit(reader, &directory, &header, limits)
        })?;
        let Survey { pages, facts, mut hints, by_page, supported, .. } = survey;
        supported?;
        hints.by_page = by_page;
        hints.micro_manager = vendor::MicroManager::read(&mut reader, &header, limits)?;
        let assignment = axes::assign(&pages, &hints);
        let planes: Vec<PlaneEntry> = assignment.slots.iter().map(|slot| entry(slot, &pages)).collect();
        let metadata = describe::metadata(&planes, &pages, &assignment, &hints, &facts);
        let place = |slot: &Slot| Place {
            directory: slot.page.map(|page| pages[page].at),
            skip_bytes: slot.skip_bytes,
            details: slot.details,
        };
        let places = assignment.slots.iter().map(place).collect();
        Ok(Self { reader, header, limits: *limits, metadata, planes, places })
    }

    /// Reads how the pixels of a plane are stored.
    fn stored_page(&mut self, plane_index: usize) -> Result<StoredPage, FormatError> {
        let Place { directory, skip_bytes, .. } = self.places[plane_index];
        let Some(at) = directory else {
            let index = self.planes[plane_index].index;
            return Err(FormatError::malformed(format!("plane {index} was never written")));
        };
        let directory = Directory::read(&mut self.reader, &self.header, at)?;
        let mut layout = Layout::read(&mut self.reader, &directory, self.header.order, &self.limits)?;
        for chunk in &mut layout.chunks {
            chunk.offset = chunk.offset.saturating_add(skip_bytes);
        }
        let jpeg_tables = directory.bytes(&mut self.reader, tag::JPEG_TABLES, &self.limits)?;
        Ok(StoredPage { layout, jpeg_tables })
    }
}

impl Container for TiffContainer {
    fn metadata(&self) -> &Metadata {
        &self.metadata
    }

    fn planes(&self) -> &[PlaneEntry] {
        &self.planes
    }

    fn read_plane_into(&mut self, plane_index: usize, plane: &mut Plane) -> Result<(), FormatError> {
        let page = self.stored_page(plane_index)?;
        page.read(&mut self.reader, &self.limits, plane)
    }

    fn fetch_plane(&mut self, plane_index: usize) -> Result<FetchedPlane, FormatError> {
        let page = self.stored_page(plane_index)?;
        page.fetch(&mut self.reader, &self.limits)
    }

    fn plane_details(&mut self, plane_index: usize) -> Result<PlaneDetails, FormatError> {
        let Place { directory, details, .. } = self.places[plane_index];
        let Some(at) = directory.filter(|_| details == PlaneDetails::default()) else { return Ok(details) };
        let directory = Directory::read(&mut self.reader, &self.header, at)?;
        let json = directory.bytes(&mut self.reader, tag::MICRO_MANAGER, &self.limits)?;
        Ok(vendor::details_in(&json))
    }

    fn place(&self, plane_index: usize) -> Option<u64> {
        let Place { directory, skip_bytes, .. } = self.places[plane_index];
        let PlaneEntry { height, width, n_samples, sample_type, .. } = self.planes[plane_index];
        let shape = [height, width, n_samples, sample_type as u32].map(u64::from);
        let figures: Vec<u64> = [directory?, skip_bytes].into_iter().chain(shape).collect();
        Some(place_of(&figures))
    }

    fn steady_bytes(&mut self) -> Result<Vec<ByteRange>, FormatError> {
        // all but the pointer to the first directory and what vendors keep behind it
        let mut ranges = vec![ByteRange { offset: 0, length: 4 }];
        for position in [0, self.places.len().saturating_sub(1)] {
            let Some(Place { directory: Some(at), skip_bytes, .. }) = self.places.get(position).copied()
            else {
                continue;
            };
            let directory = Directory::read(&mut self.reader, &self.header, at)?;
            let layout = Layout::read(&mut self.reader, &directory, self.header.order, &self.limits)?;
            if let Some(last) = layout.chunks.last() {
                ranges.push(ByteRange { offset: last.offset + skip_bytes, length: last.length }.tail());
            }
        }
        Ok(ranges)
    }
}

/// What is gathered while the chain is walked.
struct Survey {
    pages: Vec<Page>,
    facts: Facts,
    hints: Hints,
    ndtiff: Option<NdTiff>,
    /// What each page of NDTiff says of itself.
    by_page: Vec<Option<PlaneIndex>>,
    /// The error of the first page, until a page is found that can be read.
    supported: Result<(), FormatError>,
}

impl Default for Survey {
    fn default() -> Self {
        let none = FormatError::malformed("expected at least one directory");
        Self {
            pages: Vec::new(),
            facts: Facts::default(),
            hints: Hints::default(),
            ndtiff: None,
            by_page: Vec::new(),
            supported: Err(none),
        }
    }
}

impl Survey {
    fn visit(
        &mut self,
        reader: &mut FileReader<Box<dyn Source>>,
        directory: &Directory,
        header: &Header,
        limits: &Limits,
    ) -> Result<(), FormatError> {
        if directory.is_reserved(tag::DESCRIPTION) {
            let message =
                "the description is reserved, but not written, as in a stack that is still acquired";
            return Err(FormatError::incomplete(message).at(directory.at));
        }
        check_sub_directories(reader, directory, header, limits)?;
        if let Some(ndtiff) = &mut self.ndtiff {
            let json = directory.bytes(reader, tag::MICRO_MANAGER, limits)?;
            self.by_page.push(ndtiff.index_of(&json));
        }
        let reduced = is_reduced(directory);
        let layout = match (Layout::read(reader, directory, header.order, limits), self.pages.first()) {
            // a thumbnail of a kind that is not read does no harm, but it counts as a page
            (Err(error), Some(first)) if reduced && error.kind == FormatErrorKind::Unsupported => {
                self.pages.push(Page { at: directory.at, reduced, ..*first });
                return Ok(());
            }
            (layout, _) => layout?,
        };
        if self.pages.is_empty() {
            self.facts = Facts::read(reader, directory, limits)?;
            self.hints = self.facts.hints(limits)?;
            self.hints.stack = stack_of(reader, directory, &layout, &self.hints)?;
            if self.hints.stack.is_some() {
                // what cannot be read says nothing
                let planes =
                    directory.bytes_of_size(reader, vendor::METAMORPH_PLANES, limits).unwrap_or_default();
                self.hints.is_z_stack = vendor::is_metamorph_z_stack(&planes, header.order);
            }
            self.supported = layout.compression.check_supported();
        } else if self.supported.is_err() && !reduced {
            self.supported = layout.compression.check_supported();
        }
        self.pages.push(Page {
            at: directory.at,
            height: layout.height,
            width: layout.width,
            n_samples: layout.n_samples,
            sample_type: layout.sample_type,
            bits: layout.bits,
            is_lossy: layout.compression.is_lossy(),
            reduced,
        });
        Ok(())
    }
}

fn entry(slot: &Slot, pages: &[Page]) -> PlaneEntry {
    // a missing plane has the shape of the first page
    let page = pages[slot.page.unwrap_or(0)];
    PlaneEntry {
        index: slot.index,
        height: page.height,
        width: page.width,
        n_samples: page.n_samples,
        sample_type: page.sample_type,
        missing: slot.page.is_none(),
        time_ms: slot.details.time_ms,
    }
}

/// Whether a page is a coarser resolution, a thumbnail or a mask of another.
fn is_reduced(directory: &Directory) -> bool {
    const REDUCED: u64 = 1;
    const MASK: u64 = 4;
    let kind = directory.uint(tag::NEW_SUBFILE_TYPE).unwrap_or(0);
    kind & (REDUCED | MASK) != 0 || directory.uint(tag::SUBFILE_TYPE) == Some(2)
}

/// Coarser resolutions may be the last thing in the file: they are no planes, but they have to be there.
fn check_sub_directories(
    reader: &mut FileReader<Box<dyn Source>>,
    directory: &Directory,
    header: &Header,
    limits: &Limits,
) -> Result<(), FormatError> {
    let offsets = directory.uints(reader, tag::SUB_DIRECTORIES, limits)?;
    for at in offsets.into_iter().filter(|at| *at != 0).take(limits.depth_max as usize) {
        let found = Directory::read(reader, header, at)
            .and_then(|directory| Layout::read(reader, &directory, header.order, limits));
        if let Err(error) = found
            && error.kind == FormatErrorKind::Incomplete
        {
            return Err(error);
        }
    }
    Ok(())
}

/// Recognises a stack whose planes lie one behind the other under a single directory: MetaMorph's, and ImageJ's above
/// 4 GiB. Gives the number of planes and the bytes of each.
///
/// # Errors
/// `incomplete` when such a stack does not lie inside the file, `malformed` when it would cover its directory.
fn stack_of(
    reader: &FileReader<Box<dyn Source>>,
    directory: &Directory,
    layout: &Layout,
    hints: &Hints,
) -> Result<Option<(u32, u64)>, FormatError> {
    /// ImageJ writes a directory for every plane below this size.
    const IMAGEJ_BYTES_MIN: u64 = u32::MAX as u64;
    let Some(data) = layout.contiguous().filter(|_| directory.next == 0) else { return Ok(None) };
    let metamorph = directory.count(tag::METAMORPH_UIC2);
    let imagej = hints.imagej.as_ref().and_then(|imagej| imagej.images).unwrap_or(0);
    let n = if metamorph > 1 { metamorph } else { imagej };
    let (Ok(n), Some(total)) = (u32::try_from(n), data.length.checked_mul(n)) else { return Ok(None) };
    if n < 2 || (metamorph < 2 && total < IMAGEJ_BYTES_MIN) {
        return Ok(None);
    }
    if directory.stands_in(data.offset..data.offset.saturating_add(total)) {
        return Err(FormatError::malformed(format!("the {n} planes of a stack would cover its directory"))
            .at(directory.at));
    }
    reader.check("the stack's last plane", data.offset, total)?;
    Ok(Some((n, data.length)))
}

/// The parser of OME-XML alone, for the fuzz targets.
#[cfg(fuzzing)]
#[allow(missing_docs, reason = "its name is its own explanation")]
pub mod fuzzing {
    use super::{Limits, ome::Ome};

    pub fn parse_ome(text: &[u8], limits: &Limits) {
        let _ = Ome::parse(&String::from_utf8_lossy(text), limits);
    }
}

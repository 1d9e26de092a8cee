//! A TIFF file that is still being written: pages appended to a plain, ImageJ or OME file, or the stack of
//! Micro-Manager or NDTiff, whose file has its final size from the start and whose pointers lead to where the next
//! directory *will* be.
//!
//! A page counts as written when a directory stands behind its pixels, or when the file has rested with its pixels
//! wholly inside. The last
//! directory is looked at again each time, since the pointer to the next one is written into it later.

mod rule;
#[cfg(test)]
mod tests;

use std::collections::{HashSet, VecDeque};

use super::axes::Page;
use super::describe::Facts;
use super::directory::{Directory, FileReader, Header};
use super::layout::Layout;
use super::{Place, TiffContainer, entry, is_reduced};
use crate::formats::growing::{Growing, Hint};
use crate::formats::tiff::axes::{Hints, Slot};
use crate::formats::{Container, FormatError, FormatErrorKind, Limits, Metadata, PlaneEntry, Source};

use rule::Rule;

/// A TIFF file that is still being written.
pub struct GrowingTiff {
    limits: Limits,
    header: Option<Header>,
    seen: HashSet<u64>,
    /// The directory that the walk has reached.
    last_directory: Option<u64>,
    /// Pages that may not be written yet, with the end of their pixels; in the order of the chain.
    pending: VecDeque<(Page, u64)>,
    /// Written pages that were not handed out yet.
    written: Vec<Slot>,
    pages: Vec<Page>,
    n_written: u64,
    first: Option<First>,
    trouble: Option<String>,
}

/// What the first page says of all.
struct First {
    page: Page,
    facts: Facts,
    hints: Hints,
    rule: Rule,
}

impl GrowingTiff {
    /// Begins at the header; nothing is read yet.
    pub fn new(limits: &Limits) -> Self {
        Self {
            limits: *limits,
            header: None,
            seen: HashSet::new(),
            last_directory: None,
            pending: VecDeque::new(),
            written: Vec::new(),
            pages: Vec::new(),
            n_written: 0,
            first: None,
            trouble: None,
        }
    }

    /// The next directory of the chain, if there is one yet.
    fn next_directory(
        &mut self,
        reader: &mut FileReader<&mut dyn Source>,
        header: &Header,
    ) -> Result<Option<Directory>, FormatError> {
        let at = match self.last_directory {
            None => header.first_directory,
            Some(last) => Directory::read(reader, header, last)?.next,
        };
        if at == 0 {
            return Ok(None);
        }
        if self.seen.contains(&at) {
            return Err(FormatError::malformed("the chain of directories runs in a circle").at(at));
        }
        if self.seen.len() as u64 >= self.limits.planes_max {
            let message = format!("more directories than planes_max, {}", self.limits.planes_max);
            return Err(FormatError::over_limit(message).at(at));
        }
        Directory::read(reader, header, at).map(Some)
    }

    /// Takes a directory of the chain in; its page is written once something stands behind its pixels.
    fn visit(
        &mut self,
        reader: &mut FileReader<&mut dyn Source>,
        header: &Header,
        directory: &Directory,
    ) -> Result<(), FormatError> {
        // a directory that stands behind the pixels of a page was written after them
        while self.pending.front().is_some_and(|(_, end)| *end <= directory.at) {
            self.take_first(reader, header)?;
        }
        let layout = Layout::read(reader, directory, header.order, &self.limits)?;
        layout.compression.check_supported()?;
        if layout.plane_bytes() > self.limits.plane_bytes_max {
            let message = format!("a plane of {} bytes exceeds the limit", layout.plane_bytes());
            return Err(FormatError::over_limit(message).at(directory.at));
        }
        let page = Page {
            at: directory.at,
            height: layout.height,
            width: layout.width,
            n_samples: layout.n_samples,
            sample_type: layout.sample_type,
            bits: layout.bits,
            is_lossy: layout.compression.is_lossy(),
            reduced: is_reduced(directory),
        };
        if self.first.is_none() && !page.reduced {
            let facts = Facts::read(reader, directory, &self.limits)?;
            let hints = rule::hints(&facts, (reader, header), &self.limits)?;
            let rule = match Rule::of_ndtiff(page, (reader, header), &self.limits)? {
                Some(rule) => rule,
                None => Rule::of(&hints, page, &self.limits)?,
            };
            self.first = Some(First { page, facts, hints, rule });
        }
        let end = layout.chunks.iter().map(|chunk| chunk.offset.saturating_add(chunk.length)).max();
        self.pending.push_back((page, end.unwrap_or(0)));
        self.seen.insert(directory.at);
        self.last_directory = Some(directory.at);
        Ok(())
    }

    /// The first page that waited is written: it becomes a plane, unless it is a thumbnail.
    fn take_first(
        &mut self,
        reader: &mut FileReader<&mut dyn Source>,
        header: &Header,
    ) -> Result<(), FormatError> {
        let Some((page, _)) = self.pending.pop_front() else { return Ok(()) };
        let Some(first) = self.first.as_mut().filter(|_| !page.reduced) else { return Ok(()) };
        let index = first.rule.index_of(self.n_written, page, (reader, header), &self.limits)?;
        self.n_written += 1;
        self.written.push(Slot::new(index, self.pages.len()));
        self.pages.push(page);
        Ok(())
    }

    /// Walks on; what is not there or not whole yet ends the walk without harm.
    fn walk(
        &mut self,
        reader: &mut FileReader<&mut dyn Source>,
        header: &Header,
        at_rest: bool,
    ) -> Result<(), FormatError> {
        let mut reached = Ok(());
        while reached.is_ok() {
            let Some(directory) = self.next_directory(reader, header).unwrap_or_else(|error| {
                reached = Err(error);
                None
            }) else {
                break;
            };
            reached = self.visit(reader, header, &directory);
        }
        while at_rest && self.pending.front().is_some_and(|(_, end)| *end <= reader.file_bytes) {
            self.take_first(reader, header)?;
        }
        reached
    }

    /// Metadata with the axes as far as the first page tells them.
    fn metadata(&self, first: &First) -> Metadata {
        let slots = first.rule.known_slots();
        let planes: Vec<PlaneEntry> = slots.slots.iter().map(|slot| entry(slot, &[first.page])).collect();
        super::describe::metadata(&planes, &[first.page], &slots, &first.hints, &first.facts)
    }
}

impl Growing for GrowingTiff {
    fn advance(&mut self, source: &mut dyn Source, at_rest: bool) -> Result<(), FormatError> {
        let mut reader = FileReader::new(source)?;
        let walked = match self.header.map_or_else(|| Header::read(&mut reader), Ok) {
            Ok(header) => {
                self.header = Some(header);
                self.walk(&mut reader, &header, at_rest)
            }
            Err(error) => Err(error),
        };
        self.trouble = match walked {
            Ok(()) => None,
            // the chain goes on where nothing stands yet
            Err(error) if error.kind == FormatErrorKind::Incomplete => None,
            Err(error) if error.kind == FormatErrorKind::Io => return Err(error),
            // half-written data look like this, too: only the complete file is judged
            Err(error) => Some(error.to_string()),
        };
        Ok(())
    }

    fn lacks(&self) -> Option<String> {
        self.trouble.clone()
    }

    fn n_written(&self) -> u64 {
        self.n_written
    }

    fn wants_hint(&self) -> bool {
        false
    }

    fn take_hint(&mut self, _: &Hint) -> Result<(), String> {
        Err("a TIFF says itself what its pages are".to_owned())
    }

    fn new_planes(&mut self, source: Box<dyn Source>) -> Result<Option<Box<dyn Container>>, FormatError> {
        let (Some(first), Some(header), false) = (&self.first, self.header, self.written.is_empty()) else {
            return Ok(None);
        };
        let planes: Vec<PlaneEntry> = self.written.iter().map(|slot| entry(slot, &self.pages)).collect();
        let place = |slot: &Slot| Place {
            directory: slot.page.map(|page| self.pages[page].at),
            skip_bytes: 0,
            details: slot.details,
        };
        let container = TiffContainer {
            reader: FileReader::new(source)?,
            header,
            limits: self.limits,
            metadata: self.metadata(first),
            planes,
            places: self.written.iter().map(place).collect(),
        };
        self.written.clear();
        self.pages.clear();
        Ok(Some(Box::new(container)))
    }
}

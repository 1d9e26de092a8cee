//! Which plane the next page of a growing TIFF is, by the same sources as in a finished one.

use crate::formats::tiff::axes::{Assignment, Hints, Page, Slot, planned_by_ome};
use crate::formats::tiff::describe::Facts;
use crate::formats::tiff::directory::{Directory, FileReader, Header};
use crate::formats::tiff::ndtiff::NdTiff;
use crate::formats::tiff::tags::tag;
use crate::formats::tiff::vendor::{self, MicroManager};
use crate::formats::{FormatError, Limits, Source};
use crate::units::PlaneIndex;

/// How pages become planes.
#[derive(Debug)]
pub(super) enum Rule {
    /// Time points in page order.
    PageOrder,
    /// ImageJ's hyperstack: so many channels, then slices, then frames.
    ImageJ { channels: u64, slices: u64 },
    /// As OME-XML lists all pages, those to come too.
    Ome { plan: Assignment, by_page: Vec<Option<PlaneIndex>> },
    /// As each page of a Micro-Manager stack says itself; positions count from the first page's.
    MicroManager { n_channels: u32, position: Option<u32> },
    /// As each page of an NDTiff stack says itself.
    NdTiff(NdTiff),
}

/// What the first page and the header say.
pub(super) fn hints(
    facts: &Facts,
    (reader, header): (&mut FileReader<&mut dyn Source>, &Header),
    limits: &Limits,
) -> Result<Hints, FormatError> {
    let micro_manager = MicroManager::read_growing(reader, header, limits)?;
    Ok(Hints { micro_manager, ..facts.hints(limits)? })
}

impl Rule {
    /// Chooses the rule that will hold when the file is complete.
    ///
    /// # Errors
    /// `unsupported` when OME-XML does not say where every page belongs, `over_limit` when ImageJ names more planes than
    /// `limits.planes_max`.
    pub(super) fn of(hints: &Hints, first: Page, limits: &Limits) -> Result<Self, FormatError> {
        if let Some(stack) = &hints.micro_manager {
            let n_channels = u32::try_from(stack.summary.channel_names.len()).unwrap_or(0);
            return Ok(Self::MicroManager { n_channels, position: None });
        }
        if let Some(ome) = &hints.ome {
            let planned = planned_by_ome(first, ome, limits.planes_max).filter(|plan| !plan.slots.is_empty());
            let unknown =
                || FormatError::unsupported("its OME-XML does not say yet where every page belongs");
            return planned.map(Self::by_ome).ok_or_else(unknown);
        }
        let Some(imagej) = &hints.imagej else { return Ok(Self::PageOrder) };
        let factors = [imagej.channels, imagej.slices, imagej.frames];
        let n_planes = factors.into_iter().fold(1, u64::saturating_mul);
        if n_planes > limits.planes_max {
            let message = format!("a stack of {n_planes} planes exceeds the limit of {}", limits.planes_max);
            return Err(FormatError::over_limit(message));
        }
        let images = imagej.images.unwrap_or(n_planes);
        Ok(match imagej.axes_of(images, first.n_samples) {
            Some([channels, slices, _]) => Self::ImageJ { channels, slices },
            None => Self::PageOrder,
        })
    }

    /// The rule of an NDTiff stack whose first page says where it stands.
    ///
    /// # Errors
    /// Those of reading.
    pub(super) fn of_ndtiff(
        first: Page,
        (reader, header): (&mut FileReader<&mut dyn Source>, &Header),
        limits: &Limits,
    ) -> Result<Option<Self>, FormatError> {
        let Some(ndtiff) = NdTiff::read(reader, header)? else { return Ok(None) };
        let json = json_of(first, (reader, header), limits)?;
        Ok(ndtiff.clone().index_of(&json).map(|_| Self::NdTiff(ndtiff)))
    }

    fn by_ome(plan: Assignment) -> Self {
        let mut by_page = vec![None; plan.slots.len()];
        for slot in &plan.slots {
            if let Some(index) = slot.page.and_then(|page| by_page.get_mut(page)) {
                *index = Some(slot.index);
            }
        }
        Self::Ome { plan, by_page }
    }

    /// The plane of page `number` (thumbnails not counted).
    ///
    /// # Errors
    /// `unsupported` where nothing says which it is.
    pub(super) fn index_of(
        &mut self,
        number: u64,
        page: Page,
        (reader, header): (&mut FileReader<&mut dyn Source>, &Header),
        limits: &Limits,
    ) -> Result<PlaneIndex, FormatError> {
        let unknown = |why: &str| FormatError::unsupported(why).at(page.at);
        match self {
            Self::PageOrder => Ok(PlaneIndex { t: number as u32, ..PlaneIndex::default() }),
            Self::ImageJ { channels, slices } => Ok(PlaneIndex {
                t: (number / (*channels * *slices)) as u32,
                p: 0,
                z: (number / *channels % *slices) as u32,
                c: (number % *channels) as u32,
            }),
            Self::Ome { by_page, .. } => {
                let index = by_page.get(number as usize).copied().flatten();
                index.ok_or_else(|| unknown("its OME-XML lists fewer pages"))
            }
            Self::NdTiff(ndtiff) => {
                let json = json_of(page, (reader, header), limits)?;
                ndtiff.index_of(&json).ok_or_else(|| unknown("a page does not say where on the axes it is"))
            }
            Self::MicroManager { position, .. } => {
                let json = json_of(page, (reader, header), limits)?;
                let index = vendor::index_in(&json);
                let index =
                    index.ok_or_else(|| unknown("a page of the stack does not say which plane it is"))?;
                let first = *position.get_or_insert(index.p);
                let p = index.p.checked_sub(first);
                let p = p.ok_or_else(|| unknown("positions of the stack do not come in order"))?;
                Ok(PlaneIndex { p, ..index })
            }
        }
    }

    /// Planes that span the axes, as far as they are known, over one page that stands for all.
    pub(super) fn known_slots(&self) -> Assignment {
        let slot = |index| Slot::new(index, 0);
        let corner = match self {
            Self::PageOrder | Self::NdTiff(_) => PlaneIndex::default(),
            Self::ImageJ { channels, slices } => {
                PlaneIndex { z: (*slices - 1) as u32, c: (*channels - 1) as u32, ..PlaneIndex::default() }
            }
            Self::MicroManager { n_channels, .. } => {
                PlaneIndex { c: n_channels.saturating_sub(1), ..PlaneIndex::default() }
            }
            Self::Ome { plan, .. } => {
                let slots = plan.slots.iter().map(|own| slot(own.index)).collect();
                return Assignment { slots, images: plan.images.clone() };
            }
        };
        let mut slots = vec![slot(PlaneIndex::default())];
        if corner != PlaneIndex::default() {
            slots.push(slot(corner));
        }
        Assignment { slots, images: Vec::new() }
    }
}

/// What the vendor writes with a page.
fn json_of(
    page: Page,
    (reader, header): (&mut FileReader<&mut dyn Source>, &Header),
    limits: &Limits,
) -> Result<Vec<u8>, FormatError> {
    Directory::read(reader, header, page.at)?.bytes(reader, tag::MICRO_MANAGER, limits)
}

//! Which plane a page is: by Micro-Manager's index, OME-XML or ImageJ's description, else a time point in page order.
//!
//! Metadata are believed only when they account for every page exactly once.

use std::collections::{BTreeMap, HashMap, HashSet};

use super::imagej::ImageJ;
use super::ome::{self, Ome};
use super::vendor::{Lsm, MicroManager};
use crate::formats::PlaneDetails;
use crate::units::{PlaneIndex, SampleType};

/// What is kept of a page; the rest is read again when its pixels are asked for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Page {
    /// Offset of the directory.
    pub(super) at: u64,
    pub(super) height: u32,
    pub(super) width: u32,
    pub(super) n_samples: u32,
    pub(super) sample_type: SampleType,
    pub(super) bits: u32,
    pub(super) is_lossy: bool,
    /// A thumbnail, a coarser resolution or a mask.
    pub(super) reduced: bool,
}

/// A plane and where its pixels are.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Slot {
    pub(super) index: PlaneIndex,
    /// Which page holds it, `None` when it was never written.
    pub(super) page: Option<usize>,
    /// Bytes from the page's own pixels to those of this plane.
    pub(super) skip_bytes: u64,
    /// When and where it was exposed, where the description says so.
    pub(super) details: PlaneDetails,
}

impl Slot {
    pub(super) fn new(index: PlaneIndex, page: usize) -> Self {
        Self { index, page: Some(page), skip_bytes: 0, details: PlaneDetails::default() }
    }
}

/// The metadata that may say which plane a page is.
#[derive(Debug, Default)]
pub(super) struct Hints {
    pub(super) ome: Option<Ome>,
    pub(super) imagej: Option<ImageJ>,
    pub(super) micro_manager: Option<MicroManager>,
    pub(super) lsm: Option<Lsm>,
    /// What each page of an NDTiff stack says of itself; empty for other files.
    pub(super) by_page: Vec<Option<PlaneIndex>>,
    /// Planes that lie one behind the other under a single directory, and the bytes of each.
    pub(super) stack: Option<(u32, u64)>,
    /// They are slices, no time points.
    pub(super) is_z_stack: bool,
}

/// The planes in order, and the OME images behind their positions (empty when OME-XML was not used).
#[derive(Debug, Default, PartialEq)]
pub(super) struct Assignment {
    pub(super) slots: Vec<Slot>,
    pub(super) images: Vec<usize>,
}

/// Gives every page that is no thumbnail its plane index.
pub(super) fn assign(pages: &[Page], hints: &Hints) -> Assignment {
    let all_reduced = pages.iter().all(|page| page.reduced);
    let kept: Vec<usize> = (0..pages.len()).filter(|i| all_reduced || !pages[*i].reduced).collect();
    let by_index = || Some(from_micro_manager(pages, &kept, hints.micro_manager.as_ref()?)?.into());
    let by_page = || Some(from_pages(&kept, &hints.by_page)?.into());
    let by_ome = || from_ome(pages, &kept, hints.ome.as_ref()?);
    let by_imagej = || Some(from_imagej(pages, &kept, hints)?.into());
    let by_lsm = || Some(from_lsm(&kept, hints.lsm.as_ref()?)?.into());
    let mut assignment: Assignment = by_index()
        .or_else(by_page)
        .or_else(by_ome)
        .or_else(by_imagej)
        .or_else(by_lsm)
        .unwrap_or_else(|| in_page_order(&kept).into());
    assignment.slots.sort_by_key(|slot| slot.index);
    assignment
}

impl From<Vec<Slot>> for Assignment {
    fn from(slots: Vec<Slot>) -> Self {
        Self { slots, images: Vec::new() }
    }
}

fn in_page_order(kept: &[usize]) -> Vec<Slot> {
    let index = |t: usize| PlaneIndex { t: t as u32, ..PlaneIndex::default() };
    kept.iter().enumerate().map(|(t, page)| Slot::new(index(t), *page)).collect()
}

fn from_micro_manager(pages: &[Page], kept: &[usize], stack: &MicroManager) -> Option<Vec<Slot>> {
    /// Loop indices beyond this are damage.
    const INDEX_MAX: u32 = 1 << 30;
    let page_at: HashMap<u64, usize> = kept.iter().map(|page| (pages[*page].at, *page)).collect();
    let mut slots = Vec::with_capacity(kept.len());
    for (index, at) in &stack.index {
        if [index.t, index.p, index.z, index.c].iter().any(|index| *index > INDEX_MAX) {
            return None;
        }
        slots.push(Slot::new(*index, *page_at.get(at)?));
    }
    let indices: HashSet<_> = slots.iter().map(|slot| slot.index).collect();
    let used: HashSet<_> = slots.iter().map(|slot| slot.page).collect();
    if slots.len() != kept.len() || indices.len() != slots.len() || used.len() != slots.len() {
        return None;
    }
    // the position is that of the whole acquisition; this file may hold a single one
    let mut positions: Vec<u32> = slots.iter().map(|slot| slot.index.p).collect();
    positions.sort_unstable();
    positions.dedup();
    for slot in &mut slots {
        slot.index.p = positions.binary_search(&slot.index.p).map_or(0, |rank| rank as u32);
    }
    Some(slots)
}

fn from_pages(kept: &[usize], by_page: &[Option<PlaneIndex>]) -> Option<Vec<Slot>> {
    let slots: Vec<Slot> =
        kept.iter().map(|page| Some(Slot::new((*by_page.get(*page)?)?, *page))).collect::<Option<_>>()?;
    let indices: HashSet<_> = slots.iter().map(|slot| slot.index).collect();
    (indices.len() == slots.len()).then_some(slots)
}

/// Order of an ImageJ hyperstack: channels fastest, then slices, then frames.
fn from_imagej(pages: &[Page], kept: &[usize], hints: &Hints) -> Option<Vec<Slot>> {
    let first = *kept.first()?;
    let (n, plane_bytes) = hints.stack.unwrap_or((u32::try_from(kept.len()).ok()?, 0));
    let axes = hints.imagej.as_ref().and_then(|imagej| imagej.axes_of(n.into(), pages[first].n_samples));
    let [channels, slices, _frames] = match (axes, hints.stack) {
        (Some(axes), _) => axes,
        (None, Some(_)) if hints.is_z_stack => [1, n.into(), 1],
        // a stack without axes: time points
        (None, Some(_)) => [1, 1, n.into()],
        (None, None) => return None,
    };
    let index = |i: u64| PlaneIndex {
        t: (i / (channels * slices)) as u32,
        p: 0,
        z: (i / channels % slices) as u32,
        c: (i % channels) as u32,
    };
    let slot = |i: u32| {
        let page = if hints.stack.is_some() { first } else { kept[i as usize] };
        Slot { skip_bytes: u64::from(i) * plane_bytes, ..Slot::new(index(i.into()), page) }
    };
    Some((0..n).map(slot).collect())
}

/// Order of a Zeiss LSM stack: slices fastest, then times; its channels are the samples of a page.
fn from_lsm(kept: &[usize], lsm: &Lsm) -> Option<Vec<Slot>> {
    if lsm.n_z.checked_mul(lsm.n_t).map(u64::from) != Some(kept.len() as u64) {
        return None;
    }
    let index = |i: u32| PlaneIndex { t: i / lsm.n_z, z: i % lsm.n_z, ..PlaneIndex::default() };
    Some(kept.iter().zip(0..).map(|(page, i)| Slot::new(index(i), *page)).collect())
}

/// Planes and OME images as OME-XML gives them when every page of it is there; `None` when it does not account for them.
pub(super) fn planned_by_ome(first: Page, ome: &Ome, planes_max: u64) -> Option<Assignment> {
    let planes = ome.images.iter().map(|image| Some(OmePlanes::new(image, first.n_samples)?.total()));
    let n = planes.sum::<Option<u64>>().filter(|n| *n <= planes_max)?;
    let pages = vec![first; n as usize];
    let kept: Vec<usize> = (0..pages.len()).collect();
    from_ome(&pages, &kept, ome)
}

fn from_ome(pages: &[Page], kept: &[usize], ome: &Ome) -> Option<Assignment> {
    let mut assignment = Assignment::default();
    let mut used = HashSet::new();
    let mut next_ifd = 0;
    for (image_index, image) in ome.images.iter().enumerate() {
        let planes = OmePlanes::new(image, pages.first()?.n_samples)?;
        let (found, foreign) = planes.pages(ome, image, pages, &mut next_ifd)?;
        if found.is_empty() {
            continue;
        }
        for page in found.values() {
            let shape = (u64::from(pages[*page].width), u64::from(pages[*page].height));
            if shape != (image.size_x, image.size_y) || !used.insert(*page) {
                return None;
            }
        }
        let p = assignment.images.len() as u32;
        assignment.images.push(image_index);
        let told: HashMap<_, _> =
            image.planes.iter().map(|plane| ((plane.t, plane.z, plane.c), plane.details())).collect();
        let slot = |&(t, z, c): &TimeZChannel, page: Option<usize>| Slot {
            index: PlaneIndex { t: t as u32, p, z: z as u32, c: c as u32 },
            page,
            skip_bytes: 0,
            details: told.get(&(t, z, c)).copied().unwrap_or_default(),
        };
        if !foreign {
            assignment.slots.extend(planes.gaps(&found).iter().map(|index| slot(index, None)));
        }
        assignment.slots.extend(found.iter().map(|(index, page)| slot(index, Some(*page))));
    }
    kept.iter().all(|page| used.contains(page)).then_some(assignment)
}

/// Indices of a plane within its OME image.
type TimeZChannel = (u64, u64, u64);

/// The loops of one OME image, and how its planes are counted.
struct OmePlanes {
    size_t: u64,
    size_z: u64,
    size_c: u64,
    /// How far apart neighbours along t, z and c are.
    strides: [u64; 3],
}

impl OmePlanes {
    /// `None` for a dimension order that nobody knows, or sizes beyond counting.
    fn new(image: &ome::Image, n_samples: u32) -> Option<Self> {
        let samples = u64::from(n_samples);
        let size_c = if samples > 1 && image.size_c.is_multiple_of(samples) {
            image.size_c / samples
        } else {
            image.n_channels()
        };
        let (size_t, size_z) = (image.size_t, image.size_z);
        let mut strides = [0; 3];
        let mut stride = 1_u64;
        for axis in image.dimension_order.strip_prefix("XY")?.chars() {
            let (rank, size) = match axis {
                'T' => (0, size_t),
                'Z' => (1, size_z),
                'C' => (2, size_c),
                _ => return None,
            };
            strides[rank] = stride;
            stride = stride.checked_mul(size)?;
        }
        let known = strides.iter().all(|stride| *stride > 0) && stride <= u64::from(u32::MAX);
        known.then_some(Self { size_t, size_z, size_c, strides })
    }

    fn total(&self) -> u64 {
        self.size_t * self.size_z * self.size_c
    }

    /// The pages present by `(t, z, c)`, and whether other files hold more; `None` when two claim the same place.
    fn pages(
        &self,
        ome: &Ome,
        image: &ome::Image,
        pages: &[Page],
        next_ifd: &mut u64,
    ) -> Option<(BTreeMap<TimeZChannel, usize>, bool)> {
        let mut found = BTreeMap::new();
        let mut foreign = false;
        let whole = [ome::TiffData {
            ifd: Some(*next_ifd),
            plane_count: Some(self.total()),
            ..ome::TiffData::default()
        }];
        let blocks = if image.tiff_data.is_empty() { &whole[..] } else { &image.tiff_data };
        for block in blocks {
            if let (Some(own), Some(other)) = (&ome.uuid, &block.uuid)
                && own != other
            {
                foreign = true;
                continue;
            }
            let first = self.rank(block.first_t, block.first_z, block.first_c)?;
            let default_count = if block.ifd.is_some() { 1 } else { self.total() };
            let n = block.plane_count.unwrap_or(default_count).min(self.total() - first);
            let ifd = block.ifd.unwrap_or(0);
            let present = (pages.len() as u64).saturating_sub(ifd).min(n);
            for i in 0..present {
                if found.insert(self.place(first + i), (ifd + i) as usize).is_some() {
                    return None;
                }
            }
            *next_ifd = ifd.saturating_add(n);
        }
        Some((found, foreign))
    }

    fn rank(&self, t: u64, z: u64, c: u64) -> Option<u64> {
        let inside = t < self.size_t && z < self.size_z && c < self.size_c;
        let [by_t, by_z, by_c] = self.strides;
        inside.then(|| t * by_t + z * by_z + c * by_c)
    }

    fn place(&self, rank: u64) -> TimeZChannel {
        let [by_t, by_z, by_c] = self.strides;
        (rank / by_t % self.size_t, rank / by_z % self.size_z, rank / by_c % self.size_c)
    }

    /// Planes that are absent between those present; time points after the last one were never begun. Far more gaps
    /// than planes mean that the sizes are not to be believed.
    fn gaps(&self, found: &BTreeMap<TimeZChannel, usize>) -> Vec<TimeZChannel> {
        const GAPS_PER_PLANE: u64 = 10;
        let n_t = found.last_key_value().map_or(0, |((t, ..), _)| t + 1);
        let n_gaps = n_t * self.size_z * self.size_c - found.len() as u64;
        if n_gaps == 0 || n_gaps > GAPS_PER_PLANE * found.len() as u64 {
            return Vec::new();
        }
        let per_t = self.size_z * self.size_c;
        let all = (0..n_t * per_t).map(|i| (i / per_t, i % per_t / self.size_c, i % self.size_c));
        all.filter(|index| !found.contains_key(index)).collect()
    }
}

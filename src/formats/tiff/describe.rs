//! Fills the common metadata from whatever the file says of itself; what is not said, or not credible, stays absent.

use std::io::{Read, Seek};

use super::axes::{Assignment, Hints, Page};
use super::directory::{Directory, FileReader};
use super::imagej::ImageJ;
use super::ome::{Image, Ome};
use super::tags::tag;
use super::vendor::{self, Lsm, Summary};
use crate::formats::nd2::PictureFacts;
use crate::formats::{Channel, Dims, Format, FormatError, Limits, Metadata, PlaneEntry, Position};

/// The tags of the first page that metadata are made from.
#[derive(Debug, Default)]
pub(super) struct Facts {
    descriptions: Vec<String>,
    pixels_per_unit: Option<f64>,
    /// 1 none, 2 inch, 3 centimetre.
    resolution_unit: u64,
    nis_pixel_size_um: Option<f64>,
    nis: PictureFacts,
    lsm: Option<Lsm>,
    /// The first plane's own JSON (Micro-Manager, NDTiff).
    plane_summary: Summary,
    date_time: Option<String>,
}

impl Facts {
    /// Reads them.
    pub(super) fn read<R: Read + Seek>(
        reader: &mut FileReader<R>,
        directory: &Directory,
        limits: &Limits,
    ) -> Result<Self, FormatError> {
        let json = directory.bytes(reader, tag::MICRO_MANAGER, limits)?;
        let mut dates = directory.texts(reader, tag::DATE_TIME, limits)?;
        Ok(Self {
            descriptions: directory.texts(reader, tag::DESCRIPTION, limits)?,
            pixels_per_unit: directory.float(reader, tag::X_RESOLUTION, limits)?,
            resolution_unit: directory.uint(tag::RESOLUTION_UNIT).unwrap_or(2),
            nis_pixel_size_um: directory.float(reader, tag::NIS_PIXEL_SIZE, limits)?,
            nis: vendor::nis_picture(&directory.bytes(reader, tag::NIS_PICTURE, limits)?, limits),
            lsm: Lsm::parse(&directory.bytes(reader, tag::LSM_INFO, limits)?),
            plane_summary: if json.is_empty() { Summary::default() } else { Summary::parse(&json) },
            date_time: dates.drain(..).find(|date| !date.trim().is_empty()),
        })
    }

    /// What the descriptions say of the axes.
    pub(super) fn hints(&self, limits: &Limits) -> Result<Hints, FormatError> {
        let ome = self.descriptions.iter().find(|text| Ome::is_ome(text));
        Ok(Hints {
            ome: ome.map(|text| Ome::parse(text, limits)).transpose()?,
            imagej: self.descriptions.iter().find_map(|text| ImageJ::parse(text)),
            lsm: self.lsm.clone(),
            ..Hints::default()
        })
    }

    /// ImageJ's resolution is in its own unit, that of others in centimetres; inches are those of a printer.
    fn pixel_size_by_resolution(&self, imagej: Option<&ImageJ>) -> Option<f64> {
        /// Above this, a resolution in centimetres means a print (300 dpi are 85 um).
        const UM_MAX: f64 = 20.0;
        const CENTIMETRE: u64 = 3;
        let unit_per_pixel = 1.0 / self.pixels_per_unit.filter(|pixels| *pixels > 0.0)?;
        if let Some(um) = imagej.and_then(|imagej| imagej.um_per_unit) {
            return Some(unit_per_pixel * um);
        }
        let um = unit_per_pixel * 1e4;
        (self.resolution_unit == CENTIMETRE && um <= UM_MAX).then_some(um)
    }
}

/// Puts the metadata together.
pub(super) fn metadata(
    planes: &[PlaneEntry],
    pages: &[Page],
    assignment: &Assignment,
    hints: &Hints,
    facts: &Facts,
) -> Metadata {
    let first = planes.iter().find(|plane| !plane.missing).unwrap_or(&planes[0]);
    let dims = dims_of(planes, first);
    let Page { bits, is_lossy, .. } = *pages.iter().find(|page| !page.reduced).unwrap_or(&pages[0]);
    let ome = hints.ome.as_ref();
    let image_index = assignment.images.first().copied().unwrap_or(0);
    let image = ome.and_then(|ome| ome.images.get(image_index));
    let objective = ome.zip(image).and_then(|(ome, image)| ome.objective_of(image));
    let summary = hints.micro_manager.as_ref().map_or(&facts.plane_summary, |stack| &stack.summary);
    let nis = &facts.nis.objective;
    let positive = |value: Option<f64>| value.filter(|it| *it > 0.0);
    let nominal_magnification = positive(objective.and_then(|it| it.magnification)).or(nis.magnification);
    let pixel_size_um = image
        .and_then(|image| image.pixel_size_um)
        .or(facts.nis_pixel_size_um)
        .or(facts.lsm.as_ref().and_then(|lsm| lsm.pixel_size_um))
        .or_else(|| facts.descriptions.iter().find_map(|text| vendor::metamorph_pixel_size_um(text)))
        .or(summary.pixel_size_um)
        .or(facts.plane_summary.pixel_size_um)
        .or_else(|| facts.pixel_size_by_resolution(hints.imagej.as_ref()))
        .filter(|um| is_calibrated(*um, nominal_magnification));
    let imagej_step = hints.imagej.as_ref().and_then(|it| Some(it.spacing? * it.um_per_unit?));
    let z_step_um = image
        .and_then(|image| image.z_step_um)
        .or(summary.z_step_um)
        .or(facts.lsm.as_ref().and_then(|lsm| lsm.z_step_um))
        .or(imagej_step)
        .filter(|um| dims.z > 1 && *um > 0.0 && um.is_finite());
    let significant_bits = image
        .and_then(|image| image.significant_bits)
        .or(summary.significant_bits)
        .filter(|significant| (1..=bits).contains(significant));
    Metadata {
        format: Format::Tiff,
        dims,
        sample_type: first.sample_type,
        significant_bits: significant_bits.unwrap_or(bits),
        is_lossy,
        pixel_size_um,
        z_step_um,
        nominal_magnification,
        objective: objective.and_then(|it| it.name.clone()).or_else(|| nis.name.clone()),
        numerical_aperture: positive(objective.and_then(|it| it.numerical_aperture))
            .or(nis.numerical_aperture),
        channels: channels(image, (summary, &facts.nis.channels), dims.c),
        positions: positions(ome, assignment, facts.nis.position.as_ref().filter(|_| dims.p == 1)),
        acquired_at: image.and_then(|image| image.acquired_at.clone()).or_else(|| facts.date_time.clone()),
        other_files: ome.map_or_else(Vec::new, Ome::other_files),
    }
}

fn dims_of(planes: &[PlaneEntry], first: &PlaneEntry) -> Dims {
    let length = |axis: fn(&PlaneEntry) -> u32| planes.iter().map(axis).max().map_or(1, |last| last + 1);
    Dims {
        t: length(|plane| plane.index.t),
        p: length(|plane| plane.index.p),
        z: length(|plane| plane.index.z),
        c: length(|plane| plane.index.c),
        y: first.height,
        x: first.width,
        s: first.n_samples,
    }
}

/// A size of exactly 1 without an objective is what programs write that know none.
fn is_calibrated(um: f64, magnification: Option<f64>) -> bool {
    um.is_finite() && um > 0.0 && (um != 1.0 || magnification.is_some())
}

fn channels(image: Option<&Image>, (summary, nis): (&Summary, &[Channel]), n: u32) -> Vec<Channel> {
    let n = n as usize;
    let named = |channel: &Channel| *channel != Channel::default();
    match image {
        Some(image) if image.channels.len() == n && image.channels.iter().any(named) => {
            image.channels.clone()
        }
        _ if summary.channel_names.len() == n => {
            let channel = |name: &String| Channel { name: name.clone(), ..Channel::default() };
            summary.channel_names.iter().map(channel).collect()
        }
        _ if nis.len() == n && nis.iter().any(named) => nis.to_vec(),
        _ => Vec::new(),
    }
}

fn positions(ome: Option<&Ome>, assignment: &Assignment, own: Option<&Position>) -> Vec<Position> {
    let Some(ome) = ome else { return own.into_iter().cloned().collect() };
    let position = |image_index: &usize| {
        let image = &ome.images[*image_index];
        let plane = image.planes.iter().find(|plane| plane.x_um.is_some()).copied().unwrap_or_default();
        Position {
            name: image.stage_label.clone().unwrap_or_else(|| image.name.clone()),
            x_um: plane.x_um,
            y_um: plane.y_um,
            z_um: plane.z_um,
        }
    };
    let positions: Vec<Position> = assignment.images.iter().map(position).collect();
    let known = positions.len() > 1 || positions.iter().any(|position| position.x_um.is_some());
    if known { positions } else { Vec::new() }
}

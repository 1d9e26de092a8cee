//! One file of `scopewatch segment`: its planes of the nuclear channel, and what is written of each.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};

use crate::analysis::identity::{self, IdentityPatterns, PlateIdentity};
use crate::analysis::segmentation::geojson::{self, ObjectPlane};
use crate::analysis::segmentation::overlay::{self, OverlaySettings};
use crate::analysis::segmentation::{
    self, LabelImage, PlaneQuality, Region, Segmentation, SegmentationSettings, table,
};
use crate::cli::file_error::FileError;
use crate::formats::{self, Container, Limits, PlaneEntry};
use crate::paths::RelativePath;
use crate::reports::{write_atomically, write_parquet_atomically};
use crate::stages::channels::{self, ChannelChoice};
use crate::stages::{figures, segmenter};

use super::stack::{self, Picture};
use super::{Table, ZChoice, with_suffix};

/// What to do with every file.
pub(super) struct Order {
    pub(super) channel: ChannelChoice,
    pub(super) z: ZChoice,
    pub(super) table: Table,
    /// Whether outlines are written.
    pub(super) geojson: bool,
}

/// What became of a file.
pub(super) struct FileResult {
    pub(super) planes: Vec<PlaneResult>,
    /// The outlines of each position that was segmented, where they are wanted.
    pub(super) outlines: Vec<PathBuf>,
}

/// What became of one plane, or of the picture of a stack.
pub(super) struct PlaneResult {
    /// Its place in the file, or that of its stack.
    pub(super) name: String,
    pub(super) outcome: Outcome,
}

pub(super) enum Outcome {
    /// Segmented, and written.
    Segmented(Segmented),
    /// No plane of the nuclear channel.
    PassedOver(String),
    /// The other planes of the file may be well.
    Failed(FileError),
}

/// What was found on a plane, and where it was written.
pub(super) struct Segmented {
    pub(super) quality: PlaneQuality,
    /// Of how many focus steps the picture was made.
    pub(super) n_slices: usize,
    /// How the names of its files begin.
    pub(super) stem: PathBuf,
    pub(super) has_parquet: bool,
}

/// Segments a file; the names of its results begin with `out`.
pub(super) fn segment_file(file: &Path, out: &Path, order: &Order) -> Result<FileResult, FileError> {
    let container = formats::open(Box::new(File::open(file)?), &Limits::default())?;
    let work = FileWork {
        order,
        out,
        name: RelativePath::new(file).to_report(),
        identity: identity::identify(&file.to_string_lossy(), &IdentityPatterns::default()),
        n_planes: container.planes().len(),
        container,
        outlines: BTreeMap::new(),
    };
    work.run()
}

/// A file that is being segmented.
struct FileWork<'o> {
    order: &'o Order,
    out: &'o Path,
    /// As reports name it.
    name: String,
    identity: PlateIdentity,
    n_planes: usize,
    container: Box<dyn Container>,
    /// The outlines so far, by position.
    outlines: BTreeMap<u32, String>,
}

impl FileWork<'_> {
    fn run(mut self) -> Result<FileResult, FileError> {
        let entries = self.container.planes().to_vec();
        let mut planes = Vec::new();
        for slices in stack::stacks(&entries, self.order.z) {
            match self.refusals(&entries, &slices) {
                refused if refused.is_empty() => planes.push(self.do_stack(&entries, &slices)?),
                refused => planes.extend(refused),
            }
        }
        let outlines = self.write_outlines()?;
        Ok(FileResult { planes, outlines })
    }

    /// Why these slices are not segmented, each; none where they are to be.
    fn refusals(&self, entries: &[PlaneEntry], slices: &[usize]) -> Vec<PlaneResult> {
        let container = (&self.identity, self.container.metadata());
        let refused = slices.iter().filter_map(|slice| {
            let PlaneEntry { index, n_samples, .. } = entries[*slice];
            let reason = channels::refusal(&self.order.channel, container, index, n_samples as usize)?;
            Some(PlaneResult { name: index.to_string(), outcome: Outcome::PassedOver(reason) })
        });
        refused.collect()
    }

    fn do_stack(&mut self, entries: &[PlaneEntry], slices: &[usize]) -> Result<PlaneResult, FileError> {
        let z = self.order.z;
        let mut name = stack::name(entries, slices, z);
        let read = stack::read(&mut *self.container, entries, slices, z);
        let segmented = read.and_then(|picture| {
            name.clone_from(&picture.name);
            self.segment(&picture, slices.len())
        });
        let outcome = match segmented {
            Ok(segmented) => Outcome::Segmented(segmented),
            Err(error) if self.n_planes > 1 => Outcome::Failed(error),
            Err(error) => return Err(error),
        };
        Ok(PlaneResult { name, outcome })
    }

    /// How the names of results begin; `part` is named where the file has several planes.
    fn stem(&self, part: &str) -> PathBuf {
        if self.n_planes > 1 { with_suffix(self.out, part) } else { self.out.to_owned() }
    }

    fn segment(&mut self, picture: &Picture, n_slices: usize) -> Result<Segmented, FileError> {
        let Picture { plane, index, name, .. } = picture;
        let stem = self.stem(name);
        let metadata = self.container.metadata();
        let pixel_size_um = metadata.pixel_size_um;
        let Segmentation { labels, objects, quality } =
            segmentation::segment(plane, pixel_size_um, &SegmentationSettings::default())?;
        let columns = figures::table_identity(self.name.clone(), &self.identity, metadata, *index);
        // a projection lies at no focus step
        let is_void = |column: &str| column == "z" && picture.is_projection;
        let columns: Vec<_> = columns
            .iter()
            .map(|(name, value)| (*name, if is_void(name) { "" } else { value.as_str() }))
            .collect();
        let overlay = overlay::to_png(plane, &labels, &OverlaySettings::default())?;
        write(&with_suffix(&stem, "overlay.png"), &overlay)?;
        let csv = table::to_csv(&objects, &columns, pixel_size_um);
        write(&with_suffix(&stem, "objects.csv"), csv.as_bytes())?;
        let has_parquet = self.order.table == Table::Parquet;
        if has_parquet {
            write_parquet_atomically(csv.as_bytes(), &with_suffix(&stem, "objects.parquet"))
                .map_err(|error| FileError::output(&error))?;
        }
        if self.order.geojson {
            self.add_outlines((&labels, &objects), picture);
        }
        let encoded = segmenter::encode_labels(labels, pixel_size_um)?;
        write(&with_suffix(&stem, "labels.tif"), &encoded)?;
        Ok(Segmented { quality, n_slices, stem, has_parquet })
    }

    fn add_outlines(&mut self, (labels, objects): (&LabelImage, &[Region]), picture: &Picture) {
        let index = picture.index;
        let plane = ObjectPlane {
            file: &self.name,
            name: &picture.name,
            index,
            pixel_size_um: self.container.metadata().pixel_size_um,
        };
        *self.outlines.entry(index.p).or_default() += &geojson::features(labels, objects, &plane);
    }

    fn write_outlines(&self) -> Result<Vec<PathBuf>, FileError> {
        let mut paths = Vec::with_capacity(self.outlines.len());
        for (position, features) in &self.outlines {
            let path = with_suffix(&self.stem(&format!("p{position}")), "objects.geojson");
            write(&path, geojson::collection(features).as_bytes())?;
            paths.push(path);
        }
        Ok(paths)
    }
}

fn write(path: &Path, bytes: &[u8]) -> Result<(), FileError> {
    write_atomically(path, bytes).map_err(|error| FileError::output(&error))
}

//! Finds nuclei in the planes of the nuclear channel and writes their table, label image and overlay.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::actor::{Charged, CpuPool, IoPool, Stage, StageError, StageOutbox};
use crate::analysis::hashing;
use crate::analysis::segmentation::overlay::{self, OverlaySettings};
use crate::analysis::segmentation::{
    self, LabelImage, Segmentation, SegmentationError, SegmentationSettings, table,
};
use crate::formats::tiff::{Predictor, WriteCompression, WriteOptions, encode};
use crate::formats::{FormatError, Plane, Samples};
use crate::messages::{DecodedImage, Nuclei, SegmentedImage};
use crate::reports::{ObjectTables, Part, PartError, write_atomically};
use crate::stages::channels::{self, ChannelChoice};
use crate::stages::figures;
use crate::store::FileTicket;

/// Which pictures are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keep {
    /// None.
    None,
    /// About one plane in [`SAMPLE_ONE_IN`], chosen by its pixels.
    Sample,
    /// All.
    All,
}

/// How planes are segmented, and what is kept of it.
#[derive(Debug, Clone)]
pub struct Settings {
    /// `None`: nuclei are not looked for.
    pub method: Option<SegmentationSettings>,
    /// Which channel holds the nuclei.
    pub channel: ChannelChoice,
    /// Which label images are kept.
    pub labels: Keep,
    /// Which overlays are kept.
    pub overlays: Keep,
    /// Bytes on disk for label images and overlays together; beyond it none is written.
    pub picture_bytes_max: u64,
}

/// Of so many planes, one has its pictures kept under [`Keep::Sample`].
pub const SAMPLE_ONE_IN: u8 = 16;

/// Segments planes.
pub struct Segmenter {
    settings: Arc<Settings>,
    tables: ObjectTables,
    cpu: CpuPool,
    io: IoPool,
    picture_bytes: Arc<AtomicU64>,
}

/// The files that one plane leaves behind.
#[derive(Default)]
struct Products {
    table: String,
    pictures: Vec<(PathBuf, Vec<u8>)>,
}

/// Why the products of a plane could not be made.
#[derive(Debug, thiserror::Error)]
enum ProductError {
    #[error(transparent)]
    Segmentation(#[from] SegmentationError),
    #[error("the label image cannot be encoded: {0}")]
    Labels(#[from] FormatError),
}

impl Segmenter {
    /// Puts a segmenter together; `picture_bytes` counts the pictures in the output folder.
    pub fn new(
        settings: Settings,
        tables: ObjectTables,
        (cpu, io): (CpuPool, IoPool),
        picture_bytes: Arc<AtomicU64>,
    ) -> Self {
        Self { settings: Arc::new(settings), tables, cpu, io, picture_bytes }
    }

    /// Why this plane is not segmented, if so.
    fn refusal(&self, image: &DecodedImage) -> Option<String> {
        if self.settings.method.is_none() {
            return Some("segmentation is off".to_owned());
        }
        let container = (&image.file.identity, &image.file.metadata);
        channels::refusal(&self.settings.channel, container, image.index, image.plane.n_samples)
    }
}

impl Stage for Segmenter {
    const NAME: &'static str = "segmenter";
    type Input = Charged<DecodedImage>;
    type Output = Charged<SegmentedImage>;

    async fn process(
        &mut self,
        image: Charged<DecodedImage>,
        out: &mut StageOutbox<Self>,
    ) -> Result<(), StageError> {
        let Charged { value: image, permit } = image;
        if let Some(reason) = self.refusal(&image) {
            let nuclei = Nuclei::NotSegmented(reason);
            let segmented = SegmentedImage { image, nuclei };
            return out.send(Charged::new(segmented, permit)).await;
        }
        out.counters().add_bytes(image.plane.size_bytes() as u64);
        let ticket = image.ticket.clone();
        let (settings, tables, picture_bytes) =
            (self.settings.clone(), self.tables.clone(), self.picture_bytes.clone());
        let (cpu, io) = (self.cpu.clone(), self.io.clone());
        out.send_when(ticket, async move {
            let may_keep = picture_bytes.load(Ordering::Relaxed) < settings.picture_bytes_max;
            let work = {
                let tables = tables.clone();
                move || {
                    // the permit goes with the pixels, whatever becomes of this job
                    let made = make(&image, &settings, &tables, may_keep);
                    (image, permit, made)
                }
            };
            let (image, mut permit, made) = cpu.run(move |_| work()).await?;
            // what is left needs the pixels and the hasher's scratch
            let (height, width) = (image.plane.height, image.plane.width);
            permit.shrink_to((image.plane.size_bytes() + hashing::scratch_bytes(height, width)) as u64);
            let (quality, products) = made.map_err(StageError::item)?;
            let kept: usize = products.pictures.iter().map(|(_, bytes)| bytes.len()).sum();
            picture_bytes.fetch_add(kept as u64, Ordering::Relaxed);
            let FileTicket { file_id, claim } = image.file.claim;
            let part = Part { file_id, claim, plane: image.index };
            let written = io.run(move |_| write(&tables, part, products)).await?;
            written.map_err(|error| StageError::fatal(format!("the results cannot be written: {error}")))?;
            let nuclei = Nuclei::Segmented(quality);
            Ok(Some(Charged::new(SegmentedImage { image, nuclei }, permit)))
        })
        .await
    }
}

fn make(
    image: &DecodedImage,
    settings: &Settings,
    tables: &ObjectTables,
    may_keep: bool,
) -> Result<(segmentation::PlaneQuality, Products), ProductError> {
    let Some(method) = &settings.method else { return Ok(Default::default()) };
    let pixel_size_um = image.file.metadata.pixel_size_um;
    let Segmentation { labels, objects, quality } =
        segmentation::segment(&image.plane, pixel_size_um, method)?;
    let name = image.ticket.path.to_report();
    let identity = figures::table_identity(name, &image.file.identity, &image.file.metadata, image.index);
    let identity: Vec<_> = identity.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let mut products =
        Products { table: table::to_csv(&objects, &identity, pixel_size_um), pictures: Vec::new() };
    let chosen = |keep| match keep {
        Keep::None => false,
        Keep::Sample => image.digest.0[0].is_multiple_of(SAMPLE_ONE_IN),
        Keep::All => true,
    };
    let path = |kind| tables.picture_path(&image.ticket.root.name, &image.ticket.path, (image.index, kind));
    if may_keep && chosen(settings.overlays) {
        let png = overlay::to_png(&image.plane, &labels, &OverlaySettings::default())?;
        products.pictures.push((path("overlay.png"), png));
    }
    if may_keep && chosen(settings.labels) {
        products.pictures.push((path("labels.tif"), encode_labels(labels, pixel_size_um)?));
    }
    Ok((quality, products))
}

/// The label image as a TIFF: 16 bits where the labels fit, deflated, with the pixel size.
///
/// # Errors
/// When the TIFF writer refuses.
pub fn encode_labels(labels: LabelImage, pixel_size_um: Option<f64>) -> Result<Vec<u8>, FormatError> {
    let (height, width) = (labels.height, labels.width);
    let samples = labels.to_u16().map_or_else(|| Samples::Uint32(labels.labels), Samples::Uint16);
    let plane = Plane { height, width, n_samples: 1, samples };
    let options = WriteOptions {
        compression: WriteCompression::Deflate,
        predictor: Predictor::Horizontal,
        pixel_size_um,
        ..WriteOptions::default()
    };
    encode(std::slice::from_ref(&plane), &options)
}

fn write(tables: &ObjectTables, part: Part, products: Products) -> Result<(), PartError> {
    for (path, bytes) in products.pictures {
        write_atomically(&path, &bytes)?;
    }
    tables.write_part(part, products.table.as_bytes())
}

//! Finds nuclei in the planes of the nuclear channel and writes their table, label image and overlay.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::actor::{Charged, CpuPool, IoPool, Stage, StageCounters, StageError, StageOutbox};
use crate::analysis::hashing;
use crate::analysis::segmentation::geojson::{self, ObjectPlane};
use crate::analysis::segmentation::overlay::{self, OverlaySettings};
use crate::analysis::segmentation::{
    self, Centroids, LabelImage, Segmentation, SegmentationError, SegmentationSettings, table,
};
use crate::formats::tiff::{Predictor, WriteCompression, WriteOptions, encode};
use crate::formats::{FormatError, Plane, Samples};
use crate::messages::{DecodedImage, Nuclei, SegmentedImage};
use crate::reports::{ObjectTables, Part, PartError, write_atomically};
use crate::stages::channels::{self, ChannelChoice};
use crate::stages::figures;
use crate::stages::space::SpaceGate;
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
    settings: Settings,
    desk: Desk,
    cpu: CpuPool,
}

/// What the jobs share: where their products go.
#[derive(Clone)]
struct Desk {
    tables: ObjectTables,
    io: IoPool,
    space: SpaceGate,
    picture_bytes: Arc<AtomicU64>,
}

/// What is made of one plane.
struct Order {
    method: SegmentationSettings,
    labels_wanted: bool,
    overlay_wanted: bool,
}

/// The files that one plane leaves behind.
struct Products {
    table: String,
    outlines: Option<String>,
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
        space: SpaceGate,
        picture_bytes: Arc<AtomicU64>,
    ) -> Self {
        Self { settings, desk: Desk { tables, io, space, picture_bytes }, cpu }
    }

    /// What to make of this plane, or why nothing.
    fn order(&self, image: &DecodedImage) -> Result<Order, String> {
        let Settings { method, channel, labels, overlays, picture_bytes_max } = &self.settings;
        let method = method.clone().ok_or("segmentation is off")?;
        let container = (&image.file.identity, &image.file.metadata);
        if let Some(reason) = channels::refusal(channel, container, image.index, image.plane.n_samples) {
            return Err(reason);
        }
        let may_keep = self.desk.picture_bytes.load(Ordering::Relaxed) < *picture_bytes_max;
        let wanted = |keep: &Keep| match keep {
            Keep::None => false,
            // chosen by the pixels: the same planes at every run
            Keep::Sample => may_keep && image.digest.0[0].is_multiple_of(SAMPLE_ONE_IN),
            Keep::All => may_keep,
        };
        Ok(Order { method, labels_wanted: wanted(labels), overlay_wanted: wanted(overlays) })
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
        let order = match self.order(&image.value) {
            Ok(order) => order,
            Err(reason) => {
                let Charged { value: image, permit } = image;
                let nuclei = Nuclei::NotSegmented(reason);
                return out.send(Charged::new(SegmentedImage { image, nuclei }, permit)).await;
            }
        };
        out.counters().add_bytes(image.value.plane.size_bytes() as u64);
        let ticket = image.value.ticket.clone();
        let (desk, cpu, counters) = (self.desk.clone(), self.cpu.clone(), out.counters().clone());
        out.send_when(ticket, async move {
            let tables = desk.tables.clone();
            let work = move || {
                // the permit goes with the pixels, whatever becomes of this job
                let made = make(&image.value, &order, &tables);
                (image, made)
            };
            let (Charged { value: image, mut permit }, made) = cpu.run(move |_| work()).await?;
            let (nuclei, products) = made.map_err(StageError::item)?;
            desk.write(&image, products, &counters).await?;
            // what is left needs the pixels and the hasher's scratch
            let (height, width) = (image.plane.height, image.plane.width);
            permit.shrink_to((image.plane.size_bytes() + hashing::scratch_bytes(height, width)) as u64);
            Ok(Some(Charged::new(SegmentedImage { image, nuclei }, permit)))
        })
        .await
    }
}

impl Desk {
    /// Writes the products of a plane; waits while there is no space for them.
    async fn write(
        &self,
        image: &DecodedImage,
        products: Products,
        counters: &Arc<StageCounters>,
    ) -> Result<(), StageError> {
        let FileTicket { file_id, claim } = image.file.claim;
        let part = Part { file_id, claim, plane: image.index };
        let products = Arc::new(products);
        loop {
            let (tables, to_write) = (self.tables.clone(), products.clone());
            match self.io.run(move |_| to_write.write(&tables, part)).await? {
                Ok(()) => break,
                Err(error) if error.is_out_of_space() => self.space.wait_for_room(counters).await,
                Err(error) if error.is_of_the_disk() => return Err(StageError::fatal(error)),
                Err(error) => {
                    return Err(StageError::item(format!("the results cannot be written: {error}")));
                }
            }
        }
        let kept: usize = products.pictures.iter().map(|(_, bytes)| bytes.len()).sum();
        self.picture_bytes.fetch_add(kept as u64, Ordering::Relaxed);
        Ok(())
    }
}

impl Products {
    fn write(&self, tables: &ObjectTables, part: Part) -> Result<(), PartError> {
        for (path, bytes) in &self.pictures {
            write_atomically(path, bytes)?;
        }
        if let Some(outlines) = &self.outlines {
            tables.write_outlines_part(part, outlines)?;
        }
        tables.write_part(part, self.table.as_bytes())
    }
}

fn make(
    image: &DecodedImage,
    order: &Order,
    tables: &ObjectTables,
) -> Result<(Nuclei, Products), ProductError> {
    let pixel_size_um = image.file.metadata.pixel_size_um;
    let Segmentation { labels, objects, quality } =
        segmentation::segment(&image.plane, pixel_size_um, &order.method)?;
    let name = image.ticket.path.to_report();
    let outlines = tables.extras().geojson.then(|| {
        let plane = ObjectPlane {
            file: &format!("{}/{name}", image.ticket.root.name),
            name: &image.index.to_string(),
            index: image.index,
            pixel_size_um,
        };
        geojson::features(&labels, &objects, &plane)
    });
    let identity = figures::table_identity(name, &image.file.identity, &image.file.metadata, image.index);
    let identity: Vec<_> = identity.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let table = table::to_csv(&objects, &identity, pixel_size_um);
    let mut products = Products { table, outlines, pictures: Vec::new() };
    let path = |kind| tables.picture_path(&image.ticket.root.name, &image.ticket.path, (image.index, kind));
    if order.overlay_wanted {
        let png = overlay::to_png(&image.plane, &labels, &OverlaySettings::default())?;
        products.pictures.push((path("overlay.png"), png));
    }
    if order.labels_wanted {
        products.pictures.push((path("labels.tif"), encode_labels(labels, pixel_size_um)?));
    }
    let centroids = Centroids::of(&objects).map(Arc::new);
    Ok((Nuclei::Segmented { quality, centroids }, products))
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

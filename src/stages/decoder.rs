//! Reads the planes of a settled file, one charged to the memory budget after the other, decodes them and digests their
//! pixels. The file is read in order on the I/O threads; what is compressed is decoded on the threads that compute.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::debug;

use crate::actor::{ByteBudget, BytePermit, Charged, CpuPool, IoPool, Stage, StageError, StageOutbox};
use crate::analysis::hashing::{self, PixelDigest};
use crate::analysis::segmentation;
use crate::formats::{Container, FormatError, FormatErrorKind, Plane, PlaneEntry, encoded_bytes_max};
use crate::messages::{DecodedImage, FileContext, SettledFile, Ticket};
use crate::platform::filesystem;
use crate::stages::bookkeeping::Bookkeeping;
use crate::stages::channels::{self, ChannelChoice};
use crate::stages::pause::PauseSwitch;
use crate::stages::reading::{ReadGate, Reading};
use crate::stages::space::SpaceGate;
use crate::store::PlaneDone;
use crate::units::PlaneIndex;

/// How planes are read.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Deaths of the process over a file without progress before its first open plane is blamed.
    pub interruptions_max: u32,
    /// Which channel will be segmented, so that its scratch is charged, too; `None` when none will be.
    pub segmented: Option<ChannelChoice>,
}

/// Reads planes.
pub struct Decoder {
    settings: Settings,
    books: Bookkeeping,
    budget: ByteBudget,
    pools: (CpuPool, IoPool),
    space: SpaceGate,
    pause: PauseSwitch,
    reading: ReadGate,
    stop: CancellationToken,
    places: Arc<Semaphore>,
}

/// Planes that may be between their decoding and their commit at once. A mailbox that holds as many behind the last stage
/// that holds pixels makes sure that nobody waits for the verifier with pixels in hand: the verifier needs memory, too.
pub const PLANES_IN_WORK_MAX: usize = 512;

impl Decoder {
    /// Puts a decoder together; after `stop` it finishes the plane it is at and hands the file back.
    pub fn new(
        settings: Settings,
        books: Bookkeeping,
        (budget, pools): (ByteBudget, (CpuPool, IoPool)),
        (space, pause, reading): (SpaceGate, PauseSwitch, ReadGate),
        stop: CancellationToken,
    ) -> Self {
        let places = Arc::new(Semaphore::new(PLANES_IN_WORK_MAX));
        Self { settings, books, budget, pools, space, pause, reading, stop, places }
    }

    /// Reserves the bytes of one plane in its turn, so that planes in work can always be finished.
    async fn charge(&self, entry: &PlaneEntry, file: &FileContext) -> Result<BytePermit, String> {
        let container = (&file.identity, &file.metadata);
        let segmented = self.settings.segmented.as_ref().is_some_and(|choice| {
            channels::refusal(choice, container, entry.index, entry.n_samples as usize).is_none()
        });
        let needed = bytes_needed(entry, segmented);
        self.budget.acquire(needed).await.map_err(|error| {
            let mb = |bytes: u64| bytes.div_ceil(1 << 20);
            format!(
                "over limit: the plane of {} x {} pixels needs {} MB with its scratch, resources.memory_mb allows {} MB",
                entry.height,
                entry.width,
                mb(error.needed),
                mb(error.budget)
            )
        })
    }
}

impl Stage for Decoder {
    const NAME: &'static str = "decoder";
    type Input = SettledFile;
    type Output = Charged<DecodedImage>;

    async fn process(&mut self, settled: SettledFile, out: &mut StageOutbox<Self>) -> Result<(), StageError> {
        let SettledFile { ticket, file, mut todo, interruptions, container } = settled;
        let claim = file.claim;
        let planes = container.planes().to_vec();
        if interruptions >= self.settings.interruptions_max && !todo.is_empty() {
            let blamed = ticket.of_plane(planes[todo.remove(0).0].index);
            let reason = format!("the process ended {interruptions} times while this file was in work");
            self.books.fail_plane(&blamed, Self::NAME, reason, true).await?;
        }
        let reader = Reader { file, container: Arc::new(Mutex::new(container)) };
        let reads = TaskTracker::new();
        let mut is_begun = false;
        for (position, previous_digest) in todo {
            self.pause.pass(out.counters(), &self.stop).await;
            self.space.pass(out.counters(), &self.stop).await;
            let entry = planes[position];
            let reading = self.reading.pass(entry.decoded_bytes(), out.counters(), &self.stop).await;
            if self.stop.is_cancelled() {
                reads.close();
                reads.wait().await;
                return self.books.release_file(claim).await;
            }
            let ticket = ticket.of_plane(entry.index);
            let (ticket, charged) = {
                let _wait = out.counters().protect();
                let place = self.places.clone().acquire_owned().await.map_err(StageError::fatal)?;
                let ticket = ticket.holding(place);
                (ticket, self.charge(&entry, &reader.file).await)
            };
            let permit = match charged {
                Ok(permit) => permit,
                Err(reason) => {
                    self.books.fail_plane(&ticket, Self::NAME, reason, true).await?;
                    continue;
                }
            };
            if !std::mem::replace(&mut is_begun, true) {
                self.books.begin_planes(claim);
            }
            out.counters().add_bytes(entry.decoded_bytes());
            let job = PlaneJob {
                reader: reader.clone(),
                position,
                entry,
                previous_digest,
                ticket: ticket.clone(),
                books: self.books.clone(),
                pools: self.pools.clone(),
                reading,
            };
            out.send_when(ticket, reads.track_future(job.run(permit))).await?;
        }
        reads.close();
        if !reader.file.container_complete {
            // the rest of the file is still to come
            return Ok(());
        }
        let books = self.books.clone();
        out.send_when(ticket.clone(), async move {
            reads.wait().await;
            books.confirm_file(&ticket, claim).await.map(|()| None)
        })
        .await
    }
}

/// The bytes a plane occupies at most from its decoding to its hashing: its samples, and whichever step needs more
/// scratch beside them.
fn bytes_needed(entry: &PlaneEntry, segmented: bool) -> u64 {
    let (height, width) = (entry.height as usize, entry.width as usize);
    let scratch = if segmented {
        // label image, its 16-bit form, overlay picture, table, outlines and their encoded forms
        const OUTPUT_BYTES_PER_PIXEL: u64 = 32;
        let outputs = (height as u64).saturating_mul(width as u64).saturating_mul(OUTPUT_BYTES_PER_PIXEL);
        segmentation::scratch_bytes(height, width).max(outputs)
    } else {
        0
    };
    // readers hold at most one encoded plane beside the decoded one
    let encoded = encoded_bytes_max(entry.decoded_bytes());
    entry
        .decoded_bytes()
        .saturating_add(scratch.max(hashing::scratch_bytes(height, width) as u64).max(encoded))
}

/// An open container, shared by the jobs that read its planes.
#[derive(Clone)]
struct Reader {
    file: Arc<FileContext>,
    container: Arc<Mutex<Box<dyn Container>>>,
}

/// Reads one plane.
struct PlaneJob {
    reader: Reader,
    position: usize,
    entry: PlaneEntry,
    previous_digest: Option<PixelDigest>,
    ticket: Ticket,
    books: Bookkeeping,
    pools: (CpuPool, IoPool),
    reading: Reading,
}

impl PlaneJob {
    async fn run(self, permit: BytePermit) -> Result<Option<Charged<DecodedImage>>, StageError> {
        let Self { reader, position, entry, ticket, books, reading, .. } = self;
        let (cpu, io) = self.pools;
        let file = reader.file;
        let fetch = move || {
            let mut container = reader.container.lock().unwrap_or_else(PoisonError::into_inner);
            container.fetch_plane(position)
        };
        // the permit goes with the job: if the line is taken down, the memory counts until the read has ended; of the rate a
        // read that hangs takes nothing any more then
        let (permit, fetched) = io.run(move |_| (permit, fetch())).await?;
        drop(reading);
        let decode = move || {
            let plane = fetched?.decode()?;
            let digest = hashing::pixel_digest(&plane);
            Ok::<_, FormatError>((plane, digest))
        };
        let (permit, read) = cpu.run(move |_| (permit, decode())).await?;
        match read {
            Ok((_, digest)) if self.previous_digest == Some(digest) => {
                drop(permit);
                books.finish_plane(&ticket, unchanged(&file, entry.index, digest)).await?;
                Ok(None)
            }
            Ok((plane, _)) if !file.container_complete && may_be_unwritten(&plane) => {
                debug!(file = %ticket, "ends in zeros: read again when its container is complete");
                Ok(None)
            }
            Ok((plane, digest)) => {
                let image = DecodedImage { ticket, file, index: entry.index, plane, digest };
                Ok(Some(Charged::new(image, permit)))
            }
            Err(error) if !file.container_complete => {
                debug!(file = %ticket, %error, "not readable yet: read again when its container is complete");
                Ok(None)
            }
            Err(error) => {
                let path = ticket.absolute_path();
                let stat = io.run(move |_| filesystem::stat_path(&path)).await?;
                // a file that changes under the reader is not to blame: its confirmation gives it back
                if stat.is_ok_and(|stat| stat == file.stat) {
                    let for_good = error.kind != FormatErrorKind::Io;
                    books.fail_plane(&ticket, Decoder::NAME, error.to_string(), for_good).await?;
                }
                Ok(None)
            }
        }
    }
}

/// Whether the last samples are zeros as where a file was given its size before its content. No camera writes a block of
/// them; where a mask does, its plane only waits for the rest of its container.
fn may_be_unwritten(plane: &Plane) -> bool {
    const BLOCK_BYTES: usize = 4096;
    let bytes = plane.samples.as_bytes();
    bytes[bytes.len().saturating_sub(BLOCK_BYTES)..].iter().all(|byte| *byte == 0)
}

/// The entry of a plane that was read again and holds the same pixels: its results stand.
fn unchanged(file: &FileContext, index: PlaneIndex, digest: PixelDigest) -> PlaneDone {
    PlaneDone {
        ticket: file.claim,
        index,
        digest: digest.0,
        blank: None,
        features: None,
        figures: serde_json::Map::new(),
        matches: Vec::new(),
        registrable: None,
        registrations: Vec::new(),
    }
}

//! The wiring of one generation, on one page: who stands beside whom, and how much may lie between them.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::actor::{Assembly, ByteBudget, CpuPool, Generation, IoPool, Statistics, mailbox, rejections};
use crate::messages::{InWork, Ticket};
use crate::reports::ObjectTables;
use crate::stages::bookkeeping::Bookkeeping;
use crate::stages::decoder::{self, Decoder};
use crate::stages::hasher::Hasher;
use crate::stages::pause::PauseSwitch;
use crate::stages::reading::ReadGate;
use crate::stages::registrar::{self, Registrar, Wells};
use crate::stages::reporter::{self, Reporter};
use crate::stages::segmenter::{self, Segmenter};
use crate::stages::settler::{self, Settler, Waiting};
use crate::stages::space::SpaceGate;
use crate::stages::verifier::{self, Verifier};
use crate::stages::watcher::{self, Hints, WatchStatus, Watcher};
use crate::store::{LedgerError, LedgerHandle, LedgerReader, wait};

/// Files that may lie before the settler.
const SEEN_MAX: usize = 256;
/// Opened files that may lie before the decoder.
const SETTLED_MAX: usize = 4;
/// Planes with pixels that may lie before a stage.
const PIXELS_MAX: usize = 2;
/// Planes without pixels that may lie before a stage.
const RECORDS_MAX: usize = 64;
/// Planes that may wait for their commit at once: one commit takes them all.
const COMMITS_AT_ONCE: usize = 128;
/// Files that may wait at once for their last look and its commit: while they do they read nothing.
const CONFIRMATIONS_AT_ONCE: usize = 32;
/// Files that may be looked at or claimed at once.
const LOOKS_AT_ONCE: usize = 32;
/// How long a job of an earlier generation may hold the last thread that computes.
const THREAD_PATIENCE: Duration = Duration::from_secs(30);

/// How the stages are set, for every generation alike.
#[derive(Debug, Clone)]
pub struct Plan {
    /// What is watched.
    pub watcher: watcher::Settings,
    /// When a file is whole.
    pub settler: settler::Settings,
    /// How planes are read.
    pub decoder: decoder::Settings,
    /// How nuclei are found.
    pub segmenter: segmenter::Settings,
    /// How fields are registered.
    pub registrar: registrar::Settings,
}

/// What the stages share, over all generations.
#[derive(Clone)]
pub struct Resources {
    /// The one writer of the ledger.
    pub ledger: LedgerHandle,
    /// Where readers of the ledger find it.
    pub state_dir: PathBuf,
    /// Operations of the ledger for stages.
    pub books: Bookkeeping,
    /// Where object tables and pictures go.
    pub tables: ObjectTables,
    /// Threads that compute.
    pub cpu: CpuPool,
    /// Threads that read and write files.
    pub io: IoPool,
    /// Bytes for pixels and scratch.
    pub budget: ByteBudget,
    /// Bytes of planes that the verifier keeps ready.
    pub feature_cache_bytes: u64,
    /// What verifying took.
    pub verification: verifier::VerifierTally,
    /// The gate before the output disk.
    pub space: SpaceGate,
    /// The gate that an operator shuts.
    pub pause: PauseSwitch,
    /// The gate that holds back reading while others need the disks.
    pub reading: ReadGate,
    /// Files that are in work.
    pub in_work: InWork,
    /// Where to look sooner.
    pub hints: Arc<Hints>,
    /// Bytes of label images and overlays in the output folder, as far as they are counted.
    pub picture_bytes: Arc<AtomicU64>,
    /// Counters of all stages.
    pub statistics: Statistics,
}

/// What can be seen of a generation from outside.
#[derive(Debug, Clone, Default)]
pub struct View {
    /// How the roots stand.
    pub watch: WatchStatus,
    /// What waits to be whole.
    pub waiting: Waiting,
}

/// Runs one generation until its sources have ended and everything inside is done.
///
/// # Errors
/// The failure of the stage that ended it, as text for the supervisor.
pub async fn run_generation(
    plan: Plan,
    shared: Resources,
    generation: Generation,
    show: impl FnOnce(View),
) -> Result<(), String> {
    let n_places = free_threads(&shared).await?;
    let reader = || LedgerReader::open(&shared.state_dir).map_err(|error| error.to_string());
    let roots: HashMap<_, _> =
        plan.watcher.roots.iter().map(|watched| (watched.root.id, watched.root.path.clone())).collect();
    let n_threads = shared.cpu.snapshot().n_threads;

    let (in_work, once) = (shared.in_work.clone(), plan.watcher.once);
    let (watcher, watch) =
        Watcher::new(plan.watcher, reader()?, shared.ledger.clone(), in_work, shared.hints);
    let (budget, limits) = (shared.budget.clone(), plan.settler.limits);
    let (settler, waiting) = Settler::new(
        plan.settler,
        shared.books.clone(),
        shared.io.clone(),
        (shared.pause.clone(), shared.reading.clone()),
        generation.drain.clone(),
    );
    let pools = (shared.cpu.clone(), shared.io.clone());
    let decoder = Decoder::new(
        plan.decoder,
        shared.books.clone(),
        (shared.budget, pools.clone()),
        (shared.space.clone(), shared.pause, shared.reading.clone()),
        generation.drain.clone(),
    );
    let segmenter =
        Segmenter::new(plan.segmenter, shared.tables, pools.clone(), shared.space, shared.picture_bytes);
    let hasher = Hasher::new(shared.cpu.clone());
    let (io, cpu, ledger, roots) = (shared.io, shared.cpu, shared.ledger.clone(), Arc::new(roots));
    let (feature_cache_bytes, tally) = (shared.feature_cache_bytes, shared.verification);
    let reading = (shared.reading, generation.drain.clone());
    let means =
        verifier::Means { io, cpu, budget, limits, ledger, roots, feature_cache_bytes, tally, reading };
    let readers = (reader()?, reader()?);
    let load = tokio::task::spawn_blocking(move || load(readers, means, (pools, plan.registrar)));
    let loaded = load.await.map_err(|error| error.to_string())?;
    let (verifier, registrar) = loaded.map_err(|error| error.to_string())?;
    let wells = registrar.wells(shared.books.clone());
    let reporter = Reporter::new(shared.books.clone());
    show(View { watch, waiting });

    let (seen_out, seen_in) = mailbox(SEEN_MAX);
    let (settled_out, settled_in) = mailbox(SETTLED_MAX);
    let (decoded_out, decoded_in) = mailbox(PIXELS_MAX);
    let (segmented_out, segmented_in) = mailbox(PIXELS_MAX);
    let (hashed_out, hashed_in) = mailbox(decoder::PLANES_IN_WORK_MAX);
    let (verified_out, verified_in) = mailbox(RECORDS_MAX);
    let (registered_out, registered_in) = mailbox(RECORDS_MAX);
    let (rejection_out, rejection_in) = rejections::<Ticket>();
    let suspect = rejection_in.suspect();

    let mut line = Assembly::new(&shared.statistics, rejection_out);
    let drain = generation.drain.clone();
    line.task(watcher::NAME, |counters| watcher.run(seen_out, generation.drain, counters));
    line.stage(settler, seen_in, settled_out, LOOKS_AT_ONCE);
    line.stage(decoder, settled_in, decoded_out, n_places + CONFIRMATIONS_AT_ONCE);
    line.stage(segmenter, decoded_in, segmented_out, n_threads + 1);
    line.stage(hasher, segmented_in, hashed_out, n_threads + 1);
    line.stage(verifier, hashed_in, verified_out, n_threads);
    line.stage(registrar, verified_in, registered_out, n_threads);
    line.last_stage(reporter, registered_in, COMMITS_AT_ONCE);
    if !once {
        line.task(WELLS, |counters| wells.clone().keep_settled(drain.clone(), counters));
    }
    line.task("rejections", |_| reporter::take_rejections(rejection_in, shared.books.clone()));
    let ended = line.run(&generation.abort).await.map_err(|error| error.to_string());
    if let Some(rejection) = suspect.take() {
        reporter::write_rejection(rejection, shared.books).await.map_err(|error| error.to_string())?;
    }
    ended?;
    settle_wells((wells, once), (&shared.statistics, drain), &generation.abort).await
}

/// How many I/O threads there are; an error where those of a kind all hang.
async fn free_threads(shared: &Resources) -> Result<usize, String> {
    let pool = shared.io.snapshot();
    if pool.n_running >= pool.n_places {
        // reads that hang cannot be ended from here: only a new process gets its threads back
        return Err("every I/O thread hangs in work of an earlier generation".to_owned());
    }
    if tokio::time::timeout(THREAD_PATIENCE, shared.cpu.run(|_| ())).await.is_err() {
        return Err("every computing thread hangs in work of an earlier generation".to_owned());
    }
    Ok(pool.n_places)
}

/// The member that goes over the wells.
const WELLS: &str = "wells";

/// Goes over the wells once everything that there was is in the ledger; not where it was told to end before.
async fn settle_wells(
    (wells, once): (Wells, bool),
    (statistics, drain): (&Statistics, CancellationToken),
    abort: &CancellationToken,
) -> Result<(), String> {
    if !once || drain.is_cancelled() {
        return Ok(());
    }
    let (rejection_out, _) = rejections::<Ticket>();
    let mut rest = Assembly::new(statistics, rejection_out);
    rest.task(WELLS, |counters| async move { wells.settle_all(&drain, &counters).await });
    rest.run(abort).await.map_err(|error| error.to_string())
}

/// The stages that know what the ledger holds, loaded after everything that an earlier generation left on its way there.
/// Blocks.
fn load(
    readers: (LedgerReader, LedgerReader),
    means: verifier::Means,
    (pools, registrar): ((CpuPool, IoPool), registrar::Settings),
) -> Result<(Verifier, Registrar), LedgerError> {
    wait(|reply| means.ledger.catch_up(reply))?;
    Ok((Verifier::load(readers.0, means)?, Registrar::load(readers.1, pools, registrar)?))
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroUsize;
    use std::sync::mpsc;

    use super::*;
    use crate::analysis::hashing::PixelDigest;
    use crate::formats::Limits;
    use crate::store::test_support::Scratch;

    #[test]
    fn a_plane_on_its_way_into_the_ledger_is_known_to_the_next_generation() {
        let scratch = Scratch::new();
        let ticket = scratch.claim("a.tif", 1, 1).ticket;
        let (go_on, held) = mpsc::channel::<()>();
        scratch.handle().catch_up(Box::new(move |_| held.recv().unwrap_or_default()));
        scratch.handle().finish_plane(scratch.done(ticket, 0, 7), Box::new(|_| ()));
        let (cpu, io) = (CpuPool::new(NonZeroUsize::MIN).unwrap(), IoPool::new(NonZeroUsize::MIN));
        let means = verifier::Means {
            io: io.clone(),
            cpu: cpu.clone(),
            budget: ByteBudget::new(1 << 20),
            limits: Limits::default(),
            ledger: scratch.handle(),
            roots: Arc::default(),
            feature_cache_bytes: 0,
            tally: verifier::VerifierTally::default(),
            reading: Default::default(),
        };
        let readers = (scratch.reader(), scratch.reader());
        let (say, heard) = mpsc::channel();
        let loading = std::thread::spawn(move || {
            let pools = ((cpu, io), registrar::Settings::default());
            let (verifier, _) = load(readers, means, pools).unwrap();
            say.send(verifier.knows(&PixelDigest([7; 32]))).unwrap();
        });
        let early = heard.recv_timeout(Duration::from_millis(50));
        assert_eq!(early, Err(mpsc::RecvTimeoutError::Timeout), "loaded before the plane was committed");
        drop(go_on);
        assert_eq!(heard.recv(), Ok(true));
        loading.join().unwrap();
    }
}

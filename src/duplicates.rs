//! Duplicates for programs: the pipeline of `scopewatch scan --only hash`, once over files and folders, as one call.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use crate::actor::Outcome;
use crate::analysis::verification::{Placement, Relation};
use crate::service::{Finished, Service, ServiceError, Task, Watchtower};
use crate::settings::{Settings, SettingsError, resolve_scanned};
use crate::stages::bookkeeping::ProgressSnapshot;
use crate::store::{
    FileState, GroupListing, GroupMember, LedgerError, LedgerReader, PairListing, PlaneName, PlaneState,
};
use crate::units::PlaneIndex;

/// How often progress is told.
const PROGRESS_INTERVAL: Duration = Duration::from_millis(100);
/// Threads that wait for files and for the ledger; computing has its own.
const RUNTIME_THREADS: usize = 2;

/// How duplicates are looked for.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct DuplicateSettings {
    /// Folder for the ledger and the reports, outside the folders that are searched. It is kept: a later call with the
    /// same folder goes on where this one ended and reads only what is new, and the report covers all of it. `None`:
    /// a folder among the temporary ones of the system, which is removed at the end.
    pub output: Option<PathBuf>,
    /// Threads that compute, at least 1. `None`: all cores.
    pub n_workers: Option<usize>,
    /// Bytes for pixels, scratch and caches. `None`: a share of the machine's memory.
    pub memory_bytes: Option<u64>,
}

/// What is being done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Step {
    /// Files are counted.
    Counting,
    /// Files are read, their planes hashed, and look-alikes verified, side by side.
    Comparing,
    /// Groups and pairs are read from the ledger.
    Grouping,
}

/// How far the search is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Progress {
    /// What is being done. Steps follow one another in order; where files are counted faster than this is told, the
    /// first is left out.
    pub step: Step,
    /// Part of the step that is done, 0 to 1: of the files, while planes are compared.
    pub share: f64,
    /// Files that are done, rejected ones and those that were known among them.
    pub n_files: u64,
    /// Planes that were hashed and compared.
    pub n_planes: u64,
}

/// A plane that was found.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FoundPlane {
    /// The file, links followed.
    pub path: PathBuf,
    /// The plane in it.
    pub index: PlaneIndex,
}

/// Planes that come from one exposure.
#[derive(Debug, Clone, PartialEq)]
pub struct DuplicateGroup {
    /// Whether all have equal pixels. If not, each member stands for all planes of its pixels, which are an exact group
    /// of their own where there are several.
    pub is_exact: bool,
    /// How sure the group is, 0 to 1: the least confidence among its members.
    pub score: f64,
    /// The plane that the others are compared with: the best by depth, compression and metadata.
    pub representative: FoundPlane,
    /// The others, by path and plane.
    pub members: Vec<DuplicateMember>,
}

/// A plane in a group.
#[derive(Debug, Clone, PartialEq)]
pub struct DuplicateMember {
    /// The plane.
    pub plane: FoundPlane,
    /// What it is to the representative; `None` where only an operator says that it is the same.
    pub relation: Option<Relation>,
    /// How sure that is, 0 to 1.
    pub score: f64,
}

/// Two planes that are something to each other: the members of groups with their representatives, and flags
/// ([`Relation::PartialOverlap`], [`Relation::Reacquired`], [`Relation::Uncertain`]) between groups and planes in none.
#[derive(Debug, Clone, PartialEq)]
pub struct DuplicatePair {
    /// The better of the two.
    pub a: FoundPlane,
    /// The other one.
    pub b: FoundPlane,
    /// What they are to each other; `None` where only an operator says that they are the same.
    pub relation: Option<Relation>,
    /// More about the relation; for programs to show, not to read.
    pub reason: Option<String>,
    /// How sure that is, 0 to 1.
    pub score: f64,
    /// S, the correlation of the scenes, -1 to 1.
    pub s: Option<f64>,
    /// R, the correlation of the noise, -1 to 1.
    pub r: Option<f64>,
    /// Q, the difference in units of what two exposures would give.
    pub q: Option<f64>,
    /// Where `b` lies in `a`.
    pub placement: Option<Placement>,
}

/// A file, or a plane of one, that could not be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rejected {
    /// The file.
    pub path: PathBuf,
    /// The plane; `None` where the whole file is meant.
    pub index: Option<PlaneIndex>,
    /// What was expected and what was found.
    pub reason: String,
}

/// What was found. Lists have an order that does not depend on workers or on the order in which files came.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct DuplicateReport {
    /// The groups.
    pub groups: Vec<DuplicateGroup>,
    /// The pairs.
    pub pairs: Vec<DuplicatePair>,
    /// What could not be read.
    pub rejected: Vec<Rejected>,
    /// Files that were done in this call, those among them that were known already.
    pub n_files: u64,
    /// Planes that were hashed in this call.
    pub n_planes: u64,
}

/// Why duplicates could not be looked for.
#[derive(Debug, thiserror::Error)]
pub enum DuplicateError {
    /// A path cannot be searched, or the output folder lies in one.
    #[error(transparent)]
    Settings(#[from] SettingsError),
    /// The pipeline cannot start or failed.
    #[error(transparent)]
    Service(#[from] ServiceError),
    /// What was found cannot be read.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// The temporary folder or a thread cannot be made.
    #[error("{0}")]
    Io(#[from] std::io::Error),
    /// The pipeline ended before everything was done.
    #[error("the search ended before everything was compared")]
    Unfinished,
}

/// Finds the planes among files and folders, with everything below them, that are copies of one another, or of one
/// exposure, or of one scene; see [`Relation`]. Blocks, and calls `progress` ten times a second and at the ends of the last
/// two steps; may be called from anywhere, also from an asynchronous task.
///
/// # Errors
/// When a path cannot be found, when another process works in the output folder, or when a disk is full. Files that
/// cannot be read are no error: they are listed in the report.
///
/// # Panics
/// When `progress` does. The search ends, and what was done until then stays in the output folder.
///
/// ```no_run
/// use scopewatch::{DuplicateSettings, find_duplicates};
///
/// let settings = DuplicateSettings { n_workers: Some(2), ..DuplicateSettings::default() };
/// let report = find_duplicates(&["/data/plate1".into()], &settings, &mut |progress| {
///     eprintln!("{:?}: {:.0} %", progress.step, 100.0 * progress.share);
/// })?;
/// for group in &report.groups {
///     println!("{} ({:.2})", group.representative.path.display(), group.score);
/// }
/// # Ok::<(), scopewatch::duplicates::DuplicateError>(())
/// ```
pub fn find_duplicates(
    paths: &[PathBuf],
    settings: &DuplicateSettings,
    progress: &mut dyn FnMut(Progress),
) -> Result<DuplicateReport, DuplicateError> {
    let temporary = if settings.output.is_none() { Some(TemporaryFolder::create()?) } else { None };
    let output = match (&settings.output, &temporary) {
        (Some(output), _) => output.clone(),
        (None, Some(temporary)) => temporary.0.clone(),
        (None, None) => unreachable!("one of both is made above"),
    };
    let mut chosen = Settings::default();
    chosen.output.dir.clone_from(&output);
    chosen.resources.workers = settings.n_workers;
    chosen.resources.memory_bytes = settings.memory_bytes;
    let (folders, only) = resolve_scanned(paths, &output)?;
    let state_dir = folders.output.join("state");
    let service = Service::open(Task { settings: chosen, folders, only, once: true, hash_only: true })?;
    let counts = work(service, progress)?;
    progress(told(Step::Grouping, 0.0, &counts));
    let mut report = LedgerReader::open(&state_dir)?.in_snapshot(read_report)?;
    report.n_files = n_files(&counts);
    report.n_planes = counts.planes_done;
    progress(told(Step::Grouping, 1.0, &counts));
    Ok(report)
}

/// Runs the pipeline on a thread of its own, so that `progress` is called on that of the caller.
fn work(service: Service, progress: &mut dyn FnMut(Progress)) -> Result<ProgressSnapshot, DuplicateError> {
    let (watchtower, shutdown) = (service.watchtower(), service.shutdown());
    let total: Arc<OnceLock<u64>> = Arc::default();
    let counter = (watchtower.clone(), total.clone());
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(RUNTIME_THREADS).enable_all().build()?;
    let worker = std::thread::Builder::new().name("duplicates".into()).spawn(move || {
        let finished = runtime.block_on(run(service, counter));
        runtime.shutdown_timeout(Duration::from_secs(2));
        finished
    })?;
    // a panic of the caller's ends the work, too
    let abort = shutdown.abort.drop_guard();
    while !worker.is_finished() {
        progress(now(&watchtower, total.get().copied()));
        std::thread::park_timeout(PROGRESS_INTERVAL);
    }
    abort.disarm();
    let snapshot = watchtower.progress().snapshot();
    drop(watchtower);
    let finished = worker.join().map_err(|_| DuplicateError::Unfinished)??;
    if finished.outcome != Outcome::Finished {
        return Err(DuplicateError::Unfinished);
    }
    progress(told(Step::Comparing, 1.0, &snapshot));
    Ok(snapshot)
}

/// The pipeline, and beside it the counting of the files.
async fn run(
    service: Service,
    (watchtower, total): (Watchtower, Arc<OnceLock<u64>>),
) -> Result<Finished, ServiceError> {
    let counted = watchtower.count_new_files();
    drop(watchtower);
    tokio::spawn(async move {
        if let Ok(n_files) = counted.await {
            total.get_or_init(|| n_files);
        }
    });
    service.run(|| ()).await
}

fn now(watchtower: &Watchtower, total: Option<u64>) -> Progress {
    let counts = watchtower.progress().snapshot();
    match total {
        None => told(Step::Counting, 0.0, &counts),
        Some(total) => told(Step::Comparing, n_files(&counts) as f64 / total.max(1) as f64, &counts),
    }
}

fn told(step: Step, share: f64, counts: &ProgressSnapshot) -> Progress {
    Progress { step, share: share.min(1.0), n_files: n_files(counts), n_planes: counts.planes_done }
}

fn n_files(counts: &ProgressSnapshot) -> u64 {
    counts.files_done + counts.files_unchanged + counts.files_rejected
}

fn read_report(reader: &LedgerReader) -> Result<DuplicateReport, LedgerError> {
    let roots = reader.roots()?;
    let path_of = |root: &str, path: &Path| {
        let known = roots.iter().find(|known| known.name == root);
        known.map_or_else(|| path.to_owned(), |known| known.path.join(path))
    };
    let plane =
        |name: &PlaneName| FoundPlane { path: path_of(&name.root, name.path.as_path()), index: name.index };
    let mut report = DuplicateReport::default();
    reader.each_group(|group| {
        report.groups.extend(group_of(&group, plane));
        Ok::<_, LedgerError>(())
    })?;
    reader.each_pair(|pair| {
        report.pairs.push(pair_of(pair, plane));
        Ok::<_, LedgerError>(())
    })?;
    reader.each_file(|file| {
        if file.state == FileState::Rejected.name() {
            let path = path_of(&file.root, file.path.as_path());
            report.rejected.push(Rejected { path, index: None, reason: file.reason });
        }
        Ok::<_, LedgerError>(())
    })?;
    reader.each_plane(|plane| {
        if plane.state == PlaneState::Rejected.name() {
            let path = path_of(&plane.root, plane.path.as_path());
            let reason = plane.reason.unwrap_or_default();
            report.rejected.push(Rejected { path, index: Some(plane.index), reason });
        }
        Ok::<_, LedgerError>(())
    })?;
    Ok(report)
}

/// None for a group without its representative.
fn group_of(group: &GroupListing, plane: impl Fn(&PlaneName) -> FoundPlane) -> Option<DuplicateGroup> {
    let representative = group.members.iter().find(|member| member.relation.is_none())?;
    let member = |member: &GroupMember| {
        Some(DuplicateMember {
            plane: plane(&member.plane),
            relation: Relation::from_name(member.relation?),
            score: member.evidence.confidence,
        })
    };
    let members: Vec<_> = group.members.iter().filter_map(member).collect();
    Some(DuplicateGroup {
        is_exact: group.kind == "exact",
        score: members.iter().map(|member| member.score).fold(1.0, f64::min),
        representative: plane(&representative.plane),
        members,
    })
}

fn pair_of(pair: PairListing, plane: impl Fn(&PlaneName) -> FoundPlane) -> DuplicatePair {
    DuplicatePair {
        a: plane(&pair.a),
        b: plane(&pair.b),
        relation: Relation::from_name(pair.relation),
        reason: pair.reason,
        score: pair.evidence.confidence,
        s: pair.evidence.s,
        r: pair.evidence.r,
        q: pair.evidence.q,
        placement: pair.evidence.placement,
    }
}

/// A folder that is removed with everything in it.
struct TemporaryFolder(PathBuf);

impl TemporaryFolder {
    fn create() -> std::io::Result<Self> {
        static N_MADE: AtomicU32 = AtomicU32::new(0);
        loop {
            let number = N_MADE.fetch_add(1, Ordering::Relaxed);
            let path = std::env::temp_dir().join(format!("scopewatch-{}-{number}", std::process::id()));
            match std::fs::create_dir(&path) {
                // left behind by another process of that number
                Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => (),
                made => return made.map(|()| Self(path)),
            }
        }
    }
}

impl Drop for TemporaryFolder {
    fn drop(&mut self) {
        // what cannot be removed stays where such things are expected
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

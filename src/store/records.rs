//! The plain data that go into the ledger and come out of it.

use std::sync::Arc;

use serde_json::{Map, Value};

use crate::analysis::segmentation::Centroids;
use crate::analysis::verification::{Placement, Relation};
use crate::paths::{FileStat, RelativePath};
use crate::store::{FileState, Place, PlaneName, PlaneState, PlaneVerdict};
use crate::units::PlaneIndex;

/// SHA-256 or other 256-bit digest of the samples of a plane.
pub type PixelDigest = [u8; 32];

/// The right to work on a file, given by a claim. The next claim of the file makes it stale.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FileTicket {
    /// The ledger's number of the file: stable for one path under one root, over all versions.
    pub file_id: i64,
    /// Counts the claims of the file.
    pub claim: i64,
}

/// Where a plane or file stands in its experiment. Of a plane's own identity and its file's, the plane's wins.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Identity {
    /// Plate or slide.
    pub plate: Option<String>,
    /// Run of the instrument.
    pub run: Option<String>,
    /// Staining or imaging cycle.
    pub cycle: Option<String>,
    /// Well, such as `B02`.
    pub well: Option<String>,
    /// Field of view.
    pub site: Option<String>,
    /// Name of the channel.
    pub channel: Option<String>,
    /// Time point; the plane's own index where nothing else is known.
    pub t: Option<i64>,
    /// Focus step; the plane's own index where nothing else is known.
    pub z: Option<i64>,
}

impl Identity {
    /// What is known of a plane: its own identity, else its file's.
    #[must_use]
    pub fn completed_by(&self, file: &Self) -> Self {
        let text = |own: &Option<String>, file: &Option<String>| own.clone().or_else(|| file.clone());
        Self {
            plate: text(&self.plate, &file.plate),
            run: text(&self.run, &file.run),
            cycle: text(&self.cycle, &file.cycle),
            well: text(&self.well, &file.well),
            site: text(&self.site, &file.site),
            channel: text(&self.channel, &file.channel),
            t: self.t.or(file.t),
            z: self.z.or(file.z),
        }
    }
}

/// Something that the operator should see: one line in `alerts.jsonl`.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Alert {
    /// A stable word, such as `incomplete` or `stuck_frame`.
    pub kind: String,
    /// One sentence for the operator.
    pub text: String,
    /// More keys of the line.
    pub fields: Map<String, Value>,
}

/// What the watcher or settler saw of a file that is not taken up.
#[derive(Debug, Clone, PartialEq)]
pub struct FileNote {
    /// The root it stands under.
    pub root_id: i64,
    /// Its path below the root.
    pub path: RelativePath,
    /// What the file system said.
    pub stat: FileStat,
    /// One of the states before [`FileState::Working`].
    pub state: FileState,
    /// Why, for `explain`.
    pub reason: String,
    /// Written once per transition, with `file`, `root` and `state` added.
    pub alert: Option<Alert>,
}

/// A plane that a container names.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct ClaimedPlane {
    /// Which one.
    pub index: PlaneIndex,
    /// The container holds no samples for it: it is counted, and not listed.
    pub is_missing: bool,
    /// What is known of this plane beyond its file.
    pub identity: Identity,
    /// What it is read from, as [`crate::formats::Container::place`] says: a plane that was done and is now read from
    /// elsewhere is read again.
    pub place: Option<u64>,
}

/// Bytes of a file that stay as they are while it only grows.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Probe {
    /// Bytes from the start of the file.
    pub offset: u64,
    /// How many they are.
    pub length: u64,
    /// Their BLAKE3 digest.
    pub digest: [u8; 32],
}

/// A plane with nuclei counted, and where its rows of the object table are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SegmentedPlane {
    /// Which one.
    pub index: PlaneIndex,
    /// The claim that made its part; `None` where its rows stand in the table.
    pub claim: Option<i64>,
    /// How many rows it has.
    pub nuclei: u64,
}

/// By what a growing file is known again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GrowthRecord {
    /// Device of the file.
    pub device: u64,
    /// Its inode there.
    pub inode: u64,
    /// Of its head, of its first plane and of the last one that was listed.
    pub probes: Vec<Probe>,
    /// Its size when it was finished; only if it is larger did it grow since. `None` while it is not finished.
    pub finished_bytes: Option<u64>,
}

/// More planes of a file that was claimed while it grows.
#[derive(Debug, Clone, PartialEq)]
pub struct FileExtension {
    /// The claim, which goes on.
    pub ticket: FileTicket,
    /// What the file system said before the planes were listed.
    pub stat: FileStat,
    /// What is known of the file as a whole.
    pub identity: Identity,
    /// The planes that were not listed before.
    pub planes: Vec<ClaimedPlane>,
    /// By what the file is known again.
    pub probes: Vec<Probe>,
}

/// Where a growing file stands.
#[derive(Debug, Clone, PartialEq)]
pub struct GrowthNote {
    /// The claim.
    pub ticket: FileTicket,
    /// [`FileState::Growing`] or [`FileState::Stalled`].
    pub state: FileState,
    /// Why, for `explain`.
    pub reason: String,
    /// Written once per transition, with `file`, `root` and `state` added.
    pub alert: Option<Alert>,
}

/// Takes up a file, with all planes that it names so far.
#[derive(Debug, Clone, PartialEq)]
pub struct FileClaim {
    /// The root it stands under.
    pub root_id: i64,
    /// Its path below the root.
    pub path: RelativePath,
    /// What the file system said before the planes were listed.
    pub stat: FileStat,
    /// Format, such as `nd2`.
    pub format: String,
    /// Shape, pixel size, objective and so on: keys of the line in `files.jsonl`.
    pub metadata: Map<String, Value>,
    /// What is known of the file as a whole.
    pub identity: Identity,
    /// How good a representative it makes: more is better (bit depth, lossless, richness of metadata).
    pub quality_rank: i64,
    /// The container is finished; else it grows: its state is `growing`, more planes come by
    /// [`LedgerHandle::extend_file`](super::LedgerHandle::extend_file), and it is claimed again when it is finished.
    pub is_complete: bool,
    /// The caller has compared probes: since the last claim the container only grew, so planes that are done stay so.
    pub only_grew: bool,
    /// Every plane known so far.
    pub planes: Vec<ClaimedPlane>,
    /// By what it is known again when it has grown; none where a complete one cannot.
    pub probes: Vec<Probe>,
}

/// The answer to a claim.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claimed {
    /// To be shown with every later operation.
    pub ticket: FileTicket,
    /// The version as it stands; it moves on with the first result that differs from what was reported.
    pub version: i64,
    /// How often the process ended while planes of this file were in work, since one of them last finished.
    pub interruptions: u32,
    /// In the order of the claim.
    pub planes: Vec<PlaneClaim>,
    /// Planes that were done while the container grew, and are read again because it says otherwise now.
    pub n_misplaced: u64,
}

/// What is to be done with one plane.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlaneClaim {
    /// Which one.
    pub index: PlaneIndex,
    /// Its state; only [`PlaneState::Todo`] asks for work.
    pub state: PlaneState,
    /// Failed attempts so far.
    pub attempts: u32,
    /// The digest last reported, in a container that holds and held this one plane alone: read again with the same,
    /// it needs no further work. None where the work has to be done whatever the pixels are.
    pub previous_digest: Option<PixelDigest>,
}

/// A plane elsewhere with the same pixel digest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ExactMatch {
    /// The other file.
    pub other_file_id: i64,
    /// The plane in it.
    pub other_index: PlaneIndex,
    /// Whether the two whole files were found equal byte by byte.
    pub same_bytes: bool,
}

/// What the pixels of two digests are to each other. Evidence is of the pair in this direction.
#[derive(Debug, Clone, PartialEq)]
pub struct Edge {
    /// The smaller digest.
    pub a: PixelDigest,
    /// The larger one.
    pub b: PixelDigest,
    /// What they are; where it is nothing worth a word, an earlier edge is taken back.
    pub relation: Relation,
    /// How sure that is, 0 to 1.
    pub confidence: f32,
    /// Correlation of the scenes, -1 to 1.
    pub s: Option<f32>,
    /// Correlation of the noise, -1 to 1.
    pub r: Option<f32>,
    /// Difference in units of what two exposures would give.
    pub q: Option<f32>,
    /// Where plane `b` lies in plane `a`.
    pub b_in_a: Option<Placement>,
    /// Where plane `a` lies in plane `b`.
    pub a_in_b: Option<Placement>,
    /// Why, in one sentence.
    pub reason: String,
    /// Version of the method; 0 where an original could not be read, which is tried again with the next copy.
    pub version: u32,
}

impl Edge {
    /// Takes an earlier edge between two digests back: it is no longer looked at.
    pub fn taken_back(one: PixelDigest, other: PixelDigest) -> Self {
        Self::unseen([one, other], Relation::Distinct, "not looked at any more".to_owned())
    }

    /// What is said of two digests whose planes were not compared: without evidence, of no version of the method.
    pub fn unseen([one, other]: [PixelDigest; 2], relation: Relation, reason: String) -> Self {
        Self {
            a: one.min(other),
            b: one.max(other),
            relation,
            confidence: 0.0,
            s: None,
            r: None,
            q: None,
            b_in_a: None,
            a_in_b: None,
            reason,
            version: 0,
        }
    }
}

/// The figures of a pair in the tables.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PairEvidence {
    /// How sure the relation is, 0 to 1.
    pub confidence: f64,
    /// Correlation of the scenes, -1 to 1.
    pub s: Option<f64>,
    /// Correlation of the noise, -1 to 1.
    pub r: Option<f64>,
    /// Difference in units of what two exposures would give.
    pub q: Option<f64>,
    /// Where the second plane lies in the first.
    pub placement: Option<Placement>,
}

/// Features of a plane, in the encoding of the method that made them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlaneFeatures {
    /// Version of the method.
    pub version: u32,
    /// The encoded features.
    pub bytes: Vec<u8>,
}

/// A plane that can be registered: the centres of its nuclei, and what tells which planes lie on it. Kept with the
/// plane's results, for partners that come later.
#[derive(Debug, Clone, PartialEq)]
pub struct Registrable {
    /// Where and how the plane was taken.
    pub view: View,
    /// Its nuclei; kept under the kind `centroids`.
    pub centroids: Arc<Centroids>,
}

/// Where and how a plane was taken. Lengths are finite, sizes above 0.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct View {
    /// Rows.
    pub height: u32,
    /// Columns.
    pub width: u32,
    /// Side of a pixel in micrometres.
    pub pixel_size_um: Option<f64>,
    /// Magnification printed on the objective.
    pub magnification: Option<f64>,
    /// Stage position, x and y in micrometres, of the plane's centre.
    pub stage_um: Option<[f64; 2]>,
}

impl View {
    /// The centre of the plane, `x, y` in pixels.
    pub fn centre_px(&self) -> [f64; 2] {
        [self.width, self.height].map(|n| (f64::from(n) - 1.0) / 2.0)
    }
}

/// A registrable plane of the ledger.
#[derive(Debug, Clone, PartialEq)]
pub struct RegistrablePlane {
    /// The root that its file stands under.
    pub root_id: i64,
    /// Which plane, and which pixels of it.
    pub key: PixelsOf,
    /// Plate, cycle, well, time point and so on, as far as they are known.
    pub identity: Identity,
    /// Where and how it was taken.
    pub view: View,
}

/// A plane with certain pixels: another digest is another thing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PixelsOf {
    /// Its file.
    pub file_id: i64,
    /// Which plane.
    pub index: PlaneIndex,
    /// Digest of its samples.
    pub digest: PixelDigest,
}

/// Which side of a registration a plane is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Side {
    /// The finer field.
    Moving,
    /// Its overview.
    Reference,
}

/// What came of the try to register a plane with another.
#[derive(Debug, Clone, PartialEq)]
pub struct Registration {
    /// Which side the plane is that this is reported with.
    pub side: Side,
    /// The plane on the other side.
    pub partner: PixelsOf,
    /// Whether the one lies on the other.
    pub is_accepted: bool,
    /// More keys of the line in `registrations.jsonl` and columns of `registrations.csv`.
    pub result: Map<String, Value>,
    /// Which points of both fields are the same nucleus, as
    /// [`pairs_to_bytes`](crate::analysis::registration::pairs_to_bytes) writes them; none where they were refused.
    pub pairs: Option<Vec<u8>>,
}

/// A plane was read and analysed.
#[derive(Debug, Clone, PartialEq)]
pub struct PlaneDone {
    /// The claim.
    pub ticket: FileTicket,
    /// Which plane.
    pub index: PlaneIndex,
    /// Digest of its samples.
    pub digest: PixelDigest,
    /// Why the plane is blank, if it is; blank planes never group.
    pub blank: Option<String>,
    /// Kept under the kind `plane`.
    pub features: Option<PlaneFeatures>,
    /// Keys of the line in `planes.jsonl` and columns of `planes.csv`; `nuclei` is summed into the file's line.
    pub figures: Map<String, Value>,
    /// Planes of equal digest; only `same_bytes` is taken from here, the group follows from the digest.
    pub matches: Vec<ExactMatch>,
    /// What is kept of it for registration; none where it has no nuclei to be matched by.
    pub registrable: Option<Registrable>,
    /// The pairs that were tried with it.
    pub registrations: Vec<Registration>,
}

/// The answer to a finished plane.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PlaneFinished {
    /// Every plane has its end and the file is confirmed: `finish_file` may be called.
    pub file_ready: bool,
    /// The plane had this digest already: nothing was written.
    pub is_unchanged: bool,
}

/// A plane could not be read or analysed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlaneFailure {
    /// The claim.
    pub ticket: FileTicket,
    /// Which plane.
    pub index: PlaneIndex,
    /// The stage that gave up.
    pub stage: String,
    /// Why, for the user.
    pub reason: String,
    /// The plane is rejected at this many attempts; 1 for what cannot get better, such as malformed data.
    pub attempts_max: u32,
}

/// The answer to a failed plane.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PlaneFailed {
    /// The plane is rejected; else it may be tried again.
    pub is_dead: bool,
    /// As in [`PlaneFinished::file_ready`].
    pub file_ready: bool,
}

/// The answer to the confirmation of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Confirmed {
    /// The stat is that of the claim; else the file changed while it was read, and has to be reopened.
    pub is_unchanged: bool,
    /// As in [`PlaneFinished::file_ready`].
    pub file_ready: bool,
}

/// The answer to a finished file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileFinished {
    /// The version that stands in its line.
    pub version: i64,
    /// Nothing differs from what was reported under this version: no line was written.
    pub is_unchanged: bool,
    /// Done, or rejected because none of its planes could be read.
    pub state: FileState,
}

/// A file is given up as a whole.
#[derive(Debug, Clone, PartialEq)]
pub struct FileRejection {
    /// The root it stands under.
    pub root_id: i64,
    /// Its path below the root.
    pub path: RelativePath,
    /// What the file system said: at this stat it is not tried again.
    pub stat: FileStat,
    /// A stable word: `malformed`, `unsupported`, `over_limit`, …
    pub kind: String,
    /// Why, for the user.
    pub reason: String,
}

/// A file as the ledger knows it, for the comparison with a folder listing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KnownFile {
    /// The ledger's number.
    pub file_id: i64,
    /// Its name within the folder.
    pub name: std::ffi::OsString,
    /// As last noted, claimed or rejected.
    pub stat: FileStat,
    /// Where it stands.
    pub state: FileState,
}

/// Where a file of the ledger is found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileLocation {
    /// The ledger's number.
    pub file_id: i64,
    /// The root it stands under.
    pub root_id: i64,
    /// Its path below the root.
    pub path: RelativePath,
    /// As last noted or claimed.
    pub stat: FileStat,
    /// Where it stands.
    pub state: FileState,
}

/// One plane that others can be copies of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KnownPlane {
    /// Digest of its samples.
    pub digest: PixelDigest,
    /// Where it stands in its series.
    pub place: Place,
    /// A number above 0 that its file shares with those that are equal byte for byte.
    pub byte_class: i64,
    /// Its features.
    pub features: Option<PlaneFeatures>,
}

/// What the ledger holds, for `status`.
#[derive(Debug, Clone, PartialEq, Eq, Default, serde::Serialize)]
pub struct Counts {
    /// Files per state.
    pub files: std::collections::BTreeMap<FileState, u64>,
    /// Planes per state.
    pub planes: std::collections::BTreeMap<PlaneState, u64>,
    /// Groups of duplicates.
    pub groups: u64,
    /// Rows of `duplicate_pairs.csv`: members of groups beside their representatives, flags and stuck frames.
    pub pairs: u64,
    /// Pairs of planes that were found to lie on one another.
    pub registrations: u64,
    /// Pairs of planes that were tried and refused.
    pub registrations_refused: u64,
    /// Report lines not yet in their files.
    pub lines_pending: u64,
    /// When the file that waits longest was first seen in its state (RFC 3339).
    pub oldest_pending: Option<String>,
}

/// What happened to a file, for `explain`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileHistory {
    /// Where it is.
    pub location: FileLocation,
    /// Name of its root.
    pub root: String,
    /// The version as it stands.
    pub version: i64,
    /// Every change of state, oldest first.
    pub events: Vec<HistoryEvent>,
    /// Planes that are not done, or took more than one attempt.
    pub planes: Vec<PlaneHistory>,
    /// What its planes are to others: to the best of equal pixels, and to look-alikes.
    pub relations: Vec<PlaneRelation>,
    /// What operators have said of its planes.
    pub verdicts: Vec<PlaneVerdict>,
}

/// What a plane is to another one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlaneRelation {
    /// The plane.
    pub index: PlaneIndex,
    /// The relation's name.
    pub relation: &'static str,
    /// The other plane.
    pub other: PlaneName,
}

/// One entry of a history.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HistoryEvent {
    /// RFC 3339, UTC.
    pub time: String,
    /// The new state, or the stage that failed.
    pub what: String,
    /// Why.
    pub reason: String,
}

/// The troubles of one plane.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlaneHistory {
    /// Which one.
    pub index: PlaneIndex,
    /// Where it stands.
    pub state: PlaneState,
    /// Failed attempts, oldest first.
    pub attempts: Vec<HistoryEvent>,
}

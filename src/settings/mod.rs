//! Settings: what the user may choose, checked once at start.
//!
//! Two steps: raw text of four layers (`layers`, `raw`) becomes [`Settings`], whose types hold nothing
//! invalid. `config/scopewatch.toml` explains every key and is itself the lowest layer, so there is one place where a
//! default stands.

mod error;
mod folders;
mod layers;
mod raw;
mod registration;
mod scanned;
#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};
use std::time::Duration;

use globset::{GlobBuilder, GlobSet, GlobSetBuilder};
use serde::{Deserialize, Serialize};

use crate::analysis::identity::IdentityPatterns;
use crate::formats::growing::FrameShape;
use crate::formats::{Limits, PixelSizes};

pub use error::SettingsError;
pub use folders::{Folders, check_folders, resolve_folders};
pub(crate) use layers::edit_distance;
pub use layers::{DEFAULT_TOML, Override, environment};
use raw::RawSettings;
pub use registration::{ModelChoice, RegistrationSettings, WarpChoice};
pub use scanned::{below_one_root, resolve_scanned};

/// Every setting, checked. The keys, units, ranges and defaults stand in `config/scopewatch.toml`.
#[derive(Debug, Clone)]
pub struct Settings {
    /// What is watched, and when a file counts as written.
    pub watch: WatchSettings,
    /// How files are read that are still being written.
    pub growing: GrowingSettings,
    /// Where results go, and how much of them.
    pub output: OutputSettings,
    /// What the process may use of the machine.
    pub resources: ResourceSettings,
    /// What a file may claim before it is refused.
    pub limits: Limits,
    /// Pixel sizes under objectives, for files that were never calibrated.
    pub pixel_sizes: PixelSizes,
    /// Tries, restarts and deadlines.
    pub pipeline: PipelineSettings,
    /// How nuclei are found.
    pub segmentation: SegmentationSettings,
    /// How fields are registered.
    pub registration: RegistrationSettings,
    /// How machine, plate and well are named.
    pub identity: IdentitySettings,
    /// What is logged.
    pub log: LogSettings,
}

/// What is watched, and when a file counts as written.
#[derive(Debug, Clone)]
pub struct WatchSettings {
    /// Folders to watch, as typed; see [`resolve_folders`].
    pub roots: Vec<PathBuf>,
    /// Which files are taken up; matches the path below the root.
    pub include: GlobSet,
    /// Which files and folders are passed over; matches the path below the root.
    pub exclude: GlobSet,
    /// How long a file on a local disk must stay unchanged.
    pub quiet_period: Duration,
    /// The same on a network or FUSE file system.
    pub quiet_period_network: Duration,
    /// Time from the end of one scan of the folders to the start of the next.
    pub scan_interval: Duration,
    /// When an unchanged, unfinished file is listed as incomplete.
    pub incomplete_after: Duration,
    /// Folders below a root that are descended into, one inside the other.
    pub depth_max: usize,
}

/// How files are read that are still being written.
#[derive(Debug, Clone)]
pub struct GrowingSettings {
    /// Whether planes are taken up while their file grows.
    pub enabled: bool,
    /// Shapes of ND2 frames that cameras of this machine write.
    pub nd2_frames: Vec<FrameShape>,
    /// The shortest time without a new plane after which an acquisition may count as stalled.
    pub stalled_after_min: Duration,
}

/// Where results go, and how much of them.
#[derive(Debug, Clone)]
pub struct OutputSettings {
    /// The output folder, as typed; see [`resolve_folders`].
    pub dir: PathBuf,
    /// Which label images are kept.
    pub labels: Keep,
    /// Which overlay pictures are kept.
    pub overlays: Keep,
    /// Bytes on disk for label images and overlays together.
    pub label_disk_budget_bytes: u64,
    /// Free bytes under which writing pauses.
    pub free_space_min_bytes: u64,
    /// Time between two renewals of `reports/current`.
    pub current_interval: Duration,
}

/// What the process may use of the machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ResourceSettings {
    /// Threads that compute; `None` chooses by the machine, see [`crate::tuning`].
    pub workers: Option<usize>,
    /// Bytes for pixels in flight, scratch and caches; `None` chooses by the machine.
    pub memory_bytes: Option<u64>,
    /// Threads that read files.
    pub io_workers: usize,
    /// Bytes in a second that planes are read at from disks; `None` is no limit.
    pub read_bytes_per_s_max: Option<u64>,
    /// The same while files are arriving.
    pub read_bytes_per_s_arriving_max: Option<u64>,
    /// The percentage of the time in which tasks may wait for disks while files arrive; `None` is whatever it takes.
    pub io_stalled_percent_max: Option<u64>,
    /// What becomes of what was read in the page cache.
    pub page_cache: PageCache,
}

/// Tries, restarts and deadlines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PipelineSettings {
    /// Tries of a plane before it is rejected.
    pub attempts_max: u32,
    /// Deaths of the process while a plane is at work before that plane is rejected.
    pub interruptions_max: u32,
    /// Time on one plane after which a stage counts as hung.
    pub hang_timeout: Duration,
    /// Time that planes in flight have after a request to stop.
    pub drain_timeout: Duration,
    /// Restarts of the pipeline within `restart_window` before the process gives up.
    pub restart_limit: u32,
    /// The time in which restarts are counted.
    pub restart_window: Duration,
    /// Pause before the first restart; doubles each time.
    pub restart_backoff: Duration,
}

/// How nuclei are found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SegmentationSettings {
    /// Whether nuclei are looked for.
    pub enabled: bool,
    /// The nuclear channel by name or number; `None` chooses by names and colours.
    pub channel: Option<String>,
    /// How tables of objects are written.
    pub table: TableFormat,
    /// Whether the outlines of objects are written as GeoJSON.
    pub geojson: bool,
}

/// How machine, plate and well are named.
#[derive(Debug, Clone)]
pub struct IdentitySettings {
    /// This machine's name in the ledger; `None` takes the host's name.
    pub host: Option<String>,
    /// The user's patterns, tried before the built-in ones.
    pub patterns: IdentityPatterns,
}

/// What is logged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogSettings {
    /// The least severe messages that are logged.
    pub level: LogLevel,
    /// How messages look.
    pub format: LogFormat,
    /// Whether messages also go to a file in the output folder.
    pub file: bool,
}

/// Which pictures of segmented planes are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Keep {
    /// As the command chooses: `run` a sample, `scan` and `segment` all.
    Auto,
    /// None.
    None,
    /// A few of each container.
    Sample,
    /// All, within the disk budget.
    All,
}

impl Keep {
    /// The choice itself, or `automatic` where it was left to the command.
    #[must_use]
    pub fn or(self, automatic: Self) -> Self {
        if self == Self::Auto { automatic } else { self }
    }
}

/// What becomes of a file's bytes in the page cache once they were read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PageCache {
    /// As the command chooses: `run` drops them, the others keep them.
    Auto,
    /// They stay as long as the system likes.
    Keep,
    /// They go.
    Drop,
}

/// How tables of objects are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TableFormat {
    /// As CSV.
    Csv,
    /// As CSV, with the same as Parquet beside it.
    Parquet,
}

/// Severity of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[allow(missing_docs, reason = "each name is its own explanation")]
pub enum LogLevel {
    Error,
    Warn,
    Info,
    Debug,
    Trace,
}

/// How messages look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[allow(missing_docs, reason = "each name is its own explanation")]
pub enum LogFormat {
    Text,
    Json,
}

impl Settings {
    /// Merges the shipped defaults, `file`, `environment` (of the process: [`environment`]) and `overrides`, later ones
    /// winning, and checks the result.
    ///
    /// # Errors
    /// An unknown key, a value of the wrong type or out of range, a glob or pattern that cannot be compiled; each with
    /// the key, and the layer that it came from.
    pub fn load(
        file: Option<&Path>,
        environment: impl IntoIterator<Item = (String, String)>,
        overrides: &[Override],
    ) -> Result<Self, SettingsError> {
        layers::merge(file, environment, overrides)?.try_into()
    }
}

impl Default for Settings {
    fn default() -> Self {
        Self::load(None, [], &[]).expect("the shipped configuration is checked by a test")
    }
}

impl TryFrom<RawSettings> for Settings {
    type Error = SettingsError;

    fn try_from(raw: RawSettings) -> Result<Self, SettingsError> {
        let RawSettings {
            watch,
            growing,
            output,
            resources,
            limits,
            calibration,
            pipeline,
            segmentation,
            registration,
            identity,
            log,
        } = raw;
        Ok(Self {
            watch: watch.try_into()?,
            growing: growing.try_into()?,
            output: output.try_into()?,
            resources: ResourceSettings {
                workers: (resources.workers > 0).then_some(resources.workers),
                memory_bytes: megabytes(resources.memory_mb),
                io_workers: resources.io_workers,
                read_bytes_per_s_max: megabytes(resources.read_mb_per_s_max),
                read_bytes_per_s_arriving_max: megabytes(resources.read_mb_per_s_arriving_max),
                io_stalled_percent_max: Some(resources.io_stalled_percent_max).filter(|percent| *percent > 0),
                page_cache: resources.page_cache,
            },
            limits: Limits {
                plane_bytes_max: limits.plane_mb_max << 20,
                metadata_bytes_max: limits.metadata_mb_max << 20,
                planes_max: limits.planes_max,
                ..Limits::default()
            },
            pixel_sizes: calibration.try_into()?,
            pipeline: PipelineSettings {
                attempts_max: pipeline.attempts_max,
                interruptions_max: pipeline.interruptions_max,
                hang_timeout: Duration::from_secs(pipeline.hang_timeout_s),
                drain_timeout: Duration::from_secs(pipeline.drain_timeout_s),
                restart_limit: pipeline.restart_limit,
                restart_window: Duration::from_secs(pipeline.restart_window_s),
                restart_backoff: Duration::from_millis(pipeline.restart_backoff_ms),
            },
            segmentation: SegmentationSettings {
                enabled: segmentation.enabled,
                channel: non_empty(segmentation.channel),
                table: segmentation.table,
                geojson: segmentation.geojson,
            },
            registration: RegistrationSettings {
                optimizer: registration.optimizer,
                model: registration.model,
                warp: registration.warp,
                pictures: registration.pictures,
            },
            identity: identity.try_into()?,
            log: LogSettings { level: log.level, format: log.format, file: log.file },
        })
    }
}

impl TryFrom<raw::RawWatch> for WatchSettings {
    type Error = SettingsError;

    fn try_from(raw: raw::RawWatch) -> Result<Self, SettingsError> {
        if raw.roots.iter().any(String::is_empty) {
            let (key, value) = ("watch.roots", String::new());
            return Err(SettingsError::Text { key, value, expected: "the path of a folder" });
        }
        Ok(Self {
            roots: raw.roots.into_iter().map(PathBuf::from).collect(),
            include: compile_globs("watch.include", &raw.include)?,
            exclude: compile_globs("watch.exclude", &raw.exclude)?,
            quiet_period: Duration::from_millis(raw.quiet_period_ms),
            quiet_period_network: Duration::from_millis(raw.quiet_period_network_ms),
            scan_interval: Duration::from_millis(raw.scan_interval_ms),
            incomplete_after: Duration::from_secs(raw.incomplete_after_s),
            depth_max: raw.depth_max,
        })
    }
}

impl TryFrom<raw::RawGrowing> for GrowingSettings {
    type Error = SettingsError;

    fn try_from(raw: raw::RawGrowing) -> Result<Self, SettingsError> {
        let shape = |text: String| {
            let expected = "columns x rows and a type, such as \"2048x2044 uint16\"";
            text.parse().map_err(|_| SettingsError::Text { key: "growing.nd2_frames", value: text, expected })
        };
        Ok(Self {
            enabled: raw.enabled,
            nd2_frames: raw.nd2_frames.into_iter().map(shape).collect::<Result<_, _>>()?,
            stalled_after_min: Duration::from_millis(raw.stalled_after_min_ms),
        })
    }
}

impl TryFrom<raw::RawOutput> for OutputSettings {
    type Error = SettingsError;

    fn try_from(raw: raw::RawOutput) -> Result<Self, SettingsError> {
        if raw.dir.is_empty() {
            return Err(SettingsError::Text {
                key: "output.dir",
                value: raw.dir,
                expected: "the path of a folder",
            });
        }
        Ok(Self {
            dir: raw.dir.into(),
            labels: raw.labels,
            overlays: raw.overlays,
            label_disk_budget_bytes: raw.label_disk_budget_mb << 20,
            free_space_min_bytes: raw.free_space_min_mb << 20,
            current_interval: Duration::from_millis(raw.current_interval_ms),
        })
    }
}

impl TryFrom<raw::RawCalibration> for PixelSizes {
    type Error = SettingsError;

    fn try_from(raw: raw::RawCalibration) -> Result<Self, SettingsError> {
        let key = "calibration.pixel_sizes_um";
        let size = |text: String| {
            text.parse().map_err(|expected| SettingsError::Text { key, value: text, expected })
        };
        Ok(Self(raw.pixel_sizes_um.into_iter().map(size).collect::<Result<_, _>>()?))
    }
}

impl TryFrom<raw::RawIdentity> for IdentitySettings {
    type Error = SettingsError;

    fn try_from(raw: raw::RawIdentity) -> Result<Self, SettingsError> {
        if raw.host.contains('/') {
            let expected = "a name without `/`";
            return Err(SettingsError::Text { key: "identity.host", value: raw.host, expected });
        }
        Ok(Self { host: non_empty(raw.host), patterns: IdentityPatterns::compile(&raw.patterns)? })
    }
}

/// Bytes, where 0 stands for none.
fn megabytes(mb: u64) -> Option<u64> {
    (mb > 0).then_some(mb << 20)
}

fn non_empty(text: String) -> Option<String> {
    (!text.is_empty()).then_some(text)
}

/// Compiles globs that match a path below a root; one without `/` matches the last name of the path.
fn compile_globs(key: &'static str, globs: &[String]) -> Result<GlobSet, SettingsError> {
    let error = |source| SettingsError::Glob { key, source };
    let mut set = GlobSetBuilder::new();
    for glob in globs {
        let anchored =
            if glob.contains('/') { glob.trim_start_matches('/').to_owned() } else { format!("**/{glob}") };
        let glob = GlobBuilder::new(&anchored).case_insensitive(true).literal_separator(true).build();
        set.add(glob.map_err(error)?);
    }
    set.build().map_err(error)
}

//! Settings as they are typed: one field per key of `config/scopewatch.toml`, where each is explained. No field has
//! a default here; the shipped file is the lowest layer.

use serde::de::IntoDeserializer;
use serde::{Deserialize, Deserializer};

use super::{Keep, LogFormat, LogLevel, ModelChoice, PageCache, TableFormat, WarpChoice};
use crate::analysis::registration::fit::OptimizerChoice;

/// Smallest and largest value of every numeric key; the unit is the last word of the key.
pub(super) const RANGES: &[(&str, u64, u64)] = &[
    ("watch.quiet_period_ms", 0, 86_400_000),
    ("watch.quiet_period_network_ms", 0, 86_400_000),
    ("watch.scan_interval_ms", 100, 86_400_000),
    ("watch.incomplete_after_s", 1, 604_800),
    ("watch.depth_max", 0, 256),
    ("growing.stalled_after_min_ms", 0, 86_400_000),
    ("output.label_disk_budget_mb", 0, 1_000_000_000),
    ("output.free_space_min_mb", 0, 1_000_000_000),
    ("output.current_interval_ms", 100, 3_600_000),
    ("resources.workers", 0, 1024),
    ("resources.memory_mb", 0, 1_000_000),
    ("resources.io_workers", 1, 64),
    ("resources.read_mb_per_s_max", 0, 1_000_000),
    ("resources.read_mb_per_s_arriving_max", 0, 1_000_000),
    ("resources.io_stalled_percent_max", 0, 100),
    ("limits.plane_mb_max", 1, 1_000_000),
    ("limits.metadata_mb_max", 1, 4096),
    ("limits.planes_max", 1, 1_000_000_000),
    ("pipeline.attempts_max", 1, 100),
    ("pipeline.interruptions_max", 1, 1000),
    ("pipeline.hang_timeout_s", 1, 86_400),
    ("pipeline.drain_timeout_s", 0, 3600),
    ("pipeline.restart_limit", 0, 1000),
    ("pipeline.restart_window_s", 1, 86_400),
    ("pipeline.restart_backoff_ms", 0, 60_000),
];

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawSettings {
    pub(super) watch: RawWatch,
    pub(super) growing: RawGrowing,
    pub(super) output: RawOutput,
    pub(super) resources: RawResources,
    pub(super) limits: RawLimits,
    pub(super) calibration: RawCalibration,
    pub(super) pipeline: RawPipeline,
    pub(super) segmentation: RawSegmentation,
    pub(super) registration: RawRegistration,
    pub(super) identity: RawIdentity,
    pub(super) log: RawLog,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawWatch {
    pub(super) roots: Vec<String>,
    pub(super) include: Vec<String>,
    pub(super) exclude: Vec<String>,
    pub(super) quiet_period_ms: u64,
    pub(super) quiet_period_network_ms: u64,
    pub(super) scan_interval_ms: u64,
    pub(super) incomplete_after_s: u64,
    pub(super) depth_max: usize,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawGrowing {
    pub(super) enabled: bool,
    pub(super) nd2_frames: Vec<String>,
    pub(super) stalled_after_min_ms: u64,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawOutput {
    pub(super) dir: String,
    #[serde(deserialize_with = "choice")]
    pub(super) labels: Keep,
    #[serde(deserialize_with = "choice")]
    pub(super) overlays: Keep,
    pub(super) label_disk_budget_mb: u64,
    pub(super) free_space_min_mb: u64,
    pub(super) current_interval_ms: u64,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawResources {
    pub(super) workers: usize,
    pub(super) memory_mb: u64,
    pub(super) io_workers: usize,
    pub(super) read_mb_per_s_max: u64,
    pub(super) read_mb_per_s_arriving_max: u64,
    pub(super) io_stalled_percent_max: u64,
    #[serde(deserialize_with = "choice")]
    pub(super) page_cache: PageCache,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawLimits {
    pub(super) plane_mb_max: u64,
    pub(super) metadata_mb_max: u64,
    pub(super) planes_max: u64,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawCalibration {
    pub(super) pixel_sizes_um: Vec<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawPipeline {
    pub(super) attempts_max: u32,
    pub(super) interruptions_max: u32,
    pub(super) hang_timeout_s: u64,
    pub(super) drain_timeout_s: u64,
    pub(super) restart_limit: u32,
    pub(super) restart_window_s: u64,
    pub(super) restart_backoff_ms: u64,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawSegmentation {
    pub(super) enabled: bool,
    pub(super) channel: String,
    #[serde(deserialize_with = "choice")]
    pub(super) table: TableFormat,
    pub(super) geojson: bool,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawRegistration {
    #[serde(deserialize_with = "choice")]
    pub(super) optimizer: OptimizerChoice,
    #[serde(deserialize_with = "choice")]
    pub(super) model: ModelChoice,
    #[serde(deserialize_with = "choice")]
    pub(super) warp: WarpChoice,
    pub(super) pictures: bool,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawIdentity {
    pub(super) host: String,
    pub(super) patterns: Vec<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawLog {
    #[serde(deserialize_with = "choice")]
    pub(super) level: LogLevel,
    #[serde(deserialize_with = "choice")]
    pub(super) format: LogFormat,
    pub(super) file: bool,
}

/// Reads one of several words, so that an error lists them all.
fn choice<'de, D: Deserializer<'de>, T: Deserialize<'de>>(deserializer: D) -> Result<T, D::Error> {
    let word = String::deserialize(deserializer)?;
    T::deserialize(word.into_deserializer())
}

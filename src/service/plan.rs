//! From checked settings to what each stage is told.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use crate::paths::Root;
use crate::pipeline::Plan;
use crate::reports::Extras;
use crate::settings::{Keep, PageCache, Settings, TableFormat};
use crate::stages::channels::ChannelChoice;
use crate::stages::reading;
use crate::stages::settler::{self, GrowingSettings, Patience};
use crate::stages::watcher::{self, FileFilter, WatchedRoot};
use crate::stages::{decoder, registrar, segmenter};

use super::Task;

/// Tells every stage what it needs of the settings.
pub(super) fn plan(task: &Task, roots: &[Arc<Root>]) -> Plan {
    let Settings { watch, growing, output, limits, pipeline, segmentation, registration, identity, .. } =
        &task.settings;
    let rest = |quiet_period| if task.once { Duration::ZERO } else { quiet_period };
    let incomplete_after = rest(watch.incomplete_after);
    let patience = |quiet_period| Patience {
        quiet_period: rest(quiet_period),
        incomplete_after,
        stalled_after_min: growing.stalled_after_min,
    };
    // the watcher says which these are: a share may be mounted after the start
    let network_roots = Arc::default();
    let only = task.only.iter().cloned().chain(std::iter::repeat_with(Vec::new));
    let channel = ChannelChoice::parse(segmentation.channel.as_deref().unwrap_or_default());
    let method = (segmentation.enabled && !task.hash_only).then(Default::default);
    let automatic = if task.once { Keep::All } else { Keep::Sample };
    Plan {
        watcher: watcher::Settings {
            roots: roots.iter().cloned().zip(only).map(|(root, only)| WatchedRoot { root, only }).collect(),
            filter: FileFilter {
                include: watch.include.clone(),
                exclude: watch.exclude.clone(),
                depth_max: watch.depth_max,
            },
            scan_interval: watch.scan_interval,
            once: task.once,
            network_roots: Arc::clone(&network_roots),
            rescans: watcher::Rescans::default(),
        },
        settler: settler::Settings {
            patience: patience(watch.quiet_period),
            patience_network: patience(watch.quiet_period_network),
            network_roots,
            once: task.once,
            limits: *limits,
            patterns: identity.patterns.clone(),
            pixel_sizes: task.settings.pixel_sizes.clone(),
            drops_cache: match task.settings.resources.page_cache {
                PageCache::Auto => !task.once,
                PageCache::Drop => true,
                PageCache::Keep => false,
            },
            growing: GrowingSettings { enabled: growing.enabled, frame_shapes: growing.nd2_frames.clone() },
        },
        decoder: decoder::Settings {
            interruptions_max: pipeline.interruptions_max,
            segmented: method.is_some().then(|| channel.clone()),
        },
        segmenter: segmenter::Settings {
            method,
            channel,
            labels: keep(output.labels.or(automatic)),
            overlays: keep(output.overlays.or(automatic)),
            picture_bytes_max: output.label_disk_budget_bytes,
        },
        registrar: registrar::Settings { method: registration.method() },
    }
}

/// How fast planes may be read. Whoever goes over what lies there once waits for no acquisition.
pub(super) fn reading(task: &Task) -> reading::Settings {
    let resources = &task.settings.resources;
    let rate = |bytes: Option<u64>| bytes.map(|bytes| bytes as f64);
    let (arriving, stalled) = if task.once {
        (None, None)
    } else {
        (resources.read_bytes_per_s_arriving_max, resources.io_stalled_percent_max)
    };
    reading::Settings {
        bytes_per_s_max: rate(resources.read_bytes_per_s_max),
        arriving_bytes_per_s_max: rate(arriving),
        stalled_share_max: rate(stalled).map(|percent| percent / 100.0),
    }
}

/// What is written beside the tables of objects.
pub(super) fn extras(settings: &Settings) -> Extras {
    let segmentation = &settings.segmentation;
    Extras { parquet: segmentation.table == TableFormat::Parquet, geojson: segmentation.geojson }
}

fn keep(keep: Keep) -> segmenter::Keep {
    match keep {
        Keep::None => segmenter::Keep::None,
        Keep::All => segmenter::Keep::All,
        Keep::Sample | Keep::Auto => segmenter::Keep::Sample,
    }
}

/// Bytes of the pictures under a folder; what cannot be asked counts nothing.
pub(super) fn picture_bytes(folder: &Path) -> u64 {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let sizes = entries.map(|entry| match entry.metadata() {
        Ok(metadata) if metadata.is_dir() => picture_bytes(&entry.path()),
        Ok(metadata) if is_picture(&entry.file_name()) => metadata.len(),
        Ok(_) => 0,
        Err(_) => 0,
    });
    sizes.sum()
}

/// Label images and overlays; tables of objects are no pictures.
fn is_picture(name: &std::ffi::OsStr) -> bool {
    let name = name.as_encoded_bytes();
    name.ends_with(b".tif") || name.ends_with(b".png")
}

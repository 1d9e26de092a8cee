//! What the report lines say of containers and planes: the keys, in one place.

use serde_json::{Map, Value, json};

use crate::analysis::identity::PlateIdentity;
use crate::formats::Metadata;
use crate::messages::{HashedImage, Nuclei};
use crate::store::Identity;
use crate::units::PlaneIndex;

/// The container's keys of its line in `files.jsonl`.
pub(super) fn of_container(metadata: &Metadata) -> Map<String, Value> {
    let channels: Vec<_> = metadata.channels.iter().map(|channel| channel.name.as_str()).collect();
    map(json!({
        "dims": metadata.dims,
        "dtype": metadata.sample_type,
        "significant_bits": metadata.significant_bits,
        "pixel_size_um": metadata.pixel_size_um,
        "z_step_um": metadata.z_step_um,
        "nominal_magnification": metadata.nominal_magnification,
        "objective": metadata.objective,
        "channels": channels,
        "acquired_at": metadata.acquired_at,
    }))
}

/// The figures of a plane for its line in `planes.jsonl`.
pub(super) fn of_plane(image: &HashedImage) -> Map<String, Value> {
    let [height, width, n_samples] = image.shape;
    let pixel_size_um = image.file.metadata.pixel_size_um;
    let mut figures = map(json!({
        "height": height,
        "width": width,
        "n_samples": n_samples,
        "dtype": image.sample_type,
        "pixel_size_um": pixel_size_um,
        "digest_blake3": image.digest.to_string(),
        "signal": image.features.signal,
        "snr": image.features.snr,
        "noise_sd": image.features.noise,
        "intensity_mean": image.features.mean,
        "intensity_min": image.features.min,
        "intensity_max": image.features.max,
    }));
    figures.extend(match &image.nuclei {
        Nuclei::NotSegmented(reason) => map(json!({ "nuclei": null, "not_segmented": reason })),
        Nuclei::Segmented { quality, .. } => map(json!({
            "nuclei": quality.n_objects,
            "diameter_median_px": quality.diameter_median_px,
            "diameter_median_um": pixel_size_um.zip(quality.diameter_median_px).map(|(um, px)| um * px),
            "threshold": quality.threshold,
            "background": quality.background,
            "foreground_fraction": quality.foreground_fraction,
            "focus": quality.focus,
            "saturated_fraction": quality.saturated_fraction,
            "debris": quality.n_debris,
            "flags": quality.flags.iter().map(|flag| flag.name()).collect::<Vec<_>>(),
        })),
    });
    figures
}

/// The identity of a whole file in the ledger's words.
pub(super) fn file_identity(identity: &PlateIdentity) -> Identity {
    Identity {
        plate: identity.plate.clone(),
        run: identity.run.clone(),
        cycle: identity.cycle.clone(),
        well: identity.well.clone(),
        site: identity.site.clone(),
        channel: None,
        t: identity.t.map(i64::from),
        z: identity.z.map(i64::from),
    }
}

/// What is known of one plane beyond its file: its channel's name, and its site, time and focus step where the container
/// has several.
pub(super) fn plane_identity(identity: &PlateIdentity, metadata: &Metadata, index: PlaneIndex) -> Identity {
    let dims = metadata.dims;
    let position = metadata.positions.get(index.p as usize).filter(|position| !position.name.is_empty());
    let several = |n: u32, value: u32| (n > 1).then_some(i64::from(value));
    Identity {
        site: match position {
            Some(position) if dims.p > 1 => Some(position.name.clone()),
            _ => several(dims.p, index.p).map(|p| p.to_string()),
        },
        channel: channel_name(identity, metadata, index.c),
        t: several(dims.t, index.t),
        z: several(dims.z, index.z),
        ..Identity::default()
    }
}

/// The identity columns in front of a table of objects: `file, plate, run, cycle, well, site, t, z, channel`.
pub fn table_identity(
    file_name: String,
    identity: &PlateIdentity,
    metadata: &Metadata,
    index: PlaneIndex,
) -> Vec<(&'static str, String)> {
    let file = file_identity(identity);
    let plane = plane_identity(identity, metadata, index);
    let number =
        |own: Option<i64>, file: Option<i64>, index: u32| own.or(file).unwrap_or(index.into()).to_string();
    vec![
        ("file", file_name),
        ("plate", file.plate.unwrap_or_default()),
        ("run", file.run.unwrap_or_default()),
        ("cycle", file.cycle.unwrap_or_default()),
        ("well", file.well.unwrap_or_default()),
        ("site", plane.site.or(file.site).unwrap_or_default()),
        ("t", number(plane.t, file.t, index.t)),
        ("z", number(plane.z, file.z, index.z)),
        ("channel", plane.channel.unwrap_or_default()),
    ]
}

/// The name of a channel: the container's, or else the one in the file's name.
pub(super) fn channel_name(identity: &PlateIdentity, metadata: &Metadata, channel: u32) -> Option<String> {
    let stored = metadata.channels.get(channel as usize).map(|channel| channel.name.as_str());
    let named = stored.filter(|name| !name.is_empty());
    named.or_else(|| identity.channel(channel as usize)).map(str::to_owned)
}

fn map(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(map) => map,
        _ => Map::new(),
    }
}

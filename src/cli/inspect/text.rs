//! What was found, for a person to read.

use std::path::Path;

use serde_json::Value;

use super::{InspectArgs, Inspected};
use crate::formats::{Channel, Metadata};

/// The text for one file.
pub(super) fn of(found: &Inspected, file: &Path, args: &InspectArgs) -> String {
    let metadata = &found.metadata;
    let mut text = format!("{}\n", file.display());
    let mut line = |name: &str, value: String| text += &format!("  {name:<14} {value}\n");
    shape(metadata, &mut line);
    optics(metadata, &mut line);
    for (number, position) in metadata.positions.iter().enumerate() {
        let [x, y, z] = [position.x_um, position.y_um, position.z_um].map(micrometres);
        line(&format!("position {number}"), format!("{:?} x {x} y {y} z {z}", position.name));
    }
    if let Some(date) = &metadata.acquired_at {
        line("acquired", date.clone());
    }
    if !metadata.other_files.is_empty() {
        line("more in", metadata.other_files.join(", "));
    }
    let n_missing = found.planes.iter().filter(|plane| plane.get("missing").is_some()).count();
    line("planes", format!("{} ({n_missing} missing)", found.planes.len()));
    for damage in found.recovered.iter().flatten() {
        line("not whole", damage.clone());
    }
    if let Some(target) = &found.exported {
        line("written", target.display().to_string());
    }
    if args.planes || args.digests {
        found.planes.iter().for_each(|plane| text += &format!("    {}\n", plane_line(plane)));
    }
    text
}

fn shape(metadata: &Metadata, line: &mut impl FnMut(&str, String)) {
    let dims = &metadata.dims;
    line("format", metadata.format.name().to_owned());
    let [t, p, z, c] = [dims.t, dims.p, dims.z, dims.c];
    line("shape", format!("T {t} P {p} Z {z} C {c} Y {} X {} S {}", dims.y, dims.x, dims.s));
    line("samples", format!("{}, {} significant bits", metadata.sample_type, metadata.significant_bits));
}

fn optics(metadata: &Metadata, line: &mut impl FnMut(&str, String)) {
    line("pixel size", micrometres(metadata.pixel_size_um));
    if metadata.dims.z > 1 {
        line("z step", micrometres(metadata.z_step_um));
    }
    let magnification = or_unknown(metadata.nominal_magnification.map(|times| format!("{times}x")));
    let aperture =
        metadata.numerical_aperture.map_or_else(String::new, |aperture| format!(", NA {aperture}"));
    line("objective", format!("{} ({magnification}{aperture})", or_unknown(metadata.objective.clone())));
    if !metadata.channels.is_empty() {
        let channels: Vec<String> = metadata.channels.iter().map(channel).collect();
        line("channels", channels.join(", "));
    }
}

fn channel(channel: &Channel) -> String {
    let color = channel.color_rgb.map(|[red, green, blue]| format!("#{red:02x}{green:02x}{blue:02x}"));
    let emission = channel.emission_nm.map(|nm| format!("{nm:.0} nm"));
    let details: Vec<String> = color.into_iter().chain(emission).collect();
    let details = if details.is_empty() { String::new() } else { format!(" ({})", details.join(", ")) };
    format!("{:?}{details}", channel.name)
}

fn or_unknown(text: Option<String>) -> String {
    text.unwrap_or_else(|| "unknown".to_owned())
}

fn micrometres(length: Option<f64>) -> String {
    or_unknown(length.map(|um| format!("{um:.6} um")))
}

fn plane_line(plane: &Value) -> String {
    let note = match (plane.get("sha256"), plane.get("error"), plane.get("missing")) {
        (Some(digest), ..) => digest.as_str().unwrap_or_default().to_owned(),
        (_, Some(error), _) => error["message"].as_str().unwrap_or_default().to_owned(),
        (.., Some(_)) => "missing".to_owned(),
        _ => String::new(),
    };
    let details: String =
        [("time_ms", "t", "ms"), ("x_um", "x", "um"), ("y_um", "y", "um"), ("z_um", "z", "um")]
            .iter()
            .filter_map(|(key, name, unit)| Some(format!(" {name} {:.3} {unit}", plane.get(*key)?.as_f64()?)))
            .collect();
    let text = format!("t{}p{}z{}c{}{details} {note}", plane["t"], plane["p"], plane["z"], plane["c"]);
    text.trim_end().to_owned()
}

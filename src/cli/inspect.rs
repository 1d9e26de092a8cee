//! `scopewatch inspect`: what is in these files?

use std::fs::File;
use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use crate::formats::{self, Limits, Metadata, Plane};

use super::file_error::{FileError, guarded};
use super::{Exit, Failure, say};

/// Shows what image files hold: shape, type, pixel size, objective, channels, positions, planes
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  scopewatch inspect well_B02.nd2\n  scopewatch inspect *.tif --json --digests"
)]
pub(super) struct InspectArgs {
    /// Image files
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Answer as one JSON object per file
    #[arg(long)]
    json: bool,
    /// List every plane (JSON always does)
    #[arg(long)]
    planes: bool,
    /// Read every plane and give the SHA-256 of its samples (little-endian, row-major, without padding)
    #[arg(long)]
    digests: bool,
}

pub(super) fn main(args: &InspectArgs) -> Result<Exit, Failure> {
    let mut exit = Exit::Done;
    for file in &args.files {
        let inspected = guarded(|| inspect(file, args));
        if inspected.is_err() || inspected.as_ref().is_ok_and(|found| found.n_unreadable > 0) {
            exit = Exit::Unreadable;
        }
        match (inspected, args.json) {
            (Ok(found), true) => say(&format!("{}\n", Value::Object(found.to_json(file))))?,
            (Ok(found), false) => say(&found.to_text(file, args))?,
            (Err(error), true) => {
                let answer = json!({ "file": file.display().to_string(), "error": error.to_json() });
                say(&format!("{answer}\n"))?;
            }
            (Err(error), false) => eprintln!("{}: {}", file.display(), error.message),
        }
    }
    Ok(exit)
}

/// What was found in one file.
struct Inspected {
    metadata: Metadata,
    planes: Vec<Value>,
    n_unreadable: usize,
}

/// Looks into one file. Where no plane can be read the file cannot, and the first reason stands for all.
fn inspect(file: &Path, args: &InspectArgs) -> Result<Inspected, FileError> {
    let mut container = formats::open(Box::new(File::open(file)?), &Limits::default())?;
    let entries = container.planes().to_vec();
    let (mut n_readable, mut n_unreadable, mut first_error) = (0_usize, 0, None);
    let mut planes = Vec::with_capacity(entries.len());
    for (position, entry) in entries.iter().enumerate() {
        let index = entry.index;
        let mut plane = json!({ "t": index.t, "p": index.p, "z": index.z, "c": index.c });
        if entry.missing {
            plane["missing"] = true.into();
        } else if args.digests {
            match container.read_plane(position) {
                Ok(pixels) => {
                    n_readable += 1;
                    plane["sha256"] = sha256(&pixels).into();
                }
                Err(error) => {
                    n_unreadable += 1;
                    let error = FileError::from(error);
                    plane["error"] = error.to_json();
                    first_error.get_or_insert(error);
                }
            }
        }
        planes.push(plane);
    }
    if let (Some(error), 0) = (first_error, n_readable) {
        return Err(error);
    }
    Ok(Inspected { metadata: container.metadata().clone(), planes, n_unreadable })
}

fn sha256(plane: &Plane) -> String {
    let mut digest = Sha256::new();
    plane.for_each_little_endian_bytes(|bytes| digest.update(bytes));
    digest.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

impl Inspected {
    fn to_json(&self, file: &Path) -> Map<String, Value> {
        let metadata = &self.metadata;
        let channels: Vec<_> = metadata.channels.iter().map(|channel| channel.name.as_str()).collect();
        let object = json!({
            "file": file.display().to_string(),
            "format": metadata.format,
            "complete": true,
            "dims": metadata.dims,
            "dtype": metadata.sample_type,
            "significant_bits": metadata.significant_bits,
            "pixel_size_um": metadata.pixel_size_um,
            "z_step_um": metadata.z_step_um,
            "nominal_magnification": metadata.nominal_magnification,
            "objective": metadata.objective,
            "numerical_aperture": metadata.numerical_aperture,
            "channels": channels,
            "channel_details": metadata.channels,
            "positions": metadata.positions,
            "acquired_at": metadata.acquired_at,
            "planes": self.planes,
        });
        match object {
            Value::Object(map) => map,
            _ => Map::new(),
        }
    }

    fn to_text(&self, file: &Path, args: &InspectArgs) -> String {
        let Metadata { dims, .. } = &self.metadata;
        let metadata = &self.metadata;
        let or_unknown = |text: Option<String>| text.unwrap_or_else(|| "unknown".to_owned());
        let micrometres = |length: Option<f64>| or_unknown(length.map(|um| format!("{um:.6} um")));
        let channels: Vec<_> =
            metadata.channels.iter().map(|channel| format!("{:?}", channel.name)).collect();
        let mut text = format!(
            "{}\n  format         {}\n  shape          T {} P {} Z {} C {} Y {} X {} S {}\n  samples        {}, {} significant bits\n",
            file.display(),
            metadata.format.name(),
            dims.t,
            dims.p,
            dims.z,
            dims.c,
            dims.y,
            dims.x,
            dims.s,
            metadata.sample_type,
            metadata.significant_bits,
        );
        text += &format!("  pixel size     {}\n", micrometres(metadata.pixel_size_um));
        if dims.z > 1 {
            text += &format!("  z step         {}\n", micrometres(metadata.z_step_um));
        }
        let magnification = metadata.nominal_magnification.map(|times| format!("{times}x"));
        text += &format!(
            "  objective      {} ({})\n",
            or_unknown(metadata.objective.clone()),
            or_unknown(magnification)
        );
        if !channels.is_empty() {
            text += &format!("  channels       {}\n", channels.join(", "));
        }
        for (number, position) in metadata.positions.iter().enumerate() {
            text += &format!(
                "  position {number:<5} {:?} x {} y {} z {}\n",
                position.name,
                micrometres(position.x_um),
                micrometres(position.y_um),
                micrometres(position.z_um)
            );
        }
        let missing = self.planes.iter().filter(|plane| plane.get("missing").is_some()).count();
        text += &format!("  planes         {} ({missing} missing)\n", self.planes.len());
        if args.planes || args.digests {
            self.planes.iter().for_each(|plane| text += &format!("    {}\n", plane_line(plane)));
        }
        text
    }
}

fn plane_line(plane: &Value) -> String {
    let note = match (plane.get("sha256"), plane.get("error"), plane.get("missing")) {
        (Some(digest), ..) => digest.as_str().unwrap_or_default().to_owned(),
        (_, Some(error), _) => error["message"].as_str().unwrap_or_default().to_owned(),
        (.., Some(_)) => "missing".to_owned(),
        _ => String::new(),
    };
    format!("t{}p{}z{}c{} {note}", plane["t"], plane["p"], plane["z"], plane["c"])
}

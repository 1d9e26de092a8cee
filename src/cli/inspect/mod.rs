//! `scopewatch inspect`: what is in these files?

mod export;
mod opened;
mod text;

use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use crate::formats::{Container, Metadata, Plane};
use crate::units::PlaneIndex;

use super::file_error::{FileError, guarded};
use super::{Exit, Failure, say};
use opened::Opened;

/// Shows what image files hold: shape, type, pixel size, objective, channels, positions, planes
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  scopewatch inspect well_B02.nd2\n  scopewatch inspect *.tif --json --digests\n  \
                  scopewatch inspect run.nd2 --plane t0p0z0c1 --export plane.tif\n  \
                  scopewatch inspect crashed.nd2 --recover --planes"
)]
pub(super) struct InspectArgs {
    /// Image files
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Answer as one JSON object per file
    #[arg(long)]
    json: bool,
    /// List every plane with its time and stage position (JSON always lists the planes, without these)
    #[arg(long)]
    planes: bool,
    /// Read every plane and give the SHA-256 of its samples (little-endian, row-major, without padding)
    #[arg(long)]
    digests: bool,
    /// Write one plane as a TIFF file, which must not exist yet
    #[arg(long, value_name = "TIFF", requires = "plane")]
    export: Option<PathBuf>,
    /// Which plane is written, such as t0p0z0c0
    #[arg(long, requires = "export")]
    plane: Option<PlaneIndex>,
    /// Of an ND2 file that has lost its end or is damaged, show the frames that can still be found
    #[arg(long)]
    recover: bool,
    /// A finished file of the same run, which says what the frames of one without its end hold; without it, one is looked for
    /// beside the file
    #[arg(long, value_name = "FILE", requires = "recover")]
    sibling: Option<PathBuf>,
}

pub(super) fn main(args: &InspectArgs) -> Result<Exit, Failure> {
    if args.export.is_some() && args.files.len() > 1 {
        return Err(Failure::usage(anyhow::anyhow!("--export takes one plane of one file")));
    }
    let mut exit = Exit::Done;
    for file in &args.files {
        let inspected = guarded(|| inspect(file, args));
        let own = match &inspected {
            Ok(found) if found.n_unreadable > 0 => Exit::Unreadable,
            Ok(_) => Exit::Done,
            Err(error) => error.exit(),
        };
        exit = if own == Exit::Done { exit } else { own };
        match (inspected, args.json) {
            (Ok(found), true) => say(&format!("{}\n", Value::Object(found.to_json(file))))?,
            (Ok(found), false) => say(&text::of(&found, file, args))?,
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
    /// What is wrong with a file of which planes were found all the same; `None` for a whole one.
    recovered: Option<Vec<String>>,
    planes: Vec<Value>,
    n_unreadable: usize,
    exported: Option<PathBuf>,
}

/// Looks into one file. Where no plane can be read the file cannot, and the first reason stands for all.
fn inspect(file: &Path, args: &InspectArgs) -> Result<Inspected, FileError> {
    let Opened { mut container, metadata, recovered } =
        if args.recover { opened::recover(file, args.sibling.as_deref())? } else { opened::open(file)? };
    let mut survey = Survey::default();
    let mut pixels = Plane::empty();
    for position in 0..container.planes().len() {
        survey.plane(container.as_mut(), position, args, &mut pixels);
    }
    if let (Some(error), 0) = (survey.first_error, survey.n_readable) {
        return Err(error);
    }
    if let (Some(target), Some(index)) = (&args.export, args.plane) {
        export::plane((container.as_mut(), &metadata), index, target)?;
    }
    let Survey { planes, n_unreadable, .. } = survey;
    Ok(Inspected { metadata, recovered, planes, n_unreadable, exported: args.export.clone() })
}

/// The planes looked at so far.
#[derive(Default)]
struct Survey {
    planes: Vec<Value>,
    n_readable: usize,
    n_unreadable: usize,
    first_error: Option<FileError>,
}

impl Survey {
    fn plane(
        &mut self,
        container: &mut dyn Container,
        position: usize,
        args: &InspectArgs,
        pixels: &mut Plane,
    ) {
        let entry = container.planes()[position];
        let index = entry.index;
        let mut plane = json!({ "t": index.t, "p": index.p, "z": index.z, "c": index.c });
        if entry.missing {
            plane["missing"] = true.into();
            self.planes.push(plane);
            return;
        }
        if args.planes {
            // of a frame that is damaged nothing is known
            let details = container.plane_details(position).unwrap_or_default();
            plane["time_ms"] = details.time_ms.into();
            plane["x_um"] = details.x_um.into();
            plane["y_um"] = details.y_um.into();
            plane["z_um"] = details.z_um.into();
        }
        if args.digests {
            match container.read_plane_into(position, pixels) {
                Ok(()) => {
                    self.n_readable += 1;
                    plane["sha256"] = sha256(pixels).into();
                }
                Err(error) => {
                    self.n_unreadable += 1;
                    let error = FileError::from(error);
                    plane["error"] = error.to_json();
                    self.first_error.get_or_insert(error);
                }
            }
        }
        self.planes.push(plane);
    }
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
        let mut object = json!({
            "file": file.display().to_string(),
            "format": metadata.format,
            "complete": self.recovered.is_none(),
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
            "other_files": metadata.other_files,
            "planes": self.planes,
        });
        if let Some(damage) = &self.recovered {
            object["damage"] = damage.clone().into();
        }
        if let Some(target) = &self.exported {
            object["exported"] = target.display().to_string().into();
        }
        match object {
            Value::Object(map) => map,
            _ => Map::new(),
        }
    }
}

//! What `scopewatch segment` says, to programs and to people.

use std::path::Path;

use serde_json::{Value, json};

use crate::cli::file_error::FileError;
use crate::cli::say;

use super::file::{FileResult, Outcome, PlaneResult, Segmented};
use super::with_suffix;

pub(super) fn to_json(file: &Path, result: &Result<FileResult, FileError>) -> Value {
    let file = file.display().to_string();
    match result {
        Err(error) => json!({ "file": file, "error": error.to_json() }),
        Ok(FileResult { planes, outlines }) => {
            let planes: Vec<_> = planes
                .iter()
                .map(|plane| match &plane.outcome {
                    Outcome::PassedOver(reason) => {
                        json!({ "plane": plane.name, "nuclei": null, "reason": reason })
                    }
                    Outcome::Failed(error) => {
                        json!({ "plane": plane.name, "nuclei": null, "error": error.to_json() })
                    }
                    Outcome::Segmented(segmented) => segmented_to_json(&plane.name, segmented),
                })
                .collect();
            let mut answer = json!({ "file": file, "planes": planes });
            if !outlines.is_empty() {
                answer["geojson"] = outlines.iter().map(|path| path.display().to_string()).collect();
            }
            answer
        }
    }
}

fn segmented_to_json(name: &str, segmented: &Segmented) -> Value {
    let Segmented { quality, n_slices, stem, has_parquet } = segmented;
    let path = |suffix| with_suffix(stem, suffix).display().to_string();
    let mut answer = json!({
        "plane": name,
        "slices": n_slices,
        "nuclei": quality.n_objects,
        "diameter_median_px": quality.diameter_median_px,
        "threshold": quality.threshold,
        "background": quality.background,
        "focus": quality.focus,
        "saturated_fraction": quality.saturated_fraction,
        "debris": quality.n_debris,
        "flags": quality.flags.iter().map(|flag| flag.name()).collect::<Vec<_>>(),
        "labels": path("labels.tif"),
        "objects": path("objects.csv"),
        "overlay": path("overlay.png"),
    });
    if *has_parquet {
        answer["parquet"] = path("objects.parquet").into();
    }
    answer
}

/// Says for people what became of a file: results on stdout, what could not be read on stderr.
pub(super) fn tell(file: &Path, result: &Result<FileResult, FileError>) -> std::io::Result<()> {
    let file = file.display();
    let planes = match result {
        Ok(file) => &file.planes,
        Err(error) => {
            eprintln!("{file}: {}", error.message);
            return Ok(());
        }
    };
    for PlaneResult { name, outcome } in planes {
        match outcome {
            Outcome::Failed(error) => eprintln!("{file} {name}: {}", error.message),
            Outcome::PassedOver(reason) => say(&format!("{file} {name}: {reason}\n"))?,
            Outcome::Segmented(Segmented { quality, stem, .. }) => {
                let written = with_suffix(stem, "*");
                say(&format!("{file} {name}: {} nuclei -> {}\n", quality.n_objects, written.display()))?;
            }
        }
    }
    Ok(())
}

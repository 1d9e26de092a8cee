//! The table of registrations: one row for each pair of fields that was tried.

use std::io::{self, Write};

use serde_json::Value;

use super::csv::CsvWriter;
use crate::store::RegistrationListing;

/// The columns, in order: where both fields are, what came of the try, the transform as `x' = a x + b y + tx`,
/// `y' = c x + d y + ty`, what the stage says, and what the transform of the well says.
const COLUMNS: [&str; 29] = [
    "moving_file",
    "moving_plane",
    "reference_file",
    "reference_plane",
    "accepted",
    "n_pairs",
    "rmsd_px",
    "rmsd_um",
    "log10_chance",
    "model",
    "mirrored",
    "scale",
    "rotation_deg",
    "a",
    "b",
    "tx",
    "c",
    "d",
    "ty",
    "stage_deviation_um",
    "reason",
    "plate",
    "well",
    "moving_site",
    "reference_site",
    "paired_by",
    "found_by",
    "well_deviation_um",
    "well_outlier",
];

/// The columns that are keys of the line, after `accepted` and before the transform.
const FIGURES: [&str; 8] =
    ["n_pairs", "rmsd_px", "rmsd_um", "log10_chance", "model", "mirrored", "scale", "rotation_deg"];

pub(super) fn header<W: Write>(csv: &mut CsvWriter<W>) -> io::Result<()> {
    csv.names(COLUMNS)
}

/// Writes a row; the names of the files are given as tables show them. `said`: how far in um the pair is from the
/// transform of its well, and whether it counts as an outlier.
pub(super) fn row<W: Write>(
    csv: &mut CsvWriter<W>,
    [moving_file, reference_file]: [String; 2],
    listing: &RegistrationListing,
    said: Option<(f64, bool)>,
) -> io::Result<()> {
    let result = &listing.result;
    csv.text(&moving_file)?;
    csv.text(&listing.moving.2.to_string())?;
    csv.text(&reference_file)?;
    csv.text(&listing.reference.2.to_string())?;
    csv.text(if listing.is_accepted { "true" } else { "false" })?;
    FIGURES.into_iter().try_for_each(|name| csv.value(result.get(name)))?;
    let rows = result.get("reference_from_moving");
    for (row, column) in (0..2).flat_map(|row| (0..3).map(move |column| (row, column))) {
        csv.value(rows.and_then(|rows| rows.get(row)).and_then(|row: &Value| row.get(column)))?;
    }
    csv.value(result.get("stage_deviation_um"))?;
    csv.value(result.get("reason"))?;
    let (moving, reference) = (&listing.moving_identity, &listing.reference_identity);
    for text in [
        moving.plate.as_ref().or(reference.plate.as_ref()),
        moving.well.as_ref().or(reference.well.as_ref()),
        moving.site.as_ref(),
        reference.site.as_ref(),
    ] {
        csv.text_if_any(text.map(String::as_str))?;
    }
    csv.value(result.get("paired_by"))?;
    csv.value(result.get("found_by"))?;
    let (deviation_um, is_outlier) = said.unzip();
    csv.value(deviation_um.map(Value::from).as_ref())?;
    csv.value(is_outlier.map(Value::from).as_ref())?;
    csv.end_row()
}

//! The table of wells: one row for the fine fields of a well in its overviews, as soon as some were found; and what
//! their transform says of each pair.

use std::collections::HashMap;
use std::io::{self, Write};

use serde_json::Value;

use super::csv::CsvWriter;
use crate::analysis::registration::well::WellTransform;
use crate::store::{LedgerError, LedgerReader, Lot, RegistrationListing, WellKey, landing_of};

/// The columns, in order: which fields, how well they agree, how far the plate was moved between them and their overviews,
/// how the camera stands on the stage, and how the fields lie in their overviews.
const COLUMNS: [&str; 18] = [
    "moving_root",
    "reference_root",
    "plate",
    "cycle",
    "well",
    "moving_run",
    "reference_run",
    "n_fields",
    "n_outliers",
    "rms_um",
    "offset_x_um",
    "offset_y_um",
    "plate_rotation_deg",
    "stage_rotation_deg",
    "stage_mirrored",
    "image_rotation_deg",
    "image_mirrored",
    "image_scale_ratio",
];

/// The transforms of all wells.
pub(super) struct WellTable {
    in_order: Vec<(WellKey, WellTransform)>,
    positions: HashMap<WellKey, usize>,
}

impl WellTable {
    pub(super) fn read(reader: &LedgerReader) -> Result<Self, LedgerError> {
        let in_order = reader.wells()?;
        let positions =
            in_order.iter().zip(0..).map(|((key, _), position)| (key.clone(), position)).collect();
        Ok(Self { in_order, positions })
    }

    /// How far in um a pair is from the transform of its well, and whether it lies elsewhere than the others say. None
    /// where it was refused, or the stage did not tell where it stood.
    pub(super) fn say_of(&self, listing: &RegistrationListing) -> Option<(f64, bool)> {
        let RegistrationListing { moving, reference, views, result, .. } = listing;
        if result.get("paired_by").is_some_and(|by| by == "well") {
            return None;
        }
        let key = WellKey {
            moving: Lot::new(&moving.0, &listing.moving_identity),
            reference: Lot::new(&reference.0, &listing.reference_identity),
        };
        let well = &self.in_order[*self.positions.get(&key)?].1;
        let stage_um = views.0.stage_um.zip(views.1.stage_um)?;
        let landing = landing_of((&views.0, &views.1), stage_um, result)?;
        Some((well.deviation_um(&landing), well.is_outlier(&landing)))
    }
}

/// Writes the table; roots are named where there are several.
pub(super) fn write<W: Write>(
    csv: &mut CsvWriter<W>,
    wells: &WellTable,
    is_root_shown: bool,
) -> io::Result<()> {
    csv.names(COLUMNS)?;
    for (WellKey { moving, reference }, well) in &wells.in_order {
        for lot in [moving, reference] {
            csv.text(if is_root_shown { &lot.root } else { "" })?;
        }
        let either = |name: fn(&Lot) -> Option<&String>| name(moving).or(name(reference)).map(String::as_str);
        for text in [
            either(|lot| lot.plate.as_ref()),
            either(|lot| lot.cycle.as_ref()),
            either(|lot| lot.well.as_ref()),
            moving.run.as_deref(),
            reference.run.as_deref(),
        ] {
            csv.text_if_any(text)?;
        }
        for figure in figures(well) {
            csv.value(Some(&figure))?;
        }
        csv.end_row()?;
    }
    Ok(())
}

fn figures(well: &WellTransform) -> [Value; 11] {
    [
        well.n_fields.into(),
        well.n_outliers.into(),
        well.rms_um.into(),
        well.offset_um[0].into(),
        well.offset_um[1].into(),
        well.plate_rotation_deg.into(),
        well.stage_rotation_deg.into(),
        well.stage_mirrored.into(),
        well.image_rotation_deg.into(),
        well.image_mirrored.into(),
        well.image_scale_ratio.into(),
    ]
}

//! Measures objects that somebody else labelled: for each `NAME.labels.tif` of a folder it reads `NAME.image.tif` and writes
//! `NAME.table.csv`, the region table. `scripts/check_region_table.py` compares these tables with scikit-image's.
//!
//! `cargo run --release --example measure_regions -- FOLDER`

use std::error::Error;
use std::fs::{self, File};
use std::path::Path;

use scopewatch::analysis::segmentation::{LabelImage, measure, table};
use scopewatch::formats::{self, Limits, Plane, Samples};

#[allow(dead_code, reason = "the tests call write_tables")]
fn main() -> Result<(), Box<dyn Error>> {
    let folder =
        std::env::args_os().nth(1).ok_or("expected a folder of NAME.labels.tif and NAME.image.tif")?;
    let n = write_tables(Path::new(&folder))?;
    println!("{n} tables");
    Ok(())
}

/// Writes the tables of a folder; how many there are.
pub(crate) fn write_tables(folder: &Path) -> Result<usize, Box<dyn Error>> {
    let mut n = 0;
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if let Some(name) = name.strip_suffix(".labels.tif") {
            let labels = label_image(&first_plane(&path)?)?;
            let image = first_plane(&path.with_file_name(format!("{name}.image.tif")))?;
            let objects = measure(&image, &labels);
            fs::write(path.with_file_name(format!("{name}.table.csv")), table::to_csv(&objects, &[], None))?;
            n += 1;
        }
    }
    Ok(n)
}

fn first_plane(path: &Path) -> Result<Plane, Box<dyn Error>> {
    Ok(formats::open(Box::new(File::open(path)?), &Limits::default())?.read_plane(0)?)
}

fn label_image(plane: &Plane) -> Result<LabelImage, Box<dyn Error>> {
    let labels: Vec<u32> = match &plane.samples {
        Samples::Uint8(values) => values.iter().map(|&value| value.into()).collect(),
        Samples::Uint16(values) => values.iter().map(|&value| value.into()).collect(),
        Samples::Uint32(values) => values.clone(),
        other => {
            return Err(
                format!("expected labels of 8, 16 or 32 bits, found {:?}", other.sample_type()).into()
            );
        }
    };
    let n_objects = labels.iter().copied().max().unwrap_or(0);
    Ok(LabelImage { height: plane.height, width: plane.width, n_objects, labels })
}

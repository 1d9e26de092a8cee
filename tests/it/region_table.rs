//! The region table beside scikit-image's on random regions.

use std::path::Path;
use std::process::Command;

use crate::support::{output, python_with};

#[path = "../../examples/measure_regions.rs"]
mod measure_regions;

#[test]
fn a_thousand_random_regions_measure_as_in_scikit_image() {
    let Some(python) = python_with("numpy, pandas, tifffile, PIL, skimage") else {
        eprintln!("skipped: no Python with the package scikit-image (name one in SCOPEWATCH_PYTHON)");
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/check_region_table.py");
    let run = |what: &str| {
        let ran = output(Command::new(&python).arg(&script).arg(what).arg(folder.path()));
        let said = String::from_utf8_lossy(&ran.stdout).into_owned();
        assert!(ran.status.success(), "{said}{}", String::from_utf8_lossy(&ran.stderr));
        said
    };
    let said = run("--make");
    assert!(said.starts_with("1000 random regions on "), "{said}");
    assert!(measure_regions::write_tables(folder.path()).unwrap() > 30);
    let said = run("--compare");
    assert!(said.contains("1000 objects, largest difference "), "{said}");
    println!("{said}");
}

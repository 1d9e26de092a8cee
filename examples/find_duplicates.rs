//! Finds duplicates among files and folders, and shows how far it is.
//!
//! `cargo run --release --example find_duplicates -- PATH...`

use std::path::PathBuf;

use scopewatch::analysis::verification::Relation;
use scopewatch::duplicates::{DuplicateError, DuplicateReport, DuplicateSettings, Step, find_duplicates};

fn main() -> Result<(), DuplicateError> {
    let paths: Vec<PathBuf> = std::env::args_os().skip(1).map(PathBuf::from).collect();
    let report = search(&paths)?;
    print!("{}", to_text(&report));
    Ok(())
}

/// Looks for duplicates with two threads in 256 MB; says on stderr how far it is.
pub(crate) fn search(paths: &[PathBuf]) -> Result<DuplicateReport, DuplicateError> {
    let settings = DuplicateSettings {
        n_workers: Some(2),
        memory_bytes: Some(256 << 20),
        ..DuplicateSettings::default()
    };
    let mut step = Step::Counting;
    find_duplicates(paths, &settings, &mut |progress| {
        if progress.step != step || progress.share == 1.0 {
            step = progress.step;
            eprintln!("{step:?}: {:.0} %, {} planes", 100.0 * progress.share, progress.n_planes);
        }
    })
}

/// A group with its members on a line each, then the pairs that are no duplicates, but something.
pub(crate) fn to_text(report: &DuplicateReport) -> String {
    let mut text = format!("{} files, {} planes\n", report.n_files, report.n_planes);
    for group in &report.groups {
        let representative = &group.representative;
        text += &format!(
            "{} {}, sure to {:.2}\n",
            representative.path.display(),
            representative.index,
            group.score
        );
        for member in &group.members {
            let plane = &member.plane;
            let relation = member.relation.map_or("same", Relation::name);
            text += &format!("  {} {}: {relation}\n", plane.path.display(), plane.index);
        }
    }
    for pair in &report.pairs {
        if let Some(relation) = pair.relation.filter(|relation| !relation.is_duplicate()) {
            let (a, b) = (pair.a.path.display(), pair.b.path.display());
            text += &format!("{a} and {b}: {relation}, sure to {:.2}\n", pair.score);
        }
    }
    for rejected in &report.rejected {
        text += &format!("{}: {}\n", rejected.path.display(), rejected.reason);
    }
    text
}

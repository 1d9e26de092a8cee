//! Duplicates through the library, by the example that shows how.

use std::path::{Path, PathBuf};

use scopewatch::analysis::verification::Relation;
use scopewatch::duplicates::{
    DuplicateError, DuplicateReport, DuplicateSettings, FoundPlane, Progress, Step, find_duplicates,
};
use scopewatch::units::PlaneIndex;

use crate::look_alikes::{exposure, mapped};
use crate::support::{field, tiff};

#[path = "../../examples/find_duplicates.rs"]
#[allow(dead_code, reason = "an example has a main function")]
mod example;

/// A copy, a mapped copy, a second exposure, another field, and a file that is none.
fn acquisition(folder: &Path) {
    std::fs::create_dir(folder.join("sub")).unwrap();
    let first = exposure(1, 1);
    for (name, bytes) in [
        ("a.tif", tiff(&first)),
        ("b.tif", tiff(&first)),
        ("sub/contrast.tif", tiff(&mapped(&first))),
        ("again.tif", tiff(&exposure(1, 2))),
        ("other.tif", tiff(&field(7))),
        ("broken.tif", b"II*\0no file".to_vec()),
    ] {
        let path = folder.join(name);
        std::fs::write(&path, bytes).unwrap();
        // as old as each other, so that age says nothing
        let file = std::fs::File::options().write(true).open(&path).unwrap();
        file.set_modified(std::time::UNIX_EPOCH + std::time::Duration::from_secs(1_700_000_000)).unwrap();
    }
}

fn plane(folder: &Path, name: &str) -> FoundPlane {
    FoundPlane { path: folder.join(name), index: PlaneIndex::default() }
}

fn check(report: &DuplicateReport, folder: &Path) {
    let groups: Vec<_> = report
        .groups
        .iter()
        .map(|group| {
            let members = group.members.iter().map(|member| (member.plane.clone(), member.relation));
            (group.is_exact, group.representative.clone(), members.collect::<Vec<_>>())
        })
        .collect();
    let (a, b, contrast) =
        (plane(folder, "a.tif"), plane(folder, "b.tif"), plane(folder, "sub/contrast.tif"));
    let expected = [
        (true, a.clone(), vec![(b.clone(), Some(Relation::IdenticalFile))]),
        (false, a.clone(), vec![(contrast.clone(), Some(Relation::SameExposureMapped))]),
    ];
    assert_eq!(groups, expected);
    assert_eq!(report.groups[0].score, 1.0);
    assert!(report.groups[1].score > 0.9 && report.groups[1].score == report.groups[1].members[0].score);
    let pairs: Vec<_> =
        report.pairs.iter().map(|pair| (pair.a.clone(), pair.b.clone(), pair.relation)).collect();
    let expected = [
        (a.clone(), b, Some(Relation::IdenticalFile)),
        (a.clone(), contrast, Some(Relation::SameExposureMapped)),
        (a, plane(folder, "again.tif"), Some(Relation::Reacquired)),
    ];
    assert_eq!(pairs, expected);
    assert!(report.pairs[2].r.unwrap() < 0.2 && report.pairs[2].q.unwrap() > 0.5, "{:?}", report.pairs[2]);
    assert_eq!(report.rejected.len(), 1);
    assert_eq!(report.rejected[0].path, folder.join("broken.tif"));
    assert_eq!(report.n_files, 6);
}

#[test]
fn the_example_finds_copies_and_second_exposures_and_leaves_nothing_behind() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path().canonicalize().unwrap();
    acquisition(&folder);
    let left_behind = || {
        let own = format!("scopewatch-{}-", std::process::id());
        let entries = std::fs::read_dir(std::env::temp_dir()).unwrap();
        entries
            .filter(|entry| entry.as_ref().unwrap().file_name().to_string_lossy().starts_with(&own))
            .count()
    };
    let report = example::search(std::slice::from_ref(&folder)).unwrap();
    check(&report, &folder);
    assert_eq!((report.n_planes, left_behind()), (5, 0));
    let text = example::to_text(&report);
    assert!(text.contains("again.tif: reacquired") && text.contains("contrast.tif t0p0z0c0: same"), "{text}");
}

#[test]
fn a_kept_folder_makes_the_second_call_read_nothing_and_progress_is_told_in_order() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().canonicalize().unwrap().join("data");
    std::fs::create_dir(&root).unwrap();
    acquisition(&root);
    let settings = DuplicateSettings {
        output: Some(folder.path().join("out")),
        n_workers: Some(1),
        ..DuplicateSettings::default()
    };
    let mut told: Vec<Progress> = Vec::new();
    let first = find_duplicates(std::slice::from_ref(&root), &settings, &mut |progress| told.push(progress));
    check(&first.unwrap(), &root);
    assert!(told.is_sorted_by_key(|progress| progress.step));
    assert!(told.iter().all(|progress| (0.0..=1.0).contains(&progress.share)));
    let ends: Vec<_> =
        told.iter().filter(|progress| progress.share == 1.0).map(|progress| progress.step).collect();
    assert!(ends.contains(&Step::Comparing) && ends.ends_with(&[Step::Grouping]), "{told:?}");
    assert_eq!(told.last().map(|progress| (progress.n_files, progress.n_planes)), Some((6, 5)));
    // from an asynchronous task, too
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let second = runtime.block_on(async { find_duplicates(&[root], &settings, &mut |_| ()) }).unwrap();
    assert_eq!((second.n_planes, second.groups.len(), second.pairs.len()), (0, 2, 3));
}

#[test]
fn paths_that_are_not_there_and_outputs_that_would_be_searched_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let find = |path: PathBuf, output: &str| {
        let settings =
            DuplicateSettings { output: Some(folder.path().join(output)), ..DuplicateSettings::default() };
        find_duplicates(&[path], &settings, &mut |_| ())
    };
    for refused in [find(folder.path().join("gone"), "out"), find(folder.path().to_owned(), "out")] {
        assert!(matches!(refused, Err(DuplicateError::Settings(_))), "{refused:?}");
    }
    assert!(!folder.path().join("out").exists());
}

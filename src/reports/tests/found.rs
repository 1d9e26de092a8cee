//! What is made of fields that lie on their overviews: pictures, and the table of merged cells.

use serde_json::json;

use super::*;
use crate::analysis::registration::pairs_to_bytes;
use crate::analysis::segmentation::Centroids;

/// Planes of three nuclei each.
fn planes<const N: usize>(scratch: &Scratch, names: [&str; N]) -> [PixelsOf; N] {
    let mut digest = 0;
    names.map(|name| {
        digest += 1;
        let ticket = scratch.claim(name, 1, 1).ticket;
        let points = vec![[1.0, 2.0], [30.0, 4.0], [5.0, 60.0]];
        let centroids = Arc::new(Centroids { points, labels: vec![1, 2, 3] });
        let view = View { height: 100, width: 100, ..View::default() };
        let registrable = Some(Registrable { view, centroids });
        let done = PlaneDone { registrable, ..scratch.done(ticket, 0, digest) };
        wait(|reply| scratch.handle().finish_plane(done, reply)).unwrap();
        PixelsOf { file_id: ticket.file_id, index: plane(0), digest: [digest; 32] }
    })
}

/// The first plane lies on the second, `x` px off, with these nuclei the same; or not at all.
fn find(scratch: &Scratch, [moving, reference]: [PixelsOf; 2], found: Option<(f64, &[(usize, usize)])>) {
    let found = found.map(|(x, pairs)| {
        let transform = json!([[1.0, 0.0, x], [0.0, 1.0, 0.0]]);
        let keys = [("found_by", "well".into()), ("reference_from_moving", transform)];
        let result = keys.map(|(key, value)| (key.to_owned(), value)).into_iter().collect();
        Found { result, pairs: Some(pairs_to_bytes(pairs)) }
    });
    let lot = Lot::new("root", &Identity::default());
    let key = WellKey { moving: lot.clone(), reference: lot };
    let found = vec![FoundByWell { moving, reference, found }];
    let settled = WellSettled { key, transform: None, found };
    wait(|reply| scratch.handle().settle_well(settled, reply)).unwrap();
}

#[test]
fn a_pair_that_is_found_otherwise_with_equal_pixels_is_drawn_anew() {
    let scratch = Scratch::new();
    let [folder, current] = ["pictures", "current"].map(|name| scratch.folder.path().join(name));
    let planes = planes(&scratch, ["a.tif", "b.tif"]);
    let started = || CurrentTables::new(&current).with_pictures(&folder);
    let drawn = |tables: &CurrentTables| {
        tables.refresh(&scratch.reader()).unwrap();
        fs::read_to_string(folder.join("root/a.tif.t0p0z0c0 in b.tif.t0p0z0c0.svg"))
    };
    let tables = started();
    let three: [(usize, usize); 3] = [(0, 0), (1, 1), (2, 2)];
    find(&scratch, planes, Some((0.5, &three)));
    let first = drawn(&tables).unwrap();
    assert!(first.contains("3 pairs, 0.500 px"), "{first}");
    find(&scratch, planes, Some((0.25, &three)));
    assert!(drawn(&tables).unwrap().contains("3 pairs, 0.250 px"), "another transform");
    // as another result: one with an equal line is kept
    find(&scratch, planes, None);
    find(&scratch, planes, Some((0.25, &three[1..])));
    assert!(drawn(&tables).unwrap().contains("2 pairs, 0.250 px"), "other nuclei");
    find(&scratch, planes, Some((0.5, &three)));
    assert_eq!(drawn(&started()).unwrap(), first, "by another process");
    find(&scratch, planes, None);
    drawn(&tables).unwrap_err();
}

#[test]
fn a_picture_that_cannot_be_written_leaves_the_tables_whole_and_comes_later() {
    let scratch = Scratch::new();
    let [folder, current] = ["pictures", "current"].map(|name| scratch.folder.path().join(name));
    find(&scratch, planes(&scratch, ["a.tif", "b.tif"]), Some((0.5, &[(0, 0)])));
    let tables = CurrentTables::new(&current).with_pictures(&folder);
    // a file where a folder is to be
    fs::write(&folder, "").unwrap();
    tables.refresh(&scratch.reader()).unwrap();
    assert_eq!(fs::read_to_string(current.join("merged_cells.csv")).unwrap().lines().count(), 2);
    fs::remove_file(&folder).unwrap();
    tables.refresh(&scratch.reader()).unwrap();
    assert_eq!(fs::read_dir(folder.join("root")).unwrap().count(), 1);
}

#[test]
fn of_equal_pairs_the_first_by_file_stands_for_a_cell() {
    let scratch = Scratch::new();
    let [a, b, first, second] = planes(&scratch, ["a.tif", "b.tif", "x.tif", "y.tif"]);
    // the later overview is met first
    find(&scratch, [a, second], Some((0.5, &[(1, 1)])));
    find(&scratch, [b, first], Some((0.5, &[(0, 0)])));
    find(&scratch, [b, second], Some((0.5, &[(0, 0)])));
    let current = scratch.folder.path().join("current");
    CurrentTables::new(&current).refresh(&scratch.reader()).unwrap();
    let table = fs::read_to_string(current.join("merged_cells.csv")).unwrap();
    let files: Vec<_> = table.lines().skip(1).map(|row| row.split(',').collect::<Vec<_>>()).collect();
    let files: Vec<_> = files.iter().map(|row| [row[4], row[2]]).collect();
    assert_eq!(files, [["a.tif", "y.tif"], ["b.tif", "x.tif"]], "{table}");
}

//! Files in, true reports out: the daemon and the scan on good files.

use std::collections::BTreeSet;
use std::fs;
use std::io::Write;

use scopewatch::analysis::synthesis::{FieldSettings, expose};
use scopewatch::formats::nd2::{Nd2Loop, Nd2Spec, Nd2Writer};
use scopewatch::formats::tiff::{WriteCompression, WriteOptions, encode};
use scopewatch::formats::{Channel, Plane};
use scopewatch::units::SampleType;

use crate::support::{Sandbox, field, tiff};

/// An ND2 of two channels and `n` time points.
fn nd2(n: u32, seed: u64) -> Vec<u8> {
    let channel = |name: &str| (Channel { name: name.into(), ..Channel::default() }, 1);
    let spec = Nd2Spec {
        channels: vec![channel("DAPI"), channel("GFP")],
        loops: vec![Nd2Loop::Time { n, period_ms: 1000.0 }],
        pixel_size_um: Some(0.65),
        ..Nd2Spec::new(96, 128, SampleType::Uint16)
    };
    let mut writer = Nd2Writer::new(Vec::new(), spec).unwrap();
    for time in 0..u64::from(n) {
        writer.write_frame(&[field(seed + 2 * time), field(seed + 2 * time + 1)]).unwrap();
    }
    writer.finish().unwrap()
}

fn deflated(plane: &Plane) -> Vec<u8> {
    let options = WriteOptions { compression: WriteCompression::Deflate, ..WriteOptions::default() };
    encode(std::slice::from_ref(plane), &options).unwrap()
}

/// A field without nuclei.
fn empty_well(seed: u64) -> Plane {
    let settings = FieldSettings { height: 96, width: 128, n_nuclei: 0, ..FieldSettings::default() };
    expose(&settings, &[], seed)
}

#[test]
fn files_written_in_every_way_are_each_reported_once() {
    let sandbox = Sandbox::new();
    sandbox.drop_file("before/start.tif", &tiff(&field(1)));
    let daemon = sandbox.start();
    sandbox.drop_file("plate 1/B02, x.tif", &tiff(&field(2)));
    sandbox.drop_file("new/deep/er/folder/x.tif", &tiff(&field(3)));
    let temporary = sandbox.drop_file("plate 1/renamed.tif.tmp", &tiff(&field(4)));
    fs::rename(&temporary, sandbox.inbox().join("plate 1/renamed.tif")).unwrap();
    let outside = sandbox.path().join("moved");
    fs::create_dir(&outside).unwrap();
    fs::write(outside.join("inside.tif"), tiff(&field(5))).unwrap();
    fs::rename(&outside, sandbox.inbox().join("moved")).unwrap();
    let bytes = tiff(&field(6));
    let mut slow = fs::File::create(sandbox.inbox().join("slow.tif")).unwrap();
    for part in bytes.chunks(bytes.len() / 5) {
        slow.write_all(part).unwrap();
        sandbox.wait_for_walks(1);
    }
    drop(slow);
    sandbox.drop_file("run.nd2", &nd2(3, 100));
    sandbox.drop_file("notes.txt", b"not an image");
    sandbox.wait_for_files(7);
    assert_eq!(daemon.stop(), Some(0));

    let expected = [
        "before/start.tif",
        "moved/inside.tif",
        "new/deep/er/folder/x.tif",
        "plate 1/B02, x.tif",
        "plate 1/renamed.tif",
        "run.nd2",
        "slow.tif",
    ];
    let reported = sandbox.reported();
    let names: Vec<_> = reported.keys().map(|(file, outcome)| (file.as_str(), outcome.as_str())).collect();
    assert_eq!(names, expected.map(|file| (file, "done")));
    assert!(reported.values().all(|n| *n == 1), "{reported:?}");
    let planes: BTreeSet<_> = sandbox
        .lines("planes")
        .iter()
        .map(|line| (line["file"].to_string(), line["plane"].to_string()))
        .collect();
    assert_eq!(planes.len(), 6 + 3 * 2);
    assert_eq!(sandbox.lines("planes").len(), planes.len());
}

#[test]
fn lines_and_tables_say_what_is_in_the_files() {
    let sandbox = Sandbox::new();
    sandbox.drop_file("plate7/WellB02_ChannelDAPI,GFP_Seq0000.nd2", &nd2(2, 50));
    let (summary, code) = sandbox.scan(&[]);
    assert_eq!(code, 0);
    assert_eq!(
        (&summary["files"], &summary["planes"], &summary["rejected"]),
        (&1.into(), &4.into(), &0.into())
    );
    let file = &sandbox.lines("files")[0];
    assert_eq!(file["planes"], 4);
    assert_eq!(file["pixel_size_um"], 0.65);
    assert_eq!(file["dims"]["T"], 2);
    let planes = sandbox.lines("planes");
    let dapi: Vec<_> = planes.iter().filter(|plane| plane["channel"] == "DAPI").collect();
    assert_eq!(dapi.len(), 2);
    for plane in &dapi {
        assert_eq!(plane["well"], "B02");
        assert!((4..=7).contains(&plane["nuclei"].as_u64().unwrap()), "{plane}");
        assert_eq!(plane["container_complete"], true);
    }
    let gfp = planes.iter().find(|plane| plane["channel"] == "GFP").unwrap();
    assert_eq!(gfp["nuclei"], serde_json::Value::Null);
    let nuclei: u64 = dapi.iter().map(|plane| plane["nuclei"].as_u64().unwrap()).sum();
    assert_eq!(file["nuclei"], nuclei);

    let objects = sandbox.out().join("objects/in/plate7/WellB02_ChannelDAPI,GFP_Seq0000.nd2.objects.csv");
    let table = fs::read_to_string(&objects).unwrap();
    assert!(table.starts_with("file,plate,run,cycle,well,site,t,z,channel,label,area,"), "{table}");
    assert_eq!(table.lines().count() as u64, 1 + nuclei, "one row for each nucleus of both planes");
    assert!(table.contains(",B02,") && table.contains(",DAPI,"));
    let current = sandbox.table("planes.csv");
    assert_eq!(current.lines().count(), 1 + 4);
    assert!(current.lines().next().unwrap().contains("Metadata_Well"));
}

#[test]
fn copies_are_grouped_and_blanks_are_not() {
    let sandbox = Sandbox::new();
    let original = field(1);
    sandbox.drop_file("a/original.tif", &tiff(&original));
    sandbox.drop_file("b/copy.tif", &tiff(&original));
    sandbox.drop_file("b/resaved.tif", &deflated(&original));
    sandbox.drop_file("other.tif", &tiff(&field(2)));
    sandbox.drop_file("empty1.tif", &tiff(&empty_well(5)));
    sandbox.drop_file("empty2.tif", &tiff(&empty_well(5)));
    let (summary, _) = sandbox.scan(&[]);
    assert_eq!((&summary["groups"], &summary["pairs"]), (&1.into(), &2.into()));
    let pairs = sandbox.table("duplicate_pairs.csv");
    let mut lines = pairs.lines();
    assert_eq!(
        lines.next().unwrap(),
        "file_a,plane_a,file_b,plane_b,relation,confidence,s,r,q,orientation,scale,shift_y_px,shift_x_px,reason"
    );
    let relations: BTreeSet<_> =
        lines.map(|line| line.split(',').collect::<Vec<_>>()[4].to_owned()).collect();
    assert_eq!(relations, BTreeSet::from(["identical_file".to_owned(), "identical_pixels".to_owned()]));
    assert!(!pairs.contains("empty") && !pairs.contains("other"), "{pairs}");
    let events: Vec<_> = sandbox.lines("duplicates").iter().map(|line| line["event"].to_string()).collect();
    assert!(
        events.contains(&"\"created\"".to_owned()) && events.contains(&"\"member_added\"".to_owned()),
        "{events:?}"
    );
}

#[test]
fn the_same_files_give_the_same_tables_for_any_number_of_workers_and_any_order() {
    let names = ["c/x.tif", "a/y.tif", "b/z.tif", "a/copy.tif", "q.tif", "b/resaved.tif"];
    let contents = |name: &str| match name {
        "a/copy.tif" => tiff(&field(0)),
        "b/resaved.tif" => deflated(&field(0)),
        "c/x.tif" => tiff(&field(0)),
        other => tiff(&field(other.len() as u64 + u64::from(other.as_bytes()[0]))),
    };
    let write = |sandbox: &Sandbox, name: &str| {
        let path = sandbox.drop_file(name, &contents(name));
        // the earliest file represents its group: the time must not depend on this test
        let time = std::time::UNIX_EPOCH + std::time::Duration::from_secs(1_700_000_000);
        fs::File::options().write(true).open(path).unwrap().set_modified(time).unwrap();
    };
    let tables =
        |sandbox: &Sandbox| ["duplicate_pairs.csv", "duplicate_groups.json"].map(|name| sandbox.table(name));
    let mut all = Vec::new();
    for workers in ["1", "2", "5"] {
        let sandbox = Sandbox::new();
        names.iter().for_each(|name| write(&sandbox, name));
        sandbox.scan(&["--workers", workers]);
        all.push(tables(&sandbox));
    }
    for order in [[5, 4, 3, 2, 1, 0], [3, 0, 5, 1, 4, 2]] {
        let sandbox = Sandbox::new();
        let daemon = sandbox.start();
        for (n, index) in order.into_iter().enumerate() {
            write(&sandbox, names[index]);
            sandbox.wait_for_files(n + 1);
        }
        assert_eq!(daemon.stop(), Some(0));
        all.push(tables(&sandbox));
    }
    assert!(all[0][0].lines().count() == 3, "{}", all[0][0]);
    for tables in &all[1..] {
        assert_eq!(tables, &all[0]);
    }
}

#[test]
fn a_second_scan_takes_up_only_what_is_new() {
    let sandbox = Sandbox::new();
    (0..5).for_each(|n| drop(sandbox.drop_file(&format!("{n}.tif"), &tiff(&field(n)))));
    let (first, _) = sandbox.scan(&[]);
    assert_eq!(first["files"], 5);
    let (second, _) = sandbox.scan(&[]);
    assert_eq!(
        (&second["files"], &second["planes"], &second["files_known"]),
        (&0.into(), &0.into(), &5.into())
    );
    sandbox.drop_file("new.tif", &tiff(&field(9)));
    let (third, _) = sandbox.scan(&[]);
    assert_eq!((&third["files"], &third["planes"]), (&1.into(), &1.into()));
    assert_eq!(sandbox.lines("files").len(), 6);
    assert_eq!(sandbox.lines("planes").len(), 6);
}

#[test]
fn a_touched_file_gets_no_second_line_and_a_rewritten_one_gets_a_new_version() {
    let sandbox = Sandbox::new();
    sandbox.drop_file("x.tif", &tiff(&field(1)));
    sandbox.scan(&[]);
    // written again with the same pixels
    fs::remove_file(sandbox.inbox().join("x.tif")).unwrap();
    sandbox.drop_file("x.tif", &tiff(&field(1)));
    let (again, _) = sandbox.scan(&[]);
    assert_eq!(again["planes"], 0, "{again}");
    assert_eq!(sandbox.lines("files").len(), 1);
    assert_eq!(sandbox.lines("planes").len(), 1);
    sandbox.drop_file("x.tif", &tiff(&field(2)));
    sandbox.scan(&[]);
    let versions: Vec<_> =
        sandbox.lines("files").iter().map(|line| line["version"].as_u64().unwrap()).collect();
    assert_eq!(versions, [1, 2]);
    assert_eq!(sandbox.lines("planes").len(), 2);
}

#[test]
fn a_stack_that_gained_a_page_has_the_objects_of_all_pages_in_its_table() {
    let sandbox = Sandbox::new();
    let stack = |n: u64| {
        let pages: Vec<_> = (0..n).map(|page| field(20 + page)).collect();
        encode(&pages, &WriteOptions::default()).unwrap()
    };
    let rows = || {
        let table = fs::read_to_string(sandbox.out().join("objects/in/stack.tif.objects.csv")).unwrap();
        table.lines().count() as u64 - 1
    };
    let nuclei = || {
        let planes = sandbox.lines("planes");
        planes.iter().map(|plane| plane["nuclei"].as_u64().unwrap()).collect::<Vec<_>>()
    };
    sandbox.drop_file("stack.tif", &stack(2));
    sandbox.scan(&[]);
    assert_eq!(nuclei().len(), 2);
    assert_eq!(rows(), nuclei().iter().sum::<u64>());
    sandbox.drop_file("stack.tif", &stack(3));
    let (again, code) = sandbox.scan(&[]);
    assert_eq!((&again["files"], &again["planes"], code), (&1.into(), &1.into(), 0), "{again}");
    let planes: BTreeSet<_> = sandbox.lines("planes").iter().map(|line| line["plane"].to_string()).collect();
    assert_eq!((planes.len(), sandbox.lines("planes").len()), (3, 3));
    assert!(nuclei().iter().all(|nuclei| *nuclei > 0));
    assert_eq!(rows(), nuclei().iter().sum::<u64>(), "the table holds the rows of all three pages");
    let versions: Vec<_> = sandbox.lines("files").iter().map(|line| line["version"].clone()).collect();
    assert_eq!(versions, [1, 2]);
    let (third, _) = sandbox.scan(&[]);
    assert_eq!((&third["files"], &third["files_known"]), (&0.into(), &1.into()));
    assert_eq!(fs::read_dir(sandbox.out().join("state/objects")).unwrap().count(), 0, "no part is left");
}

#[test]
fn a_table_that_was_removed_is_made_again_when_its_file_is_looked_at_again() {
    let sandbox = Sandbox::new();
    let path = sandbox.drop_file("x.tif", &tiff(&field(1)));
    sandbox.scan(&[]);
    let table = sandbox.out().join("objects/in/x.tif.objects.csv");
    let before = fs::read(&table).unwrap();
    fs::remove_file(&table).unwrap();
    fs::write(&path, tiff(&field(1))).unwrap();
    // the first notices that the table has gone, the second makes it
    sandbox.scan(&[]);
    sandbox.scan(&[]);
    assert_eq!(fs::read(&table).unwrap(), before);
    let (third, _) = sandbox.scan(&[]);
    assert_eq!((&third["files"], &third["files_known"]), (&0.into(), &1.into()));
    assert_eq!((sandbox.lines("files").len(), sandbox.lines("planes").len()), (1, 1));
}

#[test]
fn only_hash_groups_without_segmenting() {
    let sandbox = Sandbox::new();
    sandbox.drop_file("a.tif", &tiff(&field(1)));
    sandbox.drop_file("b.tif", &tiff(&field(1)));
    let (summary, _) = sandbox.scan(&["--only", "hash"]);
    assert_eq!(summary["pairs"], 1);
    assert!(sandbox.lines("planes").iter().all(|plane| plane["nuclei"].is_null()));
}

#[test]
fn several_roots_are_told_apart_by_name() {
    let sandbox = Sandbox::new();
    let other = sandbox.path().join("other/in");
    fs::create_dir_all(&other).unwrap();
    fs::write(other.join("x.tif"), tiff(&field(1))).unwrap();
    sandbox.drop_file("x.tif", &tiff(&field(1)));
    let mut command = crate::support::scopewatch();
    command.arg("scan").arg(sandbox.inbox()).arg(&other).arg("--out").arg(sandbox.out());
    assert!(command.status().unwrap().success());
    let roots: BTreeSet<_> = sandbox.lines("files").iter().map(|line| line["root"].to_string()).collect();
    assert_eq!(roots, BTreeSet::from(["\"in\"".to_owned(), "\"in-2\"".to_owned()]));
    let pairs = sandbox.table("duplicate_pairs.csv");
    assert!(pairs.contains("in/x.tif") && pairs.contains("in-2/x.tif"), "{pairs}");
}

//! Tables of objects as Parquet, beside their CSV form.

use std::fs;
use std::path::Path;

use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::record::Field;
use scopewatch::formats::tiff::{WriteOptions, encode};

use crate::support::{Sandbox, field, output, scopewatch, tiff};

/// The cells of a Parquet file, row by row, as they stand in CSV; the names first.
fn cells(path: &Path) -> Vec<Vec<String>> {
    let reader = SerializedFileReader::new(fs::File::open(path).unwrap()).unwrap();
    let fields = reader.metadata().file_metadata().schema().get_fields();
    let mut rows = vec![fields.iter().map(|field| field.name().to_owned()).collect()];
    let text = |field: &Field| match field {
        Field::Null => String::new(),
        Field::Str(text) => text.clone(),
        Field::Long(number) => number.to_string(),
        Field::Double(number) => number.to_string(),
        Field::Bool(flag) => flag.to_string(),
        other => panic!("a column of another type: {other:?}"),
    };
    for row in reader.get_row_iter(None).unwrap() {
        rows.push(row.unwrap().get_column_iter().map(|(_, field)| text(field)).collect());
    }
    rows
}

fn csv_cells(path: &Path) -> Vec<Vec<String>> {
    let text = fs::read_to_string(path).unwrap();
    text.lines().map(|line| line.split(',').map(str::to_owned).collect()).collect()
}

#[test]
fn segment_writes_parquet_that_says_what_the_csv_says() {
    let sandbox = Sandbox::new();
    let file = sandbox.drop_file("plate/B02_s1_w1.tif", &tiff(&field(1)));
    let out = sandbox.path().join("segmented");
    let mut command = scopewatch();
    command.arg("segment").arg(&file).arg("--out").arg(&out).args(["--table", "parquet", "--json"]);
    let ended = output(&mut command);
    assert!(ended.status.success(), "{}", String::from_utf8_lossy(&ended.stderr));
    let answer: serde_json::Value = serde_json::from_slice(&ended.stdout).unwrap();
    let parquet = out.join("B02_s1_w1.objects.parquet");
    assert_eq!(answer["planes"][0]["parquet"], parquet.to_str().unwrap());
    let rows = cells(&parquet);
    assert!(rows.len() > 1);
    assert_eq!(rows, csv_cells(&out.join("B02_s1_w1.objects.csv")));
}

#[test]
fn the_parquet_table_of_a_container_follows_its_csv_table() {
    let sandbox = Sandbox::new();
    let stack = |n: u64| encode(&(0..n).map(field).collect::<Vec<_>>(), &WriteOptions::default()).unwrap();
    let scan = |table: &str| {
        let mut command = scopewatch();
        command.arg("scan").arg(sandbox.inbox()).arg("--out").arg(sandbox.out());
        assert!(output(command.env("SCOPEWATCH__SEGMENTATION__TABLE", table)).status.success());
    };
    let table = |name: &str| sandbox.out().join("objects/in").join(name);
    let parquet = table("stack.tif.objects.parquet");
    sandbox.drop_file("stack.tif", &stack(2));
    scan("parquet");
    let first = cells(&parquet);
    assert_eq!(first, csv_cells(&table("stack.tif.objects.csv")));
    sandbox.drop_file("stack.tif", &stack(3));
    scan("parquet");
    let second = cells(&parquet);
    assert!(second.len() > first.len() && second.starts_with(&first));
    assert_eq!(second, csv_cells(&table("stack.tif.objects.csv")));
    assert_eq!(fs::read_dir(sandbox.out().join("state/objects")).unwrap().count(), 0, "no part is left");
    sandbox.drop_file("stack.tif", &stack(4));
    sandbox.drop_file("later.tif", &tiff(&field(9)));
    scan("csv");
    assert!(!parquet.exists(), "an old one beside a new table would mislead");
    assert!(table("later.tif.objects.csv").exists() && !table("later.tif.objects.parquet").exists());
}

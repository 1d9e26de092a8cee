//! The benchmarks as commands: what they write, and the fields of real files.

use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::support::{output, scopewatch};

/// Runs a benchmark; returns its summary.
fn bench(what: &str, out: &Path, arguments: &[&str]) -> Value {
    let ended = output(scopewatch().args(["bench", what, "--json", "--out"]).arg(out).args(arguments));
    assert!(ended.status.success(), "{}", String::from_utf8_lossy(&ended.stderr));
    serde_json::from_slice(&ended.stdout).unwrap_or_default()
}

/// Every benchmark leaves the same kinds of files.
fn assert_written(out: &Path, plots: &[&str]) {
    let mut names: Vec<_> =
        fs::read_dir(out).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    let mut expected: Vec<String> =
        ["bench.log", "report.html", "summary.json", "trials.csv", "trials.parquet"].map(String::from).into();
    expected.extend(plots.iter().map(|name| format!("{name}.svg")));
    expected.sort();
    assert_eq!(names, expected);
    let parquet = fs::read(out.join("trials.parquet")).unwrap();
    assert!(parquet.starts_with(b"PAR1") && parquet.ends_with(b"PAR1"));
    let page = fs::read_to_string(out.join("report.html")).unwrap();
    assert!(page.contains("<svg") && !page.contains("NaN"), "{page}");
}

#[test]
fn a_small_comparison_of_the_optimizers_writes_everything() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("out");
    let small =
        ["--points", "40", "--noise", "1", "--wrong", "0", "--trials", "1", "--efficiency-trials", "20"];
    let summary = bench("optimizers", &out, &small);
    assert_eq!(summary["benchmark"], "optimizers");
    assert!(summary["conclusion"][0].as_str().unwrap().starts_with("Of 16 fits"), "{summary}");
    assert_written(
        &out,
        &[
            "convergence_nominal",
            "convergence_poor",
            "cpu",
            "data_profile",
            "performance_passes",
            "performance_time",
            "tre_noise",
            "tre_points",
        ],
    );
    let table = fs::read_to_string(out.join("trials.csv")).unwrap();
    // a header, and both solvers of every cell
    assert_eq!(table.lines().count(), 1 + 2 * 16);
}

#[test]
fn fields_of_real_files_are_segmented_and_registered_by_both_optimizers() {
    let folder = tempfile::tempdir().unwrap();
    let acquired = folder.path().join("acquired");
    let drawn = ["--size", "1024", "--wells", "2", "--fields", "1", "--plain", "--json"];
    let ended = output(scopewatch().args(["synth", "--out"]).arg(&acquired).args(drawn));
    assert!(ended.status.success());
    let [coarse, fine] = ["10x", "40x"].map(|name| acquired.join("plate1").join(name));
    let out = folder.path().join("out");
    let real = ["--real", coarse.to_str().unwrap(), fine.to_str().unwrap()];
    let summary = bench("registration", &out, &real);
    // one ND2 and one TIFF field, each with its overview
    assert_eq!(
        (&summary["pairs"]["n_pairs_of_fields"], &summary["pairs"]["n_accepted"]),
        (&2.into(), &2.into())
    );
    assert!(
        summary["conclusion"][0].as_str().unwrap().starts_with("Of 2 fine fields, 2 are placed"),
        "{summary}"
    );
    assert_written(&out, &["cpu", "fit_time", "rmsd"]);
    let table = fs::read_to_string(out.join("trials.csv")).unwrap();
    // counted from the end: names hold commas
    let solvers: Vec<_> = table.lines().skip(1).map(|line| line.rsplit(',').nth(7).unwrap()).collect();
    assert_eq!(solvers, ["lbfgsb", "lm", "lbfgsb", "lm"], "{table}");

    let ended = output(
        scopewatch()
            .args(["bench", "registration", "--out"])
            .arg(&out)
            .args(["--real", "/no/such", "/folder"]),
    );
    assert!(!ended.status.success());
    assert!(String::from_utf8_lossy(&ended.stderr).contains("/no/such"));
}

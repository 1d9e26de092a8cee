//! Settings as a user gives them: file, environment, flags.

use std::fs;

use crate::support::{Sandbox, output, scopewatch};

fn check(toml: &str, environment: &[(&str, &str)]) -> (i32, String) {
    let sandbox = Sandbox::new();
    let file = sandbox.path().join("scopewatch.toml");
    fs::write(&file, toml).unwrap();
    let mut command = scopewatch();
    command.arg("check-config").arg("--config").arg(&file).envs(environment.iter().copied());
    let ended = output(&mut command);
    let text = String::from_utf8_lossy(&ended.stdout).into_owned() + &String::from_utf8_lossy(&ended.stderr);
    (ended.status.code().unwrap(), text)
}

#[test]
fn the_printed_default_is_a_good_configuration() {
    let printed = output(scopewatch().args(["check-config", "--print-default"]));
    assert!(printed.status.success());
    let text = String::from_utf8(printed.stdout).unwrap();
    assert_eq!(
        text,
        fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/config/scopewatch.toml")).unwrap()
    );
    let (code, answer) = check(&text, &[]);
    assert_eq!(code, 0, "{answer}");
}

#[test]
fn unknown_keys_are_refused_with_the_nearest_known_one() {
    let (code, answer) = check("[watch]\nquiet_perod_ms = 5\n", &[]);
    assert_eq!(code, 2);
    assert!(answer.contains("quiet_perod_ms") && answer.contains("quiet_period_ms"), "{answer}");
    let (code, answer) = check("", &[("SCOPEWATCH__WATCH__SCAN_INTERVALL_MS", "5")]);
    assert_eq!(code, 2);
    assert!(
        answer.contains("SCOPEWATCH__WATCH__SCAN_INTERVALL_MS") && answer.contains("scan_interval_ms"),
        "{answer}"
    );
}

#[test]
fn values_out_of_range_name_key_value_and_range() {
    let (code, answer) = check("[watch]\nscan_interval_ms = 1\n", &[]);
    assert_eq!(code, 2);
    assert!(
        answer.contains("scan_interval_ms") && answer.contains('1') && answer.contains("100"),
        "{answer}"
    );
}

#[test]
fn a_missing_configuration_file_is_named() {
    let ended = output(scopewatch().args(["check-config", "--config", "/no/such/file.toml"]));
    assert_eq!(ended.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&ended.stderr).contains("/no/such/file.toml"));
}

#[test]
fn a_configuration_that_watches_nothing_is_said_so() {
    let (code, answer) = check("[watch]\nroots = []\n", &[]);
    assert!(code == 0 && answer.contains("watches nothing: `run` needs watch.roots or --watch"), "{answer}");
    let (_, answer) = check("[watch]\nroots = [\"/no/such/folder\"]\n", &[]);
    assert!(!answer.contains("watches nothing"), "{answer}");
    let json = output(scopewatch().args(["check-config", "--json"]));
    let answer: serde_json::Value = serde_json::from_slice(&json.stdout).unwrap();
    assert!(answer["warning"].is_string(), "{answer}");
    let ended = output(scopewatch().arg("run"));
    assert_eq!(ended.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&ended.stderr).contains("watches nothing"));
}

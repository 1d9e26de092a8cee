use std::fs;
use std::path::{Path, PathBuf};

use config::{FileFormat, Source, ValueKind};

use super::layers::leaves;
use super::raw::RANGES;
use super::*;

/// Writes `toml` to a file and loads it under the given environment and flags.
fn load(toml: &str, environment: &[(&str, &str)], overrides: &[Override]) -> Result<Settings, SettingsError> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("my.toml");
    fs::write(&path, toml).unwrap();
    let environment = environment.iter().map(|(name, text)| (name.to_string(), text.to_string()));
    Settings::load(Some(&path), environment, overrides)
}

fn flag(key: &'static str, flag: &'static str, values: &[&str]) -> Override {
    Override { key, flag, values: values.iter().map(|value| value.to_string()).collect() }
}

/// The message of a refusal.
fn refusal(toml: &str, environment: &[(&str, &str)]) -> String {
    load(toml, environment, &[]).unwrap_err().to_string()
}

#[test]
fn defaults_are_what_the_documentation_promises() {
    let settings = Settings::default();
    assert_eq!(settings.watch.roots, Vec::<PathBuf>::new());
    assert_eq!(settings.watch.quiet_period, Duration::from_secs(10));
    assert_eq!(settings.watch.quiet_period_network, Duration::from_secs(60));
    assert_eq!(settings.watch.scan_interval, Duration::from_secs(30));
    assert_eq!(settings.watch.incomplete_after, Duration::from_secs(300));
    assert_eq!(settings.output.dir, Path::new("scopewatch-out"));
    assert_eq!((settings.output.labels, settings.output.overlays), (Keep::Auto, Keep::Auto));
    assert_eq!(settings.output.free_space_min_bytes, 1 << 30);
    let resources = ResourceSettings {
        workers: None,
        memory_bytes: None,
        io_workers: 4,
        read_bytes_per_s_max: None,
        read_bytes_per_s_arriving_max: Some(100 << 20),
        io_stalled_percent_max: Some(50),
        page_cache: PageCache::Auto,
    };
    assert_eq!(settings.resources, resources);
    assert_eq!(settings.limits, Limits::default());
    assert_eq!(settings.pixel_sizes, PixelSizes::default());
    assert_eq!((settings.pipeline.attempts_max, settings.pipeline.interruptions_max), (3, 10));
    assert_eq!(settings.pipeline.drain_timeout, Duration::from_secs(25));
    let segmentation =
        SegmentationSettings { enabled: true, channel: None, table: TableFormat::Csv, geojson: false };
    assert_eq!(settings.segmentation, segmentation);
    assert_eq!(settings.identity.host, None);
    let log = LogSettings { level: LogLevel::Info, format: LogFormat::Text, file: true };
    assert_eq!(settings.log, log);
}

/// The comment lines right above `key` within its section.
fn comment_of(dotted: &str) -> String {
    let (section, key) = dotted.split_once('.').unwrap();
    let body = DEFAULT_TOML.split(&format!("\n[{section}]\n")).nth(1).unwrap();
    let body = body.split("\n[").next().unwrap();
    let mut comment = Vec::new();
    for line in body.lines() {
        if line.starts_with(&format!("{key} =")) {
            return comment.join("\n");
        }
        if line.starts_with('#') { comment.push(line) } else { comment.clear() }
    }
    panic!("{dotted} is not in the shipped file");
}

#[test]
fn every_key_has_a_comment_with_its_range_and_its_true_default() {
    let shipped = config::File::from_str(DEFAULT_TOML, FileFormat::Toml).collect().unwrap();
    let shipped = leaves(&shipped);
    for (key, value) in &shipped {
        let comment = comment_of(key);
        let last_line = comment.lines().last().unwrap_or_default();
        let default = match &value.kind {
            ValueKind::I64(number) => {
                let (_, min, max) = RANGES.iter().find(|(known, ..)| known == key).expect(key);
                assert!(last_line.contains(&format!(", {min} to {max}; ")), "{key}: {last_line}");
                number.to_string()
            }
            ValueKind::Boolean(value) => format!("{value}"),
            ValueKind::String(text) => format!("{text:?}"),
            ValueKind::Array(values) if values.is_empty() => "[]".to_owned(),
            ValueKind::Array(_) => "as below".to_owned(),
            other => panic!("{key} is a {other:?}"),
        };
        assert!(last_line.contains(&format!("default {default}")), "{key}: {last_line}, but it is {default}");
        assert!(comment.lines().count() >= 2, "{key} has no explanation");
    }
    for (key, ..) in RANGES {
        assert!(shipped.contains_key(*key), "{key} has a range but is no setting");
    }
}

#[test]
fn a_later_layer_wins_key_by_key() {
    let toml = "[watch]\nquiet_period_ms = 1\nscan_interval_ms = 1001\ndepth_max = 3\nroots = ['/file']";
    let environment = [
        ("SCOPEWATCH__WATCH__SCAN_INTERVAL_MS", "2002"),
        ("SCOPEWATCH__WATCH__DEPTH_MAX", "4"),
        ("SCOPEWATCH__WATCH__ROOTS", "/environment"),
        ("SCOPEWATCH__LOG__FILE", "false"),
        ("SCOPEWATCH__OUTPUT__LABELS", "none"),
        ("HOME", "/root"),
        ("SCOPEWATCH_DATA", "not ours: one underscore"),
    ];
    let overrides = [
        flag("watch.depth_max", "--depth-max", &["5"]),
        flag("watch.roots", "--watch", &["/flag/a", "/flag,b"]),
    ];
    let settings = load(toml, &environment, &overrides).unwrap();
    assert_eq!(settings.watch.quiet_period, Duration::from_millis(1));
    assert_eq!(settings.watch.scan_interval, Duration::from_millis(2002));
    assert_eq!(settings.watch.depth_max, 5);
    assert_eq!(settings.watch.roots, ["/flag/a", "/flag,b"].map(PathBuf::from));
    assert!(!settings.log.file);
    assert_eq!(settings.output.labels, Keep::None);
    assert_eq!(settings.watch.incomplete_after, Duration::from_secs(300));
}

#[test]
fn a_list_in_the_environment_is_bare_or_an_array() {
    for (text, expected) in
        [("", vec![]), ("/a b,c", vec!["/a b,c"]), (r#"["/a", "/b,c"]"#, vec!["/a", "/b,c"]), ("[]", vec![])]
    {
        let settings = load("", &[("SCOPEWATCH__WATCH__ROOTS", text)], &[]).unwrap();
        assert_eq!(
            settings.watch.roots,
            expected.into_iter().map(PathBuf::from).collect::<Vec<_>>(),
            "{text}"
        );
    }
    let message = refusal("", &[("SCOPEWATCH__WATCH__ROOTS", "[\"/a\"")]);
    assert!(message.contains("SCOPEWATCH__WATCH__ROOTS"), "{message}");
}

#[test]
fn unknown_keys_name_the_nearest_and_the_origin() {
    for (toml, environment, expected) in [
        ("[watch]\nquiet_period = 5", vec![], ["`watch.quiet_period`", "`watch.quiet_period_ms`", "my.toml"]),
        ("[wacth]\nroots = []", vec![], ["`wacth.roots`", "`watch.roots`", "my.toml"]),
        ("[wacth]", vec![], ["`wacth`", "nearest", "my.toml"]),
        ("memory_mb = 5", vec![], ["`memory_mb`", "`resources.memory_mb`", "my.toml"]),
        ("[watch.roots]\na = 1", vec![], ["`watch.roots.a`", "`watch.roots`", "my.toml"]),
        (
            "",
            vec![("SCOPEWATCH__OUTPUT__LABLES", "all")],
            ["`output.lables`", "`output.labels`", "SCOPEWATCH__OUTPUT__LABLES"],
        ),
        ("", vec![("SCOPEWATCH__WORKERS", "2")], ["`workers`", "`resources.workers`", "SCOPEWATCH__WORKERS"]),
    ] {
        let message = refusal(toml, &environment);
        for part in expected {
            assert!(message.contains(part), "{message} lacks {part}");
        }
    }
    let message =
        Settings::load(None, [], &[flag("watch.root", "--watch", &["/a"])]).unwrap_err().to_string();
    assert!(message.contains("the flag --watch"), "{message}");
}

#[test]
fn values_out_of_range_name_key_value_range_and_origin() {
    for (toml, environment, expected) in [
        (
            "[watch]\nscan_interval_ms = 99",
            vec![],
            ["`watch.scan_interval_ms`", "is 99", "from 100 to 86400000", "my.toml"],
        ),
        (
            "[limits]\nplanes_max = -1",
            vec![],
            ["`limits.planes_max`", "is -1", "from 1 to 1000000000", "my.toml"],
        ),
        (
            "[pipeline]\nattempts_max = 1.5",
            vec![],
            ["`pipeline.attempts_max`", "is 1.5", "from 1 to 100", "my.toml"],
        ),
        (
            "[pipeline]\nattempts_max = true",
            vec![],
            ["`pipeline.attempts_max`", "true", "from 1 to 100", "my.toml"],
        ),
        (
            "",
            vec![("SCOPEWATCH__RESOURCES__MEMORY_MB", "2GB")],
            ["`resources.memory_mb`", "2GB", "from 0 to 1000000", "SCOPEWATCH__RESOURCES__MEMORY_MB"],
        ),
    ] {
        let message = refusal(toml, &environment);
        for part in expected {
            assert!(message.contains(part), "{message} lacks {part}");
        }
    }
}

#[test]
fn other_values_of_the_wrong_kind_are_refused_by_name() {
    for (toml, expected) in [
        ("[output]\nlabels = 'some'", vec!["labels", "some", "sample"]),
        ("[registration]\nmodel = 'projective'", vec!["registration.model", "projective", "anisotropic"]),
        ("[registration]\nwarp = 'on'", vec!["registration.warp", "off", "auto"]),
        ("[registration]\noptimizer = 'lm'", vec!["registration.optimizer", "levenberg-marquardt", "lbfgsb"]),
        ("[log]\nfile = 'maybe'", vec!["log.file", "boolean"]),
        ("[watch]\nroots = 5", vec!["watch.roots"]),
        ("watch = 3", vec!["watch"]),
        ("[watch]\nroots = ['']", vec!["watch.roots", "path of a folder"]),
        ("[watch]\ninclude = ['a{b']", vec!["watch.include", "a{b"]),
        ("[output]\ndir = ''", vec!["output.dir", "path of a folder"]),
        ("[identity]\nhost = 'a/b'", vec!["identity.host", "a/b"]),
        ("[watch\n", vec!["my.toml"]),
    ] {
        let message = refusal(toml, &[]);
        for part in expected {
            assert!(message.contains(part), "{toml}: {message} lacks {part}");
        }
    }
    let missing = Settings::load(Some(Path::new("/nowhere/at-all.toml")), [], &[]).unwrap_err().to_string();
    assert!(missing.contains("/nowhere/at-all.toml"), "{missing}");
}

#[test]
fn include_takes_images_and_exclude_passes_over_temporary_ones() {
    let watch = Settings::default().watch;
    for name in ["a.nd2", "x/y/A.TIF", "b.ome.tif", "c.ome.btf", "d.Tiff", "plate 1/e.jpeg", "f.PNG", "g.bmp"]
    {
        assert!(watch.include.is_match(name) && !watch.exclude.is_match(name), "{name}");
    }
    for name in ["a.nd2.tmp", "notes.txt", "Thumbs.db", "nd2", "a.nd2.filepart"] {
        assert!(!watch.include.is_match(name), "{name}");
    }
    for name in [
        ".a.tif",
        "x/.hidden",
        "~$a.tif",
        "a.tif~",
        "x/a.nd2.PART",
        "@eaDir",
        "x/System Volume Information",
        ".Trash-1000",
        "$RECYCLE.BIN",
    ] {
        assert!(watch.exclude.is_match(name), "{name}");
    }
}

#[test]
fn globs_with_a_slash_are_compared_with_the_whole_path() {
    let watch = load("[watch]\ninclude = ['/raw/*.tif', 'p*/**/x.tif']", &[], &[]).unwrap().watch;
    for (name, expected) in [
        ("raw/a.tif", true),
        ("raw/b/a.tif", false),
        ("x/raw/a.tif", false),
        ("p1/x.tif", true),
        ("p1/a/b/x.tif", true),
        ("q1/x.tif", false),
    ] {
        assert_eq!(watch.include.is_match(name), expected, "{name}");
    }
}

#[test]
fn folders_that_would_feed_back_are_refused() {
    let check = |roots: &[&str], output: &str| {
        let roots: Vec<PathBuf> = roots.iter().map(PathBuf::from).collect();
        check_folders(&roots, Path::new(output)).map_err(|error| error.to_string())
    };
    assert_eq!(check(&["/data/a", "/data/ab"], "/data/out"), Ok(()));
    assert_eq!(check(&[], "/out"), Ok(()));
    assert_eq!(check(&["/out/watch"], "/out"), Ok(()));
    for (roots, output, expected) in [
        (vec!["/data"], "/data/out", "the output folder /data/out lies inside the watched folder /data"),
        (vec!["/data"], "/data", "inside the watched folder"),
        (vec!["/out/objects/x"], "/out", "scopewatch writes into"),
        (vec!["/a/b", "/a"], "/out", "the watched folder /a/b lies inside the watched folder /a"),
        (vec!["/a", "/a"], "/out", "lies inside the watched folder /a"),
    ] {
        let message = check(&roots, output).unwrap_err();
        assert!(message.contains(expected), "{message}");
    }
}

#[test]
fn folders_are_resolved_before_they_are_compared() {
    let base = tempfile::tempdir().unwrap();
    let base = base.path().canonicalize().unwrap();
    fs::create_dir_all(base.join("data/plates")).unwrap();
    fs::write(base.join("data/a.tif"), b"x").unwrap();
    let resolved =
        resolve_folders(&[base.join("data"), base.join("offline/share")], &base.join("new/../out")).unwrap();
    assert_eq!(resolved.roots, [base.join("data"), base.join("offline/share")]);
    assert_eq!(resolved.output, base.join("out"));
    assert!(matches!(
        resolve_folders(&[base.join("data/a.tif")], &base.join("out")),
        Err(SettingsError::RootIsFile(_))
    ));
    assert!(matches!(
        resolve_folders(&[base.join("data")], &base.join("data/plates/../x")),
        Err(SettingsError::OutputInsideRoot { .. })
    ));
    assert!(matches!(resolve_folders(&[], &base.join("data/a.tif")), Err(SettingsError::OutputIsFile(_))));
    #[cfg(unix)]
    {
        std::os::unix::fs::symlink(base.join("data"), base.join("link")).unwrap();
        assert!(matches!(
            resolve_folders(&[base.join("data/plates"), base.join("link")], &base.join("out")),
            Err(SettingsError::RootInsideRoot { .. })
        ));
        assert!(matches!(
            resolve_folders(&[base.join("data")], &base.join("link/out")),
            Err(SettingsError::OutputInsideRoot { .. })
        ));
    }
}

#[test]
fn pixel_sizes_are_stated_per_objective() {
    let settings = load("[calibration]\npixel_sizes_um = [\"Plan Apo 20x = 0.325\"]", &[], &[]).unwrap();
    assert_eq!(settings.pixel_sizes.0[0].pixel_size_um, 0.325);
    let refused = refusal("[calibration]\npixel_sizes_um = [\"20x\"]", &[]);
    assert!(refused.contains("calibration.pixel_sizes_um") && refused.contains("20x"), "{refused}");
}

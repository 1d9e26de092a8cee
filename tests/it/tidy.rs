//! The rules of the house that a program can check: layers, sizes, the order of the steps.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// Which layer a module of the crate's root belongs to; imports point down.
const LAYERS: &[(&str, u8)] = &[
    ("units", 0),
    ("paths", 0),
    ("geometry", 0),
    ("tuning", 0),
    ("formats", 1),
    ("analysis", 1),
    ("platform", 2),
    ("messages", 2),
    ("store", 2),
    ("reports", 2),
    ("actor", 3),
    ("stages", 4),
    ("settings", 5),
    ("bench", 5),
    ("machine", 5),
    ("pipeline", 5),
    ("service", 5),
    ("control", 5),
    ("duplicates", 5),
    ("cli", 5),
    ("lib", 5),
    ("main", 5),
];

/// What a layer never uses.
const FORBIDDEN: &[(u8, &[&str])] = &[
    (0, &["std::fs", "tokio", "std::time::Instant", "SystemTime", "tracing", "anyhow"]),
    (1, &["std::fs", "tokio", "Instant::now", "SystemTime", "tracing", "anyhow", "std::env"]),
    (2, &["tokio", "anyhow"]),
    (3, &["anyhow", "image::", "crate::formats", "crate::analysis", "crate::messages", "crate::store"]),
    (4, &["anyhow", "crate::settings"]),
];

/// Code lines per file beyond which a file is to be split.
const CODE_LINES_MAX: usize = 400;

const STEPS: [&str; 8] =
    ["watcher", "settler", "decoder", "segmenter", "hasher", "verifier", "registrar", "reporter"];

fn source_dir() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src")
}

/// Every source file below `src`, with its path there and its text.
fn sources() -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    let mut folders = vec![source_dir()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let name = path.strip_prefix(source_dir()).unwrap().to_str().unwrap().replace('\\', "/");
                found.insert(name, fs::read_to_string(&path).unwrap());
            }
        }
    }
    assert!(found.len() > 40, "the source files were found");
    found
}

/// The part of a file before its tests; nothing of a file that holds only tests.
fn code(name: &str, text: &str) -> String {
    if name.ends_with("tests.rs") || name.contains("/tests/") {
        return String::new();
    }
    let end = text.find("#[cfg(test)]\nmod tests {").unwrap_or(text.len());
    let lines = text[..end].lines().filter(|line| !line.trim_start().starts_with("//"));
    let code = lines.collect::<Vec<_>>().join("\n");
    let written_out = paths_in_braces(&code);
    code + "\n" + &written_out
}

/// The paths of `a::b::{c, d::e}` written out, one a line: `a::b::c` and `a::b::d`.
fn paths_in_braces(code: &str) -> String {
    let is_path = |c: char| c.is_alphanumeric() || c == '_' || c == ':';
    let mut paths = String::new();
    for (position, _) in code.match_indices("::{") {
        let (before, after) = (&code[..position], &code[position + "::{".len()..]);
        let prefix = &before[before.rfind(|c| !is_path(c)).map_or(0, |end| end + 1)..];
        let mut depth = 0;
        let mut is_first = true;
        for (start, character) in after.char_indices() {
            match character {
                '{' => depth += 1,
                '}' if depth == 0 => break,
                '}' => depth -= 1,
                ',' if depth == 0 => is_first = true,
                c if is_first && !c.is_whitespace() => {
                    let name: String = after[start..].chars().take_while(|c| is_path(*c)).collect();
                    let module = name.split("::").next().unwrap();
                    paths += &format!("{prefix}::{module}\n");
                    is_first = false;
                }
                _ => (),
            }
        }
    }
    paths
}

#[test]
fn paths_in_braces_are_seen() {
    let seen =
        paths_in_braces("use crate::{\n    store,\n    stages::{hasher::NAME, space},\n    cli::Exit,\n};");
    let paths = ["crate::store", "crate::stages", "crate::cli", "stages::hasher", "stages::space"]
        .map(|p| format!("{p}\n"));
    assert_eq!(seen, paths.concat());
}

fn layer_of(module: &str) -> u8 {
    let found = LAYERS.iter().find(|(name, _)| *name == module);
    found.unwrap_or_else(|| panic!("{module} has no layer: give it one in tests/it/tidy.rs")).1
}

fn module_of(file: &str) -> &str {
    file.split('/').next().unwrap().trim_end_matches(".rs")
}

#[test]
fn imports_point_down() {
    for (file, text) in sources() {
        let own = layer_of(module_of(&file));
        let code = code(&file, &text);
        for (position, _) in code.match_indices("crate::") {
            let rest = &code[position + "crate::".len()..];
            let module: String = rest.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
            if module.is_empty() {
                continue; // a list in braces: its paths are written out below the code
            }
            assert!(layer_of(&module) <= own, "{file} (layer {own}) uses crate::{module}, which is above it");
        }
    }
}

#[test]
fn no_layer_uses_what_it_must_not() {
    for (file, text) in sources() {
        let own = layer_of(module_of(&file));
        let code = code(&file, &text);
        let forbidden = FORBIDDEN.iter().find(|(layer, _)| *layer == own).map_or(&[][..], |(_, words)| words);
        for word in forbidden {
            assert!(!code.contains(word), "{file} (layer {own}) uses {word}");
        }
    }
}

#[test]
fn a_stage_names_no_other_stage() {
    for (file, text) in sources() {
        let Some(own) = file.strip_prefix("stages/").map(module_of) else { continue };
        if own == "mod" {
            continue;
        }
        for step in STEPS.iter().filter(|step| **step != own) {
            for path in [format!("stages::{step}"), format!("super::{step}")] {
                assert!(!code(&file, &text).contains(&path), "{file} names the stage {step}");
            }
        }
    }
}

#[test]
fn files_stay_small() {
    for (file, text) in sources() {
        let n_lines = code(&file, &text).lines().filter(|line| !line.trim().is_empty()).count();
        assert!(n_lines <= CODE_LINES_MAX, "{file} has {n_lines} code lines, split it at {CODE_LINES_MAX}");
    }
}

#[test]
fn the_steps_stand_in_flow_order() {
    let sources = sources();
    let in_order = |file: &str, marks: &dyn Fn(&str) -> String| {
        let text = &sources[file];
        let places: Vec<_> = STEPS
            .iter()
            .map(|step| text.find(&marks(step)).unwrap_or_else(|| panic!("{file} does not list {step}")))
            .collect();
        assert!(places.is_sorted(), "{file} lists the steps in another order than {STEPS:?}");
    };
    in_order("stages/mod.rs", &|step| format!("pub mod {step};"));
    in_order("pipeline.rs", &|step| match step {
        "watcher" => "line.task(watcher::NAME".to_owned(),
        "reporter" => "line.last_stage(reporter".to_owned(),
        _ => format!("line.stage({step}"),
    });
    let messages = [
        "SeenFile",
        "SettledFile",
        "DecodedImage",
        "SegmentedImage",
        "HashedImage",
        "VerifiedImage",
        "RegisteredImage",
    ];
    let text = &sources["messages.rs"];
    let places: Vec<_> =
        messages.iter().map(|name| text.find(&format!("pub struct {name} ")).unwrap()).collect();
    assert!(places.is_sorted(), "messages.rs lists what travels in another order than {messages:?}");
}

#[test]
fn nothing_is_left_undone() {
    for (file, text) in sources() {
        for word in ["todo!(", "unimplemented!(", "dbg!("] {
            assert!(!text.contains(word), "{file} holds {word}");
        }
        assert!(!text.contains("#[ignore"), "{file} leaves a test out");
    }
}

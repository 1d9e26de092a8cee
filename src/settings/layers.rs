//! The layers that settings come from, lowest first: the shipped file, the given file, the environment, the flags.

use std::collections::BTreeMap;
use std::path::Path;

use config::{Config, File, FileFormat, Map, Source, Value, ValueKind};

use super::error::SettingsError;
use super::raw::{RANGES, RawSettings};

/// The shipped configuration: every key with its default.
pub const DEFAULT_TOML: &str = include_str!("../../config/scopewatch.toml");

/// Variables of the environment that are settings start so; section and key follow, separated by `__`.
const ENVIRONMENT_PREFIX: &str = "SCOPEWATCH__";

/// A value that a flag of the command line gives to one key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Override {
    /// Section and key, such as `watch.scan_interval_ms`.
    pub key: &'static str,
    /// The flag as the user knows it, such as `--scan-interval-ms`; errors name it.
    pub flag: &'static str,
    /// The value; exactly one for a key that is no list.
    pub values: Vec<String>,
}

/// The variables of this process's environment that are settings. What is not UTF-8 in a value is replaced, and
/// then refused or not found under the name that is shown.
pub fn environment() -> Vec<(String, String)> {
    let ours = |(name, text): (std::ffi::OsString, std::ffi::OsString)| {
        let name = name.into_string().ok().filter(|name| name.starts_with(ENVIRONMENT_PREFIX))?;
        Some((name, text.to_string_lossy().into_owned()))
    };
    std::env::vars_os().filter_map(ours).collect()
}

/// Merges the layers, refuses unknown keys and values out of range.
pub(super) fn merge(
    file: Option<&Path>,
    environment: impl IntoIterator<Item = (String, String)>,
    overrides: &[Override],
) -> Result<RawSettings, SettingsError> {
    let shipped = File::from_str(DEFAULT_TOML, FileFormat::Toml).collect()?;
    let known = leaves(&shipped);
    let mut layers = vec![Layer(shipped)];
    if let Some(path) = file {
        let values = File::from(path).format(FileFormat::Toml).required(true).collect()?;
        refuse_unknown(&values, &known, &path.display().to_string())?;
        layers.push(Layer(values));
    }
    for (name, text) in environment {
        let Some(rest) = name.strip_prefix(ENVIRONMENT_PREFIX) else { continue };
        let key = rest.to_lowercase().replacen("__", ".", 1);
        let origin = format!("the environment variable {name}");
        let is_list = is_list(&key, &known, &origin)?;
        let values = if is_list { parse_list(&text, &origin)? } else { vec![text] };
        layers.push(Layer::single(&key, values, is_list, &origin));
    }
    for given in overrides {
        let origin = format!("the flag {}", given.flag);
        let is_list = is_list(given.key, &known, &origin)?;
        layers.push(Layer::single(given.key, given.values.clone(), is_list, &origin));
    }
    let builder = layers.into_iter().fold(Config::builder(), |builder, layer| builder.add_source(layer));
    let merged = builder.build()?;
    check_ranges(&leaves(&merged.collect()?))?;
    Ok(merged.try_deserialize()?)
}

/// The keys of the shipped file, as `section.key`, with their values.
pub(super) fn leaves(table: &Map<String, Value>) -> BTreeMap<String, Value> {
    let mut found = BTreeMap::new();
    for (name, value) in table {
        match &value.kind {
            ValueKind::Table(inner) => {
                found.extend(leaves(inner).into_iter().map(|(key, value)| (format!("{name}.{key}"), value)));
            }
            _ => {
                found.insert(name.clone(), value.clone());
            }
        }
    }
    found
}

/// One layer as the `config` crate takes it.
#[derive(Debug, Clone)]
struct Layer(Map<String, Value>);

impl Source for Layer {
    fn clone_into_box(&self) -> Box<dyn Source + Send + Sync> {
        Box::new(self.clone())
    }

    fn collect(&self) -> Result<Map<String, Value>, config::ConfigError> {
        Ok(self.0.clone())
    }
}

impl Layer {
    /// A layer of one known `section.key`.
    fn single(key: &str, mut values: Vec<String>, is_list: bool, origin: &str) -> Self {
        let origin = Some(origin.to_owned());
        let text = |text| Value::new(origin.as_ref(), ValueKind::String(text));
        let value = if is_list {
            Value::new(origin.as_ref(), ValueKind::Array(values.into_iter().map(text).collect()))
        } else {
            text(values.pop().unwrap_or_default())
        };
        let (section, name) = key.split_once('.').expect("every known key stands in a section");
        let inner = Map::from_iter([(name.to_owned(), value)]);
        Self(Map::from_iter([(section.to_owned(), Value::new(origin.as_ref(), ValueKind::Table(inner)))]))
    }
}

/// Whether a known key holds a list.
fn is_list(key: &str, known: &BTreeMap<String, Value>, origin: &str) -> Result<bool, SettingsError> {
    match known.get(key) {
        Some(value) => Ok(matches!(value.kind, ValueKind::Array(_))),
        None => Err(unknown(key, known, origin)),
    }
}

/// Reads a list out of one text: an array as in the file, or one bare value.
fn parse_list(text: &str, origin: &str) -> Result<Vec<String>, SettingsError> {
    if text.is_empty() {
        return Ok(Vec::new());
    }
    if !text.starts_with('[') {
        return Ok(vec![text.to_owned()]);
    }
    let parsed = Config::builder()
        .add_source(File::from_str(&format!("list = {text}"), FileFormat::Toml))
        .build()
        .and_then(|parsed| parsed.get::<Vec<String>>("list"));
    parsed.map_err(|error| config::ConfigError::Message(format!("{origin}: {error}")).into())
}

fn refuse_unknown(
    table: &Map<String, Value>,
    known: &BTreeMap<String, Value>,
    origin: &str,
) -> Result<(), SettingsError> {
    let is_section = |key: &str| known.keys().any(|known| known.split('.').next() == Some(key));
    for (name, value) in table {
        if !is_section(name) && matches!(&value.kind, ValueKind::Table(inner) if inner.is_empty()) {
            return Err(unknown(name, known, origin));
        }
    }
    match leaves(table).keys().find(|key| !known.contains_key(*key) && !is_section(key)) {
        Some(key) => Err(unknown(key, known, origin)),
        None => Ok(()),
    }
}

fn unknown(key: &str, known: &BTreeMap<String, Value>, origin: &str) -> SettingsError {
    let has_section = key.contains('.');
    let distance = |known: &str| {
        let name = known.split('.').next_back().unwrap_or(known);
        edit_distance(key, if has_section { known } else { name })
    };
    let nearest = known.keys().min_by_key(|known| distance(known)).cloned().unwrap_or_default();
    SettingsError::UnknownKey { key: key.to_owned(), origin: origin.to_owned(), nearest }
}

fn check_ranges(merged: &BTreeMap<String, Value>) -> Result<(), SettingsError> {
    for &(key, min, max) in RANGES {
        let Some(value) = merged.get(key) else { continue };
        let number = match &value.kind {
            ValueKind::I64(number) => u64::try_from(*number).ok(),
            ValueKind::U64(number) => Some(*number),
            ValueKind::String(text) => text.trim().parse().ok(),
            _ => None,
        };
        if number.is_none_or(|number| !(min..=max).contains(&number)) {
            let origin = value.origin().unwrap_or("the shipped configuration").to_owned();
            return Err(SettingsError::OutOfRange { key, origin, value: value.to_string(), min, max });
        }
    }
    Ok(())
}

/// Fewest insertions, deletions and replacements of one character that turn `a` into `b`.
///
/// # References
/// Wagner and Fischer, "The string-to-string correction problem", J. ACM 21 (1974), by rows.
pub(crate) fn edit_distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, letter_a) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, &letter_b) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(letter_a != letter_b);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}

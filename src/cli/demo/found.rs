//! What the daemon wrote about the acquisition: its reports, read as a user's script would.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{ErrorKind, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow};
use serde_json::Value;

use crate::geometry::Affine;

/// A plane as reports name it: its file and `t0p0z0c0`.
pub(super) type PlaneName = (String, String);

/// What is reported.
#[derive(Debug, Default)]
pub(super) struct Found {
    /// Pairs of planes with their relation, as `duplicate_pairs.csv` has them.
    pub(super) pairs: Vec<(PlaneName, PlaneName, String)>,
    /// Planes that are blank.
    pub(super) blank: Vec<PlaneName>,
    /// Files that were rejected.
    pub(super) rejected: Vec<String>,
    /// Every line about a plane that was done, and whether its container was complete then.
    pub(super) planes: Vec<(PlaneName, bool)>,
    /// Accepted registrations: moving and reference plane, and the transform.
    pub(super) registrations: Vec<(PlaneName, PlaneName, Affine)>,
}

impl Found {
    /// Reads the reports below an output folder; those that are not there say nothing.
    pub(super) fn read(output: &Path) -> Result<Self> {
        let reports = output.join("reports");
        let lines = |name: &str| -> Result<Vec<Value>> {
            let mut lines = Lines::new(reports.join(name));
            lines.read_new()?;
            Ok(lines.lines)
        };
        let text = |line: &Value, key: &str| line[key].as_str().unwrap_or_default().to_owned();
        let plane = |line: &Value| (text(line, "file"), text(line, "plane"));
        let rejected = lines("files.jsonl")?;
        let rejected = rejected.iter().filter(|line| line["outcome"] == "rejected");
        let planes = lines("planes.jsonl")?;
        let done = planes.iter().filter(|line| line["outcome"] != "rejected");
        let side =
            |row: &Row, side: &str| (row.get(&format!("file{side}")), row.get(&format!("plane{side}")));
        let pairs = table(&reports.join("current/duplicate_pairs.csv"))?;
        let pairs = pairs.iter().map(|row| (side(row, "_a"), side(row, "_b"), row.get("relation")));
        let blank = table(&reports.join("current/planes.csv"))?;
        let blank = blank.iter().filter(|row| !row.get("blank").is_empty()).map(|row| side(row, ""));
        let registrations = table(&reports.join("current/registrations.csv"))?;
        let registrations = registrations.iter().filter(|row| row.get("accepted") == "true").map(|row| {
            let end = |end: &str| (row.get(&format!("{end}_file")), row.get(&format!("{end}_plane")));
            let map = affine(row).context("expected numbers in the transforms of registrations.csv")?;
            Ok((end("moving"), end("reference"), map))
        });
        Ok(Self {
            pairs: pairs.collect(),
            blank: blank.collect(),
            rejected: rejected.map(|line| text(line, "file")).collect(),
            planes: done.map(|line| (plane(line), line["container_complete"] == true)).collect(),
            registrations: registrations.collect::<Result<_>>()?,
        })
    }
}

/// A report of JSON lines that is read while it is written.
pub(super) struct Lines {
    path: PathBuf,
    n_bytes: u64,
    lines: Vec<Value>,
}

impl Lines {
    pub(super) fn new(path: PathBuf) -> Self {
        Self { path, n_bytes: 0, lines: Vec::new() }
    }

    /// Reads the whole lines that have come since.
    pub(super) fn read_new(&mut self) -> Result<()> {
        let name = || self.path.display().to_string();
        let mut file = match File::open(&self.path) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
            file => file.with_context(name)?,
        };
        file.seek(SeekFrom::Start(self.n_bytes)).with_context(name)?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes).with_context(name)?;
        let whole = bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |last| last + 1);
        for line in bytes[..whole].split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
            self.lines.push(serde_json::from_slice(line).with_context(name)?);
        }
        self.n_bytes += whole as u64;
        Ok(())
    }

    /// How many different files have a line.
    pub(super) fn n_files(&self) -> usize {
        let files = self.lines.iter().filter_map(|line| line["file"].as_str());
        files.collect::<std::collections::BTreeSet<_>>().len()
    }

    /// Lines about one file.
    pub(super) fn n_of(&self, file: &str) -> usize {
        self.lines.iter().filter(|line| line["file"] == file).count()
    }
}

/// One row of a table, by the names of its columns.
struct Row(BTreeMap<String, String>);

impl Row {
    /// A cell; empty where the table has no such column.
    fn get(&self, column: &str) -> String {
        self.0.get(column).cloned().unwrap_or_default()
    }
}

fn affine(row: &Row) -> Result<Affine, std::num::ParseFloatError> {
    let number = |column: &str| row.get(column).parse::<f64>();
    let rows = [["a", "b", "tx"], ["c", "d", "ty"]].map(|[a, b, t]| Ok([number(a)?, number(b)?, number(t)?]));
    let [first, second] = rows;
    Ok(Affine { rows: [first?, second?] })
}

fn table(path: &Path) -> Result<Vec<Row>> {
    let text = match fs::read_to_string(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        text => text.with_context(|| path.display().to_string())?,
    };
    let mut rows = cells(&text).into_iter();
    let header = rows.next().ok_or_else(|| anyhow!("{}: expected a header", path.display()))?;
    Ok(rows.map(|row| Row(header.iter().cloned().zip(row).collect())).collect())
}

/// The cells of comma-separated values (RFC 4180); the apostrophe before text that looks like a formula is left off.
pub(super) fn cells(text: &str) -> Vec<Vec<String>> {
    let mut rows = Vec::new();
    let mut row = vec![String::new()];
    let mut is_quoted = false;
    let mut characters = text.chars().peekable();
    while let Some(character) = characters.next() {
        let cell = row.last_mut().expect("a row has a cell");
        match character {
            '"' if is_quoted && characters.peek() == Some(&'"') => {
                characters.next();
                cell.push('"');
            }
            '"' => is_quoted = !is_quoted,
            ',' if !is_quoted => row.push(String::new()),
            '\n' if !is_quoted => rows.push(std::mem::replace(&mut row, vec![String::new()])),
            '\r' if !is_quoted => {}
            other => cell.push(other),
        }
    }
    if row != [String::new()] {
        rows.push(row);
    }
    for cell in rows.iter_mut().flatten() {
        if let Some(rest) = cell.strip_prefix('\'') {
            *cell = rest.to_owned();
        }
    }
    rows
}

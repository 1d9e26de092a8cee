//! Tables of points and of pairs as users have them: CSV with a header, `id,x,y` and `moving,reference`.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;

use anyhow::{Context, anyhow, bail, ensure};

use crate::analysis::registration::{COORDINATE_MAX_PX, N_POINTS_MAX};

/// Longest line of a table in bytes.
const LINE_LEN_MAX: u64 = 64 * 1024;
/// What Excel puts in front of UTF-8.
const BYTE_ORDER_MARK: &str = "\u{feff}";

/// Points with the names that the file gives them.
#[derive(Debug)]
pub(super) struct Points {
    pub(super) ids: Vec<String>,
    pub(super) places: Vec<[f64; 2]>,
    position_of: HashMap<String, usize>,
}

impl Points {
    /// Reads a table of points; every error names the file, and the line where there is one.
    pub(super) fn read(path: &Path) -> anyhow::Result<Self> {
        let mut points = Self { ids: vec![], places: vec![], position_of: HashMap::new() };
        let mut lines = HashMap::new();
        read_table(path, ["id", "x", "y"], |line, [id, x, y]| {
            ensure!(points.ids.len() < N_POINTS_MAX, "expected at most {N_POINTS_MAX} points");
            ensure!(!id.is_empty(), "expected an id, found nothing");
            match points.position_of.entry(id.clone()) {
                Entry::Occupied(_) => bail!("id {id:?} stands already in line {}", lines[&id]),
                Entry::Vacant(place) => place.insert(points.ids.len()),
            };
            points.places.push([coordinate("x", &x)?, coordinate("y", &y)?]);
            lines.insert(id.clone(), line);
            points.ids.push(id);
            Ok(())
        })?;
        Ok(points)
    }

    fn position(&self, id: &str, which: &str) -> anyhow::Result<usize> {
        self.position_of.get(id).copied().ok_or_else(|| anyhow!("no {which} point has the id {id:?}"))
    }
}

/// Reads which points belong together, as positions `(moving, reference)`.
pub(super) fn read_pairs(
    path: &Path,
    moving: &Points,
    reference: &Points,
) -> anyhow::Result<Vec<(usize, usize)>> {
    let mut pairs = vec![];
    read_table(path, ["moving", "reference"], |_, [from, to]| {
        ensure!(pairs.len() < N_POINTS_MAX, "expected at most {N_POINTS_MAX} pairs");
        pairs.push((moving.position(&from, "moving")?, reference.position(&to, "reference")?));
        Ok(())
    })?;
    Ok(pairs)
}

fn coordinate(name: &str, text: &str) -> anyhow::Result<f64> {
    let value: Option<f64> = text.trim().parse().ok();
    value.filter(|value| value.abs() <= COORDINATE_MAX_PX).ok_or_else(|| {
        anyhow!("expected a number of px up to {COORDINATE_MAX_PX:e} for {name}, found {text:?}")
    })
}

/// Shows each row's values of the named columns, which may stand in any order and between others.
fn read_table<const N: usize>(
    path: &Path,
    names: [&str; N],
    mut row: impl FnMut(usize, [String; N]) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let file = File::open(path).with_context(|| format!("cannot read {}", path.display()))?;
    let mut reader = BufReader::new(file);
    let place = |line: usize| format!("{}: line {line}", path.display());
    let Some(header) = next_line(&mut reader).with_context(|| place(1))? else {
        bail!("{}: expected a header with {}, found an empty file", path.display(), names.join(", "));
    };
    let header = cells(header.trim_start_matches(BYTE_ORDER_MARK)).with_context(|| place(1))?;
    let column = |name: &&str| header.iter().position(|cell| cell.trim() == *name);
    let missing: Vec<&str> = names.iter().copied().filter(|name| column(name).is_none()).collect();
    ensure!(
        missing.is_empty(),
        "{}: expected the columns {}, found no {}",
        path.display(),
        names.join(", "),
        missing.join(", ")
    );
    let columns = names.map(|name| column(&name).expect("missing columns were refused above"));
    for line in 2.. {
        let Some(text) = next_line(&mut reader).with_context(|| place(line))? else { break };
        if text.is_empty() {
            continue;
        }
        let read = cells(&text).and_then(|mut cells| {
            let (expected, found) = (header.len(), cells.len());
            ensure!(expected == found, "expected {expected} values, found {found}");
            row(line, columns.map(|column| std::mem::take(&mut cells[column])))
        });
        read.with_context(|| place(line))?;
    }
    Ok(())
}

/// The next line without its end; `None` after the last.
fn next_line(reader: &mut impl BufRead) -> anyhow::Result<Option<String>> {
    let mut bytes = vec![];
    reader.by_ref().take(LINE_LEN_MAX + 1).read_until(b'\n', &mut bytes)?;
    if bytes.is_empty() {
        return Ok(None);
    }
    ensure!(bytes.len() as u64 <= LINE_LEN_MAX, "expected a line of at most {LINE_LEN_MAX} bytes");
    let text = String::from_utf8(bytes).map_err(|_| anyhow!("expected text in UTF-8"))?;
    Ok(Some(text.trim_end_matches(['\r', '\n']).to_owned()))
}

/// The values between commas; those in double quotes may hold commas, and doubled quotes stand for one (RFC 4180,
/// without line breaks in a value).
fn cells(line: &str) -> anyhow::Result<Vec<String>> {
    let mut cells = vec![];
    let mut rest = line;
    loop {
        let Some(mut quoted) = rest.strip_prefix('"') else {
            let (cell, after) =
                rest.split_once(',').map_or((rest, None), |(cell, after)| (cell, Some(after)));
            cells.push(cell.to_owned());
            let Some(after) = after else { return Ok(cells) };
            rest = after;
            continue;
        };
        let mut cell = String::new();
        loop {
            let (text, after) = quoted.split_once('"').context("expected a closing quote")?;
            cell.push_str(text);
            quoted = after;
            let Some(after) = quoted.strip_prefix('"') else { break };
            cell.push('"');
            quoted = after;
        }
        cells.push(cell);
        if quoted.is_empty() {
            return Ok(cells);
        }
        rest = quoted.strip_prefix(',').context("expected a comma after a closing quote")?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(content: &[u8]) -> tempfile::NamedTempFile {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), content).unwrap();
        file
    }

    #[test]
    fn columns_stand_anywhere_and_ids_stay_as_written() {
        let table = "\u{feff}y,label,id,x\r\n2.5,a,007,-1e1\r\n\r\n4,b,\"cell \"\"A\"\", 1\",3";
        let table = file(table.as_bytes());
        let points = Points::read(table.path()).unwrap();
        assert_eq!(points.ids, ["007", "cell \"A\", 1"]);
        assert_eq!(points.places, [[-10.0, 2.5], [3.0, 4.0]]);
        let pairs = file(b"moving,reference\n007,007\n");
        assert_eq!(read_pairs(pairs.path(), &points, &points).unwrap(), [(0, 0)]);
    }

    #[test]
    fn faults_are_named_with_their_line() {
        let check = |content: &[u8], expected: &str| {
            let file = file(content);
            let message = format!("{:#}", Points::read(file.path()).unwrap_err());
            assert!(message.starts_with(&file.path().display().to_string()), "{message}");
            assert!(message.ends_with(expected), "{message} does not end with {expected}");
        };
        check(b"", ": expected a header with id, x, y, found an empty file");
        check(b"id,x\n1,2\n", ": expected the columns id, x, y, found no y");
        check(b"id,x,y\n1,2,3\n1,2,3\n", ": line 3: id \"1\" stands already in line 2");
        check(b"id,x,y\n1,2\n", ": line 2: expected 3 values, found 2");
        check(b"id,x,y\n1,2,3\n2,nan,3\n", "line 3: expected a number of px up to 1e9 for x, found \"nan\"");
        check(b"id,x,y\n1,2,inf\n", "line 2: expected a number of px up to 1e9 for y, found \"inf\"");
        check(b"id,x,y\n1,2,1e300\n", "line 2: expected a number of px up to 1e9 for y, found \"1e300\"");
        check(b"id,x,y\n1,,3\n", "line 2: expected a number of px up to 1e9 for x, found \"\"");
        check(b"id,x,y\n,2,3\n", "line 2: expected an id, found nothing");
        check(b"id,x,y\n\"1,2,3\n", "line 2: expected a closing quote");
        check(b"id,x,y\n\"1\"2,2,3\n", "line 2: expected a comma after a closing quote");
        check(b"id,x,y\n\xff,2,3\n", "line 2: expected text in UTF-8");
        check(&[b'x'; 70_000], "line 1: expected a line of at most 65536 bytes");
    }

    #[test]
    fn pairs_name_known_points() {
        let points = file(b"id,x,y\na,2,3\n");
        let points = Points::read(points.path()).unwrap();
        for (pair, expected) in
            [("b,a", "no moving point has the id \"b\""), ("a,b", "no reference point has the id \"b\"")]
        {
            let pairs = file(format!("moving,reference\na,a\n{pair}\n").as_bytes());
            let message = format!("{:#}", read_pairs(pairs.path(), &points, &points).unwrap_err());
            assert!(message.ends_with(&format!("line 3: {expected}")), "{message}");
        }
    }
}

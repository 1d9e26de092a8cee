//! Comma-separated values as RFC 4180 has them, with text that no spreadsheet takes for a formula.

use std::io::{self, BufRead, Write};

use serde_json::Value;

use crate::analysis::segmentation::table::text_cell;

/// Writes rows, cell by cell.
pub(super) struct CsvWriter<W> {
    out: W,
    is_row_begun: bool,
}

impl<W: Write> CsvWriter<W> {
    pub(super) fn new(out: W) -> Self {
        Self { out, is_row_begun: false }
    }

    /// A header or other row of plain names.
    pub(super) fn names<'t>(&mut self, names: impl IntoIterator<Item = &'t str>) -> io::Result<()> {
        for name in names {
            self.text(name)?;
        }
        self.end_row()
    }

    /// Text, quoted and guarded as [`text_cell`] says.
    pub(super) fn text(&mut self, text: &str) -> io::Result<()> {
        self.separate()?;
        self.out.write_all(text_cell(text).as_bytes())
    }

    /// Text that may be unknown: an empty cell.
    pub(super) fn text_if_any(&mut self, text: Option<&str>) -> io::Result<()> {
        self.text(text.unwrap_or_default())
    }

    /// A number, as it is.
    pub(super) fn number(&mut self, number: impl std::fmt::Display) -> io::Result<()> {
        self.separate()?;
        write!(self.out, "{number}")
    }

    /// A JSON value: numbers and booleans as they are, null empty, arrays and objects as JSON text.
    pub(super) fn value(&mut self, value: Option<&Value>) -> io::Result<()> {
        match value {
            None | Some(Value::Null) => self.text(""),
            Some(Value::String(text)) => self.text(text),
            Some(Value::Number(number)) => self.number(number),
            Some(value) => self.text(&value.to_string()),
        }
    }

    pub(super) fn end_row(&mut self) -> io::Result<()> {
        self.is_row_begun = false;
        self.out.write_all(b"\n")
    }

    fn separate(&mut self) -> io::Result<()> {
        if self.is_row_begun {
            self.out.write_all(b",")?;
        }
        self.is_row_begun = true;
        Ok(())
    }
}

/// Reads rows of cells, quotes and guards taken away.
pub(super) struct CsvReader<R> {
    input: R,
    line: Vec<u8>,
}

impl<R: BufRead> CsvReader<R> {
    pub(super) fn new(input: R) -> Self {
        Self { input, line: Vec::new() }
    }

    /// Reads the next row into `cells`, in their old memory; `false` at the end.
    ///
    /// # Errors
    /// I/O; [`io::ErrorKind::InvalidData`] where a row has no end, a quote stands alone or a text is no UTF-8.
    pub(super) fn read_row(&mut self, cells: &mut Vec<String>) -> io::Result<bool> {
        let invalid = |text: &str| io::Error::new(io::ErrorKind::InvalidData, text);
        self.line.clear();
        loop {
            let n_read = self.input.read_until(b'\n', &mut self.line)?;
            if n_read == 0 && self.line.is_empty() {
                return Ok(false);
            }
            // a line feed within quotes is text
            let n_quotes = self.line.iter().filter(|byte| **byte == b'"').count();
            if n_quotes.is_multiple_of(2) && self.line.ends_with(b"\n") {
                break;
            }
            if n_read == 0 {
                return Err(invalid("a row has no end"));
            }
        }
        let line = std::str::from_utf8(&self.line).map_err(|_| invalid("a row is no UTF-8 text"))?;
        let mut rest = Some(&line[..line.len() - 1]);
        let mut n_cells = 0;
        while let Some(text) = rest {
            if n_cells == cells.len() {
                cells.push(String::new());
            }
            rest = take_cell(text, &mut cells[n_cells]).ok_or_else(|| invalid("a quote stands alone"))?;
            n_cells += 1;
        }
        cells.truncate(n_cells);
        Ok(true)
    }
}

/// Takes the first cell off a row; what is left behind its comma, if there is one. `None` for stray quotes.
fn take_cell<'t>(text: &'t str, cell: &mut String) -> Option<Option<&'t str>> {
    cell.clear();
    let rest = match text.strip_prefix('"') {
        None => {
            let end = text.find(',').unwrap_or(text.len());
            cell.push_str(&text[..end]);
            &text[end..]
        }
        Some(mut quoted) => loop {
            let end = quoted.find('"')?;
            cell.push_str(&quoted[..end]);
            match quoted[end + 1..].strip_prefix('"') {
                Some(more) => {
                    cell.push('"');
                    quoted = more;
                }
                None => break &quoted[end + 1..],
            }
        },
    };
    if cell.starts_with('\'') {
        cell.remove(0);
    }
    if rest.is_empty() { Some(None) } else { rest.strip_prefix(',').map(Some) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    #[test]
    fn cells_are_quoted_guarded_and_left_alone_where_they_are_numbers() {
        let mut csv = CsvWriter { out: Vec::new(), is_row_begun: false };
        for text in ["plain", "a,b", "say \"x\"", "=1+1", "-a,b", "'q", "", "@\n"] {
            csv.text(text).unwrap();
        }
        csv.end_row().unwrap();
        for value in [json!(-1.5), json!("-1.5"), json!(null), json!([1, 2]), json!(true)] {
            csv.value(Some(&value)).unwrap();
        }
        csv.value(None).unwrap();
        csv.end_row().unwrap();
        let expected =
            "plain,\"a,b\",\"say \"\"x\"\"\",'=1+1,\"'-a,b\",''q,,\"'@\n\"\n-1.5,'-1.5,,\"[1,2]\",true,\n";
        assert_eq!(String::from_utf8(csv.out).unwrap(), expected);
    }
    proptest! {
        #[test]
        fn what_is_written_is_read_back(
            rows in prop::collection::vec(prop::collection::vec("[a,\"'=+\r\nµ-]{0,6}", 1..4), 1..5)
        ) {
            let mut csv = CsvWriter::new(Vec::new());
            for row in &rows {
                csv.names(row.iter().map(String::as_str)).unwrap();
            }
            let text = csv.out;
            let mut reader = CsvReader::new(text.as_slice());
            let mut cells = Vec::new();
            for row in &rows {
                prop_assert!(reader.read_row(&mut cells).unwrap());
                prop_assert_eq!(&cells, row);
            }
            prop_assert!(!reader.read_row(&mut cells).unwrap());
        }
    }

    #[test]
    fn rows_that_are_cut_off_are_refused() {
        for text in ["a,b", "\"a", "\"a\"b\n", "\"a\n"] {
            let read = CsvReader::new(text.as_bytes()).read_row(&mut Vec::new());
            assert_eq!(read.unwrap_err().kind(), io::ErrorKind::InvalidData, "{text:?}");
        }
    }
}

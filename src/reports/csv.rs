//! Comma-separated values as RFC 4180 has them, with text that no spreadsheet takes for a formula.

use std::io::{self, Write};

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

#[cfg(test)]
mod tests {
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
}

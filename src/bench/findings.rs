//! What a benchmark found, and how all of them end: tables, plots and figures become files, the conclusion is said.

use anyhow::{Context, Result};
use serde_json::{Value, json};

use super::plot::Plot;
use super::report::{Report, cpu_plot};
use super::session::Session;
use crate::analysis::segmentation::table::ColumnType;
use crate::reports::write_typed_parquet;

/// What came out of a run, before its end is known.
pub struct Findings {
    /// The title of the page.
    pub title: &'static str,
    /// The figures, an object; machine, time, metrics and conclusion are added.
    pub summary: Value,
    /// What the figures come to, one sentence after the other.
    pub conclusion: Vec<String>,
    /// One row for each trial.
    pub trials: Trials,
    /// The plots, each with the name of its file.
    pub plots: Vec<(&'static str, Plot)>,
    /// The tables of the page.
    pub tables: Vec<Table>,
}

/// All trials as a CSV table, and what its columns hold: those named in neither list hold real numbers.
pub struct Trials {
    /// The table with its header line.
    pub csv: String,
    /// Columns of text.
    pub texts: &'static [&'static str],
    /// Columns of whole numbers.
    pub wholes: &'static [&'static str],
    /// Columns of `true` and `false`.
    pub flags: &'static [&'static str],
}

/// A table of the page.
pub struct Table {
    /// Stands above it.
    pub heading: &'static str,
    /// The names of its columns.
    pub header: &'static [&'static str],
    /// Its rows, a cell for each column.
    pub rows: Vec<Vec<String>>,
}

impl Trials {
    fn column_type(&self, name: &str) -> ColumnType {
        match name {
            _ if self.texts.contains(&name) => ColumnType::Text,
            _ if self.wholes.contains(&name) => ColumnType::Whole,
            _ if self.flags.contains(&name) => ColumnType::Flag,
            _ => ColumnType::Real,
        }
    }

    fn to_parquet(&self) -> std::io::Result<Vec<u8>> {
        let mut bytes = vec![];
        write_typed_parquet(self.csv.as_bytes(), &mut bytes, "trials", |name| self.column_type(name))?;
        Ok(bytes)
    }
}

impl Findings {
    /// Ends the session, writes everything, says the conclusion, and returns the summary without the metrics.
    ///
    /// # Errors
    /// Files that cannot be written.
    pub fn close(self, session: Session) -> Result<Value> {
        let Self { title, mut summary, conclusion, trials, mut plots, tables } = self;
        session.write("trials.csv", trials.csv.as_bytes())?;
        session.write("trials.parquet", &trials.to_parquet().context("cannot write trials.parquet")?)?;
        summary["machine"] = super::metrics::system_information();
        summary["conclusion"] = json!(conclusion);
        let mut answer = summary.clone();
        let ended = session.end(|closing, ended| {
            summary["wall_s"] = ended.wall.as_secs_f64().into();
            summary["metrics"] = json!(ended.samples);
            plots.push(("cpu", cpu_plot(&ended.samples)));
            for (name, plot) in &plots {
                closing.write(&format!("{name}.svg"), plot.to_svg().as_bytes())?;
            }
            conclusion.iter().for_each(|sentence| closing.say(sentence));
            let mut report = Report::new(title, &summary["machine"]);
            report.list("Conclusion", &conclusion);
            report.plots(&plots);
            for table in &tables {
                report.table(table.heading, table.header, &table.rows);
            }
            report.facts("Settings", &summary["settings"]);
            closing.write("report.html", report.finish(ended.wall).as_bytes())?;
            let text = serde_json::to_string_pretty(&summary).context("a summary is JSON")?;
            closing.write("summary.json", text.as_bytes())
        })?;
        answer["wall_s"] = ended.wall.as_secs_f64().into();
        Ok(answer)
    }
}

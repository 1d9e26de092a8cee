//! A page that stands alone: conclusion, plots, tables, machine.

use std::fmt::Write;
use std::time::Duration;

use serde::Serialize;
use serde_json::Value;

use super::metrics::Sample;
use super::plot::{Plot, Series, Style, escaped};

const STYLE_SHEET: &str = "body{font:15px/1.45 sans-serif;max-width:1340px;margin:2em auto;padding:0 1em;color:#222}\
     h1{font-size:1.6em}h2{font-size:1.2em;margin-top:1.8em;border-bottom:1px solid #ccc}\
     .plots{display:flex;flex-wrap:wrap;gap:16px}.plots svg{border:1px solid #eee;max-width:100%;height:auto}\
     table{border-collapse:collapse;font-size:13px}th,td{padding:3px 9px;border-bottom:1px solid #e4e4e4;text-align:right}\
     th:first-child,td:first-child{text-align:left}th{background:#f5f5f5}dl{display:grid;\
     grid-template-columns:max-content auto;gap:2px 16px;font-size:13px}dd{margin:0;overflow-wrap:anywhere}";

/// A page in the making.
pub struct Report {
    html: String,
    machine: Value,
}

impl Report {
    /// Begins a page about what ran on a machine.
    pub fn new(title: &str, machine: &Value) -> Self {
        let title = escaped(title);
        let html = format!(
            "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>{title}</title>\n\
             <style>{STYLE_SHEET}</style></head>\n<body><h1>{title}</h1>\n"
        );
        Self { html, machine: machine.clone() }
    }

    /// Sentences, each a paragraph of a list.
    pub fn list(&mut self, heading: &str, sentences: &[String]) {
        self.heading(heading);
        let items: String = sentences.iter().map(|text| format!("<li>{}</li>\n", escaped(text))).collect();
        self.put(&format!("<ul>{items}</ul>"));
    }

    /// Plots side by side.
    pub fn plots(&mut self, plots: &[(&'static str, Plot)]) {
        self.heading("Plots");
        let drawn: String = plots.iter().map(|(_, plot)| plot.to_svg()).collect();
        self.put(&format!("<div class=\"plots\">{drawn}</div>"));
    }

    /// A table; nothing for no row.
    pub fn table(&mut self, heading: &str, header: &[&str], rows: &[Vec<String>]) {
        if rows.is_empty() {
            return;
        }
        self.heading(heading);
        let names: String = header.iter().map(|name| format!("<th>{}</th>", escaped(name))).collect();
        let row = |cells: &Vec<String>| {
            let cells: String = cells.iter().map(|cell| format!("<td>{}</td>", escaped(cell))).collect();
            format!("<tr>{cells}</tr>\n")
        };
        let rows: String = rows.iter().map(row).collect();
        self.put(&format!("<table><tr>{names}</tr>\n{rows}</table>"));
    }

    /// Names and values of an object.
    pub fn facts(&mut self, heading: &str, object: &Value) {
        self.heading(heading);
        let fact = |(name, value): (&String, &Value)| {
            let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            format!("<dt>{}</dt><dd>{}</dd>\n", escaped(name), escaped(&value))
        };
        let facts: String = object.as_object().into_iter().flatten().map(fact).collect();
        self.put(&format!("<dl>{facts}</dl>"));
    }

    /// Ends the page with the machine and the time it all took.
    pub fn finish(mut self, wall: Duration) -> String {
        let machine = self.machine.take();
        self.facts("Machine", &machine);
        self.put(&format!("<p>{:.1} s in all</p></body></html>", wall.as_secs_f64()));
        self.html
    }

    fn heading(&mut self, text: &str) {
        self.put(&format!("<h2>{}</h2>", escaped(text)));
    }

    fn put(&mut self, text: &str) {
        writeln!(self.html, "{text}").expect("a string takes all text");
    }
}

/// How busy the machine and this process were over time.
pub fn cpu_plot(samples: &[Sample]) -> Plot {
    // a share is that since the sample before
    let points = |of: fn(&Sample) -> f64| {
        let mut before = 0.0;
        let both = samples.iter().flat_map(|sample| {
            let ends = [[before, of(sample)], [sample.time_s, of(sample)]];
            before = sample.time_s;
            ends
        });
        both.collect()
    };
    let line = |name: &str, colour: usize, of: fn(&Sample) -> f64| Series {
        name: name.to_owned(),
        style: Style::Line,
        points: points(of),
        whiskers: vec![],
        colour,
    };
    Plot {
        title: "Processor use".to_owned(),
        x_label: "seconds".to_owned(),
        y_label: "percent of all cores".to_owned(),
        is_log: [false, false],
        y_range: Some([0.0, 105.0]),
        series: vec![
            line("machine", 6, |sample| sample.system_cpu_percent),
            line("this process", 0, |sample| sample.process_cpu_percent),
        ],
    }
}

/// The word by which a choice is known in tables and files.
pub fn word(choice: &impl Serialize) -> String {
    match serde_json::to_value(choice) {
        Ok(Value::String(word)) => word,
        Ok(value) => value.to_string(),
        Err(_) => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_page_stands_alone_and_is_escaped() {
        let mut report = Report::new("a & b", &json!({ "cores": 2, "system": "<x>" }));
        report.list("Conclusion", &["1 < 2".to_owned()]);
        report.plots(&[("cpu", cpu_plot(&[]))]);
        report.table("Table", &["a", "b"], &[vec!["1".into(), "<2>".into()]]);
        report.table("Nothing", &["a"], &[]);
        let page = report.finish(Duration::from_secs(3));
        for expected in
            ["<title>a &amp; b</title>", "1 &lt; 2", "&lt;x&gt;", "<td>&lt;2&gt;</td>", "3.0 s in all"]
        {
            assert!(page.contains(expected), "{expected}");
        }
        assert!(!page.contains("Nothing") && !page.contains("src=") && !page.contains("href="));
    }
}

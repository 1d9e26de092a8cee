//! What a scan has to say at its end.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::actor::Outcome;
use crate::platform::process;
use crate::service::{Finished, Status};
use crate::store::{Counts, FileState, PlaneState};

use super::Exit;

/// Rejections that the text lists; the reports hold all of them.
const REJECTED_LISTED_MAX: usize = 20;

/// The summary as programs read it.
pub(super) fn summary(status: &Status, counts: &Counts, finished: Finished, interrupted: bool) -> Value {
    let done = status.progress;
    let wall_s = finished.wall.as_secs_f64();
    let end = process::resident_memory();
    let (cpu_s, cores) = (process::cpu_time().map(|time| time.as_secs_f64()), process::usable_cores());
    let mb = |bytes: u64| (bytes as f64 / (1 << 20) as f64 * 10.0).round() / 10.0;
    let decoded: u64 =
        status.stages.iter().filter(|stage| stage.name == "decoder").map(|stage| stage.n_bytes).sum();
    json!({
        "files": done.files_done + done.files_rejected + done.files_unchanged,
        "files_known": status.roots.iter().map(|root| root.files.saturating_sub(root.found_by_walk)).sum::<u64>(),
        "planes": done.planes_done,
        "rejected": counts.files.get(&FileState::Rejected).unwrap_or(&0),
        "planes_rejected": counts.planes.get(&PlaneState::Rejected).unwrap_or(&0),
        "interrupted": interrupted,
        "groups": counts.groups,
        "pairs": counts.pairs,
        "registrations": counts.registrations,
        "registrations_refused": counts.registrations_refused,
        "wall_s": wall_s,
        "planes_per_s": done.planes_done as f64 / wall_s,
        "decoded_mb_per_s": mb(decoded) / wall_s,
        "peak_rss_mb": mb(end.peak_bytes),
        "end_rss_mb": mb(end.now_bytes),
        "budget_mb": mb(status.memory.budget),
        "budget_peak_mb": mb(status.memory.used_max),
        "workers": status.n_workers,
        "cpu_s": cpu_s,
        "cores": cores,
        "efficiency": cpu_s.map(|cpu_s| cpu_s / (wall_s * cores as f64)),
        "unreadable": status.roots.iter().flat_map(|root| root.refusals.clone()).collect::<Vec<_>>(),
        "stages": status.stages,
        "verification": status.verification,
    })
}

/// The summary as people read it.
pub(super) fn to_text(summary: &Value, rejected: &[String], output: &Path) -> String {
    let number = |key: &str| summary[key].as_f64().unwrap_or(0.0);
    let mut text = format!(
        "{} files, {} planes in {:.1} s ({:.1} planes/s, {} workers, {} cores used to {:.0} %); {} files were known already\n",
        summary["files"],
        summary["planes"],
        number("wall_s"),
        number("planes_per_s"),
        summary["workers"],
        summary["cores"],
        100.0 * number("efficiency"),
        summary["files_known"],
    );
    text += &format!("{} files and {} planes rejected", summary["rejected"], summary["planes_rejected"]);
    text += &format!("; {} groups of duplicates, {} pairs\n", summary["groups"], summary["pairs"]);
    text += &format!("{} registrations", summary["registrations"]);
    text += &format!("; {} pairs of fields refused\n", summary["registrations_refused"]);
    let verification = &summary["verification"];
    text += &format!("{} pairs of look-alikes compared", verification["n_pairs"]);
    text += &format!(", {} planes read again for it\n", verification["n_planes_read_again"]);
    rejected.iter().for_each(|line| text += &format!("  {line}\n"));
    for place in summary["unreadable"].as_array().into_iter().flatten() {
        text += &format!("could not be listed: {}\n", place.as_str().unwrap_or_default());
    }
    text += &format!(
        "memory: {:.0} MB at the peak, {:.0} MB at the end\n",
        number("peak_rss_mb"),
        number("end_rss_mb")
    );
    text += &format!("reports: {}\n", output.join("reports").display());
    text
}

/// How the command ends: what was left out by a signal weighs more than what cannot be read, now or in an earlier scan
/// into the same folder.
pub(super) fn exit(summary: &Value, outcome: Outcome) -> Exit {
    let n_refused =
        ["rejected", "planes_rejected"].iter().filter_map(|key| summary[key].as_u64()).sum::<u64>();
    let all_listed = summary["unreadable"].as_array().is_none_or(Vec::is_empty);
    match outcome {
        Outcome::DrainTimedOut | Outcome::Aborted => Exit::Failed,
        Outcome::Finished if summary["interrupted"] == true => Exit::Failed,
        Outcome::Finished if n_refused == 0 && all_listed => Exit::Done,
        Outcome::Finished => Exit::Unreadable,
    }
}

/// The lines that a run adds to the reports.
pub(super) struct ReportLines(Vec<(PathBuf, u64)>);

impl ReportLines {
    /// Remembers how long the reports are before the run.
    pub(super) fn from_here(output: &Path) -> Self {
        let paths = ["files", "planes"].map(|name| output.join(format!("reports/{name}.jsonl")));
        Self(paths.map(|path| (path.clone(), path.metadata().map_or(0, |file| file.len()))).into())
    }

    /// What the run rejected, and why: the first of them, and how many more there are.
    ///
    /// # Errors
    /// When the reports cannot be read.
    pub(super) fn rejected(&self, run_id: &str) -> io::Result<Vec<String>> {
        let mut listed = Vec::new();
        let mut n_more = 0_u64;
        for (path, start) in &self.0 {
            let mut file = match File::open(path) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                opened => opened?,
            };
            file.seek(SeekFrom::Start(*start))?;
            for line in BufReader::new(file).split(b'\n') {
                match serde_json::from_slice(&line?).ok().and_then(|line| rejection(&line, run_id)) {
                    Some(text) if listed.len() < REJECTED_LISTED_MAX => listed.push(text),
                    Some(_) => n_more += 1,
                    None => (),
                }
            }
        }
        if n_more > 0 {
            listed.push(format!("and {n_more} more, see reports/files.jsonl and reports/planes.jsonl"));
        }
        Ok(listed)
    }
}

fn rejection(line: &Value, run_id: &str) -> Option<String> {
    let text = |key: &str| line[key].as_str();
    if text("run_id")? != run_id || text("outcome")? != "rejected" {
        return None;
    }
    let plane = text("plane").map(|plane| format!(" {plane}")).unwrap_or_default();
    Some(format!("{}/{}{plane}: {}", text("root")?, text("file")?, text("reason")?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(run_id: &str, outcome: &str, file: &str) -> String {
        let line =
            json!({ "run_id": run_id, "root": "r", "file": file, "outcome": outcome, "reason": "io: x" });
        format!("{line}\n")
    }

    #[test]
    fn rejections_of_this_run_are_listed_up_to_a_number() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("reports/files.jsonl");
        std::fs::create_dir(folder.path().join("reports")).unwrap();
        let before = line("new", "rejected", "before.tif");
        std::fs::write(&path, &before).unwrap();
        let lines = ReportLines::from_here(folder.path());
        let added = line("old", "rejected", "old.tif") + &line("new", "done", "done.tif");
        std::fs::write(&path, before.clone() + &added + &line("new", "rejected", "bad.tif")).unwrap();
        assert_eq!(lines.rejected("new").unwrap(), ["r/bad.tif: io: x"]);
        let many: String = (0..25).map(|n| line("new", "rejected", &format!("{n}.tif"))).collect();
        std::fs::write(&path, before + &many).unwrap();
        let listed = lines.rejected("new").unwrap();
        assert_eq!(listed.len(), REJECTED_LISTED_MAX + 1);
        assert!(listed[REJECTED_LISTED_MAX].starts_with("and 5 more"));
    }

    #[test]
    fn the_exit_says_the_worst() {
        let exit = |rejected: u64, unreadable: &[&str], interrupted: bool| {
            let summary =
                json!({ "rejected": rejected, "unreadable": unreadable, "interrupted": interrupted });
            exit(&summary, Outcome::Finished)
        };
        assert_eq!(exit(0, &[], false), Exit::Done);
        assert_eq!(exit(2, &[], false), Exit::Unreadable);
        assert_eq!(exit(0, &["closed: permission denied"], false), Exit::Unreadable);
        assert_eq!(exit(2, &[], true), Exit::Failed);
    }
}

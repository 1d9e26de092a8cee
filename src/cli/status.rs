//! `scopewatch status`: how does the service stand?

use std::path::PathBuf;

use clap::Args;
use serde_json::Value;

use crate::control::{self, Request};
use crate::service::incomplete_files;
use crate::store::LedgerReader;

use super::pause::ending;
use super::{ConfigArgs, Exit, Failure, say};

/// Shows how the service on an output folder stands: roots, files waiting, stages, memory, ledger
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  scopewatch status --out /data/scopewatch")]
pub(super) struct StatusArgs {
    #[command(flatten)]
    config: ConfigArgs,
    /// Output folder of the service
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Answer as one JSON object
    #[arg(long)]
    json: bool,
}

pub(super) fn main(args: &StatusArgs) -> Result<Exit, Failure> {
    let (_, state_dir) = args.config.load_with_ledger(args.out.as_deref())?;
    let mut status = match control::ask(&state_dir, &Request::Status)? {
        Some(status) => status,
        None => {
            let reader = LedgerReader::open(&state_dir)?;
            serde_json::json!({
                "ledger": reader.counts()?,
                "incomplete": incomplete_files(&reader)?,
                "pause": reader.pause()?,
            })
        }
    };
    let running = status.get("pid").is_some();
    status["running"] = running.into();
    say(&if args.json { format!("{status}\n") } else { to_text(&status, running) })?;
    Ok(Exit::Done)
}

fn to_text(status: &Value, running: bool) -> String {
    let mut text = String::new();
    if running {
        process(&mut text, status);
        reading(&mut text, &status["reading"]);
        roots(&mut text, &status["roots"]);
        text += &format!(
            "waiting to be whole: {} files; in work: {} files\n",
            status["n_waiting"], status["n_in_work"]
        );
        for file in items(&status["waiting"]) {
            text += &format!("  {:<14} {}{}\n", plain(&file["state"]), plain(&file["file"]), standing(file));
        }
    } else {
        text += "not running\n";
    }
    if status["pause"].is_object() {
        text += &format!("PAUSED {}: nothing new is taken up\n", ending(&status["pause"]));
    }
    for file in items(&status["incomplete"]) {
        let [root, file, reason] = ["root", "file", "reason"].map(|key| plain(&file[key]));
        text += &format!("  {:<14} {root}/{file}: {reason}\n", "incomplete");
    }
    if running {
        stages(&mut text, &status["stages"]);
        memory(&mut text, status);
    }
    match status["ledger_error"].as_str() {
        Some(error) => text += &format!("the ledger cannot be read: {error}\n"),
        None => ledger(&mut text, &status["ledger"]),
    }
    text
}

/// How far a waiting file has come, and why it waits.
fn standing(file: &Value) -> String {
    let planes = file["n_planes"].as_u64().map(|n| format!(", {n} planes so far"));
    let reason =
        file["reason"].as_str().filter(|reason| !reason.is_empty()).map(|reason| format!(": {reason}"));
    [planes, reason].into_iter().flatten().collect()
}

fn process(text: &mut String, status: &Value) {
    *text += &format!(
        "running: process {}, version {}, for {:.0} s, {}\n",
        status["pid"],
        plain(&status["version"]),
        status["uptime_s"].as_f64().unwrap_or(0.0),
        plain(&status["supervisor"]["phase"])
    );
    if let Some(seconds) = status["disk_full_s"].as_f64() {
        *text += &format!("PAUSED for {seconds:.0} s: the output disk is nearly full\n");
    }
}

/// At which rate planes are read at most now, if at any, and why.
fn reading(text: &mut String, reading: &Value) {
    let why = match reading["limited_by"].as_str() {
        Some("arriving") => "files are arriving",
        Some("pressure") => "files are arriving, and tasks wait for the disks",
        Some(_) => "resources.read_mb_per_s_max",
        None => return,
    };
    let mb_per_s = reading["bytes_per_s_max"].as_u64().unwrap_or(0) as f64 / f64::from(1 << 20);
    *text += &format!("reading at most {mb_per_s:.0} MB/s: {why}\n");
}

fn roots(text: &mut String, roots: &Value) {
    for root in items(roots) {
        let [path, state, noticing] = ["path", "state", "noticing"].map(|key| plain(&root[key]));
        let state = if state == "offline" { "offline (is not there)".to_owned() } else { state };
        let walked = match root["walks"].as_u64() {
            Some(1..) => format!("{} files in {} folders", root["files"], root["folders"]),
            _ => String::new(),
        };
        let parts: Vec<_> = [state, noticing, walked].into_iter().filter(|part| !part.is_empty()).collect();
        *text += &format!("root {path}: {}\n", parts.join(", "));
        for refusal in items(&root["refusals"]) {
            *text += &format!("  refused        {}\n", plain(refusal));
        }
    }
}

fn stages(text: &mut String, stages: &Value) {
    *text += &format!(
        "{:<11} {:>9} {:>9} {:>9} {:>8} {:>8} {:>8}\n",
        "stage", "in", "out", "rejected", "busy s", "wait in", "wait out"
    );
    for stage in items(stages) {
        let seconds = |key: &str| stage[key].as_f64().unwrap_or(0.0);
        *text += &format!(
            "{:<11} {:>9} {:>9} {:>9} {:>8.1} {:>8.1} {:>8.1}\n",
            plain(&stage["name"]),
            plain(&stage["n_in"]),
            plain(&stage["n_out"]),
            plain(&stage["n_rejected"]),
            seconds("busy_s"),
            seconds("waiting_input_s"),
            seconds("waiting_output_s")
        );
    }
}

fn memory(text: &mut String, status: &Value) {
    let mb = |value: &Value| value.as_u64().unwrap_or(0) >> 20;
    *text += &format!(
        "memory: {} of {} MB in use, resident {} MB (peak {} MB)\n",
        mb(&status["memory"]["used"]),
        mb(&status["memory"]["budget"]),
        mb(&status["resident_bytes"][0]),
        mb(&status["resident_bytes"][1])
    );
}

fn ledger(text: &mut String, ledger: &Value) {
    for part in ["files", "planes"] {
        let counts = ledger[part].as_object().into_iter().flatten();
        let counts: Vec<_> = counts.map(|(state, count)| format!("{state} {count}")).collect();
        *text += &format!(
            "{part} in the ledger: {}\n",
            if counts.is_empty() { "none".to_owned() } else { counts.join(", ") }
        );
    }
    *text += &format!("groups of duplicates: {}\n", ledger["groups"]);
    let [registered, refused] = ["registrations", "registrations_refused"].map(|key| &ledger[key]);
    *text += &format!("registrations: {registered} found, {refused} refused\n");
}

fn items(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_needs_somebodys_attention_is_in_the_text() {
        let root = json!({
            "path": "/data/in", "state": "online", "noticing": "events", "files": 3, "folders": 2, "walks": 1,
            "refusals": ["closed: permission denied"],
        });
        let status = json!({
            "pid": 7, "version": "1", "uptime_s": 5.0, "supervisor": { "phase": "running" }, "roots": [root],
            "reading": { "bytes_per_s_max": 4 << 20, "limited_by": "pressure" },
            "n_waiting": 1, "n_in_work": 1, "waiting": [{ "state": "growing", "file": "a.tif", "n_planes": 7, "reason": "size still changes" }],
            "incomplete": [{ "root": "in", "file": "b.nd2", "reason": "no chunk map" }],
        });
        let text = to_text(&status, true);
        for expected in [
            "closed: permission denied",
            "reading at most 4 MB/s: files are arriving, and tasks wait",
            "growing        a.tif, 7 planes so far: size still changes",
            "in/b.nd2: no chunk map",
        ] {
            assert!(text.contains(expected), "{expected} in {text}");
        }
        let failed = to_text(&json!({ "ledger_error": "ledger: disk I/O error" }), false);
        assert!(failed.contains("the ledger cannot be read: ledger: disk I/O error"), "{failed}");
        let mut gone = String::new();
        let root = json!({
            "path": "/data/gone", "state": "offline", "noticing": "", "files": 0, "folders": 0, "walks": 0,
        });
        roots(&mut gone, &json!([root]));
        assert_eq!(gone, "root /data/gone: offline (is not there)\n");
        let stopped = to_text(&json!({ "incomplete": status["incomplete"] }), false);
        assert!(
            stopped.starts_with("not running") && stopped.contains("in/b.nd2: no chunk map"),
            "{stopped}"
        );
    }
}

//! `scopewatch explain`: what happened to this file?

use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::json;

use crate::paths::RelativePath;
use crate::store::{
    FileHistory, HistoryEvent, LedgerError, LedgerReader, OperatorVerdict, PlaneRelation, PlaneVerdict,
};

use super::{ConfigArgs, Exit, Failure, say};

/// Shows every change of state of a file, with its time and reason
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  scopewatch explain plate1/well_B02.nd2 --out /data/scopewatch")]
pub(super) struct ExplainArgs {
    /// The file: its path, or its path below the watched folder as reports write it
    #[arg(value_name = "FILE")]
    file: PathBuf,
    #[command(flatten)]
    config: ConfigArgs,
    /// Output folder of the service
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Answer as one JSON object per file of that name
    #[arg(long)]
    json: bool,
}

pub(super) fn main(args: &ExplainArgs) -> Result<Exit, Failure> {
    let (_, state_dir) = args.config.load_with_ledger(args.out.as_deref())?;
    let reader = LedgerReader::open(&state_dir)?;
    let histories = histories(&reader, &args.file)?;
    if histories.is_empty() {
        let known =
            "the ledger knows no such file; is it below a watched folder, and does it match watch.include?";
        return Err(anyhow::anyhow!("{}: {known}", args.file.display()).into());
    }
    for history in &histories {
        say(&if args.json { format!("{}\n", to_json(history)) } else { to_text(history) })?;
    }
    Ok(Exit::Done)
}

/// What the ledger knows of a file: by the text that was typed, as reports write it, and by where the file is.
pub(super) fn histories(reader: &LedgerReader, file: &Path) -> Result<Vec<FileHistory>, LedgerError> {
    let typed = file.to_str().map(str::to_owned);
    let report = RelativePath::new(file).to_report();
    let place = std::fs::canonicalize(file).ok().map(|place| RelativePath::new(place).to_report());
    for name in [typed, Some(report), place].into_iter().flatten() {
        let histories = reader.explain(&name)?;
        if !histories.is_empty() {
            return Ok(histories);
        }
    }
    Ok(Vec::new())
}

fn to_json(history: &FileHistory) -> serde_json::Value {
    let event =
        |event: &HistoryEvent| json!({ "time": event.time, "what": event.what, "reason": event.reason });
    json!({
        "file": history.location.path.to_report(),
        "root": history.root,
        "version": history.version,
        "state": history.location.state.name(),
        "events": history.events.iter().map(event).collect::<Vec<_>>(),
        "planes": history.planes.iter().map(|plane| json!({
            "plane": plane.index.to_string(),
            "state": plane.state.name(),
            "attempts": plane.attempts.iter().map(event).collect::<Vec<_>>(),
        })).collect::<Vec<_>>(),
        "relations": history.relations.iter().map(|found| json!({
            "plane": found.index.to_string(),
            "relation": found.relation,
            "other_root": found.other.root,
            "other_file": found.other.path.to_report(),
            "other_plane": found.other.index.to_string(),
        })).collect::<Vec<_>>(),
        "verdicts": history.verdicts.iter().map(|verdict| {
            let other = verdict.other.as_ref();
            json!({
                "plane": verdict.index.to_string(),
                "verdict": verdict.says.name(),
                "time": verdict.time,
                "other_root": other.map(|other| other.root.as_str()),
                "other_file": other.map(|other| other.path.to_report()),
                "other_plane": other.map(|other| other.index.to_string()),
                "other_class": verdict.other_class,
            })
        }).collect::<Vec<_>>(),
    })
}

fn to_text(history: &FileHistory) -> String {
    let line = |event: &HistoryEvent| format!("  {}  {:<14} {}\n", event.time, event.what, event.reason);
    let (file, state) = (history.location.path.to_report(), history.location.state.name());
    let mut text = format!("{}/{file}: {state}, version {}\n", history.root, history.version);
    history.events.iter().for_each(|event| text += &line(event));
    for plane in &history.planes {
        text += &format!("  plane {}: {}\n", plane.index, plane.state.name());
        plane.attempts.iter().for_each(|event| text += &format!("  {}", line(event)));
    }
    for PlaneRelation { index, relation, other } in &history.relations {
        let file = other.path.to_report();
        text += &format!("  plane {index}: {relation} of {}/{file} {}\n", other.root, other.index);
    }
    for PlaneVerdict { index, says, time, other, other_class } in &history.verdicts {
        let other = other.as_ref().map_or_else(
            || format!("the pixels {other_class}, which no plane has now"),
            |other| format!("{}/{} {}", other.root, other.path.to_report(), other.index),
        );
        text += &format!("  {time}  verdict on plane {index}: {} {other}\n", as_said(*says));
    }
    text
}

const fn as_said(verdict: OperatorVerdict) -> &'static str {
    match verdict {
        OperatorVerdict::NotDuplicate => "no duplicate of",
        OperatorVerdict::Same => "the same as",
    }
}

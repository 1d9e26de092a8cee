//! `scopewatch rescan`: walk the folders now.

use std::path::PathBuf;

use clap::Args;
use serde_json::Value;

use crate::control::Request;

use super::order::OrderArgs;
use super::{Exit, Failure};

/// Walks the watched folders now instead of at the next interval, and says what was found
#[derive(Debug, Args)]
#[command(
    after_help = "Where no service runs nothing is walked, and the command fails: the next start walks everything.\n\n\
                        Examples:\n  scopewatch rescan --out /data/scopewatch\n  \
                        scopewatch rescan plate1 --out /data/scopewatch"
)]
pub(super) struct RescanArgs {
    /// One watched folder, by its path or by its name in reports [default: all]
    #[arg(value_name = "ROOT")]
    root: Option<PathBuf>,
    #[command(flatten)]
    order: OrderArgs,
}

pub(super) fn main(args: &RescanArgs) -> Result<Exit, Failure> {
    let desk = args.order.desk()?;
    let root = args.root.as_ref().map(|root| {
        // a path as the service knows it; anything else is a name
        let place = std::fs::canonicalize(root).ok().filter(|place| place.is_dir());
        place.as_ref().unwrap_or(root).display().to_string()
    });
    let typed = args.root.as_ref().map(|root| root.display().to_string());
    let Some(answer) = ask(&desk, root, typed)? else {
        return Err(anyhow::anyhow!(
            "no service runs on {}: nothing was walked; the next start walks every folder anyway",
            desk.output().display()
        )
        .into());
    };
    let lines = answer["roots"].as_array().into_iter().flatten().map(line).collect::<Vec<_>>();
    desk.answer(answer.clone(), true, &lines.join("\n"))?;
    Ok(Exit::Done)
}

/// Asks for the root at a place, then by the name as it was typed: a folder of that name may lie here by chance.
fn ask(
    desk: &super::order::Desk,
    root: Option<String>,
    typed: Option<String>,
) -> Result<Option<Value>, Failure> {
    match desk.ask(&Request::Rescan { root: root.clone() }) {
        Err(_) if root != typed => desk.ask(&Request::Rescan { root: typed }),
        asked => asked,
    }
}

fn line(root: &Value) -> String {
    let [path, state] = ["path", "state"].map(|key| root[key].as_str().unwrap_or_default());
    if root["files"].is_null() {
        return format!("{path}: {state}, not walked");
    }
    let mut text = format!(
        "{path}: {} files in {} folders, {} taken up, in {:.1} s",
        root["files"],
        root["folders"],
        root["taken_up"],
        root["walk_s"].as_f64().unwrap_or(0.0)
    );
    for refusal in root["refusals"].as_array().into_iter().flatten() {
        text += &format!("\n  refused        {}", refusal.as_str().unwrap_or_default());
    }
    text
}

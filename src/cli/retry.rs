//! `scopewatch retry`: try again what was given up.

use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::json;

use crate::control::Request;
use crate::service::{Which, retry};
use crate::settings::edit_distance;
use crate::store::{LedgerError, LedgerReader};

use super::order::{Desk, OrderArgs};
use super::{Exit, Failure, explain};

/// Tries files again that were rejected, as a whole or some of their planes, or that stay incomplete
#[derive(Debug, Args)]
#[command(after_help = "A running service takes them up at once; where none runs, the next start does.\n\n\
                        Examples:\n  scopewatch retry plate1/well_B02.nd2 --out /data/scopewatch\n  \
                        scopewatch retry --all --out /data/scopewatch")]
pub(super) struct RetryArgs {
    /// The file: its path, or its path below the watched folder as reports write it
    #[arg(value_name = "FILE", required_unless_present = "all", conflicts_with = "all")]
    file: Option<PathBuf>,
    /// Every file that was rejected, as a whole or in part, or stays incomplete
    #[arg(long)]
    all: bool,
    #[command(flatten)]
    order: OrderArgs,
}

pub(super) fn main(args: &RetryArgs) -> Result<Exit, Failure> {
    let desk = args.order.desk()?;
    let which = match &args.file {
        None => Which::All,
        Some(file) => Which::Files(numbers(&desk, file)?),
    };
    let asked = desk.ask(&Request::Retry { which: which.clone() })?;
    let running = asked.is_some();
    let answer = match asked {
        Some(answer) => answer,
        None => {
            let ledger = desk.ledger()?;
            let retried = retry(&ledger.handle(), &LedgerReader::open(&desk.state_dir)?, &which)?;
            ledger.close();
            json!({ "retried": retried.len() })
        }
    };
    let n = answer["retried"].as_u64().unwrap_or(0);
    let when = if running { "" } else { " at the next start" };
    let text = match n {
        0 => "nothing was rejected, nothing stays incomplete".to_owned(),
        1 => format!("1 file is taken up again{when}"),
        n => format!("{n} files are taken up again{when}"),
    };
    desk.answer(answer, running, &text)?;
    Ok(Exit::Done)
}

/// The ledger's numbers of the files of this name.
fn numbers(desk: &Desk, file: &Path) -> Result<Vec<i64>, Failure> {
    let reader = LedgerReader::open(&desk.state_dir)?;
    let histories = explain::histories(&reader, file)?;
    if !histories.is_empty() {
        return Ok(histories.iter().map(|history| history.location.file_id).collect());
    }
    Err(unknown(&reader, file)?)
}

/// What to say of a file that the ledger does not know.
pub(super) fn unknown(reader: &LedgerReader, file: &Path) -> Result<Failure, LedgerError> {
    let near = near_names(reader, &file.to_string_lossy())?;
    let near = if near.is_empty() { String::new() } else { format!("; near it: {}", near.join(", ")) };
    Ok(anyhow::anyhow!("{}: the ledger knows no such file{near}", file.display()).into())
}

/// Up to three files whose names are spelt much alike, the nearest first; of those alike, by path.
fn near_names(reader: &LedgerReader, typed: &str) -> Result<Vec<String>, LedgerError> {
    const NAMES_MAX: usize = 3;
    let last = |path: &str| path.rsplit('/').next().unwrap_or_default().to_lowercase();
    let name = last(typed);
    let distance_max = (name.chars().count() / 3).max(1);
    let mut near: Vec<(usize, String)> = Vec::new();
    reader.each_file(|file| {
        let path = file.path.to_report();
        let other = last(&path);
        if other.len().abs_diff(name.len()) <= 4 * distance_max {
            let distance = edit_distance(&name, &other);
            if distance <= distance_max {
                near.push((distance, format!("{}/{path}", file.root)));
                near.sort();
                near.truncate(NAMES_MAX);
            }
        }
        Ok::<_, LedgerError>(())
    })?;
    Ok(near.into_iter().map(|(_, path)| path).collect())
}

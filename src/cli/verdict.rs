//! `scopewatch verdict`: what an operator knows better.

use std::path::{Path, PathBuf};

use anyhow::anyhow;
use clap::{Args, ValueEnum};
use serde_json::{Value, json};

use crate::control::Request;
use crate::reports::{CurrentTables, ReportOptions, ReportWriter};
use crate::store::{LedgerReader, NamedPlane, OperatorVerdict, PixelDigest, PlaneState, wait};
use crate::units::PlaneIndex;

use super::order::{Desk, OrderArgs};
use super::{Exit, Failure, explain, retry};

/// Remembers for ever whether two planes are duplicates, whatever was measured
#[derive(Debug, Args)]
#[command(
    after_help = "A verdict is on the pixels: it holds for every copy of the two planes, under any name, over restarts and when \
                  they are read again. Groups and reports follow at once. Two planes of equal pixels are copies as a matter of \
                  fact: no verdict is taken on them, nor on a blank plane, which is never grouped.\n\n\
                  Examples:\n  scopewatch verdict B02_s1.tif B03_s1.tif not-duplicate --out /data/scopewatch\n  \
                  scopewatch verdict run1.nd2:t0p3z0c0 export/B02.tif same --out /data/scopewatch\n  \
                  scopewatch verdict B02_s1.tif B03_s1.tif forget --out /data/scopewatch"
)]
pub(super) struct VerdictArgs {
    /// A file, or a plane of it as FILE:t0p0z0c0; named by its path, or below the watched folder as reports write it
    #[arg(value_name = "A")]
    a: PathBuf,
    /// The other one
    #[arg(value_name = "B")]
    b: PathBuf,
    /// What they are
    #[arg(value_name = "VERDICT")]
    word: Word,
    #[command(flatten)]
    order: OrderArgs,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Word {
    /// They never stand in one group and are not flagged
    NotDuplicate,
    /// They stand in one group, with the reason `operator`
    Same,
    /// Takes an earlier verdict back
    Forget,
}

/// A plane that was named, and its pixels.
struct Named {
    name: String,
    digest: PixelDigest,
}

pub(super) fn main(args: &VerdictArgs) -> Result<Exit, Failure> {
    let desk = args.order.desk()?;
    let reader = LedgerReader::open(&desk.state_dir)?;
    let (a, b) = (named(&reader, &args.a)?, named(&reader, &args.b)?);
    if a.digest == b.digest {
        let text =
            "hold the same pixels: that is a fact, which no verdict changes (verdicts are on look-alikes)";
        return Err(anyhow!("{} and {} {text}", a.name, b.name).into());
    }
    let says = match args.word {
        Word::NotDuplicate => Some(OperatorVerdict::NotDuplicate),
        Word::Same => Some(OperatorVerdict::Same),
        Word::Forget => None,
    };
    let pixels = [a.digest, b.digest];
    let asked = desk.ask(&Request::Verdict { pixels, says })?;
    let running = asked.is_some();
    let before = match asked {
        Some(mut answer) => answer["before"].take(),
        None => judge(&desk, pixels, says)?,
    };
    let text = text((&a.name, &b.name), says, before.as_str());
    let answer =
        json!({ "a": a.name, "b": b.name, "verdict": says.map(OperatorVerdict::name), "before": before });
    desk.answer(answer, running, &text)?;
    Ok(Exit::Done)
}

/// Is the writer in place of a service: of the ledger, of the report lines that follow, and of the tables.
fn judge(desk: &Desk, pixels: [PixelDigest; 2], says: Option<OperatorVerdict>) -> Result<Value, Failure> {
    let ledger = desk.ledger()?;
    let reader = LedgerReader::open(&desk.state_dir)?;
    let reports = desk.output().join("reports");
    let lines = ReportWriter::start(ReportOptions::new(&reports), reader, ledger.handle())?;
    let before = wait(|reply| ledger.handle().judge(pixels, says, reply))?;
    lines.close();
    CurrentTables::new(reports.join("current")).refresh(&LedgerReader::open(&desk.state_dir)?)?;
    ledger.close();
    Ok(json!(before))
}

fn text((a, b): (&str, &str), says: Option<OperatorVerdict>, before: Option<&str>) -> String {
    let was = before.map_or_else(String::new, |before| format!(" (before: {before})"));
    match says {
        Some(says) if before == Some(says.name()) => format!("{a} and {b}: {} was said before", says.name()),
        Some(says) => format!("{a} and {b}: {} is remembered{was}", says.name()),
        None if before.is_none() => format!("{a} and {b}: there is no verdict to forget"),
        None => format!("{a} and {b}: forgotten{was}"),
    }
}

/// The plane of the ledger that a text names: a file of one plane, or `FILE:t0p0z0c0`.
fn named(reader: &LedgerReader, text: &Path) -> Result<Named, Failure> {
    let mut histories = explain::histories(reader, text)?;
    let mut index = None;
    let mut file = text;
    if histories.is_empty()
        && let Some((front, plane)) = text.to_str().and_then(|text| text.rsplit_once(':'))
        && let Ok(plane) = plane.parse::<PlaneIndex>()
    {
        (file, index) = (Path::new(front), Some(plane));
        histories = explain::histories(reader, file)?;
    }
    if histories.len() > 1 {
        let names =
            histories.iter().map(|found| format!("{}/{}", found.root, found.location.path.to_report()));
        let names = names.collect::<Vec<_>>().join(", ");
        return Err(anyhow!("{}: there are several files of that name: {names}", file.display()).into());
    }
    let Some(history) = histories.pop() else { return Err(retry::unknown(reader, file)?) };
    let name = format!("{}/{}", history.root, history.location.path.to_report());
    let planes = reader.planes_of(history.location.file_id)?;
    let plane = chosen(&name, &planes, index)?;
    let name = format!("{name}:{}", plane.index);
    let digest = match (plane.state, &plane.blank, plane.digest) {
        (_, Some(blank), _) => Err(anyhow!(
            "{name} is blank ({blank}): blank planes are never grouped, there is nothing to judge"
        )),
        (PlaneState::Rejected, ..) => Err(anyhow!("{name} was rejected: it has no pixels to judge")),
        (_, _, None) => Err(anyhow!("{name} is not done yet: try again once it is")),
        (_, _, Some(digest)) => Ok(digest),
    };
    Ok(Named { digest: digest?, name })
}

fn chosen<'p>(
    name: &str,
    planes: &'p [NamedPlane],
    index: Option<PlaneIndex>,
) -> anyhow::Result<&'p NamedPlane> {
    let example = || planes.last().map(|plane| format!("{name}:{}", plane.index)).unwrap_or_default();
    match (index, planes) {
        (Some(index), _) => planes
            .iter()
            .find(|plane| plane.index == index)
            .ok_or_else(|| anyhow!("{name} has no plane {index}; the last one is {}", example())),
        (None, [plane]) => Ok(plane),
        (None, []) => Err(anyhow!("{name} has no planes that are known")),
        (None, _) => Err(anyhow!("{name} has {} planes: name one, such as {}", planes.len(), example())),
    }
}

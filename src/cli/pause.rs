//! `scopewatch pause` and `scopewatch resume`.

use std::time::{Duration, SystemTime};

use clap::Args;
use serde_json::{Value, json};

use crate::control::Request;
use crate::service::pause_for;
use crate::store::{LedgerReader, wait};

use super::order::OrderArgs;
use super::{Exit, Failure};

/// Takes up nothing new until resumed; what is in work is finished, and watching goes on
#[derive(Debug, Args)]
#[command(
    after_help = "The pause outlives the process: a service that starts during it waits, too. `scan` does not obey it.\n\n\
                  Examples:\n  scopewatch pause --out /data/scopewatch\n  scopewatch pause --for 10m --out /data/scopewatch"
)]
pub(super) struct PauseArgs {
    /// Ends the pause by itself after this time, such as 90s, 10m or 2h
    #[arg(long = "for", value_name = "TIME", value_parser = humantime::parse_duration)]
    length: Option<Duration>,
    #[command(flatten)]
    order: OrderArgs,
}

/// Takes up new files and planes again, after `pause`
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  scopewatch resume --out /data/scopewatch")]
pub(super) struct ResumeArgs {
    #[command(flatten)]
    order: OrderArgs,
}

pub(super) fn pause(args: &PauseArgs) -> Result<Exit, Failure> {
    // checked before anybody is asked: a wrong length is wrong usage
    let pause = pause_for(args.length).map_err(Failure::usage)?;
    let desk = args.order.desk()?;
    let for_s = args.length.map(|length| length.as_secs());
    let asked = desk.ask(&Request::Pause { for_s })?;
    let running = asked.is_some();
    let answer = match asked {
        Some(answer) => answer,
        None => {
            let ledger = desk.ledger()?;
            wait(|reply| ledger.handle().set_pause(Some(pause), reply))?;
            ledger.close();
            json!({ "pause": pause })
        }
    };
    let until = ending(&answer["pause"]);
    let text = if running {
        format!("paused {until}: what is in work is finished, nothing new is taken up")
    } else {
        format!("no service runs on {}; one that starts is paused {until}", desk.output().display())
    };
    desk.answer(answer, running, &text)?;
    Ok(Exit::Done)
}

pub(super) fn resume(args: &ResumeArgs) -> Result<Exit, Failure> {
    let desk = args.order.desk()?;
    let asked = desk.ask(&Request::Resume)?;
    let running = asked.is_some();
    let answer = match asked {
        Some(answer) => answer,
        None => {
            let ledger = desk.ledger()?;
            let ended = LedgerReader::open(&desk.state_dir)?.pause()?;
            wait(|reply| ledger.handle().set_pause(None, reply))?;
            ledger.close();
            json!({ "ended": ended })
        }
    };
    let text = match (answer["ended"].is_null(), running) {
        (true, _) => "there was no pause",
        (false, true) => "resumed",
        (false, false) => "the pause is over; no service runs",
    };
    desk.answer(answer, running, text)?;
    Ok(Exit::Done)
}

/// When a pause ends, in words.
pub(super) fn ending(pause: &Value) -> String {
    let until = pause["until"].as_str().and_then(|text| humantime::parse_rfc3339(text).ok());
    match until {
        None => "until `scopewatch resume`".to_owned(),
        Some(until) => {
            let rest = until.duration_since(SystemTime::now()).unwrap_or_default().as_secs();
            let until = humantime::format_rfc3339_seconds(until);
            format!("until {until} (for {})", humantime::format_duration(Duration::from_secs(rest)))
        }
    }
}

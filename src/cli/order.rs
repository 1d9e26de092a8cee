//! What the commands that change something have in common: the running service is asked; where there is none, the
//! command takes the ledger's lock and is the writer itself.

use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::Value;

use crate::control::{self, Request};
use crate::platform::process;
use crate::store::{Ledger, LedgerOptions};

use super::{ConfigArgs, Failure, say};

/// Where the service is, and how to answer.
#[derive(Debug, Args)]
pub(super) struct OrderArgs {
    #[command(flatten)]
    config: ConfigArgs,
    /// Output folder of the service
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Answer as one JSON object
    #[arg(long)]
    json: bool,
}

/// The state folder of a service, and how to answer.
pub(super) struct Desk {
    pub(super) state_dir: PathBuf,
    host: String,
    json: bool,
}

impl OrderArgs {
    /// Finds the service's state folder.
    pub(super) fn desk(&self) -> Result<Desk, Failure> {
        // a new ledger in a folder that was mistyped would help nobody
        let (settings, state_dir) = self.config.load_with_ledger(self.out.as_deref())?;
        let host = settings.identity.host.unwrap_or_else(process::host_name);
        Ok(Desk { state_dir, host, json: self.json })
    }
}

impl Desk {
    /// Asks the running service; `None` where none runs.
    pub(super) fn ask(&self, request: &Request) -> Result<Option<Value>, Failure> {
        match control::ask(&self.state_dir, request)? {
            Some(answer) => match answer["error"].as_str() {
                Some(error) => Err(anyhow::anyhow!("{error}").into()),
                None => Ok(Some(answer)),
            },
            None => Ok(None),
        }
    }

    /// Takes the ledger's lock; fails where a scan holds it.
    pub(super) fn ledger(&self) -> Result<Ledger, Failure> {
        Ok(Ledger::open(&self.state_dir, LedgerOptions::new(&self.host, "by hand"))?)
    }

    /// Says what was done, as JSON with whether a service runs, or as a line of text.
    pub(super) fn answer(&self, mut answer: Value, running: bool, text: &str) -> Result<(), Failure> {
        if self.json {
            answer["running"] = running.into();
            say(&format!("{answer}\n"))?;
        } else {
            say(&format!("{text}\n"))?;
        }
        Ok(())
    }

    /// The folder above the state folder.
    pub(super) fn output(&self) -> &Path {
        self.state_dir.parent().unwrap_or(&self.state_dir)
    }
}

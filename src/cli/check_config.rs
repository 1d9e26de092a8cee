//! `scopewatch check-config`: is this configuration good?

use clap::Args;

use crate::settings::{DEFAULT_TOML, resolve_folders};

use super::{ConfigArgs, Exit, Failure, nothing_to_watch, say};

/// Checks a configuration, or prints the default one
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  scopewatch check-config --print-default > scopewatch.toml\n  \
                        scopewatch check-config --config scopewatch.toml")]
pub(super) struct CheckConfigArgs {
    #[command(flatten)]
    config: ConfigArgs,
    /// Print the default configuration, every key explained, as TOML
    #[arg(long, conflicts_with_all = ["config", "json"])]
    print_default: bool,
    /// Answer as one JSON object
    #[arg(long)]
    json: bool,
}

pub(super) fn main(args: &CheckConfigArgs) -> Result<Exit, Failure> {
    if args.print_default {
        say(DEFAULT_TOML)?;
        return Ok(Exit::Done);
    }
    let settings = args.config.load(None, Vec::new()).map_err(Failure::usage)?;
    let folders = resolve_folders(&settings.watch.roots, &settings.output.dir).map_err(Failure::usage)?;
    let file = args
        .config
        .config
        .as_ref()
        .map_or_else(|| "the defaults".to_owned(), |file| file.display().to_string());
    let warning = nothing_to_watch(&folders);
    if args.json {
        let roots: Vec<_> = folders.roots.iter().map(|root| root.display().to_string()).collect();
        let output = folders.output.display().to_string();
        let answer = serde_json::json!({
            "ok": true, "file": file, "roots": roots, "output": output, "warning": warning,
        });
        say(&format!("{answer}\n"))?;
        return Ok(Exit::Done);
    }
    let mut text = format!("{file}: good\n");
    if let Some(warning) = warning {
        text += &format!("  {warning}\n");
    }
    for root in &folders.roots {
        let note = if root.is_dir() { "" } else { " (not there now: it will be offline)" };
        text += &format!("  watches {}{note}\n", root.display());
    }
    text += &format!("  writes to {}\n", folders.output.display());
    say(&text)?;
    Ok(Exit::Done)
}

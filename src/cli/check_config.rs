//! `scopewatch check-config`: is this configuration good?

use clap::Args;

use crate::settings::{DEFAULT_TOML, resolve_folders};

use super::{ConfigArgs, Exit, Failure, say};

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
    let checked = args.config.load(None, Vec::new()).and_then(|settings| {
        let folders = resolve_folders(&settings.watch.roots, &settings.output.dir)?;
        Ok((settings, folders))
    });
    let file = args
        .config
        .config
        .as_ref()
        .map_or_else(|| "the defaults".to_owned(), |file| file.display().to_string());
    let (text, exit) = match (checked, args.json) {
        (Ok((_, folders)), true) => {
            let roots: Vec<_> = folders.roots.iter().map(|root| root.display().to_string()).collect();
            let output = folders.output.display().to_string();
            let answer = serde_json::json!({ "ok": true, "file": file, "roots": roots, "output": output });
            (format!("{answer}\n"), Exit::Done)
        }
        (Ok((_, folders)), false) => {
            let mut text = format!("{file}: good\n");
            for root in &folders.roots {
                let note = if root.is_dir() { "" } else { " (not there now: it will be offline)" };
                text += &format!("  watches {}{note}\n", root.display());
            }
            text += &format!("  writes to {}\n", folders.output.display());
            (text, Exit::Done)
        }
        (Err(error), true) => {
            let answer = serde_json::json!({ "ok": false, "file": file, "error": error.to_string() });
            (format!("{answer}\n"), Exit::Usage)
        }
        (Err(error), false) => return Err(Failure::usage(error)),
    };
    say(&text)?;
    Ok(exit)
}

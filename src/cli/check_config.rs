//! `scopewatch check-config`: is this configuration good?

use clap::Args;

use crate::settings::{DEFAULT_TOML, resolve_folders};

use super::{ConfigArgs, Exit, Failure};

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
        print!("{DEFAULT_TOML}");
        return Ok(Exit::Done);
    }
    let checked = args.config.load(&[]).and_then(|settings| {
        let folders = resolve_folders(&settings.watch.roots, &settings.output.dir)?;
        Ok((settings, folders))
    });
    let file = args
        .config
        .config
        .as_ref()
        .map_or_else(|| "the defaults".to_owned(), |file| file.display().to_string());
    match (checked, args.json) {
        (Ok((_, folders)), true) => {
            let roots: Vec<_> = folders.roots.iter().map(|root| root.display().to_string()).collect();
            println!(
                "{}",
                serde_json::json!({ "ok": true, "file": file, "roots": roots, "output": folders.output.display().to_string() })
            );
            Ok(Exit::Done)
        }
        (Ok((_, folders)), false) => {
            println!("{file}: good");
            folders.roots.iter().for_each(|root| {
                let note = if root.is_dir() { "" } else { " (not there now: it will be offline)" };
                println!("  watches {}{note}", root.display());
            });
            println!("  writes to {}", folders.output.display());
            Ok(Exit::Done)
        }
        (Err(error), true) => {
            println!("{}", serde_json::json!({ "ok": false, "file": file, "error": error.to_string() }));
            Ok(Exit::Usage)
        }
        (Err(error), false) => Err(Failure::usage(error)),
    }
}

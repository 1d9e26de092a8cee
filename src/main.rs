//! The `scopewatch` command.

use std::process::ExitCode;

fn main() -> ExitCode {
    scopewatch::platform::process::return_freed_memory();
    scopewatch::platform::lease::ignore_lease_breaks();
    scopewatch::cli::main()
}

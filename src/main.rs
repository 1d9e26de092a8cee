//! The `scopewatch` command.

use std::process::ExitCode;

use scopewatch::platform::meter::CountingAllocator;

/// Fits tell how much memory they took, and planes are read at full speed.
#[global_allocator]
static ALLOCATOR: CountingAllocator = CountingAllocator;

fn main() -> ExitCode {
    scopewatch::platform::process::return_freed_memory();
    scopewatch::platform::lease::ignore_lease_breaks();
    scopewatch::cli::main()
}

//! Whole ND2 files: arbitrary bytes, and real ones with damage; opened and recovered.
#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use scopewatch_fuzz::{budget, mutation, read_file, recover_file, seeds};

#[global_allocator]
static ALLOCATOR: budget::Counting = budget::Counting;

static BASES: LazyLock<Vec<Vec<u8>>> = LazyLock::new(seeds::nd2);

fuzz_target!(|input: &[u8]| {
    let file = mutation::apply(&BASES, input);
    read_file(&file);
    recover_file(&file);
});

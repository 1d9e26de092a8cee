//! Whole ND2 files: arbitrary bytes, and real ones with damage.
#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use scopewatch_fuzz::{budget, mutation, read_file, seeds};

#[global_allocator]
static ALLOCATOR: budget::Counting = budget::Counting;

static BASES: LazyLock<Vec<Vec<u8>>> = LazyLock::new(seeds::nd2);

fuzz_target!(|input: &[u8]| read_file(&mutation::apply(&BASES, input)));

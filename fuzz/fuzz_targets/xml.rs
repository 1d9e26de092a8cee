//! The XML metadata of ND2 version 2: arbitrary bytes, and real blocks with damage.
#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use scopewatch_fuzz::{LIMITS, budget, mutation, seeds};
use scopewatch_portable::formats::nd2::fuzzing;

#[global_allocator]
static ALLOCATOR: budget::Counting = budget::Counting;

static BASES: LazyLock<Vec<Vec<u8>>> = LazyLock::new(seeds::xml);

fuzz_target!(|input: &[u8]| {
    let block = mutation::apply(&BASES, input);
    budget::within(&LIMITS, || fuzzing::parse_xml(&block, &LIMITS));
});

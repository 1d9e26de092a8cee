//! What only the operating system can answer, one small module each, every one with a portable answer.
//!
//! `unsafe` code lives here and nowhere else: a few calls of the C library and the allocator that counts, each with the reason why it is sound.

pub mod filesystem;
pub mod lease;
pub mod meter;
pub mod process;
pub mod reading;

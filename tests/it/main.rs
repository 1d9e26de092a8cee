//! Everything at once: the built program on real folders.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod support;

mod broken_files;
mod commands;
mod demo;
mod flow;
mod reports;
mod restart;
mod settings;
mod shutdown;
mod synth;
mod tidy;

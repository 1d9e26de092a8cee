//! Everything at once: the built program on real folders.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod support;

mod bench;
mod broken_files;
mod commands;
mod compare;
mod demo;
mod flow;
mod growing;
mod library;
mod look_alikes;
mod orders;
mod outlines;
mod region_table;
mod registration;
mod reports;
mod restart;
#[cfg(target_os = "linux")]
mod service;
mod settings;
mod shutdown;
mod stacks;
mod synth;
mod tables;
mod tidy;
#[cfg(unix)]
mod torture;
mod verdicts;
mod wells;

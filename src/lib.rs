//! scopewatch: watches the folders that a microscope writes into, and reports each plane exactly once.
//!
//! The layers, from the bottom: [`units`], [`geometry`] and [`tuning`]; [`formats`] and [`analysis`] (pure: from bytes
//! to planes, from planes to findings); messages, store and reports (what travels, what is kept, what is written);
//! actor; stages; and the service around them. Imports point down only; `ARCHITECTURE.md` says why.
//!
//! Programs that want duplicates call [`find_duplicates`]; single planes are compared by
//! [`analysis::verification::verify`].

pub mod actor;
pub mod analysis;
pub mod bench;
pub mod cli;
pub mod control;
pub mod duplicates;
pub mod formats;
pub mod geometry;
pub mod machine;
pub mod messages;
pub mod paths;
pub mod pipeline;
pub mod platform;
pub mod reports;
pub mod service;
pub mod settings;
pub mod stages;
pub mod store;
pub mod tuning;
pub mod units;

pub use duplicates::{DuplicateSettings, find_duplicates};

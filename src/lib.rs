//! scopewatch: watches the folders that a microscope writes into, and reports each plane exactly once.
//!
//! The layers, from the bottom: [`units`] and [`tuning`]; [`formats`] and [`analysis`] (pure: from bytes to planes, from
//! planes to findings); messages, store and reports (what travels, what is kept, what is written); actor; stages; and
//! the service around them. Imports point down only; `ARCHITECTURE.md` says why.

pub mod actor;
pub mod analysis;
pub mod formats;
pub mod paths;
pub mod platform;
pub mod reports;
pub mod settings;
pub mod store;
pub mod tuning;
pub mod units;

//! What a benchmark needs of the machine: clocks, a folder, a log, metrics, and the report. What is run and what came
//! out is computed by [`crate::analysis::benchmark`].

pub mod batches;
pub mod findings;
pub mod known;
pub mod metrics;
pub mod plot;
pub mod real;
pub mod report;
pub mod session;
pub mod unknown;

//! What the benchmarks compute: scenes with their truth, the runs of both optimizers, and the figures of what came out.
//! Clocks, files and reports belong to whoever calls it.
//!
//! [`known`] compares the optimizers on pairs that are given, [`efficiency`] their scatter with the least that any
//! method can have, [`unknown`] finds the pairs first, [`real`] is about files whose truth nobody knows; [`profiles`] and
//! [`findings`] sum up.

pub mod efficiency;
pub mod findings;
pub mod known;
pub mod profiles;
pub mod real;
pub mod scene;
pub mod statistics;
pub mod unknown;

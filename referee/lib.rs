//! The two optimizers of scopewatch, compiled on their own for their referees.

#[path = "../src/analysis/optimizers/mod.rs"]
pub mod optimizers;

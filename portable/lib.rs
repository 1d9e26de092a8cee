//! Layers 0 and 1 of scopewatch, compiled on their own: whatever they use of the system or of C shows here.

#[path = "../src/analysis/mod.rs"]
pub mod analysis;
#[path = "../src/formats/mod.rs"]
pub mod formats;
#[path = "../src/geometry.rs"]
pub mod geometry;
#[path = "../src/paths.rs"]
pub mod paths;
#[path = "../src/tuning.rs"]
pub mod tuning;
#[path = "../src/units.rs"]
pub mod units;

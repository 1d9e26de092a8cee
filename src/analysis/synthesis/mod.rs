//! Synthetic acquisitions with their truth, the same for the same seed on every machine: only additions,
//! multiplications, divisions and square roots decide a pixel, which every processor rounds alike.
//!
//! An [`Acquisition`] is planned from its settings: wells of cells in micrometres, seen by two objectives, exposed by
//! one camera, stored in files, with copies, repeats and faults planted among them. A [`Studio`] draws and writes the
//! files, one by one and in any order. [`truth`] is what is known of them. [`FieldSettings`] and [`expose`] draw single
//! small fields for tests.

mod acquisition;
mod camera;
mod draw;
mod field;
mod names;
mod optics;
mod plan;
mod planted;
mod random;
mod scene;
mod settings;
#[cfg(test)]
mod tests;
pub mod truth;
mod write;

pub use acquisition::Acquisition;
pub use field::{FieldSettings, Nucleus, expose, place_nuclei};
pub use random::Random;
pub use settings::{AcquisitionSettings, FormatChoice, NameChoice, OutOfRange};
pub use write::{Studio, Written};

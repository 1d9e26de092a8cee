//! Synthetic acquisitions with their truth, the same for the same seed on every machine: only additions,
//! multiplications, divisions and square roots decide a pixel, which every processor rounds alike.
//!
//! [`field`] draws single fields for tests. Everything else makes plates: wells of nuclei in micrometres, seen by
//! objectives, exposed by one camera, stored in files, with copies and faults planted among them.

mod field;
pub mod truth;

pub use field::{FieldSettings, Nucleus, Random, expose, place_nuclei};

//! What is remembered of a plane so that copies of it are found: an exact digest of its samples, and small features
//! that survive another container, another grey map, rotation, mirroring and noise.

mod blank;
pub mod code;
pub mod digest;
pub mod features;
mod fingerprints;
mod haar;
mod histogram;
pub(in crate::analysis) mod rows;
#[cfg(test)]
mod tests;
mod thumbnail;

pub use code::{Code256, ORIENTATION_NAMES};
pub use digest::{PixelDigest, pixel_digest};
pub use features::{
    FEATURES_VERSION, FeatureBytesError, PlaneFeatures, SNR_MIN, Signal, plane_features, scratch_bytes,
};
pub use fingerprints::{Fingerprints, N_FINGERPRINTS};

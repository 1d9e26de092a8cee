//! What is remembered of a plane so that copies of it are found: an exact digest of its samples, and small features
//! that survive another container, another grey map, rotation, mirroring and noise.

pub mod code;
pub mod digest;

pub use code::Code256;
pub use digest::{PixelDigest, pixel_digest};

//! Pure algorithms: the same input gives the same output on any machine and for any number of threads.
//! No clock, no file system, no logging.

pub mod benchmark;
pub mod hashing;
pub mod identity;
pub mod optimizers;
pub mod registration;
pub mod segmentation;
pub mod synthesis;
pub mod varint;
pub mod verification;

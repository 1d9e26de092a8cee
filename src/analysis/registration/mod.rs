//! Where the nuclei of one field lie in another: transforms between point clouds.

pub mod fit;
pub mod models;

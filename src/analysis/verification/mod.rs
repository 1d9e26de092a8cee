//! Are two planes one exposure, two exposures of one scene, or nothing to each other?
//!
//! Five stages, from cheap to costly, each with its evidence: distance of the codes, grey map, texture, structure (orientation,
//! scale, shift), and at full resolution S, R and Q. Noise never repeats: two exposures of one scene agree in all but
//! their noise (R near 0, Q near 1), copies agree in that too (R near 1, Q near 0).

mod candidates;
mod cells;
mod compression;
mod exact_map;
mod flow;
mod fourier;
mod grey_image;
mod grey_map;
mod judgement;
mod locate;
mod measures;
mod nearest;
mod noise;
mod parts;
mod picture;
mod placement;
mod prepared;
mod relation;
mod settings;
mod shift;
mod structure;
#[cfg(test)]
mod tests;
mod verdict;

pub use candidates::{Candidate, CandidateIndex};
pub use parts::PartIndex;
pub use picture::{Picture, PictureError};
pub use placement::Placement;
pub use prepared::Prepared;
pub use relation::Relation;
pub use settings::VerificationSettings;
pub use verdict::{
    CodeEvidence, CompressionEvidence, Evidence, GreyMapEvidence, RefinementEvidence, StructureEvidence,
    TextureEvidence, Verdict, VerificationStage,
};

use std::cmp::Ordering;

use super::hashing::PlaneFeatures;
use crate::formats::Plane;

/// Version of the method; evidence of another version is computed anew.
pub const VERIFICATION_VERSION: u16 = 3;

/// Compares two planes, given the features of both. Exchanging the planes gives the same relation and the mirrored
/// placement and evidence.
///
/// Equal samples are not looked for: [`Relation::IdenticalPixels`] is for whoever compares digests.
pub fn verify(
    a: &Plane,
    b: &Plane,
    features: (&PlaneFeatures, &PlaneFeatures),
    settings: &VerificationSettings,
) -> Verdict {
    let prepared = |plane, features: &PlaneFeatures| Prepared::new(plane, features.clone());
    verify_prepared(&prepared(a, features.0), &prepared(b, features.1), settings)
}

/// The same as [`verify`] for planes that are ready.
pub fn verify_prepared(a: &Prepared, b: &Prepared, settings: &VerificationSettings) -> Verdict {
    verify_observed(a, b, settings, &mut |_| ())
}

/// The same as [`verify_prepared`]; calls `done` at the end of each stage that was run.
pub fn verify_observed(
    a: &Prepared,
    b: &Prepared,
    settings: &VerificationSettings,
    done: &mut dyn FnMut(VerificationStage),
) -> Verdict {
    match a.canonical_order(b) {
        Ordering::Greater => flow::compare(b, a, settings, done).mirrored(b.shape(), a.shape()),
        _ => flow::compare(a, b, settings, done),
    }
}

/// Upper bound of the bytes that [`verify`] allocates beside two planes of at most this shape.
pub fn scratch_bytes(height: usize, width: usize) -> usize {
    // grey values of both, pyramids, a turned copy; cells; tables of the grey map and of the Fourier transform
    height.saturating_mul(width).saturating_mul(24).saturating_add(16 << 20)
}

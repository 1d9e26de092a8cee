//! Are two planes one exposure, two exposures of one scene, or nothing to each other?
//!
//! Five stages, from cheap to costly, each with its evidence: distance of the codes, grey map, texture, structure (orientation,
//! scale, shift), and at full resolution S, R and Q. Noise never repeats: two exposures of one scene agree in all but
//! their noise (R near 0, Q near 1), copies agree in that too (R near 1, Q near 0).

mod candidates;
mod cells;
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
mod placement;
mod relation;
mod settings;
mod shift;
mod structure;
#[cfg(test)]
mod tests;
mod verdict;

pub use candidates::{Candidate, CandidateIndex};
pub use placement::Placement;
pub use relation::Relation;
pub use settings::VerificationSettings;
pub use verdict::{
    CodeEvidence, Evidence, GreyMapEvidence, RefinementEvidence, StructureEvidence, TextureEvidence, Verdict,
    VerificationStage,
};

use std::cmp::Ordering;

use super::hashing::PlaneFeatures;
use crate::formats::Plane;
use placement::Shape;

/// Version of the method; evidence of another version is computed anew.
pub const VERIFICATION_VERSION: u16 = 1;

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
    match canonical_order((a, features.0), (b, features.1)) {
        Ordering::Greater => {
            flow::compare((b, features.1), (a, features.0), settings).mirrored(shape(b), shape(a))
        }
        _ => flow::compare((a, features.0), (b, features.1), settings),
    }
}

/// Which plane is looked for in which: the smaller in the larger, of equal sizes the coarser samples in the finer, then
/// by features and samples, so that the order of the arguments does not matter.
fn canonical_order(a: (&Plane, &PlaneFeatures), b: (&Plane, &PlaneFeatures)) -> Ordering {
    let size = |plane: &Plane| (plane.height * plane.width, plane.samples.sample_type().size_bytes());
    size(b.0)
        .cmp(&size(a.0))
        .then_with(|| shape(a.0).cmp(&shape(b.0)))
        .then_with(|| a.1.to_bytes().cmp(&b.1.to_bytes()))
        .then_with(|| a.0.samples.as_bytes().cmp(b.0.samples.as_bytes()))
}

fn shape(plane: &Plane) -> Shape {
    (plane.height, plane.width)
}

/// Upper bound of the bytes that [`verify`] allocates beside two planes of at most this shape.
pub fn scratch_bytes(height: usize, width: usize) -> usize {
    // grey values of both, pyramids, a turned copy; cells; tables of the grey map and of the Fourier transform
    height.saturating_mul(width).saturating_mul(24).saturating_add(16 << 20)
}

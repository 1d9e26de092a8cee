//! What a verification says, and what it stands on.

use serde::Serialize;

use super::Relation;
use super::placement::Placement;

/// The five stages, from cheap to costly.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum VerificationStage {
    /// Distance of the codes over orientations and polarities.
    Code,
    /// Whether one monotone map takes the grey values of one to those of the other.
    GreyMap,
    /// Noise and energy of details.
    Texture,
    /// Orientation, scale and shift on reduced planes.
    Structure,
    /// S, R and Q at full resolution.
    Refinement,
}

impl VerificationStage {
    /// The name in reports, such as `grey_map`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Code => "code",
            Self::GreyMap => "grey_map",
            Self::Texture => "texture",
            Self::Structure => "structure",
            Self::Refinement => "refinement",
        }
    }
}

/// What is said of a pair of planes A and B.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Verdict {
    /// What the planes are to each other.
    pub relation: Relation,
    /// How sure that is, 0 to 1: how far the deciding figures lie from their thresholds.
    pub confidence: f32,
    /// Why, in one sentence without capital and full stop.
    pub reason: String,
    /// The last stage that was run.
    pub stopped_at: VerificationStage,
    /// Where B lies in A; `None` when no place was looked for, or none was found.
    pub placement: Option<Placement>,
    /// Whether dark and bright are exchanged.
    pub is_inverted: bool,
    /// The figures of every stage that was run.
    pub evidence: Evidence,
}

/// The figures of every stage; a stage that was not run has none. All numbers are finite.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub struct Evidence {
    /// Stage 1.
    pub code: Option<CodeEvidence>,
    /// Stage 2.
    pub grey_map: Option<GreyMapEvidence>,
    /// Stage 3.
    pub texture: Option<TextureEvidence>,
    /// Stage 4.
    pub structure: Option<StructureEvidence>,
    /// Stage 5.
    pub refinement: Option<RefinementEvidence>,
}

/// Stage 1: the codes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct CodeEvidence {
    /// Smallest distance over orientations and polarities, in bits of 256.
    pub distance: u32,
    /// Orientation of A at that distance, a place in [`crate::analysis::hashing::ORIENTATION_NAMES`].
    pub orientation: u8,
    /// Whether dark and bright are exchanged at that distance.
    pub is_inverted: bool,
}

/// Stage 2: the grey map between block means, in the orientation of stage 1.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct GreyMapEvidence {
    /// Part of the variance that a monotone map explains, 0 to 1; the smaller of both directions.
    pub r_squared: f32,
}

/// Stage 3: noise and texture.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct TextureEvidence {
    /// Noise of a pixel of A in its grey levels.
    pub noise_a: f32,
    /// Noise of a pixel of B in its grey levels.
    pub noise_b: f32,
    /// Largest difference of the shape of the detail spectrum, in octaves of energy.
    pub energy_distance_octaves: f32,
}

/// Stage 4: the best place found on reduced planes.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct StructureEvidence {
    /// Correlation of the reduced planes where they overlap, -1 to 1; negative where dark and bright are exchanged.
    pub correlation: f32,
    /// Part of the smaller plane that overlaps, 0 to 1.
    pub overlap: f32,
}

/// Stage 5: figures at full resolution.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct RefinementEvidence {
    /// Correlation of the smoothed planes after the grey map, -1 to 1.
    pub s: f32,
    /// Median correlation of the finest diagonal details over blocks without structure, -1 to 1; `None` where there
    /// are no such blocks, no details, or the scales differ.
    pub r: Option<f32>,
    /// Difference after the grey map, in units of what two exposures would give; `None` without noise.
    pub q: Option<f32>,
    /// Part of the smaller plane that overlaps, 0 to 1.
    pub overlap: f32,
    /// Blocks behind R.
    pub n_blocks: u32,
}

//! What a verification says, and what it stands on.

use serde::Serialize;

use super::Relation;
use super::placement::{Placement, Shape, inverse_orientation};

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
    /// All of them, in their order.
    pub const ALL: [Self; 5] = [Self::Code, Self::GreyMap, Self::Texture, Self::Structure, Self::Refinement];

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

impl Verdict {
    /// The verdict with the planes exchanged, given the shapes of the first and the second before.
    pub(super) fn mirrored(mut self, shape_a: Shape, shape_b: Shape) -> Self {
        self.placement = self.placement.map(|placement| placement.inverse(shape_a, shape_b));
        if let Some(code) = &mut self.evidence.code {
            code.orientation = inverse_orientation(code.orientation);
        }
        if let Some(texture) = &mut self.evidence.texture {
            std::mem::swap(&mut texture.noise_a, &mut texture.noise_b);
        }
        self
    }
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

/// Stage 2: the grey map, in the orientation of stage 1 and without shift.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct GreyMapEvidence {
    /// Part of the variance of block means that a monotone map explains, 0 to 1.
    pub r_squared: f32,
    /// How often a grey value of one plane does not become always the same in the other, as a part of how often that
    /// is so for neighbouring pixels: 0 for a copy, near 1 for another exposure. `None` where the frames differ in
    /// shape, hold no integers of 16 bits, or have too few grey values to tell.
    pub exceptions: Option<f32>,
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
    /// S: correlation of the smoothed planes without their slow variation, after the grey map, -1 to 1.
    pub s: f32,
    /// R: correlation of the finest diagonal details, the median over grey levels, -1 to 1; `None` where the noise is
    /// below a grey step.
    pub r: Option<f32>,
    /// The same for details of 8 pixels.
    pub r_coarse: Option<f32>,
    /// Q: difference after the grey map, in units of what two exposures would give.
    pub q: Option<f32>,
    /// Part of the noise of the smaller or coarser plane that the other does not explain, in units of the larger noise of both.
    pub own_noise: Option<f32>,
    /// As in stage 2, at the place found.
    pub exceptions: Option<f32>,
    /// Common part of the smaller plane, 0 to 1.
    pub overlap: f32,
    /// Common part of the larger plane, 0 to 1.
    pub overlap_larger: f32,
    /// Grey levels behind R and Q.
    pub n_levels: u32,
    /// What the rounding of a JPEG says; `None` where neither plane is one, as far as can be seen.
    pub compression: Option<CompressionEvidence>,
}

/// Stage 5, where a plane is a JPEG.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct CompressionEvidence {
    /// Quality of the JPEG, 20 to 97, by the tables of the Independent JPEG Group.
    pub quality: u8,
    /// Whether both planes are JPEGs.
    pub is_both: bool,
    /// How often a coefficient of the JPEG differs from that of the other plane by more than its rounding, as a part of
    /// how often that is so for two exposures: near 0 for a copy, near 1 for another exposure. `None` where not measured.
    pub beyond_rounding: Option<f32>,
    /// Coefficients that would differ so for two exposures.
    pub n_expected: f32,
}

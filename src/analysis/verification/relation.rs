//! What two planes are to each other.

use std::fmt;

use serde::{Deserialize, Serialize};

/// What two planes are to each other, from most to least alike. Copies of one exposure are duplicates; all else is not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Relation {
    /// The files have the same bytes.
    IdenticalFile,
    /// The decoded samples are the same.
    IdenticalPixels,
    /// An exact or mapped copy between consecutive frames of one series: a fault of camera or buffer. Only knowledge
    /// of the series tells it.
    StuckFrame,
    /// One exposure under another grey map, turned or mirrored: the noise is the same.
    SameExposureMapped,
    /// One exposure after lossy compression, reduction of depth, binning or resizing.
    SameExposureLossy,
    /// One exposure on a part of the frame: a crop, a tile.
    PartialOverlap,
    /// The scene agrees, but the noise cannot decide whether it is one exposure.
    Uncertain,
    /// The same scene in another exposure.
    Reacquired,
    /// The same place, but the scene differs: another time, another focus.
    ChangedScene,
    /// The same place under another objective.
    OtherMagnification,
    /// At least one plane shows nothing, so that looks say nothing.
    Blank,
    /// Nothing in common.
    Distinct,
}

impl Relation {
    /// Every relation, from most to least alike.
    pub const ALL: [Self; 12] = [
        Self::IdenticalFile,
        Self::IdenticalPixels,
        Self::StuckFrame,
        Self::SameExposureMapped,
        Self::SameExposureLossy,
        Self::PartialOverlap,
        Self::Uncertain,
        Self::Reacquired,
        Self::ChangedScene,
        Self::OtherMagnification,
        Self::Blank,
        Self::Distinct,
    ];

    /// The relation of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|relation| relation.name() == name)
    }

    /// The name in reports, such as `same_exposure_mapped`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::IdenticalFile => "identical_file",
            Self::IdenticalPixels => "identical_pixels",
            Self::StuckFrame => "stuck_frame",
            Self::SameExposureMapped => "same_exposure_mapped",
            Self::SameExposureLossy => "same_exposure_lossy",
            Self::PartialOverlap => "partial_overlap",
            Self::Uncertain => "uncertain",
            Self::Reacquired => "reacquired",
            Self::ChangedScene => "changed_scene",
            Self::OtherMagnification => "other_magnification",
            Self::Blank => "blank",
            Self::Distinct => "distinct",
        }
    }

    /// Whether both planes come from one exposure.
    pub const fn is_duplicate(self) -> bool {
        matches!(
            self,
            Self::IdenticalFile
                | Self::IdenticalPixels
                | Self::StuckFrame
                | Self::SameExposureMapped
                | Self::SameExposureLossy
                | Self::PartialOverlap
        )
    }
}

impl fmt::Display for Relation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

//! What is true of a synthetic acquisition, as `truth.json` says it: every file and plane, how fields lie in one
//! another, and what was planted among them.

use serde::{Deserialize, Serialize};

use crate::formats::{Dims, Format};
use crate::geometry::Affine;
use crate::units::PlaneIndex;

/// The truth of one acquisition. Files are named by their path below the acquisition's folder, with `/`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Truth {
    /// Version of this form: 1.
    pub schema: u32,
    /// The program that made it, by which it knows its own folders.
    pub made_by: String,
    /// The seed: it and the settings decide every byte.
    pub seed: u64,
    /// Every file, in the order in which a microscope would write them.
    pub files: Vec<TrueFile>,
    /// Planes that are related by more than chance. Planes that stand in no relation are no duplicates.
    pub relations: Vec<TrueRelation>,
    /// Where each 40x field lies in its 10x overview.
    pub registrations: Vec<TrueRegistration>,
    /// The file that a demonstration lets grow.
    pub growing: Option<GrowingFile>,
}

impl Truth {
    /// The file in which it stands, beside the images.
    pub const FILE_NAME: &str = "truth.json";
    /// The name of the program.
    pub const MADE_BY: &str = "scopewatch synth";

    /// A file by its path.
    pub fn file(&self, path: &str) -> Option<&TrueFile> {
        self.files.iter().find(|file| file.file == path)
    }
}

/// One file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TrueFile {
    /// Its path.
    pub file: String,
    /// Its container format.
    pub format: Format,
    /// What was done to it.
    pub condition: Condition,
    /// Its well, such as `B02`.
    pub well: String,
    /// Lengths of its axes.
    pub dims: Dims,
    /// Type of its samples, such as `uint16`.
    pub dtype: String,
    /// Side of a pixel in micrometres, where the file says it.
    pub pixel_size_um: Option<f64>,
    /// Magnification of the objective that took it.
    pub magnification: f64,
    /// What the stage read, `[x, y]` in micrometres, where the file says it: not quite the true place.
    pub stage_um: Option<[f64; 2]>,
    /// Its planes; none for a file that cannot be read.
    pub planes: Vec<TruePlane>,
}

/// Whether a file can be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Condition {
    /// It is whole.
    Whole,
    /// It is damaged: to be rejected.
    Rejected,
}

/// One plane.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TruePlane {
    /// Which plane of its file.
    #[serde(with = "plane_name")]
    pub plane: PlaneIndex,
    /// SHA-256 of its samples, as `inspect --digests` has it; equal digests outside of any relation do not exist.
    pub sha256: String,
    /// Name of its channel.
    pub channel: String,
    /// When it was exposed, in milliseconds after the first plane of the file.
    pub time_ms: f64,
    /// Height above the focus in micrometres.
    pub z_um: f64,
    /// Whether nothing but camera noise is in it.
    pub is_blank: bool,
    /// From its pixels to micrometres on the plate: the true geometry, without the error of the stage.
    pub plate_um_from_px: Affine,
    /// Nuclei with their centre inside the frame.
    pub n_nuclei: usize,
    /// Their centres `[x, y]` in pixels, where asked for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub nuclei: Vec<[f64; 2]>,
}

/// Two planes that are related.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TrueRelation {
    /// One file, the original where there is one.
    pub file_a: String,
    /// Its plane.
    #[serde(with = "plane_name")]
    pub plane_a: PlaneIndex,
    /// The other file.
    pub file_b: String,
    /// Its plane.
    #[serde(with = "plane_name")]
    pub plane_b: PlaneIndex,
    /// How they are related.
    pub relation: Relation,
    /// How the second was made from the first, for people.
    pub how: String,
}

/// How two planes are related; the names are those of `duplicate_pairs.csv`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Relation {
    /// The whole file was copied.
    IdenticalFile,
    /// The same samples in another container.
    IdenticalPixels,
    /// The same exposure with other grey values, rotated or mirrored.
    SameExposureMapped,
    /// The same samples at another time of one series.
    StuckFrame,
    /// The same field exposed again: other noise, nothing else.
    Reacquired,
}

impl Relation {
    /// All of them, in the order of tables.
    pub const ALL: [Self; 5] = [
        Self::IdenticalFile,
        Self::IdenticalPixels,
        Self::SameExposureMapped,
        Self::StuckFrame,
        Self::Reacquired,
    ];

    /// The name in tables.
    pub const fn name(self) -> &'static str {
        match self {
            Self::IdenticalFile => "identical_file",
            Self::IdenticalPixels => "identical_pixels",
            Self::SameExposureMapped => "same_exposure_mapped",
            Self::StuckFrame => "stuck_frame",
            Self::Reacquired => "reacquired",
        }
    }
}

/// Where a 40x field lies in a 10x overview.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TrueRegistration {
    /// The 40x file.
    pub moving_file: String,
    /// Its nuclear plane.
    #[serde(with = "plane_name")]
    pub moving_plane: PlaneIndex,
    /// The 10x file.
    pub reference_file: String,
    /// Its nuclear plane.
    #[serde(with = "plane_name")]
    pub reference_plane: PlaneIndex,
    /// Points `[x, y]` in pixels, origin at the centre of the first pixel.
    pub reference_from_moving: Affine,
    /// Whether the two are mirror images of one another.
    pub mirrored: bool,
    /// Nuclei with their centre in both frames.
    pub n_nuclei_in_both: usize,
    /// Whether it is to be found: enough nuclei are in both, at least [`TrueRegistration::N_NUCLEI_MIN`].
    pub is_expected: bool,
}

impl TrueRegistration {
    /// Nuclei in both frames from which on a registration is to be found; fewer could lie alike by chance.
    pub const N_NUCLEI_MIN: usize = 16;
}

/// A file that is to be written piece by piece.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GrowingFile {
    /// Which file; it lies there whole.
    pub file: String,
    /// A finished file of the same run, from which its shape can be known early.
    pub sibling: String,
    /// Planes in each frame.
    pub n_planes_per_frame: u32,
    /// Bytes of the file after each frame. What follows the last one are attributes and the map.
    pub n_bytes_after_frame: Vec<u64>,
}

/// Planes as `t0p0z0c0`.
mod plane_name {
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    use crate::units::PlaneIndex;

    pub(super) fn serialize<S: Serializer>(plane: &PlaneIndex, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(plane)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<PlaneIndex, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}

//! The figures of one plane that tell an operator whether it can be trusted.

use serde::{Deserialize, Serialize};

/// What is remarkable about a plane.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum QualityFlag {
    /// No object was found.
    NoObjects,
    /// Nothing stands out of the noise: every pixel is background.
    BelowNoise,
    /// More than 0.1 % of the pixels stand at the upper end of the sample type or of the values found.
    Saturated,
    /// Blobs far larger or far brighter than the nuclei were left out.
    Debris,
    /// Some samples are not numbers; they are background.
    NotFinite,
}

impl QualityFlag {
    /// The word in reports.
    pub const fn name(self) -> &'static str {
        match self {
            Self::NoObjects => "no_objects",
            Self::BelowNoise => "below_noise",
            Self::Saturated => "saturated",
            Self::Debris => "debris",
            Self::NotFinite => "not_finite",
        }
    }
}

/// The figures of one plane. Intensities are in the units of the file.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct PlaneQuality {
    /// How many objects were found.
    pub n_objects: u32,
    /// Median of the objects' equivalent diameters, in pixels; `None` without objects.
    pub diameter_median_px: Option<f64>,
    /// The intensity above which a pixel could be an object; `None` where nothing stands out of the noise.
    pub threshold: Option<f64>,
    /// Intensity of the background: the mode of the smoothed image's lower half.
    pub background: f64,
    /// Standard deviation of one pixel's noise, from second differences in the background.
    pub noise_sd: f64,
    /// Part of the pixels that belong to objects, 0 to 1.
    pub foreground_fraction: f64,
    /// Sharpness: variance of the Laplacian less what the noise adds, over the squared contrast; 0 where there is none.
    pub focus: f64,
    /// Part of the pixels at the upper end of the sample type (or of the values found, where many share it), 0 to 1.
    pub saturated_fraction: f64,
    /// How many blobs were left out as debris.
    pub n_debris: u32,
    /// What is remarkable, in a fixed order, each once.
    pub flags: Vec<QualityFlag>,
}

/// Above this part of the pixels a plane counts as saturated.
const SATURATED_FRACTION_MAX: f64 = 0.001;

impl PlaneQuality {
    /// Sets the flags that follow from the figures.
    pub(super) fn set_flags(&mut self, all_finite: bool) {
        let flags = [
            (self.n_objects == 0, QualityFlag::NoObjects),
            (self.threshold.is_none(), QualityFlag::BelowNoise),
            (self.saturated_fraction > SATURATED_FRACTION_MAX, QualityFlag::Saturated),
            (self.n_debris > 0, QualityFlag::Debris),
            (!all_finite, QualityFlag::NotFinite),
        ];
        self.flags = flags.into_iter().filter_map(|(holds, flag)| holds.then_some(flag)).collect();
    }
}

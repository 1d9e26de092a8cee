//! What a user may change about the segmentation, with one set of defaults for everything.

use serde::{Deserialize, Serialize};

use super::SegmentationError;

/// Settings of the segmentation. The defaults fit 8- and 16-bit planes, any magnification and any size of nucleus.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SegmentationSettings {
    /// Standard deviation of the Gaussian blur before thresholding, in pixels; 0 to 10, default 0.5.
    pub blur_sigma_px: f64,
    /// Side of the square window of the local mean, in radii of a typical nucleus of the plane; 1 to 100, default 3.
    /// It is at least 9 and at most 121 pixels.
    pub local_window_radii: f64,
    /// Where the least threshold stands between background (0) and Otsu's level (1); 0.05 to 2, default 0.25.
    pub threshold_fraction: f64,
    /// Least brightness of a nucleus' pixels, as a part of its upper quartile above the background; 0 to 1, default
    /// 0.4. It sets where the rim of a bright nucleus ends.
    pub rim_fraction: f64,
    /// Contrast, in standard deviations of the noise, below which a plane holds nothing; 0 to 100, default 3.
    pub noise_gate_sd: f64,
    /// Depth of the saddle between two nuclei, as a part of the nuclear radius, above which they are split;
    /// 0 to 1, default 0.07. Larger splits less.
    pub split_depth: f64,
    /// Weight of the intensity beside the distance to the edge when nuclei are split; 0 to 10, default 1.
    pub intensity_weight: f64,
    /// Least area of a nucleus as a part of the area of a typical one on the plane; 0 to 1, default 0.12.
    pub area_min_fraction: f64,
    /// Least diameter of a nucleus in micrometres, where the pixel size is known; above 0, default 2.
    pub diameter_min_um: f64,
    /// Greatest diameter of a nucleus in micrometres, where the pixel size is known; above the least, default 60.
    pub diameter_max_um: f64,
}

impl Default for SegmentationSettings {
    fn default() -> Self {
        Self {
            blur_sigma_px: 0.5,
            local_window_radii: 3.0,
            threshold_fraction: 0.25,
            rim_fraction: 0.4,
            noise_gate_sd: 3.0,
            split_depth: 0.07,
            intensity_weight: 1.0,
            area_min_fraction: 0.12,
            diameter_min_um: 2.0,
            diameter_max_um: 60.0,
        }
    }
}

impl SegmentationSettings {
    /// Checks every setting against its range.
    ///
    /// # Errors
    /// [`SegmentationError::Setting`] names the first one outside.
    pub fn check(&self) -> Result<(), SegmentationError> {
        let ranges = [
            ("blur_sigma_px", self.blur_sigma_px, 0.0, 10.0, "from 0 to 10 pixels"),
            ("local_window_radii", self.local_window_radii, 1.0, 100.0, "from 1 to 100 nuclear radii"),
            ("threshold_fraction", self.threshold_fraction, 0.05, 2.0, "from 0.05 to 2"),
            ("rim_fraction", self.rim_fraction, 0.0, 1.0, "from 0 to 1"),
            ("noise_gate_sd", self.noise_gate_sd, 0.0, 100.0, "from 0 to 100 standard deviations"),
            ("split_depth", self.split_depth, 0.0, 1.0, "from 0 to 1"),
            ("intensity_weight", self.intensity_weight, 0.0, 10.0, "from 0 to 10"),
            ("area_min_fraction", self.area_min_fraction, 0.0, 1.0, "from 0 to 1"),
            ("diameter_min_um", self.diameter_min_um, 1e-3, 1e6, "from 0.001 to 1000000 micrometres"),
            ("diameter_max_um", self.diameter_max_um, self.diameter_min_um, 1e6, "above diameter_min_um"),
        ];
        for (name, value, low, high, expected) in ranges {
            if !(low..=high).contains(&value) {
                return Err(SegmentationError::Setting { name, expected, value });
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_inside_their_ranges_and_others_are_refused() {
        assert_eq!(SegmentationSettings::default().check(), Ok(()));
        for bad in [
            SegmentationSettings { blur_sigma_px: f64::NAN, ..Default::default() },
            SegmentationSettings { local_window_radii: 0.5, ..Default::default() },
            SegmentationSettings { local_window_radii: f64::INFINITY, ..Default::default() },
            SegmentationSettings { split_depth: -0.1, ..Default::default() },
            SegmentationSettings { diameter_max_um: 1.0, ..Default::default() },
        ] {
            assert!(matches!(bad.check(), Err(SegmentationError::Setting { .. })), "{bad:?}");
        }
    }
}

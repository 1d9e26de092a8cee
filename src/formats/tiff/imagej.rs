//! ImageJ's description: one `key=value` a line, behind a first line that names the program.

/// What an ImageJ description says; absent axes are 1.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct ImageJ {
    /// Planes of the stack, if said.
    pub(super) images: Option<u64>,
    pub(super) channels: u64,
    pub(super) slices: u64,
    pub(super) frames: u64,
    /// Micrometres per unit of length, if the unit is a length.
    pub(super) um_per_unit: Option<f64>,
    /// Distance of slices in units.
    pub(super) spacing: Option<f64>,
}

impl ImageJ {
    /// Parses a description; `None` when it is not ImageJ's.
    pub(super) fn parse(text: &str) -> Option<Self> {
        if !text.starts_with("ImageJ=") {
            return None;
        }
        let value = |key: &str| {
            text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('=')).map(str::trim)
        };
        let count = |key| value(key).and_then(|text| text.parse().ok());
        Some(Self {
            images: count("images"),
            channels: count("channels").unwrap_or(1).max(1),
            slices: count("slices").unwrap_or(1).max(1),
            frames: count("frames").unwrap_or(1).max(1),
            um_per_unit: value("unit").and_then(um_per_unit),
            spacing: value("spacing").and_then(|text| text.parse().ok()),
        })
    }

    /// Channels, slices and frames if they account for `n_pages` pages of `n_samples` samples each.
    pub(super) fn axes_of(&self, n_pages: u64, n_samples: u32) -> Option<[u64; 3]> {
        let product = |channels: u64| channels.checked_mul(self.slices)?.checked_mul(self.frames);
        if product(self.channels) == Some(n_pages) {
            Some([self.channels, self.slices, self.frames])
        } else if self.channels == u64::from(n_samples) && product(1) == Some(n_pages) {
            // the channels are the samples of each page
            Some([1, self.slices, self.frames])
        } else {
            None
        }
    }
}

/// Micrometres in one unit of length as ImageJ, OME and others name it; `None` for pixels and unknown words.
pub(super) fn um_per_unit(name: &str) -> Option<f64> {
    Some(match name {
        "micron" | "microns" | "micrometer" | "micrometers" | "micrometre" | "um" | "µm" | "\u{3bc}m"
        | "\\u00B5m" | "\\u00b5m" => 1.0,
        "nm" | "nanometer" | "nanometers" => 1e-3,
        "pm" => 1e-6,
        "Å" | "\u{212b}" | "angstrom" => 1e-4,
        "mm" | "millimeter" | "millimeters" => 1e3,
        "cm" | "centimeter" | "centimeters" => 1e4,
        "m" | "meter" => 1e6,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_axes_and_the_unit() {
        let text =
            "ImageJ=1.53f\nimages=34\nchannels=2\nslices=17\nhyperstack=true\nunit=\\u00B5m\nspacing=0.4\n";
        let imagej = ImageJ::parse(text).unwrap();
        assert_eq!(imagej.images, Some(34));
        assert_eq!(imagej.axes_of(34, 1), Some([2, 17, 1]));
        assert_eq!(imagej.axes_of(17, 2), Some([1, 17, 1]));
        assert_eq!(imagej.axes_of(33, 1), None);
        assert_eq!((imagej.um_per_unit, imagej.spacing), (Some(1.0), Some(0.4)));
    }

    #[test]
    fn knows_what_is_no_length() {
        for unit in ["unit= ", "unit=px", "unit=pixel", ""] {
            let imagej = ImageJ::parse(&format!("ImageJ=1.54f\n{unit}\n")).unwrap();
            assert_eq!(imagej.um_per_unit, None, "{unit}");
        }
        assert_eq!(ImageJ::parse("SCANCO=1"), None);
    }
}

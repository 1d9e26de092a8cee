//! Pixel sizes that the user states for objectives whose files were never calibrated.

use std::str::FromStr;

use super::Metadata;

/// The pixel size under one objective, such as `Plan Apo 20x = 0.325`.
#[derive(Debug, Clone, PartialEq)]
pub struct ObjectivePixelSize {
    /// The objective's name, or its magnification as `20x`.
    pub objective: String,
    /// Side of a pixel in micrometres, above 0.
    pub pixel_size_um: f64,
}

impl FromStr for ObjectivePixelSize {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let parse = || {
            let (objective, size) = text.rsplit_once('=')?;
            let size = size.trim().parse().ok().filter(|um: &f64| um.is_finite() && *um > 0.0)?;
            let objective = objective.trim();
            (!objective.is_empty()).then(|| Self { objective: objective.to_owned(), pixel_size_um: size })
        };
        parse().ok_or("an objective and micrometres per pixel, such as \"Plan Apo 20x = 0.325\"")
    }
}

/// What was stated, the first entry that fits winning.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct PixelSizes(pub Vec<ObjectivePixelSize>);

impl PixelSizes {
    /// Fills in the pixel size of a container that knows its objective but no pixel size. What the container says itself is
    /// left as it is.
    pub fn complete(&self, metadata: &mut Metadata) {
        if metadata.pixel_size_um.is_none() {
            let fits = |own: &&ObjectivePixelSize| is_objective(&own.objective, metadata);
            metadata.pixel_size_um = self.0.iter().find(fits).map(|own| own.pixel_size_um);
        }
    }
}

/// By name, case and blanks around it aside, or by magnification.
fn is_objective(stated: &str, metadata: &Metadata) -> bool {
    let by_name = metadata.objective.as_deref().map(str::trim);
    if by_name.is_some_and(|name| name.to_lowercase() == stated.to_lowercase()) {
        return true;
    }
    let times = stated.strip_suffix(['x', 'X']).and_then(|times| times.trim().parse::<f64>().ok());
    times.is_some() && times == metadata.nominal_magnification
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::formats::{Dims, Format};
    use crate::units::SampleType;

    fn metadata(objective: Option<&str>, magnification: Option<f64>) -> Metadata {
        Metadata {
            format: Format::Nd2,
            dims: Dims { t: 1, p: 1, z: 1, c: 1, y: 4, x: 4, s: 1 },
            sample_type: SampleType::Uint16,
            significant_bits: 16,
            is_lossy: false,
            pixel_size_um: None,
            z_step_um: None,
            nominal_magnification: magnification,
            objective: objective.map(str::to_owned),
            numerical_aperture: None,
            channels: Vec::new(),
            positions: Vec::new(),
            acquired_at: None,
            other_files: Vec::new(),
        }
    }

    #[test]
    fn only_what_the_file_does_not_say_is_filled_in() {
        let stated = ["Plan Apo 20x = 0.325", "40x=0.1625", "a = b = 2"].map(|text| text.parse().unwrap());
        let sizes = PixelSizes(stated.to_vec());
        let completed = |mut metadata: Metadata| {
            sizes.complete(&mut metadata);
            metadata.pixel_size_um
        };
        assert_eq!(completed(metadata(Some(" plan apo 20X "), Some(20.0))), Some(0.325));
        assert_eq!(completed(metadata(Some("Other"), Some(40.0))), Some(0.1625));
        assert_eq!(completed(metadata(Some("a = b"), None)), Some(2.0));
        assert_eq!(completed(metadata(Some("Other"), Some(20.0))), None, "named, not by magnification");
        assert_eq!(completed(metadata(None, None)), None);
        assert_eq!(completed(Metadata { pixel_size_um: Some(0.5), ..metadata(None, Some(40.0)) }), Some(0.5));
    }

    #[test]
    fn what_is_no_pixel_size_is_refused() {
        for text in ["", "20x", "20x = 0", "20x = -1", "= 1", "20x = NaN", "20x = inf", "20x = 0.3 um"] {
            assert!(text.parse::<ObjectivePixelSize>().is_err(), "{text:?}");
        }
    }
}

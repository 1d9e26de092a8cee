//! Where does one field of nuclei lie in another? Points are matched without knowing which belongs to which, and
//! unrelated fields are refused.
//!
//! *Moving* is the finer field (40x), *reference* its overview (10x). Points are `[x, y]` in pixels of their image,
//! origin at the centre of the first pixel.

mod triangulation;

use crate::geometry::Affine;

/// Which transform is looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Model {
    /// Translation, rotation, one scale: 4 parameters.
    #[default]
    Similarity,
    /// Translation, rotation, two scales: 5 parameters.
    Anisotropic,
    /// Any linear map and a translation: 6 parameters.
    Affine,
}

/// What a registration looks for.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Settings {
    /// Which transform.
    pub model: Model,
    /// Reference pixels per moving pixel, where it is known: micrometres per moving pixel by micrometres per
    /// reference pixel. The true one may be up to 10 % away.
    pub scale_prior: Option<f64>,
}

/// Two fields that lie on one another.
#[derive(Debug, Clone, PartialEq)]
pub struct Registration {
    /// Decimal logarithm of how often chance would make unrelated fields agree as well.
    pub log10_chance: f64,
    /// Whether one view is the mirror image of the other.
    pub mirrored: bool,
    /// Takes points of the moving image to the reference image.
    pub reference_from_moving: Affine,
    /// Positions of points that are the same nucleus, in `(moving, reference)`; ascending, each point at most once.
    pub pairs: Vec<(usize, usize)>,
    /// Root of the mean squared distance of the pairs, in reference pixels.
    pub rmsd_px: f64,
}

/// Why two fields are not registered.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum Refusal {
    /// A side has too few points to be told from chance.
    #[error("too few points: expected at least {expected} on each side, found {n_moving} and {n_reference}")]
    TooFewPoints {
        /// Points needed on each side.
        expected: usize,
        /// Distinct points of the moving image.
        n_moving: usize,
        /// Distinct points of the reference image.
        n_reference: usize,
    },
    /// No transform brings more points together than chance does.
    #[error("no agreement beyond chance")]
    Unrelated {
        /// [`Registration::log10_chance`] of the best transform met, where there was one.
        log10_chance: Option<f64>,
    },
}

/// Registers two fields: finds which points belong together, and the transform. The same for any order of the points
/// and on any machine.
///
/// # Errors
/// Why the fields are not registered; also [`Refusal::log10_chance`] of the best transform met.
pub fn register(
    moving: &[[f64; 2]],
    reference: &[[f64; 2]],
    settings: &Settings,
) -> Result<Registration, Refusal> {
    let _ = (moving, reference, settings);
    Err(Refusal::Unrelated { log10_chance: None })
}

//! How fields are registered, as the user may choose it.

use serde::{Deserialize, Serialize};

use crate::analysis::registration::fit::OptimizerChoice;
use crate::analysis::registration::{FitSettings, Model, Settings};

/// How fields are registered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RegistrationSettings {
    /// Whose solution is the transform.
    pub optimizer: OptimizerChoice,
    /// Which transforms are fitted.
    pub model: ModelChoice,
    /// Whether a residual warp is looked for.
    pub warp: WarpChoice,
    /// Whether a picture of each registration is kept.
    pub pictures: bool,
}

/// Which transforms are fitted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ModelChoice {
    /// Translation, rotation, one scale.
    Similarity,
    /// Translation, rotation, two scales.
    Anisotropic,
    /// Any linear map and a translation.
    Affine,
    /// The simplest of the three that the pairs do not speak against.
    Auto,
}

/// Whether a residual warp is looked for behind the transform.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum WarpChoice {
    /// No.
    Off,
    /// Where it lowers the cross-validated error.
    Auto,
}

impl RegistrationSettings {
    /// What the method is told, before anything is known of the fields.
    pub fn method(&self) -> Settings {
        let model = match self.model {
            ModelChoice::Similarity | ModelChoice::Auto => Model::Similarity,
            ModelChoice::Anisotropic => Model::Anisotropic,
            ModelChoice::Affine => Model::Affine,
        };
        let fit = FitSettings { model, optimizer: self.optimizer, ..FitSettings::default() };
        Settings {
            fit,
            choose_model: self.model == ModelChoice::Auto,
            warp: self.warp == WarpChoice::Auto,
            ..Settings::default()
        }
    }
}

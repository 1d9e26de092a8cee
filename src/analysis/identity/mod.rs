//! Which plate, well, site and channel a file belongs to, by its path below the watched folder.
//!
//! A wrong guess is worse than none: every pattern is anchored, and a name that no pattern matches gives nothing.

mod builtin;
mod fields;
mod pattern;
#[cfg(test)]
mod tests;

pub use pattern::{IdentityPatterns, PatternError};

use serde::{Deserialize, Serialize};

/// Where an image stands in an experiment, as far as its path says. Absent values are `None`, never a guess.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct PlateIdentity {
    /// The plate or experiment.
    pub plate: Option<String>,
    /// One acquisition run.
    pub run: Option<String>,
    /// The staining or imaging cycle.
    pub cycle: Option<String>,
    /// The well: `B02` where row and column are known, otherwise as named (`Well1`).
    pub well: Option<String>,
    /// The field within the well.
    pub site: Option<String>,
    /// The names of the file's channels in their order; one where the file holds one, none where the path names none.
    pub channels: Vec<String>,
    /// The focus step as numbered in the name.
    pub z: Option<u32>,
    /// The time point as numbered in the name.
    pub t: Option<u32>,
    /// The magnification of the objective.
    pub magnification: Option<f64>,
}

impl PlateIdentity {
    /// The name of the channel with this index in the file, if the path names it.
    pub fn channel(&self, index: usize) -> Option<&str> {
        self.channels.get(index).map(String::as_str).filter(|name| !name.is_empty())
    }

    /// Takes over what is still open.
    fn fill_from(&mut self, other: Self) {
        fn fill<T>(place: &mut Option<T>, value: Option<T>) {
            if place.is_none() {
                *place = value;
            }
        }
        fill(&mut self.plate, other.plate);
        fill(&mut self.run, other.run);
        fill(&mut self.cycle, other.cycle);
        fill(&mut self.well, other.well);
        fill(&mut self.site, other.site);
        fill(&mut self.z, other.z);
        fill(&mut self.t, other.t);
        fill(&mut self.magnification, other.magnification);
        if self.channels.is_empty() {
            self.channels = other.channels;
        }
    }
}

/// Reads the identity out of a path below the watched folder, its parts separated by `/`.
///
/// The first user pattern that matches decides; the built-in names fill in what it leaves open.
pub fn identify(relative_path: &str, patterns: &IdentityPatterns) -> PlateIdentity {
    let mut identity = patterns.first_match(relative_path).unwrap_or_default();
    identity.fill_from(builtin::identify(relative_path));
    identity
}

//! Opens what is whole, and finds what is left of what is not.

use std::fs::File;
use std::path::Path;

use crate::cli::file_error::FileError;
use crate::formats::{self, Container, Format, FormatErrorKind, Hint, Limits, Metadata, nd2};
use crate::stages::settler::siblings;

/// A file that can be read, at least in part.
pub(super) struct Opened {
    pub(super) container: Box<dyn Container>,
    pub(super) metadata: Metadata,
    /// What is wrong with it; `None` for a whole one.
    pub(super) recovered: Option<Vec<String>>,
}

pub(super) fn open(file: &Path) -> Result<Opened, FileError> {
    let container = formats::open(Box::new(File::open(file)?), &Limits::default())?;
    Ok(Opened { metadata: container.metadata().clone(), container, recovered: None })
}

/// The same, and of an ND2 file that is not whole the frames that are there. Their shape, where the file does not say it
/// itself, comes from `sibling`, else from a finished file of the same run beside it.
pub(super) fn recover(file: &Path, sibling: Option<&Path>) -> Result<Opened, FileError> {
    let limits = Limits::default();
    let mut source = File::open(file)?;
    let format = formats::sniff(&mut source)?;
    let why = match formats::open(Box::new(source), &limits) {
        Ok(container) => {
            return Ok(Opened { metadata: container.metadata().clone(), container, recovered: None });
        }
        Err(error) => error,
    };
    let is_damage = matches!(why.kind, FormatErrorKind::Incomplete | FormatErrorKind::Malformed);
    if format != Format::Nd2 || !is_damage {
        return Err(why.into());
    }
    let stated = sibling.map(|path| {
        let hint =
            File::open(path).map_err(Into::into).and_then(|file| Hint::of_finished(Box::new(file), &limits));
        hint.map_err(|error| FileError {
            kind: error.kind.name(),
            message: format!("{}, the sibling: {error}", path.display()),
        })
    });
    let source = Box::new(File::open(file)?);
    let recovered = match stated.transpose()? {
        Some(hint) => nd2::recover(source, &limits, [hint]),
        None => nd2::recover(source, &limits, siblings::hints(file, &limits)),
    };
    let nd2::Recovered { container, metadata, mut damage } = recovered?;
    damage.insert(0, why.to_string());
    Ok(Opened { container, metadata, recovered: Some(damage) })
}

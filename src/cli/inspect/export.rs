//! Writes one plane as a TIFF file.

use std::fs::{self, OpenOptions};
use std::io::BufWriter;
use std::path::Path;

use crate::cli::file_error::FileError;
use crate::formats::tiff::{WriteOptions, write_planes};
use crate::formats::{Container, FormatError, Metadata};
use crate::units::PlaneIndex;

/// Writes the plane at `index` with its pixel size to `target`, which must not exist: nothing that was acquired is ever
/// written over.
pub(super) fn plane(
    (container, metadata): (&mut dyn Container, &Metadata),
    index: PlaneIndex,
    target: &Path,
) -> Result<(), FileError> {
    let position = container.planes().iter().position(|plane| plane.index == index);
    let position = position
        .ok_or_else(|| FileError { kind: "malformed", message: format!("it has no plane {index}") })?;
    let pixels = container.read_plane(position)?;
    let failed = |reason: &dyn std::fmt::Display| FileError {
        kind: "output",
        message: format!("cannot write {}: {reason}", target.display()),
    };
    let file =
        OpenOptions::new().write(true).create_new(true).open(target).map_err(|error| failed(&error))?;
    let options = WriteOptions { pixel_size_um: metadata.pixel_size_um, ..WriteOptions::default() };
    let written = write_planes(BufWriter::new(file), &[pixels], &options)
        .and_then(|out| out.into_inner().map_err(|error| FormatError::from(error.into_error())));
    written.map(drop).map_err(|error| {
        // half a file would look like a plane
        let _ = fs::remove_file(target);
        failed(&error)
    })
}

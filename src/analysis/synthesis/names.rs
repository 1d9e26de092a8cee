//! How instruments name files.

use super::plan::{Container, channel};
use super::settings::NameChoice;

/// What a name says.
#[derive(Debug, Clone, Copy)]
pub(super) struct Naming<'n> {
    pub(super) names: NameChoice,
    pub(super) container: Container,
    /// The folder, without `/` at its end.
    pub(super) folder: &'n str,
    pub(super) well: &'n str,
    /// From 1.
    pub(super) field: u32,
    /// Running number of the file in its run.
    pub(super) sequence: u32,
    /// First channel of the file and how many there are.
    pub(super) channels: (u32, u32),
}

impl Naming<'_> {
    /// The path of the file.
    pub(super) fn path(&self) -> String {
        let Self { folder, well, field, sequence, .. } = self;
        let is_nd2 = matches!(self.container, Container::Nd2 | Container::Nd2Packed);
        let is_nis = match self.names {
            NameChoice::Nis => true,
            NameChoice::Mixed => is_nd2,
            NameChoice::Generic => false,
        };
        let (first, n) = self.channels;
        if is_nis {
            let extension = if is_nd2 { "nd2" } else { "tif" };
            let names: Vec<_> = (first..first + n).map(|index| channel(index as usize).name).collect();
            let names = names.join(",");
            return format!(
                "{folder}/Well{well}_Point{field:04}_Channel{names}_Seq{sequence:04}.{extension}"
            );
        }
        match self.container {
            Container::Nd2 | Container::Nd2Packed => format!("{folder}/{well}_s{field}.nd2"),
            Container::Tiff | Container::TiffPacked => {
                format!("{folder}/{well}_s{field}_w{}.tif", first + 1)
            }
            Container::OmeTiff | Container::OmeTiffPacked => format!("{folder}/{well}_s{field}.ome.tif"),
        }
    }
}

/// The name of a well by its row and column, from 0.
pub(super) fn well_name(row: u32, column: u32) -> String {
    format!("{}{:02}", char::from(b'A' + row as u8), column + 1)
}

//! The tables of `reports/current/`: the state as it stands, written anew and put in place at once.
//!
//! Their content depends on what the ledger holds, not on the order in which it came. Paths are relative to their
//! root, with the root's name in front where several roots hold files.

use std::io::{self, BufWriter, Write};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde_json::{Value, json};

use super::csv::CsvWriter;
use super::pictures::Pictures;
use super::replace::Replacement;
use super::wells::{self, WellTable};
use super::{merged, registrations};
use crate::analysis::verification::Placement;
use crate::paths::RelativePath;
use crate::store::{
    FileListing, GroupListing, GroupMember, Identity, LedgerError, LedgerReader, PairEvidence, PairListing,
    PlaneListing, RegistrationListing,
};

/// Writes the tables into one folder; clones take turns.
#[derive(Debug, Clone)]
pub struct CurrentTables {
    folder: PathBuf,
    pictures: Option<Arc<Pictures>>,
    turn: Arc<Mutex<()>>,
}

/// Why a table could not be written.
#[derive(Debug, thiserror::Error)]
pub enum TableError {
    /// The ledger could not be read.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// A file could not be written.
    #[error("{}: {source}", path.display())]
    Io {
        /// Which file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// An error while rows are written, before the file's name is added.
#[derive(Debug, thiserror::Error)]
enum RowError {
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    #[error(transparent)]
    Io(#[from] io::Error),
}

type Out<'f> = BufWriter<&'f mut std::fs::File>;

const EVIDENCE_COLUMNS: [&str; 8] =
    ["confidence", "s", "r", "q", "orientation", "scale", "shift_y_px", "shift_x_px"];

const IDENTITY_COLUMNS: [&str; 8] =
    ["plate", "run", "cycle", "well", "site", "Metadata_Plate", "Metadata_Well", "Metadata_Site"];

/// Pause from the end of one refresh to the start of the next: the interval that was set, and never so short that
/// refreshing takes more than 5 % of the time.
pub fn next_refresh(interval: Duration, last_took: Duration) -> Duration {
    interval.max(last_took * 20)
}

impl CurrentTables {
    /// Takes `reports/current`.
    pub fn new(folder: impl Into<PathBuf>) -> Self {
        Self { folder: folder.into(), pictures: None, turn: Arc::default() }
    }

    /// Keeps a picture of each registration in a folder, too.
    #[must_use]
    pub fn with_pictures(self, folder: impl Into<PathBuf>) -> Self {
        Self { pictures: Some(Arc::new(Pictures::new(folder.into()))), ..self }
    }

    /// Writes every table from one state of the ledger, then the pictures; one that cannot be written is a warning.
    ///
    /// # Errors
    /// When the ledger cannot be read or a table not be written; tables not yet replaced stay as they were.
    pub fn refresh(&self, reader: &LedgerReader) -> Result<(), TableError> {
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        let shown = reader.in_snapshot(|reader| {
            let is_root_shown = reader.root_names()?.len() > 1;
            let shown = Shown { is_root_shown };
            self.replace("duplicate_groups.json", |out| write_groups(reader, out, shown))?;
            self.replace("duplicate_pairs.csv", |out| write_pairs(reader, out, shown))?;
            self.replace("files.csv", |out| write_files(reader, out, shown))?;
            self.replace("merged_cells.csv", |out| write_merged(reader, out, shown))?;
            self.replace("planes.csv", |out| write_planes(reader, out, shown))?;
            let known = WellTable::read(reader)?;
            self.replace("registrations.csv", |out| write_registrations(reader, out, shown, &known))?;
            self.replace("wells.csv", |out| {
                Ok(wells::write(&mut CsvWriter::new(out), &known, is_root_shown)?)
            })?;
            Ok::<_, TableError>(shown)
        })?;
        if let Some(pictures) = &self.pictures {
            pictures.refresh(reader, |side| shown.file(&side.root, &side.path));
        }
        Ok(())
    }

    fn replace(
        &self,
        name: &str,
        write: impl FnOnce(&mut Out<'_>) -> Result<(), RowError>,
    ) -> Result<(), TableError> {
        let path = self.folder.join(name);
        let written = || {
            let mut table = Replacement::create(&path)?;
            let mut out = BufWriter::new(table.file());
            write(&mut out)?;
            out.flush()?;
            drop(out);
            Ok(table.put_in_place()?)
        };
        written().map_err(|error| match error {
            RowError::Ledger(error) => TableError::Ledger(error),
            RowError::Io(source) => TableError::Io { path: path.clone(), source },
        })
    }
}

/// How files are named in the tables.
#[derive(Clone, Copy)]
struct Shown {
    is_root_shown: bool,
}

impl Shown {
    fn file(self, root: &str, path: &RelativePath) -> String {
        if self.is_root_shown { format!("{root}/{}", path.to_report()) } else { path.to_report() }
    }
}

fn write_groups(reader: &LedgerReader, out: &mut Out<'_>, shown: Shown) -> Result<(), RowError> {
    out.write_all(b"{\"schema\":1,\"groups\":[")?;
    let mut separator = "\n";
    reader.each_group(|group: GroupListing| {
        let member = |member: &GroupMember| {
            let mut json = json!({
                "file": shown.file(&member.plane.root, &member.plane.path),
                "plane": member.plane.index.to_string(),
                "relation": member.relation,
            });
            for (key, text) in [("reason", &member.reason), ("class", &member.class)] {
                if let Some(text) = text {
                    json[key] = text.as_str().into();
                }
            }
            if member.relation.is_some() {
                for (key, value) in EVIDENCE_COLUMNS.into_iter().zip(evidence(&member.evidence)) {
                    json[key] = value;
                }
            }
            json
        };
        let representative = group.members.iter().find(|member| member.relation.is_none()).map(member);
        let group = json!({
            "group": group.name,
            "kind": group.kind,
            "representative": representative,
            "members": group.members.iter().map(member).collect::<Vec<_>>(),
        });
        write!(out, "{separator}{group}")?;
        separator = ",\n";
        Ok::<_, RowError>(())
    })?;
    Ok(out.write_all(b"\n]}\n")?)
}

fn write_pairs(reader: &LedgerReader, out: &mut Out<'_>, shown: Shown) -> Result<(), RowError> {
    let mut csv = CsvWriter::new(out);
    let columns = ["file_a", "plane_a", "file_b", "plane_b", "relation"].into_iter();
    csv.names(columns.chain(EVIDENCE_COLUMNS).chain(["reason"]))?;
    reader.each_pair(|pair: PairListing| {
        for side in [&pair.a, &pair.b] {
            csv.text(&shown.file(&side.root, &side.path))?;
            csv.text(&side.index.to_string())?;
        }
        csv.text(pair.relation)?;
        for value in evidence(&pair.evidence) {
            csv.value(Some(&value))?;
        }
        csv.text_if_any(pair.reason.as_deref())?;
        csv.end_row()?;
        Ok::<_, RowError>(())
    })
}

/// The values of [`EVIDENCE_COLUMNS`], figures to four places.
fn evidence(evidence: &PairEvidence) -> [Value; 8] {
    let rounded = |value: f64| {
        let value = (value * 1e4).round() / 1e4;
        if value.fract() == 0.0 { json!(value as i64) } else { json!(value) }
    };
    let PairEvidence { confidence, s, r, q, placement } = evidence;
    let or_null = |value: Option<f64>| value.map_or(Value::Null, rounded);
    let placed = |part: fn(&Placement) -> f64| or_null(placement.as_ref().map(part));
    [
        rounded(*confidence),
        or_null(*s),
        or_null(*r),
        or_null(*q),
        placement.map_or(Value::Null, |placement| placement.orientation_name().into()),
        placed(|placement| placement.scale),
        placed(|placement| placement.shift_row_px),
        placed(|placement| placement.shift_column_px),
    ]
}

fn write_identity<W: Write>(csv: &mut CsvWriter<W>, identity: &Identity) -> io::Result<()> {
    let Identity { plate, run, cycle, well, site, .. } = identity;
    [plate, run, cycle, well, site, plate, well, site]
        .into_iter()
        .try_for_each(|text| csv.text_if_any(text.as_deref()))
}

fn write_files(reader: &LedgerReader, out: &mut Out<'_>, shown: Shown) -> Result<(), RowError> {
    let mut csv = CsvWriter::new(out);
    let columns = ["file", "root", "state", "version", "format"].into_iter().chain(IDENTITY_COLUMNS);
    csv.names(columns.chain([
        "planes",
        "planes_done",
        "planes_rejected",
        "planes_missing",
        "nuclei",
        "size_bytes",
        "reason",
    ]))?;
    reader.each_file(|file: FileListing| {
        csv.text(&shown.file(&file.root, &file.path))?;
        csv.text(&file.root)?;
        csv.text(&file.state)?;
        csv.number(file.version)?;
        csv.text_if_any(file.format.as_deref())?;
        write_identity(&mut csv, &file.identity)?;
        let n_done = file.n_planes - file.n_todo - file.n_rejected - file.n_missing;
        for number in [file.n_planes, n_done, file.n_rejected, file.n_missing] {
            csv.number(number)?;
        }
        csv.text_if_any(file.nuclei.map(|nuclei| nuclei.to_string()).as_deref())?;
        csv.number(file.size_bytes)?;
        csv.text(&file.reason)?;
        csv.end_row()?;
        Ok::<_, RowError>(())
    })
}

fn write_planes(reader: &LedgerReader, out: &mut Out<'_>, shown: Shown) -> Result<(), RowError> {
    let mut csv = CsvWriter::new(out);
    let mut figures = reader.figure_names()?;
    let columns = ["file", "root", "plane", "version", "outcome", "t", "z", "channel"];
    let columns: Vec<_> =
        columns.into_iter().chain(IDENTITY_COLUMNS).chain(["digest", "blank", "reason"]).collect();
    figures.retain(|name| !columns.contains(&name.as_str()));
    csv.names(columns.into_iter().chain(figures.iter().map(String::as_str)))?;
    reader.each_plane(|plane: PlaneListing| {
        let (index, identity) = (plane.index, &plane.identity);
        csv.text(&shown.file(&plane.root, &plane.path))?;
        csv.text(&plane.root)?;
        csv.text(&index.to_string())?;
        csv.number(plane.version)?;
        csv.text(&plane.state)?;
        csv.number(identity.t.unwrap_or(i64::from(index.t)))?;
        csv.number(identity.z.unwrap_or(i64::from(index.z)))?;
        csv.text_if_any(identity.channel.as_deref())?;
        write_identity(&mut csv, identity)?;
        let digest =
            plane.digest.map(|digest| digest.iter().map(|byte| format!("{byte:02x}")).collect::<String>());
        for text in [&digest, &plane.blank, &plane.reason] {
            csv.text_if_any(text.as_deref())?;
        }
        for name in &figures {
            csv.value(plane.figures.get(name))?;
        }
        csv.end_row()?;
        Ok::<_, RowError>(())
    })
}

fn write_registrations(
    reader: &LedgerReader,
    out: &mut Out<'_>,
    shown: Shown,
    wells: &WellTable,
) -> Result<(), RowError> {
    let mut csv = CsvWriter::new(out);
    registrations::header(&mut csv)?;
    reader.each_registration(|listing: RegistrationListing| {
        let files = [&listing.moving, &listing.reference].map(|(root, path, _)| shown.file(root, path));
        Ok::<_, RowError>(registrations::row(&mut csv, files, &listing, wells.say_of(&listing))?)
    })
}

fn write_merged(reader: &LedgerReader, out: &mut Out<'_>, shown: Shown) -> Result<(), RowError> {
    merged::write(reader, &mut CsvWriter::new(out), |side| shown.file(&side.root, &side.path))
}

//! The ledger: what is known of every file and plane, kept in SQLite, written by one thread.
//!
//! # Versions
//! A file is one path under one root. It carries a version, from 1. The rule is one sentence: **the version moves on
//! exactly when a line would be written that was already written for this version.** It follows that
//! - `planes.jsonl` holds one line per (root, path, version, plane) and `files.jsonl` one per (root, path, version);
//! - a plane is read again when its file is claimed with another stat (size, times, inode, device), unless the caller
//!   has found that the container only grew. Until then its results stand. With an equal digest they go on standing
//!   and no line is written. With another digest the new results replace them, the plane leaves its groups, and the
//!   line carries the next version if the plane had a line in this one;
//! - a file that was touched, with no plane changed, gets no new version and no line: its stat is updated;
//! - a file whose line is written and which then gains, loses or changes a plane is the next version, with a new line
//!   when it is done again;
//! - an unfinished version that is claimed with the same stat goes on where it stood, after a `kill -9` too.
//!
//! A file that another run left `working` after its planes were begun ([`LedgerHandle::begin_planes`]) counts an
//! interruption; a plane that finishes sets the count to zero. So work is never lost to a kill, and a plane that takes
//! the process down with it can be told. Files that only waited in its company are not blamed, nor is a file that was
//! handed back. A ticket stays good after its file was handed back: planes in work may finish until the next claim.
//!
//! # Reading again
//! A plane that is to be read again is claimed with the digest that it had, so that equal pixels need no further
//! work. That holds for containers of one plane alone, which is what copies and touched files mostly are. The planes of
//! any other container share one object table, which is made anew as a whole from the parts of all its planes; so they
//! are all analysed again, and those with an equal digest have their results refreshed without a line. A plane whose
//! part is lost is claimed without a digest, too ([`LedgerHandle::reread_planes`]). Planes that a container names
//! without samples are counted, never listed.
//!
//! # Growing containers
//! A container that is claimed before it is complete is `growing`: its planes are listed as they come
//! ([`LedgerHandle::extend_file`]) and done under one ticket, and it cannot be finished. When it is complete, it is claimed
//! once more with all its planes; since it only grew, those that are done stay so, unless the complete container says
//! that they are read from elsewhere ([`ClaimedPlane::place`]). One plane is then read again, so that the whole container
//! is compared with others and the pixels are seen to stand. A plane that a growing container does not name (the file
//! was written anew and is not that far yet) is kept until it is complete.
//!
//! # Exact groups
//! Planes of equal digest form a group; blank planes never do. The representative is the plane with the highest
//! quality rank, then the earliest modification time, then by root, path and plane: the same for any order of
//! arrival. A member of a byte-identical file at the same place in it is an `identical_file`, every other member
//! is `identical_pixels`.
//!
//! # Verdicts
//! What an operator says of two planes is kept by the digests of their pixels and outlives the planes. Planes that are
//! `same` by verdicts form a block, which joins a group as a whole; planes that are `not-duplicate` never stand in one
//! group, whatever leads them there, and are not flagged. Equal pixels are a fact beyond verdicts.
//!
//! # Writing
//! Operations are queued through [`LedgerHandle`], done in groups in one transaction, each in its own savepoint, and
//! answered after the commit. Report lines are rows of the same transaction (see [`crate::reports`]).

mod accepted;
mod claim;
mod edges;
mod error;
mod explain;
mod files;
mod groups;
mod growth;
mod ledger;
mod listing;
mod lock;
mod outbox;
mod pairs;
mod pause;
mod planes;
mod reader;
mod records;
mod registrations;
mod rows;
mod schema;
mod series;
mod session;
mod stars;
mod state;
mod stuck;
mod verdicts;
mod wells;
mod writer;

pub use accepted::{AcceptedPair, AcceptedSide};
pub use error::LedgerError;
pub use ledger::{Ledger, LedgerHandle, LedgerNotice, LedgerOptions, Reply, wait};
pub use listing::{FileListing, PlaneListing, RegistrationListing};
pub use lock::LOCK_FILE;
pub use outbox::Stream;
pub(crate) use outbox::line_start;
pub use pairs::{GroupListing, GroupMember, PairListing, PlaneName};
pub use pause::Pause;
pub use reader::LedgerReader;
pub use records::*;
pub use schema::DATABASE_FILE;
pub use series::Place;
pub use state::{FileState, PlaneState};
pub use verdicts::{NamedPlane, OperatorVerdict, PlaneVerdict};
pub use wells::{
    DueWells, FOUND_BY_WELL, Found, FoundByWell, KnownRegistration, Lot, WellKey, WellSettled,
    is_found_by_well, landing_of,
};

use session::Session;

#[cfg(test)]
mod history_tests;
#[cfg(test)]
pub(crate) mod test_support;
#[cfg(test)]
mod tests;

//! The states of files and planes, with the names that stand in the ledger, in `status` and in `explain`.

use std::fmt;

use crate::store::LedgerError;

macro_rules! named_states {
    ($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $text:literal,)+ }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum $name { $($(#[$variant_doc])* $variant,)+ }

        impl $name {
            /// Every state, in the order of a file's life.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];

            /// The name in the ledger and in reports.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $text,)+ }
            }

            /// Takes back what [`Self::name`] gave.
            pub(crate) fn from_name(text: &str) -> Result<Self, LedgerError> {
                match text {
                    $($text => Ok(Self::$variant),)+
                    _ => Err(LedgerError::Damaged(format!("unknown state {text:?}"))),
                }
            }
        }

        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(self.name())
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.name())
            }
        }
    };
}

named_states! {
    /// Where a file stands.
    FileState {
        /// Its size or its number of planes still changes.
        Growing = "growing",
        /// It grew and stopped for much longer than before, unfinished.
        Stalled = "stalled",
        /// It does not change, and its format says that it is not finished.
        Incomplete = "incomplete",
        /// Another program has it open for writing, or refuses to share it.
        BeingWritten = "being_written",
        /// It cannot be opened.
        Unreadable = "unreadable",
        /// It was there and is gone.
        Vanished = "vanished",
        /// Settled, or handed back: waits to be taken up.
        Waiting = "waiting",
        /// It changed while it was read: waits to be taken up again.
        Changed = "changed",
        /// Its planes are being worked on.
        Working = "working",
        /// Finished and reported.
        Done = "done",
        /// Given up and reported.
        Rejected = "rejected",
    }
}

named_states! {
    /// Where a plane stands.
    PlaneState {
        /// To be read, or read again.
        Todo = "todo",
        /// Read and reported.
        Done = "done",
        /// Given up and reported.
        Rejected = "rejected",
        /// Named by its container, which holds no samples for it.
        Missing = "missing",
    }
}

impl FileState {
    /// Whether nothing is left to do for the file as it was last seen.
    pub const fn is_settled(self) -> bool {
        matches!(self, Self::Done | Self::Rejected)
    }
}

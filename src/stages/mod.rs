//! The doers, one file per step, in flow order. A stage knows its input, its output and its settings; only
//! `pipeline.rs` knows who stands beside it.

pub mod watcher;

pub mod settler;

pub mod decoder;

pub mod segmenter;

pub mod hasher;

pub mod verifier;

pub mod registrar;

pub mod reporter;

pub mod bookkeeping;
pub mod channels;
pub mod figures;
pub mod pause;
pub mod reading;
pub mod space;

use crate::actor::Traceable;
use crate::messages::{
    DecodedImage, HashedImage, RegisteredImage, SeenFile, SegmentedImage, SettledFile, Ticket, VerifiedImage,
};

/// Every message knows its ticket.
macro_rules! traceable {
    ($($message:ty => $($part:ident).+),+ $(,)?) => {
        $(impl Traceable for $message {
            type Ticket = Ticket;

            fn ticket(&self) -> Ticket {
                self.$($part).+.clone()
            }
        })+
    };
}

traceable! {
    SeenFile => ticket,
    SettledFile => ticket,
    DecodedImage => ticket,
    SegmentedImage => image.ticket,
    HashedImage => ticket,
    VerifiedImage => image.ticket,
    RegisteredImage => image.image.ticket,
}

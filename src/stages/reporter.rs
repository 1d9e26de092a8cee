//! Writes each plane into the ledger, with its report lines, in one transaction; and everything that was rejected.

use std::convert::Infallible;

use tokio::task::JoinSet;

use crate::actor::{Rejection, Rejections, Stage, StageError, StageOutbox};
use crate::analysis::hashing::{self, Signal};
use crate::messages::{RegisteredImage, Ticket, VerifiedImage};
use crate::stages::bookkeeping::Bookkeeping;
use crate::stages::figures;
use crate::store::{PlaneDone, PlaneFeatures};

/// Writes planes down.
pub struct Reporter {
    books: Bookkeeping,
}

impl Reporter {
    /// Puts a reporter together.
    pub fn new(books: Bookkeeping) -> Self {
        Self { books }
    }
}

impl Stage for Reporter {
    const NAME: &'static str = "reporter";
    type Input = RegisteredImage;
    type Output = Infallible;

    async fn process(
        &mut self,
        registered: RegisteredImage,
        out: &mut StageOutbox<Self>,
    ) -> Result<(), StageError> {
        let RegisteredImage { image, registrable, registrations } = registered;
        let VerifiedImage { image, matches } = image;
        let figures = figures::of_plane(&image);
        let done = PlaneDone {
            ticket: image.file.claim,
            index: image.index,
            digest: image.digest.0,
            blank: blank_name(image.features.signal).map(str::to_owned),
            features: Some(PlaneFeatures {
                version: hashing::FEATURES_VERSION.into(),
                bytes: image.features.to_bytes(),
            }),
            figures,
            matches,
            registrable,
            registrations,
        };
        let (books, ticket, counters) = (self.books.clone(), image.ticket.clone(), out.counters().clone());
        out.send_when(image.ticket, async move {
            books.patiently(&counters, books.finish_plane(&ticket, done)).await.map(|()| None)
        })
        .await
    }
}

/// The word in reports for a plane that shows nothing.
fn blank_name(signal: Signal) -> Option<&'static str> {
    match signal {
        Signal::Constant => Some("constant"),
        Signal::NoSignal => Some("no_signal"),
        Signal::Structured => None,
    }
}

/// Rejections that may wait for their commit at once.
const REJECTIONS_AT_ONCE: usize = 64;

/// Writes down what any stage had to reject. Only a fault of ours is tried again: bad data stay bad.
///
/// # Errors
/// Fatal, when the ledger cannot be written.
pub async fn take_rejections(
    mut rejections: Rejections<Ticket>,
    books: Bookkeeping,
) -> Result<(), StageError> {
    let mut writing = JoinSet::new();
    while let Some(rejection) = rejections.recv().await {
        while writing.len() >= REJECTIONS_AT_ONCE {
            writing.join_next().await.transpose().map_err(StageError::fatal)?.transpose()?;
        }
        writing.spawn(write_rejection(rejection, books.clone()));
    }
    while let Some(written) = writing.join_next().await {
        written.map_err(StageError::fatal)??;
    }
    Ok(())
}

/// Writes one down; what was taken up again meanwhile is left as it is.
///
/// # Errors
/// Fatal, when the ledger cannot be written.
pub async fn write_rejection(rejection: Rejection<Ticket>, books: Bookkeeping) -> Result<(), StageError> {
    let Rejection { ticket, stage, reason, panicked } = rejection;
    let reason = if panicked { format!("a fault of scopewatch itself: {reason}") } else { reason };
    match books.fail_plane(&ticket, stage, reason, !panicked).await {
        Err(StageError::Item(error)) => {
            tracing::debug!(file = %ticket, error, "taken up again meanwhile");
            Ok(())
        }
        other => other,
    }
}

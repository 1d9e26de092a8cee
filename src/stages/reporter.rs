//! Writes each plane into the ledger, with its report lines, in one transaction; and everything that was rejected.

use std::convert::Infallible;

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
        let VerifiedImage { image, matches } = registered.image;
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
        };
        let (books, ticket) = (self.books.clone(), image.ticket.clone());
        out.send_when(image.ticket, async move { books.finish_plane(&ticket, done).await.map(|()| None) })
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

/// Writes down what any stage had to reject.
///
/// # Errors
/// Fatal, when the ledger cannot be written.
pub async fn take_rejections(
    mut rejections: Rejections<Ticket>,
    books: Bookkeeping,
) -> Result<(), StageError> {
    while let Some(Rejection { ticket, stage, reason, panicked }) = rejections.recv().await {
        let reason = if panicked { format!("a fault of scopewatch itself: {reason}") } else { reason };
        match books.fail_plane(&ticket, stage, reason, false).await {
            Err(StageError::Item(error)) => {
                tracing::warn!(file = %ticket, error, "the rejection came too late")
            }
            other => other?,
        }
    }
    Ok(())
}

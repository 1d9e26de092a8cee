//! The loop of one stage.

use std::future::{Future, pending, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use tokio::task::JoinError;
use tokio::time::{Instant, Interval, MissedTickBehavior, interval_at};
use tokio_util::task::AbortOnDropHandle;

use super::counters::StageCounters;
use super::job::panic_message;
use super::mailbox::Mailbox;
use super::outbox::Content;
use super::rejections::{InHand, RejectionSender};
use super::stage::{Stage, StageError, StageOutbox, TicketOf, Traceable};

/// Why a stage ended before its input did.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum StageFailure {
    #[error("{0}")]
    Fatal(String),
    #[error("the next mailbox is closed")]
    OutputClosed,
    #[error("nobody takes rejections any more")]
    RejectionsClosed,
    #[error("was stopped")]
    Stopped,
}

type ForwarderHandle = AbortOnDropHandle<Result<(), StageFailure>>;

/// One stage at work.
pub(super) struct Runner<S: Stage, L> {
    pub(super) stage: S,
    pub(super) input: Mailbox<S::Input>,
    pub(super) out: StageOutbox<S>,
    pub(super) counters: Arc<StageCounters>,
    pub(super) rejections: RejectionSender<L>,
    pub(super) forwarder: ForwarderHandle,
}

/// What wakes a stage.
enum Wake<I> {
    Item(I),
    Tick,
    InputEnded,
}

impl<S: Stage, L> Runner<S, L>
where
    TicketOf<S>: Into<L>,
{
    /// Works until the input has ended and everything has been passed on.
    pub(super) async fn run(mut self) -> Result<(), StageFailure> {
        let _life = self.counters.begin_life();
        let mut ticker = self.stage.tick_period().map(ticker);
        loop {
            let wake = tokio::select! {
                biased;
                ended = &mut self.forwarder => return Err(failure_of(ended)),
                () = next_tick(ticker.as_mut()) => Wake::Tick,
                item = self.input.recv() => item.map_or(Wake::InputEnded, Wake::Item),
            };
            match wake {
                Wake::Item(item) => self.process(item).await?,
                Wake::Tick => {
                    let tick = self.stage.tick(&mut self.out);
                    let _work = self.counters.begin_tick();
                    let result = caught(&mut self.forwarder, tick).await?;
                    self.or_fatal(result).await?;
                }
                Wake::InputEnded => break,
            }
        }
        let finish = self.stage.finish(&mut self.out);
        let result = watched(&self.counters, &mut self.forwarder, finish).await?;
        self.or_fatal(result).await?;
        drop(self.out);
        self.forwarder.await.unwrap_or_else(|error| Err(failure_of(Err(error))))
    }

    async fn process(&mut self, item: S::Input) -> Result<(), StageFailure> {
        self.counters.add_in(1);
        let _flight = self.counters.begin_flight();
        let ticket = item.ticket();
        let process = self.stage.process(item, &mut self.out);
        #[cfg(test)]
        let process = super::planted::around((S::NAME, super::planted::Place::Call), ticket.clone(), process);
        let in_hand = InHand::new(ticket.clone(), (true, Instant::now()), &self.counters, &self.rejections);
        let processed = watched(&self.counters, &mut self.forwarder, process).await;
        in_hand.let_go();
        match processed? {
            Err(StageError::Item(reason)) => self.reject(ticket, reason, false).await,
            Err(StageError::Panicked(message)) => self.reject(ticket, message, true).await,
            other => self.or_fatal(other).await,
        }
    }

    async fn reject(
        &mut self,
        ticket: TicketOf<S>,
        reason: String,
        panicked: bool,
    ) -> Result<(), StageFailure> {
        let put = self.out.put(Content::Rejected { ticket, reason, panicked });
        let result = watched(&self.counters, &mut self.forwarder, put).await?;
        self.or_fatal(result).await
    }

    /// Makes an error that belongs to no item one of the whole stage; where the forwarder has gone, its own.
    async fn or_fatal(&mut self, result: Result<(), StageError>) -> Result<(), StageFailure> {
        match result {
            Ok(()) => Ok(()),
            Err(_) if self.out.is_closed() => Err(failure_of((&mut self.forwarder).await)),
            Err(error) => Err(StageFailure::Fatal(error.to_string())),
        }
    }
}

/// Runs one call as work under way: a panic becomes an error of the item, the end of the forwarder ends the call.
async fn watched(
    counters: &Arc<StageCounters>,
    forwarder: &mut ForwarderHandle,
    call: impl Future<Output = Result<(), StageError>>,
) -> Result<Result<(), StageError>, StageFailure> {
    let _work = counters.begin_work();
    caught(forwarder, call).await
}

async fn caught(
    forwarder: &mut ForwarderHandle,
    call: impl Future<Output = Result<(), StageError>>,
) -> Result<Result<(), StageError>, StageFailure> {
    let mut call = pin!(call);
    let caught = poll_fn(|context| match catch_unwind(AssertUnwindSafe(|| call.as_mut().poll(context))) {
        Ok(poll) => poll,
        Err(payload) => Poll::Ready(Err(StageError::Panicked(panic_message(payload.as_ref())))),
    });
    tokio::select! {
        biased;
        ended = forwarder => Err(failure_of(ended)),
        result = caught => Ok(result),
    }
}

/// Says why a forwarder has ended although its outbox is still there.
fn failure_of(ended: Result<Result<(), StageFailure>, JoinError>) -> StageFailure {
    match ended {
        Ok(Err(failure)) => failure,
        Ok(Ok(())) => StageFailure::Stopped,
        Err(error) => match error.try_into_panic() {
            Ok(payload) => StageFailure::Fatal(format!("panicked: {}", panic_message(payload.as_ref()))),
            Err(_) => StageFailure::Stopped,
        },
    }
}

fn ticker(period: Duration) -> Interval {
    let period = period.max(Duration::from_millis(1));
    let mut interval = interval_at(Instant::now() + period, period);
    interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
    interval
}

async fn next_tick(ticker: Option<&mut Interval>) {
    match ticker {
        Some(interval) => {
            interval.tick().await;
        }
        None => pending().await,
    }
}

//! Joins stages to a line and runs it: the tasks of one generation, and how they end.

use std::collections::HashMap;
use std::fmt::Display;
use std::future::Future;
use std::sync::Arc;

use tokio::task::{Id, JoinError, JoinSet};
use tokio_util::sync::CancellationToken;
use tokio_util::task::{AbortOnDropHandle, TaskTracker};

use super::counters::StageCounters;
use super::job::panic_message;
use super::mailbox::{Mailbox, MailboxSender};
use super::outbox::{Gates, outbox};
use super::rejections::RejectionSender;
use super::runner::{Runner, StageFailure};
use super::stage::{Stage, TicketOf};
use super::statistics::{StageSnapshot, Statistics};
use super::tee::Tee;

/// Why a line ended before its work was done.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AssemblyError {
    /// A stage or task met a fatal error, or panicked outside an item.
    #[error("{name} failed: {reason}")]
    Failed {
        /// The stage or task.
        name: &'static str,
        /// What happened.
        reason: String,
    },
    /// The receiver behind a stage has gone without an error of its own.
    #[error("{name} cannot hand on its results: the next mailbox is closed")]
    OutputClosed {
        /// The stage.
        name: &'static str,
    },
    /// Two members of the line have the same name.
    #[error("two members of the line are called {name}")]
    NameTwice {
        /// The name.
        name: &'static str,
    },
    /// The line was told to stop at once.
    #[error("stopped before its work was done")]
    Aborted,
}

/// A running stage, seen from outside; clones are of the same stage.
#[derive(Debug, Clone)]
pub struct StageHandle {
    gates: Gates,
    counters: Arc<StageCounters>,
}

impl StageHandle {
    /// Returns the name of the stage.
    pub fn name(&self) -> &'static str {
        self.counters.name()
    }

    /// Sets how many jobs may run at once (at least 1); lowering takes effect as jobs end.
    pub fn set_permits(&self, n: usize) {
        self.gates.set_permits(n);
    }

    /// Returns how many jobs may run at once.
    pub fn permits(&self) -> usize {
        self.gates.permits.limit()
    }

    /// Returns the counters of this generation.
    pub fn snapshot(&self) -> StageSnapshot {
        self.counters.snapshot()
    }
}

/// The tasks of one generation; `L` is the ticket in its rejections.
///
/// Members start as they are added. Each ends when its input ends, and drops its output with that, so that the end
/// runs down the line. When the assembly is dropped, everything in it is stopped.
#[derive(Debug)]
pub struct Assembly<L> {
    statistics: Statistics,
    /// `Some` until the assembly runs.
    rejections: Option<RejectionSender<L>>,
    members: JoinSet<Result<(), AssemblyError>>,
    names: HashMap<Id, &'static str>,
    name_twice: Option<&'static str>,
    /// The forwarders and jobs of the stages.
    tracker: TaskTracker,
}

impl<L: Send + 'static> Assembly<L> {
    /// Makes an assembly without members; its counters go to `statistics`, its rejections to `rejections`.
    pub fn new(statistics: &Statistics, rejections: RejectionSender<L>) -> Self {
        Self {
            statistics: statistics.clone(),
            rejections: Some(rejections),
            members: JoinSet::new(),
            names: HashMap::new(),
            name_twice: None,
            tracker: TaskTracker::new(),
        }
    }

    /// Starts a stage between two mailboxes, with `n_permits` jobs at once (at least 1).
    pub fn stage<S: Stage>(
        &mut self,
        stage: S,
        input: Mailbox<S::Input>,
        output: MailboxSender<S::Output>,
        n_permits: usize,
    ) -> StageHandle
    where
        TicketOf<S>: Into<L>,
    {
        self.start(stage, input, Some(output), n_permits)
    }

    /// Starts the stage at the end of the line; what it sends is counted and dropped.
    pub fn last_stage<S: Stage>(
        &mut self,
        stage: S,
        input: Mailbox<S::Input>,
        n_permits: usize,
    ) -> StageHandle
    where
        TicketOf<S>: Into<L>,
    {
        self.start(stage, input, None, n_permits)
    }

    /// Starts a member that is not a stage: a source, or the taker of rejections. Its error or panic takes the line
    /// down.
    ///
    /// `start` gets the member's counters: with [`StageCounters::begin_work`] its work is timed and watched for
    /// hangs, as that of a stage is.
    pub fn task<F, E>(&mut self, name: &'static str, start: impl FnOnce(Arc<StageCounters>) -> F)
    where
        F: Future<Output = Result<(), E>> + Send + 'static,
        E: Display,
    {
        let counters = StageCounters::new(name, None, None);
        self.statistics.add(Arc::clone(&counters));
        let task = start(Arc::clone(&counters));
        self.add_member(name, async move {
            let _life = counters.begin_life();
            task.await.map_err(|error| AssemblyError::Failed { name, reason: format!("{error:#}") })
        });
    }

    /// Starts a member that passes everything on, and shows a view of it to the branches of a tee.
    pub fn tee<T, B, V>(&mut self, tee: &Tee<B>, view: V, input: Mailbox<T>, output: MailboxSender<T>)
    where
        T: Send + 'static,
        B: Clone + Send + 'static,
        V: Fn(&T) -> B + Send + 'static,
    {
        let tee = tee.clone();
        let name = tee.name();
        let mut input = input;
        self.add_member(name, async move {
            while let Some(value) = input.recv().await {
                let shown = tee.is_wanted().then(|| view(&value));
                if let Some(shown) = shown {
                    tee.offer(shown).await;
                }
                output.send(value).await.map_err(|_| AssemblyError::OutputClosed { name })?;
            }
            Ok(())
        });
    }

    /// Waits until every member has ended; stops all of them at the first failure, or when `abort` is cancelled, and
    /// returns when their tasks have ended, too.
    ///
    /// # Errors
    /// The failure that came first; that the next mailbox was closed only if no member says why.
    pub async fn run(mut self, abort: &CancellationToken) -> Result<(), AssemblyError> {
        // the taker of rejections ends when the last stage has dropped its sender
        drop(self.rejections.take());
        let result = match self.name_twice {
            Some(name) => Err(AssemblyError::NameTwice { name }),
            None => tokio::select! {
                biased;
                () = abort.cancelled() => Err(AssemblyError::Aborted),
                result = self.join() => result,
            },
        };
        self.members.shutdown().await;
        self.tracker.close();
        self.tracker.wait().await;
        result
    }

    fn start<S: Stage>(
        &mut self,
        stage: S,
        input: Mailbox<S::Input>,
        output: Option<MailboxSender<S::Output>>,
        n_permits: usize,
    ) -> StageHandle
    where
        TicketOf<S>: Into<L>,
    {
        let gates = Gates::new(n_permits);
        let counters = StageCounters::new(S::NAME, Some(input.gauge()), Some(gates.permits.clone()));
        self.statistics.add(Arc::clone(&counters));
        let rejections =
            self.rejections.clone().expect("only `run` takes it, and that consumes the assembly");
        let (out, forwarder) = outbox(gates.clone(), &counters, &self.tracker, output, rejections.clone());
        let forwarder = AbortOnDropHandle::new(self.tracker.spawn(forwarder.run()));
        let runner = Runner { stage, input, out, counters: Arc::clone(&counters), rejections, forwarder };
        self.add_member(S::NAME, async move {
            runner.run().await.map_err(|failure| match failure {
                StageFailure::OutputClosed => AssemblyError::OutputClosed { name: S::NAME },
                other => AssemblyError::Failed { name: S::NAME, reason: other.to_string() },
            })
        });
        StageHandle { gates, counters }
    }

    fn add_member(
        &mut self,
        name: &'static str,
        member: impl Future<Output = Result<(), AssemblyError>> + Send + 'static,
    ) {
        if self.names.values().any(|known| *known == name) {
            self.name_twice = Some(name);
        }
        let id = self.members.spawn(member).id();
        self.names.insert(id, name);
    }

    /// Waits for all members, or for the first failure that is a cause and not a consequence.
    async fn join(&mut self) -> Result<(), AssemblyError> {
        let mut consequence = None;
        while let Some(ended) = self.members.join_next().await {
            match ended {
                Ok(Ok(())) => {}
                // whoever dropped that mailbox is about to end, too, and may say why
                Ok(Err(error @ AssemblyError::OutputClosed { .. })) => {
                    consequence.get_or_insert(error);
                }
                Ok(Err(error)) => return Err(error),
                Err(error) => return Err(self.panic_of(error)),
            }
        }
        consequence.map_or(Ok(()), Err)
    }

    fn panic_of(&self, error: JoinError) -> AssemblyError {
        let name = self.names.get(&error.id()).copied().unwrap_or("a member");
        let reason = match error.try_into_panic() {
            Ok(payload) => format!("panicked: {}", panic_message(payload.as_ref())),
            Err(_) => "was stopped".to_owned(),
        };
        AssemblyError::Failed { name, reason }
    }
}

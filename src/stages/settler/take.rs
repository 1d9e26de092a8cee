//! One look at one candidate, and what follows from it: waiting, rejection, or the claim.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use tracing::{debug, info, warn};

use crate::actor::{IoPool, StageError};
use crate::analysis::hashing::PixelDigest;
use crate::analysis::identity::{self, PlateIdentity};
use crate::formats::Container;
use crate::messages::{FileContext, SettledFile, Ticket};
use crate::paths::FileStat;
use crate::stages::bookkeeping::Bookkeeping;
use crate::stages::figures;
use crate::stages::reading::ReadGate;
use crate::store::{
    Alert, ClaimedPlane, FileClaim, FileExtension, FileState, GrowthNote, LedgerError, PlaneClaim,
    PlaneState, Probe,
};

use super::candidate::{Note, Verdict};
use super::gates::{self, Whole};
use super::growth::{Fresh, Growth, Order, Seen, Taken};
use super::{Patience, Settings, UnderLook};

/// The time between two looks at a file that was given up although planes of it are done.
const GIVEN_UP_INTERVAL: Duration = Duration::from_secs(5);

/// One look at one candidate.
pub(super) struct LookJob {
    pub(super) settings: Arc<Settings>,
    pub(super) books: Bookkeeping,
    pub(super) io: IoPool,
    pub(super) reading: ReadGate,
    pub(super) ticket: Ticket,
    pub(super) patience: Patience,
}

impl LookJob {
    pub(super) async fn run(self, mut under_look: UnderLook) -> Result<Option<SettledFile>, StageError> {
        let Seen { look, mut growth, fresh, n_written, only_grew, remark, rewritten, stands, probes } =
            self.look(&mut under_look).await?;
        if let Some(claim) = rewritten {
            info!(file = %self.ticket, "written anew while it grew");
            self.books.reopen_file(claim, "written anew while it grew".to_owned()).await?;
        }
        let n_fresh = fresh.as_ref().map_or(0, |fresh| fresh.container.planes().len());
        let is_taken = n_fresh > 0 || growth.as_ref().is_some_and(|growth| growth.taken.is_some());
        if let Some(stat) = look.stat() {
            self.reading.saw(self.ticket.root.id, stat, under_look.last_seen.0);
        }
        let now = Instant::now();
        let verdict = under_look.with_candidate(|file| {
            if rewritten.is_some() {
                file.start_over();
            }
            if is_taken {
                file.planes_came((n_written, n_fresh), now);
            }
            file.set_remark(remark);
            file.judge(look, now, self.patience)
        });
        let verdict = match verdict {
            Some(Verdict::Reject(stat, _, reason)) if stands => {
                stat.map_or(Verdict::Forget(None), |stat| Verdict::GiveUp(stat, reason))
            }
            Some(verdict) => verdict,
            None => return Ok(None),
        };
        let settled = match fresh {
            Some(fresh) => match self.take_planes(fresh, &mut growth, only_grew).await {
                Err(StageError::Item(reason)) => {
                    // somebody else has claimed it: it is walked anew
                    warn!(file = %self.ticket, reason, "its planes could not be listed");
                    growth = None;
                    None
                }
                taken => taken?,
            },
            None => None,
        };
        match verdict {
            Verdict::Wait(next, note) => {
                self.note(note, growth.as_ref());
                under_look.put_back(next, growth);
                Ok(settled)
            }
            Verdict::GiveUp(_, reason) if stands && !self.settings.once => {
                // it may still grow, and how fast it used to is known as long as it is watched
                let note = under_look.with_candidate(|file| file.give_up(&reason)).flatten();
                self.note(note, growth.as_ref());
                under_look.put_back(now + GIVEN_UP_INTERVAL, growth);
                Ok(settled)
            }
            Verdict::Take(whole) => self.claim(whole, only_grew, probes).await,
            verdict => self.end(verdict, stands).await,
        }
    }

    /// Looks off the runtime's workers.
    async fn look(&self, under_look: &mut UnderLook) -> Result<Seen, StageError> {
        let (settings, books, ticket) = (self.settings.clone(), self.books.clone(), self.ticket.clone());
        let (at_rest, last_seen) = (under_look.at_rest, under_look.last_seen);
        let growth = under_look.growth.take();
        let look = move || {
            let path = ticket.absolute_path();
            let Settings { limits, growing, once, drops_cache, .. } = &*settings;
            let unfinished = growth.as_ref().and_then(|growth| growth.unfinished.as_ref());
            let look = gates::look(&path, (at_rest, unfinished), (*once, *drops_cache), limits);
            let order =
                Order { ticket: &ticket, path: &path, limits, settings: growing, books: &books, last_seen };
            let (look, stands) = order.in_doubt(look, growth.as_ref())?;
            let seen = if *once { order.observe_once(look) } else { order.observe(look, growth) }?;
            Ok::<_, LedgerError>(Seen { stands, ..seen })
        };
        self.io.run(move |_| look()).await?.map_err(StageError::fatal)
    }

    fn note(&self, note: Option<Note>, growth: Option<&Growth>) {
        let Some(Note { stat, state, reason }) = note else { return };
        debug!(file = %self.ticket, state = state.name(), reason, "not settled yet");
        let words = match state {
            FileState::Stalled => Some("is stalled"),
            FileState::Incomplete => Some("stays incomplete"),
            _ => None,
        };
        let alert = words.map(|words| {
            warn!(file = %self.ticket, reason, "the file {words}");
            let text = format!("{} {words}: {reason}", self.ticket.path.to_report());
            Alert { kind: state.name().into(), text, ..Alert::default() }
        });
        match growth.and_then(|growth| growth.taken.as_ref()).filter(|_| state != FileState::Incomplete) {
            Some(taken) => self.books.note_growth(GrowthNote { ticket: taken.claim, state, reason, alert }),
            None => self.books.note_file(&self.ticket.with_stat(stat), state, reason, alert),
        }
    }

    /// Follows a verdict after which nothing is waited for any more. Planes of the file that stand are not dropped.
    async fn end(&self, verdict: Verdict<Whole>, stands: bool) -> Result<Option<SettledFile>, StageError> {
        match verdict {
            Verdict::Wait(..) | Verdict::Take(_) => Ok(None),
            Verdict::Forget(stat) => {
                debug!(file = %self.ticket, "vanished before it was taken up");
                if let Some(stat) = stat {
                    let reason = "vanished before it was taken up".to_owned();
                    self.books.note_file(&self.ticket.with_stat(stat), FileState::Vanished, reason, None);
                }
                Ok(None)
            }
            Verdict::GiveUp(stat, reason) if stands || !self.settings.once => {
                self.note(Some(Note { stat, state: FileState::Incomplete, reason }), None);
                Ok(None)
            }
            Verdict::GiveUp(stat, reason) => self.reject(Some(stat), "incomplete", reason).await,
            Verdict::Reject(stat, kind, reason) => self.reject(stat, kind, reason).await,
        }
    }

    async fn reject(
        &self,
        stat: Option<FileStat>,
        kind: &'static str,
        reason: String,
    ) -> Result<Option<SettledFile>, StageError> {
        warn!(file = %self.ticket, reason, "rejected");
        let ticket = stat.map_or_else(|| self.ticket.clone(), |stat| self.ticket.with_stat(stat));
        self.books.reject_file(&ticket, kind, reason).await?;
        Ok(None)
    }

    /// Takes up a file that is whole.
    async fn claim(
        &self,
        whole: Whole,
        only_grew: bool,
        probes: Vec<Probe>,
    ) -> Result<Option<SettledFile>, StageError> {
        let (settled, n_misplaced) = self.take_up(whole, only_grew, (true, probes)).await?;
        if n_misplaced > 0 {
            let path = self.ticket.path.to_report();
            let text = format!(
                "{path}: {n_misplaced} planes were read otherwise while it grew than the complete file says; they are read again"
            );
            warn!(file = %self.ticket, n_misplaced, "the complete file says otherwise than it did while it grew");
            self.books.alert(Alert { kind: "growing_misread".into(), text, ..Alert::default() });
        }
        Ok(Some(settled))
    }

    /// Claims a file with all planes of `container`, which is complete or grows; it is known again by `probes`.
    async fn take_up(
        &self,
        (stat, container): Whole,
        only_grew: bool,
        (is_complete, probes): (bool, Vec<Probe>),
    ) -> Result<(SettledFile, u64), StageError> {
        let mut metadata = container.metadata().clone();
        self.settings.pixel_sizes.complete(&mut metadata);
        let identity = identity::identify(&self.ticket.path.to_report(), &self.settings.patterns);
        let request = FileClaim {
            root_id: self.ticket.root.id,
            path: (*self.ticket.path).clone(),
            stat,
            format: metadata.format.name().to_owned(),
            metadata: figures::of_container(&metadata),
            identity: figures::file_identity(&identity),
            quality_rank: metadata.quality_rank(),
            is_complete,
            only_grew,
            planes: claimed_planes(container.as_ref(), &identity),
            probes,
        };
        let claimed = self.books.claim_file(request).await?;
        let file = Arc::new(FileContext {
            claim: claimed.ticket,
            version: claimed.version,
            stat,
            metadata,
            identity,
            container_complete: is_complete,
        });
        let ticket = self.ticket.with_stat(stat).claimed(claimed.ticket);
        let (todo, interruptions) = (todo(&claimed.planes), claimed.interruptions);
        Ok((SettledFile { ticket, file, todo, interruptions, container }, claimed.n_misplaced))
    }

    /// Hands on planes of a file that grows: the first ones with a claim, later ones under it.
    async fn take_planes(
        &self,
        fresh: Fresh,
        growth: &mut Option<Growth>,
        only_grew: bool,
    ) -> Result<Option<SettledFile>, StageError> {
        let Some(growth) = growth else { return Ok(None) };
        let Fresh { stat, container, probes } = fresh;
        let settled = match &mut growth.taken {
            None => {
                let (settled, _) =
                    self.take_up((stat, container), only_grew, (false, probes.clone())).await?;
                info!(file = %self.ticket, planes = settled.todo.len(), "taken up while it grows");
                let (ticket, batch) = settled.ticket.part();
                let (claim, context) = (settled.file.claim, settled.file.clone());
                growth.taken = Some(Taken { claim, context, batch, probes });
                SettledFile { ticket, ..settled }
            }
            Some(taken) => {
                let identity = &taken.context.identity;
                let more = FileExtension {
                    ticket: taken.claim,
                    stat,
                    identity: figures::file_identity(identity),
                    planes: claimed_planes(container.as_ref(), identity),
                    probes: probes.clone(),
                };
                let planes = self.books.extend_file(more).await?;
                let (ticket, batch) = self.ticket.with_stat(stat).claimed(taken.claim).part();
                (taken.batch, taken.probes) = (batch, probes);
                let (todo, file) = (todo(&planes), taken.context.clone());
                SettledFile { ticket, file, todo, interruptions: 0, container }
            }
        };
        Ok(Some(settled))
    }
}

fn claimed_planes(container: &dyn Container, identity: &PlateIdentity) -> Vec<ClaimedPlane> {
    let metadata = container.metadata();
    let planes = container.planes().iter().enumerate();
    planes
        .map(|(position, plane)| ClaimedPlane {
            index: plane.index,
            is_missing: plane.missing,
            identity: figures::plane_identity(identity, metadata, plane.index),
            place: container.place(position),
        })
        .collect()
}

/// The planes that are still to be done, as positions in the claim's list.
fn todo(planes: &[PlaneClaim]) -> Vec<(usize, Option<PixelDigest>)> {
    let open = planes.iter().enumerate().filter(|(_, plane)| plane.state == PlaneState::Todo);
    open.map(|(position, plane)| (position, plane.previous_digest.map(PixelDigest))).collect()
}

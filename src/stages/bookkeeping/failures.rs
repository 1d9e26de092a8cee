//! What becomes of what failed: attempts, rejections, and files that wait for another try.

use tracing::{debug, warn};

use super::{Bookkeeping, Progress};
use crate::actor::StageError;
use crate::messages::Ticket;
use crate::paths::FileStat;
use crate::platform::filesystem;
use crate::store::{FileRejection, FileState, PlaneFailed, PlaneFailure};

impl Bookkeeping {
    /// Rejects a file that cannot be taken up.
    pub async fn reject_file(&self, ticket: &Ticket, kind: &str, reason: String) -> Result<(), StageError> {
        let Some(stat) = self.stat_of(ticket).await? else {
            debug!(file = %ticket, reason, "vanished before it could be rejected");
            return Ok(());
        };
        let rejection = FileRejection {
            root_id: ticket.root.id,
            path: (*ticket.path).clone(),
            stat,
            kind: kind.to_owned(),
            reason,
        };
        self.ask(|ledger, reply| ledger.reject_file(rejection, reply)).await?;
        Progress::count(&self.progress.files_rejected);
        Ok(())
    }

    /// Writes down a failed attempt; `for_good` when another would fail alike. A file that fails before it has planes, or
    /// beside them, is tried as often as a plane.
    pub async fn fail_plane(
        &self,
        ticket: &Ticket,
        stage: &str,
        reason: String,
        for_good: bool,
    ) -> Result<(), StageError> {
        let (Some(claim), Some(index)) = (ticket.claim, ticket.plane) else {
            return self.fail_file(ticket, format!("{stage}: {reason}"), for_good).await;
        };
        warn!(file = %ticket, stage, reason, "rejected");
        let attempts_max = if for_good { 1 } else { self.attempts_max };
        let failure = PlaneFailure { ticket: claim, index, stage: stage.to_owned(), reason, attempts_max };
        let failed: PlaneFailed = self.ask(|ledger, reply| ledger.fail_plane(failure, reply)).await?;
        if failed.is_dead {
            Progress::count(&self.progress.planes_rejected);
        }
        self.close_if(failed.file_ready, ticket).await
    }

    /// The same of a file as a whole. The process counts how often; the ledger keeps the reasons.
    async fn fail_file(&self, ticket: &Ticket, reason: String, for_good: bool) -> Result<(), StageError> {
        let key = (ticket.root.id, (*ticket.path).clone());
        let n_failed = (!for_good).then(|| {
            let mut n_failed = self.failed_files.entry(key.clone()).or_insert(0);
            *n_failed += 1;
            *n_failed
        });
        // for good: nothing is wrong with planes that are listed, the file is taken up again
        if n_failed.map_or(ticket.claim.is_none(), |n_failed| n_failed >= self.attempts_max) {
            self.failed_files.remove(&key);
            if ticket.claim.is_none() && self.has_planes_that_stand(ticket).await? {
                return self.note_failed(ticket, FileState::Incomplete, reason).await;
            }
            warn!(file = %ticket, reason, "rejected");
            return self.reject_file(ticket, "failed", reason).await;
        }
        let number = n_failed.map_or_else(String::new, |n| format!("attempt {n} of {}: ", self.attempts_max));
        let reason = format!("{number}{reason}");
        warn!(file = %ticket, reason, "failed, to be taken up again");
        match ticket.claim {
            Some(claim) => self.ask(|ledger, reply| ledger.reopen_file(claim, reason, reply)).await,
            None => self.note_failed(ticket, FileState::Waiting, reason).await,
        }
    }

    /// Notes the failure of a file that is not taken up.
    async fn note_failed(&self, ticket: &Ticket, state: FileState, reason: String) -> Result<(), StageError> {
        let stat = self.stat_of(ticket).await?;
        let ticket = stat.map_or_else(|| ticket.clone(), |stat| ticket.with_stat(stat));
        self.note_file(&ticket, state, reason, None);
        Ok(())
    }

    /// The figures of a file, as far as it is there; asked for off the runtime's workers, since its share may hang.
    async fn stat_of(&self, ticket: &Ticket) -> Result<Option<FileStat>, StageError> {
        if ticket.stat.is_some() {
            return Ok(ticket.stat);
        }
        let path = ticket.absolute_path();
        Ok(self.io.run(move |_| filesystem::stat_path(&path)).await?.ok())
    }

    /// Whether planes of the file were taken up while it grew.
    async fn has_planes_that_stand(&self, ticket: &Ticket) -> Result<bool, StageError> {
        let (this, root_id, path) = (self.clone(), ticket.root.id, ticket.path.clone());
        let known = self.io.run(move |_| this.growth_of(root_id, &path)).await?;
        Ok(known.map_err(StageError::fatal)?.is_some())
    }
}

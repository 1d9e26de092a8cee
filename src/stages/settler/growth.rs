//! A file that grows, from look to look: how far it was walked, and what of it is in work.

use std::fs::File;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::formats::growing::{self, FrameShape};
use crate::formats::{self, Container, Format, FormatError, Growing, Hint, Limits};
use crate::messages::{FileContext, PartWatch, Ticket};
use crate::paths::FileStat;
use crate::platform::filesystem;
use crate::stages::bookkeeping::Bookkeeping;
use crate::store::{FileTicket, GrowthRecord, LedgerError, Probe};

use super::gates::Whole;
use super::{Look, probes, siblings};

/// What growing files are told by the user.
#[derive(Debug, Clone, Default)]
pub struct GrowingSettings {
    /// Whether planes are taken up while their file grows.
    pub enabled: bool,
    /// Shapes of frames that cameras of this machine write.
    pub frame_shapes: Vec<FrameShape>,
}

/// How often siblings are looked for.
const HINT_INTERVAL: Duration = Duration::from_secs(5);

/// A file that grows.
pub(super) struct Growth {
    container: Box<dyn Growing>,
    /// Device and inode.
    file: (u64, u64),
    hinted_at: Option<Instant>,
    /// Why no hint fits.
    hint_refusal: Option<String>,
    /// With which figures it was last found unfinished, and why: a long chain of pages is not walked for nothing.
    pub(super) unfinished: Option<(FileStat, String)>,
    pub(super) taken: Option<Taken>,
}

/// What of a growing file is claimed.
pub(super) struct Taken {
    pub(super) claim: FileTicket,
    pub(super) context: Arc<FileContext>,
    /// The planes that were handed out last.
    pub(super) batch: PartWatch,
    pub(super) probes: Vec<Probe>,
}

/// Planes that were found written.
pub(super) struct Fresh {
    pub(super) stat: FileStat,
    pub(super) container: Box<dyn Container>,
    pub(super) probes: Vec<Probe>,
}

/// What a look at a file showed, and what it leaves for the next one.
pub(super) struct Seen {
    pub(super) look: Look<Whole>,
    pub(super) growth: Option<Growth>,
    pub(super) fresh: Option<Fresh>,
    /// Frames of a growing file that are written by now.
    pub(super) n_written: u64,
    /// Of planes that are taken up now: the file is one that was taken up before, and only grew since.
    pub(super) only_grew: bool,
    /// Why no plane is taken up although the file grows.
    pub(super) remark: Option<String>,
    /// The file is another one than that of this claim.
    pub(super) rewritten: Option<FileTicket>,
    /// Planes of the file are in the ledger, and nothing says that it is another file by now.
    pub(super) stands: bool,
    /// Of a whole file that may go on growing: by what it will be known again.
    pub(super) probes: Vec<Probe>,
}

/// Where and how to look at a growing file.
pub(super) struct Order<'a> {
    pub(super) ticket: &'a Ticket,
    pub(super) path: &'a Path,
    pub(super) limits: &'a Limits,
    pub(super) settings: &'a GrowingSettings,
    pub(super) books: &'a Bookkeeping,
    /// The figures of the look before, and whether they have ever changed.
    pub(super) last_seen: (Option<FileStat>, bool),
}

impl Seen {
    pub(super) fn new(look: Look<Whole>, growth: Option<Growth>) -> Self {
        let (fresh, remark, rewritten) = (None, None, None);
        let probes = Vec::new();
        Self { look, growth, fresh, n_written: 0, only_grew: false, remark, rewritten, stands: false, probes }
    }
}

impl Growth {
    fn is_busy(&self) -> bool {
        self.taken.as_ref().is_some_and(|taken| !taken.batch.is_done())
    }

    /// Why no plane of it is taken up.
    fn remark(&self) -> Option<String> {
        let lacks = self.container.lacks()?;
        let refusal = self.hint_refusal.as_ref().map_or_else(String::new, |why| format!(", and {why}"));
        Some(format!("read when it is complete: {lacks}{refusal}"))
    }
}

impl Order<'_> {
    /// Whether planes stand of a file that cannot be taken up as a whole now. Then what is refused counts as
    /// unfinished: half-written data look like that, too.
    ///
    /// # Errors
    /// When the ledger cannot be read.
    pub(super) fn in_doubt(
        &self,
        look: Look<Whole>,
        growth: Option<&Growth>,
    ) -> Result<(Look<Whole>, bool), LedgerError> {
        Ok(match look {
            Look::Refused(stat, _, reason) if self.may_be_known(stat, growth)? => {
                (Look::Unfinished(stat, reason), true)
            }
            Look::Unfinished(stat, reason) => {
                let stands = self.may_be_known(stat, growth)?;
                (Look::Unfinished(stat, reason), stands)
            }
            Look::Unreadable(..) => {
                let stands = self.record(growth)?.is_some();
                (look, stands)
            }
            look => (look, false),
        })
    }

    /// Where everything lies there already, nothing is taken for growing.
    ///
    /// # Errors
    /// As [`Self::observe`].
    pub(super) fn observe_once(&self, look: Look<Whole>) -> Result<Seen, LedgerError> {
        match &look {
            Look::Whole(_) => self.observe(look, None),
            _ => Ok(Seen::new(look, None)),
        }
    }

    /// Looks for new planes behind the look at the file as a whole.
    ///
    /// # Errors
    /// When the ledger cannot be read.
    pub(super) fn observe(&self, mut look: Look<Whole>, growth: Option<Growth>) -> Result<Seen, LedgerError> {
        let (stat, at_rest) = match &mut look {
            Look::Whole((stat, _)) if growth.as_ref().is_some_and(Growth::is_busy) => {
                // its last planes are still in work
                return Ok(Seen::new(Look::Stat(*stat), growth));
            }
            Look::Whole((stat, container)) => {
                let only_grew = self.only_grew(*stat, growth.as_ref())?;
                let probes = self.probes_of_whole(*stat, container.as_mut()).unwrap_or_default();
                return Ok(Seen { only_grew, probes, ..Seen::new(look, growth) });
            }
            Look::Stat(stat) => (*stat, false),
            Look::BeingWritten(Some(stat)) | Look::Unfinished(stat, _) => (*stat, true),
            _ => return Ok(Seen::new(look, growth)),
        };
        if !self.settings.enabled {
            return Ok(Seen::new(look, growth));
        }
        let opened = filesystem::open_regular(self.path).ok().filter(|(_, now)| is_same(*now, stat));
        let Some((mut file, now)) = opened else { return Ok(Seen::new(look, growth)) };
        let at_rest = at_rest && now == stat;
        if let Some((taken, known)) = growth.as_ref().and_then(|own| Some((own.taken.as_ref()?, own.file))) {
            match probes::hold(&mut file, &taken.probes) {
                Ok(true) if known == (stat.device, stat.inode) => {}
                // a share that does not answer now says nothing of the file
                Err(_) => return Ok(Seen::new(look, growth)),
                Ok(_) => {
                    let rewritten = Some(taken.claim);
                    return Ok(Seen { rewritten, ..Seen::new(Look::Stat(stat), None) });
                }
            }
        }
        let has_shrunk = self.last_seen.0.is_some_and(|before| stat.size_bytes < before.size_bytes);
        let growth = growth.filter(|growth| growth.taken.is_some() || !has_shrunk);
        let growth =
            match growth.map_or_else(|| self.begin(&mut file, stat, at_rest), |growth| Ok(Some(growth))) {
                Ok(Some(growth)) => growth,
                // not a format that grows, or nothing of it to see yet
                Ok(None) | Err(_) => return Ok(Seen::new(look, None)),
            };
        self.walk(look, growth, (file, stat, at_rest))
    }

    /// Begins to walk a file that grows; a file that has not changed yet is taken for one only if its format says so.
    fn begin(&self, file: &mut File, stat: FileStat, at_rest: bool) -> Result<Option<Growth>, FormatError> {
        let (before, has_changed) = self.last_seen;
        let grows = at_rest || has_changed || before.is_some_and(|before| before != stat);
        if before.is_none() {
            return Ok(None);
        }
        if !grows && formats::sniff(file)? != Format::Nd2 {
            return Ok(None);
        }
        let container = growing::open(file, self.limits)?;
        let file = (stat.device, stat.inode);
        Ok(container.map(|container| Growth {
            container,
            file,
            hinted_at: None,
            hint_refusal: None,
            unfinished: None,
            taken: None,
        }))
    }

    fn walk(
        &self,
        look: Look<Whole>,
        mut growth: Growth,
        (mut file, stat, at_rest): (File, FileStat, bool),
    ) -> Result<Seen, LedgerError> {
        if let Err(error) = growth.container.advance(&mut file, at_rest) {
            let remark = Some(format!("read when it is complete: {error}"));
            return Ok(Seen { remark, ..Seen::new(look, Some(growth)) });
        }
        if let Look::Unfinished(stat, reason) = &look {
            growth.unfinished = Some((*stat, reason.clone()));
        }
        let n_written = growth.container.n_written();
        if growth.is_busy() {
            // what has come meanwhile is the next batch
            return Ok(Seen { n_written, ..Seen::new(look, Some(growth)) });
        }
        self.give_hint(&mut growth);
        let fresh = match self.fresh(&mut growth, &mut file, stat) {
            Ok(fresh) => fresh,
            Err(error) => {
                let remark = Some(format!("read when it is complete: {error}"));
                return Ok(Seen { remark, ..Seen::new(look, Some(growth)) });
            }
        };
        let only_grew = fresh.is_some() && self.only_grew(stat, Some(&growth))?;
        let remark = if fresh.is_none() && growth.taken.is_none() { growth.remark() } else { None };
        Ok(Seen { fresh, n_written, only_grew, remark, ..Seen::new(look, Some(growth)) })
    }

    /// The planes that were found written, with the bytes by which the file is known again.
    fn fresh(
        &self,
        growth: &mut Growth,
        file: &mut File,
        stat: FileStat,
    ) -> Result<Option<Fresh>, FormatError> {
        // both handles share their place in the file: the container moves to where it reads
        let source = Box::new(file.try_clone()?);
        let Some(mut container) = growth.container.new_planes(source)? else { return Ok(None) };
        let ranges = container.steady_bytes()?;
        let now = probes::take(file, &ranges)?;
        let probes = match (&growth.taken, now.split_last()) {
            // head and first plane are those of the first batch
            (Some(taken), Some((last, _))) => {
                let first = taken.probes.len().saturating_sub(1);
                taken.probes[..first].iter().chain([last]).cloned().collect()
            }
            _ => now,
        };
        Ok(Some(Fresh { stat, container, probes }))
    }

    /// Tells what siblings and settings say, where the file itself does not say enough yet.
    fn give_hint(&self, growth: &mut Growth) {
        let is_due = growth.hinted_at.is_none_or(|at| at.elapsed() >= HINT_INTERVAL);
        if !growth.container.wants_hint() || !is_due {
            return;
        }
        let mut last = "no finished file of the same run lies beside it".to_owned();
        for hint in siblings::hints(self.path, self.limits) {
            match growth.container.take_hint(&hint) {
                Ok(()) => return,
                Err(why) => last = format!("a file of the same run does not fit: {why}"),
            }
        }
        let stated = Hint::Stated(self.settings.frame_shapes.clone());
        if !self.settings.frame_shapes.is_empty() {
            match growth.container.take_hint(&stated) {
                Ok(()) => return,
                Err(why) => last = why,
            }
        }
        (growth.hinted_at, growth.hint_refusal) = (Some(Instant::now()), Some(last));
    }

    /// Whether the file is one that was taken up while it grew, by this process or one before, and only grew since.
    fn only_grew(&self, stat: FileStat, growth: Option<&Growth>) -> Result<bool, LedgerError> {
        Ok(self.record(growth)?.is_some_and(|record| self.hold(stat, &record).unwrap_or(false)))
    }

    /// The same, or that cannot be told now.
    fn may_be_known(&self, stat: FileStat, growth: Option<&Growth>) -> Result<bool, LedgerError> {
        Ok(self.record(growth)?.is_some_and(|record| self.hold(stat, &record).unwrap_or(true)))
    }

    /// By what a whole file will be known again if it goes on growing: of what has one plane, nothing is saved that
    /// way.
    fn probes_of_whole(
        &self,
        stat: FileStat,
        container: &mut dyn Container,
    ) -> Result<Vec<Probe>, FormatError> {
        if container.planes().len() < 2 {
            return Ok(Vec::new());
        }
        let ranges = container.steady_bytes()?;
        if ranges.is_empty() {
            return Ok(Vec::new());
        }
        let (mut file, now) = filesystem::open_regular(self.path)?;
        if now == stat { Ok(probes::take(&mut file, &ranges)?) } else { Ok(Vec::new()) }
    }

    /// By what the file is known again.
    fn record(&self, growth: Option<&Growth>) -> Result<Option<GrowthRecord>, LedgerError> {
        let known = growth.and_then(|growth| Some((growth.file, growth.taken.as_ref()?.probes.clone())));
        match known {
            Some(((device, inode), probes)) => {
                Ok(Some(GrowthRecord { device, inode, probes, finished_bytes: None }))
            }
            None => self.books.growth_of(self.ticket.root.id, &self.ticket.path),
        }
    }

    /// Whether what was known of the file is still so.
    ///
    /// # Errors
    /// When it cannot be opened and read.
    fn hold(&self, stat: FileStat, record: &GrowthRecord) -> io::Result<bool> {
        let is_larger = record.finished_bytes.is_none_or(|bytes| bytes < stat.size_bytes);
        if (record.device, record.inode) != (stat.device, stat.inode) || !is_larger {
            return Ok(false);
        }
        let (mut file, now) = filesystem::open_regular(self.path)?;
        Ok(is_same(now, stat) && probes::hold(&mut file, &record.probes)?)
    }
}

/// Whether the file that was opened is the one that was looked at, or grew since.
fn is_same(opened: FileStat, looked_at: FileStat) -> bool {
    (opened.device, opened.inode) == (looked_at.device, looked_at.inode)
}

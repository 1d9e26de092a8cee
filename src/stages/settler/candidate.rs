//! The life of one file before it is taken up, as a state machine without clock or file system.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::Instant;

use crate::paths::FileStat;
use crate::store::FileState;

/// How long a file must rest, and when waiting becomes worth a word.
#[derive(Debug, Clone, Copy)]
pub struct Patience {
    /// Size and times must not change for this long before the file is opened for reading.
    pub quiet_period: Duration,
    /// An unfinished file that has not changed for this long is listed as incomplete.
    pub incomplete_after: Duration,
}

/// What a look at the file showed.
#[derive(Debug)]
pub enum Look<T> {
    /// Only the stat figures were taken: the quiet period is not over.
    Stat(FileStat),
    /// Another process has it open for writing, or refuses readers.
    BeingWritten(Option<FileStat>),
    /// At rest, but the format says that data are missing.
    Unfinished(FileStat, String),
    /// At rest and whole.
    Whole(T),
    /// At rest and unreadable for good, with kind and reason.
    Refused(FileStat, &'static str, String),
    /// Nothing lies there any more.
    Vanished,
}

/// What follows from a look.
#[derive(Debug)]
pub(super) enum Verdict<T> {
    /// Look again at the given time; a change of state is to be noted with its reason.
    Wait(Instant, Option<(FileState, String)>),
    /// Take it up.
    Take(T),
    /// Report it as rejected, with kind and reason.
    Reject(FileStat, &'static str, String),
    /// List it as incomplete and forget it until it changes.
    GiveUp(FileStat, String),
    /// Forget it: it has gone.
    Forget,
}

/// A file under observation.
#[derive(Debug)]
pub(super) struct Candidate {
    stat: Option<FileStat>,
    unchanged_since: Instant,
    change_intervals: VecDeque<Duration>,
    state: Option<FileState>,
}

/// Changes whose intervals are remembered.
const INTERVALS_MAX: usize = 16;
/// No change for this many median intervals: the acquisition stalls.
const STALLED_INTERVALS: u32 = 5;
/// How much of a waiting time passes between two looks.
const LOOKS_PER_PERIOD: u32 = 2;
/// The longest time between two looks.
const LOOK_INTERVAL_MAX: Duration = Duration::from_secs(5);

impl Candidate {
    /// Starts to observe a file at `now`.
    pub(super) fn new(now: Instant) -> Self {
        Self { stat: None, unchanged_since: now, change_intervals: VecDeque::new(), state: None }
    }

    /// The stat figures that a file must still have to be opened, once the quiet period is over.
    pub(super) fn at_rest(&self, now: Instant, patience: Patience) -> Option<FileStat> {
        let rested = now.duration_since(self.unchanged_since) >= patience.quiet_period;
        self.stat.filter(|_| rested)
    }

    /// The state it was noted in last.
    pub(super) fn state(&self) -> FileState {
        self.state.unwrap_or(FileState::Waiting)
    }

    /// Takes in what a look showed at `now` and says what follows.
    pub(super) fn judge<T>(&mut self, look: Look<T>, now: Instant, patience: Patience) -> Verdict<T> {
        match look {
            Look::Whole(whole) => Verdict::Take(whole),
            Look::Vanished => Verdict::Forget,
            Look::Refused(stat, kind, reason) => Verdict::Reject(stat, kind, reason),
            Look::Stat(stat) => {
                let changed = self.observe(stat, now);
                let grew = changed && !self.change_intervals.is_empty();
                let note =
                    grew.then(|| self.enter(FileState::Growing, "size or times still change")).flatten();
                Verdict::Wait(self.next_look(now, patience), note)
            }
            Look::BeingWritten(stat) => {
                if let Some(stat) = stat {
                    self.observe(stat, now);
                }
                let note = match self.stalled_reason(now) {
                    Some(reason) => self.enter(FileState::Stalled, &reason),
                    None => self.enter(FileState::BeingWritten, "another process has it open for writing"),
                };
                Verdict::Wait(self.next_look(now, patience), note)
            }
            Look::Unfinished(stat, reason) => self.judge_unfinished(stat, reason, now, patience),
        }
    }

    fn judge_unfinished<T>(
        &mut self,
        stat: FileStat,
        reason: String,
        now: Instant,
        patience: Patience,
    ) -> Verdict<T> {
        self.observe(stat, now);
        if now.duration_since(self.unchanged_since) >= patience.incomplete_after {
            return Verdict::GiveUp(stat, reason);
        }
        let note = match self.stalled_reason(now) {
            Some(stalled) => self.enter(FileState::Stalled, &format!("{stalled}; {reason}")),
            None => self.enter(FileState::Waiting, &reason),
        };
        Verdict::Wait(self.next_look(now, patience), note)
    }

    /// Remembers the figures; whether they changed.
    fn observe(&mut self, stat: FileStat, now: Instant) -> bool {
        if self.stat == Some(stat) {
            return false;
        }
        if self.stat.is_some() {
            self.change_intervals.push_back(now.duration_since(self.unchanged_since));
            if self.change_intervals.len() > INTERVALS_MAX {
                self.change_intervals.pop_front();
            }
        }
        self.stat = Some(stat);
        self.unchanged_since = now;
        true
    }

    fn stalled_reason(&self, now: Instant) -> Option<String> {
        let mut intervals: Vec<_> = self.change_intervals.iter().copied().collect();
        intervals.sort_unstable();
        let median = *intervals.get(intervals.len() / 2)?;
        let rest = now.duration_since(self.unchanged_since);
        (rest > median * STALLED_INTERVALS).then(|| {
            format!(
                "no change for {:.1} s, it used to change every {:.1} s",
                rest.as_secs_f64(),
                median.as_secs_f64()
            )
        })
    }

    /// Changes the state; the note to keep when it is another one.
    fn enter(&mut self, state: FileState, reason: &str) -> Option<(FileState, String)> {
        (self.state != Some(state)).then(|| {
            self.state = Some(state);
            (state, reason.to_owned())
        })
    }

    fn next_look(&self, now: Instant, patience: Patience) -> Instant {
        let rested = now.duration_since(self.unchanged_since);
        let wait = match patience.quiet_period.checked_sub(rested) {
            Some(rest) if !rest.is_zero() => rest,
            // at rest, but not whole or still held: look less and less often
            _ => (rested / LOOKS_PER_PERIOD).max(patience.quiet_period / LOOKS_PER_PERIOD),
        };
        now + wait.clamp(Duration::from_millis(10), LOOK_INTERVAL_MAX.max(patience.quiet_period))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: Patience =
        Patience { quiet_period: Duration::from_secs(2), incomplete_after: Duration::from_secs(60) };

    fn stat(size_bytes: u64) -> FileStat {
        FileStat { device: 1, inode: 2, size_bytes, mtime_ns: 3, ctime_ns: 4 }
    }

    fn after(start: Instant, seconds: f64) -> Instant {
        start + Duration::from_secs_f64(seconds)
    }

    #[test]
    fn a_file_rests_only_after_a_whole_quiet_period() {
        let start = Instant::now();
        let mut file = Candidate::new(start);
        assert!(file.at_rest(after(start, 9.0), PATIENCE).is_none(), "never looked at");
        let Verdict::Wait(next, None) = file.judge::<()>(Look::Stat(stat(5)), start, PATIENCE) else {
            panic!()
        };
        assert_eq!(next, after(start, 2.0));
        assert!(file.at_rest(after(start, 1.9), PATIENCE).is_none());
        assert_eq!(file.at_rest(next, PATIENCE), Some(stat(5)));
    }

    #[test]
    fn any_change_starts_the_quiet_period_again_and_is_noted_once() {
        let start = Instant::now();
        let mut file = Candidate::new(start);
        file.judge::<()>(Look::Stat(stat(5)), start, PATIENCE);
        let same_size_other_time = FileStat { mtime_ns: 9, ..stat(5) };
        let verdict = file.judge::<()>(Look::Stat(same_size_other_time), after(start, 1.5), PATIENCE);
        assert!(matches!(verdict, Verdict::Wait(_, Some((FileState::Growing, _)))));
        assert!(file.at_rest(after(start, 3.0), PATIENCE).is_none());
        let verdict = file.judge::<()>(Look::Stat(stat(6)), after(start, 3.0), PATIENCE);
        assert!(matches!(verdict, Verdict::Wait(_, None)));
    }

    #[test]
    fn growing_stalled_and_incomplete_are_told_apart() {
        let start = Instant::now();
        let mut file = Candidate::new(start);
        for second in 0..4 {
            file.judge::<()>(Look::Stat(stat(second)), after(start, second as f64), PATIENCE);
        }
        let unfinished = |file: &mut Candidate, seconds| {
            file.judge::<()>(Look::Unfinished(stat(3), "no map".into()), after(start, seconds), PATIENCE)
        };
        let Verdict::Wait(_, Some((state, reason))) = unfinished(&mut file, 5.0) else { panic!() };
        assert_eq!((state, reason.as_str()), (FileState::Waiting, "no map"));
        let Verdict::Wait(_, Some((state, reason))) = unfinished(&mut file, 9.0) else { panic!() };
        assert_eq!(state, FileState::Stalled);
        assert!(reason.contains("every 1.0 s") && reason.contains("no map"), "{reason}");
        assert!(matches!(unfinished(&mut file, 20.0), Verdict::Wait(_, None)));
        assert!(matches!(unfinished(&mut file, 63.5), Verdict::GiveUp(_, _)));
    }

    #[test]
    fn looks_grow_rarer_while_nothing_happens() {
        let start = Instant::now();
        let mut file = Candidate::new(start);
        let mut now = start;
        let mut looks = 0;
        while now < after(start, 60.0) {
            let Verdict::Wait(next, _) = file.judge::<()>(Look::BeingWritten(Some(stat(5))), now, PATIENCE)
            else {
                panic!()
            };
            assert!(next > now);
            (now, looks) = (next, looks + 1);
        }
        assert!((10..30).contains(&looks), "{looks}");
    }
}

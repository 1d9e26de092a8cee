//! The life of one file before it is taken up, as a state machine without clock or file system.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::Instant;

use crate::formats::{Container, FormatErrorKind};
use crate::paths::FileStat;
use crate::store::FileState;

/// How long a file must rest, and when waiting becomes worth a word.
#[derive(Debug, Clone, Copy)]
pub struct Patience {
    /// Size and times must not change for this long before the file is opened for reading.
    pub quiet_period: Duration,
    /// An unfinished file that has not changed for this long is listed as incomplete.
    pub incomplete_after: Duration,
    /// A growing file is never said to be stalled before nothing came for this long.
    pub stalled_after_min: Duration,
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
    /// The system failed to give it out, for a reason that may pass.
    Unreadable(Option<FileStat>, String),
    /// At rest and unreadable for good, with kind and reason.
    Refused(FileStat, &'static str, String),
    /// Nothing lies there any more.
    Vanished,
}

impl Look<(FileStat, Box<dyn Container>)> {
    /// The figures of the file, where they could be taken.
    pub(super) fn stat(&self) -> Option<FileStat> {
        match self {
            Self::Stat(stat) | Self::Unfinished(stat, _) | Self::Refused(stat, ..) => Some(*stat),
            Self::Whole((stat, _)) => Some(*stat),
            Self::BeingWritten(stat) | Self::Unreadable(stat, _) => *stat,
            Self::Vanished => None,
        }
    }
}

/// What follows from a look.
#[derive(Debug)]
pub(super) enum Verdict<T> {
    /// Look again at the given time; a change of state is to be noted.
    Wait(Instant, Option<Note>),
    /// Take it up.
    Take(T),
    /// Report it as rejected, with kind and reason.
    Reject(Option<FileStat>, &'static str, String),
    /// List it as incomplete and forget it until it changes.
    GiveUp(FileStat, String),
    /// Forget it: it has gone, and this was last seen of it.
    Forget(Option<FileStat>),
}

/// A change of state, for the ledger.
#[derive(Debug, PartialEq)]
pub(super) struct Note {
    pub(super) stat: FileStat,
    pub(super) state: FileState,
    pub(super) reason: String,
}

/// A file under observation.
#[derive(Debug)]
pub(super) struct Candidate {
    stat: Option<FileStat>,
    unchanged_since: Instant,
    /// Looks since the last change.
    n_looks_unchanged: u32,
    change_intervals: VecDeque<Duration>,
    unreadable: Option<Trouble>,
    /// Planes that were taken up while the file grows.
    arrivals: Option<Arrivals>,
    state: FileState,
    reason: String,
    /// What stands in the way of its planes, as long as it grows.
    remark: Option<String>,
    /// The state that was noted last, and the remark: nothing can be noted before the first stat figures.
    noted: Option<(FileState, Option<String>)>,
}

/// The planes of a growing file as they come.
#[derive(Debug)]
struct Arrivals {
    n_written: u64,
    n_planes: u64,
    last: Instant,
    /// The last plane, or the first change after the file had been given up.
    quiet_since: Instant,
    intervals: VecDeque<Duration>,
}

/// Looks in a row that failed.
#[derive(Debug)]
struct Trouble {
    since: Instant,
    n_looks: u32,
}

/// Changes whose intervals are remembered.
const INTERVALS_MAX: usize = 16;
/// No change for this many median intervals: the acquisition stalls.
const STALLED_INTERVALS: u32 = 5;
/// Looks that must fail in a row before a file is given up as unreadable, even where nothing is waited for.
const UNREADABLE_LOOKS_MIN: u32 = 3;
/// The shortest time between two such looks.
const UNREADABLE_INTERVAL_MIN: Duration = Duration::from_millis(100);
/// How much of a waiting time passes between two looks.
const LOOKS_PER_PERIOD: u32 = 2;
/// The longest time between two looks.
const LOOK_INTERVAL_MAX: Duration = Duration::from_secs(5);
/// The times between two looks at a file whose planes are taken up while it grows, or that has just changed.
const GROWING_INTERVAL: [Duration; 2] = [Duration::from_millis(200), Duration::from_secs(1)];

impl Candidate {
    /// Starts to observe a file at `now`.
    pub(super) fn new(now: Instant) -> Self {
        Self {
            stat: None,
            unchanged_since: now,
            n_looks_unchanged: 0,
            change_intervals: VecDeque::new(),
            unreadable: None,
            arrivals: None,
            state: FileState::Waiting,
            reason: String::new(),
            remark: None,
            noted: None,
        }
    }

    /// The figures of the last look, and whether they have ever changed.
    pub(super) fn last_seen(&self) -> (Option<FileStat>, bool) {
        (self.stat, !self.change_intervals.is_empty())
    }

    /// Why it is in its state, and the planes that were taken up while it grows.
    pub(super) fn standing(&self) -> (&str, Option<u64>) {
        (&self.reason, self.arrivals.as_ref().map(|arrivals| arrivals.n_planes))
    }

    /// Takes in how many frames of a growing file are written by now, and how many planes were handed on.
    pub(super) fn planes_came(&mut self, (n_written, n_new): (u64, usize), now: Instant) {
        let first =
            Arrivals { n_written, n_planes: 0, last: now, quiet_since: now, intervals: VecDeque::new() };
        let arrivals = self.arrivals.get_or_insert(first);
        arrivals.n_planes += n_new as u64;
        let n_more = n_written.saturating_sub(arrivals.n_written);
        if n_more > 0 {
            let each = now.duration_since(arrivals.last) / u32::try_from(n_more).unwrap_or(u32::MAX);
            arrivals.intervals.extend(std::iter::repeat_n(each, (n_more as usize).min(INTERVALS_MAX)));
            let n_old = arrivals.intervals.len().saturating_sub(INTERVALS_MAX);
            arrivals.intervals.drain(..n_old);
            (arrivals.n_written, arrivals.last, arrivals.quiet_since) = (n_written, now, now);
        }
    }

    /// Begins anew: the file is another one.
    pub(super) fn start_over(&mut self) {
        (self.arrivals, self.noted) = (None, None);
        self.change_intervals.clear();
    }

    /// Nothing more is expected of it, although it is still looked at; the note to keep the first time.
    pub(super) fn give_up(&mut self, reason: &str) -> Option<Note> {
        self.enter(FileState::Incomplete, reason)
    }

    /// What stands in the way of its planes while it grows.
    pub(super) fn set_remark(&mut self, remark: Option<String>) {
        self.remark = remark;
    }

    /// The stat figures that a file must still have to be opened, once the quiet period is over.
    pub(super) fn at_rest(&self, now: Instant, patience: Patience) -> Option<FileStat> {
        let rested = now.duration_since(self.unchanged_since) >= patience.quiet_period;
        self.stat.filter(|_| rested)
    }

    /// What it was last found to be.
    pub(super) fn state(&self) -> FileState {
        self.state
    }

    /// Takes in what a look showed at `now` and says what follows.
    pub(super) fn judge<T>(&mut self, look: Look<T>, now: Instant, patience: Patience) -> Verdict<T> {
        if !matches!(look, Look::Unreadable(..)) {
            self.unreadable = None;
        }
        match look {
            Look::Whole(whole) => Verdict::Take(whole),
            Look::Vanished => Verdict::Forget(self.stat),
            Look::Refused(stat, kind, reason) => Verdict::Reject(Some(stat), kind, reason),
            Look::Unreadable(stat, reason) => self.judge_unreadable(stat, reason, now, patience),
            Look::Stat(stat) => {
                let changed = self.observe(stat, now);
                let grew = changed && !self.change_intervals.is_empty();
                if let Some(arrivals) =
                    self.arrivals.as_mut().filter(|_| changed && self.state == FileState::Incomplete)
                {
                    arrivals.quiet_since = now;
                }
                let note = match self.stalled_reason(now, patience) {
                    Some(reason) if self.arrivals.is_some() => self.enter(FileState::Stalled, &reason),
                    _ if grew || self.arrivals.is_some() => {
                        self.enter(FileState::Growing, "size or times still change")
                    }
                    _ => None,
                };
                Verdict::Wait(self.next_look(now, patience), note)
            }
            Look::BeingWritten(stat) => {
                if let Some(stat) = stat {
                    self.observe(stat, now);
                }
                let note = match self.stalled_reason(now, patience) {
                    Some(reason) => self.enter(FileState::Stalled, &reason),
                    None => self.enter(FileState::BeingWritten, "another process has it open for writing"),
                };
                Verdict::Wait(self.next_look(now, patience), note)
            }
            Look::Unfinished(stat, reason) => self.judge_unfinished(stat, reason, now, patience),
        }
    }

    fn judge_unreadable<T>(
        &mut self,
        stat: Option<FileStat>,
        reason: String,
        now: Instant,
        patience: Patience,
    ) -> Verdict<T> {
        if let Some(stat) = stat {
            self.observe(stat, now);
        }
        let trouble = self.unreadable.get_or_insert(Trouble { since: now, n_looks: 0 });
        trouble.n_looks += 1;
        let lasted = now.duration_since(trouble.since);
        if lasted >= patience.incomplete_after && trouble.n_looks >= UNREADABLE_LOOKS_MIN {
            return Verdict::Reject(self.stat, FormatErrorKind::Io.name(), reason);
        }
        let next = now + (lasted / LOOKS_PER_PERIOD).clamp(UNREADABLE_INTERVAL_MIN, LOOK_INTERVAL_MAX);
        Verdict::Wait(next, self.enter(FileState::Unreadable, &reason))
    }

    fn judge_unfinished<T>(
        &mut self,
        stat: FileStat,
        reason: String,
        now: Instant,
        patience: Patience,
    ) -> Verdict<T> {
        self.observe(stat, now);
        if now.duration_since(self.unchanged_since) >= self.give_up_after(patience) {
            return Verdict::GiveUp(stat, reason);
        }
        let note = match self.stalled_reason(now, patience) {
            Some(stalled) => self.enter(FileState::Stalled, &format!("{stalled}; {reason}")),
            None => self.enter(FileState::Waiting, &reason),
        };
        Verdict::Wait(self.next_look(now, patience), note)
    }

    /// Remembers the figures; whether they changed.
    fn observe(&mut self, stat: FileStat, now: Instant) -> bool {
        if self.stat == Some(stat) {
            self.n_looks_unchanged += 1;
            return false;
        }
        self.n_looks_unchanged = 0;
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

    /// How much time passes between two planes, or two changes: the median.
    fn usual_interval(&self) -> Option<Duration> {
        let intervals = self.arrivals.as_ref().map_or(&self.change_intervals, |arrivals| &arrivals.intervals);
        let mut intervals: Vec<_> = intervals.iter().copied().collect();
        intervals.sort_unstable();
        intervals.get(intervals.len() / 2).copied()
    }

    /// How long an unfinished file must rest to be given up. One whose planes come slowly is called stalled first, and
    /// given up when it has rested for as long again.
    fn give_up_after(&self, patience: Patience) -> Duration {
        let interval = self.usual_interval().filter(|_| self.arrivals.is_some());
        let stalled_after =
            interval.map(|interval| (interval * STALLED_INTERVALS).max(patience.stalled_after_min));
        patience.incomplete_after.max(stalled_after.unwrap_or_default() * 2)
    }

    fn stalled_reason(&self, now: Instant, patience: Patience) -> Option<String> {
        let (last, what) = match &self.arrivals {
            Some(arrivals) => (arrivals.quiet_since, "new plane"),
            None => (self.unchanged_since, "change"),
        };
        let interval = self.usual_interval()?;
        let rest = now.duration_since(last);
        (rest > (interval * STALLED_INTERVALS).max(patience.stalled_after_min)).then(|| {
            format!(
                "no {what} for {:.1} s, there used to be one every {:.1} s",
                rest.as_secs_f64(),
                interval.as_secs_f64()
            )
        })
    }

    /// Changes the state; the note to keep when it is another one. A file whose planes are taken up grows, whoever
    /// holds it and whatever it lacks.
    fn enter(&mut self, state: FileState, reason: &str) -> Option<Note> {
        let goes_on = matches!(state, FileState::BeingWritten | FileState::Waiting | FileState::Growing);
        self.state = if goes_on && self.arrivals.is_some() { FileState::Growing } else { state };
        let remark = self.remark.clone().filter(|_| goes_on);
        self.reason =
            remark.as_ref().map_or_else(|| reason.to_owned(), |remark| format!("{reason}; {remark}"));
        let noted = Some((self.state, remark));
        let stat = self.stat.filter(|_| self.noted != noted)?;
        self.noted = noted;
        Some(Note { stat, state: self.state, reason: self.reason.clone() })
    }

    fn next_look(&self, now: Instant, patience: Patience) -> Instant {
        let [shortest, longest] = GROWING_INTERVAL;
        let rested = now.duration_since(self.unchanged_since);
        let soon = match &self.arrivals {
            Some(arrivals) => {
                Some((now.duration_since(arrivals.last) / LOOKS_PER_PERIOD).clamp(shortest, longest))
            }
            // a file that is being written shows it soon
            None => (self.n_looks_unchanged == 0).then_some(longest),
        };
        let wait = match patience.quiet_period.checked_sub(rested) {
            Some(rest) if !rest.is_zero() => rest.min(soon.unwrap_or(rest)),
            // at rest, but not whole or still held: look less and less often
            _ => soon
                .filter(|_| self.arrivals.is_some())
                .unwrap_or_else(|| (rested / LOOKS_PER_PERIOD).max(patience.quiet_period / LOOKS_PER_PERIOD)),
        };
        now + wait.clamp(Duration::from_millis(10), LOOK_INTERVAL_MAX.max(patience.quiet_period))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: Patience = Patience {
        quiet_period: Duration::from_secs(2),
        incomplete_after: Duration::from_secs(60),
        stalled_after_min: Duration::ZERO,
    };

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
        assert_eq!(next, after(start, 1.0), "an early look, in case it grows");
        let Verdict::Wait(next, None) = file.judge::<()>(Look::Stat(stat(5)), next, PATIENCE) else {
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
        let Verdict::Wait(_, Some(note)) = verdict else { panic!() };
        assert_eq!((note.state, note.stat), (FileState::Growing, same_size_other_time));
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
        let Verdict::Wait(_, Some(note)) = unfinished(&mut file, 5.0) else { panic!() };
        assert_eq!((note.state, note.reason.as_str()), (FileState::Waiting, "no map"));
        let Verdict::Wait(_, Some(Note { state, reason, .. })) = unfinished(&mut file, 9.0) else { panic!() };
        assert_eq!(state, FileState::Stalled);
        assert!(reason.contains("every 1.0 s") && reason.contains("no map"), "{reason}");
        assert!(matches!(unfinished(&mut file, 20.0), Verdict::Wait(_, None)));
        assert!(matches!(unfinished(&mut file, 63.5), Verdict::GiveUp(_, _)));
    }

    #[test]
    fn a_growing_file_stalls_when_planes_stop_to_come_and_is_looked_at_often() {
        let start = Instant::now();
        let patience = Patience { stalled_after_min: Duration::from_secs(8), ..PATIENCE };
        let mut file = Candidate::new(start);
        let mut look = |n_written: u64, seconds| {
            let now = after(start, seconds);
            file.planes_came((n_written, 1), now);
            let Verdict::Wait(next, note) =
                file.judge::<()>(Look::BeingWritten(Some(stat(9))), now, patience)
            else {
                panic!()
            };
            assert!(next - now <= Duration::from_secs(1), "{:?}", next - now);
            note.map(|note| note.state)
        };
        assert_eq!(look(1, 0.0), Some(FileState::Growing), "whoever holds it");
        assert_eq!(look(2, 1.0), None);
        assert_eq!(look(4, 3.0), None);
        assert_eq!(look(4, 10.9), None, "more than five intervals, but not the least time");
        assert_eq!(look(4, 11.1), Some(FileState::Stalled));
        assert_eq!(look(4, 20.0), None, "told once");
        assert_eq!(look(5, 30.0), Some(FileState::Growing));
        assert_eq!(look(5, 39.0), Some(FileState::Stalled), "and again");
        assert_eq!(file.standing().1, Some(8));
    }

    #[test]
    fn a_slow_series_is_stalled_before_it_is_given_up_and_goes_on_after_that() {
        let start = Instant::now();
        let mut file = Candidate::new(start);
        let mut look = |n_written: u64, seconds| {
            let now = after(start, seconds);
            file.planes_came((n_written, 1), now);
            let look = Look::Unfinished(stat(n_written), "no map".into());
            match file.judge::<()>(look, now, PATIENCE) {
                Verdict::Wait(_, note) => note.map(|note| note.state),
                Verdict::GiveUp(_, reason) => file.give_up(&reason).map(|note| note.state),
                verdict => panic!("{verdict:?}"),
            }
        };
        assert_eq!(look(1, 0.0), Some(FileState::Growing));
        assert_eq!(look(2, 100.0), None);
        assert_eq!(look(3, 200.0), None);
        assert_eq!(look(3, 299.0), None, "longer than an incomplete file is waited for");
        assert_eq!(look(3, 701.0), Some(FileState::Stalled));
        assert_eq!(look(3, 1199.0), None);
        assert_eq!(look(3, 1201.0), Some(FileState::Incomplete));
        assert_eq!(look(3, 1300.0), None, "told once");

        let changed = file.judge::<()>(Look::Stat(stat(9)), after(start, 1400.0), PATIENCE);
        assert!(matches!(changed, Verdict::Wait(_, Some(Note { state: FileState::Growing, .. }))));
        let changed = file.judge::<()>(Look::Stat(stat(10)), after(start, 1401.0), PATIENCE);
        assert!(matches!(changed, Verdict::Wait(_, None)), "its next plane is under way");
    }

    #[test]
    fn what_stands_in_the_way_of_planes_is_said_once() {
        let start = Instant::now();
        let mut file = Candidate::new(start);
        let mut look = |size, remark: Option<&str>, seconds| {
            file.set_remark(remark.map(str::to_owned));
            let verdict = file.judge::<()>(Look::Stat(stat(size)), after(start, seconds), PATIENCE);
            let Verdict::Wait(_, note) = verdict else { panic!() };
            note.map(|note| note.reason)
        };
        assert_eq!(look(1, None, 0.0), None);
        assert_eq!(look(2, None, 1.0).as_deref(), Some("size or times still change"));
        assert_eq!(look(3, Some("no shape"), 2.0).as_deref(), Some("size or times still change; no shape"));
        assert_eq!(look(4, Some("no shape"), 3.0), None);
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

    #[test]
    fn a_state_found_before_the_first_figures_is_noted_once_they_are_there() {
        let start = Instant::now();
        let mut file = Candidate::new(start);
        let held = |file: &mut Candidate, stat| {
            file.judge::<()>(Look::BeingWritten(stat), after(start, 1.0), PATIENCE)
        };
        assert!(matches!(held(&mut file, None), Verdict::Wait(_, None)));
        assert_eq!(file.state(), FileState::BeingWritten);
        let Verdict::Wait(_, Some(note)) = held(&mut file, Some(stat(5))) else { panic!() };
        assert_eq!((note.state, note.stat), (FileState::BeingWritten, stat(5)));
        assert!(matches!(held(&mut file, Some(stat(5))), Verdict::Wait(_, None)));
        assert!(matches!(
            file.judge::<()>(Look::Vanished, start, PATIENCE),
            Verdict::Forget(Some(seen)) if seen == stat(5)
        ));
    }

    #[test]
    fn trouble_of_the_system_is_waited_out_and_given_up_in_the_end() {
        let start = Instant::now();
        let unreadable = |file: &mut Candidate, now| {
            file.judge::<()>(Look::Unreadable(Some(stat(5)), "too many open files".into()), now, PATIENCE)
        };
        let mut file = Candidate::new(start);
        let (mut now, mut pauses) = (start, Vec::new());
        while let Verdict::Wait(next, note) = unreadable(&mut file, now) {
            assert_eq!(note.is_some(), pauses.is_empty(), "noted once");
            pauses.push(next - now);
            now = next;
        }
        assert!(pauses.is_sorted() && pauses.len() < 40, "{pauses:?}");
        assert!(now >= after(start, 60.0));
        assert!(matches!(unreadable(&mut file, now), Verdict::Reject(Some(_), "io", _)));

        let mut file = Candidate::new(start);
        unreadable(&mut file, start);
        file.judge::<()>(Look::Stat(stat(5)), after(start, 50.0), PATIENCE);
        assert!(matches!(unreadable(&mut file, after(start, 70.0)), Verdict::Wait(..)), "it had passed");
    }

    #[test]
    fn trouble_is_looked_at_three_times_where_nothing_is_waited_for() {
        let now = Instant::now();
        let patience =
            Patience { quiet_period: Duration::ZERO, incomplete_after: Duration::ZERO, ..PATIENCE };
        let mut file = Candidate::new(now);
        let mut judge = || file.judge::<()>(Look::Unreadable(None, "stale".into()), now, patience);
        assert!(matches!(judge(), Verdict::Wait(..)));
        assert!(matches!(judge(), Verdict::Wait(..)));
        assert!(matches!(judge(), Verdict::Reject(None, "io", _)));
    }
}

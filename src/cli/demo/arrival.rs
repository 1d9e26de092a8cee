//! How files come into the watched folder: one by one, as people and instruments write them, one of them frame by frame.

use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use indicatif::ProgressBar;

use crate::analysis::synthesis::truth::{GrowingFile, Truth};
use crate::cli::synth::below;

use super::found::Lines;
use super::{ACQUIRED, OUTPUT, WATCHED};

/// From one file to the next.
const FILE_PAUSE: Duration = Duration::from_millis(120);
/// From one frame of the growing file to the next.
const FRAME_PAUSE: Duration = Duration::from_millis(900);
/// How long the growing file waits, after its last frame, for its planes to be reported before it is finished.
const FRAME_PATIENCE: Duration = Duration::from_secs(60);
/// When the demo gives up waiting.
const PATIENCE: Duration = Duration::from_secs(180);
/// How long nothing must happen before everything counts as done.
const CALM: Duration = Duration::from_millis(1500);
const GLANCE: Duration = Duration::from_millis(50);

/// Files on their way into the watched folder.
pub(super) struct Arrival<'a> {
    pub(super) out: &'a Path,
    pub(super) truth: &'a Truth,
    pub(super) bar: &'a ProgressBar,
    /// Whether to stop early.
    pub(super) is_over: &'a dyn Fn() -> bool,
}

impl Arrival<'_> {
    /// Drops every file, lets the growing one grow, and waits until all is reported and `is_idle` holds for a while.
    /// Ends early without an error when it is over, or when patience has ended: then it is true.
    pub(super) fn run(&self, is_idle: &dyn Fn() -> bool) -> Result<bool> {
        let started = Instant::now();
        let mut files = Lines::new(self.out.join(OUTPUT).join("reports/files.jsonl"));
        let growing = self.truth.growing.as_ref();
        // the run's finished file comes first, so that the shape of the growing one can be known
        let is_sibling = |file: &str| growing.is_some_and(|growing| growing.sibling == file);
        let mut names: Vec<&str> = self.truth.files.iter().map(|file| file.file.as_str()).collect();
        names.retain(|file| growing.is_none_or(|growing| growing.file != *file));
        names.sort_by_key(|file| !is_sibling(file));
        for (number, file) in names.iter().enumerate() {
            self.drop_file(file)?;
            self.say(&mut files, &format!("{} files dropped", number + 1))?;
            if !self.rest(FILE_PAUSE) {
                return Ok(false);
            }
        }
        if let Some(growing) = growing {
            self.grow(growing, &mut files)?;
        }
        let mut calm_since = None;
        while started.elapsed() < PATIENCE && self.rest(GLANCE) {
            self.say(&mut files, "all files dropped")?;
            let is_calm = files.n_files() >= self.truth.files.len() && is_idle();
            let since = *calm_since.get_or_insert_with(Instant::now);
            if !is_calm {
                calm_since = None;
            } else if since.elapsed() > CALM {
                return Ok(false);
            }
        }
        Ok(!(self.is_over)())
    }

    /// Sleeps; false when it is over.
    fn rest(&self, pause: Duration) -> bool {
        let end = Instant::now() + pause;
        while !(self.is_over)() {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return true;
            }
            std::thread::sleep(left.min(GLANCE));
        }
        false
    }

    fn say(&self, files: &mut Lines, message: &str) -> Result<()> {
        files.read_new()?;
        self.bar.set_position(files.n_files() as u64);
        self.bar.set_message(message.to_owned());
        Ok(())
    }

    fn paths(&self, file: &str) -> Result<(PathBuf, PathBuf)> {
        let target = below(&self.out.join(WATCHED), file)?;
        if let Some(folder) = target.parent() {
            fs::create_dir_all(folder).with_context(|| folder.display().to_string())?;
        }
        Ok((below(&self.out.join(ACQUIRED), file)?, target))
    }

    /// Copies a file into the watched folder; the disk need not hold it twice.
    fn drop_file(&self, file: &str) -> Result<()> {
        let (source, target) = self.paths(file)?;
        fs::copy(&source, &target).with_context(|| target.display().to_string())?;
        fs::remove_file(&source).with_context(|| source.display().to_string())
    }

    /// Writes a file frame by frame, and its end once its planes are reported.
    fn grow(&self, growing: &GrowingFile, files: &mut Lines) -> Result<()> {
        let (source, target) = self.paths(&growing.file)?;
        let name = || target.display().to_string();
        let mut from = File::open(&source).with_context(|| source.display().to_string())?;
        let mut to = File::create_new(&target).with_context(name)?;
        let n_frames = growing.n_bytes_after_frame.len();
        for (number, end) in growing.n_bytes_after_frame.iter().enumerate() {
            append(&mut from, &mut to, Some(*end)).with_context(name)?;
            self.say(files, &format!("frame {} of {n_frames} of the growing file", number + 1))?;
            if !self.rest(FRAME_PAUSE) {
                return Ok(());
            }
        }
        let mut planes = Lines::new(self.out.join(OUTPUT).join("reports/planes.jsonl"));
        let asked = Instant::now();
        let n_planes = n_frames * growing.n_planes_per_frame as usize;
        while asked.elapsed() < FRAME_PATIENCE && self.rest(GLANCE) {
            planes.read_new()?;
            self.say(files, "the growing file waits for its planes to be reported")?;
            if planes.n_of(&growing.file) >= n_planes {
                break;
            }
        }
        append(&mut from, &mut to, None).with_context(name)?;
        fs::remove_file(&source).with_context(|| source.display().to_string())
    }
}

/// Appends what comes next of a file, up to a byte of it or to its end.
fn append(from: &mut File, to: &mut File, end: Option<u64>) -> std::io::Result<()> {
    let start = to.metadata()?.len();
    from.seek(SeekFrom::Start(start))?;
    let length = end.map_or(u64::MAX, |end| end.saturating_sub(start));
    std::io::copy(&mut Read::by_ref(from).take(length), to)?;
    to.flush()
}

//! Whether an acquisition notices that scopewatch runs: `cargo bench --bench camera` plays a camera that writes frames of 8 MiB
//! at 200 MB/s into the watched folder, each of which must be handed to the system before the next one is exposed, while
//! scopewatch works off a backlog that lies cold on the same disk. Rounds without and with it alternate; a round counts the
//! frames that came too late, and says how late.
//!
//! `camera [--seconds N] [--rounds N] [--mb-per-s N] [--backlog-mb N] [--dir FOLDER] [--sync] [NAME=VALUE...]`: a word with `=` is
//! a setting of the environment (`SCOPEWATCH__RESOURCES__PAGE_CACHE=keep`) for one more kind of round; with `--sync` the
//! camera waits for the disk after every frame.

use std::error::Error;
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// Columns and rows of a frame of 16 bits: 8 MiB.
const SIZE: [u32; 2] = [2048, 2048];
const FRAME_BYTES: usize = 2 * (SIZE[0] * SIZE[1]) as usize;
/// The pause after a round.
const REST: Duration = Duration::from_secs(2);
/// Frames with noise of their own; the others differ from them in their first row.
const N_NOISES: usize = 8;

fn main() -> Result<(), Box<dyn Error>> {
    let options = Options::parse()?;
    let folder = options.dir.join(format!("scopewatch-camera-{}", std::process::id()));
    fs::create_dir_all(&folder)?;
    let result = run(&options, &folder);
    fs::remove_dir_all(&folder)?;
    result
}

struct Options {
    seconds: f64,
    rounds: usize,
    mb_per_s: f64,
    backlog_mb: usize,
    dir: PathBuf,
    sync: bool,
    settings: Vec<(String, String)>,
}

impl Options {
    fn parse() -> Result<Self, Box<dyn Error>> {
        let mut options = Self {
            seconds: 10.0,
            rounds: 3,
            mb_per_s: 200.0,
            backlog_mb: 2000,
            dir: std::env::temp_dir(),
            sync: false,
            settings: Vec::new(),
        };
        let mut words = std::env::args().skip(1);
        while let Some(word) = words.next() {
            let mut value = || words.next().ok_or(format!("{word} needs a value"));
            match word.as_str() {
                "--bench" => {}
                "--sync" => options.sync = true,
                "--seconds" => options.seconds = value()?.parse()?,
                "--rounds" => options.rounds = value()?.parse()?,
                "--mb-per-s" => options.mb_per_s = value()?.parse()?,
                "--backlog-mb" => options.backlog_mb = value()?.parse()?,
                "--dir" => options.dir = value()?.into(),
                _ => {
                    let (name, value) = word.split_once('=').ok_or(format!("{word} is not known"))?;
                    options.settings.push((name.to_owned(), value.to_owned()));
                }
            }
        }
        Ok(options)
    }
}

fn run(options: &Options, folder: &Path) -> Result<(), Box<dyn Error>> {
    let noises: Vec<Vec<u8>> = (0..N_NOISES as u64).map(noise).collect();
    let inbox = folder.join("in");
    let n_backlog = options.backlog_mb * (1 << 20) / FRAME_BYTES;
    fs::create_dir_all(inbox.join("backlog"))?;
    for frame in 0..n_backlog {
        // numbers of their own, so that no frame is like one of the camera's
        write_frame(
            &inbox.join(format!("backlog/{frame:05}.tif")),
            &noises,
            1_000_000 + frame as u64,
            false,
        )?;
    }
    flush()?;
    sleep(REST);
    println!("this disk, written without pause: {:.0} MB/s", disk_rate(folder)?);
    println!(
        "camera: {} MB/s, {} s a round, {}; backlog {n_backlog} frames",
        options.mb_per_s,
        options.seconds,
        if options.sync { "each frame synced" } else { "through the page cache" }
    );
    println!(
        "{:<24} {:>7} {:>7} {:>10} {:>10} {:>9}",
        "round", "frames", "missed", "p99 ms", "worst ms", "backlog"
    );
    let mut kinds = vec![("without", None), ("with scopewatch", Some(&[][..]))];
    if !options.settings.is_empty() {
        kinds.push(("with these settings", Some(&options.settings[..])));
    }
    for first in 0..options.rounds {
        // what comes first after a pause finds another disk than what comes last: each kind has every place
        for number in 0..kinds.len() {
            let (name, settings) = &kinds[(first + number) % kinds.len()];
            let round = round(options, (folder, &noises), *settings)?;
            let Round { n_frames, n_missed, p99, worst, n_done } = round;
            let ms = |time: Duration| time.as_secs_f64() * 1000.0;
            println!(
                "{name:<24} {n_frames:>7} {n_missed:>7} {:>10.1} {:>10.1} {n_done:>9}",
                ms(p99),
                ms(worst)
            );
        }
    }
    Ok(())
}

struct Round {
    n_frames: usize,
    n_missed: usize,
    /// How long after its exposure 99 of 100 frames were written.
    p99: Duration,
    worst: Duration,
    /// Planes of which scopewatch has written a line by the end.
    n_done: usize,
}

/// One round of the camera; with settings, scopewatch runs beside it.
fn round(
    options: &Options,
    (folder, noises): (&Path, &[Vec<u8>]),
    settings: Option<&[(String, String)]>,
) -> Result<Round, Box<dyn Error>> {
    let (inbox, out) = (folder.join("in"), folder.join("out"));
    let live = inbox.join("live");
    fs::create_dir_all(&live)?;
    drop_caches(&inbox.join("backlog"))?;
    let service = settings.map(|settings| Service::start(&inbox, &out, settings)).transpose()?;
    let n_frames = (options.seconds * options.mb_per_s * 1e6 / FRAME_BYTES as f64) as usize;
    let interval = Duration::from_secs_f64(options.seconds / n_frames as f64);
    let begun = Instant::now();
    let mut took = Vec::with_capacity(n_frames);
    for frame in 0..n_frames {
        let exposed = begun + interval * frame as u32;
        sleep(exposed.saturating_duration_since(Instant::now()));
        write_frame(&live.join(format!("{frame:05}.tif")), noises, frame as u64, options.sync)?;
        took.push(exposed.elapsed());
    }
    let n_done = n_lines(&out.join("reports/planes.jsonl"));
    drop(service);
    for gone in [&live, &out] {
        match fs::remove_dir_all(gone) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error.into()),
            _ => (),
        }
    }
    flush()?;
    sleep(REST);
    let n_missed = took.iter().filter(|time| **time > interval).count();
    took.sort_unstable();
    let (p99, worst) = (took[(n_frames * 99 / 100).min(n_frames - 1)], took[n_frames - 1]);
    Ok(Round { n_frames, n_missed, p99, worst, n_done })
}

/// A running scopewatch; dropping it ends it.
struct Service(Child);

impl Service {
    fn start(inbox: &Path, out: &Path, settings: &[(String, String)]) -> Result<Self, Box<dyn Error>> {
        let binary = std::env::var_os("SCOPEWATCH_BINARY")
            .or_else(|| option_env!("CARGO_BIN_EXE_scopewatch").map(Into::into))
            .ok_or("SCOPEWATCH_BINARY names the program")?;
        let mut command = Command::new(binary);
        command.arg("run").arg("--watch").arg(inbox).arg("--out").arg(out);
        command.env("SCOPEWATCH__WATCH__QUIET_PERIOD_MS", "500");
        command.envs(settings.iter().map(|(name, value)| (name, value)));
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
        let service = Self(child);
        // the camera begins when the backlog is being read
        let deadline = Instant::now() + Duration::from_secs(30);
        while n_lines(&out.join("reports/planes.jsonl")) == 0 {
            if Instant::now() > deadline {
                return Err("no plane was reported within 30 s".into());
            }
            sleep(Duration::from_millis(20));
        }
        Ok(service)
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        // whatever it still had in hand is thrown away with its folder
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn n_lines(path: &Path) -> usize {
    fs::read(path).map_or(0, |bytes| bytes.iter().filter(|byte| **byte == b'\n').count())
}

/// Writes a frame as a TIFF file of one strip.
fn write_frame(path: &Path, noises: &[Vec<u8>], number: u64, sync: bool) -> std::io::Result<()> {
    const TAGS: [(u16, u16, u32); 9] = [
        (256, 4, SIZE[0]),
        (257, 4, SIZE[1]),
        (258, 3, 16),
        (259, 3, 1),
        (262, 3, 1),
        (273, 4, HEAD_BYTES as u32),
        (277, 3, 1),
        (278, 4, SIZE[1]),
        (279, 4, FRAME_BYTES as u32),
    ];
    const HEAD_BYTES: usize = 8 + 2 + 9 * 12 + 4;
    let mut head = Vec::with_capacity(HEAD_BYTES);
    head.extend(b"II*\0\x08\0\0\0");
    head.extend((TAGS.len() as u16).to_le_bytes());
    for (tag, kind, value) in TAGS {
        head.extend([tag, kind].iter().flat_map(|word| word.to_le_bytes()));
        head.extend([1, value].iter().flat_map(|word| word.to_le_bytes()));
    }
    head.extend([0; 4]);
    let pixels = &noises[(number % N_NOISES as u64) as usize];
    let row_bytes = 2 * SIZE[0] as usize;
    let own: Vec<u8> = number.to_le_bytes().into_iter().cycle().take(row_bytes).collect();
    let mut file = File::create(path)?;
    file.write_all(&head)?;
    file.write_all(&own)?;
    file.write_all(&pixels[row_bytes..])?;
    if sync { file.sync_data() } else { Ok(()) }
}

/// Camera noise around 100, by xorshift.
fn noise(seed: u64) -> Vec<u8> {
    let mut state = 0x9E37_79B9_7F4A_7C15 ^ (seed + 1);
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    let sample = |bits: u64| 100 + (bits.count_ones() as u16) * 4 + (bits & 3) as u16;
    (0..FRAME_BYTES / 2).flat_map(|_| sample(next()).to_le_bytes()).collect()
}

/// What the disk takes, in MB/s: 512 MiB, until they are there.
fn disk_rate(folder: &Path) -> std::io::Result<f64> {
    const BLOCKS: usize = 64;
    let path = folder.join("rate.bin");
    let block = noise(99);
    let begun = Instant::now();
    let mut file = File::create(&path)?;
    for _ in 0..BLOCKS {
        file.write_all(&block)?;
    }
    file.sync_data()?;
    let seconds = begun.elapsed().as_secs_f64();
    fs::remove_file(&path)?;
    Ok((BLOCKS * FRAME_BYTES) as f64 / 1e6 / seconds)
}

/// Waits until the disk has everything.
fn flush() -> std::io::Result<()> {
    Command::new("sync").status().map(|_| ())
}

/// Takes the files of a folder out of the page cache, as far as `dd` is allowed to.
fn drop_caches(folder: &Path) -> std::io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let file = format!("if={}", entry?.path().display());
        let mut command = Command::new("dd");
        command.args([&file, "iflag=nocache", "count=0"]).stderr(Stdio::null()).status()?;
    }
    Ok(())
}

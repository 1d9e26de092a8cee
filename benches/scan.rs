//! How fast copies are looked for: `cargo bench --bench scan` draws 10,000 frames of 512 x 512 pixels of 16 bits, no two alike, in
//! thirds as TIFF, deflated TIFF and ND2, and sets `scopewatch scan --only hash` beside what cannot be avoided (read, decode,
//! digest, one pass over the pixels, on one core) and beside `image_hasher` with the same decoder; everything in the page
//! cache. `scan write FOLDER N` only draws and `scan table FOLDER` only measures, for `scripts/bench_scan.py`.
//!
//! Times are the clock's and the CPU's (user and system, of all threads).

use std::error::Error;
use std::fs::{self, File};
use std::hint::black_box;
use std::io::BufWriter;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use image::{DynamicImage, ImageBuffer, imageops::FilterType};
use image_hasher::{HashAlg, Hasher, HasherConfig};
use rayon::prelude::*;
use scopewatch::analysis::hashing::pixel_digest;
use scopewatch::analysis::synthesis::{FieldSettings, Random, expose, place_nuclei};
use scopewatch::formats::nd2::{Nd2Spec, Nd2Writer};
use scopewatch::formats::tiff::{Predictor, WriteCompression, WriteOptions, encode};
use scopewatch::formats::{self, Limits, Plane, Samples};
use scopewatch::units::SampleType;

/// Frames where the caller does not say.
const N_FRAMES: usize = 10_000;
/// Folders of the frames: one format each.
const FORMATS: [&str; 3] = ["tiff", "deflate", "nd2"];
/// Threads that a scan may compute on.
const WORKERS: [usize; 2] = [1, 2];
/// Memory that a scan is given, in MB of 2^20 bytes.
const MEMORY_MB: &str = "32";

fn main() -> Result<(), Box<dyn Error>> {
    // cargo adds --bench
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    match &arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["write", folder, n] => write_frames(Path::new(folder), n.parse()?),
        ["table", folder] => print_table(Path::new(folder)),
        [n] => draw_and_print(n.parse()?),
        _ => draw_and_print(N_FRAMES),
    }
}

fn draw_and_print(n: usize) -> Result<(), Box<dyn Error>> {
    let folder = tempfile::tempdir()?;
    write_frames(folder.path(), n)?;
    print_table(folder.path())
}

fn print_table(frames: &Path) -> Result<(), Box<dyn Error>> {
    let folder = tempfile::tempdir()?;
    println!("frames of 512 x 512 pixels of 16 bits, {} MB", bytes_below(frames)? >> 20);
    let (mut n, mut floors) = (0, Time::default());
    for format in FORMATS {
        let files = files_below(&frames.join(format))?;
        let floor = timed(|| files.iter().try_for_each(|file| read_once(file)))?;
        let hashed = timed(|| files.iter().try_for_each(|file| hash_as_peer(file)))?;
        println!("{format}, {} files", files.len());
        line("read, decode, digest, one pass", files.len(), floor);
        line("image_hasher, Gradient 16 x 16", files.len(), hashed);
        for workers in WORKERS {
            Scan::of(&frames.join(format), folder.path(), workers)?.print((files.len(), workers), floor);
        }
        n += files.len();
        floors = Time { wall: floors.wall + floor.wall, cpu: floors.cpu + floor.cpu };
    }
    println!("all formats");
    line("read, decode, digest, one pass", n, floors);
    for workers in WORKERS {
        let scan = Scan::of(frames, folder.path(), workers)?;
        scan.print((n, workers), floors);
        println!("  peak resident memory {:.1} MB with --memory-mb {MEMORY_MB}", scan.peak_mb);
        println!("  {} pairs said to be duplicates of {n} different frames", scan.n_pairs);
    }
    Ok(())
}

fn line(name: &str, n: usize, time: Time) {
    let per_s = n as f64 / time.wall.as_secs_f64();
    println!(
        "  {name:<32} {:>7.2} s {per_s:>8.0} frames/s, CPU {:>7.2} s",
        time.wall.as_secs_f64(),
        time.cpu.as_secs_f64()
    );
}

/// Fills `folder` with one folder per format.
fn write_frames(folder: &Path, n: usize) -> Result<(), Box<dyn Error>> {
    for format in FORMATS {
        fs::create_dir_all(folder.join(format))?;
    }
    let write = |index: usize| {
        let format = FORMATS[index % FORMATS.len()];
        write_frame(&folder.join(format), format, index).map_err(|error| error.to_string())
    };
    Ok((0..n).into_par_iter().try_for_each(write)?)
}

fn write_frame(folder: &Path, format: &str, index: usize) -> Result<(), Box<dyn Error>> {
    let settings = FieldSettings::default();
    let mut random = Random::of(&[1, index as u64]);
    let plane = expose(&settings, &place_nuclei(&settings, &mut random), random.bits());
    if format == "nd2" {
        let file = BufWriter::new(File::create(folder.join(format!("{index:05}.nd2")))?);
        let spec = Nd2Spec::new(plane.height as u32, plane.width as u32, SampleType::Uint16);
        let mut writer = Nd2Writer::new(file, spec)?;
        writer.write_frame(&[plane])?;
        writer.finish()?;
        return Ok(());
    }
    let options = match format {
        "deflate" => WriteOptions {
            compression: WriteCompression::Deflate,
            predictor: Predictor::Horizontal,
            ..WriteOptions::default()
        },
        _ => WriteOptions::default(),
    };
    fs::write(folder.join(format!("{index:05}.tif")), encode(&[plane], &options)?)?;
    Ok(())
}

fn files_below(folder: &Path) -> Result<Vec<PathBuf>, Box<dyn Error>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder)? {
        files.push(entry?.path());
    }
    files.sort();
    Ok(files)
}

fn bytes_below(folder: &Path) -> Result<u64, Box<dyn Error>> {
    let mut total = 0;
    for format in FORMATS {
        for file in files_below(&folder.join(format))? {
            total += file.metadata()?.len();
        }
    }
    Ok(total)
}

fn plane_of(file: &Path) -> Result<Plane, Box<dyn Error>> {
    Ok(formats::open(Box::new(File::open(file)?), &Limits::default())?.read_plane(0)?)
}

/// What no program that looks at the pixels can leave out.
fn read_once(file: &Path) -> Result<(), Box<dyn Error>> {
    let plane = plane_of(file)?;
    black_box(pixel_digest(&plane));
    let Samples::Uint16(samples) = &plane.samples else { return Err("expected 16 bits".into()) };
    black_box(samples.iter().map(|&sample| u64::from(sample)).sum::<u64>());
    Ok(())
}

/// The hash that duplicate finders of photographs use.
fn hash_as_peer(file: &Path) -> Result<(), Box<dyn Error>> {
    let plane = plane_of(file)?;
    let Samples::Uint16(samples) = plane.samples else { return Err("expected 16 bits".into()) };
    let image =
        ImageBuffer::from_raw(plane.width as u32, plane.height as u32, samples).ok_or("too few samples")?;
    let hasher: Hasher = HasherConfig::new()
        .hash_alg(HashAlg::Gradient)
        .hash_size(16, 16)
        .resize_filter(FilterType::Nearest)
        .to_hasher();
    black_box(hasher.hash_image(&DynamicImage::ImageLuma16(image)));
    Ok(())
}

/// What something took.
#[derive(Debug, Clone, Copy, Default)]
struct Time {
    wall: Duration,
    cpu: Duration,
}

fn timed(deed: impl FnOnce() -> Result<(), Box<dyn Error>>) -> Result<Time, Box<dyn Error>> {
    let (begun, before) = (Instant::now(), cpu_times()?[0]);
    deed()?;
    Ok(Time { wall: begun.elapsed(), cpu: cpu_times()?[0] - before })
}

/// A run of the program.
struct Scan {
    time: Time,
    peak_mb: f64,
    n_pairs: u64,
}

impl Scan {
    fn of(frames: &Path, scratch: &Path, workers: usize) -> Result<Self, Box<dyn Error>> {
        let out = tempfile::tempdir_in(scratch)?;
        let (begun, before) = (Instant::now(), cpu_times()?[1]);
        let output = Command::new(env!("CARGO_BIN_EXE_scopewatch"))
            .args(["scan", "--only", "hash", "--memory-mb", MEMORY_MB, "--json", "--workers"])
            .arg(workers.to_string())
            .arg(frames)
            .arg("--out")
            .arg(out.path())
            .stderr(Stdio::null())
            .output()?;
        let time = Time { wall: begun.elapsed(), cpu: cpu_times()?[1] - before };
        let text = String::from_utf8(output.stdout)?;
        let summary: serde_json::Value = serde_json::from_str(text.lines().last().ok_or("no summary")?)?;
        if !output.status.success() {
            return Err(format!("scan failed: {summary}").into());
        }
        let peak_mb = summary["peak_rss_mb"].as_f64().ok_or("no peak of memory")?;
        Ok(Self { time, peak_mb, n_pairs: summary["pairs"].as_u64().ok_or("no number of pairs")? })
    }

    fn print(&self, (n, workers): (usize, usize), floor: Time) {
        line(&format!("scan --only hash --workers {workers}"), n, self.time);
        let share = |of: fn(&Time) -> Duration| of(&floor).as_secs_f64() / of(&self.time).as_secs_f64();
        println!("  floor / scan: clock {:.2}, CPU {:.2}", share(|time| time.wall), share(|time| time.cpu));
    }
}

/// CPU time of this process and of its children that ended, in steps of 10 ms.
fn cpu_times() -> Result<[Duration; 2], Box<dyn Error>> {
    let text = fs::read_to_string("/proc/self/stat")?;
    let (_, fields) = text.rsplit_once(')').ok_or("expected the name in brackets")?;
    let fields: Vec<u64> =
        fields.split_whitespace().skip(11).take(4).map(str::parse).collect::<Result<_, _>>()?;
    let time = |ticks: &[u64]| Duration::from_millis(10 * ticks.iter().sum::<u64>());
    Ok([time(&fields[..2]), time(&fields[2..])])
}

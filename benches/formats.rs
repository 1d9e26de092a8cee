//! How fast planes are read, on one core: `cargo bench --bench formats` compares ND2 planes with a plain read of the same
//! bytes; `scripts/bench_formats.py` sets this program beside the Python readers.
//!
//! Times are CPU time (user and system) where the system tells it, best of several rounds, everything in the
//! page cache.

use std::error::Error;
use std::fs::{self, File};
use std::io::{BufWriter, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::time::Duration;

use scopewatch::formats::nd2::{Nd2Compression, Nd2Loop, Nd2Spec, Nd2Writer};
use scopewatch::formats::{self, Limits, Plane, Samples};
use scopewatch::platform::meter::CountingAllocator;
use scopewatch::units::SampleType;

#[global_allocator]
static ALLOCATOR: CountingAllocator = CountingAllocator;

/// Sides of the planes, in pixels.
const SIDES: [u32; 6] = [256, 512, 1024, 2048, 4096, 8192];
/// Bytes of pixels per file, so that small planes are not measured by one.
const FILE_BYTES: u64 = 64 << 20;
/// Where the pixels of our own ND2 files stand in the chunk of a frame.
const PIXEL_DISTANCE: u64 = 4096;

fn main() -> Result<(), Box<dyn Error>> {
    // cargo adds --bench
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    let (command, rest) = arguments.split_first().map_or(("", &[][..]), |(first, rest)| (first, rest));
    match (command, rest) {
        ("write", [folder]) => write_all(Path::new(folder)).map(drop),
        ("time", [rounds, files @ ..]) => time_files(rounds.parse()?, files),
        _ => beside_plain_reads(),
    }
}

/// A table of ND2 planes beside plain reads of the same bytes.
fn beside_plain_reads() -> Result<(), Box<dyn Error>> {
    let folder = tempfile::tempdir()?;
    println!("{:>6} {:>12} {:>14} {:>6}", "side", "plane MB/s", "plain read MB/s", "ratio");
    for path in write_all(folder.path())?.iter().filter(|path| !is_compressed(path)) {
        let (mut ours, mut plain) = (Duration::MAX, Duration::MAX);
        let mut buffer = Vec::new();
        let mut n_bytes = 0;
        for _ in 0..7 {
            let (took, n) = read_planes(path)?;
            ours = ours.min(took);
            n_bytes = n;
            plain = plain.min(read_plainly(path, &mut buffer)?);
        }
        let speed = |took: Duration| n_bytes as f64 / 1e6 / took.as_secs_f64();
        let side = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let ratio = speed(ours) / speed(plain);
        println!("{side:>6} {:>12.0} {:>14.0} {ratio:>6.2}", speed(ours), speed(plain));
    }
    Ok(())
}

/// One JSON object per file: best time to read all its planes, opening not counted and counted.
fn time_files(rounds: u32, files: &[String]) -> Result<(), Box<dyn Error>> {
    for file in files {
        let path = Path::new(file);
        let (mut opened, mut read) = (Duration::MAX, Duration::MAX);
        let mut n_bytes = 0;
        for _ in 0..rounds {
            let begun = cpu_time();
            let mut container = formats::open(Box::new(File::open(path)?), &Limits::default())?;
            container.read_plane(0)?;
            opened = opened.min(cpu_time() - begun);
            drop(container);
            let (took, n) = read_planes(path)?;
            (read, n_bytes) = (read.min(took), n);
        }
        let (read_s, open_and_first_s) = (read.as_secs_f64(), opened.as_secs_f64());
        let line = serde_json::json!({
            "file": file, "bytes": n_bytes, "read_s": read_s, "open_and_first_s": open_and_first_s
        });
        println!("{line}");
    }
    Ok(())
}

/// Reads every plane into the same memory; how long it took, and the bytes of pixels.
fn read_planes(path: &Path) -> Result<(Duration, u64), Box<dyn Error>> {
    let mut container = formats::open(Box::new(File::open(path)?), &Limits::default())?;
    let mut plane = Plane::empty();
    // memory is taken once, as where a line of planes is read
    container.read_plane_into(0, &mut plane)?;
    let begun = cpu_time();
    let mut n_bytes = 0;
    for position in 0..container.planes().len() {
        container.read_plane_into(position, &mut plane)?;
        n_bytes += plane.size_bytes() as u64;
    }
    Ok((cpu_time() - begun, n_bytes))
}

/// Reads the pixels of an uncompressed ND2 file of our own, knowing where they stand.
fn read_plainly(path: &Path, buffer: &mut Vec<u8>) -> Result<Duration, Box<dyn Error>> {
    let side: u64 = path.file_stem().and_then(|stem| stem.to_str()).ok_or("a name")?.parse()?;
    let n_bytes = side * side * 2;
    let mut file = File::open(path)?;
    let offsets = frame_offsets(&mut file, n_bytes)?;
    buffer.resize(n_bytes as usize, 0);
    file.seek(SeekFrom::Start(offsets[0]))?;
    file.read_exact(buffer)?;
    let begun = cpu_time();
    for offset in offsets {
        file.seek(SeekFrom::Start(offset))?;
        file.read_exact(buffer)?;
    }
    Ok(cpu_time() - begun)
}

/// Where the pixels of each frame start, by the magic number of chunks and the length of their data.
fn frame_offsets(file: &mut File, n_bytes: u64) -> Result<Vec<u64>, Box<dyn Error>> {
    let length = file.metadata()?.len();
    let (mut offsets, mut at) = (Vec::new(), 0);
    while at < length {
        let mut head = [0; 16];
        file.seek(SeekFrom::Start(at))?;
        file.read_exact(&mut head)?;
        let name = u64::from(u32::from_le_bytes(head[4..8].try_into()?));
        let data = u64::from_le_bytes(head[8..].try_into()?);
        if data == n_bytes + 8 {
            offsets.push(at + PIXEL_DISTANCE);
        }
        at = (at + 16 + name + data).next_multiple_of(4096);
    }
    Ok(offsets)
}

fn is_compressed(path: &Path) -> bool {
    path.file_stem().is_some_and(|stem| stem.to_string_lossy().starts_with("zlib"))
}

/// Writes `SIDE.nd2` and `zlibSIDE.nd2` for every side, and `few.nd2`.
fn write_all(folder: &Path) -> Result<Vec<PathBuf>, Box<dyn Error>> {
    fs::create_dir_all(folder)?;
    // a file of few planes, of which scripts/bench_formats.py makes many
    write_nd2(&folder.join("few.nd2"), 256, 3, Nd2Compression::None)?;
    let mut paths = Vec::new();
    for side in SIDES {
        let n = (FILE_BYTES / (u64::from(side) * u64::from(side) * 2)).clamp(1, 200) as u32;
        for (name, compression) in [
            (format!("{side}.nd2"), Nd2Compression::None),
            (format!("zlib{side}.nd2"), Nd2Compression::Zlib(6)),
        ] {
            let path = folder.join(name);
            write_nd2(&path, side, n, compression)?;
            paths.push(path);
        }
    }
    Ok(paths)
}

fn write_nd2(path: &Path, side: u32, n: u32, compression: Nd2Compression) -> Result<(), Box<dyn Error>> {
    let loops = vec![Nd2Loop::Time { n, period_ms: 1000.0 }];
    let spec = Nd2Spec { loops, compression, ..Nd2Spec::new(side, side, SampleType::Uint16) };
    let mut writer = Nd2Writer::new(BufWriter::new(File::create(path)?), spec)?;
    for frame in 0..n {
        writer.write_frame(&[scene(side as usize, frame)])?;
    }
    writer.finish()?;
    Ok(())
}

/// Bright discs over a background with noise, as a camera of 12 bits sees them.
fn scene(side: usize, frame: u32) -> Plane {
    let mut state = u64::from(frame) * 0x9E37_79B9 + 1;
    let pixel = |at: usize| {
        let (row, column) = ((at / side) as i64, (at % side) as i64);
        let (dy, dx) = (row.rem_euclid(96) - 48, column.rem_euclid(96) - 48);
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let signal: u64 = if dy * dy + dx * dx < 400 { 1800 } else { 200 };
        let noise = (0..4).map(|word| state >> (40 + word * 5) & 15).sum::<u64>() * (signal / 200).max(1) / 3;
        (signal + noise) as u16
    };
    let samples = Samples::Uint16((0..side * side).map(pixel).collect());
    Plane { height: side, width: side, n_samples: 1, samples }
}

/// CPU time of this thread, user and system; the clock where the system does not tell it.
#[cfg(unix)]
#[allow(unsafe_code, reason = "the standard library does not ask for it")]
fn cpu_time() -> Duration {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `time` is a valid place to write to for the length of the call
    let answer = unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &raw mut time) };
    assert_eq!(answer, 0, "every thread has a clock");
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

/// The clock: the standard library does not tell the CPU time.
#[cfg(not(unix))]
fn cpu_time() -> Duration {
    static START: std::sync::OnceLock<std::time::Instant> = std::sync::OnceLock::new();
    START.get_or_init(std::time::Instant::now).elapsed()
}

//! Writes a file as an instrument does, frame by frame over a given time, and prints when each frame is on the disk:
//! `FRAME UNIX-SECONDS`, one line a frame. An ND2 gets its attributes and its map last, a TIFF gets pages appended.
//!
//! `cargo run --release --example growing_writer -- FILE [--mb 300] [--seconds 40] [--size 1024] [--seed 1]`

use std::fs::File;
use std::io::Write;
use std::path::PathBuf;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, bail};
use clap::Parser;
use scopewatch::analysis::synthesis::{FieldSettings, Random, expose, place_nuclei};
use scopewatch::formats::nd2::{Nd2Loop, Nd2Objective, Nd2Spec, Nd2Writer};
use scopewatch::formats::tiff::{TiffWriter, WriteOptions};
use scopewatch::formats::{Channel, Plane, Samples};
use scopewatch::units::SampleType;

/// Writes a growing file.
#[derive(Debug, Parser)]
struct Args {
    /// File to write; its extension says how
    file: PathBuf,
    /// Megabytes (2^20 bytes) in the end
    #[arg(long, default_value_t = 300)]
    mb: u64,
    /// Seconds from the first to the last frame
    #[arg(long, default_value_t = 40.0)]
    seconds: f64,
    /// Rows and columns of a frame
    #[arg(long, default_value_t = 1024)]
    size: usize,
    /// Another seed gives other frames
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

/// Exposures that are drawn; every frame is one of them with its number on it, so that writing keeps pace.
const N_DRAWN: u64 = 8;

/// Either kind of file.
enum Writer {
    Nd2(Box<Nd2Writer<File>>),
    Tiff(TiffWriter<File>),
}

fn main() -> Result<()> {
    let args = Args::parse();
    let frame_bytes = 2 * (args.size * args.size) as u64;
    let n_frames = ((args.mb << 20) / frame_bytes).max(1);
    let drawn = draw(&args);
    let mut writer = create(&args, n_frames as u32)?;
    let started = Instant::now();
    for frame in 0..n_frames {
        let due = Duration::from_secs_f64(args.seconds * frame as f64 / n_frames as f64);
        std::thread::sleep(due.saturating_sub(started.elapsed()));
        let plane = numbered(&drawn[(frame % N_DRAWN) as usize], frame);
        match &mut writer {
            Writer::Nd2(writer) => writer.write_frame(&[plane])?,
            Writer::Tiff(writer) => writer.write_plane(&plane)?,
        }
        let now = SystemTime::now().duration_since(UNIX_EPOCH)?;
        writeln!(std::io::stdout(), "{frame} {:.3}", now.as_secs_f64())?;
    }
    match writer {
        Writer::Nd2(writer) => writer.finish().map(drop)?,
        Writer::Tiff(writer) => writer.finish().map(drop)?,
    }
    Ok(())
}

fn create(args: &Args, n_frames: u32) -> Result<Writer> {
    let side = args.size as u32;
    // without a buffer, so that what is printed is there for readers
    let out = File::create(&args.file).with_context(|| args.file.display().to_string())?;
    Ok(match args.file.extension().and_then(|extension| extension.to_str()) {
        Some("nd2") => {
            let spec = Nd2Spec {
                channels: vec![(Channel { name: "DAPI".into(), ..Channel::default() }, 1)],
                loops: vec![Nd2Loop::Time {
                    n: n_frames,
                    period_ms: 1000.0 * args.seconds / f64::from(n_frames),
                }],
                pixel_size_um: Some(0.325),
                objective: Some(Nd2Objective {
                    name: "Plan Apo 20x".into(),
                    magnification: Some(20.0),
                    numerical_aperture: Some(0.75),
                }),
                ..Nd2Spec::new(side, side, SampleType::Uint16)
            };
            Writer::Nd2(Box::new(Nd2Writer::new(out, spec)?))
        }
        Some("tif" | "tiff") => Writer::Tiff(TiffWriter::new(
            out,
            WriteOptions { pixel_size_um: Some(0.325), ..WriteOptions::default() },
        )?),
        _ => bail!("expected a file name that ends in .nd2 or .tif, found {}", args.file.display()),
    })
}

fn draw(args: &Args) -> Vec<Plane> {
    let area = (args.size as f64 / 512.0).powi(2);
    let settings = FieldSettings {
        height: args.size,
        width: args.size,
        n_nuclei: (40.0 * area) as usize,
        ..FieldSettings::default()
    };
    let nuclei = place_nuclei(&settings, &mut Random::new(args.seed));
    (0..N_DRAWN).map(|exposure| expose(&settings, &nuclei, args.seed * 1000 + exposure)).collect()
}

/// The exposure with the frame's number in its first row, so that no two frames are equal.
fn numbered(plane: &Plane, frame: u64) -> Plane {
    let mut plane = plane.clone();
    if let Samples::Uint16(samples) = &mut plane.samples {
        for (bit, sample) in samples.iter_mut().take(24).enumerate() {
            *sample = 100 + 100 * ((frame >> bit) & 1) as u16;
        }
    }
    plane
}

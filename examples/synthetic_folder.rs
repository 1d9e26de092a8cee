//! Fills a folder with a small synthetic acquisition: TIFF and ND2 files of nuclei, with copies, an empty well and a
//! damaged file among them. The same seed gives the same bytes.
//!
//! `cargo run --release --example synthetic_folder -- DIR [--fields 12] [--size 512] [--seed 1]`

use std::fs::{self, File};
use std::io::BufWriter;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use clap::Parser;
use scopewatch::analysis::synthesis::{FieldSettings, Random, expose, place_nuclei};
use scopewatch::formats::nd2::{Nd2Loop, Nd2Objective, Nd2Spec, Nd2Writer};
use scopewatch::formats::tiff::{WriteCompression, WriteOptions, encode};
use scopewatch::formats::{Channel, Plane};
use scopewatch::units::SampleType;

/// Makes a synthetic acquisition.
#[derive(Debug, Parser)]
struct Args {
    /// Folder to fill
    dir: PathBuf,
    /// TIFF fields to write
    #[arg(long, default_value_t = 12)]
    fields: u32,
    /// Rows and columns of a field in pixels
    #[arg(long, default_value_t = 512)]
    size: usize,
    /// Another seed gives another acquisition
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Only the plain fields: no copies, no ND2, nothing damaged
    #[arg(long)]
    plain: bool,
}

const PIXEL_SIZE_UM: f64 = 0.65;

fn main() -> Result<()> {
    let args = Args::parse();
    let tiffs = args.dir.join("plate1");
    fs::create_dir_all(&tiffs).with_context(|| tiffs.display().to_string())?;
    let area = (args.size as f64 / 512.0).powi(2);
    let settings = FieldSettings {
        height: args.size,
        width: args.size,
        n_nuclei: (60.0 * area) as usize,
        ..FieldSettings::default()
    };
    for field in 0..args.fields {
        let path = tiffs.join(format!("plate1_B{:02}_s{}_w1.tif", field / 4 + 2, field % 4 + 1));
        write_tiff(&path, &exposure(&settings, args.seed, field.into()), WriteCompression::None)?;
    }
    if args.plain {
        return Ok(());
    }
    let first = exposure(&settings, args.seed, 0);
    fs::copy(tiffs.join("plate1_B02_s1_w1.tif"), tiffs.join("copy of plate1_B02_s1_w1.tif"))?;
    write_tiff(&tiffs.join("resaved_B02_s1.tif"), &first, WriteCompression::Deflate)?;
    let empty = FieldSettings { n_nuclei: 0, ..settings };
    write_tiff(
        &tiffs.join("plate1_H12_s1_w1.tif"),
        &exposure(&empty, args.seed, 999),
        WriteCompression::None,
    )?;
    let whole = encode(std::slice::from_ref(&first), &WriteOptions::default())?;
    fs::write(tiffs.join("plate1_A01_s1_w1.tif"), b"these bytes are no image")?;
    fs::write(tiffs.join("plate1_A02_s1_w1.tif"), &whole[..whole.len() / 2])?;
    write_nd2(&args.dir.join("run1/WellC03_ChannelDAPI,GFP_Seq0000.nd2"), &settings, args.seed)
}

/// One exposure of the field with this number.
fn exposure(settings: &FieldSettings, seed: u64, field: u64) -> Plane {
    let seed = seed.wrapping_mul(1_000_003).wrapping_add(field);
    expose(settings, &place_nuclei(settings, &mut Random::new(seed)), seed ^ 0xFEED)
}

fn write_tiff(path: &Path, plane: &Plane, compression: WriteCompression) -> Result<()> {
    let options = WriteOptions { compression, pixel_size_um: Some(PIXEL_SIZE_UM), ..WriteOptions::default() };
    let bytes = encode(std::slice::from_ref(plane), &options)?;
    fs::write(path, bytes).with_context(|| path.display().to_string())
}

/// Three time points of two channels.
fn write_nd2(path: &Path, settings: &FieldSettings, seed: u64) -> Result<()> {
    let channel =
        |name: &str, color| (Channel { name: name.into(), color_rgb: Some(color), emission_nm: None }, 1);
    let side = settings.height as u32;
    let spec = Nd2Spec {
        channels: vec![channel("DAPI", [0, 0, 255]), channel("GFP", [0, 255, 0])],
        loops: vec![Nd2Loop::Time { n: 3, period_ms: 60_000.0 }],
        pixel_size_um: Some(PIXEL_SIZE_UM),
        objective: Some(Nd2Objective {
            name: "Plan Apo 10x".into(),
            magnification: Some(10.0),
            numerical_aperture: Some(0.45),
        }),
        ..Nd2Spec::new(side, side, SampleType::Uint16)
    };
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    let file = BufWriter::new(File::create(path).with_context(|| path.display().to_string())?);
    let mut writer = Nd2Writer::new(file, spec)?;
    for time in 0..3 {
        writer.write_frame(&[exposure(settings, seed, 100 + time), exposure(settings, seed, 200 + time)])?;
    }
    writer.finish()?;
    Ok(())
}

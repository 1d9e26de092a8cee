//! Real files to start from, made by scopewatch's own writers: small, and of every kind that they write.

use std::io::Cursor;

use scopewatch_portable::formats::nd2::{
    Nd2Compression, Nd2Loop, Nd2Objective, Nd2RowLength, Nd2Spec, Nd2Version, Nd2Writer,
};
use scopewatch_portable::formats::tiff::{
    ByteOrder, ChunkShape, OmePlane, OmeSpec, OmeTiffWriter, Predictor, WriteCompression, WriteOptions,
    encode,
};
use scopewatch_portable::formats::{Channel, Dims, Plane, Position, Samples};
use scopewatch_portable::units::{PlaneIndex, SampleType};

fn plane(height: usize, width: usize, n_samples: usize, sample_type: SampleType) -> Plane {
    let mut samples = Samples::zeros(sample_type, height * width * n_samples);
    for (i, byte) in samples.as_bytes_mut().iter_mut().enumerate() {
        *byte = (i * 31 % 253) as u8 / 5;
    }
    Plane { height, width, n_samples, samples }
}

fn channel(name: &str) -> Channel {
    Channel { name: name.to_owned(), color_rgb: Some([0, 0, 255]), emission_nm: Some(461.0) }
}

/// ND2 files: both versions, compressed or not, padded, with loops of every kind, with gaps, and unfinished.
pub fn nd2() -> Vec<Vec<u8>> {
    let place = |name: &str, x_um| Position {
        name: name.to_owned(),
        x_um: Some(x_um),
        y_um: Some(5.0),
        z_um: Some(1.0),
    };
    let loops = [
        vec![],
        vec![Nd2Loop::Time { n: 2, period_ms: 100.0 }, Nd2Loop::ZStack { n: 2, step_um: 0.5 }],
        vec![
            Nd2Loop::TimePhases(vec![(1, 10.0), (1, 20.0)]),
            Nd2Loop::Positions { points: vec![place("A1", 1.0), place("A2", 2.0)], relative: true },
        ],
        vec![Nd2Loop::Custom { n: 2 }],
    ];
    let mut files = Vec::new();
    for (number, loops) in loops.into_iter().enumerate() {
        for version in [Nd2Version::V3, Nd2Version::V2] {
            let (n_samples, sample_type) = [
                (1, SampleType::Uint16),
                (3, SampleType::Uint8),
                (1, SampleType::Float32),
                (1, SampleType::Uint16),
            ][number];
            let spec = Nd2Spec {
                channels: if n_samples == 3 {
                    vec![(channel("RGB"), 3)]
                } else {
                    vec![(channel("DAPI"), 1), (channel("GFP"), 1)]
                },
                loops: loops.clone(),
                pixel_size_um: Some(0.65),
                objective: Some(Nd2Objective {
                    name: "Plan Apo 20x".to_owned(),
                    magnification: Some(20.0),
                    numerical_aperture: Some(0.75),
                }),
                acquired_at: Some("1/5/2026  10:00:00 AM".to_owned()),
                version,
                compression: if number % 2 == 0 { Nd2Compression::None } else { Nd2Compression::Zlib(6) },
                row_length: if number == 0 {
                    Nd2RowLength::PaddedBy(2)
                } else {
                    Nd2RowLength::MultipleOfFour
                },
                ..Nd2Spec::new(5, 7, sample_type)
            };
            files.push(nd2_file(&spec, number == 3));
        }
    }
    let unfinished = files[2][..files[2].len() - 40].to_vec();
    files.push(unfinished);
    files
}

fn nd2_file(spec: &Nd2Spec, with_gap: bool) -> Vec<u8> {
    let mut writer = Nd2Writer::new(Vec::new(), spec.clone()).expect("the spec is one of those above");
    for frame in 0..spec.n_frames() {
        if with_gap && frame == 0 {
            writer.skip_frame().expect("a frame of the loops");
            continue;
        }
        let planes: Vec<Plane> = spec
            .channels
            .iter()
            .map(|(_, n_samples)| plane(5, 7, *n_samples as usize, spec.sample_type))
            .collect();
        writer.write_frame(&planes).expect("planes of the spec");
    }
    writer.finish().expect("memory takes it")
}

/// TIFF files: both byte orders and offset sizes, every compression that is written, predictors, strips and tiles.
pub fn tiff() -> Vec<Vec<u8>> {
    use WriteCompression::{Deflate, Lzw, None, PackBits};
    let mut files = Vec::new();
    for (number, compression) in [None, Deflate, Lzw, PackBits, None, Deflate, Lzw].into_iter().enumerate() {
        let (n_samples, sample_type) =
            [(1, SampleType::Uint16), (3, SampleType::Uint8), (1, SampleType::Float32)][number % 3];
        let options = WriteOptions {
            compression,
            predictor: match (number, sample_type) {
                (_, SampleType::Float32) => Predictor::FloatingPoint,
                (5.., _) => Predictor::Horizontal,
                _ => Predictor::None,
            },
            chunks: [ChunkShape::Auto, ChunkShape::Rows(4), ChunkShape::Tiles(16, 16)][number % 3],
            pixel_size_um: Some(0.5),
            description: (number % 2 == 0)
                .then(|| "ImageJ=1.54f\nimages=2\nslices=2\nunit=micron\nspacing=0.5\n".to_owned()),
            byte_order: if number % 2 == 0 { ByteOrder::Little } else { ByteOrder::Big },
            big_tiff: number == 4,
            ..WriteOptions::default()
        };
        let pages = [plane(9, 11, n_samples, sample_type), plane(9, 11, n_samples, sample_type)];
        files.push(encode(&pages, &options).expect("pages that TIFF holds"));
    }
    files.push(ome_tiff());
    files
}

fn ome_tiff() -> Vec<u8> {
    let planes: Vec<OmePlane> = (0..2)
        .flat_map(|t| {
            (0..2).map(move |c| OmePlane {
                index: PlaneIndex { t, c, ..PlaneIndex::default() },
                time_ms: 5.0,
                z_um: Some(1.0),
            })
        })
        .collect();
    let n_planes = planes.len();
    let spec = OmeSpec {
        dims: Dims { t: 2, p: 1, z: 1, c: 2, y: 9, x: 11, s: 1 },
        sample_type: SampleType::Uint16,
        channels: vec![channel("DAPI"), channel("GFP")],
        pixel_size_um: Some(0.325),
        z_step_um: None,
        objective_name: "Plan Apo 20x".to_owned(),
        magnification: Some(20.0),
        numerical_aperture: Some(0.75),
        position: Position { name: "B02".to_owned(), x_um: Some(10.0), y_um: Some(-4.0), z_um: None },
        acquired_at: "2026-01-05T10:00:00".to_owned(),
        planes,
    };
    let mut writer =
        OmeTiffWriter::new(Cursor::new(Vec::new()), spec, WriteOptions::default()).expect("a whole plan");
    for _ in 0..n_planes {
        writer.write_plane(&plane(9, 11, 1, SampleType::Uint16)).expect("a plane of the plan");
    }
    writer.finish().expect("memory takes it").into_inner()
}

/// What stands between two marks in any of the files, from the first mark on.
fn cut_out(files: &[Vec<u8>], from: &[u8], to: &[u8]) -> Vec<Vec<u8>> {
    let position = |bytes: &[u8], mark: &[u8]| bytes.windows(mark.len()).position(|window| window == mark);
    let mut blocks = Vec::new();
    for file in files {
        let mut rest = &file[..];
        while let Some(start) = position(rest, from) {
            let end = position(&rest[start..], to).map_or(rest.len() - start, |end| end + to.len());
            blocks.push(rest[start..start + end].to_vec());
            rest = &rest[start + end..];
        }
    }
    blocks
}

/// Metadata of ND2 version 2.
pub fn xml() -> Vec<Vec<u8>> {
    cut_out(&nd2(), b"<?xml", b"</variant>")
}

/// Metadata of ND2 version 3: the item of a level up to the end of its file.
pub fn clx() -> Vec<Vec<u8>> {
    let root = |name: &str| {
        let units: Vec<u8> = name.encode_utf16().chain([0]).flat_map(u16::to_le_bytes).collect();
        [&[11, name.len() as u8 + 1][..], &units].concat()
    };
    let names = ["SLxImageAttributes", "SLxExperiment", "SLxPictureMetadata", "SLxImageTextInfo"];
    let magic = 0x0ABE_CEDA_u32.to_le_bytes();
    names.iter().flat_map(|name| cut_out(&nd2(), &root(name), &magic)).collect()
}

/// OME-XML.
pub fn ome() -> Vec<Vec<u8>> {
    cut_out(&tiff(), b"<?xml", b"</OME>")
}

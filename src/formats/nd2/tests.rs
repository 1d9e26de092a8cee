//! Whole files: what the writer writes is what the reader reads, and damage is never silent.

use std::collections::BTreeMap;
use std::io::{Cursor, Read, Seek, SeekFrom};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use proptest::prelude::*;

use super::*;
use crate::formats::{Dims, FormatErrorKind, Samples};
use crate::units::{PlaneIndex, SampleType};

/// A plane whose every sample depends on all of its arguments.
fn drawn(spec: &Nd2Spec, frame: u64, channel: usize) -> Plane {
    let n_samples = spec.channels[channel].1 as usize;
    let (height, width) = (spec.height as usize, spec.width as usize);
    let n = height * width * n_samples;
    let value = |i: usize| {
        (i as u64).wrapping_mul(2_654_435_761).wrapping_add(frame * 7919 + channel as u64 * 104_729)
    };
    let samples = match spec.sample_type {
        SampleType::Uint8 => Samples::Uint8((0..n).map(|i| (value(i) >> 3) as u8).collect()),
        SampleType::Uint16 => Samples::Uint16((0..n).map(|i| (value(i) >> 5) as u16).collect()),
        SampleType::Uint32 => Samples::Uint32((0..n).map(|i| (value(i) >> 2) as u32).collect()),
        SampleType::Float32 => Samples::Float32((0..n).map(|i| value(i) as f32 / 1e6).collect()),
        other => panic!("no such fixture: {other}"),
    };
    Plane { height, width, n_samples, samples }
}

fn frame(spec: &Nd2Spec, frame_index: u64) -> Vec<Plane> {
    (0..spec.channels.len()).map(|channel| drawn(spec, frame_index, channel)).collect()
}

/// The bytes of a file without the frames in `gaps`.
fn written(spec: &Nd2Spec, gaps: &[u64]) -> Vec<u8> {
    let mut writer = Nd2Writer::new(Vec::new(), spec.clone()).unwrap();
    for index in 0..spec.n_frames() {
        if gaps.contains(&index) {
            writer.skip_frame().unwrap();
        } else {
            writer.write_frame(&frame(spec, index)).unwrap();
        }
    }
    writer.finish().unwrap()
}

fn open(bytes: Vec<u8>) -> Result<Nd2Container, FormatError> {
    Nd2Container::open(Box::new(Cursor::new(bytes)), &Limits::default())
}

fn kind_of(bytes: Vec<u8>) -> FormatErrorKind {
    open(bytes).err().expect("a file that is not whole").kind
}

fn channel(name: &str) -> Channel {
    Channel { name: name.to_owned(), color_rgb: Some([0, 51, 255]), emission_nm: Some(450.0) }
}

fn points() -> Vec<Position> {
    let point =
        |name: &str, x, y, z| Position { name: name.to_owned(), x_um: Some(x), y_um: Some(y), z_um: Some(z) };
    vec![point("A01", -1250.5, 300.25, 10.0), point("büffer 中", 0.0, -7.5, 11.0)]
}

fn all_loops() -> Vec<Nd2Loop> {
    vec![
        Nd2Loop::Time { n: 2, period_ms: 500.0 },
        Nd2Loop::Positions { points: points(), relative: false },
        Nd2Loop::ZStack { n: 3, step_um: 0.5 },
    ]
}

/// Every plane in order equals what was drawn.
fn check_pixels(spec: &Nd2Spec, bytes: Vec<u8>) {
    let mut container = open(bytes).unwrap();
    let Dims { p, z, .. } = container.metadata().dims;
    assert_eq!(container.planes().len() as u64, spec.n_frames() * spec.channels.len() as u64);
    for plane in 0..container.planes().len() {
        let PlaneIndex { t, p: own_p, z: own_z, c } = container.planes()[plane].index;
        let frame = u64::from((t * p + own_p) * z + own_z);
        let expected = drawn(spec, frame, c as usize);
        assert_eq!(container.read_plane(plane).unwrap(), expected, "plane {plane} of {spec:?}");
        let fetched = container.fetch_plane(plane).and_then(FetchedPlane::decode);
        assert_eq!(fetched.unwrap(), expected, "plane {plane} of {spec:?}, decoded apart");
    }
}

#[test]
fn every_way_to_write_gives_the_same_pixels() {
    let two = vec![(channel("DAPI"), 1), (channel("GFP, long pass"), 1)];
    let five = (0..5).map(|i| (channel(&format!("c{i}")), 1)).collect();
    let rgb_and_mono = vec![(channel("bright"), 3), (channel("DAPI"), 1)];
    let channels = [vec![(channel(""), 1)], two, five, vec![(channel("rgb"), 3)], rgb_and_mono];
    let rows = [Nd2RowLength::MultipleOfFour, Nd2RowLength::Packed, Nd2RowLength::PaddedBy(12)];
    for sample_type in [SampleType::Uint8, SampleType::Uint16, SampleType::Uint32, SampleType::Float32] {
        for channels in &channels {
            for row_length in rows {
                for compression in [Nd2Compression::None, Nd2Compression::Zlib(6)] {
                    for version in [Nd2Version::V3, Nd2Version::V2] {
                        let loops = vec![Nd2Loop::Time { n: 2, period_ms: 5.0 }];
                        let channels = channels.clone();
                        let spec = Nd2Spec {
                            channels,
                            loops,
                            row_length,
                            compression,
                            version,
                            ..Nd2Spec::new(5, 7, sample_type)
                        };
                        check_pixels(&spec, written(&spec, &[]));
                    }
                }
            }
        }
    }
}

#[test]
fn loops_of_every_kind_and_order_are_laid_out() {
    let phases = Nd2Loop::TimePhases(vec![(2, 100.0), (3, 1000.0)]);
    let sets = [
        all_loops(),
        vec![phases, Nd2Loop::ZStack { n: 2, step_um: 1.0 }],
        vec![Nd2Loop::Time { n: 2, period_ms: 1.0 }, Nd2Loop::Custom { n: 3 }],
        vec![],
    ];
    for loops in sets {
        for version in [Nd2Version::V3, Nd2Version::V2] {
            let spec = Nd2Spec { loops: loops.clone(), version, ..Nd2Spec::new(4, 3, SampleType::Uint16) };
            check_pixels(&spec, written(&spec, &[]));
        }
    }
    let mut backwards = all_loops();
    backwards.reverse();
    let spec = Nd2Spec { loops: backwards, ..Nd2Spec::new(4, 3, SampleType::Uint16) };
    let mut container = open(written(&spec, &[])).unwrap();
    for plane in 0..container.planes().len() {
        let PlaneIndex { t, p, z, .. } = container.planes()[plane].index;
        assert_eq!(container.read_plane(plane).unwrap(), drawn(&spec, u64::from((z * 2 + p) * 2 + t), 0));
    }
    assert!(container.planes().is_sorted_by_key(|plane| plane.index));
}

#[test]
fn metadata_comes_back() {
    for (version, relative) in [(Nd2Version::V3, true), (Nd2Version::V3, false), (Nd2Version::V2, true)] {
        let spec = Nd2Spec {
            significant_bits: 12,
            channels: vec![(channel("SD DAPI- EM"), 1), (channel("a, b"), 1)],
            loops: vec![
                Nd2Loop::Time { n: 2, period_ms: 500.0 },
                Nd2Loop::Positions { points: points(), relative },
                Nd2Loop::ZStack { n: 3, step_um: 0.5 },
            ],
            pixel_size_um: Some(0.1625),
            objective: Some(Nd2Objective {
                name: "Plan Apo 40x".to_owned(),
                magnification: Some(40.0),
                numerical_aperture: Some(0.95),
            }),
            acquired_at: Some("3/26/2025  10:58:17 AM".to_owned()),
            version,
            ..Nd2Spec::new(4, 3, SampleType::Uint16)
        };
        let container = open(written(&spec, &[])).unwrap();
        let metadata = container.metadata();
        assert_eq!(metadata.dims, Dims { t: 2, p: 2, z: 3, c: 2, y: 4, x: 3, s: 1 });
        assert_eq!((metadata.sample_type, metadata.significant_bits), (SampleType::Uint16, 12));
        assert_eq!((metadata.pixel_size_um, metadata.z_step_um), (Some(0.1625), Some(0.5)));
        assert_eq!((metadata.nominal_magnification, metadata.numerical_aperture), (Some(40.0), Some(0.95)));
        assert_eq!(metadata.objective.as_deref(), Some("Plan Apo 40x"));
        assert_eq!(metadata.acquired_at.as_deref(), Some("3/26/2025  10:58:17 AM"));
        assert_eq!(metadata.channels, [channel("SD DAPI- EM"), channel("a, b")]);
        assert_eq!(metadata.positions, points());
        let times: Vec<f64> = container.planes().iter().filter_map(|plane| plane.time_ms).collect();
        assert_eq!((times.len(), times[0], times[23]), (24, 0.0, 500.0));
    }
}

#[test]
fn what_was_never_measured_is_absent() {
    let container = open(written(&Nd2Spec::new(4, 3, SampleType::Uint8), &[])).unwrap();
    let metadata = container.metadata();
    assert_eq!(
        (metadata.pixel_size_um, metadata.z_step_um, metadata.nominal_magnification),
        (None, None, None)
    );
    assert_eq!(
        (&metadata.objective, metadata.numerical_aperture, &metadata.acquired_at),
        (&None, None, &None)
    );
    let named = Nd2Objective { name: "Plan Apo λ 60x".to_owned(), ..Nd2Objective::default() };
    let spec =
        Nd2Spec { objective: Some(named), pixel_size_um: Some(1.0), ..Nd2Spec::new(4, 3, SampleType::Uint8) };
    let container = open(written(&spec, &[])).unwrap();
    assert_eq!(container.metadata().nominal_magnification, Some(60.0));
    assert_eq!(container.metadata().pixel_size_um, Some(1.0));
}

#[test]
fn gaps_are_missing_and_not_zeros() {
    let spec = Nd2Spec { loops: all_loops(), ..Nd2Spec::new(4, 3, SampleType::Uint16) };
    // the first frame, one in the middle, the last
    let mut container = open(written(&spec, &[0, 5, 11])).unwrap();
    let missing: Vec<usize> = (0..12).filter(|plane| container.planes()[*plane].missing).collect();
    assert_eq!(missing, [0, 5, 11]);
    for plane in 0..12 {
        let read = container.read_plane(plane);
        match missing.contains(&plane) {
            true => assert_eq!(read.unwrap_err().kind, FormatErrorKind::Malformed),
            false => assert_eq!(read.unwrap(), drawn(&spec, plane as u64, 0)),
        }
    }
}

#[test]
fn a_growing_file_is_incomplete_at_every_frame() {
    let spec = Nd2Spec { loops: all_loops(), ..Nd2Spec::new(4, 3, SampleType::Uint16) };
    let mut bytes = Vec::new();
    let mut ends = Vec::new();
    let mut writer = Nd2Writer::new(&mut bytes, spec.clone()).unwrap();
    for index in 0..spec.n_frames() {
        writer.write_frame(&frame(&spec, index)).unwrap();
        ends.push(writer.n_bytes_written() as usize);
    }
    writer.finish().unwrap();
    for end in ends {
        assert_eq!(kind_of(bytes[..end].to_vec()), FormatErrorKind::Incomplete);
    }
    check_pixels(&spec, bytes);
}

#[test]
fn a_file_cut_anywhere_is_incomplete() {
    let spec = Nd2Spec { loops: all_loops(), ..Nd2Spec::new(4, 3, SampleType::Uint16) };
    let bytes = written(&spec, &[]);
    for end in (0..bytes.len()).step_by(97).chain(bytes.len() - 60..bytes.len()) {
        assert_eq!(kind_of(bytes[..end].to_vec()), FormatErrorKind::Incomplete, "cut at {end}");
    }
}

/// Opens and reads all; gives whether everything was taken for good.
fn reads_fully(bytes: Vec<u8>) -> bool {
    match open(bytes) {
        Err(_) => false,
        Ok(mut container) => (0..container.planes().len()).all(|plane| container.read_plane(plane).is_ok()),
    }
}

#[test]
fn bytes_removed_from_the_middle_are_noticed() {
    let spec = Nd2Spec { loops: all_loops(), ..Nd2Spec::new(4, 3, SampleType::Uint16) };
    let bytes = written(&spec, &[]);
    for start in (0..bytes.len() - 700).step_by(997) {
        let rest = [&bytes[..start], &bytes[start + 500..]].concat();
        assert!(!reads_fully(rest), "500 bytes removed at {start}");
    }
}

#[test]
fn a_damaged_frame_header_is_an_error_of_that_frame_alone() {
    let spec = Nd2Spec {
        channels: vec![(channel("a"), 1), (channel("b"), 1)],
        loops: vec![Nd2Loop::Time { n: 3, period_ms: 1.0 }],
        ..Nd2Spec::new(4, 3, SampleType::Uint16)
    };
    let bytes = written(&spec, &[]);
    let at = find(&bytes, b"ImageDataSeq|1!") - 16;
    // magic, name area, data length, name
    for damaged in [at, at + 4, at + 6, at + 8, at + 13, at + 18, at + 29] {
        let mut bytes = bytes.clone();
        bytes[damaged] ^= 0x55;
        let mut container = open(bytes).unwrap();
        let failed: Vec<usize> = (0..6).filter(|plane| container.read_plane(*plane).is_err()).collect();
        assert_eq!(failed, [2, 3], "byte {damaged}");
    }
}

#[test]
fn damage_inside_a_compressed_frame_is_noticed() {
    let spec = Nd2Spec { compression: Nd2Compression::Zlib(6), ..Nd2Spec::new(40, 30, SampleType::Uint16) };
    let bytes = written(&spec, &[]);
    let start = find(&bytes, b"ImageDataSeq|0!") - 16 + 4096;
    let length = u64::from_le_bytes(bytes[start - 4088..start - 4080].try_into().unwrap()) as usize - 8;
    for at in start..start + length {
        let mut bytes = bytes.clone();
        bytes[at] ^= 0x10;
        let read = open(bytes).unwrap().read_plane(0);
        assert!(read.is_err() || read.is_ok_and(|plane| plane == drawn(&spec, 0, 0)), "byte {at}");
    }
}

#[test]
fn claims_of_size_are_refused_before_anything_is_allocated() {
    let bytes = written(&Nd2Spec { loops: all_loops(), ..Nd2Spec::new(4, 3, SampleType::Uint16) }, &[]);
    let map = u64::from_le_bytes(bytes[bytes.len() - 8..].try_into().unwrap()) as usize;
    let patched = |at: usize, value: &[u8]| {
        let mut bytes = bytes.clone();
        bytes[at..at + value.len()].copy_from_slice(value);
        open(bytes).err().map(|error| error.kind)
    };
    use FormatErrorKind::{Incomplete, Malformed, OverLimit};
    let huge = (1_u64 << 62).to_le_bytes();
    assert_eq!(patched(map + 8, &huge), Some(Incomplete));
    assert_eq!(patched(map + 8, &u64::MAX.to_le_bytes()), Some(Incomplete));
    assert_eq!(patched(map + 4, &u32::MAX.to_le_bytes()), Some(Malformed));
    assert_eq!(patched(bytes.len() - 8, &huge), Some(Incomplete));
    assert_eq!(patched(bytes.len() - 8, &0_u64.to_le_bytes()), Some(Malformed));
    let attributes = find(&bytes, b"ImageAttributesLV!");
    let value_of = |name: &str| {
        let name: Vec<u8> = name.encode_utf16().chain([0]).flat_map(u16::to_le_bytes).collect();
        attributes + find(&bytes[attributes..], &name) + name.len()
    };
    assert_eq!(patched(value_of("uiWidth"), &0xFFFF_FFF0_u32.to_le_bytes()), Some(OverLimit));
    assert_eq!(patched(value_of("uiWidth"), &0_u32.to_le_bytes()), Some(Malformed));
    assert_eq!(patched(value_of("uiWidthBytes"), &2_u32.to_le_bytes()), Some(Malformed));
    assert_eq!(patched(value_of("uiComp"), &u32::MAX.to_le_bytes()), Some(Malformed));
    assert_eq!(
        patched(value_of("uiSequenceCount"), &u32::MAX.to_le_bytes()),
        None,
        "the loops and the map rule"
    );
    assert_eq!(patched(value_of("eCompression"), &1_u32.to_le_bytes()), Some(FormatErrorKind::Unsupported));
    assert_eq!(patched(value_of("SLxImageAttributes"), &u32::MAX.to_le_bytes()), Some(Malformed));
    assert_eq!(patched(value_of("SLxImageAttributes") + 4, &huge), Some(Malformed));
}

#[test]
fn limits_hold() {
    let spec = Nd2Spec { loops: all_loops(), ..Nd2Spec::new(64, 64, SampleType::Uint16) };
    let bytes = written(&spec, &[]);
    let kind = |limits: Limits| {
        Nd2Container::open(Box::new(Cursor::new(bytes.clone())), &limits).err().map(|error| error.kind)
    };
    let over = Some(FormatErrorKind::OverLimit);
    let limits = Limits::default();
    assert_eq!(kind(Limits { plane_bytes_max: 8191, ..limits }), over);
    assert_eq!(kind(Limits { plane_bytes_max: 8192, ..limits }), None);
    assert_eq!(kind(Limits { planes_max: 11, ..limits }), over);
    assert_eq!(kind(Limits { planes_max: 12, ..limits }), None);
    assert_eq!(kind(Limits { metadata_bytes_max: 1000, ..limits }), over);
    assert_eq!(kind(Limits { depth_max: 3, ..limits }), over);
}

#[test]
fn the_length_of_a_frame_decides_about_padding() {
    for (row_length, stated) in [(Nd2RowLength::Packed, 12_u32), (Nd2RowLength::MultipleOfFour, 16)] {
        let spec = Nd2Spec { row_length, ..Nd2Spec::new(5, 5, SampleType::Uint16) };
        let mut bytes = written(&spec, &[]);
        let name: Vec<u8> = "uiWidthBytes\0".encode_utf16().flat_map(u16::to_le_bytes).collect();
        let at = find(&bytes, &name) + name.len();
        bytes[at..at + 4].copy_from_slice(&stated.to_le_bytes());
        assert_eq!(open(bytes).unwrap().read_plane(0).unwrap(), drawn(&spec, 0, 0), "{stated} stated");
    }
}

/// Counts what is read through it.
struct Counted {
    inner: Cursor<Vec<u8>>,
    n_bytes: Arc<AtomicU64>,
}

impl Read for Counted {
    fn read(&mut self, out: &mut [u8]) -> std::io::Result<usize> {
        let n = self.inner.read(out)?;
        self.n_bytes.fetch_add(n as u64, Ordering::Relaxed);
        Ok(n)
    }
}

impl Seek for Counted {
    fn seek(&mut self, to: SeekFrom) -> std::io::Result<u64> {
        self.inner.seek(to)
    }
}

#[test]
fn opening_reads_metadata_only_and_channels_share_one_read() {
    let spec = Nd2Spec {
        channels: vec![(channel("a"), 1), (channel("b"), 1), (channel("c"), 1)],
        loops: vec![Nd2Loop::Time { n: 200, period_ms: 1.0 }],
        ..Nd2Spec::new(64, 64, SampleType::Uint16)
    };
    let bytes = written(&spec, &[]);
    assert!(bytes.len() > 5_000_000);
    let n_bytes = Arc::new(AtomicU64::new(0));
    let source = Counted { inner: Cursor::new(bytes), n_bytes: Arc::clone(&n_bytes) };
    let mut container = Nd2Container::open(Box::new(source), &Limits::default()).unwrap();
    let after_open = n_bytes.load(Ordering::Relaxed);
    assert!(after_open < 100_000, "{after_open} bytes read by open");
    for plane in 300..303 {
        container.read_plane(plane).unwrap();
    }
    let for_a_frame = n_bytes.load(Ordering::Relaxed) - after_open;
    assert_eq!(for_a_frame, 4088 + 64 * 64 * 2 * 3);
}

/// A file whose large pieces are not kept: they read as zeros. Counts what is read.
#[derive(Default)]
struct Sparse {
    pieces: BTreeMap<u64, Vec<u8>>,
    length: u64,
    at: u64,
    n_bytes: Arc<AtomicU64>,
}

impl std::io::Write for Sparse {
    fn write(&mut self, piece: &[u8]) -> std::io::Result<usize> {
        if piece.len() < 1 << 20 {
            self.pieces.insert(self.length, piece.to_vec());
        }
        self.length += piece.len() as u64;
        Ok(piece.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Read for Sparse {
    fn read(&mut self, out: &mut [u8]) -> std::io::Result<usize> {
        let mut n = (self.length.saturating_sub(self.at)).min(out.len() as u64) as usize;
        match self.pieces.range(..=self.at).next_back() {
            Some((start, piece)) if self.at - start < piece.len() as u64 => {
                let rest = &piece[(self.at - start) as usize..];
                n = n.min(rest.len());
                out[..n].copy_from_slice(&rest[..n]);
            }
            _ => {
                let next = self.pieces.range(self.at..).next().map_or(self.length, |(start, _)| *start);
                n = n.min((next - self.at) as usize);
                out[..n].fill(0);
            }
        }
        self.at += n as u64;
        self.n_bytes.fetch_add(n as u64, Ordering::Relaxed);
        Ok(n)
    }
}

impl Seek for Sparse {
    fn seek(&mut self, to: SeekFrom) -> std::io::Result<u64> {
        self.at = match to {
            SeekFrom::Start(at) => at,
            SeekFrom::End(by) => self.length.wrapping_add_signed(by),
            SeekFrom::Current(by) => self.at.wrapping_add_signed(by),
        };
        Ok(self.at)
    }
}

#[test]
fn a_file_of_4_gb_is_inspected_from_its_metadata() {
    let spec = Nd2Spec {
        loops: vec![Nd2Loop::Time { n: 1000, period_ms: 10.0 }],
        ..Nd2Spec::new(1448, 1448, SampleType::Uint16)
    };
    let rows = vec![0; 1448 * 1448 * 2];
    let mut writer = Nd2Writer::new(Sparse::default(), spec.clone()).unwrap();
    (0..1000).for_each(|_| writer.write_rows(&rows).unwrap());
    let file = writer.finish().unwrap();
    assert!(file.length > 4_000_000_000, "{} bytes", file.length);
    let n_bytes = Arc::clone(&file.n_bytes);
    let mut container = Nd2Container::open(Box::new(file), &Limits::default()).unwrap();
    assert_eq!((container.planes().len(), container.metadata().dims.t), (1000, 1000));
    let after_open = n_bytes.load(Ordering::Relaxed);
    assert!(after_open < 1_000_000, "{after_open} bytes read by open");
    for plane in [0, 999] {
        assert_eq!(container.plane_details(plane).unwrap().time_ms, Some(10.0 * plane as f64));
    }
    assert!(n_bytes.load(Ordering::Relaxed) < 8_000_000, "with the metadata of frames");
    assert_eq!(container.read_plane(999).unwrap().size_bytes(), rows.len());
}

#[test]
fn frames_say_when_and_where_they_were_taken() {
    for version in [Nd2Version::V3, Nd2Version::V2] {
        let spec = Nd2Spec { loops: all_loops(), version, ..Nd2Spec::new(4, 3, SampleType::Uint16) };
        let mut container = open(written(&spec, &[5])).unwrap();
        let details = container.plane_details(10).unwrap();
        let expected =
            PlaneDetails { time_ms: Some(500.0), x_um: Some(0.0), y_um: Some(-7.5), z_um: Some(11.5) };
        assert_eq!(details, expected, "the second focus step of the second position");
        assert_eq!(container.plane_details(5).unwrap(), PlaneDetails::default(), "never written");
    }
    // a single frame has the place of its picture
    let stage = Position { x_um: Some(3.0), y_um: Some(4.0), z_um: Some(5.0), ..Position::default() };
    let spec = Nd2Spec { stage, ..Nd2Spec::new(4, 3, SampleType::Uint16) };
    let mut container = open(written(&spec, &[])).unwrap();
    let expected = PlaneDetails { time_ms: Some(0.0), x_um: Some(3.0), y_um: Some(4.0), z_um: Some(5.0) };
    assert_eq!(container.plane_details(0).unwrap(), expected);
}

/// Found by fuzzing: the frame of several channels was kept although it was larger than a plane may be.
#[test]
fn a_frame_larger_than_a_plane_may_be_is_not_kept() {
    for compression in [Nd2Compression::None, Nd2Compression::Zlib(1)] {
        let channels = vec![(channel("a"), 1), (channel("b"), 1), (channel("c"), 1)];
        let spec = Nd2Spec { channels, compression, ..Nd2Spec::new(64, 64, SampleType::Uint16) };
        let limits = Limits { plane_bytes_max: 2 * 64 * 64, ..Limits::default() };
        let mut container = Nd2Container::open(Box::new(Cursor::new(written(&spec, &[]))), &limits).unwrap();
        for plane in 0..3 {
            assert_eq!(container.read_plane(plane).unwrap(), drawn(&spec, 0, plane));
            assert_eq!(container.pixels.kept_frame(), None);
        }
    }
}

#[test]
fn planes_are_read_into_the_same_memory() {
    let spec = Nd2Spec { loops: all_loops(), ..Nd2Spec::new(40, 30, SampleType::Uint16) };
    let mut container = open(written(&spec, &[])).unwrap();
    let mut plane = Plane::empty();
    container.read_plane_into(0, &mut plane).unwrap();
    let memory = plane.samples.as_bytes().as_ptr();
    container.read_plane_into(7, &mut plane).unwrap();
    assert_eq!(plane, drawn(&spec, 7, 0));
    assert_eq!(plane.samples.as_bytes().as_ptr(), memory);
}

#[test]
fn the_writer_refuses_what_nd2_cannot_hold() {
    let refused = |spec: Nd2Spec| Nd2Writer::new(Vec::new(), spec).is_err();
    assert!(refused(Nd2Spec::new(0, 3, SampleType::Uint8)));
    assert!(refused(Nd2Spec::new(3, 3, SampleType::Int16)));
    assert!(refused(Nd2Spec { channels: vec![], ..Nd2Spec::new(3, 3, SampleType::Uint8) }));
    let empty = vec![Nd2Loop::Time { n: 0, period_ms: 1.0 }];
    assert!(refused(Nd2Spec { loops: empty, ..Nd2Spec::new(3, 3, SampleType::Uint8) }));
    let spec = Nd2Spec::new(3, 3, SampleType::Uint8);
    let mut writer = Nd2Writer::new(Vec::new(), spec.clone()).unwrap();
    assert!(writer.write_frame(&[]).is_err());
    let mut writer = Nd2Writer::new(Vec::new(), spec.clone()).unwrap();
    writer.write_frame(&frame(&spec, 0)).unwrap();
    assert!(writer.write_frame(&frame(&spec, 0)).is_err(), "more frames than the loops ask for");
}

fn find(bytes: &[u8], what: &[u8]) -> usize {
    bytes.windows(what.len()).position(|window| window == what).expect("the fixture holds it")
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn flipped_bytes_never_panic(flips in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6), v2: bool) {
        let version = if v2 { Nd2Version::V2 } else { Nd2Version::V3 };
        let spec = Nd2Spec {
            channels: vec![(channel("a"), 1), (channel("b"), 3)],
            loops: vec![Nd2Loop::Positions { points: points(), relative: true }],
            compression: Nd2Compression::Zlib(1),
            version,
            ..Nd2Spec::new(3, 5, SampleType::Uint16)
        };
        let mut bytes = written(&spec, &[]);
        for (at, value) in flips {
            let at = at.index(bytes.len());
            bytes[at] = value;
        }
        reads_fully(bytes);
    }

    #[test]
    fn any_shape_round_trips(height in 1_u32..9, width in 1_u32..9, n_channels in 1_usize..5, pad in 0_u32..5, n in 1_u32..4) {
        let spec = Nd2Spec {
            channels: vec![(channel("x"), 1); n_channels],
            loops: vec![Nd2Loop::ZStack { n, step_um: 0.25 }],
            row_length: Nd2RowLength::PaddedBy(2 * pad),
            ..Nd2Spec::new(height, width, SampleType::Uint16)
        };
        check_pixels(&spec, written(&spec, &[]));
    }
}

//! What goes through our own writer comes back; what is cut, flipped, looped or lies is refused without harm.

mod stored;

use std::io::{Cursor, Read, Seek, SeekFrom};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use half::f16;
use proptest::prelude::*;

use super::*;
use crate::formats::{FormatErrorKind, Samples};
use crate::units::SampleType;

const SMALL: Limits =
    Limits { plane_bytes_max: 1 << 20, metadata_bytes_max: 1 << 16, planes_max: 100, depth_max: 16 };

fn open_bytes(bytes: &[u8]) -> Result<TiffContainer, FormatError> {
    TiffContainer::open(Box::new(Cursor::new(bytes.to_vec())), &SMALL)
}

/// Opens and decodes every plane.
fn read_all(bytes: &[u8]) -> Result<Vec<Plane>, FormatError> {
    let mut container = open_bytes(bytes)?;
    let n = container.planes().len();
    let read = |i| {
        let plane = container.read_plane(i);
        let fetched = container.fetch_plane(i).and_then(FetchedPlane::decode);
        let bytes = |plane: Plane| (plane.height, plane.width, plane.samples.as_bytes().to_vec());
        assert_eq!(fetched.map(bytes), plane.clone().map(bytes), "fetched and decoded apart");
        plane
    };
    (0..n).map(read).collect()
}

/// A plane of varied samples of every byte value.
fn plane(height: usize, width: usize, n_samples: usize, sample_type: SampleType) -> Plane {
    let mut samples = Samples::zeros(sample_type, height * width * n_samples);
    let mut state = 12_345_u32;
    for (i, byte) in samples.as_bytes_mut().iter_mut().enumerate() {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        *byte = if i % 5 < 3 { (i / 16) as u8 } else { (state >> 24) as u8 };
    }
    Plane { height, width, n_samples, samples }
}

fn small_pages(n: usize) -> Vec<Plane> {
    let page = |i: usize| Plane {
        height: 2,
        width: 3,
        n_samples: 1,
        samples: Samples::Uint16((0..6).map(|k| (i * 10 + k) as u16).collect()),
    };
    (0..n).map(page).collect()
}

fn described(n: usize, description: &str) -> Vec<u8> {
    let options = WriteOptions { description: Some(description.into()), ..WriteOptions::default() };
    encode(&small_pages(n), &options).unwrap()
}

const ALL_TYPES: [SampleType; 11] = [
    SampleType::Uint8,
    SampleType::Uint16,
    SampleType::Uint32,
    SampleType::Uint64,
    SampleType::Int8,
    SampleType::Int16,
    SampleType::Int32,
    SampleType::Int64,
    SampleType::Float16,
    SampleType::Float32,
    SampleType::Float64,
];

fn is_float(sample_type: SampleType) -> bool {
    matches!(sample_type, SampleType::Float16 | SampleType::Float32 | SampleType::Float64)
}

/// Bytes, not values, are compared: not-a-number is equal to itself.
fn assert_same(found: &[Plane], expected: &[Plane], what: &str) {
    assert_eq!(found.len(), expected.len(), "{what}");
    for (found, expected) in found.iter().zip(expected) {
        let shape = |plane: &Plane| (plane.height, plane.width, plane.n_samples, plane.samples.sample_type());
        assert_eq!(shape(found), shape(expected), "{what}");
        assert!(found.samples.as_bytes() == expected.samples.as_bytes(), "pixels differ: {what}");
    }
}

#[test]
fn every_combination_comes_back() {
    use WriteCompression::*;
    let mut n_combinations = 0;
    for sample_type in ALL_TYPES {
        for n_samples in [1, 2, 3, 4, 5] {
            let pages = [plane(19, 23, n_samples, sample_type), plane(7, 33, n_samples, sample_type)];
            for compression in [None, Deflate, Lzw, PackBits] {
                for predictor in [Predictor::None, Predictor::Horizontal, Predictor::FloatingPoint] {
                    if predictor == Predictor::FloatingPoint && !is_float(sample_type) {
                        continue;
                    }
                    for chunks in [ChunkShape::Auto, ChunkShape::Rows(4), ChunkShape::Tiles(16, 32)] {
                        let byte_order =
                            if n_combinations % 2 == 0 { ByteOrder::Little } else { ByteOrder::Big };
                        let options = WriteOptions {
                            compression,
                            predictor,
                            chunks,
                            byte_order,
                            big_tiff: n_combinations % 3 == 0,
                            ..WriteOptions::default()
                        };
                        let what = format!("{sample_type} x{n_samples} {options:?}");
                        let bytes = encode(&pages, &options).unwrap();
                        assert_same(&read_all(&bytes).expect(&what), &pages, &what);
                        n_combinations += 1;
                    }
                }
            }
        }
    }
    assert_eq!(n_combinations, 5 * 4 * 3 * (8 * 2 + 3 * 3));
}

#[test]
fn the_largest_predictor_row_is_exact_for_labels() {
    let values: Vec<u32> = (0..64 * 64).map(|i| if i % 64 < 20 { 0 } else { i / 640 + 70_000 }).collect();
    let labels = Plane { height: 64, width: 64, n_samples: 1, samples: Samples::Uint32(values) };
    let options = WriteOptions {
        compression: WriteCompression::Deflate,
        predictor: Predictor::Horizontal,
        pixel_size_um: Some(0.325),
        ..WriteOptions::default()
    };
    let bytes = encode(std::slice::from_ref(&labels), &options).unwrap();
    assert!(bytes.len() < 64 * 64 / 2, "labels compress: {} bytes", bytes.len());
    let container = open_bytes(&bytes).unwrap();
    assert!((container.metadata().pixel_size_um.unwrap() - 0.325).abs() < 1e-6);
    assert_same(&read_all(&bytes).unwrap(), &[labels], "labels");
}

#[test]
fn a_file_being_written_is_incomplete_at_every_length() {
    let options = WriteOptions {
        compression: WriteCompression::Deflate,
        description: Some("a text that is longer than a pointer".into()),
        ..WriteOptions::default()
    };
    for big_tiff in [false, true] {
        let bytes = encode(&small_pages(3), &WriteOptions { big_tiff, ..options.clone() }).unwrap();
        for n in 0..bytes.len() {
            let error = read_all(&bytes[..n]).expect_err(&format!("{n} of {} bytes", bytes.len()));
            assert_eq!(error.kind, FormatErrorKind::Incomplete, "{n} bytes: {error}");
        }
    }
}

/// Records what a writer has put out after every call.
#[derive(Default)]
struct Recorder(Cursor<Vec<u8>>, Arc<std::sync::Mutex<Vec<Vec<u8>>>>);

impl std::io::Write for Recorder {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let n = self.0.write(bytes)?;
        self.1.lock().unwrap().push(self.0.get_ref().clone());
        Ok(n)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Seek for Recorder {
    fn seek(&mut self, to: SeekFrom) -> std::io::Result<u64> {
        self.0.seek(to)
    }
}

#[test]
fn a_file_that_grows_shows_whole_pages_or_is_incomplete() {
    let recorder = Recorder::default();
    let states = recorder.1.clone();
    let pages = small_pages(3);
    write_planes(recorder, &pages, &WriteOptions::default()).unwrap();
    let mut n_pages_seen = 0;
    for state in states.lock().unwrap().iter() {
        match read_all(state) {
            Ok(found) => {
                assert_same(&found, &pages[..found.len()], "a growing file");
                n_pages_seen = n_pages_seen.max(found.len());
            }
            Err(error) => assert_eq!(error.kind, FormatErrorKind::Incomplete, "{error}"),
        }
    }
    assert_eq!(n_pages_seen, 3);
}

#[test]
fn flipped_bytes_never_panic() {
    for (compression, predictor) in [
        (WriteCompression::None, Predictor::None),
        (WriteCompression::Lzw, Predictor::Horizontal),
        (WriteCompression::Deflate, Predictor::FloatingPoint),
        (WriteCompression::PackBits, Predictor::None),
    ] {
        let pages = [plane(9, 10, 3, SampleType::Float32), plane(9, 10, 1, SampleType::Float32)];
        let chunks = ChunkShape::Tiles(16, 16);
        let description = Some("ImageJ=1.53\nimages=2\nchannels=2\n".to_owned());
        let options = WriteOptions { compression, predictor, chunks, description, ..WriteOptions::default() };
        let bytes = encode(&pages, &options).unwrap();
        for at in 0..bytes.len() {
            for mask in [0x01, 0x80, 0xFF] {
                let mut damaged = bytes.clone();
                damaged[at] ^= mask;
                let _either = read_all(&damaged);
            }
        }
    }
}

/// Finds the value field of a tag in the first directory of a little-endian classic file.
fn value_at(bytes: &[u8], tag: u16) -> usize {
    let word = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap()) as usize;
    let at = word(4);
    let n = usize::from(u16::from_le_bytes([bytes[at], bytes[at + 1]]));
    let entry = |i: usize| at + 2 + i * 12;
    (0..n).map(entry).find(|at| bytes[*at..*at + 2] == tag.to_le_bytes()).unwrap() + 8
}

fn with_value(bytes: &[u8], tag: u16, value: u32) -> Vec<u8> {
    let at = value_at(bytes, tag);
    let mut changed = bytes.to_vec();
    changed[at..at + 4].copy_from_slice(&value.to_le_bytes());
    changed
}

fn kind_of(bytes: &[u8]) -> FormatErrorKind {
    read_all(bytes).expect_err("a lie").kind
}

#[test]
fn lying_sizes_are_refused_before_anything_is_allocated() {
    let bytes = encode(&small_pages(1), &WriteOptions::default()).unwrap();
    let deflate = WriteOptions { compression: WriteCompression::Deflate, ..WriteOptions::default() };
    let packed = encode(&small_pages(1), &deflate).unwrap();
    let huge = u32::MAX - 1;
    assert_eq!(kind_of(&with_value(&bytes, tag::HEIGHT, huge)), FormatErrorKind::Malformed);
    assert_eq!(kind_of(&with_value(&bytes, tag::WIDTH, huge)), FormatErrorKind::OverLimit);
    assert_eq!(kind_of(&with_value(&packed, tag::WIDTH, huge)), FormatErrorKind::OverLimit);
    assert_eq!(kind_of(&with_value(&packed, tag::WIDTH, 4)), FormatErrorKind::Malformed);
    assert_eq!(kind_of(&with_value(&bytes, tag::STRIP_OFFSETS, 0)), FormatErrorKind::Incomplete);
    assert_eq!(kind_of(&with_value(&bytes, tag::STRIP_OFFSETS, huge)), FormatErrorKind::Incomplete);
    assert_eq!(kind_of(&with_value(&packed, tag::STRIP_BYTE_COUNTS, huge)), FormatErrorKind::Incomplete);
    assert_eq!(kind_of(&with_value(&bytes, tag::COMPRESSION, 34_925)), FormatErrorKind::Unsupported);
    assert_eq!(kind_of(&with_value(&bytes, tag::WIDTH, 0)), FormatErrorKind::Malformed);
    // an uncompressed strip is as long as its geometry says, whatever is announced
    assert!(read_all(&with_value(&bytes, tag::STRIP_BYTE_COUNTS, huge)).is_ok());
}

#[test]
fn a_chain_that_loops_is_refused() {
    let mut bytes = encode(&small_pages(1), &WriteOptions::default()).unwrap();
    let first = u32::from_le_bytes(bytes[4..8].try_into().unwrap());
    let n = usize::from(bytes[first as usize]);
    let next = first as usize + 2 + n * 12;
    bytes[next..next + 4].copy_from_slice(&first.to_le_bytes());
    let error = read_all(&bytes).unwrap_err();
    assert_eq!(error.kind, FormatErrorKind::Malformed);
    assert!(error.message.contains("circle"), "{error}");
}

#[test]
fn more_directories_than_allowed_are_refused_by_name() {
    let bytes = encode(&small_pages(101), &WriteOptions::default()).unwrap();
    let error = read_all(&bytes).unwrap_err();
    assert_eq!(error.kind, FormatErrorKind::OverLimit);
    assert!(error.message.contains("planes_max"), "{error}");
}

#[test]
fn pages_without_metadata_are_time_points() {
    let container = open_bytes(&encode(&small_pages(4), &WriteOptions::default()).unwrap()).unwrap();
    assert_eq!(container.metadata().dims.t, 4);
    let names: Vec<_> = container.planes().iter().map(|plane| plane.index.to_string()).collect();
    assert_eq!(names, ["t0p0z0c0", "t1p0z0c0", "t2p0z0c0", "t3p0z0c0"]);
    assert_eq!(container.metadata().pixel_size_um, None);
}

/// The first sample of every plane tells which page it came from.
fn pages_by_plane(bytes: &[u8]) -> Vec<(String, Option<usize>)> {
    let mut container = open_bytes(bytes).unwrap();
    let planes = container.planes().to_vec();
    let page = |(i, entry): (usize, &PlaneEntry)| {
        let page = container.read_plane(i).ok().map(|plane| match plane.samples {
            Samples::Uint16(values) => usize::from(values[0]) / 10,
            _ => usize::MAX,
        });
        assert_eq!(page.is_none(), entry.missing);
        (entry.index.to_string(), page)
    };
    planes.iter().enumerate().map(page).collect()
}

fn listed(expected: &[(&str, Option<usize>)]) -> Vec<(String, Option<usize>)> {
    expected.iter().map(|(name, page)| ((*name).to_owned(), *page)).collect()
}

#[test]
fn imagej_stacks_run_over_channels_first() {
    let text = "ImageJ=1.53\nimages=4\nchannels=2\nframes=2\nhyperstack=true\n";
    let expected =
        [("t0p0z0c0", Some(0)), ("t0p0z0c1", Some(1)), ("t1p0z0c0", Some(2)), ("t1p0z0c1", Some(3))];
    assert_eq!(pages_by_plane(&described(4, text)), listed(&expected));
    // a text that does not account for the pages is not believed
    let dims = open_bytes(&described(5, text)).unwrap().metadata().dims;
    assert_eq!((dims.t, dims.c), (5, 1));
}

fn ome(order: &str, sizes: [u32; 3], data: &str) -> String {
    let [t, z, c] = sizes;
    format!(
        "<?xml version=\"1.0\"?><OME UUID=\"urn:uuid:own\"><Image ID=\"Image:0\"><Pixels DimensionOrder=\"{order}\" \
         SizeX=\"3\" SizeY=\"2\" SizeT=\"{t}\" SizeZ=\"{z}\" SizeC=\"{c}\" PhysicalSizeX=\"0.5\">{data}</Pixels></Image></OME>"
    )
}

#[test]
fn ome_orders_and_blocks_name_the_planes() {
    let text = ome("XYZCT", [1, 2, 2], "<TiffData/>");
    let expected =
        [("t0p0z0c0", Some(0)), ("t0p0z0c1", Some(2)), ("t0p0z1c0", Some(1)), ("t0p0z1c1", Some(3))];
    assert_eq!(pages_by_plane(&described(4, &text)), listed(&expected));
    let blocks = "<TiffData IFD=\"1\" FirstT=\"0\"/><TiffData IFD=\"0\" FirstT=\"1\"/>";
    let text = ome("XYCZT", [2, 1, 1], blocks);
    assert_eq!(pages_by_plane(&described(2, &text)), listed(&[("t0p0z0c0", Some(1)), ("t1p0z0c0", Some(0))]));
    assert_eq!(open_bytes(&described(2, &text)).unwrap().metadata().pixel_size_um, Some(0.5));
}

#[test]
fn an_early_stop_shows_what_is_there() {
    // 9 time points of 2 channels were planned, 3 planes were taken
    let text = ome("XYCZT", [9, 1, 2], "<TiffData/>");
    let expected = [("t0p0z0c0", Some(0)), ("t0p0z0c1", Some(1)), ("t1p0z0c0", Some(2)), ("t1p0z0c1", None)];
    assert_eq!(pages_by_plane(&described(3, &text)), listed(&expected));
}

#[test]
fn planes_of_sibling_files_are_left_to_them() {
    let data = "<TiffData IFD=\"0\" FirstT=\"0\"><UUID FileName=\"other.tif\">urn:uuid:other</UUID></TiffData>\
                <TiffData IFD=\"0\" FirstT=\"1\"><UUID FileName=\"this.tif\">urn:uuid:own</UUID></TiffData>";
    let text = ome("XYCZT", [2, 1, 1], data);
    assert_eq!(pages_by_plane(&described(1, &text)), listed(&[("t1p0z0c0", Some(0))]));
    assert_eq!(open_bytes(&described(1, &text)).unwrap().metadata().other_files, ["other.tif"]);
}

#[test]
fn ome_says_when_and_where_planes_were_taken() {
    let planes =
        "<TiffData/><Plane TheT=\"1\" TheZ=\"0\" TheC=\"0\" DeltaT=\"2\" PositionX=\"3\" PositionZ=\"1\"/>";
    let mut container = open_bytes(&described(2, &ome("XYCZT", [2, 1, 1], planes))).unwrap();
    let expected = PlaneDetails { time_ms: Some(2000.0), x_um: Some(3.0), y_um: None, z_um: Some(1.0) };
    assert_eq!(container.plane_details(1).unwrap(), expected);
    assert_eq!(container.plane_details(0).unwrap(), PlaneDetails::default());
    let json = br#"{"ElapsedTime-ms": 12.5, "XPositionUm": "-3", "YPositionUm": 4}"#;
    let expected = PlaneDetails { time_ms: Some(12.5), x_um: Some(-3.0), y_um: Some(4.0), z_um: None };
    assert_eq!(vendor::details_in(json), expected);
    assert_eq!(vendor::details_in(b"no json"), PlaneDetails::default());
}

#[test]
fn ome_that_contradicts_the_pages_is_not_believed() {
    let twice = "<TiffData IFD=\"0\"/><TiffData IFD=\"0\" FirstT=\"1\"/>";
    for text in [
        ome("XYCZT", [2, 1, 1], twice),
        ome("XYCZT", [1, 1, 1], "<TiffData/>"),
        ome("XYCZT", [2, 1, 1], "<TiffData/>").replace("SizeX=\"3\"", "SizeX=\"4\""),
        ome("XYQQQ", [2, 1, 1], "<TiffData/>"),
    ] {
        let expected = listed(&[("t0p0z0c0", Some(0)), ("t1p0z0c0", Some(1))]);
        assert_eq!(pages_by_plane(&described(2, &text)), expected, "{text}");
    }
}

/// Puts Micro-Manager's header and index map around a file: directories move behind the header.
fn micro_manager(index: &[[u32; 4]], summary: &str) -> Vec<u8> {
    let words = |words: &[u32]| words.iter().flat_map(|word| word.to_le_bytes()).collect::<Vec<u8>>();
    let mut bytes = b"II\x2A\0\0\0\0\0".to_vec();
    bytes.extend(words(&[54_773_648, 0, 483_765_892, 0, 99_384_722, 0, 2_355_492, summary.len() as u32]));
    bytes.extend(summary.as_bytes());
    bytes.resize(bytes.len().next_multiple_of(2), 0);
    let mut pointer_at = 4;
    let mut map = words(&[3_453_623, index.len() as u32]);
    for (i, place) in index.iter().enumerate() {
        let pixels_at = bytes.len() as u32;
        bytes.extend((0..6).flat_map(|k| ((i * 10 + k) as u16).to_le_bytes()));
        let at = bytes.len() as u32;
        let tags = [
            (256, 3),
            (257, 2),
            (258, 16),
            (259, 1),
            (262, 1),
            (273, pixels_at),
            (277, 1),
            (278, 2),
            (279, 12),
        ];
        bytes.extend((tags.len() as u16).to_le_bytes());
        for (tag, value) in tags {
            bytes.extend([tag, 4].iter().flat_map(|word: &u16| word.to_le_bytes()));
            bytes.extend(words(&[1, value]));
        }
        bytes[pointer_at..pointer_at + 4].copy_from_slice(&at.to_le_bytes());
        pointer_at = bytes.len();
        bytes.extend([0; 4]);
        map.extend(words(place));
        map.extend(words(&[at]));
    }
    let map_at = bytes.len() as u32;
    bytes[12..16].copy_from_slice(&map_at.to_le_bytes());
    bytes.extend(map);
    bytes
}

#[test]
fn micro_manager_stacks_go_by_their_index_map() {
    // channel, slice, frame, position
    let index = [[1, 0, 0, 3], [0, 0, 0, 3], [0, 0, 1, 3], [1, 0, 1, 3]];
    let summary = r#"{"ChNames":["DAPI","SD GFP, wide"],"PixelSize_um":0.325,"BitDepth":12}"#;
    let bytes = micro_manager(&index, summary);
    let expected =
        [("t0p0z0c0", Some(1)), ("t0p0z0c1", Some(0)), ("t1p0z0c0", Some(2)), ("t1p0z0c1", Some(3))];
    assert_eq!(pages_by_plane(&bytes), listed(&expected));
    let container = open_bytes(&bytes).unwrap();
    let metadata = container.metadata();
    assert_eq!((metadata.pixel_size_um, metadata.significant_bits), (Some(0.325), 12));
    assert_eq!(metadata.channels[1].name, "SD GFP, wide");
    for n in 0..bytes.len() {
        assert_eq!(read_all(&bytes[..n]).unwrap_err().kind, FormatErrorKind::Incomplete, "{n} bytes");
    }
}

#[test]
fn a_micro_manager_stack_that_still_grows_is_incomplete() {
    let mut bytes = micro_manager(&[[0; 4], [0, 0, 1, 0]], "{}");
    bytes[12..16].fill(0);
    assert_eq!(read_all(&bytes).unwrap_err().kind, FormatErrorKind::Incomplete);
    // the next directory is announced, but the pre-allocated file holds zeros there
    let mut bytes = micro_manager(&[[0; 4]], "{}");
    let end = bytes.len();
    bytes.resize(end + 4096, 0);
    let next = u32::from_le_bytes(bytes[12..16].try_into().unwrap()) as usize - 4;
    bytes[next..next + 4].copy_from_slice(&(end as u32 + 100).to_le_bytes());
    assert_eq!(read_all(&bytes).unwrap_err().kind, FormatErrorKind::Incomplete);
    let mut reserved = described(1, "a description");
    let at = value_at(&reserved, tag::DESCRIPTION);
    reserved[at - 4..at + 4].fill(0);
    assert_eq!(read_all(&reserved).unwrap_err().kind, FormatErrorKind::Incomplete);
}

/// A file of some bytes followed by gigabytes whose value says where they stand; counts the reads.
struct Sparse {
    head: Vec<u8>,
    file_bytes: u64,
    at: u64,
    n_reads: Arc<AtomicUsize>,
}

impl Read for Sparse {
    fn read(&mut self, out: &mut [u8]) -> std::io::Result<usize> {
        self.n_reads.fetch_add(1, Ordering::Relaxed);
        let n = (self.file_bytes.saturating_sub(self.at)).min(out.len() as u64) as usize;
        for (byte, at) in out[..n].iter_mut().zip(self.at..) {
            *byte = self.head.get(at as usize).copied().unwrap_or((at >> 26) as u8);
        }
        self.at += n as u64;
        Ok(n)
    }
}

impl Seek for Sparse {
    fn seek(&mut self, to: SeekFrom) -> std::io::Result<u64> {
        self.at = match to {
            SeekFrom::Start(at) => at,
            SeekFrom::End(by) => self.file_bytes.wrapping_add_signed(by),
            SeekFrom::Current(by) => self.at.wrapping_add_signed(by),
        };
        Ok(self.at)
    }
}

#[test]
fn an_imagej_stack_above_4_gib_has_all_its_planes() {
    const PLANE: u64 = 64 << 20;
    let text = "ImageJ=1.53\nimages=66\nchannels=2\nslices=33\nhyperstack=true\n";
    let mut head = described(1, text);
    for (tag, value) in [(tag::WIDTH, 8192), (tag::HEIGHT, 8192), (tag::ROWS_PER_STRIP, 8192)] {
        head = with_value(&head, tag, value);
    }
    head = with_value(&head, tag::BITS_PER_SAMPLE, 8);
    head = with_value(&head, tag::STRIP_OFFSETS, head.len() as u32);
    head = with_value(&head, tag::STRIP_BYTE_COUNTS, PLANE as u32);
    let file_bytes = head.len() as u64 + 66 * PLANE;
    let source = |file_bytes| Sparse { head: head.clone(), file_bytes, at: 0, n_reads: Arc::default() };
    let limits = Limits::default();
    let mut container = TiffContainer::open(Box::new(source(file_bytes)), &limits).unwrap();
    assert_eq!((container.planes().len(), container.metadata().dims.z), (66, 33));
    let Samples::Uint8(values) = container.read_plane(65).unwrap().samples else { panic!("8-bit samples") };
    assert_eq!((values[0], values[values.len() - 1000]), (65, 65));
    let cut = TiffContainer::open(Box::new(source(file_bytes - 1)), &limits).err().unwrap();
    assert_eq!(cut.kind, FormatErrorKind::Incomplete);
}

#[test]
fn ten_thousand_pages_open_with_few_reads() {
    let head = encode(&small_pages(10_000), &WriteOptions::default()).unwrap();
    let n_reads = Arc::new(AtomicUsize::new(0));
    let file_bytes = head.len() as u64;
    let source = Sparse { head, file_bytes, at: 0, n_reads: n_reads.clone() };
    let container = TiffContainer::open(Box::new(source), &Limits::default()).unwrap();
    assert_eq!(container.planes().len(), 10_000);
    let n = n_reads.load(Ordering::Relaxed);
    assert!(n < 100, "{n} reads for {file_bytes} bytes");
}

#[test]
fn float16_keeps_its_bits() {
    let values = [f16::NAN, f16::INFINITY, f16::from_f32(-0.1), f16::ZERO];
    let plane = Plane { height: 1, width: 4, n_samples: 1, samples: Samples::Float16(values.to_vec()) };
    let bytes = encode(std::slice::from_ref(&plane), &WriteOptions::default()).unwrap();
    assert_same(&read_all(&bytes).unwrap(), &[plane], "float16");
}

#[test]
fn contradictions_in_what_is_written_are_refused() {
    let wrong = Plane { height: 2, width: 2, n_samples: 1, samples: Samples::Uint8(vec![0; 3]) };
    assert!(encode(&[wrong], &WriteOptions::default()).is_err());
    assert!(encode(&[], &WriteOptions::default()).is_err());
    let floating = WriteOptions { predictor: Predictor::FloatingPoint, ..WriteOptions::default() };
    assert!(encode(&small_pages(1), &floating).is_err());
    let no_rows = WriteOptions { chunks: ChunkShape::Rows(0), ..WriteOptions::default() };
    assert!(encode(&small_pages(1), &no_rows).is_err());
}

proptest! {
    #[test]
    fn any_image_comes_back(
        height in 1_usize..40,
        width in 1_usize..40,
        n_samples in 1_usize..5,
        values in proptest::collection::vec(any::<u16>(), 40 * 40 * 5),
        rows in 1_u32..50,
        lzw in any::<bool>(),
    ) {
        let samples = Samples::Uint16(values[..height * width * n_samples].to_vec());
        let plane = Plane { height, width, n_samples, samples };
        let compression = if lzw { WriteCompression::Lzw } else { WriteCompression::PackBits };
        let options = WriteOptions { compression, chunks: ChunkShape::Rows(rows), ..WriteOptions::default() };
        let bytes = encode(std::slice::from_ref(&plane), &options).unwrap();
        prop_assert_eq!(read_all(&bytes).unwrap(), vec![plane]);
    }

    #[test]
    fn any_bytes_are_refused_or_read(mut bytes in proptest::collection::vec(any::<u8>(), 8..600), at in 8_u32..64) {
        bytes[..4].copy_from_slice(b"II\x2A\0");
        bytes[4..8].copy_from_slice(&at.to_le_bytes());
        if let Some(count) = bytes.get_mut(at as usize..at as usize + 2) {
            count.copy_from_slice(&[9, 0]);
        }
        let _either = read_all(&bytes);
    }

    #[test]
    fn any_directory_is_refused_or_read(
        entries in proptest::collection::vec((250_u16..345, 0_u16..19, 0_u32..5, 0_u32..400), 1..30),
    ) {
        let mut bytes = b"II\x2A\0\x08\0\0\0".to_vec();
        bytes.extend((entries.len() as u16).to_le_bytes());
        for (tag, field_type, count, value) in entries {
            bytes.extend(tag.to_le_bytes());
            bytes.extend(field_type.to_le_bytes());
            bytes.extend(count.to_le_bytes());
            bytes.extend(value.to_le_bytes());
        }
        bytes.resize(bytes.len() + 400, 0x11);
        let at = 10 + usize::from(bytes[8]) * 12;
        bytes[at..at + 4].fill(0);
        let _either = read_all(&bytes);
    }
}

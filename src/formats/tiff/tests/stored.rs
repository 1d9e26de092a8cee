//! Ways of storing pixels that our writer does not have, put together by hand.

use ::fax::encoder::Encoder;
use ::fax::{Color, VecWriter};
use image::ImageEncoder;

use super::*;

/// A little-endian file of one page: tags as SHORT or LONG by their size, strips or tiles behind each other.
fn single_page(tags: &[(u16, &[u32])], chunks: &[&[u8]]) -> Vec<u8> {
    let mut bytes = b"II\x2A\0\0\0\0\0".to_vec();
    let mut offsets = Vec::new();
    for chunk in chunks {
        offsets.push(bytes.len() as u32);
        bytes.extend_from_slice(chunk);
    }
    let lengths: Vec<u32> = chunks.iter().map(|chunk| chunk.len() as u32).collect();
    let tiled = tags.iter().any(|(tag, _)| *tag == tag::TILE_WIDTH);
    let places = if tiled {
        [tag::TILE_OFFSETS, tag::TILE_BYTE_COUNTS]
    } else {
        [tag::STRIP_OFFSETS, tag::STRIP_BYTE_COUNTS]
    };
    let mut all: Vec<(u16, Vec<u32>)> = tags.iter().map(|(tag, values)| (*tag, values.to_vec())).collect();
    all.extend([(places[0], offsets), (places[1], lengths)]);
    all.sort();
    let mut directory = (all.len() as u16).to_le_bytes().to_vec();
    for (tag, values) in &all {
        directory.extend(tag.to_le_bytes());
        directory.extend(4_u16.to_le_bytes());
        directory.extend((values.len() as u32).to_le_bytes());
        if let [value] = values[..] {
            directory.extend(value.to_le_bytes());
        } else {
            directory.extend((bytes.len() as u32).to_le_bytes());
            bytes.extend(values.iter().flat_map(|value| value.to_le_bytes()));
        }
    }
    directory.extend([0; 4]);
    let at = bytes.len() as u32;
    bytes[4..8].copy_from_slice(&at.to_le_bytes());
    bytes.extend(directory);
    bytes
}

fn samples_of(bytes: &[u8]) -> Samples {
    read_all(bytes).unwrap().remove(0).samples
}

#[test]
fn packed_samples_are_widened_and_rows_start_at_bytes() {
    let shape: &[(u16, &[u32])] = &[(tag::WIDTH, &[3]), (tag::HEIGHT, &[2]), (tag::BITS_PER_SAMPLE, &[12])];
    let data = [0x12, 0x3A, 0xBC, 0xDE, 0xF0, 0x00, 0x10, 0x02, 0x00, 0x30];
    let expected = Samples::Uint16(vec![0x123, 0xABC, 0xDEF, 0x001, 0x002, 0x003]);
    assert_eq!(samples_of(&single_page(shape, &[&data])), expected);
    let reversed: Vec<u8> = data.iter().map(|byte| byte.reverse_bits()).collect();
    let with_order = [shape, &[(tag::FILL_ORDER, &[2])]].concat();
    assert_eq!(samples_of(&single_page(&with_order, &[&reversed])), expected);
    // differences wrap at 12 bits
    let with_predictor = [shape, &[(tag::PREDICTOR, &[2])]].concat();
    let summed = Samples::Uint16(vec![0x123, 0xBDF, 0x9CE, 0x001, 0x003, 0x006]);
    assert_eq!(samples_of(&single_page(&with_predictor, &[&data])), summed);
}

#[test]
fn planes_of_samples_are_interleaved() {
    let tags: &[(u16, &[u32])] = &[
        (tag::WIDTH, &[2]),
        (tag::HEIGHT, &[3]),
        (tag::BITS_PER_SAMPLE, &[8, 8]),
        (tag::SAMPLES_PER_PIXEL, &[2]),
        (tag::ROWS_PER_STRIP, &[2]),
        (tag::PLANAR, &[2]),
    ];
    let bytes = single_page(tags, &[&[1, 2, 3, 4], &[5, 6], &[11, 12, 13, 14], &[15, 16]]);
    let expected = vec![1, 11, 2, 12, 3, 13, 4, 14, 5, 15, 6, 16];
    assert_eq!(samples_of(&bytes), Samples::Uint8(expected));
}

#[test]
fn palettes_stay_indices_and_white_is_zero_stays_as_stored() {
    for photometric in [0, 3] {
        let tags: &[(u16, &[u32])] = &[
            (tag::WIDTH, &[4]),
            (tag::HEIGHT, &[1]),
            (tag::BITS_PER_SAMPLE, &[4]),
            (tag::PHOTOMETRIC, &[photometric]),
        ];
        assert_eq!(samples_of(&single_page(tags, &[&[0x1F, 0x20]])), Samples::Uint8(vec![1, 15, 2, 0]));
    }
}

#[test]
fn fax_rows_come_back_as_stored_bits() {
    const WIDTH: u16 = 21;
    let black = |row: u16, column: u16| (row * 5 + column) % 7 < 3;
    let mut encoder = Encoder::new(VecWriter::new());
    for row in 0..6 {
        let pixels = (0..WIDTH).map(|column| if black(row, column) { Color::Black } else { Color::White });
        let Ok(()) = encoder.encode_line(pixels, WIDTH);
    }
    let Ok(writer) = encoder.finish();
    let data = writer.finish();
    let tags: &[(u16, &[u32])] =
        &[(tag::WIDTH, &[WIDTH.into()]), (tag::HEIGHT, &[6]), (tag::COMPRESSION, &[4])];
    let expected = (0..6).flat_map(|row| (0..WIDTH).map(move |column| u8::from(black(row, column))));
    assert_eq!(samples_of(&single_page(tags, &[&data])), Samples::Uint8(expected.collect()));
    let cut = single_page(tags, &[&data[..data.len() / 2]]);
    assert_eq!(read_all(&cut).unwrap_err().kind, FormatErrorKind::Malformed);
}

#[test]
fn huffman_rows_are_aligned_to_bytes() {
    // white 2 (0111), black 3 (10), white 3 (1000); then white 0 (00110101), black 8 (000101)
    let data = [0b0111_1010, 0b0000_0000, 0b0011_0101, 0b0001_0100];
    let tags: &[(u16, &[u32])] = &[(tag::WIDTH, &[8]), (tag::HEIGHT, &[2]), (tag::COMPRESSION, &[2])];
    let expected = vec![0, 0, 1, 1, 1, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1];
    assert_eq!(samples_of(&single_page(tags, &[&data])), Samples::Uint8(expected));
}

#[test]
fn jpeg_strips_are_colours_or_refused() {
    let pixels: Vec<u8> = (0..16 * 16).flat_map(|i| [(i / 16 * 16) as u8, 128, 40]).collect();
    let mut data = Vec::new();
    let encoder = image::codecs::jpeg::JpegEncoder::new_with_quality(&mut data, 100);
    encoder.write_image(&pixels, 16, 16, image::ExtendedColorType::Rgb8).unwrap();
    let tags = |rows| -> Vec<(u16, Vec<u32>)> {
        vec![
            (tag::WIDTH, vec![16]),
            (tag::HEIGHT, vec![rows]),
            (tag::BITS_PER_SAMPLE, vec![8, 8, 8]),
            (tag::SAMPLES_PER_PIXEL, vec![3]),
            (tag::COMPRESSION, vec![7]),
            (tag::PHOTOMETRIC, vec![6]),
        ]
    };
    let file = |rows| {
        let tags = tags(rows);
        let tags: Vec<(u16, &[u32])> = tags.iter().map(|(tag, values)| (*tag, &values[..])).collect();
        single_page(&tags, &[&data])
    };
    let Samples::Uint8(found) = samples_of(&file(16)) else { panic!("8-bit samples") };
    let worst = found.iter().zip(&pixels).map(|(a, b)| a.abs_diff(*b)).max();
    assert!(worst.unwrap() <= 6, "differs by {worst:?}");
    assert!(open_bytes(&file(16)).unwrap().metadata().is_lossy);
    let plain: &[(u16, &[u32])] = &[(tag::WIDTH, &[2]), (tag::HEIGHT, &[1]), (tag::BITS_PER_SAMPLE, &[8])];
    assert!(!open_bytes(&single_page(plain, &[&[1, 2]])).unwrap().metadata().is_lossy);
    assert_eq!(read_all(&file(17)).unwrap_err().kind, FormatErrorKind::Malformed);
}

#[test]
fn metamorph_stacks_have_all_their_planes() {
    let tags: &[(u16, &[u32])] = &[
        (tag::WIDTH, &[2]),
        (tag::HEIGHT, &[2]),
        (tag::BITS_PER_SAMPLE, &[8]),
        (tag::METAMORPH_UIC2, &[0, 0, 0]),
    ];
    let bytes = single_page(tags, &[&[1, 2, 3, 4]]);
    // the directory itself would be taken for pixels if nobody looked
    assert_eq!(kind_of(&bytes), FormatErrorKind::Malformed);
    let mut longer = single_page(tags, &[&[1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12]]);
    let planes = read_all(&longer).unwrap();
    let values: Vec<Samples> = planes.into_iter().map(|plane| plane.samples).collect();
    let expected = [[1, 2, 3, 4], [5, 6, 7, 8], [9, 10, 11, 12]].map(|four| Samples::Uint8(four.to_vec()));
    assert_eq!(values, expected);
    longer.truncate(longer.len() - 1);
    assert_eq!(read_all(&longer).unwrap_err().kind, FormatErrorKind::Incomplete);
}

#[test]
fn metamorph_stacks_with_distances_are_slices() {
    let dims = |distance: u32| {
        // three planes: distance (a fraction), day and time of creation, day and time of a change
        let plane = [distance, 10, 2_459_000, 5, 2_459_000, 5];
        let planes = plane.repeat(3);
        let file = |n: u32| {
            let tags: &[(u16, &[u32])] = &[
                (tag::WIDTH, &[2]),
                (tag::HEIGHT, &[2]),
                (tag::BITS_PER_SAMPLE, &[8]),
                // its elements are six times as long as their type says
                (tag::METAMORPH_UIC2, &planes),
            ];
            let mut bytes = single_page(tags, &[&[1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12]]);
            let entry = bytes.windows(2).position(|it| it == tag::METAMORPH_UIC2.to_le_bytes()).unwrap();
            bytes[entry + 4..entry + 8].copy_from_slice(&n.to_le_bytes());
            bytes
        };
        let container = TiffContainer::open(Box::new(Cursor::new(file(3))), &Limits::default()).unwrap();
        let dims = container.metadata().dims;
        (dims.t, dims.z)
    };
    assert_eq!((dims(5), dims(0)), ((1, 3), (3, 1)));
}

#[test]
fn thumbnails_are_no_planes_and_sub_directories_must_be_there() {
    let page: &[(u16, &[u32])] = &[(tag::WIDTH, &[2]), (tag::HEIGHT, &[1]), (tag::BITS_PER_SAMPLE, &[8])];
    let alone = [page, &[(tag::NEW_SUBFILE_TYPE, &[1])]].concat();
    assert_eq!(read_all(&single_page(&alone, &[&[7, 8]])).unwrap().len(), 1, "nothing else to show");
    let with_child = [page, &[(tag::SUB_DIRECTORIES, &[100_000])]].concat();
    assert_eq!(kind_of(&single_page(&with_child, &[&[7, 8]])), FormatErrorKind::Incomplete);
}

#[test]
fn a_tag_that_says_two_things_is_refused() {
    let tags: &[(u16, &[u32])] =
        &[(tag::WIDTH, &[2]), (tag::WIDTH, &[3]), (tag::HEIGHT, &[1]), (tag::BITS_PER_SAMPLE, &[8])];
    assert_eq!(kind_of(&single_page(tags, &[&[7, 8, 9]])), FormatErrorKind::Malformed);
    let same = [&tags[1..], &[(tag::WIDTH, &[3][..])]].concat();
    assert_eq!(samples_of(&single_page(&same, &[&[7, 8, 9]])), Samples::Uint8(vec![7, 8, 9]));
}

/// Bytes as the numbers of a LONG tag.
fn as_longs(bytes: &[u8]) -> Vec<u32> {
    bytes
        .chunks(4)
        .map(|four| u32::from_le_bytes(std::array::from_fn(|i| *four.get(i).unwrap_or(&0))))
        .collect()
}

#[test]
fn nis_exports_name_objective_channel_and_place() {
    use crate::formats::nd2::{Nd2Objective, Nd2Spec, Nd2Writer};
    use crate::formats::{Channel, Position};
    let objective =
        Nd2Objective { name: "Plan UW 2x".into(), magnification: Some(2.0), numerical_aperture: Some(0.06) };
    let stage = Position { x_um: Some(7.0), y_um: Some(8.0), z_um: Some(500.0), ..Position::default() };
    let spec = Nd2Spec {
        channels: vec![(Channel { name: "DAPI".into(), ..Channel::default() }, 1)],
        objective: Some(objective),
        stage,
        ..Nd2Spec::new(2, 2, SampleType::Uint8)
    };
    let mut writer = Nd2Writer::new(Vec::new(), spec).unwrap();
    writer.write_frame(&[plane(2, 2, 1, SampleType::Uint8)]).unwrap();
    let nd2 = writer.finish().unwrap();
    let name = b"ImageMetadataSeqLV|0!";
    let chunk = nd2.windows(name.len()).position(|window| window == name).unwrap() - 16;
    let word = |at: usize| u32::from_le_bytes(nd2[at..at + 4].try_into().unwrap()) as usize;
    let data = chunk + 16 + word(chunk + 4);
    let block = &nd2[data..data + word(chunk + 8)];
    let mut tag_bytes: Vec<u8> = [1_u32, 16].into_iter().flat_map(u32::to_le_bytes).collect();
    tag_bytes.extend("MetadataTiffV1_0".encode_utf16().flat_map(u16::to_le_bytes));
    tag_bytes.extend([1, 0, block.len() as u32, 56].into_iter().flat_map(u32::to_le_bytes));
    tag_bytes.extend(block);
    let file = |tag_bytes: &[u8]| {
        let longs = as_longs(tag_bytes);
        let tags: &[(u16, &[u32])] = &[
            (tag::WIDTH, &[2]),
            (tag::HEIGHT, &[1]),
            (tag::BITS_PER_SAMPLE, &[8]),
            (tag::NIS_PICTURE, &longs),
        ];
        open_bytes(&single_page(tags, &[&[7, 8]])).unwrap().metadata().clone()
    };
    let metadata = file(&tag_bytes);
    assert_eq!(metadata.objective.as_deref(), Some("Plan UW 2x"));
    assert_eq!((metadata.nominal_magnification, metadata.numerical_aperture), (Some(2.0), Some(0.06)));
    assert_eq!((metadata.channels[0].name.as_str(), metadata.positions[0].z_um), ("DAPI", Some(500.0)));
    // a block that is damaged, or said to lie elsewhere, is left out
    for at in [4, 12, 48, 52, 60] {
        let mut damaged = tag_bytes.clone();
        damaged[at..at + 4].fill(0xFF);
        assert_eq!(file(&damaged).objective, None, "byte {at}");
    }
}

#[test]
fn lsm_counts_slices_and_times() {
    let mut info = vec![0; 64];
    info[..4].copy_from_slice(&0x0400_494C_u32.to_le_bytes());
    info[16..20].copy_from_slice(&2_u32.to_le_bytes());
    info[24..28].copy_from_slice(&2_u32.to_le_bytes());
    info[40..48].copy_from_slice(&0.25e-6_f64.to_le_bytes());
    info[56..64].copy_from_slice(&1.5e-6_f64.to_le_bytes());
    let lsm = super::super::vendor::Lsm::parse(&info).unwrap();
    assert_eq!((lsm.n_z, lsm.n_t), (2, 2));
    assert!((lsm.pixel_size_um.unwrap() - 0.25).abs() < 1e-9 && (lsm.z_step_um.unwrap() - 1.5).abs() < 1e-9);
    assert_eq!(super::super::vendor::Lsm::parse(&info[..27]), None);
    // four pages and their thumbnails, one directory after the other
    let longs = as_longs(&info);
    let page: &[(u16, &[u32])] = &[(tag::WIDTH, &[2]), (tag::HEIGHT, &[1]), (tag::BITS_PER_SAMPLE, &[8])];
    let main = [page, &[(tag::LSM_INFO, &longs[..])]].concat();
    let thumbnail = [page, &[(tag::NEW_SUBFILE_TYPE, &[1][..])]].concat();
    let mut file = Vec::new();
    for number in 0..8_u8 {
        append_page(&mut file, if number % 2 == 0 { &main } else { &thumbnail }, &[number, number]);
    }
    let expected =
        [("t0p0z0c0", Some(0)), ("t0p0z1c0", Some(2)), ("t1p0z0c0", Some(4)), ("t1p0z1c0", Some(6))];
    let mut container = open_bytes(&file).unwrap();
    let found: Vec<(String, u8)> = (0..container.planes().len())
        .map(|i| {
            (container.planes()[i].index.to_string(), container.read_plane(i).unwrap().samples.as_bytes()[0])
        })
        .collect();
    let expected: Vec<(String, u8)> =
        expected.iter().map(|(index, page)| ((*index).to_owned(), page.unwrap())).collect();
    assert_eq!(found, expected);
    assert!((container.metadata().z_step_um.unwrap() - 1.5).abs() < 1e-9);
}

/// Appends a file of one page to others: its offsets move, and the chain goes on to it.
fn append_page(file: &mut Vec<u8>, tags: &[(u16, &[u32])], pixels: &[u8]) {
    let page = single_page(tags, &[pixels]);
    let base = file.len() as u32;
    let at = u32::from_le_bytes(page[4..8].try_into().unwrap()) as usize;
    let mut moved = page.clone();
    let n = usize::from(page[at]);
    for entry in (0..n).map(|i| at + 2 + 12 * i) {
        let tag = u16::from_le_bytes(page[entry..entry + 2].try_into().unwrap());
        let count = u32::from_le_bytes(page[entry + 4..entry + 8].try_into().unwrap());
        if count > 1 || tag == tag::STRIP_OFFSETS {
            let value = u32::from_le_bytes(page[entry + 8..entry + 12].try_into().unwrap()) + base;
            moved[entry + 8..entry + 12].copy_from_slice(&value.to_le_bytes());
        }
    }
    // the pointer that ends the chain so far
    let last = (!file.is_empty()).then(|| file.len() - 4);
    file.extend(moved);
    if let Some(last) = last {
        file[last..last + 4].copy_from_slice(&(base + at as u32).to_le_bytes());
    }
}

#[test]
fn metamorph_says_its_calibration_in_xml() {
    let text = |state: &str| {
        format!(
            "<MetaData><prop id=\"spatial-calibration-state\" type=\"bool\" value=\"{state}\"/>\
             <prop id=\"spatial-calibration-x\" type=\"float\" value=\"0.3225\"/>\
             <prop id=\"spatial-calibration-units\" type=\"string\" value=\"um\"/></MetaData>"
        )
    };
    let size = |state: &str| open_bytes(&described(1, &text(state))).unwrap().metadata().pixel_size_um;
    assert_eq!((size("on"), size("off")), (Some(0.3225), None));
}

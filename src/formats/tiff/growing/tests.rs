//! A file cut anywhere gives the planes that the finished file has there, and nothing else.

use std::collections::BTreeMap;
use std::io::Cursor;

use super::*;
use crate::formats::tiff::{TiffWriter, WriteOptions};
use crate::formats::{Plane, Samples};
use crate::units::{PlaneIndex, SampleType};

fn page(number: u16) -> Plane {
    let samples = (0..6000).map(|i: u16| i.wrapping_mul(31).wrapping_add(number * 7)).collect();
    Plane { height: 60, width: 100, n_samples: 1, samples: Samples::Uint16(samples) }
}

/// The file after each appended page.
fn appended(n: u16, options: &WriteOptions) -> Vec<Vec<u8>> {
    let after = |n: u16| {
        let mut writer = TiffWriter::new(Cursor::new(Vec::new()), options.clone()).unwrap();
        (0..n).for_each(|number| writer.write_plane(&page(number)).unwrap());
        writer.finish().unwrap().into_inner()
    };
    (1..=n).map(after).collect()
}

type Planes = BTreeMap<PlaneIndex, (Option<u64>, Plane)>;

fn all_planes(container: &mut dyn Container) -> Planes {
    let entries = container.planes().to_vec();
    let read = |(i, entry): (usize, &PlaneEntry)| {
        (entry.index, (container.place(i), container.read_plane(i).unwrap()))
    };
    entries.iter().enumerate().map(read).collect()
}

fn finished(bytes: &[u8]) -> Planes {
    all_planes(&mut TiffContainer::open(Box::new(Cursor::new(bytes.to_vec())), &Limits::default()).unwrap())
}

/// Looks at each state of a file; what was handed out at each, and in the end at rest.
fn watched(states: &[Vec<u8>]) -> (Planes, Vec<usize>) {
    let mut growing = GrowingTiff::new(&Limits::default());
    let (mut planes, mut counts) = (Planes::new(), Vec::new());
    let last = states.last().map(|state| (state, true));
    for (state, at_rest) in states.iter().map(|state| (state, false)).chain(last) {
        growing.advance(&mut Cursor::new(state.clone()), at_rest).unwrap();
        if let Some(mut batch) = growing.new_planes(Box::new(Cursor::new(state.clone()))).unwrap() {
            let new = all_planes(batch.as_mut());
            assert!(new.keys().all(|index| !planes.contains_key(index)), "handed out once");
            assert!(!batch.steady_bytes().unwrap().is_empty());
            planes.extend(new);
        }
        counts.push(planes.len());
    }
    (planes, counts)
}

#[test]
fn a_page_is_handed_out_once_another_stands_behind_it() {
    for big_tiff in [false, true] {
        let states = appended(5, &WriteOptions { big_tiff, ..WriteOptions::default() });
        let (planes, counts) = watched(&states);
        assert_eq!(counts, [0, 1, 2, 3, 4, 5]);
        assert_eq!(planes, finished(&states[4]));
    }
}

#[test]
fn a_file_cut_anywhere_gives_whole_pages_only() {
    let whole = appended(4, &WriteOptions::default()).pop().unwrap();
    let complete = finished(&whole);
    for step in [997, 4096] {
        let states: Vec<_> = (step..whole.len()).step_by(step).map(|n| whole[..n].to_vec()).collect();
        let (planes, _) = watched(&states);
        assert!(planes.len() >= 3, "{} planes", planes.len());
        assert!(planes.iter().all(|(index, plane)| complete[index] == *plane));
    }
}

#[test]
fn the_axes_of_imagej_and_ome_are_those_of_the_finished_file() {
    let ome = |order: &str| {
        format!(
            "<?xml version=\"1.0\"?><OME xmlns=\"http://www.openmicroscopy.org/Schemas/OME/2016-06\"><Image ID=\"Image:0\">\
             <Pixels ID=\"Pixels:0\" DimensionOrder=\"{order}\" Type=\"uint16\" SizeX=\"100\" SizeY=\"60\" SizeZ=\"2\" \
             SizeC=\"2\" SizeT=\"2\"><TiffData/></Pixels></Image></OME>"
        )
    };
    let imagej = "ImageJ=1.54f\nimages=8\nchannels=2\nslices=2\nframes=2\nhyperstack=true\n".to_owned();
    for description in [imagej, ome("XYCZT"), ome("XYTZC")] {
        let options = WriteOptions { description: Some(description.clone()), ..WriteOptions::default() };
        let states = appended(8, &options);
        let (planes, counts) = watched(&states);
        assert_eq!(counts[3], 3, "{description}");
        assert_eq!(planes, finished(&states[7]), "{description}");
    }
}

/// A Micro-Manager stack of `n` pages of which `n_written` are written: sized for all from the start, each directory before
/// its pixels and with two descriptions that are filled in at the end, each pointer leading to where the next
/// directory will be.
fn micro_manager(n: u16, n_written: u16, is_closed: bool) -> Vec<u8> {
    const PIXEL_BYTES: usize = 12_000;
    let word = |value: usize| (value as u32).to_le_bytes();
    let summary = br#"{"ChNames":["DAPI","GFP"],"PixelSize_um":0.65}"#;
    let json = |number: u16| {
        let (t, c) = (number / 2, number % 2);
        format!("{{\"FrameIndex\":{t},\"SliceIndex\":0,\"ChannelIndex\":{c},\"PositionIndex\":3}}")
            .into_bytes()
    };
    let mut file = b"II*\0".to_vec();
    let first = (40 + summary.len()).next_multiple_of(2);
    [first, 54_773_648, 0, 483_765_892, 0, 99_384_722, 0, 2_355_492, summary.len()]
        .iter()
        .for_each(|value| file.extend(word(*value)));
    file.extend(summary);
    file.resize(first, 0);
    let mut index = Vec::new();
    for number in 0..n_written {
        let (at, json) = (file.len(), json(number));
        let is_last = number + 1 == n && is_closed;
        let n_entries = if number == 0 { 13 } else { 11 };
        let pixels_at = at + 2 + n_entries * 12 + 4;
        let json_at = pixels_at + PIXEL_BYTES;
        let next = (json_at + json.len()).next_multiple_of(2);
        let mut entries: Vec<(u16, u16, usize, usize)> = vec![
            (256, 3, 1, 100),
            (257, 3, 1, 60),
            (258, 3, 1, 16),
            (259, 3, 1, 1),
            (262, 3, 1, 1),
            (273, 4, 1, pixels_at),
            (277, 3, 1, 1),
            (278, 3, 1, 60),
            (279, 4, 1, PIXEL_BYTES),
            (339, 3, 1, 1),
            (51123, 2, json.len(), json_at),
        ];
        if number == 0 {
            // one letter each, once the file is closed
            let count = usize::from(is_closed) * 2;
            entries.extend([(270, 2, count, usize::from(b'm')), (270, 2, count, usize::from(b'i'))]);
        }
        entries.sort_by_key(|entry| entry.0);
        file.extend((n_entries as u16).to_le_bytes());
        for (tag, field_type, count, value) in entries {
            file.extend(tag.to_le_bytes());
            file.extend(field_type.to_le_bytes());
            file.extend(word(count));
            file.extend(word(value));
        }
        file.extend(word(if is_last { 0 } else { next }));
        page(number).for_each_little_endian_bytes(|bytes| file.extend_from_slice(bytes));
        file.extend(&json);
        file.resize(next, 0);
        index.extend([usize::from(number % 2), 0, usize::from(number / 2), 3, at].into_iter().flat_map(word));
    }
    if is_closed {
        let index_at = file.len();
        file.extend(word(3_453_623));
        file.extend(word(usize::from(n_written)));
        file.extend(index);
        file[12..16].copy_from_slice(&word(index_at));
    } else {
        file.resize(200_000, 0);
    }
    file
}

#[test]
fn a_micro_manager_stack_is_read_while_it_has_its_final_size_already() {
    let states: Vec<_> =
        (0..=6).map(|n| micro_manager(6, n, false)).chain([micro_manager(6, 6, true)]).collect();
    assert!(states[..7].iter().all(|state| state.len() == 200_000));
    let (planes, counts) = watched(&states);
    assert_eq!(counts, [0, 0, 1, 2, 3, 4, 5, 5, 6]);
    assert_eq!(planes, finished(&states[7]), "index, place and pixels of the closed file");

    let mut growing = GrowingTiff::new(&Limits::default());
    growing.advance(&mut Cursor::new(states[3].clone()), false).unwrap();
    let batch = growing.new_planes(Box::new(Cursor::new(states[3].clone()))).unwrap().unwrap();
    let names: Vec<_> = batch.metadata().channels.iter().map(|channel| channel.name.clone()).collect();
    assert_eq!((names, batch.metadata().pixel_size_um), (vec!["DAPI".into(), "GFP".into()], Some(0.65)));
    assert_eq!(batch.planes()[1].index, PlaneIndex { c: 1, ..PlaneIndex::default() });
    assert_eq!(batch.planes()[0].sample_type, SampleType::Uint16);
}

/// The same as an NDTiff stack, whose pages name their axes.
fn ndtiff(n: u16, n_written: u16, is_closed: bool) -> Vec<u8> {
    let mut file = micro_manager(n, n_written, is_closed);
    file[8..12].copy_from_slice(&483_729_u32.to_le_bytes());
    file[32..36].fill(0);
    for number in 0..n_written {
        let (t, c) = (number / 2, number % 2);
        let old = format!("{{\"FrameIndex\":{t},\"SliceIndex\":0,\"ChannelIndex\":{c},\"PositionIndex\":3}}");
        let channel = ["GFP", "DAPI"][usize::from(c)];
        let new = format!("{{\"Axes\":{{\"time\":{t},\"channel\":\"{channel}\",\"z\":0}}}}");
        let at = file.windows(old.len()).position(|bytes| bytes == old.as_bytes()).unwrap();
        file[at..at + old.len()].fill(0);
        file[at..at + new.len()].copy_from_slice(new.as_bytes());
    }
    file
}

#[test]
fn pages_of_an_ndtiff_stack_stand_where_their_axes_say() {
    let states: Vec<_> = (0..=6).map(|n| ndtiff(6, n, false)).chain([ndtiff(6, 6, true)]).collect();
    let (planes, counts) = watched(&states);
    assert_eq!(counts, [0, 0, 1, 2, 3, 4, 5, 5, 6]);
    assert_eq!(planes, finished(&states[7]), "index, place and pixels of the closed file");
    let container =
        TiffContainer::open(Box::new(Cursor::new(states[7].clone())), &Limits::default()).unwrap();
    let dims = container.metadata().dims;
    assert_eq!((dims.t, dims.c), (3, 2));
}

/// A file whose two directories stand in front of all pixels.
fn directories_first() -> Vec<u8> {
    let directory = |pixels_at: u32, next: u32| {
        let entries: [(u16, u32); 8] =
            [(256, 4), (257, 4), (258, 8), (259, 1), (262, 1), (273, pixels_at), (278, 4), (279, 16)];
        let mut bytes = 8_u16.to_le_bytes().to_vec();
        for (tag, value) in entries {
            bytes.extend(tag.to_le_bytes());
            bytes.extend(4_u16.to_le_bytes());
            bytes.extend(1_u32.to_le_bytes());
            bytes.extend(value.to_le_bytes());
        }
        bytes.extend(next.to_le_bytes());
        bytes
    };
    let mut bytes = b"II*\0\x08\0\0\0".to_vec();
    bytes.extend(directory(212, 110));
    bytes.extend(directory(228, 0));
    bytes.resize(244, 0);
    bytes
}

#[test]
fn directories_in_front_of_all_pixels_prove_nothing() {
    // as a copy that was given its size before its content: the directories are there, no pixel is
    let (planes, counts) = watched(&[directories_first()]);
    assert_eq!((counts, planes.len()), (vec![0, 2], 2), "only once the file rests");
}

#[test]
fn a_page_that_ends_behind_the_file_is_not_written_however_long_it_rests() {
    let cut = directories_first()[..236].to_vec();
    let (planes, counts) = watched(std::slice::from_ref(&cut));
    assert_eq!((counts, planes.len()), (vec![0, 1], 1));
    let (planes, _) = watched(&[cut, directories_first()]);
    assert_eq!(planes.len(), 2, "it comes later");
}

#[test]
fn a_chain_in_a_circle_ends_the_walk_and_is_told() {
    let mut bytes = appended(2, &WriteOptions::default()).pop().unwrap();
    let first = bytes[4..8].to_vec();
    let n = bytes.len();
    let second = u32::from_le_bytes(first.clone().try_into().unwrap()) as usize;
    let n_entries = usize::from(u16::from_le_bytes([bytes[second], bytes[second + 1]]));
    let pointer = second + 2 + n_entries * 12;
    bytes[pointer..pointer + 4].copy_from_slice(&first);
    let mut growing = GrowingTiff::new(&Limits::default());
    growing.advance(&mut Cursor::new(bytes[..n].to_vec()), true).unwrap();
    assert!(growing.lacks().unwrap().contains("circle"));
}

#[test]
fn an_imagej_stack_beyond_the_limit_gives_no_plane() {
    for axes in ["slices=4294967297", "channels=9999999999\nslices=9999999999\nframes=9999999999"] {
        let description = Some(format!("ImageJ=1.54f\n{axes}\nhyperstack=true\n"));
        let state = appended(2, &WriteOptions { description, ..WriteOptions::default() }).pop().unwrap();
        let mut growing = GrowingTiff::new(&Limits::default());
        growing.advance(&mut Cursor::new(state.clone()), true).unwrap();
        assert!(growing.lacks().unwrap().contains("limit"), "{axes}: {:?}", growing.lacks());
        assert!(growing.new_planes(Box::new(Cursor::new(state))).unwrap().is_none());
    }
}

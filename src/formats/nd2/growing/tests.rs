//! A file cut anywhere gives the planes that the finished file has there, and nothing else.

use std::collections::BTreeMap;
use std::io::Cursor;

use super::*;
use crate::formats::growing::{self, FrameShape};
use crate::formats::nd2::{Nd2Compression, Nd2Container, Nd2Loop, Nd2Spec, Nd2Writer};
use crate::formats::{Channel, FormatErrorKind, Plane, Position, Samples};
use crate::units::SampleType;

fn spec(loops: Vec<Nd2Loop>) -> Nd2Spec {
    let channel = |name: &str| (Channel { name: name.into(), ..Channel::default() }, 1);
    Nd2Spec {
        channels: vec![channel("DAPI"), channel("GFP")],
        loops,
        pixel_size_um: Some(0.65),
        ..Nd2Spec::new(5, 7, SampleType::Uint16)
    }
}

fn time_and_focus(n: u32) -> Vec<Nd2Loop> {
    vec![Nd2Loop::Time { n, period_ms: 10.0 }, Nd2Loop::ZStack { n: 3, step_um: 0.5 }]
}

/// The finished file, and where each frame ends.
fn written(spec: &Nd2Spec) -> (Vec<u8>, Vec<usize>) {
    let mut writer = Nd2Writer::new(Vec::new(), spec.clone()).unwrap();
    let mut ends = Vec::new();
    for frame in 0..spec.n_frames() {
        let plane = |channel: u64| Plane {
            height: spec.height as usize,
            width: spec.width as usize,
            n_samples: 1,
            samples: Samples::Uint16(
                (0..u64::from(spec.height * spec.width))
                    .map(|i| (i * 31 + frame * 7 + channel * 1000) as u16)
                    .collect(),
            ),
        };
        writer.write_frame(&[plane(0), plane(1)]).unwrap();
        ends.push(writer.n_bytes_written() as usize);
    }
    (writer.finish().unwrap(), ends)
}

fn source(bytes: &[u8]) -> Box<dyn Source> {
    Box::new(Cursor::new(bytes.to_vec()))
}

fn sibling(spec: &Nd2Spec) -> Hint {
    Hint::of_finished(source(&written(spec).0), &Limits::default()).unwrap()
}

type Planes = BTreeMap<PlaneIndex, (Option<u64>, Plane)>;

fn all_planes(container: &mut dyn Container) -> Planes {
    let entries = container.planes().to_vec();
    let read = |(i, entry): (usize, &PlaneEntry)| {
        (entry.index, (container.place(i), container.read_plane(i).unwrap()))
    };
    entries.iter().enumerate().map(read).collect()
}

/// Looks at the file at each of the lengths, and gathers what is handed out.
fn watched(bytes: &[u8], lengths: impl IntoIterator<Item = usize>, hint: &Hint) -> (Planes, Vec<usize>) {
    let mut growing = GrowingNd2::new(&Limits::default());
    let (mut planes, mut counts) = (Planes::new(), Vec::new());
    for length in lengths {
        let mut now = Cursor::new(bytes[..length].to_vec());
        growing.advance(&mut now, false).unwrap();
        if growing.wants_hint() {
            growing.take_hint(hint).unwrap();
        }
        if let Some(mut batch) = growing.new_planes(Box::new(now)).unwrap() {
            let new = all_planes(batch.as_mut());
            assert!(new.keys().all(|index| !planes.contains_key(index)), "handed out once");
            assert!(
                batch
                    .steady_bytes()
                    .unwrap()
                    .iter()
                    .all(|range| range.offset + range.length <= length as u64)
            );
            planes.extend(new);
        }
        counts.push(planes.len());
    }
    (planes, counts)
}

#[test]
fn every_frame_is_handed_out_once_its_successor_has_begun() {
    let spec = spec(time_and_focus(3));
    let (bytes, ends) = written(&spec);
    let hint = sibling(&self::spec(time_and_focus(1)));
    let complete = all_planes(&mut Nd2Container::open(source(&bytes), &Limits::default()).unwrap());

    let (planes, counts) = watched(&bytes, ends.iter().map(|end| end + 16 + 64), &hint);
    assert_eq!(counts, (1..=9).map(|n| 2 * n).collect::<Vec<_>>());
    assert_eq!(planes, complete, "index, place and pixels of the finished file");

    // cut anywhere: never more than the frames that are whole
    for step in [1000, 4096, 4097] {
        let lengths: Vec<_> = (step..bytes.len()).step_by(step).collect();
        let (planes, counts) = watched(&bytes, lengths.iter().copied(), &hint);
        for (length, count) in lengths.iter().zip(&counts) {
            let n_whole = ends.iter().filter(|end| *end <= length).count();
            assert!(*count <= 2 * n_whole && *count + 2 >= 2 * n_whole, "{count} planes of {n_whole} frames");
        }
        assert!(planes.iter().all(|(index, plane)| complete[index] == *plane));
    }
}

#[test]
fn the_last_frame_counts_once_the_file_rests() {
    let (bytes, ends) = written(&spec(time_and_focus(1)));
    let mut growing = GrowingNd2::new(&Limits::default());
    let cut = |length: usize| Cursor::new(bytes[..length].to_vec());
    growing.advance(&mut cut(ends[0] - 5000), true).unwrap();
    assert_eq!((growing.n_written(), growing.lacks()), (0, None), "it is not all there");
    growing.advance(&mut cut(ends[0]), false).unwrap();
    assert!(!growing.wants_hint());
    growing.advance(&mut cut(ends[0]), true).unwrap();
    assert!(growing.wants_hint());
    growing.take_hint(&sibling(&spec(time_and_focus(2)))).unwrap();
    assert_eq!(growing.new_planes(source(&bytes[..ends[0]])).unwrap().unwrap().planes().len(), 2);
    assert!(growing.new_planes(source(&bytes[..ends[0]])).unwrap().is_none());
}

#[test]
fn a_sibling_must_fit() {
    let (bytes, ends) = written(&spec(time_and_focus(2)));
    let refusal = |other: &Nd2Spec| {
        let mut growing = GrowingNd2::new(&Limits::default());
        growing.advance(&mut Cursor::new(bytes[..ends[1]].to_vec()), false).unwrap();
        let refused = growing.take_hint(&sibling(other)).unwrap_err();
        assert!(growing.new_planes(source(&bytes)).unwrap().is_none(), "nothing is guessed");
        assert_eq!(growing.lacks().as_deref(), Some("the shape of its frames stands at its end"));
        refused
    };
    let wider = Nd2Spec { width: 9, ..spec(time_and_focus(2)) };
    assert!(refusal(&wider).contains("its frames have"), "{}", refusal(&wider));
    let finer = Nd2Spec { pixel_size_um: Some(0.3), ..spec(time_and_focus(2)) };
    assert!(refusal(&finer).contains("optics"));
    let mut renamed = spec(time_and_focus(2));
    renamed.channels[1].0.name = "RFP".into();
    assert!(refusal(&renamed).contains("channels"));
}

#[test]
fn a_stated_shape_must_be_the_only_one_that_fits() {
    let (bytes, ends) = written(&spec(time_and_focus(2)));
    let told = |texts: &[&str]| {
        let mut growing = GrowingNd2::new(&Limits::default());
        growing.advance(&mut Cursor::new(bytes[..ends[1]].to_vec()), false).unwrap();
        let shapes = texts.iter().map(|text| text.parse::<FrameShape>().unwrap()).collect();
        growing
            .take_hint(&Hint::Stated(shapes))
            .map(|()| growing.new_planes(source(&bytes)).unwrap().unwrap())
    };
    let mut batch = told(&["9x9 uint8", "7x5 uint16", "7x5 uint16"]).unwrap();
    let complete = all_planes(&mut Nd2Container::open(source(&bytes), &Limits::default()).unwrap());
    assert!(all_planes(batch.as_mut()).iter().all(|(index, plane)| complete[index] == *plane));
    assert!(told(&["7x5 uint16", "5x7 uint16"]).is_err(), "ambiguous");
    assert!(told(&["8x5 uint16"]).is_err());
}

#[test]
fn files_without_loops_and_of_open_positions_are_placed_as_when_finished() {
    let points = |n: usize| Nd2Loop::Positions { points: vec![Position::default(); n], relative: false };
    for loops in [vec![], vec![points(2), Nd2Loop::ZStack { n: 2, step_um: 1.0 }]] {
        let spec = spec(loops);
        let (bytes, ends) = written(&spec);
        let complete = all_planes(&mut Nd2Container::open(source(&bytes), &Limits::default()).unwrap());
        let (planes, _) = watched(&bytes, ends.iter().map(|end| end + 80), &sibling(&spec));
        assert_eq!(planes, complete);
    }
}

#[test]
fn compressed_frames_are_taken_up_too() {
    let spec = Nd2Spec { compression: Nd2Compression::Zlib(6), ..spec(time_and_focus(2)) };
    let (bytes, ends) = written(&spec);
    let complete = all_planes(&mut Nd2Container::open(source(&bytes), &Limits::default()).unwrap());
    let (planes, _) = watched(&bytes, ends.iter().map(|end| end + 80), &sibling(&spec));
    assert_eq!(planes, complete);
}

#[test]
fn nonsense_is_an_error_and_a_finished_file_does_not_grow() {
    let (bytes, ends) = written(&spec(time_and_focus(2)));
    assert!(growing::open(&mut Cursor::new(bytes.clone()), &Limits::default()).unwrap().is_none());
    assert!(
        growing::open(&mut Cursor::new(bytes[..ends[1]].to_vec()), &Limits::default()).unwrap().is_some()
    );
    let kind = |damage: &dyn Fn(&mut Vec<u8>)| {
        let mut bytes = bytes[..ends[2]].to_vec();
        damage(&mut bytes);
        GrowingNd2::new(&Limits::default()).advance(&mut Cursor::new(bytes), true).map_err(|error| error.kind)
    };
    assert_eq!(kind(&|bytes| bytes[..16].fill(0xAA)), Err(FormatErrorKind::Malformed));
    assert_eq!(kind(&|bytes| bytes[ends[0]..ends[0] + 16].fill(0xAA)), Err(FormatErrorKind::Malformed));
    assert_eq!(kind(&|bytes| bytes[ends[0] + 8..ends[0] + 16].fill(0xFF)), Err(FormatErrorKind::Malformed));
    assert_eq!(kind(&|bytes| bytes[ends[0]..].fill(0)), Ok(()), "not written yet");
    let few = Limits { planes_max: 2, ..Limits::default() };
    let many = GrowingNd2::new(&few).advance(&mut Cursor::new(bytes), true).unwrap_err();
    assert_eq!(many.kind, FormatErrorKind::OverLimit);
}

#[test]
fn loops_that_cannot_be_read_are_not_replaced_by_a_hint() {
    let (mut bytes, ends) = written(&spec(time_and_focus(2)));
    let name = b"ImageMetadataLV!";
    let at = bytes.windows(name.len()).position(|window| window == name).unwrap();
    let header = at - 16;
    let word = |at: usize| u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap());
    let (start, length) = (at + (word(header) >> 32) as usize, word(header + 8) as usize);
    bytes[start..start + length].fill(0xEE);
    let mut growing = GrowingNd2::new(&Limits::default());
    let cut = || Cursor::new(bytes[..ends[1]].to_vec());
    let first = growing.advance(&mut cut(), false).unwrap_err();
    assert!(growing.n_written() > 0);
    let again = growing.advance(&mut cut(), false).unwrap_err();
    assert_eq!((again.kind, again.to_string()), (first.kind, first.to_string()));
    assert!(growing.lacks().is_some() && !growing.wants_hint(), "{:?}", growing.lacks());
    assert!(growing.new_planes(source(&bytes[..ends[1]])).unwrap().is_none());
}

fn recovered(bytes: &[u8], hints: Vec<Hint>) -> Result<(Planes, Recovered), FormatError> {
    let mut found = recover(source(bytes), &Limits::default(), hints)?;
    Ok((all_planes(found.container.as_mut()), found))
}

#[test]
fn a_file_without_its_map_gives_the_frames_that_are_there() {
    let spec = spec(time_and_focus(4));
    let (bytes, ends) = written(&spec);
    let whole = all_planes(&mut Nd2Container::open(source(&bytes), &Limits::default()).unwrap());
    // only the map is gone
    let (planes, found) = recovered(&bytes[..bytes.len() - 40], Vec::new()).unwrap();
    assert_eq!((&planes, found.metadata.dims.t), (&whole, 4));
    assert_eq!(found.metadata.pixel_size_um, Some(0.65));
    // the attributes are gone, too: nothing is guessed
    for (frame, end) in ends.iter().enumerate().skip(2) {
        let cut = &bytes[..*end];
        let error = recovered(cut, Vec::new()).err().expect("nothing says what the frames hold");
        assert_eq!(error.kind, FormatErrorKind::Incomplete);
        assert!(error.message.contains(&format!("{} frames were found", frame + 1)), "{error}");
        let (planes, found) = recovered(cut, vec![sibling(&spec)]).unwrap();
        assert_eq!(planes.len(), 2 * (frame + 1));
        assert!(planes.iter().all(|(index, plane)| whole[index] == *plane), "cut behind frame {frame}");
        assert_eq!(found.metadata.dims.t, frame as u32 / 3 + 1);
    }
    let refused = Hint::Stated(vec!["9x9 uint8".parse::<FrameShape>().unwrap()]);
    let error = recovered(&bytes[..ends[5]], vec![refused]).err().expect("no such frames");
    assert!(error.message.contains("0 of the stated shapes fit"), "{error}");
}

#[test]
fn damage_in_the_middle_is_passed_over() {
    let spec = spec(time_and_focus(4));
    let (mut bytes, ends) = written(&spec);
    let whole = all_planes(&mut Nd2Container::open(source(&bytes), &Limits::default()).unwrap());
    let name = b"ImageDataSeq|4!";
    let at = bytes.windows(name.len()).position(|window| window == name).unwrap() - 16;
    bytes[at..at + 40].fill(0x55);
    let (planes, found) = recovered(&bytes[..bytes.len() - 40], Vec::new()).unwrap();
    assert_eq!((planes.len(), found.damage.len()), (whole.len() - 2, 1), "{:?}", found.damage);
    assert!(planes.iter().all(|(index, plane)| whole[index] == *plane));
    // the start of the file is overwritten, and its loops with it: frames cannot be placed
    bytes[..ends[0] - 4096].fill(0xAA);
    let error = recovered(&bytes, Vec::new()).err().expect("frames without loops");
    assert_eq!(error.kind, FormatErrorKind::Incomplete);
}

#[test]
fn a_single_frame_needs_no_loops() {
    let spec = spec(Vec::new());
    let (bytes, _) = written(&spec);
    let (planes, _) = recovered(&bytes[..bytes.len() - 40], Vec::new()).unwrap();
    assert_eq!(planes, all_planes(&mut Nd2Container::open(source(&bytes), &Limits::default()).unwrap()));
    let error = recovered(&bytes[..200], Vec::new()).err().expect("no frame");
    assert_eq!(error.kind, FormatErrorKind::Malformed);
}

//! Files that grow: their planes are reported while they do, once each, whatever happens in between.

use std::fs::{File, OpenOptions};
use std::io::{Seek, SeekFrom, Write};

use scopewatch::formats::nd2::{Nd2Loop, Nd2Spec, Nd2Writer};
use scopewatch::formats::tiff::{TiffWriter, WriteOptions};
use scopewatch::formats::{Channel, Plane};
use scopewatch::units::SampleType;
use serde_json::Value;

use crate::support::{Daemon, Sandbox, field, wait_until};

/// An ND2 of `n` time points and two focus steps as an instrument writes it, cut behind each frame: `parts[k]` ends with
/// frame `k`, the last part is what follows the frames.
fn nd2_parts(n: u32, seed: u64) -> Vec<Vec<u8>> {
    let spec = Nd2Spec {
        channels: vec![(Channel { name: "DAPI".into(), ..Channel::default() }, 1)],
        loops: vec![Nd2Loop::Time { n, period_ms: 500.0 }, Nd2Loop::ZStack { n: 2, step_um: 1.0 }],
        pixel_size_um: Some(0.65),
        ..Nd2Spec::new(96, 128, SampleType::Uint16)
    };
    let mut writer = Nd2Writer::new(Vec::new(), spec).unwrap();
    let mut cuts = vec![0];
    for frame in 0..u64::from(2 * n) {
        writer.write_frame(&[field(seed + frame)]).unwrap();
        cuts.push(writer.n_bytes_written() as usize);
    }
    let bytes = writer.finish().unwrap();
    cuts.push(bytes.len());
    cuts.windows(2).map(|cut| bytes[cut[0]..cut[1]].to_vec()).collect()
}

/// A file in the watched folder that is written piece by piece.
struct Slow {
    file: File,
}

impl Slow {
    fn new(sandbox: &Sandbox, name: &str) -> Self {
        Self { file: File::create(sandbox.inbox().join(name)).unwrap() }
    }

    fn append(&mut self, parts: &[Vec<u8>]) {
        self.file.write_all(&parts.concat()).unwrap();
    }
}

impl Sandbox {
    fn start_with(&self, variables: &[(&str, &str)]) -> Daemon {
        let mut command = self.run_command();
        command.envs(variables.iter().copied());
        Daemon::start(&mut command, self.path())
    }

    /// The lines of the planes of one file.
    fn planes_of(&self, file: &str) -> Vec<Value> {
        let mut lines = self.lines("planes");
        lines.retain(|line| line["file"] == file);
        lines
    }

    fn wait_for_planes(&self, file: &str, n: usize) {
        let path = self.out().join("reports/planes.jsonl");
        wait_until(&format!("{n} planes of {file} are reported"), || {
            let text = std::fs::read_to_string(&path).unwrap_or_default();
            let key = format!("\"file\":\"{file}\"");
            text.lines().filter(|line| line.contains(&key)).count() >= n
        });
    }

    /// Every plane of the file has one line, and so has the file.
    fn check_each_once(&self, file: &str, n_planes: usize) {
        let mut planes: Vec<_> =
            self.planes_of(file).iter().map(|line| line["plane"].as_str().unwrap().to_owned()).collect();
        assert_eq!(planes.len(), n_planes, "{planes:?}");
        planes.sort_unstable();
        planes.dedup();
        assert_eq!(planes.len(), n_planes, "no plane twice");
        let lines: Vec<_> = self.lines("files").into_iter().filter(|line| line["file"] == file).collect();
        assert_eq!(lines.len(), 1, "{lines:?}");
        assert_eq!((&lines[0]["outcome"], &lines[0]["version"]), (&"done".into(), &1.into()));
        assert_eq!((&lines[0]["planes"], &lines[0]["planes_rejected"]), (&n_planes.into(), &0.into()));
        assert!(self.planes_of(file).iter().all(|line| line["version"] == 1));
    }
}

fn alerts(sandbox: &Sandbox, kind: &str) -> Vec<Value> {
    sandbox.lines("alerts").into_iter().filter(|line| line["kind"] == kind).collect()
}

#[test]
fn an_nd2_is_reported_plane_by_plane_over_kills() {
    let sandbox = Sandbox::new();
    sandbox.drop_file("run_Seq0000.nd2", &nd2_parts(1, 100).concat());
    let parts = nd2_parts(6, 200);
    let mut daemon = sandbox.start();
    let mut slow = Slow::new(&sandbox, "run_Seq0001.nd2");
    for frame in 0..12 {
        slow.append(&parts[frame..=frame]);
        // the frame before is certain, this one is once the file rests
        sandbox.wait_for_planes("run_Seq0001.nd2", frame);
        if frame % 4 == 3 {
            daemon.kill();
            daemon = sandbox.start();
        }
    }
    let early = sandbox.planes_of("run_Seq0001.nd2");
    assert!(early.iter().all(|line| line["container_complete"] == false));
    assert_eq!(early[0]["plane"], "t0p0z0c0");
    assert_eq!(sandbox.lines("files").len(), 1, "only the sibling is complete");
    slow.append(&parts[12..]);
    drop(slow);
    sandbox.wait_for_files(2);
    assert_eq!(daemon.stop(), Some(0));
    sandbox.check_each_once("run_Seq0001.nd2", 12);
    let last = sandbox.planes_of("run_Seq0001.nd2").into_iter().map(|line| line["plane"].to_string()).max();
    assert_eq!(last.as_deref(), Some("\"t5p0z1c0\""));
    assert!(alerts(&sandbox, "growing_misread").is_empty());
}

#[test]
fn a_file_written_anew_while_it_grows_is_compared_by_its_pixels() {
    let sandbox = Sandbox::new();
    sandbox.drop_file("run_Seq0000.nd2", &nd2_parts(1, 100).concat());
    let daemon = sandbox.start();
    let mut slow = Slow::new(&sandbox, "run_Seq0001.nd2");
    slow.append(&nd2_parts(3, 200)[..4]);
    sandbox.wait_for_planes("run_Seq0001.nd2", 4);
    // two planes stay, the others are new
    slow.file.set_len(0).unwrap();
    slow.file.seek(SeekFrom::Start(0)).unwrap();
    let (old, new) = (nd2_parts(3, 200), nd2_parts(3, 300));
    slow.append(&[&old[..2], &new[2..]].concat());
    drop(slow);
    sandbox.wait_for_files(2);
    assert_eq!(daemon.stop(), Some(0));
    let planes = sandbox.planes_of("run_Seq0001.nd2");
    let of = |plane: &str| planes.iter().filter(|line| line["plane"] == plane).count();
    assert_eq!([of("t0p0z0c0"), of("t0p0z1c0")], [1, 1], "equal pixels get no second line");
    assert_eq!([of("t1p0z0c0"), of("t1p0z1c0")], [2, 2], "other pixels do");
    assert_eq!([of("t2p0z0c0"), of("t2p0z1c0")], [1, 1]);
    assert_eq!(sandbox.reported().values().sum::<usize>(), 2);
}

#[test]
fn without_a_fitting_sibling_a_growing_nd2_waits_and_says_why() {
    let sandbox = Sandbox::new();
    // another frame size, and another run
    let other = Nd2Spec { pixel_size_um: Some(0.65), ..Nd2Spec::new(96, 130, SampleType::Uint16) };
    let plane =
        Plane { width: 130, samples: scopewatch::formats::Samples::Uint16(vec![7; 96 * 130]), ..field(1) };
    let mut writer = Nd2Writer::new(Vec::new(), other).unwrap();
    writer.write_frame(&[plane]).unwrap();
    sandbox.drop_file("run_Seq0000.nd2", &writer.finish().unwrap());
    let daemon = sandbox.start();
    sandbox.wait_for_files(1);
    let parts = nd2_parts(2, 200);
    let mut slow = Slow::new(&sandbox, "run_Seq0001.nd2");
    for frame in 0..4 {
        slow.append(&parts[frame..=frame]);
        sandbox.wait_for_walks(1);
    }
    let status = || {
        let mut command = crate::support::scopewatch();
        let output = crate::support::output(command.arg("status").arg("--out").arg(sandbox.out()));
        String::from_utf8(output.stdout).unwrap()
    };
    wait_until("status says why", || status().contains("the shape of its frames stands at its end"));
    assert!(status().contains("its frames have"), "why the sibling does not fit: {}", status());
    assert!(sandbox.planes_of("run_Seq0001.nd2").is_empty());
    slow.append(&parts[4..]);
    drop(slow);
    sandbox.wait_for_files(2);
    assert_eq!(daemon.stop(), Some(0));
    sandbox.check_each_once("run_Seq0001.nd2", 4);
}

#[test]
fn a_stated_frame_shape_does_as_well() {
    let sandbox = Sandbox::new();
    let daemon =
        sandbox.start_with(&[("SCOPEWATCH__GROWING__ND2_FRAMES", "[\"64x64 uint16\", \"128x96 uint16\"]")]);
    let parts = nd2_parts(2, 200);
    let mut slow = Slow::new(&sandbox, "alone.nd2");
    slow.append(&parts[..3]);
    sandbox.wait_for_planes("alone.nd2", 3);
    slow.append(&parts[3..]);
    drop(slow);
    sandbox.wait_for_files(1);
    assert_eq!(daemon.stop(), Some(0));
    sandbox.check_each_once("alone.nd2", 4);
}

#[test]
fn a_stall_is_one_alert_until_planes_come_again() {
    let sandbox = Sandbox::new();
    sandbox.drop_file("run_Seq0000.nd2", &nd2_parts(1, 100).concat());
    let daemon = sandbox.start_with(&[("SCOPEWATCH__GROWING__STALLED_AFTER_MIN_MS", "500")]);
    let parts = nd2_parts(3, 200);
    let mut slow = Slow::new(&sandbox, "run_Seq0001.nd2");
    for n_stalls in 1..=2 {
        for frame in 2 * n_stalls - 2..2 * n_stalls {
            slow.append(&parts[frame..=frame]);
            sandbox.wait_for_planes("run_Seq0001.nd2", frame + 1);
        }
        wait_until("the stall is told", || alerts(&sandbox, "stalled").len() >= n_stalls);
    }
    sandbox.wait_for_walks(3);
    assert_eq!(alerts(&sandbox, "stalled").len(), 2, "once for each stall");
    assert_eq!(alerts(&sandbox, "stalled")[0]["state"], "stalled");
    slow.append(&parts[4..]);
    drop(slow);
    sandbox.wait_for_files(2);
    assert_eq!(daemon.stop(), Some(0));
    sandbox.check_each_once("run_Seq0001.nd2", 6);
}

#[test]
fn pages_appended_to_a_tiff_are_reported_as_they_come() {
    let sandbox = Sandbox::new();
    let mut daemon = sandbox.start();
    let path = sandbox.inbox().join("stack.tif");
    let file = OpenOptions::new().create_new(true).write(true).open(&path).unwrap();
    let mut writer = TiffWriter::new(file, WriteOptions::default()).unwrap();
    for page in 0..8 {
        writer.write_plane(&field(page)).unwrap();
        sandbox.wait_for_planes("stack.tif", (page as usize).saturating_sub(1));
        if page == 5 {
            daemon.kill();
            daemon = sandbox.start();
        }
    }
    sandbox.wait_for_planes("stack.tif", 7);
    writer.finish().unwrap();
    sandbox.wait_for_files(1);
    assert_eq!(daemon.stop(), Some(0));
    sandbox.check_each_once("stack.tif", 8);
    let early =
        sandbox.planes_of("stack.tif").iter().filter(|line| line["container_complete"] == false).count();
    assert!(early >= 6, "{early} planes before the end");
}

/// Where the pointer of the last directory to the next one stands in a TIFF of 32-bit offsets.
fn last_pointer(bytes: &[u8]) -> usize {
    let word = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap()) as usize;
    let mut pointer = 4;
    while word(pointer) != 0 {
        let at = word(pointer);
        pointer = at + 2 + 12 * usize::from(u16::from_le_bytes([bytes[at], bytes[at + 1]]));
    }
    pointer
}

#[test]
fn planes_of_a_growing_file_stand_while_its_format_contradicts_itself() {
    let sandbox = Sandbox::new();
    let daemon = sandbox.start_with(&[
        ("SCOPEWATCH__WATCH__INCOMPLETE_AFTER_S", "1"),
        ("SCOPEWATCH__GROWING__STALLED_AFTER_MIN_MS", "100"),
    ]);
    let path = sandbox.inbox().join("stack.tif");
    let file = OpenOptions::new().create_new(true).write(true).open(&path).unwrap();
    let mut writer = TiffWriter::new(file, WriteOptions::default()).unwrap();
    (0..4).for_each(|page| writer.write_plane(&field(page)).unwrap());
    sandbox.wait_for_planes("stack.tif", 3);
    // a chain that runs in a circle
    let bytes = std::fs::read(&path).unwrap();
    let pointer = last_pointer(&bytes);
    let mut file = writer.finish().unwrap();
    file.seek(SeekFrom::Start(pointer as u64)).unwrap();
    file.write_all(&bytes[4..8]).unwrap();
    drop(file);
    wait_until("it is given up", || !alerts(&sandbox, "incomplete").is_empty());
    assert!(alerts(&sandbox, "incomplete")[0].to_string().contains("circle"));
    assert!(sandbox.lines("files").is_empty(), "not rejected");
    std::thread::sleep(std::time::Duration::from_millis(500));
    assert_eq!(alerts(&sandbox, "incomplete").len(), 1, "told once");
    // a scan gives nothing up that stands either
    assert_eq!(daemon.stop(), Some(0));
    sandbox.scan(&[]);
    assert!(sandbox.lines("files").is_empty(), "{:?}", sandbox.lines("files"));
    // repaired
    std::fs::write(&path, &bytes).unwrap();
    let daemon = sandbox.start();
    sandbox.wait_for_files(1);
    assert_eq!(daemon.stop(), Some(0));
    sandbox.check_each_once("stack.tif", 4);
}

#[test]
fn a_tiff_that_pauses_goes_on_where_it_stood() {
    let sandbox = Sandbox::new();
    let daemon = sandbox.start();
    let path = sandbox.inbox().join("stack.tif");
    let file = OpenOptions::new().create_new(true).write(true).open(&path).unwrap();
    let mut writer = TiffWriter::new(file, WriteOptions::default()).unwrap();
    for page in 0..2 {
        writer.write_plane(&field(page)).unwrap();
    }
    let mut file = writer.finish().unwrap();
    file.flush().unwrap();
    drop(file);
    sandbox.wait_for_files(1);
    for page in 3..6_u16 {
        // as another program appends a page: the file as a whole lies there already
        let mut writer = TiffWriter::new(std::io::Cursor::new(Vec::new()), WriteOptions::default()).unwrap();
        (0..u64::from(page)).for_each(|page| writer.write_plane(&field(page)).unwrap());
        let bytes = writer.finish().unwrap().into_inner();
        let old = std::fs::read(&path).unwrap();
        let mut file = OpenOptions::new().write(true).open(&path).unwrap();
        file.seek(SeekFrom::Start(old.len() as u64)).unwrap();
        file.write_all(&bytes[old.len()..]).unwrap();
        let pointer = last_pointer(&old);
        file.seek(SeekFrom::Start(pointer as u64)).unwrap();
        file.write_all(&bytes[pointer..pointer + 4]).unwrap();
        drop(file);
        assert_eq!(std::fs::read(&path).unwrap(), bytes);
        sandbox.wait_for_files(usize::from(page) - 1);
    }
    let status = {
        let mut command = crate::support::scopewatch();
        let output = crate::support::output(command.args(["status", "--json", "--out"]).arg(sandbox.out()));
        String::from_utf8(output.stdout).unwrap()
    };
    let n_read_again = status.split("\"planes_unchanged\":").nth(1).unwrap();
    let n_read_again: u32 = n_read_again
        .split(|c: char| !c.is_ascii_digit())
        .find(|digits| !digits.is_empty())
        .unwrap()
        .parse()
        .unwrap();
    assert!(n_read_again <= 3, "{n_read_again} planes read again: at most one at each end");
    assert_eq!(daemon.stop(), Some(0));
    let nuclei: u64 =
        sandbox.planes_of("stack.tif").iter().map(|line| line["nuclei"].as_u64().unwrap()).sum();
    let table = std::fs::read_to_string(sandbox.out().join("objects/in/stack.tif.objects.csv"));
    let table = table.unwrap_or_else(|_| panic!("{:?}", sandbox.out()));
    assert_eq!(table.lines().count() as u64, nuclei + 1, "the rows of all planes");
    let versions: Vec<_> =
        sandbox.planes_of("stack.tif").iter().map(|line| line["version"].clone()).collect();
    assert_eq!(versions, [1, 1, 2, 3, 4]);
    let versions: Vec<_> = sandbox.lines("files").iter().map(|line| line["version"].clone()).collect();
    assert_eq!(versions, [1, 2, 3, 4]);
}

#[test]
fn a_scan_takes_nothing_for_growing() {
    let sandbox = Sandbox::new();
    sandbox.drop_file("run_Seq0000.nd2", &nd2_parts(1, 100).concat());
    sandbox.drop_file("run_Seq0001.nd2", &nd2_parts(3, 200)[..4].concat());
    sandbox.scan(&[]);
    assert!(sandbox.planes_of("run_Seq0001.nd2").is_empty());
    assert!(sandbox.rejection("run_Seq0001.nd2").contains("chunk map"));
}

//! The ways in which instruments, and the programs around them, write files.

use std::fs::{self, File, FileTimes};
use std::io::{Seek, SeekFrom, Write};
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::pause_ms;
use super::world::World;

/// One way of writing; tells the model what it did.
pub(super) type Instrument = fn(&mut World);

/// Every way after which all that was ever written is still there, or was written over.
pub(super) const LASTING: &[Instrument] = &[
    at_once,
    slowly,
    renamed_into_place,
    folder_moved_in,
    preallocated,
    shrinking,
    older_than_now,
    rewritten_at_the_same_time,
    hard_link,
    symbolic_links,
    nested_new_folders,
];

/// Ways after which a file is gone that may have been seen.
pub(super) const FLEETING: &[Instrument] = &[deleted_while_read, renamed_later];

pub(super) fn at_once(world: &mut World) {
    let (name, image) = (world.new_name("whole"), world.any_image());
    world.write(&name, image);
}

/// In pieces, held open.
fn slowly(world: &mut World) {
    let (name, image) = (world.new_name("slow"), world.any_image());
    let bytes = world.bytes(image);
    let mut file = world.create(&name);
    for piece in bytes.chunks(bytes.len().div_ceil(5)) {
        file.write_all(piece).unwrap();
        pause_ms(world.below(15));
    }
    world.expect(&name, image);
}

fn renamed_into_place(world: &mut World) {
    let (name, image) = (world.new_name("renamed"), world.any_image());
    let temporary = world.inbox().join(format!("{name}.part"));
    fs::create_dir_all(temporary.parent().unwrap()).unwrap();
    fs::write(&temporary, world.bytes(image)).unwrap();
    pause_ms(world.below(20));
    fs::rename(&temporary, world.inbox().join(&name)).unwrap();
    world.expect(&name, image);
}

fn folder_moved_in(world: &mut World) {
    let folder = format!("moved{}", world.next_number());
    let outside = world.outside().join(&folder);
    fs::create_dir_all(outside.join("deep")).unwrap();
    for n in 0..3 {
        let (name, image) = (format!("deep/{n}.tif"), world.any_image());
        fs::write(outside.join(&name), world.bytes(image)).unwrap();
        world.expect(&format!("{folder}/{name}"), image);
    }
    fs::rename(outside, world.inbox().join(&folder)).unwrap();
}

/// Given its size first, then its content from the front.
fn preallocated(world: &mut World) {
    let (name, image) = (world.new_name("sized"), world.any_image());
    let bytes = world.bytes(image);
    let mut file = world.create(&name);
    file.set_len(bytes.len() as u64).unwrap();
    for piece in bytes.chunks(bytes.len().div_ceil(4)) {
        pause_ms(world.below(15));
        file.write_all(piece).unwrap();
    }
    world.expect(&name, image);
}

/// Given more room than it needs, the directory written last, and cut to its size at the end.
fn shrinking(world: &mut World) {
    let (name, image) = (world.new_name("shrinking"), world.any_image());
    let bytes = world.bytes(image);
    let mut file = world.create(&name);
    file.set_len(2 * bytes.len() as u64 + 4096).unwrap();
    let (head, rest) = bytes.split_at(8);
    file.seek(SeekFrom::Start(head.len() as u64)).unwrap();
    file.write_all(rest).unwrap();
    pause_ms(world.below(20));
    file.rewind().unwrap();
    file.write_all(head).unwrap();
    file.set_len(bytes.len() as u64).unwrap();
    world.expect(&name, image);
}

/// As `cp -p` and copies from a share leave it.
fn older_than_now(world: &mut World) {
    let (name, image) = (world.new_name("old"), world.any_image());
    world.write(&name, image);
    let years_ago = UNIX_EPOCH + Duration::from_secs(world.below(1_600_000_000));
    set_modified(&world.inbox().join(&name), years_ago);
}

/// Another picture of the same size in its place, with the time of the first.
fn rewritten_at_the_same_time(world: &mut World) {
    let name = world.new_name("again");
    let (first, second) = (world.new_image(), world.new_image());
    let path = world.inbox().join(&name);
    world.write(&name, first);
    let written = fs::metadata(&path).unwrap().modified().unwrap();
    pause_ms(world.below(200));
    let mut file = File::options().write(true).open(&path).unwrap();
    file.write_all(&world.bytes(second)).unwrap();
    drop(file);
    set_modified(&path, written);
    world.expect(&name, second);
}

fn hard_link(world: &mut World) {
    let Some((known, image)) = world.any_expected() else { return at_once(world) };
    let name = world.new_name("linked");
    let path = world.inbox().join(&name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::hard_link(world.inbox().join(known), path).unwrap();
    world.expect(&name, image);
}

/// Links to a file and to a folder outside the root: they are not followed.
fn symbolic_links(world: &mut World) {
    let number = world.next_number();
    let image = world.new_image();
    let target = world.outside().join(format!("secret{number}"));
    fs::create_dir_all(&target).unwrap();
    fs::write(target.join("x.tif"), world.bytes(image)).unwrap();
    let link = |to: &Path, name: String| std::os::unix::fs::symlink(to, world.inbox().join(name)).unwrap();
    link(&target, format!("link{number}"));
    link(&target.join("x.tif"), format!("link{number}.tif"));
    link(&world.inbox(), format!("loop{number}"));
}

fn nested_new_folders(world: &mut World) {
    let number = world.next_number();
    for n in 0..4 {
        let (name, image) = (format!("new{number}/a{n}/b/c/{n}.tif"), world.any_image());
        world.write(&name, image);
    }
}

/// Another picture in the place of a known file, renamed over it.
pub(super) fn replaced(world: &mut World) {
    let Some((name, _)) = world.any_expected() else { return at_once(world) };
    let (image, temporary) = (world.new_image(), world.outside().join("replacing"));
    fs::write(&temporary, world.bytes(image)).unwrap();
    fs::rename(&temporary, world.inbox().join(&name)).unwrap();
    world.expect(&name, image);
}

fn deleted_while_read(world: &mut World) {
    let (name, image) = (world.new_name("gone"), world.new_image());
    world.write(&name, image);
    pause_ms(world.below(150));
    fs::remove_file(world.inbox().join(&name)).unwrap();
    world.forget(&name);
}

fn renamed_later(world: &mut World) {
    let (from, image) = (world.new_name("before"), world.new_image());
    let to = world.new_name("after");
    world.write(&from, image);
    pause_ms(world.below(150));
    let to_path = world.inbox().join(&to);
    fs::create_dir_all(to_path.parent().unwrap()).unwrap();
    fs::rename(world.inbox().join(&from), to_path).unwrap();
    world.forget(&from);
    world.expect(&to, image);
}

fn set_modified(path: &Path, time: SystemTime) {
    let file = File::options().write(true).open(path).unwrap();
    file.set_times(FileTimes::new().set_modified(time)).unwrap();
}

//! A reader that follows a report file as `tail -F` does.

use std::fs::{self, File};
use std::io::Read;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

/// Follows a file on a thread of its own.
pub(super) struct Tail {
    ended: Arc<AtomicBool>,
    reader: Option<JoinHandle<Followed>>,
}

/// What a follower saw.
#[derive(Default)]
pub(super) struct Followed {
    pub(super) bytes: Vec<u8>,
    /// How often bytes that it had seen were taken back.
    pub(super) n_taken_back: u64,
}

impl Tail {
    pub(super) fn follow(path: PathBuf) -> Self {
        let ended = Arc::new(AtomicBool::new(false));
        let is_ended = ended.clone();
        let reader = std::thread::spawn(move || {
            let (mut file, mut followed): (Option<File>, _) = (None, Followed::default());
            loop {
                let is_last = is_ended.load(Ordering::Acquire);
                file = file.or_else(|| File::open(&path).ok());
                if let Some(file) = &mut file {
                    let length = fs::metadata(&path).map_or(0, |metadata| metadata.len());
                    followed.n_taken_back += u64::from(length < followed.bytes.len() as u64);
                    file.read_to_end(&mut followed.bytes).unwrap();
                }
                if is_last {
                    return followed;
                }
                std::thread::sleep(Duration::from_millis(3));
            }
        });
        Self { ended, reader: Some(reader) }
    }

    /// Reads to the end of the file as it is now.
    pub(super) fn end(mut self) -> Followed {
        self.ended.store(true, Ordering::Release);
        self.reader.take().unwrap().join().unwrap()
    }
}

impl Drop for Tail {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::Release);
    }
}

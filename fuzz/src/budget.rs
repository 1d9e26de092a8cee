//! Counts what the reader allocates, and stops the process when it is more than its limits allow.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};

use scopewatch_portable::formats::Limits;

/// The system's allocator, counting.
pub struct Counting;

static LIVE: AtomicUsize = AtomicUsize::new(0);
static PEAK: AtomicUsize = AtomicUsize::new(0);
static LARGEST: AtomicUsize = AtomicUsize::new(0);

// SAFETY: every call is handed to the system's allocator as it is
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size());
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count(layout.size());
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        LIVE.fetch_sub(layout.size(), Ordering::Relaxed);
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count(size);
        LIVE.fetch_sub(layout.size(), Ordering::Relaxed);
        unsafe { System.realloc(pointer, layout, size) }
    }
}

fn count(size: usize) {
    let live = LIVE.fetch_add(size, Ordering::Relaxed) + size;
    PEAK.fetch_max(live, Ordering::Relaxed);
    LARGEST.fetch_max(size, Ordering::Relaxed);
}

/// Runs `read` and checks what it held at most against `limits`.
///
/// One block: a plane, or metadata that doubled while they were collected. All together: the plane, its encoded form, one
/// strip or tile and a second plane to compare; metadata as bytes, as text and as a tree; a few hundred bytes for each plane that is listed.
///
/// # Panics
/// When it was more.
pub fn within(limits: &Limits, read: impl FnOnce()) {
    const SLACK: usize = 256 << 10;
    const BYTES_PER_PLANE: usize = 512;
    let (plane, metadata) = (limits.plane_bytes_max as usize, limits.metadata_bytes_max as usize);
    let before = LIVE.load(Ordering::Relaxed);
    PEAK.store(before, Ordering::Relaxed);
    LARGEST.store(0, Ordering::Relaxed);
    read();
    let held = PEAK.load(Ordering::Relaxed) - before;
    let largest = LARGEST.load(Ordering::Relaxed);
    let largest_max = plane.max(2 * metadata) + SLACK;
    let held_max = 4 * plane + 8 * metadata + limits.planes_max as usize * BYTES_PER_PLANE + SLACK;
    assert!(largest <= largest_max, "a block of {largest} bytes, the budget is {largest_max}");
    assert!(held <= held_max, "{held} bytes held at once, the budget is {held_max}");
}

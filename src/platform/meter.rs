//! What a piece of work takes: time by the monotonic clock, and memory by an allocator that counts for the thread that
//! asks it to.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::time::Instant;

use crate::analysis::registration::{Cost, Meter};

/// What a thread has allocated since it began to count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Allocated {
    /// Calls that took memory.
    pub n_allocations: u64,
    /// Bytes taken over all, freed ones included.
    pub total_bytes: u64,
    /// The most bytes held at one time beyond those held at the start.
    pub peak_bytes: u64,
}

#[derive(Debug, Clone, Copy)]
struct Tally {
    is_counting: bool,
    allocated: Allocated,
    /// Bytes held beyond those at the start; negative where older ones were freed.
    held_bytes: i64,
}

impl Tally {
    const IDLE: Self = Self {
        is_counting: false,
        allocated: Allocated { n_allocations: 0, total_bytes: 0, peak_bytes: 0 },
        held_bytes: 0,
    };

    fn change(&mut self, taken_bytes: usize, freed_bytes: usize) {
        self.held_bytes += taken_bytes as i64 - freed_bytes as i64;
        self.allocated.n_allocations += u64::from(taken_bytes > 0);
        self.allocated.total_bytes += taken_bytes as u64;
        self.allocated.peak_bytes =
            self.allocated.peak_bytes.max(u64::try_from(self.held_bytes).unwrap_or(0));
    }
}

thread_local! {
    static TALLY: Cell<Tally> = const { Cell::new(Tally::IDLE) };
}

/// Begins to count what this thread allocates, from nothing.
pub fn begin_counting() {
    TALLY.set(Tally { is_counting: true, ..Tally::IDLE });
}

/// Ends counting; all zeros where the program does not run on the [`CountingAllocator`].
pub fn end_counting() -> Allocated {
    TALLY.replace(Tally::IDLE).allocated
}

/// The system's allocator, with a tally per thread; where nobody counts, it costs a look at a flag.
///
/// Large blocks come from fresh pages and would begin 16 bytes into one, right behind the system's own mark. Planes often
/// begin at the start of a page in their file, and processors copy to an address so little ahead of the source's, modulo
/// a page, at less than half their speed. So large blocks begin 48 bytes later.
#[derive(Debug, Clone, Copy)]
pub struct CountingAllocator;

/// Blocks of this size and more are shifted.
const SHIFTED_BYTES_MIN: usize = 128 << 10;
/// Keeps the alignment of 16 bytes, and is far enough: measured, from 32 bytes on the copy has its full speed.
const SHIFT_BYTES: usize = 48;

#[cfg(test)]
#[global_allocator]
static ALLOCATOR: CountingAllocator = CountingAllocator;

impl CountingAllocator {
    fn note(taken_bytes: usize, freed_bytes: usize) {
        // a thread that is ending has no tally any more
        let _ = TALLY.try_with(|tally| {
            let mut now = tally.get();
            if now.is_counting {
                now.change(taken_bytes, freed_bytes);
                tally.set(now);
            }
        });
    }

    /// The layout of the system's block around a shifted one; `None` for a block that is not shifted.
    fn around(layout: Layout) -> Option<Layout> {
        const ALIGN_MAX: usize = 16;
        let is_shifted = layout.size() >= SHIFTED_BYTES_MIN && layout.align() <= ALIGN_MAX;
        let size = layout.size().checked_add(SHIFT_BYTES).filter(|_| is_shifted)?;
        Layout::from_size_align(size, layout.align()).ok()
    }
}

/// Where the caller's block begins in the system's.
#[allow(unsafe_code, reason = "an allocator counts in pointers")]
unsafe fn shifted(block: *mut u8) -> *mut u8 {
    if block.is_null() {
        return block;
    }
    // SAFETY: the caller has a block of more than `SHIFT_BYTES`
    unsafe { block.add(SHIFT_BYTES) }
}

#[allow(unsafe_code, reason = "an allocator is unsafe by its trait; all memory is the system's")]
// SAFETY: memory comes from and goes to the system's allocator with the caller's layout, or with that of `around`, which
// depends on the caller's alone: what is freed or grown is undone with the layout that it was taken with. A shifted block
// keeps its alignment, and ends where the system's ends. The tally takes no memory.
unsafe impl GlobalAlloc for CountingAllocator {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        Self::note(layout.size(), 0);
        // SAFETY: the caller's promises are passed on; `around` makes the block larger
        unsafe {
            match Self::around(layout) {
                Some(around) => shifted(System.alloc(around)),
                None => System.alloc(layout),
            }
        }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        Self::note(layout.size(), 0);
        // SAFETY: as in `alloc`
        unsafe {
            match Self::around(layout) {
                Some(around) => shifted(System.alloc_zeroed(around)),
                None => System.alloc_zeroed(layout),
            }
        }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        Self::note(0, layout.size());
        // SAFETY: a block of this layout was shifted when it was taken, or it was not
        unsafe {
            match Self::around(layout) {
                Some(around) => System.dealloc(block.sub(SHIFT_BYTES), around),
                None => System.dealloc(block, layout),
            }
        }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        // SAFETY: the caller promises a size that makes a layout
        let new = unsafe { Layout::from_size_align_unchecked(new_size, layout.align()) };
        match (Self::around(layout), Self::around(new)) {
            (Some(around), Some(new_around)) => {
                Self::note(new_size, layout.size());
                // SAFETY: both are shifted by the same
                unsafe { shifted(System.realloc(block.sub(SHIFT_BYTES), around, new_around.size())) }
            }
            (None, None) => {
                Self::note(new_size, layout.size());
                // SAFETY: the caller's promises are passed on
                unsafe { System.realloc(block, layout, new_size) }
            }
            // SAFETY: both blocks hold what is copied, and do not overlap
            _ => unsafe {
                let grown = self.alloc(new);
                if !grown.is_null() {
                    grown.copy_from_nonoverlapping(block, layout.size().min(new_size));
                    self.dealloc(block, layout);
                }
                grown
            },
        }
    }
}

/// Measures one deed after the other on the thread that it is used on.
#[derive(Debug, Default)]
pub struct StopWatch {
    begun: Option<Instant>,
}

impl Meter for StopWatch {
    fn begin(&mut self) {
        begin_counting();
        self.begun = Some(Instant::now());
    }

    fn end(&mut self) -> Cost {
        let time = self.begun.take().map(|begun| begun.elapsed()).unwrap_or_default();
        let allocated = end_counting();
        let peak_bytes = (allocated.n_allocations > 0).then_some(allocated.peak_bytes);
        Cost { time, peak_bytes }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_taken_and_freed_is_counted_while_it_is_asked_for() {
        let before = vec![0_u8; 1000];
        begin_counting();
        let first = std::hint::black_box(vec![0_u8; 300]);
        drop(first);
        drop(before);
        let second = std::hint::black_box(vec![0_u8; 500]);
        let allocated = end_counting();
        drop(std::hint::black_box(vec![1_u8; 7]));
        assert_eq!((allocated.n_allocations, allocated.total_bytes), (2, 800));
        assert_eq!(allocated.peak_bytes, 300, "the 500 bytes took less than was freed before");
        drop(second);
        assert_eq!(end_counting(), Allocated::default());
    }

    #[test]
    fn blocks_keep_what_they_hold_when_they_become_large_and_small_again() {
        let mut values: Vec<u32> = Vec::new();
        let mut is_shifted = [false; 2];
        for value in 0..1 << 20 {
            values.push(value);
            is_shifted[usize::from(values.capacity() * 4 >= SHIFTED_BYTES_MIN)] = true;
        }
        assert_eq!(is_shifted, [true; 2]);
        assert!(values.iter().copied().eq(0..1 << 20));
        for n in [500_000, 1000, 3] {
            values.truncate(n);
            values.shrink_to_fit();
            assert!(values.iter().copied().eq(0..n as u32), "{n} are left");
        }
        let zeros = std::hint::black_box(vec![0_u64; 1 << 18]);
        assert!(zeros.iter().all(|value| *value == 0));
    }

    #[test]
    fn other_threads_do_not_count() {
        begin_counting();
        let spawned = std::thread::spawn(|| drop(std::hint::black_box(vec![0_u8; 1 << 20])));
        spawned.join().unwrap();
        assert!(end_counting().peak_bytes < 1 << 20);
    }
}

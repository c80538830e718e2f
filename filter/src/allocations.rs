//! Counts allocations, in test builds only.

#![expect(unsafe_code, unreachable_pub, reason = "an allocator, and an export")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicU32, Ordering};

struct Counting;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

static COUNT: AtomicU32 = AtomicU32::new(0);

// SAFETY: the system's allocator does the work. The trait's other methods call these two.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        COUNT.fetch_add(1, Ordering::Relaxed);
        // SAFETY: what the caller promises.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, start: *mut u8, layout: Layout) {
        // SAFETY: what the caller promises.
        unsafe { System.dealloc(start, layout) }
    }
}

/// The number of allocations so far.
#[unsafe(no_mangle)]
pub extern "C" fn scoretap_allocations() -> u32 {
    COUNT.load(Ordering::Relaxed)
}

//! What a stranger can make us hold, as a property like any other: libFuzzer's own limit is far above what a server
//! with ten thousand strangers can bear.

use peak_alloc::PeakAlloc;

#[global_allocator]
static ALLOCATOR: PeakAlloc = PeakAlloc;

/// Runs `body` and checks that it never held more than `most` bytes beyond what was held before.
///
/// Counts every thread, so only one may run.
pub fn within<T>(most: usize, body: impl FnOnce() -> T) -> T {
    let before = ALLOCATOR.current_usage();
    ALLOCATOR.reset_peak_usage();
    let result = body();
    let held = ALLOCATOR.peak_usage().saturating_sub(before);
    assert!(held <= most, "held {held} bytes, where {most} are the bound");
    result
}

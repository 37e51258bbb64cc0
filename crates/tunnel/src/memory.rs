//! Keeps the pages that frames come and go in.
//!
//! Every frame of every stream is a piece of memory of its own, and glibc gives the top of its heap back to the kernel
//! as soon as 128 KiB of it are free, to fetch it anew, page by page, for the next frame. It stops doing so when it
//! has learnt that a program frees large pieces: freeing one that had a mapping of its own raises the bound to twice
//! its size (mallopt(3), `M_MMAP_THRESHOLD`). So it is taught that at the start. It costs up to [`LESSON`] × 2 for each
//! of glibc's arenas once there was traffic, and nothing before; other allocators don't care.

use std::hint::black_box;

/// Large enough for the frames that eight busy streams have on their way at a time, in bytes.
const LESSON: usize = 4 << 20;

/// Teaches the allocator. Best before the first thread.
pub(crate) fn keep_pages() {
    drop(black_box(Vec::<u8>::with_capacity(LESSON)));
}

//! Byte counters that a dashboard reads while relays write them.
//!
//! The totals a relay returns come only at its end, and a long transfer should be visible before.

use std::sync::atomic::{AtomicU64, Ordering};

/// Bytes moved each way. One meter may be shared by many relays: it then holds their sum.
///
/// The two counters are independent and relaxed: each is exact, but a reader may see one a moment
/// ahead of the other. They wrap at 2⁶⁴, which nobody will live to see.
#[derive(Debug, Default)]
pub struct Meter {
    a_to_b: AtomicU64,
    b_to_a: AtomicU64,
}

impl Meter {
    /// A meter at zero.
    #[must_use]
    pub const fn new() -> Self {
        Self { a_to_b: AtomicU64::new(0), b_to_a: AtomicU64::new(0) }
    }

    /// Bytes read from side A and accepted by side B so far.
    #[must_use]
    pub fn a_to_b(&self) -> u64 {
        self.a_to_b.load(Ordering::Relaxed)
    }

    /// Bytes read from side B and accepted by side A so far.
    #[must_use]
    pub fn b_to_a(&self) -> u64 {
        self.b_to_a.load(Ordering::Relaxed)
    }

    /// Forgets what went from A to B: it will be sent once more, and isn't two things.
    pub fn reset_a_to_b(&self) {
        self.a_to_b.store(0, Ordering::Relaxed);
    }

    /// Counts `bytes` more from A to B.
    pub fn add_a_to_b(&self, bytes: u64) {
        self.a_to_b.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Counts `bytes` more from B to A.
    pub fn add_b_to_a(&self, bytes: u64) {
        self.b_to_a.fetch_add(bytes, Ordering::Relaxed);
    }
}

//! What has come for one stream and was not read, as it counts against the server's budget. Every
//! byte is counted once and released once: when it is read, thrown away, or forgotten with the
//! stream.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use crate::budget::{Budget, FAIR_SHARE};

/// The unread bytes of a stream. Without a budget nothing is counted.
#[derive(Default)]
pub(in crate::yamux) struct Unread {
    budget: Option<Budget>,
    bytes: AtomicUsize,
    /// The budget's clock when something was last read, or when the first unread byte came.
    waiting_since: AtomicU64,
}

impl Unread {
    pub(super) fn new(budget: Option<&Budget>) -> Self {
        Self { budget: budget.cloned(), bytes: AtomicUsize::new(0), waiting_since: AtomicU64::new(0) }
    }

    pub(in crate::yamux) fn bytes(&self) -> usize {
        self.bytes.load(Ordering::Relaxed)
    }

    /// Whether the budget lets so many bytes come.
    pub(super) fn admits(&self, bytes: usize) -> bool {
        let Some(budget) = &self.budget else { return true };
        let unread = self.bytes();
        let is_prompt = unread == 0 && bytes <= FAIR_SHARE / 2;
        is_prompt || unread + bytes <= budget.fair_share() || budget.has_room_for(bytes)
    }

    pub(super) fn came(&self, bytes: usize) {
        let Some(budget) = &self.budget else { return };
        if self.bytes.fetch_add(bytes, Ordering::Relaxed) == 0 {
            self.waiting_since.store(budget.clock(), Ordering::Relaxed);
        }
        budget.charge(bytes);
    }

    pub(in crate::yamux) fn was_read(&self, bytes: usize) {
        let Some(budget) = &self.budget else { return };
        self.waiting_since.store(budget.clock(), Ordering::Relaxed);
        self.release(bytes);
    }

    /// Takes off bytes that nobody read.
    pub(super) fn release(&self, bytes: usize) {
        let Some(budget) = &self.budget else { return };
        self.bytes.fetch_sub(bytes, Ordering::Relaxed);
        budget.release(bytes);
    }

    /// Whether its reader has let it lie, and it is worth throwing away.
    pub(super) fn is_stalled(&self) -> bool {
        let Some(budget) = &self.budget else { return false };
        let since = self.waiting_since.load(Ordering::Relaxed);
        match self.bytes() {
            0 => false,
            1..=FAIR_SHARE => budget.is_stale_though_small(since),
            _ => budget.is_stale(since),
        }
    }
}

impl Drop for Unread {
    fn drop(&mut self) {
        self.release(self.bytes());
    }
}

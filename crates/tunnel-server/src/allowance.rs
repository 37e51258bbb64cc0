//! What a token's visitors may use, over all its tunnels: set by control, read by the data plane without a lock.

use std::sync::{
    Arc,
    atomic::{AtomicU64, AtomicUsize, Ordering},
};

use tunnel_io::Pace;

use crate::rights::Rights;

/// The limits of one token. None, until some are set.
#[derive(Debug)]
pub(crate) struct Allowance {
    visitors: AtomicUsize,
    monthly_bytes: AtomicU64,
    /// The count of bytes at which those of this month are used up.
    spent_at: AtomicU64,
    pace: Arc<Pace>,
}

impl Default for Allowance {
    fn default() -> Self {
        Self {
            visitors: AtomicUsize::new(usize::MAX),
            monthly_bytes: AtomicU64::new(u64::MAX),
            spent_at: AtomicU64::new(u64::MAX),
            pace: Arc::new(Pace::new(0)),
        }
    }
}

impl Allowance {
    /// What the token may use from now on; streams under way feel it, too.
    pub(crate) fn set(&self, rights: &Rights) {
        let visitors = rights.max_connections.map_or(usize::MAX, |max| max as usize);
        self.visitors.store(visitors, Ordering::Relaxed);
        self.monthly_bytes.store(rights.monthly_bytes.unwrap_or(u64::MAX), Ordering::Relaxed);
        // No limit is 0 to a pace, and nobody can be given none at all.
        self.pace.set(rights.bandwidth.map_or(0, |limit| limit.max(1)));
    }

    /// Says how many bytes of this month were moved when `count` had been counted.
    pub(crate) fn set_used(&self, used: u64, count: u64) {
        let spent_at = match self.monthly_bytes.load(Ordering::Relaxed) {
            u64::MAX => u64::MAX,
            limit => count.saturating_add(limit.saturating_sub(used)),
        };
        self.spent_at.store(spent_at, Ordering::Relaxed);
    }

    /// Whether this month's bytes are used up once `count` have been counted.
    pub(crate) fn is_spent(&self, count: u64) -> bool {
        count >= self.spent_at.load(Ordering::Relaxed)
    }

    /// How many visitors there may be at once.
    pub(crate) fn visitors(&self) -> usize {
        self.visitors.load(Ordering::Relaxed)
    }

    /// How fast all their bytes may go together.
    pub(crate) fn pace(&self) -> &Arc<Pace> {
        &self.pace
    }
}

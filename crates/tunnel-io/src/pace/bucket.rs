//! The limit itself: arithmetic on one point in time, the one up to which the bytes granted so far are paid for.

use std::{
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use tokio::time::Instant;

/// How far the limit may be behind: what was not used of so much time may be used at once. Short, so that no link
/// behind it fills up; longer than any timer is late.
const BURST: Duration = Duration::from_millis(100);

/// A stream's turn lasts so long, at the limit's pace …
const TURN: Duration = Duration::from_millis(10);

/// … within these bounds, in bytes: less would be all overhead, more is what a frame of the multiplexer holds.
const TURN_BYTES: std::ops::RangeInclusive<u64> = 512..=16 * 1024;

/// A limit on bytes per second.
#[derive(Debug)]
pub struct Bucket {
    /// Counts the limits there were, and is even while there is none: read before each byte moves, without a lock.
    version: AtomicU32,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    bytes_per_second: u64,
    /// Bytes granted so far are paid for by then. `None` before the first.
    paid_until: Option<Instant>,
}

/// Leave to move some bytes, at some time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Grant {
    pub(super) bytes: usize,
    /// `None`: now.
    pub(super) at: Option<Instant>,
}

impl Bucket {
    /// A full one; 0 is no limit.
    #[must_use]
    pub const fn new(bytes_per_second: u64) -> Self {
        let version = AtomicU32::new(if bytes_per_second == 0 { 0 } else { 1 });
        Self { version, state: Mutex::new(State { bytes_per_second, paid_until: None }) }
    }

    /// Changes the limit, 0 for none, also for streams under way: who waits for a turn of the former one goes on within
    /// half a second.
    pub fn set(&self, bytes_per_second: u64) {
        let mut state = self.lock();
        if bytes_per_second != state.bytes_per_second {
            let was_limited = state.bytes_per_second != 0;
            state.bytes_per_second = bytes_per_second;
            // What was to be paid at the former pace isn't waited for at this one.
            state.paid_until = None;
            let step = if was_limited == (bytes_per_second != 0) { 2 } else { 1 };
            self.version.fetch_add(step, Ordering::Relaxed);
        }
    }

    /// Whether there is a limit. Costs next to nothing.
    pub(super) fn is_limited(&self) -> bool {
        self.version() & 1 == 1
    }

    /// Another number after each change of the limit.
    pub(super) fn version(&self) -> u32 {
        self.version.load(Ordering::Relaxed)
    }

    /// Takes `bytes` now if the limit allows it, whole; for what is worth nothing later.
    pub fn try_take(&self, bytes: usize) -> bool {
        if !self.is_limited() {
            return true;
        }
        let mut state = self.lock();
        let now = Instant::now();
        if state.bytes_per_second != 0 && state.paid_until.is_some_and(|until| until > now) {
            return false;
        }
        state.pay(bytes as u64, now);
        true
    }

    /// The most one turn may move, in bytes.
    pub(super) fn turn(&self) -> usize {
        self.lock().turn()
    }

    /// A turn for at most `wanted` bytes (at least 1). What is granted counts, used or not.
    pub(super) fn grant(&self, wanted: usize) -> Grant {
        let mut state = self.lock();
        let now = Instant::now();
        let bytes = wanted.min(state.turn());
        let at = state.pay(bytes as u64, now);
        Grant { bytes, at: (at > now).then_some(at) }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn turn(&self) -> usize {
        if self.bytes_per_second == 0 {
            return usize::MAX;
        }
        let millis = u64::try_from(TURN.as_millis()).unwrap_or(u64::MAX);
        let bytes = (self.bytes_per_second / 1000).saturating_mul(millis);
        usize::try_from(bytes.clamp(*TURN_BYTES.start(), *TURN_BYTES.end())).unwrap_or(usize::MAX)
    }

    /// Counts `bytes`; when they may move.
    fn pay(&mut self, bytes: u64, now: Instant) -> Instant {
        if self.bytes_per_second == 0 {
            return now;
        }
        let oldest = now.checked_sub(BURST).unwrap_or(now);
        let at = self.paid_until.map_or(oldest, |until| until.max(oldest));
        let nanos = u128::from(bytes) * 1_000_000_000 / u128::from(self.bytes_per_second);
        self.paid_until = Some(at + Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX)));
        at
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn no_limit_never_waits() {
        let bucket = Bucket::new(0);
        for _ in 0..1000 {
            assert_eq!(bucket.grant(1 << 20), Grant { bytes: 1 << 20, at: None });
            assert!(bucket.try_take(1 << 20));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_burst_then_the_pace() {
        let bucket = Bucket::new(1_000_000);
        let start = Instant::now();
        let mut at_once = 0;
        let first_late = loop {
            let grant = bucket.grant(usize::MAX);
            assert_eq!(grant.bytes, 10_000);
            match grant.at {
                None => at_once += grant.bytes,
                Some(at) => break at,
            }
        };
        // What comes at once is the burst, and the one turn that may always be taken.
        assert_eq!(at_once, 110_000);
        assert_eq!(first_late - start, Duration::from_millis(10));
        assert_eq!(bucket.grant(5_000).at.unwrap() - start, Duration::from_millis(20));
        assert_eq!(bucket.grant(5_000).at.unwrap() - start, Duration::from_millis(25));
        // Rest saves up no more than a burst.
        advance(Duration::from_secs(3600)).await;
        let again = std::iter::from_fn(|| Some(bucket.grant(usize::MAX))).take_while(|g| g.at.is_none());
        assert_eq!(again.map(|grant| grant.bytes).sum::<usize>(), 110_000);
    }

    #[tokio::test(start_paused = true)]
    async fn what_can_not_wait_is_refused_until_it_is_paid_for() {
        let bucket = Bucket::new(10_000);
        // A datagram larger than all of the burst gets through, and is paid for after.
        assert!(bucket.try_take(60_000));
        assert!(!bucket.try_take(1));
        advance(Duration::from_millis(5_900)).await;
        assert!(bucket.try_take(1), "6 s were owed, of which a burst's were there");
        assert!(!bucket.try_take(1));
    }

    #[tokio::test(start_paused = true)]
    async fn a_new_limit_forgets_the_old_debt() {
        let bucket = Bucket::new(1_000);
        assert!(bucket.try_take(1_000_000));
        bucket.set(1_000);
        assert!(!bucket.try_take(1), "the same limit is no new one");
        bucket.set(2_000);
        assert!(bucket.try_take(1));
        bucket.set(0);
        assert_eq!(bucket.grant(1 << 20).at, None);
    }

    #[test]
    fn turns_are_bounded() {
        for (limit, turn) in [
            (1, 512),
            (1_000, 512),
            (1_000_000, 10_000),
            (100_000_000, 16_384),
            (u64::MAX, 16_384),
            (0, usize::MAX),
        ] {
            assert_eq!(Bucket::new(limit).turn(), turn, "{limit}");
        }
    }
}

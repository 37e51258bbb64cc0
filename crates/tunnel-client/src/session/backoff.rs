//! How long to wait before trying again, so that a thousand clients of a restarted server don't arrive as one.
//!
//! Exponential with full jitter: the wait is anywhere between nothing and a ceiling, and the ceiling doubles. How
//! far depends on how long the outage has lasted: a restart or a dead spot should be over a moment after it is over,
//! and only who is gone for long is asked for rarely.

use std::time::Duration;

/// The first ceiling. The very first try after a loss doesn't wait at all.
const FIRST: Duration = Duration::from_millis(250);
/// The last ceilings, for outages up to so long.
const CAPS: [(Duration, Duration); 2] =
    [(Duration::from_secs(30), Duration::from_secs(2)), (Duration::from_secs(300), Duration::from_secs(5))];
/// The last ceiling for all others: how long, at most, a link is back before we notice.
const CAP: Duration = Duration::from_secs(15);
/// The longest wait a server may ask for: a wrong number must not silence a client for years.
const MAX_RETRY_AFTER: Duration = Duration::from_secs(300);

/// Counts failures and turns them into waits.
#[derive(Debug, Default)]
pub(crate) struct Backoff {
    failures: u32,
}

impl Backoff {
    /// How long to wait after one more failure, in an outage that has lasted this long. `random` is uniform.
    ///
    /// A `retry_after` that the server asked for is waited at least, and up to a quarter more: all clients that it asked
    /// at the same moment shouldn't come back at the same moment.
    pub(crate) fn next(&mut self, outage: Duration, random: u64, retry_after: Option<Duration>) -> Duration {
        let ceiling = self.ceiling(outage);
        self.failures = self.failures.saturating_add(1);
        match retry_after.map(|asked| asked.min(MAX_RETRY_AFTER)) {
            Some(asked) if asked >= ceiling => asked + part(asked / 4, random),
            Some(asked) => asked + part(ceiling - asked, random),
            None => part(ceiling, random),
        }
    }

    /// The next wait's ceiling: 0, 0.25 s, 0.5 s, … 2 s, 5 s or 15 s.
    fn ceiling(&self, outage: Duration) -> Duration {
        let cap = CAPS.iter().find(|(up_to, _)| outage <= *up_to).map_or(CAP, |(_, cap)| *cap);
        match self.failures {
            0 => Duration::ZERO,
            n => FIRST.saturating_mul(1 << (n - 1).min(16)).min(cap),
        }
    }

    /// As if this many had failed already, at least: for when trying at once makes no sense.
    pub(crate) fn at_least(&mut self, failures: u32) {
        self.failures = self.failures.max(failures);
    }

    /// After a success that has lasted.
    pub(crate) fn reset(&mut self) {
        self.failures = 0;
    }
}

/// A uniform part of `whole`.
fn part(whole: Duration, random: u64) -> Duration {
    let micros = u64::try_from(whole.as_micros()).unwrap_or(u64::MAX);
    Duration::from_micros(random.checked_rem(micros.saturating_add(1)).unwrap_or(micros))
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: Duration = Duration::MAX;

    #[test]
    fn ceilings_double_up_to_a_cap_that_grows_with_the_outage() {
        for (outage, caps) in [
            (1, [0, 250, 500, 1000, 2000, 2000, 2000, 2000, 2000]),
            (60, [0, 250, 500, 1000, 2000, 4000, 5000, 5000, 5000]),
            (900, [0, 250, 500, 1000, 2000, 4000, 8000, 15_000, 15_000]),
        ] {
            let outage = Duration::from_secs(outage);
            let mut backoff = Backoff::default();
            let mut ceilings = Vec::new();
            for _ in 0..caps.len() {
                let ceiling = backoff.ceiling(outage);
                ceilings.push(ceiling.as_millis());
                assert!(backoff.next(outage, u64::MAX / 3, None) <= ceiling);
            }
            assert_eq!(ceilings, caps, "{outage:?}");
        }
    }

    #[test]
    fn it_neither_overflows_nor_forgets_to_reset() {
        let mut backoff = Backoff { failures: u32::MAX };
        assert!(backoff.next(LONG, 7, None) <= CAP);
        backoff.reset();
        assert_eq!(backoff.next(LONG, u64::MAX, None), Duration::ZERO, "at once after a success");
    }

    #[test]
    fn what_the_server_asks_for_is_the_least_and_bounded() {
        for random in [0, 1, u64::MAX / 2, u64::MAX] {
            let wait = Backoff::default().next(LONG, random, Some(Duration::from_secs(8)));
            assert!((Duration::from_secs(8)..=Duration::from_secs(10)).contains(&wait), "{wait:?}");
            let wait = Backoff::default().next(LONG, random, Some(Duration::MAX));
            assert!(wait <= MAX_RETRY_AFTER * 5 / 4);
            let mut late = Backoff { failures: 20 };
            let wait = late.next(LONG, random, Some(Duration::from_secs(1)));
            assert!((Duration::from_secs(1)..=CAP).contains(&wait), "{wait:?}");
        }
    }

    #[test]
    fn jitter_is_full() {
        let mut least = Duration::MAX;
        let mut most = Duration::ZERO;
        for step in 0..1000u64 {
            let random = step.wrapping_mul(0x9E37_79B9_7F4A_7C15);
            let wait = Backoff { failures: 10 }.next(LONG, random, None);
            (least, most) = (least.min(wait), most.max(wait));
        }
        assert!(least < Duration::from_millis(300) && most > Duration::from_millis(14_700));
    }
}

//! How often a token may log in. Each login is a session with its tasks, a line of the log and one of the audit, and
//! whoever shows a right token over and over pays for none of it.
//!
//! A whole fleet that shares a token may come back at once; who comes after that is told to try again, by words that
//! every client understands, and nothing is kept of it. One address has half of its token's pace, so that a machine
//! that logs in without end leaves the other half to the rest of its fleet. Further lanes are counted apart, or they
//! would take the places of sessions.

use std::{net::IpAddr, time::Duration};

use tunnel_protocol::{Code, Refusal, TokenId};

use crate::{config::Rate, rates::Rates};

/// A session may have so many lanes for each login of its token, all at once.
const LANES_AT_ONCE: u32 = 16;
/// And so many times as often from then on.
const LANES: u32 = 4;
/// When to come back, at least. By then there are places for a whole crowd, and a client adds some chance of its own.
const COME_BACK: Duration = Duration::from_secs(2);

/// What a login is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    Session,
    Lane,
}

/// How often all tokens have logged in lately.
#[derive(Debug)]
pub(crate) struct LoginPace {
    sessions: Counts,
    lanes: Counts,
}

#[derive(Debug)]
struct Counts {
    by_token: Rates,
    /// By address of a token, and not by address alone: neighbours aren't slowed down by each other.
    by_address: Rates,
}

impl LoginPace {
    pub(crate) fn new() -> Self {
        Self { sessions: Counts::new(), lanes: Counts::new() }
    }

    /// Counts a login of `token` from `address`; `None` is one that many share.
    ///
    /// # Errors
    /// It came too often: what its client is told.
    pub(super) fn take(
        &self,
        purpose: Purpose,
        token: TokenId,
        address: Option<IpAddr>,
        rate: Option<Rate>,
    ) -> Result<(), Refusal> {
        let Some(rate) = rate else { return Ok(()) };
        let taken = match purpose {
            Purpose::Session => self.sessions.take(token, address, rate),
            Purpose::Lane => self.lanes.take(token, address, of_lanes(rate)),
        };
        taken.map_err(|wait| {
            let seconds = wait.max(COME_BACK).as_secs_f32().ceil();
            let millis = Duration::from_secs_f32(seconds).as_millis();
            let message = format!("this token logs in too often; try again in {seconds} s");
            Refusal::passing(Code::TooManyAttempts, message, u64::try_from(millis).unwrap_or(u64::MAX))
        })
    }
}

impl Counts {
    fn new() -> Self {
        Self { by_token: Rates::new(), by_address: Rates::new() }
    }

    fn take(&self, token: TokenId, address: Option<IpAddr>, rate: Rate) -> Result<(), Duration> {
        if let Some(address) = address {
            // As many at once: a fleet may be behind one address.
            let half = Rate { count: rate.count, per: rate.per * 2 };
            self.by_address.take((token, address), half)?;
        }
        self.by_token.take(token, rate)
    }
}

fn of_lanes(rate: Rate) -> Rate {
    Rate { count: rate.count.saturating_mul(LANES_AT_ONCE), per: rate.per * (LANES_AT_ONCE / LANES) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RATE: Rate = Rate { count: 100, per: Duration::from_secs(10) };

    fn taken(pace: &LoginPace, purpose: Purpose, token: u8, address: Option<u8>, tries: u32) -> usize {
        let address = address.map(|last| IpAddr::from([192, 0, 2, last]));
        let take = |_: &u32| pace.take(purpose, TokenId([token; 8]), address, Some(RATE)).is_ok();
        (0..tries).filter(take).count()
    }

    #[tokio::test(start_paused = true)]
    async fn a_fleet_comes_at_once_and_whoever_goes_on_is_told_when_to_come_back() {
        let pace = LoginPace::new();
        assert_eq!(taken(&pace, Purpose::Session, 1, None, 1_000), 100);
        let told = pace.take(Purpose::Session, TokenId([1; 8]), None, Some(RATE)).unwrap_err();
        assert_eq!((told.code, told.retry_after_ms), (Code::TooManyAttempts, Some(2_000)), "{told}");
        assert_eq!(taken(&pace, Purpose::Session, 2, None, 1_000), 100, "another token's");
        tokio::time::advance(COME_BACK).await;
        assert_eq!(taken(&pace, Purpose::Session, 1, None, 1_000), 20);
        assert!(pace.take(Purpose::Session, TokenId([1; 8]), None, None).is_ok(), "no pace is set");
    }

    #[tokio::test(start_paused = true)]
    async fn a_machine_that_logs_in_without_end_leaves_half_to_the_others_of_its_token() {
        let pace = LoginPace::new();
        assert_eq!(taken(&pace, Purpose::Session, 1, Some(1), 1_000), 100);
        for _ in 0..50 {
            tokio::time::advance(Duration::from_millis(200)).await;
            assert_eq!(taken(&pace, Purpose::Session, 1, Some(1), 100), 1);
            assert_eq!(taken(&pace, Purpose::Session, 1, Some(2), 1), 1);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn lanes_take_no_session_its_place() {
        let pace = LoginPace::new();
        assert_eq!(taken(&pace, Purpose::Lane, 1, None, 10_000), 1_600);
        assert_eq!(taken(&pace, Purpose::Session, 1, None, 1_000), 100);
        tokio::time::advance(Duration::from_secs(1)).await;
        assert_eq!(taken(&pace, Purpose::Lane, 1, None, 1_000), 40);
    }
}

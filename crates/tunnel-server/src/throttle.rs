//! Bounds what strangers can do before they have logged in: how many connections, and how many wrong tokens.
//!
//! Addresses are counted by network: an IPv6 visitor owns a whole /64.

use std::{
    collections::HashMap,
    net::{IpAddr, Ipv6Addr},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

/// Counts connections that have not logged in, and wrong tokens, per address.
#[derive(Debug)]
pub(crate) struct Throttle {
    total: usize,
    per_address: usize,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    strangers: usize,
    by_address: HashMap<IpAddr, usize>,
    failures: HashMap<IpAddr, Failures>,
}

#[derive(Clone, Copy, Debug)]
struct Failures {
    count: u32,
    last: Instant,
}

/// One connection's place among those that have not logged in.
#[derive(Debug)]
pub(crate) struct StrangerPermit {
    throttle: Arc<Throttle>,
    address: IpAddr,
}

impl Throttle {
    pub(crate) fn new(total: usize, per_address: usize) -> Arc<Self> {
        Arc::new(Self { total, per_address, state: Mutex::default() })
    }

    /// A place for a connection from `address`, or `None` when there is none.
    pub(crate) fn admit(self: &Arc<Self>, address: IpAddr) -> Option<StrangerPermit> {
        let address = network(address);
        let mut state = self.lock();
        if state.strangers >= self.total {
            return None;
        }
        let here = state.by_address.entry(address).or_default();
        if *here >= self.per_address {
            return None;
        }
        *here += 1;
        state.strangers += 1;
        Some(StrangerPermit { throttle: self.clone(), address })
    }

    /// How long an address must still wait before its next token is looked at.
    pub(crate) fn delay(&self, address: IpAddr) -> Duration {
        let state = self.lock();
        let Some(failures) = state.failures.get(&network(address)) else { return Duration::ZERO };
        penalty(failures.count).saturating_sub(failures.last.elapsed())
    }

    /// Notes a wrong token.
    pub(crate) fn failed(&self, address: IpAddr) {
        let mut state = self.lock();
        if state.failures.len() >= REMEMBERED {
            state.failures.retain(|_, failures| failures.last.elapsed() < FORGET_AFTER);
        }
        if state.failures.len() >= REMEMBERED {
            // More addresses than can be told apart attack at once. Remembering the first is as good as any.
            return;
        }
        let now = Instant::now();
        let failures = state.failures.entry(network(address)).or_insert(Failures { count: 0, last: now });
        if failures.last.elapsed() >= FORGET_AFTER {
            failures.count = 0;
        }
        failures.count += 1;
        failures.last = now;
    }

    /// Forgets an address's wrong tokens: it has a right one.
    pub(crate) fn succeeded(&self, address: IpAddr) {
        self.lock().failures.remove(&network(address));
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for StrangerPermit {
    fn drop(&mut self) {
        let mut state = self.throttle.lock();
        state.strangers -= 1;
        if let Some(here) = state.by_address.get_mut(&self.address) {
            *here -= 1;
            if *here == 0 {
                state.by_address.remove(&self.address);
            }
        }
    }
}

/// What a number of wrong tokens costs: the first five nothing but their refusal (typing errors, a token being
/// replaced), then a second, doubling to a minute; ten tries take a minute, a thousand take most of a day.
fn penalty(failures: u32) -> Duration {
    match failures {
        0..5 => Duration::ZERO,
        n => Duration::from_secs(1 << (n - 5).min(6)).min(Duration::from_secs(60)),
    }
}

pub(crate) fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(v4) => IpAddr::V4(v4),
        IpAddr::V6(v6) => IpAddr::V6(Ipv6Addr::from(u128::from(v6) >> 64 << 64)),
    }
}

/// How many addresses with wrong tokens are remembered: about 4 MiB.
const REMEMBERED: usize = 65_536;

/// After how long without another a wrong token is forgiven.
const FORGET_AFTER: Duration = Duration::from_secs(600);

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn wrong_tokens_cost_one_address_growing_time_and_no_other_anything() {
        let throttle = Throttle::new(10, 10);
        for _ in 0..4 {
            throttle.failed(ip("192.0.2.1"));
        }
        assert_eq!(throttle.delay(ip("192.0.2.1")), Duration::ZERO);
        throttle.failed(ip("192.0.2.1"));
        assert_eq!(throttle.delay(ip("192.0.2.1")), Duration::from_secs(1));
        for _ in 0..20 {
            throttle.failed(ip("192.0.2.1"));
        }
        assert_eq!(throttle.delay(ip("192.0.2.1")), Duration::from_secs(60));
        assert_eq!(throttle.delay(ip("192.0.2.2")), Duration::ZERO);
        tokio::time::advance(Duration::from_secs(60)).await;
        assert_eq!(throttle.delay(ip("192.0.2.1")), Duration::ZERO);
        throttle.succeeded(ip("192.0.2.1"));
        throttle.failed(ip("192.0.2.1"));
        assert_eq!(throttle.delay(ip("192.0.2.1")), Duration::ZERO);
    }

    #[test]
    fn places_are_bounded_per_network_and_in_all_and_are_given_back() {
        let throttle = Throttle::new(3, 2);
        let first = throttle.admit(ip("2001:db8::1")).unwrap();
        let _second = throttle.admit(ip("2001:db8::2")).unwrap();
        assert!(throttle.admit(ip("2001:db8::3")).is_none(), "one /64 is one address");
        let _third = throttle.admit(ip("192.0.2.1")).unwrap();
        assert!(throttle.admit(ip("192.0.2.2")).is_none(), "full in all");
        drop(first);
        assert!(throttle.admit(ip("2001:db8::3")).is_some());
        drop(throttle.admit(ip("::ffff:192.0.2.9")));
        assert!(!throttle.lock().by_address.contains_key(&ip("192.0.2.9")), "an empty address is forgotten");
    }
}

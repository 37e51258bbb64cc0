//! Bounds what strangers can do before they have logged in: how many connections, and how many wrong tokens.
//!
//! Addresses are counted by network: an IPv6 visitor owns a whole /64. When all places are taken, the newcomer gets
//! that of the stranger who has waited longest in the most crowded neighbourhood (a /24, or a /48): otherwise a
//! thousand silent sockets would keep every client out.

use std::{
    collections::{BTreeMap, HashMap},
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::settings::Settings;

/// Counts connections that have not logged in, and wrong tokens, per address.
#[derive(Debug)]
pub(crate) struct Throttle {
    settings: Settings,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// By neighbourhood, each in order of arrival.
    strangers: HashMap<IpAddr, BTreeMap<u64, Stranger>>,
    count: usize,
    last_number: u64,
    by_address: HashMap<IpAddr, usize>,
    failures: HashMap<IpAddr, Failures>,
}

#[derive(Debug)]
struct Stranger {
    address: IpAddr,
    evicted: CancellationToken,
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
    neighbourhood: IpAddr,
    number: u64,
    evicted: CancellationToken,
}

impl Throttle {
    pub(crate) fn new(settings: Settings) -> Arc<Self> {
        Arc::new(Self { settings, state: Mutex::default() })
    }

    /// A place for a connection from `address`, or `None` when its network has as many as it may.
    pub(crate) fn admit(self: &Arc<Self>, address: IpAddr) -> Option<StrangerPermit> {
        let (address, neighbourhood) = (network(address), neighbourhood(address));
        let config = self.settings.now();
        let mut state = self.lock();
        let per_address = config.limits.unauthenticated_per_address;
        if state.by_address.get(&address).is_some_and(|here| *here >= per_address) {
            return None;
        }
        // More than one if there may be fewer by now.
        while state.count >= config.limits.unauthenticated && state.evict() {}
        state.last_number += 1;
        let (number, evicted) = (state.last_number, CancellationToken::new());
        let stranger = Stranger { address, evicted: evicted.clone() };
        state.strangers.entry(neighbourhood).or_default().insert(number, stranger);
        *state.by_address.entry(address).or_default() += 1;
        state.count += 1;
        Some(StrangerPermit { throttle: self.clone(), neighbourhood, number, evicted })
    }

    /// How many connections have not logged in.
    pub(crate) fn strangers(&self) -> usize {
        self.lock().count
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

impl State {
    /// Takes one's place away, if there is anyone.
    fn evict(&mut self) -> bool {
        let crowd = self.strangers.iter().max_by_key(|(_, crowd)| crowd.len());
        let Some((neighbourhood, number)) =
            crowd.and_then(|(neighbourhood, crowd)| Some((*neighbourhood, *crowd.keys().next()?)))
        else {
            return false;
        };
        let stranger = self.remove(neighbourhood, number);
        stranger.inspect(|stranger| stranger.evicted.cancel()).is_some()
    }

    /// Takes a stranger out, unless that has been done.
    fn remove(&mut self, neighbourhood: IpAddr, number: u64) -> Option<Stranger> {
        let crowd = self.strangers.get_mut(&neighbourhood)?;
        let stranger = crowd.remove(&number)?;
        if crowd.is_empty() {
            self.strangers.remove(&neighbourhood);
        }
        self.count -= 1;
        if let Some(here) = self.by_address.get_mut(&stranger.address) {
            *here -= 1;
            if *here == 0 {
                self.by_address.remove(&stranger.address);
            }
        }
        Some(stranger)
    }
}

impl StrangerPermit {
    /// Waits until the place is needed for somebody else: the connection is to be closed.
    ///
    /// # Cancel safety
    /// Cancel safe.
    pub(crate) async fn evicted(&self) {
        self.evicted.cancelled().await;
    }
}

impl Drop for StrangerPermit {
    fn drop(&mut self) {
        self.throttle.lock().remove(self.neighbourhood, self.number);
    }
}

/// What a number of wrong tokens costs: the first five nothing but their refusal (typing errors, a token being
/// replaced), then a second, doubling to a minute: ten tries take half a minute, a thousand most of a day.
fn penalty(failures: u32) -> Duration {
    match failures {
        0..5 => Duration::ZERO,
        n => Duration::from_secs(1 << (n - 5).min(6)).min(Duration::from_secs(60)),
    }
}

/// The part of an address that tells owners apart.
pub(crate) fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(v4) => IpAddr::V4(v4),
        IpAddr::V6(v6) => IpAddr::V6(Ipv6Addr::from(u128::from(v6) >> 64 << 64)),
    }
}

/// Whoever can have one address of it can often have many.
pub(crate) fn neighbourhood(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(v4) => IpAddr::V4(Ipv4Addr::from(u32::from(v4) >> 8 << 8)),
        IpAddr::V6(v6) => IpAddr::V6(Ipv6Addr::from(u128::from(v6) >> 80 << 80)),
    }
}

/// How many addresses with wrong tokens are remembered: about 4 MiB.
const REMEMBERED: usize = 65_536;

/// After how long without another a wrong token is forgiven.
const FORGET_AFTER: Duration = Duration::from_secs(600);

#[cfg(test)]
mod tests {
    use tunnel_router::Hostname;

    use super::*;
    use crate::config::Config;

    fn throttle(total: usize, per_address: usize) -> Arc<Throttle> {
        let mut config = Config::new(Hostname::parse("test").unwrap());
        config.limits.unauthenticated = total;
        config.limits.unauthenticated_per_address = per_address;
        Throttle::new(Settings::new(config))
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn wrong_tokens_cost_one_address_growing_time_and_no_other_anything() {
        let throttle = throttle(10, 10);
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
    fn places_are_bounded_per_network_and_given_back() {
        let throttle = throttle(10, 2);
        let first = throttle.admit(ip("2001:db8::1")).unwrap();
        let _second = throttle.admit(ip("2001:db8::2")).unwrap();
        assert!(throttle.admit(ip("2001:db8::3")).is_none(), "one /64 is one address");
        drop(first);
        assert!(throttle.admit(ip("2001:db8::3")).is_some());
        drop(throttle.admit(ip("::ffff:192.0.2.9")));
        assert!(!throttle.lock().by_address.contains_key(&ip("192.0.2.9")), "an empty address is forgotten");
    }

    #[test]
    fn a_newcomer_gets_the_place_of_the_oldest_in_the_crowd() {
        let throttle = throttle(4, 2);
        let lone = throttle.admit(ip("203.0.113.1")).unwrap();
        let crowd: Vec<_> = (1..=3).map(|n| throttle.admit(IpAddr::from([192, 0, 2, n])).unwrap()).collect();
        let newcomer = throttle.admit(ip("198.51.100.1")).expect("full, and yet there is a place");
        let gone = |permit: &StrangerPermit| permit.evicted.is_cancelled();
        assert!(gone(&crowd[0]));
        assert!(!gone(&crowd[1]) && !gone(&crowd[2]) && !gone(&lone) && !gone(&newcomer));
        drop((crowd, lone, newcomer));
        let state = throttle.lock();
        assert_eq!((state.count, state.strangers.len(), state.by_address.len()), (0, 0, 0));
    }
}

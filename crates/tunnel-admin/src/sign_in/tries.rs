//! How often somebody may try: a few times at once and then slowly, each address, and all addresses together.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

/// Tries at once.
const BURST: u32 = 5;
/// For each further one.
const EACH: Duration = Duration::from_secs(12);
/// Tries at once of all addresses together, and for each further one.
const BURST_OF_ALL: u32 = 50;
const EACH_OF_ALL: Duration = Duration::from_secs(1);
/// Addresses remembered; beyond, those with nothing to remember go, and then all.
const MOST: usize = 4096;

/// When each address's tries are paid for.
#[derive(Debug, Default)]
pub(super) struct Tries(Mutex<Kept>);

#[derive(Debug, Default)]
struct Kept {
    by_address: HashMap<IpAddr, Instant>,
    of_all: Option<Instant>,
}

impl Tries {
    /// Takes one, or says in how long there is one.
    pub(super) fn take(&self, address: IpAddr, now: Instant) -> Result<(), Duration> {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.by_address.len() >= MOST {
            kept.by_address.retain(|_, paid| *paid > now);
            if kept.by_address.len() >= MOST {
                kept.by_address.clear();
            }
        }
        let address = group(address);
        let paid = kept.by_address.get(&address).copied().unwrap_or(now);
        let next = next(paid, now, BURST, EACH)?;
        let of_all = self::next(kept.of_all.unwrap_or(now), now, BURST_OF_ALL, EACH_OF_ALL)?;
        kept.by_address.insert(address, next);
        kept.of_all = Some(of_all);
        Ok(())
    }

    /// Who got in has all tries again.
    pub(super) fn give_back(&self, address: IpAddr) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).by_address.remove(&group(address));
    }
}

/// Up to when it is paid for after one more, if that isn't too far ahead.
fn next(paid: Instant, now: Instant, burst: u32, each: Duration) -> Result<Instant, Duration> {
    let next = paid.max(now) + each;
    let ahead = next - now;
    let most = each * burst;
    if ahead > most { Err(ahead - most) } else { Ok(next) }
}

/// A household of IPv6 addresses is one.
fn group(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            IpAddr::from([a, b, c, d, 0, 0, 0, 0])
        }
        address => address,
    }
}

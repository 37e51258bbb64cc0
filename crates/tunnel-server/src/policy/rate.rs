//! How often one visitor address may come.
//!
//! Each address has a bucket that holds a whole allowance and fills up evenly. All that is kept of it is the time at
//! which it will be full again (the generic cell rate algorithm), and nothing once that has passed.

use std::{
    collections::HashMap,
    hash::Hash,
    net::IpAddr,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

use crate::throttle;

/// How many addresses one limit tells apart: about 600 KiB. Of more, those that came least lately are forgotten, which
/// gives them their whole allowance back.
const REMEMBERED: usize = 8_192;

/// So many in so much time, for each visitor address (each /64 of IPv6), all at once or spread out.
#[derive(Debug)]
pub(crate) struct RateLimit {
    /// In how much time one more is allowed.
    interval: Duration,
    /// In how much time an empty bucket is full.
    per: Duration,
    full_at: Mutex<Recent<IpAddr, Instant>>,
}

impl RateLimit {
    pub(crate) fn new(count: u32, per: Duration) -> Self {
        Self { interval: per / count.max(1), per, full_at: Mutex::new(Recent::new(REMEMBERED)) }
    }

    /// Takes one from this address's allowance.
    ///
    /// # Errors
    /// There is none left: how long until there is.
    pub(crate) fn take(&self, address: IpAddr) -> Result<(), Duration> {
        let (address, now) = (throttle::network(address), Instant::now());
        let mut full_at = self.full_at.lock().unwrap_or_else(PoisonError::into_inner);
        let after = full_at.get(&address).map_or(now, |full| full.max(now)) + self.interval;
        let over = after.saturating_duration_since(now + self.per);
        if !over.is_zero() {
            return Err(over);
        }
        full_at.insert(address, after);
        Ok(())
    }

    /// How long until this address has something left; zero if it has.
    pub(crate) fn wait(&self, address: IpAddr) -> Duration {
        let (address, now) = (throttle::network(address), Instant::now());
        let mut full_at = self.full_at.lock().unwrap_or_else(PoisonError::into_inner);
        let full = full_at.get(&address).unwrap_or(now).max(now);
        (full + self.interval).saturating_duration_since(now + self.per)
    }
}

/// A map that forgets what wasn't asked for lately, and never grows beyond its bound: two halves, of which the older
/// is dropped when the younger is full.
#[derive(Debug)]
struct Recent<K, V> {
    half: usize,
    young: HashMap<K, V>,
    old: HashMap<K, V>,
}

impl<K: Hash + Eq, V: Copy> Recent<K, V> {
    fn new(bound: usize) -> Self {
        Self { half: bound / 2, young: HashMap::new(), old: HashMap::new() }
    }

    /// What is known, which stays known for longer.
    fn get(&mut self, key: &K) -> Option<V> {
        if let Some(value) = self.young.get(key) {
            return Some(*value);
        }
        let (key, value) = self.old.remove_entry(key)?;
        self.insert(key, value);
        Some(value)
    }

    fn insert(&mut self, key: K, value: V) {
        if self.young.len() >= self.half && !self.young.contains_key(&key) {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(key, value);
    }
}

#[cfg(test)]
mod tests;

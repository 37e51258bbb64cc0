//! Browsers that signed in.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::{Duration, SystemTime},
};

use subtle::ConstantTimeEq;
use tokio::time::Instant;

use super::{digest, random_text};
use crate::stamp::Stamp;

/// For how long one is in, whatever it does.
const LIFE: Duration = Duration::from_secs(12 * 3600);
/// For how long one is in that asks for nothing.
const IDLE: Duration = Duration::from_secs(3600);
/// Browsers at a time; beyond, the one that was quiet for longest is out.
const MOST: usize = 64;

/// Who is in, by the digest of its cookie.
#[derive(Debug, Default)]
pub(super) struct Browsers(Mutex<HashMap<[u8; 32], Browser>>);

#[derive(Debug)]
struct Browser {
    key: [u8; 32],
    until: Instant,
    last: Instant,
}

/// What a browser is given to show from now on.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    /// For its cookie.
    pub(crate) cookie: String,
    /// For its scripts.
    pub(crate) key: String,
    /// Until when they are worth something, at the latest.
    pub(crate) until: Stamp,
    /// The same, for the cookie.
    pub(crate) life: Duration,
}

impl Browsers {
    pub(super) fn enter(&self, now: Instant, clock: SystemTime) -> Entry {
        let entry =
            Entry { cookie: random_text(), key: random_text(), until: Stamp(clock + LIFE), life: LIFE };
        let browser = Browser { key: digest(&entry.key), until: now + LIFE, last: now };
        let mut browsers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        browsers.retain(|_, browser| browser.is_in(now));
        if browsers.len() >= MOST {
            let quiet = browsers.iter().min_by_key(|(_, browser)| browser.last).map(|(cookie, _)| *cookie);
            quiet.and_then(|cookie| browsers.remove(&cookie));
        }
        browsers.insert(digest(&entry.cookie), browser);
        entry
    }

    pub(super) fn is_in(&self, cookie: &str, key: &str, now: Instant) -> bool {
        let mut browsers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(browser) = browsers.get_mut(&digest(cookie)) else { return false };
        let is_in = browser.is_in(now) && bool::from(browser.key.ct_eq(&digest(key)));
        if is_in {
            browser.last = now;
        }
        is_in
    }

    pub(super) fn leave(&self, cookie: &str) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&digest(cookie));
    }
}

impl Browser {
    fn is_in(&self, now: Instant) -> bool {
        now < self.until && now < self.last + IDLE
    }
}

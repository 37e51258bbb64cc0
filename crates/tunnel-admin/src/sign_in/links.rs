//! Links that let one browser in, once: what the socket gives to whoever may open it.

use std::{
    collections::VecDeque,
    sync::{Mutex, PoisonError},
    time::{Duration, SystemTime},
};

use tokio::time::Instant;

use super::{digest, random_text};
use crate::stamp::Stamp;

/// For how long a link works.
const LIFE: Duration = Duration::from_secs(600);
/// Links that weren't used yet; beyond, the oldest goes.
const MOST: usize = 8;

/// Links that weren't used yet: their digests, and until when they work.
#[derive(Debug, Default)]
pub(super) struct Links(Mutex<VecDeque<([u8; 32], Instant)>>);

/// A link's secret part.
pub(crate) struct Link {
    pub(crate) secret: String,
    /// Until when it works.
    pub(crate) until: Stamp,
}

impl Links {
    pub(super) fn make(&self, now: Instant, clock: SystemTime) -> Link {
        let secret = random_text();
        let mut links = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        links.retain(|(_, until)| *until > now);
        if links.len() == MOST {
            links.pop_front();
        }
        links.push_back((digest(&secret), now + LIFE));
        Link { secret, until: Stamp(clock + LIFE) }
    }

    /// Whether this is one of them; it is none after that.
    pub(super) fn take(&self, secret: &str, now: Instant) -> bool {
        let shown = digest(secret);
        let mut links = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        links.retain(|(_, until)| *until > now);
        // What is compared is a hash, so its time tells nothing of the secret.
        let found = links.iter().position(|(link, _)| *link == shown);
        found.is_some_and(|at| links.remove(at).is_some())
    }
}

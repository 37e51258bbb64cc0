//! Spans that nobody will see: counted, and told of in the server's log, but not for each.

use std::{
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use tracing::warn;

/// How often it is said that spans are lost.
const COMPLAINT: Duration = Duration::from_secs(10);

/// What was lost and not told of yet.
#[derive(Debug, Default)]
pub(crate) struct Losses(Mutex<Untold>);

#[derive(Debug, Default)]
struct Untold {
    spans: u64,
    why: String,
    told: Option<Instant>,
}

impl Losses {
    pub(crate) fn add(&self, spans: u64, why: &str) {
        let mut untold = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        untold.spans += spans;
        why.clone_into(&mut untold.why);
        if untold.told.is_none_or(|told| told.elapsed() >= COMPLAINT) {
            untold.tell();
        }
    }

    /// Tells the rest.
    pub(crate) fn end(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).tell();
    }
}

impl Untold {
    fn tell(&mut self) {
        if self.spans > 0 {
            warn!(spans = self.spans, why = self.why, "spans are lost");
            *self = Self { told: Some(Instant::now()), ..Self::default() };
        }
    }
}

//! The latest requests and visitors, kept only while somebody looks: the engine makes no records otherwise.

use std::{
    collections::{HashMap, VecDeque},
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{
    sync::{Notify, broadcast::error::RecvError},
    time::{Instant, timeout_at},
};
use tunnel_server::{RequestRecord, ServerHandle};

use crate::{
    model::{Request, Visitor},
    stamp::Stamp,
};

/// Requests kept.
const REQUESTS: usize = 200;
/// Visitors kept; beyond, the one that was away for longest goes.
const VISITORS: usize = 500;
/// For how long after the last look it goes on.
const LINGER: Duration = Duration::from_secs(300);

/// What was seen since somebody began to look.
#[derive(Debug, Default)]
pub(crate) struct Watch {
    seen: Mutex<Seen>,
    looked: Notify,
}

#[derive(Debug, Default)]
struct Seen {
    until: Option<Instant>,
    since: Option<Stamp>,
    requests: VecDeque<Arc<RequestRecord>>,
    visitors: HashMap<IpAddr, Visitor>,
}

impl Watch {
    /// Watches whenever somebody looks, until dropped.
    pub(crate) async fn run(&self, engine: &ServerHandle) {
        loop {
            self.looked.notified().await;
            let mut records = engine.requests();
            self.seen().since = Some(Stamp::now());
            while let Some(until) = self.until() {
                match timeout_at(until, records.recv()).await {
                    Ok(Ok(record)) => self.seen().take(record),
                    // Too many at once: the latest are enough.
                    Ok(Err(RecvError::Lagged(_))) => {}
                    Ok(Err(RecvError::Closed)) => return,
                    // Somebody may have looked meanwhile.
                    Err(_) => {}
                }
            }
            *self.seen() = Seen::default();
        }
    }

    /// Somebody looks. The requests, in the order they ended, and since when there are any.
    pub(crate) fn requests(&self, most: usize) -> (Vec<Request>, Stamp) {
        let mut seen = self.look();
        let since = *seen.since.get_or_insert_with(Stamp::now);
        let skip = seen.requests.len().saturating_sub(most);
        (seen.requests.iter().skip(skip).map(|record| Request::from(&**record)).collect(), since)
    }

    /// Somebody looks. The visitors, the latest first, and since when there are any.
    pub(crate) fn visitors(&self) -> (Vec<Visitor>, Stamp) {
        let mut seen = self.look();
        let since = *seen.since.get_or_insert_with(Stamp::now);
        let mut visitors: Vec<_> = seen.visitors.values().cloned().collect();
        visitors.sort_by_key(|visitor| std::cmp::Reverse(visitor.last_seen));
        (visitors, since)
    }

    fn look(&self) -> MutexGuard<'_, Seen> {
        let mut seen = self.seen();
        let now = Instant::now();
        if seen.until.is_none_or(|until| until <= now) {
            self.looked.notify_one();
        }
        seen.until = Some(now + LINGER);
        seen
    }

    /// `None` once nobody looks any more.
    fn until(&self) -> Option<Instant> {
        self.seen().until.filter(|until| *until > Instant::now())
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Seen {
    fn take(&mut self, record: Arc<RequestRecord>) {
        self.visited(&record);
        if self.requests.len() == REQUESTS {
            self.requests.pop_front();
        }
        self.requests.push_back(record);
    }

    fn visited(&mut self, record: &RequestRecord) {
        let address = record.visitor.ip();
        let visitor = self.visitors.entry(address).or_insert_with(|| Visitor::new(address));
        visitor.take(record);
        if self.visitors.len() > VISITORS {
            let longest = self.visitors.values().min_by_key(|visitor| visitor.last_seen);
            let address = longest.map(|visitor| visitor.address);
            address.and_then(|address| self.visitors.remove(&address));
        }
    }
}

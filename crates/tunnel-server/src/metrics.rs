//! Plain counters: every refusal and every loss has one, so that nothing goes wrong silently.

use std::{
    collections::BTreeMap,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use tunnel_protocol::Code;

/// Counters since the start, shared by all parts of a server.
#[derive(Debug, Default)]
pub(crate) struct Metrics {
    /// Control connections taken.
    pub(crate) control_connections: AtomicU64,
    /// Control connections that came to nothing before their login, without being refused.
    pub(crate) control_failures: AtomicU64,
    /// Web visitors' connections that broke off, or were broken off for what came on them.
    pub(crate) web_failures: AtomicU64,
    /// Sessions begun.
    pub(crate) sessions: AtomicU64,
    /// Web requests answered, by us or by an upstream.
    pub(crate) requests: AtomicU64,
    /// Visitors of the https port whose TLS came to nothing: strangers, and certificates that they don't trust.
    pub(crate) tls_failures: AtomicU64,
    /// Connections of load balancers that were closed for want of a PROXY header.
    pub(crate) proxy_failures: AtomicU64,
    /// TCP visitors taken, TLS passed through among them.
    pub(crate) tcp_visitors: AtomicU64,
    /// UDP flows begun.
    pub(crate) udp_flows: AtomicU64,
    /// Datagrams from visitors.
    pub(crate) udp_received: AtomicU64,
    /// Datagrams to visitors.
    pub(crate) udp_sent: AtomicU64,
    /// Datagrams dropped, either way, for whatever reason.
    pub(crate) udp_dropped: AtomicU64,
    /// Requests sent a second time because their lane had died.
    pub(crate) retries: AtomicU64,
    /// Answers to web requests by the first digit of their status, from 1 to 5.
    answers: [AtomicU64; 5],
    refusals: Mutex<BTreeMap<&'static str, u64>>,
}

impl Metrics {
    /// Adds one to `counter`.
    pub(crate) fn count(counter: &AtomicU64) {
        counter.fetch_add(1, Ordering::Relaxed);
    }

    /// Adds `count` to `counter`.
    pub(crate) fn add(counter: &AtomicU64, count: u64) {
        counter.fetch_add(count, Ordering::Relaxed);
    }

    /// Counts an answer to a web request.
    pub(crate) fn answered(&self, status: u16) {
        if let Some(class) = self.answers.get(usize::from(status / 100).wrapping_sub(1)) {
            Self::count(class);
        }
    }

    /// Answers to web requests by the first digit of their status, from 1 to 5.
    pub(crate) fn answers(&self) -> [u64; 5] {
        std::array::from_fn(|class| self.answers[class].load(Ordering::Relaxed))
    }

    /// Counts something refused to a client or a visitor.
    pub(crate) fn refused(&self, code: Code) {
        *self.refusals.lock().unwrap_or_else(PoisonError::into_inner).entry(code.name()).or_default() += 1;
    }

    /// What was refused, by reason.
    pub(crate) fn refusals(&self) -> BTreeMap<&'static str, u64> {
        self.refusals.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

//! How a server does as a whole: what a sampler reads every second and a scrape every few. It costs the same however
//! many sessions and tunnels there are.

use std::{
    collections::BTreeMap,
    sync::atomic::{AtomicU64, Ordering},
};

use crate::{control::Control, settings::SettingsFault};

/// Sums since the start, and how things stand.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Totals {
    /// Whether the server lets nobody in any more.
    pub is_draining: bool,
    /// Clients now.
    pub sessions: usize,
    /// Names and ports that are taken now, those that are held for an absent client included.
    pub tunnels: usize,
    /// Visitors now, those that wait for a client included: exchanges, connections and flows.
    pub visitors: usize,
    /// Those that wait.
    pub waiting: usize,
    /// Visitors' connections now.
    pub connections: usize,
    /// How many there may be.
    pub connections_limit: usize,
    /// Bytes that clients sent and visitors have not taken yet.
    pub unread_bytes: u64,
    /// How many there may be.
    pub unread_bytes_limit: u64,
    /// Tasks of visitors: connections and what drives them.
    pub visitor_tasks: usize,
    /// Tasks of control connections.
    pub control_tasks: usize,
    /// Control connections taken since the start, further lanes and those that never logged in included.
    pub control_connections: u64,
    /// Sessions begun since the start.
    pub sessions_begun: u64,
    /// Web requests since the start, those included that were for no tunnel.
    pub requests: u64,
    /// Answers to them by the first digit of their status, from 1 to 5.
    pub answers: [u64; 5],
    /// Requests that were sent a second time since the start.
    pub retries: u64,
    /// TCP visitors since the start, TLS passed through among them.
    pub tcp_visitors: u64,
    /// UDP flows since the start.
    pub udp_flows: u64,
    /// Datagrams from visitors since the start.
    pub udp_received: u64,
    /// Datagrams to visitors since the start.
    pub udp_sent: u64,
    /// Datagrams dropped since the start, either way.
    pub udp_dropped: u64,
    /// Bytes from visitors since the start; as in [`Usage`](crate::Usage).
    pub bytes_in: u64,
    /// Bytes to visitors since the start.
    pub bytes_out: u64,
    /// Answers and connections that broke off after they had begun, since the start.
    pub cut: u64,
    /// Web visitors' connections that broke off, or were broken off for what came on them, since the start.
    pub web_failures: u64,
    /// Control connections that came to nothing before their login, without being refused, since the start.
    pub control_failures: u64,
    /// Connections of load balancers that were closed for want of a PROXY header, since the start.
    pub proxy_failures: u64,
    /// Visitors of the https port whose TLS came to nothing, since the start.
    pub tls_failures: u64,
    /// What was refused since the start, by reason.
    pub refusals: BTreeMap<&'static str, u64>,
    /// Why settings that were read last aren't in use, or which of them aren't yet; `None` if all are.
    pub settings_fault: Option<SettingsFault>,
}

impl Totals {
    pub(crate) fn take(control: &Control) -> Self {
        let shared = &control.shared;
        let metrics = &shared.metrics;
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let (mut bytes_in, mut bytes_out, mut cut) = (0, 0, 0);
        for (_, account) in shared.accounts.all() {
            let usage = account.usage();
            bytes_in += usage.bytes_in;
            bytes_out += usage.bytes_out;
            cut += account.cut();
        }
        Self {
            is_draining: shared.draining.is_cancelled(),
            sessions: control.sessions.len(),
            tunnels: control.registry.len(),
            visitors: shared.accounts.visitors(),
            waiting: control.shared.waiting.count(),
            connections: shared.connections.taken(),
            connections_limit: shared.config().limits.connections,
            unread_bytes: shared.unread.used(),
            unread_bytes_limit: shared.unread.limit(),
            visitor_tasks: shared.visitors.len(),
            control_tasks: control.tasks.len(),
            control_connections: count(&metrics.control_connections),
            sessions_begun: count(&metrics.sessions),
            requests: count(&metrics.requests),
            answers: metrics.answers(),
            retries: count(&metrics.retries),
            tcp_visitors: count(&metrics.tcp_visitors),
            udp_flows: count(&metrics.udp_flows),
            udp_received: count(&metrics.udp_received),
            udp_sent: count(&metrics.udp_sent),
            udp_dropped: count(&metrics.udp_dropped),
            bytes_in,
            bytes_out,
            cut,
            web_failures: count(&metrics.web_failures),
            control_failures: count(&metrics.control_failures),
            proxy_failures: count(&metrics.proxy_failures),
            tls_failures: count(&metrics.tls_failures),
            refusals: metrics.refusals(),
            settings_fault: shared.settings.fault(),
        }
    }
}

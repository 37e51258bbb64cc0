//! The engine's sums as Prometheus reads them (text format 0.0.4). Labels are bounded: kinds, states, classes and codes,
//! and never a name, a path or an address.

mod writer;

use std::{collections::BTreeMap, time::UNIX_EPOCH};

use tunnel_server::{Totals, TunnelKind, TunnelState};

use self::writer::Writer;
use crate::server::About;

/// The text's type.
pub(crate) const KIND: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Tunnels by kind and state.
type Counts = BTreeMap<(TunnelKind, TunnelState), usize>;

/// Everything, now.
pub(crate) fn text(about: &About, totals: &Totals, tunnels: &Counts) -> String {
    let mut out = Writer::default();
    let started = about.started.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64();
    out.gauge("tunnel_start_time_seconds", "When the server started, in Unix time.").value(&[], started);
    out.gauge("tunnel_build_info", "The program's version; always 1.")
        .value(&[("version", &about.version)], 1.0);
    gauges(&mut out, totals, tunnels);
    visitors(&mut out, totals);
    clients(&mut out, totals);
    out.into_text()
}

fn gauges(out: &mut Writer, totals: &Totals, tunnels: &Counts) {
    out.gauge("tunnel_draining", "1 once the server lets nobody in any more.")
        .value(&[], f64::from(u8::from(totals.is_draining)));
    out.gauge("tunnel_settings_unused", "1 while settings that were read last aren't in use.")
        .value(&[], f64::from(u8::from(totals.settings_fault.is_some())));
    out.gauge("tunnel_sessions", "Clients that are logged in.").count(&[], totals.sessions as u64);
    let mut by_state = out.gauge("tunnel_tunnels", "Tunnels by kind and state.");
    for ((kind, state), count) in tunnels {
        by_state.count(&[("kind", kind.name()), ("state", state.name())], *count as u64);
    }
    out.gauge("tunnel_leases", "Names and ports that are taken, those of absent clients included.")
        .count(&[], totals.tunnels as u64);
    out.gauge("tunnel_visitors", "Visitors on tunnels.").count(&[], totals.visitors as u64);
    out.gauge("tunnel_visitors_waiting", "Visitors that wait for an absent client.")
        .count(&[], totals.waiting as u64);
    out.gauge("tunnel_connections", "Connections of visitors.").count(&[], totals.connections as u64);
    out.gauge("tunnel_connections_limit", "How many there may be.")
        .count(&[], totals.connections_limit as u64);
    out.gauge("tunnel_unread_bytes", "Bytes that clients sent and visitors have not taken yet.")
        .count(&[], totals.unread_bytes);
    out.gauge("tunnel_unread_limit_bytes", "How many there may be.").count(&[], totals.unread_bytes_limit);
}

fn visitors(out: &mut Writer, totals: &Totals) {
    let mut visits =
        out.counter("tunnel_visits_total", "Web requests, TCP and TLS connections, and UDP flows.");
    visits.count(&[("kind", "http")], totals.requests);
    visits.count(&[("kind", "tcp")], totals.tcp_visitors);
    visits.count(&[("kind", "udp")], totals.udp_flows);
    let mut answers = out.counter("tunnel_http_answers_total", "Answers to web requests by class of status.");
    for (class, count) in ["1xx", "2xx", "3xx", "4xx", "5xx"].iter().zip(totals.answers) {
        answers.count(&[("class", class)], count);
    }
    out.counter("tunnel_http_retries_total", "Web requests that were sent a second time.")
        .count(&[], totals.retries);
    let mut bytes =
        out.counter("tunnel_visitor_bytes_total", "Bytes of visitors: `in` from them, `out` to them.");
    bytes.count(&[("direction", "in")], totals.bytes_in);
    bytes.count(&[("direction", "out")], totals.bytes_out);
    let mut datagrams =
        out.counter("tunnel_datagrams_total", "Datagrams: from visitors, to visitors, and dropped.");
    datagrams.count(&[("fate", "received")], totals.udp_received);
    datagrams.count(&[("fate", "sent")], totals.udp_sent);
    datagrams.count(&[("fate", "dropped")], totals.udp_dropped);
    let mut refusals = out.counter("tunnel_refusals_total", "What was refused or failed, by code.");
    for (code, count) in &totals.refusals {
        refusals.count(&[("code", code)], *count);
    }
    out.counter("tunnel_tls_failures_total", "Visitors whose TLS came to nothing.")
        .count(&[], totals.tls_failures);
    out.counter("tunnel_proxy_failures_total", "Connections of load balancers without a PROXY header.")
        .count(&[], totals.proxy_failures);
}

fn clients(out: &mut Writer, totals: &Totals) {
    out.counter("tunnel_control_connections_total", "Control connections taken, further lanes included.")
        .count(&[], totals.control_connections);
    out.counter("tunnel_sessions_total", "Sessions begun.").count(&[], totals.sessions_begun);
}

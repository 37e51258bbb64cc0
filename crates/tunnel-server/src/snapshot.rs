//! How things stand on a server, as plain values: for dashboards, tests and whoever embeds it.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::atomic::Ordering,
    time::{Duration, SystemTime},
};

use tunnel_protocol::{InstanceId, SessionId, TokenId, TunnelId, bind::UpstreamProtocol};

use crate::{
    census::TunnelState,
    control::Control,
    registry::{Member, View},
    rights::TunnelKind,
    settings::SettingsFault,
    tally::{Traffic, UpstreamState},
};

/// A server at one moment.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Snapshot {
    /// The clients.
    pub sessions: Vec<SessionInfo>,
    /// The tunnels, those that are held for an absent client included.
    pub tunnels: Vec<TunnelInfo>,
    /// The addresses of tunnels that the operator has paused, those that nobody holds now included.
    pub paused: Vec<String>,
    /// Visitor tasks alive: connections and what drives them.
    pub visitor_tasks: usize,
    /// Tasks of control connections alive.
    pub control_tasks: usize,
    /// Web requests since the start.
    pub requests: u64,
    /// TCP visitors since the start.
    pub tcp_visitors: u64,
    /// UDP flows begun since the start.
    pub udp_flows: u64,
    /// Datagrams from visitors since the start.
    pub udp_received: u64,
    /// Datagrams to visitors since the start.
    pub udp_sent: u64,
    /// Datagrams dropped since the start, either way: there was no room, nobody to take them, or they were too old.
    pub udp_dropped: u64,
    /// Requests that were sent a second time.
    pub retries: u64,
    /// Connections of load balancers that were closed for want of a PROXY header.
    pub proxy_failures: u64,
    /// Visitors of the https port whose TLS came to nothing, since the start: strangers, and programs that don't trust
    /// the certificate they were shown.
    pub tls_failures: u64,
    /// What was refused, by reason, since the start.
    pub refusals: BTreeMap<&'static str, u64>,
    /// Bytes of memory in use, of [`Limits::memory`](crate::Limits::memory), as seen last; `None` if nobody looks.
    pub memory_used: Option<u64>,
    /// Whether new visitors are turned away for want of memory.
    pub is_overloaded: bool,
    /// Why settings that were read last aren't in use, or which of them aren't yet; `None` if all are.
    pub settings_fault: Option<SettingsFault>,
}

/// One client.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct SessionInfo {
    /// The session.
    pub id: SessionId,
    /// The token's name.
    pub identity: String,
    /// The token.
    pub token: TokenId,
    /// The client's installation: the same after it restarted.
    pub instance: InstanceId,
    /// The client's machine, as it says.
    pub machine: String,
    /// The client's software, as it says.
    pub agent: String,
    /// Where it connected from.
    pub address: SocketAddr,
    /// Since when.
    pub since: SystemTime,
    /// Whether it said that it is about to leave.
    pub is_leaving: bool,
    /// The heartbeat's last round trip.
    pub rtt: Option<Duration>,
    /// How many lanes it has.
    pub lanes: usize,
    /// How many streams are open on them, the one that each lane keeps for itself included.
    pub streams: usize,
    /// Bytes from the client on its present lanes.
    pub received: u64,
    /// Bytes to the client on its present lanes.
    pub sent: u64,
}

/// One tunnel.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct TunnelInfo {
    /// The public address.
    pub url: String,
    /// What visitors speak there.
    pub kind: TunnelKind,
    /// How it is.
    pub state: TunnelState,
    /// The owner's token's name.
    pub owner: String,
    /// The owner's token.
    pub token: TokenId,
    /// The owner's machine.
    pub machine: String,
    /// The session that serves it and its id there, of a pool the first; `None` while its client is away.
    pub serving: Option<(SessionId, TunnelId)>,
    /// All that serve it: one, or several that form a pool; nobody while its client is away.
    pub members: Vec<MemberInfo>,
    /// Since when the client serves it, of a pool the first; or since when the one that was lost did.
    pub since: SystemTime,
    /// Visitors now, those included that wait for a client.
    pub visitors: usize,
    /// Whether the operator keeps visitors out for now.
    pub paused: bool,
    /// What its owner wants done with visitors, in words, without anything secret. Empty while nobody has said so.
    pub policies: Vec<String>,
    /// What it has carried.
    pub traffic: Traffic,
}

/// One client that serves a tunnel.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct MemberInfo {
    /// The session.
    pub session: SessionId,
    /// The tunnel's id there.
    pub tunnel: TunnelId,
    /// The client's machine.
    pub machine: String,
    /// Where it forwards to, as it says.
    pub upstream: String,
    /// Since when.
    pub since: SystemTime,
    /// Whether its upstream could be reached when a visitor last wanted to.
    pub upstream_state: UpstreamState,
    /// Whether HTTP/2 is spoken to its upstream, which a web tunnel's may want.
    pub is_http2: bool,
    /// The visitors that were given to it, now.
    pub visitors: usize,
}

impl Snapshot {
    pub(crate) fn take(control: &Control) -> Self {
        let metrics = &control.shared.metrics;
        let sessions = control.sessions.all();
        let sessions = sessions.iter().map(|session| {
            let (received, sent) = session.bytes();
            SessionInfo {
                id: session.id,
                identity: session.identity.name.to_string(),
                token: session.identity.token,
                instance: session.instance,
                machine: session.machine.clone(),
                agent: session.agent.clone(),
                address: session.address,
                since: session.started,
                is_leaving: session.is_leaving(),
                rtt: session.rtt(),
                lanes: session.lanes(),
                streams: session.streams(),
                received,
                sent,
            }
        });
        // All that follows is read while names are given and taken.
        let views = control.registry.views();
        Self {
            sessions: sessions.collect(),
            tunnels: views.iter().map(TunnelInfo::from).collect(),
            paused: control.registry.paused(),
            visitor_tasks: control.shared.visitors.len(),
            control_tasks: control.tasks.len(),
            requests: metrics.requests.load(Ordering::Relaxed),
            tcp_visitors: metrics.tcp_visitors.load(Ordering::Relaxed),
            udp_flows: metrics.udp_flows.load(Ordering::Relaxed),
            udp_received: metrics.udp_received.load(Ordering::Relaxed),
            udp_sent: metrics.udp_sent.load(Ordering::Relaxed),
            udp_dropped: metrics.udp_dropped.load(Ordering::Relaxed),
            retries: metrics.retries.load(Ordering::Relaxed),
            proxy_failures: metrics.proxy_failures.load(Ordering::Relaxed),
            tls_failures: metrics.tls_failures.load(Ordering::Relaxed),
            refusals: metrics.refusals(),
            memory_used: control.shared.load.used(),
            is_overloaded: control.shared.load.is_full(),
            settings_fault: control.shared.settings.fault(),
        }
    }
}

impl From<&View> for TunnelInfo {
    fn from(View { endpoint, holder, members }: &View) -> Self {
        Self {
            url: endpoint.address.url().to_owned(),
            kind: TunnelKind::at(&endpoint.address),
            state: TunnelState::of(endpoint, members),
            owner: endpoint.owner.name.to_string(),
            token: endpoint.owner.token,
            machine: holder.machine.to_string(),
            serving: members.first().map(|Member { target, .. }| (target.session.id, target.tunnel)),
            members: members.iter().map(MemberInfo::from).collect(),
            since: holder.since,
            visitors: endpoint.visitors(),
            paused: endpoint.is_paused(),
            policies: endpoint.known_policies().in_words(),
            traffic: endpoint.tally.traffic(),
        }
    }
}

impl From<&Member> for MemberInfo {
    fn from(Member { holder, target, .. }: &Member) -> Self {
        Self {
            session: target.session.id,
            tunnel: target.tunnel,
            machine: holder.machine.to_string(),
            upstream: target.upstream.to_string(),
            since: holder.since,
            upstream_state: target.reach.state(),
            is_http2: target.protocol == UpstreamProtocol::Http2,
            visitors: target.visitors.load(Ordering::Relaxed),
        }
    }
}

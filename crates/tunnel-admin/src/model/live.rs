//! What is there now: the server, its sessions and its tunnels.

use std::{collections::BTreeMap, net::SocketAddr};

use serde::{Deserialize, Serialize};
use tunnel_server::{MemberInfo, SessionInfo, TunnelInfo, UpstreamState};

use crate::{server::Site, stamp::Stamp};

/// How the server as a whole is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Status {
    /// The program's version.
    pub version: String,
    /// The domain whose subdomains are given out.
    pub domain: String,
    /// `running`, or `draining` once it lets nobody in any more.
    pub state: String,
    /// Since when it runs.
    pub started: Stamp,
    /// Whether it keeps tokens; not with `--auth none`.
    pub keeps_tokens: bool,
    /// Why settings that were read last aren't in use, or which of them aren't yet.
    pub settings_fault: Option<SettingsFault>,
    /// Clients that are logged in.
    pub sessions: usize,
    /// Tunnels, those that are held for an absent client included.
    pub tunnels: usize,
    /// Visitors on tunnels, those included that wait for a client.
    pub visitors: usize,
    /// Visitors that wait for a client.
    pub waiting: usize,
    /// Web requests since the start.
    pub requests: u64,
    /// Answers to them, by the first digit of their status from 1 to 5.
    pub answers: [u64; 5],
    /// TCP visitors since the start.
    pub tcp_visitors: u64,
    /// UDP flows since the start.
    pub udp_flows: u64,
    /// Bytes from visitors since the start.
    pub bytes_in: u64,
    /// Bytes to visitors since the start.
    pub bytes_out: u64,
    /// What was refused since the start, by code.
    pub refusals: BTreeMap<String, u64>,
}

/// Settings that aren't in use; those from before go on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SettingsFault {
    /// Since when some weren't.
    pub since: Stamp,
    /// Which, and why, in one line.
    pub reason: String,
}

/// Clients.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SessionList {
    /// How many there are that fit what was asked.
    pub total: usize,
    /// These, the one that logged in last first.
    pub sessions: Vec<Session>,
}

/// One client.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Session {
    /// The session's id.
    pub id: String,
    /// Its token's name.
    pub token: String,
    /// The client's machine, as it says.
    pub machine: String,
    /// The client's software, as it says.
    pub agent: String,
    /// Where it connected from.
    pub address: SocketAddr,
    /// Since when.
    pub since: Stamp,
    /// Whether it said that it is about to leave.
    pub leaving: bool,
    /// The last heartbeat's round trip, in milliseconds.
    pub rtt_ms: Option<f64>,
    /// How many connections it has to this server.
    pub lanes: usize,
    /// How many visitors' streams are open on them.
    pub streams: usize,
    /// The tunnels it serves.
    pub tunnels: usize,
    /// Bytes from the client on its present lanes.
    pub received: u64,
    /// Bytes to the client on its present lanes.
    pub sent: u64,
}

/// Tunnels.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TunnelList {
    /// How many there are that fit what was asked.
    pub total: usize,
    /// These, by URL.
    pub tunnels: Vec<Tunnel>,
}

/// One tunnel.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Tunnel {
    /// Its public address.
    pub url: String,
    /// `http`, `tls`, `tcp` or `udp`.
    pub kind: String,
    /// Its owner's token's name.
    pub token: String,
    /// The owner's machine.
    pub machine: String,
    /// `up`; `away` while its client isn't there and the name is held; `paused`; `failing` while no upstream of it can
    /// be reached.
    pub state: String,
    /// Whether new visitors are kept out.
    pub paused: bool,
    /// Since when its client serves it.
    pub since: Stamp,
    /// The clients that serve it: one, or several that form a pool; none while it is away.
    pub members: Vec<TunnelMember>,
    /// Visitors now, those included that wait.
    pub visitors: usize,
    /// What its owner wants done with visitors, in words.
    pub policies: Vec<String>,
    /// Web requests since it was first bound.
    pub requests: u64,
    /// Connections and flows since it was first bound.
    pub connections: u64,
    /// Answers, by the first digit of their status from 1 to 5.
    pub answers: [u64; 5],
    /// Bytes from visitors.
    pub bytes_in: u64,
    /// Bytes to visitors.
    pub bytes_out: u64,
    /// What was refused to its visitors, by code.
    pub refusals: BTreeMap<String, u64>,
    /// Requests and connections in each ten seconds of the last ten minutes, the latest last; empty for a tunnel that
    /// nobody has visited.
    pub recent: Vec<u64>,
}

/// One client behind a tunnel.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TunnelMember {
    /// Its session's id.
    pub session: String,
    /// Its machine.
    pub machine: String,
    /// Where it forwards to, as it says.
    pub upstream: String,
    /// `ok` or `failing`, as it was for the last visitor; `unknown` before the first.
    pub upstream_state: String,
    /// Why it is failing.
    pub upstream_code: Option<String>,
    /// The visitors that it has, now.
    pub visitors: usize,
}

impl Status {
    pub(crate) fn of(site: &Site) -> Self {
        let (about, totals) = (&site.about, site.engine.totals());
        let fault = |fault: tunnel_server::SettingsFault| SettingsFault {
            since: Stamp(fault.since),
            reason: fault.reason,
        };
        Self {
            version: about.version.clone(),
            domain: about.domain.clone(),
            state: if totals.is_draining { "draining" } else { "running" }.to_owned(),
            started: Stamp(about.started),
            keeps_tokens: site.tokens.are_kept(),
            settings_fault: totals.settings_fault.map(fault),
            sessions: totals.sessions,
            tunnels: totals.tunnels,
            visitors: totals.visitors,
            waiting: totals.waiting,
            requests: totals.requests,
            answers: totals.answers,
            tcp_visitors: totals.tcp_visitors,
            udp_flows: totals.udp_flows,
            bytes_in: totals.bytes_in,
            bytes_out: totals.bytes_out,
            refusals: owned(&totals.refusals),
        }
    }
}

impl Session {
    pub(crate) fn of(info: &SessionInfo, tunnels: usize) -> Self {
        Self {
            id: info.id.to_string(),
            token: info.identity.clone(),
            machine: info.machine.clone(),
            agent: info.agent.clone(),
            address: info.address,
            since: Stamp(info.since),
            leaving: info.is_leaving,
            rtt_ms: info.rtt.map(|rtt| rtt.as_secs_f64() * 1e3),
            lanes: info.lanes,
            // Each lane keeps one for itself.
            streams: info.streams.saturating_sub(info.lanes),
            tunnels,
            received: info.received,
            sent: info.sent,
        }
    }
}

impl Tunnel {
    pub(crate) fn of(info: &TunnelInfo, recent: Vec<u64>) -> Self {
        let traffic = &info.traffic;
        Self {
            url: info.url.clone(),
            kind: info.kind.name().to_owned(),
            token: info.owner.clone(),
            machine: info.machine.clone(),
            state: info.state.name().to_owned(),
            paused: info.paused,
            since: Stamp(info.since),
            members: info.members.iter().map(TunnelMember::from).collect(),
            visitors: info.visitors,
            policies: info.policies.clone(),
            requests: traffic.requests,
            connections: traffic.connections,
            answers: traffic.answers,
            bytes_in: traffic.bytes_in,
            bytes_out: traffic.bytes_out,
            refusals: owned(&traffic.refusals),
            recent,
        }
    }
}

impl From<&MemberInfo> for TunnelMember {
    fn from(info: &MemberInfo) -> Self {
        let (upstream_state, upstream_code) = match info.upstream_state {
            UpstreamState::Ok { .. } => ("ok", None),
            UpstreamState::Failing { code, .. } => ("failing", Some(code.to_owned())),
            _ => ("unknown", None),
        };
        Self {
            session: info.session.to_string(),
            machine: info.machine.clone(),
            upstream: info.upstream.clone(),
            upstream_state: upstream_state.to_owned(),
            upstream_code,
            visitors: info.visitors,
        }
    }
}

fn owned(refusals: &BTreeMap<&'static str, u64>) -> BTreeMap<String, u64> {
    refusals.iter().map(|(code, count)| ((*code).to_owned(), *count)).collect()
}

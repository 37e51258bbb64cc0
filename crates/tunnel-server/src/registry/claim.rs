//! Taking a name: who gets it, who is refused, and with which words.

use std::{
    io,
    sync::Arc,
    time::{Duration, SystemTime},
};

use tokio::time::Instant;
use tunnel_protocol::{Code, Refusal, ServerMessage, TokenId, TunnelId, bind::PublicAddress};
use tunnel_router::Hostname;

use super::{
    Entry, Holder, Name, Phase, Registry, Table,
    lease::{End, Lease},
};
use crate::{
    endpoint::{Endpoint, State, Target},
    events::Event,
    ingress::{tcp, udp},
    policy::Policies,
    session::Session,
};

/// How late a heartbeat may be before its session counts as silent when another client of the same token wants its
/// name.
const LATE: Duration = Duration::from_secs(1);

/// When a port that can't be opened now may be tried again: another program, or a moment without descriptors.
const PORT_RETRY_MS: u64 = 2_000;

/// Why a name can't be had.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ClaimError {
    /// Another client holds it.
    #[error("{0}")]
    Held(String),
    /// It was somebody else's until lately.
    #[error("{message}")]
    Quarantined {
        /// For the person.
        message: String,
        /// What is left of the quarantine.
        left: Duration,
    },
    /// The token has as many names as it may.
    #[error("this token holds {0} names and ports, as many as it may; take some down")]
    TooMany(usize),
    /// The port can't be opened.
    #[error("the server can't open port {port}: {source}")]
    Port {
        /// The port.
        port: u16,
        /// Why not.
        source: io::Error,
    },
}

/// What a session claims, and for which of its tunnels.
#[derive(Debug)]
pub(crate) struct Claim {
    pub(crate) session: Arc<Session>,
    pub(crate) tunnel: TunnelId,
    pub(crate) upstream: Arc<str>,
    pub(crate) report_requests: bool,
    pub(crate) policies: Arc<Policies>,
}

impl ClaimError {
    /// The reason, as it travels.
    pub(crate) fn refusal(&self, name: &Name) -> Refusal {
        let code = if name.port().is_some() { Code::PortTaken } else { Code::NameTaken };
        match self {
            Self::Quarantined { left, .. } => {
                Refusal::passing(code, self.to_string(), u64::try_from(left.as_millis()).unwrap_or(u64::MAX))
            }
            Self::TooMany(_) => Refusal::permanent(Code::LimitReached, self.to_string()),
            Self::Port { source, .. } if source.kind() != io::ErrorKind::PermissionDenied => {
                Refusal::passing(code, self.to_string(), PORT_RETRY_MS)
            }
            Self::Held(_) | Self::Port { .. } => Refusal::permanent(code, self.to_string()),
        }
    }
}

impl Registry {
    /// Takes `name` for a session.
    ///
    /// The same token and installation gets it at once, whatever state its former session is in; the same token on
    /// another machine gets it when the former holder is gone or silent; anyone else only when it is free.
    ///
    /// # Errors
    /// [`ClaimError`], with words for the person who asked.
    pub(crate) fn claim(self: &Arc<Self>, name: &Name, claim: &Claim) -> Result<Lease, ClaimError> {
        let mut table = self.lock();
        self.check(&table, name, claim)?;
        let Claim { session, tunnel, .. } = claim;
        let target = Target {
            session: session.clone(),
            tunnel: *tunnel,
            upstream: claim.upstream.clone(),
            report_requests: claim.report_requests,
            policies: claim.policies.clone(),
        };
        let holder = Holder {
            identity: session.identity.clone(),
            instance: session.instance,
            machine: session.machine.clone(),
            since: SystemTime::now(),
        };
        let phase = Phase::Live { session: session.clone(), tunnel: *tunnel };
        let endpoint = self.occupy(&mut table, name, holder, phase, State::Live(target))?;
        let generation = table.entries.get(name).map_or(0, |entry| entry.generation);
        drop(table);
        let url = endpoint.address.url().to_owned();
        self.shared.events.emit(Event::TunnelBound { session: session.id, url });
        self.shared.events.emit(Event::LeasesChanged);
        Ok(Lease { registry: self.clone(), name: name.clone(), generation, endpoint, end: End::Lost })
    }

    /// Whether nobody holds `name` and nobody waits at it: free for a random choice.
    pub(crate) fn is_free(&self, name: &Name) -> bool {
        !self.lock().entries.contains_key(name)
    }

    fn check(&self, table: &Table, name: &Name, claim: &Claim) -> Result<(), ClaimError> {
        let token = claim.session.identity.token;
        let Some(entry) = table.entries.get(name) else { return self.check_quota(table, token) };
        let now = Instant::now();
        let owner = entry.holder.identity.token == token;
        let alive_within = self.shared.config.timeouts.heartbeat + LATE;
        let what = self.describe(name);
        let holder = &entry.holder;
        match &entry.phase {
            Phase::Live { session, .. } if session.id == claim.session.id => {
                Err(ClaimError::Held(format!("{what} is already published by this very client")))
            }
            Phase::Live { session, .. } if owner => {
                if holder.instance == claim.session.instance || session.silent_for() > alive_within {
                    return Ok(());
                }
                Err(ClaimError::Held(format!(
                    "{what} is in use by your client on `{}` ({}), online for {}; stop it there, or choose another \
                     name",
                    holder.machine,
                    session.address.ip(),
                    ago(holder.since)
                )))
            }
            Phase::Live { .. } => Err(ClaimError::Held(format!(
                "{what} is held by the token `{}`, online for {}; choose another name",
                holder.identity.name,
                ago(holder.since)
            ))),
            Phase::Held { .. } | Phase::Released { .. } if owner => Ok(()),
            Phase::Held { until } => Err(ClaimError::Held(format!(
                "{what} is held by the token `{}`, whose client was lost; it is kept for its return for another {} s",
                holder.identity.name,
                until.saturating_duration_since(now).as_secs()
            ))),
            Phase::Released { until, quarantined_until } => {
                // As long as visitors wait for the owner, nobody else can step in: a restart of the owner's client
                // must not be a race.
                let left = quarantined_until.max(until).saturating_duration_since(now);
                if left.is_zero() && entry.port.is_none() {
                    return self.check_quota(table, token);
                }
                let left = left.max(Duration::from_secs(1));
                let message = format!(
                    "{what} was released by another token just now and is free in {} s",
                    left.as_secs().max(1)
                );
                Err(ClaimError::Quarantined { message, left })
            }
        }
    }

    /// Whether a token may have one more name. Those that are held or in quarantine count, or a token could use
    /// names up by taking and leaving them.
    fn check_quota(&self, table: &Table, token: TokenId) -> Result<(), ClaimError> {
        let limit = self.shared.config.limits.tunnels_per_token;
        let has = table.entries.values().filter(|entry| entry.holder.identity.token == token).count();
        if has < limit { Ok(()) } else { Err(ClaimError::TooMany(has)) }
    }

    /// Puts a holder in, whom `check` has let through.
    pub(super) fn occupy(
        self: &Arc<Self>,
        table: &mut Table,
        name: &Name,
        holder: Holder,
        phase: Phase,
        state: State,
    ) -> Result<Arc<Endpoint>, ClaimError> {
        let generation = table.next_generation();
        let same_owner = table
            .entries
            .get_mut(name)
            .filter(|entry| entry.holder.identity.token == holder.identity.token && entry.is_open(name));
        if let Some(entry) = same_owner {
            // The same owner: the endpoint stays, and whoever waits at it goes on.
            let former = std::mem::replace(&mut entry.phase, phase);
            entry.generation = generation;
            entry.holder = holder;
            entry.endpoint.set_state(state);
            if let Phase::Live { session, tunnel } = former {
                tell_taken_over(&session, tunnel, &entry.endpoint, &entry.holder);
            }
            return Ok(entry.endpoint.clone());
        }
        self.remove(table, name);
        let endpoint =
            Endpoint::new(self.address(name), holder.identity.clone(), self.endpoint_limits(), state);
        let port = match name {
            Name::Http(label) => {
                if let Ok(host) = Hostname::under(label, &self.shared.config.domain) {
                    self.shared.routes.publish(host, endpoint.clone());
                }
                None
            }
            Name::Tcp(port) => Some(
                tcp::open(&self.shared, *port, endpoint.clone())
                    .map_err(|source| ClaimError::Port { port: *port, source })?,
            ),
            Name::Udp(port) => Some(
                udp::open(&self.shared, *port, endpoint.clone())
                    .map_err(|source| ClaimError::Port { port: *port, source })?,
            ),
        };
        let entry = Entry { holder, generation, phase, endpoint: endpoint.clone(), port };
        table.entries.insert(name.clone(), entry);
        Ok(endpoint)
    }

    fn address(&self, name: &Name) -> PublicAddress {
        let domain = self.shared.config.domain.as_str();
        match name {
            Name::Http(label) => {
                let port = if self.web_port == 80 { String::new() } else { format!(":{}", self.web_port) };
                let subdomain = label.as_str().to_owned();
                let host = format!("{subdomain}.{domain}");
                PublicAddress::Http { url: format!("http://{host}{port}"), host, subdomain: Some(subdomain) }
            }
            Name::Tcp(port) => PublicAddress::Tcp { url: format!("tcp://{domain}:{port}"), port: *port },
            Name::Udp(port) => PublicAddress::Udp { url: format!("udp://{domain}:{port}"), port: *port },
        }
    }

    fn describe(&self, name: &Name) -> String {
        match name {
            Name::Http(label) => format!("`{}.{}`", label.as_str(), self.shared.config.domain.as_str()),
            Name::Tcp(port) => format!("port {port}"),
            Name::Udp(port) => format!("UDP port {port}"),
        }
    }
}

impl Entry {
    /// Whether visitors still find this entry's endpoint: a port in quarantine has been closed.
    fn is_open(&self, name: &Name) -> bool {
        name.port().is_none() || self.port.is_some()
    }
}

/// The former session of the same owner hears that it serves the name no longer. It may be half-dead and never
/// hear it; nothing waits for it.
fn tell_taken_over(session: &Session, tunnel: TunnelId, endpoint: &Endpoint, by: &Holder) {
    let message = format!(
        "{} was taken over by another client with the same token, on `{}`",
        endpoint.address.url(),
        by.machine
    );
    session.send(ServerMessage::Unbound { tunnel, refusal: Refusal::permanent(Code::TakenOver, message) });
}

/// How long ago, coarsely, for people.
fn ago(since: SystemTime) -> String {
    let seconds = since.elapsed().unwrap_or_default().as_secs();
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7200 => format!("{} min", seconds / 60),
        _ => format!("{} h", seconds / 3600),
    }
}

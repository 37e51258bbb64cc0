//! Who holds which name and port: one table, in which names belong to tokens and not to connections.
//!
//! ```text
//!             claim                     session lost                   60 s
//!    free ───────────► live(session) ────────────────► held(owner) ───────────► free
//!                        │   ▲  ▲                          │ claim, same token
//!           session left │   │  └──────────────────────────┘
//!                        ▼   │ claim, same token: visitors that waited go on
//!                     released ──── hold time over (a port: and the quarantine) ──► free
//! ```
//! A lease is a guard with a generation: whoever lets an old one go (a half-dead session, at last) changes nothing
//! for the present holder.

mod claim;
mod lease;
mod saved;
#[cfg(test)]
mod tests;

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError, atomic::AtomicUsize},
    time::SystemTime,
};

use tokio::time::Instant;
use tunnel_protocol::{InstanceId, SessionId, TokenId, TunnelId};
use tunnel_router::{Hostname, Label};

pub use self::saved::SavedLease;
pub(crate) use self::{
    claim::{Claim, ClaimError},
    lease::Lease,
};
use crate::{
    auth::Identity,
    endpoint::{Endpoint, EndpointLimits, State},
    events::Event,
    ingress::port::PortGuard,
    session::Session,
    shared::Shared,
};

/// What is leased.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Name {
    /// A subdomain of the server's domain.
    Http(Label),
    /// A port for connections.
    Tcp(u16),
    /// A port for datagrams.
    Udp(u16),
}

impl Name {
    /// The port, if it is one.
    fn port(&self) -> Option<u16> {
        match self {
            Self::Http(_) => None,
            Self::Tcp(port) | Self::Udp(port) => Some(*port),
        }
    }
}

/// The table.
#[derive(Debug)]
pub(crate) struct Registry {
    shared: Shared,
    /// The port in public web addresses.
    web_port: u16,
    /// Visitors waiting at any endpoint.
    parked: Arc<AtomicUsize>,
    table: Mutex<Table>,
}

#[derive(Debug, Default)]
struct Table {
    entries: HashMap<Name, Entry>,
    last_generation: u64,
}

/// One name's holder.
#[derive(Debug)]
struct Entry {
    holder: Holder,
    generation: u64,
    phase: Phase,
    endpoint: Arc<Endpoint>,
    /// The open port of a TCP or UDP tunnel; closed when the entry goes.
    port: Option<PortGuard>,
}

/// Who holds a name.
#[derive(Clone, Debug)]
struct Holder {
    identity: Identity,
    instance: InstanceId,
    machine: String,
    since: SystemTime,
}

/// How firmly.
#[derive(Debug)]
enum Phase {
    /// A session serves it.
    Live { session: Arc<Session>, tunnel: TunnelId },
    /// The session was lost: kept for the owner.
    Held { until: Instant },
    /// The owner left in good order. Visitors wait a little for its return, and until that is over nobody else gets
    /// the name; a port is refused to others for the quarantine as well.
    Released { until: Instant, quarantined_until: Instant },
}

impl Registry {
    pub(crate) fn new(shared: Shared, web_port: u16) -> Arc<Self> {
        Arc::new(Self { shared, web_port, parked: Arc::default(), table: Mutex::default() })
    }

    /// Lets go of everything whose time is over. Called every second.
    pub(crate) fn sweep(&self) {
        let now = Instant::now();
        let mut table = self.lock();
        let over: Vec<Name> = table
            .entries
            .iter()
            .filter(|(_, entry)| match entry.phase {
                Phase::Live { .. } => false,
                Phase::Held { until } => until <= now,
                Phase::Released { until, quarantined_until } => until.max(quarantined_until) <= now,
            })
            .map(|(name, _)| name.clone())
            .collect();
        for name in &over {
            self.remove(&mut table, name);
        }
        // A released port stops listening when nobody waits at it any more, and stays in quarantine.
        for entry in table.entries.values_mut() {
            if let Phase::Released { until, .. } = entry.phase
                && until <= now
                && entry.port.take().is_some()
            {
                entry.endpoint.set_state(State::Gone);
            }
        }
        drop(table);
        if !over.is_empty() {
            self.shared.events.emit(Event::LeasesChanged);
        }
    }

    /// Takes everything of a token's away: it was revoked, and nobody is to wait for its clients.
    pub(crate) fn revoke(&self, token: TokenId) {
        let mut table = self.lock();
        let owned = table.entries.iter().filter(|(_, entry)| entry.holder.identity.token == token);
        let names: Vec<Name> = owned.map(|(name, _)| name.clone()).collect();
        for name in &names {
            self.remove(&mut table, name);
        }
        drop(table);
        self.shared.events.emit(Event::LeasesChanged);
    }

    /// Takes every visitor's hope away: the server ends.
    pub(crate) fn clear(&self) {
        let mut table = self.lock();
        let names: Vec<Name> = table.entries.keys().cloned().collect();
        for name in &names {
            self.remove(&mut table, name);
        }
    }

    /// Every entry: public address, owner, machine, serving session, visitors.
    pub(crate) fn for_each(&self, mut visit: impl FnMut(&Endpoint, &str, Option<(SessionId, TunnelId)>)) {
        for entry in self.lock().entries.values() {
            let serving = match &entry.phase {
                Phase::Live { session, tunnel } => Some((session.id, *tunnel)),
                Phase::Held { .. } | Phase::Released { .. } => None,
            };
            visit(&entry.endpoint, &entry.holder.machine, serving);
        }
    }

    fn remove(&self, table: &mut Table, name: &Name) {
        if let Some(entry) = table.entries.remove(name) {
            if let Name::Http(label) = name
                && let Ok(host) = Hostname::under(label, &self.shared.config.domain)
            {
                self.shared.routes.withdraw(&host);
            }
            entry.endpoint.set_state(State::Gone);
            self.shared.events.emit(Event::TunnelReleased { url: entry.endpoint.address.url().to_owned() });
        }
    }

    fn endpoint_limits(&self) -> EndpointLimits {
        let config = &self.shared.config;
        EndpointLimits {
            visitors: config.limits.visitors_per_tunnel,
            parked: config.limits.parked_per_tunnel,
            parked_in_all: (self.parked.clone(), config.limits.parked),
            hold: config.timeouts.hold,
        }
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Table {
    fn next_generation(&mut self) -> u64 {
        self.last_generation += 1;
        self.last_generation
    }
}

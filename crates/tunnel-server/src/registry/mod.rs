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
//!
//! With a pool a name is live as long as one of several sessions serves it. A host belongs to one token as a whole:
//! that one may have several paths of it and its TLS connections, as names of their own.

mod claim;
mod lease;
mod name;
mod occupy;
mod pauses;
mod pool;
mod saved;
mod steer;
#[cfg(test)]
mod tests;
mod view;

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::SystemTime,
};

use tokio::time::Instant;
use tunnel_protocol::{InstanceId, TokenId};

pub use self::saved::SavedLease;
pub(crate) use self::{
    claim::{Claim, ClaimError},
    lease::Lease,
    name::Name,
    view::View,
};
use self::{pauses::Pauses, pool::Terms};
use crate::{
    auth::Identity,
    endpoint::{Endpoint, State, Target},
    events::Event,
    ingress::port::PortGuard,
    shared::Shared,
};

/// The table.
#[derive(Debug)]
pub(crate) struct Registry {
    shared: Shared,
    /// The port in public web addresses, unless the settings name another one.
    web_port: u16,
    table: Mutex<Table>,
}

#[derive(Debug, Default)]
struct Table {
    entries: HashMap<Name, Entry>,
    pauses: Pauses,
    last_generation: u64,
}

/// One name, taken.
#[derive(Debug)]
struct Entry {
    owner: Identity,
    terms: Terms,
    phase: Phase,
    endpoint: Arc<Endpoint>,
    /// The open port of a TCP or UDP tunnel; closed when the entry goes.
    port: Option<PortGuard>,
    /// Whether nobody was told of it, so that it is kept for nobody.
    is_fleeting: bool,
    /// Whether its one tunnel has another name by now, and is about to let go of this one.
    is_left: bool,
    /// Counts up with each entry: which of a token's names it has had for longer.
    opened: u64,
}

/// Which client holds, or held, a name.
#[derive(Clone, Debug)]
pub(crate) struct Holder {
    pub(crate) instance: InstanceId,
    pub(crate) machine: Arc<str>,
    pub(crate) since: SystemTime,
}

/// A session that serves a name.
#[derive(Clone, Debug)]
pub(crate) struct Member {
    pub(crate) holder: Holder,
    pub(crate) target: Arc<Target>,
    generation: u64,
}

/// How firmly a name is held.
#[derive(Debug)]
enum Phase {
    /// These serve it: one, or with a pool one and more.
    Live(Vec<Member>),
    /// The last session was lost: kept for the owner.
    Held { until: Instant, by: Holder },
    /// The owner left in good order. Visitors wait a little for its return, and until that is over nobody else gets
    /// the name; a port is refused to others for the quarantine as well. `is_moved`: it left for another name.
    Released { until: Instant, quarantined_until: Instant, is_moved: bool, by: Holder },
}

impl Registry {
    pub(crate) fn new(shared: Shared, web_port: u16) -> Arc<Self> {
        Arc::new(Self { shared, web_port, table: Mutex::default() })
    }

    /// Lets go of everything whose time is over. Called every second.
    pub(crate) fn sweep(&self) {
        let now = Instant::now();
        let mut table = self.lock();
        let over: Vec<Name> = table
            .entries
            .iter()
            .filter(|(_, entry)| match entry.phase {
                Phase::Live(_) => false,
                Phase::Held { until, .. } => until <= now,
                Phase::Released { until, quarantined_until, .. } => until.max(quarantined_until) <= now,
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
        let owned = table.entries.iter().filter(|(_, entry)| entry.owner.token == token);
        let names: Vec<Name> = owned.map(|(name, _)| name.clone()).collect();
        for name in &names {
            self.remove(&mut table, name);
        }
        drop(table);
        self.shared.events.emit(Event::LeasesChanged);
    }

    /// Whether a name's owner has `max` names that are older.
    pub(crate) fn is_surplus(&self, name: &Name, max: u32) -> bool {
        let table = self.lock();
        table.entries.get(name).is_some_and(|entry| table.older(entry) >= max as usize)
    }

    /// Every name, its owner, and whether a client serves it now.
    pub(crate) fn owners(&self) -> Vec<(Name, Identity, bool)> {
        let owner = |(name, entry): (&Name, &Entry)| {
            (name.clone(), entry.owner.clone(), matches!(entry.phase, Phase::Live(_)))
        };
        self.lock().entries.iter().map(owner).collect()
    }

    /// Takes a name away from its owner while no client of its serves it.
    pub(crate) fn take_held(&self, name: &Name, owner: TokenId) {
        let mut table = self.lock();
        let is_held = |entry: &Entry| entry.owner.token == owner && !matches!(entry.phase, Phase::Live(_));
        if table.entries.get(name).is_some_and(is_held) {
            self.remove(&mut table, name);
            drop(table);
            self.shared.events.emit(Event::LeasesChanged);
        }
    }

    /// Takes every visitor's hope away: the server ends.
    pub(crate) fn clear(&self) {
        let mut table = self.lock();
        let names: Vec<Name> = table.entries.keys().cloned().collect();
        for name in &names {
            self.remove(&mut table, name);
        }
    }

    /// How many names are taken.
    pub(crate) fn len(&self) -> usize {
        self.lock().entries.len()
    }

    fn remove(&self, table: &mut Table, name: &Name) {
        if let Some(entry) = table.entries.remove(name) {
            if let Name::Host(host, part) = name {
                self.shared.routes.withdraw(host, part);
            }
            entry.endpoint.set_state(State::Gone);
            self.shared.events.emit(Event::TunnelReleased { url: entry.endpoint.address.url().to_owned() });
        }
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Table {
    /// How many of its owner's names are older than this one, and were not left for others.
    fn older(&self, entry: &Entry) -> usize {
        let is_older = |other: &&Entry| {
            other.owner.token == entry.owner.token && other.opened < entry.opened && !other.is_moved()
        };
        self.entries.values().filter(is_older).count()
    }

    fn next_generation(&mut self) -> u64 {
        self.last_generation += 1;
        self.last_generation
    }
}

impl Entry {
    /// Whether its owner left it for another name.
    fn is_moved(&self) -> bool {
        self.is_left || matches!(self.phase, Phase::Released { is_moved: true, .. })
    }
}

//! The guard by which a session holds a name.

use std::sync::Arc;

use tokio::time::Instant;

use super::{Entry, Holder, Name, Phase, Registry, occupy::live};
use crate::{
    config::Timeouts,
    endpoint::{Endpoint, State},
    events::Event,
};

/// A session's hold on a name. Dropped, it becomes a held or a released name, by whether the session was lost or
/// left; unless somebody else holds the name by now, or serves it as well, when nothing more happens.
#[derive(Debug)]
pub(crate) struct Lease {
    pub(super) registry: Arc<Registry>,
    pub(super) name: Name,
    pub(super) generation: u64,
    pub(super) endpoint: Arc<Endpoint>,
    pub(super) end: End,
    /// When the tunnel is over, whatever becomes of the session until then.
    pub(super) expires: Option<Instant>,
    /// Whether the name is free at once when this ends, however it does.
    pub(super) is_fleeting: bool,
}

/// How a lease ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// The session was lost: the name is kept for its owner.
    Lost,
    /// The owner gave it up.
    Released,
    /// The owner gave it up for another name.
    Moved,
    /// The owner may not have it any more.
    Forfeited,
}

impl Lease {
    /// Gives the name up in good order.
    pub(crate) fn release(mut self) {
        self.end = End::Released;
    }

    /// The same, for another name that its owner has by now.
    pub(crate) fn move_on(mut self) {
        self.end = End::Moved;
    }

    /// Gives the name up at once: its owner has lost the right to it, and nobody is to wait there.
    pub(crate) fn forfeit(mut self) {
        self.end = End::Forfeited;
    }

    /// The same, not to be held beyond this.
    pub(crate) fn until(mut self, expires: Option<Instant>) -> Self {
        self.expires = expires;
        self
    }

    /// When the tunnel is over, if a time was set.
    pub(crate) fn expires(&self) -> Option<Instant> {
        self.expires
    }

    /// Whether it still holds the name: nobody took it over, and nobody took it away.
    pub(crate) fn is_current(&self) -> bool {
        let table = self.registry.lock();
        let entry = table.entries.get(&self.name);
        entry.is_some_and(|entry| match &entry.phase {
            Phase::Live(members) => members.iter().any(|member| member.generation == self.generation),
            Phase::Held { .. } | Phase::Released { .. } => false,
        })
    }

    /// What is held.
    pub(crate) fn name(&self) -> &Name {
        &self.name
    }

    /// The live handle to the tunnel.
    pub(crate) fn endpoint(&self) -> &Arc<Endpoint> {
        &self.endpoint
    }
}

impl Lease {
    /// No later than the tunnel's own end: nobody waits for what can't come back.
    fn bounded(&self, until: Instant) -> Instant {
        self.expires.map_or(until, |expires| expires.min(until))
    }
}

impl Entry {
    /// Its owner has left in good order; visitors wait `until` then.
    pub(super) fn release(
        &mut self,
        name: &Name,
        (until, timeouts): (Instant, &Timeouts),
        is_moved: bool,
        by: Holder,
    ) {
        let quarantine = name.port().map(|_| timeouts.quarantine);
        let quarantined_until = Instant::now() + quarantine.unwrap_or_default();
        self.phase = Phase::Released { until, quarantined_until, is_moved, by };
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let registry = &self.registry;
        let config = registry.shared.config();
        let timeouts = &config.timeouts;
        let now = Instant::now();
        let mut table = registry.lock();
        let Some(entry) = table.entries.get_mut(&self.name) else { return };
        let Phase::Live(members) = &mut entry.phase else { return };
        let Some(place) = members.iter().position(|member| member.generation == self.generation) else {
            return;
        };
        let by = members.remove(place).holder;
        if !members.is_empty() {
            entry.endpoint.set_state(live(members));
            drop(table);
            registry.shared.events.emit(Event::LeasesChanged);
            return;
        }
        let end = if self.is_fleeting { End::Forfeited } else { self.end };
        let until = match end {
            End::Lost => {
                let until = self.bounded(now + timeouts.lease);
                entry.phase = Phase::Held { until, by };
                until
            }
            End::Released | End::Moved => {
                let until = self.bounded(now + timeouts.hold);
                entry.release(&self.name, (until, timeouts), end == End::Moved, by);
                until
            }
            End::Forfeited => {
                registry.remove(&mut table, &self.name);
                drop(table);
                return registry.shared.events.emit(Event::LeasesChanged);
            }
        };
        entry.endpoint.set_state(State::Away { until });
        drop(table);
        let url = self.endpoint.address.url().to_owned();
        registry.shared.events.emit(Event::TunnelAway { url, held: self.end == End::Lost });
        registry.shared.events.emit(Event::LeasesChanged);
    }
}

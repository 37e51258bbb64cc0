//! The guard by which a session holds a name.

use std::sync::Arc;

use tokio::time::Instant;

use super::{Name, Phase, Registry};
use crate::{
    endpoint::{Endpoint, State},
    events::Event,
};

/// A session's hold on a name. Dropped, it becomes a held or a released name, by whether the session was lost or
/// left; unless somebody holds the name by now, when nothing happens.
#[derive(Debug)]
pub(crate) struct Lease {
    pub(super) registry: Arc<Registry>,
    pub(super) name: Name,
    pub(super) generation: u64,
    pub(super) endpoint: Arc<Endpoint>,
    pub(super) end: End,
}

/// How a lease ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// The session was lost: the name is kept for its owner.
    Lost,
    /// The owner gave it up.
    Released,
}

impl Lease {
    /// Gives the name up in good order.
    pub(crate) fn release(mut self) {
        self.end = End::Released;
    }

    /// The live handle to the tunnel.
    pub(crate) fn endpoint(&self) -> &Arc<Endpoint> {
        &self.endpoint
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let registry = &self.registry;
        let timeouts = &registry.shared.config.timeouts;
        let now = Instant::now();
        let mut table = registry.lock();
        let Some(entry) = table.entries.get_mut(&self.name) else { return };
        if entry.generation != self.generation {
            return;
        }
        let waiting_until = match self.end {
            End::Lost => {
                let until = now + timeouts.lease;
                entry.phase = Phase::Held { until };
                until
            }
            End::Released => {
                let until = now + timeouts.hold;
                let quarantine = self.name.port().map(|_| timeouts.quarantine);
                let quarantined_until = now + quarantine.unwrap_or_default();
                entry.phase = Phase::Released { until, quarantined_until };
                until
            }
        };
        entry.endpoint.set_state(State::Away { until: waiting_until });
        drop(table);
        let url = self.endpoint.address.url().to_owned();
        registry.shared.events.emit(Event::TunnelAway { url, held: self.end == End::Lost });
        registry.shared.events.emit(Event::LeasesChanged);
    }
}

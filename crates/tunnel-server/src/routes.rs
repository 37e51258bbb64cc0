//! Which endpoint a host name leads to: written by the registry, read once per request. And which UDP ports are ours.
//!
//! A lookup is a read of memory behind a lock that is held for a hash lookup and no longer; it never waits for
//! anything a client does.

use std::{
    collections::HashMap,
    sync::{Arc, PoisonError, RwLock},
};

use tunnel_router::{HostPattern, HostTable, Hostname};

use crate::endpoint::Endpoint;

/// The routing table.
#[derive(Debug, Default)]
pub(crate) struct Routes {
    table: RwLock<HostTable<Arc<Endpoint>>>,
    /// How often each is open: a port may be opened again before its former task is gone.
    udp_ports: RwLock<HashMap<u16, usize>>,
}

impl Routes {
    /// The endpoint for a host, if any.
    pub(crate) fn lookup(&self, host: &Hostname) -> Option<Arc<Endpoint>> {
        self.table.read().unwrap_or_else(PoisonError::into_inner).lookup(host).cloned()
    }

    /// Lets `host` lead to `endpoint`; whatever it led to before, it does no longer.
    pub(crate) fn publish(&self, host: Hostname, endpoint: Arc<Endpoint>) {
        let mut table = self.table.write().unwrap_or_else(PoisonError::into_inner);
        table.insert(HostPattern::Exact(host), endpoint);
    }

    /// Takes `host` out.
    pub(crate) fn withdraw(&self, host: &Hostname) {
        self.table.write().unwrap_or_else(PoisonError::into_inner).remove(&HostPattern::Exact(host.clone()));
    }

    /// Whether a UDP tunnel has this port now.
    pub(crate) fn is_udp_open(&self, port: u16) -> bool {
        self.udp_ports.read().unwrap_or_else(PoisonError::into_inner).contains_key(&port)
    }

    /// A UDP tunnel has this port from now on.
    pub(crate) fn udp_opened(&self, port: u16) {
        *self.udp_ports.write().unwrap_or_else(PoisonError::into_inner).entry(port).or_default() += 1;
    }

    /// The opposite of `udp_opened`, once for each.
    pub(crate) fn udp_closed(&self, port: u16) {
        let mut ports = self.udp_ports.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = ports.get_mut(&port) {
            *count -= 1;
            if *count == 0 {
                ports.remove(&port);
            }
        }
    }
}

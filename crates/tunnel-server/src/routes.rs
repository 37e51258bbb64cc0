//! Which endpoint a host name leads to: written by the registry, read once per request.
//!
//! A lookup is a read of memory behind a lock that is held for a hash lookup and no longer; it never waits for
//! anything a client does.

use std::sync::{Arc, PoisonError, RwLock};

use tunnel_router::{HostPattern, HostTable, Hostname};

use crate::endpoint::Endpoint;

/// The routing table.
#[derive(Debug, Default)]
pub(crate) struct Routes {
    table: RwLock<HostTable<Arc<Endpoint>>>,
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
}

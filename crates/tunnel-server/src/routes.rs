//! Which endpoint a host name and a path lead to: written by the registry, read once per request. And which UDP
//! ports are ours.
//!
//! A lookup is a read of memory behind a lock that is held for a hash lookup and no longer; it allocates nothing and
//! never waits for anything a client does.
//!
//! The host decides first, and alone: where a name has an entry of its own, the wildcard above it isn't asked, also
//! not for a path that no tunnel of that name has. They may belong to different tokens.

use std::{
    collections::HashMap,
    sync::{Arc, PoisonError, RwLock},
};

use tunnel_protocol::TokenId;
use tunnel_router::{HostPattern, HostTable, Hostname, PathPrefix};

use crate::endpoint::Endpoint;

/// The routing table.
#[derive(Debug, Default)]
pub(crate) struct Routes {
    hosts: RwLock<HostTable<Host>>,
    /// How often each is open: a port may be opened again before its former task is gone.
    udp_ports: RwLock<HashMap<u16, usize>>,
}

/// What of a host leads to an endpoint.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Part {
    /// Requests for paths of this prefix.
    Http(PathPrefix),
    /// Connections whose TLS the upstream ends.
    Tls,
}

/// What a host leads to. All endpoints of a host are of one token: the registry sees to it.
#[derive(Debug, Default)]
struct Host {
    /// By path, the longest first; the root, if it is there, comes last.
    paths: Vec<(PathPrefix, Arc<Endpoint>)>,
    tls: Option<Arc<Endpoint>>,
}

impl Routes {
    /// The endpoint for a web request, if any. `path` is the one the upstream will get, with or without its query.
    pub(crate) fn lookup(&self, host: &Hostname, path: &str) -> Option<Arc<Endpoint>> {
        let hosts = self.hosts.read().unwrap_or_else(PoisonError::into_inner);
        let mut paths = hosts.lookup(host)?.paths.iter();
        paths.find(|(prefix, _)| prefix.matches(path)).map(|(_, endpoint)| endpoint.clone())
    }

    /// The endpoint for a TLS connection that the upstream ends, if any.
    pub(crate) fn lookup_tls(&self, host: &Hostname) -> Option<Arc<Endpoint>> {
        self.hosts.read().unwrap_or_else(PoisonError::into_inner).lookup(host)?.tls.clone()
    }

    /// Who holds a host, by its own name or by a wildcard.
    pub(crate) fn owner(&self, host: &Hostname) -> Option<TokenId> {
        let hosts = self.hosts.read().unwrap_or_else(PoisonError::into_inner);
        let host = hosts.lookup(host)?;
        let any = host.tls.as_ref().or_else(|| host.paths.first().map(|(_, endpoint)| endpoint))?;
        Some(any.owner.token)
    }

    /// What of a host, by exactly this pattern, leads anywhere.
    pub(crate) fn parts(&self, host: &HostPattern) -> Vec<Part> {
        let hosts = self.hosts.read().unwrap_or_else(PoisonError::into_inner);
        let Some(host) = hosts.get(host) else { return Vec::new() };
        let paths = host.paths.iter().map(|(prefix, _)| Part::Http(prefix.clone()));
        paths.chain(host.tls.as_ref().map(|_| Part::Tls)).collect()
    }

    /// Lets this part of `host` lead to `endpoint`; whatever it led to before, it does no longer.
    pub(crate) fn publish(&self, host: &HostPattern, part: Part, endpoint: Arc<Endpoint>) {
        let mut hosts = self.hosts.write().unwrap_or_else(PoisonError::into_inner);
        if hosts.get(host).is_none() {
            hosts.insert(host.clone(), Host::default());
        }
        let entry = hosts.get_mut(host).expect("invariant: it is there, or was put there just now");
        match part {
            Part::Tls => entry.tls = Some(endpoint),
            Part::Http(prefix) => {
                entry.paths.retain(|(other, _)| *other != prefix);
                entry.paths.push((prefix, endpoint));
                entry.paths.sort_by(|(a, _), (b, _)| b.cmp(a));
            }
        }
    }

    /// Takes this part of `host` out.
    pub(crate) fn withdraw(&self, host: &HostPattern, part: &Part) {
        let mut hosts = self.hosts.write().unwrap_or_else(PoisonError::into_inner);
        let Some(entry) = hosts.get_mut(host) else { return };
        match part {
            Part::Tls => entry.tls = None,
            Part::Http(prefix) => entry.paths.retain(|(other, _)| other != prefix),
        }
        if entry.paths.is_empty() && entry.tls.is_none() {
            hosts.remove(host);
        }
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

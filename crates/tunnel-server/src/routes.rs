//! Which endpoint a host name and a path lead to: written by the registry, read once per request. And which UDP
//! ports are ours.
//!
//! A lookup is a read of memory without a lock: it allocates nothing and waits for nobody, also not while names come
//! and go. The table is in parts, chosen by the hash of a name, and each part is a value that is never changed: who
//! writes copies one, changes the copy and puts it in the other's place. Copying a part of a table of 100,000 names is
//! copying 400 references.
//!
//! The host decides first, and alone: where a name has an entry of its own, the wildcard above it isn't asked, also
//! not for a path that no tunnel of that name has. They may belong to different tokens.

use std::{
    collections::{HashMap, hash_map::RandomState},
    hash::BuildHasher,
    sync::{Arc, Mutex, PoisonError, RwLock},
};

use arc_swap::ArcSwap;
use tunnel_protocol::TokenId;
use tunnel_router::{HostPattern, HostTable, Hostname, PathPrefix};

use crate::endpoint::Endpoint;

/// The parts of the table: enough that copying one is nothing, few enough that empty ones cost nothing.
const PARTS: usize = 256;

/// The routing table.
#[derive(Debug)]
pub(crate) struct Routes {
    parts: Box<[ArcSwap<HostTable<Arc<Host>>>]>,
    /// Keyed, so that nobody can choose names that all fall into one part.
    hasher: RandomState,
    /// Held while a part is copied and replaced.
    writing: Mutex<()>,
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
#[derive(Clone, Debug, Default)]
struct Host {
    /// Whether it is set aside for one token: then the wildcard above it isn't asked, also while it leads nowhere.
    is_reserved: bool,
    /// By path, the longest first; the root, if it is there, comes last.
    paths: Vec<(PathPrefix, Arc<Endpoint>)>,
    tls: Option<Arc<Endpoint>>,
}

impl Routes {
    /// The endpoint for a web request, if any. `path` is the one the upstream will get, with or without its query.
    pub(crate) fn lookup(&self, host: &Hostname, path: &str) -> Option<Arc<Endpoint>> {
        self.read(host, |host| {
            let mut paths = host.paths.iter();
            paths.find(|(prefix, _)| prefix.matches(path)).map(|(_, endpoint)| endpoint.clone())
        })
    }

    /// The endpoint for a TLS connection that the upstream ends, if any.
    pub(crate) fn lookup_tls(&self, host: &Hostname) -> Option<Arc<Endpoint>> {
        self.read(host, |host| host.tls.clone())
    }

    /// Who holds a host, by its own name or by a wildcard.
    pub(crate) fn owner(&self, host: &Hostname) -> Option<TokenId> {
        self.read(host, |host| {
            let any = host.tls.as_ref().or_else(|| host.paths.first().map(|(_, endpoint)| endpoint));
            any.map(|endpoint| endpoint.owner.token)
        })
    }

    /// What of a host, by exactly this pattern, leads anywhere.
    pub(crate) fn parts(&self, host: &HostPattern) -> Vec<Part> {
        let table = self.part_of(name_of(host)).load();
        let Some(host) = table.get(host) else { return Vec::new() };
        let paths = host.paths.iter().map(|(prefix, _)| Part::Http(prefix.clone()));
        paths.chain(host.tls.as_ref().map(|_| Part::Tls)).collect()
    }

    /// Lets this part of `host` lead to `endpoint`; whatever it led to before, it does no longer.
    pub(crate) fn publish(&self, host: &HostPattern, part: Part, endpoint: Arc<Endpoint>) {
        self.write(host, |entry| match part {
            Part::Tls => entry.tls = Some(endpoint),
            Part::Http(prefix) => {
                entry.paths.retain(|(other, _)| *other != prefix);
                entry.paths.push((prefix, endpoint));
                entry.paths.sort_by(|(a, _), (b, _)| b.cmp(a));
            }
        });
    }

    /// Takes this part of `host` out.
    pub(crate) fn withdraw(&self, host: &HostPattern, part: &Part) {
        self.write(host, |entry| match part {
            Part::Tls => entry.tls = None,
            Part::Http(prefix) => entry.paths.retain(|(other, _)| other != prefix),
        });
    }

    /// Sets a name aside for one token, or no longer: nobody is shown the wildcard above it then.
    pub(crate) fn set_reserved(&self, host: &HostPattern, is_reserved: bool) {
        self.write(host, |entry| entry.is_reserved = is_reserved);
    }

    /// What `find` finds at the name, or else, if the name isn't there at all, at the wildcard above it.
    fn read<T>(&self, host: &Hostname, find: impl Fn(&Host) -> Option<T>) -> Option<T> {
        if let Some(entry) = self.part_of(host.as_str()).load().exact(host) {
            return find(entry);
        }
        let parent = host.parent()?;
        self.part_of(parent).load().wildcard(parent).and_then(|entry| find(entry))
    }

    /// Changes what is at a pattern; with nothing left there, it is out.
    fn write(&self, host: &HostPattern, change: impl FnOnce(&mut Host)) {
        let _writing = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let part = self.part_of(name_of(host));
        let mut table = HostTable::clone(&part.load());
        let mut entry = table.get(host).map(|entry| Host::clone(entry)).unwrap_or_default();
        change(&mut entry);
        if entry.paths.is_empty() && entry.tls.is_none() && !entry.is_reserved {
            table.remove(host);
        } else {
            table.insert(host.clone(), Arc::new(entry));
        }
        part.store(Arc::new(table));
    }

    fn part_of(&self, name: &str) -> &ArcSwap<HostTable<Arc<Host>>> {
        let hash = self.hasher.hash_one(name);
        // The remainder is below the number of parts, which is a small `usize`.
        let index = usize::try_from(hash % PARTS as u64).unwrap_or(0);
        &self.parts[index]
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

impl Default for Routes {
    fn default() -> Self {
        let empty = Arc::new(HostTable::new());
        Self {
            parts: (0..PARTS).map(|_| ArcSwap::new(empty.clone())).collect(),
            hasher: RandomState::new(),
            writing: Mutex::default(),
            udp_ports: RwLock::default(),
        }
    }
}

/// The name that a pattern is kept under: of a wildcard the one above.
fn name_of(pattern: &HostPattern) -> &str {
    match pattern {
        HostPattern::Exact(name) | HostPattern::Wildcard(name) => name.as_str(),
    }
}

//! Places for visitors that wait for an absent client: so many at one tunnel, so many in all, and so many of one
//! address, or a few connections of one machine could take the places of every tunnel's visitors.

use std::{
    net::IpAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use crate::{
    addresses::{Addresses, Counted},
    endpoint::VisitorPermit,
    settings::Settings,
};

/// Where all tunnels' visitors wait; clones are the same.
#[derive(Clone, Debug)]
pub(crate) struct WaitingRoom {
    pub(crate) settings: Settings,
    pub(crate) addresses: Arc<Addresses>,
    in_all: Arc<AtomicUsize>,
}

/// A place in it.
#[derive(Debug)]
pub(crate) struct Waiting {
    _at_tunnel: VisitorPermit,
    _in_all: VisitorPermit,
    _of_address: Option<Counted>,
}

impl WaitingRoom {
    pub(crate) fn new(settings: Settings, addresses: Arc<Addresses>) -> Self {
        Self { settings, addresses, in_all: Arc::default() }
    }

    /// How many wait.
    pub(crate) fn count(&self) -> usize {
        self.in_all.load(Ordering::Relaxed)
    }

    /// A place for a visitor of the tunnel where so many wait, or `None` if there is none for it.
    pub(crate) fn enter(&self, at_tunnel: &Arc<AtomicUsize>, visitor: IpAddr) -> Option<Waiting> {
        let limits = &self.settings.now().limits;
        Some(Waiting {
            _of_address: self.addresses.wait(visitor).ok()?,
            _at_tunnel: VisitorPermit::take(at_tunnel, limits.waiting_per_tunnel)?,
            _in_all: VisitorPermit::take(&self.in_all, limits.waiting)?,
        })
    }
}

//! What is measured: no tunnel at all, ours, and its peers; each started anew for every measurement.

mod bore;
mod many;
mod rathole;
mod running;
mod tunnel;

use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

pub(super) use many::Many;
pub(super) use running::{Resident, Running};

use super::keeper::Keeper;
use super::place::Place;

/// The column without a tunnel.
pub(super) const DIRECT: &str = "direct";
/// The column of our default: TLS.
pub(super) const TUNNEL: &str = "tunnel";
/// The column of ours without TLS.
pub(super) const TUNNEL_PLAIN: &str = "tunnel-plain";
/// The column of rathole over plain TCP.
pub(super) const RATHOLE: &str = "rathole";
/// The column of rathole with its encryption.
pub(super) const RATHOLE_NOISE: &str = "rathole-noise";

/// One column.
#[derive(Debug)]
pub(super) struct System {
    name: String,
    kind: Kind,
}

#[derive(Debug)]
enum Kind {
    Direct,
    Tunnel { binary: PathBuf, plaintext: bool },
    Rathole { binary: PathBuf, noise: bool },
    Bore { binary: PathBuf },
}

/// What a system carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Service {
    /// A TCP port.
    Tcp,
    /// A UDP port.
    Udp,
    /// Web requests: by host name where a system knows what HTTP is, else a TCP port.
    Http,
}

impl System {
    /// No tunnel.
    pub(super) fn direct() -> Self {
        Self { name: DIRECT.into(), kind: Kind::Direct }
    }

    /// A `tunnel` binary, with TLS and without.
    pub(super) fn tunnels(name: &str, binary: &Path) -> [Self; 2] {
        [(name.to_owned(), false), (format!("{name}-plain"), true)]
            .map(|(name, plaintext)| Self { name, kind: Kind::Tunnel { binary: binary.into(), plaintext } })
    }

    /// rathole, plain and with noise.
    pub(super) fn ratholes(binary: &Path) -> [Self; 2] {
        [(RATHOLE, false), (RATHOLE_NOISE, true)].map(|(name, noise)| Self {
            name: name.into(),
            kind: Kind::Rathole { binary: binary.into(), noise },
        })
    }

    /// bore.
    pub(super) fn bore(binary: &Path) -> Self {
        Self { name: "bore".into(), kind: Kind::Bore { binary: binary.into() } }
    }

    /// Whether it can carry `service`: bore knows no datagrams.
    pub(super) fn carries(&self, service: Service) -> bool {
        service != Service::Udp || !matches!(self.kind, Kind::Bore { .. })
    }

    /// Whether it can hold every number of visitors that is measured: the peers run out of descriptors first, as
    /// they need two for each.
    pub(super) fn holds_crowds(&self) -> bool {
        matches!(self.kind, Kind::Tunnel { .. })
    }

    /// The name, as columns are headed.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Starts the system in front of `upstream` and waits until a visitor gets through.
    ///
    /// # Errors
    /// When it doesn't start, with what its processes said.
    pub(super) fn start<'k>(
        &self,
        keeper: &'k Keeper,
        place: &'k Place,
        upstream: u16,
        service: Service,
    ) -> Result<Running<'k>> {
        let mut running = Running::new(keeper, place)?;
        let started = match &self.kind {
            Kind::Direct => {
                let upstream = SocketAddr::from((place.upstream(), upstream));
                running.target(upstream, upstream.to_string());
                Ok(())
            }
            Kind::Tunnel { binary, plaintext } => {
                tunnel::start(&mut running, binary, *plaintext, upstream, service)
            }
            Kind::Rathole { binary, noise } => {
                rathole::start(&mut running, binary, *noise, upstream, service)
            }
            Kind::Bore { binary } => bore::start(&mut running, binary, upstream),
        };
        let ready = started.and_then(|()| running.wait_for_a_visitor(service));
        ready.with_context(|| format!("{} did not start; it said:\n{}", self.name, running.said()))?;
        Ok(running)
    }
}

/// A port of the server's that was free a moment ago, for systems that can't choose one themselves.
fn free_port(place: &Place) -> Result<u16> {
    Ok(TcpListener::bind((place.server(), 0))?.local_addr()?.port())
}
